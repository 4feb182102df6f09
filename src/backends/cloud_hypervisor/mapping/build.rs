//! Puts a machine's whole configuration together from its parts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::vmm::config::{
        ConsoleConfig, ConsoleMode, DeviceConfig, FsConfig, LandlockConfig, PayloadConfig, PlatformConfig, RngConfig,
        SerialConfig, TpmConfig, VmConfig, VsockConfig,
    },
    check::{check, refuse, wrong},
    disks::disks,
    facts::Facts,
    keys::{CMDLINE, INITRD, KERNEL, LANDLOCK, PATCH, SERIAL_LOG},
    memory::{balloon, cpus, memory},
    nets::{nets, place},
    warnings::Warnings,
};
use crate::model::{
    Class, Error, Hint, Result,
    config::{
        QemuConfig,
        qemu::{Bios, MachineViommu, Smbios},
    },
    is_host_name,
};

/// Bytes of a request that Cloud Hypervisor takes, up to v53.
pub const BODY_LIMIT: usize = 51_200;
/// Bytes of the name by which a guest mounts a shared directory.
const TAG: usize = 36;

/// What a configuration becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// What the VMM is given.
    pub config: VmConfig,
    /// What is to be said, a sentence each.
    pub warnings: Vec<String>,
    /// What is good to know, a sentence each; nothing is wrong.
    pub notes: Vec<String>,
    /// The key of the drive that holds the cloud-init seed, if there is one.
    pub seed_drive: Option<String>,
    /// Taps whose link is to be taken down.
    pub links_down: Vec<String>,
    /// Whether the machine is to be paused as soon as it runs (`freeze`).
    pub freeze: bool,
}

/// Maps a configuration.
///
/// # Errors
/// [`Class::Usage`] for what cannot be had, with key, reason and way out; [`Class::Bug`] where a fact is missing.
pub fn map(config: &QemuConfig, facts: &Facts) -> Result<Mapped> {
    let mut warnings = Warnings::default();
    check(config, facts, &mut warnings)?;
    name(config)?;
    let machine = config.machine()?.unwrap_or_default();
    let iommu = viommu(config, &mut warnings)?;
    let fs = shares(config, facts)?;
    let (memory, numa) = memory(config, facts, !fs.is_empty(), &mut warnings)?;
    let (disks, seed_drive) = disks(config, facts, iommu, &mut warnings)?;
    let (mut net, links_down) = nets(config, facts, iommu, &mut warnings)?;
    let devices = devices(config, facts, iommu)?;
    let mut platform = platform(&config.smbios1()?.unwrap_or_default(), facts)?;
    platform.iommu_address_width_bits = machine.aw_bits()?.map(|bits| bits.clamp(0.0, 64.0) as u8);
    let mut built = VmConfig {
        cpus: Some(cpus(config, facts, &mut warnings)?),
        memory: Some(memory),
        payload: Some(payload(config, facts, &mut warnings)?),
        numa,
        balloon: balloon(config, &mut warnings)?,
        rng: config
            .rng0()?
            .map(|rng| rng.text("source").unwrap_or("/dev/urandom").to_owned())
            .map(|source| RngConfig { src: source.into(), id: Some("rng0".to_owned()), ..RngConfig::default() }),
        serial: Some(serial(config, facts)?),
        // The VMM's own terminal, its default, is nobody's.
        console: Some(ConsoleConfig { mode: ConsoleMode::Off, ..ConsoleConfig::default() }),
        vsock: vsock(config, facts)?,
        iommu,
        watchdog: config.watchdog()?.map(|_| true),
        platform: Some(platform),
        tpm: tpm(config, facts)?,
        ..VmConfig::default()
    };
    // Interfaces have fixed slots, whatever else there is: the source of randomness, balloon, vsock, watchdog, memory
    // that grows, IOMMU and pvpanic take one each.
    place(&mut net, disks.len() + fs.len() + devices.len() + 8);
    (built.disks, built.net, built.fs, built.devices) = (disks, net, fs, devices);
    confine(config, facts, &mut built)?;
    if let Some(patch) = config.as_ref().0.get(PATCH).filter(|patch| !patch.is_null()) {
        built = patched(&built, patch)?;
    }
    check_size(&built)?;
    let (warnings, notes) = warnings.sentences();
    Ok(Mapped { config: built, warnings, notes, seed_drive, links_down, freeze: config.freeze()?.unwrap_or(false) })
}

