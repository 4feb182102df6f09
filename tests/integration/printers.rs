//! Every kind through every printer: what each prints is the data that JSON prints.

use std::fs;

use regex_lite::Regex;
use serde_json::{Value, json};

use crate::harness::Env;

/// A command that prints, and a field of what it prints, by its path.
struct Printing {
    command: &'static str,
    field: &'static str,
    /// What it may be chosen by: changes are not chosen by what is printed of them.
    reads: bool,
    /// Whether `-o name` has a line for each thing.
    named: bool,
}

const fn reads(command: &'static str, field: &'static str) -> Printing {
    Printing { command, field, reads: true, named: true }
}

const fn unnamed(command: &'static str, field: &'static str) -> Printing {
    Printing { command, field, reads: true, named: false }
}

const fn changes(command: &'static str, field: &'static str) -> Printing {
    Printing { command, field, reads: false, named: true }
}

/// Lists of every kind, and everything else that prints data in a way of its own. `UPID` is a task's.
const LISTS: &[Printing] = &[
    reads("vm list", "vmid"),
    reads("container list", "name"),
    reads("node list", "node"),
    reads("task list", "upid"),
    reads("operation list", "id"),
    #[cfg(target_os = "linux")]
    reads("image list --context local", "name"),
    #[cfg(target_os = "linux")]
    reads("queue list --context local", "id"),
    reads("config get-contexts", "name"),
    reads("get vms", "vmid"),
    reads("get tasks", "upid"),
    reads("vm get 100,101", "config.name"),
    reads("node get pve1 pve2", "node"),
    reads("vm describe 100 101", "vmid"),
    reads("task get UPID UPID", "upid"),
    unnamed("task logs UPID", "n"),
    reads("vm ip 100 --all", "address"),
    reads("api ls /nodes", "path"),
    unnamed("api get /nodes", "node"),
    changes("vm stop 101,103", "vmid"),
    changes("vm delete 101,103 --dry-run", "name"),
];

/// Lists of what is no guest, after [`made`].
const THINGS: &[Printing] = &[
    reads("storage list", "storage"),
    reads("pool list", "poolid"),
    reads("user list", "userid"),
    reads("group list", "groupid"),
    reads("role list", "roleid"),
    reads("realm list", "realm"),
    reads("token list", "tokenid"),
    reads("acl list", "ugid"),
    reads("permission list", "path"),
    reads("image list", "volid"),
    reads("image available", "template"),
    reads("backup list", "volid"),
    reads("vm backup list 100", "vmid"),
    reads("backup-job list", "id"),
    reads("replication list", "id"),
    reads("network list", "iface"),
    reads("network pending", "node"),
    reads("user tfa list", "id"),
    reads("firewall rule list", "pos"),
    reads("firewall group list", "group"),
    reads("firewall ipset list --guest 100", "name"),
    reads("firewall entry list --ipset office", "cidr"),
    reads("firewall alias list", "name"),
    reads("firewall refs", "ref"),
    reads("firewall macros", "macro"),
    reads("firewall options get --node pve1", "digest"),
    reads("firewall status", "of"),
    reads("metric-server list", "id"),
    reads("node config get pve1", "digest"),
    reads("node dns get pve1", "dns1"),
    reads("node smart pve1 /dev/nvme0n1", "health"),
];

/// A sandbox in which there are two things of each kind.
fn made() -> Env {
    let env = Env::new();
    for line in [
        "pool create staging",
        "group create ops",
        "group create dev",
        "backup-job create nightly --storage local --schedule daily --all 1",
        "backup-job create weekly --storage local --schedule sat --vmid 100",
        "replication create 100-0 --target pve2",
        "replication create 101-0 --target pve1",
        "firewall rule create --type in --action DROP --enable",
        "firewall rule create --type in --action ACCEPT --macro SSH",
        "network create vmbr1 --node pve1 --type bridge",
        "firewall group create web",
        "firewall group create db",
        "firewall ipset create ours --guest 100",
        "firewall ipset create theirs --guest 100",
        "firewall ipset create office",
        "firewall entry create 192.0.2.0/24 --ipset office",
        "firewall entry create 198.51.100.0/24 --ipset office",
        "firewall alias create gate --cidr 192.0.2.1",
        "firewall alias create door --cidr 192.0.2.2",
        "metric-server create figures --type graphite --server 192.0.2.20 --port 2003",
        "metric-server create others --type influxdb --server 192.0.2.21 --port 8089",
        "backup create 100,101",
        "vm backup create 100",
    ] {
        let _ = env.run(line).ok();
    }
    env
}

