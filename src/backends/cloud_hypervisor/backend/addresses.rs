//! What a configuration gets that says less than a VM needs: MAC addresses, a drive for cloud-init, and on networks of
//! our own, where nobody answers DHCP, an address.
//!
//! All of it is written into the configuration as if it had been said, so that it is seen, stays, and can be changed.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions},
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    Local,
    network::cards,
    volumes::{STORAGE, volume_of},
};
use crate::{
    backends::cloud_hypervisor::{
        host::Resolver,
        mapping::{SeedFacts, is_seed},
        state::{Config, NetworkRow, Vm},
    },
    model::{
        Class, Error, Hint, PropertyString, Result, Vmid,
        config::{QemuConfig, qemu::IpConfig},
        is_disk_key,
    },
};

/// Keys that are for cloud-init alone: who gives one wants a seed.
const CLOUD_INIT: [&str; 8] =
    ["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"];
/// Where its drive goes: to Proxmox's place for it, or the next one that is free.
const DRIVES: [&str; 6] = ["ide2", "ide3", "ide0", "ide1", "sata0", "sata1"];

/// As long as this lives, nobody else on this host chooses an address.
pub(super) struct Alone {
    _held: File,
}

/// Whether a configuration has a drive for cloud-init.
fn has_seed(config: &Config) -> bool {
    let drives = config.iter().filter(|(key, _)| is_disk_key(key) || *key == "cdrom");
    drives.map(|(_, value)| PropertyString::lenient(value)).any(|drive| is_seed(volume_of(&drive)))
}

/// Gives a configuration that speaks of cloud-init the drive it lacks.
fn add_seed_drive(config: &mut Config) {
    let says = |key: &str| {
        let ip = key.strip_prefix("ipconfig").is_some_and(|n| n.parse::<u8>().is_ok());
        ip || CLOUD_INIT.contains(&key)
    };
    if has_seed(config) || !config.keys().any(|key| says(key)) {
        return;
    }
    let free = |key: &&&str| !config.contains_key(**key) && (**key != "ide2" || !config.contains_key("cdrom"));
    if let Some(key) = DRIVES.iter().find(free) {
        config.insert((*key).to_owned(), format!("{STORAGE}:cloudinit,media=cdrom"));
    }
}

impl NetworkRow {
    /// The bits that say which network it is.
    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ address.to_bits()) & self.mask() == 0
    }

    /// The addresses that guests may have, lowest first.
    fn hosts(&self) -> impl Iterator<Item = Ipv4Addr> {
        let network = self.address.to_bits() & self.mask();
        (network + 1..(network | !self.mask())).map(Ipv4Addr::from_bits).filter(|address| *address != self.address)
    }

    /// An address of it as it stands in a configuration.
    fn ip_config(&self, address: Ipv4Addr) -> String {
        let gateway = if self.nat { format!(",gw={}", self.address) } else { String::new() };
        format!("ip={address}/{}{gateway}", self.prefix)
    }
}

/// The IPv4 address of an `ipconfig[n]`.
pub(super) fn address_of(text: &str) -> Option<Ipv4Addr> {
    let ip = IpConfig::lenient(text);
    ip.text("ip")?.split('/').next()?.parse().ok()
}

/// The addresses of a configuration by its keys.
fn addresses(config: &Config) -> impl Iterator<Item = (&str, Ipv4Addr)> {
    let keys = config.iter().filter(|(key, _)| key.starts_with("ipconfig"));
    keys.filter_map(|(key, value)| Some((key.as_str(), address_of(value)?)))
}

