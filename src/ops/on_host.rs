//! A program of a served host, run by its name: recorded here before it is asked for, sent once, and its end noted.
//!
//! Which programs there are is the owner's of that host to say, who may run them the host's; this only asks.

use std::{process, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::{
    Interrupt, Observer, Ops, RunOptions,
    recorded::{Halt, Recorded},
};
use crate::{
    client::{Client, path::segments},
    model::{Class, Error, Hint, Intent, Ran, Result, Sent, Submitted},
    tasks::NoWatch,
};

/// The longest that a served host lets a program run.
pub const LONGEST_ON_HOST: Duration = Duration::from_secs(3600);

/// For how many seconds a served host lets a program run unless it is told otherwise.
const UNLESS_SAID: u64 = 30;

/// A program to be run on a served host.
#[derive(Debug, Clone)]
pub struct HostProgram {
    /// The name under which the owner of the host lists it.
    pub name: String,
    /// What it is called with.
    pub args: Vec<String>,
    /// For how many seconds it may run; the host's own limit (30) without.
    pub seconds: Option<u64>,
    /// What the request is called, here and there.
    pub request: String,
}

impl HostProgram {
    /// One with a name of its own for its request.
    ///
    /// # Errors
    /// [`Class::Usage`] for no name, and for a time of nothing or of more than [`LONGEST_ON_HOST`].
    pub fn new(name: &str, args: Vec<String>, limit: Option<Duration>) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::usage("no program was named"));
        }
        if let Some(limit) = limit.filter(|limit| *limit > LONGEST_ON_HOST || limit.as_secs() == 0) {
            return Err(Error::usage(format!("--timeout: {} s are no time for a program of a host", limit.as_secs()))
                .with_hint(Hint::Text("from 1s to 1h".into())));
        }
        // Nobody else's on this machine, which is all that is asked of it.
        let request = format!("{:x}-{:x}", Timestamp::now().as_nanosecond(), process::id());
        Ok(Self { name: name.to_owned(), args, seconds: limit.map(|limit| limit.as_secs()), request })
    }

    /// What is sent.
    pub fn path(&self) -> String {
        segments(&["api", "exec", &self.name])
    }
}

/// How a program ended, in words.
fn ending(ran: &Ran) -> String {
    match (ran.exit_code, ran.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => format!("killed after {} s", ran.duration_ms / 1000),
    }
}

impl Ops {
    /// Runs a program on a served host and waits for its end, which it may take until its time is over.
    ///
    /// # Errors
    /// What the host says. When the answer is lost, or somebody does not wait for it, nobody knows here how it ended:
    /// it is not asked for again, and the error tells where to look.
    pub async fn run_on_host(
        &self,
        client: &Client,
        program: &HostProgram,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Ran> {
        let _minding = interrupt.mind();
        let mut recorded = Recorded::new(self, options, observer, interrupt);
        recorded.plan(&Intent {
            verb: "exec".to_owned(),
            target: program.name.clone(),
            kind: "host".to_owned(),
            context: self.context().to_owned(),
            user: client.user().to_owned(),
            steps: vec![json!({
                "method": "POST", "path": program.path(), "params": {"args": program.args, "timeout": program.seconds},
            })],
            request: Some(program.request.clone()),
            ..Intent::default()
        })?;
        let mut ran = None;
        let request = async {
            let asked = client.run_on_host(&program.name, &program.args, program.seconds, &program.request);
            let answered = tokio::select! {
                answered = asked => answered?,
                () = interrupt.raised() => {
                    let text = "interrupted: it may have begun, and goes on";
                    return Err(Error::new(Class::Interrupted, text).with_sent(Sent::Maybe));
                }
            };
            ran = Some(answered);
            Ok(Submitted::Done(serde_json::Value::Null))
        };
        let sent = recorded.send(1, None, request, |_| Box::new(NoWatch)).await;
        let ended = match (sent, &ran) {
            (Err(Halt::Unknown(error)), _) => Err(Halt::Unknown(look_there(&error, program))),
            (Err(halt), _) => Err(halt),
            (Ok(()), Some(ran)) if ran.exit_code != Some(0) => {
                Err(Halt::Failed(Error::new(Class::Failed, format!("`{}` ended with {}", program.name, ending(ran)))))
            }
            (Ok(()), _) => Ok(()),
        };
        if let Some(ran) = &ran {
            recorded.note(ending(ran));
        }
        let name = &program.name;
        let explain = |error: Error, _: &[String]| match &ran {
            Some(_) => error,
            None => error.context(format_args!("cannot run `{name}`")),
        };
        let ending = recorded.end(ended, explain).await;
        match (ran, ending.error) {
            (Some(ran), _) => Ok(ran),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(Class::Interrupted, "interrupted: nothing was sent")),
        }
    }
}

/// The same without what is to be done about lost answers of the API, and with what is to be done about this one.
fn look_there(error: &Error, program: &HostProgram) -> Error {
    let seconds = program.seconds.unwrap_or(UNLESS_SAID);
    Error::new(error.class(), error.message().to_owned()).with_sent(Sent::Maybe).with_hint(Hint::Text(format!(
        "it is not asked for again. If it has begun, the host lets it run to its end ({seconds} s at most) and writes that \
         down: there, `pvectl operation list --verb exec` and `operation show` name this request, {}",
        program.request
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_name_and_a_time() {
        let of = |name: &str, seconds: u64| HostProgram::new(name, Vec::new(), Some(Duration::from_secs(seconds)));
        assert_eq!(of("a b/c", 30).unwrap().path(), "/api/exec/a%20b%2Fc");
        assert_eq!(of("reload", 3600).unwrap().seconds, Some(3600));
        for (name, seconds) in [("", 30), ("reload", 0), ("reload", 3601)] {
            assert_eq!(of(name, seconds).unwrap_err().class(), Class::Usage, "{name} {seconds}");
        }
    }

    #[test]
    fn an_end_is_one_of_three() {
        let ran = |exit_code, signal| ending(&Ran { exit_code, signal, duration_ms: 30_020, ..Ran::default() });
        assert_eq!(
            [ran(Some(3), None), ran(None, Some(9)), ran(None, None)],
            ["exit code 3", "signal 9", "killed after 30 s"]
        );
    }
}
