//! Tasks: begun, followed, ended, interrupted, left.

use std::{collections::BTreeSet, sync::Mutex};

use super::*;
use crate::{
    backends::TaskQuery,
    model::{ExitStatus, LogLine, Upid},
    tasks::{Follower, Limits, Progress, TaskSource as _, Watch},
};

/// Makes it look as if the task's process had died.
fn kill(state: &State, upid: &Upid) {
    let mut dead = state.process().clone();
    dead.starttime += 1;
    let connection = state.connection();
    let sql = "UPDATE task SET worker = ?2 WHERE upid = ?1";
    assert_eq!(connection.execute(sql, [upid.to_string(), json(&dead).unwrap()]).unwrap(), 1);
}

#[tokio::test]
async fn a_task_is_followed_to_its_end() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>, Option<Progress>);
    impl Watch for Seen {
        fn wants_log(&self) -> bool {
            true
        }
        fn line(&mut self, line: &LogLine) {
            self.0.lock().unwrap().push(format!("{} {}", line.n, line.t));
        }
        fn progress(&mut self, progress: Progress) {
            self.1 = Some(progress);
        }
    }
    let Room { state, .. } = &room();
    let task = state.begin_task("qmclone", "100", "root@pam!ci").unwrap();
    let upid = task.upid().clone();
    assert_eq!(upid.to_string().parse::<Upid>().unwrap(), upid);
    assert_eq!((upid.node.as_str(), upid.pid, upid.user.as_str()), ("desk", std::process::id(), "root@pam!ci"));
    let status = state.task_status(&upid).await.unwrap();
    assert_eq!((status.status.as_str(), status.ended()), ("running", None));
    assert_eq!((&status.other["user"], &status.other["tokenid"]), (&"root@pam".into(), &"ci".into()));

    let mut seen = Seen::default();
    let follower = Follower::new(Arc::new(state.clone()));
    let limits = Limits::default();
    let work = async {
        task.log().progress("scsi0", 1 << 30, 4 << 30).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        task.log().warn("no discard here").unwrap();
        task.end(Ok(())).unwrap()
    };
    let (followed, ended) = tokio::join!(follower.wait(&upid, &limits, &mut seen), work);
    assert_eq!((followed.unwrap(), ended), (ExitStatus::Warnings(1), ExitStatus::Warnings(1)));
    assert_eq!(seen.1.and_then(|progress| progress.done), Some(0.25));
    let want = ["1 scsi0: transferred 1.00 GiB of 4.00 GiB (25.00%)", "2 WARN: no discard here", "3 TASK WARNINGS: 1"];
    assert_eq!(*seen.0.lock().unwrap(), want);

    // Pages as the server cuts them; 0 is all.
    let page = async |start, limit| state.task_log(&upid, start, limit).await.unwrap();
    let numbers = |page: &crate::model::LogPage| page.lines.iter().map(|line| line.n).collect::<Vec<_>>();
    for (start, limit, want) in [(0, 0, vec![1, 2, 3]), (1, 1, vec![2]), (3, 50, vec![]), (u64::MAX, 1, vec![])] {
        let page = page(start, limit).await;
        assert_eq!((numbers(&page), page.total), (want, 3));
    }
}

#[tokio::test]
async fn errors_end_a_task_in_the_words_of_a_server() {
    let Room { state, .. } = &room();
    let task = state.begin_task("qmstart", "100", "root@pam").unwrap();
    let upid = task.upid().clone();
    let error = Error::new(Class::Failed, "start failed").with_source("VM config\nis missing");
    let exit = task.end(Err(&error)).unwrap();
    assert_eq!(exit, ExitStatus::Failed("start failed: VM config is missing".into()));
    assert_eq!(state.task_status(&upid).await.unwrap().ended(), Some(exit));
    let log = state.task_log(&upid, 0, 0).await.unwrap();
    assert_eq!(log.lines.last().unwrap().t, "TASK ERROR: start failed: VM config is missing");

    let unknown: Upid = "UPID:desk:000003EC:00041609:6B003243:qmstart:100:root@pam:".parse().unwrap();
    for class in [state.task_status(&unknown).await.unwrap_err(), state.stop_task(&unknown).await.unwrap_err()] {
        assert_eq!(class.class(), Class::NotFound);
    }
    assert_eq!(state.task_log(&unknown, 0, 0).await.unwrap_err().class(), Class::NotFound);
    assert_eq!(state.begin_task("qm start", "100", "root@pam").unwrap_err().class(), Class::Bug);
}

