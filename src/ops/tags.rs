//! Tags of guests, one by one, and locks: set by hand, and taken away when they are left over.
//!
//! Labels, which stand behind tags with a point in them, are in `labels`.

use super::{
    Ops, Resolved, UpdateRequest,
    params::{Beyond, check_params, schema},
    plan::{Change, Plan},
    verbs::{LOCK, TAG, UNLOCK},
};
use crate::{
    backends::{Action, Step, TaskQuery},
    model::{Class, ConfigView, Error, GuestKind, Hint, Params, Result, Tags, closest},
};

/// Tags to be added and taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagRequest {
    /// These come.
    pub add: Vec<String>,
    /// These go.
    pub remove: Vec<String>,
}

impl Ops {
    /// Plans a change of tags; all others stay, in their order.
    ///
    /// # Errors
    /// [`Class::Usage`] for what is no tag, [`Class::Conflict`] for a locked guest.
    pub async fn plan_tags(&self, found: &Resolved, request: &TagRequest) -> Result<Plan> {
        let config = self.backend().guest_config(&found.guest.reference(), ConfigView::Pending).await?;
        let before = Tags::parse(&config.text("tags").unwrap_or_default());
        let mut after: Vec<&str> = before.iter().filter(|tag| !request.remove.iter().any(|gone| gone == tag)).collect();
        for tag in &request.add {
            if !after.contains(&tag.as_str()) {
                after.push(tag);
            }
        }
        let mut update = UpdateRequest::default();
        if after.is_empty() {
            update.delete.extend(config.text("tags").map(|_| "tags".to_owned()));
        } else {
            update.set.push("tags", after.join(";"));
        }
        // Tags are set as a whole: what was read must still be so.
        if let Some(digest) = config.digest() {
            update.set.push("digest", digest.0);
        }
        self.plan_change(TAG, found, &update).await
    }

