//! VMs, their settings, intents, queue and images, as rows.

use serde_json::{Map, json};

use super::*;
use crate::{
    backends::cloud_hypervisor::state::reconcile::Sight,
    model::{Digest, GuestStatus},
};

fn params(json: serde_json::Value) -> Map<String, serde_json::Value> {
    json.as_object().unwrap().clone()
}

#[test]
fn numbers_are_the_lowest_free_ones() {
    let Room { state, .. } = &room();
    let vms = ["a", "b", "c"].map(|name| made(state, name));
    assert_eq!(vms.each_ref().map(|vm| vm.vmid.get()), [100, 101, 102]);
    assert_eq!(vms.each_ref().map(|vm| vm.cid), [3, 4, 5]);
    state.begin(vms[1].vmid, Draft::new(Verb::Delete)).unwrap();
    state.remove(vms[1].vmid).unwrap();
    assert_eq!(state.next_vmid().unwrap(), vmid(101));
    let again = made(state, "d");
    assert_eq!((again.vmid.get(), again.cid), (101, 4));
    assert!(vms.iter().all(|vm| vm.uuid != again.uuid));

    let wanted = |number| NewVm { vmid: Some(vmid(number)), settings: Settings::default() };
    let (far, _) = state.create(wanted(5000), Draft::new(Verb::Create)).unwrap();
    assert_eq!((far.vmid.get(), state.next_vmid().unwrap().get()), (5000, 103));
    let error = state.create(wanted(100), Draft::new(Verb::Create)).unwrap_err();
    assert_eq!((error.class(), error.to_string().as_str()), (Class::Conflict, "VM 100 already exists on node 'desk'"));
    assert_eq!(state.vms().unwrap().len(), 4);
    assert_eq!(state.vm(vmid(999)).unwrap_err().class(), Class::NotFound);
}

#[test]
fn a_start_leaves_its_traces() {
    let Room { state, .. } = &room();
    let vm = made(state, "web");
    let intent = state.begin(vm.vmid, Draft::new(Verb::Start)).unwrap();
    let vm = state.vm(vm.vmid).unwrap();
    assert_eq!((vm.phase, vm.desired, vm.generation), (Phase::Starting, Desired::Running, 1));
    assert_eq!(vm.boot_id.as_ref(), Some(&state.process().boot_id));
    let vmm = Process { pid: 4711, starttime: u64::MAX, boot_id: state.process().boot_id.clone() };
    state.record_process(vm.vmid, &vmm, Some("v53.0")).unwrap();
    settle(state, &vm, Settle::running(vmm.clone()).ending(intent.id, Outcome::Finished));
    let (vm, left) = state.vms().unwrap().pop().unwrap();
    assert_eq!((vm.phase, vm.process.as_ref(), vm.build.as_deref()), (Phase::Running, Some(&vmm), Some("v53.0")));
    assert_eq!(left, None);

    let stop = state.begin(vm.vmid, Draft::new(Verb::Stop)).unwrap();
    assert!(stop.committed);
    settle(state, &vm, Settle::stopped(End::Stopped).ending(stop.id, Outcome::Finished));
    let vm = state.vm(vm.vmid).unwrap();
    assert_eq!((vm.phase, vm.process, vm.boot_id, vm.end), (Phase::Stopped, None, None, Some(End::Stopped)));
    let second = state.begin(vm.vmid, Draft::new(Verb::Start)).unwrap();
    assert_eq!((state.vm(vm.vmid).unwrap().generation, second.id > stop.id), (2, true));
}

#[test]
fn one_thing_at_a_time_is_done_to_a_vm() {
    let Room { state, .. } = &room();
    let vm = made(state, "web");
    let mut first = state.begin(vm.vmid, Draft::new(Verb::Snapshot)).unwrap();
    let error = state.begin(vm.vmid, Draft::new(Verb::Delete)).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains("in the middle of a snapshot"), "{error}");
    assert_eq!(state.vm(vm.vmid).unwrap().phase, Phase::Stopped);

    first.work.made.push("/disks/snap.raw".into());
    first.committed = true;
    state.revise(&first).unwrap();
    assert_eq!(state.intent(vm.vmid).unwrap().as_ref(), Some(&first));
    let end = Settle::stopped(End::Stopped).ending(first.id, Outcome::Finished);
    // Whoever looks next may have been faster.
    settle(state, &vm, end.clone());
    settle(state, &vm, end);
    assert_eq!(state.revise(&first).unwrap_err().class(), Class::Conflict);
}

