//! The fault table: what goes wrong on the wire × what was asked, with exit code, requests and the journal's row.
//!
//! A change is sent once, whatever happens; a read at most three times. What may have happened is never `failed`.

use std::fmt::Write as _;

use insta::assert_snapshot;

use crate::harness::{Env, NOBODY, Server};

/// What is asked, with the method and the end of the path of the call that the faults are about.
const CALLS: &[(&str, &str, &str)] = &[
    ("vm list -o name", "GET", "/cluster/resources"),
    ("vm create --vmid 150 --name a --node pve1", "POST", "/nodes/pve1/qemu"),
    ("vm start 101", "POST", "/nodes/pve2/qemu/101/status/start"),
    ("vm delete 103 --confirm", "DELETE", "/nodes/pve3/qemu/103"),
];

/// Serves with this fault on the call.
fn server(fault: &str, (_, method, path): &(&str, &str, &str)) -> Server {
    Env::new().serve(&format!("--fault '{method} {path}:{fault}'"))
}

/// Runs each call against a server with this fault: exit code, requests of the call, status in the journal.
fn row(fault: &str, env: impl Fn(&Server) -> Env) -> String {
    let mut row = format!("{fault:<20}");
    for call @ (line, method, path) in CALLS {
        let server = server(fault, call);
        let env = env(&server);
        let code = env.run(line).code;
        let requests = server.count(method, path);
        let operations = env.json("operation list --limit 5");
        let statuses: Vec<&str> =
            operations.as_array().unwrap().iter().filter_map(|op| op["status"].as_str()).collect();
        let cell = format!("{code} {requests}× {}", statuses.join(","));
        let _ = write!(row, "| {cell:<14}");
    }
    row.trim_end().to_owned()
}

fn table(faults: &[&str], env: impl Fn(&Server) -> Env) -> String {
    let head = "fault               | vm list       | vm create     | vm start      | vm delete".to_owned();
    std::iter::once(head).chain(faults.iter().map(|fault| row(fault, &env))).collect::<Vec<_>>().join("\n")
}

fn same(server: &Server) -> Env {
    (**server).clone()
}

