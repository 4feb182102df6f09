//! `host`: what this host is and has, as far as VMs on it need it, and what they left on it.

mod exec;

use anstyle::Style as Colour;
use clap::{ArgMatches, Command};

use crate::{
    backends::cloud_hypervisor::{
        Orphan,
        host::facts::{self, Look},
    },
    cli::{
        base::{in_turn, require_somebody_to_confirm},
        cx::{Cx, text},
        local::{self, backend},
        print::{self, Column, Row, human::size},
        session::{Access, Session},
        ui::style,
        verb::{Entry, Exit, run_in_group, value, with_group},
    },
    config::{Connection, Resolved},
    model::{Class, Error, Fact, Hint, Result, Size},
    ops::Plan,
};

pub(super) const ENTRY: Entry = Entry {
    name: "host",
    about: "This host or a served one, as far as VMs on it need it",
    examples: &[],
    args: |command| with_group(command, GROUP),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, GROUP)),
};

const GROUP: &[Entry] = &[FACTS, exec::ENTRY, GC, START_ALL, STOP_ALL];

const GC: Entry = Entry {
    name: "gc",
    about: "List what was left on this host and belongs to nobody any more; remove it with --confirm",
    examples: &["pvectl host gc", "pvectl host gc --confirm", "pvectl host gc -o json --field-selector kind=volume"],
    args: |command| command,
    run: |cx, matches| Box::pin(collect(cx, matches)),
};

const FACTS: Entry = Entry {
    name: "facts",
    about: "List what this host, or a served one, is and has",
    examples: &[
        "pvectl host facts",
        "pvectl --host https://minipc:8006 host facts",
        "pvectl host facts -o json",
        "pvectl host facts --field-selector status=warn",
    ],
    args: place_args,
    run: |cx, matches| Box::pin(list(cx, matches)),
};

const START_ALL: Entry = Entry {
    name: "start-all",
    about: "Start the VMs with onboot=1, in the order of their `startup`",
    examples: &["pvectl --context local host start-all", "pvectl --context local host start-all --dry-run"],
    args: |command| command,
    run: |cx, _| Box::pin(start_all(cx)),
};

const STOP_ALL: Entry = Entry {
    name: "stop-all",
    about: "Shut down all VMs, in the reverse order; who does not go in time loses its power",
    examples: &["pvectl --context local host stop-all --confirm"],
    args: |command| command,
    run: |cx, _| Box::pin(stop_all(cx)),
};

/// The flags that say where to look.
const PLACES: [&str; 2] = [VMM, FIRMWARE];

const VMM: &str = "cloud-hypervisor";
const FIRMWARE: &str = "firmware";

/// Where to look for what may lie anywhere.
pub(super) fn place_args(command: Command) -> Command {
    command.arg(value(VMM, "FILE", "The VMM, else the first on PATH")).arg(value(
        FIRMWARE,
        "FILE",
        "The firmware CLOUDHV.fd, else the first in the usual places",
    ))
}

/// Looks at this host.
pub(super) async fn look(cx: &Cx, matches: &ArgMatches) -> Result<Vec<Fact>> {
    // The VMM is run elsewhere, so what is relative here has to be absolute there.
    let file = |name: &str| {
        text(matches, name)
            .map(|path| std::path::absolute(path).map_err(|error| Error::usage(format!("--{name}: {error}"))))
            .transpose()
    };
    let at = Look { vmm: file(VMM)?, firmware: file(FIRMWARE)?, ..local::look(cx)? };
    // The VMM is asked for its version, and Ctrl-C should be heard meanwhile.
    tokio::task::spawn_blocking(move || facts::look(&at))
        .await
        .map_err(|error| Error::new(Class::Bug, "looking at this host did not end well").with_source(error))
}

/// `fact/kvm`.
pub(super) fn name(fact: &Fact) -> String {
    format!("fact/{}", fact.name)
}

fn colour(text: &str) -> Option<Colour> {
    match text {
        "ok" => Some(style::GOOD),
        "warn" => Some(style::HALF),
        "missing" | "failed" => Some(style::BAD),
        _ => None,
    }
}

impl Row for Fact {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Fact>] = &[
            Column::new("NAME", "name", |fact: &Fact| fact.name.to_string()),
            Column::new("STATUS", "status", |fact: &Fact| fact.status.as_str().to_owned()).coloured(colour),
            Column::new("SEEN", "seen", |fact: &Fact| fact.seen.clone()),
            Column::new("MEND", "mend", |fact: &Fact| fact.mend.clone().unwrap_or_default()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        name(self)
    }
}

/// Whether a context is about this host. Who has none yet wants to know about this one: there is no other.
pub(super) fn is_here(resolved: &Resolved) -> bool {
    matches!(resolved.connection, Connection::Local | Connection::Sandbox { implicit: true })
}

