//! Devices that are added to a VM and taken away: each is one key of the configuration, which this finds.
//!
//! The change itself is an update like any other. A name that somebody gives a device is kept in a key of our own
//! beside it (`x-virtio1: id=data1`), which only guests of this host have.

mod container;
mod queue;
mod share;

pub use self::{container::NewMount, share::NewShare};
use super::{
    Beyond, Device, Ops, Plan, Resolved, UpdateRequest,
    plan::{Change, refuse_locked},
    verbs::{ADD, REMOVE},
};
use crate::{
    backends::{Action, Step},
    model::{ConfigView, Error, GuestConfig, GuestKind, Hint, Params, PropertyString, Result, closest, is_disk_key},
};

/// How the key begins that has what is noted of a device; the device's follows.
const NOTE: &str = "x-";
/// The families of keys that are devices, beside disks.
const DEVICES: [&str; 4] = ["net", "hostpci", "virtiofs", "usb"];

/// A disk to be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewDisk {
    /// `STORAGE:GIB` for a new one, the id of a volume, or an absolute path of the host that the guest is on.
    pub volume: String,
    /// What is in the file, `raw` or `qcow2`; by its ending if nothing is said.
    pub format: Option<String>,
    /// `virtio` unless something else is said.
    pub bus: Option<String>,
    /// Whether the guest can only read.
    pub readonly: bool,
    /// Whether the host's page cache is passed by.
    pub direct: bool,
    /// Whether it is behind the guest's IOMMU.
    pub iommu: bool,
}

/// A network card to be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewCard {
    /// The bridge it is on.
    pub bridge: String,
    /// `virtio` unless something else is said.
    pub model: Option<String>,
    /// Its address; a fresh one if nothing is said.
    pub mac: Option<String>,
    /// The VLAN.
    pub tag: Option<u16>,
    /// A container's address there, or `dhcp`.
    pub ip: Option<String>,
    /// A container's gateway there.
    pub gateway: Option<String>,
}

/// What is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addition {
    /// A disk.
    Disk(NewDisk),
    /// A shared directory.
    Share(NewShare),
    /// A PCI device of the host: its address `0000:01:00.0`, or `mapping=NAME`.
    Host(String),
    /// A network card.
    Card(NewCard),
    /// A volume or a directory of the node, at a path of a container.
    Mount(NewMount),
    /// A device file of the node, for a container.
    DeviceFile(String),
}

/// How to add a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRequest {
    /// What.
    pub what: Addition,
    /// A name by which it can be taken away again.
    pub id: Option<String>,
    /// Not now, but by the next command that finds the guest in a state that allows it.
    pub queue: bool,
}

impl Addition {
    /// The device as a key without a number.
    fn device(&self, kind: GuestKind) -> Result<Device> {
        let plain = |what: &str, text: &str| match text.contains(',') || text.is_empty() {
            true => Err(Error::usage(format!("{what} `{text}`: it cannot be empty or have a comma in it"))),
            false => Ok(text.to_owned()),
        };
        let (family, value) = match self {
            Self::Disk(disk) => {
                let mut value = plain("the disk", &disk.volume)?;
                if let Some(format) = &disk.format {
                    value += &format!(",format={}", plain("the format", format)?);
                }
                value += if disk.readonly { ",ro=1" } else { "" };
                value += if disk.direct { ",cache=none" } else { "" };
                (disk.bus.as_deref().unwrap_or("virtio"), value)
            }
            Self::Share(share) => {
                let mut value = format!("dirid={}", plain("the tag", &share.tag)?);
                if let Some(cache) = &share.cache {
                    value += &format!(",cache={}", plain("the cache", cache)?);
                }
                ("virtiofs", value)
            }
            Self::Host(host) => ("hostpci", plain("the device", host)?),
            Self::Mount(mount) => ("mp", mount.value()?),
            Self::DeviceFile(path) => ("dev", plain("the device", path)?),
            Self::Card(card) if kind == GuestKind::Lxc => {
                let mut value = format!("bridge={}", plain("the bridge", &card.bridge)?);
                let parts = [("hwaddr", &card.mac), ("ip", &card.ip), ("gw", &card.gateway)];
                for (part, text) in parts.into_iter().filter_map(|(part, text)| Some((part, text.as_ref()?))) {
                    value += &format!(",{part}={}", plain(part, text)?);
                }
                value += &card.tag.map_or_else(String::new, |tag| format!(",tag={tag}"));
                ("net", value)
            }
            Self::Card(card) => {
                let model = card.model.as_deref().unwrap_or("virtio");
                let mut value = match &card.mac {
                    Some(mac) => format!("{model}={}", plain("the address", mac)?),
                    None => plain("the model", model)?,
                };
                value += &format!(",bridge={}", plain("the bridge", &card.bridge)?);
                if let Some(tag) = card.tag {
                    value += &format!(",tag={tag}");
                }
                ("net", value)
            }
        };
        Ok(Device { family: family.to_owned(), value })
    }

