//! Snapshots: copies of a VM's own disks beside them, its configuration, and its memory where that is asked for.
//!
//! How a copy is made is for `disk`, how memory is written and read for [`suspend`](super::suspend). Each of them is an
//! intent that names every file before it is made, so that whatever is cut short is finished or taken back by the next
//! command: see [`Work`].

use std::path::{Path, PathBuf};

use super::{
    Job, Local,
    aside::{DISK, aside},
    clone::of_snapshot,
    create::Told,
    volumes::{STORAGE, drives, volume_of},
};
use crate::{
    backends::cloud_hypervisor::{
        disk,
        mapping::is_seed,
        state::{
            Config, Draft, Holder, Intent, OperationLock, Outcome, Settings, Settle, SnapshotRow, Verb, Vm, Work,
            reconcile::{Action, Sight},
        },
        vmm::Vmm,
    },
    model::{Class, Error, Hint, Params, PropertyString, Result, Size},
};

/// Keys that are about the VM at this moment, and not of what a snapshot keeps.
const PASSING: [&str; 6] = ["description", "digest", "lock", "parent", "snaptime", "vmstate"];
/// Names that stand for something else among the sections of a configuration.
const RESERVED: [&str; 2] = ["current", "pending"];

/// A disk of the VM's own.
struct Part {
    key: String,
    path: PathBuf,
}

/// A file that is to be copied, and where to.
struct Copying {
    key: String,
    from: PathBuf,
    to: PathBuf,
}

