//! `--watch`: a list, and then a row again whenever one changes.
//!
//! Looks at what a list looks at and knows nothing of what is in it; figures that move all the time are no change.

use std::{collections::BTreeMap, io::Write, time::Duration};

use clap::Arg;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    cli::{
        cx::{Cx, parse_duration},
        print::{self, Format, Lines, Row, Style, to_value},
        session::Session,
        verb::{Exit, switch},
    },
    model::{Class, Error, Hint, Result},
};

/// The pause after a look that showed a change; each that shows none makes it longer.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// And the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The flag.
pub(crate) fn watch_arg() -> Arg {
    switch("watch", "Then a row again whenever one changes, until Ctrl-C or --timeout").short('w')
}

/// What is watched.
pub(crate) struct Watched {
    /// Figures of the data that are no change.
    pub(crate) moving: &'static [&'static str],
    /// Whether what is in the list no longer is gone. The end of a list that has only the newest is no such thing.
    pub(crate) goes: bool,
}

impl Watched {
    /// Whether two looks at something show the same, but for what moves.
    fn is_same(&self, before: &Value, now: &Value) -> bool {
        let counts = |(key, _): &(&String, &Value)| !self.moving.contains(&key.as_str());
        match (before.as_object(), now.as_object()) {
            (Some(before), Some(now)) => before.iter().filter(counts).eq(now.iter().filter(counts)),
            _ => before == now,
        }
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Modified,
    Deleted,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What a look showed that is new.
struct News<T> {
    told: Vec<(Kind, T)>,
    /// The names and last data of what is gone.
    gone: Vec<(String, Value)>,
}

/// What was seen so far, by name.
struct Seen<'a> {
    watched: &'a Watched,
    rows: BTreeMap<String, Value>,
}

impl Seen<'_> {
    /// What is new about a list.
    fn compare<T: Row>(&mut self, rows: Vec<T>) -> Result<News<T>> {
        let mut told = Vec::new();
        let mut here = BTreeMap::new();
        for row in rows {
            let data = to_value(&row)?;
            let name = row.name();
            match self.rows.get(&name) {
                None => told.push((Kind::Added, row)),
                Some(before) if !self.watched.is_same(before, &data) => told.push((Kind::Modified, row)),
                Some(_) => {}
            }
            here.insert(name, data);
        }
        let mut gone = Vec::new();
        if self.watched.goes {
            for (name, data) in std::mem::take(&mut self.rows) {
                if !here.contains_key(&name) {
                    gone.push((name, data));
                }
            }
        }
        self.rows.extend(here);
        Ok(News { told, gone })
    }
}

