//! Networks of a cluster's nodes, on the sandbox; those of this host are in `local_network`.

use serde_json::{Value, json};

use crate::harness::Env;

#[test]
fn a_network_is_made_applied_changed_and_removed() {
    let env = Env::new();
    let rows = env.json("network list");
    let nodes: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["node"]).collect();
    assert_eq!(nodes, [&json!("pve1"), &json!("pve2"), &json!("pve3")]);
    let _ = env.run("network create vmbr1 --type bridge").exits(2).says(&["say of which node", "pve1, pve2, pve3"]);
    let dry = env.run("network create vmbr1 --node pve1 --type bridge --cidr 192.0.2.1/24 --autostart --dry-run").ok();
    assert!(
        dry.stdout.contains("POST /nodes/pve1/network iface=vmbr1 autostart=1 cidr=192.0.2.1/24 type=bridge"),
        "{dry}"
    );
    let _ = env.run("network create vmbr1 --node pve1 --type bridge --cidr 192.0.2.1/24 --autostart").ok();
    let _ = env.run("network create pve1/vmbr1 --type bridge").exits(6).says(&["interface already exists"]);
    let made = env.json("network get vmbr1 --node pve1");
    assert_eq!((&made["cidr"], &made["active"]), (&json!("192.0.2.1/24"), &Value::Null), "{made}");

    // It does not hold yet, and everybody who looks is told.
    let _ = env.run("network list --node pve1").ok().says(&["pve1: what was changed does not hold yet"]);
    let pending = env.run("network pending").ok();
    for part in ["node pve1", "+iface vmbr1 inet static", "+\taddress 192.0.2.1/24"] {
        assert!(pending.stdout.contains(part), "`{part}` is missing: {pending}");
    }
    let _ = env.run("network apply --node pve1").exits(2).says(&["--confirm"]);
    let _ = env.run("network revert --node pve1 --confirm").ok().says(&["+iface vmbr1", "reverted"]);
    let _ = env.run("network get vmbr1 --node pve1").exits(3).says(&["no such network of pve1: `vmbr1`", "vmbr0"]);
    let _ = env.run("network apply --node pve1 --confirm").ok().says(&["nothing is changed that does not hold yet"]);

    let _ = env.run("network create vmbr1 --node pve1 --type bridge").ok();
    let applied = env.json("network apply --node pve1 --confirm");
    assert!(applied["upid"].as_str().unwrap().contains(":srvreload:networking:"), "{applied}");
    assert_eq!(env.json("network pending"), json!([]));
    let same = env.run("network update pve1/vmbr1 --type bridge").ok();
    let _ = same.says(&["nothing to change"]);
    let _ = env.run("network update pve1/vmbr1 --comments guests").ok();
    assert_eq!(env.json("network get pve1/vmbr1")["comments"], "guests");
    let dry = env.run("network update pve1/vmbr1 --unset comments --dry-run").ok();
    assert!(dry.stdout.contains("PUT /nodes/pve1/network/vmbr1 delete=comments type=bridge"), "{dry}");
    let _ = env.run("network delete pve1/vmbr1 --confirm").ok();
    let pending = env.json("network pending --node pve1");
    assert!(pending[0]["changes"].as_str().unwrap().contains("-iface vmbr1"), "{pending}");
}