/// Refuses what is too long for one request of the VMM's; also to be asked once rules for Landlock were added.
///
/// # Errors
/// [`Class::Usage`] with the number of disks and rules.
pub fn check_size(config: &VmConfig) -> Result<()> {
    let bytes = serde_json::to_vec(config).map_or(0, |body| body.len());
    if bytes <= BODY_LIMIT {
        return Ok(());
    }
    let (disks, rules) = (config.disks.len(), config.landlock_rules.len());
    Err(Error::usage(format!(
        "the machine's configuration has {bytes} bytes with {disks} disks and {rules} Landlock rules, and Cloud \
         Hypervisor takes {BODY_LIMIT}"
    ))
    .with_hint(Hint::Text("use fewer disks, shorter paths, or one folder for all of them".to_owned())))
}

/// What every VMM needs for its taps: their flags are read from sysfs, and one may be added later.
const FOR_TAPS: [(&str, &str); 2] = [("/sys/devices/virtual/net", "r"), ("/dev/net/tun", "rw")];

/// Has the VMM lock itself into its files, if that is asked for.
fn confine(config: &QemuConfig, facts: &Facts, built: &mut VmConfig) -> Result<()> {
    match (own(config, LANDLOCK).as_deref(), &facts.landlock) {
        (None | Some("0"), _) => {}
        (Some("1"), None) => {
            let way_out = "leave it out, or turn Landlock on: `pvectl check` says how";
            return Err(refuse("x-landlock=1", "this host's kernel does not confine processes to files", way_out));
        }
        (Some("1"), Some(paths)) => {
            let for_taps = FOR_TAPS.map(|(path, access)| LandlockConfig::new(path, access));
            built.landlock_enable = Some(true);
            built.landlock_rules = paths.iter().cloned().chain(for_taps).collect();
        }
        (Some(other), _) => return Err(wrong(LANDLOCK, format!("`{other}` is neither 0 nor 1"))),
    }
    Ok(())
}

/// A key of our own as text.
fn own(config: &QemuConfig, key: &str) -> Option<String> {
    config.as_ref().0.get(key).filter(|value| !value.is_null()).and_then(|_| config.as_ref().text(key))
}

/// The name is the guest's host name, too.
fn name(config: &QemuConfig) -> Result<()> {
    let Some(name) = config.name()? else { return Ok(()) };
    if is_host_name(&name) {
        return Ok(());
    }
    Err(wrong("name", format!("`{name}` is no DNS name: letters, digits and hyphens, with dots between labels")))
}

fn viommu(config: &QemuConfig, warnings: &mut Warnings) -> Result<Option<bool>> {
    let Some(machine) = config.machine()? else { return Ok(None) };
    if let Some(kind) = machine.kind()?.filter(|kind| kind != "q35" && !kind.starts_with("pc-q35-")) {
        let why = "it has one kind of machine, which is nearest to q35";
        return Err(refuse(&format!("machine={kind}"), why, "leave machine out, or use q35"));
    }
    Ok(match machine.viommu()? {
        None => None,
        Some(MachineViommu::Virtio) => Some(true),
        Some(_) => {
            warnings.say("machine", "the IOMMU is a virtio one");
            Some(true)
        }
    })
}

/// What is booted: a kernel of the user's, or the firmware.
fn payload(config: &QemuConfig, facts: &Facts, warnings: &mut Warnings) -> Result<PayloadConfig> {
    let bios = config.bios()?;
    if let Some(kernel) = own(config, KERNEL) {
        if bios.is_some() {
            warnings.say("bios", "no effect, a kernel is booted directly");
        }
        return Ok(PayloadConfig {
            kernel: Some(kernel.into()),
            initramfs: own(config, INITRD).map(Into::into),
            cmdline: own(config, CMDLINE),
            ..PayloadConfig::default()
        });
    }
    for key in [INITRD, CMDLINE] {
        if own(config, key).is_some() {
            return Err(wrong(key, format!("it goes with {KERNEL}, which is missing")));
        }
    }
    match bios {
        Some(Bios::Ovmf) => {}
        None => warnings.say("bios", "the firmware is a UEFI one, as with bios=ovmf"),
        Some(bios) => {
            return Err(refuse(&format!("bios={bios}"), "its firmware is a UEFI one", "use bios=ovmf"));
        }
    }
    let Some(firmware) = facts.firmware.clone() else {
        return Err(Error::not_found("no firmware was found to boot with, CLOUDHV.fd").with_hint(Hint::Text(
            "`pvectl check` says where it is looked for; or boot a kernel directly".to_owned(),
        )));
    };
    Ok(PayloadConfig { firmware: Some(firmware), ..PayloadConfig::default() })
}

