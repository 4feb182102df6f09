//! What goes to the endpoints besides configuration, and what comes back.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    config::{VmConfig, words},
    verb::State,
};

/// Who serves: the answer of `vmm.ping`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ping {
    /// The build, `v53.0.0`. Snapshots are read by the same build only.
    pub build_version: String,
    /// The version, `53.0.0`.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// What was built in: `kvm`, `io_uring`.
    pub features: Vec<String>,
}

impl Ping {
    /// The first number of the version.
    pub fn major(&self) -> Option<u32> {
        self.version.trim_start_matches('v').split('.').next()?.parse().ok()
    }
}

/// The machine: the answer of `vm.info`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Info {
    /// What it was defined as, with what was added and removed since, and with the VMM's defaults.
    pub config: VmConfig,
    /// What it does. `Created` also after it was shut down.
    pub state: State,
    /// Bytes of memory the guest has at this moment.
    pub memory_actual_size: u64,
    /// Its devices, by name; only while booted.
    pub device_tree: Option<BTreeMap<String, DeviceNode>>,
}

/// A device in the tree.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DeviceNode {
    /// Its name.
    pub id: String,
    /// Addresses and interrupts.
    pub resources: Vec<Value>,
    /// On which it is.
    pub parent: Option<String>,
    /// Which are on it.
    pub children: Vec<String>,
    /// Its place on the PCI bus, `0000:00:05.0`.
    pub pci_bdf: Option<String>,
}

/// A device that was added to a booted machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PciDevice {
    /// Its name.
    pub id: String,
    /// Its place on the PCI bus, `0000:00:05.0`.
    pub bdf: String,
}

/// Counters of devices, by device and counter: `read_bytes`, `rx_frames`. `None`: no value yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(pub BTreeMap<String, BTreeMap<String, Option<u64>>>);

impl Counters {
    /// A counter's value.
    pub fn get(&self, device: &str, counter: &str) -> Option<u64> {
        *self.0.get(device)?.get(counter)?
    }

    /// The sum of a counter over all devices that have it.
    pub fn sum(&self, counter: &str) -> u64 {
        self.0.values().filter_map(|counters| counters.get(counter).copied().flatten()).fold(0, u64::saturating_add)
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = BTreeMap::<String, BTreeMap<String, u64>>::deserialize(from)?;
        // The VMM has no word for "none yet" but the largest number. Its mean of such a latency is in microseconds, so
        // that it comes out ten thousand times smaller.
        let value = |counter: &str, value: u64| match value {
            u64::MAX => None,
            value if value == u64::MAX / 10_000 && counter.ends_with("_latency_avg") => None,
            value => Some(value),
        };
        let device = |counters: BTreeMap<String, u64>| {
            counters.into_iter().map(|(name, number)| (name.clone(), value(&name, number))).collect()
        };
        Ok(Self(raw.into_iter().map(|(name, counters)| (name, device(counters))).collect()))
    }
}

macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
    };
}

request! {
    /// New sizes of a machine.
    Resize {
        /// Processors, at most the machine's `max_vcpus`. Fewer: the guest must let go of them, and until then more
        /// changes are refused ([`Why::Pending`](super::Why::Pending)).
        #[serde(skip_serializing_if = "Option::is_none")]
        desired_vcpus: Option<u32>,
        /// Bytes of memory, the change a multiple of 128 MiB, at most size + hotplug size.
        #[serde(skip_serializing_if = "Option::is_none")]
        desired_ram: Option<u64>,
        /// Bytes in the balloon.
        #[serde(skip_serializing_if = "Option::is_none")]
        desired_balloon: Option<u64>,
    }
}

request! {
    /// Where a machine is restored from.
    Restore {
        /// `file:///folder`, with what `vm.snapshot` wrote.
        source_url: String,
        /// Whether memory is read before it is needed.
        prefault: bool,
        /// How memory is read.
        memory_restore_mode: RestoreMode,
        /// Whether it runs then; else it is paused.
        resume: bool,
    }
}

words! {
    /// How memory is read at restore.
    RestoreMode {
        /// All of it, first.
        #[default]
        Copy = "Copy",
        /// When it is touched. The folder must stay until all was read, and the host must allow userfaultfd.
        OnDemand = "OnDemand",
    }
}

request! {
    /// Where a machine is sent to.
    SendMigration {
        /// `tcp:HOST:PORT` or `unix:PATH`.
        destination_url: String,
        /// What else the VMM takes: `local`, `downtime_ms`, `timeout_s`, `timeout_strategy`, `connections`, `tls_dir`,
        /// `memory_mode`.
        #[serde(flatten)]
        other: Map<String, Value>,
    }
}

request! {
    /// Where a machine comes in.
    ReceiveMigration {
        /// `tcp:HOST:PORT` or `unix:PATH`.
        receiver_url: String,
        /// What else the VMM takes: `tls_dir`, `memory_mode`.
        #[serde(flatten)]
        other: Map<String, Value>,
    }
}

/// Where a VMM writes to or reads from: `file:///folder`.
pub fn file_url(folder: &std::path::Path) -> String {
    format!("file://{}", PathBuf::from(folder).display())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_largest_number_is_no_value() {
        let counters: Counters = serde_json::from_value(json!({
            "d": {"read_bytes": 9_223_372_036_854_775_808_u64, "read_latency_min": u64::MAX,
                  "read_latency_avg": 1_844_674_407_370_955_u64},
            "n": {"read_bytes": 1},
        }))
        .unwrap();
        assert_eq!(counters.get("d", "read_latency_min"), None);
        assert_eq!(counters.get("d", "read_latency_avg"), None);
        assert_eq!(counters.get("d", "read_bytes"), Some(1 << 63));
        assert_eq!(counters.sum("read_bytes"), (1 << 63) + 1);
    }
}
