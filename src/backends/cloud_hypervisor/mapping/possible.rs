//! Whether a configuration could run here, asked before anything of it is made.
//!
//! The mapping itself answers; what a start would make first (taps, sockets, an address for a card) is supposed to be there.

use super::{SeedFacts, Tap, Volume, Vsock, build::map, facts::Facts, keys::number, seed::seed};
use crate::{
    backends::cloud_hypervisor::vmm::config::ImageType,
    model::{Result, config::QemuConfig},
};

/// An address for a card that has none yet.
const SUPPOSED_MAC: &str = "02:00:00:00:00:01";

/// Looks at a whole configuration. `host` needs what is true of the host alone, and the volumes that are there: all that
/// is missing is supposed.
///
/// # Errors
/// As [`map`] and [`seed`]: [`Class::Usage`](crate::model::Class::Usage) with key, reason and way out.
pub fn possible(config: &QemuConfig, host: &Facts) -> Result<()> {
    let (mut config, mut facts) = (config.clone(), host.clone());
    facts.firmware.get_or_insert_with(|| "CLOUDHV.fd".into());
    facts.vsock.get_or_insert_with(|| Vsock { cid: 3, socket: "vsock.sock".into() });
    for (key, disk) in config.disks()? {
        let format = disk.format()?.map_or(ImageType::Raw, |format| match format.as_str() {
            "qcow2" => ImageType::Qcow2,
            _ => ImageType::Raw,
        });
        let supposed = || Volume { path: (&key).into(), format, size: 0, backing: false };
        facts.volumes.entry(key.clone()).or_insert_with(supposed);
    }
    if config.cdrom()?.is_some() {
        facts.volumes.entry("ide2".to_owned()).or_insert_with(|| Volume { path: "ide2".into(), ..raw() });
    }
    for row in config.nets().collect::<Result<Vec<_>>>()? {
        let (n, mut net) = row;
        facts.taps.entry(n).or_insert_with(|| Tap { name: format!("tap{n}"), bridge_mtu: None });
        if net.macaddr()?.is_none() {
            net.set_macaddr(SUPPOSED_MAC)?;
            config.set_net(n, net);
        }
    }
    for key in config.as_ref().0.keys() {
        if let Some(n) = number(key, "virtiofs") {
            facts.virtiofs.entry(n).or_insert_with(|| format!("fs{n}.sock").into());
        }
    }
    map(&config, &facts)?;
    seed(&config, &SeedFacts { uuid: facts.uuid, ..SeedFacts::default() }).map(drop)
}

fn raw() -> Volume {
    Volume { format: ImageType::Raw, ..Volume::default() }
}
