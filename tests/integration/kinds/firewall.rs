//! The firewall of the cluster, of nodes, guests and security groups, on the sandbox.

use serde_json::{Value, json};

use crate::harness::Env;

/// What rules there are, as their actions or the sets that they are about, in their order.
fn order(env: &Env, of: &str) -> Vec<String> {
    let rows = env.json(&format!("firewall rule list {of}"));
    rows.as_array().unwrap().iter().map(|row| row["comment"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Rules with comments a, b, c, in this order.
fn three(env: &Env, of: &str) {
    for comment in ["c", "b", "a"] {
        let line = format!("firewall rule create {of} --type in --action ACCEPT --macro SSH --comment {comment}");
        let _ = env.run(&line).ok().says(&["it is off until it is enabled"]);
    }
}

#[test]
fn rules_are_made_changed_moved_and_removed_wherever_they_are() {
    let env = Env::new();
    let _ = env.run("firewall group create web").ok();
    for (of, path, whose) in [
        ("", "/cluster/firewall/rules", ""),
        ("--node pve2", "/nodes/pve2/firewall/rules", "pve2/"),
        ("--guest web-1", "/nodes/pve1/qemu/100/firewall/rules", "vm/100/"),
        ("--guest 110", "/nodes/pve1/lxc/110/firewall/rules", "container/110/"),
        ("--group web", "/cluster/firewall/groups/web", "web/"),
    ] {
        three(&env, of);
        assert_eq!(order(&env, of), ["a", "b", "c"], "{of}");
        // Where it stands afterwards is said, and not before which other it goes.
        let dry = env.run(&format!("firewall rule move 0 1 {of} --dry-run")).ok();
        for part in ["pos: 0 → 1", &format!("PUT {path}/0 moveto=2 digest=")] {
            assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
        }
        for (from, to, wanted) in [(0, 1, "bac"), (0, 2, "acb"), (2, 0, "bac"), (1, 1, "bac"), (1, 0, "abc")] {
            let moved = env.json(&format!("firewall rule move {from} {to} {of}"));
            assert_eq!(moved["changed"], json!(from != to), "{moved}");
            assert_eq!(order(&env, of).concat(), wanted, "{of} {from} {to}");
        }
        let on = env.json(&format!("firewall rule enable 1 {of}"));
        assert_eq!((&on["verb"], &on["name"]), (&json!("enable"), &json!(format!("{whose}1"))), "{on}");
        let _ = env.run(&format!("firewall rule update 1 {of} --source 192.0.2.0/24")).ok();
        let rule = env.json(&format!("firewall rule get 1 {of}"));
        assert_eq!((&rule["enable"], &rule["source"]), (&json!(1), &json!("192.0.2.0/24")), "{rule}");
        let _ = env.run(&format!("firewall rule disable 1 {of}")).ok();
        let _ = env.run(&format!("firewall rule delete 0 {of} --confirm")).ok();
        assert_eq!(order(&env, of), ["b", "c"], "{of}");
        let _ = env.run(&format!("firewall rule get 2 {of}")).exits(3).says(&["no such firewall-rule", "0 to 1"]);
        let _ = env.run(&format!("firewall rule move 0 2 {of}")).exits(3).says(&["there are 0 to 1"]);
        let name = env.run(&format!("firewall rule list {of} -o name")).ok().stdout;
        assert_eq!(name.lines().next().unwrap(), format!("firewall-rule/{whose}0"));
    }
    let row = &env.json("firewall rule list --guest 110")[0];
    assert_eq!((&row["vmid"], &row["node"], &row["pos"]), (&json!(110), &json!("pve1"), &json!(0)));
    let operations = env.json("operation list --target vm/100/1");
    assert!(operations.as_array().unwrap().iter().any(|one| one["verb"] == "enable"), "{operations}");
}

#[test]
fn a_position_is_one_in_the_list_that_was_seen() {
    let env = Env::new();
    three(&env, "");
    let seen = env.json("firewall rule get 0")["digest"].as_str().unwrap().to_owned();
    let _ = env.run("firewall rule move 2 0").ok();
    for line in ["firewall rule delete 0 --confirm", "firewall rule update 0 --log info"] {
        let lost = env.run(&format!("{line} --digest {seen}")).exits(6);
        let _ = lost.says(&["changed by other user", "the list is another one now"]);
    }
    // Without it, what is read just before is what is meant.
    let dry = env.run("firewall rule delete 0 --dry-run").ok();
    assert!(dry.stdout.contains("DELETE /cluster/firewall/rules/0 digest="), "{dry}");
    assert_eq!(order(&env, "").concat(), "cab");
    let _ = env.run("firewall rule delete 0 1 --confirm").exits(2);
    let _ = env.run("firewall rule list --guest 100 --node pve1").exits(2).says(&["cannot be used with"]);
    let _ = env.run("firewall rule list --guest nobody").exits(3).says(&["no such"]);
    let _ = env.run("firewall rule list --node pve9").exits(3).says(&["no such node: `pve9`"]);
    let _ = env.run("firewall rule list --group none").exits(3).says(&["no such security group 'none'"]);
}

#[test]
fn who_would_be_shut_out_is_said_before() {
    let env = Env::new();
    let shut = "no rule of the cluster lets 8006 (API and web) and 22 (SSH) in";
    let _ = env.run("firewall options update --enable").exits(2).says(&[shut, "--confirm"]);
    assert_eq!(env.json("firewall options get").get("enable"), None);
    let dry = env.run("firewall options update --enable --dry-run").ok();
    assert!(dry.stdout.contains(shut), "{dry}");
    let _ = env.run("firewall options update --enable --policy_in ACCEPT").ok();
    let _ = env.run("firewall options update --policy_in DROP").exits(2).says(&[shut]);

    let _ = env.run("firewall group create doors").ok();
    let _ = env.run("firewall rule create --group doors --type in --action ACCEPT --macro SSH --enable").ok();
    let _ = env.run("firewall rule create --type group --action doors --enable").ok();
    let web = env.run("firewall options update --policy_in DROP").exits(2);
    let web = web.says(&["lets 8006 (API and web) in"]);
    assert!(!web.stderr.contains("22 (SSH)"), "{web}");
    let _ = env.run("firewall rule create --type in --action ACCEPT --proto tcp --dport 8000:8010 --enable yes").ok();
    let _ = env.run("firewall options update --policy_in DROP").ok();
    // By now they are what keeps the doors open.
    let _ = env.run("firewall rule disable 0").exits(2).says(&["lets 8006"]);
    let _ = env.run("firewall rule update 0 --dport 443").exits(2).says(&["lets 8006"]);
    let gone = env.run("firewall rule delete 1 --confirm").ok();
    let _ = gone.says(&["lets 22 (SSH) in"]);
    let _ = env.run("firewall rule update 0 --comment api").ok();
}

#[test]
fn what_rules_name_is_told_before_it_goes() {
    let env = Env::new();
    let _ = env.run("firewall ipset create office --comment here").ok();
    let _ = env.run("firewall entry create 192.0.2.0/24 --ipset office").ok();
    let _ = env.run("firewall entry create 192.0.2.9 --ipset office --nomatch").ok();
    let _ = env.run("firewall entry update 192.0.2.9 --ipset office --comment printer").ok();
    let rows = env.json("firewall entry list --ipset office");
    assert_eq!(rows[1]["cidr"], "192.0.2.9");
    assert_eq!(
        (&rows[1]["nomatch"], &rows[1]["comment"], &rows[1]["ipset"]),
        (&json!(1), &json!("printer"), &json!("office"))
    );
    // What a change of an entry or an alias does not say, the server forgets.
    let plain = env.run("firewall entry update 192.0.2.9 --ipset office --unset nomatch --dry-run").ok();
    assert!(plain.stdout.contains(" comment=printer\n") && !plain.stdout.contains("nomatch="), "{plain}");
    let _ = env.run("firewall entry update 192.0.2.9 --ipset office --unset nomatch").ok();
    let entry = env.json("firewall entry get 192.0.2.9 --ipset office");
    assert_eq!((&entry["comment"], entry.get("nomatch")), (&json!("printer"), None), "{entry}");
    let _ = env.run("firewall alias create gate --cidr 192.0.2.1 --comment door").ok();
    let _ = env.run("firewall alias update gate --cidr 192.0.2.2").ok();
    let alias = env.json("firewall alias get gate");
    assert_eq!((&alias["cidr"], &alias["comment"]), (&json!("192.0.2.2"), &json!("door")), "{alias}");
    let _ = env.run("firewall alias update gate --unset comment").ok();
    assert_eq!(env.json("firewall alias get gate").get("comment"), None);
    let _ = env.run("firewall group create web").ok();
    let allow = "--type in --action ACCEPT --macro SSH";
    let _ = env.run(&format!("firewall rule create --guest 100 {allow} --source +office")).ok();
    let _ = env.run(&format!("firewall rule create --node pve2 {allow} --source dc/gate")).ok();
    let _ = env.run("firewall rule create --guest 110 --type group --action web").ok();

    let set = env.run("firewall ipset delete office --confirm").exits(6);
    let _ = set.says(&["its entry 192.0.2.0/24", "--force"]);
    for (line, user) in [
        ("firewall ipset delete office --force", "firewall-rule vm/100/0"),
        ("firewall alias delete gate", "firewall-rule pve2/0"),
        ("firewall group delete web", "firewall-rule container/110/0"),
    ] {
        let dry = env.run(&format!("{line} --dry-run")).ok();
        assert!(dry.stdout.contains(&format!("stays without it: {user}")), "{dry}");
        let _ = env.run(&format!("{line} --confirm")).ok();
    }
    let _ = env.run("firewall group create web").ok();
    let _ = env.run(&format!("firewall rule create --group web {allow}")).ok();
    let _ = env.run("firewall group delete web --confirm").exits(6).says(&["its rule", "--group web"]);
    let _ = env.run("firewall group update web --rename server --comment all").ok();
    let group = env.json("firewall group get server");
    assert_eq!(group["rules"].as_array().unwrap().len(), 1, "{group}");
    let _ = env.run("firewall group update server --comment all").ok().says(&["nothing to change"]);
    let _ = env.run("firewall group update nope --comment x").exits(3);
    let _ = env.run("firewall rule create --type group --action nope").exits(7).says(&["security group 'nope'"]);

    let _ = env.run("firewall alias create own --cidr 198.51.100.7 --guest 100").ok();
    let _ = env.run("firewall ipset create ours --guest 100").ok();
    let refs = env.json("firewall refs --guest 100");
    let refs: Vec<&Value> = refs.as_array().unwrap().iter().map(|row| &row["ref"]).collect();
    assert_eq!(refs, [&json!("+guest/ours"), &json!("guest/own")]);
    let _ = env.run("firewall alias update own --guest 100 --rename its").ok();
    assert_eq!(env.run("firewall alias list --guest 100 -o name").ok().stdout.trim(), "firewall-alias/vm/100/its");
}

#[test]
fn status_says_what_is_missing_for_it_to_filter() {
    let env = Env::new();
    let off = env.run("firewall status --guest 101").ok();
    for part in ["does not filter", "firewall options update --guest 101 --enable", "net0 is not under the firewall"] {
        assert!(off.stdout.contains(part), "`{part}` is missing: {off}");
    }
    let _ = env.run("firewall options update --enable --confirm").ok().says(&["who is not in the nodes' own network"]);
    let _ = env.run("firewall options update --guest 101 --enable --policy_out DROP --dhcp").ok();
    let config = env.json("vm get 101")["config"]["net0"].as_str().unwrap().to_owned();
    let _ = env.run(&format!("vm update 101 --net0 {config},firewall=1")).ok();
    let on = env.json("firewall status --guest 101");
    assert_eq!((&on["filters"], &on["why"], &on["cards"]["net0"]), (&json!(true), &json!([]), &json!(true)), "{on}");
    let on = env.json("firewall status --node pve1");
    assert_eq!(on["filters"], true, "{on}");
    let _ = env.run("firewall log").exits(2).says(&["--node NODE or --guest GUEST"]);
    assert_eq!(env.run("firewall log --node pve1").ok().stdout.lines().count(), 1);
    let _ = env.run("firewall macros").ok().says(&[]);
    let _ = env.run("firewall rule list --context local").exits(2).says(&["Proxmox VE clusters"]);
}
