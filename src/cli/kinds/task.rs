//! `task`: what the servers are doing and have done.

mod attach;

use clap::{Arg, ArgMatches, value_parser};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    backends::TaskQuery,
    cli::{
        base::{Notice, Watched, watch as watch_list, watch_arg},
        cx::{Cx, flag, text, texts},
        print::{self, Column, Format, Row, Shape, headings, human::ago, table::status_colour},
        progress::{TaskLine, bar},
        reconcile::record_followed,
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, switch, value},
    },
    model::{Class, Error, ExitStatus, NodeName, Result, TaskEntry, Upid, Vmid},
};

pub(super) const KIND: Kind = Kind {
    noun: "task",
    plural: "tasks",
    aliases: &[],
    about: "Tasks of the servers",
    guest: None,
    paths: &["/cluster/tasks", "/nodes/{node}/tasks", "/nodes/{node}/tasks/{upid}"],
    of: Of::Backends,
    columns: headings::<TaskRow>,
    verbs: || {
        vec![Box::new(LIST), Box::new(GET), Box::new(WATCH), Box::new(LOGS), Box::new(STOP), Box::new(attach::ATTACH)]
    },
};

#[derive(Serialize)]
struct TaskRow {
    #[serde(flatten)]
    entry: TaskEntry,
    context: String,
}

impl Row for TaskRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<TaskRow>] = &[
            Column::new("STARTED", "starttime", |row: &TaskRow| ago(row.entry.upid.started())),
            Column::new("TYPE", "type", |row: &TaskRow| row.entry.upid.kind.clone()),
            Column::new("ID", "id", |row: &TaskRow| row.entry.upid.id.clone()),
            Column::new("NODE", "node", |row: &TaskRow| row.entry.upid.node.to_string()),
            Column::new("USER", "user", |row: &TaskRow| row.entry.upid.user.clone()),
            Column::new("TOOK", "endtime", |row: &TaskRow| took(&row.entry)).right(),
            Column::new("STATUS", "status", |row: &TaskRow| {
                row.entry.ended().map_or("running".into(), |end| end.to_string())
            })
            .coloured(status_colour),
            Column::new("UPID", "upid", |row: &TaskRow| row.entry.upid.to_string()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.entry.upid.to_string()
    }
}

fn took(entry: &TaskEntry) -> String {
    entry.endtime.map_or(String::new(), |end| format!("{}s", end.saturating_sub(entry.starttime)))
}

/// A task and its state: what `get` and `watch` print.
#[derive(Serialize)]
struct State {
    upid: Upid,
    node: NodeName,
    #[serde(rename = "type")]
    kind: String,
    id: String,
    user: String,
    started: Timestamp,
    status: String,
    exit_status: Option<ExitStatus>,
    context: String,
}

impl State {
    fn new(upid: Upid, end: Option<ExitStatus>, context: &str) -> Self {
        Self {
            node: upid.node.clone(),
            kind: upid.kind.clone(),
            id: upid.id.clone(),
            user: upid.user.clone(),
            started: upid.started(),
            status: if end.is_some() { "stopped" } else { "running" }.to_owned(),
            exit_status: end,
            context: context.to_owned(),
            upid,
        }
    }
}

impl Row for State {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<State>] = &[
            Column::new("STARTED", "started", |row: &State| ago(row.started)),
            Column::new("TYPE", "type", |row: &State| row.kind.clone()),
            Column::new("ID", "id", |row: &State| row.id.clone()),
            Column::new("NODE", "node", |row: &State| row.node.to_string()),
            Column::new("USER", "user", |row: &State| row.user.clone()),
            Column::new("STATUS", "status", |row: &State| row.status.clone()).coloured(status_colour),
            Column::new("EXIT STATUS", "exit_status", |row: &State| {
                row.exit_status.as_ref().map_or(String::new(), ToString::to_string)
            })
            .coloured(status_colour),
            Column::new("UPID", "upid", |row: &State| row.upid.to_string()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.upid.to_string()
    }
}

