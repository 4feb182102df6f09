//! Network devices of this host, by rtnetlink: taps for VMs, the bridges they are on, and a bridge of our own with
//! address translation.
//!
//! What does not carry our mark is never changed or removed, whatever its name is; a bridge that is not ours is only
//! joined.

mod nat;
mod tap;

use std::{fmt, io};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec,
    packet_core::{DefaultNla, Nla},
    packet_route::link::{InfoBridge, InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use rustix::io::Errno;
use tokio::task::JoinHandle;

pub use nat::{Nat, overlap};
pub use tap::{Tap, bridge_to_join, tap_name};

use super::hint;
use crate::model::{Class, Error, Result};

/// Whose a device is: the uuid of a VM, or the name of a network. The device carries it as its alias, `pvectl:<owner>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark(String);

const PREFIX: &str = "pvectl:";

impl Mark {
    /// The mark of an owner.
    ///
    /// # Errors
    /// [`Class::Usage`] unless it is 1 to 200 letters, digits, `-`, `_` and `.`.
    pub fn new(owner: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if owner.is_empty() || owner.len() > 200 || !owner.chars().all(plain) {
            return Err(Error::usage(format!("`{owner}` cannot own a network device")));
        }
        Ok(Self(owner.to_owned()))
    }

    /// Who owns it.
    pub fn owner(&self) -> &str {
        &self.0
    }

    fn of(alias: &str) -> Option<Self> {
        Self::new(alias.strip_prefix(PREFIX)?).ok()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

/// What a bridge is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Whether it keeps VLANs apart.
    pub filters_vlans: bool,
    /// The VLAN of a port that was told none.
    pub default_vlan: u16,
}

/// What a tap is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TapState {
    /// The user who may open it.
    pub uid: Option<u32>,
    /// Whether it takes several queues.
    pub multi_queue: bool,
    /// Whether it stays when nobody has it open.
    pub persistent: bool,
}

/// A network device, as the kernel says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whose it is, if it carries our mark.
    pub mark: Option<Mark>,
    /// Whether it was set up.
    pub up: bool,
    /// Whether there is somebody at its other end: a process that has a tap open.
    pub in_use: bool,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// The number of the bridge it is on.
    pub on: Option<u32>,
    /// What it is like, if it is a bridge.
    pub bridge: Option<Bridge>,
    /// What it is like, if it is a tap.
    pub tap: Option<TapState>,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let (up, in_use) = (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::LowerUp));
        let mut link = Self { index: message.header.index, up, in_use, ..Self::default() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.mark = Mark::of(&alias),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.on = Some(index).filter(|index| *index != 0),
                LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|info| link.take(info)),
                _ => {}
            }
        }
        link
    }
}

impl Link {
    fn take(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(InfoKind::Bridge) => self.bridge = self.bridge.or(Some(Bridge::default())),
            LinkInfo::Kind(InfoKind::Tun) => self.tap = self.tap.or(Some(TapState::default())),
            LinkInfo::Data(InfoData::Bridge(infos)) => {
                let bridge = self.bridge.get_or_insert_default();
                for info in infos {
                    match info {
                        InfoBridge::VlanFiltering(on) => bridge.filters_vlans = on,
                        InfoBridge::VlanDefaultPvid(vlan) => bridge.default_vlan = vlan,
                        _ => {}
                    }
                }
            }
            LinkInfo::Data(InfoData::Tun(infos)) => {
                let tap = self.tap.get_or_insert_default();
                for info in infos {
                    if let InfoTun::Other(info) = info {
                        tap.take(&info);
                    }
                }
            }
            _ => {}
        }
    }
}

impl TapState {
    /// The numbers are those of `IFLA_TUN_…` in `linux/if_link.h`.
    fn take(&mut self, info: &DefaultNla) {
        let mut value = vec![0; info.value_len()];
        info.emit_value(&mut value);
        match (info.kind(), value.as_slice()) {
            (1, bytes) => self.uid = bytes.try_into().ok().map(u32::from_ne_bytes),
            (6, [on]) => self.persistent = *on != 0,
            (7, [on]) => self.multi_queue = *on != 0,
            _ => {}
        }
    }
}

/// All devices, for whoever cannot wait for them in a runtime: in a thread of its own.
///
/// # Errors
/// When the kernel does not say.
pub fn links_now() -> Result<Vec<Link>> {
    let cannot = |error: io::Error| failed("list network devices", error);
    let look = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
        runtime.block_on(async { Network::open()?.links().await })
    };
    let looked = std::thread::scope(|scope| scope.spawn(look).join());
    looked.unwrap_or_else(|_| Err(Error::new(Class::Bug, "the look at the network devices ended early")))
}

