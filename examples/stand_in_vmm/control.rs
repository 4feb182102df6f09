//! What a test tells the stand-in: a file `stand-in.json`, read anew at every request.
//!
//! The VMM starts with an empty environment and fixed arguments, so the file is looked for in the folder of the log file
//! and, for all VMMs at once, beside the executable as it was called.
//!
//! ```json
//! {
//!   "guest": "deaf",
//!   "faults": {"vm.boot": "hang", "vm.pause": ["fail", "", {"delay_ms": 500}]},
//!   "counters": {"_disk0": {"read_bytes": 4096}},
//!   "serial": "booting\n",
//!   "version": "54.0.0"
//! }
//! ```
//! `guest` is `deaf` (it hears neither button nor eject; the default) or `polite` (it does as asked, after
//! `guest_delay_ms`). A fault is `hang` (and with it everything else), `die-before`, `die-after` (done, not answered),
//! `fail`, or a delay; in an array each time the next, `""` for none, and none after the last. `counters` are taken
//! instead of the usual ones. `serial` is what the guest says on its serial port at every boot; such a guest echoes
//! what is typed, and powers off at a `q`. Signals: USR1 lets the guest power off, USR2 reset itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Orders {
    guest: String,
    guest_delay_ms: u64,
    faults: BTreeMap<String, Value>,
    pub(crate) counters: BTreeMap<String, Value>,
    pub(crate) serial: String,
    pub(crate) version: Option<String>,
}

/// What a request is to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Hang,
    DieBefore,
    DieAfter,
    Fail,
    Delay(Duration),
}

#[derive(Debug, Default)]
pub(crate) struct Control {
    files: Vec<PathBuf>,
    calls: BTreeMap<String, usize>,
}

impl Control {
    pub(crate) fn beside(program: &str, log: Option<&Path>) -> Self {
        let folders = log.into_iter().chain([Path::new(program)]).filter_map(Path::parent);
        Self { files: folders.map(|folder| folder.join("stand-in.json")).collect(), calls: BTreeMap::new() }
    }

    pub(crate) fn orders(&self) -> Orders {
        let text = self.files.iter().find_map(|file| fs::read(file).ok());
        // A test with a wrong file should notice.
        text.map(|text| serde_json::from_slice(&text).expect("stand-in.json cannot be read")).unwrap_or_default()
    }

    /// What this call is to suffer; counts calls.
    pub(crate) fn fault(&mut self, verb: &str) -> Option<Fault> {
        let orders = self.orders();
        let order = orders.faults.get(verb)?;
        let count = self.calls.entry(verb.to_owned()).or_default();
        let order = if let Value::Array(each) = order { each.get(*count)? } else { order };
        *count += 1;
        match (order.as_str(), order.get("delay_ms").and_then(Value::as_u64)) {
            (_, Some(milliseconds)) => Some(Fault::Delay(Duration::from_millis(milliseconds))),
            (Some("hang"), _) => Some(Fault::Hang),
            (Some("die-before"), _) => Some(Fault::DieBefore),
            (Some("die-after"), _) => Some(Fault::DieAfter),
            (Some("fail"), _) => Some(Fault::Fail),
            _ => None,
        }
    }
}

impl Orders {
    /// How long the guest takes to do as asked; `None`: forever.
    pub(crate) fn polite(&self) -> Option<Duration> {
        (self.guest == "polite").then(|| Duration::from_millis(self.guest_delay_ms))
    }
}
