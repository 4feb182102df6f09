//! How the node is: what `/nodes/{node}/status` tells, from the kernel's files.
//!
//! What a system does not tell is nought or empty there, as on a node that has none of it.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Host, metrics::processor_time};
use crate::server::{Fault, Reply, Request};

/// Over how long the load is told at least: the kernel counts in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(500);

/// How busy the processors were between two looks.
#[derive(Default)]
pub(super) struct Load(Mutex<Option<Looked>>);

/// A look: when it was, the seconds of work and of idleness until then, and the share that was told.
struct Looked {
    at: Instant,
    time: [f64; 2],
    share: f64,
}

impl Load {
    /// The share, 0 to 1, of the time since the look before, or what was told then if that was just now; nought at first.
    pub(super) fn share(&self) -> f64 {
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = looked.as_ref().filter(|last| last.at.elapsed() < SHORTEST) {
            return last.share;
        }
        let Some(time) = processor_time() else { return 0.0 };
        let share = looked.as_ref().map_or(0.0, |last| share(last.time, time));
        *looked = Some(Looked { at: Instant::now(), time, share });
        share
    }
}

/// The share of work, 0 to 1, between two moments.
fn share(before: [f64; 2], now: [f64; 2]) -> f64 {
    let [busy, idle] = [now[0] - before[0], now[1] - before[1]];
    if busy + idle > 0.0 { (busy / (busy + idle)).clamp(0.0, 1.0) } else { 0.0 }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first value of a key in a text of `key : value` lines.
fn first<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    all(text, key).next()
}

fn all<'t>(text: &'t str, key: &str) -> impl Iterator<Item = &'t str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, v)| v.trim())
}

/// A size of `/proc/meminfo`, bytes.
fn bytes(meminfo: &str, key: &str) -> u64 {
    let kib = first(meminfo, key).and_then(|value| value.strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// What there is of something, what of it is free, and what is in use.
fn amount(total: u64, free: u64) -> Value {
    json!({"total": total, "free": free, "used": total.saturating_sub(free)})
}

/// The processors, as `/proc/cpuinfo` has them.
fn processors(cpuinfo: &str) -> Value {
    let text = |key| first(cpuinfo, key).unwrap_or_default();
    let count = all(cpuinfo, "processor").count();
    let sockets = all(cpuinfo, "physical id").collect::<BTreeSet<_>>().len().max(1);
    let flags = text("flags");
    let hvm = flags.split(' ').any(|flag| ["vmx", "svm"].contains(&flag));
    json!({
        "cpus": count,
        "cores": text("cpu cores").parse::<usize>().unwrap_or(count),
        "sockets": sockets,
        "model": text("model name"),
        "vendor": text("vendor_id"),
        "family": text("cpu family"),
        "mhz": text("cpu MHz"),
        "flags": flags,
        "hvm": if hvm { "1" } else { "" },
        "user_hz": 100,
    })
}

impl Host {
    pub(super) async fn node_status(&self, _: &Request) -> Result<Reply, Fault> {
        let picture = self.view.picture().await?;
        let node = picture.nodes.first().ok_or_else(|| Fault::die("the node does not tell how it is"))?;
        let [disk, all] =
            ["disk", "maxdisk"].map(|key| node.other.get(key).and_then(Value::as_u64).unwrap_or_default());
        let mut root = amount(all, all.saturating_sub(disk));
        root["avail"] = root["free"].clone();
        let meminfo = read("/proc/meminfo");
        let of = |key| bytes(&meminfo, key);
        let mut memory = amount(of("MemTotal"), of("MemAvailable"));
        memory["available"] = of("MemAvailable").into();
        memory["free"] = of("MemFree").into();
        let [system, release, version] =
            ["ostype", "osrelease", "version"].map(|name| read(&format!("/proc/sys/kernel/{name}")));
        let mode = if fs::exists("/sys/firmware/efi").unwrap_or_default() { "efi" } else { "legacy-bios" };
        Ok(Reply::data(json!({
            "cpu": node.cpu.unwrap_or_default(),
            "wait": 0,
            "idle": 0,
            "uptime": node.uptime,
            "loadavg": read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>(),
            "memory": memory,
            "swap": amount(of("SwapTotal"), of("SwapFree")),
            "rootfs": root,
            "ksm": {"shared": 0},
            "cpuinfo": processors(&read("/proc/cpuinfo")),
            "boot-info": {"mode": mode},
            "kversion": format!("{system} {release} {version}"),
            "current-kernel": {
                "sysname": system, "release": release, "version": version, "machine": std::env::consts::ARCH,
            },
            "pveversion": format!("pvectl/{}", env!("CARGO_PKG_VERSION")),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let meminfo = "MemTotal:       24684092 kB\nMemAvailable:   2 kB\nHugePages_Total:       3\n";
        assert_eq!((bytes(meminfo, "MemTotal"), bytes(meminfo, "MemFree")), (24_684_092 * 1024, 0));
        let one = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nphysical id\t: 0\ncpu cores\t: 2\nflags\t\t: fpu svm lm\n";
        let seen = processors(&format!("{one}\n{}", one.replace("processor\t: 0", "processor\t: 1")));
        assert_eq!((&seen["cpus"], &seen["cores"], &seen["sockets"]), (&json!(2), &json!(2), &json!(1)));
        assert_eq!((&seen["model"], &seen["hvm"]), (&json!("AMD EPYC"), &json!("1")));
        assert_eq!(processors("")["sockets"], 1);
    }

    #[test]
    fn who_asks_first_hears_nothing_of_the_load() {
        let load = Load::default();
        assert_eq!(load.share(), 0.0);
        assert!((0.0..=1.0).contains(&load.share()));
    }

    #[test]
    fn the_load_is_the_share_of_the_work_between_two_looks() {
        assert_eq!(share([10.0, 10.0], [11.0, 13.0]), 0.25);
        assert_eq!(share([10.0, 10.0], [10.0, 10.0]), 0.0, "no time has gone by");
        assert_eq!(share([10.0, 10.0], [11.0, 9.0]), 0.0, "a clock that went back");
    }
}
