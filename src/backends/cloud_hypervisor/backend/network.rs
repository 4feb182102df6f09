//! Network cards: a tap on a bridge for each, made before the VMM that opens it and gone after it; MAC addresses.
//!
//! How a card looks to the guest is the mapping's; how a tap is made is the host's.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::geteuid;
use uuid::Uuid;

use super::Local;
use crate::{
    backends::{
        Action, Step,
        cloud_hypervisor::{
            failpoint::{Point, reach},
            host::{
                facts::may_change_network,
                network::{self, Link, Mark, Network, bridge_to_join, links_now, tap_name},
            },
            mapping,
            state::{Config, Vm},
        },
    },
    model::{
        Class, Error, Hint, PropertyString, Result, Vmid,
        config::{QemuConfig, qemu::Net},
    },
};

/// The first half of fresh addresses: Proxmox's own.
const PREFIX: &str = "BC:24:11";

/// The number of a network card's key: 0 of `net0`.
fn number(key: &str) -> Option<u8> {
    let digits = key.strip_prefix("net")?;
    digits.parse().ok().filter(|n: &u8| n.to_string() == digits)
}

/// The name of the tap behind a card.
fn tap_of(vmid: Vmid, key: &str) -> Result<String> {
    let n = number(key).ok_or_else(|| Error::usage(format!("`{key}` is no network card")))?;
    Ok(tap_name(vmid.get(), n))
}

/// Whose the taps of a VM are.
fn mark(vm: &Vm) -> Result<Mark> {
    Mark::new(&vm.uuid.to_string())
}

/// The cards of a configuration by their keys.
pub(super) fn cards(config: &Config) -> impl Iterator<Item = (&str, Net)> {
    config.iter().filter(|(key, _)| number(key).is_some()).map(|(key, value)| (key.as_str(), Net::lenient(value)))
}

/// What a card asks of its tap.
fn wanted(vm: &Vm, key: &str, net: &Net, bridge: &Link) -> Result<network::Tap> {
    // A cable that is out is one that leads nowhere: a VMM sets its tap up again whenever the guest resets.
    let down = net.link_down()?.unwrap_or(false);
    let queues = net.queues()?.unwrap_or(0).min(vm.processors());
    Ok(network::Tap {
        name: tap_of(vm.vmid, key)?,
        owner: mark(vm)?,
        uid: geteuid().as_raw(),
        queues: u16::try_from(queues).unwrap_or(u16::MAX),
        bridge: (!down).then(|| bridge.name.clone()),
        vlan: net.tag()?.filter(|_| !down).and_then(|tag| u16::try_from(tag).ok()),
        trunks: if down { Vec::new() } else { mapping::trunks(key, net)? },
        mtu: Some(mtu(net, bridge)?),
        up: !down,
    })
}

/// The longest packet of a card, in bytes: that of its bridge unless it says less.
fn mtu(net: &Net, bridge: &Link) -> Result<u32> {
    Ok(match net.mtu()? {
        None | Some(1) => bridge.mtu,
        Some(mtu) => u32::try_from(mtu).unwrap_or(u32::MAX),
    })
}

/// The bridge that a card asks for, and whether it wants VLANs there.
fn bridge_of(key: &str, net: &Net) -> Result<(String, bool)> {
    mapping::check_net(key, net)?;
    let vlans = net.tag()?.is_some() || !mapping::trunks(key, net)?.is_empty();
    Ok((net.bridge()?.unwrap_or_default(), vlans))
}

/// The bridge that a card is to be on, and can be.
fn bridge<'l>(links: &'l [Link], key: &str, net: &Net) -> Result<&'l Link> {
    let (name, vlans) = bridge_of(key, net)?;
    let bridge = bridge_to_join(links, &name, vlans).map_err(|error| error.context(key))?;
    let mtu = mtu(net, bridge)?;
    if mtu > bridge.mtu {
        let text = format!("{key}: MTU '{mtu}' is bigger than the bridge MTU '{}'", bridge.mtu);
        let hint = format!("use mtu=1 for that of `{name}`, or give it more: `sudo ip link set {name} mtu {mtu}`");
        return Err(Error::usage(text).with_hint(Hint::Text(hint)));
    }
    Ok(bridge)
}

