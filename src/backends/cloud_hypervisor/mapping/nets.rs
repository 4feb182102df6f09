//! Network interfaces on prepared taps.

use std::ops::RangeInclusive;

use super::{
    super::vmm::config::{NetConfig, RateLimiterConfig},
    check::{refuse, wrong},
    disks::queues,
    facts::Facts,
    memory::vcpus,
    rate::bucket,
    warnings::Warnings,
};
use crate::model::{
    Class, Error, Result,
    config::{
        QemuConfig,
        qemu::{Net, NetModel},
    },
};

/// The slots that Proxmox gives the first interfaces, so that a guest calls them by the same names.
const SLOTS: [u8; 6] = [18, 19, 20, 21, 22, 23];
/// The lowest MTU that a virtio interface may have.
const LOWEST_MTU: u64 = 1280;
/// The VLANs that there are.
const VLANS: RangeInclusive<u64> = 1..=4094;

/// All interfaces, and the taps whose link is down.
pub(super) fn nets(
    config: &QemuConfig,
    facts: &Facts,
    iommu: Option<bool>,
    warnings: &mut Warnings,
) -> Result<(Vec<NetConfig>, Vec<String>)> {
    let (mut nets, mut down) = (Vec::new(), Vec::new());
    for row in config.nets() {
        let (n, wished) = row?;
        let made = net(n, &wished, config, facts, warnings)?;
        if wished.link_down()?.unwrap_or(false) {
            down.extend(made.tap.clone());
        }
        nets.push(NetConfig { iommu, ..made });
    }
    Ok((nets, down))
}

/// Gives interfaces Proxmox's slots, if none of these can be taken by one of `others` devices before.
pub(super) fn place(nets: &mut [NetConfig], others: usize) {
    if others >= usize::from(SLOTS[0]) - 1 {
        return;
    }
    for net in nets {
        let number = net.id.as_deref().and_then(|id| super::keys::number(id, "net"));
        net.pci_device_id = number.and_then(|n| SLOTS.get(usize::from(n))).copied();
    }
}

/// A MAC address in the form the VMM takes.
fn mac(key: &str, text: &str) -> Result<String> {
    let bytes: Vec<Option<u8>> = text
        .split(':')
        .map(|pair| u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2 && !pair.starts_with('+')))
        .collect();
    match bytes.as_slice() {
        [Some(first), rest @ ..] if rest.len() == 5 && rest.iter().all(Option::is_some) && first & 1 == 0 => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err(wrong(key, format!("`{text}` is no MAC address of one interface"))),
    }
}

/// Looks at a card before there is a tap for it: what the mapping would refuse.
///
/// # Errors
/// [`Class::Usage`] with the key, the reason and the way out.
pub fn check_net(key: &str, wished: &Net) -> Result<()> {
    match wished.model()? {
        None | Some(NetModel::Virtio) => {}
        Some(model) => {
            let why = "it emulates no network card";
            return Err(refuse(&format!("{key} model={model}"), why, "use model=virtio"));
        }
    }
    check_place(key, wished)
}

/// Where it is and how long its packets are.
fn check_place(key: &str, wished: &Net) -> Result<()> {
    if wished.bridge()?.is_none_or(|bridge| bridge.is_empty()) {
        let why = "it has no user mode network";
        return Err(refuse(&format!("{key} without a bridge"), why, "name one with bridge=NAME"));
    }
    if let Some(address) = wished.macaddr()? {
        mac(key, &address)?;
    }
    match wished.mtu()? {
        Some(mtu) if mtu != 1 && mtu < LOWEST_MTU => {
            let why = format!("a virtio interface's is at least {LOWEST_MTU}");
            return Err(refuse(&format!("{key} mtu={mtu}"), why, "use 1 for the bridge's own, or a higher one"));
        }
        Some(mtu) if u16::try_from(mtu).is_err() => return Err(wrong(key, format!("mtu={mtu} is too high"))),
        _ => {}
    }
    if let Some(tag) = wished.tag()?.filter(|tag| !VLANS.contains(tag)) {
        return Err(wrong(key, format!("tag={tag} is no VLAN: they are 1 to 4094")));
    }
    trunks(key, wished).map(drop)
}

/// The VLANs that `trunks` lets through besides: `5;10-20`.
///
/// # Errors
/// [`Class::Usage`] for what is no VLAN.
pub fn trunks(key: &str, wished: &Net) -> Result<Vec<RangeInclusive<u16>>> {
    let vlan = |text: &str| text.parse::<u16>().ok().filter(|vlan| VLANS.contains(&u64::from(*vlan)));
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let range = vlan(from).zip(vlan(to)).filter(|(from, to)| from <= to).map(|(from, to)| from..=to);
        range.ok_or_else(|| wrong(key, format!("trunks={text} is neither a VLAN nor a range of them, such as 10-20")))
    };
    wished.trunks()?.unwrap_or_default().iter().map(range).collect()
}

fn net(n: u16, wished: &Net, config: &QemuConfig, facts: &Facts, warnings: &mut Warnings) -> Result<NetConfig> {
    let key = &format!("net{n}");
    match wished.model()? {
        Some(model) if model != NetModel::Virtio && facts.lenient => {
            warnings.say(key, format!("a virtio interface instead of {model}"));
            check_place(key, wished)?;
        }
        _ => check_net(key, wished)?,
    }
    let tap = facts.taps.get(&n).ok_or_else(|| Error::new(Class::Bug, format!("no tap was prepared for {key}")))?;
    let Some(address) = wished.macaddr()? else {
        return Err(Error::new(Class::Bug, format!("{key} was given no MAC address")));
    };
    let mtu = match wished.mtu()? {
        Some(1) => tap.bridge_mtu,
        other => other.and_then(|mtu| u16::try_from(mtu).ok()),
    };
    let rate = wished.rate()?.filter(|rate| *rate > 0.0);
    Ok(NetConfig {
        tap: Some(tap.name.clone()),
        mac: Some(mac(key, &address)?),
        mtu,
        num_queues: queues(key, wished.queues()?, vcpus(config, facts)?.0, warnings).map(|pairs| pairs * 2),
        rate_limiter_config: rate
            .map(|rate| RateLimiterConfig { bandwidth: Some(bucket(rate * 1e6)), ..RateLimiterConfig::default() }),
        id: Some(key.clone()),
        ..NetConfig::default()
    })
}