#[test]
fn who_stands_on_a_network_and_what_a_node_is_reached_by_is_said_before() {
    let env = Env::new();
    let _ = env.run("network create vmbr0.5 --node pve1 --type vlan").ok();
    let dry = env.run("network delete vmbr0 --node pve1 --dry-run").ok();
    for part in [
        "stays without it: net0 of vm/100 (web-1)",
        "stays without it: network vmbr0.5",
        "careful: pve1 is reached at 10.99.0.1 by vmbr0",
        "DELETE /nodes/pve1/network/vmbr0",
    ] {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let page = env.run("network describe vmbr0 --node pve1").ok();
    assert!(
        page.stdout.contains("net0 of container/110 (dns)") || page.stdout.contains("net0 of container/110"),
        "{page}"
    );
    let moved = env.run("network update vmbr0 --node pve1 --cidr 10.99.0.9/16").exits(2);
    let _ = moved.says(&["pve1 is reached at 10.99.0.1 by vmbr0", "--confirm"]);
    let _ = env.run("network update vmbr0 --node pve1 --comments kept").ok();
    let risky = env.run("network apply --node pve1 --dry-run").ok();
    assert!(risky.stdout.contains("careful: pve1 is reached at 10.99.0.1 by vmbr0, which changes"), "{risky}");
    // Nothing has the address any more: the list alone does not say what the node is reached by.
    let _ = env.run("network update vmbr0 --node pve1 --unset cidr --confirm").ok();
    let lost = env.run("network apply --node pve1 --dry-run").ok();
    assert!(lost.stdout.contains("careful: pve1 is reached at 10.99.0.1, which no interface has then"), "{lost}");
}

#[test]
fn a_change_of_an_interface_leaves_its_addresses_and_a_switch_goes_off() {
    let env = Env::new();
    let made = "--node pve2 --type bridge --cidr 192.0.2.1/24 --cidr6 2001:db8::1/64 --gateway 192.0.2.254";
    let aware = env.run(&format!("network create vmbr1 {made} --bridge_vlan_aware no --dry-run")).ok();
    assert!(!aware.stdout.contains("bridge_vlan_aware"), "{aware}");
    let _ = env.run(&format!("network create vmbr1 {made} --bridge_vlan_aware")).ok();
    // The server declares an interface to have no address when a change does not name it.
    let dry = env.run("network update pve2/vmbr1 --mtu 9000 --dry-run").ok();
    let put = "PUT /nodes/pve2/network/vmbr1 mtu=9000 type=bridge cidr=192.0.2.1/24 cidr6=2001:db8::1/64";
    assert!(dry.stdout.contains(put) && dry.stdout.contains("mtu: not set → 9000"), "{dry}");
    let _ = env.run("network update pve2/vmbr1 --mtu 9000").ok();
    let now = env.json("network get pve2/vmbr1");
    assert_eq!((&now["method"], &now["method6"]), (&json!("static"), &json!("static")), "{now}");
    // `0` is as good as `1` to the server: only without the key the switch is off.
    let dry = env.run("network update pve2/vmbr1 --bridge_vlan_aware no --dry-run").ok();
    assert!(dry.stdout.contains("delete=bridge_vlan_aware") && !dry.stdout.contains("vlan_aware=0"), "{dry}");
    let _ = env.run("network update pve2/vmbr1 --bridge_vlan_aware no").ok();
    let _ = env.run("network update pve2/vmbr1 --bridge_vlan_aware no").ok().says(&["nothing to change"]);
    let _ = env.run("network update pve2/vmbr1 --address 192.0.2.9").ok();
    let now = env.json("network get pve2/vmbr1");
    assert_eq!((&now["cidr"], &now["cidr6"]), (&json!("192.0.2.9/24"), &json!("2001:db8::1/64")), "{now}");
}

#[test]
fn words_of_nodes_are_refused_on_this_host_and_the_other_way_round() {
    let env = Env::new();
    let _ = env
        .run("network create lan --no-nat --node pve1 --type bridge")
        .exits(2)
        .says(&["--no-nat is for networks of"]);
    if cfg!(target_os = "linux") {
        let typed = env.run("network create lan --type bridge --context local").exits(2);
        let _ = typed.says(&["`type` is of the networks of a cluster's nodes"]);
        let _ = env.run("network list --node pve1 --context local").exits(2).says(&["no node of a cluster"]);
        let _ = env.run("network apply --context local --confirm").exits(2).says(&["Proxmox VE clusters"]);
    }
}
