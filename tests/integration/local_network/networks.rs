//! Networks of this host, and the addresses of guests on them. Run in a namespace by the tests outside.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use super::{ip, is_up, link, names};
use crate::{
    local::{Host, stand_in},
    printers::print_networks,
};

#[test]
#[ignore = "run in a namespace by the test outside"]
fn networks() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("network create lan").exits(3).says(&["no `nft`", "--no-nat"]);
    let really = host.nft();
    let _ = env.run("network create lan --dry-run").ok().says(&["would make network/lan"]);
    assert_eq!(env.run("network list -o json").ok().json(), json!([]));
    let made = env.run("network create lan --cidr 10.20.0.0/24 -o json").ok().json();
    assert_eq!((&made["gateway"], &made["type"], &made["status"]), (&json!("10.20.0.1"), &json!("nat"), &json!("up")));
    let rules = || match really {
        true => {
            let output = Command::new("/usr/sbin/nft").args(["list", "ruleset"]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        false => fs::read_to_string(env.path("told")).unwrap_or_default(),
    };
    assert!(rules().contains("ip saddr 10.20.0.0/24 ip daddr != 10.20.0.0/24 masquerade"), "{}", rules());
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");
    for (wrong, code, says) in [
        ("lan", 6, "exists already"),
        ("other --cidr 10.20.0.128/25", 6, "network `lan`"),
        ("other --cidr 8.8.8.0/24", 2, "private"),
        ("other --cidr 10.20.0.0", 2, "such as 10.20.0.0/24"),
        ("a/b", 2, "no name of a network"),
        ("lo --no-nat", 6, "is not pvectl's"),
    ] {
        let _ = env.run(&format!("network create {wrong}")).exits(code).says(&[says]);
    }
    let _ = env.run("network create island --no-nat").ok();
    print_networks(env);
    ip("link add vmbr0 type bridge");
    assert_eq!(env.run("network list -o 'jsonpath={.items[*].type}'").ok().stdout.trim(), "isolated nat bridge");
    let _ = env.run("network delete vmbr0 --confirm").exits(6).says(&["not made by pvectl"]);
    let _ = env.run("network delete nothing --confirm").exits(3);
    let _ = env.run("network delete island").exits(2).says(&["--confirm"]);

    let net = "--net bridge=lan --ciuser admin";
    let _ = env.run(&format!("vm create --name web --memory 256 --kernel kernel {net}")).ok();
    let _ = env.run("network delete lan --confirm").exits(6).says(&["in use by web (100)"]);
    let _ = env.run("network delete island --confirm").ok();
    assert_eq!(link("island"), None);
    // What a boot of the host takes away.
    ip("link del lan");
    assert_eq!(env.run("network get lan -o 'jsonpath={.status}'").ok().stdout.trim(), "missing");
    let _ = env.run("vm start web").ok();
    let there = link("lan").unwrap();
    assert!(is_up(&there) && there["ifalias"].as_str().unwrap().starts_with("pvectl:"), "{there}");
    assert_eq!(link("tap100i0").unwrap()["master"], "lan");
    assert!(ip("addr show dev lan").contains("10.20.0.1/24"));
    let described = env.run("network describe lan").ok().stdout;
    assert!(described.contains("100 web  net0  10.20.0.2"), "{described}");
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm delete web --confirm").ok();
    let _ = env.run("network delete lan --confirm").ok();
    assert_eq!((link("lan"), link("tap100i0")), (None, None));
    assert!(!really || !rules().contains("pvectl_lan"), "{}", rules());
    // Elsewhere the same words are for the networks of a cluster's nodes.
    assert!(env.run("network list --context sandbox").ok().stdout.contains("pve1"));
}

#[test]
#[ignore = "run in a namespace by the test outside"]
fn addresses() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = host.nft();
    let _ = env.run("network create lan --cidr 10.20.0.0/24").ok();
    // At once, and nobody gets what another has.
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHB0ZXN0cHRlc3RwdGVzdHB0ZXN0cHRlc3RwdGVzdHB0 a@b";
    env.write("key.pub", key);
    let running: Vec<_> = (0..6)
        .map(|n| {
            let create = "vm create --memory 256 --kernel kernel --net bridge=lan --ciuser admin";
            env.spawn(&format!("{create} --name vm{n} --vmid {} --ssh-key @key.pub", 100 + n))
        })
        .collect();
    for one in running {
        let _ = one.wait().ok();
    }
    let (mut addresses, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for vm in 100..106 {
        let config = host.config_of(&vm.to_string());
        assert_eq!(config["ide2"], "local:cloudinit,media=cdrom");
        addresses.insert(config["ipconfig0"].as_str().unwrap().to_owned());
        macs.insert(config["net0"].as_str().unwrap().to_owned());
    }
    let want: BTreeSet<String> = (2..8).map(|n| format!("ip=10.20.0.{n}/24,gw=10.20.0.1")).collect();
    assert_eq!((addresses, macs.len()), (want, 6));
    let taken = "vm create --name x --net bridge=lan --ciuser a --ipconfig0 ip=10.20.0.3/24";
    let _ = env.run(taken).exits(6).says(&["10.20.0.3", "leave ipconfig0 out"]);

    let config = host.config_of("102");
    let _ = env.run("vm update 102 --nameserver 192.0.2.53 --searchdomain example.org").ok();
    let _ = env.run("vm start 102").ok();
    let network: Value = serde_json::from_str(&host.seed(102, "\"ethernets\"")).unwrap();
    let eth0 = &network["ethernets"]["eth0"];
    let (mac, address) = (config["net0"].as_str().unwrap(), config["ipconfig0"].as_str().unwrap());
    assert_eq!(eth0["match"]["macaddress"], mac["virtio=".len()..][..17].to_ascii_lowercase());
    assert_eq!(eth0["addresses"][0], address["ip=".len()..].split(',').next().unwrap());
    assert_eq!(eth0["routes"], json!([{"to": "0.0.0.0/0", "via": "10.20.0.1"}]));
    assert_eq!(eth0["nameservers"], json!({"addresses": ["192.0.2.53"], "search": ["example.org"]}));
    let user = host.seed(102, "#cloud-config");
    assert!(user.contains("\"user\": \"admin\"") && user.contains("ssh-ed25519"), "{user}");
    let _ = env.run("vm stop 102").ok();
    assert_eq!(host.config_of("102")["ipconfig0"], config["ipconfig0"]);

    // The host boots, and all of them start at once: one of them makes the network again.
    ip("link del lan");
    let starts = ["100", "101", "104 105"].map(|vms| env.spawn(&format!("vm start {vms}")));
    for one in starts {
        let _ = one.wait().ok();
    }
    for vm in [100, 101, 104, 105] {
        assert_eq!(link(&format!("tap{vm}i0")).unwrap()["master"], "lan");
    }
    let _ = env.run("vm stop 100 101 104 105").ok();
    assert_eq!(names(), ["lan"]);

    // Moved to another network it gets an address there at its next start; what was said stays.
    let _ = env.run("network create island --no-nat --cidr 10.30.0.0/24").ok();
    let _ = env.run("vm update 102 --net0 virtio,bridge=island").ok();
    let _ = env.run("vm update 103 --net0 virtio,bridge=island --ipconfig0 ip=dhcp").ok();
    for (vm, want) in [("102", "ip=10.30.0.2/24"), ("103", "ip=dhcp")] {
        let _ = env.run(&format!("vm start {vm}")).ok();
        assert_eq!(host.config_of(vm)["ipconfig0"], want);
        let _ = env.run(&format!("vm stop {vm}")).ok();
    }
    // Without a seed nobody would read it.
    let _ = env.run("vm create --name bare --memory 256 --kernel kernel --net bridge=lan").ok();
    let bare = host.config_of("bare");
    assert_eq!((&bare["ipconfig0"], &bare["ide2"]), (&Value::Null, &Value::Null));
}