    /// What of it only guests of this host can have, in words.
    fn only_here(&self) -> Option<&'static str> {
        match self {
            Self::Disk(disk) if disk.volume.starts_with('/') => Some("a disk by its path"),
            Self::Disk(disk) if disk.iommu => Some("a disk behind an IOMMU of its own"),
            Self::Share(share) if share.source.is_some() => Some("a directory by its path"),
            Self::Share(share) if share.socket.is_some() => Some("a virtiofsd of your own"),
            _ => None,
        }
    }

    /// What is noted beside the key, which only guests of this host have.
    fn notes(&self) -> Result<Vec<String>> {
        match self {
            Self::Disk(disk) if disk.iommu => Ok(vec!["iommu=1".to_owned()]),
            Self::Share(share) => share.notes(),
            _ => Ok(Vec::new()),
        }
    }

    /// The way out on Proxmox for what is only for this host.
    const fn instead(&self) -> &'static str {
        match self {
            Self::Share(_) => {
                "choose it with --context local; on Proxmox the directory is a mapping of the cluster, and --tag its name"
            }
            _ => "choose it with --context local; Proxmox calls devices by their keys",
        }
    }
}

impl Ops {
    /// Plans the addition of a device: the lowest number of its family that is free, and its name.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what cannot be added there,
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a name or for numbers that are taken, and for a locked guest.
    pub async fn plan_add(&self, found: &Resolved, request: &AddRequest) -> Result<Plan> {
        let guest = found.guest.reference();
        let capabilities = self.backend().capabilities();
        // A served host has one beside that API; a VM of its own can have what only such VMs have.
        let waiting = match capabilities.here || request.queue {
            true => self.backend().queue(Some(guest.vmid)).await.map_err(queue::without)?,
            false => Vec::new(),
        };
        let only_here = request.what.only_here().or_else(|| request.id.as_ref().map(|_| "a name for a device"));
        if let Some(what) = only_here.filter(|_| !(capabilities.here || request.queue)) {
            return Err(Error::usage(format!("{what} is for VMs of the host that pvectl runs on"))
                .with_hint(Hint::Text(request.what.instead().into())));
        }
        let (now, to_come) = futures_util::future::try_join(
            self.backend().guest_config(&guest, ConfigView::Current),
            self.backend().guest_config(&guest, ConfigView::Pending),
        )
        .await?;
        let mut ids = ids(&to_come);
        for item in &waiting {
            ids.extend(item.params.iter().filter_map(|(key, value)| id_of(key, value)));
        }
        // A number counts as taken as well if its device is about to go, or waits to come.
        let taken = |key: &str| {
            let queued = || waiting.iter().any(|item| item.params.get(key).is_some());
            now.text(key).or_else(|| to_come.text(key)).or_else(|| queued().then(String::new))
        };
        // A disk of which only the size is said comes into the one storage that there is for it.
        let devices = self.with_storage(guest.kind, &[request.what.device(guest.kind)?], Some(&guest.node)).await?;
        let numbered = super::devices::number(guest.kind, &devices, &Params::new(), taken)?;
        let Some((key, _)) = numbered.iter().next() else { return Err(Error::conflict("nothing is to be added")) };
        let key = key.to_owned();
        let mut noted = Vec::new();
        if let Some(id) = &request.id {
            check_id(id, &ids)?;
            noted.push(format!("id={id}"));
        }
        noted.extend(request.what.notes()?);
        let mut forced = Params::new();
        if !noted.is_empty() {
            forced.set(&format!("{NOTE}{key}"), noted.join(","));
        }
        let update = UpdateRequest { set: numbered, beyond: Beyond { forced, described: None }, ..Default::default() };
        let mut plan = self.plan_update(found, &update).await?;
        plan.words = ADD;
        plan.queue = request.queue;
        if request.queue {
            plan.notes.push("it waits for the next command on the guest that can do it".into());
            // By then it may be another one.
            plan.steps.iter_mut().for_each(|step| drop(step.params.remove("digest")));
        }
        Ok(plan)
    }

