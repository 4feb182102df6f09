//! Guests made, cloned, changed into templates, and destroyed.

use super::*;

#[test]
fn a_created_vm_is_as_the_server_makes_it() {
    let asker = Asker::new();
    let params = [
        ("vmid", "150"),
        ("name", "app"),
        ("memory", "2048"),
        ("onboot", "1"),
        ("scsi0", "local-lvm:32"),
        ("ide2", "local-lvm:cloudinit"),
        ("net0", "virtio,bridge=vmbr0,firewall=1"),
        ("pool", "prod"),
        ("start", "1"),
    ];
    let upid = asker.post("/nodes/pve1/qemu", &params);
    assert!(upid.contains(":qmcreate:150:"));
    assert_eq!(asker.get("/nodes/pve1/qemu/150/config")["lock"], "create");
    assert_eq!(asker.finish(&upid), "OK");
    let config = asker.get("/nodes/pve1/qemu/150/config");
    assert_eq!(config["memory"], "2048");
    assert_eq!(config["onboot"], 1);
    assert_eq!(config["scsi0"], "local-lvm:vm-150-disk-0,size=32G");
    assert_eq!(config["ide2"], "local-lvm:vm-150-cloudinit,media=cdrom");
    assert_eq!(config["boot"], "order=scsi0;ide2;net0");
    assert!(config["net0"].as_str().unwrap().ends_with(",bridge=vmbr0,firewall=1"));
    for key in ["smbios1", "vmgenid", "meta", "digest"] {
        assert!(config[key].is_string(), "{key}");
    }
    for key in ["pool", "start", "lock"] {
        assert_eq!(config[key], Value::Null, "{key}");
    }
    let resources = asker.ask(Method::Get, "/cluster/resources", &[("type", "vm")]).unwrap().data;
    let row = resources.as_array().unwrap().iter().find(|row| row["vmid"] == 150).unwrap();
    assert_eq!((row["pool"].clone(), row["status"].clone()), ("prod".into(), "running".into()));
    assert_eq!(row["maxdisk"], 32_u64 << 30);
    let content = asker.ask(Method::Get, "/nodes/pve1/storage/local-lvm/content", &[("vmid", "150")]).unwrap().data;
    assert_eq!(content.as_array().unwrap().len(), 2);
}

#[test]
fn a_created_container_is_as_the_server_makes_it() {
    let asker = Asker::new();
    let template = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
    let params = [
        ("vmid", "250"),
        ("hostname", "ct"),
        ("ostemplate", template),
        ("rootfs", "local-lvm:8"),
        ("mp0", "local-lvm:2,mp=/data"),
        ("net0", "name=eth0,bridge=vmbr0,ip=dhcp"),
        ("password", "not for the file"),
        ("unprivileged", "1"),
    ];
    let upid = asker.post("/nodes/pve1/lxc", &params);
    assert!(upid.contains(":vzcreate:250:"));
    assert_eq!(asker.finish(&upid), "OK");
    let config = asker.get("/nodes/pve1/lxc/250/config");
    assert_eq!(config["memory"], 512);
    assert_eq!(config["rootfs"], "local-lvm:vm-250-disk-0,size=8G");
    assert_eq!(config["mp0"], "local-lvm:vm-250-disk-1,mp=/data,size=2G");
    assert_eq!(config["ostype"], "debian");
    assert!(config["net0"].as_str().unwrap().starts_with("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:"));
    assert_eq!(config["password"], Value::Null);
    let again = asker.fault(Method::Post, "/nodes/pve2/lxc", &params);
    assert_eq!(again.message, "unable to create CT 250 - CT 250 already exists on node 'pve1'");
    let absent = [("vmid", "251"), ("ostemplate", "local:vztmpl/none.tar.zst"), ("storage", "local-lvm")];
    let absent = asker.fault(Method::Post, "/nodes/pve1/lxc", &absent);
    assert!(absent.message.contains("does not exist"), "{absent:?}");
}

#[test]
fn a_number_is_given_once() {
    let asker = Asker::new();
    assert_eq!(asker.get("/cluster/nextid"), "104");
    let taken = asker.fault(Method::Get, "/cluster/nextid", &[("vmid", "100")]);
    assert_eq!((taken.status, taken.errors["vmid"].as_str()), (400, "VM 100 already exists"));
    let there = asker.fault(Method::Post, "/nodes/pve1/qemu", &[("vmid", "101")]);
    assert_eq!(there.message, "unable to create VM 101 - VM 101 already exists on node 'pve2'");
    let upid = asker.post("/nodes/pve1/qemu", &[("vmid", "104")]);
    assert_eq!(asker.get("/cluster/nextid"), "105");
    assert_eq!(asker.finish(&upid), "OK");
    assert_eq!(asker.get("/nodes/pve1/qemu/104/config")["boot"], " ");
}

