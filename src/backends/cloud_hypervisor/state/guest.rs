//! Rows as Proxmox answers them: lists and `status/current`.
//!
//! What the VMM and the host measure comes in as [`Usage`]; how the VM is, as [`Sight`].

use serde_json::{Map, Value};

use super::{Phase, State, Vm, reconcile::Sight};
use crate::model::{Guest, GuestConfig, GuestKind, PropertyString, Size, Tags};

/// What a running VM uses. All of it is absent while it is off, or where nobody measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Share of its processors in use, 0 to 1.
    pub cpu: Option<f64>,
    /// Memory of the guest, bytes.
    pub mem: Option<u64>,
    /// Memory that its process holds on the host, bytes.
    pub memhost: Option<u64>,
    /// Received from the network, bytes.
    pub netin: Option<u64>,
    /// Sent to the network, bytes.
    pub netout: Option<u64>,
    /// Read from its disks, bytes.
    pub diskread: Option<u64>,
    /// Written to its disks, bytes.
    pub diskwrite: Option<u64>,
    /// Seconds since it started.
    pub uptime: Option<u64>,
}

/// Proxmox's memory for a VM that says nothing of it, MiB.
const DEFAULT_MEMORY: u64 = 512;

impl Vm {
    /// How many processors it has.
    pub fn processors(&self) -> u64 {
        let number = |key: &str| self.settings.get(key).and_then(|text| text.parse::<u64>().ok());
        number("vcpus").unwrap_or_else(|| number("cores").unwrap_or(1) * number("sockets").unwrap_or(1))
    }

    /// How much memory it has, bytes.
    pub fn memory(&self) -> u64 {
        let text = self.settings.get("memory").unwrap_or_default();
        let parts = PropertyString::lenient(text);
        let mib = parts.get_or_bare("current").and_then(|text| text.parse::<u64>().ok());
        mib.unwrap_or(DEFAULT_MEMORY) << 20
    }

    /// The size of the disk it boots from, bytes; 0 without one.
    pub fn first_disk(&self) -> u64 {
        let disks = GuestConfig(super::settings::values(&self.settings.config)).disks();
        let boot = PropertyString::lenient(self.settings.get("boot").unwrap_or_default());
        let order = boot.get("order").unwrap_or_default().split(';');
        let first = order.filter_map(|key| disks.get(key)).chain(disks.values()).find_map(|disk| disk.get("size"));
        first.and_then(|size| size.parse::<Size>().ok()).map_or(0, |size| size.0)
    }

    /// Its row as `GET /cluster/resources` lists it.
    pub fn guest(&self, state: &State, sight: Sight, usage: &Usage) -> Guest {
        let on = sight.status() == "running";
        let zero = |value: Option<u64>| Some(value.unwrap_or(0));
        Guest {
            vmid: self.vmid,
            name: Some(self.name()),
            kind: GuestKind::Qemu,
            node: state.node().clone(),
            status: sight.qmpstatus().to_owned(),
            cpu: Some(usage.cpu.unwrap_or(0.0)),
            maxcpu: Some(self.processors() as f64),
            mem: zero(usage.mem),
            maxmem: Some(self.memory()),
            disk: Some(0),
            maxdisk: Some(self.first_disk()),
            uptime: zero(usage.uptime.filter(|_| on)),
            memhost: zero(usage.memhost),
            netin: zero(usage.netin),
            netout: zero(usage.netout),
            diskread: zero(usage.diskread),
            diskwrite: zero(usage.diskwrite),
            template: self.settings.is_on("template"),
            tags: Tags::parse(self.settings.get("tags").unwrap_or_default()),
            pool: None,
            lock: self.shown_lock().map(str::to_owned),
            id: Some(format!("qemu/{}", self.vmid)),
            other: Map::new(),
        }
    }

    /// The answer of `GET …/status/current`.
    pub fn status(&self, sight: Sight, usage: &Usage) -> Map<String, Value> {
        let mut map = Map::new();
        let mut set = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        let on = sight.status() == "running";
        set("vmid", self.vmid.get().into());
        set("name", self.name().into());
        set("status", sight.status().into());
        set("qmpstatus", sight.qmpstatus().into());
        set("cpus", self.processors().into());
        set("maxmem", self.memory().into());
        set("maxdisk", self.first_disk().into());
        set("disk", 0.into());
        set("cpu", usage.cpu.unwrap_or(0.0).into());
        let figures = [
            ("mem", usage.mem),
            ("memhost", usage.memhost),
            ("netin", usage.netin),
            ("netout", usage.netout),
            ("diskread", usage.diskread),
            ("diskwrite", usage.diskwrite),
            ("uptime", usage.uptime.filter(|_| on)),
        ];
        for (key, value) in figures {
            set(key, value.unwrap_or(0).into());
        }
        set("ha", serde_json::json!({"managed": 0}));
        if let Some(process) = self.process.as_ref().filter(|_| on) {
            set("pid", process.pid.into());
        }
        if let Some(lock) = self.shown_lock() {
            set("lock", lock.into());
        }
        for key in ["tags", "agent"] {
            if let Some(value) = self.settings.get(key).filter(|value| !value.is_empty()) {
                set(key, if key == "agent" { u8::from(agent(value)).into() } else { value.into() });
            }
        }
        if self.settings.is_on("template") {
            set("template", 1.into());
        }
        if let Some(build) = self.build.as_ref().filter(|_| on) {
            set("running-build", build.as_str().into());
        }
        map
    }

    /// What holds it, as far as others should know: one that is being made or removed is locked in Proxmox too.
    fn shown_lock(&self) -> Option<&str> {
        match self.phase {
            Phase::Creating => Some(self.lock().unwrap_or("create")),
            Phase::Deleting => Some(self.lock().unwrap_or("destroyed")),
            _ => self.lock(),
        }
    }
}

/// Whether an `agent` value turns it on: `1`, `enabled=1,…`.
fn agent(value: &str) -> bool {
    PropertyString::lenient(value).get_or_bare("enabled") == Some("1")
}
