//! `operation`: what was done, by whom, with what result, from the journal.

mod record;
mod rest;
mod resume;

use std::{io::Write, sync::Arc};

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use jiff::{Span, Timestamp, Zoned};
use serde::Serialize;

use crate::{
    cli::{
        cx::{Cx, text},
        print::{self, Column, Row, headings, human::ago, table::status_colour},
        reconcile::settle,
        session::{Access, open_journal},
        ui::{style, styled},
        verb::{Entry, Exit, Kind, Of, value},
    },
    journal::{Details, Filter, Journal, Operation, Part, Status, tally},
    model::{Error, Hint, OperationId, Result, Tally},
};

pub(super) const KIND: Kind = Kind {
    noun: "operation",
    plural: "operations",
    aliases: &["op", "ops"],
    about: "The record of every change made from here",
    guest: None,
    paths: &[],
    of: Of::Account,
    columns: headings::<Operation>,
    verbs: || {
        vec![
            Box::new(LIST),
            Box::new(SHOW),
            Box::new(resume::RESUME),
            Box::new(record::EXPORT),
            Box::new(record::PRUNE),
            Box::new(record::VERIFY),
        ]
    },
};

impl Row for Operation {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Operation>] = &[
            Column::new("ID", "id", |row: &Operation| row.id.0.to_string()).right(),
            Column::new("STARTED", "started", |row: &Operation| ago(row.started)),
            Column::new("VERB", "verb", |row: &Operation| row.verb.clone()),
            Column::new("TARGET", "target", |row: &Operation| row.target.clone()),
            Column::new("VMID", "vmid", |row: &Operation| row.vmid.map_or(String::new(), |vmid| vmid.to_string()))
                .right(),
            Column::new("NODE", "node", |row: &Operation| row.node.clone().unwrap_or_default()),
            Column::new("STATUS", "status", |row: &Operation| row.status.to_string()).coloured(status_colour),
            Column::new("TOOK", "duration", |row: &Operation| {
                row.duration().map_or(String::new(), |took| format!("{took:.1}s"))
            })
            .right(),
            Column::new("EXIT STATUS", "exit_status", |row: &Operation| row.exit_status.clone().unwrap_or_default()),
            Column::new("CONTEXT", "context", |row: &Operation| row.context.clone()).wide(),
            Column::new("USER", "user", |row: &Operation| row.user.clone()).wide(),
            Column::new("HOST", "host", |row: &Operation| row.host.clone()).wide(),
            Column::new("UPID", "upid", |row: &Operation| row.upid.as_ref().map_or(String::new(), ToString::to_string))
                .wide(),
            Column::new("ERROR", "error", |row: &Operation| row.error.clone().unwrap_or_default()).wide(),
            Column::new("PART OF", "parent", |row: &Operation| row.parent.map_or(String::new(), |id| id.0.to_string()))
                .right()
                .wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("operation/{}", self.id.0)
    }
}

/// The journal, brought up to date with the server as far as it answers; `None` where nothing was ever recorded.
async fn journal(cx: &Cx) -> Result<Option<Arc<Journal>>> {
    let path = cx.paths()?.journal();
    let Some(reader) = Journal::open_read_only(&path)? else { return Ok(None) };
    if reader.in_flight()?.is_empty() {
        return Ok(Some(Arc::new(reader)));
    }
    // Something was left: the server knows how it ended. History can be read without one, so no failure counts.
    let Ok(writer) = open_journal(cx) else { return Ok(Some(Arc::new(reader))) };
    let writer = Arc::new(writer);
    let asked = async {
        if let Ok(session) = cx.session(Access::Read).await {
            settle(&session.ops.recorded_in(writer.clone()), &writer).await;
        }
    };
    if tokio::time::timeout(std::time::Duration::from_secs(3), asked).await.is_err() {
        cx.ui.warn("the server does not answer, so what is in flight may be out of date");
    }
    Ok(Some(writer))
}

const LIST: Entry = Entry {
    name: "list",
    about: "List operations, the newest first",
    examples: &[
        "pvectl operation list --target web-server",
        "pvectl operation list --status failed --since 7d -o json",
    ],
    args: |command| {
        filter_args(command)
            .arg(value("limit", "N", "At most so many").value_parser(value_parser!(u64)).default_value("50"))
    },
    run: |cx, matches| Box::pin(list(cx, matches)),
};

/// Which operations.
fn filter_args(command: Command) -> Command {
    command
        .arg(value("target", "TARGET", "Only about this VMID, name, or text typed as target"))
        .arg(
            value("status", "STATUS", "Only with this status")
                .value_parser(PossibleValuesParser::new(Status::ALL.iter().map(|status| status.as_str()))),
        )
        .arg(value("verb", "VERB", "Only of this verb"))
        .arg(
            value("part-of", "ID", "Only parts of this operation over several guests").value_parser(value_parser!(i64)),
        )
        .arg(value("since", "TIME", "Only since then: 2h, 7d, or 2026-11-01"))
        .arg(value("until", "TIME", "Only before then"))
}

fn filter_of(cx: &Cx, matches: &ArgMatches) -> Result<Filter> {
    Ok(Filter {
        target: text(matches, "target").map(str::to_owned),
        status: text(matches, "status").map(str::parse).transpose()?,
        verb: text(matches, "verb").map(str::to_owned),
        // A context is only a filter where somebody asks for one: history is of all of them.
        context: cx.flags.get("context").map(str::to_owned),
        since: text(matches, "since").map(moment).transpose()?,
        until: text(matches, "until").map(moment).transpose()?,
        parent: matches.get_one::<i64>("part-of").copied().map(OperationId),
        limit: None,
    })
}

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let limit = matches.get_one::<u64>("limit").map(|limit| usize::try_from(*limit).unwrap_or(usize::MAX));
    let filter = Filter { limit, ..filter_of(cx, matches)? };
    let style = cx.plain_style()?;
    let mut rows = match journal(cx).await? {
        Some(journal) => journal.operations(&filter)?,
        None => Vec::new(),
    };
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