impl Local {
    /// Takes a snapshot. A VM that runs stands still while its disks are copied.
    pub(super) async fn take_snapshot(&self, vm: &Vm, sight: Sight, params: &Params, job: &Job) -> Result<()> {
        let name = name_of(params)?;
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Error::usage(format!("unable to use snapshot name '{name}' (reserved name)")));
        }
        vm.check_lock()?;
        if vm.settings.is_on("template") {
            return Err(Error::conflict(format!("unable to take a snapshot of VM {}: it is a template", vm.vmid)));
        }
        if vm.settings.snapshots.contains_key(name) {
            return Err(Error::from_exit_status(&format!("snapshot name '{name}' already used")));
        }
        let vmm = self.standing(vm, sight)?;
        let copies = self.keeping(self.parts(vm, &vm.settings.config)?, name);
        let memory = match (&vmm, params.get("vmstate")) {
            (Some(_), Some("1")) => Some(self.memory_of(vm, &format!("snap-{name}"))),
            _ => None,
        };
        self.require_room(&copies, sight == Sight::Running, job)?;
        if let Some(vmm) = vmm.as_ref().filter(|_| memory.is_some()) {
            self.require_memory_room(vm, vmm).await?;
        }
        let made = copies.iter().flat_map(Copying::made).chain(memory.iter().flat_map(|memory| memory.made()));
        let work = Work { made: made.collect(), resumes: sight == Sight::Running, ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Snapshot).task(&job.upid).work(work))?;
        let taken = async {
            if sight == Sight::Running {
                self.pause_running(vm).await?;
            }
            if let (Some(vmm), Some(memory)) = (&vmm, &memory) {
                job.line("saving memory and the state of devices")?;
                self.keep_memory(vm, vmm, memory, job).await?;
            }
            self.copy_kept(copies, job).await?;
            let row = SnapshotRow {
                config: kept(&vm.settings.config),
                snaptime: u64::try_from(intent.began.as_second()).unwrap_or_default(),
                description: params.get("description").map(str::to_owned),
                parent: vm.settings.get("parent").map(str::to_owned),
                vmstate: memory.as_ref().map(|memory| memory.folder.display().to_string()),
                build: vm.build.clone().filter(|_| memory.is_some()),
            };
            // All of it is there: from here on it is a snapshot, whatever happens.
            self.commit(&mut intent, |settings| {
                settings.snapshots.insert(name.to_owned(), row);
                settings.config.insert("parent".to_owned(), name.to_owned());
            })?;
            if sight == Sight::Running {
                self.resume_paused(vm).await?;
            }
            self.state().settle(vm.vmid, &Settle::unchanged(vm).ending(intent.id, Outcome::Finished))
        };
        let taken: Result<()> = taken.await;
        self.or_mended(vm, taken, job).await
    }

    /// Goes back to a snapshot: what runs is stopped, the disks are replaced by copies of those that were kept, and the
    /// configuration is what it was then. With its memory the VM goes on from there.
    pub(super) async fn roll_back(&self, vm: &Vm, sight: Sight, params: &Params, job: &Job) -> Result<()> {
        let name = name_of(params)?;
        vm.check_lock()?;
        let row = vm.settings.snapshot(name)?.clone();
        let parts = self.parts(vm, &row.config)?;
        let copies: Vec<Copying> = parts.iter().map(|part| part.bringing(name)).collect();
        if let Some(missing) = copies.iter().find(|copy| !copy.from.exists()) {
            let text = format!("snapshot '{name}' is not whole: `{}` is gone", missing.from.display());
            return Err(Error::new(Class::Failed, text));
        }
        if let Some(folder) = &row.vmstate {
            self.check_memory(vm, Path::new(folder)).await?;
        }
        self.require_room(&copies, false, job)?;
        let mut vm = vm.clone();
        if sight != Sight::Stopped {
            self.stop(&vm, sight, job).await?;
            vm = self.state().vm(vm.vmid)?;
        }
        let moves: Vec<_> =
            copies.iter().zip(&parts).map(|(copy, part)| (copy.to.clone(), part.path.clone())).collect();
        let made = copies.iter().flat_map(Copying::made).collect();
        let work = Work { made, moves: moves.clone(), ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Rollback).task(&job.upid).work(work))?;
        let back = async {
            self.copy_kept(copies, job).await?;
            self.commit(&mut intent, |settings| self.go_back(&vm, settings, name, &row))?;
            self.carry_out(&vm, &Action::MoveFiles(moves)).await?;
            self.state().settle(vm.vmid, &Settle::unchanged(&vm).ending(intent.id, Outcome::Finished))
        };
        let back: Result<()> = back.await;
        self.or_mended(&vm, back, job).await?;
        let (vm, sight) = self.mend(vm.vmid, job).await?;
        match row.vmstate.is_some() || params.get("start") == Some("1") {
            true => self.start(&vm, sight, job).await,
            false => Ok(()),
        }
    }

    /// Removes a snapshot; what stood on it stands on its parent then.
    pub(super) async fn drop_snapshot(&self, vm: &Vm, params: &Params, job: &Job) -> Result<()> {
        let name = name_of(params)?;
        vm.check_lock()?;
        let drops = self.files_of(vm, name, vm.settings.snapshot(name)?)?;
        let work = Work { drops: drops.clone(), ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::DeleteSnapshot).task(&job.upid).work(work))?;
        let gone = async {
            self.commit(&mut intent, |settings| forget(settings, name))?;
            self.carry_out(vm, &Action::RemoveFiles(drops)).await?;
            self.state().settle(vm.vmid, &Settle::unchanged(vm).ending(intent.id, Outcome::Finished))
        };
        let gone: Result<()> = gone.await;
        self.or_mended(vm, gone, job).await
    }

    /// Describes a snapshot in other words.
    pub(super) async fn describe_snapshot(&self, vm: &Vm, params: &Params) -> Result<()> {
        let name = name_of(params)?;
        vm.settings.snapshot(name)?;
        let holder = Holder::new(vm.vmid, "update-snapshot", self.worker())?;
        let _lock = OperationLock::take(&self.places(vm).state, &holder, self.options().patience).await?;
        if self.state().intent(vm.vmid)?.is_some() {
            // This is answered at once; to mend what was left is a task.
            let task = self.state().begin_task("qmconfig", &vm.vmid.to_string(), self.worker())?;
            let job = Job { log: task.log().clone(), upid: task.upid().clone() };
            let mended = self.mend(vm.vmid, &job).await.map(drop);
            task.end(mended.as_ref().copied())?;
            mended?;
        }
        let Some(description) = params.get("description") else { return Ok(()) };
        self.state().configure(vm.vmid, None, |vm| {
            vm.check_lock()?;
            vm.settings.snapshot(name)?;
            if let Some(row) = vm.settings.snapshots.get_mut(name) {
                row.description = Some(description.to_owned()).filter(|text| !text.is_empty());
            }
            Ok(())
        })
    }

    /// The files that a VM has for its snapshots: they go with it.
    pub(super) fn snapshot_files(&self, vm: &Vm) -> Result<Vec<PathBuf>> {
        let each = vm.settings.snapshots.iter().map(|(name, row)| self.files_of(vm, name, row));
        Ok(each.collect::<Result<Vec<_>>>()?.concat())
    }

    /// The files of one snapshot.
    fn files_of(&self, vm: &Vm, name: &str, row: &SnapshotRow) -> Result<Vec<PathBuf>> {
        let disks = self.own_disks(vm, &row.config)?.into_iter().map(|part| of_snapshot(&part.path, name));
        Ok(disks.chain(row.vmstate.iter().map(PathBuf::from)).collect())
    }

    /// The disks of a configuration that a snapshot keeps: the VM's own.
    ///
    /// # Errors
    /// [`Class::Conflict`] for one of somebody else's that is written to: there would be no going back for it.
    fn parts(&self, vm: &Vm, config: &Config) -> Result<Vec<Part>> {
        let own = own(vm);
        let fixed = |drive: &PropertyString| drive.get("media") == Some("cdrom") || drive.get("ro") == Some("1");
        let foreign = drives(config).into_iter().find(|(_, drive)| {
            let volume = volume_of(drive);
            !volume.starts_with(&own) && !is_seed(volume) && !fixed(drive)
        });
        match foreign {
            None => self.own_disks(vm, config),
            Some((key, drive)) => {
                let text = format!("snapshot feature is not available: {key} is on {}", volume_of(&drive));
                Err(Error::conflict(format!("{text}, which is not a disk of this VM's own"))
                    .with_hint(Hint::Text(format!("make it read-only ({key}: …,ro=1), or take it out first"))))
            }
        }
    }

    fn own_disks(&self, vm: &Vm, config: &Config) -> Result<Vec<Part>> {
        let own = own(vm);
        let mine = drives(config).into_iter().filter(|(_, drive)| {
            let volume = volume_of(drive);
            volume.starts_with(&own) && !is_seed(volume)
        });
        mine.map(|(key, drive)| Ok(Part { key, path: self.file(volume_of(&drive))? })).collect()
    }

    /// The copies that make a snapshot.
    fn keeping(&self, parts: Vec<Part>, name: &str) -> Vec<Copying> {
        let copy = |Part { key, path }| Copying { to: of_snapshot(&path, name), from: path, key };
        parts.into_iter().map(copy).collect()
    }

    /// The VMM of a VM that runs or is paused; none of one that is off.
    pub(super) fn standing(&self, vm: &Vm, sight: Sight) -> Result<Option<Vmm>> {
        match sight {
            Sight::Stopped => Ok(None),
            Sight::Running | Sight::Paused => Vmm::connect(self.places(vm).api_socket()).map(Some),
            other => Err(Error::conflict(format!("VM {} is {}", vm.vmid, other.qmpstatus()))),
        }
    }

    /// Refuses copies for which there is no room, before anything stands still for them, and says what that will cost.
    fn require_room(&self, copies: &[Copying], stands_still: bool, job: &Job) -> Result<()> {
        let Some(folder) = copies.first().and_then(|copy| copy.to.parent()) else { return Ok(()) };
        if disk::shares_blocks(folder) {
            return Ok(());
        }
        let sizes = copies.iter().map(|copy| disk::allocated(&copy.from));
        let bytes = sizes.collect::<Result<Vec<u64>>>()?.into_iter().sum();
        disk::require_space(folder, bytes)?;
        if stands_still && bytes > 0 {
            job.line(&format!(
                "this file system cannot share blocks: the VM stands still while {} are copied",
                Size(bytes)
            ))?;
        }
        Ok(())
    }

    async fn copy_kept(&self, copies: Vec<Copying>, job: &Job) -> Result<()> {
        let log = job.log.clone();
        let work = move || {
            copies.iter().try_for_each(|Copying { key, from, to }| {
                disk::copy(from, to, &Told { log: &log, key }).map(drop)?;
                log.check()
            })
        };
        aside(DISK, work).await
    }

    /// From here on an intent is finished: with these changes of what is set now, not of what was set when it began.
    pub(super) fn commit(&self, intent: &mut Intent, change: impl FnOnce(&mut Settings)) -> Result<()> {
        let mut settings = self.state().vm(intent.vmid)?.settings;
        change(&mut settings);
        intent.work.settings = Some(settings);
        intent.committed = true;
        self.state().revise(intent)
    }

    /// Of what failed nothing is left: as far as it was begun it is taken back, and from where it was certain finished.
    /// What cannot be mended now is left to the next command.
    pub(super) async fn or_mended(&self, vm: &Vm, done: Result<()>, job: &Job) -> Result<()> {
        if done.is_err()
            && let Err(error) = self.mend(vm.vmid, job).await
        {
            job.warn(&format!("not mended yet: {error}"))?;
        }
        done
    }

    /// The settings of a snapshot become the present ones, as on Proxmox: descriptions and unused disks stay, what waited
    /// for the next start does not, and disks that the snapshot does not know become unused.
    fn go_back(&self, vm: &Vm, settings: &mut Settings, name: &str, row: &SnapshotRow) {
        let stays = |key: &str| key == "description" || key.starts_with("unused");
        let mut config = row.config.clone();
        let volumes: Vec<String> = drives(&config).values().map(|drive| volume_of(drive).to_owned()).collect();
        let known = |volume: &str| volumes.iter().any(|other| other == volume);
        let own = own(vm);
        let now = std::mem::take(&mut settings.config);
        for (key, value) in now.iter().filter(|(key, _)| stays(key)) {
            if !known(volume_of(&PropertyString::lenient(value))) {
                config.insert(key.clone(), value.clone());
            }
        }
        let left = drives(&now).into_values().map(|drive| volume_of(&drive).to_owned());
        for volume in left.filter(|volume| volume.starts_with(&own) && !is_seed(volume) && !known(volume)) {
            let free = (0_u32..).map(|number| format!("unused{number}")).find(|key| !config.contains_key(key));
            config.extend(free.map(|key| (key, volume)));
        }
        config.insert("parent".to_owned(), name.to_owned());
        if let Some(folder) = &row.vmstate {
            // Until it goes on from there it is suspended to that memory: whatever comes between, the next start finds it.
            config.insert("lock".to_owned(), "suspended".to_owned());
            config.insert("vmstate".to_owned(), folder.clone());
        }
        settings.config = config;
        settings.pending.clear();
    }
}

