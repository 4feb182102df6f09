//! Networks of our own: a bridge with an address of the host on it, and address translation. Written down before it is
//! made, and made again from there by whoever needs it after a boot of the host.
//!
//! Bridges that are not ours are only listed.

mod place;

use std::net::Ipv4Addr;

use serde::Serialize;

use self::place::fit;
use super::{Local, addresses::address_of, network::cards};
use crate::{
    backends::cloud_hypervisor::{
        boot_id,
        host::network::{Link, Mark, Nat, Network, bridge_to_join, is_name},
        state::{Intent, NetworkRow, Vm},
    },
    model::{Class, Error, Hint, Result, Vmid, closest},
};

/// A network that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name, which is its bridge's: at most 15 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// An address of the network and its bits, `10.20.0.0/24`; of the network's own the host takes the first, of any
    /// other one that one itself. `None` for any that is free.
    pub cidr: Option<(Ipv4Addr, u8)>,
    /// Whether guests reach the world under the host's address.
    pub nat: bool,
}

/// What a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// Ours, with address translation.
    Nat,
    /// Ours, without: guests reach the host and each other.
    Isolated,
    /// A bridge of somebody else's.
    Bridge,
}

impl NetworkKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Isolated => "isolated",
            Self::Bridge => "bridge",
        }
    }
}

/// A card on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// The VM.
    pub vmid: Vmid,
    /// Its name.
    pub name: String,
    /// The card, `net0`.
    pub card: String,
    /// Its address, as far as the configuration says one.
    pub address: Option<Ipv4Addr>,
}

/// A network that VMs of this host can be on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostNetwork {
    /// Its name, for `bridge=`.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: NetworkKind,
    /// `up`, `down`, `missing` (a network of ours that the next start makes again), or `deleting`.
    pub status: &'static str,
    /// The network's addresses, `10.20.0.0/24`, of one of ours.
    pub cidr: Option<String>,
    /// The host's address on it, of one of ours.
    pub gateway: Option<Ipv4Addr>,
    /// The longest packet in bytes, while it is there.
    pub mtu: Option<u32>,
    /// The cards of VMs on it.
    pub vms: Vec<Attached>,
}

fn nat(row: &NetworkRow) -> Result<Nat> {
    Ok(Nat {
        name: row.name.clone(),
        owner: Mark::new(&row.uuid.to_string())?,
        address: row.address,
        prefix: row.prefix,
        translate: row.nat,
    })
}

fn leaving(row: &NetworkRow) -> Error {
    Error::conflict(format!("network `{}` is being deleted", row.name))
        .with_hint(Hint::Text(format!("finish that: `pvectl --context local network delete {}`", row.name)))
}

