//! What help says about parameters: the built-in description has no prose.
//!
//! A line for those that people give; of the others, what the declaration tells.

use crate::contract::{Kind, Schema};

/// The sort of thing (`""` for all), the parameter, and what it is.
const HELP: &[(&str, &str, &str)] = &[
    ("user", "groups", "The groups that it is in; with --append, further ones"),
    ("user", "append", "Add the groups to those that it is in"),
    ("user", "enable", "Whether it may log in"),
    ("user", "expire", "When it ends: 90d, 2027-12-31 or never"),
    ("user", "keys", "Keys of the second factor (yubico)"),
    ("user", "password", "Of the realm `pve` only: @FILE, - for stdin, or asked for"),
    ("", "email", "Address for notifications"),
    ("", "firstname", "First name"),
    ("", "lastname", "Last name"),
    ("role", "privs", "The privileges; with --append, further ones"),
    ("role", "append", "Add the privileges to those that it has"),
    ("token", "expire", "When it ends: 90d, 2027-12-31 or never"),
    ("token", "privsep", "Only what is granted to itself, at most what its user may; the default"),
    ("token", "regenerate", "Give it a new secret; the old one is worth nothing any more"),
    ("pool", "storage", "Storages to put into it"),
    ("pool", "vms", "Guests to put into it"),
    ("pool", "allow-move", "Take guests out of the pool that they are in"),
    ("storage", "type", "What sort of storage"),
    ("storage", "content", "What may be in it: images,rootdir,iso,vztmpl,backup,snippets,import"),
    ("storage", "nodes", "Only on these nodes"),
    ("storage", "shared", "Every node sees the same content; true of nfs, cifs, ceph by themselves"),
    ("storage", "disable", "Take it out of use"),
    ("storage", "path", "The directory (dir, btrfs)"),
    ("storage", "server", "The server's address (nfs, cifs, pbs, …)"),
    ("storage", "export", "The server's directory (nfs)"),
    ("storage", "share", "The server's share (cifs)"),
    ("storage", "username", "Whom to log in as (cifs, pbs, …)"),
    ("storage", "password", "Its password: @FILE, - for stdin, or asked for"),
    ("storage", "datastore", "The datastore of the backup server (pbs)"),
    ("storage", "namespace", "The namespace in the datastore (pbs)"),
    ("storage", "fingerprint", "The backup server's certificate (pbs)"),
    ("storage", "encryption-key", "Key for backups: @FILE, - for stdin (pbs)"),
    ("storage", "pool", "The pool (zfspool, rbd)"),
    ("storage", "vgname", "The volume group (lvm, lvmthin)"),
    ("storage", "thinpool", "The thin pool (lvmthin)"),
    ("storage", "prune-backups", "Which backups are kept: keep-last=3,keep-daily=7"),
    ("storage", "mkdir", "Make the directory"),
    ("storage", "is_mountpoint", "Only use it while something is mounted there"),
    ("storage", "options", "Options for mount"),
    ("storage", "bwlimit", "Limits in KiB/s: default=…,restore=…,clone=…,migration=…,move=…"),
    ("storage", "preallocation", "How disks are made"),
    ("storage", "format", "The format of disks"),
    ("storage", "krbd", "Use the kernel's rbd (rbd)"),
    ("storage", "monhost", "Addresses of monitors (rbd, cephfs)"),
    ("storage", "sparse", "Disks take room when they are written (zfspool)"),
    ("realm", "type", "What sort of realm"),
    ("realm", "default", "Choose it when somebody logs in"),
    ("realm", "tfa", "The second factor that everybody needs"),
    ("realm", "server1", "The server (ldap, ad)"),
    ("realm", "server2", "A second one (ldap, ad)"),
    ("realm", "domain", "The domain (ad)"),
    ("realm", "base_dn", "Where users are (ldap)"),
    ("realm", "user_attr", "The attribute with a user's name (ldap)"),
    ("realm", "bind_dn", "Whom to search as (ldap, ad)"),
    ("realm", "password", "The password for that: @FILE, - for stdin, or asked for"),
    ("realm", "issuer-url", "The server (openid)"),
    ("realm", "client-id", "This cluster's id there (openid)"),
    ("realm", "client-key", "Its key: @FILE, - for stdin, or asked for (openid)"),
    ("realm", "autocreate", "Make users when they first log in (openid)"),
    ("realm", "verify", "Check the server's certificate"),
    ("backup-job", "schedule", "When: daily, 'mon..fri 22:00', '*/6:00'"),
    ("backup-job", "storage", "Where backups go"),
    ("backup-job", "vmid", "These guests"),
    ("backup-job", "all", "All guests"),
    ("backup-job", "pool", "The guests of this pool"),
    ("backup-job", "exclude", "Not these guests; with --all"),
    ("backup-job", "enabled", "Whether it runs"),
    ("backup-job", "mode", "While the guest runs, is paused, or is off"),
    ("backup-job", "compress", "How backups are compressed"),
    ("backup-job", "prune-backups", "Which backups are kept: keep-last=3,keep-daily=7"),
    ("backup-job", "notes-template", "Notes on each backup: {{guestname}} on {{node}}"),
    ("backup-job", "repeat-missed", "Run it later when its time was missed"),
    ("backup-job", "protected", "Keep its backups from being pruned"),
    ("backup-job", "mailto", "Who gets mail"),
    ("backup-job", "bwlimit", "At most so many KiB/s"),
    ("backup-job", "node", "Only on this node"),
    ("replication", "target", "The node that gets the copy"),
    ("replication", "source", "The node that the guest is on; for the server's own use"),
    ("replication", "schedule", "When: */15, hourly, 'mon..fri 22:00'"),
    ("replication", "rate", "At most so many MB/s"),
    ("replication", "disable", "Take it out of use"),
    ("replication", "remove_job", "Mark it for removal; `replication delete` does that"),
    ("replication", "keep", "Leave the copy on the target"),
    ("replication", "force", "Remove the job alone, and leave the copy and its snapshots"),
    ("ha-resource", "state", "What the cluster keeps it in"),
    ("ha-resource", "max_restart", "How often a start is tried on a node"),
    ("ha-resource", "max_relocate", "How often another node is tried"),
    ("ha-resource", "failback", "Move it back when a better node is there again"),
    ("ha-resource", "group", "Of Proxmox VE 8 and older; now a rule"),
    ("ha-resource", "purge", "Take it out of rules too"),
    ("ha-rule", "type", "What sort of rule"),
    ("ha-rule", "resources", "About whom: vm:100,ct:110"),
    ("ha-rule", "nodes", "Where: pve1:2,pve2:1, the number being how much it is preferred"),
    ("ha-rule", "strict", "Nowhere else, even if none of the nodes is there"),
    ("ha-rule", "affinity", "Together, or apart"),
    ("ha-rule", "disable", "Take it out of use"),
    ("firewall-rule", "type", "Incoming, outgoing, passing through, or a security group, whose name is the action"),
    ("firewall-rule", "action", "ACCEPT, DROP, REJECT, or the name of a security group"),
    ("firewall-rule", "macro", "What a service needs: SSH, HTTPS, …; see `firewall macros`"),
    ("firewall-rule", "enable", "Whether it counts; a new rule is off if nothing is said"),
    ("firewall-rule", "proto", "The protocol: tcp, udp, icmp, …"),
    ("firewall-rule", "source", "From where: addresses, networks, an alias, +SET; with commas"),
    ("firewall-rule", "dest", "To where; as --source"),
    ("firewall-rule", "dport", "To which ports: 80,443 or 8000:8100"),
    ("firewall-rule", "sport", "From which ports"),
    ("firewall-rule", "iface", "On this network card alone: net0 of a guest, vmbr0 of a node"),
    ("firewall-rule", "icmp-type", "The type of ICMP"),
    ("firewall-rule", "log", "Log what it fits on"),
    ("firewall-options", "enable", "Whether it filters"),
    ("firewall-options", "policy_in", "What becomes of what comes in and fits no rule; DROP if nothing is said"),
    ("firewall-options", "policy_out", "The same of what goes out; ACCEPT if nothing is said"),
    ("firewall-options", "policy_forward", "The same of what passes through a node"),
    ("firewall-options", "dhcp", "Let it get its address by DHCP"),
    ("firewall-options", "ndp", "Let it find its neighbours (IPv6)"),
    ("firewall-options", "radv", "Let it announce routes (IPv6)"),
    ("firewall-options", "macfilter", "Take nothing from other hardware addresses than its own"),
    ("firewall-options", "ipfilter", "Take nothing from other addresses than its own"),
    ("firewall-options", "log_level_in", "What is logged of what comes in"),
    ("firewall-options", "log_level_out", "What is logged of what goes out"),
    ("firewall-options", "nftables", "Filter by nftables"),
    ("firewall-options", "log_ratelimit", "How much is logged at most"),
    ("firewall-ipset", "force", "With all its entries"),
    ("firewall-entry", "nomatch", "An exception: this is not in the set"),
    ("firewall-alias", "cidr", "The address, or network, that it stands for"),
    ("firewall-alias", "rename", "What it is to be called"),
    ("network", "type", "What sort of interface"),
    ("network", "cidr", "Its address and the bits of its network: 192.0.2.1/24"),
    ("network", "gateway", "The way out"),
    ("network", "cidr6", "The same for IPv6"),
    ("network", "gateway6", "The way out for IPv6"),
    ("network", "autostart", "Bring it up when the node starts"),
    ("network", "bridge_ports", "The interfaces that the bridge is on: 'eno1 eno2'"),
    ("network", "bridge_vlan_aware", "Guests on the bridge may have VLANs"),
    ("network", "slaves", "The interfaces that the bond is made of"),
    ("network", "bond_mode", "How the bond works"),
    ("network", "vlan-id", "The number of the VLAN"),
    ("network", "vlan-raw-device", "The interface that the VLAN is on"),
    ("network", "mtu", "The largest packet"),
    ("network", "comments", "What people should know of it"),
    ("", "map", "Where it is: node=pve1,path=0000:01:00.0,id=10de:2204. Repeatable, once for each node"),
    ("", "mdev", "It is a mediated device"),
    ("", "live-migration-capable", "A guest may take it along while it runs"),
    ("", "description", "What people should know of it"),
    ("", "comment", "What people should know of it"),
    ("", "digest", "Only if it is unchanged since this was read"),
];

