//! Verbs that change a node as a whole: its power, all its guests at once, its services.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::node_arg;
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        resource::{carry_out, carry_out_asking},
        session::Access,
        verb::{Entry, Exit, switch, value},
    },
    model::{Class, Error, Params, Result, Vmid},
    ops::{NODE_VERBS, NodeVerb, SERVICE_VERBS},
};

pub(super) const START_ALL: Entry = Entry {
    name: "start-all",
    about: "Start the guests of a node that start with it (onboot), in their order",
    examples: &["pvectl node start-all pve1", "pvectl node start-all pve1 --force --dry-run"],
    args: |command| {
        guests_arg(command.arg(node_arg())).arg(switch("force", "Start those that do not start with it too"))
    },
    run: |cx, matches| Box::pin(change(cx, matches, "start-all")),
};

pub(super) const STOP_ALL: Entry = Entry {
    name: "stop-all",
    about: "Shut the guests of a node down, in their order; asks",
    examples: &["pvectl node stop-all pve1 --confirm", "pvectl node stop-all pve1 --vms 100,101 --dry-run"],
    args: |command| {
        let wait = value("shutdown-timeout", "SECONDS", "How long each may take until it is stopped");
        guests_arg(command.arg(node_arg()))
            .arg(wait.value_parser(value_parser!(u64).range(0..=7200)))
            .arg(switch("no-force-stop", "Leave those running that are not off by then"))
    },
    run: |cx, matches| Box::pin(change(cx, matches, "stop-all")),
};

pub(super) const SUSPEND_ALL: Entry = Entry {
    name: "suspend-all",
    about: "Suspend the VMs of a node to disk; asks",
    examples: &["pvectl node suspend-all pve1 --dry-run"],
    args: |command| guests_arg(command.arg(node_arg())),
    run: |cx, matches| Box::pin(change(cx, matches, "suspend-all")),
};

pub(super) const REFRESH_UPDATES: Entry = Entry {
    name: "refresh-updates",
    about: "Let a node look for newer packages; `node updates` lists them afterwards",
    examples: &["pvectl node refresh-updates pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(change(cx, matches, "refresh-updates")),
};

pub(super) const WAKE: Entry = Entry {
    name: "wake",
    about: "Wake a node that is off, by its network card",
    examples: &["pvectl node wake pve2"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(change(cx, matches, "wake")),
};

pub(super) const SHUTDOWN: Entry = Entry {
    name: "shutdown",
    about: "Shut a node down, after showing which guests run there; asks",
    examples: &["pvectl node shutdown pve2 --dry-run"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(change(cx, matches, "shutdown")),
};

pub(super) const REBOOT: Entry = Entry {
    name: "reboot",
    about: "Restart a node, after showing which guests run there; asks",
    examples: &["pvectl node reboot pve2 --dry-run"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(change(cx, matches, "reboot")),
};

pub(super) const SERVICE: Entry = Entry {
    name: "service",
    about: "Start, stop, restart or reload a service of a node; to stop one asks",
    examples: &["pvectl node service restart pve1 pvestatd"],
    args: |command| {
        command
            .arg(Arg::new("act").value_name("ACT").required(true).value_parser(SERVICE_VERBS).help("What is done"))
            .arg(node_arg())
            .arg(Arg::new("service").value_name("SERVICE").required(true).help("pveproxy, pvestatd, …"))
    },
    run: |cx, matches| Box::pin(service(cx, matches)),
};

fn guests_arg(command: Command) -> Command {
    let guests = value("vms", "VMID", "Only these guests").value_delimiter(',').action(ArgAction::Append);
    command.arg(guests)
}

fn verb(name: &str) -> Result<&'static NodeVerb> {
    let found = NODE_VERBS.iter().find(|verb| verb.name == name);
    found.ok_or_else(|| Error::new(Class::Bug, format!("`{name}` is no verb of nodes")))
}

async fn change(cx: &Cx, matches: &ArgMatches, name: &str) -> Result<Exit> {
    let verb = verb(name)?;
    if verb.asks {
        require_somebody_to_confirm(cx)?;
    }
    let node = text(matches, "node-name").unwrap_or_default();
    let vms = texts(matches, "vms");
    for vmid in &vms {
        vmid.parse::<Vmid>().map_err(|error| Error::usage(format!("`{vmid}` is no VMID: {error}")))?;
    }
    let seconds = matches.try_get_one::<u64>("shutdown-timeout").ok().flatten();
    let params = Params::new()
        .with_flag("force", flag(matches, "force"))
        .with_some("force-stop", flag(matches, "no-force-stop").then_some(0))
        .with_some("vms", (!vms.is_empty()).then(|| vms.join(",")))
        .with_some("timeout", seconds);
    let session = cx.session(Access::Write).await?;
    let plan = session.ops.plan_node(verb, node, &params).await?;
    match verb.asks {
        true => carry_out_asking(cx, &session, &format!("{} node {node}?", sentence(name)), vec![plan]).await,
        false => carry_out(cx, &session, vec![plan]).await,
    }
}

fn sentence(name: &str) -> &'static str {
    match name {
        "stop-all" => "Shut down all guests of",
        "suspend-all" => "Suspend all VMs of",
        "reboot" => "Restart",
        _ => "Shut down",
    }
}

async fn service(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let [act, node, service] = ["act", "node-name", "service"].map(|name| text(matches, name).unwrap_or_default());
    let act = SERVICE_VERBS.into_iter().find(|known| *known == act).unwrap_or_default();
    if act == "stop" {
        require_somebody_to_confirm(cx)?;
    }
    let session = cx.session(Access::Write).await?;
    let plan = session.ops.plan_service(act, node, service).await?;
    match act {
        "stop" => carry_out_asking(cx, &session, &format!("Stop service {service} of node {node}?"), vec![plan]).await,
        _ => carry_out(cx, &session, vec![plan]).await,
    }
}
