//! Every configuration key of the contract is a flag: typed, sent, taken by the sandbox, shown by help.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::{flags::planned, harness::Env};

/// Keys whose flag is another one or none; see `src/cli/base/config/overrides.rs`.
const OVERRIDDEN: [&str; 7] = ["node", "vmid", "start", "template", "force", "delete", "unused[n]"];

/// Values for keys whose type alone does not say one.
const VALUES: &[(&str, &str)] = &[
    ("agent", "enabled=1,fstrim_cloned_disks=1"),
    ("amd-sev", "type=std"),
    ("affinity", "0,2-3"),
    ("archive", "local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst"),
    ("audio0", "device=ich9-intel-hda"),
    ("boot", "order=scsi0;net0"),
    ("bootdisk", "scsi0"),
    ("cdrom", "none"),
    ("cicustom", "user=local:snippets/user.yaml"),
    ("cpu", "x86-64-v3"),
    ("dev[n]", "/dev/null"),
    ("digest", "0123456789012345678901234567890123456789"),
    ("env", "A=b c"),
    ("efidisk0", "local-lvm:1,efitype=4m"),
    ("features", "nesting=1,keyctl=1"),
    ("hookscript", "local:snippets/hook.pl"),
    ("hostpci[n]", "0000:01:00.0,pcie=1"),
    ("hotplug", "network,disk"),
    ("ide[n]", "none,media=cdrom"),
    ("intel-tdx", "type=tdx,attestation=1,vsock-cid=2,vsock-port=4050"),
    ("ipconfig[n]", "ip=10.0.0.2/24,gw=10.0.0.1"),
    ("ivshmem", "size=32"),
    ("machine", "q35"),
    ("memory", "2048"),
    ("mp[n]", "local-lvm:4,mp=/srv"),
    ("nameserver", "10.0.0.1"),
    ("numa[n]", "cpus=0-1,memory=1024"),
    ("ostemplate", "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"),
    ("parallel[n]", "/dev/parport0"),
    ("revert", "cores"),
    ("rng0", "source=/dev/urandom"),
    ("rootfs", "local-lvm:8"),
    ("sata[n]", "local-lvm:1"),
    ("scsi[n]", "local-lvm:2,discard=on"),
    ("serial[n]", "socket"),
    ("smbios1", "uuid=11111111-2222-3333-4444-555555555555"),
    ("spice_enhancements", "foldersharing=1"),
    ("sshkeys", "ssh-ed25519%20AAAA%20me"),
    ("ssh-public-keys", "ssh-ed25519 AAAA me"),
    ("startdate", "now"),
    ("startup", "order=1,up=30"),
    ("storage", "local-lvm"),
    ("import-working-storage", "local"),
    ("tags", "a;b"),
    ("timezone", "UTC"),
    ("tpmstate0", "local-lvm:1,version=v2.0"),
    ("usb[n]", "spice"),
    ("vga", "std"),
    ("virtio[n]", "local-lvm:3"),
    ("virtiofs[n]", "share"),
    ("vmgenid", "1"),
    ("vmstatestorage", "local-lvm"),
    ("watchdog", "i6300esb,action=reset"),
];

fn value(kind: &str, key: &str, schema: &Value) -> String {
    if key == "net[n]" {
        let net = if kind == "qemu" { "virtio,bridge=vmbr0" } else { "name=eth0,bridge=vmbr0" };
        return net.to_owned();
    }
    if let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == key) {
        return (*value).to_owned();
    }
    let number = || schema["minimum"].as_str().map_or_else(|| schema["minimum"].to_string(), str::to_owned);
    // The last, for the first may be what a guest has anyway.
    let last = schema["enum"].as_array().and_then(|values| values.last()?.as_str());
    match (last, schema["type"].as_str()) {
        (Some(last), _) => last.to_owned(),
        (_, Some("boolean")) => "1".into(),
        (_, Some("integer" | "number")) if schema["minimum"].is_null() => "7".into(),
        (_, Some("integer" | "number")) => number(),
        _ => "text".into(),
    }
}

/// The parameters of an endpoint as the official description has them.
fn parameters(method: &str, path: &str) -> BTreeMap<String, Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pve/api-9.2.json");
    let api: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let found = api.as_array().unwrap().iter().find(|entry| entry["method"] == method && entry["path"] == path);
    let properties = found.map(|entry| entry["parameters"]["properties"].as_object().cloned().unwrap());
    properties.unwrap_or_default().into_iter().collect()
}

/// The keys of a kind and a verb with a value for each, numbered ones with the number 0.
fn keys(kind: &str, verb: &str) -> BTreeMap<String, String> {
    let of_guest = format!("/nodes/{{node}}/{kind}");
    let of_config = format!("{of_guest}/{{vmid}}/config");
    let declared = match verb {
        "create" => parameters("POST", &of_guest),
        _ => parameters("PUT", &of_config).into_iter().chain(parameters("POST", &of_config)).collect(),
    };
    let declared = declared.iter().filter(|(key, _)| !OVERRIDDEN.contains(&key.as_str()));
    declared.map(|(key, schema)| (key.replace("[n]", "0"), value(kind, key, schema))).collect()
}

/// The flags of these keys as a command line; secrets come from a file.
fn line(keys: &BTreeMap<String, String>) -> String {
    let flag = |(key, value): (&String, &String)| match key.as_str() {
        "password" | "cipassword" => format!(" --{key} @secret"),
        _ => format!(" --{key} '{value}'"),
    };
    keys.iter().map(flag).collect()
}