fn upids(matches: &ArgMatches) -> Result<Vec<Upid>> {
    texts(matches, "upid").iter().map(|text| text.parse().map_err(|error| Error::usage(format!("{error}")))).collect()
}

fn upid_arg() -> Arg {
    Arg::new("upid").value_name("UPID").num_args(1..).required(true).help("The task's name; several may be given")
}

const LIST: Entry = Entry {
    name: "list",
    about: "List tasks, the newest first",
    examples: &[
        "pvectl task list --running",
        "pvectl task list --vmid 100 --failed --limit 5",
        "pvectl task list --watch",
    ],
    args: |command| {
        command
            .arg(value("node", "NODE", "Only of this node"))
            .arg(value("vmid", "VMID", "Only about this guest"))
            .arg(switch("running", "Only running ones"))
            .arg(switch("failed", "Only failed ones"))
            .arg(value("limit", "N", "At most so many").value_parser(value_parser!(u64)).default_value("25"))
            .arg(watch_arg())
    },
    run: |cx, matches| Box::pin(list(cx, matches)),
};

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let usage = |error: crate::model::ParseIdError| Error::usage(error.to_string());
    let query = TaskQuery {
        node: text(matches, "node").map(NodeName::new).transpose().map_err(usage)?,
        vmid: text(matches, "vmid").map(str::parse::<Vmid>).transpose().map_err(usage)?,
        running: flag(matches, "running"),
        errors: flag(matches, "failed"),
        limit: matches.get_one::<u64>("limit").copied().unwrap_or(25),
    };
    let session = cx.session(Access::Read).await?;
    let notice = Notice::new("its tasks are not among these");
    let look = async || {
        let (tasks, away) = session.ops.backend().tasks_there(&query).await?;
        notice.tell(cx, &away);
        let row = |entry| TaskRow { entry, context: session.ops.context().to_owned() };
        Ok(tasks.into_iter().map(row).collect::<Vec<_>>())
    };
    if flag(matches, "watch") {
        // What ended is no longer among those that run.
        return watch_list(cx, &session, &Watched { moving: &[], goes: query.running }, look).await;
    }
    let mut rows = look().await?;
    print::list(&cx.ui, &session.style, &mut rows)?;
    Ok(0)
}

const GET: Entry = Entry {
    name: "get",
    about: "Show how tasks are doing",
    examples: &["pvectl task get UPID:pve1:…: -o json"],
    args: |command| command.arg(upid_arg()),
    run: |cx, matches| Box::pin(get(cx, matches)),
};

async fn get(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let upids = upids(matches)?;
    let session = cx.session(Access::Read).await?;
    let statuses = try_join_all(upids.iter().map(|upid| session.ops.backend().task_status(upid))).await?;
    let states =
        upids.into_iter().zip(statuses).map(|(upid, status)| State::new(upid, status.ended(), session.ops.context()));
    show(cx, &session, states.collect())
}

fn show(cx: &Cx, session: &Session, mut states: Vec<State>) -> Result<Exit> {
    match states.as_slice() {
        [one] => print::one(&cx.ui, &session.style, one)?,
        _ => print::list(&cx.ui, &session.style, &mut states)?,
    }
    Ok(0)
}

const WATCH: Entry = Entry {
    name: "watch",
    about: "Follow tasks to their end; the exit code is theirs",
    examples: &["pvectl task watch $(pvectl vm start 100 --no-wait)"],
    args: |command| command.arg(upid_arg()),
    run: |cx, matches| Box::pin(watch(cx, matches)),
};

