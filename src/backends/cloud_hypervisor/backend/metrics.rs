//! What VMs use: from `/proc` for lists, which must be quick; for a single one from its VMM too.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Local;
use crate::{
    backends::cloud_hypervisor::{
        host::{self, Used},
        state::{Usage, Vm, reconcile::Sight},
        vmm::{Counters, Vmm},
    },
    model::Result,
};

/// How long a VMM may take to tell its figures; without them there is still the rest.
const PATIENCE: Duration = Duration::from_millis(250);

impl Local {
    /// What a VM uses as far as this host counts it, without asking its VMM. The processors' share is that of its whole
    /// life, as `ps` tells it.
    pub(super) fn usage(&self, vm: &Vm, sight: Sight, now: f64) -> Result<Usage> {
        Ok(Self::used_if_on(vm, sight, now)?.map(|used| Self::counted(vm, &used)).unwrap_or_default())
    }

    fn used_if_on(vm: &Vm, sight: Sight, now: f64) -> Result<Option<Used>> {
        if sight.status() == "running" { Self::used(vm, now) } else { Ok(None) }
    }

    /// What the process of a VM has used, `now` seconds after the boot of this host; nothing where there is none.
    pub(super) fn used(vm: &Vm, now: f64) -> Result<Option<Used>> {
        let process = vm.process.as_ref();
        Ok(process.map(|process| host::used(process.pid, process.starttime, now)).transpose()?.flatten())
    }

    /// The same of what was counted.
    pub(super) fn counted(vm: &Vm, used: &Used) -> Usage {
        let most = used.uptime.max(0.01) * vm.processors().max(1) as f64;
        Usage {
            cpu: Some((used.cpu / most).min(1.0)),
            mem: Some(used.resident.min(vm.memory())),
            memhost: Some(used.resident),
            uptime: Some(used.uptime as u64),
            ..Usage::default()
        }
    }

    /// The answer of `GET …/status/current`, with what the VMM counts of its devices; `cputime` (seconds of processors)
    /// is our own, so that two looks tell the present load.
    pub(super) async fn measured(&self, vm: &Vm, sight: Sight) -> Result<Map<String, Value>> {
        let used = Self::used_if_on(vm, sight, host::host_uptime()?)?;
        let (Some(process), Some(used)) = (&vm.process, used) else {
            return Ok(vm.status(sight, &Usage::default()));
        };
        let mut usage = Self::counted(vm, &used);
        if let Some(own) = host::proportional(process.pid) {
            usage.memhost = Some(own);
            usage.mem = Some(own.min(vm.memory()));
        }
        let mut more = Map::new();
        more.insert("cputime".to_owned(), json!(used.cpu));
        if matches!(sight, Sight::Running | Sight::Paused) {
            let vmm = Vmm::connect(self.places(vm).api_socket())?;
            // A VMM that is busy tells nothing now, which is no reason to tell nothing at all.
            if let Ok(info) = vmm.info(PATIENCE).await {
                more.insert("balloon".to_owned(), info.memory_actual_size.into());
            }
            if let Ok(counters) = vmm.counters(PATIENCE).await {
                count(vm, &counters, &mut usage, &mut more);
            }
        }
        let mut status = vm.status(sight, &usage);
        status.extend(more);
        Ok(status)
    }
}

/// Takes a VMM's counters into what a VM uses, device by device as Proxmox has them: by key for disks, by tap for cards.
fn count(vm: &Vm, counters: &Counters, usage: &mut Usage, more: &mut Map<String, Value>) {
    let (mut disks, mut cards) = (Map::new(), Map::new());
    for (id, device) in &counters.0 {
        let value = |counter: &str| device.get(counter).copied().flatten().unwrap_or(0);
        if device.contains_key("read_bytes") {
            let row = json!({
                "rd_bytes": value("read_bytes"), "rd_operations": value("read_ops"),
                "wr_bytes": value("write_bytes"), "wr_operations": value("write_ops"),
            });
            disks.insert(id.clone(), row);
        } else if device.contains_key("rx_bytes") {
            let number = id.strip_prefix("net").and_then(|number| number.parse::<u8>().ok());
            let name = number.map_or_else(|| id.clone(), |number| host::network::tap_name(vm.vmid.get(), number));
            cards.insert(name, json!({"netin": value("rx_bytes"), "netout": value("tx_bytes")}));
        }
    }
    usage.diskread = Some(counters.sum("read_bytes"));
    usage.diskwrite = Some(counters.sum("write_bytes"));
    usage.netin = Some(counters.sum("rx_bytes"));
    usage.netout = Some(counters.sum("tx_bytes"));
    more.insert("blockstat".to_owned(), disks.into());
    more.insert("nics".to_owned(), cards.into());
}