#[test]
fn a_template_is_cloned_linked_and_a_guest_full() {
    let asker = Asker::new();
    let upid = asker.post("/nodes/pve1/qemu/9000/clone", &[("newid", "150"), ("name", "linked")]);
    assert!(upid.contains(":qmclone:9000:"));
    assert_eq!(asker.finish(&upid), "OK");
    let (source, copy) = (asker.get("/nodes/pve1/qemu/9000/config"), asker.get("/nodes/pve1/qemu/150/config"));
    assert_eq!(copy["scsi0"], "local-lvm:vm-150-disk-0,size=4G");
    assert_eq!((copy["template"].clone(), copy["name"].clone()), (Value::Null, "linked".into()));
    for key in ["net0", "smbios1", "vmgenid"] {
        assert_ne!(source[key], copy[key], "{key}");
    }
    let content = asker.ask(Method::Get, "/nodes/pve1/storage/local-lvm/content", &[("vmid", "150")]).unwrap().data;
    assert_eq!(content[0]["parent"], "base-9000-disk-0");
    assert_eq!(asker.run("/nodes/pve1/qemu/150/clone", &[("newid", "151")]), "OK");
    let content = asker.ask(Method::Get, "/nodes/pve1/storage/local-lvm/content", &[("vmid", "151")]).unwrap().data;
    assert_eq!(content[0]["parent"], Value::Null);
}

#[test]
fn clones_are_refused_in_the_servers_words() {
    let asker = Asker::new();
    let refused = |path: &str, params: &[(&str, &str)]| asker.fault(Method::Post, path, params).message;
    let (vm, template) = ("/nodes/pve1/qemu/100/clone", "/nodes/pve1/qemu/9000/clone");
    let linked = "Linked clone feature is not supported for 'local-lvm:vm-100-disk-0' (scsi0)";
    assert_eq!(refused(vm, &[("newid", "150"), ("full", "0")]), linked);
    assert_eq!(refused(vm, &[("newid", "101")]), "VM 101 already exists on node 'pve2'");
    let storage = "parameter 'storage' not allowed for linked clones";
    assert_eq!(refused(template, &[("newid", "150"), ("storage", "local-lvm")]), storage);
    let target = "can't clone VM to node 'pve2' (VM uses local storage)";
    assert_eq!(refused(template, &[("newid", "150"), ("target", "pve2")]), target);
}

#[test]
fn destroying_takes_the_disks_and_what_was_granted() {
    let asker = Asker::new();
    let destroy = |path: &str, params: &[(&str, &str)]| asker.ask(Method::Delete, path, params);
    let message = |path: &str| destroy(path, &[]).unwrap_err().message;
    assert_eq!(message("/nodes/pve1/qemu/100"), "VM 100 is running - destroy failed");
    assert_eq!(message("/nodes/pve2/qemu/102"), "can't remove VM 102 - protection mode enabled");
    assert_eq!(message("/nodes/pve1/lxc/110"), "unable to destroy CT 110 - container is running");
    let forced = destroy("/nodes/pve1/lxc/110", &[("force", "1")]).unwrap().data;
    assert_eq!(asker.finish(forced.as_str().unwrap()), "OK");
    let grant = [("path", "/vms/101"), ("users", "audit@pve"), ("roles", "PVEVMUser")];
    asker.ask(Method::Put, "/access/acl", &grant).unwrap();
    let upid = destroy("/nodes/pve2/qemu/101", &[("purge", "1")]).unwrap().data;
    let upid = upid.as_str().unwrap();
    assert!(upid.contains(":qmdestroy:101:"));
    assert_eq!(asker.finish(upid), "OK");
    assert_eq!(asker.fault(Method::Get, "/nodes/pve2/qemu/101/config", &[]).status, 500);
    assert!(!asker.get("/access/acl").to_string().contains("/vms/101"));
    let content = asker.ask(Method::Get, "/nodes/pve2/storage/local-lvm/content", &[("vmid", "101")]).unwrap().data;
    assert_eq!(content, Value::Array(vec![]));
}

