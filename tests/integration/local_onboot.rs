//! VMs that start with this host: the systemd unit, and what it runs.

use std::fs;

use serde_json::json;

use crate::local::{Host, stand_in};

#[test]
fn the_unit_is_there_as_long_as_a_vm_wants_it() {
    let host = Host::new(&stand_in());
    let folder = host.env.path("units");
    let env = host.env.with("PVECTL_UNIT_DIR", folder.to_str().unwrap());
    let unit = folder.join("pvectl-guests.service");
    let create = "vm create --memory 256 --kernel kernel";
    let _ = env.run(&format!("{create} --name a")).ok();
    assert!(!unit.exists());
    let _ = env.run("vm update a --onboot").ok();
    let text = fs::read_to_string(&unit).unwrap();
    let run = text.lines().find_map(|line| line.strip_prefix("ExecStart=-")).unwrap();
    assert!(run.ends_with("\" --context local host start-all"), "{run}");
    assert!(folder.join("multi-user.target.wants/pvectl-guests.service").exists());
    let _ = env.run(&format!("{create} --name b --onboot")).ok();
    let _ = env.run("vm update a --onboot 0").ok();
    assert!(unit.exists(), "b wants it");
    let _ = env.run("vm delete b --confirm").ok();
    assert!(!unit.exists());
    // Where there is one of somebody else, it is left, and said.
    fs::write(&unit, "[Unit]\n").unwrap();
    let _ = env.run("vm update a --onboot").ok().says(&["not made by pvectl"]);
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Unit]\n");
}

#[test]
fn vms_start_in_their_order_and_go_in_the_reverse() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    for (name, more) in [
        ("late", "--onboot"),
        ("second", "--onboot --startup order=2,down=1"),
        ("first", "--onboot --startup order=1,up=1,down=1"),
        ("never", "--startup order=3"),
    ] {
        let _ = env.run(&format!("vm create --memory 256 --kernel kernel --name {name} {more}")).ok();
    }
    let order = |command: &str| -> Vec<String> {
        let rows = env.run(&format!("{command} -o json")).ok().json();
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(order("host start-all --dry-run"), ["first", "second", "late"]);
    assert_eq!(host.processes(), [0; 0]);
    assert_eq!(order("host start-all"), ["first", "second", "late"]);
    assert_eq!(host.status("late")["status"], "running");
    assert_eq!(host.status("never")["status"], "stopped");
    // Again: there is nothing to do.
    let rows = env.run("host start-all -o json").ok().json();
    assert!(rows.as_array().unwrap().iter().all(|row| row["changed"] == json!(false)), "{rows}");
    let _ = env.run("vm update late --set startup=down=1").ok();
    let _ = env.run("host stop-all").exits(2).says(&["--confirm"]);
    // The guests do not listen, so each is given its second and then loses its power.
    assert_eq!(order("host stop-all --confirm"), ["late", "second", "first"]);
    assert_eq!(host.processes(), [0; 0]);
    let _ = env.run("host stop-all --confirm").ok().says(&["no VM is on"]);
    let _ = env.run("host start-all --context sandbox").exits(2).says(&["--context local"]);
}
