//! A server from elsewhere: by its address alone, what `check` and `status` say of it, and what a served host does beside
//! the API of Proxmox VE.

mod queued;

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    harness::{Env, NOBODY, Server, eventually},
    local::{Host, stand_in},
    serve::Served,
};

/// The facts of a check by their names, with its code.
fn check(env: &Env, flags: &str) -> (i32, Vec<(String, String)>, Value) {
    let said = env.run(&format!("check {flags} -o json"));
    let facts = said.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let states = facts.as_array().unwrap().iter().map(|fact| (text(&fact["name"]), text(&fact["status"]))).collect();
    (said.code, states, facts)
}

fn fact<'f>(facts: &'f Value, name: &str) -> &'f Value {
    facts.as_array().unwrap().iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("{name}: {facts}"))
}

fn status_of<'s>(states: &'s [(String, String)], name: &str) -> &'s str {
    states.iter().find(|(have, _)| have == name).map_or("", |(_, status)| status)
}

/// A server with TLS that somebody reaches by a flag alone, with credentials from the environment.
fn named_alone() -> (Server, Env, String) {
    let server = Env::new().serve("--tls");
    let env = server.without("PVECTL_ENDPOINT");
    let flag = format!("--host {}", server.url);
    (server, env, flag)
}

#[test]
fn a_server_is_named_by_a_flag_alone() {
    let (server, env, flag) = named_alone();
    let restarted = env.run(&format!("{flag} vm restart web-1 -o json")).ok().json();
    assert_eq!((&restarted["status"], &restarted["context"]), (&json!("ok"), &json!(server.url)));
    // A context lends its trust to the same address, and nobody its secret.
    let fingerprint = server.fingerprint.clone().unwrap();
    let home = Env::bare();
    home.write("token", &server.token);
    let add = "config add-context lab --token-file token";
    let _ = home.run(&format!("{add} --endpoint {} --fingerprint {fingerprint}", server.url)).ok();
    let token = home.with("PVECTL_TOKEN", &server.token);
    let _ = token.run(&format!("{flag} vm get web-1 -o name")).ok();
    let origins = token.run(&format!("{flag} config view --origin")).ok().stdout;
    assert!(origins.contains("(context lab)") && origins.contains("(flag --host)"), "{origins}");
    let _ = home.run(&format!("{flag} vm list")).exits(2).says(&["--context lab", "there is no terminal to ask on"]);
    let _ = Env::bare().with("PVECTL_TOKEN", &server.token).run(&format!("{flag} vm list")).exits(10);
    let _ = token.run("--host https://root:secret@pve1:8006 vm list").exits(2).says(&["no password"]);
}

#[test]
fn everything_that_a_context_needs_is_looked_at() {
    let (_server, env, flag) = named_alone();
    let (code, states, facts) = check(&env, &flag);
    assert_eq!(code, 0, "{facts}");
    let names: Vec<&str> = states.iter().map(|(name, _)| name.as_str()).collect();
    let all = ["context", "dns", "tcp", "tls", "certificate", "login", "version", "clock", "credentials", "privileges"];
    assert_eq!(names, all);
    assert!(states.iter().all(|(_, status)| status == "ok"), "{facts}");
    assert!(fact(&facts, "certificate")["value"]["days"].as_i64().unwrap() > 300, "{facts}");
    let shown = env.run(&format!("check {flag}")).ok();
    assert!(shown.stdout.contains("ok      tls          the certificate is the one that is pinned"), "{shown}");
    assert!(shown.stderr.contains("can be worked with"), "{shown}");
    let _ = env.run(&format!("check {flag} --firmware x")).exits(2).says(&["--context local"]);
    // The simulated cluster is one too, when it is asked for.
    assert_eq!(check(&Env::new(), "").0, 0);
}

