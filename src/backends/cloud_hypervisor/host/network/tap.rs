//! Taps: made so that what a crash leaves behind is known as ours, and so that a VMM without any right can use them.

use std::{
    io,
    ops::RangeInclusive,
    sync::atomic::{AtomicU8, Ordering},
};

use rtnetlink::{LinkBridgeVlan, LinkUnspec, packet_route::link::BridgeVlanInfoFlags};
use rustix::io::Errno;
use tokio_tun::TunBuilder;

use super::{Link, Mark, Network, errno, failed, hint, refused};
use crate::{
    backends::cloud_hypervisor::host::Stat,
    model::{Error, Result, closest},
};

/// The tap of a VM's network interface, as Proxmox calls it: `tap100i0`.
pub fn tap_name(vmid: u32, interface: u8) -> String {
    format!("tap{vmid}i{interface}")
}

/// How names of taps and of bridges begin while these are made.
pub(super) const TAP: &str = "pvectl";
pub(super) const BRIDGE: &str = "pvnet";

/// The name of a device while it is made: the maker's pid, and two digits so that one process can make several at once.
pub(super) fn unfinished_name(kind: &str, pid: u32, count: u8) -> String {
    format!("{kind}{pid}{count:02x}")
}

/// The maker that such a name tells.
pub(super) fn maker(kind: &str, name: &str) -> Option<u32> {
    let digits = name.strip_prefix(kind).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    digits[..digits.len().checked_sub(2)?].parse().ok()
}

fn io_error(error: tokio_tun::Error) -> io::Error {
    match error {
        tokio_tun::Error::IoError(error) => error,
        tokio_tun::Error::NixError(number) => io::Error::from_raw_os_error(number as i32),
    }
}

/// The bridge of a name among these devices, which must be one, and keep VLANs apart if some are wanted.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound) with the bridges that there are,
/// [`Class::Usage`](crate::model::Class::Usage) for what is no bridge or has no VLANs.
pub fn bridge_to_join<'l>(links: &'l [Link], name: &str, vlans: bool) -> Result<&'l Link> {
    let Some(link) = links.iter().find(|link| link.name == name) else {
        let mut bridges: Vec<&str> =
            links.iter().filter(|link| link.bridge.is_some()).map(|link| link.name.as_str()).collect();
        bridges.sort_unstable();
        let there = match bridges.as_slice() {
            [] => "this host has no bridge".to_owned(),
            some => format!("bridges of this host: {}", some.join(", ")),
        };
        return Err(Error::not_found(format!("bridge `{name}` does not exist"))
            .did_you_mean(closest(name, bridges.iter().map(|&name| name.to_owned())))
            .with_hint(hint(there))
            .with_hint(hint(format!(
                "make one with address translation: `pvectl --context local network create {name}`; or a bare one: \
                 `sudo ip link add {name} type bridge`, `sudo ip link set {name} up`"
            ))));
    };
    let Some(bridge) = link.bridge else { return Err(Error::usage(format!("`{name}` is no bridge"))) };
    if vlans && !bridge.filters_vlans {
        return Err(Error::usage(format!("bridge `{name}` does not keep VLANs apart"))
            .with_hint(hint(format!("let it: `sudo ip link set {name} type bridge vlan_filtering 1`"))));
    }
    Ok(link)
}

/// How a tap should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Its name.
    pub name: String,
    /// The VM.
    pub owner: Mark,
    /// The user that the VMM runs as.
    pub uid: u32,
    /// How many pairs of queues the VM's interface has.
    pub queues: u16,
    /// The bridge to be on.
    pub bridge: Option<String>,
    /// The VLAN of what is sent without one.
    pub vlan: Option<u16>,
    /// The VLANs that may be sent besides.
    pub trunks: Vec<RangeInclusive<u16>>,
    /// The longest packet, in bytes; that of the bridge where nothing is said.
    pub mtu: Option<u32>,
    /// Whether the cable is in.
    pub up: bool,
}