    /// Plans the removal of a device, by its key or by the name it was given.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) with the devices that there are;
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a locked guest.
    pub async fn plan_remove(&self, found: &Resolved, device: &str) -> Result<Plan> {
        let guest = found.guest.reference();
        let mut plan = Plan::new(REMOVE, found.target.clone(), guest.clone(), found.guest.name.clone());
        let (now, to_come) = futures_util::future::try_join(
            self.backend().guest_config(&guest, ConfigView::Current),
            self.backend().guest_config(&guest, ConfigView::Pending),
        )
        .await?;
        refuse_locked(&plan, &now)?;
        let has = |key: &str| is_device(guest.kind, key) && (now.text(key).is_some() || to_come.text(key).is_some());
        let named = ids(&to_come);
        let key = match named.iter().find(|(key, id)| id == device && has(key)) {
            Some((key, _)) => key.clone(),
            None if has(device) => device.to_owned(),
            None => return Err(no_such_device(&plan, device, &named, [&now, &to_come])),
        };
        let before = to_come.text(&key).or_else(|| now.text(&key));
        plan.changes.push(Change { key: key.clone(), before, after: None });
        let mut params = Params::new().with("delete", &key);
        if let Some(digest) = to_come.digest() {
            params.push("digest", digest.0);
        }
        let action = if is_disk_key(&key) && guest.kind == GuestKind::Qemu {
            Action::ConfigureInTask
        } else {
            Action::Configure
        };
        plan.steps.push(Step::new(action, guest).with_params(params));
        plan.config_before = Some(to_come);
        Ok(plan)
    }
}

/// Whether a key is a device that can be taken away. What is not attached is not one: its removal would destroy it.
fn is_device(kind: GuestKind, key: &str) -> bool {
    let family = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let fixed = matches!(family, "unused" | "rootfs" | "vmstate" | "efidisk" | "tpmstate");
    family.len() < key.len()
        && !fixed
        && (is_disk_key(key) || DEVICES.contains(&family) || (kind == GuestKind::Lxc && family == "dev"))
}

fn no_such_device(plan: &Plan, device: &str, named: &[(String, String)], configs: [&GuestConfig; 2]) -> Error {
    let keys = configs.into_iter().flat_map(|config| config.0.keys()).filter(|key| is_device(plan.guest.kind, key));
    let mut there: Vec<String> = keys.cloned().collect();
    there.sort();
    there.dedup();
    let told: Vec<String> = there
        .iter()
        .map(|key| match named.iter().find(|(named, _)| named == key) {
            Some((_, id)) => format!("{key} ({id})"),
            None => key.clone(),
        })
        .collect();
    let close = closest(device, there.iter().cloned().chain(named.iter().map(|(_, id)| id.clone())));
    let has = if told.is_empty() { "none".to_owned() } else { told.join(", ") };
    Error::not_found(format!("{} has no device `{device}`; it has {has}", plan.label())).did_you_mean(close)
}

/// The names of devices, by key.
fn ids(config: &GuestConfig) -> Vec<(String, String)> {
    config.0.iter().filter_map(|(key, value)| id_of(key, value.as_str()?)).collect()
}

/// The device and its name, if this is the note of one.
fn id_of(key: &str, value: &str) -> Option<(String, String)> {
    let device = key.strip_prefix(NOTE).filter(|device| is_device(GuestKind::Qemu, device))?;
    Some((device.to_owned(), PropertyString::lenient(value).get("id")?.to_owned()))
}

