//! The figures of guests: two looks and what changed in between, or what a server kept of the past.
//!
//! Nothing is kept here.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Ops;
use crate::model::{Class, Error, Guest, GuestKind, NodeName, Result, Timeframe, Vmid, node_status};

/// How many guests are looked at at once.
const AT_ONCE: usize = 8;

/// What a guest uses. Bytes, seconds, shares of 1; what nobody measured is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The guest.
    pub vmid: Vmid,
    /// Its name.
    pub name: Option<String>,
    /// `qemu` or `lxc`.
    #[serde(rename = "type")]
    pub kind: GuestKind,
    /// Its node.
    pub node: NodeName,
    /// `running`, `paused`, `stopped`, ….
    pub status: String,
    /// Seconds since it was started.
    pub uptime: Option<u64>,
    /// Share of its processors in use; between the looks where the backend counts that, else as the backend says.
    pub cpu: Option<f64>,
    /// How many processors it has.
    #[serde(serialize_with = "plain")]
    pub cpus: Option<f64>,
    /// Memory in use.
    pub mem: Option<u64>,
    /// Memory that it has.
    pub maxmem: Option<u64>,
    /// Memory that it takes of its host.
    pub memhost: Option<u64>,
    /// Received from the network since it was started.
    pub netin: Option<u64>,
    /// Sent to the network.
    pub netout: Option<u64>,
    /// Read from its disks.
    pub diskread: Option<u64>,
    /// Written to its disks.
    pub diskwrite: Option<u64>,
    /// Per second between the looks; `None` with a single one.
    pub netin_rate: Option<f64>,
    /// Per second between the looks.
    pub netout_rate: Option<f64>,
    /// Per second between the looks.
    pub diskread_rate: Option<f64>,
    /// Per second between the looks.
    pub diskwrite_rate: Option<f64>,
    /// By disk, as Proxmox has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blockstat: Option<Value>,
    /// By network device of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<Value>,
}

/// A number without a fraction as one.
fn plain<S: Serializer>(number: &Option<f64>, to: S) -> std::result::Result<S::Ok, S::Error> {
    match number {
        Some(number) if number.fract() == 0.0 => to.serialize_i64(*number as i64),
        number => number.serialize(to),
    }
}

fn number(status: &Map<String, Value>, key: &str) -> Option<f64> {
    let value = status.get(key)?;
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

impl Metrics {
    /// From the second look at a guest, and the first with the seconds in between.
    fn new(guest: &Guest, now: &Map<String, Value>, before: Option<(&Map<String, Value>, f64)>) -> Self {
        let text = |key: &str| now.get(key).and_then(Value::as_str);
        let status = text("qmpstatus").or(text("status")).unwrap_or(&guest.status).to_owned();
        let on = text("status") == Some("running");
        let has = |key: &str| number(now, key);
        let whole = |key: &str| has(key).map(|value| value as u64);
        // Counters begin anew with every start: less than before is nothing to compare with.
        let since = |key: &str| {
            let (before, seconds) = before?;
            Some((has(key)? - number(before, key)?) / seconds).filter(|rate| *rate >= 0.0 && on)
        };
        let cpus = has("cpus").or(has("maxcpu")).or(guest.maxcpu);
        let share = since("cputime").zip(cpus).map(|(used, cpus)| (used / cpus.max(1.0)).min(1.0));
        Self {
            vmid: guest.vmid,
            name: guest.name.clone(),
            kind: guest.kind,
            node: guest.node.clone(),
            status,
            uptime: whole("uptime"),
            cpu: share.or(has("cpu")),
            cpus,
            mem: whole("mem"),
            maxmem: whole("maxmem"),
            memhost: whole("memhost"),
            netin: whole("netin"),
            netout: whole("netout"),
            diskread: whole("diskread"),
            diskwrite: whole("diskwrite"),
            netin_rate: since("netin"),
            netout_rate: since("netout"),
            diskread_rate: since("diskread"),
            diskwrite_rate: since("diskwrite"),
            blockstat: now.get("blockstat").cloned(),
            nics: now.get("nics").cloned(),
        }
    }
}

/// What was kept of a guest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// The guest.
    pub vmid: Vmid,
    /// Its name.
    pub name: Option<String>,
    /// `qemu` or `lxc`.
    #[serde(rename = "type")]
    pub kind: GuestKind,
    /// Its node.
    pub node: NodeName,
    /// Which of the server's series it is.
    pub timeframe: &'static str,
    /// The rows as the server has them, the oldest first.
    pub rows: Vec<Map<String, Value>>,
}

