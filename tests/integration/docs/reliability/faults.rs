//! Everything that goes wrong: the rules that make it happen, and what must be known afterwards.
//!
//! Data only. The rules are those of `pvectl sandbox serve --fault`; `{change}` is
//! the first change, `{read}` the last read before it, `{before}` how often the same was read before.

use super::run::Cell;

/// Something that goes wrong.
pub(super) struct Fault {
    /// The table it is in.
    pub(super) group: &'static str,
    /// The head of its column.
    pub(super) title: &'static str,
    pub(super) rules: &'static [&'static str],
    pub(super) told: Told,
    pub(super) from: From,
    /// How slow tasks are.
    pub(super) pace: f64,
    /// Flags beside.
    pub(super) flags: &'static str,
    /// Whether a change may be sent once more.
    pub(super) asks_again: bool,
    /// Whether the server's own words are all there is to say.
    pub(super) is_plain: bool,
    /// Whether it is only about changes that start a task.
    pub(super) of_tasks: bool,
    /// Whether it may strike before the change is planned or after it: of reads that go side by side any may be the last.
    pub(super) is_luck: bool,
}

/// What must be known in the end.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// It was done.
    Done,
    /// It was not done.
    NotDone,
    /// It may have been done.
    Nobody,
    /// It was done: found out where there is a task to find, and otherwise not known.
    DoneUnseen,
    /// It is being done.
    Running,
}

/// Who asks, and where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Token,
    /// The password of a user.
    Password,
    /// A token that may only read.
    Reader,
    /// A token, at an address where nobody is.
    Nowhere,
    /// The same with the right address after it.
    Twice,
    /// A token, with little patience for an answer.
    Hasty,
}

const FAULT: Fault = Fault {
    group: "",
    title: "",
    rules: &[],
    told: Done,
    from: From::Token,
    pace: 0.0,
    flags: "",
    asks_again: false,
    is_plain: false,
    of_tasks: false,
    is_luck: false,
};

const fn fault(group: &'static str, title: &'static str, rules: &'static [&'static str], told: Told) -> Fault {
    Fault { group, title, rules, told, ..FAULT }
}

impl Fault {
    /// Whether it can be seen with a command that does this when all is well.
    pub(super) fn is_about(&self, well: &Cell) -> bool {
        let needs_read = self.rules.iter().any(|rule| rule.contains("{read}"));
        (!self.of_tasks || well.starts_task) && (!needs_read || well.reads_before())
    }

    const fn from(self, from: From) -> Self {
        Self { from, ..self }
    }

    const fn of_tasks(self, pace: f64, flags: &'static str) -> Self {
        Self { of_tasks: true, pace, flags, ..self }
    }
}

use Told::{Done, DoneUnseen, Nobody, NotDone, Running};

/// Lets what is read before for the same thing pass.
const EARLIER: &str = "GET {read}:delay-after=0ms*{before}";

pub(super) const FAULTS: &[Fault] = &[
    fault("none", "all is well", &[], Done),
    fault("reach", "no server", &[], NotDone).from(From::Nowhere),
    fault("reach", "the first of two endpoints is down", &[], Done).from(From::Twice),
    fault("reach", "down before the change, for a moment", &[EARLIER, "GET {read}:down-after=1ms*1"], Done),
    Fault {
        is_luck: true,
        ..fault("reach", "down before the change, for good", &[EARLIER, "GET {read}:down-after=1000s*1"], NotDone)
    },
    fault("answer", "cut off, not done", &["CHANGE /**:reset-before*1"], Nobody),
    fault("answer", "cut off, done", &["CHANGE /**:reset-after*1"], DoneUnseen),
    fault("answer", "half an answer, done", &["CHANGE /**:truncate-after*1"], DoneUnseen),
    fault("answer", "no answer in time, not done", &["CHANGE /**:delay=1000s*1"], Nobody).from(From::Hasty),
    fault("answer", "no answer in time, done", &["CHANGE /**:delay-after=1000s*1"], DoneUnseen).from(From::Hasty),
    Fault { is_plain: true, ..fault("status", "500", &["CHANGE /**:die=something went wrong here*1"], NotDone) },
    fault("status", "500, locked", &["CHANGE /**:die=can't lock file '/var/lock/x.conf' - got timeout*1"], NotDone),
    fault("status", "503, not done", &["CHANGE /**:status=503*1"], Nobody),
    fault("status", "503, done", &["CHANGE /**:status-after=503*1"], DoneUnseen),
    fault("status", "595", &["CHANGE /**:status=595*1"], NotDone),
    fault("status", "596, not done", &["CHANGE /**:status=596*1"], Nobody),
    fault("status", "596, done", &["CHANGE /**:status-after=596*1"], DoneUnseen),
    fault("access", "401, token", &["CHANGE {change}:status=401*1"], NotDone),
    Fault {
        asks_again: true,
        ..fault("access", "401 once, password", &["CHANGE {change}:status=401*1"], Done).from(From::Password)
    },
    fault("access", "403", &[], NotDone).from(From::Reader),
    fault("task", "warnings", &["CHANGE /**:task-ends=WARNINGS: 1"], Done).of_tasks(0.0, ""),
    fault("task", "stopped by somebody", &["CHANGE /**:task-ends=received interrupt"], NotDone).of_tasks(0.0, ""),
    fault("task", "locked", &["CHANGE /**:task-ends=can't lock file '/var/lock/x.conf' - got timeout"], NotDone)
        .of_tasks(0.0, ""),
    fault("task", "died with its node", &["CHANGE /**:task-ends=unexpected status"], NotDone).of_tasks(0.0, ""),
    fault("task", "server restarts", &["CHANGE /**:down-after=200ms*1"], Done).of_tasks(0.2, ""),
    fault("task", "server gone", &["CHANGE /**:down-after=1000s*1"], Running).of_tasks(0.0, "--timeout 300ms"),
    fault("task", "node gone", &["GET /nodes/*/tasks/**:status=595"], Running).of_tasks(0.0, "--timeout 1s"),
];
