//! `migrate`: guests that move to another node.

use async_trait::async_trait;
use clap::{ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use super::{
    choose::{Meant, chosen_args, paced},
    mutate::{mutate, require_somebody_to_confirm},
};
use crate::{
    cli::{
        cx::{Cx, flag, text, texts},
        session::Access,
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{Class, Error, GuestKind, Hint, NodeName, Params, Result},
    ops::{MIGRATE, MigrateRequest, StorageMap},
};

/// How many move at a time unless something is said: they share one network.
pub(crate) const PARALLEL: usize = 2;

/// Flags that are parameters of the call and nothing more: kind, name, value, help.
const PASSED: &[(Option<GuestKind>, &str, Option<&str>, &str)] = &[
    (None, "bwlimit", Some("KIB"), "No faster than so many KiB a second"),
    (Some(GuestKind::Qemu), "migration_network", Some("CIDR"), "Over this network; for root@pam alone"),
    (Some(GuestKind::Qemu), "migration_type", Some("TYPE"), "Through SSH or in plain text; for root@pam alone"),
    (Some(GuestKind::Qemu), "with-conntrack-state", None, "Take the state of its connections along"),
    (Some(GuestKind::Qemu), "force", None, "Though it has devices of its node, while it is off; for root@pam alone"),
];

fn passed(
    kind: GuestKind,
) -> impl Iterator<Item = &'static (Option<GuestKind>, &'static str, Option<&'static str>, &'static str)> {
    PASSED.iter().filter(move |(of, ..)| of.is_none_or(|of| of == kind))
}

/// The flags that say how a guest moves, without those that say which and where.
pub(crate) fn how_args(command: Command, kind: GuestKind) -> Command {
    let vm = kind == GuestKind::Qemu;
    let mut command = command.arg(value(
        "target-storage",
        "FROM=TO",
        "Where disks go that only their node has; one storage alone is for all. Else into those of the same names",
    ));
    if vm {
        command = command
            .arg(switch("online", "While it runs; what is done with those that run"))
            .arg(switch("with-local-disks", "Copy disks that only their node has, while the VM runs"));
    } else {
        let wait =
            value("shutdown-timeout", "SECONDS", "How long a container may take to shut down").requires("restart");
        command = command
            .arg(switch("restart", "Shut those down that run, move them, and start them there"))
            .arg(wait.value_parser(value_parser!(u64)));
    }
    for (_, name, of, help) in passed(kind) {
        let arg = match of {
            Some(of) => value(name, of, help),
            None => switch(name, help),
        };
        command = command.arg(match *name {
            "migration_network" => arg.alias("migration-network"),
            "migration_type" => {
                arg.alias("migration-type").value_parser(PossibleValuesParser::new(["secure", "insecure"]))
            }
            "bwlimit" => arg.value_parser(value_parser!(u64)),
            _ => arg,
        });
    }
    command
}

/// What is said by these flags.
pub(crate) fn how(matches: &ArgMatches, kind: GuestKind, to: NodeName) -> Result<MigrateRequest> {
    let is = |name: &str| matches.try_contains_id(name).unwrap_or(false) && flag(matches, name);
    let mut more = Params::new();
    for (_, name, of, _) in passed(kind) {
        match (of, *name) {
            (_, "bwlimit") => more = more.with_some(name, matches.get_one::<u64>(name)),
            (Some(_), _) => more = more.with_some(name, text(matches, name)),
            (None, _) => more = more.with_flag(name, is(name)),
        }
    }
    if kind == GuestKind::Lxc {
        more = more.with_some("timeout", matches.get_one::<u64>("shutdown-timeout"));
    }
    Ok(MigrateRequest {
        to,
        storages: text(matches, "target-storage").map(StorageMap::parse).transpose()?.unwrap_or_default(),
        with_local_disks: is("with-local-disks"),
        restart: is("restart"),
        more,
    })
}

pub(super) struct Migrate;

#[async_trait(?Send)]
impl Verb for Migrate {
    fn name(&self) -> &'static str {
        MIGRATE.name
    }

    fn about(&self, kind: &Kind) -> String {
        match kind.guest() {
            GuestKind::Qemu => "Move VMs to another node, while they run if they do".to_owned(),
            GuestKind::Lxc => "Move containers to another node; one that runs is shut down and started".to_owned(),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        match kind.guest() {
            GuestKind::Qemu => vec![
                "pvectl vm migrate 100 pve2 --with-local-disks".to_owned(),
                "pvectl vm migrate 100,102 web-2 --to pve3 --dry-run".to_owned(),
                "pvectl vm migrate --node pve1 --to pve2 --with-local-disks --parallel 1".to_owned(),
                "pvectl vm migrate 100 pve2 --target-storage local-lvm=fast".to_owned(),
            ],
            GuestKind::Lxc => vec![
                "pvectl container migrate 110 pve2 --restart".to_owned(),
                "pvectl container migrate --selector app=web --to pve3 --restart --dry-run".to_owned(),
            ],
        }
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let command = chosen_args(command)
            .mut_arg("targets", |arg| {
                arg.help("VMIDs, names, lists (150,151), ranges (150-199) or NODE/VMID; without --to the last one is the node")
            })
            .mut_arg("parallel", |arg| arg.help(format!("So many at a time [default: {PARALLEL}]")))
            .arg(value("to", "NODE", "The node that they go to").alias("target"));
        how_args(command, kind.guest())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (targets, node) = aim(matches, kind)?;
        let to = NodeName::new(&node).map_err(|error| Error::usage(format!("`{node}` is no node: {error}")))?;
        let meant = Meant::of(&targets, matches, &format!("say which {} to migrate, and then the node", kind.noun))?;
        let request = how(matches, kind.guest(), to)?;
        // What is shut down on the way is asked about where nobody named it.
        let asks = meant.is_choice() && request.restart;
        if asks {
            require_somebody_to_confirm(cx)?;
        }
        let mut session = cx.session(Access::Write).await?;
        session.ops.backend().capabilities().require(kind.guest(), crate::backends::Action::Migrate)?;
        session.options = paced(matches, crate::ops::RunOptions { parallel: PARALLEL, ..session.options })?;
        session.together = meant.together(asks);
        session.ops.require_aim(&request.to).await.map_err(|error| match text(matches, "to") {
            None if error.class() == Class::NotFound => {
                error.with_hint(Hint::Text("the last word is the node; it can be said with --to, too".into()))
            }
            _ => error,
        })?;
        let found = meant.find(cx, &session, kind).await?;
        if asks && !meant.agrees(cx, kind, "Shut down, migrate and start", &found)? {
            return Ok(Class::Failed.exit_code());
        }
        let plan = async |found: &_| session.ops.plan_migrate(found, &request).await;
        mutate(cx, &session, MIGRATE, &found, plan).await
    }
}

/// The guests that were typed, and the node: `--to`, or the last word.
fn aim(matches: &ArgMatches, kind: &Kind) -> Result<(Vec<String>, String)> {
    let mut targets = texts(matches, "targets");
    if let Some(node) = text(matches, "to") {
        return Ok((targets, node.to_owned()));
    }
    let nowhere = || {
        Error::usage("say where to")
            .with_hint(Hint::Text(format!("the node is the last word, or --to: pvectl {} migrate 100 pve2", kind.noun)))
    };
    match targets.pop() {
        Some(node) if !targets.is_empty() => Ok((targets, node)),
        _ => Err(nowhere()),
    }
}