#[test]
fn what_fails_says_how_to_mend_it_and_the_rest_is_left_out() {
    let (server, env, flag) = named_alone();
    for (env, flag, bad, mend) in [
        (&env, format!("--host {NOBODY}"), "tcp", "is the server up"),
        (&env, "--host https://nobody.invalid:8006".to_owned(), "dns", "getent hosts"),
        (&env.without("PVECTL_FINGERPRINT"), flag.clone(), "tls", "PVECTL_FINGERPRINT"),
        (
            &env.with("PVECTL_TOKEN", "root@pam!pvectl=00000000-0000-4000-a000-000000000000"),
            flag.clone(),
            "login",
            "token",
        ),
    ] {
        let (code, states, facts) = check(env, &flag);
        assert_eq!((code, status_of(&states, bad)), (1, "failed"), "{facts}");
        assert!(fact(&facts, bad)["mend"].as_str().unwrap().contains(mend), "{facts}");
        let after = states.iter().skip_while(|(name, _)| name != bad).skip(1);
        for (name, status) in after {
            assert_eq!(status, "skipped", "{name}");
            assert!(fact(&facts, name)["seen"].as_str().unwrap().contains(bad), "{facts}");
        }
        let _ = env.run(&format!("check {flag}")).exits(1).says(&["cannot be worked with yet: see", bad]);
    }
    let wrong = env.with("PVECTL_FINGERPRINT", &"AB".repeat(32));
    let (code, _, facts) = check(&wrong, &flag);
    assert!(code == 1 && fact(&facts, "tls")["mend"].is_null(), "nobody is told to trust another one: {facts}");
    // Several endpoints: one that answers will do.
    let (code, states, _) = check(&env, &format!("--host {NOBODY},{}", server.url));
    assert_eq!((code, status_of(&states, "tcp"), status_of(&states, "login")), (0, "warn", "ok"));
    // What somebody lacks is named with the role that has it.
    let audit = env.with("PVECTL_TOKEN", &format!("audit@pve!readonly={}", server.secret()));
    let (code, states, facts) = check(&audit, &flag);
    assert_eq!((code, status_of(&states, "privileges")), (0, "warn"));
    let lacks = fact(&facts, "privileges");
    assert!(lacks["seen"].as_str().unwrap().contains("VM.PowerMgmt (start, stop)"), "{lacks}");
    assert!(lacks["mend"].as_str().unwrap().contains("--role PVEVMAdmin"), "{lacks}");
    assert!(!lacks["value"].to_string().contains("VM.Audit"), "{lacks}");
}

#[test]
fn a_token_that_ends_soon_is_told() {
    let (_server, env, flag) = named_alone();
    let made = env.run(&format!("{flag} token create root@pam soon --privsep 0 --expire 3d -o json")).ok().json();
    let token = format!("root@pam!soon={}", made["value"].as_str().unwrap());
    let env = env.with("PVECTL_TOKEN", &token);
    let (code, states, facts) = check(&env, &flag);
    assert_eq!((code, status_of(&states, "credentials")), (0, "warn"), "{facts}");
    assert!(fact(&facts, "credentials")["mend"].as_str().unwrap().contains("token update"), "{facts}");
    let status = env.json(&format!("status {flag}"));
    let left = status["expires_in_days"].as_i64().unwrap();
    assert!((2..=3).contains(&left) && status["expires"].is_string(), "{status}");
}

#[test]
fn the_status_is_told_also_of_a_server_that_is_away() {
    let (mut server, env, _) = named_alone();
    env.write("token", &server.token);
    let add = format!(
        "config add-context lab --endpoint {} --fingerprint {} --token-file token",
        server.url,
        server.fingerprint.clone().unwrap()
    );
    let env = env.without("PVECTL_TOKEN").without("PVECTL_FINGERPRINT");
    let _ = env.run(&add).ok();
    let status = env.json("status");
    assert_eq!(
        (&status["context"], &status["kind"], &status["reachable"]),
        (&json!("lab"), &json!("proxmox"), &json!(true))
    );
    assert_eq!((&status["user"], &status["method"]), (&json!("root@pam!pvectl"), &json!("token")));
    assert_eq!((&status["enrolled"], &status["error"]), (&json!(false), &Value::Null));
    assert!(status["certificate"]["days"].as_i64().unwrap() > 300 && status["last_contact"].is_string(), "{status}");
    assert!(status["clock_ahead"].as_i64().unwrap().abs() < 30, "{status}");
    server.kill();
    let away = env.run("status").exits(10).says(&["cannot reach"]);
    for line in
        ["context       lab", "server        away", "user          root@pam!pvectl, by token", "last contact  0s ago"]
    {
        assert!(away.stdout.contains(line), "{line}:\n{away}");
    }
    let away = env.run("status -o json").exits(10).json();
    assert_eq!((&away["reachable"], &away["version"]), (&json!(false), &Value::Null));
    assert!(away["error"].as_str().unwrap().contains("cannot reach") && away["last_contact"].is_string(), "{away}");
    assert_eq!(Env::bare().json("status --context local")["kind"], "local");
}

