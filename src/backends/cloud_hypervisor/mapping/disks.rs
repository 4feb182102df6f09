//! Disks: which first, and what of Proxmox's options the VMM's have.

use super::{
    super::vmm::config::{DiskConfig, ImageType, RateLimiterConfig},
    check::{refuse, wrong},
    facts::{Facts, Volume},
    memory::vcpus,
    rate::bucket_with_burst,
    warnings::Warnings,
};
use crate::model::{
    Class, Error, Result,
    config::{
        QemuConfig,
        qemu::{Disk, DiskCache, DiskDiscard, DiskFormat, DiskMedia},
    },
};

/// Bytes of a serial number that a virtio disk can have.
const SERIAL: usize = 20;

/// Whether a volume is a machine's cloud-init seed: `local:cloudinit` when it is to be made, `…-cloudinit` after.
pub fn is_seed(volume: &str) -> bool {
    let name = volume.rsplit([':', '/']).next().unwrap_or(volume);
    let name = name.split('.').next().unwrap_or(name);
    name == "cloudinit" || name.ends_with("-cloudinit")
}

/// A drive of the configuration.
pub(super) struct Drive {
    /// Its key.
    pub(super) key: String,
    /// Its options.
    pub(super) disk: Disk,
}

impl Drive {
    /// The volume, if anything lies in the drive.
    pub(super) fn volume(&self) -> Option<&str> {
        self.disk.text("file").filter(|volume| *volume != "none")
    }

    fn is_seed(&self) -> bool {
        self.volume().is_some_and(is_seed)
    }

    fn is_cdrom(&self) -> Result<bool> {
        Ok(self.disk.media()? == Some(DiskMedia::Cdrom) || self.is_seed())
    }
}

/// All drives that have a volume, in the order of the buses.
pub(super) fn drives(config: &QemuConfig) -> Result<Vec<Drive>> {
    let mut all: Vec<_> = config.disks()?.into_iter().map(|(key, disk)| Drive { key, disk }).collect();
    if let Some(mut disk) = config.cdrom()? {
        if all.iter().any(|drive| drive.key == "ide2") {
            return Err(wrong("cdrom", "it is another name of ide2, and both are there"));
        }
        disk.set_media(DiskMedia::Cdrom)?;
        all.push(Drive { key: "ide2".to_owned(), disk });
    }
    all.retain(|drive| drive.volume().is_some());
    Ok(all)
}

