//! The console of a VM: the line of its serial port, one person at a time, and everything said on it kept in a log.
//!
//! The VMM keeps what nobody has heard. It is taken from it when somebody opens the console or asks for the log, and
//! before pvectl ends the VM; there is no daemon that listens all the time. Who sits at which terminal is not known here.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::UnixStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::Local;
use crate::{
    backends::{
        Console,
        cloud_hypervisor::{
            host, mapping,
            state::{Holder, OperationLock, Vm, reconcile::Sight},
            vmm::serial,
        },
    },
    model::{Class, Error, GuestRef, Hint, Result},
};

/// How long what was kept is taken from a guest that says more all the time.
const TAKING: Duration = Duration::from_secs(3);
/// After how long a guest counts as silent: for whoever wants to read, and before it is ended.
const QUIET: Duration = Duration::from_millis(20);
const QUIET_BEFORE_END: Duration = Duration::from_millis(2);
/// After a reset the VMM listens anew: how often that is tried, and how long in between.
const AGAIN: (usize, Duration) = (50, Duration::from_millis(100));
/// How much may be on its way to whoever listens, bytes.
const ON_THE_WAY: usize = 64 * 1024;
/// When a log that was filled from here is cut, and to how much, bytes.
const LOG: (u64, usize) = (8 << 20, 4 << 20);

/// Where the serial port of a running VM leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// To the console.
    Console,
    /// All into the log.
    Log,
    /// Nowhere.
    None,
}

/// What the configuration that runs says of the serial port.
pub(super) fn port(vm: &Vm) -> Port {
    match (vm.settings.get(mapping::SERIAL_LOG), vm.settings.get("serial0")) {
        (Some("1"), _) => Port::Log,
        (_, Some("socket")) => Port::Console,
        _ => Port::None,
    }
}

/// The line, held by this process alone.
pub(super) struct Line {
    _lock: OperationLock,
    socket: PathBuf,
    process: host::Process,
    log: Said,
}

/// The log of what a guest said.
struct Said(File);

impl Said {
    /// Opens it, and cuts off the oldest of a long one.
    fn open(path: &Path) -> io::Result<Self> {
        if path.metadata().is_ok_and(|file| file.len() > LOG.0) {
            let all = std::fs::read(path)?;
            let rest = &all[all.len().saturating_sub(LOG.1)..];
            let whole = rest.iter().position(|byte| *byte == b'\n').map_or(rest, |end| &rest[end + 1..]);
            std::fs::write(path, whole)?;
        }
        Ok(Self(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?))
    }

    /// A log that cannot be written must not take the console away.
    fn add(&mut self, bytes: &[u8]) {
        if let Err(error) = self.0.write_all(bytes) {
            tracing::warn!("what the guest says is not kept: {error}");
        }
    }
}

impl Local {
    /// Where the lock of a VM's console is.
    fn console_place(&self, vm: &Vm) -> PathBuf {
        self.places(vm).state.join("console")
    }

    /// What is needed to have the line; `None` where there is none, because the VM is off or has no console.
    fn line(&self, vm: &Vm, lock: OperationLock) -> Result<Option<Line>> {
        let places = self.places(vm);
        let Some(process) = vm.process.as_ref().filter(|_| port(vm) == Port::Console) else { return Ok(None) };
        let Some(process) = host::Process::find(process)? else { return Ok(None) };
        let path = places.serial_log(vm.generation.into());
        let log = Said::open(&path).map_err(|error| {
            Error::new(Class::Failed, format!("cannot write {}", path.display())).with_source(error)
        })?;
        Ok(Some(Line { _lock: lock, socket: places.serial_socket(), process, log }))
    }

    fn console_holder(&self, vm: &Vm, what: &str) -> Result<Holder> {
        Holder::new(vm.vmid, what, self.worker())
    }

