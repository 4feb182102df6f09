//! What holds for every configuration.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::{
    super::{
        super::vmm::config::{HotplugMethod, VmConfig},
        changes as plan_of,
    },
    *,
};

/// Some configuration: keys of all kinds, most of them good.
fn config() -> impl Strategy<Value = Value> {
    let word = |key: &'static str, values: &'static [&'static str]| {
        (Just(key.to_owned()), prop::sample::select(values).prop_map(Value::from))
    };
    let disk = (prop::sample::select(&["scsi", "virtio", "sata", "ide"]), 0_u8..4, 0_u8..3, 1_u64..64).prop_flat_map(
        |(bus, n, file, size)| {
            let options = ["", ",discard=on", ",cache=none", ",iops=100", ",backup=0", ",media=cdrom", ",queues=4"];
            prop::sample::select(options.to_vec()).prop_map(move |options| {
                (format!("{bus}{n}"), json!(format!("local:{bus}{n}-{file},size={size}G{options}")))
            })
        },
    );
    let net = (0_u8..8, 0_u8..3, prop::sample::select(vec!["", ",tag=3", ",link_down=1", ",mtu=1", ",rate=5"]))
        .prop_map(|(n, mac, rest)| {
            (format!("net{n}"), json!(format!("virtio=02:00:00:00:0{mac}:0{n},bridge=vmbr0{rest}")))
        });
    let key = prop_oneof![
        4 => disk,
        4 => net,
        1 => (16_u64..100_000).prop_map(|memory| ("memory".to_owned(), json!(memory))),
        1 => (0_u64..4_000).prop_map(|balloon| ("balloon".to_owned(), json!(balloon))),
        1 => (1_u64..20).prop_map(|cores| ("cores".to_owned(), json!(cores))),
        1 => (1_u64..4).prop_map(|sockets| ("sockets".to_owned(), json!(sockets))),
        1 => (0_u64..8).prop_map(|vcpus| ("vcpus".to_owned(), json!(vcpus))),
        1 => (0_u8..3).prop_map(|n| (format!("virtiofs{n}"), json!(format!("dir{n}")))),
        1 => (0_u8..3).prop_map(|n| (format!("hostpci{n}"), json!(format!("0{n}:00.0;0{n}:00.1")))),
        1 => word("hotplug", &["0", "1", "disk,network,cpu,memory", "memory", "disk,cpu"]),
        1 => word("hugepages", &["2", "1024", "any"]),
        1 => word("agent", &["1", "0", "enabled=1,fstrim_cloned_disks=1"]),
        1 => word("machine", &["q35", "q35,viommu=virtio", "pc"]),
        1 => word("cpu", &["host", "x86-64-v3", "host,flags=-vmx", "EPYC"]),
        1 => word("numa", &["0", "1"]),
        1 => word("rng0", &["source=/dev/urandom"]),
        1 => word("serial0", &["socket"]),
        1 => word("ciuser", &["a", "b"]),
        1 => word("name", &["a", "b.c", "not a name"]),
        1 => word("allow-ksm", &["0", "1"]),
        1 => word("x-kernel", &["/vmlinux"]),
    ];
    prop::collection::vec(key, 0..14).prop_map(|keys| {
        let mut config: Map<String, Value> = keys.into_iter().collect();
        config.insert("bios".to_owned(), "ovmf".into());
        config.into()
    })
}

fn ids(config: &VmConfig) -> Vec<&str> {
    let all = [
        config.disks.iter().map(|disk| &disk.id).collect::<Vec<_>>(),
        config.net.iter().map(|net| &net.id).collect(),
        config.fs.iter().map(|fs| &fs.id).collect(),
        config.devices.iter().map(|device| &device.id).collect(),
        config.balloon.iter().map(|balloon| &balloon.id).collect(),
        config.rng.iter().map(|rng| &rng.id).collect(),
        config.vsock.iter().map(|vsock| &vsock.id).collect(),
    ];
    all.into_iter().flatten().map(|id| id.as_deref().expect("every device has an id")).collect()
}

