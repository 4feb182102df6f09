//! `list`, `get` and `describe` of backups.

use std::io::Write;

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

use super::{named, row, tell, within, within_args, words};
use crate::{
    cli::{
        cx::{Cx, texts},
        print::{
            self, Shape,
            fields::{Field, How, fields, section},
        },
        resource::people_page,
        session::{Access, Session},
        verb::{Exit, Kind, Verb},
    },
    model::{Error, Guest, Hint, Result, Vmid, closest},
    ops::{BACKUPS, Stored, Target, Which, Within, plain},
};

/// The columns of backups.
pub(crate) const COLUMNS: &[Field] = &[
    Field::text("BACKUP", "volid"),
    Field::text("NODE", "node"),
    Field::new("VMID", "vmid", How::Number),
    Field::text("GUEST", "name"),
    Field::new("MADE", "ctime", How::When),
    Field::new("SIZE", "size", How::Size),
    Field::new("PROTECTED", "protected", How::Flag),
    Field::new("VERIFIED", "verification", How::Part("state")),
    Field::new("NOTES", "notes", How::Line),
    Field::text("KIND", "type").wide(),
    Field::text("FORMAT", "format").wide(),
    Field::text("STORAGE", "storage").wide(),
    Field::new("ENCRYPTED", "encrypted", How::Flag).wide(),
];

pub(super) struct List;
pub(super) struct Get;
pub(super) struct Describe;

pub(super) fn backups_arg() -> Arg {
    Arg::new("targets")
        .value_name("BACKUP")
        .num_args(1..)
        .required(true)
        .help("The volume, or the name of its file; several may be given")
}

/// A row's name for `-o name`.
fn name_of(row: &Value) -> String {
    format!("backup/{}", row.get("volid").and_then(plain).unwrap_or_default())
}

/// Whether a backup is of a guest that was asked for; one that is gone has a number still.
fn is_of(target: &Target, stored: &Stored, guests: &[Guest]) -> bool {
    let Some(vmid) = stored.backup_of() else { return false };
    let guest = guests.iter().find(|guest| guest.vmid == vmid);
    let node = target.node.as_ref().is_none_or(|node| guest.is_some_and(|guest| guest.node == *node));
    node && match &target.which {
        Which::Vmid(wanted) => vmid == *wanted,
        Which::Range(first, last) => (*first..=*last).contains(&vmid),
        Which::Name(name) => guest.is_some_and(|guest| guest.name.as_ref() == Some(name)),
    }
}

/// Refuses names that no guest has: whose backups would be meant?
pub(super) fn require_names(targets: &[Target], guests: &[Guest]) -> Result<()> {
    for target in targets {
        if let Which::Name(name) = &target.which
            && !guests.iter().any(|guest| guest.name.as_ref() == Some(name))
        {
            let close = closest(name, guests.iter().filter_map(|guest| guest.name.clone()));
            return Err(Error::not_found(format!("no such guest: `{name}`"))
                .did_you_mean(close)
                .with_hint(Hint::Text("the backups of a guest that is gone are found by its VMID".into())));
        }
    }
    Ok(())
}

/// The backups of guests, or all, and the guests that there are.
pub(super) async fn find(
    cx: &Cx,
    session: &Session,
    kind: &Kind,
    targets: &[Target],
    within: &Within,
) -> Result<(Vec<Stored>, std::sync::Arc<Vec<Guest>>)> {
    let (found, guests) =
        futures_util::future::try_join(session.ops.stored(&[BACKUPS], within), session.ops.guests()).await?;
    require_names(targets, &guests)?;
    tell(cx, &found);
    let mut backups = found.volumes;
    backups.retain(|stored| {
        let of_kind = kind.guest.is_none_or(|kind| stored.backup_kind().is_none_or(|is| is == kind));
        of_kind && (targets.is_empty() || targets.iter().any(|target| is_of(target, stored, &guests)))
    });
    // Whose, and the newest first.
    let order = |stored: &Stored| (stored.backup_of().map(Vmid::get), std::cmp::Reverse(stored.volume.ctime));
    backups.sort_by_key(order);
    Ok((backups, guests))
}

