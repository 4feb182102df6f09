//! Intents: what is being done to a VM, written down before it is done, with enough to finish it or to roll it back.
//!
//! What is done with one that was left is for [`reconcile`](super::reconcile) to say.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Desired, Done, Phase, Process, Safety, Settings, State, damaged, json, parse, queue, timestamp, vm, words::words,
};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Error, Result, Upid, Vmid},
};

words! {
    /// What is done to a VM.
    Verb {
        /// Made from nothing or an image.
        Create = "create",
        /// Made from another VM; at the source, being copied.
        Clone = "clone",
        /// Started, from its disks or from the state it was suspended to.
        Start = "start",
        /// Its power is cut.
        Stop = "stop",
        /// Asked to power off.
        Shutdown = "shutdown",
        /// Asked to power off, then started.
        Restart = "restart",
        /// Suspended to disk.
        Suspend = "suspend",
        /// Removed.
        Delete = "delete",
        /// A snapshot is taken.
        Snapshot = "snapshot",
        /// Put back to a snapshot.
        Rollback = "rollback",
        /// A snapshot is removed.
        DeleteSnapshot = "delete-snapshot",
        /// A disk grows.
        Resize = "resize",
        /// A disk moves to another storage.
        MoveDisk = "move-disk",
        /// Something is changed, added or removed.
        Update = "update",
        /// Made a template.
        Template = "template",
    }
}

impl Verb {
    /// The type of its task on Proxmox, as it stands in the UPID.
    pub const fn task(self) -> &'static str {
        match self {
            Self::Create => "qmcreate",
            Self::Clone => "qmclone",
            Self::Start => "qmstart",
            Self::Stop => "qmstop",
            Self::Shutdown => "qmshutdown",
            Self::Restart => "qmreboot",
            Self::Suspend => "qmsuspend",
            Self::Delete => "qmdestroy",
            Self::Snapshot => "qmsnapshot",
            Self::Rollback => "qmrollback",
            Self::DeleteSnapshot => "qmdelsnapshot",
            Self::Resize => "qmresize",
            Self::MoveDisk => "qmmove",
            Self::Update => "qmconfig",
            Self::Template => "qmtemplate",
        }
    }

    /// The phase that a VM is in while this is done to it, where it has one of its own.
    pub const fn phase(self) -> Option<Phase> {
        match self {
            Self::Start => Some(Phase::Starting),
            Self::Stop => Some(Phase::Stopping),
            Self::Delete => Some(Phase::Deleting),
            _ => None,
        }
    }

    /// Whether nobody calls it off once it was asked for.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stop | Self::Delete)
    }

    /// Whether the VMM has ended when it is done.
    pub const fn ends_vmm(self) -> bool {
        matches!(self, Self::Stop | Self::Delete | Self::Suspend)
    }

    /// Whether it changes files that a VMM has open, so that it may not go on while one runs.
    pub const fn needs_rest(self) -> bool {
        matches!(self, Self::Rollback | Self::MoveDisk | Self::Template)
    }
}

/// The number of an intent, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentId(pub i64);

/// How an intent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What it was for is the case.
    Finished,
    /// Everything is as it was before.
    RolledBack,
}

/// What is needed to finish an intent or to roll it back. Every part may be done again if it was done already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// Files that are made for it: gone when it is rolled back.
    pub made: Vec<PathBuf>,
    /// Files to be put in place, from where and to where: only when it is finished.
    pub moves: Vec<(PathBuf, PathBuf)>,
    /// Files that are of no use afterwards: gone when it is finished. A disk goes only if it is named here.
    pub drops: Vec<PathBuf>,
    /// The id of the device that is added to the running VMM for it, one for each intent: found there, the intent is
    /// finished.
    pub adds: Option<String>,
    /// The id of the device that is taken away from the running VMM for it: not found there any more, the intent is
    /// finished.
    pub removes: Option<String>,
    /// What the running VMM is resized to for it, by the names of [`Observation::sizes`]: when it has all of these, the
    /// intent is finished.
    ///
    /// [`Observation::sizes`]: super::reconcile::Observation::sizes
    pub sizes: BTreeMap<String, u64>,
    /// The disk that grows for it: found so large, the intent is finished.
    pub grows: Option<Grows>,
    /// Whether the VM ran before and was paused for it: it is resumed whatever happens.
    pub resumes: bool,
    /// The settings of the VM when it is finished.
    pub settings: Option<Settings>,
    /// Anything else that helps to say what it was about.
    pub about: Value,
}

