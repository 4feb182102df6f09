//! The rows of VMs: made, read, changed, settled, removed; the numbers they get.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use jiff::Timestamp;

use super::{
    Change, Config, Desired, Done, Draft, End, Intent, IntentId, Outcome, Phase, Process, Safety, Settings, State,
    damaged, intent, json, numbers::lowest_free, parse, timestamp,
};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Class, Digest, Error, Hint, NodeName, Result, Vmid},
};

/// A VM as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its number.
    pub vmid: Vmid,
    /// The name of its directory, and its machine id for the guest.
    pub uuid: Uuid,
    /// What is set for it.
    pub settings: Settings,
    /// What is being done to it.
    pub phase: Phase,
    /// What the user wants.
    pub desired: Desired,
    /// How often it was started: the number in the names of its logs.
    pub generation: u32,
    /// Its VMM, if one was recorded.
    pub process: Option<Process>,
    /// The boot in which it was last started, while it is not stopped.
    pub boot_id: Option<String>,
    /// The build of its VMM, as that says.
    pub build: Option<String>,
    /// Its address on vsock, unique on this host.
    pub cid: u32,
    /// How it last came to stand still.
    pub end: Option<End>,
    /// When it was made.
    pub created: Timestamp,
}

impl Vm {
    /// Its name; a nameless VM is called by its number.
    pub fn name(&self) -> String {
        self.settings.get("name").map_or_else(|| format!("VM {}", self.vmid), str::to_owned)
    }

    /// What holds it in Proxmox's sense: `suspended`, `backup`, ….
    pub fn lock(&self) -> Option<&str> {
        self.settings.get("lock")
    }

    /// Refuses while something holds it.
    ///
    /// # Errors
    /// [`Class::Conflict`], in the server's words.
    pub fn check_lock(&self) -> Result<()> {
        match self.lock() {
            Some(lock) => {
                Err(Error::conflict(format!("VM is locked ({lock})")).with_hint(Hint::Locked(lock.to_owned())))
            }
            None => Ok(()),
        }
    }

    /// Refuses a change while something holds it. To take the lock of a suspended VM away, as `qm unlock` does, is to give
    /// its memory up: that goes.
    ///
    /// # Errors
    /// As [`check_lock`](Self::check_lock).
    pub fn check_lock_for(&self, change: &Change) -> Result<()> {
        let unlocks = change.set.is_empty() && change.delete == ["lock"];
        if unlocks && self.lock() == Some("suspended") { Ok(()) } else { self.check_lock() }
    }

    /// Refuses while `protection` is on. `what` is what would be done, `can't remove VM 100`.
    ///
    /// # Errors
    /// [`Class::Conflict`], in the server's words.
    pub fn check_protection(&self, what: &str) -> Result<()> {
        if self.settings.is_on("protection") {
            return Err(Error::conflict(format!("{what} - protection mode enabled")));
        }
        Ok(())
    }
}

/// A VM that is to be.
#[derive(Debug, Clone)]
pub struct NewVm {
    /// Its number; the lowest free one if none is asked for.
    pub vmid: Option<Vmid>,
    /// What is set for it.
    pub settings: Settings,
}

impl NewVm {
    /// One with this configuration and any number.
    pub fn new(config: Config) -> Self {
        Self { vmid: None, settings: Settings::new(config) }
    }
}

/// What became of a VM: written in one transaction with the end of what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// The phase from now on.
    pub phase: Phase,
    /// What the user wants from now on.
    pub desired: Desired,
    /// Its VMM; `None` forgets the one that was recorded.
    pub process: Option<Process>,
    /// How it came to stand still, if it did just now.
    pub end: Option<End>,
    /// The intent that ends with it, and how.
    pub intent: Option<(IntentId, Outcome)>,
}

impl Settle {
    /// It stands still.
    pub fn stopped(end: End) -> Self {
        Self { phase: Phase::Stopped, desired: Desired::Stopped, process: None, end: Some(end), intent: None }
    }

    /// It runs in this process.
    pub fn running(process: Process) -> Self {
        Self { phase: Phase::Running, desired: Desired::Running, process: Some(process), end: None, intent: None }
    }

    /// It goes on as it is: running, or off.
    pub fn unchanged(vm: &Vm) -> Self {
        let off = Self { phase: Phase::Stopped, desired: Desired::Stopped, process: None, end: None, intent: None };
        vm.process.clone().map_or(off, Self::running)
    }

    /// The same, with the end of an intent.
    #[must_use]
    pub fn ending(mut self, intent: IntentId, outcome: Outcome) -> Self {
        self.intent = Some((intent, outcome));
        self
    }
}

const COLUMNS: &str = "vmid, uuid, config, pending, snapshots, phase, desired, generation, pid, starttime, boot_id, \
                       build, cid, ended, created";