#[async_trait(?Send)]
impl Verb for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn about(&self, kind: &Kind) -> String {
        match kind.guest {
            Some(guest) => format!("List the backups of {guest}s, in all storages, the newest of each first"),
            None => "List backups, in all storages of all nodes, the newest of each guest first".to_owned(),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let words = words(kind);
        vec![
            format!("pvectl {words} list"),
            format!("pvectl {words} list 100 --storage local -o wide"),
            format!("pvectl {words} list --jq '.[] | select(.protected == 1) | .volid'"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let guests = Arg::new("guests").value_name("GUEST").num_args(0..);
        let guests = guests.help("Only of these: VMID, name, list or range; also of guests that are gone, by VMID");
        command.arg(guests).args(within_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let targets = Target::parse_all(&texts(matches, "guests"))?;
        let session = cx.session(Access::Read).await?;
        let (backups, guests) = find(cx, &session, kind, &targets, &within(matches)).await?;
        if backups.is_empty() {
            // The server leaves out without a word what may not be seen.
            cx.ui.say("there are no backups, or none that you may see (Datastore.AllocateSpace, VM.Backup)");
        }
        let rows = backups.iter().map(|stored| row(&session, stored, &guests)).collect::<Result<Vec<_>>>()?;
        fields(&cx.ui, &session.style, COLUMNS, (Shape::Several, rows), name_of)?;
        Ok(0)
    }
}

/// Backups by name, each with the configuration that it has.
async fn whole(cx: &Cx, session: &Session, kind: &Kind, matches: &ArgMatches) -> Result<Vec<Value>> {
    let (within, names) = (within(matches), texts(matches, "targets"));
    let found =
        futures_util::future::try_join_all(names.iter().map(|name| named(session, kind, name, &within))).await?;
    let guests = session.ops.guests().await?;
    let mut rows = Vec::new();
    for stored in &found {
        let mut row = row(session, stored, &guests)?;
        match session.ops.backup_config(stored).await {
            Ok(config) => row["config"] = Value::Object(config.0),
            Err(error) => {
                cx.ui.warn(format_args!("the configuration in {} was not read: {error}", stored.volume.volid));
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

#[async_trait(?Send)]
impl Verb for Get {
    fn name(&self) -> &'static str {
        "get"
    }

    fn about(&self, _: &Kind) -> String {
        "Show single backups, with the configuration that each has".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} get {} -o yaml", words(kind), super::example(kind))]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(backups_arg()).args(within_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let rows = whole(cx, &session, kind, matches).await?;
        fields(&cx.ui, &session.style, COLUMNS, (Shape::of(rows.len()), rows), name_of)?;
        Ok(0)
    }
}

#[async_trait(?Send)]
impl Verb for Describe {
    fn name(&self) -> &'static str {
        "describe"
    }

    fn about(&self, _: &Kind) -> String {
        "Describe backups for people: what they are of, and the configuration in them".to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} describe {}", words(kind), super::example(kind))]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(backups_arg()).args(within_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let data = whole(cx, &session, kind, matches).await?;
        let paths: Vec<String> = data.iter().map(name_of).collect();
        let people = |out: &mut dyn Write, places: &[usize]| {
            for (at, place) in places.iter().enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                page(out, &session, &data[*place])?;
            }
            Ok(())
        };
        print::each(&cx.ui, &session.style, Shape::of(data.len()), &data, &paths, people)?;
        Ok(0)
    }
}

fn page(out: &mut dyn Write, session: &Session, backup: &Value) -> std::io::Result<()> {
    let mut thing = backup.clone();
    let config = thing.as_object_mut().and_then(|map| map.remove("config"));
    let title = format!("backup {}", backup.get("volid").and_then(plain).unwrap_or_default());
    people_page(out, &session.style, &title, COLUMNS, &thing)?;
    let lines = config.as_ref().and_then(Value::as_object).into_iter().flatten();
    section(out, "Configuration", lines.map(|(key, value)| (key.clone(), plain(value).unwrap_or_default())))
}
