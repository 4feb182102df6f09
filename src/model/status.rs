//! How a guest is at this moment, as its node tells.
//!
//! More than the cluster's list has ([`Guest`](super::Guest)), and fresh.

use super::{Vmid, rows::rows};

rows! {
    /// The answer of `GET /nodes/{node}/{qemu|lxc}/{vmid}/status/current`, and a row of the list one level up. What only
    /// one kind of guest has, or only a guest that runs, is absent elsewhere.
    GuestStatus {
        /// Its number.
        vmid: need Vmid,
        /// `running` or `stopped`; a paused VM runs, see [`qmpstatus`](Self::qmpstatus).
        status: need String,
        /// Its name.
        name: text,
        /// Of a VM: what the machine says, `running`, `paused`, `prelaunch`, …
        qmpstatus: text,
        /// What holds it: `backup`, `migrate`, …
        lock: text,
        /// Its tags.
        tags: tags,
        /// Whether it is a template.
        template: flag,
        /// Share of its processors in use, 0 to 1.
        cpu: real,
        /// How many processors it has.
        cpus: real,
        /// Memory in use, bytes.
        mem: whole,
        /// Memory it may use, bytes.
        maxmem: whole,
        /// Memory that its processes hold on the node, bytes.
        memhost: whole,
        /// Of a container: swap in use, bytes.
        swap: whole,
        /// Of a container: swap it may use, bytes.
        maxswap: whole,
        /// Of a VM: memory that the balloon leaves it, bytes.
        balloon: whole,
        /// Disk in use, bytes; always 0 for VMs.
        disk: whole,
        /// Size of its first disk, bytes.
        maxdisk: whole,
        /// Read from its disks since it started, bytes.
        diskread: whole,
        /// Written to its disks since it started, bytes.
        diskwrite: whole,
        /// Received from the network since it started, bytes.
        netin: whole,
        /// Sent to the network since it started, bytes.
        netout: whole,
        /// Seconds since it started.
        uptime: whole,
        /// Its process on the node.
        pid: whole,
        /// Percent of the last seconds in which some of its tasks waited for a processor; a text of a container.
        pressurecpusome: real,
        /// Percent of the last seconds in which all of its tasks waited for a processor.
        pressurecpufull: real,
        /// The same for input and output: some tasks.
        pressureiosome: real,
        /// The same for input and output: all tasks.
        pressureiofull: real,
        /// The same for memory: some tasks.
        pressurememorysome: real,
        /// The same for memory: all tasks.
        pressurememoryfull: real,
        /// Of a VM: whether the guest agent is configured.
        agent: flag,
        /// Of a VM: the machine type that runs.
        #[serde(rename = "running-machine")]
        running_machine: text,
        /// Of a VM: the QEMU version that runs.
        #[serde(rename = "running-qemu")]
        running_qemu: text,
        /// How high availability looks after it.
        ha: some HaState,
    }

    /// High availability's part in a guest's status.
    HaState {
        /// Whether it is looked after.
        managed: flag,
        /// `started`, `stopped`, …: the state that is asked for.
        state: text,
        /// The group it is in.
        group: text,
    }
}

impl GuestStatus {
    /// Whether it is paused: its processors stand still and it holds its memory.
    pub fn is_paused(&self) -> bool {
        matches!(self.qmpstatus.as_deref(), Some("paused" | "suspended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_odd_types_and_keeps_the_rest() {
        let json = r#"{"vmid":"200","status":"running","pressurecpusome":"0.30","agent":"1","ha":{"managed":0},"cpus":"2","name":null,
                       "nics":{"tap100i0":{"netin":1}}}"#;
        let status: GuestStatus = serde_json::from_str(json).unwrap();
        assert_eq!((status.pressurecpusome, status.agent, status.cpus), (Some(0.3), Some(true), Some(2.0)));
        assert_eq!(status.ha.as_ref().unwrap().managed, Some(false));
        assert_eq!(status.other.keys().collect::<Vec<_>>(), ["nics"]);
        assert!(!status.is_paused());
    }
}