fn serial(config: &QemuConfig, facts: &Facts) -> Result<SerialConfig> {
    let mut port = SerialConfig { mode: ConsoleMode::Null, ..SerialConfig::default() };
    for row in config.serials() {
        let (n, wished) = row?;
        let key = format!("serial{n}");
        if n > 0 {
            return Err(refuse(&key, "it has one serial port", "use serial0"));
        }
        if wished != "socket" {
            let why = "a serial port of the host cannot be passed through";
            return Err(refuse(
                &format!("{key}={wished}"),
                why,
                "use serial0=socket, whose console is `pvectl vm console`",
            ));
        }
        port.mode = ConsoleMode::Socket;
        port.socket = Some(facts.serial_socket.clone());
    }
    match own(config, SERIAL_LOG).as_deref() {
        None | Some("0") => Ok(port),
        // Standard output, which is a file that is only added to; the VMM cuts one that it opens itself at every reset.
        Some("1") => Ok(SerialConfig { mode: ConsoleMode::Tty, ..SerialConfig::default() }),
        Some(other) => Err(wrong(SERIAL_LOG, format!("`{other}` is neither 1 nor 0"))),
    }
}

fn vsock(config: &QemuConfig, facts: &Facts) -> Result<Option<VsockConfig>> {
    if !config.agent()?.map(|agent| agent.enabled()).transpose()?.flatten().unwrap_or(false) {
        return Ok(None);
    }
    let Some(vsock) = &facts.vsock else { return Err(Error::new(Class::Bug, "no vsock was prepared for the agent")) };
    Ok(Some(VsockConfig {
        cid: vsock.cid,
        socket: vsock.socket.clone(),
        id: Some("vsock0".to_owned()),
        ..VsockConfig::default()
    }))
}

fn tpm(config: &QemuConfig, facts: &Facts) -> Result<Option<TpmConfig>> {
    if config.tpmstate0()?.is_none() {
        return Ok(None);
    }
    match facts.tpm_socket.clone() {
        Some(socket) => Ok(Some(TpmConfig { socket, ..TpmConfig::default() })),
        None => Err(refuse("tpmstate0", "no swtpm was found that could be the TPM", "install swtpm, or leave it out")),
    }
}

fn shares(config: &QemuConfig, facts: &Facts) -> Result<Vec<FsConfig>> {
    let mut found: Vec<FsConfig> = Vec::new();
    for row in config.virtiofs_all() {
        let (n, share) = row?;
        let key = format!("virtiofs{n}");
        let Some(tag) = share.dirid()? else { return Err(wrong(&key, "it needs the name of a directory mapping")) };
        if tag.len() > TAG {
            return Err(wrong(&key, format!("`{tag}` is longer than the {TAG} bytes by which a guest can mount it")));
        }
        if found.iter().any(|before| before.tag == tag) {
            return Err(wrong(&key, format!("`{tag}` is shared already")));
        }
        let Some(socket) = facts.virtiofs.get(&n).cloned() else {
            let instead = "say what: `pvectl vm add fs … --source DIR`";
            return Err(refuse(&key, format!("nothing serves `{tag}`"), instead));
        };
        found.push(FsConfig { tag, socket, id: Some(key), ..FsConfig::default() });
    }
    Ok(found)
}

