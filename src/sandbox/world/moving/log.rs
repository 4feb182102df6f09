//! The log of a guest that goes to another node, line by line as a real server writes it.
//!
//! What goes and what does not is decided in [`moving`](super).

use super::Way;
use crate::{
    model::GuestKind,
    sandbox::world::{
        Millis,
        copying::{RATE, STEPS, mirror, short},
        guest::Guest,
        node::{GIB, Volume},
    },
};

/// A log that unfolds while a task is at work.
pub(super) struct Log {
    pub(super) lines: Vec<(f64, String)>,
    pub(super) began: Millis,
    pub(super) takes: f64,
}

impl Log {
    fn plain(&mut self, share: f64, text: impl Into<String>) {
        self.lines.push((share, text.into()));
    }

    /// A line with the time before it.
    pub(super) fn say(&mut self, share: f64, text: impl AsRef<str>) {
        let at = self.began + (self.takes * share) as Millis;
        let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
        let line = format!("{} {}", at.strftime("%Y-%m-%d %H:%M:%S"), text.as_ref());
        self.lines.push((share, line));
    }
}

pub(super) fn live(log: &mut Log, guest: &Guest, way: &Way<'_>, copied: &[&(String, Volume)]) {
    let (vmid, memory) = (guest.vmid, guest.memory());
    log.say(0.02, format!("starting VM {vmid} on remote node '{}'", way.to));
    for (old, new) in copied {
        log.say(0.05, format!("volume '{old}' is '{}' on the target", new.volid));
    }
    log.say(0.06, "start remote tunnel");
    log.say(0.06, "ssh tunnel ver 1");
    let key_of =
        |volid: &str| guest.disk_keys().find(|key| guest.volid(key).as_deref() == Some(volid)).map(str::to_owned);
    let disks: Vec<(String, u64)> = copied.iter().filter_map(|(old, new)| Some((key_of(old)?, new.size))).collect();
    if !disks.is_empty() {
        log.say(0.07, "starting storage migration");
    }
    let each = 0.5 / disks.len().max(1) as f64;
    for (index, (key, total)) in disks.iter().enumerate() {
        let from = 0.08 + each * index as f64;
        log.say(
            from,
            format!("{key}: start migration to nbd:unix:/run/qemu-server/{vmid}_nbd.migrate:exportname=drive-{key}"),
        );
        log.lines.extend(mirror(key, *total).into_iter().map(|(share, line)| (from + each * 0.95 * share, line)));
    }
    let uri = format!("unix:/run/qemu-server/{vmid}.migrate");
    log.say(0.6, format!("starting online/live migration on {uri}"));
    log.say(0.6, "set migration capabilities");
    log.say(0.6, "migration downtime limit: 100 ms");
    log.say(0.6, "migration cachesize: 256.0 MiB");
    log.say(0.6, "set migration parameters");
    log.say(0.6, format!("start migrate command to {uri}"));
    for step in 1..STEPS {
        let done = memory / STEPS * step;
        let line =
            format!("migration active, transferred {} of {} VM-state, {}/s", short(done), short(memory), short(RATE));
        log.say(0.6 + 0.3 * step as f64 / STEPS as f64, line);
    }
    log.say(0.92, format!("average migration speed: {}/s - downtime 41 ms", short(RATE)));
    log.say(0.92, format!("migration completed, transferred {} VM-state", short(memory)));
    log.say(0.93, "migration status: completed");
    for (key, _) in &disks {
        log.plain(0.94, format!("mirror-{key}: Completing block job..."));
        log.plain(0.95, format!("mirror-{key}: Completed successfully."));
        log.plain(0.95, format!("mirror-{key}: mirror-job finished"));
    }
    if !disks.is_empty() {
        log.say(0.96, "stopping NBD storage migration server on target.");
    }
}

pub(super) fn offline(log: &mut Log, guest: &Guest, way: &Way<'_>, copied: &[&(String, Volume)]) {
    let container = guest.kind == GuestKind::Lxc;
    if container && guest.is_running() {
        log.say(0.02, format!("shutdown CT {}", guest.vmid));
    }
    if !container && !copied.is_empty() {
        log.say(0.03, "copying local disk images");
    }
    let each = 0.8 / copied.len().max(1) as f64;
    for (index, (old, new)) in copied.iter().enumerate() {
        let from = 0.1 + each * index as f64;
        log.plain(from, format!("  Logical volume \"{}\" created.", new.name()));
        for step in 1..=STEPS {
            let done = new.size / STEPS * step;
            let (gb, gib) = (done as f64 / 1e9, done as f64 / GIB as f64);
            let took = (done / RATE).max(1);
            let rate = done as f64 / 1e6 / took as f64;
            let line = format!("{done} bytes ({gb:.1} GB, {gib:.1} GiB) copied, {took} s, {rate:.0} MB/s");
            log.plain(from + each * 0.9 * step as f64 / STEPS as f64, line);
        }
        log.say(from + each * 0.95, format!("successfully imported '{}'", new.volid));
        log.say(from + each * 0.95, format!("volume '{old}' is '{}' on the target", new.volid));
    }
    if container {
        log.say(0.95, "start final cleanup");
        if guest.is_running() {
            log.say(0.97, "start container on target node");
            log.say(
                0.97,
                format!("# /usr/bin/ssh -e none -o 'BatchMode=yes' root@{} pct start {}", way.to, guest.vmid),
            );
        }
    }
}
