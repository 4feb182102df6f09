//! A directory that is shared with a guest: a virtiofsd that is kept up for as long as its VMM lives.
//!
//! A virtiofsd serves one connection and ends with it, and a VMM that resets its machine connects anew: nobody of ours is
//! there when a guest reboots by itself. So a shell keeps the socket open and starts the next virtiofsd on it. It reads
//! from a pipe into which nobody writes and whose other end the VMM alone has: when that ends, however it does, the
//! kernel says so, and the shell ends itself and all that it started. What should become of a share is decided elsewhere.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use command_fds::CommandFdExt;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::{Deserialize, Serialize};

use super::{
    Alive, FileWatch, Lock, Places, Process, ProcessId, at, hint, holders, probe, short_socket,
    spawn::{PATH, listener, reap, run},
};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Class, Error, Result},
};

/// Starts virtiofsd again whenever it has ended, later each time that it failed. What it said until it ended well is
/// forgotten: a guest that resets again and again shall not fill the disk. The shell itself waits for the end of its
/// input, or to be told, and takes everything with it.
const KEEPER: &str = "log=$1
shift
trap 'kill -KILL 0' HUP
while :; do
    pause=0
    if \"$@\"; then true >\"$log\"; else pause=$((n = n + 1)); fi
    echo \"pvectl: virtiofsd is started again\" >&2
    [ $pause = 0 ] || sleep $pause
done &
read -r end
kill -KILL 0
";
/// What the shell says before another start.
const AGAIN: &str = "pvectl: virtiofsd is started again";
/// What virtiofsd says once it takes connections.
const READY: &str = "Waiting for vhost-user socket connection";
/// How long it may take until then.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long those that were told to end may take.
const ORDERLY: Duration = Duration::from_secs(2);
/// How long those that were killed may take.
const KILLED: Duration = Duration::from_secs(10);
/// How the names of the files begin that say which shares are served; the key follows.
const PREFIX: &str = "share-";

impl Places {
    /// The pipe whose writing end the VMM has. It lies with the sockets: who reads all files of the other directory, to
    /// copy or to search them, would wait for it.
    pub fn pulse(&self) -> PathBuf {
        self.run.join("pulse")
    }

    /// What is written down of a share that is served, and the lock that all its processes hold.
    pub fn share(&self, key: &str) -> PathBuf {
        self.state.join(format!("{PREFIX}{key}"))
    }

    /// The socket of a share, unless somebody wants it elsewhere.
    pub fn share_socket(&self, key: &str) -> PathBuf {
        self.run.join(format!("{key}.sock"))
    }

    /// What the virtiofsd of a share says.
    pub fn share_log(&self, key: &str) -> PathBuf {
        self.state.join(format!("{key}.log"))
    }

    /// The keys of the shares that are served, or were when something was cut short.
    pub fn shares(&self) -> Vec<String> {
        let names = fs::read_dir(&self.state).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut keys: Vec<String> =
            names.filter_map(|name| Some(name.to_str()?.strip_prefix(PREFIX)?.into())).collect();
        keys.sort();
        keys
    }
}

/// What is to be served.
#[derive(Debug, Clone)]
pub struct Serving<'a> {
    /// virtiofsd, by its path.
    pub program: &'a Path,
    /// The VM's files.
    pub places: &'a Places,
    /// The key of the device.
    pub key: &'a str,
    /// Where it is to listen.
    pub socket: &'a Path,
    /// What else stands on its command line.
    pub args: &'a [String],
}

/// What is written down of a share: before anything of it is there, where its socket will be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Served {
    /// Its socket.
    pub socket: PathBuf,
    /// The shell that keeps it up.
    pub keeper: Option<ProcessId>,
}

impl Served {
    /// Reads it; what was cut short in the middle says nothing.
    fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::new(Class::Bug, "what is served cannot be written").with_source(error))?;
        // In place: the lock is on this very file.
        fs::write(path, text).map_err(|error| at("write", path, error))
    }
}

/// The keeper of a share, if it lives.
///
/// # Errors
/// When the lock or `/proc` cannot be read.
pub fn served(places: &Places, key: &str) -> Result<Option<ProcessId>> {
    let path = places.share(key);
    if probe(&path)? != Lock::Held {
        return Ok(None);
    }
    let keeper = Served::read(&path).keeper;
    Ok(keeper.filter(ProcessId::is_alive))
}

/// The pipe's end for the VMM. Both ends are opened for a moment: each of them waits for the other else.
pub(super) fn pulse(places: &Places) -> Result<OwnedFd> {
    let path = places.pulse();
    match mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(at("make", &path, error.into())),
    }
    let open = |options: &mut OpenOptions| options.open(&path).map_err(|error| at("open", &path, error));
    let _both = open(OpenOptions::new().read(true).write(true))?;
    Ok(open(OpenOptions::new().write(true))?.into())
}

/// The pipe's end for a keeper: at its end at once if no VMM lives.
fn listening(places: &Places) -> Result<File> {
    let path = places.pulse();
    let open = |options: &mut OpenOptions| options.open(&path).map_err(|error| at("open", &path, error));
    let both = open(OpenOptions::new().read(true).write(true))?;
    let one = open(OpenOptions::new().read(true))?;
    drop(both);
    Ok(one)
}

/// Serves a directory to a VMM that lives. When this returns, virtiofsd takes its connection. When it fails, nothing of
/// it is left.
///
/// # Errors
/// [`Class::Usage`] for a socket with too long a path, [`Class::Failed`] with the last words of a virtiofsd that does not
/// come up.
pub async fn serve(serving: &Serving<'_>) -> Result<ProcessId> {
    let (places, key) = (serving.places, serving.key);
    short_socket(serving.socket)?;
    end_share(places, key).await?;
    // Ours are gone: this is somebody else's.
    if listens(serving.socket) {
        return Err(taken(serving.socket));
    }
    let done = async {
        let log = places.share_log(key);
        let keeper = start(serving, &log)?;
        came_up(&log).await?;
        Ok(keeper)
    };
    match done.await {
        Ok(keeper) => Ok(keeper),
        Err(error) => {
            end_share(places, key).await?;
            Err(error)
        }
    }
}

