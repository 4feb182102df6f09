//! What machines read: shapes, keys and formats, the same for every kind.

use serde_json::{Value, json};

use crate::harness::Env;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_list_is_an_array_one_target_an_object_and_several_an_array() {
    let env = Env::new();
    assert!(env.json("vm list").is_array());
    assert!(env.json("vm get").is_array(), "without a target it is the list");
    assert!(env.json("vm get 100").is_object());
    assert_eq!(env.json("vm get 100,101").as_array().unwrap().len(), 2);
    assert!(env.json("vm start 101").is_object());
    assert_eq!(env.json("vm stop 101 103").as_array().unwrap().len(), 2);
    assert!(env.json("operation list").is_array());
    assert!(env.json("operation show 1").is_object());
    assert!(env.json("node list").is_array());
    assert!(env.json("node get pve1").is_object());
    assert!(env.json("container list --status paused").as_array().unwrap().is_empty());
}

#[test]
fn a_guest_is_its_status_with_the_configuration_under_config() {
    let env = Env::new();
    let guest = env.json("vm get 100");
    assert_eq!(guest["vmid"], 100);
    assert_eq!((&guest["name"], &guest["type"], &guest["node"]), (&json!("web-1"), &json!("qemu"), &json!("pve1")));
    assert_eq!((&guest["status"], &guest["template"]), (&json!("running"), &json!(0)));
    for number in ["cpu", "maxcpu", "mem", "maxmem", "maxdisk", "uptime", "cpus"] {
        assert!(guest[number].is_number(), "{number}: {}", guest[number]);
    }
    assert_eq!(guest["maxcpu"].to_string(), "2", "whole numbers stay whole");
    assert_eq!((&guest["config"]["cores"], &guest["config"]["onboot"]), (&json!(2), &json!(1)));
    assert_eq!(guest["context"], "sandbox");
    assert_eq!(keys(&guest)[..5], ["vmid", "name", "type", "node", "status"]);
    assert_eq!(keys(&guest).last(), Some(&"context"));
    let row = &env.json("vm list")[0];
    assert!(row.get("config").is_none());
    for (key, value) in row.as_object().unwrap().iter().filter(|(key, _)| !MOVING.contains(&key.as_str())) {
        assert_eq!(Some(value), guest.get(key), "`{key}` is the same in the list");
    }
    let container = env.json("container get proxy");
    assert_eq!((&container["type"], &container["config"]["hostname"]), (&json!("lxc"), &json!("proxy")));
}

/// Figures that change between two looks.
const MOVING: &[&str] = &["cpu", "mem", "uptime", "netin", "netout", "diskread", "diskwrite", "disk"];

#[test]
fn what_get_prints_can_be_created_again() {
    let env = Env::new();
    let mut guest = env.json("vm get build-1");
    guest["vmid"] = json!(150);
    guest["config"]["name"] = json!("again");
    for own in ["digest", "meta", "vmgenid", "smbios1", "net0"] {
        guest["config"].as_object_mut().unwrap().remove(own);
    }
    guest["config"]["scsi0"] = json!("local-lvm:8");
    env.write("again.json", &guest.to_string());
    let _ = env.run("vm create -f again.json").ok();
    assert_eq!(env.json("vm get 150")["config"]["memory"], guest["config"]["memory"]);
}

#[test]
fn every_change_prints_the_same_row() {
    let env = Env::new();
    let row = ["vmid", "name", "node", "verb", "status", "upid", "exit_status", "changed", "context"];
    for (line, verb) in [
        ("vm create --vmid 150 --name a", "create"),
        ("vm start 150", "start"),
        ("vm start 150", "start"),
        ("vm update 150 --cores 2", "update"),
        ("vm delete 150 --force --confirm", "delete"),
        ("container stop proxy", "stop"),
    ] {
        let printed = env.json(line);
        assert_eq!(keys(&printed), row, "{line}");
        assert_eq!((&printed["verb"], &printed["status"]), (&json!(verb), &json!("ok")), "{line}");
    }
    let refused = env.run("vm delete 100 --confirm -o json").exits(6).json();
    assert_eq!(keys(&refused), row);
    assert_eq!((&refused["status"], &refused["changed"]), (&json!("failed"), &json!(false)));
}

