//! Starts a VMM that outlives us: a session of its own, four files inherited and nothing else, an empty environment.
//!
//! It waits for nothing and says nothing to the VMM: its socket listens before it runs, so the first request may be
//! sent at once.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use command_fds::CommandFdExt;
use process_wrap::std::{ChildWrapper, CommandWrap, ProcessSession};

use super::{Alive, ProcessId, Stat, at, boot_id, hint, share};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Class, Error, Result},
};

/// How long the path of a socket may be, in bytes.
pub const SUN_PATH: usize = 107;

/// What tells whose a directory of sockets is.
pub const OWNER: &str = "owner";

/// All that a VMM gets to see of an environment.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the files of one VM's process are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `…/vms/<uuid>`: what outlasts the process.
    pub state: PathBuf,
    /// `…/<short-id>`: the sockets.
    pub run: PathBuf,
}

impl Places {
    /// The lock that the process holds while it lives.
    pub fn alive(&self) -> PathBuf {
        self.state.join("alive")
    }

    /// What the process tells of itself, in this generation.
    pub fn events(&self, generation: u64) -> PathBuf {
        self.state.join(format!("events-{generation}.json"))
    }

    /// What the process logs, in this generation.
    pub fn log(&self, generation: u64) -> PathBuf {
        self.state.join(format!("vmm-{generation}.log"))
    }

    /// What the guest said on its serial port, in this generation, as far as it was taken from the VMM; all of it where
    /// the port leads to the process's standard output.
    pub fn serial_log(&self, generation: u64) -> PathBuf {
        self.state.join(format!("serial-{generation}.log"))
    }

    /// The socket of the VMM's API.
    pub fn api_socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// The socket of the guest's serial port.
    pub fn serial_socket(&self) -> PathBuf {
        self.run.join("serial.sock")
    }

    /// The socket of the guest's vsock device.
    pub fn vsock_socket(&self) -> PathBuf {
        self.run.join("vsock.sock")
    }

    /// A link to [`state`](Self::state). Several state directories of one user have their sockets in the same place, and
    /// none takes those of another for left behind.
    pub fn owner(&self) -> PathBuf {
        self.run.join(OWNER)
    }

    /// All sockets.
    pub fn sockets(&self) -> [PathBuf; 3] {
        [self.api_socket(), self.serial_socket(), self.vsock_socket()]
    }
}

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The executable, by its path.
    pub binary: &'a Path,
    /// The VM's files.
    pub places: &'a Places,
    /// Which start of this VM it is, counted up.
    pub generation: u64,
    /// What else stands on the command line. Secrets must not: everybody on this host can read it.
    pub args: &'a [&'a str],
}

/// Checks that a socket can have this path.
///
/// # Errors
/// [`Class::Usage`] when it is too long.
pub fn short_socket(path: &Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length <= SUN_PATH {
        return Ok(());
    }
    let message = format!("the path of a socket has at most {SUN_PATH} bytes, `{}` has {length}", path.display());
    Err(Error::usage(message).with_hint(hint("set XDG_RUNTIME_DIR to a directory with a shorter path")))
}

/// Starts a VMM. When this returns, the socket takes connections and the lock is held by the VMM alone; its identity
/// should be written down at once. When it fails, nothing runs and nothing new is left behind.
///
/// Files that this process was given by its own parent without `CLOEXEC` go on to the VMM, as to every child.
/// While this process lives, it waits for the VMM's end in a thread, so that no zombie remains.
///
/// # Errors
/// [`Class::Usage`] when a socket's path is too long, [`Class::Conflict`] when a VMM lives, [`Class::NotFound`] without
/// the executable.
pub fn spawn(launch: &Launch<'_>) -> Result<ProcessId> {
    let places = launch.places;
    places.sockets().iter().try_for_each(|socket| short_socket(socket))?;
    let boot_id = boot_id()?;
    for directory in [&places.state, &places.run] {
        private_directory(directory)?;
    }
    let alive = Alive::take(&places.alive())?;
    for socket in places.sockets() {
        alive.remove_stale_socket(&socket)?;
    }
    let mut made = Made::default();
    made.link(&places.state, places.owner())?;
    let events = made.file(places.events(launch.generation))?;
    let log = made.file(places.log(launch.generation))?;
    let said = made.file(places.serial_log(launch.generation))?;
    let listener = made.listener(places.api_socket())?;
    reach(Point::SpawnPrepared);
    made.paths.push(places.pulse());
    let held = [alive.lend()?, share::pulse(places)?];
    let child = start(launch, listener.into(), events.into(), held, Outputs { said, log })?;
    alive.give();
    let pid = child.id();
    // Not waited for yet, it has its entry even if it has ended already.
    let stat = Stat::of(pid);
    reap(child);
    let Some(stat) = stat? else { return Err(Error::new(Class::Bug, format!("process {pid} has no entry in /proc"))) };
    made.keep = true;
    reach(Point::Spawned);
    Ok(ProcessId { pid, starttime: stat.starttime, boot_id })
}

