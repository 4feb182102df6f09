//! The texts of a cloud-init seed (NoCloud): user-data, meta-data, network-config.
//!
//! They are JSON, which is YAML: nothing in a name, a key or a password can be taken for markup. Building the image is
//! `disk`'s.

use serde_json::{Map, Value, json};
use sha_crypt::{PasswordHasher as _, ShaCrypt};
use sha2::{Digest as _, Sha256};

use super::{check::wrong, disks::is_seed, facts::SeedFacts};
use crate::model::{
    Class, Error, List, Result,
    config::{QemuConfig, qemu::IpConfig},
};

/// The files of a seed; what is `None` is not there. It has a password's hash in it: for the owner's eyes only, and
/// never printed, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    /// `user-data`.
    pub user_data: String,
    /// `meta-data`.
    pub meta_data: String,
    /// `network-config`; without one the guest asks DHCP on its first interface.
    pub network_config: Option<String>,
    /// `vendor-data`.
    pub vendor_data: Option<String>,
}

/// The seed that a configuration asks for; `None` if no drive of it is for one.
///
/// # Errors
/// When a value cannot be read, or the text of a `cicustom` volume is missing.
pub fn seed(config: &QemuConfig, facts: &SeedFacts) -> Result<Option<Seed>> {
    let drive = |text: Option<&str>| text.is_some_and(is_seed);
    let wanted = config.disks()?.iter().any(|(_, disk)| drive(disk.text("file")))
        || config.cdrom()?.is_some_and(|disk| drive(disk.text("file")));
    if !wanted {
        return Ok(None);
    }
    let user_data = user_text(config, facts)?;
    let network_config = network_text(config, facts)?;
    let meta_data = match custom(config, facts, "meta")? {
        Some(text) => text,
        None => {
            // As on Proxmox, a change of the texts makes the guest look at them again; unlike there, the host's own
            // nameservers do not, which on a laptop change with the place.
            let said = SeedFacts { nameservers: Vec::new(), searchdomains: Vec::new(), ..facts.clone() };
            let (user, network) = (user_text(config, &said)?, network_text(config, &said)?);
            let mut id = Sha256::new();
            for part in [&facts.uuid, &user, network.as_deref().unwrap_or_default()] as [&str; 3] {
                id.update(part.len().to_le_bytes());
                id.update(part);
            }
            let id: String = id.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
            let mut meta = json!({"instance-id": id});
            if let Some(name) = config.name()? {
                meta["local-hostname"] = name.into();
            }
            format!("{}\n", yaml(&meta))
        }
    };
    Ok(Some(Seed { user_data, meta_data, network_config, vendor_data: custom(config, facts, "vendor")? }))
}

/// A text of the user's own.
fn custom(config: &QemuConfig, facts: &SeedFacts, part: &str) -> Result<Option<String>> {
    let volumes = config.cicustom()?;
    if volumes.as_ref().and_then(|volumes| volumes.text(part)).is_none() {
        return Ok(None);
    }
    let text = facts.custom.get(part).cloned();
    text.map(Some).ok_or_else(|| Error::new(Class::Bug, format!("cicustom's {part} was not read")))
}

fn user_text(config: &QemuConfig, facts: &SeedFacts) -> Result<String> {
    match custom(config, facts, "user")? {
        Some(text) => Ok(text),
        None => Ok(format!("#cloud-config\n{}\n", yaml(&user(config, facts)?))),
    }
}

fn network_text(config: &QemuConfig, facts: &SeedFacts) -> Result<Option<String>> {
    match custom(config, facts, "network")? {
        Some(text) => Ok(Some(text)),
        None => Ok(network(config, facts)?.map(|network| format!("{}\n", yaml(&network)))),
    }
}

/// A password as `crypt(3)` has it, SHA-512; one that is hashed already stays. The salt comes from the machine's uuid:
/// other on each machine, and the same each time, so that a guest does not think that it is a new one.
///
/// # Errors
/// When the password is empty or cannot be hashed.
pub fn hash_password(password: &str, uuid: &str) -> Result<String> {
    if password.is_empty() {
        return Err(wrong("cipassword", "an empty password lets everybody in; leave it out for none"));
    }
    let is_hash = |text: &str| {
        text.strip_prefix('$').and_then(|rest| rest.split_once('$')).is_some_and(|(id, rest)| {
            (1..=8).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()) && rest.contains('$')
        })
    };
    if is_hash(password) {
        return Ok(password.to_owned());
    }
    let salt = Sha256::new().chain_update("pvectl cipassword ").chain_update(uuid).finalize();
    // Twelve bytes are the sixteen characters that a salt may have.
    let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &salt[..12]);
    let failed = |_| Error::new(Class::Failed, "the password of cipassword cannot be hashed");
    Ok(hash.map_err(failed)?.to_string())
}

