//! What the backend of this host can do, and what it cannot with the reason and the way out.

use crate::{
    backends::{Action, Capabilities, Support},
    model::{Error, GuestKind, Hint, Result},
};

const NO_CONTAINERS: Support = Support::No {
    reason: "Cloud Hypervisor runs virtual machines, not containers",
    instead: "use a virtual machine, or a context of a Proxmox cluster",
};

const NO_OTHER_NODE: Support = Support::No {
    reason: "this host is no cluster: there is no other node that a machine could move to",
    instead: "make a copy of its disks there, or use a context of a Proxmox cluster",
};

const NO_STORAGE: Support = Support::No {
    reason: "disks of this host's machines are files beside them, and do not move yet",
    instead: "make a copy of the machine (`pvectl vm clone`), or add the file to another (`pvectl vm add disk --path`)",
};

/// `vzdump` and its archives are Proxmox's.
const NO_BACKUPS: Support = Support::No {
    reason: "backups (vzdump) are made by Proxmox, and this host is none",
    instead: "keep a copy: `pvectl vm snapshot create`, or a full `pvectl vm clone`",
};

const NO_AGENT: &str = "VMs of this host are not asked by an agent";

const fn no_agent(action: Action) -> (GuestKind, Action, Support) {
    (GuestKind::Qemu, action, Support::No { reason: NO_AGENT, instead: "use `pvectl vm ssh`, or its console" })
}

/// What every host with Cloud Hypervisor can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    backend: "cloud-hypervisor",
    here: true,
    absent: &[
        ("agent", NO_AGENT),
        ("exec", NO_AGENT),
        ("file", NO_AGENT),
        ("cloudinit", "the cloud-init drive of a VM of this host is made at each start"),
        ("vnc", NO_DISPLAY),
        ("spice", NO_DISPLAY),
        ("sendkey", "Cloud Hypervisor has no keyboard"),
        ("monitor", "Cloud Hypervisor has no monitor"),
    ],
    without: &[(GuestKind::Lxc, NO_CONTAINERS)],
    exceptions: &[
        (GuestKind::Qemu, Action::Backup, NO_BACKUPS),
        (GuestKind::Qemu, Action::Restore, NO_BACKUPS),
        (GuestKind::Qemu, Action::Migrate, NO_OTHER_NODE),
        (GuestKind::Qemu, Action::MoveDisk, NO_STORAGE),
        (GuestKind::Qemu, Action::MoveVolume, NO_STORAGE),
        no_agent(Action::AgentExec),
        no_agent(Action::AgentWrite),
        no_agent(Action::AgentFreeze),
        no_agent(Action::AgentThaw),
        no_agent(Action::AgentTrim),
        no_agent(Action::AgentPassword),
        (
            GuestKind::Qemu,
            Action::SendKey,
            Support::No { reason: "Cloud Hypervisor has no keyboard", instead: CONSOLE },
        ),
        (
            GuestKind::Qemu,
            Action::CloudInit,
            Support::No {
                reason: "the cloud-init drive of a VM of this host is made at each start",
                instead: "start it again",
            },
        ),
    ],
};

/// Something that Proxmox can and this backend cannot, beyond single actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// What follows `/nodes/{node}/qemu/{vmid}` (or, for `vzdump`, `/nodes/{node}`) in the path of Proxmox's API; what
    /// lies below is meant too.
    pub path: &'static str,
    /// Why not.
    pub reason: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

const NO_DISPLAY: &str = "Cloud Hypervisor has no display";
const CONSOLE: &str = "use the serial console, `pvectl vm console`";
const NO_REMOTE: &str = "moving a machine between clusters needs Proxmox on both sides";

const fn no(path: &'static str, reason: &'static str, instead: &'static str) -> Feature {
    Feature { path, reason, instead }
}

/// Calls of Proxmox's API that are refused.
pub const UNSUPPORTED: &[Feature] = &[
    no("/vncproxy", NO_DISPLAY, CONSOLE),
    no("/vncwebsocket", NO_DISPLAY, CONSOLE),
    no("/spiceproxy", NO_DISPLAY, CONSOLE),
    no("/sendkey", "Cloud Hypervisor has no keyboard", CONSOLE),
    no("/firewall", "there is no firewall for local machines", "use nftables on the host, or the guest's own"),
    no("/dbus-vmstate", "it is a part of QEMU's migration", "use `pvectl vm snapshot create --memory`"),
    no("/mtunnel", NO_REMOTE, "copy the machine's disks"),
    no("/mtunnelwebsocket", NO_REMOTE, "copy the machine's disks"),
    no("/remote_migrate", NO_REMOTE, "copy the machine's disks"),
];

/// Whether a call below a machine's path can be made.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) with the reason and the way out.
pub fn require(path: &str) -> Result<()> {
    let below = |feature: &&Feature| {
        path.strip_prefix(feature.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match UNSUPPORTED.iter().find(below) {
        Some(feature) => Err(Error::usage(feature.reason).with_hint(Hint::Text(feature.instead.to_owned()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backends::ACTIONS, contract::embedded, model::Class};

    #[test]
    fn containers_are_refused_whatever_is_to_be_done_to_them() {
        for spec in ACTIONS {
            let error = CAPABILITIES.require(GuestKind::Lxc, spec.action).unwrap_err();
            assert_eq!(error.class(), Class::Usage);
            assert!(error.message().contains("not containers"), "{error}");
        }
    }

    #[test]
    fn virtual_machines_start_here() {
        CAPABILITIES.require(GuestKind::Qemu, Action::Start).unwrap();
    }

    #[test]
    fn what_is_refused_exists_on_proxmox() {
        for feature in UNSUPPORTED {
            let whole = format!("/nodes/{{node}}/qemu/{{vmid}}{}", feature.path);
            let below = |path: &str| path == whole || path.starts_with(&format!("{whole}/"));
            assert!(embedded().endpoints().any(|endpoint| below(&endpoint.path)), "{whole}");
        }
        assert!(require("/vncproxy").unwrap_err().message().contains("no display"));
        assert!(require("/firewall/rules/0").is_err());
        require("/status/start").unwrap();
        require("/firewalls").unwrap();
    }
}
