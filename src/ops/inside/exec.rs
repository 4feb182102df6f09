//! A program in a VM, from its beginning to its end: input, output, exit code.
//!
//! What is begun is written down like every change; how it ended too, but never what it was given or said.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    EXEC,
    file::{command, leave_room, make_room, pieces, room},
};
use crate::{
    backends::{
        Action, Executed, Step,
        agent::{complaint, explain, pid, status_of},
    },
    model::{Class, Error, Hint, INPUT_AT_ONCE, RUN_WITH_PIECES, Result, StepId, Submitted, text_of_bytes},
    ops::{
        Interrupt, Observer, Ops, Plan, Resolved, RunOptions,
        pause::Pauses,
        recorded::{Halt, Recorded},
    },
    tasks::NoWatch,
};

/// How long the first pause between two looks at a program is.
const FIRST_PAUSE: Duration = Duration::from_millis(60);

/// What is to be run.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What it reads on its standard input; nothing, unless it is given.
    pub input: Option<Vec<u8>>,
}

impl Ops {
    /// Plans to run a program in a VM. Input that is larger than one call takes goes there in pieces before.
    ///
    /// # Errors
    /// [`Class::Usage`] for guests that have no agent, and for no program at all.
    pub fn plan_exec(&self, found: &Resolved, request: &ExecRequest) -> Result<Plan> {
        let words: Vec<&str> = request.command.iter().map(String::as_str).collect();
        if words.first().is_none_or(|program| program.is_empty()) {
            return Err(Error::usage("no program was given"));
        }
        let input = request.input.as_deref().unwrap_or_default();
        if input.len() <= INPUT_AT_ONCE {
            let params = command(&words).with_some("input-data", request.input.as_deref().map(text_of_bytes));
            return self.plan_inside(EXEC, Action::AgentExec, found, params);
        }
        let room = room();
        let mut steps = vec![(Action::AgentExec, make_room(&room))];
        steps.extend(pieces(&room, input));
        let last = [&["sh", "-c", RUN_WITH_PIECES, "pvectl", room.as_str()], words.as_slice()].concat();
        steps.push((Action::AgentExec, command(&last)));
        let mut plan = self.plan_steps_inside(EXEC, found, steps)?;
        plan.notes.push(format!(
            "{} bytes of input go in pieces through {room} in the guest, where sh, mkdir, cat and rm are needed",
            input.len()
        ));
        Ok(plan)
    }

    /// Runs such a plan, and waits for the end of the program. Its output is that of the end: the agent gives none before.
    ///
    /// # Errors
    /// What the server or the agent says; [`Class::Unfinished`] when the time is over and [`Class::Interrupted`] when
    /// somebody wishes: the program goes on then.
    pub async fn exec(
        &self,
        plan: Plan,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Executed> {
        let _minding = interrupt.mind();
        let mut run = Run {
            ops: self,
            until: options.limits.timeout.map(|timeout| Instant::now() + timeout),
            interrupt,
            recorded: Recorded::new(self, options, observer, interrupt),
        };
        run.recorded.plan(&self.intent(&plan, None)?)?;
        let mut executed = None;
        let ended = run.all(&plan, &mut executed).await;
        if let Some(executed) = &executed {
            run.recorded.note(executed.ending());
        }
        let ended = match (ended, &executed) {
            (Ok(()), Some(executed)) if executed.code() != 0 => {
                Err(Halt::Failed(Error::new(Class::Failed, format!("the program ended with {}", executed.ending()))))
            }
            (ended, _) => ended,
        };
        let label = plan.label();
        let ending =
            run.recorded.end(ended, |error, _| error.context(format_args!("cannot run a program in {label}"))).await;
        match (executed, ending.error) {
            (Some(executed), _) => Ok(executed),
            (None, Some(error)) => Err(explain(error, plan.guest.vmid)),
            (None, None) => Err(Error::new(Class::Interrupted, "interrupted: nothing was begun")),
        }
    }
}

struct Run<'a> {
    ops: &'a Ops,
    until: Option<Instant>,
    interrupt: &'a Interrupt,
    recorded: Recorded<'a>,
}