/// JSON that every reader of YAML 1.1 takes: what it may not contain, or takes for the end of a line, is escaped.
fn yaml(value: &Value) -> String {
    let text = format!("{value:#}");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let plain = matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}')
            || matches!(c, '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..);
        if plain {
            out.push(c);
        } else {
            // Only strings have such characters, and none of these is beyond 16 bits.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}

fn user(config: &QemuConfig, facts: &SeedFacts) -> Result<Value> {
    let mut user = Map::new();
    if let Some(name) = config.name()? {
        let (host, domain) = name.split_once('.').map_or((name.as_str(), None), |(host, rest)| (host, Some(rest)));
        let search = searchdomains(config, facts)?;
        user.insert("hostname".into(), host.into());
        if let Some(domain) = domain.or_else(|| search.first().map(String::as_str)) {
            user.insert("fqdn".into(), format!("{host}.{domain}").into());
        }
    }
    user.insert("manage_etc_hosts".into(), true.into());
    if let Some(name) = config.ciuser()?.filter(|name| !name.is_empty()) {
        if name == "root" {
            user.insert("disable_root".into(), false.into());
        }
        user.insert("user".into(), name.into());
    }
    if let Some(password) = config.cipassword()? {
        user.insert("password".into(), hash_password(&password, &facts.uuid)?.into());
    }
    let keys = config.sshkeys()?.map(|keys| keys.0).unwrap_or_default();
    let keys: Vec<Value> =
        keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(Into::into).collect();
    if !keys.is_empty() {
        user.insert("ssh_authorized_keys".into(), keys.into());
    }
    user.insert("chpasswd".into(), json!({"expire": false}));
    user.insert("users".into(), json!(["default"]));
    user.insert("package_upgrade".into(), config.ciupgrade()?.unwrap_or(true).into());
    Ok(user.into())
}

fn searchdomains(config: &QemuConfig, facts: &SeedFacts) -> Result<Vec<String>> {
    Ok(match config.searchdomain()? {
        Some(domains) => List::from(domains.as_str()).iter().map(str::to_owned).collect(),
        None => facts.searchdomains.clone(),
    })
}

/// Network configuration version 2, for the interfaces that have an `ipconfig[n]`.
fn network(config: &QemuConfig, facts: &SeedFacts) -> Result<Option<Value>> {
    let nameservers: Vec<String> = match config.nameserver()? {
        Some(servers) => servers.iter().map(str::to_owned).collect(),
        None => facts.nameservers.clone(),
    };
    let search = searchdomains(config, facts)?;
    let mut ethernets = Map::new();
    for row in config.ipconfigs() {
        let (n, ip) = row?;
        let Some(net) = config.net(n)? else { continue };
        let Some(mac) = net.macaddr()? else {
            return Err(Error::new(Class::Bug, format!("net{n} was given no MAC address")));
        };
        let mut one = interface(&format!("ipconfig{n}"), &ip)?;
        // By its address, for its name is the guest's choice.
        one["match"] = json!({"macaddress": mac.to_ascii_lowercase()});
        one["set-name"] = format!("eth{n}").into();
        let mut dns = Map::new();
        for (key, values) in [("addresses", &nameservers), ("search", &search)] {
            if !values.is_empty() {
                dns.insert(key.into(), values.clone().into());
            }
        }
        if !dns.is_empty() {
            one["nameservers"] = dns.into();
        }
        ethernets.insert(format!("eth{n}"), one);
    }
    Ok((!ethernets.is_empty()).then(|| json!({"version": 2, "ethernets": ethernets})))
}

/// Addresses and routes of one interface. DHCP where nothing is said, as on Proxmox.
fn interface(key: &str, ip: &IpConfig) -> Result<Value> {
    let (mut addresses, mut routes) = (Vec::<Value>::new(), Vec::<Value>::new());
    let (v4, v6) = (ip.ip()?, ip.ip6()?);
    let mut one = json!({});
    match v4.as_deref() {
        Some("dhcp") => one["dhcp4"] = true.into(),
        None if v6.is_none() => one["dhcp4"] = true.into(),
        None | Some("manual") => {}
        Some(address) => addresses.push(cidr::<std::net::Ipv4Addr>(key, address, 32)?.into()),
    }
    match v6.as_deref() {
        Some("dhcp") => one["dhcp6"] = true.into(),
        Some("auto") => one["accept-ra"] = true.into(),
        None | Some("manual") => {}
        Some(address) => addresses.push(cidr::<std::net::Ipv6Addr>(key, address, 128)?.into()),
    }
    for (gateway, all, of) in [(ip.gw()?, "0.0.0.0/0", &v4), (ip.gw6()?, "::/0", &v6)] {
        let Some(gateway) = gateway else { continue };
        if of.as_deref().is_none_or(|ip| matches!(ip, "dhcp" | "auto" | "manual")) {
            return Err(wrong(key, format!("the gateway {gateway} goes with an address of its own kind")));
        }
        if gateway.parse::<std::net::IpAddr>().is_err() || gateway.contains(':') != all.contains(':') {
            return Err(wrong(key, format!("`{gateway}` is no address of a gateway")));
        }
        routes.push(json!({"to": all, "via": gateway}));
    }
    for (name, values) in [("addresses", addresses), ("routes", routes)] {
        if !values.is_empty() {
            one[name] = values.into();
        }
    }
    Ok(one)
}

/// An address with its prefix, as it was written.
fn cidr<A: std::str::FromStr>(key: &str, text: &str, longest: u8) -> Result<String> {
    let good = text.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<A>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
    });
    if good {
        return Ok(text.to_owned());
    }
    let example = if longest == 32 { "192.0.2.10/24" } else { "2001:db8::10/64" };
    Err(wrong(key, format!("`{text}` is no address with a prefix, such as {example}")))
}
