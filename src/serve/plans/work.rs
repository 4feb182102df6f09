//! Doing plans: one action after another, each written down before it is begun.
//!
//! # What is told of an action whose end nobody saw
//! The server was killed while it was at work. Whatever is done to a VM is a task, which is written down before anything
//! happens: if there is none, nothing was done, and it is done now. If there is one, its end is the action's. If the task
//! died with the server, the VM tells: one that is as the action wanted it has what was asked for; another one is
//! what it was before, for what was left half done is undone, and the action is done again. A command of the host leaves
//! no such trace: what became of it is `unknown`, and it is not run again.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Action, End, Execute, NewSnapshot, Turn};
use crate::{
    backends::{Step, TaskQuery},
    model::{ExitStatus, Params, TaskEntry, UNEXPECTED, Upid, Vmid},
    serve::plain::{Asker, Desk, Exec, NewVm, TRIES, Trouble, Verb, is_number_taken},
    server::{Identity, Kit},
    tasks::{Limits, NoWatch},
};

/// How long to wait when the file cannot be used.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// Carries out the plans there are and those that come, until it is dropped. What it is at then goes on: see
/// [`Desk::leave`].
pub async fn carry_out(desk: Arc<Desk>, kit: Kit) {
    loop {
        let turn = match desk.store.next() {
            Ok(Some(turn)) => turn,
            Ok(None) => {
                desk.news.notified().await;
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "plans cannot be read");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let at_work = desk.at_work.clone().read_owned().await;
        let (desk, kit) = (desk.clone(), kit.clone());
        let work = tokio::spawn(async move {
            let _at_work = at_work;
            desk.take(turn, kit).await
        });
        if let Ok(Err(error)) | Err(error) = work.await.map_err(|panic| panic.to_string()) {
            tracing::error!(error, "a plan does not go on");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What is known of an action that was begun before.
enum Left {
    /// Nothing was done, or it was undone.
    Nothing,
    Over(End),
}

impl Desk {
    /// Takes an action's turn.
    async fn take(&self, turn: Turn, kit: Kit) -> Result<(), String> {
        let who = Identity { user: turn.user.clone(), token: turn.token.clone() };
        let asker = Asker { kit, who, id: turn.request.clone() };
        let end = match Action::parse(&turn.action) {
            Ok(action) => self.act(&asker, &turn, &action).await.unwrap_or_else(|trouble| End::Failed(trouble.message)),
            // A later version may have words that this one has not.
            Err(trouble) => End::Failed(trouble.message),
        };
        self.store.end(&turn, &end).map_err(|error| error.to_string())
    }

    async fn act(&self, asker: &Asker, turn: &Turn, action: &Action) -> Result<End, Trouble> {
        if turn.begun.is_some()
            && let Left::Over(end) = self.left(asker, turn, action).await?
        {
            return Ok(end);
        }
        match action {
            Action::Create(new) => self.make(asker, turn, new).await,
            Action::Execute(Execute { command, args, timeout }) => {
                self.store.begin(turn, None)?;
                let how = Exec { args: args.clone(), timeout: *timeout };
                let ran = self.run(asker, command, &how).await?;
                let told = json!(ran);
                Ok(match ran.exit_code {
                    Some(0) => End::Ok(told),
                    _ => End::Failed(told.to_string()),
                })
            }
            _ => {
                let (verb, name) = action.of_vm().ok_or_else(|| Trouble::new(500, "no such action"))?;
                let vm = self.find(asker, name).await?;
                // What is left of a first try may look odd, and is mended before the step.
                let mut step = match turn.begun {
                    Some(_) => Step::new(verb.action, self.guest(vm.vmid)),
                    None => self.step(verb, &vm)?,
                };
                if let Action::Snapshot(NewSnapshot { snapshot, .. }) = action {
                    step.params = Params::new().with("snapname", snapshot);
                }
                self.store.begin(turn, Some(vm.vmid))?;
                self.follow(asker, turn, &step).await?;
                Ok(End::Ok(Value::Null))
            }
        }
    }

    /// Has a step done, and its task written down.
    async fn follow(&self, asker: &Asker, turn: &Turn, step: &Step) -> Result<(), Trouble> {
        let upid = self.submit(asker, step).await?;
        // It is at work by now. Without its name it would be looked for by its kind and time.
        if let Some(Err(error)) = upid.as_ref().map(|upid| self.store.task(turn, upid)) {
            tracing::warn!(%error, "the task of an action is not written down");
        }
        self.finish(upid.as_ref()).await
    }

    async fn make(&self, asker: &Asker, turn: &Turn, new: &NewVm) -> Result<End, Trouble> {
        let params = new.params()?;
        let mut reserved = self.reserve(&new.name).await?;
        for attempt in 1.. {
            let vmid = reserved.number().await?;
            self.store.begin(turn, Some(vmid))?;
            let step = Step::new(crate::backends::Action::Create, self.guest(vmid)).with_params(params.clone());
            match self.follow(asker, turn, &step).await {
                Err(trouble) if attempt < TRIES && is_number_taken(&trouble, vmid) => {}
                Err(trouble) => return Err(trouble),
                Ok(()) => break,
            }
        }
        drop(reserved);
        Ok(End::Ok(json!(self.find(asker, &new.name).await?)))
    }

    /// Finds out what became of an action that was begun before.
    async fn left(&self, asker: &Asker, turn: &Turn, action: &Action) -> Result<Left, Trouble> {
        let task = match action {
            Action::Execute(_) => {
                let why = "the server ended while the command ran; it is not run again";
                return Ok(Left::Over(End::Unknown(why.to_owned())));
            }
            Action::Create(_) => "qmcreate",
            _ => action.of_vm().map_or("", |(Verb { task, .. }, _)| *task),
        };
        let Some(vmid) = turn.vmid.and_then(|number| Vmid::new(number).ok()) else {
            return Ok(Left::Nothing);
        };
        let begun = match &turn.upid {
            Some(upid) => vec![upid.clone()],
            None => self.tasks_of(turn, vmid, task).await?,
        };
        let [upid] = begun.as_slice() else {
            return match begun.is_empty() {
                // It is written down before anything happens.
                true => Ok(Left::Nothing),
                false => self.as_wanted(asker, turn, vmid, action).await,
            };
        };
        match self.host.follower.wait(upid, &Limits::default(), &mut NoWatch).await? {
            ExitStatus::Failed(text) if text == UNEXPECTED => self.as_wanted(asker, turn, vmid, action).await,
            ExitStatus::Failed(text) => Ok(Left::Over(End::Failed(text))),
            _ => Ok(Left::Over(End::Ok(Value::Null))),
        }
    }

    /// The tasks of a VM that may be those of an action whose task was not written down.
    async fn tasks_of(&self, turn: &Turn, vmid: Vmid, kind: &str) -> Result<Vec<Upid>, Trouble> {
        let query = TaskQuery { vmid: Some(vmid), limit: 100, ..TaskQuery::default() };
        let since = turn.begun.and_then(|begun| u64::try_from(begun).ok()).unwrap_or_default();
        let rows = self.host.backend.tasks(&query).await?;
        let fits = |row: &TaskEntry| row.upid.kind == kind && row.starttime >= since;
        let mut found = Vec::new();
        for row in rows.into_iter().filter(fits) {
            // One of a second may be that of an earlier action.
            if !self.store.has_task(&row.upid)? {
                found.push(row.upid);
            }
        }
        Ok(found)
    }

    /// Whether a VM is as an action wanted it.
    async fn as_wanted(&self, asker: &Asker, turn: &Turn, vmid: Vmid, action: &Action) -> Result<Left, Trouble> {
        let there = self.rows(asker).await?.into_iter().find(|vm| vm.vmid == vmid);
        let named = |name: &str| there.as_ref().filter(|vm| vm.name == name);
        let is_done = match action {
            Action::Create(new) => named(&new.name).is_some(),
            Action::Delete(vm) => named(&vm.name).is_none(),
            _ => {
                let name = action.of_vm().map_or("", |(_, name)| name);
                let Some(vm) = named(name) else {
                    let gone = format!("VM {vmid} `{name}` is there no more, {} was begun before", turn.number);
                    return Ok(Left::Over(End::Unknown(gone)));
                };
                match action {
                    Action::Snapshot(NewSnapshot { snapshot, .. }) => {
                        let taken = self.host.backend.snapshots(&self.guest(vm.vmid)).await?;
                        taken.iter().any(|taken| taken.name == *snapshot)
                    }
                    _ => wants(action) == Some(self.whole(vm.clone()).await.status.as_str()),
                }
            }
        };
        Ok(if is_done { Left::Over(End::Ok(Value::Null)) } else { Left::Nothing })
    }
}

/// How a VM is after an action.
fn wants(action: &Action) -> Option<&'static str> {
    Some(match action {
        Action::Start(_) | Action::Resume(_) => "running",
        Action::Stop(_) => "stopped",
        Action::Pause(_) => "paused",
        Action::Create(_) | Action::Delete(_) | Action::Snapshot(_) | Action::Execute(_) => return None,
    })
}