async fn watch(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let upids = upids(matches)?;
    let session = cx.session(Access::Read).await?;
    let limits = session.options.limits;
    let one = upids.len() == 1;
    let waits = upids.iter().map(async |upid| {
        let bar = cx.ui.draws().then(|| bar(&cx.ui));
        let label = format!("{} {}", upid.kind, upid.id);
        if let Some(bar) = &bar {
            bar.set_message(label.clone());
        }
        // Of one task the log is shown; of several it would be a muddle.
        let mut line = TaskLine::new(cx.ui.clone(), label, bar, true, one);
        let end = session.ops.follow(upid, &limits, &mut line, &mut |_| {}).await;
        if let Some(bar) = line.bar {
            bar.finish_and_clear();
        }
        end
    });
    let ends = try_join_all(waits).await?;
    for (upid, end) in upids.iter().zip(&ends) {
        record_followed(cx, &session, upid, end);
    }
    let mut codes = Vec::new();
    for (upid, end) in upids.iter().zip(&ends) {
        match end {
            ExitStatus::Failed(text) => {
                let error = Error::from_exit_status(text).context(format_args!("task {upid} failed"));
                crate::cli::error::report(&cx.ui, cx.error_format(), &error);
                codes.push(error.class());
            }
            ExitStatus::Warnings(_) if cx.switches.fail_on_warnings => codes.push(Class::TaskFailed),
            ExitStatus::Warnings(count) => cx.ui.warn(format_args!("task {upid} ended with {count} warnings")),
            ExitStatus::Ok => {}
        }
    }
    let states = upids.into_iter().zip(ends).map(|(upid, end)| State::new(upid, Some(end), session.ops.context()));
    show(cx, &session, states.collect())?;
    Ok(match (codes.as_slice(), one) {
        ([], _) => 0,
        ([class], true) => class.exit_code(),
        _ => Class::Failed.exit_code(),
    })
}

const LOGS: Entry = Entry {
    name: "logs",
    about: "Print a task's log",
    examples: &["pvectl task logs UPID:pve1:…:", "pvectl task logs UPID:pve1:…: --tail 20"],
    args: |command| {
        command.arg(Arg::new("upid").value_name("UPID").required(true).help("The task's name")).arg(
            Arg::new("tail").long("tail").value_name("N").value_parser(value_parser!(u64)).help("Only the last lines"),
        )
    },
    run: |cx, matches| Box::pin(logs(cx, matches)),
};

async fn logs(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let upid: Upid = text(matches, "upid").unwrap_or_default().parse().map_err(|e| Error::usage(format!("{e}")))?;
    let session = cx.session(Access::Read).await?;
    let backend = session.ops.backend();
    let lines = match matches.get_one::<u64>("tail") {
        Some(lines) => {
            let total = backend.task_log(&upid, 0, 1).await?.total;
            backend.task_log(&upid, total.saturating_sub(*lines), *lines.max(&1)).await?.lines
        }
        None => backend.task_log(&upid, 0, 0).await?.lines,
    };
    let names: Vec<String> = lines.iter().map(|line| line.t.clone()).collect();
    let mut style = session.style.clone();
    if matches!(style.format, Format::Name) {
        style.format = Format::Table;
    }
    print::each(&cx.ui, &style, Shape::Several, &lines, &names, |out, places| {
        places.iter().try_for_each(|place| writeln!(out, "{}", names[*place]))
    })?;
    Ok(0)
}

const STOP: Entry = Entry {
    name: "stop",
    about: "Stop running tasks",
    examples: &["pvectl task stop UPID:pve1:…:"],
    args: |command| command.arg(upid_arg()),
    run: |cx, matches| Box::pin(stop(cx, matches)),
};

async fn stop(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let upids = upids(matches)?;
    if cx.switches.dry_run {
        for upid in &upids {
            cx.ui.say(format_args!("DELETE /nodes/{}/tasks/{upid}", upid.node));
        }
        cx.ui.say("nothing was sent (--dry-run)");
        return Ok(0);
    }
    let session = cx.session(Access::Write).await?;
    let mut states = Vec::new();
    for upid in upids {
        let before = session.ops.backend().task_status(&upid).await?.ended();
        if before.is_some() {
            cx.ui.say(format_args!("task {upid} has ended already"));
            states.push(State::new(upid, before, session.ops.context()));
            continue;
        }
        let end = session.ops.stop_task(&upid, &session.options.limits).await?;
        states.push(State::new(upid, Some(end), session.ops.context()));
    }
    show(cx, &session, states)
}