impl Tap {
    /// Why a tap that is there and cannot be changed will not do; `None` if it will. Which VLANs it is in is up to whoever
    /// prepared it.
    pub fn misfit(&self, link: &Link, bridge: &Link) -> Option<String> {
        let tap = link.tap.unwrap_or_default();
        let faults = [
            (!tap.persistent || tap.uid != Some(self.uid), "it is not this user's".to_owned()),
            (tap.multi_queue != (self.queues > 1), "its number of queues is another".to_owned()),
            (link.on != Some(bridge.index), format!("it is not on `{}`", bridge.name)),
            (link.mtu != self.mtu.unwrap_or(bridge.mtu), format!("its MTU is {}", link.mtu)),
            (!link.up, "it is down".to_owned()),
        ];
        faults.into_iter().find_map(|(is, text)| is.then_some(text))
    }

    /// The commands, for somebody with more rights, that make such a tap.
    pub fn recipe(&self, bridge: &Link) -> String {
        /// What the kernel gives a tap.
        const USUAL_MTU: u32 = 1500;
        let Self { name, owner, uid, queues, mtu, .. } = self;
        let many = if *queues > 1 { " multi_queue" } else { "" };
        let mtu = mtu.filter(|mtu| *mtu != USUAL_MTU).map_or(String::new(), |mtu| format!(" mtu {mtu}"));
        let mut recipe = format!(
            "`sudo ip tuntap add dev {name} mode tap user {uid}{many}`, \
             `sudo ip link set {name} alias {owner} master {}{mtu} up`",
            bridge.name
        );
        let own = self.vlan.map(|vlan| format!("{vlan} pvid untagged"));
        let trunks = self.trunks.iter().map(|trunk| format!("{}-{}", trunk.start(), trunk.end()));
        for vlan in own.into_iter().chain(trunks) {
            recipe.push_str(&format!(", `sudo bridge vlan add dev {name} vid {vlan}`"));
        }
        recipe
    }
}

impl Network {
    /// Makes a tap, or changes the one that is there and is this VM's. Says whether it was made.
    ///
    /// It has its name only after its mark; what is left of one whose maker died before is
    /// [`unfinished`](Self::unfinished). The VMM must not run.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) when a device of that name is not this VM's,
    /// [`Class::NotFound`](crate::model::Class::NotFound) without the bridge,
    /// [`Class::Usage`](crate::model::Class::Usage) for VLANs on a bridge that does not keep them apart,
    /// [`Class::Forbidden`](crate::model::Class::Forbidden) without the right to.
    pub async fn ensure_tap(&self, wanted: &Tap) -> Result<bool> {
        if !super::is_name(&wanted.name) {
            return Err(Error::usage(format!("`{}` is no name of a network device", wanted.name)));
        }
        let bridge = match &wanted.bridge {
            Some(name) => Some(self.bridge(name, wanted).await?),
            None => None,
        };
        if let Some(link) = self.owned(&wanted.name, &wanted.owner).await? {
            let fits = link.tap.is_some_and(|tap| {
                tap.persistent && tap.uid == Some(wanted.uid) && tap.multi_queue == (wanted.queues > 1)
            });
            if fits {
                self.arrange(&link, bridge.as_ref(), wanted).await?;
                return Ok(false);
            }
            self.remove(&wanted.name, &wanted.owner).await?;
        }
        let made = self.make_tap(wanted).await?;
        let finished = self.finish_tap(made.clone(), bridge.as_ref(), wanted).await;
        if finished.is_err() {
            // The first failure is the one to tell.
            let _ = self.handle.link().del(made.index).execute().await;
        }
        finished.map(|()| true)
    }

    /// Makes a tap under a name that says who makes it.
    async fn make_tap(&self, wanted: &Tap) -> Result<Link> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let name = unfinished_name(TAP, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let uid = i32::try_from(wanted.uid).map_err(|_| Error::usage(format!("{} is no user", wanted.uid)))?;
        // How packets begin is up to whoever opens it; the number of queues is not.
        let queues = if wanted.queues > 1 { 2 } else { 1 };
        let built = TunBuilder::new().name(&name).tap().queues(queues).owner(uid).persist().build();
        built.map_err(|error| failed(&format!("make `{}`", wanted.name), io_error(error)))?;
        let lost = || Error::conflict(format!("`{}` went away while it was made", wanted.name));
        self.link(&name).await?.ok_or_else(lost)
    }

    /// Marks it, gives it its name and brings it to where it belongs.
    async fn finish_tap(&self, made: Link, bridge: Option<&Link>, wanted: &Tap) -> Result<()> {
        let change = || LinkUnspec::new_with_index(made.index);
        self.change(&wanted.name, change().alias(wanted.owner.to_string())).await?;
        self.change(&wanted.name, change().name(&wanted.name)).await?;
        self.arrange(&made, bridge, wanted).await
    }