const SINGLE: &[Printing] = &[
    reads("vm get 100", "config.net0"),
    reads("get ct 110", "vmid"),
    reads("vm describe 100", "config.name"),
    reads("node get pve1", "status"),
    reads("task get UPID", "upid"),
    reads("operation show 1", "steps[0].call.method"),
    #[cfg(target_os = "linux")]
    reads("image get one --context local", "virtual_size"),
    reads("vm agent osinfo 100", "id"),
    reads("version", "client.version"),
    unnamed("config view", "file"),
    reads("sandbox status", "nodes"),
    unnamed("api get /version", "release"),
    reads("api get /version --dry-run", "path"),
    reads("explain vm.memory", "type"),
    changes("vm start 100", "status"),
    changes("vm update 103 --cores 4 --dry-run", "calls[0].method"),
];

/// What is there only in a namespace where networks can be made.
#[cfg(target_os = "linux")]
const APART: &[Printing] = &[
    reads("network list --context local", "name"),
    reads("network get lan island --context local", "cidr"),
    reads("network describe lan --context local", "gateway"),
];
#[cfg(not(target_os = "linux"))]
const APART: &[Printing] = &[];

/// Prints networks in every way, where there are two of them.
#[cfg(target_os = "linux")]
pub(crate) fn print_networks(env: &Env) {
    APART.iter().for_each(|printing| printing.check(env, ""));
}

/// A sandbox with history, and the name of a task in it.
fn env() -> (Env, String) {
    let env = Env::new();
    #[cfg(target_os = "linux")]
    for name in ["one.raw", "two.raw"] {
        env.write(name, &"x".repeat(512));
        let _ = env.run(&format!("image pull {name} --context local")).ok();
    }
    #[cfg(target_os = "linux")]
    {
        let _ = env.run("vm create --name q --memory 128 --disk local:1 --context local").ok();
        for _ in 0..2 {
            let _ = env.run("vm add disk q --volume local:1 --queue --context local").ok();
        }
    }
    let _ = env.run("vm start 101").ok();
    let upid = env.json("vm stop 101")["upid"].as_str().unwrap().to_owned();
    let _ = env.run("container start 111").ok();
    (env, upid)
}

/// A value by its path, `steps[0].call`.
fn at<'a>(data: &'a Value, path: &str) -> &'a Value {
    let pointer = path.replace(['.', '['], "/").replace(']', "");
    data.pointer(&format!("/{pointer}")).unwrap_or_else(|| panic!("no {path} in {data}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Printing {
    fn check(&self, env: &Env, upid: &str) {
        let command = self.command.replace("UPID", upid);
        let run = |flags: &str| env.run(&format!("{command} {flags} --quiet")).ok().raw;
        let lines = |flags: &str| run(flags).lines().map(str::to_owned).collect::<Vec<_>>();
        let whole: Value = serde_json::from_str(&run("-o json")).unwrap();
        let (items, one) = match &whole {
            Value::Array(items) => (items.clone(), false),
            one => (vec![one.clone()], true),
        };
        assert!(!items.is_empty(), "`{command}` prints nothing");
        let (field, prefix) = (self.field, if one { "" } else { "items[*]." });
        let wanted: Vec<String> = items.iter().map(|item| text(at(item, field))).collect();

        assert!(!run("-o table").trim().is_empty() && !run("-o wide").trim().is_empty(), "{command}");
        let yaml: Value = serde_yaml::from_str(&run("-o yaml")).unwrap();
        assert_eq!(yaml.as_array().map_or(1, Vec::len), items.len(), "{command}");
        if self.named {
            assert_eq!(lines("-o name").len(), items.len(), "{command}");
        }
        self.check_csv(&run("-o csv"), &items);
        assert_eq!(lines("-o csv --no-headers").len(), lines("-o csv").len() - 1, "{command}");

        assert_eq!(run(&format!("-o jsonpath=.{prefix}{field}")).trim_end(), wanted.join(" "), "{command}");
        let (begin, end) = if one { ("", "") } else { ("{range .items[*]}", "{end}") };
        let template = format!("-o 'jsonpath={begin}{{.{field}}}{{\"\\n\"}}{end}'");
        assert_eq!(lines(&template), wanted, "{command}");

        let columns = lines(&format!("-o custom-columns=FIELD:.{field},NONE:.no.such"));
        assert_eq!(columns.len(), items.len() + 1, "{command}");
        let rows = columns[1..].iter().map(|line| line.strip_suffix("<none>").unwrap().trim_end().to_owned());
        assert_eq!(rows.collect::<Vec<_>>(), wanted, "{command}");

        let each = if one { format!(".{field}") } else { format!(".[].{field}") };
        assert_eq!(lines(&format!("--jq '{each} | tostring'")), wanted, "{command}");
        assert_eq!(run("--jq 'type'").trim_end(), if one { "object" } else { "array" }, "{command}");

        let mut sorted = wanted.clone();
        let number = |text: &String| text.parse::<i64>().unwrap_or(0);
        sorted.sort_by_key(|text| std::cmp::Reverse((number(text), text.to_lowercase())));
        assert_eq!(lines(&format!("--sort-by -{field} --jq '{each} | tostring'")), sorted, "{command}");

        let chosen = |value: &str| format!("--field-selector '{field}={value}'");
        if self.reads {
            let value = wanted[0].replace(',', "\\,");
            let left: Value = serde_json::from_str(&run(&format!("{} -o json", chosen(&value)))).unwrap();
            assert_eq!(left.is_array(), !one, "{command}");
            let left = left.as_array().map_or(1, Vec::len);
            assert_eq!(left, wanted.iter().filter(|other| **other == wanted[0]).count(), "{command}");
            assert_eq!(run(&format!("{} -o json", chosen("no-such"))).trim_end(), "[]", "{command}");
            assert!(run(&format!("{} -o table", chosen("no-such"))).lines().count() < 2, "{command}");
        } else {
            let _ = env.run(&format!("{command} {}", chosen("x"))).exits(2).says(&["not what is changed"]);
        }
    }

    fn check_csv(&self, printed: &str, items: &[Value]) {
        let mut csv = csv::Reader::from_reader(printed.as_bytes());
        let names = csv.headers().unwrap().clone();
        assert!(
            names.iter().any(|name| name == self.field.split(['.', '[']).next().unwrap()) || self.field.contains('.')
        );
        let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), items.len(), "{}", self.command);
        const MOVING: &[&str] = &[
            "cpu",
            "mem",
            "uptime",
            "netin",
            "netout",
            "diskread",
            "diskwrite",
            "disk",
            "memhost",
            "blockstat",
            "nics",
            "ballooninfo",
            "settings",
            // Its last digit, which this test's reader of JSON rounds away.
            "used_fraction",
        ];
        for (record, item) in records.iter().zip(items) {
            for (name, cell) in
                names.iter().zip(record).filter(|(name, _)| !MOVING.contains(name) && !name.starts_with("pressure"))
            {
                let wanted = item.get(name).filter(|value| !value.is_null()).map(text).unwrap_or_default();
                assert_eq!(cell, wanted, "`{}`: {name}", self.command);
            }
        }
    }
}

