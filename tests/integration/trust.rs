//! Certificates, ports and servers that are not what they should be; tokens that may not do what they are used for.

use insta::assert_snapshot;

use crate::harness::{Env, NOBODY};

#[test]
fn tls_by_fingerprint_by_authority_and_not_at_all() {
    let server = Env::new().serve("--tls");
    assert_snapshot!(server.run("vm list -o name --tag app.db"), @"
    exit 0
    --- stdout
    vm/102
    ");
    let bare = server.without("PVECTL_FINGERPRINT");
    // Whether anything here could be trusted without being told to is the machine's affair; the words are ours.
    let untrusted: &[&str] =
        &["is not trusted", "(SHA-256 fingerprint FINGERPRINT)", "trust it with --fingerprint FINGERPRINT"];
    let _ = bare.run("vm list").exits(10).says(untrusted);
    let file = server.write("ca.pem", server.certificate.as_ref().unwrap());
    assert_snapshot!(bare.with("PVECTL_CA_FILE", file.to_str().unwrap()).run("vm list -o name --tag app.db"), @"
    exit 0
    --- stdout
    vm/102
    ");
    let other = Env::new().serve("--tls");
    let foreign = server.write("other.pem", other.certificate.as_ref().unwrap());
    let _ = bare.with("PVECTL_CA_FILE", foreign.to_str().unwrap()).run("vm list").exits(10).says(untrusted);
    let theirs = other.fingerprint.unwrap();
    assert_snapshot!(bare.with("PVECTL_FINGERPRINT", &theirs).run("vm list"), @"
    exit 10
    --- stderr
    error: https://127.0.0.1:PORT is not trusted: its certificate has the fingerprint FINGERPRINT, but FINGERPRINT is pinned
    ");
    assert_eq!(server.count("GET", "/cluster/resources"), 2, "who is not trusted is told nothing");
}

#[test]
fn the_wrong_kind_of_port() {
    let tls = Env::new().serve("--tls");
    let plain = Env::new().serve("");
    let as_plain = tls.with("PVECTL_ENDPOINT", &tls.url.replace("https", "http"));
    assert_snapshot!(as_plain.without("PVECTL_FINGERPRINT").run("vm list"), @"
    exit 10
    --- stderr
    error: http://127.0.0.1:PORT redirects `GET /cluster/resources` instead of answering it
    hint: use https://127.0.0.1:PORT as the endpoint
    ");
    assert_snapshot!(plain.with("PVECTL_ENDPOINT", &plain.url.replace("http", "https")).run("vm list"), @"
    exit 10
    --- stderr
    error: https://127.0.0.1:PORT speaks plain HTTP, not TLS
    hint: the endpoint may be meant as http://127.0.0.1:PORT
    ");
}

#[test]
fn a_server_that_is_down() {
    let server = Env::new().serve("").with("PVECTL_ENDPOINT", NOBODY);
    assert_snapshot!(server.run("vm list"), @"
    exit 10
    --- stderr
    error: cannot reach http://127.0.0.1:PORT: connection refused
    hint: is the server up, and is that where it is? `pvectl config view --origin` tells where the address comes from
    ");
    assert_snapshot!(server.run("vm start 101"), @"
    exit 10
    --- stderr
    error: cannot reach http://127.0.0.1:PORT: connection refused
    hint: is the server up, and is that where it is? `pvectl config view --origin` tells where the address comes from
    ");
    let other = Env::new().serve("");
    let both = format!("{NOBODY},{}", other.url);
    assert_snapshot!(other.with("PVECTL_ENDPOINT", &both).run("vm list -o name --tag app.db"), @"
    exit 0
    --- stdout
    vm/102
    ");
}

#[test]
fn wrong_tokens_are_not_let_in() {
    let server = Env::new().serve("");
    let with = |token: &str| server.with("PVECTL_TOKEN", token);
    let wrong = "root@pam!pvectl=00000000-0000-0000-0000-000000000000";
    assert_snapshot!(with(wrong).run("vm list"), @"
    exit 4
    --- stderr
    error: Authentication failed!
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
    assert_snapshot!(with(wrong).run("vm start 101"), @"
    exit 4
    --- stderr
    error: Authentication failed!
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
    assert_snapshot!(with(&format!("root@pam!other={}", server.secret())).run("vm list"), @"
    exit 4
    --- stderr
    error: Authentication failed!
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
    assert_eq!(server.changes(), [""; 0]);
}

#[test]
fn a_missing_privilege_is_named_with_its_path() {
    let server = Env::new().serve("");
    let audit = server.with("PVECTL_TOKEN", &format!("audit@pve!readonly={}", server.secret()));
    assert_snapshot!(audit.run("vm list -o name --tag app.db"), @"
    exit 0
    --- stdout
    vm/102
    ");
    assert_snapshot!(audit.run("vm start 101"), @"
    exit 5
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  start  failed  no       -
    --- stderr
    starting vm/101 (web-2)
    ✗ vm/101 (web-2) start failed (0.0s)
    error: cannot start vm/101 (web-2): Permission check failed (/vms/101, VM.PowerMgmt)
    hint: the user or token needs VM.PowerMgmt on /vms/101; a token with privilege separation needs it of its own
    ");
    assert_snapshot!(audit.run("vm create --name a --vmid 150 --scsi0 local-lvm:8"), @"
    exit 5
    --- stdout
    VMID  NAME  NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  a     pve3  create  failed  no       -
    --- stderr
    creating vm/150 (a)
    ✗ vm/150 (a) create failed (0.0s)
    error: cannot create vm/150 (a): Permission check failed
    hint: the user or token needs VM.Allocate on /vms/150; a token with privilege separation needs it of its own
    ");
    assert_snapshot!(audit.run("vm delete 101 --confirm"), @"
    exit 5
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  delete  failed  no       -
    --- stderr
    deleting vm/101 (web-2)
    ✗ vm/101 (web-2) delete failed (0.0s)
    error: cannot delete vm/101 (web-2): Permission check failed (/vms/101, VM.Allocate)
    hint: the user or token needs VM.Allocate on /vms/101; a token with privilege separation needs it of its own
    ");
    assert_snapshot!(audit.run("vm update 101 --cores 4"), @"
    exit 5
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  update  failed  no       -
    --- stderr
    updating vm/101 (web-2)
    ✗ vm/101 (web-2) update failed (0.0s)
    error: cannot update vm/101 (web-2): Permission check failed (/vms/101, VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit)
    hint: the user or token needs VM.Config.Disk or VM.Config.CDROM or VM.Config.CPU or VM.Config.Memory or VM.Config.Network or VM.Config.HWType or VM.Config.Options or VM.Config.Cloudinit on /vms/101; a token with privilege separation needs it of its own
    ");
    let rows = audit.json("operation list");
    let statuses: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["failed"; 4]);
}
