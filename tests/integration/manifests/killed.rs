//! An apply that is killed after each of its changes, and given again: the same in the end, and nothing twice.

use std::collections::BTreeMap;

use super::INFRA;
use crate::harness::{Env, eventually};

/// What there is, without what differs from run to run.
fn state(env: &Env) -> String {
    let mut all = String::new();
    for what in ["vm --all", "container --all", "pool --all"] {
        all += &env.run(&format!("export {what}")).ok().raw;
    }
    let lines = all.lines().filter(|line| !line.contains("macaddr") && !line.contains("hwaddr"));
    lines.collect::<Vec<_>>().join("\n")
}

fn served(pace: &str) -> crate::harness::Server {
    let env = Env::paced(pace);
    env.write("infra/secret", "hunter-2-is-long\n");
    env.write("infra/all.yaml", INFRA);
    env.serve("")
}

#[test]
fn an_apply_that_is_killed_anywhere_goes_on() {
    let whole = served("0");
    let _ = whole.run("apply -f infra --quiet").ok();
    let (want, count) = (state(&whole), whole.changes().len());
    assert!(count >= 9, "{:?}", whole.changes());
    for kill in 1..=count {
        let server = served("0.2");
        let dying = server.spawn("apply -f infra --quiet --parallel 1");
        eventually("so many changes are made", || (server.changes().len() >= kill).then_some(()));
        dying.kill();
        // What was sent goes on without anybody.
        let second = server.run("apply -f infra --quiet");
        let when = format!("killed after change {kill}");
        let third = if second.code == 0 {
            second
        } else {
            // A guest that is at work is locked, or taken.
            eventually("nothing is at work any more", || {
                let tasks = server.json("task list --limit 100");
                tasks.as_array().unwrap().iter().all(|task| task["status"] != "running").then_some(())
            });
            server.run("apply -f infra --quiet")
        };
        assert_eq!(third.code, 0, "{when}: {third}");
        let _ = server.run("diff -f infra").ok();
        assert_eq!(state(&server), want, "{when}");
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for line in server.changes().iter().filter(|line| line.ends_with(" 200")) {
            *seen.entry(line.clone()).or_default() += 1;
        }
        // Only what changes a configuration may be asked for in parts.
        let twice = seen.iter().filter(|(line, count)| **count > 1 && !line.contains("/config"));
        assert_eq!(twice.count(), 0, "{when}: {seen:?}");
    }
}