#[test]
fn settings_come_true_with_the_end_and_not_before() {
    let Room { state, .. } = &room();
    let vm = made(state, "web");
    let mut after = vm.settings.clone();
    after.config.insert("lock".into(), "suspended".into());
    let work = Work { settings: Some(after.clone()), ..Work::default() };
    for (outcome, want) in [(Outcome::RolledBack, &vm.settings), (Outcome::Finished, &after)] {
        let intent = state.begin(vm.vmid, Draft::new(Verb::Suspend).work(work.clone())).unwrap();
        settle(state, &vm, Settle::stopped(End::Suspended).ending(intent.id, outcome));
        assert_eq!(state.vm(vm.vmid).unwrap().settings, *want);
    }
    let vm = state.vm(vm.vmid).unwrap();
    assert_eq!(vm.check_lock().unwrap_err().to_string(), "VM is locked (suspended)");
}

#[test]
fn a_row_goes_only_with_a_delete() {
    let Room { state, .. } = &room();
    let vm = made(state, "web");
    assert_eq!(state.remove(vm.vmid).unwrap_err().class(), Class::Bug);
    state.use_image("debian-12", vm.vmid).unwrap();
    state.enqueue(vm.vmid, "add-net", &Map::new(), "root@pam").unwrap();
    state.begin(vm.vmid, Draft::new(Verb::Delete)).unwrap();
    assert_eq!(state.image_users("debian-12").unwrap(), [vm.vmid]);
    state.remove(vm.vmid).unwrap();
    state.remove(vm.vmid).unwrap();
    assert_eq!((state.vms().unwrap().len(), state.intent(vm.vmid).unwrap()), (0, None));
    assert_eq!((state.queue(None).unwrap().len(), state.image_users("debian-12").unwrap().len()), (0, 0));
}