/// What the mapping is told of a tap.
fn fact(tap: &str, bridge: &Link) -> mapping::Tap {
    mapping::Tap { name: tap.to_owned(), bridge_mtu: u16::try_from(bridge.mtu).ok() }
}

impl Local {
    /// Makes the tap of a card, or brings the one that is there to what the card says now: bridge, VLANs, MTU, cable.
    /// `key` is `net0`.
    ///
    /// # Errors
    /// [`Class::NotFound`] without the bridge, [`Class::Conflict`] when a device of the tap's name is not this VM's,
    /// [`Class::Forbidden`] without the right to, [`Class::Usage`] for a card that cannot be.
    pub(super) async fn plug(&self, vm: &Vm, key: &str, net: &Net) -> Result<mapping::Tap> {
        let network = Network::open()?;
        self.raise_networks(&network, &[bridge_of(key, net)?.0]).await?;
        let links = network.links().await?;
        let bridge = bridge(&links, key, net)?;
        let tap = wanted(vm, key, net, bridge)?;
        check_tap(&links, key, &tap, bridge)?;
        if may_change_network() {
            network.ensure_tap(&tap).await?;
            reach(Point::TapMade);
        }
        Ok(fact(&tap.name, bridge))
    }

    /// Removes the tap of a card. One that is gone already, or that was prepared by somebody with more rights, is no
    /// error.
    ///
    /// # Errors
    /// [`Class::Conflict`] when it is not this VM's.
    pub(super) async fn unplug(&self, vm: &Vm, key: &str) -> Result<()> {
        let removed = Network::open()?.remove(&tap_of(vm.vmid, key)?, &mark(vm)?).await;
        unless_prepared(removed.map(drop))?;
        reach(Point::TapGone);
        Ok(())
    }

    /// Makes the taps of all cards of a configuration.
    pub(super) async fn plug_all(&self, vm: &Vm, config: &QemuConfig) -> Result<BTreeMap<u16, mapping::Tap>> {
        let mut taps = BTreeMap::new();
        for row in config.nets() {
            let (n, net) = row?;
            taps.insert(n, self.plug(vm, &format!("net{n}"), &net).await?);
        }
        Ok(taps)
    }

    /// The taps that the cards of a configuration have or would have; none is made. Networks of ours that they are on are.
    pub(super) async fn taps(&self, vm: &Vm, config: &QemuConfig) -> Result<BTreeMap<u16, mapping::Tap>> {
        let cards = config.nets().collect::<Result<Vec<_>>>()?;
        if cards.is_empty() {
            return Ok(BTreeMap::new());
        }
        let network = Network::open()?;
        let bridges = cards.iter().map(|(n, net)| Ok(bridge_of(&format!("net{n}"), net)?.0));
        self.raise_networks(&network, &bridges.collect::<Result<Vec<_>>>()?).await?;
        let links = network.links().await?;
        let fact = |(n, net): (u16, Net)| {
            let key = format!("net{n}");
            Ok((n, fact(&tap_of(vm.vmid, &key)?, bridge(&links, &key, &net)?)))
        };
        cards.into_iter().map(fact).collect()
    }

    /// Removes all taps that are this VM's, whatever its configuration says by now, and those that somebody died over
    /// while making them.
    pub(super) async fn unplug_all(&self, vm: &Vm) -> Result<()> {
        let (network, mark) = (Network::open()?, mark(vm)?);
        for (_, link) in network.marked().await?.into_iter().filter(|(whose, _)| *whose == mark) {
            unless_prepared(network.remove(&link.name, &mark).await.map(drop))?;
        }
        unless_prepared(network.remove_unfinished().await.map(drop))
    }