#[test]
fn every_key_typed_as_a_flag_arrives_in_the_call() {
    let env = Env::new();
    env.write("secret", "hunter2\n");
    let _ = env.run("vm create --vmid 150").ok();
    let image = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst";
    let _ = env.run(&format!("container create --vmid 250 --ostemplate {image} --rootfs local-lvm:4")).ok();
    for (noun, kind, vmid) in [("vm", "qemu", 150), ("container", "lxc", 250)] {
        for verb in ["create", "update"] {
            let wanted = keys(kind, verb);
            assert!(wanted.len() > 30, "{kind} {verb}: {}", wanted.len());
            let target = if verb == "update" { vmid.to_string() } else { "--no-checks".to_owned() };
            let got = planned(&env, &format!("{noun} {verb} {target}{}", line(&wanted)));
            for (key, value) in &wanted {
                let value = if key.ends_with("password") { "***" } else { value };
                assert_eq!(got.get(key).map(String::as_str), Some(value), "{noun} {verb} --{key}");
            }
        }
    }
}

#[test]
fn the_sandbox_takes_every_key() {
    let env = Env::new();
    env.write("secret", "hunter2\n");
    // What only root may set, what asks for a backup, and what a simulated node does not have.
    let no: &[&str] = &[
        "args",
        "lock",
        "archive",
        "unique",
        "live-restore",
        "restore",
        "bwlimit",
        "ignore-unpack-errors",
        "skiplock",
        "digest",
        "revert",
        "background_delay",
        "import-working-storage",
        "cdrom",
        "ha-managed",
        "hookscript",
        "hostpci0",
        "parallel0",
        "serial0",
        "usb0",
    ];
    for (noun, kind, vmid) in [("vm", "qemu", 150), ("container", "lxc", 250)] {
        for verb in ["create", "update"] {
            let mut keys = keys(kind, verb);
            keys.retain(|key, _| !no.contains(&key.as_str()));
            keys.insert("description".into(), format!("from {verb}"));
            keys.remove("pool");
            let target = if verb == "update" { vmid.to_string() } else { format!("--vmid {vmid}") };
            let _ = env.run(&format!("{noun} {verb} {target}{}", line(&keys))).ok();
            let config = &env.json(&format!("{noun} get {vmid}"))["config"];
            let of_config =
                |key: &&String| !["password", "ssh-public-keys", "ostemplate", "storage"].contains(&key.as_str());
            for key in keys.keys().filter(of_config) {
                assert!(!config[key].is_null(), "{noun} {verb}: `{key}` is not in {config}");
            }
            assert_eq!(config["description"], format!("from {verb}"));
            if verb == "update" {
                let _ = env.run(&format!("{noun} update {vmid} --protection=no")).ok();
                let removable: Vec<&str> = keys.keys().map(String::as_str).filter(|key| *key != "rootfs").collect();
                let _ = env.run(&format!("{noun} update {vmid} --unset {}", removable.join(","))).ok();
                let config = &env.json(&format!("{noun} get {vmid}"))["config"];
                let left: Vec<&&str> = removable.iter().filter(|key| !config[**key].is_null()).collect();
                // A detached disk becomes an unused one.
                assert!(left.iter().all(|key| key.starts_with("unused")), "{left:?} in {config}");
            }
        }
    }
}

#[test]
fn the_last_number_of_a_family_is_a_flag_and_the_next_is_none() {
    let env = Env::new();
    for (noun, flag, value) in [
        ("vm", "net31", "virtio,bridge=vmbr0"),
        ("vm", "scsi30", "local-lvm:1"),
        ("vm", "unused255", "local-lvm:vm-100-disk-9"),
        ("container", "mp255", "local-lvm:1,mp=/a"),
        ("container", "dev255", "/dev/null"),
    ] {
        let target = if noun == "vm" { 101 } else { 110 };
        let got = planned(&env, &format!("{noun} update {target} --{flag} {value}"));
        assert_eq!(got[flag], value);
    }
    let _ = env.run("vm update 101 --net32 virtio").exits(2).says(&["--net32"]);
    let _ = env.run("vm update 101 --scsi31 local-lvm:1").exits(2).says(&["--scsi31"]);
}

#[test]
fn help_is_short_or_whole_and_fits() {
    let env = Env::bare().with("COLUMNS", "80");
    for (noun, verb) in [("vm", "create"), ("vm", "update"), ("container", "create"), ("container", "update")] {
        let short = env.run(&format!("{noun} {verb} -h")).ok();
        let whole = env.run(&format!("{noun} {verb} --help")).ok();
        assert_eq!(whole.raw, env.run(&format!("help {noun} {verb}")).ok().raw);
        assert!(short.raw.contains(&format!("Every flag there is: pvectl {noun} {verb} --help")), "{short}");
        assert!(short.raw.lines().count() * 4 < whole.raw.lines().count() * 3, "{short}");
        for help in [&short, &whole] {
            let long: Vec<&str> = help.raw.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{long:#?}");
            let (options, global) = (help.raw.find("\nIdentity:"), help.raw.find("\nGlobal options:"));
            assert!(options.is_some() && options < global, "{help}");
        }
        assert!(whole.raw.contains("--hookscript") && !short.raw.contains("--hookscript"), "{whole}");
        assert!(whole.raw.contains("--net0") && !whole.raw.contains("--net1 "), "{whole}");
    }
}

#[test]
fn a_key_has_one_value_and_a_container_a_name() {
    let env = Env::new();
    for twice in ["--cores 2 --set cores=3", "--set cores=2 --set cores=3"] {
        let _ = env.run(&format!("vm update 100 {twice}")).exits(2).says(&["`cores` is given twice"]);
    }
    let made = "--template debian-12 --rootfs local-lvm:4";
    assert_eq!(planned(&env, &format!("container create --name a {made}"))["hostname"], "a");
}
