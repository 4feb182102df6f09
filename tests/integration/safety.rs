//! What keeps a change from happening: read-only, another context than the one expected, a lock that is waited for.

use serde_json::json;

#[cfg(target_os = "linux")]
use crate::local::{Host, stand_in};
use crate::{
    harness::{Env, eventually},
    login::with_password,
};

/// Changes of a cluster, one of each sort.
const CHANGES: &[&str] = &[
    "vm start 101",
    "vm stop --all --confirm",
    "vm create --name new --cores 1",
    "vm update 100 --cores 3",
    "vm delete 103 --confirm",
    "vm rename 100 other",
    "vm clone 100 copy",
    "vm snapshot create 100 before",
    "vm resize-disk 100 scsi0 +1G",
    "vm add net 100 --bridge vmbr0",
    "vm config rollback 100 --before 1 --confirm",
    "container stop 110",
    "task stop UPID:pve1:0000A1B2:00C3D4E5:65F0A1B2:qmstart:100:root@pam:",
    "api post /nodes/pve2/qemu/101/status/start",
    "api put /nodes/pve1/qemu/100/config -p cores=3",
    "api delete /nodes/pve3/qemu/103 --confirm",
];

/// Changes of this host.
const HERE: &[&str] = &[
    "vm create --name new --kernel vmlinux",
    "image pull disk.raw --name golden",
    "image delete golden --confirm",
    "network create lan",
    "network delete lan --confirm",
    "queue cancel 1",
    "host start-all",
    "host stop-all --confirm",
    "host gc --confirm",
];

#[test]
fn who_says_read_only_changes_nothing() {
    let server = Env::new().serve("");
    let env = server.with("PVECTL_READ_ONLY", "1");
    for line in CHANGES {
        let _ =
            env.run(line).exits(5).says(&["changes are switched off (env PVECTL_READ_ONLY)", "unset PVECTL_READ_ONLY"]);
    }
    assert_eq!(server.requests(), [""; 0], "nothing is asked of the server");
    for line in ["vm list", "vm get 100", "task list", "operation list", "vm start 101 --dry-run", "config view"] {
        let _ = env.run(line).ok();
    }
    assert_eq!(server.changes(), [""; 0]);
    let _ = env.with("PVECTL_READ_ONLY", "0").run("vm start 101").ok();
}

#[test]
fn a_context_that_only_reads_says_so_and_the_way_out() {
    let server = Env::new().serve("");
    let env = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN");
    env.write("token", &server.token);
    let _ = env.run(&format!("config add-context prod --endpoint {} --token-file token --read-only", server.url)).ok();
    let before = server.requests().len();
    for line in CHANGES {
        let _ = env
            .run(line)
            .exits(5)
            .says(&["(context prod: read-only)", "take `read-only: true` of `prod` out of config.yaml"]);
    }
    assert_eq!(server.requests().len(), before);
    // What one refuses the other does not allow.
    let _ = env.with("PVECTL_READ_ONLY", "0").run("vm start 101").exits(5);
    let view = env.with("PVECTL_READ_ONLY", "1").run("config view --origin").ok();
    assert!(view.stdout.contains("read-only     true  (env PVECTL_READ_ONLY)"), "{view}");
}

#[test]
fn the_sandbox_is_read_only_too() {
    let env = Env::new().with("PVECTL_READ_ONLY", "1");
    let _ = env.run("vm start 101").exits(5);
    let _ = env.run("sandbox reset").exits(5);
    let _ = env.run("sandbox reset --dry-run").ok().says(&["nothing was done (--dry-run)"]);
    let view = env.run("config view --origin").ok();
    assert!(view.stdout.contains("read-only     true  (env PVECTL_READ_ONLY)"), "{view}");
}

#[cfg(target_os = "linux")]
#[test]
fn this_host_is_read_only_too() {
    let env = Env::bare().with("PVECTL_CONTEXT", "local").with("PVECTL_READ_ONLY", "1");
    env.write("disk.raw", "x");
    env.write("vmlinux", "x");
    for line in HERE {
        let _ = env.run(line).exits(5).says(&["changes are switched off (env PVECTL_READ_ONLY)"]);
    }
    for line in ["vm list", "image list", "queue list", "host gc", "image pull disk.raw --name golden --dry-run"] {
        let _ = env.run(line).ok();
    }
}

#[test]
fn another_context_than_expected_is_refused() {
    let server = Env::new().serve("");
    let env = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN");
    env.write("token", &server.token);
    for name in ["lab", "prod"] {
        let _ = env.run(&format!("config add-context {name} --endpoint {} --token-file token", server.url)).ok();
    }
    let before = server.requests().len();
    let _ = env
        .run("vm start 101 --expect-context prod")
        .exits(2)
        .says(&["context `prod` is expected, and in use is `lab`", "--context prod"]);
    let _ = env.run("vm list --expect-context prod").exits(2);
    let _ = env.run("sandbox reset --expect-context prod").exits(2).says(&["in use is `sandbox`"]);
    let _ = server.run("vm start 101 --expect-context prod").exits(2).says(&["in use is no context but http"]);
    assert_eq!(server.requests().len(), before);
    let _ = env.run("vm start 101 --expect-context prod --context prod").ok();
    let _ = env.run("vm list --expect-context lab").ok();
}

