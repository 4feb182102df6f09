//! People on a served host: who gets in, who sees and does what, and for how long.

use serde_json::{Value, json};

use crate::{harness::Env, serve::Served};

/// An account that logs in to a served host with a password.
fn login(served: &Served, user: &str, password: &str) -> Env {
    let env = Env::bare();
    env.write("password", password);
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    let add = format!(
        "config add-context host --endpoint {url} --fingerprint {fingerprint} --user {user} \
         --credential-command 'cat password'"
    );
    let _ = env.run(&add).ok();
    env
}

fn made(served: &Served, user: &str, password: &str) -> Env {
    served.remote.write("new", password);
    let _ = served.remote.run(&format!("user create {user} --password @new")).ok();
    login(served, user, password)
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn everybody_sees_and_does_what_was_granted() {
    let served = Served::start_with("");
    let root = &served.remote;
    for name in ["web", "db"] {
        let _ = root.run(&format!("vm create --name {name} --memory 256 --scsi0 local:1")).ok();
    }
    let _ = served.host.env.run("vm update web --kernel kernel --cmdline console=ttyS0 --unset bios").ok();
    let ann = made(&served, "ann@pve", "correct horse");
    let bob = made(&served, "bob@pve", "battery staple");
    let _ = root.run("acl add /vms/100 --user ann@pve --role PVEVMUser").ok();
    let _ = root.run("group create eyes").ok();
    let _ = root.run("user update bob@pve --groups eyes").ok();
    let _ = root.run("acl add /vms --group eyes --role PVEAuditor").ok();

    assert_eq!(names(&ann.json("vm list")), ["web"]);
    assert_eq!(names(&bob.json("vm list")), ["web", "db"]);
    assert_eq!(ann.run("api get /nodes/localhost/storage -o json").ok().json(), json!([]));
    let nodes = ann.run("api get /nodes -o json").ok().json();
    assert_eq!((&nodes[0]["status"], nodes[0].get("maxmem")), (&json!("online"), None), "{nodes}");

    let started = ann.run("vm start web -o json").ok().json();
    assert!(started["upid"].as_str().unwrap().ends_with(":qmstart:100:ann@pve:"), "{started}");
    assert_eq!(served.host.status("web")["status"], "running");
    let _ = bob.run("vm stop web").exits(5).says(&["/vms/100, VM.PowerMgmt"]);
    let _ = ann.run("vm update web --memory 512").exits(5).says(&["VM.Config.Memory"]);
    let _ =
        ann.run("api put /nodes/{node}/qemu/100/config -p memory=512").exits(5).says(&["/vms/100, VM.Config.Memory"]);
    let _ = ann.run("api post /nodes/localhost/qemu -p vmid=300").exits(5);
    let _ = ann.run("api delete /nodes/{node}/qemu/100 --confirm").exits(5).says(&["VM.Allocate"]);
    let _ = ann.run("api get /nodes/localhost/qemu/101/config").exits(5).says(&["/vms/101, VM.Audit"]);
    let _ = ann.run("api get /nodes/localhost/qemu/999/config").exits(5);
    // What reaches past the guest is root's own, and no token's.
    for value in ["args=-x", "hookscript=local:snippets/x", "hostpci0=0000:01:00.0", "scsi1=/etc/shadow"] {
        let line = format!("api put /nodes/{{node}}/qemu/100/config -p {value}");
        let refused = root.run(&line);
        assert!(refused.code != 0 && refused.stderr.to_lowercase().contains("only root can"), "{line}: {refused}");
    }

    // Whose task it is.
    let upid = started["upid"].as_str().unwrap();
    assert_eq!(ann.json("task list").as_array().unwrap().len(), 1);
    assert_eq!(bob.json("task list"), json!([]));
    let read = |env: &Env, what: &str| env.run(&format!("api get /nodes/localhost/tasks/{upid}/{what}"));
    assert_eq!(read(&ann, "status").ok().json()["user"], "ann@pve");
    for what in ["status", "log"] {
        let _ = read(&bob, what).exits(5).says(&["Sys.Audit"]);
        let _ = read(root, what).ok();
    }
    let _ = bob.run(&format!("api delete /nodes/localhost/tasks/{upid} --confirm")).exits(5).says(&["Sys.Modify"]);
    let own = ann.run("api get /access/permissions -o json").ok().json();
    assert_eq!(own.as_object().unwrap().keys().collect::<Vec<_>>(), ["/vms/100"], "{own}");
    assert_eq!(own["/vms/100"]["VM.PowerMgmt"], 1);
    let _ = ann.run("api get /access/users/bob@pve").exits(5);
    assert_eq!(names_of_users(&ann), ["ann@pve"]);

    // No more than one has goes to others.
    let _ = root.run("acl add /vms/101 --user ann@pve --role PVEVMAdmin").ok();
    let _ = ann.run("acl add /vms/101 --user bob@pve --role PVEVMUser").ok();
    let _ = ann.run("acl add /vms/101 --user bob@pve --role Administrator").exits(7).says(&["superset of privileges"]);
    let _ = ann.run("acl add / --user ann@pve --role Administrator").exits(5);
}

fn names_of_users(env: &Env) -> Vec<String> {
    let rows = env.json("user list");
    rows.as_array().unwrap().iter().map(|row| row["userid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_taken_away_is_gone_at_once() {
    let served = Served::start_with("");
    let root = &served.remote;
    let _ = root.run("vm create --name web --memory 256 --scsi0 local:1").ok();
    let ann = made(&served, "ann@pve", "correct horse");
    let _ = root.run("acl add / --user ann@pve --role PVEVMAdmin").ok();
    let token = |flags: &str, name: &str| {
        let issued = root.run(&format!("token create ann@pve {name} {flags} -o json")).ok().json();
        served.remote.with("PVECTL_TOKEN", &format!("ann@pve!{name}={}", issued["value"].as_str().unwrap()))
    };
    let (whole, apart) = (token("--privsep no", "whole"), token("", "apart"));
    for env in [&ann, &whole] {
        assert_eq!(names(&env.json("vm list")), ["web"]);
    }
    assert_eq!(apart.json("vm list"), json!([]), "a separated token has what was granted to it, and nothing was");
    let _ = root.run("acl add /vms --token ann@pve!apart --role PVEAuditor").ok();
    assert_eq!(names(&apart.json("vm list")), ["web"]);
    let started = whole.run("api post /nodes/{node}/qemu/100/snapshot -p snapname=one -o json").ok().stdout;
    assert!(started.contains(":qmsnapshot:100:ann@pve!whole:"), "{started}");

    let _ = root.run("token delete ann@pve!whole --confirm").ok();
    let _ = whole.run("vm list").exits(4);
    // A ticket does not outlive its user's right to log in.
    let _ = root.run("user update ann@pve --enable no").ok();
    let _ = ann.run("vm list").exits(4);
    let _ = apart.run("vm list").exits(4);
    let _ = root.run("user update ann@pve --enable yes").ok();
    assert_eq!(names(&ann.json("vm list")), ["web"]);
    let _ = root.run("acl remove / --user ann@pve --role PVEVMAdmin --confirm").ok();
    assert_eq!(ann.json("vm list"), json!([]));
    assert_eq!(apart.json("vm list"), json!([]), "it has no more than its user");
    let _ = root.run("user delete ann@pve --confirm").ok();
    let _ = ann.run("vm list").exits(4);
    assert_eq!(names_of_users(root), ["root@pam"]);
}

#[test]
fn the_owner_of_the_host_lets_root_in_and_nobody_else_changes_root() {
    let served = Served::start_with("");
    let here = &served.host.env;
    here.write("roots", "a long secret\n");
    assert_eq!(login(&served, "root@pam", "a long secret").run("vm list").code, 4);
    let set = here.run("serve password --password @roots").ok();
    assert!(!set.raw.contains("a long secret") && !set.stderr.contains("a long secret"), "{set}");
    let root = login(&served, "root@pam", "a long secret");
    assert_eq!(root.json("vm list"), json!([]));
    here.write("short", "short\n");
    let _ = here.run("serve password --password @short").exits(2);
    let _ = here.run("serve password nobody@pve --password @roots").exits(3).says(&["no such user"]);

    // Somebody who looks after people is not root.
    let eve = made(&served, "eve@pve", "correct horse");
    let _ = served.remote.run("acl add /access --user eve@pve --role PVEUserAdmin").ok();
    let _ = eve.run("user create mal@pve").ok();
    let _ = eve.run("api post /access/users/root@pam/token/mine -p privsep=0").exits(5);
    let _ = eve.run("api put /access/users/root@pam -p comment=x").exits(5);
    let _ = served.remote.run("api delete /access/users/root@pam --confirm").exits(1).says(&["stays"]);
    // A password is changed by who knows it, or by root.
    eve.write("new", "another horse");
    let _ = eve.run("user password eve@pve --password @new").exits(7).says(&["confirmation-password"]);
    let _ = eve.run("user password eve@pve --password @new --confirmation-password @password").ok();
    assert_eq!(login(&served, "eve@pve", "another horse").json("vm list"), json!([]));
    assert_eq!(login(&served, "eve@pve", "correct horse").run("vm list").code, 4);

    let again = here.run("serve token again -o json").ok().json();
    let token = format!("{}={}", again["full-tokenid"].as_str().unwrap(), again["value"].as_str().unwrap());
    assert_eq!(served.remote.with("PVECTL_TOKEN", &token).json("vm list"), json!([]));
    let _ = here.run("serve token again").exits(6);
    let _ = here.run("serve token 'no name'").exits(2);
}
