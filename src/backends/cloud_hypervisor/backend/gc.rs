//! What was left behind on this host and belongs to nobody any more: found, told, and removed where that is wanted.
//!
//! Only what is certainly ours is looked at: devices with our mark, processes with our arguments, files in our
//! directories. What is of a VM that is there is removed with its lock held, and everything is looked at once more before
//! it goes.

mod collect;
mod orphan;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use uuid::Uuid;

pub use self::orphan::{Orphan, OrphanKind};
use super::{Local, clone::of_snapshot, logs, volumes::STORAGE};
use crate::{
    backends::cloud_hypervisor::{
        disk,
        host::{self, OWNER, ProcessId, facts::may_change_network, network::Network},
        state::{Config, Holder, Intent, Vm},
    },
    model::{Class, Error, PropertyString, Result, Vmid},
};

/// What is known of the VMs at one moment.
struct Known {
    vms: Vec<(Vm, Option<Intent>)>,
    /// Every file in the storage that somebody names, and what lies below it.
    named: BTreeSet<PathBuf>,
}

impl Local {
    /// Looks for what was left. With `remove` it goes too, and what cannot go says why.
    ///
    /// # Errors
    /// When the state cannot be read; nothing was removed then.
    pub async fn gc(&self, remove: bool) -> Result<Vec<Orphan>> {
        let mut orphans = self.orphans().await?;
        orphans.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
        if remove {
            for orphan in &mut orphans {
                match self.collect(orphan).await {
                    Ok(removed) => orphan.removed = removed,
                    Err(error) => orphan.error = Some(error.to_string()),
                }
            }
        }
        Ok(orphans)
    }

    async fn orphans(&self) -> Result<Vec<Orphan>> {
        let known = self.known()?;
        let lost = self.lost_vmms(&known)?;
        let mut found: Vec<Orphan> = lost.iter().map(Lost::orphan).collect();
        found.extend(self.lost_shares(&known, &lost)?);
        found.extend(self.lost_taps(&known, &lost).await?);
        found.extend(self.lost_devices(&known, &lost)?);
        found.extend(self.lost_groups(&known));
        found.extend(self.lost_sockets(&known, &lost));
        found.extend(self.lost_states(&known));
        found.extend(self.lost_volumes(&known));
        found.extend(self.half_made_images());
        for (vm, _) in &known.vms {
            let old = logs::generations(&self.places(vm).state);
            let old = old.into_iter().filter(|(_, of)| logs::is_old(*of, vm.generation.into()));
            found.extend(old.map(|(path, of)| {
                file(OrphanKind::Log, &path, Some(vm.vmid), format!("of start {of}, and {} came after", vm.generation))
            }));
        }
        Ok(found)
    }

    fn known(&self) -> Result<Known> {
        let vms = self.state().vms()?;
        let mut named = BTreeSet::new();
        for (vm, intent) in &vms {
            let settings = std::iter::once(&vm.settings).chain(intent.iter().filter_map(|i| i.work.settings.as_ref()));
            for settings in settings {
                self.name_volumes(&settings.config, None, &mut named);
                self.name_volumes(&settings.to_come(), None, &mut named);
                for (name, snapshot) in &settings.snapshots {
                    self.name_volumes(&snapshot.config, Some(name), &mut named);
                    named.extend(snapshot.vmstate.iter().map(PathBuf::from));
                }
            }
            for work in intent.iter().map(|intent| &intent.work) {
                named.extend(work.made.iter().chain(&work.drops).cloned());
                named.extend(work.moves.iter().flat_map(|(from, to)| [from.clone(), to.clone()]));
            }
        }
        // What lies below a disk that is named is needed as well. A guest that pretends only keeps more.
        let mut new: Vec<PathBuf> = named.iter().cloned().collect();
        while let Some(path) = new.pop() {
            let below = disk::inspect(&path).ok().and_then(|seen| seen.qcow2?.backing);
            let below = below.map(|backing| path.with_file_name(&backing.name));
            new.extend(below.filter(|below| named.insert(below.clone())));
        }
        let named = named.iter().map(|path| resolved(path)).collect();
        Ok(Known { vms, named })
    }

