//! Typed configurations: what is read, what a change leaves alone, what is sent.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{LxcConfig, QemuConfig, Startup, lxc, qemu::*};
use crate::model::{List, Size};

fn vm(config: Value) -> QemuConfig {
    serde_json::from_value(config).unwrap()
}

#[test]
fn odd_types_are_read_and_stay_as_they_are() {
    let json = json!({"memory": "256", "cores": "2", "cpulimit": "1.5", "onboot": "1", "acpi": 0, "numa": true, "new-key": [1],
        "agent": 1, "lock": "odd", "sshkeys": "ssh-ed25519%20AAAA%20me%0A", "tags": "a;b", "balloon": null});
    let config = vm(json.clone());
    assert_eq!(
        (config.memory().unwrap(), config.cores().unwrap(), config.cpulimit().unwrap()),
        (Some(256), Some(2), Some(1.5))
    );
    assert_eq!(
        (config.onboot().unwrap(), config.acpi().unwrap(), config.numa().unwrap()),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!(config.agent().unwrap().unwrap().enabled().unwrap(), Some(true));
    assert_eq!(config.lock().unwrap(), Some(Lock::Other("odd".to_owned())));
    assert_eq!(config.sshkeys().unwrap().unwrap().0, "ssh-ed25519 AAAA me\n");
    assert!(config.tags().unwrap().unwrap().contains("b"));
    assert_eq!((config.balloon().unwrap(), config.sockets().unwrap()), (None, None));
    assert_eq!(serde_json::to_value(&config).unwrap(), json);
    // As older servers and people have it.
    assert_eq!(vm(json!({"memory": 512})).memory().unwrap(), Some(512));
    assert_eq!(vm(json!({"memory": "current=512"})).memory().unwrap(), Some(512));
}

#[test]
fn what_cannot_be_read_is_an_error_and_no_default() {
    let config = vm(json!({"cores": "many", "net0": {"a": 1}, "net1": "virtio,tag=x"}));
    let error = config.cores().unwrap_err();
    assert_eq!(error.message(), "cores is `many`, which is not a whole number that is not negative");
    assert_eq!(config.net(0).unwrap_err().message(), "net0 is an object, which is not a text");
    assert_eq!(
        config.net(1).unwrap().unwrap().tag().unwrap_err().message(),
        "Net tag is `x`, which is not a whole number that is not negative"
    );
    assert_eq!(config.nets().filter(Result::is_ok).count(), 1);
}

#[test]
fn numbered_keys_come_in_order() {
    let config = vm(
        json!({"scsi10": "a:1", "scsi2": "a:2", "scsihw": "lsi", "virtio1": "a:3", "virtiofs0": "d", "ide0": "none,media=cdrom",
        "numa": 1, "numa1": "cpus=0-3", "scsi02": "no"}),
    );
    let scsi: Vec<u16> = config.scsis().map(|disk| disk.unwrap().0).collect();
    assert_eq!(scsi, [2, 10]);
    let keys: Vec<String> = config.disks().unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["ide0", "scsi2", "scsi10", "virtio1"]);
    assert_eq!(config.virtiofs(0).unwrap().unwrap().dirid().unwrap().as_deref(), Some("d"));
    assert_eq!((config.numa().unwrap(), config.numa_nodes().count()), (Some(true), 1));
}

#[test]
fn a_part_is_found_under_all_its_names() {
    let net = |text: &str| Net::lenient(text);
    for text in [
        "virtio=BC:24:11:F8:34:48,tag=5",
        "tag=5,model=virtio,macaddr=BC:24:11:F8:34:48",
        "virtio,macaddr=BC:24:11:F8:34:48,tag=5",
    ] {
        let net = net(text);
        assert_eq!(net.model().unwrap(), Some(NetModel::Virtio), "{text}");
        assert_eq!(net.macaddr().unwrap().as_deref(), Some("BC:24:11:F8:34:48"), "{text}");
        assert_eq!(net.to_string(), text);
    }
    for text in ["a:1,size=32G", "file=a:1,size=32G", "size=32G,volume=a:1"] {
        let disk = Disk::lenient(text);
        assert_eq!(
            (disk.file().unwrap().as_deref(), disk.size().unwrap()),
            (Some("a:1"), Some(Size::gib(32))),
            "{text}"
        );
    }
    assert_eq!(Boot::lenient("order=scsi0;net0").order().unwrap(), Some(List::from("scsi0;net0")));
    assert_eq!(Agent::lenient("1,guest-fsfreeze=0").freeze_fs().unwrap(), Some(false));
    assert_eq!(Startup::lenient("3,up=10").order().unwrap(), Some(3));
}

