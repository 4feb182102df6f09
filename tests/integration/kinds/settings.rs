//! What there is one of, of the cluster or of a node; metric servers; what else a node is told, on the sandbox.

use serde_json::{Value, json};

use super::names;
use crate::harness::Env;

#[test]
fn the_options_of_the_cluster_are_shown_and_changed() {
    let env = Env::new();
    let dry = env.run("cluster update --keyboard de --dry-run").ok();
    for part in ["keyboard: not set → de", "PUT /cluster/options keyboard=de"] {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let _ = env.run("cluster update --keyboard de --migration type=secure,network=192.0.2.0/24 --max_workers 3").ok();
    // The server takes some of them apart.
    assert_eq!(env.json("cluster options")["migration"]["network"], "192.0.2.0/24");
    let same = env.run("cluster update --migration network=192.0.2.0/24,type=secure").ok();
    let _ = same.says(&["nothing to change"]);
    let _ = env.run("cluster update --unset keyboard").ok();
    assert_eq!(env.json("cluster options").get("keyboard"), None);
    let _ = env.run("cluster update --keyboard klingon").exits(2);
    let _ = env.run("cluster update").exits(2).says(&["nothing to change was given"]);
}

#[test]
fn a_node_has_settings_names_and_time() {
    let env = Env::new();
    let _ = env.run("node config update pve1 --description hello --wakeonlan BC:24:11:00:00:01").ok();
    let dry = env.run("node config update pve1 --unset wakeonlan --dry-run").ok();
    assert!(dry.stdout.contains("PUT /nodes/pve1/config delete=wakeonlan digest="), "{dry}");
    assert_eq!(env.json("node config get pve1")["wakeonlan"], "BC:24:11:00:00:01");
    assert_eq!(env.json("node config get pve2").get("description"), None);
    let _ = env.run("node config update pve1 --set acmedomain0=pve1.example.org").ok();
    let _ = env.run("node config get pve9").exits(3).says(&["no such node: `pve9`"]);

    // The file is written anew: what stays is said again, and what is unset is left out.
    let dry = env.run("node dns update pve1 --dns2 192.0.2.2 --dry-run").ok();
    assert!(dry.stdout.contains("PUT /nodes/pve1/dns dns2=192.0.2.2 search=example.org dns1=10.99.0.53"), "{dry}");
    let _ = env.run("node dns update pve1 --dns2 192.0.2.2").ok();
    let _ = env.run("node dns update pve1 --unset dns1").ok();
    let dns = env.json("node dns get pve1");
    assert_eq!((dns.get("dns1"), &dns["dns2"]), (None, &json!("192.0.2.2")), "{dns}");

    let _ = env.run("node time update pve1 --timezone Europe/Vienna").ok();
    let page = env.run("node time get pve1").ok();
    assert!(page.stdout.contains("Time zone") && page.stdout.contains("Europe/Vienna"), "{page}");
}

#[test]
fn figures_go_to_metric_servers() {
    let env = Env::new();
    env.write("token", "correct-horse\n");
    let make = "metric-server create figures --type influxdb --server 192.0.2.20 --port 8089 --token @token";
    let dry = env.run(&format!("{make} --dry-run")).ok();
    assert!(dry.stdout.contains("POST /cluster/metrics/server/figures") && !dry.raw.contains("horse"), "{dry}");
    let _ = env.run(make).ok();
    let _ = env.run(make).exits(6).says(&["already exists"]);
    let rows = env.json("metric-server list");
    assert_eq!((&rows[0]["id"], &rows[0]["port"]), (&json!("figures"), &json!(8089)), "{rows}");
    // What the method wants is said again, though it does not change.
    let dry = env.run("metric-server update figures --disable --dry-run").ok();
    assert!(dry.stdout.contains("PUT /cluster/metrics/server/figures disable=1"), "{dry}");
    assert!(dry.stdout.contains("port=8089") && dry.stdout.contains("server=192.0.2.20"), "{dry}");
    let _ = env.run("metric-server update figures --disable").ok();
    let _ = env.run("metric-server get figure").exits(3).says(&["no such metric-server: `figure`", "figures"]);
    let _ = env.run("metric-server delete figures --confirm").ok();
    assert_eq!(names(&env, "metric-server list"), [""; 0]);
}

#[test]
fn a_node_looks_for_updates_and_its_disks_tell_how_they_are() {
    let env = Env::new();
    let looked = env.json("node refresh-updates pve1");
    assert!(looked["upid"].as_str().unwrap().contains(":aptupdate::"), "{looked}");
    let page = env.run("node smart pve1 /dev/nvme0n1").ok();
    for part in ["disk /dev/nvme0n1 of pve1", "Health  PASSED", "  Percentage Used:                    2%"] {
        assert!(page.stdout.contains(part), "`{part}` is missing: {page}");
    }
    let data = env.json("node smart pve1 /dev/nvme0n1");
    assert_eq!((&data["health"], &data["disk"]), (&json!("PASSED"), &json!("/dev/nvme0n1")), "{data}");
    let _ = env.run("node smart pve1 /dev/sdz").exits(1).says(&["not a valid block device"]);

    let running = |env: &Env| {
        let rows = env.json("vm list --node pve1 --field-selector status=running");
        rows.as_array().map_or(0, Vec::len)
    };
    let dry = env.run("node suspend-all pve1 --dry-run").ok();
    assert!(dry.stdout.contains("POST /nodes/pve1/suspendall") && running(&env) == 1, "{dry}");
    assert!(dry.stdout.contains("vm/100") && !dry.stdout.contains("container/"), "{dry}");
    let _ = env.run("node suspend-all pve1").exits(2).says(&["--confirm"]);
    let _ = env.run("node suspend-all pve1 --confirm").ok().says(&["node pve1 has its guests suspended"]);
    let dry = env.json("node stop-all pve1 --no-force-stop --dry-run");
    assert_eq!(dry["calls"][0]["params"]["force-stop"], Value::from("0"), "{dry}");
}

#[test]
fn a_node_shows_a_certificate_of_ones_own() {
    let env = Env::new();
    let pem = |what: &str, body: &str| format!("-----BEGIN {what}-----\n{body}\n-----END {what}-----\n");
    env.write("chain.pem", &pem("CERTIFICATE", "MIIB"));
    env.write("key.pem", &pem("PRIVATE KEY", "c2VjcmV0"));
    let upload = "node certificate upload pve1 chain.pem --key @key.pem --restart";
    let dry = env.run(&format!("{upload} --dry-run")).ok().says(&["trust the next one"]);
    assert!(dry.stdout.contains("POST /nodes/pve1/certificates/custom") && !dry.raw.contains("c2VjcmV0"), "{dry}");
    let _ = env.run(upload).ok();
    assert!(!env.run("operation show 1 -o json").ok().raw.contains("c2VjcmV0"));
    assert_eq!(env.json("node certificates pve1").as_array().unwrap().len(), 2);
    let _ = env.run(upload).exits(6).says(&["'force' is not set"]);
    let _ = env.run(&format!("{upload} --force")).ok();
    let _ = env.run("node certificate upload pve1 nothing.pem").exits(2).says(&["cannot read nothing.pem"]);
    let _ = env.run("node certificate delete pve1").exits(2).says(&["--confirm"]);
    let _ = env.run("node certificate delete pve1 --confirm").ok();
    assert_eq!(env.json("node certificates pve1").as_array().unwrap().len(), 1);

    let _ = env.run("node certificate order pve1").exits(7).says(&["ACME domain list"]);
    let _ = env.run("node config update pve1 --acme domains=pve1.example.org").ok();
    for (line, kind) in
        [("order pve1", "acmenewcert"), ("renew pve1", "acmerenew"), ("revoke pve1 --confirm", "acmerevoke")]
    {
        let done = env.json(&format!("node certificate {line}"));
        assert!(done["upid"].as_str().unwrap().contains(&format!(":{kind}::")), "{done}");
    }
}
