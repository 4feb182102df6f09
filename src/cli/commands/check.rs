//! `check`: whether everything holds that the context needs, and what to do where it does not.
//!
//! Of this host, whether it can run VMs; of a server, whether it can be reached and who one is there. Nothing is changed.

mod privileges;
mod server;

use std::io::{self, Write};

use anstyle::Style as Colour;
use clap::ArgMatches;

use super::host;
use crate::{
    cli::{
        cx::Cx,
        print::{self, Style},
        server::Server,
        ui::{style, styled},
        verb::{Entry, Exit},
    },
    model::{Fact, FactStatus, Result},
};

pub(super) const ENTRY: Entry = Entry {
    name: "check",
    about: "Check that everything holds that the context needs, and say how to mend what does not",
    examples: &[
        "pvectl check",
        "pvectl check --context lab -o json",
        "pvectl check --host https://minipc:8006",
        "pvectl check --context local --cloud-hypervisor /opt/ch/cloud-hypervisor",
    ],
    args: host::place_args,
    run: |cx, matches| Box::pin(run(cx, matches)),
};

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let resolved = cx.resolve()?;
    let style = cx.style(&resolved)?;
    if host::is_here(&resolved) {
        let facts = host::look(cx, matches).await?;
        return told(cx, &style, &facts, "this host can run VMs", "this host cannot run VMs yet");
    }
    for warning in &resolved.warnings {
        cx.ui.warn(warning);
    }
    host::refuse_places(matches)?;
    let Some(server) = Server::of(cx, &resolved).await? else { return Ok(0) };
    let facts = server::look(&server).await;
    let name = match server.context() {
        Some(context) => format!("context `{context}`"),
        None => server.name.clone(),
    };
    told(cx, &style, &facts, &format!("{name} can be worked with"), &format!("{name} cannot be worked with yet"))
}

/// Shows what was found out, and gives the code: 1 if something has to be mended first.
fn told(cx: &Cx, style: &Style, facts: &[Fact], good: &str, bad: &str) -> Result<Exit> {
    let names: Vec<String> = facts.iter().map(host::name).collect();
    print::data_or(&cx.ui, style, &facts, &names, |out| lines(out, facts, style.colours))?;
    let missing: Vec<&str> = facts.iter().filter(|fact| fact.status.is_bad()).map(|fact| &*fact.name).collect();
    if missing.is_empty() {
        cx.ui.say(good);
        return Ok(0);
    }
    cx.ui.say(format_args!("{bad}: see {}", missing.join(", ")));
    Ok(1)
}

/// How a status looks with colours, and without.
fn mark(status: FactStatus) -> (Colour, &'static str, &'static str) {
    match status {
        FactStatus::Ok => (style::GOOD, "✓", "ok"),
        FactStatus::Warn => (style::HALF, "!", "warning"),
        FactStatus::Missing => (style::BAD, "✗", "missing"),
        FactStatus::Failed => (style::BAD, "✗", "failed"),
        FactStatus::Skipped => (style::DIM, "-", "skipped"),
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

    fn fact(name: &'static str, status: FactStatus, mend: Option<&str>) -> Fact {
        Fact { mend: mend.map(str::to_owned), ..Fact::new(name, status, "seen") }
    }

    #[test]
    fn signs_with_colours_and_words_without() {
        let facts = [
            fact("kvm", FactStatus::Ok, None),
            fact("vmm", FactStatus::Missing, Some("Do `this`.")),
            fact("nft", FactStatus::Warn, None),
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
