//! `check`: whether this host can run VMs, and what to do where it cannot.
//!
//! It is about this host alone; no context is looked at and nothing is sent.

use std::io::{self, Write};

use anstyle::Style as Colour;
use clap::ArgMatches;

use super::host;
use crate::{
    backends::cloud_hypervisor::host::facts::{Fact, Status, is_ready},
    cli::{
        cx::Cx,
        print,
        ui::{style, styled},
        verb::{Entry, Exit},
    },
    model::Result,
};

pub(super) const ENTRY: Entry = Entry {
    name: "check",
    about: "Check whether this host can run VMs, and say how to mend what is missing",
    examples: &["pvectl check", "pvectl check -o json", "pvectl check --cloud-hypervisor /opt/ch/cloud-hypervisor"],
    args: host::place_args,
    run: |cx, matches| Box::pin(run(cx, matches)),
};

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    let facts = host::look(cx, matches).await?;
    let names: Vec<String> = facts.iter().map(host::name).collect();
    print::data_or(&cx.ui, &style, &facts, &names, |out| lines(out, &facts, style.colours))?;
    if is_ready(&facts) {
        cx.ui.say("this host can run VMs");
        return Ok(0);
    }
    let missing: Vec<&str> = facts.iter().filter(|fact| fact.status == Status::Missing).map(|fact| fact.name).collect();
    cx.ui.say(format_args!("this host cannot run VMs yet: see {}", missing.join(", ")));
    Ok(1)
}

/// How a status looks with colours, and without.
fn mark(status: Status) -> (Colour, &'static str, &'static str) {
    match status {
        Status::Ok => (style::GOOD, "✓", "ok"),
        Status::Warn => (style::HALF, "!", "warning"),
        Status::Missing => (style::BAD, "✗", "missing"),
    }
}

fn lines(out: &mut dyn Write, facts: &[Fact], colours: bool) -> io::Result<()> {
    let width = facts.iter().map(|fact| fact.name.len()).max().unwrap_or_default();
    for fact in facts {
        let (colour, sign, word) = mark(fact.status);
        let (mark, indent) = if colours { (styled(colour, sign), 2) } else { (format!("{word:7}"), 8) };
        writeln!(out, "{mark} {:width$}  {}", fact.name, fact.seen)?;
        if let Some(mend) = &fact.mend {
            writeln!(out, "{:indent$}{:width$}  {mend}", "", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(name: &'static str, status: Status, mend: Option<&str>) -> Fact {
        Fact { name, status, seen: "seen".into(), value: serde_json::Value::Null, mend: mend.map(str::to_owned) }
    }

    #[test]
    fn signs_with_colours_and_words_without() {
        let facts = [
            fact("kvm", Status::Ok, None),
            fact("vmm", Status::Missing, Some("Do `this`.")),
            fact("nft", Status::Warn, None),
        ];
        let shown = |colours| {
            let mut out = Vec::new();
            lines(&mut out, &facts, colours).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(false), "ok      kvm  seen\nmissing vmm  seen\n             Do `this`.\nwarning nft  seen\n");
        let coloured = anstream::adapter::strip_str(&shown(true)).to_string();
        assert_eq!(coloured, "✓ kvm  seen\n✗ vmm  seen\n       Do `this`.\n! nft  seen\n");
    }
}