/// Gives cards on these networks addresses that nobody else has: those without one; those whose address we gave them on
/// another network; of a copy also those whose address somebody has.
fn give(config: &mut Config, networks: &[NetworkRow], others: &BTreeMap<Ipv4Addr, String>, copy: bool) -> Result<()> {
    if !has_seed(config) {
        return Ok(());
    }
    let ours = |text: &str| {
        let address = address_of(text);
        networks.iter().find(|network| address.is_some_and(|address| network.ip_config(address) == text))
    };
    let wanting: Vec<(String, &NetworkRow)> = cards(config)
        .filter_map(|(key, net)| {
            let network = networks.iter().find(|network| net.text("bridge") == Some(&network.name))?;
            let key = format!("ipconfig{}", key.strip_prefix("net")?);
            let wants = config.get(&key).is_none_or(|text| {
                let taken = address_of(text).is_some_and(|ip| network.contains(ip) && others.contains_key(&ip));
                (copy && taken) || ours(text).is_some_and(|of| of.name != network.name)
            });
            wants.then_some((key, network))
        })
        .collect();
    for (key, network) in wanting {
        let own: Vec<Ipv4Addr> = addresses(config).filter(|(have, _)| *have != key).map(|(_, ip)| ip).collect();
        let free = |ip: &Ipv4Addr| !others.contains_key(ip) && !own.contains(ip);
        let none = || Error::conflict(format!("network `{}` has no free address left", network.name));
        let address = network.hosts().find(free).ok_or_else(none)?;
        config.insert(key, network.ip_config(address));
    }
    Ok(())
}

/// Refuses addresses on networks of ours that are another's.
fn refuse_taken(config: &Config, networks: &[NetworkRow], others: &BTreeMap<Ipv4Addr, String>) -> Result<()> {
    for (key, address) in addresses(config) {
        let Some(network) = networks.iter().find(|network| network.contains(address)) else { continue };
        let whose = match others.get(&address) {
            _ if address == network.address => "the host",
            Some(other) => other,
            None => continue,
        };
        let text = format!("{key}: {address} on network `{}` is the address of {whose}", network.name);
        return Err(Error::conflict(text).with_hint(Hint::Text(format!("leave {key} out to get one that is free"))));
    }
    Ok(())
}

impl Local {
    /// Fills in what a new VM's configuration leaves out; of a copy everything that is to be another. What is chosen is
    /// nobody else's once the configuration is stored, if that happens while the answer lives.
    ///
    /// # Errors
    /// [`Class::Conflict`] for an address on a network of ours that another VM has, or where none is left.
    pub(super) fn complete(&self, config: &mut Config, copy: bool) -> Result<Alone> {
        let alone = self.alone()?;
        self.fresh_macs(config, copy)?;
        add_seed_drive(config);
        let (networks, others) = (self.state().networks()?, self.addresses(None)?);
        give(config, &networks, &others, copy)?;
        refuse_taken(config, &networks, &others)?;
        Ok(alone)
    }

    /// Refuses addresses on networks of ours that another VM has, of the parameters of a create.
    pub(super) fn refuse_addresses(&self, params: &Config) -> Result<()> {
        if addresses(params).next().is_none() {
            return Ok(());
        }
        refuse_taken(params, &self.state().networks()?, &self.addresses(None)?)
    }

    /// Gives the cards of a VM that is to start the addresses that they lack.
    pub(super) fn give_addresses(&self, vmid: Vmid, config: &mut Config) -> Result<Option<Alone>> {
        let networks = self.state().networks()?;
        if networks.is_empty() {
            return Ok(None);
        }
        let alone = self.alone()?;
        give(config, &networks, &self.addresses(Some(vmid))?, false)?;
        Ok(Some(alone))
    }

    /// The addresses of all VMs but this one, with whose they are.
    fn addresses(&self, but: Option<Vmid>) -> Result<BTreeMap<Ipv4Addr, String>> {
        let mut all = BTreeMap::new();
        for (vm, intent) in self.state().vms()? {
            if Some(vm.vmid) == but {
                continue;
            }
            let whose = format!("{} ({})", vm.name(), vm.vmid);
            let to_come = intent.and_then(|intent| intent.work.settings).map(|settings| settings.config);
            for config in [vm.settings.config.clone(), vm.settings.to_come()].iter().chain(&to_come) {
                all.extend(addresses(config).map(|(_, address)| (address, whose.clone())));
            }
        }
        Ok(all)
    }

