//! Changes of guests: the backends' table of actions, read from the API's side.

use super::{Host, record::When, scope::NOT_KEYS};
use crate::{
    backends::{ACTIONS, Action, ActionSpec, Step, Support},
    model::{GuestKind, GuestRef, Params, Submitted, Upid},
    server::{Fault, Reply, Request},
    tasks::{Limits, NoWatch},
};

/// Where the guests of this host are.
pub(super) const GUESTS: &str = "/nodes/{node}/qemu";

/// The action that a request asks for; of two at one place it is the one whose fixed parameters were given, or the first.
/// What is made of an archive is restored.
fn action(request: &Request) -> Option<&'static ActionSpec> {
    let path = request.template.strip_prefix(GUESTS)?;
    let given = |spec: &&ActionSpec| spec.fixed.iter().all(|(key, value)| request.params.get(key) == Some(*value));
    let here = ACTIONS.iter().filter(|spec| spec.method == request.method && spec.path == path);
    let found = here.filter(given).rev().max_by_key(|spec| spec.fixed.len())?;
    let restores = found.action == Action::Create && request.params.get("archive").is_some();
    Some(if restores { Action::Restore.spec() } else { found })
}

/// Whether a parameter changes something of a configuration.
fn is_change((key, _): (&str, &str)) -> bool {
    ["delete", "revert"].contains(&key) || !NOT_KEYS.contains(&key)
}

impl Host {
    /// Does what a request asks of a guest; everything that nobody answers is refused in a node's words.
    pub(super) async fn change(&self, request: &Request) -> Result<Reply, Fault> {
        let not_there = |why: &str| Fault {
            status: 501,
            ..Fault::die(format!("Method '{} {}' not implemented{why}", request.method, request.template))
        };
        let spec = action(request).ok_or_else(|| not_there(": it is not served by pvectl"))?;
        if let Support::No { reason, .. } = self.backend.capabilities().support(GuestKind::Qemu, spec.action) {
            return Err(not_there(&format!(": {reason}")));
        }
        let step = Step { action: spec.action, guest: self.guest(request)?, params: self.params_of(spec, request) };
        self.may_do(&step, request).await?;
        if spec.action == Action::Configure && !step.params.iter().any(is_change) {
            return Err(Fault::die("no options specified"));
        }
        if spec.action == Action::Create && self.is_taken(&step.guest).await? {
            let GuestRef { vmid, node, .. } = &step.guest;
            return Err(Fault::die(format!("unable to create VM {vmid} - VM {vmid} already exists on node '{node}'")));
        }
        if spec.action == Action::Destroy && self.runs(&step.guest).await? {
            return Err(Fault::die(format!("VM {} is running - destroy failed", step.guest.vmid)));
        }
        match self.submit(request, &step, When::Now).await? {
            Submitted::Task(upid) if spec.action == Action::Configure => {
                // A change that takes a task here is answered at once by a node.
                self.done(&upid).await.map(|()| Reply::null())
            }
            Submitted::Task(upid) => Ok(Reply::data(upid.to_string())),
            Submitted::Done(data) => Ok(Reply::data(data)),
        }
    }

    /// Puts a change of a configuration into its guest's queue, with the checks of the change itself. `own` are keys that
    /// Proxmox has no words for (`x-…`): what they name is the host's, and so they are root's.
    pub(super) async fn enqueue(&self, request: &Request, own: &Params) -> Result<Submitted, Fault> {
        let params = self.params_of(Action::Configure.spec(), request);
        let mut step = Step { action: Action::Configure, guest: self.guest(request)?, params };
        let of_root = |(key, _): (&str, &str)| Fault::die(format!("only root can set '{key}' config"));
        if let Some(first) = own.iter().next().filter(|_| !self.caller(request, |caller| caller.is_root())) {
            return Err(of_root(first));
        }
        self.may_do(&step, request).await?;
        step.params.extend(own.iter());
        if !step.params.iter().any(is_change) {
            return Err(Fault::die("no options specified"));
        }
        Ok(self.submit(request, &step, When::Queued).await?)
    }

    /// What is no part of the path and does not make the call this action.
    fn params_of(&self, spec: &ActionSpec, request: &Request) -> Params {
        let fixed = |key: &str| spec.fixed.iter().any(|(name, _)| *name == key);
        let params = request.params.iter().filter(|(key, _)| !["node", "vmid"].contains(key) && !fixed(key));
        params.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Whether a guest runs, which a node asks before it begins to destroy one.
    async fn runs(&self, guest: &GuestRef) -> Result<bool, Fault> {
        Ok(self.backend.guest_status(guest).await?.get("status").is_some_and(|status| status == "running"))
    }

    /// Waits for the end of a task.
    async fn done(&self, upid: &Upid) -> Result<(), Fault> {
        match self.follower.wait(upid, &Limits::default(), &mut NoWatch).await? {
            end if end.is_success() => Ok(()),
            end => Err(Fault::die(end.to_string())),
        }
    }
}
