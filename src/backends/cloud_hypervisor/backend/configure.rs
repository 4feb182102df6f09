//! Changes of a VM's settings, under its lock: at once while it is off or where they are only data of ours; what a VM
//! that runs takes at once is done in [`live`](super::live), and everything else waits for its next start.

use super::{
    Job, Local, asked::change_of, check_read, create::asked_disks, digest_of, live::Planned, volumes::STORAGE,
};
use crate::{
    backends::{
        Action, Step,
        cloud_hypervisor::{
            mapping::{self, Apply},
            state::{Change, Draft, Intent, Outcome, Settings, Settle, Verb, Vm, Work, reconcile::Sight},
        },
    },
    model::{Digest, Result},
};

/// Which keys count at once: all of a VM that is off, of one that runs those that are only data of ours.
fn at_once(vm: &Vm) -> impl Fn(&str) -> bool + use<> {
    // A process that is gone meanwhile is noticed by the next start, which applies what waits.
    let off = vm.process.is_none();
    move |key| off || mapping::key(key).is_some_and(|row| row.apply == Apply::Now)
}

/// What is asked of a configuration.
pub(super) struct Asked {
    pub(super) change: Change,
    pub(super) digest: Option<Digest>,
}

impl Asked {
    /// Reads it from a step. Cards that have no address get one.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a key that there is not.
    pub(super) fn of(local: &Local, step: &Step) -> Result<Self> {
        let mut change = change_of(step)?;
        local.fresh_macs(&mut change.set, false)?;
        Ok(Self { change, digest: digest_of(step) })
    }

    /// What can be said against it before anything is begun.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a VM that is locked, or was changed in between.
    pub(super) fn check(&self, vm: &Vm) -> Result<()> {
        vm.check_lock_for(&self.change)?;
        vm.settings.check_digest(self.digest.as_ref())
    }
}

/// A change, thought through.
pub(super) struct Prepared {
    /// What is written down before anything is done.
    pub(super) settings: Settings,
    /// What is done then to a VM that runs.
    live: Option<Planned>,
    /// What wait, if everything has to, and why.
    waiting: Vec<String>,
    why: &'static str,
}

impl Local {
    /// Changes settings. What became of each key is in the task's log.
    pub(super) async fn configure(&self, step: &Step, job: &Job) -> Result<()> {
        let asked = Asked::of(self, step)?;
        let vm = self.state().vm(step.guest.vmid)?;
        let _lock = self.lock(&vm, "update", self.options().patience).await?;
        let before = self.state().vm(vm.vmid)?;
        let (vm, sight) = self.mend(vm.vmid, job).await?;
        vm.check_lock_for(&asked.change)?;
        check_read(asked.digest.as_ref(), &before, &vm)?;
        self.apply_queue(&vm, sight, job).await?;
        let vm = self.state().vm(vm.vmid)?;
        if !asked_disks(&asked.change.set, None)?.is_empty() {
            let begin = |work| self.state().begin(vm.vmid, Draft::new(Verb::Update).task(&job.upid).work(work));
            return self.make_and_change(&vm, sight, asked, begin, job).await;
        }
        let prepared = self.prepare(&vm, sight, &asked).await?;
        self.state().configure(vm.vmid, None, |vm| {
            vm.settings = prepared.settings.clone();
            Ok(())
        })?;
        self.carry_on(sight, prepared, job).await
    }

    /// Makes the disks that a change asks for, and writes it down in the same transaction as their end. `begin` begins
    /// the intent.
    pub(super) async fn make_and_change(
        &self,
        vm: &Vm,
        sight: Sight,
        mut asked: Asked,
        begin: impl FnOnce(Work) -> Result<Intent>,
        job: &Job,
    ) -> Result<()> {
        let makings = self.makings(vm.vmid, asked_disks(&asked.change.set, None)?);
        let made = makings.iter().map(|making| making.path.clone()).collect();
        let mut intent = begin(Work { made, ..Work::default() })?;
        for making in &makings {
            asked.change.set.insert(making.key.clone(), making.drive());
        }
        let thought = match self.make(makings, job).await {
            Ok(()) => self.prepare(vm, sight, &asked).await,
            Err(error) => Err(error),
        };
        let prepared = match thought {
            Ok(prepared) => prepared,
            Err(error) => {
                // What was made goes; what cannot be removed now is left to the next command.
                let _ = self.mend(vm.vmid, job).await;
                return Err(error);
            }
        };
        intent.work.settings = Some(prepared.settings.clone());
        self.state().revise(&intent)?;
        self.state().settle(vm.vmid, &Settle::unchanged(vm).ending(intent.id, Outcome::Finished))?;
        self.carry_on(sight, prepared, job).await
    }