#[test]
fn connections_that_break() {
    assert_snapshot!(table(&["reset-before*1", "reset-before", "reset-after*1", "reset-after", "truncate-after*1", "truncate-after"], same), @"
    fault               | vm list       | vm create     | vm start      | vm delete
    reset-before*1      | 0 2×          | 10 1× unknown | 10 1× unknown | 10 1× unknown
    reset-before        | 10 3×         | 10 1× unknown | 10 1× unknown | 10 1× unknown
    reset-after*1       | 0 2×          | 0 1× ok       | 0 1× ok       | 0 1× ok
    reset-after         | 10 3×         | 0 1× ok       | 0 1× ok       | 0 1× ok
    truncate-after*1    | 0 2×          | 0 1× ok       | 0 1× ok       | 0 1× ok
    truncate-after      | 10 3×         | 0 1× ok       | 0 1× ok       | 0 1× ok
    ");
}

#[test]
fn answers_that_are_none() {
    assert_snapshot!(table(&["status=401*1", "status=500*1", "status=502*1", "status-after=502*1", "status=595*1", "status=595", "status=596*1", "status=599*1"], same), @"
    fault               | vm list       | vm create     | vm start      | vm delete
    status=401*1        | 4 1×          | 4 1× failed   | 4 1× failed   | 4 1× failed
    status=500*1        | 1 1×          | 1 1× failed   | 1 1× failed   | 1 1× failed
    status=502*1        | 0 2×          | 10 1× unknown | 10 1× unknown | 10 1× unknown
    status-after=502*1  | 0 2×          | 0 1× ok       | 0 1× ok       | 0 1× ok
    status=595*1        | 10 1×         | 10 1× failed  | 10 1× failed  | 10 1× failed
    status=595          | 10 1×         | 10 1× failed  | 10 1× failed  | 10 1× failed
    status=596*1        | 0 2×          | 10 1× unknown | 10 1× unknown | 10 1× unknown
    status=599*1        | 0 2×          | 10 1× unknown | 10 1× unknown | 10 1× unknown
    ");
}

#[test]
fn what_is_slow_is_waited_for() {
    assert_snapshot!(table(&["delay=300ms*1"], same), @"
    fault               | vm list       | vm create     | vm start      | vm delete
    delay=300ms*1       | 0 1×          | 0 1× ok       | 0 1× ok       | 0 1× ok
    ");
}

/// A password's ticket may be renewed, once: a 401 says that nothing was done.
#[test]
fn a_ticket_that_ran_out() {
    let with_password = |server: &Server| {
        let env = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN");
        env.write("password", "sandbox");
        let add = format!(
            "config add-context lab --endpoint {} --user root@pam --credential-command 'cat password'",
            server.url
        );
        let _ = env.run(&add).ok();
        env
    };
    assert_snapshot!(table(&["status=401*1", "status=401"], with_password), @"
    fault               | vm list       | vm create     | vm start      | vm delete
    status=401*1        | 0 2×          | 0 2× ok       | 0 2× ok       | 0 2× ok
    status=401          | 4 2×          | 4 2× failed   | 4 2× failed   | 4 2× failed
    ");
}

/// The first of two endpoints cannot be reached, so nothing was sent to it, and the other one is asked.
#[test]
fn what_was_never_sent_goes_elsewhere() {
    let two = |server: &Server| server.with("PVECTL_ENDPOINT", &format!("{NOBODY},{}", server.url));
    assert_snapshot!(table(&["delay=1ms"], two), @"
    fault               | vm list       | vm create     | vm start      | vm delete
    delay=1ms           | 0 1×          | 0 1× ok       | 0 1× ok       | 0 1× ok
    ");
}

#[test]
fn what_may_have_happened_is_told_with_the_way_out() {
    let call = &CALLS[2];
    let server = server("reset-before", call);
    assert_snapshot!(server.run(call.0), @"
    exit 10
    --- stdout
    VMID  NAME   NODE  VERB   STATUS   CHANGED  EXIT STATUS
     101  web-2  pve2  start  unknown  no       -
    --- stderr
    starting vm/101 (web-2)
    ? vm/101 (web-2) start unknown, the answer was lost (0.0s)
    error: cannot start vm/101 (web-2): http://127.0.0.1:PORT gave no answer to `POST /nodes/pve2/qemu/101/status/start`: connection closed before message completed
    hint: the request was sent and its answer lost: it may have been carried out. Look first (`pvectl task list`, `pvectl operation list`), it is not sent again
    ");
    assert_eq!(server.json("vm get 101")["status"], "stopped", "it did not happen");
    assert_eq!(server.changes().len(), 1);
}

/// The answer is lost and the work is done: its task is looked for, once, and followed.
#[test]
fn a_lost_answer_is_found_by_its_task() {
    let call = &CALLS[2];
    let server = server("reset-after", call);
    assert_snapshot!(server.run(call.0), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  start  ok      yes      OK
    --- stderr
    starting vm/101 (web-2)
    warning: the answer was lost (http://127.0.0.1:PORT gave no answer to `POST /nodes/pve2/qemu/101/status/start`: connection closed before message completed), and its task was found: UPID:pve2:…:qmstart:101:root@pam!pvectl:
      vm/101 (web-2): task UPID:pve2:…:qmstart:101:root@pam!pvectl:
    ✓ vm/101 (web-2) started (0.0s)
    ");
    assert_eq!(server.json("operation list")[0]["upid"], server.json("task list --vmid 101")[0]["upid"]);
    assert_eq!(server.changes().len(), 1);
}

#[test]
fn a_slow_log_does_not_hold_up_the_end() {
    let server = Env::paced("1").serve("--fault 'GET /nodes/*/tasks/*/log:delay=100s'");
    let upid = server.run("vm start 101 --no-wait").ok().raw;
    let state = server.json(&format!("task watch {}", upid.trim()));
    assert_eq!(state["exit_status"], "OK");
    for (line, ..) in &CALLS[1..] {
        assert_eq!(server.run(line).code, 0, "{line}");
    }
}

#[test]
fn reads_that_break_while_a_change_is_planned_or_followed_are_repeated() {
    let server = Env::paced("1").serve(
        "--fault 'GET /cluster/resources:reset-before*2' --fault 'GET /nodes/*/qemu/*/status/current:truncate-after*2' \
         --fault 'GET /nodes/*/tasks/*/status:status=596*4'",
    );
    let _ = server.run("vm start 101").ok();
    assert_eq!(server.changes().len(), 1);
}