#[test]
fn a_locked_guest_is_waited_for() {
    let server = Env::new().serve("");
    // Only root may, and no token of root's.
    let root = with_password(&server, "root@pam", "sandbox");
    let lock = |change: &str| root.run(&format!("api put /nodes/pve1/qemu/100/config -p {change}")).ok();
    let _ = lock("lock=backup -p skiplock=1");
    let _ = server.run("vm update 100 --cores 3").exits(6).says(&["it is locked (backup)", "--wait-lock 60s"]);
    let _ = server
        .run("vm update 100 --cores 3 --wait-lock 300ms")
        .exits(6)
        .says(&["vm/100 is locked (backup): waiting up to 0.3s for it (--wait-lock)", "it is locked (backup)"]);
    let _ = server
        .run("vm stop 100 --wait-lock 300ms")
        .exits(6)
        .says(&["cannot stop vm/100 (web-1): it is locked (backup)"]);
    let before = server.changes().len();
    let seen = || server.count("GET", "/qemu/100/config") + server.count("GET", "/qemu/100/status/current");
    let lines = [
        "vm update 100 --cores 3 --wait-lock 60s",
        "vm snapshot create 100 before --wait-lock 60s",
        "vm restart 100 --wait-lock 60s",
    ];
    for line in lines {
        let _ = lock("lock=backup -p skiplock=1");
        let looks = seen();
        let waiting = server.spawn(line);
        // It has looked at least twice.
        eventually("it waits", || (seen() >= looks + 3).then_some(()));
        let _ = lock("delete=lock -p skiplock=1");
        let _ = waiting.wait().ok().says(&["waiting up to 60s"]);
    }
    assert!(server.changes().len() > before);
    assert_eq!(server.json("vm get 100")["config"]["cores"], json!(3));
}

#[test]
fn a_request_refused_over_a_lock_is_sent_again() {
    // Long enough for a lock to come between the plan and what the server makes of the request.
    let server = Env::new().serve("--fault 'POST /nodes/pve1/qemu/100/clone:delay=3s*1'");
    // Only root may, and no token of root's.
    let root = with_password(&server, "root@pam", "sandbox");
    let lock = |change: &str| root.run(&format!("api put /nodes/pve1/qemu/100/config -p {change}")).ok();
    let clone = server.spawn("vm clone 100 copy --wait-lock 60s");
    eventually("it is planned", || (server.count("GET", "/qemu/100/status/current") == 1).then_some(()));
    let _ = lock("lock=backup -p skiplock=1");
    eventually("it is refused", || (server.count("POST", "/qemu/100/clone") == 1).then_some(()));
    let _ = lock("delete=lock -p skiplock=1");
    let _ = clone.wait().ok().says(&["vm/100 is locked (backup): waiting up to 60s for it"]);
    let clones: Vec<String> = server.changes().into_iter().filter(|line| line.contains("/clone ")).collect();
    assert!(clones.len() >= 2 && clones[0].ends_with(" 500"), "{clones:?}");
    assert_eq!(clones.iter().filter(|line| line.ends_with(" 200")).count(), 1, "{clones:?}");
    assert_eq!(server.json("operation list --limit 20")[0]["status"], json!("ok"));
}

#[test]
fn a_change_in_between_is_shown_beside_ours() {
    // Long enough for somebody else to come between the plan and its request.
    let server = Env::new().serve("--fault 'PUT /nodes/pve1/qemu/100/config:delay=3s*1'");
    let update = server.spawn("vm update 100 --cores 3 --onboot");
    eventually("it is planned", || (server.count("GET", "/qemu/100/config") == 1).then_some(()));
    let theirs = "api post /nodes/pve1/qemu/100/config -p cores=5 -p memory=1024 -p description=theirs -p cipassword=-";
    let _ = server.run_with(theirs, "hush").ok();
    let output = update.wait().exits(6).says(&[
        "somebody else changed this in between",
        "\n  cores: 2 → 5 (this change: 3)",
        "\n  memory: 2048 → 1024",
        "\n  description: not set → theirs",
    ]);
    assert!(!output.stderr.contains("onboot:") && !output.stderr.contains("hush"), "{output}");
    assert_eq!(server.json("vm get 100")["config"]["cores"], json!(5), "theirs stays");
}

#[cfg(target_os = "linux")]
#[test]
fn another_command_on_a_vm_of_this_host_is_waited_for_so_long() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("vm create --name web --cores 1 --memory 256 --kernel kernel --start").ok();
    // The guest does not listen to its power button.
    let shutdown = env.spawn("vm shutdown web --shutdown-timeout 3");
    let short = eventually("it is busy", || {
        let short = env.run("vm update web --description a --wait-lock 10ms");
        (short.code != 0).then_some(short)
    });
    let _ = short.exits(6).says(&["VM 100 is busy: shutdown by root@pam", "--wait-lock"]);
    let _ = env.run("vm update web --description b --wait-lock 60s").ok();
    let _ = shutdown.wait().exits(9);
    assert_eq!(host.status("web")["config"]["description"], json!("b"));
}