/// Where it writes.
struct Outputs {
    /// What the guest says on a serial port that leads to standard output; a VMM says nothing there itself.
    said: File,
    /// Its log.
    log: File,
}

/// Runs the executable with its files; those it only holds are the lock and the pipe that tell of its end. Each keeps its
/// number: one that is open here is surely not a number that the standard library uses between fork and exec.
fn start(
    launch: &Launch<'_>,
    api: OwnedFd,
    events: OwnedFd,
    held: [OwnedFd; 2],
    to: Outputs,
) -> Result<Box<dyn ChildWrapper>> {
    let path = launch.places.log(launch.generation);
    let mut command = Command::new(launch.binary);
    command
        .args(["--api-socket", &format!("fd={}", api.as_raw_fd())])
        .args(["--event-monitor", &format!("fd={}", events.as_raw_fd())])
        .arg("--log-file")
        .arg(&path)
        .args(launch.args)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(to.said)
        .stderr(to.log)
        .preserved_fds([api, events].into_iter().chain(held).collect());
    run(command).map_err(|error| {
        let what = format!("cannot start `{}`: {error}", launch.binary.display());
        match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(what).with_hint(hint("`pvectl check` says how to install it")),
            io::ErrorKind::PermissionDenied => Error::new(Class::Forbidden, what),
            _ => Error::new(Class::Failed, what),
        }
        .with_source(error)
    })
}

/// Runs a command in a session of its own. Our copies of its files are closed with it.
pub(super) fn run(command: Command) -> io::Result<Box<dyn ChildWrapper>> {
    CommandWrap::from(command).wrap(ProcessSession).spawn()
}

/// Waits for the end of a child in a thread of its own, for as long as this process lives.
pub(super) fn reap(mut child: Box<dyn ChildWrapper>) {
    let waiting = move || {
        // Whoever wants to know how it ended reads its events.
        let _ = child.wait();
    };
    // Without a thread there is a zombie until we end, and nothing else is wrong.
    let _ = thread::Builder::new().name("pvectl-reaper".into()).stack_size(64 * 1024).spawn(waiting);
}

fn private_directory(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| at("make the directory", path, error))
}

/// What was made for a start, and goes away if nothing comes of it.
#[derive(Default)]
struct Made {
    paths: Vec<PathBuf>,
    keep: bool,
}

impl Made {
    /// A new file, to which is only added. No VMM lives, so one that is there is of a start that the row has forgotten: it
    /// was lost with the power.
    fn file(&mut self, path: PathBuf) -> Result<File> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at("remove", &path, error)),
            _ => {}
        }
        let opened = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| at("make", &path, error))?;
        self.paths.push(path);
        Ok(file)
    }

    /// A link, unless it is there.
    fn link(&mut self, to: &Path, path: PathBuf) -> Result<()> {
        if fs::read_link(&path).is_ok_and(|there| there == to) {
            return Ok(());
        }
        let _ = fs::remove_file(&path);
        symlink(to, &path).map_err(|error| at("make the link", &path, error))?;
        self.paths.push(path);
        Ok(())
    }

    fn listener(&mut self, path: PathBuf) -> Result<UnixListener> {
        let listener = listener(&path)?;
        self.paths.push(path);
        Ok(listener)
    }
}

/// Listens on a socket that is for this user alone.
pub(super) fn listener(path: &Path) -> Result<UnixListener> {
    let listener = UnixListener::bind(path).map_err(|error| at("listen on", path, error))?;
    match fs::set_permissions(path, Permissions::from_mode(0o600)) {
        Ok(()) => Ok(listener),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(at("protect", path, error))
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.keep {
            for path in &self.paths {
                // The failure that led here is the one to tell.
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
