//! What is live, what waits.

use serde_json::json;

use super::{super::changes as plan_of, *};
use crate::model::Class;

const NET: &str = "virtio=02:00:00:00:00:01,bridge=vmbr0";

fn base() -> Value {
    json!({
        "bios": "ovmf", "name": "web", "cores": 4, "vcpus": 2, "memory": 1024, "balloon": 512,
        "hotplug": "disk,network,cpu,memory", "scsi0": "local:0,size=10G", "net0": NET,
    })
}

/// The base with these keys over it; `null` takes one away.
fn with(over: Value) -> Value {
    let mut config = base();
    for (key, value) in over.as_object().unwrap() {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().shift_remove(key)),
            value => config[key] = value.clone(),
        }
    }
    config
}

fn plan(before: Value, wished: Value) -> Result<Changes, Error> {
    let (before, wished) = (qemu(before), qemu(wished));
    let running = map(&before, &facts(&before)).unwrap().config;
    plan_of(&before, &running, &wished, &facts(&wished))
}

/// A plan as text: keys that count at once, calls, what waits.
fn told(over: Value) -> String {
    let plan = plan(base(), with(over)).unwrap();
    let live = plan.live.iter().map(|live| match &live.call {
        LiveCall::AddDisk(disk) => format!("add {}", disk.id.as_deref().unwrap()),
        LiveCall::AddNet(net) => format!("add {}", net.id.as_deref().unwrap()),
        LiveCall::AddFs(fs) => format!("add {}", fs.id.as_deref().unwrap()),
        LiveCall::AddDevice(device) => format!("add {}", device.id.as_deref().unwrap()),
        other => format!("{other:?}"),
    });
    let pending = plan.pending.iter().map(|waiting| format!("wait {}: {}", waiting.key, waiting.why));
    let now = plan.now.iter().map(|key| format!("now {key}"));
    now.chain(live).chain(pending).collect::<Vec<_>>().join("; ")
}

#[test]
fn each_kind_of_change() {
    insta::assert_snapshot!([
        json!({"name": "api", "tags": "a;b", "onboot": 1}),
        json!({"vcpus": 3}),
        json!({"cores": 8, "vcpus": 6}),
        json!({"memory": 2048}),
        json!({"memory": 512}),
        json!({"memory": 1_000_000}),
        json!({"balloon": 256}),
        json!({"balloon": 256, "memory": 2048}),
        json!({"balloon": null}),
        json!({"balloon": 0}),
        json!({"scsi1": "local:1"}),
        json!({"scsi0": null}),
        json!({"scsi0": "local:other,size=10G"}),
        json!({"scsi0": "local:0,size=12G"}),
        json!({"scsi0": "local:0,size=10G,backup=0"}),
        json!({"scsi0": "local:0,size=10G,iops=100"}),
        json!({"sata0": "local:1"}),
        json!({"ide2": "none,media=cdrom"}),
        json!({"net1": "virtio=02:00:00:00:00:02,bridge=vmbr0"}),
        json!({"net0": null}),
        json!({"net0": format!("{NET},link_down=1")}),
        json!({"net0": "virtio=02:00:00:00:00:01,bridge=vmbr1,tag=7"}),
        json!({"net0": "virtio=02:00:00:00:00:09,bridge=vmbr0"}),
        json!({"hostpci0": "01:00.0;01:00.1"}),
        json!({"virtiofs0": "share"}),
        json!({"hotplug": "0", "scsi1": "local:1", "vcpus": 1, "memory": 2048, "net1": NET.replace(":01", ":03")}),
        json!({"hotplug": null, "scsi1": "local:1", "vcpus": 1}),
        json!({"ciuser": "x", "digest": "other"}),
    ].map(told).join("\n"), @r#"
    now name; now onboot; now tags
    Vcpus(3)
    wait cores: the VMM takes it at start only; wait vcpus: cores and sockets change with it, at the next start
    Memory(2147483648)
    wait memory: it cannot have less memory than it was started with
    wait memory: the host has no room for so much
    Balloon(805306368)
    Memory(2147483648); Balloon(1879048192)
    Balloon(0)
    wait balloon: the balloon is a device that comes and goes at start only
    add scsi1
    Remove("scsi0")
    Remove("scsi0"); add scsi0
    GrowDisk { id: "scsi0", size: 12884901888 }
    now scsi0
    wait scsi0: a disk's options count from the next start
    wait sata0: only disks on the buses scsi and virtio come and go while it runs
    now ide2
    add net1
    Remove("net0")
    Tap { n: 0, link_down: true }
    Tap { n: 0, link_down: false }
    Remove("net0"); add net0
    add hostpci0; add hostpci0.1
    wait virtiofs0: the machine was started with memory that cannot be shared
    now hotplug; wait memory: `hotplug` does not have memory; wait net1: `hotplug` does not have network; wait scsi1: `hotplug` does not have disk; wait vcpus: `hotplug` does not have cpu
    now hotplug; add scsi1; wait vcpus: `hotplug` does not have cpu
    wait ciuser: the VMM takes it at start only
    "#);
}

#[test]
fn shrinking_is_refused_and_so_is_what_cannot_be_mapped() {
    let said = words(&plan(base(), with(json!({"scsi0": "local:0,size=8G"}))).unwrap_err());
    assert!(said.starts_with("usage: scsi0: shrinking disks is not supported"), "{said}");
    let said = words(&plan(base(), with(json!({"usb0": "host=1"}))).unwrap_err());
    assert!(said.contains("usb0 is not possible"), "{said}");
    let said = words(&plan(base(), with(json!({"force": 1}))).unwrap_err());
    assert!(said.contains("making of a machine"), "{said}");
}

#[test]
fn protection_keeps_disks() {
    let protected = with(json!({"protection": 1}));
    let error = plan(protected.clone(), with(json!({"protection": 1, "scsi0": null}))).unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    plan(protected, with(json!({"protection": 1, "scsi0": "local:0,size=11G"}))).unwrap();
}

#[test]
fn a_disk_on_another_grows_at_the_next_start() {
    let (before, wished) = (qemu(base()), qemu(with(json!({"scsi0": "local:0,size=12G"}))));
    let mut facts = facts(&before);
    facts.volumes.get_mut("scsi0").unwrap().backing = true;
    let running = map(&before, &facts).unwrap().config;
    let plan = plan_of(&before, &running, &wished, &facts).unwrap();
    assert!(plan.live.is_empty() && plan.pending[0].why.contains("stands on another"));
}

#[test]
fn memory_that_was_shared_from_the_start_takes_more_shares() {
    let before = with(json!({"virtiofs0": "a"}));
    let plan = plan(before, with(json!({"virtiofs0": null, "virtiofs1": "b"}))).unwrap();
    assert!(plan.pending.is_empty());
    assert!(matches!(&plan.live[0].call, LiveCall::Remove(id) if id == "virtiofs0"));
    assert!(matches!(&plan.live[1].call, LiveCall::AddFs(fs) if fs.tag == "b"));
}
