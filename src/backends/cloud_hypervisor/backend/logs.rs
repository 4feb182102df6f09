//! The logs of a VM: what its guest said, and what its VMM says of itself. The last few starts are kept.
//!
//! Files only; how what the guest says comes into its file is in `console`.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, DuplexStream, ReadBuf},
    sync::oneshot,
};

use super::{
    Local,
    console::{Port, port},
};
use crate::{
    backends::{
        LogOf, LogReader, LogRequest,
        cloud_hypervisor::{
            host::{self, FileWatch, Places},
            state::Vm,
            vmm::events::{Event, parse},
        },
    },
    model::{Class, Error, GuestRef, Hint, Result},
};

/// Of how many starts the logs are kept, the present one among them.
const KEPT: u64 = 5;
/// How much is read at once.
const CHUNK: usize = 64 * 1024;

impl Local {
    pub(super) async fn open_log(&self, guest: &GuestRef, request: &LogRequest) -> Result<LogReader> {
        let vm = self.row(guest)?;
        let places = self.places(&vm);
        let generation = u64::from(vm.generation);
        if generation == 0 {
            return Err(Error::conflict(format!("VM {} was never started: it has no log", vm.vmid))
                .with_hint(Hint::Text(format!("start it: pvectl vm start {}", vm.vmid))));
        }
        let mut tails = match request.of {
            LogOf::Vmm => {
                vec![Tail::new(places.log(generation), Form::Lines), Tail::new(places.events(generation), Form::Events)]
            }
            LogOf::Guest => {
                self.fetch_said(&vm).await;
                vec![Tail::new(places.serial_log(generation), Form::Lines)]
            }
        };
        let failed = |error: io::Error| {
            Error::new(Class::Failed, format!("cannot read the log of VM {}: {error}", vm.vmid)).with_source(error)
        };
        // Before it is read: what is written from now on wakes the watch.
        let watch = match request.follow {
            true => self.watch(&vm, &tails).map_err(failed)?,
            false => None,
        };
        let first = match tails.as_mut_slice() {
            [guest] => First::File(guest.begin_at(request.lines).map_err(failed)?),
            tails => First::Text(last_lines(&by_time(tails).map_err(failed)?, request.lines)),
        };
        if request.of == LogOf::Guest && port(&vm) == Port::None && matches!(&first, First::File(0)) {
            return Err(Error::conflict(format!("VM {} has no serial port whose output could be kept", vm.vmid))
                .with_hint(Hint::Text(format!(
                    "give it one, and restart it: pvectl vm update {} --serial0 socket; --vmm shows the VMM's own log",
                    vm.vmid
                ))));
        }
        let (near, far) = tokio::io::duplex(CHUNK);
        let listen = request.of == LogOf::Guest && watch.is_some() && port(&vm) == Port::Console;
        let ((listening, left), (sending, mut unread)) = (oneshot::channel(), oneshot::channel());
        if listen {
            let (me, vm) = (self.clone(), vm.clone());
            self.add_work(tokio::spawn(async move { me.listen_when_free(&vm, left).await }));
        }
        self.add_work(tokio::spawn(async move {
            // Who reads no more ends it, and there is nobody to tell of anything else.
            tokio::select! {
                _ = &mut unread => {}
                _ = send(tails, first, watch, far) => {}
            }
        }));
        Ok(Box::pin(Reading { log: near, _stay: [listening, sending] }))
    }

    /// What to wait for; `None` for a VM that is off.
    fn watch(&self, vm: &Vm, tails: &[Tail]) -> io::Result<Option<(FileWatch, host::Process)>> {
        let process = vm.process.as_ref().map(host::Process::find);
        let Some(Some(process)) = process.transpose().map_err(io::Error::other)? else { return Ok(None) };
        match FileWatch::new(tails.iter().map(|tail| tail.path.as_path())) {
            Ok(watch) => Ok(Some((watch, process))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts what the guest says into its file, once nobody else does, until nobody wants it any more.
    async fn listen_when_free(&self, vm: &Vm, mut gone: oneshot::Receiver<()>) {
        let line = tokio::select! {
            _ = &mut gone => return,
            line = self.wait_for_line(vm, "logs -f") => line,
        };
        if let Ok(Some(line)) = line {
            line.listen(gone).await;
        }
    }
}

/// A log that somebody reads.
struct Reading {
    log: DuplexStream,
    /// Who works for it notices when this goes.
    _stay: [oneshot::Sender<()>; 2],
}

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.log).poll_read(cx, buf)
    }
}

