//! What the plain routes do: each is one or two calls of the API, for whoever asks, in the same words for plans.

use std::{collections::BTreeSet, sync::PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Answer, Asker, Call as Asked, Desk, Trouble, Vm, vm::check_name};
use crate::{
    backends::{Action, Step},
    model::{Class, Guest, Params, Upid, Vmid, classify_text},
    ops::name_of_copy,
    tasks::{Limits, NoWatch},
};

/// Something that is done to a VM that is there: one entry, with its name in paths and plans, and that of the API.
#[derive(Debug)]
pub(in crate::serve) struct Verb {
    /// What it is called in paths; in plans in capitals.
    pub(in crate::serve) word: &'static str,
    /// What it is in the API.
    pub(in crate::serve) action: Action,
    /// What its task is called there.
    pub(in crate::serve) task: &'static str,
    /// In which states of the VM it can be done.
    pub(in crate::serve) from: &'static [&'static str],
}

const fn verb(word: &'static str, action: Action, task: &'static str, from: &'static [&'static str]) -> Verb {
    Verb { word, action, task, from }
}

pub(in crate::serve) const START: Verb = verb("start", Action::Start, "qmstart", &["stopped"]);
pub(in crate::serve) const STOP: Verb = verb("stop", Action::Stop, "qmstop", &["running", "paused"]);
pub(in crate::serve) const PAUSE: Verb = verb("pause", Action::Pause, "qmpause", &["running"]);
pub(in crate::serve) const RESUME: Verb = verb("resume", Action::Resume, "qmresume", &["paused"]);
pub(in crate::serve) const DELETE: Verb = verb("delete", Action::Destroy, "qmdestroy", &["stopped"]);
pub(in crate::serve) const SNAPSHOT: Verb =
    verb("snapshot", Action::Snapshot, "qmsnapshot", &["stopped", "running", "paused"]);
const SHUTDOWN: Verb = verb("restart", Action::Shutdown, "qmshutdown", &["running"]);
const RENAME: Verb = verb("rename", Action::Configure, "qmconfig", &["stopped", "running", "paused"]);
const COPY: Verb = verb("copy", Action::Clone, "qmclone", &["stopped", "running", "paused"]);

/// How long a guest may take to shut down before its power is cut, in seconds.
pub(super) const PATIENCE: u64 = 30;

/// Among so many guests no further name is looked for.
const MOST_COPIES: usize = 100_000;

/// How often another number is taken when somebody else was faster.
pub(in crate::serve) const TRIES: u32 = 10;

/// A VM to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::serve) struct NewVm {
    pub(in crate::serve) name: String,
    #[serde(default)]
    cpus: Option<u32>,
    #[serde(default)]
    memory_mb: Option<u32>,
    #[serde(default)]
    disk_gb: Option<u32>,
    /// Whatever else Proxmox has words for.
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    start: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restart {
    #[serde(default)]
    timeout: Option<u32>,
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copy {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    start: Option<bool>,
}

/// A value of Proxmox's, as it goes over the wire there; `of` is what it stands in.
pub(super) fn word(of: &str, key: &str, value: &Value) -> Result<String, Trouble> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(set) => Ok(u8::from(*set).to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Trouble::bad(format!("{of}.{key}: text, a number or true/false is expected"))),
    }
}

impl NewVm {
    /// Its configuration, in Proxmox's keys.
    pub(in crate::serve) fn params(&self) -> Result<Params, Trouble> {
        let mut params = Params::new();
        for (key, value) in &self.config {
            params.set(key, word("config", key, value)?);
        }
        for (key, value) in [("cores", self.cpus), ("memory", self.memory_mb)] {
            if let Some(value) = value {
                params.set(key, value);
            }
        }
        if let Some(size) = self.disk_gb {
            params.set("scsi0", format!("local:{size}"));
        }
        params.set("name", &self.name);
        Ok(params)
    }
}

/// What is being made: names and numbers that are nobody's yet and will be.
#[derive(Debug, Default)]
pub(super) struct Making {
    names: BTreeSet<String>,
    vmids: BTreeSet<Vmid>,
}

/// A name that is somebody's as long as this lives.
pub(in crate::serve) struct Reserved<'d> {
    desk: &'d Desk,
    name: String,
    vmid: Option<Vmid>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut making = self.desk.making();
        making.names.remove(&self.name);
        if let Some(vmid) = &self.vmid {
            making.vmids.remove(vmid);
        }
    }
}

