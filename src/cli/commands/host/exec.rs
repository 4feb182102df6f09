//! `host exec`: a program of a served host whose output and exit code are those of this command.
//!
//! Only what the owner of that host listed (`serve --allow-exec`), and only from elsewhere.

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        base::{NOT_FOUND, OURS},
        cx::{Cx, text, texts},
        error::report,
        print,
        progress::Show,
        session::Access,
        verb::{Entry, Exit},
    },
    model::{Class, Error, Hint, Ran, Result},
    ops::HostProgram,
};

pub(super) const ENTRY: Entry = Entry {
    name: "exec",
    about: "Run a program that the owner of a served host allows; its output and its exit code are passed on",
    examples: &[
        "pvectl host exec reload-proxy web",
        "pvectl host exec df --timeout 10 -- -h /",
        "pvectl --host https://minipc:8006 host exec reload-proxy -o json",
    ],
    args,
    run: |cx, matches| Box::pin(run(cx, matches)),
};

fn args(command: Command) -> Command {
    command
        .arg(Arg::new("name").value_name("NAME").required(true).help("Its name in the host's --allow-exec"))
        .arg(Arg::new("args").value_name("ARGS").num_args(0..).help(
            "What it is called with; those that begin with a hyphen after --. It runs for --timeout at most, 30s by default",
        ))
}

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    if cx.switches.no_wait {
        return Err(Error::usage("`host exec` passes on what the program says, and waits for it"));
    }
    match execute(cx, matches).await {
        // What the program says is not what we say.
        Err(error) if !matches!(error.class(), Class::Usage | Class::Interrupted) => {
            report(&cx.ui, cx.error_format(), &error);
            Ok(if error.class() == Class::NotFound { NOT_FOUND } else { OURS })
        }
        ended => ended,
    }
}

async fn execute(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Write).await?;
    let name = text(matches, "name").unwrap_or_default();
    let Some(client) = &session.client else {
        return Err(Error::usage("this host's own programs need no `host exec`: run them yourself")
            .with_hint(Hint::Text("it is for a served host: choose one with --context or --host".into())));
    };
    let program = HostProgram::new(name, texts(matches, "args"), session.options.limits.timeout)?;
    if cx.switches.dry_run {
        let body = json!({"args": program.args, "timeout": program.seconds});
        cx.ui.say(format_args!("would send POST {} {body}", program.path()));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    let show = Show::new(cx.ui.clone(), 1);
    let ran = session.ops.run_on_host(client, &program, &session.options, &show, &cx.interrupt).await?;
    let code = code(&ran);
    if cx.asks_for_data(&session.style) {
        let told = serde_json::to_value(&ran).map_err(|error| Error::new(Class::Bug, error.to_string()))?;
        let mut data = Map::from_iter([("command".to_owned(), json!(name)), ("code".to_owned(), json!(code))]);
        data.extend(told.as_object().cloned().unwrap_or_default());
        data.extend([
            ("request".to_owned(), json!(program.request)),
            ("context".to_owned(), json!(session.ops.context())),
        ]);
        let data = Value::from(data);
        print::data_or(&cx.ui, &session.style, &data, &[format!("command/{name}")], |_| Ok(()))?;
        return Ok(code);
    }
    // Byte for byte. A reader that went away is no error, and the program's code still counts.
    cx.ui.raw(&ran.stdout)?;
    cx.ui.raw_err(&ran.stderr);
    if ran.truncated {
        cx.ui.err_line("pvectl: what the program says was cut off: the host keeps the first 256 KiB of each output");
    }
    let took = format!("{}.{:03} s", ran.duration_ms / 1000, ran.duration_ms % 1000);
    match ran.timed_out {
        true => cx.ui.err_line(format_args!("pvectl: `{name}` did not end in time, and was killed after {took}")),
        false => cx.ui.say(format_args!("`{name}` took {took}")),
    }
    Ok(code)
}

/// The exit code of a program: as a shell has it, and ours for one whose time was over.
fn code(ran: &Ran) -> Exit {
    match (ran.exit_code, ran.signal) {
        (Some(code), _) => Exit::try_from(code).unwrap_or(Class::Failed.exit_code()),
        (None, Some(signal)) => Exit::try_from(128 + signal).unwrap_or(Class::Failed.exit_code()),
        (None, None) => Class::Unfinished.exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_passed_on_and_a_signal_is_one_above_128() {
        let of = |exit_code, signal| code(&Ran { exit_code, signal, ..Ran::default() });
        assert_eq!([of(Some(0), None), of(Some(7), None), of(None, Some(15)), of(None, None)], [0, 7, 143, 8]);
    }
}
