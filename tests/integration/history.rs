//! Configurations that were kept: listed, compared, gone back to.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::Env;

fn config(env: &Env, guest: &str) -> Value {
    let mut config = env.json(guest)["config"].clone();
    config.as_object_mut().unwrap().remove("digest");
    config
}

#[test]
fn a_guest_gets_the_configuration_back_that_an_operation_found() {
    let env = Env::new();
    env.write("secret", "hunter2");
    let first = config(&env, "vm get 101");
    let _ = env.run("vm update 101 --cores 4 --description one --set cipassword=@secret").ok();
    let _ = env.run("vm update 101 --memory 8192 --unset description").ok();
    assert_snapshot!(env.run("vm config history 101"), @"
    exit 0
    --- stdout
    OPERATION  TAKEN   BEFORE  NAME   KEYS
            2  0s ago  update  web-2    16
            1  0s ago  update  web-2    14
    ");
    assert_snapshot!(env.run("vm config diff 101 --from 1"), @"
    exit 0
    --- stdout
    KEY     BEFORE  AFTER
    cores   2       4
    memory  2048    8192
    ");
    assert_snapshot!(env.run("vm config diff 101 --from 1 --to 2"), @"
    exit 0
    --- stdout
    KEY          BEFORE  AFTER
    cores        2       4
    description  -       one
    ");
    assert_eq!(env.json("vm config diff 101 --from 2 --to 2"), json!([]));
    let _ = env.run("vm config diff 101 --from 9").exits(3).says(&["operation 9 kept no configuration of vm/101"]);
    let _ = env.run("vm config diff 102 --from 1").exits(3).says(&["vm config history 102"]);

    assert_snapshot!(env.run("vm config rollback 101 --before 1 --dry-run"), @"
    exit 0
    --- stdout
    config-rollback vm/101 (web-2) on pve2
      cores: 4 → 2
      memory: 8192 → 2048
      PUT /nodes/pve2/qemu/101/config cores=2 memory=2048 digest=DIGEST
    --- stderr
    vm/101 (web-2): stays as it is: cipassword (secrets are not kept)
    nothing was sent (--dry-run)
    ");
    let _ = env.run("vm config rollback 101 --before 1").exits(2).says(&["--confirm"]);
    let _ = env.run("vm config rollback 101 --before 1 --confirm").ok().says(&["cipassword (secrets are not kept)"]);
    let mut back = config(&env, "vm get 101");
    assert_eq!(back.as_object_mut().unwrap().remove("cipassword"), Some(json!("**********")));
    assert_eq!(back, first);
    // What was changed back can be changed back, too: it is an operation like any other.
    let last = env.json("operation list --limit 1")[0].clone();
    assert_eq!((&last["verb"], &last["status"]), (&json!("config-rollback"), &json!("ok")));
    let _ = env.run(&format!("vm config rollback 101 --before {} --confirm", last["id"])).ok();
    assert_eq!(config(&env, "vm get 101")["memory"], json!("8192"));
    let _ =
        env.run(&format!("vm config rollback 101 --before {} --confirm", last["id"])).ok().says(&["nothing to change"]);
}

#[test]
fn volumes_stay_unless_somebody_wants_them_back() {
    let env = Env::new();
    let first = config(&env, "vm get 101");
    let _ = env.run("vm add disk 101 --volume local-lvm:1").ok();
    let _ = env.run("vm config rollback 101 --before 1 --confirm").ok().says(&["virtio", "only with --disks"]);
    assert_ne!(config(&env, "vm get 101"), first);
    let _ = env.run("vm config rollback 101 --before 1 --disks --confirm").ok();
    let mut back = config(&env, "vm get 101");
    // The volume is not lost: nobody asked for that.
    assert!(back.as_object_mut().unwrap().remove("unused0").is_some(), "{back}");
    assert_eq!(back, first);

    let _ = env.run("container update dns --cores 4").ok();
    let last = env.json("operation list --limit 1")[0]["id"].clone();
    let _ = env.run(&format!("container config rollback dns --before {last} --confirm")).ok();
    assert_eq!(env.json("container config history dns").as_array().unwrap().len(), 2);
}