    /// The files of all volumes in a configuration; those of a snapshot lie beside them.
    fn name_volumes(&self, config: &Config, snapshot: Option<&str>, named: &mut BTreeSet<PathBuf>) {
        for value in config.values() {
            let drive = PropertyString::lenient(value);
            for volume in [drive.get_or_bare("file"), drive.get("volume")].into_iter().flatten() {
                let Ok(path) = self.file(volume) else { continue };
                if let Some(name) = snapshot {
                    named.insert(of_snapshot(&path, name));
                }
                named.insert(path);
            }
        }
    }

    /// Whether a VM is certainly off, with nobody at work on it.
    fn is_at_rest(&self, vm: &Vm) -> bool {
        let places = self.places(vm);
        Holder::of(&places.state).is_none()
            && matches!(host::probe(&places.alive()), Ok(host::Lock::Free | host::Lock::Missing))
    }

    /// Whether a VM is of another state directory that is there. Its sockets say so, from its first start on.
    fn is_anothers(&self, uuid: &str) -> bool {
        let own = resolved(&self.vms());
        entries(&self.options().run).iter().any(|path| {
            called_after(path).is_some_and(|(_, short)| uuid.starts_with(&short))
                && fs::read_link(path.join(OWNER))
                    .is_ok_and(|state| state.exists() && !resolved(&state).starts_with(&own))
        })
    }

    fn lost_vmms(&self, known: &Known) -> Result<Vec<Lost>> {
        let vms = self.vms();
        let lost = host::running_below(&vms)?.into_iter().filter_map(|(id, log)| {
            let uuid: Uuid = log.strip_prefix(&vms).ok()?.iter().next()?.to_str()?.parse().ok()?;
            let row = known.vms.iter().any(|(vm, _)| vm.uuid == uuid);
            (!row).then_some(Lost { process: id, uuid })
        });
        Ok(lost.collect())
    }

    /// They end with their VMM: what lives without one was held up.
    fn lost_shares(&self, known: &Known, lost: &[Lost]) -> Result<Vec<Orphan>> {
        let mut found = Vec::new();
        for path in host::shares_below(&self.vms())? {
            let Some(uuid) = path.parent().and_then(|state| state.file_name()?.to_str()?.parse::<Uuid>().ok()) else {
                continue;
            };
            let (vmid, reason) = match known.vms.iter().find(|(vm, _)| vm.uuid == uuid) {
                // It goes with its VMM.
                None if lost.iter().any(|lost| lost.uuid == uuid) => continue,
                None => (None, format!("no VM has the uuid {uuid}")),
                Some((vm, _)) if self.is_at_rest(vm) => (Some(vm.vmid), "its VM is off".to_owned()),
                Some(_) => continue,
            };
            found.push(orphan(OrphanKind::Share, path.display().to_string(), vmid, reason));
        }
        Ok(found)
    }

    async fn lost_taps(&self, known: &Known, lost: &[Lost]) -> Result<Vec<Orphan>> {
        // Where the kernel does not tell of its devices, none of them is ours.
        let Ok(network) = Network::open() else { return Ok(Vec::new()) };
        let Ok(marked) = network.marked().await else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for (mark, link) in marked.into_iter().filter(|(_, link)| link.tap.is_some()) {
            let owner = known.vms.iter().find(|(vm, _)| vm.uuid.to_string() == mark.owner());
            let (vmid, reason) = match owner {
                // Another account's, or another state directory's.
                None if link.in_use && !lost.iter().any(|lost| lost.uuid.to_string() == mark.owner()) => continue,
                None if self.is_anothers(mark.owner()) => continue,
                None => (None, format!("no VM has the uuid {}", mark.owner())),
                // What was prepared for a user who makes none stays for the next start.
                Some((vm, _)) if self.is_at_rest(vm) && may_change_network() => {
                    (Some(vm.vmid), "its VM is off".to_owned())
                }
                Some(_) => continue,
            };
            found.push(orphan(OrphanKind::Tap, link.name, vmid, reason));
        }
        for link in network.unfinished().await.unwrap_or_default() {
            found.push(orphan(OrphanKind::Tap, link.name, None, "who made it died over it".to_owned()));
        }
        Ok(found)
    }