/// A served host with a program that somebody may run.
fn with_program(flags: &str) -> Served {
    let host = Host::new(&stand_in());
    let script = "#!/bin/sh\necho \"said $1\"; echo complained >&2; [ \"$1\" = sleep ] && sleep 600; \
                  [ \"$1\" = bytes ] && printf '\\377\\000\\200'; exit ${2:-0}\n";
    let script = host.env.write("say.sh", script);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let env = host.env.clone();
    Served::of(host, &env, &format!("--allow-exec say={} {flags}", script.display()))
}

#[test]
fn a_program_of_a_served_host_is_run_from_elsewhere() {
    let served = with_program("");
    let remote = &served.remote;
    let ran = remote.run("host exec say hello 3").exits(3);
    assert_eq!(ran.stdout, "said hello\n");
    assert!(ran.stderr.starts_with("complained\n") && ran.stderr.contains("`say` took 0."), "{ran}");
    assert_eq!(remote.run("host exec say -q -- --all").ok().stderr, "complained\n");
    let data = remote.run("host exec say x 7 -o json").exits(7).json();
    assert_eq!((&data["exit_code"], &data["code"], &data["stdout"]), (&json!(7), &json!(7), &json!("said x\n")));
    assert!(data["duration_ms"].is_u64() && data["request"].is_string(), "{data}");
    let slow = remote.run("host exec say sleep --timeout 1").exits(8).says(&["was killed after 1."]);
    assert_eq!(slow.stdout, "said sleep\n");
    // Both journals have it, and the host's the name of the request.
    let mine = remote.json("operation list --verb exec");
    assert_eq!(mine.as_array().unwrap().len(), 4, "{mine}");
    assert_eq!((&mine[1]["status"], &mine[1]["exit_status"]), (&json!("failed"), &json!("exit code 7")));
    let there = served.host.env.json("operation list --verb exec");
    assert_eq!(there.as_array().unwrap().len(), 4, "{there}");
    let shown = served.host.env.run(&format!("operation show {}", there[1]["id"])).ok();
    assert!(shown.stdout.contains(data["request"].as_str().unwrap()), "{shown}");
    // What it is not done for is said, and nothing is sent.
    let _ =
        remote.run("host exec sh").exits(127).says(&["no command that the owner of this host allows; there are say"]);
    let _ = remote.run("host exec say --timeout 2h").exits(2).says(&["from 1s to 1h"]);
    let _ = remote.with("PVECTL_READ_ONLY", "1").run("host exec say").exits(125).says(&["changes are switched off"]);
    let _ = remote.run("host exec say --dry-run").ok().says(&["would send POST /api/exec/say", "nothing was done"]);
    let _ = served.host.env.run("host exec say --context local").exits(2).says(&["run them yourself"]);
    let _ = Env::new().run("host exec say").exits(2).says(&["no host that `pvectl serve` serves"]);
    assert_eq!(served.host.env.json("operation list --verb exec").as_array().unwrap().len(), 4);
}

#[test]
fn what_a_program_says_survives_byte_for_byte() {
    let served = with_program("");
    assert_eq!(served.remote.stdout_of("host exec say bytes"), b"said bytes\n\xff\0\x80");
    let data = served.remote.run("host exec say bytes 7 -o json").exits(7).json();
    assert_eq!(
        (&data["stdout"], &data["stdout_base64"]),
        (&json!("said bytes\n\u{fffd}\0\u{fffd}"), &json!("c2FpZCBieXRlcwr/AIA="),)
    );
    assert_eq!((&data["stderr"], &data["stderr_base64"]), (&json!("complained\n"), &Value::Null), "text is enough");
    assert_eq!((&data["exit_code"], data["duration_ms"].is_u64()), (&json!(7), true));
}

