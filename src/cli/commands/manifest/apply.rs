//! `apply`: makes files so, after saying what that takes and asking where something is lost.

use clap::{ArgMatches, value_parser};

use super::{
    load::{documents_only, file_args, load},
    show, watch,
};
use crate::{
    cli::{
        base::{confirms, exit_code, require_somebody_to_confirm, selector_arg},
        cx::{Cx, flag, texts, wait_lock_arg},
        error::report,
        print,
        progress::Show,
        rules,
        session::{Access, Session},
        verb::{Entry, Exit, switch, value},
    },
    model::{Class, Error, Hint, NodeName, Result},
    ops::{ApplyPlan, ApplyRequest, Deed, Made, Plan, Pruning, RunOptions, Status},
    tasks::NoWatch,
};

pub(in crate::cli::commands) const ENTRY: Entry = Entry {
    name: "apply",
    about: "Make guests and other things what files say: create, change, start, stop",
    examples: &[
        "pvectl apply -f infra/",
        "pvectl apply -f infra/ --dry-run",
        "pvectl apply -f web.yaml --allow-restart",
        "pvectl apply -f infra/ --prune --selector app=web",
        "pvectl apply -f infra/ --watch",
    ],
    args: |command| {
        let files = file_args("A manifest (YAML or JSON), or a directory of them; - is stdin; repeatable");
        command
            .args(files.map(|arg| if arg.get_id() == "file" { arg.required(true) } else { arg }))
            .arg(switch("prune", "Remove what was applied before and is in no file now"))
            .arg(selector_arg().help("Of that only what had these labels: app=web, tier!=db").requires("prune"))
            .arg(switch("all", "Of that all").requires("prune").conflicts_with("selector"))
            .arg(value("parallel", "N", "So many at a time [default: 8]").value_parser(value_parser!(u32).range(1..)))
            .arg(switch("allow-restart", "Restart guests where a change counts only then"))
            .arg(switch("force", "Overrule what somebody else changed since"))
            .arg(switch("prune-disks", "Destroy disks that left the file, instead of keeping them unused"))
            .arg(wait_lock_arg())
            .arg(switch("watch", "Keep it so, until Ctrl-C or --timeout").short('w'))
    },
    run: |cx, matches| Box::pin(run(cx, matches)),
};

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    if cx.switches.no_wait {
        return Err(Error::usage(
            "--no-wait is for what is one call; this takes several, of which some wait for others",
        ));
    }
    let (request, typed) = request(matches)?;
    if request.prune.is_some() || request.prune_disks {
        require_somebody_to_confirm(cx)?;
    }
    let mut session = cx.session(Access::Write).await?;
    if let Some(parallel) = matches.get_one::<u32>("parallel") {
        session.options.parallel = *parallel as usize;
    }
    if flag(matches, "watch") {
        return watch::watch(cx, &session, matches, (request, typed)).await;
    }
    let request = placed(request, &session, cx)?;
    if !cx.switches.dry_run && !wait_for_others(cx, &session, &request).await? {
        cx.ui.say("nothing was sent");
        return Ok(Class::Interrupted.exit_code());
    }
    let plan = {
        let show = Show::new(cx.ui.clone(), request.documents.len());
        let _mind = cx.interrupt.mind();
        session.ops.plan_apply_unlocked(&request, &session.options, &show, &cx.interrupt).await?
    };
    carry_out(cx, &session, plan, &request, &typed).await
}

/// Waits for what is at work on the guests; whether nobody interrupted that.
async fn wait_for_others(cx: &Cx, session: &Session, request: &ApplyRequest) -> Result<bool> {
    let _mind = cx.interrupt.mind();
    for upid in session.ops.at_work(request).await? {
        cx.ui.say(format_args!("waiting for what is at work: {upid}"));
        let mut watch = NoWatch;
        tokio::select! {
            // What it has done is seen in what is planned.
            ended = session.ops.follower().wait(&upid, &session.options.limits, &mut watch) => drop(ended?),
            () = cx.interrupt.raised() => return Ok(false),
        }
    }
    Ok(true)
}

/// What is asked for, as far as the command line says it.
pub(super) fn request(matches: &ArgMatches) -> Result<(ApplyRequest, String)> {
    let loaded = load(matches)?.ok_or_else(|| Error::usage("say which files: -f FILE"))?;
    let (documents, typed) = documents_only(loaded)?;
    let labels = texts(matches, "selector");
    let prune = match (flag(matches, "prune"), labels.as_slice()) {
        (false, _) => None,
        (true, []) if flag(matches, "all") => Some(Pruning::All),
        (true, []) => {
            return Err(Error::usage("--prune removes things: say of which")
                .with_hint(Hint::Text("give --selector app=web, or --all for all that was ever applied".into())));
        }
        (true, labels) => Some(Pruning::Labels(labels.iter().map(|text| text.parse()).collect::<Result<_>>()?)),
    };
    let request = ApplyRequest {
        documents,
        prune,
        allow_restart: flag(matches, "allow-restart"),
        force: flag(matches, "force"),
        prune_disks: flag(matches, "prune-disks"),
        ..ApplyRequest::default()
    };
    Ok((request, typed))
}