    /// Taps and bridges that somebody died over while making them: without a mark, and with a name that nobody else
    /// gives.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn unfinished(&self) -> Result<Vec<Link>> {
        let mut found = Vec::new();
        for link in self.links().await? {
            let kind = match (&link.tap, &link.bridge) {
                (Some(_), _) => TAP,
                (_, Some(_)) => BRIDGE,
                _ => continue,
            };
            let Some(pid) = maker(kind, &link.name).filter(|_| link.mark.is_none()) else { continue };
            if Stat::of(pid)?.is_none_or(|stat| stat.has_ended()) {
                found.push(link);
            }
        }
        Ok(found)
    }

    /// Removes them. Gives their names.
    ///
    /// # Errors
    /// [`Class::Forbidden`](crate::model::Class::Forbidden) without the right to.
    pub async fn remove_unfinished(&self) -> Result<Vec<String>> {
        let found = self.unfinished().await?;
        for link in &found {
            let removed = self.handle.link().del(link.index).execute().await;
            removed.map_err(|error| refused(&format!("remove `{}`", link.name), &error))?;
        }
        Ok(found.into_iter().map(|link| link.name).collect())
    }

    /// The bridge to join.
    async fn bridge(&self, name: &str, wanted: &Tap) -> Result<Link> {
        let vlans = wanted.vlan.is_some() || !wanted.trunks.is_empty();
        bridge_to_join(&self.links().await?, name, vlans).cloned()
    }

    /// Brings a tap to its bridge, VLANs, size and state, where it is not.
    async fn arrange(&self, link: &Link, bridge: Option<&Link>, wanted: &Tap) -> Result<()> {
        let change = || LinkUnspec::new_with_index(link.index);
        let mtu = wanted.mtu.or(bridge.map(|bridge| bridge.mtu)).filter(|mtu| *mtu != link.mtu);
        if let Some(mtu) = mtu {
            self.change(&wanted.name, change().mtu(mtu)).await?;
        }
        let filters = bridge.and_then(|bridge| bridge.bridge).is_some_and(|bridge| bridge.filters_vlans);
        let on = bridge.map(|bridge| bridge.index);
        // Who joins anew has the VLANs of one that was told nothing.
        if link.on.is_some() && (link.on != on || filters) {
            self.change(&wanted.name, change().nocontroller()).await?;
        }
        if let Some(bridge) = bridge.filter(|_| link.on != on || filters) {
            self.change(&wanted.name, change().controller(bridge.index)).await?;
            self.set_vlans(link.index, bridge, wanted).await?;
        }
        if link.up != wanted.up {
            let change = change();
            self.change(&wanted.name, if wanted.up { change.up() } else { change.down() }).await?;
        }
        Ok(())
    }

    async fn set_vlans(&self, index: u32, bridge: &Link, wanted: &Tap) -> Result<()> {
        let what = || format!("set the VLANs of `{}`", wanted.name);
        let add = |message| async {
            self.handle.link().set(message).execute().await.map_err(|error| refused(&what(), &error))
        };
        if let Some(vlan) = wanted.vlan {
            let own = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
            add(LinkBridgeVlan::new(index).vlan(vlan, own).build()).await?;
            let default = bridge.bridge.map_or(0, |bridge| bridge.default_vlan);
            if default != 0 && default != vlan {
                let left = LinkBridgeVlan::new(index).vlan(default, BridgeVlanInfoFlags::empty()).build();
                match self.handle.link().del_with_message(left).execute().await {
                    Err(error) if errno(&error) != Some(Errno::NOENT) => return Err(refused(&what(), &error)),
                    _ => {}
                }
            }
        }
        for trunk in &wanted.trunks {
            let none = BridgeVlanInfoFlags::empty();
            let vlans = LinkBridgeVlan::new(index);
            let vlans = match (*trunk.start(), *trunk.end()) {
                (from, to) if from == to => vlans.vlan(from, none),
                (from, to) => vlans.vlan_range_start(from, none).vlan_range_end(to, none),
            };
            add(vlans.build()).await?;
        }
        Ok(())
    }
}