#[test]
fn without_a_list_nothing_is_run() {
    let served = Served::start_with("");
    let _ = served.remote.run("host exec say").exits(127).says(&["it allows none", "--allow-exec NAME=/path"]);
    assert_eq!(served.host.env.json("operation list --verb exec"), json!([]));
    assert_eq!(served.remote.json("operation list --verb exec")[0]["status"], "failed");
}

#[test]
fn whoever_does_not_wait_is_told_what_goes_on() {
    let served = with_program("");
    let mut running = served.remote.spawn("host exec say sleep --timeout 2");
    eventually("the program runs there", || {
        let rows = served.host.env.json("operation list --verb exec");
        (!rows.as_array().unwrap().is_empty()).then_some(())
    });
    running.interrupt();
    running.close_stdout();
    let left = running.wait().exits(130).says(&["it may have begun, and goes on", "name this request"]);
    assert!(!left.stderr.contains("task list"), "{left}");
    assert_eq!(served.remote.json("operation list --verb exec")[0]["status"], "unknown");
    // There it is not killed by that, and ends when its time is over.
    eventually("it ends there", || {
        let rows = served.host.env.json("operation list --verb exec");
        (rows[0]["exit_status"] == "killed after 2 s").then_some(())
    });
    // Nothing of it is gone on with by itself.
    let _ = served.remote.run("operation resume 1").exits(6).says(&["is not known"]);
    assert_eq!(served.host.env.json("operation list --verb exec").as_array().unwrap().len(), 1);
}

#[test]
fn an_answer_that_is_lost_leaves_it_open() {
    let mut served = with_program("");
    let running = served.remote.spawn("host exec say sleep");
    eventually("the program runs there", || {
        let rows = served.host.env.json("operation list --verb exec");
        (!rows.as_array().unwrap().is_empty()).then_some(())
    });
    served.kill();
    let _ = running.wait().exits(125).says(&["is not asked for again", "name this request"]);
    assert_eq!(served.remote.json("operation list --verb exec")[0]["status"], "unknown");
}

#[test]
fn a_served_host_is_looked_at_from_elsewhere() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(wiremock::MockServer::start());
    let taken = wiremock::Mock::given(wiremock::matchers::any()).respond_with(wiremock::ResponseTemplate::new(204));
    runtime.block_on(taken.mount(&listener));
    let served = with_program(&format!("--report-to {}/hosts --report-every 1h", listener.uri()));
    let remote = &served.remote;
    let facts = remote.json("host facts");
    assert_eq!(fact(&facts, "cloud-hypervisor")["status"], "ok", "{facts}");
    assert!(remote.run("host facts").ok().stdout.contains("bridges"));
    let beats = || runtime.block_on(listener.received_requests()).unwrap().len();
    eventually("the first heartbeat", || (beats() == 1).then_some(()));
    let (code, states, facts) = check(remote, "");
    assert_eq!((code, status_of(&states, "heartbeat"), beats()), (0, "ok", 2), "{facts}");
    let (_, states, _) = check(&remote.with("PVECTL_READ_ONLY", "1"), "");
    assert_eq!((status_of(&states, "heartbeat"), beats()), ("skipped", 2));
    let (status, node) = (remote.json("status"), json!(served.said("node")));
    assert_eq!(
        (&status["kind"], &status["node"], &status["heartbeat"]["status"]),
        (&json!("served"), &node, &json!("ok"))
    );
    assert!(status["reports_to"].as_str().unwrap().ends_with("/hosts"), "{status}");
    assert!(remote.run("status").ok().stdout.contains("heartbeats"));
    // Whoever has a password is let in as well.
    let _ = served.host.env.run_with("serve password --password -", "correct horse").ok();
    let env = Env::bare();
    env.write("password", "correct horse");
    let add = format!(
        "config add-context minipc --endpoint {} --fingerprint {} --user root@pam --credential-command 'cat password'",
        served.said("url"),
        served.said("fingerprint")
    );
    let _ = env.run(&add).ok();
    assert_eq!(env.run("host exec say hello").ok().stdout, "said hello\n");
    assert_eq!(env.json("status")["method"], "password");
    // A Proxmox server has no such words.
    let _ = Env::new().run("host facts").exits(2).says(&["--context local"]);
}