/// Prints what `look` gives, and goes on until somebody wishes, the time is over, or nobody reads any more.
pub(crate) async fn watch<T: Row>(
    cx: &Cx,
    session: &Session,
    watched: &Watched,
    look: impl AsyncFn() -> Result<Vec<T>>,
) -> Result<Exit> {
    check(&session.style)?;
    // A timeout that is set for tasks elsewhere is not meant: a watch has no end to wait for.
    let limit = cx.flags.get("timeout").map(parse_duration).transpose()?;
    let end = limit.map(|limit| Instant::now() + limit);
    let mut seen = Seen { watched, rows: BTreeMap::new() };
    let mut printed = Lines::new::<T>(&session.style);
    let mut rows = Some(look().await?);
    let (mut pause, mut silent): (Duration, Option<Instant>) = (SHORTEST_PAUSE, None);
    loop {
        if let Some(mut rows) = rows.take() {
            print::arrange::<T, _>(&session.style, &mut rows, to_value)?;
            let News { told, gone } = seen.compare(rows)?;
            pause = match told.is_empty() && gone.is_empty() {
                true => (pause * 6 / 5).min(LONGEST_PAUSE),
                false => SHORTEST_PAUSE,
            };
            if !show(cx, &session.style, &mut printed, &told, &gone)? {
                return Ok(0);
            }
        }
        let next = Instant::now() + if silent.is_some() { LONGEST_PAUSE } else { pause };
        // Who reads may go while nothing changes, and nobody would notice.
        let unread = async {
            while cx.ui.is_read() {
                tokio::time::sleep(SHORTEST_PAUSE).await;
            }
        };
        tokio::select! {
            () = sleep_until(end.map_or(next, |end| end.min(next))) => {}
            () = unread => return Ok(0),
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(0);
        }
        match look().await {
            Ok(found) => {
                if silent.take().is_some() {
                    cx.ui.say("the server answers again");
                }
                rows = Some(found);
            }
            Err(error) if error.class() == Class::Unreachable => {
                if silent.is_none() {
                    cx.ui.warn(format_args!("the server does not answer ({error}); still trying"));
                }
                if silent.get_or_insert_with(Instant::now).elapsed() >= session.options.limits.silence {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Refuses a format that has an end of its own.
fn check(style: &Style) -> Result<()> {
    match style.format {
        Format::Table | Format::Wide | Format::Name | Format::Json | Format::Jq(_) => Ok(()),
        _ => Err(Error::usage("--watch prints one row after the other, which this output format cannot")
            .with_hint(Hint::Text("it goes with -o table, wide, name and json, and with --jq".into()))),
    }
}

/// Prints what changed; says whether somebody reads it.
fn show<T: Row>(
    cx: &Cx,
    style: &Style,
    lines: &mut Lines,
    told: &[(Kind, T)],
    gone: &[(String, Value)],
) -> Result<bool> {
    let is_data = !style.format.is_table() && !matches!(style.format, Format::Name);
    if !is_data {
        gone.iter().for_each(|(name, _)| cx.ui.say(format_args!("{name} is gone")));
        let rows: Vec<&T> = told.iter().map(|(_, row)| row).collect();
        return cx.ui.stream(|out| lines.write(out, style, &rows));
    }
    let mut events = Vec::new();
    for (kind, row) in told {
        events.push(json!({"type": kind.as_str(), "object": to_value(row)?}));
    }
    let deleted = |data: &Value| json!({"type": Kind::Deleted.as_str(), "object": data});
    events.extend(gone.iter().map(|(_, data)| deleted(data)));
    cx.ui.stream(|out: &mut dyn Write| events.iter().try_for_each(|event| print::event(out, style, event)))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::cli::print::Column;

    #[derive(Serialize, Clone)]
    struct Thing {
        id: u32,
        status: &'static str,
        uptime: u32,
    }

    impl Row for Thing {
        fn columns() -> &'static [Column<Self>] {
            &[]
        }

        fn name(&self) -> String {
            format!("thing/{}", self.id)
        }
    }

    fn told(seen: &mut Seen<'_>, rows: &[(u32, &'static str, u32)]) -> Vec<String> {
        let rows = rows.iter().map(|(id, status, uptime)| Thing { id: *id, status, uptime: *uptime }).collect();
        let News { told, gone } = seen.compare::<Thing>(rows).unwrap();
        let told = told.iter().map(|(kind, row)| format!("{} {}", kind.as_str(), row.id));
        told.chain(gone.iter().map(|(name, _)| format!("DELETED {name}"))).collect()
    }

    #[test]
    fn only_what_changes_is_told() {
        let watched = Watched { moving: &["uptime"], goes: true };
        let mut seen = Seen { watched: &watched, rows: BTreeMap::new() };
        assert_eq!(told(&mut seen, &[(1, "running", 5), (2, "stopped", 0)]), ["ADDED 1", "ADDED 2"]);
        assert_eq!(told(&mut seen, &[(1, "running", 6), (2, "stopped", 0)]), [""; 0], "time goes on");
        assert_eq!(told(&mut seen, &[(1, "running", 7), (2, "running", 1)]), ["MODIFIED 2"]);
        assert_eq!(told(&mut seen, &[(2, "running", 2), (3, "stopped", 0)]), ["ADDED 3", "DELETED thing/1"]);
        assert_eq!(told(&mut seen, &[(2, "running", 3), (3, "stopped", 0), (1, "stopped", 0)]), ["ADDED 1"]);
    }

    #[test]
    fn what_leaves_the_end_of_a_list_is_not_gone() {
        let watched = Watched { moving: &[], goes: false };
        let mut seen = Seen { watched: &watched, rows: BTreeMap::new() };
        assert_eq!(told(&mut seen, &[(2, "a", 0), (1, "a", 0)]), ["ADDED 2", "ADDED 1"]);
        assert_eq!(told(&mut seen, &[(3, "a", 0), (2, "a", 0)]), ["ADDED 3"]);
        assert_eq!(told(&mut seen, &[(2, "a", 0), (1, "a", 0)]), [""; 0], "it is known");
    }
}
