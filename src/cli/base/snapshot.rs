//! `snapshot`: the verbs on a guest's snapshots, below one word.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    get::targets_arg,
    mutate::{change, require_somebody_to_confirm},
};
use crate::{
    cli::{
        cx::{Cx, flag, text, texts, wait_lock_arg},
        print::{self, Column, Row, human::ago},
        session::{Access, Session},
        verb::{Exit, Group, Kind, Verb, switch, value},
    },
    model::{Class, ConfigView, Error, GuestKind, Hint, Result, Snapshot, Vmid},
    ops::{DELETE_SNAPSHOT, ROLLBACK, Resolved, SNAPSHOT, SnapshotRequest, Target, UPDATE_SNAPSHOT, snapshot_tree},
};

pub(super) const GROUP: Group = Group {
    name: "snapshot",
    about: "Snapshots: taken, listed, gone back to, removed",
    verbs: &[&Create, &List, &Get, &Rollback, &Delete, &Update],
};

/// A snapshot as a row.
#[derive(Serialize)]
struct SnapshotRow {
    #[serde(flatten)]
    snapshot: Snapshot,
    /// 1 for the one that the guest stands on.
    current: u8,
    vmid: Vmid,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Map<String, Value>>,
    context: String,
}

impl Row for SnapshotRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<SnapshotRow>] = &[
            Column::new("VMID", "vmid", |row: &SnapshotRow| row.vmid.to_string()).right(),
            Column::new("NAME", "name", |row: &SnapshotRow| row.snapshot.name.clone()),
            Column::new("PARENT", "parent", |row: &SnapshotRow| row.snapshot.parent.clone().unwrap_or_default()),
            Column::new("TAKEN", "snaptime", |row: &SnapshotRow| {
                let taken = row.snapshot.snaptime.and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
                taken.map_or(String::new(), ago)
            }),
            Column::new("MEMORY", "vmstate", |row: &SnapshotRow| yes(row.snapshot.has_memory())),
            Column::new("CURRENT", "current", |row: &SnapshotRow| yes(row.current == 1)),
            Column::new("DESCRIPTION", "description", |row: &SnapshotRow| {
                let text = row.snapshot.description.as_deref().unwrap_or_default();
                text.lines().next().unwrap_or_default().to_owned()
            }),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.snapshot.name.clone()
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "" }.to_owned()
}

/// The guests of one word: mostly one, but a list or a range is as good.
fn target_arg() -> Arg {
    Arg::new("target")
        .value_name("TARGET")
        .required(true)
        .help("VMID, name, list (150,151), range (150-199) or NODE/VMID")
}

fn snapshot_arg(help: &'static str) -> Arg {
    Arg::new("snapshot").value_name("SNAPSHOT").required(true).help(help)
}

const ITS_NAME: &str = "The snapshot's name";

fn named(matches: &ArgMatches) -> String {
    text(matches, "snapshot").unwrap_or_default().to_owned()
}

/// The rows of guests' snapshots, each guest's in the order of its tree.
async fn rows(session: &Session, found: &[Resolved]) -> Result<Vec<SnapshotRow>> {
    let backend = session.ops.backend();
    let mut rows = Vec::new();
    for guest in found.iter().map(|found| found.guest.reference()) {
        let snapshots = backend.snapshots(&guest).await?;
        let stands_on = match snapshots.is_empty() {
            true => None,
            false => backend.guest_config(&guest, ConfigView::Current).await?.text("parent"),
        };
        rows.extend(snapshot_tree(snapshots).into_iter().map(|snapshot| SnapshotRow {
            current: u8::from(stands_on.as_ref() == Some(&snapshot.name)),
            snapshot,
            vmid: guest.vmid,
            config: None,
            context: session.ops.context().to_owned(),
        }));
    }
    Ok(rows)
}

struct Create;

