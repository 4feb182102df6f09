//! Real devices, in a network namespace of their own: the tests that need one are run again inside of one.

use std::{path::Path, process::Command};

use super::*;

const VM: &str = "7c0f6d2e-0000-4000-8000-000000000001";

fn mark(owner: &str) -> Mark {
    Mark::new(owner).unwrap()
}

#[test]
fn marks_come_back_and_others_are_none() {
    assert_eq!(Mark::of(&mark(VM).to_string()), Some(mark(VM)));
    for alias in ["", "pvectl:", "pvectl", "Pvectl:x", "uplink", "pvectl:a b", "x pvectl:a"] {
        assert_eq!(Mark::of(alias), None, "{alias}");
    }
    assert!(Mark::new("").is_err() && Mark::new("a:b").is_err() && Mark::new(&"x".repeat(201)).is_err());
}

#[test]
fn the_maker_of_a_tap_is_read_from_its_name() {
    for (pid, count) in [(1, 0), (4_194_304, 255), (77, 16)] {
        for kind in [tap::TAP, tap::BRIDGE] {
            let name = tap::unfinished_name(kind, pid, count);
            assert!(is_name(&name), "{name}");
            assert_eq!(tap::maker(kind, &name), Some(pid));
        }
    }
    for other in ["pvectl", "pvectl0", "pvectl00", "pvectlx00", "tap100i0", "pvectl1ü"] {
        assert_eq!(tap::maker(tap::TAP, other), None, "{other}");
    }
}

#[test]
fn the_longest_names_fit() {
    assert_eq!(tap_name(100, 0), "tap100i0");
    assert!(is_name(&tap_name(999_999_999, 31)));
    for bad in ["", "sixteen-letters-", "a/b", "a b", "a:b", ".", ".."] {
        assert!(!is_name(bad), "{bad}");
    }
}