/// What help says, and whether it is one that people give.
pub(super) fn help(noun: &str, name: &str, schema: &Schema) -> (String, bool) {
    let is_it = |(of, key, _): &&(&str, &str, &str)| *key == name && (*of == noun || of.is_empty());
    match HELP.iter().find(is_it) {
        Some((.., help)) => ((*help).to_owned(), true),
        None => (declared(schema), false),
    }
}

/// What the declaration says.
fn declared(schema: &Schema) -> String {
    let number = |limit: Option<f64>| limit.map(|limit| limit.to_string());
    let what = match (schema.kind, number(schema.minimum), number(schema.maximum)) {
        (Kind::Integer | Kind::Number, Some(least), Some(most)) => format!("A number from {least} to {most}"),
        (Kind::Integer | Kind::Number, Some(least), None) => format!("A number from {least}"),
        (Kind::Integer | Kind::Number, ..) => "A number".to_owned(),
        (Kind::Boolean, ..) => "Yes or no".to_owned(),
        (Kind::Array, ..) => "Repeatable".to_owned(),
        _ if schema.is_list() => "A list".to_owned(),
        _ if schema.values.is_empty() => "A text".to_owned(),
        _ => "One of these words".to_owned(),
    };
    match schema.instance_types.as_slice() {
        [] => what,
        kinds => format!("{what} (of {})", kinds.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::HELP;
    use crate::{contract::embedded, model::Method, ops::RESOURCES};

    #[test]
    fn help_is_about_parameters_that_there_are() {
        for (noun, key, _) in HELP {
            let mut sorts = RESOURCES.iter().filter(|of| noun.is_empty() || of.noun == *noun).peekable();
            assert!(sorts.peek().is_some(), "`{noun}` is nothing");
            let has = |method, of: &crate::ops::Resource| {
                of.reached().any(|(_, paths)| {
                    let path = if method == Method::Post { paths.made } else { paths.one };
                    embedded().endpoint(method, path).is_some_and(|endpoint| endpoint.parameters.get(key).is_some())
                })
            };
            let known = sorts.any(|of| Method::ALL.into_iter().any(|method| has(method, of)));
            assert!(known, "{noun} has no `{key}`");
        }
    }
}