    /// The line, if nobody else has it.
    pub(super) fn try_line(&self, vm: &Vm, what: &str) -> Result<Option<Line>> {
        let lock = OperationLock::try_take(&self.console_place(vm), &self.console_holder(vm, what)?)?;
        self.line(vm, lock)
    }

    /// The line, once nobody else has it.
    pub(super) async fn wait_for_line(&self, vm: &Vm, what: &str) -> Result<Option<Line>> {
        let holder = self.console_holder(vm, what)?;
        let lock = OperationLock::take(&self.console_place(vm), &holder, None).await?;
        self.line(vm, lock)
    }

    /// Puts what a VM said and nobody heard into its log, as well as it goes: before it is ended or reset.
    pub(super) async fn keep_said(&self, vm: &Vm) {
        self.keep(vm, QUIET_BEFORE_END, Duration::from_secs(1)).await;
    }

    /// The same for whoever wants to read it.
    pub(super) async fn fetch_said(&self, vm: &Vm) {
        self.keep(vm, QUIET, TAKING).await;
    }

    async fn keep(&self, vm: &Vm, quiet: Duration, within: Duration) {
        let Ok(Some(mut line)) = self.try_line(vm, "log") else { return };
        // One that cannot be listened to is ended, or shown as far as it is known, all the same.
        if let Ok((_, stream)) = line.take(quiet, within).await {
            line.hang_up(stream).await;
        }
    }

    /// Listens until the VM is off, or until the sender is dropped. Nothing where somebody else listens.
    pub(super) fn listen(&self, vm: &Vm) -> Option<(oneshot::Sender<()>, JoinHandle<()>)> {
        let line = self.try_line(vm, "log").ok()??;
        let (stay, gone) = oneshot::channel();
        Some((stay, tokio::spawn(line.listen(gone))))
    }

    pub(super) async fn open_console(&self, guest: &GuestRef) -> Result<Console> {
        let (vm, seen) = self.look(guest).await?;
        let vmid = vm.vmid;
        let hint = |text: String| Hint::Text(text);
        match seen.sight {
            Sight::Running | Sight::Paused | Sight::Unresponsive => {}
            _ => {
                return Err(Error::from_exit_status(&format!("VM {vmid} not running")).with_hint(hint(format!(
                    "start it: pvectl vm start {vmid}; what it said last: pvectl vm logs {vmid}"
                ))));
            }
        }
        match port(&vm) {
            Port::Console => {}
            Port::Log => {
                return Err(Error::conflict(format!(
                    "the serial port of VM {vmid} leads into its log ({})",
                    mapping::SERIAL_LOG
                ))
                .with_hint(hint(format!(
                    "read it: pvectl vm logs {vmid} -f; for a console set {}=0 and restart",
                    mapping::SERIAL_LOG
                ))));
            }
            Port::None => {
                let waits = vm.settings.to_come().contains_key("serial0");
                let way = match waits {
                    true => format!("it gets one at its next start: pvectl vm restart {vmid}"),
                    false => format!("give it one, and restart it: pvectl vm update {vmid} --serial0 socket"),
                };
                return Err(
                    Error::conflict(format!("VM {vmid} has no serial port to be a console")).with_hint(hint(way))
                );
            }
        }
        let gone = || Error::from_exit_status(&format!("VM {vmid} not running"));
        let mut line = self.try_line(&vm, "console").map_err(|error| self.occupied(&vm, error))?.ok_or_else(gone)?;
        let (unread, stream) = line.take(QUIET, TAKING).await.map_err(|error| {
            Error::conflict(format!("nobody answers on the console of VM {vmid}"))
                .with_hint(hint(format!("a reset makes it listen anew: pvectl vm reset {vmid}")))
                .with_source(error)
        })?;
        let (near, far) = tokio::io::duplex(ON_THE_WAY);
        let (stay, left) = oneshot::channel();
        let work = tokio::spawn(line.serve_owned(stream, far, left));
        self.add_work(work);
        Ok(Console::new(unread, near, stay))
    }

