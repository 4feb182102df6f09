//! Which of the keys that were changed count by now, and which wait for the next start and why: told after a change.
//!
//! The change is done; that something about it cannot be asked for is no failure.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    cli::{cx::Cx, session::Session},
    model::{GuestRef, Vmid, is_disk_key},
    ops::{Outcome, Plan, Resolved, Status},
    tasks::tail,
};

/// What a guest may take while it runs, without numbers. That a name or a note counts at once is nothing to be told.
const HOT: [&str; 12] =
    ["balloon", "cpulimit", "cpuunits", "hostpci", "memory", "mp", "net", "swap", "usb", "vcpus", "cores", "virtiofs"];
/// How the log of a task says that a key waits, after the key: the reason follows.
const WAITS: &str = ": waits for the next start: ";
/// How many lines of a task are looked at for that.
const LINES: u64 = 200;

/// The keys that plans are to change, by guest.
#[derive(Default)]
pub(super) struct Touched(RefCell<BTreeMap<Vmid, Noted>>);

/// A guest, whether it runs, and the keys.
#[derive(Clone)]
struct Noted {
    guest: GuestRef,
    runs: bool,
    keys: Vec<String>,
}

impl Touched {
    /// Notes what a plan is to change.
    pub(super) fn note(&self, found: &Resolved, plan: &Plan) {
        let keys = plan.changes.iter().map(|change| change.key.clone()).collect();
        let runs = found.guest.status == "running";
        self.0.borrow_mut().insert(found.guest.vmid, Noted { guest: found.guest.reference(), runs, keys });
    }

    /// Tells what became of it.
    pub(super) async fn tell(&self, cx: &Cx, session: &Session, outcomes: &[Outcome]) {
        for outcome in outcomes.iter().filter(|outcome| matches!(outcome.status, Status::Ok | Status::Warning)) {
            let noted = self.0.borrow().get(&outcome.vmid).cloned();
            if let Some(noted) = noted {
                tell(cx, session, &noted, outcome).await;
            }
        }
    }
}

async fn tell(cx: &Cx, session: &Session, Noted { guest, runs, keys }: &Noted, outcome: &Outcome) {
    let backend = session.ops.backend();
    let Ok(pending) = backend.guest_pending(guest).await else { return };
    let waiting: Vec<&str> =
        pending.iter().filter(|pending| pending.waits()).map(|pending| pending.key.as_str()).collect();
    let hot = |key: &&str| {
        let family = key.trim_end_matches(|c: char| c.is_ascii_digit());
        is_disk_key(key) || HOT.contains(&family)
    };
    let live: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !waiting.contains(key)).filter(hot).collect();
    if *runs && outcome.changed && !live.is_empty() {
        cx.ui.say(format_args!("{guest}: changed while it runs: {}", live.join(", ")));
    }
    if waiting.is_empty() {
        return;
    }
    cx.ui.say(format_args!(
        "{guest}: {} will apply at the next start (pvectl {} restart {})",
        waiting.join(", "),
        guest.kind,
        guest.vmid
    ));
    let Some(upid) = &outcome.upid else { return };
    for line in tail(backend, upid, LINES).await {
        if let Some((key, why)) = line.t.split_once(WAITS) {
            // A warning is told anyway.
            if !key.contains(' ') {
                cx.ui.say(format_args!("  {key}: {why}"));
            }
        }
    }
}
