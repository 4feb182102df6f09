//! The queue of a served host from elsewhere: what is put in, looked at and taken out, and what a lost answer leaves.

use std::fs;

use pvectl::backends::cloud_hypervisor::failpoint::ARE_HERE;
use serde_json::{Value, json};

use crate::{
    harness::{Env, eventually},
    local::{Host, stand_in},
    serve::Served,
};

#[test]
fn the_queue_of_a_served_host_is_looked_at_and_taken_from() {
    let host = Host::new(&stand_in());
    let env = host.env.clone();
    let _ = env.run("vm create --name web --memory 256 --kernel kernel").ok();
    for name in ["a.raw", "b.raw"] {
        fs::write(env.path(name), vec![0; 1 << 20]).unwrap();
        let _ = env.run(&format!("vm add disk web --path {name} --queue")).ok();
        // What has no file any more stays in the queue.
        fs::remove_file(env.path(name)).unwrap();
    }
    let served = Served::of(host, &env, "");
    let remote = &served.remote;
    let rows = || remote.json("queue list web").as_array().unwrap().clone();
    eventually("the first has failed", || (rows()[0]["status"] == "failed").then_some(()));
    let both = rows();
    assert_eq!((both.len(), &both[1]["status"], &both[1]["vmid"]), (2, &json!("waiting"), &json!(100)));
    assert_eq!(both[1], env.json("queue list")[1], "the same from both sides");
    let _ = remote.run("queue cancel 2 --dry-run").ok();
    let _ = remote.run("queue cancel 2").ok().says(&["is out of the queue"]);
    let _ = remote.run("queue cancel 2").exits(3).says(&["nothing with number 2 is in the queue"]);
    // Whoever may see the VM sees what waits, and takes back no more than it might ask for.
    let token = remote.run("token create root@pam eyes -o json").ok().json();
    let eyes = remote.with("PVECTL_TOKEN", &format!("root@pam!eyes={}", token["value"].as_str().unwrap()));
    assert_eq!(eyes.json("queue list"), json!([]));
    let _ = eyes.run("queue cancel 1").exits(3);
    let _ = remote.run("acl add /vms/100 --token root@pam!eyes --role PVEAuditor").ok();
    assert_eq!(eyes.json("queue list").as_array().unwrap().len(), 1);
    let _ = eyes.run("queue cancel 1").exits(5).says(&["VM.Config.Disk"]);
    let _ = remote.run("queue cancel 1").ok();
    let _ = remote.run("queue list").ok().says(&["nothing waits"]);
    let _ = Env::new().run("queue list").exits(2).says(&["no queue", "no host that `pvectl serve` serves"]);
}

#[test]
fn a_change_is_put_into_the_queue_of_a_served_host_and_done_once() {
    let served = Served::start_with("");
    let (env, remote) = (&served.host.env, &served.remote);
    let _ = env.run("vm create --name web --memory 256 --kernel kernel").ok();
    let _ = remote.run("vm add disk web --size 1G --queue --dry-run").ok();
    assert_eq!(remote.json("queue list"), json!([]));
    let config = || env.json("vm get web")["config"].clone();
    let queued = remote.run("vm add disk web --size 1G --queue -o json").ok().says(&["queued"]).json();
    assert_eq!(queued["status"], "running", "{queued}");
    eventually("it is done", || config()["virtio0"].is_string().then_some(()));
    let _ = remote.run(&format!("task watch {}", queued["upid"].as_str().unwrap())).ok();
    let _ = remote.run("vm add disk web --volume local:1 --bus scsi --queue").ok();
    eventually("the other too", || config()["scsi0"].is_string().then_some(()));
    assert_eq!((remote.json("queue list"), &config()["virtio1"]), (json!([]), &Value::Null), "once");
    // What it is for stands in both journals, and for whom.
    let rows = env.json("operation list --verb update");
    assert!(rows.as_array().unwrap().iter().all(|row| row["user"] == remote.json("status")["user"]), "{rows}");
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");

    // What the change would be refused with is said before anything waits.
    let token = remote.run("token create root@pam eyes -o json").ok().json();
    let eyes = remote.with("PVECTL_TOKEN", &format!("root@pam!eyes={}", token["value"].as_str().unwrap()));
    let _ = remote.run("acl add /vms/100 --token root@pam!eyes --role PVEAuditor").ok();
    let _ = eyes.run("vm add net web --bridge vmbr0 --queue").exits(5).says(&["VM.Config.Network"]);
    let path = env.path("d.raw");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let add = format!("vm add disk web --path {} --queue", path.display());
    let separated = remote.run("token create root@pam all --privsep 0 -o json").ok().json();
    let all = remote.with("PVECTL_TOKEN", &format!("root@pam!all={}", separated["value"].as_str().unwrap()));
    let _ = all.run(&add).exits(5).says(&["Only root"]);
    let _ = all.run("vm add disk web --size 1G --id a --queue").exits(5).says(&["only root can set 'x-virtio1'"]);
    let _ = remote.run("vm add disk web --path d.raw --queue").exits(2).says(&["no whole path"]);
    let _ = remote.run("vm add disk web --volume nostore:1 --queue").exits(3).says(&["nostore"]);
    let _ = remote.run("vm add net web --bridge vmbr9 --queue").exits(3).says(&["bridge `vmbr9` does not exist"]);
    assert_eq!(remote.json("queue list"), json!([]));
    // Root itself names files of the host, and gives names.
    let _ = env.run_with("serve password --password -", "correct horse").ok();
    let root = Env::bare();
    root.write("password", "correct horse");
    let context = format!(
        "config add-context minipc --endpoint {} --fingerprint {} --user root@pam --credential-command 'cat password'",
        served.said("url"),
        served.said("fingerprint")
    );
    let _ = root.run(&context).ok();
    let _ = root.run(&format!("{add} --id data")).ok();
    eventually("root's is done", || config()["virtio1"].is_string().then_some(()));
    assert_eq!(config()["x-virtio1"], "id=data");
    let _ = root.run(&format!("{add} --id data")).exits(6).says(&["`data` is that of virtio1"]);
    // A server without a queue says so.
    let _ = Env::new().run("vm add disk 100 --volume local-lvm:1 --queue").exits(2).says(&["no queue of additions"]);
}

#[test]
fn a_queued_change_whose_answer_is_lost_is_done_once_and_not_sent_again() {
    if !ARE_HERE {
        eprintln!("SKIPPED: this build has no failpoints");
        return;
    }
    let host = Host::new(&stand_in());
    let env = host.env.clone();
    let _ = env.run("vm create --name web --memory 256 --kernel kernel").ok();
    // It is in the queue, and the server is killed before it says so.
    let mut served = Served::of(host, &env.with("PVECTL_TEST_KILL_AT", "queued"), "");
    let lost = served.remote.run("vm add disk web --size 1G --queue").exits(10);
    assert!(lost.stderr.contains("may have"), "{lost}");
    assert_eq!(served.remote.json("operation list --verb add")[0]["status"], "unknown");
    served.kill();
    assert_eq!(env.json("queue list").as_array().unwrap().len(), 1, "it lasts");
    let served = Served::of(served.host, &env, "");
    let config = || env.json("vm get web")["config"].clone();
    eventually("it is done", || config()["virtio0"].is_string().then_some(()));
    assert_eq!((served.remote.json("queue list"), &config()["virtio1"]), (json!([]), &Value::Null), "once");
}