#[test]
fn a_template_is_made_of_a_guest_that_stands() {
    let asker = Asker::new();
    let message = |path: &str| asker.fault(Method::Post, path, &[]).message;
    assert_eq!(message("/nodes/pve1/qemu/9000/template"), "you can't convert a template to a template");
    assert_eq!(message("/nodes/pve1/qemu/100/template"), "you can't convert a VM to template if VM is running");
    assert_eq!(message("/nodes/pve2/qemu/101/template"), "unable to create template, because VM contains snapshots");
    assert_eq!(asker.run("/nodes/pve3/qemu/103/template", &[]), "OK");
    let config = asker.get("/nodes/pve3/qemu/103/config");
    assert_eq!(
        (config["template"].clone(), config["scsi0"].clone()),
        (1.into(), "local-lvm:base-103-disk-0,size=8G".into())
    );
    assert_eq!(asker.run("/nodes/pve3/qemu/103/clone", &[("newid", "150")]), "OK");
}

#[test]
fn snapshots_are_a_chain_to_go_back_on() {
    let asker = Asker::new();
    let path = "/nodes/pve2/qemu/101";
    let names = || -> Vec<String> {
        let rows = asker.get(&format!("{path}/snapshot"));
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["before-upgrade", "installed", "current"]);
    assert_eq!(asker.run(&format!("{path}/snapshot"), &[("snapname", "new")]), "OK");
    let again = asker.run(&format!("{path}/snapshot"), &[("snapname", "new")]);
    assert_eq!(again, "snapshot name 'new' already used");
    asker.ask(Method::Put, &format!("{path}/config"), &[("memory", "4096")]).unwrap();
    assert_eq!(asker.run(&format!("{path}/snapshot/new/rollback"), &[]), "OK");
    let config = asker.get(&format!("{path}/config"));
    assert_eq!((config["memory"].clone(), config["parent"].clone()), ("2048".into(), "new".into()));
    let upid = asker.ask(Method::Delete, &format!("{path}/snapshot/new"), &[]).unwrap().data;
    assert_eq!(asker.finish(upid.as_str().unwrap()), "OK");
    assert_eq!(asker.get(&format!("{path}/config"))["parent"], "before-upgrade");
    let missing = asker.fault(Method::Get, &format!("{path}/snapshot/new/config"), &[]);
    assert_eq!(missing.message, "snapshot 'new' does not exist");
}

#[test]
fn an_extra_guest_does_not_disturb_the_free_numbers() {
    let asker = Asker::of(&Shape { nodes: 2, guests: 20, pace: 1.0 });
    let rows = asker.ask(Method::Get, "/cluster/resources", &[("type", "vm")]).unwrap().data;
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 27);
    let number = |row: &Value| row["vmid"].as_u64().unwrap();
    assert!(!rows.iter().any(|row| (150..200).contains(&number(row)) || number(row) == 250));
    let nodes: BTreeSet<&str> = rows.iter().map(|row| row["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, BTreeSet::from(["pve1", "pve2"]));
}

#[test]
fn a_disk_grows_with_its_volume() {
    let asker = Asker::new();
    let put = |path: &str, disk: &str, size: &str| {
        let reply = asker.ask(Method::Put, path, &[("disk", disk), ("size", size)]).unwrap();
        asker.finish(reply.data.as_str().unwrap())
    };
    let vm = "/nodes/pve1/qemu/100/resize";
    let size = |asker: &Asker| {
        let drive = asker.get("/nodes/pve1/qemu/100/config")["scsi0"].as_str().unwrap().to_owned();
        drive.split("size=").nth(1).unwrap().to_owned()
    };
    assert_eq!(put(vm, "scsi0", "64G"), "OK");
    assert_eq!(size(&asker), "64G");
    assert_eq!(put(vm, "scsi0", "+512M"), "OK");
    let content = asker.ask(Method::Get, "/nodes/pve1/storage/local-lvm/content", &[("vmid", "100")]).unwrap().data;
    assert_eq!(content[0]["size"], (64_u64 << 30) + (512 << 20));
    assert_eq!(put(vm, "scsi0", "1G"), "shrinking disks is not supported");
    assert_eq!(put(vm, "scsi9", "1G"), "disk 'scsi9' does not exist");
    assert_eq!(put("/nodes/pve1/lxc/110/resize", "rootfs", "1M"), "unable to shrink disk size");
    let old = [("disk", "scsi0"), ("size", "+1G"), ("digest", "0")];
    assert!(asker.fault(Method::Put, vm, &old).message.contains("checksum mismatch"));
}
