//! What every command has at hand: settings, streams, and the way to a backend.
//!
//! Opens nothing by itself: a command that needs no server and no journal costs neither.

use std::{sync::Arc, time::Duration};

use clap::{Arg, ArgMatches};
use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};

use super::{
    error::ErrorFormat,
    print::{Arrange, Format, Style},
    session::{Access, Session},
    ui::Ui,
    verb::value,
};
use crate::{
    config::{Credentials, Env, File, Flags, OPTIONS, Paths, ReadOnly, Resolved, expect, resolve},
    model::{Error, Hint, Result},
    ops::{Interrupt, RunOptions},
    tasks::Limits,
};

/// The switches among the global options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switches {
    pub(crate) json: bool,
    pub(crate) no_headers: bool,
    pub(crate) quiet: bool,
    pub(crate) dry_run: bool,
    pub(crate) confirm: bool,
    pub(crate) no_checks: bool,
    pub(crate) no_wait: bool,
    pub(crate) no_journal: bool,
    pub(crate) fail_on_warnings: bool,
    pub(crate) verbose: u8,
}

/// The flag of changes of guests that waits for their locks.
const WAIT_LOCK: &str = "wait-lock";

/// It, for the parser.
pub(crate) fn wait_lock_arg() -> Arg {
    let help = "Wait so long for a guest that is locked, by a backup or a task, before it is refused";
    value(WAIT_LOCK, "DURATION", help)
}

/// What a command works with.
pub(crate) struct Cx {
    pub(crate) env: Env,
    pub(crate) flags: Flags,
    pub(crate) switches: Switches,
    /// What a change of guests says of how long it waits for their locks.
    wait_lock: Option<String>,
    pub(crate) ui: Arc<Ui>,
    pub(crate) interrupt: Interrupt,
}

/// The value of an option that may not be defined for this command.
pub(crate) fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
}

/// All values of an option.
pub(crate) fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.try_get_many::<String>(name).ok().flatten().map(|values| values.cloned().collect()).unwrap_or_default()
}

/// Whether a switch is set.
pub(crate) fn flag(matches: &ArgMatches, name: &str) -> bool {
    matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false)
}

impl Cx {
    /// Takes the global options from the command line.
    pub(crate) fn new(env: Env, matches: &ArgMatches) -> Self {
        let mut flags = Flags::default();
        for option in OPTIONS.iter().filter(|option| option.value.is_some()) {
            if let Some(value) = text(matches, option.name) {
                flags.set(option.name, value);
            }
        }
        let switches = Switches {
            json: flag(matches, "json"),
            no_headers: flag(matches, "no-headers"),
            quiet: flag(matches, "quiet"),
            dry_run: flag(matches, "dry-run"),
            confirm: flag(matches, "confirm"),
            no_checks: flag(matches, "no-checks"),
            no_wait: flag(matches, "no-wait"),
            no_journal: flag(matches, "no-journal"),
            fail_on_warnings: flag(matches, "fail-on-warnings"),
            verbose: matches.try_get_one::<u8>("verbose").ok().flatten().copied().unwrap_or(0),
        };
        let ui = Arc::new(Ui::new(&env, flags.get("color").unwrap_or("auto"), switches.quiet));
        let mut typed = matches;
        while let Some((_, below)) = typed.subcommand() {
            typed = below;
        }
        let wait_lock = text(typed, WAIT_LOCK).map(str::to_owned);
        Self { env, flags, switches, wait_lock, ui, interrupt: Interrupt::default() }
    }

    /// The same for work on the side: it says nothing and asks nothing.
    pub(crate) fn silent(&self) -> Self {
        let switches = Switches { quiet: true, ..self.switches.clone() };
        let ui = Arc::new(self.ui.silent());
        let (env, flags, interrupt) = (self.env.clone(), self.flags.clone(), self.interrupt.clone());
        Self { env, flags, switches, wait_lock: None, ui, interrupt }
    }

    /// How many columns prose has: those of the terminal, a hundred where there is none.
    pub(crate) fn width(&self) -> usize {
        let told = self.env.get("COLUMNS").and_then(|columns| columns.parse().ok());
        let terminal = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
        told.or_else(terminal).filter(|columns| *columns >= 20).unwrap_or(100).min(120)
    }

    /// How errors are written.
    pub(crate) fn error_format(&self) -> ErrorFormat {
        ErrorFormat::parse(self.flags.get("error-format").unwrap_or("text"))
    }

    /// The paths of this user.
    pub(crate) fn paths(&self) -> Result<Paths> {
        Paths::new(&self.env)
    }