fn vm(row: &Row<'_>) -> rusqlite::Result<Vm> {
    let text = |at: usize| row.get::<_, String>(at);
    let boot_id: Option<String> = row.get(10)?;
    let process = match (row.get(8)?, row.get::<_, Option<i64>>(9)?, &boot_id) {
        (Some(pid), Some(starttime), Some(boot_id)) => {
            Some(Process { pid, starttime: starttime.cast_unsigned(), boot_id: boot_id.clone() })
        }
        _ => None,
    };
    Ok(Vm {
        vmid: vmid(row.get(0)?)?,
        uuid: text(1)?.parse().map_err(damaged)?,
        settings: Settings { config: parse(&text(2)?)?, pending: parse(&text(3)?)?, snapshots: parse(&text(4)?)? },
        phase: row.get(5)?,
        desired: row.get(6)?,
        generation: row.get(7)?,
        process,
        boot_id,
        build: row.get(11)?,
        cid: row.get(12)?,
        end: row.get::<_, Option<String>>(13)?.map(|text| parse(&text)).transpose()?,
        created: timestamp(row.get(14)?)?,
    })
}

/// A VMID as it is kept.
pub(super) fn vmid(number: u32) -> rusqlite::Result<Vmid> {
    Vmid::new(number).map_err(damaged)
}

