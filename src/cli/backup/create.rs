//! `backup create`: one backup task for each guest, on each node one after the other.

use std::slice::from_ref;

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::words;
use crate::{
    cli::{
        base::{Meant, chosen_args, mutate, paced, targets_arg, typed},
        cx::{Cx, flag, text, texts, wait_lock_arg},
        session::{Access, Session},
        verb::{Exit, Kind, Verb},
    },
    contract::{Kind as Sort, Schema, embedded},
    model::{Error, GuestKind, Method, Result, closest},
    ops::{BACKUP, BackupRequest, Resolved, Target, Together, resolve},
};

/// The parameters of `vzdump` that have a flag: all but those that say which guests, that only the node's own command can
/// use, or that stop other backups. The others are given with `--set`.
const FLAGS: &[(&str, &str)] = &[
    ("storage", "Where it goes; the only storage of its node that takes backups if none is given"),
    ("mode", "snapshot: it goes on; suspend: it stands still; stop: it is off meanwhile [default: snapshot]"),
    ("compress", "How it is packed [default: zstd]; a Backup Server does that by itself"),
    ("notes-template", "What people should know of it; {{guestname}}, {{vmid}}, {{node}}, {{cluster}} are filled in"),
    ("protected", "Keep it from being deleted and pruned"),
    ("prune-backups", "Remove older ones of the guest there afterwards: keep-last=3,keep-daily=7"),
    ("remove", "Remove older ones as the storage says; without, none is removed"),
    ("bwlimit", "At most so many KiB/s"),
    ("exclude-path", "Leave these files of containers out, such as /var/cache/?*. Repeatable"),
    ("fleecing", "Keep what changes meanwhile on a fast storage: enabled=1,storage=local-lvm"),
    ("pbs-change-detection-mode", "How a Backup Server finds what changed in containers"),
    ("performance", "Figures for the work: max-workers=16"),
    ("zstd", "How many threads pack; 0 is half of the processors"),
    ("ionice", "Priority on disks, 0 to 8, the last being the lowest"),
    ("lockwait", "Minutes to wait for other backups of the node"),
    ("stopwait", "Minutes to wait for a guest that is shut down"),
    ("notification-mode", "How the node tells people of it"),
    ("mailto", "To whom it tells it"),
];

/// Those that are there or not.
const SWITCHES: [&str; 2] = ["protected", "remove"];

/// `vzdump`, in the contract.
pub(crate) const VZDUMP: &str = "/nodes/{node}/vzdump";

pub(super) struct Create;

fn schema(name: &str) -> Option<&'static Schema> {
    embedded().endpoint(Method::Post, VZDUMP)?.parameters.get(name)
}

/// The flags, made when the command is the one that was typed.
fn flags(command: Command) -> Command {
    let args = FLAGS.iter().enumerate().filter_map(|(order, (name, help))| {
        let arg = Arg::new(*name).long(*name).help(*help).display_order(order);
        let arg = if *name == "notes-template" { arg.visible_alias("notes") } else { arg };
        if SWITCHES.contains(name) {
            return Some(arg.action(ArgAction::SetTrue));
        }
        let schema = schema(name)?;
        let arg = typed(arg, (if *name == "storage" { "STORAGE" } else { "" }, false), schema);
        Some(if schema.kind == Sort::Array { arg.action(ArgAction::Append) } else { arg })
    });
    command.args(args.collect::<Vec<_>>())
}

/// What was typed, by PVE's names.
fn request(matches: &ArgMatches) -> Result<BackupRequest> {
    let mut request = BackupRequest::default();
    for (name, _) in FLAGS {
        if SWITCHES.contains(name) {
            request.params = request.params.with_flag(name, flag(matches, name));
        } else if schema(name).is_some_and(|schema| schema.kind == Sort::Array) {
            request.params.extend(texts(matches, name).into_iter().map(|value| (*name, value)));
        } else if let Some(value) = text(matches, name) {
            // The server has its notes in one line.
            let value = if *name == "notes-template" { value.replace('\n', "\\n") } else { value.to_owned() };
            request.params.push(*name, value);
        }
    }
    super::restore::add_pairs(matches, &mut request.params, &mut request.forced)?;
    request.check()?;
    Ok(request)
}

#[async_trait(?Send)]
impl Verb for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn about(&self, kind: &Kind) -> String {
        let what = kind.guest.map_or("guests".to_owned(), |guest| format!("{guest}s"));
        format!("Back up {what}: a task for each, one after the other on each node")
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let words = words(kind);
        let mut lines = vec![
            format!("pvectl {words} create 100"),
            format!("pvectl {words} create 100,101 --storage local --notes 'before the upgrade' --protected"),
        ];
        if kind.guest.is_some() {
            lines.push(format!("pvectl {words} create --selector app=web --mode stop --prune-backups keep-last=3"));
        }
        lines
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let command = match kind.guest {
            Some(_) => chosen_args(command),
            None => command.arg(targets_arg(true)).arg(wait_lock_arg()),
        };
        command.args(super::restore::pair_args()).defer(flags)
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let request = request(matches)?;
        let mut session = cx.session(Access::Write).await?;
        let found = match kind.guest {
            Some(_) => {
                let meant = Meant::read(matches, &format!("say which {} to back up", kind.noun))?;
                // Unless somebody says how many, its node's turn is what each waits for.
                session.options.parallel = usize::from(u16::MAX);
                session.options = paced(matches, session.options)?;
                session.together = meant.together(false);
                meant.find(cx, &session, kind).await?
            }
            None => {
                let typed = texts(matches, "targets");
                session.options.parallel = usize::from(u16::MAX);
                session.together = Together { target: typed.join(","), asks: false };
                of_any_kind(&session, &typed).await?
            }
        };
        if found.is_empty() {
            return Ok(0);
        }
        let places = session.ops.backup_places(&found).await;
        let plan = async |found: &_| session.ops.plan_backup(found, &request, &places).await;
        mutate(cx, &session, BACKUP, &found, plan).await
    }
}

/// Guests by words that do not say whether they are virtual machines or containers.
async fn of_any_kind(session: &Session, typed: &[String]) -> Result<Vec<Resolved>> {
    let guests = session.ops.guests().await?;
    let mut found: Vec<Resolved> = Vec::new();
    for target in Target::parse_all(typed)? {
        let of_kinds: Vec<Vec<Resolved>> =
            GuestKind::ALL.iter().filter_map(|kind| resolve(from_ref(&target), *kind, &guests).ok()).collect();
        if of_kinds.is_empty() {
            let names = guests.iter().flat_map(|guest| guest.name.clone().into_iter().chain([guest.vmid.to_string()]));
            let error = Error::not_found(format!("no such guest: `{}`", target.text));
            return Err(error.did_you_mean(closest(&target.text, names)));
        }
        for one in of_kinds.into_iter().flatten() {
            if !found.iter().any(|have| have.guest.vmid == one.guest.vmid) {
                found.push(one);
            }
        }
    }
    Ok(found)
}

/// The parameters of a job that a backup has too.
pub(crate) fn takes(key: &str) -> bool {
    schema(key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_parameter() {
        for (name, _) in FLAGS {
            assert!(schema(name).is_some(), "{name}");
        }
        for name in SWITCHES {
            assert!(schema(name).is_some_and(|schema| schema.kind == Sort::Boolean), "{name}");
        }
    }
}