impl Local {
    /// The networks that VMs can be on, by name: ours, and the bridges of this host.
    ///
    /// # Errors
    /// When the state cannot be read, or the kernel does not say.
    pub async fn networks(&self) -> Result<Vec<HostNetwork>> {
        let (rows, links, vms) = (self.state().networks()?, Network::open()?.links().await?, self.state().vms()?);
        let mut found: Vec<HostNetwork> = Vec::new();
        for row in &rows {
            let wanted = nat(row)?;
            let link = links.iter().find(|link| link.name == row.name && link.mark.as_ref() == Some(&wanted.owner));
            let status = match link {
                _ if row.leaving => "deleting",
                Some(link) if link.up => "up",
                Some(_) => "down",
                None => "missing",
            };
            found.push(HostNetwork {
                name: row.name.clone(),
                kind: if row.nat { NetworkKind::Nat } else { NetworkKind::Isolated },
                status,
                cidr: Some(wanted.network()),
                gateway: Some(row.address),
                mtu: link.map(|link| link.mtu),
                vms: attached(&vms, &row.name),
            });
        }
        let others = links.iter().filter(|link| link.bridge.is_some() && rows.iter().all(|row| row.name != link.name));
        found.extend(others.map(|link| HostNetwork {
            name: link.name.clone(),
            kind: NetworkKind::Bridge,
            status: if link.up { "up" } else { "down" },
            cidr: None,
            gateway: None,
            mtu: Some(link.mtu),
            vms: attached(&vms, &link.name),
        }));
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The networks of these names.
    ///
    /// # Errors
    /// [`Class::NotFound`], with close names; otherwise as [`networks`](Self::networks).
    pub async fn networks_named(&self, names: &[String]) -> Result<Vec<HostNetwork>> {
        let all = self.networks().await?;
        let find = |name: &String| {
            let found = all.iter().find(|network| network.name == *name).cloned();
            found.ok_or_else(|| {
                let close = closest(name, all.iter().map(|network| network.name.clone()));
                Error::not_found(format!("no such network: `{name}`")).did_you_mean(close)
            })
        };
        names.iter().map(find).collect()
    }

    /// Makes a network. It stays until it is deleted: after a boot of the host, whoever starts a VM on it makes it again.
    ///
    /// # Errors
    /// [`Class::Usage`] for a name or addresses that cannot be, [`Class::Conflict`] for a name or addresses that are
    /// taken, [`Class::Forbidden`] without the right to, [`Class::NotFound`] without `nft`.
    pub async fn create_network(&self, request: &NetworkRequest) -> Result<HostNetwork> {
        self.check_network(request).await?;
        let network = Network::open()?;
        let taken = network.taken().await?;
        let row = self.state().add_network(&request.name, |there| fit(request, there, &taken))?;
        if let Err(error) = self.raise(&network, &row).await {
            // What was made of it goes, and what it was to be with it; what cannot go now is there to be deleted.
            let removed = network.remove_nat(&nat(&row)?, self.options().nft.as_deref()).await;
            let none_of_ours = match removed {
                Ok(_) => true,
                Err(other) if other.class() == Class::Conflict => true,
                Err(_) => network.link(&row.name).await.is_ok_and(|link| link.is_none()),
            };
            if none_of_ours {
                self.state().remove_network(&row)?;
            }
            return Err(error);
        }
        self.networks_named(std::slice::from_ref(&request.name))
            .await?
            .pop()
            .ok_or_else(|| Error::conflict(format!("network `{}` went away while it was made", request.name)))
    }

    /// Whether a network could be made, as far as can be said without making it.
    ///
    /// # Errors
    /// As [`create_network`](Self::create_network).
    pub async fn check_network(&self, request: &NetworkRequest) -> Result<()> {
        let name = &request.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !is_name(name) || !name.chars().all(plain) || name.starts_with(['-', '.']) {
            let text = format!("`{name}` is no name of a network: 1 to 15 letters, digits, `-`, `_` and `.`");
            return Err(Error::usage(text));
        }
        let network = Network::open()?;
        let taken = network.taken().await?;
        let there = self.state().networks()?;
        if there.iter().any(|row| row.name == *name) {
            return Err(Error::conflict(format!("network `{name}` exists already")));
        }
        fit(request, &there, &taken)?;
        if let Some(link) = network.link(name).await? {
            let text = format!("a network device `{name}` is there already, and is not pvectl's");
            let hint = match link.bridge {
                Some(_) => format!("VMs can join the bridge as it is: `--net bridge={name}`"),
                None => "take another name".to_owned(),
            };
            return Err(Error::conflict(text).with_hint(Hint::Text(hint)));
        }
        if !crate::backends::cloud_hypervisor::host::facts::may_change_network() {
            return Err(Error::new(Class::Forbidden, "this user may not make network devices")
                .with_hint(Hint::Text(
                    "run it as root, or with CAP_NET_ADMIN; a VM can join a bridge of the host's, with a tap that was prepared"
                        .to_owned(),
                )));
        }
        if request.nat && self.options().nft.is_none() {
            return Err(Error::not_found("there is no `nft` to translate addresses with").with_hint(Hint::Text(
                "install it, on Debian: `sudo apt install nftables`; or do without translation: --no-nat".to_owned(),
            )));
        }
        Ok(())
    }

    /// Whether a network could be deleted at this moment.
    ///
    /// # Errors
    /// As [`delete_network`](Self::delete_network).
    pub async fn check_unused(&self, name: &str) -> Result<()> {
        let Some(row) = self.state().network(name)? else {
            // Says what there is, where there is no bridge either.
            self.networks_named(&[name.to_owned()]).await?;
            return Err(Error::conflict(format!("bridge `{name}` was not made by pvectl, and is left alone"))
                .with_hint(Hint::Text(format!("who does not need it removes it: `sudo ip link delete {name}`"))));
        };
        let (owner, links) = (nat(&row)?.owner, Network::open()?.links().await?);
        if let Some(link) = links.iter().find(|link| link.name == name && link.mark.as_ref() == Some(&owner)) {
            let strangers = links.iter().filter(|other| other.on == Some(link.index) && other.mark.is_none());
            let strangers: Vec<&str> = strangers.map(|other| other.name.as_str()).collect();
            if !strangers.is_empty() {
                let text = format!("network `{name}` is in use by devices of this host: {}", strangers.join(", "));
                return Err(Error::conflict(text));
            }
        }
        unused(name, &self.state().vms()?)
    }

    /// Deletes a network of ours that nobody uses.
    ///
    /// # Errors
    /// [`Class::NotFound`] without it, [`Class::Conflict`] while VMs or other devices use it, and for a bridge that is
    /// not ours.
    pub async fn delete_network(&self, name: &str) -> Result<()> {
        self.check_unused(name).await?;
        let row = self.state().network_leaves(name, |vms| unused(name, vms))?;
        Network::open()?.remove_nat(&nat(&row)?, self.options().nft.as_deref()).await?;
        self.state().remove_network(&row)
    }

    /// Makes sure of the networks of ours among these bridges; those of others are as they are.
    pub(super) async fn raise_networks(&self, network: &Network, bridges: &[String]) -> Result<()> {
        for row in self.state().networks()?.iter().filter(|row| bridges.contains(&row.name)) {
            if row.leaving {
                return Err(leaving(row));
            }
            let owner = nat(row)?.owner;
            let whole = network.link(&row.name).await?.is_some_and(|link| link.mark == Some(owner) && link.up);
            if !whole || row.boot_id != Some(boot_id()?) {
                self.raise(network, row).await?;
            }
        }
        Ok(())
    }

    async fn raise(&self, network: &Network, row: &NetworkRow) -> Result<()> {
        // Nothing that is worth a failure here.
        let _ = network.remove_unfinished().await;
        network.ensure_nat(&nat(row)?, self.options().nft.as_deref()).await?;
        self.state().network_is_up(row)
    }

    /// The bridge that a card asks for among these devices, or a network of ours in its place that is to be made again:
    /// `None`.
    pub(super) fn bridge_or_network<'l>(&self, links: &'l [Link], name: &str, vlans: bool) -> Result<Option<&'l Link>> {
        if links.iter().all(|link| link.name != name)
            && let Some(row) = self.state().network(name)?
        {
            return if row.leaving { Err(leaving(&row)) } else { Ok(None) };
        }
        bridge_to_join(links, name, vlans).map(Some)
    }
}