    /// Thinks a change through; nothing is done yet.
    ///
    /// # Errors
    /// For what cannot be had at all.
    pub(super) async fn prepare(&self, vm: &Vm, sight: Sight, asked: &Asked) -> Result<Prepared> {
        let mut settings = vm.settings.clone();
        let mut live = None;
        let why = match sight {
            Sight::Running | Sight::Paused => {
                live = self.plan_running(vm, asked).await?;
                "nothing says what its VMM was given at its start"
            }
            Sight::Unresponsive => "its VMM does not answer",
            _ => "its VMM has no machine that runs",
        };
        let is_data = |key: &str| mapping::key(key).is_some_and(|row| row.apply == Apply::Now);
        let at_once = |key: &str| match &live {
            _ if sight == Sight::Stopped => true,
            Some(live) => live.is_now(key),
            None => is_data(key),
        };
        let waiting = settings.change(&asked.change, at_once);
        prune(&mut settings);
        Ok(Prepared { settings, live, waiting, why })
    }

    /// Does what a change that is written down means for a VM that runs.
    pub(super) async fn carry_on(&self, sight: Sight, prepared: Prepared, job: &Job) -> Result<()> {
        match prepared.live {
            Some(live) => self.do_all(sight, live, job).await,
            None => prepared.waiting.iter().try_for_each(|key| job.line(&waits(key, prepared.why))),
        }
    }

    /// Whether a change takes an unused disk out of the configuration, which destroys it.
    pub(super) fn destroys(&self, step: &Step) -> bool {
        let is_change = matches!(step.action, Action::Configure | Action::ConfigureInTask);
        is_change && change_of(step).is_ok_and(|change| change.delete.iter().any(|key| key.starts_with("unused")))
    }

    /// Changes settings of which unused disks go, and destroys those of the VM's own that nothing names any more. The VM's
    /// lock is held.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a protected VM, in Proxmox's words.
    pub(super) async fn destroy_unused(&self, vm: &Vm, step: &Step, job: &Job) -> Result<()> {
        let change = change_of(step)?;
        vm.check_lock()?;
        for key in change.delete.iter().filter(|key| key.starts_with("unused")) {
            vm.check_protection(&format!("can't remove unused disk '{key}'"))?;
        }
        let mut settings = vm.settings.clone();
        settings.change(&change, at_once(vm));
        let (left, own) = (settings.volumes(), format!("{STORAGE}:{}/", vm.vmid));
        let gone =
            vm.settings.volumes().into_iter().filter(|volume| !left.contains(volume) && volume.starts_with(&own));
        let drops = gone.map(|volume| self.file(&volume)).collect::<Result<Vec<_>>>()?;
        drops.iter().try_for_each(|file| job.line(&format!("removing {}", file.display())))?;
        let work = Work { drops, settings: Some(settings), ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Update).task(&job.upid).work(work))?;
        intent.committed = true;
        self.state().revise(&intent)?;
        // It is carried out like one that was left.
        self.mend(vm.vmid, job).await.map(drop)
    }
}

/// The line that says that a key waits, and why: commands read it to tell people.
pub(super) fn waits(key: &str, why: &str) -> String {
    format!("{key}: waits for the next start: {why}")
}

/// Forgets what was noted about devices that are no longer there.
pub(super) fn prune(settings: &mut Settings) {
    let there = |device: &str| {
        settings.config.contains_key(device) || settings.pending.get(device).is_some_and(Option::is_some)
    };
    let gone = |key: &&String| mapping::noted(key).is_some_and(|device| !there(device));
    let gone: Vec<String> = settings.config.keys().filter(gone).cloned().collect();
    gone.iter().for_each(|key| drop(settings.config.remove(key)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_goes_with_its_device() {
        let config = [
            ("virtio1", "local:1"),
            ("virtiofs0", "dirid=a"),
            ("x-image", "debian"),
            ("x-net0", "id=wan"),
            ("x-virtio1", "id=data1"),
            ("x-virtio2", "id=data2,iommu=1"),
            ("x-virtiofs0", "socket=/run/a"),
            ("x-virtiofs1", "socket=/run/b"),
        ];
        let mut settings = Settings::new(config.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        settings.pending.insert("net0".into(), Some("virtio".into()));
        settings.pending.insert("virtio1".into(), None);
        prune(&mut settings);
        let left: Vec<&str> = settings.config.keys().map(String::as_str).collect();
        // One that waits to come, or to go, keeps its note.
        assert_eq!(left, ["virtio1", "virtiofs0", "x-image", "x-net0", "x-virtio1", "x-virtiofs0"]);
    }
}
