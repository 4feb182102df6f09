//! The file into which a VMM writes what happens (`--event-monitor`), read while it grows and after the VMM has died.
//!
//! The documents are separated by an empty line. The last one may be half-written; it counts when the line is there.
//! A verb's `…ing` event comes also when the verb then fails.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    net::unix::pipe,
    time::{Instant, timeout_at},
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// Since the VMM started.
    pub timestamp: Timestamp,
    /// Whose it is: `vmm`, `vm`, `guest`, `virtio-device`.
    pub source: String,
    /// What: `booted`.
    pub event: String,
    /// More about it, by name.
    #[serde(default)]
    pub properties: Option<Value>,
}

/// A time since the start of a VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Timestamp {
    /// Seconds.
    pub secs: u64,
    /// Nanoseconds on top.
    pub nanos: u32,
}

impl Event {
    /// Whether it is this one.
    pub fn is(&self, source: &str, event: &str) -> bool {
        self.source == source && self.event == event
    }

    /// A property's text.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.as_ref()?.get(name)?.as_str()
    }
}

/// How far a machine came, by its events alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It never ran.
    NeverBooted,
    /// It ran, and nothing says that it ended: if the process is gone, it died.
    Up,
    /// It was shut down: by its guest, or by whoever asked the VMM.
    Down,
}

/// How far the machine came.
pub fn last(events: &[Event]) -> Last {
    events.iter().fold(Last::NeverBooted, |so_far, event| match (event.source.as_str(), event.event.as_str()) {
        ("vm", "booted" | "rebooted" | "restored" | "resumed") => Last::Up,
        ("vm", "shutdown" | "deleted") if so_far == Last::Up => Last::Down,
        ("vmm", "shutdown") if so_far == Last::Up => Last::Down,
        _ => so_far,
    })
}

/// Whether this device is gone: `vm.remove-device` only asks, the guest lets go of it when it likes.
pub fn removed(events: &[Event], id: &str) -> bool {
    events.iter().any(|event| event.is("vm", "device-removed") && event.property("id") == Some(id))
}

/// Whether a driver of the guest's has taken this device, the first sign of life of most guests.
pub fn activated(events: &[Event], id: &str) -> bool {
    events.iter().any(|event| event.is("virtio-device", "activated") && event.property("id") == Some(id))
}

/// Reads the documents that are whole; returns them and how many bytes they took. One that is damaged is left out.
pub fn parse(bytes: &[u8]) -> (Vec<Event>, usize) {
    let mut events = Vec::new();
    let mut taken = 0;
    while let Some(end) = bytes[taken..].windows(2).position(|pair| pair == b"\n\n") {
        events.extend(serde_json::from_slice::<Event>(&bytes[taken..taken + end]).ok());
        taken += end + 2;
    }
    (events, taken)
}

/// An event file, read from where one stands.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
    offset: u64,
}

impl EventFile {
    /// Opens a file; the first read begins at its start.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self { file: File::open(&path)?, path, offset: 0 })
    }

    /// The whole of a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn all(path: &Path) -> io::Result<Vec<Event>> {
        Self::open(path)?.read()
    }

    /// Goes to the end: only what comes from now on is read. Do it before the call whose event is waited for.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn skip(&mut self) -> io::Result<()> {
        self.read().map(drop)
    }

    /// What is new.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.file.read_to_end(&mut bytes)?;
        let (events, taken) = parse(&bytes);
        self.offset += taken as u64;
        Ok(events)
    }

    /// Waits until the events from here on satisfy `enough`, and returns them; `None` if they do not within this time.
    /// Nothing is read while nothing is written. The VMM's death is no event: wait for that beside this.
    ///
    /// # Errors
    /// If the file cannot be read or watched.
    pub async fn wait(
        &mut self,
        within: Duration,
        mut enough: impl FnMut(&[Event]) -> bool,
    ) -> io::Result<Option<Vec<Event>>> {
        let deadline = Instant::now() + within;
        // Watched before it is read: what comes in between wakes us.
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, &self.path, inotify::WatchFlags::MODIFY)?;
        // To tokio a file descriptor that gets readable, like a pipe.
        let watch = pipe::Receiver::from_file_unchecked(File::from(watch))?;
        let mut events = Vec::new();
        loop {
            events.extend(self.read()?);
            if enough(&events) {
                return Ok(Some(events));
            }
            let Ok(ready) = timeout_at(deadline, watch.readable()).await else { return Ok(None) };
            ready?;
            let mut notes = [0; 4096];
            match watch.try_read(&mut notes) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn document(source: &str, event: &str, properties: &str) -> String {
        format!(
            "{{\n  \"timestamp\": {{\n    \"secs\": 1,\n    \"nanos\": 2\n  }},\n  \"source\": \"{source}\",\n  \
             \"event\": \"{event}\",\n  \"properties\": {properties}\n}}\n\n"
        )
    }

    #[test]
    fn half_a_document_waits_for_its_rest() {
        let whole = document("vm", "booted", "null");
        for cut in 0..whole.len() {
            let text = whole.clone() + &whole[..cut];
            assert_eq!(parse(text.as_bytes()).1, whole.len(), "cut at {cut}");
            assert_eq!(parse(text.as_bytes()).0.len(), 1);
        }
    }

    #[test]
    fn a_damaged_document_costs_only_itself() {
        let text = format!("{{\"timestamp\": {{\n\n{}", document("vm", "shutdown", "null"));
        assert_eq!(parse(text.as_bytes()).0.len(), 1);
    }

    #[test]
    fn the_last_word_is_found() {
        let of = |events: &[(&str, &str)]| {
            let text: String = events.iter().map(|(source, event)| document(source, event, "null")).collect();
            last(&parse(text.as_bytes()).0)
        };
        assert_eq!(of(&[("vmm", "starting"), ("vm", "booting")]), Last::NeverBooted);
        assert_eq!(of(&[("vm", "booted"), ("vm", "rebooting"), ("vm", "rebooted")]), Last::Up);
        assert_eq!(of(&[("vm", "booted"), ("vm", "shutdown")]), Last::Down);
        assert_eq!(of(&[("vm", "booted"), ("vmm", "shutdown")]), Last::Down);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_event_or_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.json");
        let mut write = File::create(&path).unwrap();
        write
            .write_all(document("vm", "device-removed", r#"{"id": "old", "bdf": "0000:00:05.0"}"#).as_bytes())
            .unwrap();
        let mut events = EventFile::open(&path).unwrap();
        events.skip().unwrap();
        let short = Duration::from_millis(20);
        assert_eq!(events.wait(short, |events| removed(events, "old")).await.unwrap(), None);
        let text = document("vm", "device-removed", r#"{"id": "data", "bdf": "0000:00:06.0"}"#);
        let writer = std::thread::spawn(move || {
            for byte in text.as_bytes().chunks(17) {
                write.write_all(byte).unwrap();
            }
        });
        let found = events.wait(Duration::from_secs(10), |events| removed(events, "data")).await.unwrap();
        writer.join().unwrap();
        assert!(removed(&found.unwrap(), "data"));
    }
}
