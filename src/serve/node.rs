//! How the node is: what `/nodes/{node}/status` tells, from the kernel's files.
//!
//! What a system does not tell is nought or empty there, as on a node that has none of it.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::{Host, metrics::processor_time};
use crate::server::{Fault, Reply, Request};

/// How busy the processors were between two looks.
#[derive(Default)]
pub(super) struct Load(Mutex<Option<[f64; 2]>>);

impl Load {
    /// The share, 0 to 1, of the time since somebody asked before; nought for who asks first.
    fn since_before(&self) -> f64 {
        let Some(now) = processor_time() else { return 0.0 };
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        let Some(before) = before else { return 0.0 };
        let [busy, idle] = [now[0] - before[0], now[1] - before[1]];
        if busy + idle > 0.0 { (busy / (busy + idle)).clamp(0.0, 1.0) } else { 0.0 }
    }
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
            "cpu": self.load.since_before(),
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
        assert_eq!(load.since_before(), 0.0);
        assert!((0.0..=1.0).contains(&load.since_before()));
    }
}