#[test]
fn a_setter_changes_its_own_part_only() {
    let mut net = Net::lenient("virtio=BC:24:11:F8:34:48, bridge=vmbr0,odd=,tag=5");
    net.set_tag(6).unwrap().set_model(NetModel::E1000).unwrap().set_macaddr("BC:24:11:00:00:01").unwrap();
    assert_eq!(net.to_string(), "e1000=BC:24:11:00:00:01, bridge=vmbr0,odd=,tag=6");
    net.set_model("newer").unwrap();
    assert_eq!(net.to_string(), "model=newer,macaddr=BC:24:11:00:00:01, bridge=vmbr0,odd=,tag=6");

    let mut net = Net::lenient("bridge=vmbr0,virtio=BC:24:11:F8:34:48");
    assert_eq!(net.remove("macaddr").as_deref(), Some("BC:24:11:F8:34:48"));
    assert_eq!(net.to_string(), "bridge=vmbr0,model=virtio");
    let mut net = Net::lenient("virtio=BC:24:11:F8:34:48,bridge=vmbr0");
    assert_eq!(net.remove("model").as_deref(), Some("virtio"));
    assert_eq!(net.to_string(), "macaddr=BC:24:11:F8:34:48,bridge=vmbr0");

    for (before, after) in
        [("a:1,size=32G", "b:2,size=32G"), ("size=32G,volume=a:1", "size=32G,volume=b:2"), ("size=32G", "b:2,size=32G")]
    {
        let mut disk = Disk::lenient(before);
        disk.set_file("b:2").unwrap();
        assert_eq!(disk.to_string(), after);
    }
    let mut mount = lxc::MountPoint::lenient("a:1,mp=/data");
    mount.set_volume("/srv/a=b").unwrap();
    assert_eq!(mount.to_string(), "volume=/srv/a=b,mp=/data");
    assert_eq!(mount.volume().unwrap().as_deref(), Some("/srv/a=b"));
}

#[test]
fn a_value_cannot_smuggle_in_another_part() {
    let mut net = Net::lenient("virtio,bridge=vmbr0");
    let error = net.set_bridge("vmbr1,firewall=0").unwrap_err();
    assert_eq!(error.message(), "Net bridge cannot be `vmbr1,firewall=0`: a comma would begin another part");
    assert!(net.set_bridge("").is_err() && net.set_trunks("1,2").is_err());
    assert_eq!(net.to_string(), "virtio,bridge=vmbr0");
    // What the server keeps encoded may have all of them.
    let mut disk = Disk::lenient("a:1");
    disk.set_serial("a,b =c").unwrap();
    assert_eq!(disk.to_string(), "a:1,serial=a%2Cb%20%3Dc");
    assert_eq!(disk.serial().unwrap().unwrap().0, "a,b =c");
}