/// A moment: so long ago, a date, or a time.
fn moment(text: &str) -> Result<Timestamp> {
    if let Ok(ago) = text.parse::<Span>() {
        // Days, months and years are those of the calendar here.
        return Zoned::now().checked_sub(ago.abs()).map(|moment| moment.timestamp()).map_err(|_| bad_moment(text));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| bad_moment(text))?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::system()).map_err(|_| bad_moment(text))?;
    Ok(midnight.timestamp())
}

fn bad_moment(text: &str) -> Error {
    Error::usage(format!("`{text}` is not a time: 2h, 7d, 1y, 2026-11-01 or 2026-11-01T12:00:00Z is expected"))
}

const SHOW: Entry = Entry {
    name: "show",
    about: "Show an operation with its steps, calls and the configuration before it",
    examples: &["pvectl operation show 12", "pvectl operation show 12 -o json"],
    args: |command| command.arg(id_arg()),
    run: |cx, matches| Box::pin(show(cx, matches)),
};

fn id_arg() -> Arg {
    let arg = Arg::new("id").value_name("ID").required(true).value_parser(value_parser!(i64));
    arg.help("The operation's number")
}

fn missing(id: i64) -> Error {
    Error::not_found(format!("no such operation: {id}")).with_hint(Hint::Text("see `pvectl operation list`".into()))
}

async fn show(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let id = matches.get_one::<i64>("id").copied().unwrap_or_default();
    let style = cx.plain_style()?;
    let journal = journal(cx).await?.ok_or_else(|| missing(id))?;
    let details = journal.operation(OperationId(id))?.ok_or_else(|| missing(id))?;
    let parts = journal.parts(&details)?;
    let shown = Shown { tally: details.bulk.is_some().then(|| tally(&parts)), details, parts };
    let name = shown.details.operation.name();
    print::data_or(&cx.ui, &style, &shown, &[name], |out| {
        write_details(out, &shown.details)?;
        write_parts(out, &shown)
    })?;
    Ok(0)
}

/// An operation, and how its parts are doing if it has any.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    details: Details,
    #[serde(skip_serializing_if = "Option::is_none")]
    tally: Option<Tally>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

fn write_parts(out: &mut dyn Write, shown: &Shown) -> std::io::Result<()> {
    let Some(tally) = shown.tally else { return Ok(()) };
    writeln!(out, "{}", styled(style::HEADER, format_args!("Guests: {tally}")))?;
    for part in &shown.parts {
        let operation = part.operation.map_or_else(String::new, |id| format!("operation/{}", id.0));
        let status = match (part.operation, part.status) {
            (None, Status::Planned) => "not begun",
            (_, status) => status.as_str(),
        };
        let name = part.name.as_deref().unwrap_or_default();
        let line = format!("  {} {name}  {}  {status}  {operation}", part.vmid, part.node);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn write_details(out: &mut dyn Write, details: &Details) -> std::io::Result<()> {
    let operation = &details.operation;
    let title = format!("operation {} {} {}", operation.id.0, operation.verb, operation.target);
    writeln!(out, "{}", styled(style::HEADER, title))?;
    let facts = [
        ("Status", Some(operation.status.to_string())),
        (
            "Guest",
            operation
                .vmid
                .map(|vmid| format!("{vmid} {}", operation.name.as_deref().unwrap_or_default()).trim().to_owned()),
        ),
        ("Node", operation.node.clone()),
        ("Part of", operation.parent.map(|id| format!("operation {}", id.0))),
        ("Context", Some(operation.context.clone())),
        ("User", Some(format!("{} from {}", operation.user, operation.host))),
        ("Request", details.request.clone()),
        ("Started", Some(operation.started.to_string())),
        ("Ended", operation.ended.map(|ended| ended.to_string())),
        ("Took", operation.duration().map(|took| format!("{took:.1}s"))),
        ("Task", operation.upid.as_ref().map(ToString::to_string)),
        ("Exit status", operation.exit_status.clone()),
        ("Error", operation.error.clone()),
    ];
    for (key, value) in facts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            writeln!(out, "  {key:11}  {value}")?;
        }
    }
    if details.bulk.is_none() {
        writeln!(out, "{}", styled(style::HEADER, "Steps"))?;
    }
    for step in &details.steps {
        let call = step.call.as_ref().map_or_else(String::new, call_line);
        let how = match (step.verdict, step.sent) {
            (Some(verdict), _) => format!("{verdict:?}").to_lowercase(),
            (None, Some(_)) => "sent".to_owned(),
            (None, None) => "not sent".to_owned(),
        };
        writeln!(out, "  {}  {how:9}  {call}", step.step)?;
        if let Some(upid) = &step.upid {
            writeln!(out, "     {:9}  {upid}", "")?;
        }
    }
    if let Some(config) = details.config_before.as_ref().and_then(serde_json::Value::as_object) {
        writeln!(out, "{}", styled(style::HEADER, "Configuration before"))?;
        for (key, value) in config {
            let value = value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\n', " ⏎ "));
            writeln!(out, "  {key}: {value}")?;
        }
    }
    Ok(())
}

/// `POST /nodes/pve1/qemu/150/clone newid=151`, from the journal's JSON.
fn call_line(call: &serde_json::Value) -> String {
    let text = |key: &str| call.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    let params = call.get("params").and_then(serde_json::Value::as_object).into_iter().flatten();
    let params = params.map(|(key, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!(" {key}={value}")
    });
    format!("{} {}{}", text("method"), text("path"), params.collect::<String>())
}
