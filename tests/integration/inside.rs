//! The inside of guests: programs, files and addresses, by the agents of the sandbox's VMs.

use std::{fs, process::Output};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::harness::Env;

const GUEST: &str = "/api2/json/nodes/pve1/qemu/100";

/// Bytes of every value, so many.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn a_program_speaks_and_ends_as_if_it_were_here() {
    let env = Env::new();
    let told = env.run("vm exec web-1 -- hostname").ok();
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("web-1\n", ""));
    let both = env.run("vm exec 100 -- sh -c 'echo out; echo err >&2; exit 3'").exits(3);
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    let _ = env.run("vm exec 100 -- false").exits(1);
    let _ = env.run("vm exec 100 -- sh -c 'kill -9 $$'").exits(137);
    let _ = env.run("vm exec 100 -- nosuch").exits(127).says(&["Failed to execute child process “nosuch”"]);
    // Arguments are the program's own, whatever is in them.
    let odd = env.run("vm exec 100 -- echo 'a,b; c' --dry-run -o json ü").ok();
    assert_eq!(odd.stdout, "a,b; c --dry-run -o json ü\n");

    let data = env.run("vm exec 100 -o json -- sh -c 'echo out; exit 4'").exits(4).json();
    assert_eq!((&data["stdout"], &data["exitcode"], &data["vmid"]), (&json!("out\n"), &json!(4), &json!(100)));
    let dry = env.run("vm exec 100 --dry-run -- echo 'a b'").ok();
    assert!(dry.stdout.contains("POST /nodes/pve1/qemu/100/agent/exec command=echo command=\"a b\""), "{dry}");
    let _ = env.run("vm exec 100 -- ").exits(2);
    let _ = env.run("vm exec 100 --no-wait -- true").exits(2).says(&["waits for it", "in the background"]);
    let _ = env.run("vm exec nobody -- true").exits(125).says(&["nobody"]);

    let rows = env.json("operation list --target 100");
    let rows = rows.as_array().unwrap();
    let ends: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["status"], &row["exit_status"])).collect();
    assert!(ends.contains(&(&json!("failed"), &json!("exit code 3"))), "{ends:?}");
    assert!(ends.contains(&(&json!("failed"), &json!("signal 9"))), "{ends:?}");
    assert!(ends.contains(&(&json!("ok"), &json!("exit code 0"))), "{ends:?}");
    assert!(rows.iter().all(|row| row["verb"] == "exec"), "{rows:?}");
}

#[test]
fn output_and_input_are_bytes_however_many() {
    let env = Env::new();
    let much = env.shell("exec \"$0\" vm exec 100 -- head -c 1048576 /dev/zero");
    assert_eq!((code(&much), much.stdout), (0, vec![0; 1 << 20]));
    // Nothing, what one call takes to the byte, one more, and much more: the last two go in pieces.
    for count in [0, 1, 65_536, 65_537, 200_000] {
        let sent = bytes(count);
        fs::write(env.path("input"), &sent).unwrap();
        let back = env.shell("exec \"$0\" --quiet vm exec 100 -i -- cat < input");
        assert_eq!(code(&back), 0, "{count}: {}", String::from_utf8_lossy(&back.stderr));
        assert_eq!(back.stdout, sent, "{count}");
    }
    // Without being asked for, stdin is left alone.
    let alone = env.run_with("vm exec 100 -- wc -c", "not for it").ok();
    assert_eq!(alone.stdout, "0\n");
    // The pieces are gone, also where no program could be begun.
    let _ = env.shell("head -c 100000 /dev/zero | \"$0\" --quiet vm exec 100 -i -- nosuch");
    assert_eq!(env.run("vm exec 100 -- ls /tmp").ok().stdout, "");
    let dry = env.shell("head -c 100000 /dev/zero | \"$0\" --quiet vm exec 100 -i --dry-run -- wc -c");
    let dry = String::from_utf8(dry.stdout).unwrap();
    for part in ["command=mkdir command=-m command=700", "content=*** encode=0", "command=wc command=-c"] {
        assert!(dry.contains(part), "`{part}` is missing: {dry}");
    }
    assert_eq!(dry.matches("agent/file-write").count(), 3, "{dry}");
    let one = env.run_with("vm exec 100 -i --dry-run -- wc -c", "hunter2").ok();
    assert!(one.stdout.contains("input-data=***") && !one.stdout.contains("hunter2"), "{one}");
}

