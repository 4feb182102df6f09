//! The VMs of this host kept in sight: looked at once more when their rows change, their VMM ends or says something, and
//! from time to time all the same.
//!
//! It only looks. What is found to be left is told, and put in order by whoever wants that.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::Local;
use crate::{
    backends::{
        GuestWatch, Sighting,
        cloud_hypervisor::{
            host::{self, FileNumber, Happened, Happenings, ProcessId, Used},
            state::{Changes, Intent, Phase, Vm, reconcile::Sight},
        },
    },
    model::{Class, Error, Guest, Result, Vmid},
    sqlite,
};

/// How old figures may be.
const MEASURE: Duration = Duration::from_secs(2);
/// How long a VM is taken for what it was, where nothing is heard of it: a VMM that hangs says nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The same for one that somebody works on: of a command that is killed nobody hears.
const LOOK_AGAIN_AT_WORK: Duration = Duration::from_secs(1);

/// How many are looked at again at once of which nothing was heard, and into how many turns all of them are divided.
const FEW: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Watching {
    local: Local,
    changes: Changes,
    happenings: Happenings,
    /// Who looks, one at a time.
    kept: tokio::sync::Mutex<Kept>,
    /// What was seen, for everybody, and the number of changes that it knows of.
    last: Mutex<Option<(Option<i64>, Arc<Sighting>)>>,
}

#[derive(Debug, Default)]
struct Kept {
    vms: BTreeMap<Vmid, Watched>,
    generation: u64,
    /// Whether anything is another way than it was told last.
    differs: bool,
    measured: Option<Instant>,
}

/// A VM and what is known of it.
#[derive(Debug)]
struct Watched {
    vm: Vm,
    intent: Option<Intent>,
    /// When it was last looked at; `None` if it has to be.
    looked: Option<Instant>,
    /// With the settings that it came up with.
    shown: Vm,
    sight: Sight,
    /// Whether there is something to be put in order.
    left: bool,
    used: Option<Used>,
    /// Its load since the figures before.
    load: Option<f64>,
    process: Option<host::Process>,
    events: Option<(PathBuf, FileNumber)>,
}

impl Local {
    /// Keeps all VMs in sight from now on.
    pub(super) fn keep_in_sight(&self) -> Result<Watching> {
        let happenings = Happenings::new().map_err(deaf)?;
        let changes = self.state().changes()?;
        // Whoever writes a row writes to one of these first. That it can be read comes a moment later.
        let file = self.state().path();
        for path in [file, &sqlite::log_of(file)] {
            happenings.listen(path).map_err(deaf)?;
        }
        Ok(Watching {
            local: self.clone(),
            changes,
            happenings,
            kept: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        })
    }
}

#[async_trait]
impl GuestWatch for Watching {
    fn last(&self) -> Option<Arc<Sighting>> {
        self.seen().map(|(_, sighting)| sighting)
    }

    fn has_news(&self) -> bool {
        let Some((known, _)) = self.seen() else { return true };
        self.happenings.any() || known.is_none() || self.changes.number() != known
    }

    async fn look(&self) -> Result<Arc<Sighting>> {
        let mut kept = self.kept.lock().await;
        let before = self.seen();
        // Both before anything is read: what comes after them is news again.
        let number = self.changes.number();
        let happened = self.happenings.take().map_err(deaf)?;
        // Noted at once, for whoever asks may be gone before the end of this.
        let now = Instant::now();
        kept.stir(&happened, now);
        if number.is_none() || before.as_ref().is_none_or(|(known, _)| *known != number) {
            kept.take_rows(self.local.state().vms()?);
        }
        self.look_at(&mut kept, number).await?;
        let measures = kept.measured.is_none_or(|measured| now.duration_since(measured) >= MEASURE);
        kept.measure(measures)?;
        if measures {
            kept.measured = Some(now);
        }
        if let Some((_, last)) = before.filter(|_| !kept.differs && !measures) {
            *self.seen_mut() = Some((number, Arc::clone(&last)));
            return Ok(last);
        }
        kept.generation += u64::from(std::mem::take(&mut kept.differs));
        let sighting = Arc::new(self.sighting(&kept));
        *self.seen_mut() = Some((number, Arc::clone(&sighting)));
        Ok(sighting)
    }

    async fn happens(&self) -> Result<()> {
        self.happenings.happens().await.map_err(deaf)
    }
}

impl Watching {
    fn seen_mut(&self) -> std::sync::MutexGuard<'_, Option<(Option<i64>, Arc<Sighting>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> Option<(Option<i64>, Arc<Sighting>)> {
        self.seen_mut().clone()
    }

    /// Looks at those that have to be looked at, side by side, whose rows are those of this number of changes.
    async fn look_at(&self, kept: &mut Kept, number: Option<i64>) -> Result<()> {
        for watched in kept.vms.values_mut().filter(|watched| watched.looked.is_none()) {
            // Before the look: what it says meanwhile is news.
            watched.listen(&self.local, &self.happenings)?;
        }
        let wanted = kept.vms.values().filter(|watched| watched.looked.is_none());
        let looks = wanted.map(|watched| self.local.glance(watched.vm.clone(), watched.intent.clone()));
        let looks = futures_util::future::try_join_all(looks).await?;
        // A command may have ended between the row and the look: it has left nothing, as its row will say.
        let is_sure = self.changes.number() == number;
        for (shown, seen) in looks {
            let Some(watched) = kept.vms.get_mut(&shown.vmid) else { continue };
            let left = is_sure && !seen.actions.is_empty();
            kept.differs |= (watched.sight, watched.left) != (seen.sight, left) || watched.shown != shown;
            let looked = (is_sure || seen.actions.is_empty()).then(Instant::now);
            (watched.shown, watched.sight, watched.left, watched.looked) = (shown, seen.sight, left, looked);
            if !watched.is_on() {
                (watched.used, watched.load) = (None, None);
            }
        }
        Ok(())
    }

    fn sighting(&self, kept: &Kept) -> Sighting {
        // What a killed command half made is no VM.
        let there = |watched: &&Watched| watched.vm.phase != Phase::Creating || !watched.left;
        Sighting {
            generation: kept.generation,
            guests: kept.vms.values().filter(there).map(|watched| watched.guest(&self.local)).collect(),
            left: kept.vms.values().filter(|watched| watched.left).map(|watched| watched.vm.vmid).collect(),
            measured: kept.measured.unwrap_or_else(Instant::now),
        }
    }
}