#[test]
fn a_change_needs_the_digest_it_was_thought_of_with() {
    let Room { state, .. } = &room();
    let vm = made(state, "web");
    let digest = vm.settings.digest();
    let rename = |name: &'static str| {
        move |vm: &mut Vm| {
            let change = Change { set: config(&[("name", name)]), ..Change::default() };
            Ok(vm.settings.change(&change, |_| true))
        }
    };
    state.configure(vm.vmid, Some(&digest), rename("api")).unwrap();
    let error = state.configure(vm.vmid, Some(&digest), rename("db")).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    assert_eq!(state.vm(vm.vmid).unwrap().name(), "api");
    // A change that fails half-way is none.
    let failed = state.configure(vm.vmid, None, |vm| -> Result<()> {
        vm.settings.config.clear();
        Err(Error::conflict("no"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "no");
    assert_eq!(state.vm(vm.vmid).unwrap().name(), "api");
    // What the VMM does is not in it.
    let before = state.vm(vm.vmid).unwrap().settings.digest();
    state.begin(vm.vmid, Draft::new(Verb::Start)).unwrap();
    assert_eq!(state.vm(vm.vmid).unwrap().settings.digest(), before);
    assert_ne!(before, Digest(String::new()));
}

#[test]
fn the_queue_goes_in_order_and_each_once() {
    let Room { state, .. } = &room();
    let vm = made(state, "web");
    let add = |n: u32| state.enqueue(vm.vmid, "add-disk", &params(json!({"path": n})), "root@pam").unwrap();
    let (first, second) = (add(1), add(2));
    let draft = |_: &Queued| Ok(Draft::new(Verb::Update));
    let next = || state.begin_queued(vm.vmid, draft);
    let numbers = || state.queue(Some(vm.vmid)).unwrap().iter().map(|item| item.id).collect::<Vec<_>>();

    let (item, intent) = next().unwrap().unwrap();
    assert_eq!((item.id, item.applying, &item.params["path"]), (first, true, &json!(1)));
    assert_eq!(state.cancel_queued(first).unwrap_err().class(), Class::Conflict);
    assert_eq!(next().unwrap_err().class(), Class::Conflict);
    // Rolled back it waits again, at its place.
    settle(state, &vm, Settle::stopped(End::Stopped).ending(intent.id, Outcome::RolledBack));
    assert!(state.queue(None).unwrap().iter().all(|item| !item.applying));

    // Failed, it lets nobody pass until somebody decides.
    state.mark_queued(first, "no such file").unwrap();
    assert!(next().unwrap().is_none());
    state.requeue(first, json!({"path": 1}).as_object().unwrap()).unwrap();
    for want in [first, second] {
        let (item, intent) = next().unwrap().unwrap();
        assert_eq!(item.id, want);
        settle(state, &vm, Settle::stopped(End::Stopped).ending(intent.id, Outcome::Finished));
    }
    assert!(next().unwrap().is_none());
    let third = add(3);
    assert!(third > second);
    state.cancel_queued(third).unwrap();
    assert_eq!(numbers(), []);
    assert_eq!(state.cancel_queued(third).unwrap_err().class(), Class::NotFound);
    // A draft that cannot be made leaves everything as it was.
    let fourth = add(4);
    let refused = state.begin_queued(vm.vmid, |_| Err(Error::usage("no")));
    assert_eq!(refused.unwrap_err().class(), Class::Usage);
    assert_eq!((numbers(), state.intent(vm.vmid).unwrap()), (vec![fourth], None));
}

#[test]
fn answers_as_proxmox_does() {
    let Room { state, .. } = &room();
    let mut vm = made(state, "web");
    vm.settings.config = config(&[
        ("name", "web"),
        ("cores", "2"),
        ("sockets", "2"),
        ("memory", "2048"),
        ("tags", "app.web;prod"),
        ("agent", "enabled=1"),
        ("template", "1"),
        ("boot", "order=scsi1;scsi0"),
        ("scsi0", "local:100/disk-0.raw,size=4G"),
        ("scsi1", "local:100/disk-1.raw,size=8G"),
    ]);
    vm.process = Some(state.process().clone());
    let usage = Usage { cpu: Some(0.5), mem: Some(7), uptime: Some(60), ..Usage::default() };
    let guest = vm.guest(state, Sight::Paused, &usage);
    assert_eq!((guest.status.as_str(), guest.is_powered(), guest.template), ("paused", true, true));
    assert_eq!((guest.maxcpu, guest.maxmem, guest.maxdisk), (Some(4.0), Some(2 << 30), Some(8 << 30)));
    assert!(guest.tags.contains("app.web"));

    for (sight, status, qmpstatus, pid) in [
        (Sight::Prelaunch, "running", "prelaunch", true),
        (Sight::Running, "running", "running", true),
        (Sight::Paused, "running", "paused", true),
        (Sight::Unresponsive, "running", "unresponsive", true),
        (Sight::Stopped, "stopped", "stopped", false),
    ] {
        let map = vm.status(sight, &usage);
        let read: GuestStatus = serde_json::from_value(map.into()).unwrap();
        assert_eq!((read.status.as_str(), read.qmpstatus.as_deref()), (status, Some(qmpstatus)));
        assert_eq!((read.pid.is_some(), read.uptime), (pid, Some(if pid { 60 } else { 0 })), "{sight:?}");
        assert_eq!((read.cpus, read.agent, read.template), (Some(4.0), Some(true), Some(true)));
    }
    vm.settings.config = config(&[("lock", "suspended")]);
    let map = vm.status(Sight::Stopped, &Usage::default());
    assert_eq!(
        (&map["status"], &map["lock"], &map["name"]),
        (&json!("stopped"), &json!("suspended"), &json!("VM 100"))
    );
    assert_eq!(map["maxmem"], 512 << 20);
    vm.settings.config.clear();
    vm.phase = Phase::Creating;
    assert_eq!(vm.guest(state, Sight::Creating, &Usage::default()).lock.as_deref(), Some("create"));
}

#[test]
fn a_network_is_there_from_its_promise_to_its_last_act() {
    let room = &room();
    let Room { state, .. } = room;
    let lan = |there: &[NetworkRow]| {
        assert!(there.is_empty());
        Ok(NewNetwork { name: "lan".into(), address: [10, 9, 0, 1].into(), prefix: 24, nat: true })
    };
    let refused = state.add_network("lan", |_| Err(Error::usage("no room"))).unwrap_err();
    assert_eq!((refused.class(), state.networks().unwrap()), (Class::Usage, Vec::new()));
    let row = state.add_network("lan", lan).unwrap();
    assert_eq!((row.address, row.nat, row.leaving, &row.boot_id), ([10, 9, 0, 1].into(), true, false, &None));
    assert_eq!(state.add_network("lan", lan).unwrap_err().class(), Class::Conflict);
    state.network_is_up(&row).unwrap();
    assert_eq!(room.again().network("lan").unwrap().unwrap().boot_id, Some(state.process().boot_id.clone()));
    // Who refuses sees the VMs, and changes nothing.
    made(state, "web");
    let in_use = |vms: &[(Vm, Option<Intent>)]| {
        assert_eq!(vms.len(), 1);
        Err(Error::conflict("in use"))
    };
    assert_eq!(state.network_leaves("lan", in_use).unwrap_err().class(), Class::Conflict);
    assert!(!state.network("lan").unwrap().unwrap().leaving);
    assert!(state.network_leaves("lan", |_| Ok(())).unwrap().leaving);
    assert!(state.network("lan").unwrap().unwrap().leaving);
    assert_eq!(state.network_leaves("wan", |_| Ok(())).unwrap_err().class(), Class::NotFound);
    for _ in 0..2 {
        state.remove_network(&row).unwrap();
    }
    assert_eq!(state.network("lan").unwrap(), None);
}
