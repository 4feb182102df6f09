//! Snapshots and suspends that are killed while the VMM is at work for them. Those that are killed between their steps are
//! cases of `local_kill`.

use std::{fs, thread, time::Duration};

use serde_json::json;

use super::{CREATE, vm_folder};
use crate::{
    harness::eventually,
    local::{Host, stand_in},
};

#[test]
fn killed_while_the_vmm_is_at_work_it_goes_on() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    let events = host.state().join("vms").join(vm_folder(&host)).join("events-1.json");
    for (line, verb, event) in [
        ("vm snapshot create web a-1 --memory", "vm.snapshot", "paused"),
        ("vm suspend web", "vm.snapshot", "paused"),
        ("vm snapshot create web a-1 --memory", "vm.resume", "snapshotted"),
    ] {
        host.orders(&json!({"faults": {verb: {"delay_ms": 700}}}));
        let told = || fs::read_to_string(&events).unwrap().matches(&format!("\"{event}\"")).count();
        let before = told();
        let running = env.spawn(line);
        eventually("the VMM is at it", || (told() > before).then_some(()));
        thread::sleep(Duration::from_millis(100));
        running.kill();
        host.orders(&json!({}));
        // It is not asked to go on before it answers again.
        eventually("the next command mends", || (env.run("vm snapshot create web probe").code == 0).then_some(()));
        let _ = env.run("vm snapshot delete web probe --confirm").ok();
        assert_eq!(host.status("web")["qmpstatus"], "running");
        if host.snapshots().iter().any(|row| row["name"] == "a-1") {
            let _ = env.run("vm snapshot delete web a-1 --confirm").ok();
        }
        host.check_files();
    }
}
