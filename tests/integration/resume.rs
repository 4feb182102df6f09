//! Operations that were cut off between their steps, and gone on with.

use insta::assert_snapshot;

use crate::harness::{Env, Server, eventually};

/// A server on which a command was killed while its first step was at work, and that step has ended.
fn cut_off(line: &str) -> Server {
    let server = Env::paced("1").serve("");
    server.write("secret", "hunter2");
    let mut dying = server.spawn(line);
    dying.until("task UPID");
    dying.kill();
    eventually("the journal has the end", || {
        let row = server.json("operation list")[0].clone();
        (row["status"] == "cancelled").then_some(())
    });
    server
}

#[test]
fn a_create_goes_on_with_its_start() {
    let server = cut_off("vm create --vmid 150 --name a --start");
    assert_snapshot!(server.run("operation resume 1 --dry-run"), @"
    exit 0
    --- stdout
    create vm/150 (a) on pve3
      POST /nodes/pve3/qemu/150/status/start
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_eq!(server.changes().len(), 1, "nothing was sent");
    let done = server.run("operation resume 1 -o json").ok().json();
    assert_eq!((&done["verb"], &done["status"]), (&"create".into(), &"ok".into()), "{done}");
    assert_eq!(server.json("vm get 150")["status"], "running");
    assert_eq!(server.json("operation show 2")["target"], "operation/1");
    assert_eq!(server.changes().len(), 2);
    let _ =
        server.run("operation resume 1").exits(6).says(&["cannot go on with operation 1: operation 2 did, and is ok"]);
    let _ = server.run("operation resume 2").exits(6).says(&["it was done to its end"]);
    assert_eq!(server.changes().len(), 2);
}

/// What has come about meanwhile is not done again, and what stands for another guest now is not touched.
#[test]
fn the_guest_is_looked_at_first() {
    let server = cut_off("vm create --vmid 150 --name a --start");
    let _ = server.run("vm start 150").ok();
    let _ = server.run("operation resume 1").ok().says(&["already running"]);
    assert_eq!(server.changes().len(), 2);
    let _ = server.run("vm rename 150 other").ok();
    let _ = server.run("operation resume 1").exits(6).says(&["vm 150 is other now, and was a"]);
    let _ = server.run("vm delete 150 --force --confirm").ok();
    let _ = server.run("operation resume 1").exits(6).says(&["there is no guest 150 any more"]);
}

#[test]
fn a_delete_goes_on_after_it_was_asked_about() {
    let server = cut_off("vm delete 100 --force --confirm");
    let _ = server.run("vm start 100").ok();
    let _ = server.run("operation resume 1").exits(2).says(&["--confirm"]);
    let _ = server.run("operation resume 1 --confirm").exits(6).says(&["it is running again"]);
    let _ = server.run("vm stop 100").ok();
    let _ = server.run("operation resume 1 --confirm").ok();
    let _ = server.run("vm get 100").exits(3);
    let _ = server.run("operation resume 1 --confirm").exits(6).says(&["operation 4 did, and is ok"]);
}

#[test]
fn what_cannot_be_gone_on_with_is_refused() {
    let server = cut_off("vm create --template 9000 --vmid 150 --name a --set cipassword=@secret --start");
    let _ = server.run("operation resume 1").exits(6).says(&["`cipassword` is a secret and was not kept"]);
    let _ = server.run("operation resume 99").exits(3).says(&["no such operation: 99"]);
    let elsewhere = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN").with("PVECTL_CONTEXT", "sandbox");
    let _ =
        elsewhere.run("operation resume 1").exits(2).says(&["operation 1 is of context http", "and this is sandbox"]);
    let _ = server.run("api put /nodes/pve1/qemu/100/config -p cores=3").ok();
    let _ = server.run("operation resume 2").exits(6).says(&["it was done to its end"]);

    let lost = Env::new().serve("--fault 'POST /nodes/*/qemu/*/status/start:reset-before*1'");
    let _ = lost.run("vm start 101").exits(10);
    let _ = lost.run("operation resume 1").exits(6).says(&["what became of step 1 is not known"]);
    let _ = lost.run("vm start 101 --no-wait").ok();
    assert_eq!(lost.changes().len(), 2);
}