proptest! {
    #[test]
    fn what_is_accepted_is_sound(config in config()) {
        let config = qemu(config);
        let facts = facts(&config);
        let Ok(mapped) = map(&config, &facts) else { return Ok(()) };
        prop_assert_eq!(&map(&config, &facts).unwrap(), &mapped);
        let vm = &mapped.config;
        let json = serde_json::to_string(vm).unwrap();
        prop_assert!(json.len() <= BODY_LIMIT);
        prop_assert_eq!(&serde_json::from_str::<VmConfig>(&json).unwrap(), vm);

        let ids = ids(vm);
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        prop_assert_eq!(unique.len(), ids.len());
        prop_assert!(ids.iter().all(|id| !id.starts_with("__")));
        let slots: Vec<u8> = vm.net.iter().filter_map(|net| net.pci_device_id).collect();
        prop_assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len());

        // What the VMM checks at boot.
        let cpus = vm.cpus.as_ref().unwrap();
        let topology = cpus.topology.as_ref().unwrap();
        prop_assert_eq!(u32::from(topology.cores_per_die) * u32::from(topology.packages), cpus.max_vcpus);
        prop_assert!(cpus.boot_vcpus >= 1 && cpus.boot_vcpus <= cpus.max_vcpus);
        prop_assert!(vm.disks.iter().all(|disk| disk.num_queues.unwrap_or(1) <= cpus.boot_vcpus));
        prop_assert!(vm.net.iter().all(|net| net.num_queues.unwrap_or(2) / 2 <= cpus.boot_vcpus));
        prop_assert!(vm.disks.iter().all(|disk| disk.image_type.is_some()));
        let memory = vm.memory.as_ref().unwrap();
        prop_assert!(!(memory.shared == Some(true) && memory.mergeable == Some(true)));
        prop_assert!(vm.fs.is_empty() || memory.shared == Some(true) || memory.zones.iter().all(|zone| zone.shared == Some(true)));

        // Each warning once.
        prop_assert_eq!(mapped.warnings.iter().collect::<BTreeSet<_>>().len(), mapped.warnings.len());
    }

    #[test]
    fn memory_is_never_less_and_not_much_more(mib in 16_u64..200_000, grows: bool, pages in prop::option::of(prop::sample::select(vec![2_u64, 1024]))) {
        let mut config = json!({"bios": "ovmf", "memory": mib, "balloon": 0});
        if grows {
            config["hotplug"] = "memory".into();
        }
        if let Some(pages) = pages {
            config["hugepages"] = pages.to_string().into();
        }
        let mapped = mapped(config);
        let memory = mapped.config.memory.unwrap();
        let step = pages.unwrap_or(1).max(if grows { 128 } else { 1 });
        prop_assert!(memory.size >= mib << 20 && memory.size - (mib << 20) < step << 20);
        prop_assert!(memory.size.is_multiple_of(step << 20));
        prop_assert_eq!(mapped.warnings.iter().any(|said| said.contains("rounded up")), memory.size != mib << 20);
        if let Some(more) = memory.hotplug_size {
            prop_assert!(grows && more > 0 && more.is_multiple_of(128 << 20) && memory.size + more <= 64 << 30);
            prop_assert_eq!(memory.hotplug_method, Some(HotplugMethod::VirtioMem));
        }
    }

    #[test]
    fn what_is_live_and_what_waits_is_the_whole_change(before in config(), wished in config()) {
        let (before, wished) = (qemu(before), qemu(wished));
        let (Ok(first), Ok(target)) = (map(&before, &facts(&before)), map(&wished, &facts(&wished))) else { return Ok(()) };
        let running = first.config;
        let Ok(plan) = plan_of(&before, &running, &wished, &facts(&wished)) else { return Ok(()) };
        prop_assert_eq!(&plan.wished, &target);

        // Every changed key is in exactly one of the three, and together they make the wished configuration.
        let live: BTreeSet<&String> = plan.live.iter().flat_map(|live| &live.keys).collect();
        let pending: BTreeSet<&String> = plan.pending.iter().map(|waiting| &waiting.key).collect();
        let now: BTreeSet<&String> = plan.now.iter().collect();
        prop_assert_eq!(now.len() + live.len() + pending.len(), now.iter().chain(&live).chain(&pending).collect::<BTreeSet<_>>().len());
        let active = plan.active(&before, &wished);
        let mut whole = active.as_ref().clone();
        for waiting in &plan.pending {
            match wished.as_ref().0.get(&waiting.key) {
                Some(value) => drop(whole.0.insert(waiting.key.clone(), value.clone())),
                None => drop(whole.0.shift_remove(&waiting.key)),
            }
        }
        prop_assert_eq!(&QemuConfig::from(whole), &wished);

        // After the calls the VMM has what it would have been started with, as far as nothing waits.
        let mut after = running;
        for live in &plan.live {
            if let (LiveCall::Memory(size), Some(memory)) = (&live.call, &after.memory) {
                prop_assert!(*size >= memory.size && *size <= memory.size + memory.hotplug_size.unwrap());
                prop_assert!((size - memory.size).is_multiple_of(128 << 20));
            }
            live.call.record(&mut after);
        }
        prop_assert_eq!(ids(&after).into_iter().collect::<BTreeSet<_>>().len(), ids(&after).len());
        if plan.pending.is_empty() {
            let place = |mut config: VmConfig| {
                config.disks.sort_by_key(|disk| disk.id.clone());
                config.net.sort_by_key(|net| net.id.clone());
                config.fs.sort_by_key(|fs| fs.id.clone());
                config.devices.sort_by_key(|device| device.id.clone());
                config.net.iter_mut().for_each(|net| net.pci_device_id = None);
                config.balloon.iter_mut().for_each(|balloon| balloon.size = 0);
                let memory = config.memory.take().unwrap();
                (memory.size + memory.hotplugged_size.unwrap_or(0), config)
            };
            let (has, wants) = (place(after.clone()), place(target.config));
            prop_assert_eq!(has, wants);
        }
        // Once done, nothing is left to do but what waits.
        let again = plan_of(&active, &after, &wished, &facts(&wished)).unwrap();
        prop_assert!(again.live.is_empty() && again.now.is_empty(), "{:?}", again);
        prop_assert_eq!(again.pending.iter().map(|waiting| &waiting.key).collect::<BTreeSet<_>>(), pending);
    }
}