#[test]
fn lists_of_every_kind_through_every_printer() {
    let (env, upid) = env();
    for printing in LISTS {
        printing.check(&env, &upid);
    }
}

#[test]
fn lists_of_what_is_no_guest_through_every_printer() {
    let env = made();
    for printing in THINGS {
        printing.check(&env, "");
    }
}

#[test]
fn single_things_through_every_printer() {
    let (env, upid) = env();
    for printing in SINGLE {
        printing.check(&env, &upid);
    }
}

#[test]
fn every_list_there_is_is_in_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/commands.md");
    let reference = fs::read_to_string(path).unwrap();
    let heading = Regex::new(r"(?m)^## pvectl (\S+ (list|ls|get-contexts))$").unwrap();
    let mut found = 0;
    for list in heading.captures_iter(&reference) {
        let mut all = LISTS.iter().chain(THINGS).chain(APART);
        assert!(all.any(|printing| printing.command.starts_with(&list[1])), "`{}` is in no table", &list[1]);
        found += 1;
    }
    assert!(found > 5);
}

#[test]
fn every_format_of_help_is_one() {
    let env = Env::new();
    let help = env.run("vm list -o nonsense").exits(2).stderr;
    let known = help.split("known are ").nth(1).unwrap().lines().next().unwrap();
    let names: Vec<&str> = known.split(", ").map(|format| format.split('=').next().unwrap()).collect();
    assert_eq!(names, ["table", "wide", "json", "yaml", "name", "csv", "jsonpath", "custom-columns"]);
}

#[test]
fn an_empty_list_is_one_in_every_format() {
    let env = Env::new();
    let run = |flags: &str| env.run(&format!("vm list --status nonsense {flags}")).ok().raw;
    assert_eq!(run("-o json"), "[]\n");
    assert_eq!(run("-o csv").lines().count(), 1);
    assert_eq!(run("-o csv --no-headers"), "");
    assert_eq!(run("-o custom-columns=VM:.vmid"), "VM\n");
    assert_eq!(run("-o 'jsonpath={.items[*].vmid}'"), "");
    assert_eq!(run("--jq length"), "0\n");
    assert_eq!(run("--jq '.[].vmid'"), "");
    assert_eq!(run("--sort-by nonsense --field-selector nonsense=1 -o json"), "[]\n");
    assert_eq!(env.run("operation list -o csv").ok().raw.lines().count(), 1);
}

#[test]
fn a_query_that_does_not_fit_a_change_does_not_hide_that_it_was_made() {
    let env = Env::new();
    let output = env.run("vm start 101 --jq '.vmid.x'").exits(1).says(&["cannot index 101 with \"x\""]);
    assert_eq!(output.stdout, "");
    assert_eq!(env.json("vm get 101")["status"], "running");
    let _ = env.run("vm delete 999 101 --confirm --jq '.vmid.x'").exits(3);
    let _ = env.run("vm stop 101,103 --sort-by nonsense").exits(1).says(&["no row has a field `nonsense`"]);
    assert_eq!(env.json("vm get 101")["status"], json!("stopped"));
}
