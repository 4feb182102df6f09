//! `update` and `delete` of backups.

use async_trait::async_trait;
use clap::{ArgMatches, Command};

use super::{named, read::backups_arg, within, within_args, words};
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        print::human::{ago, size},
        resource::{carry_out, carry_out_asking},
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{Error, Hint, Method, Params, Result},
    ops::{CONTENT, Change, FoundUse, ResourcePlan, Stored, plain},
};

pub(super) struct Update;
pub(super) struct Delete;

#[async_trait(?Send)]
impl Verb for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn about(&self, _: &Kind) -> String {
        "Change the notes of backups, or protect them from being removed".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let (words, one) = (words(kind), super::example(kind));
        vec![
            format!("pvectl {words} update {one} --protected"),
            format!("pvectl {words} update {one} --notes 'before the upgrade' --no-protected"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(backups_arg())
            .arg(value("notes", "TEXT", "A text for people; an empty one takes it away"))
            .arg(switch("protected", "Keep them from being deleted and pruned"))
            .arg(switch("no-protected", "Let them be deleted and pruned").conflicts_with("protected"))
            .args(within_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let notes = text(matches, "notes");
        let protected = match (flag(matches, "protected"), flag(matches, "no-protected")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        if notes.is_none() && protected.is_none() {
            return Err(Error::usage("nothing to change was given")
                .with_hint(Hint::Text("give --notes, --protected or --no-protected".into())));
        }
        let session = cx.session(Access::Write).await?;
        let mut plans = Vec::new();
        for name in texts(matches, "targets") {
            let stored = named(&session, kind, &name, &within(matches)).await?;
            plans.push(update(&session, &stored, notes, protected).await?);
        }
        carry_out(cx, &session, plans).await
    }
}

/// What of it differs.
async fn update(
    session: &Session,
    stored: &Stored,
    notes: Option<&str>,
    protected: Option<bool>,
) -> Result<ResourcePlan> {
    let (mut params, mut changes) = (stored.named(), Vec::new());
    let before = stored.volume.other.get("notes").and_then(plain).filter(|notes| !notes.is_empty());
    let wanted = notes.map(str::to_owned).filter(|notes| !notes.is_empty());
    // The server ends notes with a line end.
    let is_same = before.as_deref().unwrap_or_default().trim_end() == wanted.as_deref().unwrap_or_default().trim_end();
    if let (Some(notes), false) = (notes, is_same) {
        params.push("notes", notes);
        changes.push(Change { key: "notes".into(), before, after: wanted });
    }
    if let Some(protected) = protected.filter(|protected| *protected != stored.is_protected()) {
        let word = |is: bool| Some(u8::from(is).to_string());
        params.push("protected", u8::from(protected));
        changes.push(Change { key: "protected".into(), before: word(!protected), after: word(protected) });
    }
    let target = (Method::Put, CONTENT);
    let volid = &stored.volume.volid;
    let mut plan = session.ops.plan_resource_call("update", "backup", volid, target, (params, &Params::new())).await?;
    if changes.is_empty() {
        plan.call = None;
        plan.notes.push("nothing to change".into());
    }
    plan.changes = changes;
    Ok(plan)
}

#[async_trait(?Send)]
impl Verb for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    fn about(&self, _: &Kind) -> String {
        "Delete backups; those that are protected are refused".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} delete {} --confirm", words(kind), super::example(kind))]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(backups_arg()).args(within_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        let session = cx.session(Access::Write).await?;
        let mut plans = Vec::new();
        // All of them are looked at before anything is sent.
        for name in texts(matches, "targets") {
            let stored = named(&session, kind, &name, &within(matches)).await?;
            plans.push(delete(&session, &stored).await?);
        }
        let what = match plans.as_slice() {
            [one] => format!("backup {}", one.name),
            several => format!("these {} backups", several.len()),
        };
        carry_out_asking(cx, &session, &format!("Delete {what}? This cannot be undone"), plans).await
    }
}

async fn delete(session: &Session, stored: &Stored) -> Result<ResourcePlan> {
    let volid = &stored.volume.volid;
    if stored.is_protected() {
        return Err(Error::conflict(format!("cannot delete backup {volid}: it is protected"))
            .with_hint(Hint::Text(format!("let it be deleted first: pvectl backup update {volid} --no-protected"))));
    }
    let mut plan = session.ops.plan_delete_stored("backup", stored).await?;
    plan.uses.push(FoundUse::goes(what(stored)));
    Ok(plan)
}

/// What a backup is of, how large, how old.
pub(super) fn what(stored: &Stored) -> String {
    let kind = stored.backup_kind().map_or("guest", crate::model::GuestKind::noun);
    let of = stored.backup_of().map(|vmid| format!("what {kind} {vmid} was"));
    let made = stored.volume.ctime.and_then(|seconds| jiff::Timestamp::from_second(seconds as i64).ok()).map(ago);
    let size = Some(size(Some(stored.volume.size.0))).filter(|size| !size.is_empty());
    [of, made, size].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