#[test]
fn a_create_sends_what_is_ours() {
    let config = vm(
        json!({"name": "a", "onboot": true, "memory": "256", "digest": "d", "lock": "backup", "meta": "ctime=1", "vmstate": "a:1",
        "cipassword": "**********", "newer": 5, "odd": {}, "nothing": null}),
    );
    let params = config.to_params();
    assert_eq!(params.iter().collect::<Vec<_>>(), [("name", "a"), ("onboot", "1"), ("memory", "256"), ("newer", "5")]);
    let mut config = QemuConfig::new();
    config
        .set_cipassword("secret")
        .set_onboot(true)
        .set_memory(512)
        .set_cpulimit(1.5)
        .set_hugepages("2")
        .set_nameserver("1.1.1.1 8.8.8.8");
    let sent: Vec<(String, String)> = config.to_params().iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let want = [
        ("cipassword", "secret"),
        ("onboot", "1"),
        ("memory", "512"),
        ("cpulimit", "1.5"),
        ("hugepages", "2"),
        ("nameserver", "1.1.1.1 8.8.8.8"),
    ];
    assert_eq!(sent, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn a_password_is_sent_and_not_shown() {
    let mut config = QemuConfig::new();
    config.set_cipassword("hunter2").set_ciuser("me");
    assert_eq!(config.to_params().get("cipassword"), Some("hunter2"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && shown.contains("***") && shown.contains("me"), "{shown}");
}

#[test]
fn an_update_sends_what_changed() {
    let json = json!({"memory": "256", "cores": 2, "onboot": 1, "net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0", "tags": "a", "digest": "d", "lock": "backup"});
    let before = vm(json);
    // The same in another spelling is no change.
    let same = vm(
        json!({"memory": 256, "cores": "2", "onboot": true, "net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0", "tags": "a"}),
    );
    assert!(same.changes_since(&before).is_empty());
    let mut after = before.clone();
    after.set_memory(512).set_cores(2);
    after.remove("tags");
    after.remove("net0");
    let params = after.changes_since(&before);
    assert_eq!(params.iter().collect::<Vec<_>>(), [("memory", "512"), ("delete", "net0,tags"), ("digest", "d")]);
}

#[test]
fn containers_too() {
    let mut config: LxcConfig = serde_json::from_value(json!({"memory": 128, "hostname": "ct", "unprivileged": 1, "rootfs": "dir1:200/vm-200-disk-0.raw,size=1G",
        "mp1": "a:2,mp=/b", "mp0": "a:1,mp=/a,mountoptions=noatime;discard", "lxc": [["lxc.cgroup2.cpu.max", "1"]], "unused0": "a:3"}))
    .unwrap();
    assert_eq!((config.memory().unwrap(), config.hostname().unwrap().as_deref()), (Some(128), Some("ct")));
    assert_eq!(config.rootfs().unwrap().unwrap().size().unwrap(), Some(Size::gib(1)));
    let mounts: Vec<String> = config.mps().map(|mount| mount.unwrap().1.mp().unwrap().unwrap()).collect();
    assert_eq!(mounts, ["/a", "/b"]);
    assert!(config.mp(0).unwrap().unwrap().mountoptions().unwrap().unwrap().contains("discard"));
    assert_eq!(config.unused(0).unwrap().unwrap().volume().unwrap().as_deref(), Some("a:3"));
    assert_eq!(config.lxc().unwrap().unwrap(), [("lxc.cgroup2.cpu.max".to_owned(), "1".to_owned())]);
    let mut startup = Startup::new();
    startup.set_order(2).unwrap().set_up(30).unwrap();
    config.set_startup(startup).set_ostype(lxc::Ostype::Debian);
    let params = config.to_params();
    assert_eq!(
        (params.get("startup"), params.get("ostype"), params.get("lxc")),
        (Some("2,up=30"), Some("debian"), None)
    );
}

#[test]
fn words_are_themselves() {
    for word in CpuReportedModel::WORDS.iter().chain(&["newer"]) {
        assert_eq!(CpuReportedModel::from(*word).as_str(), *word);
    }
    assert_eq!(Ostype::from("other"), Ostype::OtherSystem);
    assert_eq!(Ostype::from("w12"), Ostype::Other("w12".to_owned()));
}

/// Every configuration that was recorded of a kind, those of snapshots too.
fn recorded(kind: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for file in ["get.json", "calls.json"] {
        let path = format!("{}/fixtures/pve/recordings/{file}", env!("CARGO_MANIFEST_DIR"));
        let all: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let about =
            |row: &Value| [&row["path"], &row["curl"]].iter().find_map(|v| v.as_str()).unwrap_or_default().to_owned();
        let wanted = |row: &&Value| {
            let about = about(row);
            about.contains(&format!("/{kind}/")) && about.ends_with("/config") && row["body"]["data"].is_object()
        };
        found.extend(all.iter().filter(wanted).map(|row| row["body"]["data"].clone()));
    }
    found
}

/// Each text as it was recorded, each number in the way in which the server writes it.
#[track_caller]
fn unchanged(before: &Value, after: &Value) {
    for (key, value) in before.as_object().unwrap() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(text(value), text(&after[key]), "{key}");
    }
    assert_eq!(before.as_object().unwrap().len(), after.as_object().unwrap().len());
}

#[test]
fn what_was_recorded_survives_every_reader_and_every_setter() {
    let (vms, containers) = (recorded("qemu"), recorded("lxc"));
    assert!(vms.len() >= 6 && !containers.is_empty(), "{} and {}", vms.len(), containers.len());
    for json in vms {
        unchanged(&json, &serde_json::to_value(vm(json.clone()).again().unwrap()).unwrap());
    }
    for json in containers {
        let config: LxcConfig = serde_json::from_value(json.clone()).unwrap();
        unchanged(&json, &serde_json::to_value(config.again().unwrap()).unwrap());
    }
}

#[test]
fn every_key_that_was_recorded_is_known() {
    for (kind, keys) in [("qemu", QemuConfig::KEYS), ("lxc", LxcConfig::KEYS)] {
        for key in recorded(kind).iter().flat_map(|config| config.as_object().unwrap().keys()) {
            let base = key.trim_end_matches(|c: char| c.is_ascii_digit());
            assert!(keys.contains(&key.as_str()) || keys.contains(&base), "{kind} {key}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_read_is_printed_back(text in "(virtio|e1000=BC:24:11:F8:34:48|model=virtio)?(,[ ]?(bridge=vmbr0|tag=[0-9]{1,3}|odd|macaddr=BC:24:11:00:00:01|=|)){0,5}") {
        prop_assert_eq!(Net::lenient(&text).to_string(), text);
    }

    #[test]
    fn what_is_set_is_got(
        text in "(virtio|e1000=BC:24:11:F8:34:48|model=virtio)(,(bridge=vmbr0|link_down=1|odd=x)){0,3}",
        word in proptest::sample::select(NetModel::WORDS),
        mac in "BC(:[0-9A-F]{2}){5}",
        tag in 1_u64..4095,
        firewall: bool,
        trunks in proptest::collection::vec(1_u16..4095, 1..5),
    ) {
        let trunks: List = trunks.iter().map(ToString::to_string).collect();
        let mut net = Net::lenient(&text);
        net.set_macaddr(&*mac).unwrap().set_tag(tag).unwrap().set_model(word).unwrap();
        net.set_firewall(firewall).unwrap().set_trunks(trunks.clone()).unwrap();
        let net: Net = Net::lenient(&net.to_string());
        prop_assert_eq!((net.model().unwrap(), net.macaddr().unwrap(), net.tag().unwrap()), (Some(word.into()), Some(mac), Some(tag)));
        prop_assert_eq!((net.firewall().unwrap(), net.trunks().unwrap()), (Some(firewall), Some(trunks)));
        for part in text.split(',').skip(1) {
            prop_assert!(net.to_string().split(',').any(|have| have == part), "{} lost {}", net, part);
        }
    }

    #[test]
    fn a_configuration_is_what_its_parameters_say(name in "[a-z]{1,8}", memory in 16_u64..1 << 20, onboot: bool, size in 1_u64..1 << 20, n in 0_u16..31) {
        let mut disk = Disk::new();
        disk.set_file("local-lvm:0").unwrap().set_size(Size::mib(size)).unwrap();
        let mut config = QemuConfig::new();
        config.set_name(&*name).set_memory(memory).set_onboot(onboot).set_scsi(n, disk.clone());
        let back: serde_json::Map<String, Value> = config.to_params().iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        let back: QemuConfig = serde_json::from_value(Value::Object(back)).unwrap();
        prop_assert_eq!((back.name().unwrap(), back.memory().unwrap(), back.onboot().unwrap()), (Some(name), Some(memory), Some(onboot)));
        prop_assert_eq!(back.scsi(n).unwrap(), Some(disk));
        prop_assert!(back.changes_since(&config).is_empty());
    }
}