impl Part {
    /// The copy that a rollback puts in its place.
    fn bringing(&self, name: &str) -> Copying {
        let mut to = self.path.clone().into_os_string();
        to.push(".rollback");
        let to = PathBuf::from(to);
        Copying { key: self.key.clone(), from: of_snapshot(&self.path, name), to }
    }
}

impl Copying {
    /// What is made for it: the file, and what it is called while it is not whole.
    fn made(&self) -> [PathBuf; 2] {
        [self.to.clone(), disk::unfinished(&self.to)]
    }
}

fn own(vm: &Vm) -> String {
    format!("{STORAGE}:{}/", vm.vmid)
}

fn name_of(params: &Params) -> Result<&str> {
    let name = params.get("snapname").unwrap_or_default();
    // It becomes a part of files' names.
    let plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_');
    match !name.is_empty() && name.len() <= 40 && name.chars().all(plain) {
        true => Ok(name),
        false => Err(Error::usage(format!("`{name}` cannot be the name of a snapshot"))),
    }
}

/// What a snapshot keeps of a configuration.
fn kept(config: &Config) -> Config {
    let kept = |key: &str| !PASSING.contains(&key) && !key.starts_with("unused");
    config.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Takes a snapshot out of the tree.
fn forget(settings: &mut Settings, name: &str) {
    let Some(gone) = settings.snapshots.remove(name) else { return };
    for row in settings.snapshots.values_mut().filter(|row| row.parent.as_deref() == Some(name)) {
        row.parent.clone_from(&gone.parent);
    }
    if settings.get("parent") == Some(name) {
        match gone.parent {
            Some(parent) => drop(settings.config.insert("parent".to_owned(), parent)),
            None => drop(settings.config.remove("parent")),
        }
    }
}

#[cfg(test)]
mod tests;