/// A disk that grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grows {
    /// Its file.
    pub file: PathBuf,
    /// The format that was noted for it, `raw`.
    pub format: String,
    /// Bytes that the guest sees afterwards.
    pub size: u64,
}

impl Work {
    /// What has to be promised of an intent with it, and of its end. Without power nothing runs: of what only starts or
    /// ends processes nothing would be left to finish.
    fn safety(&self, verb: Verb) -> Safety {
        match verb {
            Verb::Start | Verb::Stop if self.drops.is_empty() => Safety::Process,
            _ => Safety::Power,
        }
    }
}

/// An intent before it is written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(super) verb: Verb,
    pub(super) upid: Option<Upid>,
    pub(super) work: Work,
}

impl Draft {
    /// To do this.
    pub fn new(verb: Verb) -> Self {
        Self { verb, upid: None, work: Work::default() }
    }

    /// As part of this task.
    #[must_use]
    pub fn task(mut self, upid: &Upid) -> Self {
        self.upid = Some(upid.clone());
        self
    }

    /// With this to finish or to roll back.
    #[must_use]
    pub fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }
}

/// What is being done to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its number.
    pub id: IntentId,
    /// To which VM.
    pub vmid: Vmid,
    /// What.
    pub verb: Verb,
    /// Whether it is to be finished from here on, and no longer rolled back.
    pub committed: bool,
    /// The task it is part of.
    pub upid: Option<Upid>,
    /// Who does it. Whether it was left says the operation lock, not this.
    pub worker: Process,
    /// Since when.
    pub began: Timestamp,
    /// What is needed to finish it or to roll it back.
    pub work: Work,
}

const COLUMNS: &str = "id, vmid, verb, committed, upid, worker, began, work";

fn intent(row: &Row<'_>) -> rusqlite::Result<Intent> {
    let text = |at: usize| row.get::<_, String>(at);
    Ok(Intent {
        id: IntentId(row.get(0)?),
        vmid: vm::vmid(row.get(1)?)?,
        verb: row.get(2)?,
        committed: row.get(3)?,
        upid: row.get::<_, Option<String>>(4)?.map(|text| text.parse().map_err(damaged)).transpose()?,
        worker: parse(&text(5)?)?,
        began: timestamp(row.get(6)?)?,
        work: parse(&text(7)?)?,
    })
}

/// All intents by VM.
pub(super) fn all(transaction: &Transaction<'_>) -> rusqlite::Result<BTreeMap<Vmid, Intent>> {
    let mut query = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM intent"))?;
    query.query_map([], |row| intent(row).map(|intent| (intent.vmid, intent)))?.collect()
}

fn find(transaction: &Transaction<'_>, vmid: Vmid) -> rusqlite::Result<Option<Intent>> {
    let sql = format!("SELECT {COLUMNS} FROM intent WHERE vmid = ?1");
    transaction.prepare_cached(&sql)?.query_row([vmid.get()], intent).optional()
}

/// An intent that is over.
pub(super) struct Ended {
    /// The settings that are true from now on, if it was finished and had some.
    pub(super) settings: Option<Settings>,
    /// What has to be promised of its end.
    pub(super) safety: Safety,
}

