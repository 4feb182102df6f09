//! What is done with the record as a whole: written out, shortened, checked.

use std::io::{self, Write};

use clap::{Arg, ArgMatches, builder::PossibleValuesParser};
use jiff::Timestamp;

use super::{filter_args, filter_of, moment};
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, text},
        print,
        session::open_journal,
        verb::{Entry, Exit, value},
    },
    journal::{Details, Journal, Verification},
    model::{Class, Error, Hint, Result},
};

/// What the journal holds, as it is; `None` where nothing was ever recorded.
fn reader(cx: &Cx) -> Result<Option<Journal>> {
    Journal::open_read_only(&cx.paths()?.journal())
}

pub(super) const EXPORT: Entry = Entry {
    name: "export",
    about: "Write operations out, the oldest first: everything about them, or the rows of the list",
    examples: &["pvectl operation export --since 2026-11-01", "pvectl operation export --format csv --status failed"],
    args: |command| {
        filter_args(command).arg(
            value(
                "format",
                "FORMAT",
                "`jsonl`: a line of JSON for each, with steps, events and configuration; or `csv`",
            )
            .value_parser(PossibleValuesParser::new(["jsonl", "csv"]))
            .default_value("jsonl"),
        )
    },
    run: |cx, matches| Box::pin(export(cx, matches)),
};

/// Where operations are written to, and how.
enum Sink<'a> {
    Lines(&'a mut dyn Write),
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
}

impl Sink<'_> {
    fn write(&mut self, details: &Details) -> io::Result<()> {
        match self {
            Self::Csv(csv) => Ok(csv.serialize(&details.operation)?),
            Self::Lines(out) => {
                serde_json::to_writer(&mut *out, details)?;
                out.write_all(b"\n")
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Csv(csv) => csv.flush(),
            Self::Lines(out) => out.flush(),
        }
    }
}

async fn export(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let filter = filter_of(cx, matches)?;
    let journal = reader(cx)?;
    let as_csv = text(matches, "format") == Some("csv");
    let mut failed = Ok(());
    // What cannot be read is told as such; what cannot be written ends it, quietly where a reader went away.
    cx.ui.data(|out| {
        let mut sink = match as_csv {
            true => Sink::Csv(Box::new(csv::Writer::from_writer(out))),
            false => Sink::Lines(out),
        };
        let mut written = Ok(());
        if let Some(journal) = &journal {
            failed = journal.walk(&filter, |details| {
                written = sink.write(&details);
                written.is_ok()
            });
        }
        written.and_then(|()| sink.flush())
    })?;
    failed.map(|()| 0)
}

pub(super) const PRUNE: Entry = Entry {
    name: "prune",
    about: "Take out operations that ended long ago; a checkpoint keeps the chain of hashes whole",
    examples: &[
        "pvectl operation prune --older-than 1y --dry-run",
        "pvectl operation prune --older-than 90d --confirm",
    ],
    args: |command| {
        command.arg(value("older-than", "TIME", "Those that ended before: 90d, 1y, 2026-01-01").required(true))
    },
    run: |cx, matches| Box::pin(prune(cx, matches)),
};

async fn prune(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let before = moment(text(matches, "older-than").unwrap_or_default())?;
    let count = match reader(cx)? {
        Some(journal) => journal.ended_before(before)?,
        None => 0,
    };
    if count == 0 {
        cx.ui.say(format_args!("no operation ended before {}", day(before)));
        return Ok(0);
    }
    if cx.switches.dry_run {
        cx.ui.say(format_args!("{count} operations ended before {} and would be taken out", day(before)));
        return Ok(0);
    }
    if !cx.switches.confirm {
        let lost = "with their events and the configurations kept for a rollback";
        let question = format!("Take out {count} operations that ended before {}, {lost}?", day(before));
        if !cx.ui.ask_yes(&question)? {
            cx.ui.say("nothing was taken out");
            return Ok(Class::Failed.exit_code());
        }
    }
    let gone = open_journal(cx)?.prune(before)?;
    cx.ui.say(format_args!("{gone} operations were taken out"));
    Ok(0)
}

fn day(moment: Timestamp) -> jiff::civil::DateTime {
    moment.to_zoned(jiff::tz::TimeZone::system()).datetime()
}

pub(super) const VERIFY: Entry = Entry {
    name: "verify",
    about: "Check the chain of hashes: whether an event was changed, taken out or put in",
    examples: &["pvectl operation verify", "pvectl operation verify --head HASH -o json"],
    args: |command| {
        command.arg(
            Arg::new("head")
                .long("head")
                .value_name("HASH")
                .help("A head that was noted earlier, elsewhere: the history up to there has to be the same"),
        )
    },
    run: |cx, matches| Box::pin(verify(cx, matches)),
};

async fn verify(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    let noted = text(matches, "head").map(str::to_ascii_lowercase);
    if let Some(noted) =
        noted.as_ref().filter(|noted| noted.len() != 64 || !noted.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(Error::usage(format!("`{noted}` is no head: 64 hex digits are expected")));
    }
    let (found, known) = match reader(cx)? {
        Some(journal) => (journal.verify()?, noted.as_ref().map(|noted| journal.has_hash(noted)).transpose()?),
        None => (Verification { events: 0, pruned: 0, head: None, broken: None }, noted.as_ref().map(|_| false)),
    };
    print::data_or(&cx.ui, &style, &found, &[], |out| write_found(out, &found))?;
    if let Some(broken) = &found.broken {
        let place = match (broken.event, broken.operation) {
            (Some(event), Some(operation)) => format!("event {event}, of operation {}", operation.0),
            (Some(event), None) => format!("event {event}"),
            (None, Some(operation)) => format!("operation {}", operation.0),
            (None, None) => "the journal".to_owned(),
        };
        return Err(Error::new(
            Class::Failed,
            format!("the journal is not as it was written: {place}: {}", broken.reason),
        )
        .with_hint(Hint::Text(
            "what stands before it is as it was written, unless all after it was computed anew".into(),
        )));
    }
    if known == Some(false) {
        return Err(Error::new(
            Class::Failed,
            "that head is not in the history: it was written anew, or is another journal's",
        ));
    }
    Ok(0)
}

fn write_found(out: &mut dyn Write, found: &Verification) -> io::Result<()> {
    let Verification { events, pruned, head, broken } = found;
    let until = if broken.is_some() { "before the break" } else { "each follows the one before it" };
    writeln!(out, "events  {events}, {until}")?;
    if *pruned > 0 {
        writeln!(out, "pruned  {pruned}, as checkpoints say")?;
    }
    writeln!(out, "head    {}", head.as_deref().unwrap_or("none"))
}
