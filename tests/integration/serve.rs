//! The VMs of this host over the API of Proxmox VE, managed by this executable's other backend and by `curl`-like calls.

mod plain;
mod plans;
mod recorded;
mod told;

use std::fs;

use serde_json::{Value, json};

use crate::{
    harness::{Env, Process, begin, eventually},
    local::{Host, stand_in},
};

/// A host that is served, and somebody who knows its token.
pub(crate) struct Served {
    pub(crate) host: Host,
    pub(crate) remote: Env,
    process: Process,
    ready: Value,
}

impl Served {
    fn start() -> Self {
        Self::start_with("")
    }

    pub(crate) fn start_with(flags: &str) -> Self {
        let host = Host::new(&stand_in());
        let env = host.env.clone();
        Self::of(host, &env, flags)
    }

    /// A host that is there, served from this environment with more flags. The token is that of the first time.
    pub(crate) fn of(host: Host, env: &Env, flags: &str) -> Self {
        let (process, mut ready) = begin(env, &format!("serve --listen 127.0.0.1:0 -o json {flags}"));
        let kept = host.env.path("token");
        match ready["token"].as_str() {
            Some(token) => fs::write(&kept, token).unwrap(),
            None => ready["token"] = fs::read_to_string(&kept).unwrap().into(),
        }
        let mut remote = Env::bare();
        for (name, key) in [("ENDPOINT", "url"), ("TOKEN", "token"), ("FINGERPRINT", "fingerprint")] {
            if let Some(value) = ready[key].as_str() {
                remote = remote.with(&format!("PVECTL_{name}"), value);
            }
        }
        Self { host, remote, process, ready }
    }

    /// How many files and connections the server has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).unwrap().count()
    }

    /// What it said of itself when it began: `url`, `token`, `fingerprint`.
    pub(crate) fn said(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_default()
    }

    fn status(&self, vm: &str) -> Value {
        self.remote.run(&format!("vm get {vm} -o json")).ok().json()
    }

    /// Kills it, as a loss of power would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until it is killed, and gives the host.
    fn killed(mut self) -> Host {
        assert!(!self.process.0.wait().unwrap().success());
        self.host
    }

    /// Waits until it is killed, or something else is the case.
    fn killed_or(mut self, other: impl Fn() -> bool) -> Result<Host, Box<Self>> {
        let is_dead = eventually("the server is killed", || match self.process.0.try_wait().unwrap() {
            Some(_) => Some(true),
            None => other().then_some(false),
        });
        if is_dead { Ok(self.killed()) } else { Err(Box::new(self)) }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(self) -> Host {
        self.process.end();
        self.host
    }
}

#[test]
fn a_vm_lives_and_dies_over_the_api() {
    let served = Served::start();
    let remote = &served.remote;
    assert_eq!(remote.json("vm list"), json!([]));
    let made = remote.run("vm create --name web --memory 256 --scsi0 local:1 -o json").ok().json();
    assert_eq!((&made["vmid"], &made["status"]), (&json!(100), &json!("ok")));
    let _ = remote.run("vm create --vmid 100 --name other").exits(6);
    let _ = remote.run("vm create --name odd --vga std").exits(1).says(&["not possible under Cloud Hypervisor"]);
    // Proxmox has no word for a kernel of the host.
    let _ = served.host.env.run("vm update web --kernel kernel --cmdline console=ttyS0 --unset bios").ok();
    assert_eq!(served.status("web")["status"], "stopped");

    let started = remote.run("vm start web -o json").ok().json();
    assert_eq!((&started["status"], &started["changed"]), (&json!("ok"), &json!(true)), "{started}");
    assert!(started["upid"].as_str().unwrap().contains(":qmstart:100:root@pam"), "{started}");
    assert_eq!(served.status("web")["status"], "running");
    let _ = remote.run("vm start web").ok().says(&["already running"]);
    let _ = remote.run("vm pause web").ok();
    assert_eq!(served.status("web")["qmpstatus"], "paused");
    let _ = remote.run("vm resume web").ok();
    let _ = remote.run("vm update web --description note").ok();
    let _ = remote.run("vm update web --cores 2").ok();
    let pending = remote.run("api get /nodes/{node}/qemu/100/pending -o json").ok().stdout;
    assert!(pending.contains("cores"), "{pending}");
    let _ = remote.run("vm stop web").ok();
    let _ = remote.run("vm snapshot create web before").ok();
    let snapshots = remote.json("vm snapshot list web");
    assert!(snapshots.to_string().contains("before"), "{snapshots}");
    let _ = remote.run("vm snapshot delete web before --confirm").ok();
    let tasks = remote.json("task list");
    assert!(tasks.to_string().contains("qmsnapshot"), "{tasks}");
    let log = remote.run(&format!("task logs {}", started["upid"].as_str().unwrap())).ok();
    assert_eq!(log.code, 0);
    let _ = remote.run("vm delete web --confirm").ok();
    assert_eq!(remote.json("vm list"), json!([]));
    assert_eq!(served.host.env.run("vm list -o json").ok().json(), json!([]));
    served.end();
}

