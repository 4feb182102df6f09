//! What is refused, in which words.

use insta::assert_snapshot;
use serde_json::json;

use super::{super::keys::Rule, *};

/// Each configuration with the words of its refusal, a line each.
fn all(configs: &[Value]) -> String {
    configs.iter().map(|config| refused(config.clone()) + "\n").collect()
}

#[test]
fn a_refused_key_names_reason_and_way_out() {
    for row in KEYS {
        let Rule::Refused { unless, why, instead } = row.rule else { continue };
        let key = row.name.replace("[n]", "0");
        let said = refused(json!({ &key: "nonsense" }));
        assert!(said.starts_with("usage: ") && said.contains(&key) && said.contains(why), "{said}");
        assert!(said.ends_with(&format!(" → {instead}")), "{said}");
        for good in unless {
            let config = qemu(json!({ &key: good, "bios": "ovmf" }));
            map(&config, &facts(&config)).unwrap();
        }
    }
}

#[test]
fn keys() {
    assert_snapshot!(all(&[
        json!({"usb0": "host=1-2"}),
        json!({"acpi": 0}),
        json!({"kvm": "no"}),
        json!({"args": "-cpu max"}),
        json!({"vga": "std"}),
        json!({"vga": "qxl,memory=16"}),
        json!({"bios": "seabios"}),
        json!({"machine": "pc-i440fx-9.2"}),
        json!({"arch": "aarch64"}),
        json!({"cpu": "EPYC"}),
        json!({"cpu": "host,flags=+aes"}),
        json!({"cpu": "host,hidden=1"}),
        json!({"cpulimit": 1.5}),
        json!({"tpmstate0": "local:1,version=v2.0", "bios": "ovmf"}),
        json!({"serial1": "socket", "bios": "ovmf"}),
        json!({"serial0": "/dev/ttyS0", "bios": "ovmf"}),
        json!({"boot": "order=net0;scsi0", "net0": "virtio=02:00:00:00:00:01,bridge=vmbr0", "scsi0": "local:0"}),
        json!({"watchdog": "model=i6300esb,action=poweroff"}),
        json!({"rng0": "source=/dev/urandom,max_bytes=1024"}),
        json!({"citype": "configdrive2"}),
    ]), @r#"
    usage: usb0 is not possible under Cloud Hypervisor: it emulates no USB → pass the USB controller through with hostpci0
    usage: acpi=0 is not possible under Cloud Hypervisor: its machine always has ACPI → leave acpi out
    usage: kvm=no is not possible under Cloud Hypervisor: it runs on KVM alone → leave kvm out
    usage: args is not possible under Cloud Hypervisor: its arguments are QEMU's → patch the machine's VmConfig with the key x-ch-config
    usage: vga type=std is not possible under Cloud Hypervisor: it has no display → use vga=serial0, whose console is `pvectl vm console`
    usage: vga type=qxl is not possible under Cloud Hypervisor: it has no display → use vga=serial0, whose console is `pvectl vm console`
    usage: bios=seabios is not possible under Cloud Hypervisor: its firmware is a UEFI one → use bios=ovmf
    usage: machine=pc-i440fx-9.2 is not possible under Cloud Hypervisor: it has one kind of machine, which is nearest to q35 → leave machine out, or use q35
    usage: arch=aarch64 is not possible under Cloud Hypervisor: this host is x86_64, and KVM runs its own kind only → leave arch out
    usage: cpu=EPYC is not possible under Cloud Hypervisor: the guest sees the host's processor → use cpu=host
    usage: cpu flags=+aes is not possible under Cloud Hypervisor: the guest sees the host's processor → leave it out; only vmx, svm and nested-virt can be turned on and off
    usage: cpu hidden=1 is not possible under Cloud Hypervisor: it does not hide KVM → leave hidden out
    usage: cpulimit is not possible under Cloud Hypervisor: nobody makes control groups here → run pvectl where it may make a control group (`pvectl check` says where), or use affinity
    usage: tpmstate0 is not possible under Cloud Hypervisor: no swtpm was found that could be the TPM → install swtpm, or leave it out
    usage: serial1 is not possible under Cloud Hypervisor: it has one serial port → use serial0
    usage: serial0=/dev/ttyS0 is not possible under Cloud Hypervisor: a serial port of the host cannot be passed through → use serial0=socket, whose console is `pvectl vm console`
    usage: boot from the network is not possible under Cloud Hypervisor: the firmware is not set up for it → name a disk first, or boot a kernel of yours
    usage: watchdog action=poweroff is not possible under Cloud Hypervisor: its watchdog can only reset → use action=reset
    usage: rng0 max_bytes=1024 is not possible under Cloud Hypervisor: it does not limit the source → use max_bytes=0
    usage: citype=configdrive2 is not possible under Cloud Hypervisor: the seed that pvectl writes is NoCloud's → leave citype out; every current image reads NoCloud
    "#);
}

#[test]
fn parts() {
    let net = |rest: &str| json!({"net0": format!("virtio=02:00:00:00:00:01{rest}")});
    let disk = |rest: &str| json!({"scsi0": format!("local:0,{rest}")});
    assert_snapshot!(all(&[
        disk("iops_rd=100"),
        disk("wwn=0x5000"),
        disk("format=vmdk"),
        disk("format=qcow"),
        disk("serial=a123456789012345678901"),
        disk("speed=1"),
        disk("iops_max=10"),
        json!({"ide2": "cdrom,media=cdrom"}),
        net(""),
        net(",bridge=vmbr0,mtu=576"),
        net(",bridge=vmbr0,tga=5"),
        json!({"net0": "e1000=02:00:00:00:00:01,bridge=vmbr0"}),
        json!({"net0": "virtio=03:00:00:00:00:01,bridge=vmbr0"}),
        json!({"hostpci0": "01:00.0,x-vga=1"}),
        json!({"hostpci0": "01:00"}),
        json!({"hostpci0": "mapping=gpu"}),
        json!({"numa": 1, "numa0": "cpus=0,memory=512,hostnodes=0-1,policy=bind"}),
        json!({"numa": 1, "numa0": "cpus=0,memory=512,policy=preferred"}),
    ]), @r#"
    usage: scsi0 iops_rd=100 is not possible under Cloud Hypervisor: it has one budget for reads and writes together → use iops and mbps
    usage: scsi0 wwn is not possible under Cloud Hypervisor: a virtio disk has no world wide name → use serial
    usage: scsi0 format=vmdk is not possible under Cloud Hypervisor: it reads raw, qcow2, VHD and VHDX → convert it to qcow2 with qemu-img
    usage: scsi0 format=qcow is not possible under Cloud Hypervisor: it reads raw, qcow2, VHD and VHDX → convert it to qcow2 with qemu-img
    usage: scsi0 serial is not possible under Cloud Hypervisor: a virtio disk's has 20 bytes, not 22 → use a shorter one
    usage: scsi0: there is no `speed` in it
    usage: scsi0: iops_max is a burst above iops, which is missing
    usage: ide2=cdrom is not possible under Cloud Hypervisor: the host's CD drive cannot be passed through → copy the disc to an ISO image
    usage: net0 without a bridge is not possible under Cloud Hypervisor: it has no user mode network → name one with bridge=NAME
    usage: net0 mtu=576 is not possible under Cloud Hypervisor: a virtio interface's is at least 1280 → use 1 for the bridge's own, or a higher one
    usage: net0: there is no `tga` in it
    usage: net0 model=e1000 is not possible under Cloud Hypervisor: it emulates no network card → use model=virtio
    usage: net0: `03:00:00:00:00:01` is no MAC address of one interface
    usage: hostpci0 x-vga=1 is not possible under Cloud Hypervisor: there is no primary graphics card → leave x-vga out
    usage: hostpci0: `01:00` names no function: write each one, such as 01:00.0
    not-found: hostpci0: there is no mapping `gpu` on this host
    usage: numa0 hostnodes is not possible under Cloud Hypervisor: memory is bound to one node of the host, or to none → name one node, or make a numa[n] for each
    usage: numa0 policy=preferred is not possible under Cloud Hypervisor: memory is bound to one node of the host, or to none → use policy=bind, or leave it out
    "#);
}

#[test]
fn values() {
    assert_snapshot!(all(&[
        json!({"mem": 512}),
        json!({"cores": 32}),
        json!({"cores": 2, "vcpus": 3}),
        json!({"affinity": "0-99"}),
        json!({"affinity": "two"}),
        json!({"memory": 8}),
        json!({"memory": 512, "balloon": 1024, "bios": "ovmf"}),
        json!({"name": "no good"}),
        json!({"boot": "order=scsi7"}),
        json!({"scsi0": "local:cloudinit", "ide2": "local:cloudinit"}),
        json!({"cdrom": "local:iso/a.iso", "ide2": "local:iso/b.iso"}),
        json!({"numa": 1, "numa0": "cpus=0,memory=100"}),
        json!({"x-cmdline": "quiet"}),
        json!({"bios": "ovmf", "x-ch-config": "[1]"}),
        json!({"bios": "ovmf", "x-ch-config": "{\"cpus\":{\"boot_vcpus\":\"many\"}}"}),
    ]), @r#"
    usage: mem: there is no such key → did you mean memory?
    usage: cores: 1 × 32 is 32 processors, and this host has 16
    usage: vcpus: 3 is more than the 2 that sockets × cores allow
    usage: affinity: this host has no processor 16, it has 16
    usage: affinity: `two` is no number and no range such as 0-3
    usage: memory: 8 MiB is not possible: at least 16 are needed
    usage: balloon: 1024 MiB is more than the memory, 512 MiB
    usage: name: `no good` is no DNS name: letters, digits and hyphens, with dots between labels
    usage: boot: there is no device `scsi7`
    usage: scsi0: there is a second cloud-init drive
    usage: cdrom: it is another name of ide2, and both are there
    usage: numa: memory of all nodes is 100 MiB, and the machine's is 512 MiB
    usage: x-cmdline: it goes with x-kernel, which is missing
    usage: x-ch-config: it has to be an object, such as {"pvpanic": true}
    usage: x-ch-config: it makes no VmConfig: invalid type: string "many", expected u32
    "#);
}

#[test]
fn what_lies_in_a_volume_counts() {
    let config = qemu(json!({"bios": "ovmf", "scsi0": "local:0,format=raw", "scsi1": "local:1"}));
    let mut facts = facts(&config);
    facts.volumes.get_mut("scsi0").unwrap().format = ImageType::Qcow2;
    let said = words(&map(&config, &facts).unwrap_err());
    assert!(said.contains("format says Raw, and") && said.contains("is Qcow2"), "{said}");
    facts.volumes.get_mut("scsi0").unwrap().format = ImageType::Unknown;
    assert!(words(&map(&config, &facts).unwrap_err()).contains("is not known"));
    facts.volumes.get_mut("scsi0").unwrap().format = ImageType::Raw;
    facts.volumes.get_mut("scsi1").unwrap().path = facts.volumes["scsi0"].path.clone();
    assert!(words(&map(&config, &facts).unwrap_err()).contains("its volume is scsi0's too"));
    facts.volumes.remove("scsi1");
    assert_eq!(map(&config, &facts).unwrap_err().class(), crate::model::Class::Bug);
}

#[test]
fn an_emulated_card_is_a_virtio_one_for_the_lenient() {
    let config = qemu(json!({"bios": "ovmf", "net0": "e1000=02:00:00:00:00:01,bridge=vmbr0"}));
    let got = map(&config, &Facts { lenient: true, ..facts(&config) }).unwrap();
    assert_eq!(got.config.net[0].mac.as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!(got.warnings, ["net0: a virtio interface instead of e1000"]);
}

#[test]
fn a_control_group_makes_limits_possible_and_a_tpm_needs_its_process() {
    let config = qemu(json!({"bios": "ovmf", "cpulimit": 2, "cpuunits": 50, "tpmstate0": "local:1,version=v2.0"}));
    let facts = Facts { no_cgroup: None, tpm_socket: Some("/run/tpm".into()), ..facts(&config) };
    assert_eq!(map(&config, &facts).unwrap().config.tpm.unwrap().socket, std::path::Path::new("/run/tpm"));
}

#[test]
fn no_firmware_is_said_with_the_way_out() {
    let config = qemu(json!({"bios": "ovmf"}));
    let said = words(&map(&config, &Facts { firmware: None, ..facts(&config) }).unwrap_err());
    assert!(said.starts_with("not-found: ") && said.contains("pvectl check"), "{said}");
    let direct = qemu(json!({"x-kernel": "/vmlinux"}));
    map(&direct, &Facts { firmware: None, ..facts(&direct) }).unwrap();
}

#[test]
fn a_vmm_is_confined_if_that_is_asked_for() {
    let enabled = |said: Option<&str>, can: bool| {
        let mut json = json!({"bios": "ovmf"});
        if let Some(said) = said {
            json["x-landlock"] = said.into();
        }
        let config = qemu(json);
        let mut facts = facts(&config);
        facts.landlock = can.then(|| vec![LandlockConfig::new("/own", "rw")]);
        map(&config, &facts).map(|mapped| mapped.config)
    };
    let config = enabled(Some("1"), true).unwrap();
    assert_eq!(config.landlock_enable, Some(true));
    let rules: Vec<_> = config.landlock_rules.iter().map(|rule| (rule.path.to_str().unwrap(), &*rule.access)).collect();
    assert_eq!(rules, [("/own", "rw"), ("/sys/devices/virtual/net", "r"), ("/dev/net/tun", "rw")]);
    for (said, can) in [(None, true), (None, false), (Some("0"), true), (Some("0"), false)] {
        let config = enabled(said, can).unwrap();
        assert_eq!((config.landlock_enable, config.landlock_rules.len()), (None, 0), "{said:?} {can}");
    }
    assert!(words(&enabled(Some("1"), false).unwrap_err()).contains("pvectl check"));
    assert!(words(&enabled(Some("yes"), true).unwrap_err()).contains("neither 0 nor 1"));
}
