//! The verbs on backups: below a guest's word (`vm backup create 100`), and of the kind that backups are themselves
//! (`backup list`). One implementation for both: below a kind of guest they are about its backups alone.
//!
//! What is asked of a server is planned in `ops`.

mod change;
mod create;
mod prune;
mod read;
mod restore;

use clap::{Arg, ArgMatches};
use serde_json::Value;

pub(crate) use create::{VZDUMP, takes};
pub(crate) use read::COLUMNS;

use super::{
    cx::{Cx, text},
    print,
    session::Session,
    verb::{Group, Kind, Verb, value},
};
use crate::{
    model::{Error, Guest, GuestKind, Hint, Result},
    ops::{BACKUPS, Stored, Within},
};

/// All of them.
const VERBS: &[&dyn Verb] = &[
    &create::Create,
    &read::List,
    &read::Get,
    &read::Describe,
    &change::Update,
    &change::Delete,
    &prune::Prune,
    &restore::Restore,
];

/// Below a kind of guest.
pub(crate) const GROUP: Group =
    Group { name: "backup", about: "Backups: made, listed, restored, removed", verbs: VERBS };

/// As those of a kind.
pub(crate) fn verbs() -> Vec<Box<dyn Verb>> {
    vec![
        Box::new(read::List),
        Box::new(read::Get),
        Box::new(read::Describe),
        Box::new(create::Create),
        Box::new(change::Update),
        Box::new(change::Delete),
        Box::new(prune::Prune),
        Box::new(restore::Restore),
    ]
}

/// The words before a verb: `vm backup`, or `backup`.
fn words(kind: &Kind) -> String {
    match kind.guest {
        Some(guest) => format!("{} backup", guest.noun()),
        None => kind.noun.to_owned(),
    }
}

/// The id of one in help.
fn example(kind: &Kind) -> &'static str {
    match kind.guest {
        Some(GuestKind::Lxc) => "local:backup/vzdump-lxc-110-2026_11_20-11_37_06.tar.zst",
        _ => "local:backup/vzdump-qemu-100-2026_11_20-11_37_01.vma.zst",
    }
}

/// The flags that say where to look.
fn within_args() -> [Arg; 2] {
    [value("storage", "STORAGE", "Only in this storage"), value("node", "NODE", "Only on this node")]
}

fn within(matches: &ArgMatches) -> Within {
    let owned = |name| text(matches, name).map(str::to_owned);
    Within { storage: owned("storage"), node: owned("node") }
}

/// The backup of a name as people type it: that of the volume, of its file, or as `-o name` prints it.
async fn named(session: &Session, kind: &Kind, name: &str, within: &Within) -> Result<Stored> {
    let bare = name.strip_prefix("backup/").filter(|rest| rest.contains(':')).unwrap_or(name);
    let found = session.ops.stored_one("backup", bare, &[BACKUPS], within).await?;
    match (kind.guest, found.backup_kind()) {
        (Some(wanted), Some(is)) if wanted != is => Err(Error::usage(format!("{bare} is a backup of a {is}"))
            .with_hint(Hint::Text(format!("use `pvectl {is} backup …`, or `pvectl backup …` for both")))),
        _ => Ok(found),
    }
}

/// A backup as data: the server's row, where it is, and whose it is.
fn row(session: &Session, stored: &Stored, guests: &[Guest]) -> Result<Value> {
    let mut row = print::to_value(&stored.volume)?;
    row["node"] = stored.node.as_str().into();
    row["storage"] = stored.storage.as_str().into();
    row["type"] = stored.backup_kind().map_or(Value::Null, |kind| kind.api().into());
    let guest = guests.iter().find(|guest| Some(guest.vmid) == stored.backup_of());
    row["name"] = guest.and_then(|guest| guest.name.as_deref()).map_or(Value::Null, Value::from);
    row["context"] = session.ops.context().into();
    Ok(row)
}

/// Tells what could not be looked at.
fn tell(cx: &Cx, found: &crate::ops::FoundVolumes) {
    for (node, status) in found.away.iter() {
        cx.ui.warn(format_args!("node {node} is {status}: what it has is not known"));
    }
    found.unread.iter().for_each(|text| cx.ui.warn(text));
}