#[test]
fn a_program_that_does_not_end_is_left_alone() {
    let env = Env::new();
    let late = env.run("vm exec 100 --timeout 1s -- sleep 600").exits(8);
    let late = late.says(&["does not end within the time", "goes on in the guest as process"]);
    assert_eq!(late.stdout, "");
    let mut waiting = env.spawn("vm exec 100 -v -- sleep 600");
    waiting.until("exec-status");
    waiting.interrupt();
    let _ = waiting.wait().exits(130).says(&["interrupted: the program goes on"]);
    let rows = env.json("operation list --target 100");
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&json!("unknown"), &json!("unknown")), "{rows}");
}

#[test]
fn each_way_in_which_an_agent_does_not_answer_has_its_own_way_out() {
    let env = Env::new();
    let _ = env.run("vm agent ping 100").ok();
    let none = env.run("vm agent ping 102").exits(1);
    let _ = none.says(&["No QEMU guest agent configured", "vm update 102 --agent 1", "qemu-guest-agent"]);
    let _ = env.run("vm update 101 --agent 1").ok();
    let _ = env.run("vm agent info 101").exits(6).says(&["VM 101 is not running", "pvectl vm start 101"]);
    let _ = env.run("vm update 101 --description 'sandbox: no agent'").ok();
    let _ = env.run("vm start 101").ok();
    for line in ["vm agent ping 101", "vm agent fstrim 101", "vm file read 101 /etc/hostname"] {
        let silent = env.run(line).exits(1);
        let _ = silent.says(&["QEMU guest agent is not running", "systemctl enable --now", "vm wait 101 --for agent"]);
    }
    let _ = env.run("vm exec 101 -- true").exits(125).says(&["QEMU guest agent is not running"]);
    let _ = env.run("vm wait 102 --for agent").exits(1).says(&["vm update 102 --agent 1"]);
    let _ = env.run("vm wait 101 --for agent --timeout 300ms").exits(8);
    let _ = env.run("vm wait 100 --for agent").ok();
    // Who may only look may not run anything.
    let served = env.serve("");
    let reader = served.with("PVECTL_TOKEN", &format!("audit@pve!readonly={}", served.secret()));
    let _ = reader.run("vm exec 100 -- true").exits(125).says(&["VM.GuestAgent.Unrestricted on /vms/100"]);
}

#[test]
fn an_agent_is_asked_and_told() {
    let env = Env::new();
    assert_eq!(env.json("vm agent osinfo 100")["id"], "debian");
    assert_eq!(env.json("vm agent hostname 100")["host-name"], "web-1");
    assert_eq!(env.json("vm agent fsinfo 100")[0]["mountpoint"], "/");
    assert_eq!(env.json("vm agent users 100")[0]["user"], "root");
    assert_eq!(env.json("vm agent vcpus 100").as_array().unwrap().len(), 2);
    assert_eq!(env.json("vm agent ping 100")["answers"], true);
    assert_eq!(env.json("vm agent fsfreeze status 100")["status"], "thawed");
    let _ = env.run("vm agent fsfreeze freeze 100").ok().says(&["vm agent fsfreeze thaw 100"]);
    assert_eq!(env.json("vm agent fsfreeze status 100")["status"], "frozen");
    let _ = env.run("vm agent fsfreeze thaw 100").ok();
    assert_eq!(env.json("vm agent fsfreeze status 100")["status"], "thawed");
    assert_eq!(env.json("vm agent fstrim 100")["status"], "ok");
    let _ = env
        .run("vm agent set-password 100 root --password hunter22")
        .exits(2)
        .says(&["not taken from the command line"]);
    let set = env.run_with("vm agent set-password 100 root --password -", "hunter22").ok();
    assert!(!set.stdout.contains("hunter22") && !set.stderr.contains("hunter22"), "{set}");
    let _ = env.run_with("vm agent set-password 100 nobody --password -", "hunter22").exits(3).says(&["user 'nobody'"]);
    let _ = env.run_with("vm agent set-password 100 root --password -", "abc").exits(2).says(&["password"]);
    let _ = env.run("container exec 110 -- true").exits(2);
}

