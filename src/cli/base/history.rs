//! `config`: a guest's configurations as the journal kept them, compared and gone back to.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde::Serialize;

use super::{
    get::target_arg,
    mutate::{carry_out, require_somebody_to_confirm, unlocked},
};
use crate::{
    cli::{
        cx::{Cx, flag, text, wait_lock_arg},
        print::{self, Column, Row, human::ago},
        session::{Access, Session},
        ui::{style, styled},
        verb::{Exit, Group, Kind, Verb, switch},
    },
    journal::{ConfigBackup, Journal},
    model::{Class, ConfigView, Error, GuestConfig, Hint, OperationId, Result},
    ops::{Change, Resolved, config_changes},
};

pub(super) const GROUP: Group = Group {
    name: "config",
    about: "Configurations that were kept before changes: listed, compared, gone back to",
    verbs: &[&History, &Diff, &Rollback],
};

/// A kept configuration as a row.
#[derive(Serialize)]
struct KeptRow {
    #[serde(flatten)]
    kept: ConfigBackup,
    vmid: u32,
    context: String,
}

impl Row for KeptRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<KeptRow>] = &[
            Column::new("OPERATION", "operation", |row: &KeptRow| row.kept.operation.0.to_string()).right(),
            Column::new("TAKEN", "time", |row: &KeptRow| ago(row.kept.time)),
            Column::new("BEFORE", "verb", |row: &KeptRow| row.kept.verb.clone()),
            Column::new("NAME", "name", |row: &KeptRow| row.kept.name.clone().unwrap_or_default()),
            Column::new("KEYS", "config", |row: &KeptRow| {
                row.kept.config.as_object().map_or(0, serde_json::Map::len).to_string()
            })
            .right(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("operation/{}", self.kept.operation.0)
    }
}

impl Row for Change {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Change>] = &[
            Column::new("KEY", "key", |row: &Change| row.key.clone()),
            Column::new("BEFORE", "before", |row: &Change| row.before.clone().unwrap_or_default()),
            Column::new("AFTER", "after", |row: &Change| row.after.clone().unwrap_or_default()),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.key.clone()
    }
}

fn operation_arg(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("OPERATION").value_parser(value_parser!(i64)).help(help)
}

/// The guest, and what was kept of it, the newest first.
async fn kept(
    cx: &Cx,
    kind: &Kind,
    matches: &ArgMatches,
    access: Access,
) -> Result<(Session, Resolved, Vec<ConfigBackup>)> {
    let session = cx.session(access).await?;
    let target = text(matches, "target").unwrap_or_default();
    let guest = session.ops.find_one(target, kind.guest()).await?;
    let kept = match Journal::open_read_only(&cx.paths()?.journal())? {
        Some(journal) => journal.config_history(session.ops.context(), guest.vmid.get())?,
        None => Vec::new(),
    };
    Ok((session, Resolved { guest, target: target.to_owned() }, kept))
}

/// The configuration that an operation found.
fn before(kept: &[ConfigBackup], operation: i64, found: &Resolved) -> Result<GuestConfig> {
    let of = |kept: &&ConfigBackup| kept.operation == OperationId(operation);
    let Some(kept) = kept.iter().find(of) else {
        let guest = found.guest.reference();
        let message = format!("operation {operation} kept no configuration of {guest}");
        let hint = format!("pvectl {} config history {} lists those that did", guest.kind, guest.vmid);
        return Err(Error::not_found(message).with_hint(Hint::Text(hint)));
    };
    serde_json::from_value(kept.config.clone())
        .map_err(|error| Error::new(Class::Failed, "what was kept cannot be read").with_source(error))
}

struct History;

#[async_trait(?Send)]
impl Verb for History {
    fn name(&self) -> &'static str {
        "history"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("List the configurations of a {} that were kept before changes, the newest first", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} config history 150", kind.noun),
            format!("pvectl {} config history 150 -o yaml", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (session, found, kept) = kept(cx, kind, matches, Access::Read).await?;
        let (vmid, context) = (found.guest.vmid.get(), session.ops.context());
        let row = |kept| KeptRow { kept, vmid, context: context.to_owned() };
        print::list(&cx.ui, &session.style, &mut kept.into_iter().map(row).collect())?;
        Ok(0)
    }
}

struct Diff;

#[async_trait(?Send)]
impl Verb for Diff {
    fn name(&self) -> &'static str {
        "diff"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Compare the configuration that an operation found with that of the {} now", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        vec![
            format!("pvectl {noun} config diff 150 --from 12"),
            format!("pvectl {noun} config diff 150 --from 12 --to 15"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let to = "Compare with what this operation found instead";
        command
            .arg(target_arg())
            .arg(operation_arg("from", "What this operation found").required(true))
            .arg(operation_arg("to", to))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (session, found, kept) = kept(cx, kind, matches, Access::Read).await?;
        let operation = |name: &str| matches.get_one::<i64>(name).copied();
        let from = before(&kept, operation("from").unwrap_or_default(), &found)?;
        let to = match operation("to") {
            Some(operation) => before(&kept, operation, &found)?,
            None => session.ops.backend().guest_config(&found.guest.reference(), ConfigView::Pending).await?,
        };
        let mut changes = config_changes(&from, &to);
        if changes.is_empty() {
            cx.ui.say("no difference");
        }
        print::list(&cx.ui, &session.style, &mut changes)?;
        Ok(0)
    }
}

struct Rollback;

#[async_trait(?Send)]
impl Verb for Rollback {
    fn name(&self) -> &'static str {
        "rollback"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Give a {} the configuration that an operation found; asks", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        vec![
            format!("pvectl {noun} config rollback 150 --before 12 --dry-run"),
            format!("pvectl {noun} config rollback 150 --before 12 --confirm"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target_arg())
            .arg(operation_arg("before", "To what this operation found").required(true))
            .arg(switch("disks", "Also attach the volumes that were attached then, and detach the others"))
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        let (session, found, kept) = kept(cx, kind, matches, Access::Write).await?;
        let operation = matches.get_one::<i64>("before").copied().unwrap_or_default();
        let before = before(&kept, operation, &found)?;
        let disks = flag(matches, "disks");
        let plan = async || session.ops.plan_config_rollback(&found, &before, disks).await;
        let plan = unlocked(cx, &session, &found, plan).await?;
        if !plan.changes.is_empty() && !cx.switches.dry_run && !cx.switches.confirm {
            for change in &plan.changes {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
                let (before, after) = (value(&change.before), value(&change.after));
                cx.ui.say(format_args!(
                    "  {}: {} → {}",
                    change.key,
                    styled(style::BAD, before),
                    styled(style::GOOD, after)
                ));
            }
            if !cx.ui.ask_yes(&format!("Change {} back?", plan.label()))? {
                cx.ui.say("nothing was done");
                return Ok(Class::Failed.exit_code());
            }
        }
        carry_out(cx, &session, vec![plan]).await
    }
}
