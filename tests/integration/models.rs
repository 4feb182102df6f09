//! The generated models are those of the API description, and they have all of its keys.

use std::{collections::BTreeSet, fs, path::Path};

use pvectl::{
    client::{Auth, Client, Endpoint},
    contract::{check_call, embedded},
    model::{
        Call, Class, ClusterResource, ConfigView, GuestKind, List, Method, Params, Size,
        config::{LxcConfig, QemuConfig, Startup, lxc, qemu},
    },
    sandbox,
};

#[path = "../../examples/generate_models.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is a program of its own")]
mod generate;

#[test]
fn what_is_generated_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in generate::files(&root.join("fixtures/pve")).unwrap() {
        let path = root.join("src/model/config").join(&name);
        let have = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            have == text,
            "src/model/config/{name} is stale: cargo run --no-default-features --example generate_models"
        );
    }
}

/// By the embedded contract, which the generator does not read: no key of an update or of an answer is without a method,
/// and none is made up.
#[test]
fn every_key_of_the_contract_is_there() {
    for (kind, keys) in [(GuestKind::Qemu, QemuConfig::KEYS), (GuestKind::Lxc, LxcConfig::KEYS)] {
        let template = format!("/nodes/{{node}}/{}/{{vmid}}/config", kind.api());
        let endpoint = |method| embedded().endpoint(method, &template).unwrap();
        // How a change is made, and the raw lines of a container, which have a method that was written by hand.
        let others = ["delete", "force", "lxc", "node", "revert", "skiplock", "vmid"];
        let (update, answer) = (endpoint(Method::Put), endpoint(Method::Get));
        let declared = update.parameters.properties.keys().chain(answer.returns.properties.keys());
        let declared: BTreeSet<&str> =
            declared.map(|key| key.trim_end_matches("[n]")).filter(|key| !others.contains(key)).collect();
        assert!(declared.len() > 30);
        assert_eq!(declared, keys.iter().copied().collect::<BTreeSet<&str>>(), "{kind}");
    }
}

/// Keys with the keys of their types.
type Types = &'static [(&'static str, &'static [&'static str])];

/// The property strings of each kind of guest by their key, numbered ones as the contract has them.
const PROPERTY_STRINGS: &[(GuestKind, Types)] = &[
    (
        GuestKind::Qemu,
        &[
            ("agent", qemu::Agent::KEYS),
            ("amd-sev", qemu::AmdSev::KEYS),
            ("audio0", qemu::Audio::KEYS),
            ("boot", qemu::Boot::KEYS),
            ("cdrom", qemu::Disk::KEYS),
            ("cicustom", qemu::CiCustom::KEYS),
            ("cpu", qemu::Cpu::KEYS),
            ("efidisk0", qemu::EfiDisk::KEYS),
            ("hostpci[n]", qemu::HostPci::KEYS),
            ("ide[n]", qemu::Disk::KEYS),
            ("intel-tdx", qemu::IntelTdx::KEYS),
            ("ipconfig[n]", qemu::IpConfig::KEYS),
            ("ivshmem", qemu::Ivshmem::KEYS),
            ("machine", qemu::Machine::KEYS),
            ("memory", &["current"]),
            ("meta", qemu::Meta::KEYS),
            ("net[n]", qemu::Net::KEYS),
            ("numa[n]", qemu::NumaNode::KEYS),
            ("rng0", qemu::Rng::KEYS),
            ("runningmachine", qemu::Machine::KEYS),
            ("sata[n]", qemu::Disk::KEYS),
            ("scsi[n]", qemu::Disk::KEYS),
            ("smbios1", qemu::Smbios::KEYS),
            ("spice_enhancements", qemu::SpiceEnhancements::KEYS),
            ("tpmstate0", qemu::TpmState::KEYS),
            ("unused[n]", qemu::Unused::KEYS),
            ("usb[n]", qemu::Usb::KEYS),
            ("vga", qemu::Vga::KEYS),
            ("virtio[n]", qemu::Disk::KEYS),
            ("virtiofs[n]", qemu::VirtioFs::KEYS),
            ("watchdog", qemu::Watchdog::KEYS),
        ],
    ),
    (
        GuestKind::Lxc,
        &[
            ("dev[n]", lxc::Device::KEYS),
            ("features", lxc::Features::KEYS),
            ("mp[n]", lxc::MountPoint::KEYS),
            ("net[n]", lxc::Net::KEYS),
            ("rootfs", lxc::Rootfs::KEYS),
            ("unused[n]", lxc::Unused::KEYS),
        ],
    ),
];