    /// Removes the taps of a VM that runs but those of the devices that its VMM has: what was made for a card that it never
    /// got, or that it let go of.
    pub(super) async fn unplug_others(&self, vm: &Vm, devices: &[String]) -> Result<()> {
        let (network, mark) = (Network::open()?, mark(vm)?);
        let kept: BTreeSet<String> = devices.iter().filter_map(|key| tap_of(vm.vmid, key).ok()).collect();
        for (_, link) in network.marked().await?.into_iter().filter(|(whose, _)| *whose == mark) {
            if !kept.contains(&link.name) {
                unless_prepared(network.remove(&link.name, &mark).await.map(drop))?;
            }
        }
        unless_prepared(network.remove_unfinished().await.map(drop))
    }

    /// Takes the links down whose cable is out: a VMM sets those up that it opens, at a reset too.
    pub(super) async fn pull_cables(&self, vm: &Vm) -> Result<()> {
        for (key, net) in cards(&vm.settings.config) {
            if net.link_down()?.unwrap_or(false) {
                Network::open()?.set_up(&tap_of(vm.vmid, key)?, &mark(vm)?, false).await?;
            }
        }
        Ok(())
    }

    /// Refuses cards that cannot be, before anything happens: of the parameters of a step, and of a VM that is to start.
    pub(super) fn refuse_cards(&self, step: &Step) -> Result<()> {
        let params: Config = step.params.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        if step.action == Action::Create {
            self.refuse_addresses(&params)?;
        }
        let starts = match step.action {
            // One that is made in the same plan is not there yet, and was looked at when that was.
            Action::Start => self.state().vm(step.guest.vmid).ok().filter(|vm| vm.process.is_none()),
            _ => None,
        };
        let config = starts.as_ref().map_or(params, |vm| vm.settings.to_come());
        let mut cards = cards(&config).peekable();
        if cards.peek().is_none() {
            return Ok(());
        }
        let links = links_now()?;
        for (key, net) in cards {
            let (name, vlans) = bridge_of(key, &net)?;
            let there = self.bridge_or_network(&links, &name, vlans).map_err(|error| error.context(key))?;
            if there.is_none() {
                // A network of ours that is not up: whoever makes it may make the tap too.
                continue;
            }
            let bridge = bridge(&links, key, &net)?;
            if let Some(vm) = &starts {
                check_tap(&links, key, &wanted(vm, key, &net, bridge)?, bridge)?;
            }
        }
        Ok(())
    }

    /// A MAC address that no card of this host's VMs has, in Proxmox's style: `BC:24:11:…`.
    #[allow(dead_code, reason = "the card of a copy")]
    pub(super) fn fresh_mac(&self) -> Result<String> {
        Ok(draw(&mut self.macs()?))
    }

    /// Gives the cards of a new configuration addresses: those without one, or all where it is a copy. What they are
    /// becomes `model=MAC,…`, as Proxmox writes it.
    pub(super) fn fresh_macs(&self, config: &mut Config, copy: bool) -> Result<()> {
        let wanting: Vec<String> = cards(config)
            .filter(|(_, net)| copy || net.text("macaddr").is_none())
            .map(|(key, _)| key.to_owned())
            .collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let mut taken = self.macs()?;
        taken.extend(cards(config).filter_map(|(_, net)| net.text("macaddr").map(str::to_ascii_uppercase)));
        for key in wanting {
            if let Some(value) = config.get_mut(&key) {
                *value = with_mac(value, &draw(&mut taken));
            }
        }
        Ok(())
    }

    /// The addresses of all cards of this host's VMs, now, pending and in snapshots.
    fn macs(&self) -> Result<BTreeSet<String>> {
        let mut macs = BTreeSet::new();
        for (vm, _) in self.state().vms()? {
            let settings = &vm.settings;
            let configs = [settings.config.clone(), settings.to_come()].into_iter();
            for config in configs.chain(settings.snapshots.values().map(|row| row.config.clone())) {
                macs.extend(cards(&config).filter_map(|(_, net)| net.text("macaddr").map(str::to_ascii_uppercase)));
            }
        }
        Ok(macs)
    }
}