impl Run<'_> {
    async fn all(&mut self, plan: &Plan, executed: &mut Option<Executed>) -> Result<(), Halt> {
        let Some((last, before)) = plan.steps.split_last() else { return Ok(()) };
        for (at, step) in before.iter().enumerate() {
            let ended = match self.recorded.is_over() {
                true => Err(Halt::Cancelled),
                false => self.prepare(at as StepId + 1, step).await,
            };
            if ended.is_err() {
                self.clean_up(before).await;
                return ended;
            }
        }
        if self.recorded.is_over() {
            self.clean_up(before).await;
            return Err(Halt::Cancelled);
        }
        let pid = match self.begin(plan.steps.len() as StepId, last).await {
            Ok(pid) => pid,
            Err(halt) => {
                if matches!(halt, Halt::Failed(_)) {
                    self.clean_up(before).await;
                }
                return Err(halt);
            }
        };
        *executed = Some(self.wait(last, pid).await?);
        Ok(())
    }

    /// A step before the program itself, to its end.
    async fn prepare(&mut self, id: StepId, step: &Step) -> Result<(), Halt> {
        let call = step.call();
        let request = self.ops.backend().submit(step);
        self.recorded.send(id, Some(&call), request, |_| Box::new(NoWatch)).await
    }

    /// Takes away what was made for a program that does not come to run. That it cannot be is not worth another error.
    async fn clean_up(&self, before: &[Step]) {
        let Some(first) = before.first() else { return };
        if let Some(room) = first.params.iter().last().map(|(_, room)| room.to_owned()) {
            let step = Step::new(Action::AgentExec, first.guest.clone()).with_params(leave_room(&room));
            let _ = self.ops.backend().submit(&step).await;
        }
    }

    /// Begins the program.
    async fn begin(&mut self, id: StepId, step: &Step) -> Result<i64, Halt> {
        let call = self.ops.backend().call(step).map_err(Halt::Failed)?;
        let mut begun = None;
        let request = async {
            let data = self.ops.backend().send(&call).await?.data;
            if let Some(error) = complaint(&data) {
                return Err(error);
            }
            begun = Some(pid(&data)?);
            Ok(Submitted::Done(data))
        };
        self.recorded.send(id, Some(&call), request, |_| Box::new(NoWatch)).await?;
        begun.ok_or_else(|| Halt::Failed(Error::new(Class::Bug, "a program was begun that has no number")))
    }

    /// Looks after it until it ends.
    async fn wait(&self, step: &Step, pid: i64) -> Result<Executed, Halt> {
        let (call, mut pauses) = (status_of(&step.guest, pid), Pauses::from(FIRST_PAUSE));
        let goes_on = format!("it goes on in the guest as process {pid}, and its output is not kept for anybody");
        loop {
            let data = self.ops.backend().send(&call).await.map_err(|error| Halt::Unknown(lost(error, pid)))?.data;
            if let Some(executed) = Executed::read(pid, &data) {
                return Ok(executed);
            }
            let now = Instant::now();
            if self.until.is_some_and(|until| now >= until) {
                let error = Error::new(Class::Unfinished, "the program does not end within the time it was given");
                return Err(Halt::Unknown(error.with_hint(Hint::Text(goes_on))));
            }
            let next = now + pauses.next();
            tokio::select! {
                () = sleep_until(self.until.map_or(next, |until| until.min(next))) => {}
                () = self.interrupt.raised() => {
                    let error = Error::new(Class::Interrupted, "interrupted: the program goes on");
                    return Err(Halt::Unknown(error.with_hint(Hint::Text(goes_on))));
                }
            }
        }
    }
}

/// The error for a program whose end nobody saw. An agent tells an end once; who asks again is told that there is no such
/// program.
fn lost(error: Error, pid: i64) -> Error {
    let once = error.message().contains("pid") || error.message().contains("PID");
    let error = error
        .context(format_args!("the program was begun (process {pid} in the guest), and how it ended is not known"));
    if once {
        return error.with_hint(Hint::Text("the agent tells an end only once, and that answer was lost".into()));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_end_is_told_as_one() {
        let error = lost(Error::new(Class::Failed, "Agent error: Invalid parameter 'pid'"), 7);
        assert!(error.hints().iter().any(|hint| format!("{hint:?}").contains("only once")));
        assert!(lost(Error::new(Class::Unreachable, "no route"), 7).hints().is_empty());
    }
}