/// Runs the ignored tests below in a namespace where they may do everything and nobody else is.
#[test]
fn devices_in_a_namespace_of_their_own() {
    let root = rustix::process::geteuid().is_root();
    let apart = |program: &Path| {
        let mut command = Command::new("unshare");
        command.arg(if root { "-n" } else { "-rn" }).arg(program);
        command
    };
    let may = apart(Path::new("true")).output().is_ok_and(|output| output.status.success());
    let tun = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    if !may || tun.is_err() {
        eprintln!("SKIPPED: no network namespace (unshare: {may}) or no taps (/dev/net/tun: {:?})", tun.err());
        return;
    }
    let here = std::thread::current().name().unwrap().replace("devices_in_a_namespace_of_their_own", "inside");
    let mut command = apart(&std::env::current_exe().unwrap());
    let output = command.args([&here, "--ignored", "--nocapture", "--test-threads=1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let both = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("result: ok. 6 passed"), "{both}");
}

mod inside {
    use rtnetlink::LinkBridge;

    use super::*;
    use crate::model::Hint;

    fn tap(name: &str) -> Tap {
        Tap {
            name: name.into(),
            owner: mark(VM),
            uid: 1234,
            queues: 1,
            bridge: None,
            vlan: None,
            trunks: Vec::new(),
            mtu: None,
            up: true,
        }
    }

    async fn bridge(network: &Network, name: &str) -> Link {
        network.handle.link().add(LinkBridge::new(name).mtu(1400).build()).execute().await.unwrap();
        network.link(name).await.unwrap().unwrap()
    }

    fn vlans(name: &str) -> String {
        let output = Command::new("bridge").args(["-compressvlans", "vlan", "show", "dev", name]).output();
        match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" "),
            Err(error) => {
                eprintln!("NOT SEEN: the VLANs of {name} ({error})");
                String::new()
            }
        }
    }

    #[tokio::test]
    #[ignore = "run by devices_in_a_namespace_of_their_own"]
    async fn a_tap_is_made_kept_changed_and_removed() {
        let network = Network::open().unwrap();
        let (first, second) = (bridge(&network, "vmbr0").await, bridge(&network, "vmbr1").await);
        let wanted = Tap { bridge: Some("vmbr0".into()), ..tap("tap100i0") };
        assert!(network.ensure_tap(&wanted).await.unwrap());
        let link = network.link("tap100i0").await.unwrap().unwrap();
        let state = TapState { uid: Some(1234), multi_queue: false, persistent: true };
        assert_eq!((link.tap, link.on, link.up, link.mtu), (Some(state), Some(first.index), true, 1400));
        assert!(network.marked().await.unwrap().contains(&(mark(VM), link.clone())));
        // Again: nothing is made, it is the same.
        assert!(!network.ensure_tap(&wanted).await.unwrap());
        assert_eq!(network.link("tap100i0").await.unwrap().unwrap(), link);
        // Another bridge, another size, the cable out.
        let moved = Tap { bridge: Some("vmbr1".into()), mtu: Some(1300), up: false, ..wanted.clone() };
        assert!(!network.ensure_tap(&moved).await.unwrap());
        let link = network.link("tap100i0").await.unwrap().unwrap();
        assert_eq!((link.on, link.up, link.mtu), (Some(second.index), false, 1300));
        network.set_up("tap100i0", &mark(VM), true).await.unwrap();
        assert!(network.link("tap100i0").await.unwrap().unwrap().up);
        // Several queues are another device.
        assert!(network.ensure_tap(&Tap { queues: 4, ..wanted }).await.unwrap());
        assert!(network.link("tap100i0").await.unwrap().unwrap().tap.unwrap().multi_queue);
        assert!(network.remove("tap100i0", &mark(VM)).await.unwrap());
        assert!(!network.remove("tap100i0", &mark(VM)).await.unwrap());
    }

    #[tokio::test]
    #[ignore = "run by devices_in_a_namespace_of_their_own"]
    async fn what_carries_no_mark_or_another_is_left_alone() {
        let network = Network::open().unwrap();
        bridge(&network, "tap200i0").await;
        network.ensure_tap(&Tap { owner: mark("another"), ..tap("tap200i1") }).await.unwrap();
        for name in ["tap200i0", "tap200i1"] {
            let before = network.link(name).await.unwrap();
            assert_eq!(network.remove(name, &mark(VM)).await.unwrap_err().class(), Class::Conflict);
            assert_eq!(network.ensure_tap(&tap(name)).await.unwrap_err().class(), Class::Conflict);
            assert_eq!(network.set_up(name, &mark(VM), false).await.unwrap_err().class(), Class::Conflict);
            assert_eq!(network.link(name).await.unwrap(), before);
        }
        let marked = network.marked().await.unwrap();
        assert!(marked.iter().all(|(_, link)| link.name != "tap200i0"), "{marked:?}");
        assert!(network.remove("tap200i1", &mark("another")).await.unwrap());
    }

    #[tokio::test]
    #[ignore = "run by devices_in_a_namespace_of_their_own"]
    async fn vlans_need_a_bridge_that_keeps_them_apart() {
        let network = Network::open().unwrap();
        bridge(&network, "plain0").await;
        let on = |bridge: &str| Tap { bridge: Some(bridge.into()), vlan: Some(20), ..tap("tap300i0") };
        let refused = network.ensure_tap(&on("plain0")).await.unwrap_err();
        assert_eq!(refused.class(), Class::Usage);
        assert!(
            refused.hints().iter().any(|hint| matches!(hint, Hint::Text(text) if text.contains("vlan_filtering 1")))
        );
        assert_eq!(network.link("tap300i0").await.unwrap(), None);
        let aware = LinkBridge::new("aware0").vlan_filtering(true).build();
        match network.handle.link().add(aware).execute().await {
            Err(error) if errno(&error) == Some(Errno::OPNOTSUPP) => {
                eprintln!("SKIPPED: VLANs, the bridges of this kernel do not keep them apart");
                return;
            }
            made => made.unwrap(),
        }
        network.ensure_tap(&Tap { trunks: vec![30..=30, 40..=42], ..on("aware0") }).await.unwrap();
        let seen = vlans("tap300i0");
        assert!(seen.is_empty() || seen.ends_with("tap300i0 20 PVID Egress Untagged 30 40-42"), "{seen}");
        // Without any it is where every port is.
        network.ensure_tap(&Tap { vlan: None, ..on("aware0") }).await.unwrap();
        let seen = vlans("tap300i0");
        assert!(seen.is_empty() || seen.ends_with("tap300i0 1 PVID Egress Untagged"), "{seen}");
    }

    #[tokio::test]
    #[ignore = "run by devices_in_a_namespace_of_their_own"]
    async fn a_bridge_that_is_not_there_is_named() {
        let network = Network::open().unwrap();
        bridge(&network, "vmbr7").await;
        let error = network.ensure_tap(&Tap { bridge: Some("vmbr8".into()), ..tap("tap400i0") }).await.unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        assert!(error.hints().contains(&Hint::DidYouMean(vec!["vmbr7".into()])), "{error:?}");
        network.ensure_tap(&tap("tap401i0")).await.unwrap();
        let error = network.ensure_tap(&Tap { bridge: Some("tap401i0".into()), ..tap("tap400i0") }).await.unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert_eq!(network.link("tap400i0").await.unwrap(), None);
    }

    #[tokio::test]
    #[ignore = "run by devices_in_a_namespace_of_their_own"]
    async fn what_was_half_made_is_found_and_removed() {
        let network = Network::open().unwrap();
        bridge(&network, "vmbr9").await;
        // The size is refused after the device was made.
        let wanted = Tap { mtu: Some(1_000_000), bridge: Some("vmbr9".into()), ..tap("tap500i0") };
        network.ensure_tap(&wanted).await.unwrap_err();
        let left = || async { network.links().await.unwrap().into_iter().filter(|link| link.tap.is_some()).count() };
        let before = left().await;
        assert_eq!(network.link("tap500i0").await.unwrap(), None);
        // One whose maker is dead, one whose maker lives, and a bridge that is only called so.
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let names =
            [(dead.id(), 7), (std::process::id(), 0xff)].map(|(pid, count)| tap::unfinished_name(tap::TAP, pid, count));
        for name in &names {
            tokio_tun::TunBuilder::new().name(name).tap().persist().build().unwrap();
        }
        bridge(&network, &tap::unfinished_name(tap::TAP, dead.id(), 8)).await;
        assert_eq!(left().await, before + 2);
        let half = tap::unfinished_name(tap::BRIDGE, dead.id(), 9);
        bridge(&network, &half).await;
        assert_eq!(network.remove_unfinished().await.unwrap(), [names[0].clone(), half]);
        assert_eq!(left().await, before + 1);
    }

    #[tokio::test]
    #[ignore = "run by devices_in_a_namespace_of_their_own"]
    async fn a_network_with_address_translation_comes_and_goes() {
        let network = Network::open().unwrap();
        let directory = tempfile::tempdir().unwrap();
        // What nft is told is written down; the real one is used where there is one.
        let real = ["/usr/sbin/nft", "/sbin/nft"].into_iter().map(Path::new).find(|path| path.exists());
        let stand_in = directory.path().join("nft");
        std::fs::write(&stand_in, format!("#!/bin/sh\n/bin/cat >>{}/rules\n", directory.path().display())).unwrap();
        std::fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        if real.is_none() {
            eprintln!("NOT TRIED: the rules, there is no nft");
        }
        let nft = real.unwrap_or(&stand_in);
        let nat = Nat {
            name: "pvnat0".into(),
            owner: mark("lan"),
            address: [10, 20, 30, 1].into(),
            prefix: 24,
            translate: true,
        };
        assert_eq!(network.ensure_nat(&nat, None).await.unwrap_err().class(), Class::NotFound);
        assert_eq!(network.link("pvnat0").await.unwrap(), None);
        for _ in 0..2 {
            network.ensure_nat(&nat, Some(nft)).await.unwrap();
        }
        let taken = network.taken().await.unwrap();
        assert!(
            taken.contains(&([10, 20, 30, 1].into(), 24)) && taken.contains(&([10, 20, 30, 0].into(), 24)),
            "{taken:?}"
        );
        // Without translation nothing is asked of nft.
        let alone = Nat { name: "pvnat1".into(), address: [10, 20, 31, 1].into(), translate: false, ..nat.clone() };
        network.ensure_nat(&alone, None).await.unwrap();
        assert!(network.remove_nat(&alone, None).await.unwrap());
        let link = network.link("pvnat0").await.unwrap().unwrap();
        assert!(link.up && link.bridge.is_some());
        assert_eq!(link.mark, Some(mark("lan")));
        let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(forward.trim(), "1");
        network.ensure_tap(&Tap { bridge: Some("pvnat0".into()), ..tap("tap600i0") }).await.unwrap();
        let other = Nat { owner: mark("another"), ..nat.clone() };
        assert_eq!(network.remove_nat(&other, Some(nft)).await.unwrap_err().class(), Class::Conflict);
        assert!(network.remove_nat(&nat, Some(nft)).await.unwrap());
        assert!(!network.remove_nat(&nat, Some(nft)).await.unwrap());
        assert!(network.link("tap600i0").await.unwrap().unwrap().on.is_none());
    }
}