/// The same for the keys in property strings: each is in the type that the key's method gives, other names aside.
#[test]
fn every_key_of_every_property_string_is_there() {
    for (kind, types) in PROPERTY_STRINGS {
        let template = format!("/nodes/{{node}}/{}/{{vmid}}/config", kind.api());
        let endpoint = |method| embedded().endpoint(method, &template).unwrap();
        let (update, answer) = (endpoint(Method::Put), endpoint(Method::Get));
        for (key, schema) in update.parameters.properties.iter().chain(&answer.returns.properties) {
            let Some(declared) = schema.keys() else { continue };
            let (_, typed) =
                types.iter().find(|(of, _)| of == key).unwrap_or_else(|| panic!("{kind} {key} has no type"));
            for (inner, _) in declared.iter().filter(|(_, schema)| schema.alias.is_none()) {
                assert!(typed.contains(&inner.as_str()), "{kind} {key} has no {inner}");
            }
        }
    }
}

/// What a typed configuration makes, the contract takes.
#[test]
fn what_is_made_by_the_types_is_allowed() {
    let mut vm = QemuConfig::new();
    let mut disk = qemu::Disk::new();
    disk.set_file("local-lvm:32").unwrap().set_ssd(true).unwrap().set_iothread(true).unwrap();
    disk.set_discard(qemu::DiskDiscard::On).unwrap().set_serial("A 1").unwrap().set_mbps(12.5).unwrap();
    let mut net = qemu::Net::new();
    net.set_model(qemu::NetModel::Virtio).unwrap().set_macaddr("BC:24:11:00:00:01").unwrap();
    net.set_bridge("vmbr0").unwrap().set_tag(20).unwrap().set_trunks(["5", "7-9"].iter().collect::<List>()).unwrap();
    let mut cpu = qemu::Cpu::new();
    cpu.set_cputype("host").unwrap().set_flags("+aes;-pcid").unwrap();
    let mut boot = qemu::Boot::new();
    boot.set_order("scsi0;net0").unwrap();
    let mut ip = qemu::IpConfig::new();
    ip.set_ip("10.0.0.5/24").unwrap().set_gw("10.0.0.1").unwrap();
    let mut agent = qemu::Agent::new();
    agent.set_enabled(true).unwrap().set_fstrim_cloned_disks(true).unwrap();
    let mut startup = Startup::new();
    startup.set_order(2).unwrap().set_up(30).unwrap();
    let mut efi = qemu::EfiDisk::new();
    efi.set_file("local-lvm:1").unwrap().set_efitype(qemu::EfiDiskEfitype::V4m).unwrap();
    let mut numa = qemu::NumaNode::new();
    numa.set_cpus("0-3;5").unwrap().set_memory(1024.0).unwrap();
    vm.set_name("web-1").set_memory(4096).set_cores(4).set_bios(qemu::Bios::Ovmf).set_cpulimit(1.5).set_onboot(true);
    vm.set_scsi(0, disk).set_net(0, net).set_cpu(cpu).set_boot(boot).set_ipconfig(0, ip).set_agent(agent);
    vm.set_startup(startup.clone()).set_efidisk0(efi).set_numa(true).set_numa_node(0, numa).set_tags("a;b");
    vm.set_sshkeys("ssh-ed25519 AAAA me").set_hotplug("disk,network").set_ostype(qemu::Ostype::OtherSystem);
    vm.set_nameserver("1.1.1.1 8.8.8.8").set_scsihw(qemu::Scsihw::VirtioScsiSingle).set_migrate_downtime(0.5);

    let mut ct = LxcConfig::new();
    let mut net = lxc::Net::new();
    net.set_name("eth0").unwrap().set_bridge("vmbr0").unwrap().set_ip("dhcp").unwrap();
    let mut rootfs = lxc::Rootfs::new();
    rootfs.set_volume("local-lvm:8").unwrap().set_mountoptions("noatime;discard").unwrap();
    let mut mount = lxc::MountPoint::new();
    mount.set_volume("local-lvm:vm-200-disk-1").unwrap().set_mp("/data").unwrap().set_size(Size::gib(4)).unwrap();
    let mut features = lxc::Features::new();
    features.set_nesting(true).unwrap().set_mount("nfs;cifs").unwrap();
    ct.set_hostname("ct-1").set_memory(512).set_swap(0).set_unprivileged(true).set_net(0, net).set_rootfs(rootfs);
    ct.set_mp(0, mount).set_features(features).set_startup(startup).set_ostype(lxc::Ostype::Debian).set_tty(2);

    let create =
        |kind: &str, params: Params| Call::new(Method::Post, format!("/nodes/pve1/{kind}")).with_params(params);
    let vm = create("qemu", vm.to_params().with("vmid", 100));
    let template = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
    let ct = create("lxc", ct.to_params().with("vmid", 200).with("ostemplate", template));
    for call in [vm, ct] {
        assert!(check_call(&call).is_ok(), "{:?}\n{call}", check_call(&call).unwrap_err());
    }
}