/// The cards of VMs on a bridge, now or at their next start.
fn attached(vms: &[(Vm, Option<Intent>)], bridge: &str) -> Vec<Attached> {
    let mut found = Vec::new();
    for (vm, intent) in vms {
        let to_come = intent.iter().filter_map(|intent| intent.work.settings.as_ref().map(|settings| &settings.config));
        let pending = vm.settings.to_come();
        let mut seen = std::collections::BTreeSet::new();
        for config in [&pending, &vm.settings.config].into_iter().chain(to_come) {
            for (key, _) in cards(config).filter(|(_, net)| net.text("bridge") == Some(bridge)) {
                if seen.insert(key.to_owned()) {
                    let ip = config.get(&key.replace("net", "ipconfig"));
                    found.push(Attached {
                        vmid: vm.vmid,
                        name: vm.name(),
                        card: key.to_owned(),
                        address: ip.and_then(|text| address_of(text)),
                    });
                }
            }
        }
    }
    found
}

/// Refuses while a VM has a card on a network.
fn unused(name: &str, vms: &[(Vm, Option<Intent>)]) -> Result<()> {
    let mut names: Vec<String> =
        attached(vms, name).into_iter().map(|one| format!("{} ({})", one.name, one.vmid)).collect();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("network `{name}` is in use by {}", names.join(", "))).with_hint(Hint::Text(
        "delete these VMs, or put their cards elsewhere: `pvectl vm update VM --net0 bridge=…`".to_owned(),
    )))
}
