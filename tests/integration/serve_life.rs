//! The life of a served host: what happens beside the server, VMs that start with the host, what systemd is told, logs.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    harness::{Env, Process, begin, eventually},
    local::{Host, stand_in},
};

/// A host that is served in the clear.
struct Served {
    process: Process,
    remote: Env,
    address: String,
    token: String,
}

impl Served {
    fn start(env: &Env, token: Option<&str>, flags: &str) -> Self {
        let (process, ready) = begin(env, &format!("serve --listen 127.0.0.1:0 --no-tls -o json {flags}"));
        let url = ready["url"].as_str().unwrap();
        let token = token.or(ready["token"].as_str()).unwrap().to_owned();
        let remote = Env::bare().with("PVECTL_ENDPOINT", url).with("PVECTL_TOKEN", &token);
        Self { process, remote, address: url.trim_start_matches("http://").to_owned(), token }
    }

    /// Head and body of an answer.
    fn get(&self, path: &str) -> (String, String) {
        self.get_as(&self.token, path)
    }

    fn get_as(&self, token: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: PVEAPIToken={token}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn data(&self, path: &str) -> Value {
        let (head, body) = self.get(&format!("/api2/json{path}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].take()
    }

    /// The state of each VM in the list of all; nothing while the node's own list says otherwise.
    fn states(&self) -> Value {
        let state = |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["status"].clone());
        let of = |rows: Value| rows.as_array().unwrap().iter().map(state).collect::<serde_json::Map<_, _>>();
        let (all, here) = (of(self.data("/cluster/resources?type=vm")), of(self.data("/nodes/localhost/qemu")));
        if all == here { all.into() } else { Value::Null }
    }

    fn end(self) {
        self.process.end();
    }
}

/// Every answer is right at once: nothing here waits but for what the server itself begins.
#[test]
fn what_happens_beside_the_server_is_seen_at_once() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let served = Served::start(env, None, "");
    assert_eq!(served.states(), json!({}));
    let _ = env.run("vm create --name web --memory 256 --kernel kernel").ok();
    assert_eq!(served.states(), json!({"web": "stopped"}));
    let _ = env.run("vm start web").ok();
    assert_eq!(served.states(), json!({"web": "running"}));
    assert_eq!(served.data("/nodes/localhost/qemu/100/status/current")["qmpstatus"], "running");
    let _ = env.run("vm pause web").ok();
    assert_eq!(served.states(), json!({"web": "paused"}));
    assert_eq!(served.data("/nodes/localhost/qemu/100/status/current")["qmpstatus"], "paused");
    let _ = env.run("vm resume web").ok();
    let _ = env.run("vm rename web shop").ok();
    assert_eq!(served.states(), json!({"shop": "running"}));
    // Its own work counts as well.
    let _ = served.remote.run("vm stop shop").ok();
    assert_eq!(served.states(), json!({"shop": "stopped"}));
    let _ = served.remote.run("vm start shop").ok();
    let (head, body) = served.get("/api2/json/cluster/resources");
    assert!(head.contains("\r\nAge: "), "{head}");
    assert!(body.contains("\"storage/"), "{body}");
    let (head, body) = served.get("/api2/json/nodes/localhost/qemu");
    assert!(head.contains("\r\nAge: ") && body.contains("\"cpus\""), "{head}\n{body}");
    let (head, body) = served.get("/healthz");
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "ok", "{head}\n{body}");

    // It dies, and nobody gives a command: the server sees it, and puts it in order.
    let pid = host.processes()[0];
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    eventually("it is seen stopped", || (served.states() == json!({"shop": "stopped"})).then_some(()));
    let tidied = eventually("it is put in order", || {
        let tasks = served.data("/nodes/localhost/tasks?source=all");
        let is_tidy = |task: &&Value| task["type"] == "qmcleanup" && task["status"] == "OK";
        tasks.as_array().unwrap().iter().find(is_tidy).map(|task| task["upid"].as_str().unwrap().to_owned())
    });
    let log = env.run(&format!("task logs {tidied}")).ok().stdout;
    assert!(log.contains("its VMM died"), "{log}");
    let _ = env.run("vm delete shop --confirm").ok();
    assert_eq!(served.states(), json!({}));
    served.end();
}

