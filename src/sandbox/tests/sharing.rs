//! Several hands on one file.

use std::thread;

use super::*;

#[test]
fn many_hands_on_one_file_lose_nothing() {
    const HANDS: u32 = 4;
    const EACH: u32 = 25;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandbox.db");
    let clock = Hand::new();
    let work = |hand: u32| {
        let sandbox = Sandbox::open(&path, clock.clone()).unwrap();
        let mut upids = Vec::new();
        for number in 0..EACH {
            let vmid = (20_000 + hand * 1000 + number).to_string();
            let create = request(Method::Post, "/nodes/pve1/qemu", &[("vmid", &vmid), ("memory", "16")], &root());
            upids.push(sandbox.answer(&create).unwrap().data.as_str().unwrap().to_owned());
            clock.forward(40);
        }
        upids
    };
    let upids: Vec<String> = thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|hand| scope.spawn(move || work(hand))).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    });
    clock.forward(10_000);
    let sandbox = Sandbox::open(&path, clock.clone()).unwrap();
    let ask =
        |path: &str, params: &[(&str, &str)]| sandbox.answer(&request(Method::Get, path, params, &root())).unwrap();
    let made = (HANDS * EACH) as usize;
    assert_eq!(upids.iter().collect::<BTreeSet<_>>().len(), made);
    assert_eq!(ask("/nodes/pve1/tasks", &[("limit", "1000"), ("statusfilter", "ok")]).total, Some(made as u64));
    let guests = ask("/nodes/pve1/qemu", &[]).data;
    let new = guests.as_array().unwrap().iter().filter(|row| row["vmid"].as_u64().unwrap() >= 20_000);
    assert_eq!(new.count(), made);
}

#[test]
fn what_one_process_changes_another_sees() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandbox.db");
    let clock = Hand::new();
    let (one, other) = (Sandbox::open(&path, clock.clone()).unwrap(), Sandbox::open(&path, clock.clone()).unwrap());
    let set = [("name", "seen")];
    one.answer(&request(Method::Put, "/nodes/pve1/qemu/100/config", &set, &root())).unwrap();
    let get = request(Method::Get, "/nodes/pve1/qemu/100/config", &[], &root());
    assert_eq!(other.answer(&get).unwrap().data["name"], "seen");
    // A failed change leaves no trace, in memory or in the file.
    let bad = [("name", "unseen"), ("scsi1", "local-lvm:999999")];
    other.answer(&request(Method::Put, "/nodes/pve1/qemu/100/config", &bad, &root())).unwrap_err();
    assert_eq!(other.answer(&get).unwrap().data, one.answer(&get).unwrap().data);
    // A reset reaches those who have the old world in memory.
    let fresh = Sandbox::reset(&path, &Shape { nodes: 5, guests: 10, pace: 1.0 }, clock).unwrap();
    assert!(other.has_node("pve5") && fresh.has_node("pve5"));
    assert_eq!(other.answer(&get).unwrap().data["name"], "web-1");
}

#[test]
fn it_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandbox.db");
    let clock = Hand::new();
    let start = request(Method::Post, "/nodes/pve2/qemu/101/status/start", &[], &root());
    let upid = Sandbox::open(&path, clock.clone()).unwrap().answer(&start).unwrap().data;
    clock.forward(1000);
    let again = Sandbox::open(&path, clock).unwrap();
    let path = format!("/nodes/pve2/tasks/{}/status", upid.as_str().unwrap());
    assert_eq!(again.answer(&request(Method::Get, &path, &[], &root())).unwrap().data["exitstatus"], "OK");
}

#[test]
fn old_marks_are_swept_and_laggards_start_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandbox.db");
    let clock = Hand::new();
    let shape = Shape { pace: 0.0, ..Shape::default() };
    let busy = Sandbox::reset(&path, &shape, clock.clone()).unwrap();
    let laggard = Sandbox::open(&path, clock).unwrap();
    let destroy = request(Method::Delete, "/nodes/pve2/qemu/101", &[], &root());
    busy.answer(&destroy).unwrap();
    let rename = |name: &str| request(Method::Put, "/nodes/pve1/qemu/100/config", &[("name", name)], &root());
    for number in 0..2100 {
        busy.answer(&rename(&format!("n{number}"))).unwrap();
    }
    let get = request(Method::Get, "/nodes/pve2/qemu/101/config", &[], &root());
    laggard.answer(&get).unwrap_err();
    let get = request(Method::Get, "/nodes/pve1/qemu/100/config", &[], &root());
    assert_eq!(laggard.answer(&get).unwrap().data["name"], "n2099");
}