#[test]
fn files_go_in_and_come_out_byte_for_byte() {
    let env = Env::new();
    assert_eq!(env.run("vm file read 100 /etc/hostname").ok().stdout, "web-1\n");
    for count in [0, 1, 46_080, 46_081, 150_000] {
        let content = bytes(count);
        fs::write(env.path("file"), &content).unwrap();
        let _ = env.run("vm file write 100 /tmp/file file").ok();
        let back = env.shell("exec \"$0\" vm file read 100 /tmp/file");
        assert!(code(&back) == 0 && back.stdout == content, "{count}");
    }
    let _ = env.run_with("vm file write 100 /tmp/typed", "typed").ok();
    assert_eq!(env.run("vm file read 100 /tmp/typed").ok().stdout, "typed");
    assert_eq!(env.run("vm exec 100 -- ls /tmp").ok().stdout, "file\ntyped\n");
    let dry = env.run_with("vm file write 100 /tmp/typed --dry-run", "hunter2").ok();
    assert!(dry.stdout.contains("agent/file-write file=/tmp/typed content=*** encode=0"), "{dry}");

    let _ = env.run("vm file read 100 /nope").exits(3).says(&["cannot read /nope in vm/100", "No such file"]);
    let _ = env.run("vm file write 100 /no/where file").exits(1).says(&["No such file or directory"]);
    let _ = env.run("vm file write 100 /tmp/x missing").exits(2).says(&["cannot read missing"]);
    let row = env.json("operation list --target 100 --limit 1");
    assert_eq!((&row[0]["verb"], &row[0]["status"]), (&json!("file-write"), &json!("failed")), "{row}");
    // In pieces, what went wrong at the end leaves nothing behind.
    fs::write(env.path("file"), bytes(100_000)).unwrap();
    let _ = env.run("vm file write 100 /no/where file").exits(1).says(&["cannot create /no/where"]);
    assert_eq!(env.run("vm exec 100 -- ls /tmp").ok().stdout, "file\ntyped\n");
}

#[test]
fn addresses_come_from_the_guest_and_else_from_its_configuration() {
    let env = Env::new();
    let own = env.json("vm ip 100");
    assert_eq!(own.as_array().unwrap().len(), 1);
    assert_eq!((&own[0]["address"], &own[0]["from"]), (&json!("10.10.0.101"), &json!("agent")), "{own}");
    assert_eq!(env.run("vm ip 100 -o name").ok().stdout, "10.10.0.101\n");
    assert_eq!(env.json("vm ip 100 --all").as_array().unwrap().len(), 4);
    assert_eq!(env.json("container ip proxy")[0]["from"], "container");

    let _ = env.run("vm ip 101").exits(3).says(&["no address of vm/101 is known", "vm update 101 --agent 1"]);
    let _ = env.run("vm update 101 --ipconfig0 ip=10.0.0.5/24,gw=10.0.0.1").ok();
    let fixed = env.run("vm ip 101 -o json").ok().says(&["these are the addresses of its configuration"]).json();
    assert_eq!(
        (&fixed[0]["address"], &fixed[0]["prefix"], &fixed[0]["interface"], &fixed[0]["from"]),
        (&json!("10.0.0.5"), &json!(24), &json!("ipconfig0"), &json!("config"))
    );
    let _ = env.run("container ip 111").exits(3).says(&["container start 111"]);
    let several = env.run("vm ip 100,102 -o json").exits(1).says(&["no address of vm/102"]);
    assert_eq!(several.json().as_array().unwrap().len(), 1);
}

