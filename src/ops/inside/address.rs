//! The addresses of a guest: what it says itself, and what its configuration says where it does not.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::about;
use crate::{
    backends::agent::explain,
    model::{
        Call, Class, ConfigView, Error, Guest, GuestConfig, GuestKind, Hint, Method, PropertyString, Result,
        is_numbered,
    },
    ops::Ops,
};

/// Who says that a guest has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The agent in a VM.
    Agent,
    /// The node, which looks into a container.
    Container,
    /// Its configuration: what it was told to take.
    Config,
}

/// An address of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// How many bits of it are its network's.
    pub prefix: Option<u8>,
    /// The interface in the guest, or the key of the configuration.
    pub interface: String,
    /// Who says so.
    pub from: Origin,
}

/// What is known of a guest's addresses, the best one first.
#[derive(Debug, Default)]
pub struct Addresses {
    /// The addresses.
    pub found: Vec<Address>,
    /// Why the guest itself says nothing.
    pub silent: Option<Error>,
}

impl Address {
    /// Whether others can reach it.
    pub fn is_reachable(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        }
    }
}

impl Ops {
    /// The addresses of a guest: its own word, and where it says nothing its configuration's.
    ///
    /// # Errors
    /// As any read. That a guest says nothing is none.
    pub async fn addresses(&self, guest: &Guest) -> Result<Addresses> {
        let mut known = Addresses::default();
        match self.own_addresses(guest).await {
            Ok(found) => known.found = found,
            Err(error) if is_silence(&error) => known.silent = Some(explain(error, guest.vmid)),
            Err(error) => return Err(error),
        }
        if !known.found.iter().any(Address::is_reachable) {
            let config = self.backend().guest_config(&guest.reference(), ConfigView::Current).await?;
            known.found.extend(configured_addresses(guest.kind, &config));
        }
        // Of those that can be reached the first IPv4 is what most people mean.
        known.found.sort_by_key(|found| (!found.is_reachable(), found.address.is_ipv6()));
        Ok(known)
    }

    /// What a guest itself says.
    pub(in crate::ops) async fn own_addresses(&self, guest: &Guest) -> Result<Vec<Address>> {
        let (below, from): (&[&str], Origin) = match guest.kind {
            GuestKind::Qemu => (&["agent", "network-get-interfaces"], Origin::Agent),
            GuestKind::Lxc => (&["interfaces"], Origin::Container),
        };
        if guest.kind == GuestKind::Qemu {
            self.require_agent(guest)?;
        }
        let data = self.backend().send(&Call::new(Method::Get, about(&guest.reference(), below))).await?.data;
        Ok(told(&data, from))
    }

    /// The address by which a guest is reached.
    ///
    /// # Errors
    /// [`Class::NotFound`] where none is known, with the reason.
    pub async fn reachable_address(&self, guest: &Guest) -> Result<Address> {
        let known = self.addresses(guest).await?;
        let best = known.found.into_iter().find(Address::is_reachable);
        best.ok_or_else(|| no_address(guest, known.silent))
    }
}

/// Whether an error says that the guest says nothing. A right that is missing is another matter, but the configuration may
/// be enough there too.
fn is_silence(error: &Error) -> bool {
    let silence = ["guest agent", "not running", "got timeout", "Agent error", "not asked by an agent"];
    error.class() == Class::Forbidden || silence.iter().any(|text| error.message().contains(text))
}

/// The error for a guest of which no address is known.
pub fn no_address(guest: &Guest, silent: Option<Error>) -> Error {
    let noun = guest.kind.noun();
    let key = if guest.kind == GuestKind::Qemu { "ipconfig0" } else { "net0" };
    let error = Error::not_found(format!("no address of {} is known", guest.reference()));
    let Some(silent) = silent else {
        if guest.status == "stopped" {
            let text = format!("it is stopped, and its configuration names none: pvectl {noun} start {}", guest.vmid);
            return error.with_hint(Hint::Text(text));
        }
        let text =
            format!("it has none yet (pvectl {noun} wait {} --for ip), and its configuration names none", guest.vmid);
        return error.with_hint(Hint::Text(text));
    };
    let error = error.with_hint(Hint::Text(format!("{silent}, and its configuration names none ({key})")));
    silent.hints().iter().fold(error, |error, hint| error.with_hint(hint.clone()))
}

