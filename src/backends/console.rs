//! What a person reads of a guest: its console, a line in both directions, and its logs.
//!
//! Plain streams of bytes; what a terminal makes of them, and which key leaves it, is for whoever shows them.

use std::{
    any::Any,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc::UnboundedSender,
};

/// What a console is made over.
trait Line: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Line for T {}

/// A line to a guest's console: what is written is typed, what is read is what the guest says. Reading ends when the
/// guest is off. It is closed by dropping it.
pub struct Console {
    unread: Vec<u8>,
    line: Pin<Box<dyn Line>>,
    /// Where the size of the terminal goes, if anybody over there wants to know.
    resize: Option<UnboundedSender<(u16, u16)>>,
    /// Goes with the console; whoever serves the other end notices.
    _hold: Box<dyn Any + Send>,
}

impl Console {
    /// A console over a line. `unread` is what the guest said before; `hold` is dropped with the console.
    pub fn new(unread: Vec<u8>, line: impl AsyncRead + AsyncWrite + Send + 'static, hold: impl Any + Send) -> Self {
        Self { unread, line: Box::pin(line), resize: None, _hold: Box::new(hold) }
    }

    /// The same for one that wants to know how large the terminal is: columns, then rows.
    #[must_use]
    pub fn with_resize(self, resize: UnboundedSender<(u16, u16)>) -> Self {
        Self { resize: Some(resize), ..self }
    }

    /// Says how large the terminal is.
    pub fn resize(&self, columns: u16, rows: u16) {
        if let Some(resize) = &self.resize {
            // A line that is closed notices by itself.
            let _ = resize.send((columns, rows));
        }
    }

    /// Whether the other end is somebody else's program, which may end while the guest goes on.
    pub fn is_remote(&self) -> bool {
        self.resize.is_some()
    }

    /// What the guest said since somebody last listened, oldest first. It is not part of what is read.
    pub fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for Console {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.line.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Console {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.line.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.as_mut().poll_shutdown(cx)
    }
}

/// Whose log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogOf {
    /// What the guest said on its console.
    #[default]
    Guest,
    /// What the program that runs it logs about itself.
    Vmm,
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whose.
    pub of: LogOf,
    /// Only so many of the last lines that are there now.
    pub lines: Option<usize>,
    /// Whether to go on with what is added, until the guest is off.
    pub follow: bool,
}

/// A log's bytes, which end where it ends.
pub type LogReader = Pin<Box<dyn AsyncRead + Send>>;