/// A full address on the PCI bus: `01:00.0` with or without its domain.
fn address(key: &str, text: &str) -> Result<String> {
    let (domain, rest) = match text.split(':').count() {
        2 => ("0000", text),
        _ => text.split_once(':').unwrap_or(("", text)),
    };
    let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = rest.split_once(':').map(|(bus, slot)| (bus, slot.split_once('.')));
    match parts {
        Some((bus, Some((slot, function)))) if hex(domain, 4) && hex(bus, 2) && hex(slot, 2) && hex(function, 1) => {
            Ok(format!("{domain}:{rest}").to_ascii_lowercase())
        }
        Some((bus, None)) if hex(domain, 4) && hex(bus, 2) => {
            Err(wrong(key, format!("`{text}` names no function: write each one, such as {text}.0")))
        }
        _ => Err(wrong(key, format!("`{text}` is no address on the PCI bus, such as 0000:01:00.0"))),
    }
}

/// The devices of the host that a configuration asks for: the id of each in the VMM, and its full address.
///
/// # Errors
/// [`Class::Usage`] for what is no address or stands there twice, [`Class::NotFound`] for a mapping that there is not.
pub fn host_devices(config: &QemuConfig, mappings: &BTreeMap<String, Vec<String>>) -> Result<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for row in config.hostpcis() {
        let (n, device) = row?;
        let key = format!("hostpci{n}");
        let addresses: Vec<String> = match device.mapping()? {
            Some(mapping) => {
                let known = mappings.get(&mapping).cloned();
                known.ok_or_else(|| Error::not_found(format!("{key}: there is no mapping `{mapping}` on this host")))?
            }
            None => device.host()?.unwrap_or_default().iter().map(str::to_owned).collect(),
        };
        if addresses.is_empty() {
            return Err(wrong(&key, "it names no device: host=ADDRESS or mapping=NAME"));
        }
        for (function, text) in addresses.iter().enumerate() {
            let full = address(&key, text)?;
            if found.iter().any(|(_, before)| *before == full) {
                return Err(wrong(&key, format!("{text} is passed through already")));
            }
            let id = if function == 0 { key.clone() } else { format!("{key}.{function}") };
            found.push((id, full));
        }
    }
    Ok(found)
}

fn devices(config: &QemuConfig, facts: &Facts, iommu: Option<bool>) -> Result<Vec<DeviceConfig>> {
    let found = host_devices(config, &facts.pci_mappings)?.into_iter().map(|(id, address)| {
        let path = format!("/sys/bus/pci/devices/{address}").into();
        DeviceConfig { path: Some(path), id: Some(id), iommu, ..DeviceConfig::default() }
    });
    Ok(found.collect())
}

/// What the guest reads of its machine.
fn platform(smbios: &Smbios, facts: &Facts) -> Result<PlatformConfig> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let encoded = smbios.base64()?.unwrap_or(false);
    let read = |part: &str| -> Result<Option<String>> {
        let Some(text) = smbios.text(part) else { return Ok(None) };
        if !encoded {
            return Ok(Some(text.to_owned()));
        }
        let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.map(Some).ok_or_else(|| wrong("smbios1", format!("{part} is no base64 of a text")))
    };
    // The uuid is never encoded.
    let uuid = smbios.uuid()?.unwrap_or_else(|| facts.uuid.clone());
    Ok(PlatformConfig {
        system_uuid: Some(uuid).filter(|uuid| !uuid.is_empty()),
        system_serial_number: read("serial")?,
        system_manufacturer: read("manufacturer")?,
        system_product_name: read("product")?,
        system_version: read("version")?,
        system_family: read("family")?,
        system_sku_number: read("sku")?,
        ..PlatformConfig::default()
    })
}

/// The configuration with a JSON merge patch (RFC 7396) over it.
fn patched(config: &VmConfig, patch: &Value) -> Result<VmConfig> {
    let patch = match patch {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| wrong(PATCH, format!("it is no JSON: {error}")))?
        }
        other => other.clone(),
    };
    if !patch.is_object() {
        return Err(wrong(PATCH, "it has to be an object, such as {\"pvpanic\": true}"));
    }
    let bug = |error: serde_json::Error| Error::new(Class::Bug, "a VmConfig cannot be written").with_source(error);
    let mut whole = serde_json::to_value(config).map_err(bug)?;
    merge(&mut whole, patch);
    serde_json::from_value(whole).map_err(|error| wrong(PATCH, format!("it makes no VmConfig: {error}")))
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else { return *target = patch };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}