    /// Devices that VMs have no more and the host has not yet.
    fn lost_devices(&self, known: &Known, lost: &[Lost]) -> Result<Vec<Orphan>> {
        let lent = self.state().lent()?.into_iter().filter_map(|lent| {
            let owner = known.vms.iter().find(|(vm, _)| vm.uuid == lent.uuid);
            let (vmid, reason) = match owner {
                None if lost.iter().any(|lost| lost.uuid == lent.uuid) => return None,
                None => (None, format!("no VM has the uuid {}", lent.uuid)),
                Some((vm, _)) if self.is_at_rest(vm) => (Some(vm.vmid), "its VM is off".to_owned()),
                Some(_) => return None,
            };
            let reason = match lent.error {
                Some(error) => format!("{reason}; the host could not have it back: {error}"),
                None => reason,
            };
            Some(orphan(OrphanKind::Device, lent.address, vmid, reason))
        });
        Ok(lent.collect())
    }

    /// Control groups that nobody is in.
    fn lost_groups(&self, known: &Known) -> Vec<Orphan> {
        let empty = self.options().groups.all().into_iter().filter(|(_, populated)| !populated);
        let lost = empty.filter_map(|(path, _)| {
            let (vmid, short) = called_after(&path)?;
            let group = path.file_name();
            let (vmid, reason) = match known.vms.iter().find(|(vm, _)| self.places(vm).run.file_name() == group) {
                None if self.is_anothers(&short) => return None,
                None => (None, format!("there is no VM {vmid} with this group")),
                Some((vm, _)) if self.is_at_rest(vm) => (Some(vm.vmid), "its VM is off".to_owned()),
                Some(_) => return None,
            };
            Some(orphan(OrphanKind::Group, path.display().to_string(), vmid, reason))
        });
        lost.collect()
    }

    fn lost_sockets(&self, known: &Known, lost: &[Lost]) -> Vec<Orphan> {
        let mut found = Vec::new();
        for path in entries(&self.options().run) {
            let Some((vmid, short)) = called_after(&path) else { continue };
            let owner = known.vms.iter().find(|(vm, _)| self.places(vm).run == path);
            let reason = match owner {
                None if is_listened_to(&path) && !lost.iter().any(|lost| lost.has_sockets(&short)) => continue,
                // One that is empty may just be made.
                None if self.is_anothers(&short) || entries(&path).is_empty() => continue,
                None => format!("there is no VM {vmid} with these sockets"),
                Some((vm, _)) if !has_sockets(&path) || !self.is_at_rest(vm) => continue,
                Some(_) => "its VM is off".to_owned(),
            };
            found.push(directory(OrphanKind::Sockets, &path, Some(vmid), reason));
        }
        found
    }

    fn lost_states(&self, known: &Known) -> Vec<Orphan> {
        let mut found = Vec::new();
        for path in entries(&self.vms()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(uuid) = name.parse::<Uuid>() else { continue };
            if known.vms.iter().all(|(vm, _)| vm.uuid != uuid) {
                found.push(directory(OrphanKind::State, &path, None, "no VM has this uuid".to_owned()));
            }
        }
        found
    }