#[test]
fn the_systems_ssh_goes_to_a_guest_by_its_name() {
    let env = Env::new();
    let ssh = env.write("bin/ssh", "#!/bin/sh\nprintf '[%s]' \"$@\"\nexit 7\n");
    fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let env = env.with("PATH", &format!("{}:/usr/bin:/bin", env.path("bin").display()));
    let went = env.run("vm ssh debian@web-1 -- -p 22 uptime -p").exits(7);
    assert_eq!(went.stdout, "[-o][HostKeyAlias=vm-100.sandbox][-l][debian][-p][22][10.10.0.101][uptime][-p]");
    let went =
        env.run("container ssh proxy -l root -v").exits(7).says(&["container/110 is at 10.10.0.111 (says container)"]);
    assert_eq!(went.stdout, "[-o][HostKeyAlias=container-110.sandbox][-l][root][10.10.0.111]");
    let dry = env.run("vm ssh 100 --address 192.0.2.1 --dry-run -- ls 'a b'").ok();
    assert_eq!(dry.stdout, "ssh -o 'HostKeyAlias=vm-100.sandbox' 192.0.2.1 ls 'a b'\n");
    let _ = env.run("vm ssh 102").exits(3).says(&["no address of vm/102 is known"]);
    let _ = env.run("vm ssh @100").exits(2);
    let _ = env.run("vm ssh -oProxyCommand=x@100").exits(2);
    let _ = env.run("vm ssh 100 --address=-oProxyCommand=x").exits(2).says(&["is no address"]);
    let nothing = env.with("PATH", "/nonexistent");
    let _ = nothing.run("vm ssh 100").exits(1).says(&["cannot run ssh", "OpenSSH"]);
}

/// A server with one VM that answers so.
async fn odd_server(answers: &[(&str, &str, ResponseTemplate)]) -> (MockServer, Env) {
    let server = MockServer::start().await;
    let guest = json!({"data": [{"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "pve1", "status": "running", "name": "x"}]});
    let listed = ResponseTemplate::new(200).set_body_json(guest);
    let all = [("GET", "/api2/json/cluster/resources", listed)];
    let nodes = json!({"data": [{"node": "pve1", "status": "online"}]});
    let nodes = [("GET", "/api2/json/nodes", ResponseTemplate::new(200).set_body_json(nodes))];
    for (verb, at, answer) in all.iter().chain(&nodes).chain(answers) {
        let at = at.replace("GUEST", GUEST);
        Mock::given(method(*verb)).and(path(at)).respond_with(answer.clone()).mount(&server).await;
    }
    let env = Env::bare().with("PVECTL_ENDPOINT", &server.uri()).with("PVECTL_TOKEN", "root@pam!x=y");
    (server, env)
}

fn data(data: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "data": data }))
}

#[tokio::test]
async fn what_an_agent_cut_off_is_told() {
    let begun = ("POST", "GUEST/agent/exec", data(json!({"pid": 7})));
    let status =
        json!({"exited": 1, "exitcode": 0, "out-data": "half", "out-truncated": 1, "err-data": "\u{c3}\u{bc}"});
    let (_server, env) = odd_server(&[begun.clone(), ("GET", "GUEST/agent/exec-status", data(status))]).await;
    let cut = env.run("vm exec 100 -- big").ok();
    assert_eq!(cut.stdout, "half");
    assert!(cut.stderr.starts_with("ü") && cut.stderr.contains("output were cut off"), "{cut}");

    // An end that was told to somebody else.
    let gone = ResponseTemplate::new(500)
        .set_body_json(json!({"data": null, "message": "Agent error: PID 7 does not exist\n"}));
    let (_server, env) = odd_server(&[begun.clone(), ("GET", "GUEST/agent/exec-status", gone)]).await;
    let _ = env.run("vm exec 100 -- gone").exits(125).says(&["how it ended is not known", "only once"]);

    // The server passes on what some commands of an agent refuse as if all were well.
    let refused = json!({"result": {"error": {"class": "CommandNotFound", "desc": "The command guest-fstrim has been disabled"}}});
    let (_server, env) = odd_server(&[("POST", "GUEST/agent/fstrim", data(refused))]).await;
    let _ = env.run("vm agent fstrim 100").exits(1).says(&["has been disabled", "/etc/sysconfig/qemu-ga"]);
}

#[tokio::test]
async fn a_server_that_reads_only_the_beginning_of_a_file_is_told_on() {
    let answer = data(json!({"content": "aGFsZg==", "truncated": 1}));
    let refusal =
        json!({"data": null, "message": "Parameter verification failed.\n", "errors": {"offset": "not in schema"}});
    let (server, env) = odd_server(&[]).await;
    let at = format!("{GUEST}/agent/file-read");
    let later = wiremock::matchers::query_param("offset", "4");
    Mock::given(method("GET"))
        .and(path(at.clone()))
        .and(later)
        .respond_with(ResponseTemplate::new(400).set_body_json(refusal))
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(&server).await;
    let cut = env.run("vm file read 100 /big").exits(1).says(&["the first 4 bytes"]);
    assert_eq!(cut.stdout, "half");
}