/// A name begins with a letter, is short, and is nobody's yet; one that ends like a key would be taken for one.
fn check_id(id: &str, ids: &[(String, String)]) -> Result<()> {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = id.len() <= 32 && id.starts_with(|c: char| c.is_ascii_alphabetic()) && id.chars().all(letters);
    if !good {
        return Err(Error::usage(format!(
            "the name `{id}` is not possible: a letter, then letters, digits, `-`, `_` and `.`, 32 at most"
        )));
    }
    if is_device(GuestKind::Qemu, id) {
        return Err(Error::usage(format!("the name `{id}` is that of a configuration key")));
    }
    match ids.iter().find(|(_, taken)| taken == id) {
        Some((key, _)) => Err(Error::conflict(format!("the name `{id}` is that of {key} already"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_are_values_of_keys() {
        let disk = NewDisk { volume: "/srv/data.raw".into(), readonly: true, direct: true, ..NewDisk::default() };
        let card = NewCard { bridge: "vmbr0".into(), tag: Some(7), ..NewCard::default() };
        let with_mac = NewCard { mac: Some("02:00:00:00:00:01".into()), tag: None, ..card.clone() };
        for (what, family, value) in [
            (Addition::Disk(disk.clone()), "virtio", "/srv/data.raw,ro=1,cache=none"),
            (
                Addition::Disk(NewDisk { bus: Some("scsi".into()), format: Some("qcow2".into()), ..disk }),
                "scsi",
                "/srv/data.raw,format=qcow2,ro=1,cache=none",
            ),
            (Addition::Card(card), "net", "virtio,bridge=vmbr0,tag=7"),
            (Addition::Card(with_mac), "net", "virtio=02:00:00:00:00:01,bridge=vmbr0"),
            (Addition::Host("0000:01:00.0".into()), "hostpci", "0000:01:00.0"),
            (Addition::Share(NewShare { tag: "share".into(), ..NewShare::default() }), "virtiofs", "dirid=share"),
            (
                Addition::Share(NewShare { tag: "a".into(), cache: Some("never".into()), ..NewShare::default() }),
                "virtiofs",
                "dirid=a,cache=never",
            ),
        ] {
            assert_eq!(what.device(GuestKind::Qemu).unwrap(), Device { family: family.into(), value: value.into() });
        }
        let trick = NewDisk { volume: "/srv/a,ro=0".into(), ..NewDisk::default() };
        assert!(Addition::Disk(trick).device(GuestKind::Qemu).is_err());
        let card = NewCard { bridge: "vmbr0".into(), tag: Some(7), ip: Some("dhcp".into()), ..NewCard::default() };
        let device = Addition::Card(card).device(GuestKind::Lxc).unwrap();
        assert_eq!(device.value, "bridge=vmbr0,ip=dhcp,tag=7");
    }

    #[test]
    fn names_are_short_and_nobodys() {
        let ids = vec![("virtio1".to_owned(), "data1".to_owned())];
        for good in ["data2", "gpu", "a.b-c_d"] {
            check_id(good, &ids).unwrap();
        }
        for bad in ["", "1a", "a b", "a,b", "a=b", "virtio7", "net0", &"x".repeat(33), "data1"] {
            assert!(check_id(bad, &ids).is_err(), "{bad}");
        }
        assert_eq!(id_of("x-virtio1", "iommu=1,id=data1").as_ref(), ids.first());
        assert_eq!(
            (id_of("x-image", "id=a"), id_of("virtio1", "id=a"), id_of("x-net0", "socket=a")),
            (None, None, None)
        );
    }

    #[test]
    fn only_devices_are_taken_away() {
        for (key, is) in [
            ("virtio1", true),
            ("scsi0", true),
            ("net3", true),
            ("hostpci0", true),
            ("virtiofs0", true),
            ("ide2", true),
            ("unused0", false),
            ("memory", false),
            ("x-virtio1", false),
            ("efidisk0", false),
            ("net", false),
        ] {
            assert_eq!(is_device(GuestKind::Qemu, key), is, "{key}");
        }
        assert!(is_device(GuestKind::Lxc, "mp0") && !is_device(GuestKind::Lxc, "rootfs"));
    }
}
