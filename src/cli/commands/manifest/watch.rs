//! `apply --watch`: looks again and again, prints what is not as it should be, and makes it so.

use std::time::Duration;

use clap::ArgMatches;
use tokio::time::{Instant, sleep_until};

use super::{
    apply::{finish, placed, request, run_quietly},
    show,
};
use crate::{
    cli::{
        cx::{Cx, parse_duration},
        error::report,
        rules,
        session::Session,
        verb::Exit,
    },
    model::{Class, Error, Hint, Result},
    ops::{ApplyPlan, ApplyRequest, Deed, Plan},
};

/// The pause after a change; each look that finds nothing, or goes wrong, makes it longer.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
/// And the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) async fn watch(
    cx: &Cx,
    session: &Session,
    matches: &ArgMatches,
    (first, typed): (ApplyRequest, String),
) -> Result<Exit> {
    if cx.switches.dry_run {
        return Err(Error::usage("--watch changes things, and --dry-run does not")
            .with_hint(Hint::Text("`pvectl diff -f` says what differs".into())));
    }
    if (first.prune.is_some() || first.prune_disks) && !cx.switches.confirm {
        let error = Error::usage("nobody is asked while this watches, and --prune and --prune-disks ask");
        return Err(error.with_hint(Hint::Text("give --confirm to go ahead each time".into())));
    }
    let limit = cx.flags.get("timeout").map(parse_duration).transpose()?;
    let end = limit.map(|limit| Instant::now() + limit);
    let from_stdin = crate::cli::cx::texts(matches, "file").iter().any(|file| file == "-");
    let (mut wanted, mut pause) = (first, SHORTEST_PAUSE);
    let mut told = String::new();
    loop {
        wanted = placed(wanted, session, cx)?;
        let went = match session.ops.plan_apply(&wanted).await {
            Ok(plan) => once(cx, session, plan, &wanted, &typed, &mut told).await,
            Err(error) => Err(error),
        };
        if cx.interrupt.is_raised() {
            return Ok(Class::Interrupted.exit_code());
        }
        pause = match went {
            Ok(true) => SHORTEST_PAUSE,
            Ok(false) => (pause * 2).min(LONGEST_PAUSE),
            Err(error) if matches!(error.class(), Class::Bug | Class::Unauthenticated) => return Err(error),
            Err(error) => {
                tell_once(&mut told, error.to_string(), || report(&cx.ui, cx.error_format(), &error));
                (pause * 2).min(LONGEST_PAUSE)
            }
        };
        let next = Instant::now() + pause;
        sleep_until(end.map_or(next, |end| end.min(next))).await;
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(0);
        }
        if !from_stdin {
            // The files may have changed; half a file is looked at again.
            match request(matches) {
                Ok((read, _)) => wanted = read,
                Err(error) => tell_once(&mut told, error.to_string(), || report(&cx.ui, cx.error_format(), &error)),
            }
        }
    }
}

/// Tells what was not told the last time.
fn tell_once(told: &mut String, what: String, tell: impl FnOnce()) {
    if *told != what {
        tell();
        *told = what;
    }
}

/// Does what one look found; whether that changed something.
async fn once(
    cx: &Cx,
    session: &Session,
    mut plan: ApplyPlan,
    request: &ApplyRequest,
    typed: &str,
    told: &mut String,
) -> Result<bool> {
    let said = plan.refusals().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let refused = plan.works.iter().filter(|work| !work.refusals.is_empty());
    let refused: Vec<(&str, String)> = refused.map(|work| (work.noun, work.name.clone())).collect();
    if !said.is_empty() {
        tell_once(told, said, || plan.refusals().for_each(|error| report(&cx.ui, cx.error_format(), error)));
        // The others are made so all the same.
        plan.leave_out_refused();
    }
    if plan.is_empty() {
        return Ok(false);
    }
    let plans: Vec<Plan> = plan.works.iter().flat_map(|work| work.plans().cloned()).collect();
    let wants = rules::wants_names(cx, &session.ops, &session.rules, &plans).await?;
    rules::require_names(
        cx,
        &plans.iter().zip(&wants).filter(|(_, wants)| **wants).map(|(plan, _)| plan).collect::<Vec<_>>(),
    )?;
    let drifted = plan.works.iter().filter(|work| work.deed != Deed::Nothing);
    let mut text = Vec::new();
    for work in drifted {
        let _ = show::write_work(&mut text, work);
    }
    cx.ui.err_line(String::from_utf8_lossy(&text).trim_end());
    let (mut made, _) = run_quietly(cx, session, plan, request, typed).await?;
    // What was refused was told.
    made.retain(|made| !refused.contains(&(made.kind, made.name.clone())) && (made.changed || made.error.is_some()));
    let changed = made.iter().any(|made| made.changed);
    finish(cx, session, made)?;
    Ok(changed)
}
