//! `operation resume` of a change of several guests: those that were not begun or not done, at the same pace.
//!
//! What is known of each is in the journal; how it is now is asked when its plan is made.

use std::{collections::HashMap, time::Duration};

use super::resume::{refuse, request, session_of};
use crate::{
    cli::{
        base::{mutate, require_somebody_to_confirm},
        cx::Cx,
        error::report,
        reconcile::{lives, settle_whole},
        verb::Exit,
    },
    journal::{Details, Journal, Part, Status},
    model::{Bulk, BulkGuest, Class, Error, Guest, GuestKind, Hint, NodeName, Result, Vmid},
    ops::{Resolved, ResumeRequest, RunOptions, power_verb, words_of},
};

/// What is to be done about the guests of an operation.
#[derive(Default)]
struct Rest {
    /// For these something is left.
    left: Vec<ResumeRequest>,
    /// Nothing can be done for these, for this reason.
    stuck: Vec<Error>,
}

pub(super) async fn rest(cx: &Cx, journal: &Journal, details: &Details, bulk: &Bulk) -> Result<Exit> {
    let id = details.operation.id;
    if details.operation.status.is_in_flight() && lives(details) {
        let hint = "follow it with `pvectl task attach`".to_owned();
        return Err(refuse(id, "the process that began it is at it").with_hint(Hint::Text(hint)));
    }
    let Rest { left, stuck } = sort(journal, details, bulk)?;
    let Some(first) = left.first() else {
        tell(cx, &stuck);
        let why = if stuck.is_empty() { "it was done to its end" } else { "nothing is left of it that could be sent" };
        return Err(refuse(id, why));
    };
    let loses = |request: &ResumeRequest| request.calls.iter().any(|call| call["method"] == "DELETE");
    if bulk.asks || left.iter().any(loses) {
        require_somebody_to_confirm(cx)?;
    }
    let verb = &details.operation.verb;
    let words = words_of(verb, first.kind).ok_or_else(|| {
        let error = refuse(id, format_args!("nobody goes on with `{verb}`"));
        match verb.as_str() {
            "apply" => error.with_hint(Hint::Text("give the command again: it goes on where it stands".into())),
            _ => error,
        }
    })?;
    let mut session = session_of(cx, details).await?;
    session.options = RunOptions { parent: Some(id), ..paced(bulk, session.options) };
    let there = session.ops.backend().guests().await?;
    let there: HashMap<Vmid, &Guest> = there.iter().map(|guest| (guest.vmid, guest)).collect();
    let found = left.iter().map(|request| resolved(request, there.get(&request.vmid).copied(), bulk));
    let found: Vec<Resolved> = found.collect::<Result<_>>()?;
    if bulk.asks && !cx.switches.confirm && !cx.switches.dry_run {
        let question = format!("Go on with operation {}: {} {} more?", id.0, words.name, found.len());
        if !cx.ui.ask_yes(&question)? {
            cx.ui.say("nothing was done");
            return Ok(Class::Failed.exit_code());
        }
    }
    let requests: HashMap<Vmid, &ResumeRequest> = left.iter().map(|request| (request.vmid, request)).collect();
    let plan = async |found: &Resolved| match requests.get(&found.guest.vmid) {
        Some(request) => session.ops.plan_rest(request, there.get(&found.guest.vmid).copied()).await,
        None => Err(refuse(id, "this guest is none of its")),
    };
    let code = mutate(cx, &session, words, &found, plan).await?;
    if !cx.switches.dry_run {
        settle_whole(&session.ops, journal, id);
    }
    tell(cx, &stuck);
    Ok(if code == 0 && !stuck.is_empty() { Class::Failed.exit_code() } else { code })
}

/// Says of guests why nothing is done about them.
fn tell(cx: &Cx, stuck: &[Error]) {
    stuck.iter().for_each(|error| report(&cx.ui, cx.error_format(), error));
}

/// Sorts the guests of an operation by what can be done about them. Those that are done are left out.
fn sort(journal: &Journal, details: &Details, bulk: &Bulk) -> Result<Rest> {
    let mut rest = Rest::default();
    for (guest, part) in bulk.guests.iter().zip(journal.parts(details)?) {
        let label = format!("{}/{}", kind(guest)?, guest.vmid);
        let operation = part.operation.map_or(0, |operation| operation.0);
        match part.status {
            Status::Ok | Status::Warning => {}
            _ if part.is_in_flight() => rest.stuck.push(
                Error::conflict(format!("{label} is under way: operation {operation}"))
                    .with_hint(Hint::Text("follow it with `pvectl task attach`".to_owned())),
            ),
            Status::Unknown => rest.stuck.push(
                Error::conflict(format!("what became of {label} is not known: operation {operation}")).with_hint(
                    Hint::Text("look at the guest, and give the command again for it if need be".to_owned()),
                ),
            ),
            _ => match left(journal, details, guest, &part) {
                Ok(request) => rest.left.push(request),
                Err(error) => rest.stuck.push(error),
            },
        }
    }
    Ok(rest)
}

/// What is left for a guest, or why nothing can be done.
fn left(journal: &Journal, details: &Details, guest: &BulkGuest, part: &Part) -> Result<ResumeRequest> {
    if let Some(operation) = part.operation {
        let begun = journal.operation(operation)?.ok_or_else(|| refuse(operation, "it is gone from the journal"))?;
        return request(journal, &begun);
    }
    let kind = kind(guest)?;
    // How a guest is powered is seen again; of anything else the calls are not known.
    if let Some(why) = guest.refused.as_ref().filter(|_| power_verb(&details.operation.verb, kind).is_none()) {
        let error = Error::conflict(format!("{kind}/{} was refused: {why}", guest.vmid));
        return Err(error.with_hint(Hint::Text("give the command again for it".to_owned())));
    }
    Ok(ResumeRequest {
        operation: details.operation.id,
        verb: details.operation.verb.clone(),
        kind,
        vmid: Vmid::new(guest.vmid).map_err(|_| odd(guest))?,
        name: guest.name.clone(),
        calls: guest.steps.clone(),
        failed: false,
    })
}

fn odd(guest: &BulkGuest) -> Error {
    Error::new(Class::Failed, format!("the journal describes guest {} in an unknown way", guest.vmid))
}

fn kind(guest: &BulkGuest) -> Result<GuestKind> {
    GuestKind::ALL.into_iter().find(|kind| kind.api() == guest.kind).ok_or_else(|| odd(guest))
}

/// The guest as the cluster lists it; as it was, where it is gone, so that its row can say so.
fn resolved(request: &ResumeRequest, there: Option<&Guest>, bulk: &Bulk) -> Result<Resolved> {
    let target = format!("operation/{}", request.operation.0);
    if let Some(guest) = there {
        return Ok(Resolved { guest: guest.clone(), target });
    }
    let was = bulk.guests.iter().find(|guest| guest.vmid == request.vmid.get());
    let was = was.ok_or_else(|| refuse(request.operation, "this guest is none of its"))?;
    let node = NodeName::new(&was.node).map_err(|_| odd(was))?;
    let guest = serde_json::json!({"vmid": was.vmid, "type": was.kind, "node": node, "name": was.name});
    Ok(Resolved { guest: serde_json::from_value(guest).map_err(|_| odd(was))?, target })
}

/// How it goes on: at the pace that was chosen.
fn paced(bulk: &Bulk, options: RunOptions) -> RunOptions {
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    RunOptions {
        parallel: bulk.parallel,
        batch: bulk.batch,
        pause: seconds(bulk.pause),
        max_failures: bulk.max_failures,
        wait_lock: bulk.wait_lock.map(seconds),
        ..options
    }
}