    fn lost_volumes(&self, known: &Known) -> Vec<Orphan> {
        let mut found = Vec::new();
        for folder in entries(&self.options().state.join("storage").join(STORAGE).join("images")) {
            let vmid = folder.file_name().and_then(|name| name.to_str()?.parse::<Vmid>().ok());
            let Some(vmid) = vmid else { continue };
            let busy = known.vms.iter().any(|(vm, _)| vm.vmid == vmid && Holder::of(&self.places(vm).state).is_some());
            for path in entries(&folder)
                .into_iter()
                .filter(|path| path.is_file() && !known.named.contains(&resolved(path)) && !busy)
            {
                found.extend(match path.extension().is_some_and(|ending| ending == "tmp") {
                    true if is_free(&path) => {
                        Some(file(OrphanKind::HalfMade, &path, Some(vmid), "it never became whole".to_owned()))
                    }
                    true => None,
                    false => Some(file(OrphanKind::Volume, &path, Some(vmid), "no VM names it".to_owned())),
                });
            }
        }
        found
    }

    fn half_made_images(&self) -> Vec<Orphan> {
        let half = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "partial" || ending == "tmp");
        let found = entries(&self.options().state.join("images")).into_iter().filter(half).filter(|path| is_free(path));
        let reason = "an image that was not fetched to its end; another pull goes on with it";
        found.map(|path| file(OrphanKind::HalfMade, &path, None, reason.to_owned())).collect()
    }
}

/// A VMM whose VM is not known any more.
struct Lost {
    process: ProcessId,
    uuid: Uuid,
}

impl Lost {
    fn orphan(&self) -> Orphan {
        orphan(OrphanKind::Vmm, self.process.pid.to_string(), None, format!("no VM has the uuid {}", self.uuid))
    }

    /// Whether a directory of sockets with this part of a uuid in its name is its.
    fn has_sockets(&self, short: &str) -> bool {
        self.uuid.simple().to_string().starts_with(short)
    }
}

/// Whether a directory of sockets has any.
fn has_sockets(path: &Path) -> bool {
    entries(path).iter().any(|path| !path.ends_with(OWNER))
}

/// Whether a VMM listens in a directory of sockets.
fn is_listened_to(sockets: &Path) -> bool {
    UnixStream::connect(sockets.join("api.sock")).is_ok()
}

fn orphan(kind: OrphanKind, name: String, vmid: Option<Vmid>, reason: String) -> Orphan {
    Orphan { kind, name, vmid, size: None, reason, removed: false, error: None }
}

fn file(kind: OrphanKind, path: &Path, vmid: Option<Vmid>, reason: String) -> Orphan {
    let size = fs::metadata(path).ok().map(|file| disk::kept(&file));
    Orphan { size, ..orphan(kind, path.display().to_string(), vmid, reason) }
}

fn directory(kind: OrphanKind, path: &Path, vmid: Option<Vmid>, reason: String) -> Orphan {
    let inside = entries(path).into_iter().filter_map(|path| fs::symlink_metadata(path).ok());
    let size = inside.map(|file| disk::kept(&file)).sum();
    Orphan { size: Some(size), ..orphan(kind, path.display().to_string(), vmid, reason) }
}

/// A path without symbolic links, as far as it is there: one file has one name.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What a directory has, in order; nothing for one that is not there.
fn entries(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The VM that a directory is called after, `100-1a2b3c4d`: its number, and the beginning of its uuid.
fn called_after(path: &Path) -> Option<(Vmid, String)> {
    let (vmid, short) = path.file_name()?.to_str()?.split_once('-')?;
    Some((vmid.parse().ok()?, short.to_owned())).filter(|(_, short)| is_hex(short))
}

fn is_hex(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether nobody is at work on a file: who makes one holds a lock on it.
fn is_free(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    let class = if error.kind() == ErrorKind::PermissionDenied { Class::Forbidden } else { Class::Failed };
    Error::new(class, format!("cannot {what} {}: {error}", path.display())).with_source(error)
}
