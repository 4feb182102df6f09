//! `export`: what there is, as manifests.

use clap::{Arg, ArgMatches};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::{
    cli::{
        base::targets_arg,
        cx::{Cx, flag, text, texts},
        kinds::{KINDS, by_word},
        print::{self, Format, Shape},
        session::{Access, Session},
        verb::{Entry, Exit, Kind, switch},
    },
    model::{Error, GuestKind, Hint, Result},
    ops::{RESOURCES, Target, manifest_nouns},
};

/// How many are read at once.
const READING: usize = 8;

pub(in crate::cli::commands) const ENTRY: Entry = Entry {
    name: "export",
    about: "Print guests and other things as manifests; to apply them changes nothing",
    examples: &[
        "pvectl export vm web-1",
        "pvectl export vm --all > vms.yaml",
        "pvectl export --all -o yaml",
        "pvectl export pool prod",
    ],
    args: |command| {
        command
            .arg(
                Arg::new("kind")
                    .value_name("KIND")
                    .required_unless_present("all")
                    .help("vm, container, pool, storage, user, …"),
            )
            .arg(targets_arg(false))
            .arg(switch("all", "All of that kind; without a kind all guests").conflicts_with("targets"))
    },
    run: |cx, matches| Box::pin(run(cx, matches)),
};

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let word = text(matches, "kind");
    // kubectl's `export vm/150`.
    let (word, first) = word.map_or((None, None), |word| {
        word.split_once('/').map_or((Some(word), None), |(kind, target)| (Some(kind), Some(target.to_owned())))
    });
    let kind = word.map(by_word).transpose()?;
    let targets: Vec<String> = first.into_iter().chain(texts(matches, "targets")).collect();
    if targets.is_empty() && !flag(matches, "all") {
        return Err(Error::usage("say what to export: a VMID, a name, or --all"));
    }
    let session = cx.session(Access::Read).await?;
    let documents = match kind {
        None => {
            let mut all = Vec::new();
            for kind in GuestKind::ALL {
                all.extend(guests(&session, kind, &[]).await?);
            }
            all
        }
        Some(kind) => match kind.guest {
            Some(guest) => guests(&session, guest, &targets).await?,
            None => things(&session, kind, &targets).await?,
        },
    };
    let several = Shape::of(if flag(matches, "all") { 2 } else { documents.len() });
    let names: Vec<String> =
        documents.iter().filter_map(|document| document["metadata"]["name"].as_str().map(str::to_owned)).collect();
    match session.style.format {
        Format::Table | Format::Wide | Format::Yaml => cx.ui.data(|out| print::documents(out, &documents))?,
        _ => print::each(&cx.ui, &session.style, several, &documents, &names, |_, _| Ok(()))?,
    }
    Ok(0)
}

/// Guests as documents; all of a kind where none is named.
async fn guests(session: &Session, kind: GuestKind, targets: &[String]) -> Result<Vec<Value>> {
    let found = match targets {
        [] => session.ops.choose(kind, &crate::ops::Choice::default()).await?,
        targets => session.ops.find(&Target::parse_all(targets)?, kind).await?,
    };
    let documents = found.iter().map(|found| session.ops.export_guest(&found.guest));
    stream::iter(documents).buffered(READING).try_collect().await
}

/// Things of another kind as documents.
async fn things(session: &Session, kind: &Kind, targets: &[String]) -> Result<Vec<Value>> {
    let nouns = manifest_nouns();
    let of = RESOURCES.iter().find(|of| of.noun == kind.noun).filter(|of| nouns.contains(&of.noun));
    let Some(of) = of else {
        let known =
            KINDS.iter().filter(|kind| kind.guest.is_some() || nouns.contains(&kind.noun)).map(|kind| kind.noun);
        let error = Error::usage(format!("there are no manifests of {}", kind.plural));
        return Err(error.with_hint(Hint::Text(format!("there are of: {}", known.collect::<Vec<_>>().join(", ")))));
    };
    let names = match targets {
        [] => session.ops.resources(of).await?.iter().map(|row| of.name_of(row)).collect(),
        targets => targets.to_vec(),
    };
    let documents = names.iter().map(|name| session.ops.export_thing(of, name));
    stream::iter(documents).buffered(READING).try_collect().await
}