    /// Who has the console, in words of its own.
    fn occupied(&self, vm: &Vm, error: Error) -> Error {
        if error.class() != Class::Conflict {
            return error;
        }
        let who = match Holder::of(&self.console_place(vm)) {
            Some(Holder { what, user, process, since, .. }) => {
                format!("{what} by {user}, process {}, since {since:.0}", process.pid)
            }
            None => "another process".to_owned(),
        };
        Error::conflict(format!("the console of VM {} is in use: {who}", vm.vmid)).with_hint(Hint::Text(format!(
            "one at a time: end that one first; reading along goes with pvectl vm logs {} -f",
            vm.vmid
        )))
    }
}

impl Line {
    /// Connects, and takes what the VMM kept.
    pub(super) async fn take(&mut self, quiet: Duration, within: Duration) -> io::Result<(Vec<u8>, UnixStream)> {
        let (kept, stream) = serial::take(&self.socket, quiet, within).await?;
        self.log.add(&kept);
        Ok((kept, stream))
    }

    /// Listens only, until the VM is off or nobody wants it any more.
    pub(super) async fn listen(mut self, left: oneshot::Receiver<()>) {
        if let Ok((_, stream)) = self.take(QUIET, TAKING).await {
            self.serve(stream, None, left).await;
        }
    }

    async fn serve_owned(mut self, stream: UnixStream, far: DuplexStream, left: oneshot::Receiver<()>) {
        self.serve(stream, Some(far), left).await;
    }

    /// Carries bytes in both directions until the VM is off or everybody has left.
    pub(super) async fn serve(
        &mut self,
        stream: UnixStream,
        far: Option<DuplexStream>,
        mut left: oneshot::Receiver<()>,
    ) {
        let mut stream = stream;
        let (mut keys, mut screen) = far.map(tokio::io::split).unzip();
        let (mut said, mut typed) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                _ = &mut left => return self.hang_up(stream).await,
                read = stream.read(&mut said) => {
                    let count = read.unwrap_or(0);
                    let more = match count {
                        0 => match self.again().await {
                            Some((kept, next)) => {
                                stream = next;
                                kept
                            }
                            None => return,
                        },
                        count => {
                            self.log.add(&said[..count]);
                            said[..count].to_vec()
                        }
                    };
                    if let Some(screen) = &mut screen {
                        tokio::select! {
                            _ = &mut left => return self.hang_up(stream).await,
                            written = screen.write_all(&more) => if written.is_err() {
                                return self.hang_up(stream).await;
                            },
                        }
                    }
                }
                read = type_next(&mut keys, &mut typed) => match read {
                    // Nothing is typed any more; the guest may have something to say all the same.
                    Ok(0) | Err(_) => keys = None,
                    // A guest that is being reset hears nothing; what is read next says whether it is gone.
                    Ok(count) => drop(stream.write_all(&typed[..count]).await),
                },
            }
        }
    }

    /// Connects once more, if the VM still runs: it was reset.
    async fn again(&mut self) -> Option<(Vec<u8>, UnixStream)> {
        for _ in 0..AGAIN.0 {
            if self.process.ended(Some(AGAIN.1)).await.unwrap_or(true) {
                return None;
            }
            if let Ok(taken) = self.take(QUIET, TAKING).await {
                return Some(taken);
            }
        }
        None
    }

    /// Leaves the line, with all that was said before the VMM notices.
    pub(super) async fn hang_up(&mut self, stream: UnixStream) {
        let mut rest = Vec::new();
        // A VMM that is gone has nothing more to say.
        let _ = serial::hang_up(stream, &mut rest).await;
        self.log.add(&rest);
    }
}

/// What is typed next; never, once nothing is any more.
async fn type_next(keys: &mut Option<tokio::io::ReadHalf<DuplexStream>>, into: &mut [u8]) -> io::Result<usize> {
    match keys {
        Some(keys) => keys.read(into).await,
        None => std::future::pending().await,
    }
}
