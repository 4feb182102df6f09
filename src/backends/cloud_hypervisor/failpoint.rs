//! Places where a test may kill the process: after each step that lasts or that somebody else sees.
//!
//! For builds with debug assertions only. In others `reach` is empty and inlined, so neither a branch nor a name of it is
//! left, and nothing can arm one. A new point is a line in the table below and a `reach(Point::…)` where it is; the
//! tests that kill at all of them read the table.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Whether this build has them.
pub const ARE_HERE: bool = cfg!(debug_assertions);

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// A place where a test may kill the process.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($(#[$doc])* $name,)+ }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it is called where it is armed.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

points! {
    /// A task is written down.
    TaskBegun = "task-begun",
    /// The row and the intent of a new VM are written down.
    RowMade = "row-made",
    /// An intent is written down.
    IntentBegun = "intent-begun",
    /// An intent is written down anew: what it makes, or that it is committed.
    IntentRevised = "intent-revised",
    /// Settings are changed.
    Configured = "configured",
    /// The VMM that was started is written down.
    ProcessRecorded = "process-recorded",
    /// What became of a VM is about to be written down.
    Settling = "settling",
    /// It is.
    Settled = "settled",
    /// A row is about to go.
    RowGoing = "row-going",
    /// It is gone.
    RowGone = "row-gone",
    /// A task's end is about to be written down.
    TaskEnding = "task-ending",
    /// It is.
    TaskEnded = "task-ended",
    /// A VM's operation lock is held.
    Locked = "locked",
    /// A device of the host is written down as lent.
    DeviceLent = "device-lent",
    /// The host's driver has it no more.
    DeviceTaken = "device-taken",
    /// The files of a start are there, and no process.
    SpawnPrepared = "spawn-prepared",
    /// A VMM runs.
    Spawned = "spawned",
    /// Where a share will be served is written down.
    ShareBegun = "share-begun",
    /// What keeps its virtiofsd up runs.
    ShareSpawned = "share-spawned",
    /// That is written down.
    ShareRecorded = "share-recorded",
    /// What it is to be told is kept.
    SentKept = "sent-kept",
    /// It has the VM.
    VmCreated = "vm-created",
    /// The VM runs in it.
    VmBooted = "vm-booted",
    /// A guest was asked to power off.
    ButtonPressed = "button-pressed",
    /// A VMM was told to end.
    EndAsked = "end-asked",
    /// It has ended.
    VmmEnded = "vmm-ended",
    /// One of the actions that mend something is done.
    Acted = "acted",
    /// A file of a disk is begun, under its other name.
    FileBegun = "file-begun",
    /// It is whole, and in its place.
    FilePlaced = "file-placed",
    /// A piece of a copy or of a download is written.
    PieceWritten = "piece-written",
    /// An image is in its place, and the index does not have it.
    ImagePlaced = "image-placed",
    /// The reference counts of a disk that grows are set.
    CountsSet = "counts-set",
    /// All that a disk needs to be larger is there, but that it says so.
    GrowthReady = "growth-ready",
    /// It says so.
    Grown = "grown",
    /// One of several files is moved.
    FileMoved = "file-moved",
    /// One of several files is gone.
    FileGone = "file-gone",
    /// The tap of a card is there.
    TapMade = "tap-made",
    /// It is gone.
    TapGone = "tap-gone",
    /// The VMM has changed something of a VM that runs.
    LiveDone = "live-done",
    /// What it has now is kept.
    LiveKept = "live-kept",
    /// A VM stands still, to be copied or saved.
    Paused = "paused",
    /// It goes on.
    Resumed = "resumed",
    /// Its memory is on the disk, whole.
    MemoryKept = "memory-kept",
    /// It is read back, and the VM has not run.
    MemoryRead = "memory-read",
    /// Something is in the queue.
    Queued = "queued",
    /// The task of something that waited is taken up.
    TaskTaken = "task-taken",
}

/// The armed one, and how many times it is still passed before it kills.
static ARMED: OnceLock<(Point, AtomicU32)> = OnceLock::new();

/// The file into which the words of all that are passed are written.
static TELLING: OnceLock<PathBuf> = OnceLock::new();

/// Arms one: its word, and after a colon at which passing it kills if that is not the first (`settled:2`). `tell:FILE`
/// kills nobody, and writes down which are passed. Does nothing for other words, and in builds without them.
pub fn arm(order: &str) {
    let (word, count) = order.split_once(':').unwrap_or((order, "1"));
    if ARE_HERE && word == "tell" {
        let _ = TELLING.set(count.into());
    } else if ARE_HERE
        && let Some(point) = Point::ALL.iter().find(|point| point.word() == word)
        && let Ok(count) = count.parse()
    {
        // Whoever came first is heard.
        let _ = ARMED.set((*point, AtomicU32::new(count)));
    }
}

/// The process is here: it is killed if that is where it is to be.
#[inline(always)]
pub(super) fn reach(point: Point) {
    if ARE_HERE {
        passed(point);
    }
}

fn passed(point: Point) {
    if let Some(file) = TELLING.get() {
        // A test that misses a line notices.
        let opened = OpenOptions::new().create(true).append(true).open(file);
        let _ = opened.and_then(|mut file| writeln!(file, "{}", point.word()));
    }
    let Some((armed, left)) = ARMED.get() else { return };
    if *armed == point && left.fetch_sub(1, Ordering::Relaxed) == 1 {
        // As a loss of power would: nothing is unwound or flushed.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn text_below(directory: &Path) -> String {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let texts = entries.map(|path| match path.is_dir() {
            true => text_below(&path),
            false => fs::read_to_string(path).unwrap(),
        });
        texts.collect()
    }

    #[test]
    fn each_point_is_somewhere_and_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Point::ALL.iter().map(|point| point.word()).collect();
        assert_eq!(words.len(), Point::ALL.len());
        let text = text_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backends/cloud_hypervisor"));
        for point in Point::ALL {
            assert!(text.contains(&format!("reach(Point::{point:?})")), "nobody passes {point:?}");
        }
    }
}