/// Somebody else listens on a socket.
pub fn taken(socket: &Path) -> Error {
    Error::conflict(format!("somebody listens on {} already", socket.display()))
        .with_hint(hint("leave --source out to use what is served there, or --socket to have one chosen"))
}

fn start(serving: &Serving<'_>, log: &Path) -> Result<ProcessId> {
    let (places, path) = (serving.places, serving.places.share(serving.key));
    let alive = Alive::take(&path)?;
    let mut served = Served { socket: serving.socket.to_owned(), keeper: None };
    served.write(&path)?;
    reach(Point::ShareBegun);
    alive.remove_stale_socket(serving.socket)?;
    let socket = OwnedFd::from(listener(serving.socket)?);
    let said = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(log);
    let said = said.map_err(|error| at("make", log, error))?;
    // From here on everybody adds to it.
    drop(said);
    let said = OpenOptions::new().append(true).open(log).map_err(|error| at("open", log, error))?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", KEEPER])
        // Its name for itself, by which it is known among processes.
        .arg(&path)
        .arg(log)
        .arg(serving.program)
        .arg(format!("--fd={}", socket.as_raw_fd()))
        .args(serving.args)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(listening(places)?)
        .stdout(Stdio::null())
        .stderr(said)
        .preserved_fds(vec![socket, alive.lend()?]);
    let child = run(command).map_err(|error| at("start", Path::new("/bin/sh"), error))?;
    alive.give();
    let keeper = ProcessId::of(child.id())?;
    reap(child);
    reach(Point::ShareSpawned);
    served.keeper = keeper.clone();
    served.write(&path)?;
    reach(Point::ShareRecorded);
    keeper.ok_or_else(|| Error::new(Class::Failed, format!("what keeps {} up has ended", serving.key)))
}

/// Waits until virtiofsd says that it takes connections.
async fn came_up(log: &Path) -> Result<()> {
    let cannot = |error| at("watch", log, error);
    let watch = FileWatch::new([log]).map_err(cannot)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = fs::read(log).map_err(|error| at("read", log, error))?;
        let said = String::from_utf8_lossy(&said);
        if said.contains(AGAIN) {
            let last = said.lines().rfind(|line| !line.starts_with(AGAIN)).unwrap_or("it said nothing");
            // Without its time and its name.
            let last = last.split_once("] ").filter(|_| last.starts_with('[')).map_or(last, |(_, what)| what);
            return Err(Error::new(Class::Failed, format!("virtiofsd does not run: {last}")));
        }
        if said.contains(READY) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, watch.written()).await {
            Ok(written) => written.map_err(cannot)?,
            Err(_) => {
                let seconds = PATIENCE.as_secs();
                let what = format!("virtiofsd was not ready within {seconds} seconds; see {}", log.display());
                return Err(Error::new(Class::Failed, what));
            }
        }
    }
}

/// Ends a share with all its processes, and removes its socket. One that is not served is no error.
///
/// # Errors
/// When a process of it cannot be ended.
pub async fn end_share(places: &Places, key: &str) -> Result<()> {
    let path = places.share(key);
    let served = Served::read(&path);
    end_holders(&path, served.keeper.as_ref()).await?;
    for socket in [served.socket, places.share_socket(key)] {
        let found = fs::symlink_metadata(&socket);
        if found.is_ok_and(|found| found.file_type().is_socket()) {
            gone(fs::remove_file(&socket), &socket)?;
        }
    }
    gone(fs::remove_file(&path), &path)
}

/// Ends all processes that hold the lock of a share: its keeper is told, who takes the others with it, and whoever is
/// left is killed.
///
/// # Errors
/// When one of them does not end.
pub async fn end_holders(path: &Path, keeper: Option<&ProcessId>) -> Result<()> {
    if let Some(keeper) = keeper.map(Process::find).transpose()?.flatten() {
        keeper.hang_up()?;
        keeper.ended(Some(ORDERLY)).await?;
    }
    let deadline = Instant::now() + KILLED;
    while probe(path)? == Lock::Held {
        for holder in holders(path)? {
            let Some(holder) = Process::find(&holder)? else { continue };
            holder.kill()?;
            holder.ended(Some(KILLED)).await?;
        }
        if Instant::now() >= deadline {
            return Err(Error::conflict(format!("a process that holds {} does not end", path.display())));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The files of shares below this directory that some process has open, whatever else is known of them. Processes of
/// other users are seen by root alone.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn shares_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let uuids = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for state in uuids {
        let places = Places { state, run: PathBuf::new() };
        for key in places.shares() {
            let path = places.share(&key);
            if probe(&path)? == Lock::Held {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a socket is listened on. It is not tried: a virtiofsd takes one connection and ends with it.
pub fn listens(path: &Path) -> bool {
    /// `__SO_ACCEPTCON` in the column of flags.
    const LISTENS: &str = "00010000";
    let is_socket = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let name = path.to_string_lossy();
    is_socket
        && table.lines().skip(1).any(|line| {
            let mut columns = line.split_whitespace();
            columns.nth(3) == Some(LISTENS) && columns.nth(3) == Some(&*name)
        })
}

/// What is gone already need not go.
fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_counts_while_somebody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share.sock");
        assert!(!listens(&path));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(listens(&path));
        drop(listener);
        assert!(path.exists() && !listens(&path), "what is left lying is nobody");
    }
}
