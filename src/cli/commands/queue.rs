//! `queue`: changes of VMs of this host, or of a served one, that wait for the next command that can do them.

use clap::{Arg, ArgMatches, value_parser};

use crate::{
    cli::{
        cx::{Cx, text},
        print::{self, Column, Row, human::ago, table::status_colour},
        session::Access,
        verb::{Entry, Exit, run_in_group, with_group},
    },
    model::{Class, Error, GuestKind, QueuedStep, Result},
};

pub(super) const ENTRY: Entry = Entry {
    name: "queue",
    about: "Changes that wait for the next command on their VM (`vm add … --queue`)",
    examples: &["pvectl --context local queue list", "pvectl --host https://minipc:8006 queue cancel 3"],
    args: |command| with_group(command, GROUP),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, GROUP)),
};

const GROUP: &[Entry] = &[LIST, CANCEL];

impl Row for QueuedStep {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<QueuedStep>] = &[
            Column::new("ID", "id", |row: &QueuedStep| row.id.to_string()).right(),
            Column::new("VMID", "vmid", |row: &QueuedStep| row.vmid.to_string()).right(),
            Column::new("CHANGE", "params", |row: &QueuedStep| {
                let params = row.params.redacted();
                params.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join("; ")
            }),
            Column::new("STATUS", "status", |row: &QueuedStep| row.status.to_string()).coloured(status_colour),
            Column::new("QUEUED", "added", |row: &QueuedStep| ago(row.added)),
            Column::new("ERROR", "error", |row: &QueuedStep| row.error.clone().unwrap_or_default()),
            Column::new("USER", "user", |row: &QueuedStep| row.user.clone()).wide(),
            Column::new("UPID", "upid", |row: &QueuedStep| row.upid.to_string()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("queue/{}", self.id)
    }
}

const LIST: Entry = Entry {
    name: "list",
    about: "List what waits, in the order in which it will be done",
    examples: &["pvectl --context local queue list", "pvectl --context local queue list web -o json"],
    args: |command| command.arg(Arg::new("target").value_name("VM").help("Only of this VM, by VMID or name")),
    run: |cx, matches| Box::pin(list(cx, matches)),
};

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let vmid = match text(matches, "target") {
        Some(target) => Some(session.ops.find_one(target, GuestKind::Qemu).await?.vmid),
        None => None,
    };
    let mut rows = session.ops.backend().queue(vmid).await.map_err(without)?;
    if rows.is_empty() {
        cx.ui.say("nothing waits");
    }
    print::list(&cx.ui, &session.style, &mut rows)?;
    Ok(0)
}

/// The same for a server that has none.
fn without(error: Error) -> Error {
    match error.class() {
        Class::Usage => error.context("there is no queue of changes there"),
        _ => error,
    }
}

const CANCEL: Entry = Entry {
    name: "cancel",
    about: "Take something out of the queue; what stood behind it goes on",
    examples: &["pvectl --context local queue cancel 3"],
    args: |command| {
        command.arg(
            Arg::new("id")
                .value_name("ID")
                .required(true)
                .value_parser(value_parser!(i64))
                .help("Its number in `queue list`"),
        )
    },
    run: |cx, matches| Box::pin(cancel(cx, matches)),
};

async fn cancel(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let id = matches.get_one::<i64>("id").copied().unwrap_or_default();
    let session = cx.session(Access::Write).await?;
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would take number {id} out of the queue"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    session.ops.backend().cancel_queued(id).await.map_err(without)?;
    cx.ui.say(format_args!("number {id} is out of the queue"));
    Ok(0)
}
