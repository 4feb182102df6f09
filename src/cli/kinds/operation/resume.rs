//! `operation resume`: what is left of an operation that was cut off between its steps, as a new operation.

use clap::ArgMatches;

use super::{id_arg, journal, missing, rest::rest};
use crate::{
    cli::{
        base::{carry_out, require_somebody_to_confirm},
        cx::Cx,
        reconcile::settle_whole,
        session::{Access, Session},
        verb::{Entry, Exit},
    },
    journal::{Details, Filter, Journal, Status, Step},
    model::{Error, GuestKind, Hint, OperationId, Result, Verdict, Vmid},
    ops::ResumeRequest,
};

pub(super) const RESUME: Entry = Entry {
    name: "resume",
    about: "Go on with an operation that was cut off: send what was never sent, after a look at the guests",
    examples: &["pvectl operation resume 12 --dry-run", "pvectl operation resume 12"],
    args: |command| command.arg(id_arg()),
    run: |cx, matches| Box::pin(resume(cx, matches)),
};

async fn resume(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let id = matches.get_one::<i64>("id").copied().unwrap_or_default();
    let journal = journal(cx).await?.ok_or_else(|| missing(id))?;
    let details = journal.operation(OperationId(id))?.ok_or_else(|| missing(id))?;
    if let Some(bulk) = &details.bulk {
        return rest(cx, &journal, &details, bulk).await;
    }
    let request = request(&journal, &details)?;
    // What is lost is asked about, and that is refused where nobody can answer.
    if request.calls.iter().any(|call| call["method"] == "DELETE") {
        require_somebody_to_confirm(cx)?;
    }
    let mut session = session_of(cx, &details).await?;
    session.options.parent = details.operation.parent;
    let plan = session.ops.plan_resume(&request).await?;
    let code = carry_out(cx, &session, vec![plan]).await?;
    if let Some(whole) = details.operation.parent.filter(|_| !cx.switches.dry_run) {
        settle_whole(&session.ops, &journal, whole);
    }
    Ok(code)
}

/// A session that may go on with an operation: of its context.
pub(super) async fn session_of(cx: &Cx, details: &Details) -> Result<Session> {
    let session = cx.session(Access::Write).await?;
    let (id, theirs, ours) = (details.operation.id.0, &details.operation.context, session.ops.context());
    if theirs != ours {
        return Err(Error::usage(format!("operation {id} is of context {theirs}, and this is {ours}"))
            .with_hint(Hint::Text(format!("pvectl operation resume {id} --context {theirs}"))));
    }
    Ok(session)
}

/// The refusal to go on with an operation.
pub(super) fn refuse(operation: OperationId, why: impl std::fmt::Display) -> Error {
    Error::conflict(format!("cannot go on with operation {}: {why}", operation.0))
}

/// What is left of an operation, by the journal.
pub(super) fn request(journal: &Journal, details: &Details) -> Result<ResumeRequest> {
    let operation = &details.operation;
    let refuse = |why: String| refuse(operation.id, why);
    if operation.status.is_in_flight() {
        let error = refuse(format!("it is {}", operation.status));
        return Err(error.with_hint(Hint::Text("follow it with `pvectl task attach`".into())));
    }
    let done = |step: &&Step| matches!(step.verdict, Some(Verdict::Ok | Verdict::Warning));
    let left: Vec<&Step> = details.steps.iter().skip_while(done).collect();
    let Some(first) = left.first() else { return Err(refuse("it was done to its end".into())) };
    if first.sent.is_some() && operation.status == Status::Unknown {
        let error = refuse(format!("what became of step {} is not known", first.step));
        return Err(error.with_hint(Hint::Text("look at the guest, and give the command again if need be".into())));
    }
    let kind = GuestKind::ALL.into_iter().find(|kind| kind.api() == details.kind);
    let vmid = operation.vmid.and_then(|vmid| Vmid::new(vmid).ok());
    let (Some(kind), Some(vmid), false) = (kind, vmid, operation.verb.starts_with("api ")) else {
        return Err(refuse("it is not a change of a guest".into()));
    };
    let target = Some(format!("operation/{}", operation.id.0));
    for later in journal.operations(&Filter { target, ..Filter::default() })? {
        let sent = journal.operation(later.id)?.is_some_and(|later| later.steps.iter().any(|step| step.sent.is_some()));
        if sent || later.status.is_in_flight() {
            return Err(refuse(format!("operation {} did, and is {}", later.id.0, later.status)));
        }
    }
    let calls = left.iter().map(|step| step.call.clone().ok_or_else(|| refuse("its steps were not planned".into())));
    Ok(ResumeRequest {
        operation: operation.id,
        verb: operation.verb.clone(),
        kind,
        vmid,
        name: operation.name.clone(),
        calls: calls.collect::<Result<_>>()?,
        failed: first.sent.is_some(),
    })
}