/// Removes the logs of starts that are long over.
pub(super) fn drop_old(places: &Places, generation: u64) {
    for (path, of) in generations(&places.state) {
        if is_old(of, generation) {
            // One that stays is tried again at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// The logs in the directory of a VM, each with its start.
pub(super) fn generations(directory: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let of = |name: &str| {
        let rest = ["vmm-", "serial-", "events-"].iter().find_map(|kind| name.strip_prefix(kind))?;
        rest.split_once('.')?.0.parse().ok()
    };
    entries.filter_map(|entry| Some((entry.path(), of(entry.file_name().to_str()?)?))).collect()
}

/// Whether that many starts back is too long ago to keep logs of.
pub(super) fn is_old(of: u64, generation: u64) -> bool {
    of + KEPT <= generation
}

/// How what stands in a file is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is.
    Lines,
    /// Events of the VMM, a line each.
    Events,
}

/// A file that is read on from where one stands.
struct Tail {
    path: PathBuf,
    form: Form,
    at: u64,
}

/// What is sent first.
enum First {
    /// The file from where its tail stands; it has so many bytes.
    File(u64),
    /// This.
    Text(String),
}

impl Tail {
    fn new(path: PathBuf, form: Form) -> Self {
        Self { path, form, at: 0 }
    }

    /// What is new.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // One that was cut goes on at its end.
        self.at = self.at.min(file.metadata()?.len());
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take(CHUNK as u64).read_to_end(&mut bytes)?;
        match self.form {
            Form::Lines => {
                self.at += bytes.len() as u64;
                Ok(bytes)
            }
            Form::Events => {
                let (events, taken) = parse(&bytes);
                self.at += taken as u64;
                Ok(events.iter().map(event_line).collect::<String>().into_bytes())
            }
        }
    }

    /// Goes to the last so many lines, and gives how many bytes the file has.
    fn begin_at(&mut self, lines: Option<usize>) -> io::Result<u64> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        self.at = lines.map_or(Ok(0), |lines| start_of_last(&mut file, length, lines))?;
        Ok(length)
    }
}