#[test]
fn who_has_no_token_learns_nothing_and_what_is_not_served_says_so() {
    let served = Served::start();
    let stranger = served.remote.with("PVECTL_TOKEN", "root@pam!pvectl=00000000-0000-4000-a000-000000000000");
    let _ = stranger.run("vm list").exits(4);
    let _ = served.remote.run("api get /nodes/localhost/dns").exits(1).says(&["not implemented"]);
    let _ = served.remote.run("vm start 100").exits(3);
    let made = served.remote.run("api post /access/users/root@pam/token/ci -p privsep=0 -o json").ok().json();
    let token = format!("root@pam!ci={}", made["value"].as_str().unwrap());
    let other = served.remote.with("PVECTL_TOKEN", &token);
    let _ = other.run("vm list").ok();
    let _ = served.remote.run("api delete /access/users/root@pam/token/ci --confirm").ok();
    let _ = other.run("vm list").exits(4);
}

#[test]
fn vms_outlive_the_server_and_its_certificate_and_tokens_stay() {
    let served = Served::start();
    let _ = served.host.env.run("vm create --name web --memory 256 --kernel kernel").ok();
    let _ = served.remote.run("vm start web").ok();
    let remote = served.remote.clone();
    let host = served.end();
    assert_eq!(host.status("web")["status"], "running");
    let (_process, ready) = begin(&host.env, "serve --listen 127.0.0.1:0 -o json");
    assert_eq!(ready["token"], Value::Null);
    let again = remote.with("PVECTL_ENDPOINT", ready["url"].as_str().unwrap());
    assert_eq!(again.run("vm get web -o json").ok().json()["status"], "running");
}

#[test]
fn it_is_not_served_where_anybody_could_listen() {
    let host = Host::new(&stand_in());
    let _ = host.env.run("serve --listen 0.0.0.0:0 --no-tls").exits(2).says(&["not served without TLS"]);
    let _ = host.env.run("serve --listen nonsense").exits(2);
    let _ = host.env.with("PVECTL_READ_ONLY", "1").run("serve --listen 127.0.0.1:0").exits(5);
}

#[test]
fn the_first_token_is_not_lost_where_the_port_is_taken() {
    let host = Host::new(&stand_in());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let _ = host.env.run(&format!("serve --listen 127.0.0.1:{port}")).exits(1).says(&["cannot listen on"]);
    let _ = host
        .env
        .run(&format!("serve --listen 127.0.0.1:0 --metrics-addr 127.0.0.1:{port}"))
        .exits(1)
        .says(&["cannot listen on"]);
    // It is shown by the one that comes to serve.
    let env = host.env.clone();
    let served = Served::of(host, &env, "");
    assert_eq!(served.remote.json("vm list"), json!([]));
}
