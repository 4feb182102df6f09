//! Tags of guests, one by one, and locks that are left over.
//!
//! Labels, which stand behind tags with a point in them, are in `labels`.

use super::{
    Ops, Resolved, UpdateRequest,
    plan::{Change, Plan},
    verbs::{TAG, UNLOCK},
};
use crate::{
    backends::{Action, Step, TaskQuery},
    model::{Class, ConfigView, Error, GuestKind, Hint, Params, Result, Tags},
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
        let on_node = |tool: &str| format!("on node {}, as root: {tool} unlock {}", guest.node, guest.vmid);
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
            .with_hint(Hint::Text(on_node("pct"))));
        }
        let user = self.backend().user();
        if !user.is_empty() && user != "root@pam" {
            let text =
                format!("{} is locked ({lock}): only root@pam by password may unlock it, and not {user}", plan.label());
            return Err(Error::new(Class::Forbidden, text).with_hint(Hint::Text(on_node("qm"))));
        }
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
