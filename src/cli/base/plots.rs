//! `metrics --since`: what guests used in the past, drawn for people, as rows for machines.

use std::{
    io::{self, Write},
    time::Duration,
};

use jiff::{Span, Timestamp, Zoned};
use serde::Serialize;

use crate::{
    cli::{
        cx::Cx,
        print::{
            self, Shape,
            human::uptime,
            plot::{columns, spans},
        },
        session::Session,
        ui::{style, styled},
        verb::Exit,
    },
    model::{Error, Guest, Result, Size},
    ops::History,
};

/// How many lines a picture has.
const HEIGHT: usize = 3;

/// What is drawn: title, key, the key of what it is a part of, and how a value reads.
type Picture = (&'static str, &'static str, Option<&'static str>, fn(f64) -> String);

const PICTURES: [Picture; 6] = [
    ("cpu", "cpu", None, |share| format!("{:.1} %", share * 100.0)),
    ("memory", "mem", Some("maxmem"), bytes),
    ("network in", "netin", None, rate),
    ("network out", "netout", None, rate),
    ("disk read", "diskread", None, rate),
    ("disk written", "diskwrite", None, rate),
];

fn bytes(value: f64) -> String {
    Size(value.round() as u64).to_string()
}

fn rate(value: f64) -> String {
    format!("{}/s", bytes(value))
}

/// A guest's history, with the context it is from.
#[derive(Serialize)]
struct Kept {
    #[serde(flatten)]
    of: History,
    context: String,
}

/// Reads how far back: `24h`, `7d`.
pub(super) fn parse_since(text: &str) -> Result<Duration> {
    let bad = || Error::usage(format!("`{text}` is no span of time: 1h, 24h, 7d or 1mo is expected"));
    let span: Span = text.parse().map_err(|_| bad())?;
    let now = Zoned::now();
    let then = now.checked_sub(span.abs()).map_err(|_| bad())?;
    let seconds = now.timestamp().duration_since(then.timestamp()).as_secs();
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(bad)
}

/// Prints what was kept of guests.
pub(super) async fn plots(cx: &Cx, session: &Session, guests: &[Guest], since: Duration) -> Result<Exit> {
    let mut kept = Vec::new();
    for guest in guests {
        let of = session.ops.history(guest, since).await?;
        kept.push(Kept { of, context: session.ops.context().to_owned() });
    }
    let names: Vec<String> = kept.iter().map(|kept| format!("{}/{}", kept.of.kind, kept.of.vmid)).collect();
    let plain = cx.env.get("TERM") == Some("dumb");
    let people = |out: &mut dyn Write, places: &[usize]| {
        for (at, place) in places.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            draw(out, &names[*place], &kept[*place].of, cx.width(), plain)?;
        }
        Ok(())
    };
    print::each(&cx.ui, &session.style, Shape::of(kept.len()), &kept, &names, people)?;
    Ok(0)
}

fn draw(out: &mut dyn Write, name: &str, history: &History, width: usize, plain: bool) -> io::Result<()> {
    let label = history.name.as_ref().map_or(String::new(), |label| format!(" ({label})"));
    let times: Vec<f64> = history.series("time").into_iter().map(|(time, _)| time).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return writeln!(out, "{name}{label}: nothing is kept of this time");
    };
    let moment = |time: f64| Timestamp::from_second(time as i64).map_or(String::new(), |moment| moment.to_string());
    let title = format!("{name}{label} on {}, {}", history.node, uptime((last - first) as u64));
    writeln!(out, "{}", styled(style::HEADER, title.trim_end_matches([',', ' '])))?;
    let width = width.saturating_sub(2).max(10);
    for (title, key, whole, value) in PICTURES {
        let points = history.series(key);
        let known: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
        let Some(now) = known.last() else {
            writeln!(out, "{title}: nothing is kept of this time")?;
            continue;
        };
        let highest = known.iter().copied().fold(0.0, f64::max);
        let average = known.iter().sum::<f64>() / known.len() as f64;
        let has = whole.and_then(|key| history.series(key).into_iter().rev().find_map(|(_, value)| value));
        let of = has.map_or(String::new(), |has| format!(" of {}", value(has)));
        let (now, average, most) = (value(*now), value(average), value(highest));
        writeln!(out, "{}  last {now}{of}, average {average}, highest {most}", styled(style::HEADER, title))?;
        let top = has.unwrap_or(highest).max(highest);
        for line in columns(&spans(&points, width), HEIGHT, top, plain) {
            writeln!(out, "{}", format!("  {line}").trim_end())?;
        }
    }
    let (first, last) = (moment(*first), moment(*last));
    let gap = width.saturating_sub(first.len() + last.len()).max(1);
    writeln!(out, "  {first}{:gap$}{last}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_as_people_say_it() {
        assert_eq!(parse_since("24h").unwrap(), Duration::from_secs(86_400));
        assert_eq!(parse_since("90m").unwrap(), Duration::from_secs(5400));
        assert!(parse_since("7d").unwrap() > Duration::from_secs(6 * 86_400));
        for bad in ["", "soon", "0s", "24"] {
            assert!(parse_since(bad).is_err(), "{bad}");
        }
    }
}
