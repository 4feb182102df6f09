//! `diff`: what `apply` would change, as its exit code too.

use clap::ArgMatches;

use super::{
    load::{documents_only, file_args, load},
    show,
};
use crate::{
    cli::{
        cx::Cx,
        error::report,
        session::Access,
        verb::{Entry, Exit},
    },
    model::{Error, Result},
    ops::ApplyRequest,
};

pub(in crate::cli::commands) const ENTRY: Entry = Entry {
    name: "diff",
    about: "Show what apply would change; exit code 0 for nothing, 1 for differences, more for trouble",
    examples: &["pvectl diff -f infra/", "pvectl diff -f web.yaml -o json"],
    args: |command| {
        let files = file_args("A manifest (YAML or JSON), or a directory of them; - is stdin; repeatable");
        command.args(files.map(|arg| if arg.get_id() == "file" { arg.required(true) } else { arg }))
    },
    run: |cx, matches| Box::pin(run(cx, matches)),
};

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let loaded = load(matches)?.ok_or_else(|| Error::usage("say which files: -f FILE"))?;
    let (documents, _) = documents_only(loaded)?;
    let session = cx.session(Access::Read).await?;
    // What others changed is shown as a difference, and no reason to stop.
    let request = ApplyRequest { documents, force: true, no_checks: true, ..ApplyRequest::default() };
    let plan = session.ops.plan_apply(&request).await?;
    show::works(cx, &session, &plan, false)?;
    plan.refusals().for_each(|error| report(&cx.ui, cx.error_format(), error));
    if plan.refusals().next().is_some() {
        return Ok(show::class_of(plan.refusals()).exit_code().max(2));
    }
    if plan.is_empty() {
        cx.ui.say("everything is as it should be");
    }
    Ok(u8::from(!plan.is_empty()))
}