/// The same with what the context says.
pub(super) fn placed(mut request: ApplyRequest, session: &Session, cx: &Cx) -> Result<ApplyRequest> {
    let node = session.default_node.clone().map(NodeName::new).transpose();
    request.node = node.map_err(|error| Error::usage(error.to_string()))?;
    request.no_checks = cx.switches.no_checks;
    Ok(request)
}

/// Shows, asks and does.
pub(super) async fn carry_out(
    cx: &Cx,
    session: &Session,
    plan: ApplyPlan,
    request: &ApplyRequest,
    typed: &str,
) -> Result<Exit> {
    if cx.switches.dry_run {
        show::works(cx, session, &plan, true)?;
    }
    // Nothing is sent while something is in the way.
    if plan.refusals().next().is_some() {
        plan.refusals().for_each(|error| report(&cx.ui, cx.error_format(), error));
        cx.ui.say("nothing was sent");
        return Ok(show::class_of(plan.refusals()).exit_code());
    }
    let plans: Vec<Plan> = plan.works.iter().flat_map(|work| work.plans().cloned()).collect();
    let wants = rules::wants_names(cx, &session.ops, &session.rules, &plans).await?;
    if cx.switches.dry_run {
        cx.ui.say(if plan.is_empty() { "nothing is to be done" } else { "nothing was sent (--dry-run)" });
        return Ok(0);
    }
    for work in &plan.works {
        work.notes.iter().for_each(|note| cx.ui.say(format_args!("{}: {note}", work.label())));
    }
    if !agrees(cx, &plan, &plans, &wants)? {
        cx.ui.say("nothing was done");
        return Ok(Class::Failed.exit_code());
    }
    let (made, _) = run_quietly(cx, session, plan, request, typed).await?;
    finish(cx, session, made)
}

/// Asks before what has to be asked about.
fn agrees(cx: &Cx, plan: &ApplyPlan, plans: &[Plan], wants: &[bool]) -> Result<bool> {
    if !confirms(cx, plans, wants)? {
        return Ok(false);
    }
    let losing: Vec<_> = plan.works.iter().filter(|work| work.loses()).collect();
    if losing.is_empty() || cx.switches.confirm {
        return Ok(true);
    }
    let mut text = Vec::new();
    for work in &losing {
        // Writing into memory does not fail.
        let _ = show::write_work(&mut text, work);
    }
    cx.ui.err_line(String::from_utf8_lossy(&text).trim_end());
    let removed = losing.iter().filter(|work| work.deed == Deed::Delete).count();
    let disks: usize = losing.iter().map(|work| work.doomed.len()).sum();
    cx.ui.ask_yes(&format!("Remove {removed}, and destroy {disks} disks? This cannot be undone"))
}

/// Runs a plan, and shows how it goes.
pub(super) async fn run_quietly(
    cx: &Cx,
    session: &Session,
    plan: ApplyPlan,
    request: &ApplyRequest,
    typed: &str,
) -> Result<(Vec<Made>, Option<crate::model::OperationId>)> {
    let show = Show::new(cx.ui.clone(), plan.works.len());
    let options = RunOptions { wait: true, ..session.options };
    session.ops.run_apply(plan, typed, request, &options, &show, &cx.interrupt).await
}

/// Prints the rows, tells what went wrong, and gives the exit code.
pub(super) fn finish(cx: &Cx, session: &Session, mut made: Vec<Made>) -> Result<Exit> {
    let went: Vec<_> = made.iter().map(|made| (made.status, made.error.as_ref())).collect();
    let code = exit_code(cx, &went);
    let printed = print::list(&cx.ui, &session.style, &mut made);
    if let Err(error) = &printed {
        // The changes are made, whatever is wrong with how they should be printed.
        report(&cx.ui, cx.error_format(), error);
    }
    for made in &made {
        made.log.iter().for_each(|line| cx.ui.err_line(format_args!("  {line}")));
        if let Some(error) = &made.error {
            report(&cx.ui, cx.error_format(), error);
        }
        if !made.waiting.is_empty() {
            let restart = "--allow-restart restarts it";
            cx.ui.say(format_args!(
                "{} {}: waits for the next start: {} ({restart})",
                made.kind,
                made.name,
                made.waiting.join(", ")
            ));
        }
    }
    let left = made.iter().filter(|made| made.status == Status::Cancelled).count();
    if left > 0 {
        cx.ui.err_line(format_args!("{left} not begun; give the command again, and it goes on where it stands"));
    }
    match code {
        0 if printed.is_err() => Ok(Class::Failed.exit_code()),
        // What needs one that failed is no failure of its own.
        0 if left > 0 => Ok(Class::Failed.exit_code()),
        code => Ok(code),
    }
}