#[async_trait(?Send)]
impl Verb for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Take a snapshot of {}", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        let mut lines = vec![
            format!("pvectl {noun} snapshot create 100 before-upgrade"),
            format!("pvectl {noun} snapshot create 100,101 nightly --description 'every night'"),
        ];
        if kind.guest() == GuestKind::Qemu {
            lines.push(format!("pvectl {noun} snapshot create 100 as-it-runs --memory"));
        }
        lines
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let name = "The name: letters, digits, - and _, the first a letter; at most 40";
        let command =
            command.arg(target_arg()).arg(snapshot_arg(name)).arg(value("description", "TEXT", "A text for people"));
        let command = command.arg(wait_lock_arg());
        match kind.guest() {
            GuestKind::Qemu => command.arg(switch("memory", "Keep the memory of a running one, too")),
            GuestKind::Lxc => command,
        }
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let request = SnapshotRequest {
            name: named(matches),
            memory: flag(matches, "memory"),
            description: text(matches, "description").map(str::to_owned),
        };
        request.check(kind.guest())?;
        let plan = async |session: &Session, found: &_| session.ops.plan_snapshot(found, &request).await;
        change(cx, kind, matches, SNAPSHOT, plan).await
    }
}

struct List;

#[async_trait(?Send)]
impl Verb for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("List the snapshots of {}, each behind the one it stands on", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} snapshot list 100", kind.noun),
            format!("pvectl {} snapshot list 100 --jq '.[] | select(.current == 1) | .name'", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let targets = Target::parse_all(&texts(matches, "targets"))?;
        let session = cx.session(Access::Read).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let mut rows = rows(&session, &found).await?;
        print::list(&cx.ui, &session.style, &mut rows)?;
        Ok(0)
    }
}

struct Get;

#[async_trait(?Send)]
impl Verb for Get {
    fn name(&self) -> &'static str {
        "get"
    }

    fn about(&self, _: &Kind) -> String {
        "Show a snapshot with the configuration that it keeps".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} snapshot get 100 before-upgrade -o yaml", kind.noun)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg()).arg(snapshot_arg(ITS_NAME))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let found = session.ops.find(&Target::parse_all(&texts(matches, "target"))?, kind.guest()).await?;
        let [one] = found.as_slice() else {
            return Err(Error::usage("`snapshot get` shows a snapshot of one guest")
                .with_hint(Hint::Text("`snapshot list` takes several".into())));
        };
        let (guest, name) = (one.guest.reference(), named(matches));
        // Says what there is if this is not.
        session.ops.snapshot(&guest, &name).await?;
        let config = session.ops.backend().snapshot_config(&guest, &name).await?;
        let row = rows(&session, &found).await?.into_iter().find(|row| row.snapshot.name == name);
        let row = row.ok_or_else(|| Error::new(Class::NotFound, format!("snapshot '{name}' does not exist")))?;
        print::one(&cx.ui, &session.style, &SnapshotRow { config: Some(config.0), ..row })?;
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
        format!("Go back to a snapshot; {} that run are stopped, and what came after it is lost", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} snapshot rollback 100 before-upgrade", kind.noun),
            format!("pvectl {} snapshot rollback 100 before-upgrade --start --confirm", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target_arg())
            .arg(snapshot_arg(ITS_NAME))
            .arg(switch("start", "Start it afterwards"))
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        let (name, start) = (named(matches), flag(matches, "start"));
        let plan = async |session: &Session, found: &_| session.ops.plan_rollback(found, &name, start).await;
        change(cx, kind, matches, ROLLBACK, plan).await
    }
}

struct Delete;

#[async_trait(?Send)]
impl Verb for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Remove a snapshot; the {} stays as it is", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} snapshot delete 100 before-upgrade --confirm", kind.noun)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let force = "Take it out of the configuration even if its disks cannot be removed";
        command.arg(target_arg()).arg(snapshot_arg(ITS_NAME)).arg(switch("force", force)).arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        let (name, force) = (named(matches), flag(matches, "force"));
        let plan = async |session: &Session, found: &_| session.ops.plan_snapshot_delete(found, &name, force).await;
        change(cx, kind, matches, DELETE_SNAPSHOT, plan).await
    }
}

struct Update;

#[async_trait(?Send)]
impl Verb for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn about(&self, _: &Kind) -> String {
        "Describe a snapshot in other words".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} snapshot update 100 before-upgrade --description 'works'", kind.noun)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let description = value("description", "TEXT", "A text for people; an empty one takes it away").required(true);
        command.arg(target_arg()).arg(snapshot_arg(ITS_NAME)).arg(description).arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (name, description) = (named(matches), text(matches, "description").unwrap_or_default());
        let plan =
            async |session: &Session, found: &_| session.ops.plan_snapshot_update(found, &name, description).await;
        change(cx, kind, matches, UPDATE_SNAPSHOT, plan).await
    }
}