    fn alone(&self) -> Result<Alone> {
        let path = self.options().state.join("addresses.lock");
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.options().state)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(Alone { _held: file })
        };
        open().map_err(|error: std::io::Error| {
            Error::new(Class::Failed, format!("cannot lock {}", path.display())).with_source(error)
        })
    }

    /// What a seed needs beside the configuration.
    pub(super) fn seed_facts(&self, vm: &Vm, config: &QemuConfig) -> Result<SeedFacts> {
        let Resolver { nameservers, searchdomains } = Resolver::of_this_host();
        let custom = self.custom_texts(config)?;
        Ok(SeedFacts { uuid: vm.uuid.to_string(), nameservers, searchdomains, custom })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn network(name: &str, address: [u8; 4], prefix: u8, nat: bool) -> NetworkRow {
        NetworkRow {
            name: name.into(),
            uuid: Uuid::nil(),
            address: address.into(),
            prefix,
            nat,
            leaving: false,
            boot_id: None,
            created: Timestamp::UNIX_EPOCH,
        }
    }

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn whoever_speaks_of_cloud_init_gets_a_drive_for_it() {
        let with = |pairs: &[(&str, &str)]| {
            let mut config = config(pairs);
            add_seed_drive(&mut config);
            config.iter().find(|(_, value)| value.starts_with("local:cloudinit")).map(|(key, _)| key.clone())
        };
        assert_eq!(with(&[("ciuser", "admin")]).as_deref(), Some("ide2"));
        assert_eq!(with(&[("ipconfig3", "ip=dhcp"), ("ide2", "none,media=cdrom")]).as_deref(), Some("ide3"));
        assert_eq!(with(&[("sshkeys", "x"), ("cdrom", "none")]).as_deref(), Some("ide3"));
        assert_eq!(with(&[("name", "web"), ("net0", "virtio,bridge=a"), ("scsi0", "local:1")]), None);
        assert_eq!(with(&[("ciuser", "admin"), ("scsi1", "local:100/vm-100-cloudinit.raw")]), None);
    }

    #[test]
    fn cards_on_networks_of_ours_get_the_lowest_free_address() {
        let networks = [network("lan", [10, 9, 0, 1], 24, true), network("island", [10, 8, 0, 1], 30, false)];
        let others: BTreeMap<Ipv4Addr, String> = [([10, 9, 0, 2].into(), "db (101)".to_owned())].into();
        let seed = ("ide2", "local:cloudinit,media=cdrom");
        let given = |pairs: &[(&str, &str)], copy: bool| {
            let mut config = config(pairs);
            give(&mut config, &networks, &others, copy).map(|()| config)
        };
        let two =
            [seed, ("net0", "virtio=M,bridge=lan"), ("net1", "virtio=M,bridge=lan"), ("net2", "virtio,bridge=vmbr0")];
        let got = given(&two, false).unwrap();
        assert_eq!(got["ipconfig0"], "ip=10.9.0.3/24,gw=10.9.0.1");
        assert_eq!(got["ipconfig1"], "ip=10.9.0.4/24,gw=10.9.0.1");
        assert!(!got.contains_key("ipconfig2"));
        // Without a seed nobody would read it.
        assert!(!given(&two[1..], false).unwrap().contains_key("ipconfig0"));
        // What was said stays, even what is taken; only a copy gets another, and so does who has moved.
        let said = [seed, two[1], ("ipconfig0", "ip=10.9.0.2/24,gw=10.9.0.1")];
        assert_eq!(given(&said, false).unwrap()["ipconfig0"], said[2].1);
        assert_eq!(given(&said, true).unwrap()["ipconfig0"], "ip=10.9.0.3/24,gw=10.9.0.1");
        let moved = [seed, ("net0", "virtio=M,bridge=island"), said[2]];
        assert_eq!(given(&moved, false).unwrap()["ipconfig0"], "ip=10.8.0.2/30");
        let dhcp = [seed, two[1], ("ipconfig0", "ip=dhcp")];
        assert_eq!(given(&dhcp, true).unwrap()["ipconfig0"], "ip=dhcp");
        // A network of two addresses has one for guests.
        let full = [seed, ("net0", "virtio,bridge=island"), ("net1", "virtio,bridge=island")];
        assert!(given(&full, false).unwrap_err().message().contains("`island` has no free address"));
    }
}