    /// Reads configuration and credentials, and decides whom to talk to.
    pub(crate) fn resolve(&self) -> Result<Resolved> {
        let paths = self.paths()?;
        let file = File::load(&paths)?;
        let credentials = Credentials::load(&paths.credentials)?;
        let resolved = resolve(&self.flags, &self.env, file.as_ref(), &credentials)?;
        match self.flags.get("expect-context") {
            Some(expected) => resolved.expect(expected).map(|()| resolved),
            None => Ok(resolved),
        }
    }

    /// Refuses a change where changes are refused; to show one is none.
    pub(crate) fn check_access(&self, access: Access, read_only: &ReadOnly) -> Result<()> {
        match access {
            Access::Write if !self.switches.dry_run => read_only.check(),
            _ => Ok(()),
        }
    }

    /// The same for what is about this host or the sandbox whichever context is in use, and reads no configuration.
    pub(crate) fn check_outside(&self, access: Access, place: &str) -> Result<()> {
        if let Some(expected) = self.flags.get("expect-context") {
            expect(expected, &format!("`{place}`"), expected == place)?;
        }
        self.check_access(access, &ReadOnly::of(&self.env))
    }

    /// Connects to the backend of the context.
    pub(crate) async fn session(&self, access: Access) -> Result<Session> {
        self.session_of(self.resolve()?, access).await
    }

    /// The same where it is known what the configuration says.
    pub(crate) async fn session_of(&self, resolved: Resolved, access: Access) -> Result<Session> {
        Session::open(self, access, resolved).await
    }

    /// Whether data is asked for here: a context's habit must not turn a program's output into something else.
    pub(crate) fn asks_for_data(&self, style: &Style) -> bool {
        let asks = self.switches.json || ["output", "jq"].iter().any(|flag| self.flags.get(flag).is_some());
        asks && !style.format.is_table()
    }

    /// How output looks, by flag and environment alone: for commands that read no configuration.
    pub(crate) fn plain_style(&self) -> Result<Style> {
        self.style_of(self.flags.get("output").or_else(|| self.env.get("PVECTL_OUTPUT")))
    }

    /// How output looks, by everything that is set.
    pub(crate) fn style(&self, resolved: &Resolved) -> Result<Style> {
        self.style_of(resolved.setting("output"))
    }

    fn style_of(&self, output: Option<&str>) -> Result<Style> {
        let format = match self.flags.get("jq") {
            Some(jq) => {
                // What a variable or a context says gives way to the flag; what stands beside it contradicts it.
                if let Some(other) = self.flags.get("output").filter(|output| *output != "json") {
                    return Err(Error::usage(format!("--jq is about JSON, and -o {other} asks for something else"))
                        .with_hint(Hint::Text("leave -o out".into())));
                }
                Format::jq(jq)?
            }
            None if self.switches.json => Format::Json,
            None => Format::parse(output.unwrap_or("table"))?,
        };
        let arrange = Arrange {
            filter: self.flags.get("field-selector").map(str::parse).transpose()?,
            sort: self.flags.get("sort-by").map(str::parse).transpose()?,
        };
        Ok(Style { format, headers: !self.switches.no_headers, colours: self.ui.has_colours(), arrange })
    }

    /// How plans are run.
    pub(crate) fn run_options(&self, resolved: &Resolved) -> Result<RunOptions> {
        let timeout = resolved.setting("timeout").map(parse_duration).transpose()?;
        let limits = Limits { timeout, ..Limits::default() };
        let wait_lock = self.wait_lock()?;
        Ok(RunOptions { wait: !self.switches.no_wait, limits, wait_lock, ..RunOptions::default() })
    }

    /// How long the lock of a guest is waited for, where somebody says.
    pub(crate) fn wait_lock(&self) -> Result<Option<Duration>> {
        self.wait_lock.as_deref().map(parse_duration).transpose()
    }
}

/// Reads `30s`, `10m`, `1h30m`, or plain seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let bad = || {
        Error::usage(format!("`{text}` is not a duration: a number with a unit is expected, such as 30s, 10m or 1h"))
    };
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration = text.parse::<SignedDuration>().map_err(|_| bad())?;
    Duration::try_from(duration).map_err(|_| bad())
}

/// A moment so long after another one: `1h`, `90d`, `1y`.
pub(crate) fn moment_after(text: &str, now: Timestamp) -> Result<Timestamp> {
    let span = text.parse::<Span>().ok().filter(|span| span.is_positive());
    let later = |span| now.to_zoned(TimeZone::UTC).checked_add::<Span>(span).ok();
    span.and_then(later)
        .and_then(|at| Timestamp::from_second(at.timestamp().as_second()).ok())
        .ok_or_else(|| Error::usage(format!("`{text}` is no while from now: 15m, 1h or 90d is expected")))
}
