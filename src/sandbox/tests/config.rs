//! Reading and changing configurations.

use super::*;

const VM: &str = "/nodes/pve1/qemu/100";

fn config(asker: &Asker) -> Value {
    asker.get(&format!("{VM}/config"))
}

fn put(asker: &Asker, params: &[(&str, &str)]) -> Result<Reply, Fault> {
    asker.ask(Method::Put, &format!("{VM}/config"), params)
}

#[test]
fn changes_of_a_running_guest_wait_where_they_must() {
    let asker = Asker::new();
    put(&asker, &[("memory", "4096"), ("name", "renamed"), ("tags", "a;b")]).unwrap();
    assert_eq!(config(&asker)["memory"], "4096");
    let current = asker.ask(Method::Get, &format!("{VM}/config"), &[("current", "1")]).unwrap().data;
    assert_eq!((current["memory"].clone(), current["name"].clone()), ("2048".into(), "renamed".into()));
    put(&asker, &[("delete", "boot")]).unwrap();
    let pending = asker.get(&format!("{VM}/pending"));
    let row = |key: &str| pending.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(row("memory"), serde_json::json!({"key": "memory", "value": "2048", "pending": "4096"}));
    assert_eq!(row("boot")["delete"], 1);
    put(&asker, &[("revert", "boot")]).unwrap();
    assert_eq!(config(&asker)["boot"], "order=scsi0;net0");
    asker.run(&format!("{VM}/status/reboot"), &[]);
    let current = asker.ask(Method::Get, &format!("{VM}/config"), &[("current", "1")]).unwrap().data;
    assert_eq!(current["memory"], "4096");
    assert_eq!(asker.get(&format!("{VM}/status/current"))["maxmem"], 4096_u64 << 20);
}

#[test]
fn a_change_is_refused_in_the_servers_words() {
    let asker = Asker::new();
    let refused = |params: &[(&str, &str)]| put(&asker, params).unwrap_err();
    assert_eq!(refused(&[]).message, "no options specified");
    assert_eq!(refused(&[("digest", "00"), ("cores", "1")]).message, "checksum mismatch (file change by other user?)");
    assert_eq!(refused(&[("delete", "nosuch")]).errors["delete"], "unknown option 'nosuch'");
    let both = refused(&[("delete", "cores"), ("cores", "1")]);
    assert_eq!(both.errors["delete"], "you can't use '-cores' and -delete cores' at the same time");
    assert_eq!(refused(&[("scsi1", "nostore:1")]).message, "storage 'nostore' does not exist");
    let bridge = refused(&[("net2", "virtio,bridge=vmbr9")]);
    assert_eq!(
        bridge.errors["net2"],
        "hotplug problem - VM 100 qmp command 'netdev_add' failed - network script \
         /usr/libexec/qemu-server/pve-bridge-hotplug failed with status 512\n"
    );
    assert_eq!(refused(&[("lock", "backup")]).message, "only root can set 'lock' config");
    let digest = config(&asker)["digest"].as_str().unwrap().to_owned();
    put(&asker, &[("digest", &digest), ("cores", "1")]).unwrap();
    assert_ne!(config(&asker)["digest"].as_str().unwrap(), digest);
    put(&asker, &[("delete", "description"), ("delete", "startup,tags")]).unwrap();
    assert_eq!(config(&asker)["tags"], Value::Null);
}

#[test]
fn a_lock_holds_everybody_but_root() {
    let mut asker = Asker::new();
    asker.who.token = None;
    put(&asker, &[("lock", "backup")]).unwrap();
    asker.who = root();
    assert_eq!(put(&asker, &[("cores", "1")]).unwrap_err().message, "VM is locked (backup)");
    assert_eq!(asker.run(&format!("{VM}/status/stop"), &[]), "VM is locked (backup)");
    let refused = put(&asker, &[("delete", "lock"), ("skiplock", "1")]).unwrap_err();
    assert_eq!(refused.message, "only root can set 'lock' config");
    asker.who.token = None;
    put(&asker, &[("delete", "lock"), ("skiplock", "1")]).unwrap();
    put(&asker, &[("cores", "1")]).unwrap();
}

#[test]
fn disks_come_go_and_are_kept_as_unused() {
    let asker = Asker::new();
    let used = || asker.get("/nodes/pve1/storage/local-lvm/status")["used"].as_u64().unwrap();
    let before = used();
    put(&asker, &[("scsi1", "local-lvm:5,ssd=1,discard=on"), ("net1", "virtio,bridge=vmbr0")]).unwrap();
    assert_eq!(config(&asker)["scsi1"], "local-lvm:vm-100-disk-1,discard=on,size=5G,ssd=1");
    let net = config(&asker)["net1"].as_str().unwrap().to_owned();
    assert!(net.starts_with("virtio=BC:24:11:") && net.ends_with(",bridge=vmbr0"), "{net}");
    assert_eq!(used() - before, 5 << 30);
    put(&asker, &[("delete", "scsi1")]).unwrap();
    assert_eq!(config(&asker)["unused0"], "local-lvm:vm-100-disk-1");
    let attached = asker.fault(Method::Delete, "/nodes/pve1/storage/local-lvm/content/vm-100-disk-1", &[]);
    assert!(attached.message.starts_with("Cannot remove image"), "{attached:?}");
    put(&asker, &[("scsi2", "local-lvm:vm-100-disk-1")]).unwrap();
    assert_eq!(config(&asker)["scsi2"], "local-lvm:vm-100-disk-1,size=5G");
    assert_eq!(config(&asker)["unused0"], Value::Null);
    put(&asker, &[("delete", "scsi2")]).unwrap();
    put(&asker, &[("delete", "unused0")]).unwrap();
    assert_eq!((config(&asker)["unused0"].clone(), used()), (Value::Null, before));
}

#[test]
fn a_full_storage_takes_no_more() {
    let asker = Asker::new();
    let fault = put(&asker, &[("scsi1", "local-lvm:100000")]).unwrap_err();
    assert!(fault.message.contains("insufficient free space"), "{fault:?}");
    assert_eq!(config(&asker)["scsi1"], Value::Null);
    let exit = asker.run("/nodes/pve1/qemu", &[("vmid", "150"), ("scsi0", "local-lvm:100000")]);
    assert!(exit.starts_with("unable to create VM 150 - ") && exit.contains("insufficient free space"), "{exit}");
    asker.fault(Method::Get, "/nodes/pve1/qemu/150/config", &[]);
}

#[test]
fn a_change_in_the_background_is_a_task() {
    let asker = Asker::new();
    let upid = asker.post(&format!("{VM}/config"), &[("description", "later")]);
    assert!(upid.contains(":qmconfig:100:"));
    assert_eq!(config(&asker)["description"], Value::Null);
    assert_eq!(asker.finish(&upid), "OK");
    assert_eq!(config(&asker)["description"], "later");
}

#[test]
fn a_password_is_never_given_back() {
    let asker = Asker::new();
    put(&asker, &[("cipassword", "hunter2"), ("ciuser", "admin")]).unwrap();
    assert_eq!(config(&asker)["cipassword"], "**********");
    let inside = asker.sandbox.inside();
    let stored = serde_json::to_string(inside.world.guests.get(&100).unwrap()).unwrap();
    assert!(stored.contains("cipassword") && !stored.contains("hunter2"));
}