    /// Plans to lock a guest, so that nobody starts, changes, moves or removes it. One that has this lock needs nothing.
    ///
    /// # Errors
    /// [`Class::Conflict`] for one that has another lock, [`Class::Forbidden`] for anybody but root@pam by password, which is
    /// what the server wants.
    pub async fn plan_lock(&self, found: &Resolved, lock: &str) -> Result<Plan> {
        let guest = found.guest.reference();
        let mut plan = Plan::new(LOCK, found.target.clone(), guest.clone(), found.guest.name.clone());
        if self.backend().capabilities().here {
            return Err(Error::usage("guests of this host are not locked by hand").with_hint(Hint::Text(format!(
                "keep it from being removed: pvectl vm update {} --set protection=1",
                guest.vmid
            ))));
        }
        let config = self.backend().guest_config(&guest, ConfigView::Current).await?;
        match config.lock() {
            Some(there) if there == lock => {
                plan.notes.push(format!("locked already ({lock})"));
                return Ok(plan);
            }
            Some(there) => return Err(plan.locked(there)),
            None => {}
        }
        self.require_root(&plan, "lock it", &format!("{} set {} --lock {lock}", tool(guest.kind), guest.vmid))?;
        plan.changes.push(Change { key: "lock".to_owned(), before: None, after: Some(lock.to_owned()) });
        plan.notes.push("while it is locked nobody starts, changes, backs up, moves or removes it".to_owned());
        if guest.kind == GuestKind::Lxc {
            plan.warnings.push(format!(
                "the API cannot unlock a container: on node {}, as root: pct unlock {}",
                guest.node, guest.vmid
            ));
        }
        let params = Params::new().with("lock", lock).with_some("digest", config.digest().map(|digest| digest.0));
        let params = check_params(guest.kind, Action::Configure, params, &Beyond::default())?;
        plan.steps.push(Step::new(Action::Configure, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// Refuses what only root@pam by password may do: a token of root is not root. `command` is the way out on the node.
    fn require_root(&self, plan: &Plan, what: &str, command: &str) -> Result<()> {
        let user = self.backend().user();
        if user.is_empty() || user == "root@pam" {
            return Ok(());
        }
        let text = format!("{}: only root@pam by password may {what}, and not {user}", plan.label());
        let way = format!("on node {}, as root: {command}", plan.guest.node);
        Err(Error::new(Class::Forbidden, text).with_hint(Hint::Text(way)))
    }

    /// Plans to take away a lock that a task left behind. One that is not locked needs nothing.
    ///
    /// # Errors
    /// [`Class::Conflict`] while a task is at work on the guest, and for one that is suspended; [`Class::Forbidden`] for
    /// anybody but root@pam by password, which is what the server wants; [`Class::Usage`] for a container.
    pub async fn plan_unlock(&self, found: &Resolved) -> Result<Plan> {
        let guest = found.guest.reference();
        let mut plan = Plan::new(UNLOCK, found.target.clone(), guest.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&guest, ConfigView::Current).await?;
        let Some(lock) = config.lock() else {
            plan.notes.push("not locked".to_owned());
            return Ok(plan);
        };
        let command = format!("{} unlock {}", tool(guest.kind), guest.vmid);
        if lock == "suspended" {
            let hint = format!("pvectl {} start {}, or give the memory up: --unset lock", guest.kind, guest.vmid);
            return Err(Error::conflict(format!("{} is suspended to disk, and its memory is there", plan.label()))
                .with_hint(Hint::Text(hint)));
        }
        if self.backend().capabilities().here {
            return Err(Error::usage("locks of this host are let go of with the command that held them")
                .with_hint(Hint::Text("see what is held: pvectl host gc --dry-run".into())));
        }
        let query = TaskQuery { vmid: Some(guest.vmid), running: true, limit: 10, ..TaskQuery::default() };
        if let Some(task) = self.backend().tasks(&query).await?.first() {
            let text = format!("{} is locked ({lock}) by a task that is at work: {}", plan.label(), task.upid);
            return Err(Error::conflict(text).with_hint(Hint::Text(format!("pvectl task watch {}", task.upid))));
        }
        if guest.kind == GuestKind::Lxc {
            return Err(Error::usage(format!(
                "{} is locked ({lock}), and the API cannot unlock a container",
                plan.label()
            ))
            .with_hint(Hint::Text(format!("on node {}, as root: {command}", guest.node))));
        }
        self.require_root(&plan, &format!("unlock it ({lock})"), &command)?;
        plan.changes.push(Change { key: "lock".to_owned(), before: Some(lock), after: None });
        plan.warnings.push("what was locked may be half done: look at the guest before it is used".to_owned());
        let params = Params::new()
            .with("delete", "lock")
            .with("skiplock", 1)
            .with_some("digest", config.digest().map(|digest| digest.0));
        plan.steps.push(Step::new(Action::Configure, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }
}

/// Proxmox's own command for guests of a kind.
const fn tool(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "qm",
        GuestKind::Lxc => "pct",
    }
}

/// Whether somebody may set this lock by hand: one of the contract, but none by which a guest's own state is told.
///
/// # Errors
/// [`Class::Usage`], with those that there are.
pub fn check_lock(kind: GuestKind, lock: &str) -> Result<()> {
    const STATES: [&str; 4] = ["suspending", "suspended", "mounted", "destroyed"];
    let all = schema(kind, Action::Configure, "lock").map_or(&[][..], |schema| &schema.values);
    let there: Vec<&str> = all.iter().map(String::as_str).filter(|lock| !STATES.contains(lock)).collect();
    match there.contains(&lock) {
        true => Ok(()),
        false => Err(Error::usage(format!("`{lock}` is no lock for a {kind}"))
            .did_you_mean(closest(lock, there.iter().map(|lock| (*lock).to_owned())))
            .with_hint(Hint::Text(format!("there are: {}", there.join(", "))))),
    }
}

/// Whether this can be a tag.
///
/// # Errors
/// [`Class::Usage`] if it cannot.
pub fn check_tag(tag: &str) -> Result<()> {
    let begins = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
    match begins && tag.chars().all(inside) {
        true => Ok(()),
        false => Err(Error::usage(format!("`{tag}` is no tag")).with_hint(Hint::Text(
            "letters, digits, - _ + . stand in one, and it begins with a letter, a digit or _".into(),
        ))),
    }
}