/// Refuses the flags that say where to look on this host.
pub(super) fn refuse_places(matches: &ArgMatches) -> Result<()> {
    match PLACES.iter().find(|flag| text(matches, flag).is_some()) {
        Some(flag) => Err(Error::usage(format!("--{flag} is about this host"))
            .with_hint(Hint::Text("choose it with --context local".into()))),
        None => Ok(()),
    }
}

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let resolved = cx.resolve()?;
    if is_here(&resolved) {
        let mut facts = look(cx, matches).await?;
        print::list(&cx.ui, &cx.style(&resolved)?, &mut facts)?;
        return Ok(0);
    }
    refuse_places(matches)?;
    let session = cx.session_of(resolved, Access::Read).await?;
    let Some(client) = &session.client else { return Ok(0) };
    let mut facts = client.served_host().await.map_err(elsewhere)?.facts;
    print::list(&cx.ui, &session.style, &mut facts)?;
    Ok(0)
}

/// The same with the way to this host.
fn elsewhere(error: Error) -> Error {
    match error.class() {
        Class::Usage => error.with_hint(Hint::Text("this host is `--context local`".into())),
        _ => error,
    }
}

/// The session of this host.
async fn here(cx: &Cx) -> Result<Session> {
    let session = cx.session(Access::Write).await?;
    match session.client {
        Some(_) => Err(Error::usage("this is for the VMs of this host")
            .with_hint(Hint::Text("choose it with --context local".to_owned()))),
        None => Ok(session),
    }
}

async fn start_all(cx: &Cx) -> Result<Exit> {
    let session = here(cx).await?;
    let turns = session.ops.plan_start_all().await?;
    if turns.is_empty() {
        cx.ui.say("no VM has onboot=1");
    }
    let code = in_turn(cx, &session, turns).await?;
    if !cx.switches.dry_run && !cx.interrupt.is_raised() {
        // A server that starts later in this boot has nothing to add.
        local::BootMark::new(cx)?.set()?;
    }
    Ok(code)
}

async fn stop_all(cx: &Cx) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let session = here(cx).await?;
    let turns = session.ops.plan_stop_all().await?;
    let labels: Vec<String> = turns.iter().flat_map(|turn| &turn.plans).map(Plan::label).collect();
    if labels.is_empty() {
        cx.ui.say("no VM is on");
        return Ok(0);
    }
    let question = format!("Shut down {}?", labels.join(", "));
    if !cx.switches.confirm && !cx.switches.dry_run && !cx.ui.ask_yes(&question)? {
        cx.ui.say("nothing was done");
        return Ok(Class::Failed.exit_code());
    }
    in_turn(cx, &session, turns).await
}

impl Row for Orphan {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Orphan>] = &[
            Column::new("KIND", "kind", |row: &Orphan| row.kind.as_str().to_owned()),
            Column::new("VMID", "vmid", |row: &Orphan| row.vmid.map_or(String::new(), |vmid| vmid.to_string())).right(),
            Column::new("SIZE", "size", |row: &Orphan| size(row.size)).right(),
            Column::new("NAME", "name", |row: &Orphan| row.name.clone()),
            Column::new("REASON", "reason", |row: &Orphan| row.reason.clone()),
            Column::new("REMOVED", "removed", |row: &Orphan| if row.removed { "yes" } else { "no" }.to_owned()),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("orphan/{}", self.name)
    }
}

async fn collect(cx: &Cx, _: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    let remove = cx.switches.confirm && !cx.switches.dry_run;
    cx.check_outside(if remove { Access::Write } else { Access::Read }, "local")?;
    if remove && style.arrange.filter.is_some() {
        return Err(Error::usage("--field-selector chooses what is printed, not what is removed")
            .with_hint(Hint::Text("leave it out, or leave --confirm out".into())));
    }
    let mut orphans = backend(cx)?.gc(remove).await?;
    let (removed, freed) = orphans
        .iter()
        .filter(|orphan| orphan.removed)
        .fold((0, 0), |(count, bytes), orphan| (count + 1, bytes + orphan.size.unwrap_or(0)));
    match (orphans.len(), remove) {
        (0, _) => cx.ui.say("nothing was left behind"),
        (_, true) => cx.ui.say(format_args!("removed {removed}, {} on the disk", Size(freed))),
        (_, false) => cx.ui.say("nothing was removed; --confirm removes all of it"),
    }
    let mut code = 0;
    for orphan in &orphans {
        if let Some(error) = &orphan.error {
            cx.ui.warn(format_args!("{} {} stays: {error}", orphan.kind.as_str(), orphan.name));
            code = Class::Failed.exit_code();
        }
    }
    print::list(&cx.ui, &style, &mut orphans)?;
    Ok(code)
}