/// Where the last so many lines of a file begin. What stands behind the last line end is a line too.
fn start_of_last(file: &mut (impl io::Read + io::Seek), length: u64, lines: usize) -> io::Result<u64> {
    let (mut end, mut left) = (length, lines);
    if lines == 0 {
        return Ok(length);
    }
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        file.seek(SeekFrom::Start(start))?;
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or(CHUNK)];
        file.read_exact(&mut chunk)?;
        for (place, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + place as u64 + 1;
            if after == length {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(0)
}

fn last_lines(text: &str, lines: Option<usize>) -> String {
    let skip = lines.map_or(0, |lines| text.lines().count().saturating_sub(lines));
    text.split_inclusive('\n').skip(skip).collect()
}

/// An event as a line of the VMM's log would say it.
fn event_line(event: &Event) -> String {
    let (secs, micros) = (event.timestamp.secs, event.timestamp.nanos / 1000);
    let more =
        event.properties.as_ref().filter(|more| !more.is_null()).map_or(String::new(), |more| format!(" {more}"));
    format!("cloud-hypervisor: {secs:>3}.{micros:06}s: <event> {} {}{more}\n", event.source, event.event)
}

/// All of several files in the order of time, as their lines tell it: seconds since the start of the VMM.
fn by_time(tails: &mut [Tail]) -> io::Result<String> {
    let mut lines = Vec::new();
    for tail in tails {
        let mut text = Vec::new();
        loop {
            let more = tail.read()?;
            if more.is_empty() {
                break;
            }
            text.extend(more);
        }
        let mut now = 0.0;
        for line in String::from_utf8_lossy(&text).split_inclusive('\n') {
            // A line without a time belongs to the one before it.
            now = time_of(line).unwrap_or(now);
            lines.push((now, line.to_owned()));
        }
    }
    lines.sort_by(|one, other| f64::total_cmp(&one.0, &other.0));
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn time_of(line: &str) -> Option<f64> {
    line.strip_prefix("cloud-hypervisor:")?.split_once("s:")?.0.trim().parse().ok()
}

/// Sends what is there, and what is added until the VM is off.
async fn send(
    mut tails: Vec<Tail>,
    first: First,
    watch: Option<(FileWatch, host::Process)>,
    mut to: DuplexStream,
) -> io::Result<()> {
    if let First::Text(text) = first {
        to.write_all(text.as_bytes()).await?;
    }
    send_new(&mut tails, &mut to).await?;
    let Some((watch, process)) = watch else { return Ok(()) };
    loop {
        let ended = tokio::select! {
            written = watch.written() => {
                written?;
                false
            }
            ended = process.ended(None) => {
                ended.map_err(io::Error::other)?;
                true
            }
        };
        if ended {
            // Whoever listens to the guest has its last words yet to write.
            let _ = tokio::time::timeout(LAST_WORDS, watch.written()).await;
        }
        send_new(&mut tails, &mut to).await?;
        if ended {
            return Ok(());
        }
    }
}

/// How long the last words of a guest may take to its file.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(200);

async fn send_new(tails: &mut [Tail], to: &mut DuplexStream) -> io::Result<()> {
    for tail in tails {
        loop {
            let more = tail.read()?;
            if more.is_empty() {
                break;
            }
            to.write_all(&more).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_last_lines_begin_where_they_begin() {
        let text = "one\ntwo\nthree\nhalf";
        let from = |text: &str, lines| {
            let at = start_of_last(&mut Cursor::new(text), text.len() as u64, lines).unwrap();
            text[at as usize..].to_owned()
        };
        assert_eq!(from(text, 0), "");
        assert_eq!(from(text, 1), "half");
        assert_eq!(from(text, 3), "two\nthree\nhalf");
        assert_eq!(from(text, 9), text);
        assert_eq!(from("one\ntwo\n", 1), "two\n");
        assert_eq!(from("", 3), "");
        let long: String = (0..30_000).map(|line| format!("{line}\n")).collect();
        assert_eq!(from(&long, 20_000), long[long.find("10000\n").unwrap()..]);
    }

    #[test]
    fn two_files_are_one_log_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = "cloud-hypervisor:   0.006852s: <vcpu0> WARN: late\n  more of it\ncloud-hypervisor:  12.000000s: <vmm> end\n";
        fs::write(dir.path().join("vmm-1.log"), log).unwrap();
        let event = |secs, nanos, what| {
            format!(
                "{{\"timestamp\":{{\"secs\":{secs},\"nanos\":{nanos}}},\"source\":\"vm\",\"event\":\"{what}\",\"properties\":null}}\n\n"
            )
        };
        fs::write(dir.path().join("events-1.json"), event(0, 921_084, "booting") + &event(7, 0, "booted")).unwrap();
        let mut tails = [
            Tail::new(dir.path().join("vmm-1.log"), Form::Lines),
            Tail::new(dir.path().join("events-1.json"), Form::Events),
        ];
        let text = by_time(&mut tails).unwrap();
        let want = "cloud-hypervisor:   0.000921s: <event> vm booting\n\
                    cloud-hypervisor:   0.006852s: <vcpu0> WARN: late\n  more of it\n\
                    cloud-hypervisor:   7.000000s: <event> vm booted\ncloud-hypervisor:  12.000000s: <vmm> end\n";
        assert_eq!(text, want);
        assert_eq!(last_lines(&text, Some(1)), "cloud-hypervisor:  12.000000s: <vmm> end\n");
    }

    #[test]
    fn logs_of_old_starts_go() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { state: dir.path().to_owned(), run: dir.path().to_owned() };
        for generation in 1..=9 {
            for path in [places.log(generation), places.events(generation), places.serial_log(generation)] {
                fs::write(path, "x").unwrap();
            }
        }
        fs::write(dir.path().join("vmm-old.log"), "not ours").unwrap();
        drop_old(&places, 9);
        let mut left: Vec<u64> = generations(dir.path()).into_iter().map(|(_, of)| of).collect();
        left.sort_unstable();
        assert_eq!(left, [5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9]);
        assert!(dir.path().join("vmm-old.log").exists());
    }
}