#[test]
fn a_list_that_is_kept_is_told_to_each_as_far_as_they_see() {
    let host = Host::new(&stand_in());
    let served = Served::start(&host.env, None, "");
    for name in ["web", "db"] {
        let _ = host.env.run(&format!("vm create --name {name} --memory 256 --kernel kernel")).ok();
    }
    let somebody = |name: &str, vm: &str| {
        let token = served.remote.run(&format!("token create root@pam {name} -o json")).ok().json();
        let _ = served.remote.run(&format!("acl add /vms/{vm} --token root@pam!{name} --role PVEAuditor")).ok();
        format!("root@pam!{name}={}", token["value"].as_str().unwrap())
    };
    let (one, other) = (somebody("one", "100"), somebody("other", "101"));
    let among = |token: &str, list: &str| {
        let (_, body) = served.get_as(token, &format!("/api2/json{list}"));
        let rows = serde_json::from_str::<Value>(&body).unwrap()["data"].take();
        rows.as_array().unwrap().iter().map(|row| row["vmid"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let sees = |token: &str| among(token, "/nodes/localhost/qemu");
    // Twice: made, and kept.
    for _ in 0..2 {
        assert_eq!((sees(&served.token), sees(&one), sees(&other)), (vec![100, 101], vec![100], vec![101]));
    }
    // What is taken away is gone at once.
    let _ = served.remote.run("acl remove /vms/100 --token root@pam!one --role PVEAuditor --confirm").ok();
    assert_eq!((sees(&one), sees(&other)), (vec![], vec![101]));
    // Whoever sees no VM at all, but the node, is not taken for who sees all.
    let _ = served.remote.run("acl add /nodes --token root@pam!one --role PVEAuditor").ok();
    let all = "/cluster/resources?type=vm";
    assert_eq!((among(&served.token, all), among(&one, all), sees(&one)), (vec![100, 101], vec![], vec![]));
    served.end();
}

#[test]
fn what_waits_in_the_queue_is_done_and_tried_again() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("vm create --name web --memory 256 --kernel kernel").ok();
    for name in ["a", "b", "c"] {
        fs::write(env.path(&format!("{name}.raw")), vec![0; 1 << 20]).unwrap();
        let _ = env.run(&format!("vm add disk web --path {name}.raw --id {name} --queue")).ok();
    }
    // The second cannot be done before its file is there.
    fs::rename(env.path("b.raw"), env.path("later.raw")).unwrap();
    let served = Served::start(env, None, "");
    let config = |key: &str| served.data("/nodes/localhost/qemu/100/config")[key].clone();
    eventually("the first is done", || config("virtio0").is_string().then_some(()));
    eventually("the second has failed", || {
        let rows = env.run("queue list -o json").ok().json();
        (rows[0]["status"] == "failed").then_some(())
    });
    assert_eq!(config("virtio1"), Value::Null);
    fs::rename(env.path("later.raw"), env.path("b.raw")).unwrap();
    eventually("all are done", || config("virtio2").is_string().then_some(()));
    assert_eq!(env.run("queue list -o json").ok().json(), json!([]));
    // In their order, each once, though the second took two tries.
    for (key, name) in [("virtio0", "a.raw"), ("virtio1", "b.raw"), ("virtio2", "c.raw")] {
        assert!(config(key).as_str().unwrap().contains(name), "{key}");
    }
    assert_eq!(config("virtio3"), Value::Null);
    // What is queued from now on is done at once.
    fs::write(env.path("d.raw"), vec![0; 1 << 20]).unwrap();
    let _ = env.run("vm add disk web --path d.raw --queue").ok();
    eventually("it is done", || config("virtio3").is_string().then_some(()));
    served.end();
}

#[test]
fn vms_start_with_the_host_once_and_outlive_the_server() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let create = "vm create --memory 256 --kernel kernel";
    let _ = env.run(&format!("{create} --name second --onboot --startup order=2")).ok();
    let _ = env.run(&format!("{create} --name first --onboot --startup order=1")).ok();
    let _ = env.run(&format!("{create} --name never")).ok();
    let served = Served::start(env, None, "--no-onboot");
    let token = served.token.clone();
    assert_eq!(served.states(), json!({"second": "stopped", "first": "stopped", "never": "stopped"}));
    served.end();

    let served = Served::start(env, Some(&token), "");
    let all = json!({"second": "running", "first": "running", "never": "stopped"});
    eventually("they run", || (served.states() == all).then_some(()));
    let starts = served.data("/nodes/localhost/tasks?source=all&typefilter=qmstart");
    let order: Vec<&Value> = starts.as_array().unwrap().iter().map(|task| &task["id"]).collect();
    assert_eq!(order, ["100", "101"], "the newest first");
    let mark = host.state().join("guests-started");
    eventually("that is noted", || mark.exists().then_some(()));
    served.end();
    assert_eq!(host.processes().len(), 2, "VMs go on");

    // In the same boot they are not started again.
    let _ = env.run("vm stop first").ok();
    let served = Served::start(env, Some(&token), "");
    assert_eq!(served.states()["first"], "stopped");
    served.end();
    assert_eq!(host.status("first")["status"], "stopped");
    // In another boot they are.
    fs::write(&mark, "00000000-0000-0000-0000-000000000000\n").unwrap();
    let served = Served::start(env, Some(&token), "");
    eventually("it runs", || (served.states()["first"] == "running").then_some(()));
    served.end();
}

#[test]
fn systemd_is_told_and_programs_can_read_the_log() {
    let host = Host::new(&stand_in());
    let socket = host.env.path("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    let heard = || {
        let mut text = [0; 512];
        let length = listener.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let env = host.env.with("NOTIFY_SOCKET", socket.to_str().unwrap()).with("WATCHDOG_USEC", "60000000");
    let log = File::create(env.path("log")).unwrap();
    let line = "serve --listen 127.0.0.1:0 --no-tls --log-format json --log-level debug";
    let mut child = env.process(line).stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
    let ready = heard();
    assert!(ready.starts_with("READY=1\nSTATUS=serving at http://127.0.0.1:"), "{ready}");
    assert_eq!(heard(), "WATCHDOG=1");
    let _ = host.env.run("vm create --name web --memory 256 --kernel kernel").ok();
    let text = || fs::read_to_string(env.path("log")).unwrap();
    eventually("it is told of", || text().contains("a new guest").then_some(()));
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(heard().starts_with("STOPPING=1\n"));
    assert!(child.wait().unwrap().success());
    for line in text().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let found = text().lines().any(|line| line.contains("\"message\":\"found\"") && line.contains("\"guests\":0"));
    assert!(found, "{}", text());
    // Where systemd is not to be found nothing is begun.
    let nowhere = host.env.with("NOTIFY_SOCKET", env.path("nobody").to_str().unwrap());
    let _ = nowhere.run("serve --listen 127.0.0.1:0").exits(1).says(&["cannot tell systemd"]);
}

#[test]
fn the_unit_is_printed_and_nothing_is_begun() {
    let host = Host::new(&stand_in());
    let unit = host.env.run("serve --listen 127.0.0.1:8443 --tls-cert c.pem --tls-key k.pem --print-unit").ok().stdout;
    for part in ["Type=notify\n", "KillMode=process\n", "WatchdogSec=", "\"--listen\" \"127.0.0.1:PORT\"", "/c.pem\""] {
        assert!(unit.contains(part), "{part}: {unit}");
    }
    assert!(!host.state().join("serve").exists());
}