/// The row of a VM.
pub(super) fn find(transaction: &Transaction<'_>, node: &NodeName, vmid: Vmid) -> Done<Vm> {
    let sql = format!("SELECT {COLUMNS} FROM vm WHERE vmid = ?1");
    let found = transaction.prepare_cached(&sql)?.query_row([vmid.get()], vm).optional()?;
    // Proxmox's words, so that they are classified as on Proxmox.
    Ok(found.ok_or_else(|| {
        Error::not_found(format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist"))
    })?)
}

/// All VMs by number, each with what is being done to it.
pub(super) fn all(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(Vm, Option<Intent>)>> {
    let mut intents = intent::all(transaction)?;
    let mut query = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM vm ORDER BY vmid"))?;
    let rows = query.query_map([], vm)?;
    rows.map(|row| row.map(|vm| (intents.remove(&vm.vmid), vm)).map(|(intent, vm)| (vm, intent))).collect()
}

fn store_settings(transaction: &Transaction<'_>, vmid: Vmid, settings: &Settings) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE vm SET config = ?2, pending = ?3, snapshots = ?4 WHERE vmid = ?1")?
        .execute(params![vmid.get(), json(&settings.config)?, json(&settings.pending)?, json(&settings.snapshots)?])?;
    Ok(())
}

impl State {
    /// Makes a VM's row, in phase [`Phase::Creating`], with the intent that makes the VM. Gives it the VMID that is
    /// asked for or the lowest free one, the lowest free CID, and a fresh uuid.
    ///
    /// # Errors
    /// [`Class::Conflict`] if the VMID is taken, in the server's words.
    pub fn create(&self, new: NewVm, draft: Draft) -> Result<(Vm, Intent)> {
        self.create_held(new, draft, |_| Ok(())).map(|(vm, intent, ())| (vm, intent))
    }

    /// The same, and `hold` is called before anybody else can see the row: to take the VM's operation lock, without which
    /// the next command would take a VM in the making for one that was left. If that fails, there is no row.
    ///
    /// # Errors
    /// As [`create`](Self::create), and whatever `hold` says.
    pub fn create_held<T>(
        &self,
        new: NewVm,
        draft: Draft,
        hold: impl FnOnce(&Vm) -> Result<T>,
    ) -> Result<(Vm, Intent, T)> {
        /// The first that vsock leaves to guests.
        const FIRST_CID: u32 = 3;
        let uuid = Uuid::new_v4();
        self.write(Safety::Power, |transaction| {
            let vmid = match new.vmid {
                None => vmid(lowest_free(transaction, "vmid", Vmid::MIN)?)?,
                Some(vmid) => {
                    if transaction.prepare_cached("SELECT 1 FROM vm WHERE vmid = ?1")?.exists([vmid.get()])? {
                        let text = format!("VM {vmid} already exists on node '{}'", self.0.node);
                        return Err(Error::conflict(text.clone()).with_hint(Hint::VmidTaken(text)).into());
                    }
                    vmid
                }
            };
            let cid = lowest_free(transaction, "cid", FIRST_CID)?;
            transaction
                .prepare_cached(
                    "INSERT INTO vm (vmid, uuid, config, phase, desired, cid, created) VALUES (?1, ?2, '{}', ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    vmid.get(),
                    uuid.to_string(),
                    Phase::Creating,
                    Desired::Stopped,
                    cid,
                    self.now().as_microsecond()
                ])?;
            store_settings(transaction, vmid, &new.settings)?;
            let intent = self.insert_intent(transaction, vmid, draft)?;
            let vm = find(transaction, &self.0.node, vmid)?;
            let held = hold(&vm)?;
            Ok((vm, intent, held))
        })
        .inspect(|_| reach(Point::RowMade))
    }

    /// One VM.
    ///
    /// # Errors
    /// [`Class::NotFound`], in the server's words.
    pub fn vm(&self, vmid: Vmid) -> Result<Vm> {
        self.read(|transaction| find(transaction, &self.0.node, vmid))
    }

    /// All VMs by number, each with what is being done to it, in one look.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn vms(&self) -> Result<Vec<(Vm, Option<Intent>)>> {
        self.read(|transaction| Ok(all(transaction)?))
    }

    /// Changes a VM's settings, all of it or nothing, if they still have this digest. Gives what `change` gives.
    ///
    /// # Errors
    /// [`Class::NotFound`]; [`Class::Conflict`] if they changed in between; whatever `change` says, after which nothing
    /// is changed.
    pub fn configure<T>(
        &self,
        vmid: Vmid,
        digest: Option<&Digest>,
        change: impl FnOnce(&mut Vm) -> Result<T>,
    ) -> Result<T> {
        self.write(Safety::Power, |transaction| {
            let mut vm = find(transaction, &self.0.node, vmid)?;
            vm.settings.check_digest(digest)?;
            let result = change(&mut vm)?;
            store_settings(transaction, vmid, &vm.settings)?;
            Ok(result)
        })
        .inspect(|_| reach(Point::Configured))
    }

    /// Records the VMM that was started for a VM, and its build if it has said so.
    ///
    /// # Errors
    /// [`Class::NotFound`].
    pub fn record_process(&self, vmid: Vmid, process: &Process, build: Option<&str>) -> Result<()> {
        // Without power there is no process.
        self.write(Safety::Process, |transaction| {
            find(transaction, &self.0.node, vmid)?;
            store_process(transaction, vmid, Some(process))?;
            transaction
                .prepare_cached("UPDATE vm SET build = coalesce(?2, build) WHERE vmid = ?1")?
                .execute(params![vmid.get(), build])?;
            Ok(())
        })
        .inspect(|()| reach(Point::ProcessRecorded))
    }

    /// Writes what became of a VM and ends its intent. Of a finished one the settings it was for become true, and its
    /// queued addition is done; of one that was rolled back the addition goes back into the queue. An intent that is
    /// gone already is no error, so this may be repeated.
    ///
    /// # Errors
    /// [`Class::NotFound`].
    pub fn settle(&self, vmid: Vmid, settle: &Settle) -> Result<()> {
        reach(Point::Settling);
        let settling = |transaction: &Transaction<'_>| {
            find(transaction, &self.0.node, vmid)?;
            store_process(transaction, vmid, settle.process.as_ref())?;
            let end = settle.end.as_ref().map(json).transpose()?;
            transaction
                .prepare_cached("UPDATE vm SET phase = ?2, desired = ?3, ended = coalesce(?4, ended) WHERE vmid = ?1")?
                .execute(params![vmid.get(), settle.phase, settle.desired, end])?;
            let ended = settle.intent.map(|(id, outcome)| intent::end(transaction, id, outcome)).transpose()?.flatten();
            let Some(ended) = ended else { return Ok(Safety::Power) };
            if let Some(settings) = ended.settings {
                store_settings(transaction, vmid, &settings)?;
            }
            Ok(ended.safety)
        };
        self.write_as(|safety| *safety, settling).map(drop).inspect(|()| reach(Point::Settled))
    }

    /// Removes a VM's row and with it its intent, its queue and its use of images: the last act of a delete, and of a
    /// create that is rolled back. One that is gone already is no error.
    ///
    /// # Errors
    /// [`Class::Bug`] for a VM that is neither being deleted nor being made.
    pub fn remove(&self, vmid: Vmid) -> Result<()> {
        reach(Point::RowGoing);
        self.write(Safety::Power, |transaction| {
            let phase: Option<Phase> = transaction
                .prepare_cached("SELECT phase FROM vm WHERE vmid = ?1")?
                .query_row([vmid.get()], |row| row.get(0))
                .optional()?;
            match phase {
                None => return Ok(()),
                Some(Phase::Deleting | Phase::Creating) => {}
                Some(phase) => {
                    let text = format!("the row of VM {vmid} was to be removed while it is {phase}");
                    return Err(Error::new(Class::Bug, text).into());
                }
            }
            transaction.prepare_cached("DELETE FROM vm WHERE vmid = ?1")?.execute([vmid.get()])?;
            Ok(())
        })
        .inspect(|()| reach(Point::RowGone))
    }
}

fn store_process(transaction: &Transaction<'_>, vmid: Vmid, process: Option<&Process>) -> rusqlite::Result<()> {
    let starttime = process.map(|process| process.starttime.cast_signed());
    transaction.prepare_cached("UPDATE vm SET pid = ?2, starttime = ?3, boot_id = ?4 WHERE vmid = ?1")?.execute(
        params![
            vmid.get(),
            process.map(|process| process.pid),
            starttime,
            process.map(|process| process.boot_id.as_str())
        ],
    )?;
    Ok(())
}