/// Ends an intent, if nobody else did.
pub(super) fn end(transaction: &Transaction<'_>, id: IntentId, outcome: Outcome) -> rusqlite::Result<Option<Ended>> {
    let found = transaction
        .prepare_cached("SELECT verb, work FROM intent WHERE id = ?1")?
        .query_row([id.0], |row| Ok((row.get::<_, Verb>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((verb, work)) = found else { return Ok(None) };
    if outcome == Outcome::Finished {
        queue::done(transaction, id)?;
    }
    // What is left of the queue waits again: the reference goes with the intent.
    transaction.prepare_cached("DELETE FROM intent WHERE id = ?1")?.execute([id.0])?;
    let work: Work = parse(&work)?;
    let safety = work.safety(verb);
    Ok(Some(Ended { settings: work.settings.filter(|_| outcome == Outcome::Finished), safety }))
}

impl State {
    /// Writes down what is about to be done to a VM. With a verb that has a phase of its own the VM is in it from now
    /// on; a start begins a new generation.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound); [`Class::Conflict`](crate::model::Class::Conflict) if
    /// something is being done already, or was left: it is to be reconciled first.
    pub fn begin(&self, vmid: Vmid, draft: Draft) -> Result<Intent> {
        let verb = draft.verb;
        self.write(draft.work.safety(verb), |transaction| {
            let vm = vm::find(transaction, &self.0.node, vmid)?;
            let intent = self.insert_intent(transaction, vmid, draft)?;
            if let Some(phase) = verb.phase() {
                let start = verb == Verb::Start;
                let desired = if start { Desired::Running } else { Desired::Stopped };
                // A VMM of before is forgotten by a start, which makes sure that there is none.
                let boot = if start { Some(&self.0.me.boot_id) } else { vm.boot_id.as_ref() };
                transaction
                    .prepare_cached(
                        "UPDATE vm SET phase = ?2, desired = ?3, generation = generation + ?4, boot_id = ?5,
                             pid = iif(?4, NULL, pid), starttime = iif(?4, NULL, starttime)
                         WHERE vmid = ?1",
                    )?
                    .execute(params![vmid.get(), phase, desired, start, boot])?;
            }
            Ok(intent)
        })
        .inspect(|_| reach(Point::IntentBegun))
    }

    /// Writes what changed of an intent: its work, and whether it is committed. Before the work is done, that is.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) if it is over: somebody else finished it or rolled it back.
    pub fn revise(&self, intent: &Intent) -> Result<()> {
        self.write(Safety::Power, |transaction| {
            let changed = transaction
                .prepare_cached("UPDATE intent SET committed = ?2, work = ?3 WHERE id = ?1")?
                .execute(params![intent.id.0, intent.committed, json(&intent.work)?])?;
            if changed == 0 {
                let text = format!("the {} of VM {} was ended by somebody else", intent.verb, intent.vmid);
                return Err(Error::conflict(text).into());
            }
            Ok(())
        })
        .inspect(|()| reach(Point::IntentRevised))
    }

    /// What is being done to a VM, or was left.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn intent(&self, vmid: Vmid) -> Result<Option<Intent>> {
        self.read(|transaction| Ok(find(transaction, vmid)?))
    }

    /// What is being done to all VMs, or was left, by VMID.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn intents(&self) -> Result<Vec<Intent>> {
        self.read(|transaction| Ok(all(transaction)?.into_values().collect()))
    }

    pub(super) fn insert_intent(&self, transaction: &Transaction<'_>, vmid: Vmid, draft: Draft) -> Done<Intent> {
        if let Some(other) = find(transaction, vmid)? {
            let text = format!("VM {vmid} is in the middle of a {} since {:.0}", other.verb, other.began);
            return Err(Error::conflict(text).into());
        }
        let Draft { verb, upid, work } = draft;
        let upid = upid.map(|upid| upid.to_string());
        transaction
            .prepare_cached(
                "INSERT INTO intent (vmid, verb, committed, upid, worker, began, work) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                vmid.get(),
                verb,
                verb.is_final(),
                upid,
                json(&self.0.me)?,
                self.now().as_microsecond(),
                json(&work)?
            ])?;
        Ok(find(transaction, vmid)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
    }
}