impl Reserved<'_> {
    /// Takes a number that is free.
    pub(in crate::serve) async fn number(&mut self) -> Result<Vmid, Trouble> {
        let mut free = self.desk.host.backend.next_vmid().await?;
        loop {
            let is_mine = {
                let mut making = self.desk.making();
                if let Some(old) = self.vmid.take() {
                    making.vmids.remove(&old);
                }
                making.vmids.insert(free)
            };
            // Given back with this, also where it cannot be told whether it is taken.
            self.vmid = is_mine.then_some(free);
            if is_mine && !self.desk.host.is_taken(&self.desk.guest(free)).await? {
                return Ok(free);
            }
            free = Vmid::new(free.get() + 1).map_err(|_| Trouble::new(500, "no VMID is free"))?;
        }
    }
}

impl Desk {
    fn making(&self) -> std::sync::MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a VM that is to be made, or refuses one that is taken.
    pub(in crate::serve) async fn reserve(&self, name: &str) -> Result<Reserved<'_>, Trouble> {
        check_name(name)?;
        let taken = || Trouble::bad(format!("the name `{name}` is taken"));
        if !self.making().names.insert(name.to_owned()) {
            return Err(taken());
        }
        let reserved = Reserved { desk: self, name: name.to_owned(), vmid: None };
        // Also one that whoever asks may not see.
        let guests = self.host.backend.guests().await?;
        match guests.iter().any(|guest| guest.name.as_deref() == Some(name)) {
            true => Err(taken()),
            false => Ok(reserved),
        }
    }

    /// The step that a verb is for a VM, if it is in the state for it.
    pub(in crate::serve) fn step(&self, verb: &Verb, vm: &Vm) -> Result<Step, Trouble> {
        if !verb.from.contains(&vm.status.as_str()) {
            return Err(Trouble::bad(format!("VM `{}` is {}: it cannot {} now", vm.name, vm.status, verb.word)));
        }
        Ok(Step::new(verb.action, self.guest(vm.vmid)))
    }

    /// Asks for a step, with all the checks of the API.
    pub(in crate::serve) async fn submit(&self, asker: &Asker, step: &Step) -> Result<Option<Upid>, Trouble> {
        let reply = asker.kit.call(&asker.who, step.call(), &asker.id).await?;
        Ok(reply.value().as_str().and_then(|text| text.parse().ok()))
    }

    /// Waits for the end of what was asked for.
    pub(in crate::serve) async fn finish(&self, upid: Option<&Upid>) -> Result<(), Trouble> {
        let Some(upid) = upid else { return Ok(()) };
        match self.host.follower.wait(upid, &Limits::default(), &mut NoWatch).await? {
            end if end.is_success() => Ok(()),
            end => Err(Trouble::of_end(&end)),
        }
    }

    async fn carry_out(&self, asker: &Asker, step: &Step) -> Result<(), Trouble> {
        let upid = self.submit(asker, step).await?;
        self.finish(upid.as_ref()).await
    }

    /// Does a step with a number that is nobody's, and with another one when somebody else was faster.
    async fn carry_out_numbered(
        &self,
        asker: &Asker,
        mut reserved: Reserved<'_>,
        step: impl Fn(Vmid) -> Step,
    ) -> Result<(), Trouble> {
        for attempt in 1.. {
            let vmid = reserved.number().await?;
            match self.carry_out(asker, &step(vmid)).await {
                Err(trouble) if attempt < TRIES && is_number_taken(&trouble, vmid) => {}
                Err(trouble) => return Err(trouble),
                Ok(()) => break,
            }
        }
        Ok(())
    }

    /// Does a verb to a VM, and tells how the VM is then.
    async fn power(&self, asked: Asked, verb: &Verb) -> Result<Answer, Trouble> {
        asked.no_body()?;
        let vm = self.find(&asked.asker, asked.name()).await?;
        self.carry_out(&asked.asker, &self.step(verb, &vm)?).await?;
        Answer::of(200, &self.find(&asked.asker, &vm.name).await?)
    }

    pub(super) async fn start(&self, asked: Asked) -> Result<Answer, Trouble> {
        self.power(asked, &START).await
    }

    pub(super) async fn stop(&self, asked: Asked) -> Result<Answer, Trouble> {
        self.power(asked, &STOP).await
    }

    pub(super) async fn pause(&self, asked: Asked) -> Result<Answer, Trouble> {
        self.power(asked, &PAUSE).await
    }

    pub(super) async fn resume(&self, asked: Asked) -> Result<Answer, Trouble> {
        self.power(asked, &RESUME).await
    }

    /// Off and on again. A guest that does not go when it is asked to loses its power.
    pub(super) async fn restart(&self, asked: Asked) -> Result<Answer, Trouble> {
        let Restart { timeout, force } = asked.body_or_nothing()?;
        let vm = self.find(&asked.asker, asked.name()).await?;
        let mut step = self.step(&SHUTDOWN, &vm)?;
        if force {
            step.action = Action::Stop;
        } else {
            let timeout = timeout.map_or(PATIENCE, u64::from);
            step.params = Params::new().with("forceStop", 1).with("timeout", timeout);
        }
        self.carry_out(&asked.asker, &step).await?;
        let start = Step::new(Action::Start, self.guest(vm.vmid));
        let started = self.carry_out(&asked.asker, &start).await;
        started.map_err(|trouble| trouble.after(format_args!("VM `{}` was stopped, and does not start", vm.name)))?;
        Answer::of(200, &self.find(&asked.asker, &vm.name).await?)
    }

    pub(super) async fn rename(&self, asked: Asked) -> Result<Answer, Trouble> {
        let Rename { name } = asked.body()?;
        let vm = self.find(&asked.asker, asked.name()).await?;
        let _reserved = self.reserve(&name).await?;
        let step = self.step(&RENAME, &vm)?.with_params(Params::new().with("name", &name));
        self.carry_out(&asked.asker, &step).await?;
        Ok(Answer::message(format!("VM `{}` is called `{name}` now", vm.name)))
    }

    /// A full copy, which starts unless somebody says otherwise.
    pub(super) async fn copy(&self, asked: Asked) -> Result<Answer, Trouble> {
        let Copy { name, start } = asked.body_or_nothing()?;
        let vm = self.find(&asked.asker, asked.name()).await?;
        let step = self.step(&COPY, &vm)?;
        let (reserved, name) = match name {
            Some(name) => (self.reserve(&name).await?, name),
            None => self.reserve_copy(vm.vmid).await?,
        };
        let numbered =
            |vmid| step.clone().with_params(Params::new().with("newid", vmid).with("name", &name).with("full", 1));
        self.carry_out_numbered(&asked.asker, reserved, numbered).await?;
        self.made(&asked.asker, &name, start.unwrap_or(true)).await
    }

    /// `web-copy`, or `web-copy-2` and so on.
    async fn reserve_copy(&self, of: Vmid) -> Result<(Reserved<'_>, String), Trouble> {
        let mut guests = self.host.backend.guests().await?;
        let found = guests.iter().find(|guest| guest.vmid == of).cloned();
        let source = found.ok_or_else(|| Trouble::new(404, format!("there is no VM {of} any more")))?;
        loop {
            let name = name_of_copy(&source, &guests);
            match self.reserve(&name).await {
                Ok(reserved) => return Ok((reserved, name)),
                // Somebody else is about to make one of this name.
                Err(trouble) if trouble.status == 400 && guests.len() < MOST_COPIES => {
                    guests.push(Guest { name: Some(name), ..source.clone() });
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    pub(super) async fn create(&self, asked: Asked) -> Result<Answer, Trouble> {
        let new: NewVm = asked.body()?;
        let params = new.params()?;
        let reserved = self.reserve(&new.name).await?;
        let step = |vmid| Step::new(Action::Create, self.guest(vmid)).with_params(params.clone());
        self.carry_out_numbered(&asked.asker, reserved, step).await?;
        self.made(&asked.asker, &new.name, new.start).await
    }

    /// Tells of a VM that was made, once it is started where that is wanted.
    async fn made(&self, asker: &Asker, name: &str, start: bool) -> Result<Answer, Trouble> {
        let vm = self.find(asker, name).await?;
        if !start {
            return Answer::of(201, &vm);
        }
        let started = self.carry_out(asker, &Step::new(Action::Start, self.guest(vm.vmid))).await;
        started.map_err(|trouble| trouble.after(format_args!("VM `{name}` was made, and does not start")))?;
        Answer::of(201, &self.find(asker, name).await?)
    }

    /// Removes a VM and its disks; one that is on only where that is said.
    pub(super) async fn delete(&self, asked: Asked) -> Result<Answer, Trouble> {
        asked.no_body()?;
        let force = asked.flag("force")?;
        let mut vm = self.find(&asked.asker, asked.name()).await?;
        if force && STOP.from.contains(&vm.status.as_str()) {
            self.carry_out(&asked.asker, &self.step(&STOP, &vm)?).await?;
            vm = self.find(&asked.asker, &vm.name).await?;
        }
        self.carry_out(&asked.asker, &self.step(&DELETE, &vm)?).await?;
        Ok(Answer::message(format!("VM `{}` and its disks are gone", vm.name)))
    }

    pub(super) async fn list(&self, asked: Asked) -> Result<Answer, Trouble> {
        Answer::of(200, &self.vms(&asked.asker).await?)
    }

    pub(super) async fn get(&self, asked: Asked) -> Result<Answer, Trouble> {
        Answer::of(200, &self.find(&asked.asker, asked.name()).await?)
    }
}

/// Whether a create was refused because somebody else had the number first; only a received answer says so.
pub(in crate::serve) fn is_number_taken(trouble: &Trouble, vmid: Vmid) -> bool {
    let text = &trouble.message;
    classify_text(text) == Some(Class::Conflict) && text.contains("already exists") && text.contains(&vmid.to_string())
}