impl History {
    /// The points of a series: seconds since 1970, and the value where there is one.
    pub fn series(&self, key: &str) -> Vec<(f64, Option<f64>)> {
        self.rows.iter().filter_map(|row| Some((number(row, "time")?, number(row, key)))).collect()
    }
}

impl Ops {
    /// What was kept of a guest in this time. It ends with the server's last row, whatever the clock here says.
    ///
    /// # Errors
    /// [`Class::Usage`] where nothing is kept, or not so far back.
    pub async fn history(&self, guest: &Guest, since: Duration) -> Result<History> {
        let frame = Timeframe::reaching(since.as_secs())
            .ok_or_else(|| Error::usage("figures of guests are kept for a year"))?;
        let mut rows = self.backend().guest_history(&guest.reference(), frame).await?;
        let times = rows.iter().filter_map(|row| number(row, "time"));
        let begin = times.fold(0.0, f64::max) - since.as_secs_f64();
        rows.retain(|row| number(row, "time").is_some_and(|time| time > begin));
        Ok(History {
            vmid: guest.vmid,
            name: guest.name.clone(),
            kind: guest.kind,
            node: guest.node.clone(),
            timeframe: frame.as_str(),
            rows,
        })
    }

    /// The figures of guests, each looked at twice with this much time in between; once if that is none. A guest that is
    /// gone meanwhile is left out; so is one whose node does not answer, and why is among what is given beside.
    ///
    /// # Errors
    /// Whatever the backend says.
    pub async fn metrics(&self, guests: &[Guest], interval: Duration) -> Result<(Vec<Metrics>, Vec<Error>)> {
        let look = || async {
            let looks =
                stream::iter(guests).map(async |guest| match self.backend().guest_status(&guest.reference()).await {
                    Ok(status) => Ok(Some(Ok((status, Instant::now())))),
                    Err(error) if error.class() == Class::NotFound => Ok(None),
                    Err(error) if node_status(&error).is_some() => Ok(Some(Err(error))),
                    Err(error) => Err(error),
                });
            looks.buffered(AT_ONCE).try_collect::<Vec<_>>().await
        };
        let first = look().await?;
        let (before, now) = match interval.is_zero() {
            true => (first.iter().map(|_| None).collect(), first),
            false => {
                tokio::time::sleep(interval).await;
                (first, look().await?)
            }
        };
        let mut lost = Vec::new();
        let rows = guests.iter().zip(before).zip(now).filter_map(|((guest, before), now)| {
            let (now, at) = match now? {
                Ok(now) => now,
                Err(error) => {
                    lost.push(error.context(format_args!("cannot read {}", guest.reference())));
                    return None;
                }
            };
            let before = before
                .as_ref()
                .and_then(|before| before.as_ref().ok())
                .map(|(status, then)| (status, at.duration_since(*then).as_secs_f64()));
            Some(Metrics::new(guest, &now, before.filter(|(_, seconds)| *seconds > 0.0)))
        });
        let rows = rows.collect();
        Ok((rows, lost))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn guest() -> Guest {
        serde_json::from_value(json!({
            "vmid": 100, "name": "web", "type": "qemu", "node": "pve1", "status": "running", "maxcpu": 2
        }))
        .unwrap()
    }

    fn status(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_changed_between_two_looks_is_a_rate() {
        let before = status(json!({"cputime": 10.0, "netin": 1000, "diskread": 500}));
        let now = status(json!({
            "status": "running", "cputime": 11.0, "cpu": 0.1, "netin": 3000, "diskread": 100, "cpus": 2
        }));
        let both = Metrics::new(&guest(), &now, Some((&before, 2.0)));
        assert_eq!((both.cpu, both.netin_rate, both.netin), (Some(0.25), Some(1000.0), Some(3000)));
        // It was started anew in between.
        assert_eq!(both.diskread_rate, None);
        let one = Metrics::new(&guest(), &now, None);
        assert_eq!((one.cpu, one.netin_rate), (Some(0.1), None));
    }

    #[test]
    fn figures_may_be_texts() {
        let one = Metrics::new(&guest(), &status(json!({"status": "stopped", "mem": "12", "netout": null})), None);
        assert_eq!((one.status.as_str(), one.mem, one.netout, one.cpus), ("stopped", Some(12), None, Some(2.0)));
    }
}