/// The drives as the guest is to find them: what is booted first, then disks, then what can only be read.
fn in_order(config: &QemuConfig) -> Result<Vec<Drive>> {
    let mut drives = drives(config)?;
    let mut first: Vec<String> = Vec::new();
    let mut cdrom_first = false;
    if let Some(boot) = config.boot()? {
        for device in boot.order()?.unwrap_or_default().iter() {
            if config.as_ref().text(device).is_none() && !drives.iter().any(|drive| drive.key == device) {
                return Err(wrong("boot", format!("there is no device `{device}`")));
            }
            // Behind a disk it is what Proxmox writes by itself, and never comes to pass.
            if device.starts_with("net") && first.is_empty() {
                return Err(net_boot());
            }
            if drives.iter().any(|drive| drive.key == device) {
                first.push(device.to_owned());
            }
        }
        let legacy = boot.legacy()?.unwrap_or_default();
        if legacy.starts_with('n') {
            return Err(net_boot());
        }
        cdrom_first = legacy.starts_with('d');
    }
    first.extend(config.bootdisk()?);
    let mut ranked = Vec::new();
    for drive in drives.drain(..) {
        let place = first.iter().position(|key| *key == drive.key).unwrap_or(first.len());
        let cdrom = drive.is_cdrom()?;
        // The seed is never booted.
        let group = if drive.is_seed() { 2 } else { u8::from(cdrom != cdrom_first) };
        ranked.push(((place, group), drive));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    Ok(ranked.into_iter().map(|(_, drive)| drive).collect())
}

fn net_boot() -> Error {
    refuse("boot from the network", "the firmware is not set up for it", "name a disk first, or boot a kernel of yours")
}

/// All disks, and the key of the one with the seed.
pub(super) fn disks(
    config: &QemuConfig,
    facts: &Facts,
    iommu: Option<bool>,
    warnings: &mut Warnings,
) -> Result<(Vec<DiskConfig>, Option<String>)> {
    let mut seed = None;
    let mut found = Vec::new();
    for drive in in_order(config)? {
        if drive.is_seed() && seed.replace(drive.key.clone()).is_some() {
            return Err(wrong(&drive.key, "there is a second cloud-init drive"));
        }
        found.push(DiskConfig { iommu, ..disk(&drive, config, facts, warnings)? });
    }
    for (n, disk) in found.iter().enumerate() {
        if let Some(twin) = found[..n].iter().find(|before| before.path == disk.path) {
            let (key, twin) = (disk.id.as_deref().unwrap_or_default(), twin.id.as_deref().unwrap_or_default());
            return Err(wrong(key, format!("its volume is {twin}'s too")));
        }
    }
    Ok((found, seed))
}

fn disk(drive: &Drive, config: &QemuConfig, facts: &Facts, warnings: &mut Warnings) -> Result<DiskConfig> {
    let (key, disk) = (drive.key.as_str(), &drive.disk);
    if drive.volume() == Some("cdrom") {
        let why = "the host's CD drive cannot be passed through";
        return Err(refuse(&format!("{key}=cdrom"), why, "copy the disc to an ISO image"));
    }
    let volume = facts
        .volumes
        .get(key)
        .ok_or_else(|| Error::new(Class::Bug, format!("the volume of {key} was not looked up")))?;
    let cdrom = drive.is_cdrom()?;
    if !key.starts_with("virtio") && !cdrom {
        warnings.note(key, "the guest sees a virtio disk, /dev/vdX and not /dev/sdX: let it mount by UUID or label");
    }
    let template = config.template()?.unwrap_or(false);
    let readonly = cdrom || template || disk.ro()?.unwrap_or(false);
    Ok(DiskConfig {
        path: Some(volume.path.clone()),
        image_type: Some(image_type(key, disk, volume)?),
        backing_files: volume.backing.then_some(true),
        readonly: readonly.then_some(true),
        direct: matches!(disk.cache()?, Some(DiskCache::None | DiskCache::Directsync)).then_some(true),
        sparse: sparse(key, disk, readonly, warnings)?,
        num_queues: queues(key, disk.queues()?, vcpus(config, facts)?.0, warnings),
        serial: serial(key, disk)?,
        rate_limiter_config: limits(key, disk, warnings)?,
        id: Some(key.to_owned()),
        ..DiskConfig::default()
    })
}

/// Whether discarded space is given back. Where nothing is said it is: the VMM's other way is to allocate the whole image
/// when it starts, which breaks up what clones share and fills the host.
fn sparse(key: &str, disk: &Disk, readonly: bool, warnings: &mut Warnings) -> Result<Option<bool>> {
    let sparse = disk.discard()?.map(|discard| discard == DiskDiscard::On);
    if sparse == Some(false) && !readonly {
        warnings.say(key, "with discard=ignore the whole disk is allocated on the host at start");
    }
    Ok(sparse)
}

/// How many queues: no more than processors at start.
pub(super) fn queues(key: &str, asked: Option<u64>, vcpus: u32, warnings: &mut Warnings) -> Option<u32> {
    let asked = asked.filter(|asked| *asked > 0)?;
    if asked > u64::from(vcpus) {
        warnings.say(key, format!("{vcpus} queues instead of {asked}, one for each processor"));
    }
    Some(u32::try_from(asked).unwrap_or(vcpus).min(vcpus))
}

/// The format, always said: what was found, which has to be what was written.
fn image_type(key: &str, disk: &Disk, volume: &Volume) -> Result<ImageType> {
    let said = match disk.format()? {
        None => None,
        Some(DiskFormat::Raw) => Some(ImageType::Raw),
        Some(DiskFormat::Qcow2) => Some(ImageType::Qcow2),
        Some(other) => {
            let what = format!("{key} format={other}");
            return Err(refuse(&what, "it reads raw, qcow2, VHD and VHDX", "convert it to qcow2 with qemu-img"));
        }
    };
    match (&volume.format, said) {
        (ImageType::Unknown | ImageType::Other(_), _) => {
            Err(wrong(key, format!("what format {} has is not known", volume.path.display())))
        }
        (found, Some(said)) if *found != said => {
            let path = volume.path.display();
            Err(wrong(key, format!("format says {said}, and {path} is {found}")))
        }
        (found, _) => Ok(found.clone()),
    }
}

fn serial(key: &str, disk: &Disk) -> Result<Option<String>> {
    let serial = disk.serial()?.map(|serial| serial.0);
    match serial {
        Some(long) if long.len() > SERIAL => {
            let why = format!("a virtio disk's has {SERIAL} bytes, not {}", long.len());
            Err(refuse(&format!("{key} serial"), why, "use a shorter one"))
        }
        serial => Ok(serial),
    }
}

/// Limits on reads and writes together.
fn limits(key: &str, disk: &Disk, warnings: &mut Warnings) -> Result<Option<RateLimiterConfig>> {
    // Proxmox's megabytes of a disk are mebibytes; what is not above zero is no limit.
    let megabytes = |value: Option<f64>| value.filter(|value| *value > 0.0).map(|value| value * 1_048_576.0);
    let operations = |value: Option<i64>| value.filter(|value| *value > 0).map(|value| value as f64);
    let (mbps, mbps_max) = (megabytes(disk.mbps()?), megabytes(disk.mbps_max()?));
    let (iops, iops_max) = (operations(disk.iops()?), operations(disk.iops_max()?));
    for (burst, base, name) in [(mbps_max, mbps, "mbps"), (iops_max, iops, "iops")] {
        match (burst, base) {
            (Some(_), None) => return Err(wrong(key, format!("{name}_max is a burst above {name}, which is missing"))),
            (Some(_), Some(_)) => warnings.say(key, "a burst is granted once, not again and again"),
            _ => {}
        }
    }
    let long = |seconds: Option<u64>| seconds.unwrap_or(1).max(1) as f64;
    let (mbps_max, iops_max) = (
        mbps_max.map(|burst| burst * long(disk.bps_max_length().ok().flatten())),
        iops_max.map(|burst| burst * long(disk.iops_max_length().ok().flatten())),
    );
    let limits = RateLimiterConfig {
        bandwidth: mbps.map(|rate| bucket_with_burst(rate, mbps_max)),
        ops: iops.map(|rate| bucket_with_burst(rate, iops_max)),
        ..RateLimiterConfig::default()
    };
    Ok(Some(limits).filter(|limits| *limits != RateLimiterConfig::default()))
}