/// Every kind in every format: each list prints something of each row, and all data formats the same data.
#[test]
fn every_kind_in_every_format() {
    let env = Env::new();
    let _ = env.run("vm start 101").ok();
    for noun in ["vm", "container", "node", "task", "operation"] {
        let rows = env.json(&format!("{noun} list"));
        let rows = rows.as_array().unwrap();
        assert!(!rows.is_empty(), "{noun}");
        assert!(rows.iter().all(|row| row["context"] == "sandbox"), "{noun}");
        let yaml = env.run(&format!("{noun} list -o yaml")).ok().raw;
        let yaml: Vec<Value> = serde_yaml::from_str(&yaml).unwrap();
        assert_eq!(yaml.len(), rows.len(), "{noun}");
        assert_eq!(yaml.iter().map(keys).collect::<Vec<_>>(), rows.iter().map(keys).collect::<Vec<_>>());
        for format in ["table", "wide"] {
            let text = env.run(&format!("{noun} list -o {format}")).ok().raw;
            assert_eq!(text.lines().count(), rows.len() + 1, "{noun} {format}");
            let bare = env.run(&format!("{noun} list -o {format} --no-headers")).ok().raw;
            assert_eq!(bare.lines().count(), rows.len(), "{noun} {format}");
            assert!(text.lines().all(|line| line == line.trim_end()), "{noun} {format}: blanks at the end");
        }
        let names = env.run(&format!("{noun} list -o name")).ok().raw;
        for name in names.lines() {
            let verb = if noun == "operation" { "show" } else { "get" };
            let bare = if noun == "task" { name } else { name.split_once('/').unwrap().1 };
            let _ = env.run(&format!("{noun} {verb} {bare}")).ok();
        }
        assert_eq!(names.lines().count(), rows.len(), "{noun}");
    }
}

#[test]
fn the_format_may_come_from_the_environment() {
    let env = Env::new();
    assert_eq!(env.with("PVECTL_OUTPUT", "name").run("vm list --template true").ok().raw, "vm/9000\n");
    let by_flag = env.with("PVECTL_OUTPUT", "name").run("vm list --template true --json").ok();
    assert!(by_flag.json().is_array(), "a flag goes before the environment");
    assert_eq!(env.with("PVECTL_OUTPUT", "nmae").run("vm list").code, 2);
}

#[test]
fn colours_are_for_terminals_and_those_who_ask() {
    let env = Env::new().without("NO_COLOR");
    let coloured = |env: &Env, line: &str| env.run(line).ok().raw.contains('\u{1b}');
    assert!(!coloured(&env, "vm list"), "this is no terminal");
    assert!(coloured(&env, "vm list --color always"));
    assert!(coloured(&env.with("CLICOLOR_FORCE", "1"), "vm list"));
    assert!(!coloured(&env.with("CLICOLOR_FORCE", "1").with("NO_COLOR", "1"), "vm list"));
    assert!(!coloured(&env.with("CLICOLOR_FORCE", "1"), "vm list -o json"), "data has none");
}

#[test]
fn quiet_says_nothing_but_the_data() {
    let env = Env::new();
    let quiet = env.run("vm start 101 --quiet").ok();
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("web-2"));
    assert_eq!(Env::bare().run("vm list --quiet").ok().stderr, "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let env = Env::new();
    let mut listing = env.spawn("vm list -o json");
    listing.close_stdout();
    let output = listing.wait().ok();
    assert_eq!(output.stderr, "");
}

#[test]
fn every_command_has_help_with_examples() {
    let env = Env::bare();
    let mut open = vec![String::new()];
    let (mut seen, mut without) = (0, Vec::new());
    while let Some(command) = open.pop() {
        let help = env.run(&format!("{command} --help")).ok();
        assert!(help.stderr.is_empty() && !help.stdout.is_empty(), "{command}");
        let below = subcommands(&help.stdout);
        let leaf = below.is_empty();
        open.extend(below.into_iter().map(|name| format!("{command} {name}")));
        if leaf && !help.stdout.contains("Examples:") {
            without.push(command);
        }
        seen += 1;
    }
    assert!(seen > 50, "only {seen} commands were found");
    without.sort();
    assert_eq!(without, [""; 0], "no example");
}

/// The names under `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}