/// The addresses in what a guest says of its interfaces.
fn told(data: &Value, from: Origin) -> Vec<Address> {
    let interfaces = data.get("result").unwrap_or(data).as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found: Vec<Address> = Vec::new();
    for interface in interfaces {
        let name = interface["name"].as_str().unwrap_or_default();
        let listed = interface["ip-addresses"].as_array().into_iter().flatten();
        let listed = listed.filter_map(|row| Some((row.get("ip-address")?.as_str()?, row["prefix"].as_u64())));
        // Containers of older servers have only these.
        let plain = ["inet", "inet6"].into_iter().filter_map(|key| Some((interface.get(key)?.as_str()?, None)));
        for (text, prefix) in listed.chain(plain) {
            let Some((address, written)) = parse(text) else { continue };
            let prefix = prefix.and_then(|bits| u8::try_from(bits).ok()).or(written);
            if !found.iter().any(|have| have.address == address && have.interface == name) {
                found.push(Address { address, prefix, interface: name.to_owned(), from });
            }
        }
    }
    found
}

/// The addresses that a configuration tells a guest to take.
pub fn configured_addresses(kind: GuestKind, config: &GuestConfig) -> Vec<Address> {
    let prefix = if kind == GuestKind::Qemu { "ipconfig" } else { "net" };
    let keys = config.0.keys().filter(|key| is_numbered(key, prefix));
    let mut found = Vec::new();
    for key in keys {
        let parts = PropertyString::lenient(&config.text(key).unwrap_or_default());
        let texts = ["ip", "ip6"].into_iter().filter_map(|part| parts.get(part).map(str::to_owned));
        found.extend(texts.filter_map(|text| parse(&text)).map(|(address, prefix)| Address {
            address,
            prefix,
            interface: key.clone(),
            from: Origin::Config,
        }));
    }
    found
}

/// `10.0.0.7/24`; words such as `dhcp` are no addresses.
fn parse(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    Some((address.parse().ok()?, bits.and_then(|bits| bits.parse().ok())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn best(data: &Value) -> Option<String> {
        told(data, Origin::Agent).into_iter().find(Address::is_reachable).map(|found| found.address.to_string())
    }

    #[test]
    fn an_address_is_one_that_others_can_reach() {
        let agent = |addresses: &[&str]| {
            let addresses: Vec<Value> =
                addresses.iter().map(|text| json!({"ip-address": text, "prefix": 24})).collect();
            best(&json!({"result": [{"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1"}]},
                {"name": "eth0", "ip-addresses": addresses}]}))
        };
        assert_eq!(agent(&[]), None);
        assert_eq!(agent(&["169.254.3.4", "fe80::1"]), None);
        assert_eq!(agent(&["fe80::1", "10.0.0.7", "2001:db8::7"]).as_deref(), Some("10.0.0.7"));
        let container = json!([{"name": "lo", "inet": "127.0.0.1/8"}, {"name": "eth0", "inet6": "2001:db8::7/64"}]);
        assert_eq!(best(&container).as_deref(), Some("2001:db8::7"));
        assert_eq!(best(&json!(null)), None);
    }

    #[test]
    fn a_configuration_names_addresses_that_are_fixed() {
        let config = |value: Value| GuestConfig(value.as_object().unwrap().clone());
        let vm = config(
            json!({"ipconfig0": "ip=10.0.0.5/24,gw=10.0.0.1,ip6=auto", "ipconfig1": "ip=dhcp", "net0": "virtio"}),
        );
        let found = configured_addresses(GuestKind::Qemu, &vm);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].address.to_string(), found[0].prefix, found[0].interface.as_str()),
            ("10.0.0.5".into(), Some(24), "ipconfig0")
        );
        let container = config(json!({"net0": "name=eth0,ip=10.0.0.6/24,ip6=2001:db8::6/64", "network": "x"}));
        assert_eq!(configured_addresses(GuestKind::Lxc, &container).len(), 2);
    }
}