/// A fresh address beside these, and it is one of them from now on.
fn draw(taken: &mut BTreeSet<String>) -> String {
    loop {
        let [a, b, c, ..] = Uuid::new_v4().into_bytes();
        let mac = format!("{PREFIX}:{a:02X}:{b:02X}:{c:02X}");
        if taken.insert(mac.clone()) {
            return mac;
        }
    }
}

/// A card with this address: `virtio=MAC` first, then its other parts as they were.
fn with_mac(value: &str, mac: &str) -> String {
    let mut net = Net::lenient(value);
    let model = net.remove("model").unwrap_or_else(|| "virtio".to_owned());
    net.remove("macaddr");
    let rest = PropertyString::lenient(&net.to_string());
    let rest = rest.iter().map(|(key, value)| match key {
        Some(key) => format!(",{key}={value}"),
        None => format!(",{value}"),
    });
    format!("{model}={mac}{}", rest.collect::<String>())
}

/// A device that this user may not remove was prepared for him, and stays.
fn unless_prepared(removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.class() == Class::Forbidden => Ok(()),
        other => other,
    }
}

/// Refuses a tap that is somebody else's and, to a user who can neither make nor change taps, one that is not as it has to
/// be.
fn check_tap(links: &[Link], key: &str, wanted: &network::Tap, bridge: &Link) -> Result<()> {
    let network::Tap { name, owner, .. } = wanted;
    let there = links.iter().find(|link| link.name == *name);
    if there.is_some_and(|link| link.mark.as_ref() != Some(owner)) {
        let text = format!("{key}: a network device `{name}` is there and is not this VM's");
        return Err(Error::conflict(text).with_hint(Hint::Text(format!(
            "if nobody needs it, remove it: `sudo ip link delete {name}`; if it is meant for this VM, mark it: \
             `sudo ip link set {name} alias {owner}`"
        ))));
    }
    if may_change_network() {
        return Ok(());
    }
    let refused = |text: String, hint: String| {
        Err(Error::new(Class::Forbidden, format!("{key}: {text}"))
            .with_hint(Hint::Text("run it as root, or with CAP_NET_ADMIN".to_owned()))
            .with_hint(Hint::Text(hint)))
    };
    if !wanted.up {
        let text = "link_down=1 takes the right to change network devices, which this user has not";
        return refused(text.to_owned(), format!("or take the card out: `pvectl vm update … --unset {key}`"));
    }
    let recipe = wanted.recipe(bridge);
    match there {
        None => refused(format!("this user may not make the tap `{name}`"), format!("or have it prepared: {recipe}")),
        Some(link) => match wanted.misfit(link, bridge) {
            None => Ok(()),
            Some(fault) => refused(
                format!("the tap `{name}` will not do, and this user may not change it: {fault}"),
                format!("or have it made anew: `sudo ip link delete {name}`, {recipe}"),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_get_addresses_in_proxmoxs_style() {
        let mut taken = BTreeSet::new();
        for _ in 0..100 {
            let mac = draw(&mut taken);
            assert!(mac.len() == 17 && mac.starts_with("BC:24:11:") && mac == mac.to_ascii_uppercase(), "{mac}");
        }
        assert_eq!(taken.len(), 100);
        for (value, want) in [
            ("virtio,bridge=vmbr0,tag=20", "virtio=M,bridge=vmbr0,tag=20"),
            ("bridge=vmbr0", "virtio=M,bridge=vmbr0"),
            ("virtio=BC:24:11:00:00:01,bridge=vmbr0", "virtio=M,bridge=vmbr0"),
            ("model=e1000,macaddr=BC:24:11:00:00:01,bridge=vmbr0,mtu=1", "e1000=M,bridge=vmbr0,mtu=1"),
            ("bridge=vmbr0,virtio,link_down=1", "virtio=M,bridge=vmbr0,link_down=1"),
        ] {
            assert_eq!(with_mac(value, "M"), want);
        }
    }

    #[test]
    fn keys_of_cards_have_plain_numbers() {
        for (key, want) in [("net0", Some(0)), ("net31", Some(31)), ("net", None), ("net01", None), ("net+1", None)] {
            assert_eq!(number(key), want, "{key}");
        }
    }
}
