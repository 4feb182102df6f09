//! `exec`: a program in a VM whose input, output and exit code are those of this command.

use std::io::{IsTerminal as _, Read as _};

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::{
    super::{
        before::{agrees, show_plans},
        get::target_arg,
    },
    one,
};
use crate::{
    cli::{
        cx::{Cx, flag, texts},
        error::report,
        print,
        progress::Show,
        rules,
        session::Access,
        verb::{Exit, Kind, Verb, switch},
    },
    model::{Class, Error, Hint, Result},
    ops::{EXEC, ExecRequest, Executed, out_of_reach},
};

/// What a shell answers where there is no such program, and where it may not be run.
pub(crate) const NOT_FOUND: Exit = 127;
const NOT_RUN: Exit = 126;
/// Our own failure around a program in a guest, so that it is not taken for the program's.
pub(crate) const OURS: Exit = 125;

/// The most input that is taken: all of it has to be read before the program begins.
const LARGEST: u64 = 256 << 20;

pub(super) struct Exec;

#[async_trait(?Send)]
impl Verb for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn about(&self, _: &Kind) -> String {
        "Run a program in a VM, through its guest agent; its output and its exit code are passed on".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![
            "pvectl vm exec 100 -- hostname".to_owned(),
            "pvectl vm exec web-1 --timeout 5m -- apt-get -y upgrade".to_owned(),
            "pvectl vm exec 100 -i -- sh -c 'cat > /tmp/app.tar' < app.tar".to_owned(),
            "pvectl vm exec 100 -o json -- uname".to_owned(),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target_arg())
            .arg(switch("stdin", "Pass stdin on to the program; all of it is read first").short('i'))
            .arg(
                Arg::new("command")
                    .value_name("COMMAND")
                    .num_args(1..)
                    .required(true)
                    .last(true)
                    .help("The program and its arguments; no shell looks at them"),
            )
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        if cx.switches.no_wait {
            return Err(Error::usage("`exec` passes on what the program says, and waits for it")
                .with_hint(Hint::Text("begin it in the background: -- sh -c 'program >/tmp/log 2>&1 &'".into())));
        }
        match self.execute(cx, kind, matches).await {
            // What the program says is not what we say.
            Err(error) if !matches!(error.class(), Class::Usage | Class::Unfinished | Class::Interrupted) => {
                report(&cx.ui, cx.error_format(), &error);
                Ok(code_of(&error))
            }
            ended => ended,
        }
    }
}

impl Exec {
    async fn execute(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Write).await?;
        let found = one(&session, kind, matches).await?;
        if let Some(error) = out_of_reach(&session.ops.away_for(std::slice::from_ref(&found)).await, EXEC, &found.guest)
        {
            return Err(error);
        }
        session.ops.require_agent(&found.guest)?;
        let input = if flag(matches, "stdin") { Some(input(cx)?) } else { None };
        let plan = session.ops.plan_exec(&found, &ExecRequest { command: texts(matches, "command"), input })?;
        let plans = [plan];
        let wants = rules::wants_names(cx, &session.ops, &session.rules, &plans).await?;
        for note in &plans[0].notes {
            cx.ui.say(format_args!("{}: {note}", plans[0].label()));
        }
        if cx.switches.dry_run {
            show_plans(cx, &session, &plans)?;
            return Ok(0);
        }
        if !agrees(cx, &plans, &wants)? {
            cx.ui.say("nothing was done");
            return Ok(Class::Failed.exit_code());
        }
        let [plan] = plans;
        let show = Show::new(cx.ui.clone(), 1);
        let executed = session.ops.exec(plan, &session.options, &show, &cx.interrupt).await?;
        if cx.asks_for_data(&session.style) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let data = json!({
                "vmid": found.guest.vmid, "name": found.guest.name, "node": found.guest.node, "pid": executed.pid,
                "exitcode": executed.exitcode, "signal": executed.signal, "code": executed.code(),
                "stdout": text(&executed.stdout), "stderr": text(&executed.stderr),
                "stdout_truncated": executed.stdout_truncated, "stderr_truncated": executed.stderr_truncated,
                "context": session.ops.context(),
            });
            print::data_or(&cx.ui, &session.style, &data, &[found.guest.reference().to_string()], |_| Ok(()))?;
        } else {
            pass_on(cx, &executed)?;
        }
        Ok(executed.code())
    }
}

/// Passes on what a program said, byte for byte.
fn pass_on(cx: &Cx, executed: &Executed) -> Result<()> {
    // A reader that went away is no error, and the program's code still counts.
    cx.ui.raw(&executed.stdout)?;
    cx.ui.raw_err(&executed.stderr);
    let cut = [(executed.stdout_truncated, "output"), (executed.stderr_truncated, "errors")];
    for (_, what) in cut.iter().filter(|(cut, _)| *cut) {
        let text = "the agent keeps only the beginning (16 MiB)";
        cx.ui.err_line(format_args!("pvectl: the program's {what} were cut off: {text}"));
    }
    Ok(())
}

/// The exit code of a failure of ours.
fn code_of(error: &Error) -> Exit {
    let said = error.message();
    match said.contains("Failed to execute child process") {
        true if said.contains("No such file") => NOT_FOUND,
        true => NOT_RUN,
        false => OURS,
    }
}

/// All of stdin.
fn input(cx: &Cx) -> Result<Vec<u8>> {
    if std::io::stdin().is_terminal() {
        cx.ui.say("what is typed is the program's input; it begins when that ends with Ctrl-D");
    }
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut input);
    read.map_err(|error| Error::new(Class::Failed, "cannot read stdin").with_source(error))?;
    if input.len() as u64 > LARGEST {
        return Err(Error::usage("that is more than 256 MiB of input, which is no errand for a guest agent")
            .with_hint(Hint::Text("pipe it into `pvectl vm ssh`".into())));
    }
    Ok(input)
}
