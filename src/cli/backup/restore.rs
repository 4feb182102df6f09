//! `backup restore`: a guest made of a backup, under a number of its own or in the place of one.

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{named, read::find, words};
use crate::{
    cli::{
        base::{carry_out, require_somebody_to_confirm},
        cx::{Cx, flag, text, texts},
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{Error, GuestKind, Hint, NodeName, Params, Result, is_secret_key},
    ops::{RestoreRequest, Stored, Target, Within},
};

/// The word for the newest.
const LATEST: &str = "latest";

pub(super) struct Restore;

/// Flags for parameters that have none of their own.
pub(super) fn pair_args() -> [Arg; 2] {
    let pair = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("KEY=VALUE").action(ArgAction::Append).display_order(900).help(help)
    };
    [
        pair("set", "Any other parameter of the call. Repeatable"),
        pair("force-param", "Send it unchecked: for parameters of a newer server. Repeatable"),
    ]
}

/// What they say, beside what has flags.
pub(super) fn add_pairs(matches: &ArgMatches, params: &mut Params, forced: &mut Params) -> Result<()> {
    for (name, into) in [("set", &mut *params), ("force-param", forced)] {
        for pair in texts(matches, name) {
            let (key, value) = pair
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                // What has no key may be a secret, so it is not repeated.
                .ok_or_else(|| Error::usage(format!("`--{name}` takes KEY=VALUE")))?;
            if is_secret_key(key) {
                return Err(Error::usage(format!("`{key}` is a secret and is not taken from the command line")));
            }
            if into.get(key).is_some() {
                return Err(Error::usage(format!("`{key}` is given twice")));
            }
            into.push(key, value);
        }
    }
    Ok(())
}

#[async_trait(?Send)]
impl Verb for Restore {
    fn name(&self) -> &'static str {
        "restore"
    }

    fn about(&self, kind: &Kind) -> String {
        let noun = kind.guest.map_or("guest", GuestKind::noun);
        format!("Make a {noun} of a backup: a new one, or with --overwrite in the place of one that is off")
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let (words, one) = (words(kind), super::example(kind));
        let guest = if kind.guest == Some(GuestKind::Lxc) { 110 } else { 100 };
        vec![
            format!("pvectl {words} restore {one} --unique --name restored --start"),
            format!("pvectl {words} restore latest --guest {guest} --storage local-lvm"),
            format!("pvectl {words} restore {one} --overwrite --confirm"),
        ]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let name = if kind.guest == Some(GuestKind::Lxc) { "Its host name" } else { "Its name" };
        let backup = "The volume, the name of its file, or `latest` with --guest";
        let from = "Look for the backup in this storage only";
        let command = command
            .arg(Arg::new("backup").value_name("BACKUP").required(true).help(backup))
            .arg(value("guest", "GUEST", "Whose latest backup; one that is gone by its VMID"))
            .arg(value("from-storage", "STORAGE", from))
            .arg(value("vmid", "VMID", "Its number; the next free one if none is given"))
            .arg(switch("overwrite", "Replace the guest of that number, else of the backup's; asks"))
            .arg(value("node", "NODE", "Its node; else the one that has the backup"))
            .arg(value("storage", "STORAGE", "Where all its disks go; else where they were"))
            .arg(value("name", "NAME", name))
            .arg(value("pool", "POOL", "The pool it goes into"))
            .arg(switch("unique", "Give it new MAC addresses: the guest that it was may be on the network too"))
            .arg(value("bwlimit", "N", "At most so many KiB/s"))
            .arg(switch("start", "Start it afterwards"))
            .args(pair_args());
        match kind.guest {
            Some(GuestKind::Lxc) => command,
            _ => command.arg(switch("live-restore", "Let a VM run while its disks are still being filled")),
        }
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let overwrite = flag(matches, "overwrite");
        if overwrite {
            require_somebody_to_confirm(cx)?;
        }
        let usage = |error: crate::model::ParseIdError| Error::usage(error.to_string());
        let vmid = text(matches, "vmid").map(str::parse).transpose().map_err(usage)?;
        let node = text(matches, "node").map(NodeName::new).transpose().map_err(usage)?;
        let name = text(matches, "backup").unwrap_or_default();
        let guest = text(matches, "guest");
        if (name == LATEST) != guest.is_some() {
            let why = if guest.is_some() { "--guest goes with `latest`" } else { "say whose latest backup" };
            return Err(
                Error::usage(why).with_hint(Hint::Text(format!("pvectl {} restore latest --guest 100", words(kind))))
            );
        }
        let session = cx.session(Access::Write).await?;
        let backup = match guest {
            Some(guest) => latest(cx, &session, kind, guest, matches).await?,
            None => {
                // A node that a guest goes to need not be where its backup is.
                let storage = text(matches, "from-storage").map(str::to_owned);
                named(&session, kind, name, &Within { storage, node: None }).await?
            }
        };
        let kind = backup.backup_kind().unwrap_or(GuestKind::Qemu);
        let mut params = Params::new()
            .with_some(kind.name_key(), text(matches, "name"))
            .with_some("pool", text(matches, "pool"))
            .with_flag("unique", flag(matches, "unique"))
            .with_some("bwlimit", text(matches, "bwlimit"))
            .with_flag("live-restore", flag(matches, "live-restore"));
        let mut forced = Params::new();
        add_pairs(matches, &mut params, &mut forced)?;
        let storage = text(matches, "storage").map(str::to_owned);
        let start = flag(matches, "start");
        let request = RestoreRequest { backup, vmid, overwrite, node, storage, start, params, forced };
        let plan = session.ops.plan_restore(&request).await?;
        carry_out(cx, &session, vec![plan]).await
    }
}

/// The newest backup of a guest.
async fn latest(cx: &Cx, session: &Session, kind: &Kind, guest: &str, matches: &ArgMatches) -> Result<Stored> {
    let targets = Target::parse_all(&[guest])?;
    let place = Within { storage: text(matches, "from-storage").map(str::to_owned), node: None };
    let (backups, _) = find(cx, session, kind, &targets, &place).await?;
    let newest = backups.into_iter().max_by_key(|stored| stored.volume.ctime);
    newest.ok_or_else(|| {
        Error::not_found(format!("there is no backup of {guest}"))
            .with_hint(Hint::Text(format!("see what there is: pvectl {} list", words(kind))))
    })
}