impl Kept {
    /// Takes the rows as they are now. Those that are new or others than before have to be looked at.
    fn take_rows(&mut self, rows: Vec<(Vm, Option<Intent>)>) {
        let there: BTreeSet<Vmid> = rows.iter().map(|(vm, _)| vm.vmid).collect();
        let count = self.vms.len();
        self.vms.retain(|vmid, _| there.contains(vmid));
        self.differs |= self.vms.len() != count;
        for (vm, intent) in rows {
            match self.vms.get_mut(&vm.vmid) {
                Some(known) if known.vm == vm && known.intent == intent => continue,
                Some(known) if known.vm.uuid == vm.uuid => (known.vm, known.intent, known.looked) = (vm, intent, None),
                _ => drop(self.vms.insert(vm.vmid, Watched::new(vm, intent))),
            }
            self.differs = true;
        }
    }

    /// Notes who has to be looked at: who was heard of, and some of those that were not for long.
    fn stir(&mut self, happened: &Happened, now: Instant) {
        let is_heard = |watched: &Watched| {
            let said = |(_, file): &(PathBuf, FileNumber)| happened.more || happened.written.contains(file);
            happened.ended.contains(&u64::from(watched.vm.vmid.get())) || watched.events.as_ref().is_some_and(said)
        };
        // Not all at once: each is asked.
        let mut few = FEW.max(self.vms.len() / FEW);
        for watched in self.vms.values_mut() {
            let patience = if watched.intent.is_some() { LOOK_AGAIN_AT_WORK } else { LOOK_AGAIN };
            let is_due = few > 0 && watched.looked.is_some_and(|looked| now.duration_since(looked) >= patience);
            few -= usize::from(is_due);
            if is_due || is_heard(watched) {
                watched.looked = None;
            }
        }
    }

    /// Takes the figures of all that are on, or of those alone that have none yet.
    fn measure(&mut self, all: bool) -> Result<()> {
        let is_due = |watched: &&mut Watched| watched.is_on() && (all || watched.used.is_none());
        let mut due = self.vms.values_mut().filter(is_due).peekable();
        if due.peek().is_none() {
            return Ok(());
        }
        let now = host::host_uptime()?;
        for watched in due {
            let before = watched.used;
            watched.measure(now)?;
            self.differs |= before != watched.used;
        }
        Ok(())
    }
}

impl Watched {
    /// One that was not looked at.
    fn new(vm: Vm, intent: Option<Intent>) -> Self {
        Self {
            shown: vm.clone(),
            vm,
            intent,
            looked: None,
            sight: Sight::Stopped,
            left: false,
            used: None,
            load: None,
            process: None,
            events: None,
        }
    }

    /// Hears of the end of its VMM, and of what that says.
    fn listen(&mut self, local: &Local, happenings: &Happenings) -> Result<()> {
        let id: Option<&ProcessId> = self.vm.process.as_ref();
        if self.process.as_ref().map(host::Process::id) != id || self.has_ended() {
            self.process = id.map(host::Process::find).transpose()?.flatten();
            if let Some(process) = &self.process {
                happenings.follow(self.vm.vmid.get(), process).map_err(deaf)?;
            }
        }
        let file = local.places(&self.vm).events(self.vm.generation.into());
        let file = self.process.as_ref().map(|_| file);
        if self.events.as_ref().map(|(path, _)| path) != file.as_ref() {
            self.events.take().iter().for_each(|(_, number)| happenings.forget(*number));
            let number = file.as_deref().map(|file| happenings.listen(file)).transpose().map_err(deaf)?.flatten();
            self.events = file.zip(number);
        }
        Ok(())
    }

    fn is_on(&self) -> bool {
        self.sight.status() == "running"
    }

    fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.ended_now(Duration::ZERO).unwrap_or(true))
    }

    /// Takes its figures, `now` seconds after the boot of this host.
    fn measure(&mut self, now: f64) -> Result<()> {
        let used = Local::used(&self.shown, now)?;
        self.load = match (&self.used, &used) {
            (Some(before), Some(now)) if now.uptime > before.uptime => {
                let most = (now.uptime - before.uptime) * self.shown.processors().max(1) as f64;
                Some(((now.cpu - before.cpu) / most).clamp(0.0, 1.0))
            }
            (_, Some(_)) => self.load,
            _ => None,
        };
        self.used = used;
        Ok(())
    }

    fn guest(&self, local: &Local) -> Guest {
        let mut usage = self.used.map(|used| Local::counted(&self.shown, &used)).unwrap_or_default();
        usage.cpu = self.load.or(usage.cpu);
        self.shown.guest(local.state(), self.sight, &usage)
    }
}

fn deaf(error: io::Error) -> Error {
    Error::new(Class::Failed, format!("the kernel tells nothing of what happens here: {error}")).with_source(error)
}
