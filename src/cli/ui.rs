//! The two streams and what may be said on them: data on stdout, talk on stderr.
//!
//! Only this file and `print` write. Nothing here decides what is said.

use std::{
    fmt::Display,
    io::{self, BufWriter, IsTerminal, Write},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::{
    config::Env,
    model::{Class, Error, Result},
};

/// The colours, by meaning.
pub(crate) mod style {
    use super::{AnsiColor, Style};

    pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
    pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
    pub(crate) const HINT: Style = AnsiColor::Cyan.on_default();
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    pub(crate) const BAD: Style = AnsiColor::Red.on_default();
    pub(crate) const HALF: Style = AnsiColor::Yellow.on_default();
    pub(crate) const HEADER: Style = Style::new().bold();
    pub(crate) const DIM: Style = Style::new().dimmed();
}

/// Where a command speaks.
pub(crate) struct Ui {
    out: ColorChoice,
    err: ColorChoice,
    quiet: bool,
    can_ask: bool,
    bars: MultiProgress,
}

impl Ui {
    /// Decides on colours and progress from the streams, the environment and `--color`.
    pub(crate) fn new(env: &Env, color: &str, quiet: bool) -> Self {
        let dumb = env.get("TERM") == Some("dumb");
        let choose = |is_terminal: bool| match color {
            "always" => ColorChoice::AlwaysAnsi,
            "never" => ColorChoice::Never,
            _ if env.is_set("NO_COLOR") => ColorChoice::Never,
            _ if env.get("CLICOLOR_FORCE").is_some_and(|force| force != "0") => ColorChoice::AlwaysAnsi,
            _ if is_terminal && !dumb => ColorChoice::Always,
            _ => ColorChoice::Never,
        };
        let err_terminal = io::stderr().is_terminal();
        let draws = err_terminal && !dumb && !quiet && !env.is_set("PVECTL_NO_PROGRESS");
        let target = if draws { ProgressDrawTarget::stderr_with_hz(12) } else { ProgressDrawTarget::hidden() };
        Self {
            out: choose(io::stdout().is_terminal()),
            err: choose(err_terminal),
            quiet,
            can_ask: io::stdin().is_terminal() && err_terminal,
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// The same streams for work on the side, about which nobody is told or asked anything.
    pub(crate) fn silent(&self) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Self { out: self.out, err: self.err, quiet: true, can_ask: false, bars }
    }

    /// Whether somebody sits there who can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// The progress bars; hidden where there is no terminal for them.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether progress is drawn; plain lines are written instead otherwise.
    pub(crate) fn draws(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// Whether colours survive on stdout. They are taken out at the end in any case; but of ten thousand rows it is
    /// cheaper not to put them in.
    pub(crate) fn has_colours(&self) -> bool {
        self.out != ColorChoice::Never
    }

    /// Writes data to stdout, buffered. A reader that went away is no error. An [`Error`] inside of what `write` gives
    /// comes out as it is.
    pub(crate) fn data(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        self.stream(write).map(drop)
    }

    /// The same for data of which more may come. Says whether somebody reads it.
    pub(crate) fn stream(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<bool> {
        let written = self.bars.suspend(|| {
            let mut out = BufWriter::with_capacity(64 * 1024, AutoStream::new(io::stdout().lock(), self.out));
            write(&mut out).and_then(|()| out.flush())
        });
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(match error.downcast::<Error>() {
                // What was to be written could not be made: a query that does not fit the data.
                Ok(error) => error,
                Err(error) => Error::new(Class::Failed, "cannot write to stdout").with_source(error),
            }),
            written => Ok(written.is_ok()),
        }
    }

    /// Whether somebody still reads stdout; found out without a word to it.
    pub(crate) fn is_read(&self) -> bool {
        #[cfg(unix)]
        {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let out = io::stdout();
            let mut watched = [PollFd::new(&out, PollFlags::empty())];
            let asked = poll(&mut watched, Some(&Timespec::default()));
            asked.is_err() || !watched[0].revents().contains(PollFlags::ERR)
        }
        #[cfg(not(unix))]
        true
    }

    /// Writes bytes to stdout as they are and at once. Says whether somebody reads them.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<bool> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::new(Class::Failed, "cannot write to stdout").with_source(error)),
        }
    }

    /// The same to stderr: what somebody else said there.
    pub(crate) fn raw_err(&self, bytes: &[u8]) {
        let mut err = io::stderr().lock();
        // There is nobody left to tell that stderr cannot be written.
        let _ = err.write_all(bytes).and_then(|()| err.flush());
    }

    /// Says something on stderr, unless `--quiet`.
    pub(crate) fn say(&self, text: impl Display) {
        if !self.quiet {
            self.err_line(text);
        }
    }

    /// Warns on stderr, unless `--quiet`.
    pub(crate) fn warn(&self, text: impl Display) {
        self.say(format_args!("{}warning:{} {text}", style::WARNING.render(), style::WARNING.render_reset()));
    }

    /// Writes a line to stderr, always.
    pub(crate) fn err_line(&self, text: impl Display) {
        self.bars.suspend(|| {
            let mut err = AutoStream::new(io::stderr().lock(), self.err);
            // There is nobody left to tell that stderr cannot be written.
            let _ = writeln!(err, "{text}");
        });
    }
}

/// A text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{}{text}{}", style.render(), style.render_reset())
}

/// Writes log lines between the progress bars.
pub(crate) struct Log(pub(crate) std::sync::Arc<Ui>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.err_line(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