#[tokio::test]
async fn a_task_that_was_left_is_settled_by_whoever_looks() {
    let Room { state, .. } = &room();
    let unexpected = Some(ExitStatus::Failed("unexpected status".into()));
    let dropped = state.begin_task("qmstop", "101", "root@pam").unwrap();
    let upid = dropped.upid().clone();
    drop(dropped);
    assert_eq!(state.task_status(&upid).await.unwrap().ended(), unexpected);

    let (one, two) = ["qmstart", "qmclone"].map(|kind| state.begin_task(kind, "100", "root@pam").unwrap()).into();
    one.log().line("still here").unwrap();
    let since = state.tasks_since(state.node(), 0, 0).await.unwrap();
    assert_eq!(since.iter().filter(|row| row.ended().is_none()).count(), 2);
    kill(state, one.upid());
    kill(state, two.upid());
    assert_eq!(state.task_status(one.upid()).await.unwrap().ended(), unexpected);
    let rows = state.tasks(&TaskQuery::default()).unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.ended() == unexpected && row.endtime.is_some()), "{rows:?}");
    // The log is what the process wrote, and no more.
    assert_eq!(state.task_log(one.upid(), 0, 0).await.unwrap().total, 1);
    // Too late.
    one.end(Ok(())).unwrap();
    assert_eq!(state.task_status(&rows[0].upid).await.unwrap().ended(), unexpected);
}

#[tokio::test]
async fn lists_are_cut_as_asked() {
    let Room { state, .. } = &room();
    let (good, bad) = ("100", "101");
    for subject in [good, good, bad] {
        let task = state.begin_task("qmstart", subject, "root@pam").unwrap();
        let error = Error::conflict("VM is locked (backup)");
        task.end(if subject == bad { Err(&error) } else { Ok(()) }).unwrap();
    }
    let running = state.begin_task("qmstop", bad, "root@pam").unwrap();
    let count = |query: TaskQuery| state.tasks(&query).unwrap().len();
    let all = TaskQuery::default;
    assert_eq!(count(all()), 4);
    assert_eq!(count(TaskQuery { limit: 2, ..all() }), 2);
    assert_eq!(count(TaskQuery { vmid: Some(vmid(101)), ..all() }), 2);
    assert_eq!(count(TaskQuery { running: true, ..all() }), 1);
    assert_eq!(count(TaskQuery { errors: true, ..all() }), 1);
    assert_eq!(count(TaskQuery { node: Some(NodeName::new("other").unwrap()), ..all() }), 0);
    let newest = &state.tasks(&all()).unwrap()[0];
    assert_eq!((&newest.upid, newest.status.as_deref()), (running.upid(), Some("RUNNING")));

    let now = u32::try_from(Timestamp::now().as_second()).unwrap();
    let since = async |moment| state.tasks_since(state.node(), moment, 50).await.unwrap().len();
    assert_eq!((since(now - 60).await, since(now + 60).await), (4, 1));
    assert_eq!(state.tasks_since(&NodeName::new("other").unwrap(), 0, 1).await.unwrap_err().class(), Class::NotFound);
}

#[tokio::test]
async fn a_stop_reaches_the_worker() {
    let Room { state, .. } = &room();
    let task = state.begin_task("qmclone", "100", "root@pam").unwrap();
    let log = task.log().clone();
    log.check().unwrap();
    state.stop_task(task.upid()).await.unwrap();
    let error = log.check().unwrap_err();
    assert_eq!(task.end(Err(&error)).unwrap(), ExitStatus::Failed("received interrupt".into()));
}

#[test]
fn names_of_tasks_are_never_given_twice() {
    let Room { state, .. } = &room();
    let names: Vec<Upid> =
        (0..50).map(|_| state.begin_task("qmstart", "100", "root@pam").unwrap().upid().clone()).collect();
    assert_eq!(names.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), 50);
}
