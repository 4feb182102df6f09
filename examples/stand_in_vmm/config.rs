//! Configuration as the VMM reads it: what it insists on, and the defaults it fills in.

use serde_json::{Map, Value, json};

/// What a field must look like; the words are serde's own, which the real one answers with.
const WORDS: &[(&str, &str, &[&str])] = &[
    ("disks", "image_type", &["FixedVhd", "Qcow2", "Raw", "Vhdx", "Unknown"]),
    ("disks", "lock_granularity", &["ByteRange", "Full"]),
    ("memory", "hotplug_method", &["Acpi", "VirtioMem"]),
    ("serial", "mode", &["Off", "Pty", "Tty", "File", "Socket", "Null"]),
    ("console", "mode", &["Off", "Pty", "Tty", "File", "Socket", "Null"]),
];

/// Fields that a section cannot be without.
const REQUIRED: &[(&str, &[&str])] = &[
    ("cpus", &["boot_vcpus", "max_vcpus"]),
    ("memory", &["size"]),
    ("serial", &["mode"]),
    ("console", &["mode"]),
    ("vsock", &["cid", "socket"]),
    ("balloon", &["size"]),
    ("fs", &["tag", "socket"]),
    ("pmem", &["file"]),
    ("user_devices", &["socket"]),
    ("vdpa", &["path"]),
    ("generic_vhost_user", &["socket", "queue_sizes", "device_type"]),
];

/// Checks one section, and fills in its defaults.
pub(crate) fn section(key: &str, value: &mut Value) -> Result<(), String> {
    let Value::Object(fields) = value else { return Err("invalid type, expected a map".to_owned()) };
    for (_, required) in REQUIRED.iter().filter(|(section, _)| *section == key) {
        if let Some(missing) = required.iter().find(|name| !fields.contains_key(**name)) {
            return Err(format!("missing field `{missing}`"));
        }
    }
    for (_, field, words) in WORDS.iter().filter(|(section, _, _)| *section == key) {
        if let Some(word) = fields.get(*field).and_then(Value::as_str).filter(|word| !words.contains(word)) {
            let expected = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            return Err(format!("unknown variant `{word}`, expected one of {expected}"));
        }
    }
    let defaults = match key {
        "cpus" => json!({"kvm_hyperv": false, "max_phys_bits": 46, "features": {"amx": false}, "nested": true,
            "core_scheduling": "Vm", "profile": "Host"}),
        "memory" => json!({"mergeable": false, "hotplug_method": "Acpi", "shared": false, "hugepages": false,
            "prefault": false, "reserve": false, "thp": true}),
        "disks" => json!({"pci_segment": 0, "readonly": false, "direct": false, "num_queues": 1, "queue_size": 128,
            "vhost_user": false, "disable_io_uring": false, "disable_aio": false, "backing_files": false, "sparse": true,
            "image_type": "Unknown", "lock_granularity": "ByteRange"}),
        "net" => json!({"pci_segment": 0, "mac": random_mac(), "num_queues": 2, "queue_size": 256, "vhost_user": false,
            "vhost_mode": "Client", "offload_tso": true, "offload_ufo": true, "offload_csum": true}),
        "fs" => json!({"pci_segment": 0, "num_queues": 1, "queue_size": 1024}),
        "pmem" => json!({"pci_segment": 0, "discard_writes": false}),
        "balloon" => json!({"pci_segment": 0, "deflate_on_oom": false, "free_page_reporting": false}),
        "rng" | "vsock" | "console" => json!({"pci_segment": 0}),
        _ => json!({}),
    };
    if let Value::Object(defaults) = defaults {
        defaults.into_iter().for_each(|(name, default)| {
            fields.entry(name).or_insert(default);
        });
    }
    // The real one writes nothing for what is not there.
    fields.retain(|_, value| !value.is_null());
    Ok(())
}

/// A whole configuration; unknown fields are dropped without a word, as by the real one.
pub(crate) fn whole(mut given: Map<String, Value>) -> Result<Value, String> {
    const KNOWN: &[&str] = &[
        "cpus",
        "memory",
        "payload",
        "rate_limit_groups",
        "disks",
        "net",
        "rng",
        "balloon",
        "generic_vhost_user",
        "fs",
        "pmem",
        "serial",
        "console",
        "debug_console",
        "devices",
        "user_devices",
        "vdpa",
        "vsock",
        "pvpanic",
        "iommu",
        "numa",
        "watchdog",
        "rtc",
        "pci_segments",
        "platform",
        "tpm",
        "landlock_enable",
        "landlock_rules",
    ];
    given.retain(|key, value| KNOWN.contains(&key.as_str()) && !value.is_null());
    let defaults = json!({
        "cpus": {"boot_vcpus": 1, "max_vcpus": 1}, "memory": {"size": 512 << 20}, "rng": {"src": "/dev/urandom"},
        "serial": {"mode": "Null"}, "console": {"mode": "Tty"}, "debug_console": {"mode": "Off", "iobase": 233},
        "pvpanic": false, "iommu": false, "watchdog": false, "landlock_enable": false,
    });
    if let Value::Object(defaults) = defaults {
        defaults.into_iter().for_each(|(name, default)| {
            given.entry(name).or_insert(default);
        });
    }
    for (key, value) in &mut given {
        match value {
            Value::Array(each) => each.iter_mut().try_for_each(|value| section(key, value))?,
            Value::Object(_) => section(key, value)?,
            _ => {}
        }
    }
    Ok(Value::Object(given))
}

fn random_mac() -> String {
    let mut bytes = [0; 6];
    let _ = std::fs::File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    bytes[0] = bytes[0] & 0xfe | 2;
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
