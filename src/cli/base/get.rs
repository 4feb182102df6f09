//! `get`: single guests with status and configuration; without a target, the list.

use std::sync::Arc;

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use futures_util::future::{try_join, try_join_all};
use serde_json::{Map, Value};

use super::{
    away::incomplete,
    list::{filter_args, list_guests},
    row::GuestRow,
};
use crate::{
    cli::{
        cx::{Cx, texts},
        print::{self, Format, Row as _, Shape},
        session::{Access, Session},
        verb::{Exit, Kind, Verb},
    },
    model::{Class, ConfigView, Error, Guest, Result, node_status},
    ops::{Resolved, Target},
};

/// The key that says how a guest's node is where that does not answer.
const NODE_STATUS: &str = "node_status";

pub(super) struct Get;

/// The positional argument of verbs on one guest.
pub(super) fn target_arg() -> Arg {
    Arg::new("target").value_name("TARGET").required(true).help("VMID, name, or NODE/VMID")
}

/// The positional argument of verbs on existing guests.
pub(crate) fn targets_arg(required: bool) -> Arg {
    Arg::new("targets")
        .value_name("TARGET")
        .num_args(usize::from(required)..)
        .required(required)
        .help("VMID, name, list (150,151), range (150-199) or NODE/VMID; several may be given")
}

#[async_trait(?Send)]
impl Verb for Get {
    fn name(&self) -> &'static str {
        "get"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Show single {} with status and configuration", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} get 100", kind.noun),
            format!("pvectl {} get web-1 -o json", kind.noun),
            format!("pvectl {} get 100 --jq '.config.memory'", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        // What is named is not searched for.
        let filters = filter_args().into_iter().map(|filter| filter.conflicts_with("targets"));
        command.arg(targets_arg(false)).args(filters)
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let targets = texts(matches, "targets");
        if targets.is_empty() {
            return list_guests(cx, kind, matches).await;
        }
        let session = cx.session(Access::Read).await?;
        let found = session.ops.find(&Target::parse_all(&targets)?, kind.guest()).await?;
        let seen = try_join_all(found.iter().map(|found| seen(&session, found))).await?;
        let (mut data, lost): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        let lost: Vec<Error> = lost.into_iter().flatten().collect();
        // Chosen and ordered with the configuration, which a row has not.
        print::arrange::<GuestRow, _>(&session.style, &mut data, print::to_value)?;
        let style = session.style.arranged();
        let context: Arc<str> = session.ops.context().into();
        if style.format.has_columns() {
            let mut rows = data.into_iter().map(|data| row(data, &context)).collect::<Result<Vec<_>>>()?;
            print::list(&cx.ui, &style, &mut rows)?;
            return Ok(incomplete(cx, &lost, found.len()));
        }
        let names = match style.format {
            Format::Name => data
                .iter()
                .map(|data| row(data.clone(), &context).map(|row| row.name()))
                .collect::<Result<Vec<String>>>()?,
            _ => Vec::new(),
        };
        print::each(&cx.ui, &style, Shape::of(found.len()), &data, &names, |_, _| Ok(()))?;
        Ok(incomplete(cx, &lost, found.len()))
    }
}

/// A guest as data; where its node does not answer, what the cluster knows of it, and why that is all.
async fn seen(session: &Session, found: &Resolved) -> Result<(Map<String, Value>, Option<Error>)> {
    match details(session, found).await {
        Ok(data) => Ok((data, None)),
        Err(error) => known(session, found, error).map(|(data, error)| (data, Some(error))),
    }
}

/// What the cluster knows of a guest whose node does not answer; any other error is given back as one.
pub(super) fn known(session: &Session, found: &Resolved, error: Error) -> Result<(Map<String, Value>, Error)> {
    let Some(status) = node_status(&error) else { return Err(error) };
    let mut guest = found.guest.clone();
    guest.lose_sight();
    let mut data = listed(&guest)?;
    data.insert("config".to_owned(), Value::Null);
    data.insert("context".to_owned(), session.ops.context().into());
    data.insert(NODE_STATUS.to_owned(), status.into());
    Ok((data, error.context(format_args!("cannot read {}", guest.reference()))))
}

fn listed(guest: &Guest) -> Result<Map<String, Value>> {
    match print::to_value(guest)? {
        Value::Object(data) => Ok(data),
        _ => Err(Error::new(Class::Bug, "a guest is no JSON object")),
    }
}

/// A guest as data: what the cluster lists, over it what the guest itself says, and the configuration.
pub(super) async fn details(session: &Session, found: &Resolved) -> Result<Map<String, Value>> {
    let guest = found.guest.reference();
    let backend = session.ops.backend();
    let (mut status, mut config) =
        try_join(backend.guest_status(&guest), backend.guest_config(&guest, ConfigView::Pending)).await?;
    // A server says them in another order each time.
    status.sort_keys();
    status.values_mut().for_each(Value::sort_all_objects);
    config.0.sort_keys();
    let mut data = listed(&found.guest)?;
    data.extend(status);
    data.insert("config".to_owned(), Value::Object(config.0));
    data.insert("context".to_owned(), session.ops.context().into());
    Ok(data)
}

fn row(mut data: Map<String, Value>, context: &Arc<str>) -> Result<GuestRow> {
    data.remove("config");
    data.remove("context");
    let node_status = data.remove(NODE_STATUS).and_then(|status| status.as_str().map(str::to_owned));
    let guest: Guest = serde_json::from_value(Value::Object(data)).map_err(|error| {
        Error::new(Class::Failed, "the server describes a guest in an unknown way").with_source(error)
    })?;
    Ok(GuestRow { guest, context: context.clone(), node_status })
}