/// From end to end: read, change one part, send what changed, read again; a second change on old ground is refused.
#[tokio::test]
async fn a_typed_change_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = sandbox::Session::start(&directory.path().join("sandbox.db")).await.unwrap();
    let auth = Auth::Token { id: cluster.token_id().to_owned(), secret: cluster.secret().clone() };
    let client = Client::builder().endpoint(Endpoint::parse(cluster.url()).unwrap()).auth(auth).build().unwrap();

    let resources = client.resources(None).await.unwrap();
    assert!(resources.iter().all(|row| !matches!(row, ClusterResource::Other(_))), "{resources:?}");
    for kind in ["qemu", "lxc", "node", "storage", "network"] {
        assert!(resources.iter().any(|row| row.kind() == kind), "no {kind}");
    }
    let guest = resources.iter().find_map(|row| match row {
        ClusterResource::Guest(guest) if guest.label() == "web-1" => Some(guest.reference()),
        _ => None,
    });
    let guest = guest.unwrap();
    assert_eq!(client.current_status(&guest).await.unwrap().name.as_deref(), Some("web-1"));
    assert!(client.node_status(&guest.node).await.unwrap().memory.unwrap().total.unwrap() > 0);
    assert_eq!(client.pool("nowhere").await.unwrap_err().class(), Class::NotFound);

    let before = client.qemu_config(&guest, ConfigView::Pending).await.unwrap();
    let mut net = before.net(0).unwrap().unwrap();
    let mac = net.macaddr().unwrap().unwrap();
    net.set_tag(42).unwrap();
    let mut after = before.clone();
    after.set_net(0, net).set_description("typed");
    let params = after.changes_since(&before);
    assert_eq!(params.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["net0", "description", "digest"]);

    let path = format!("/nodes/{}/qemu/{}/config", guest.node, guest.vmid);
    let call = Call::new(Method::Put, path).with_params(params);
    client.send(&call).await.unwrap();
    let now = client.qemu_config(&guest, ConfigView::Pending).await.unwrap();
    let net = now.net(0).unwrap().unwrap();
    assert_eq!((net.tag().unwrap(), net.macaddr().unwrap()), (Some(42), Some(mac)));
    assert_eq!(now.description().unwrap().as_deref(), Some("typed"));
    assert!(after.changes_since(&now).is_empty());
    assert_eq!(client.send(&call).await.unwrap_err().class(), Class::Conflict);
}