/// A conversation with the kernel about its network devices.
#[derive(Debug)]
pub struct Network {
    handle: Handle,
    conversation: JoinHandle<()>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.conversation.abort();
    }
}

impl Network {
    /// Begins it, in the runtime that this is called in.
    ///
    /// # Errors
    /// [`Class::Failed`] when the kernel does not talk.
    pub fn open() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| {
            Error::new(Class::Failed, format!("cannot talk to the kernel: {error}")).with_source(error)
        })?;
        Ok(Self { handle, conversation: tokio::spawn(connection) })
    }

    /// All devices.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let all = self.handle.link().get().execute().map_ok(Link::from);
        all.try_collect().await.map_err(|error| refused("list network devices", &error))
    }

    /// The device of a name.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn link(&self, name: &str) -> Result<Option<Link>> {
        if !is_name(name) {
            return Ok(None);
        }
        let mut found = std::pin::pin!(self.handle.link().get().match_name(name).execute());
        match found.try_next().await {
            Ok(message) => Ok(message.map(Link::from)),
            Err(error) if errno(&error) == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(refused(&format!("look at `{name}`"), &error)),
        }
    }

    /// The devices that carry our mark, with it: what there is to clean up is among these and nowhere else.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn marked(&self) -> Result<Vec<(Mark, Link)>> {
        let links = self.links().await?;
        Ok(links.into_iter().filter_map(|link| Some((link.mark.clone()?, link))).collect())
    }

    /// Removes a device of this owner. Says whether there was one.
    ///
    /// # Errors
    /// [`Class::Conflict`] when it is not this owner's, [`Class::Forbidden`] without the right to.
    pub async fn remove(&self, name: &str, owner: &Mark) -> Result<bool> {
        let Some(link) = self.owned(name, owner).await? else { return Ok(false) };
        match self.handle.link().del(link.index).execute().await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(Errno::NODEV) => Ok(false),
            Err(error) => Err(refused(&format!("remove `{name}`"), &error)),
        }
    }

    /// Sets a device of this owner up or down: for the guest that is a cable plugged in or out.
    ///
    /// # Errors
    /// [`Class::NotFound`] without the device, otherwise as [`remove`](Self::remove).
    pub async fn set_up(&self, name: &str, owner: &Mark, up: bool) -> Result<()> {
        let link = self.owned(name, owner).await?;
        let link = link.ok_or_else(|| Error::not_found(format!("no network device `{name}`")))?;
        let change = LinkUnspec::new_with_index(link.index);
        self.change(name, if up { change.up() } else { change.down() }).await
    }

    /// The device, if there is one and it is this owner's.
    async fn owned(&self, name: &str, owner: &Mark) -> Result<Option<Link>> {
        let Some(link) = self.link(name).await? else { return Ok(None) };
        match &link.mark {
            Some(mark) if mark == owner => Ok(Some(link)),
            Some(other) => {
                Err(Error::conflict(format!("`{name}` belongs to {}, not to {}", other.owner(), owner.owner())))
            }
            None => Err(Error::conflict(format!("`{name}` does not carry pvectl's mark, and is left alone"))
                .with_hint(hint(format!("if it is meant for this, mark it: `sudo ip link set {name} alias {owner}`")))),
        }
    }

    async fn change(&self, name: &str, change: LinkMessageBuilder<LinkUnspec>) -> Result<()> {
        let changed = self.handle.link().change(change.build()).execute().await;
        changed.map_err(|error| refused(&format!("change `{name}`"), &error))
    }
}

/// Whether a network device can be called so.
pub fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    (1..16).contains(&name.len()) && ![".", ".."].contains(&name) && !name.contains(odd)
}

fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(Errno::from_raw_os_error(message.raw_code().saturating_abs())),
        _ => None,
    }
}

fn refused(what: &str, error: &rtnetlink::Error) -> Error {
    match errno(error) {
        Some(errno) => failed(what, io::Error::from(errno)),
        None => Error::new(Class::Failed, format!("cannot {what}: {error}")),
    }
}

fn failed(what: &str, error: io::Error) -> Error {
    let message = format!("cannot {what}: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::new(Class::Forbidden, message).with_hint(hint(
            "network devices are made by root, or with CAP_NET_ADMIN; `pvectl check` says what is there",
        )),
        io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy => Error::conflict(message),
        _ => Error::new(Class::Failed, message),
    }
    .with_source(error)
}

#[cfg(test)]
mod tests;
