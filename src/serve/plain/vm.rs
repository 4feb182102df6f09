//! VMs as the plain routes tell them, and how one is found by its name.

use std::net::IpAddr;

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::{Asker, Desk, Trouble};
use crate::{
    model::{Call, ConfigView, GuestKind, GuestRef, Method, Vmid, is_host_name},
    ops::configured_addresses,
};

/// A VM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::serve) struct Vm {
    /// Its name; its number where it has none.
    pub(in crate::serve) name: String,
    /// `running`, `paused`, `stopped`, or what else Proxmox calls it.
    pub(in crate::serve) status: String,
    /// What its configuration says.
    pub(super) ip: Option<IpAddr>,
    pub(super) cpus: u64,
    pub(super) memory_mb: u64,
    /// Of its VMM.
    pub(super) pid: Option<u64>,
    pub(in crate::serve) vmid: Vmid,
}

/// A row of the list, without what has to be asked of each VM.
fn vm_of(row: &Value) -> Option<Vm> {
    let vmid: Vmid = serde_json::from_value(row.get("vmid")?.clone()).ok()?;
    let name = row.get("name").and_then(Value::as_str).filter(|name| *name != format!("VM {vmid}"));
    let number = |key: &str| row.get(key).and_then(Value::as_f64).unwrap_or_default() as u64;
    Some(Vm {
        name: name.map_or_else(|| vmid.to_string(), str::to_owned),
        status: row.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
        ip: None,
        cpus: number("cpus"),
        memory_mb: number("maxmem") >> 20,
        pid: None,
        vmid,
    })
}

/// Refuses what cannot be the name of a VM.
pub(super) fn check_name(name: &str) -> Result<(), Trouble> {
    match is_host_name(name) {
        true => Ok(()),
        false => Err(Trouble::bad(format!("`{name}` is no name for a VM: letters, digits, `-` and `.` are"))),
    }
}

impl Desk {
    /// The guest of a number.
    pub(in crate::serve) fn guest(&self, vmid: Vmid) -> GuestRef {
        GuestRef { kind: GuestKind::Qemu, node: self.host.node.clone(), vmid }
    }

    /// All VMs that whoever asks may see, without what has to be asked of each.
    pub(in crate::serve) async fn rows(&self, asker: &Asker) -> Result<Vec<Vm>, Trouble> {
        let call = Call::new(Method::Get, format!("/nodes/{}/qemu", self.host.node));
        let reply = asker.kit.call(&asker.who, call, &asker.id).await?;
        let mut vms: Vec<Vm> = reply.value().as_array().into_iter().flatten().filter_map(vm_of).collect();
        vms.sort_by(|a, b| (&a.name, a.vmid).cmp(&(&b.name, b.vmid)));
        Ok(vms)
    }

    /// The same with everything that is told.
    pub(super) async fn vms(&self, asker: &Asker) -> Result<Vec<Vm>, Trouble> {
        Ok(join_all(self.rows(asker).await?.into_iter().map(|vm| self.whole(vm))).await)
    }

    /// The VM of this name, without what has to be asked of it.
    pub(in crate::serve) async fn row(&self, asker: &Asker, name: &str) -> Result<Vm, Trouble> {
        check_name(name)?;
        let mut called: Vec<Vm> = self.rows(asker).await?.into_iter().filter(|vm| vm.name == name).collect();
        match (called.pop(), called.is_empty()) {
            (Some(vm), true) => Ok(vm),
            (None, _) => Err(Trouble::new(404, format!("there is no VM `{name}`"))),
            (Some(last), false) => {
                let vmids: Vec<String> = called.iter().chain([&last]).map(|vm| vm.vmid.to_string()).collect();
                Err(Trouble::bad(format!("several VMs are called `{name}`: {}", vmids.join(", "))))
            }
        }
    }

    /// The VM of this name.
    pub(in crate::serve) async fn find(&self, asker: &Asker, name: &str) -> Result<Vm, Trouble> {
        Ok(self.whole(self.row(asker, name).await?).await)
    }

    /// Adds what has to be asked of each VM. What went away meanwhile stays as the list had it.
    pub(in crate::serve) async fn whole(&self, mut vm: Vm) -> Vm {
        let guest = self.guest(vm.vmid);
        if let Ok(config) = self.host.backend.guest_config(&guest, ConfigView::Current).await {
            let known = configured_addresses(GuestKind::Qemu, &config);
            vm.ip = known.iter().find(|found| found.is_reachable()).map(|found| found.address);
        }
        if vm.status == "stopped" {
            return vm;
        }
        if let Ok(status) = self.host.backend.guest_status(&guest).await {
            vm.pid = status.get("pid").and_then(Value::as_u64);
            let of = |key: &str| status.get(key).and_then(Value::as_str);
            let told = of("qmpstatus").filter(|told| *told == "paused").or(of("status"));
            vm.status = told.unwrap_or("unknown").to_owned();
        }
        vm
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_of_hosts() {
        for good in ["web", "web-1.example.org", "100"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", "-web", "web-", "we b", "a..b", "../etc", "ä", &"a".repeat(64)] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_vm_without_a_name_is_called_by_its_number() {
        let row = json!({"vmid": 100, "name": "VM 100", "status": "stopped", "cpus": 2.0, "maxmem": 1_073_741_824_u64});
        let vm = vm_of(&row).unwrap();
        assert_eq!((vm.name.as_str(), vm.cpus, vm.memory_mb), ("100", 2, 1024));
        assert_eq!(vm_of(&json!({"name": "web"})), None);
    }
}
