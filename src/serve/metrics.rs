//! What a served host counts and measures, as Prometheus reads it.
//!
//! Counters live as long as the process; what a moment is like is asked of the backend when somebody reads. The names are
//! in the guide, and a test holds them against it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, http::header, routing::get};
use tokio::net::TcpListener;

use super::Host;
use crate::{
    backends::TaskQuery,
    model::{Result, Verdict},
};

/// The upper ends of the classes of duration, in seconds.
const CLASSES: [f64; 11] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Methods that are counted by name; who sends others chooses no names here.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "HEAD"];

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// By method and status.
    requests: BTreeMap<(&'static str, u16), u64>,
    /// By verb and result.
    actions: BTreeMap<(String, &'static str), Durations>,
    /// By result.
    heartbeats: BTreeMap<&'static str, u64>,
    /// When the last heartbeat arrived, in seconds since 1970.
    arrived: Option<i64>,
}

/// How long something took, by class.
#[derive(Debug, Default, Clone)]
struct Durations {
    classes: [u64; CLASSES.len()],
    count: u64,
    sum: f64,
}

impl Durations {
    fn add(&mut self, time: Duration) {
        let time = time.as_secs_f64();
        self.count += 1;
        self.sum += time;
        // A class holds all that are shorter.
        CLASSES.iter().zip(&mut self.classes).filter(|(end, _)| time <= **end).for_each(|(_, count)| *count += 1);
    }
}

impl Metrics {
    /// A request was answered.
    pub fn request(&self, method: &str, status: u16) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        *self.counted().requests.entry((method, status)).or_default() += 1;
    }

    /// An action is over.
    pub(super) fn action(&self, verb: &str, verdict: Verdict, time: Duration) {
        let result = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
            Verdict::Cancelled => "cancelled",
            Verdict::Unknown => "unknown",
        };
        self.counted().actions.entry((verb.to_owned(), result)).or_default().add(time);
    }

    /// A heartbeat was sent, and arrived at this time or not at all.
    pub(super) fn heartbeat(&self, arrived: Option<i64>) {
        let mut counted = self.counted();
        *counted.heartbeats.entry(if arrived.is_some() { "ok" } else { "failed" }).or_default() += 1;
        counted.arrived = arrived.or(counted.arrived);
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Text in the making: one family after another, each with its head.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A family of one sample, where there is one.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Metrics {
    fn counters(&self, text: &mut Text) {
        let counted = self.counted();
        text.family("pvectl_requests_total", "counter", "Requests that were answered, by method and status.");
        for ((method, status), count) in &counted.requests {
            text.sample("pvectl_requests_total", &[("method", method), ("status", &status.to_string())], *count as f64);
        }
        text.family("pvectl_actions_total", "counter", "Actions that ended, by verb and result.");
        for ((verb, result), durations) in &counted.actions {
            text.sample("pvectl_actions_total", &[("action", verb), ("result", result)], durations.count as f64);
        }
        let name = "pvectl_action_duration_seconds";
        text.family(name, "histogram", "How long actions took, by verb and result.");
        for ((verb, result), durations) in &counted.actions {
            let labels = [("action", verb.as_str()), ("result", *result)];
            let mut class = |end: &str, count: u64| {
                text.sample(&format!("{name}_bucket"), &[labels[0], labels[1], ("le", end)], count as f64);
            };
            CLASSES.iter().zip(durations.classes).for_each(|(end, count)| class(&end.to_string(), count));
            class("+Inf", durations.count);
            text.sample(&format!("{name}_sum"), &labels, durations.sum);
            text.sample(&format!("{name}_count"), &labels, durations.count as f64);
        }
        text.family("pvectl_heartbeats_total", "counter", "Heartbeats that were sent, by result.");
        for result in ["ok", "failed"] {
            let count = counted.heartbeats.get(result).copied().unwrap_or_default();
            text.sample("pvectl_heartbeats_total", &[("result", result)], count as f64);
        }
        let arrived = counted.arrived.map(|time| time as f64);
        let help = "When the last heartbeat arrived.";
        text.single("pvectl_heartbeat_last_success_timestamp_seconds", "gauge", help, arrived);
    }
}

impl Host {
    /// What is counted here.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// All of it, in Prometheus's text format.
    ///
    /// # Errors
    /// As the backend's reads.
    pub async fn metrics_text(&self) -> Result<String> {
        let mut text = Text::default();
        text.family("pvectl_build_info", "gauge", "The version that serves; always 1.");
        text.sample("pvectl_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let guests = self.backend.guests().await?;
        let mut states: BTreeMap<&str, u64> = ["running", "stopped"].into_iter().map(|state| (state, 0)).collect();
        guests.iter().for_each(|guest| *states.entry(&guest.status).or_default() += 1);
        text.family("pvectl_vms", "gauge", "VMs by state.");
        states.iter().for_each(|(state, count)| text.sample("pvectl_vms", &[("state", state)], *count as f64));
        let mut each = |name: &str, help: &str, value: &dyn Fn(&crate::model::Guest) -> Option<f64>| {
            text.family(name, "gauge", help);
            for guest in &guests {
                let labels = [("vmid", guest.vmid.to_string()), ("name", guest.label().to_string())];
                let labels = labels.each_ref().map(|(key, value)| (*key, value.as_str()));
                value(guest).into_iter().for_each(|value| text.sample(name, &labels, value));
            }
        };
        each("pvectl_vm_vcpus", "Processors of a VM.", &|guest| guest.maxcpu);
        each("pvectl_vm_memory_bytes", "Memory that a VM may use.", &|guest| guest.maxmem.map(|bytes| bytes as f64));
        each("pvectl_vm_memory_used_bytes", "Memory that a VM uses.", &|guest| guest.mem.map(|bytes| bytes as f64));
        self.metrics.counters(&mut text);
        let queue = self.backend.queue(None).await?.len();
        text.single("pvectl_queue_length", "gauge", "Changes that wait in queues of VMs.", Some(queue as f64));
        let tasks = self.backend.tasks(&TaskQuery { running: true, ..TaskQuery::default() }).await?.len();
        text.single("pvectl_tasks_running", "gauge", "Tasks that are at work or wait in queues.", Some(tasks as f64));
        let storages = self.backend.storages(&self.node).await?;
        text.family("pvectl_storage_size_bytes", "gauge", "Room that a storage has in all.");
        for storage in &storages {
            let size = storage.total.unwrap_or_default();
            text.sample("pvectl_storage_size_bytes", &[("storage", &storage.storage)], size as f64);
        }
        text.family("pvectl_storage_used_bytes", "gauge", "Room that is taken in a storage.");
        for storage in &storages {
            text.sample("pvectl_storage_used_bytes", &[("storage", &storage.storage)], storage.used() as f64);
        }
        for node in self.backend.nodes().await?.iter().filter(|node| node.node == self.node) {
            let number = |value: Option<u64>| value.map(|value| value as f64);
            text.single("pvectl_host_cpus", "gauge", "Processors of the host.", number(node.maxcpu));
            text.single("pvectl_host_memory_bytes", "gauge", "Memory of the host.", number(node.maxmem));
            text.single("pvectl_host_memory_used_bytes", "gauge", "Memory of the host in use.", number(node.mem));
            text.single("pvectl_host_uptime_seconds", "gauge", "How long the host runs.", number(node.uptime));
        }
        if let Some([busy, idle]) = processor_time() {
            let name = "pvectl_host_cpu_seconds_total";
            text.family(name, "counter", "Time of the host's processors since it booted, by what they did.");
            text.sample(name, &[("mode", "busy")], busy);
            text.sample(name, &[("mode", "idle")], idle);
        }
        Ok(text.0)
    }
}

/// How many seconds the processors of this host were busy, and idle; nothing where the system does not tell.
pub(super) fn processor_time() -> Option<[f64; 2]> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let [busy, idle] = of_stat(&text)?;
    Some([busy / ticks, idle / ticks])
}

/// The ticks of `/proc/stat`: busy and idle. What guests took is in `user` already.
fn of_stat(text: &str) -> Option<[f64; 2]> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let numbers: Vec<f64> = numbers.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let idle = numbers.get(3)? + numbers.get(4).unwrap_or(&0.0);
    Some([numbers.iter().sum::<f64>() - idle, idle])
}

/// The `Content-Type` of the text.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the text at `/metrics`, to whoever asks: a loopback address is the place for it.
///
/// # Errors
/// When the listener can accept no more.
pub async fn serve_metrics(listener: TcpListener, host: Arc<Host>) -> io::Result<()> {
    let answer = move || {
        let host = host.clone();
        async move {
            match host.metrics_text().await {
                Ok(text) => (axum::http::StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], text),
                Err(error) => {
                    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                    (status, [(header::CONTENT_TYPE, "text/plain")], format!("{error}\n"))
                }
            }
        }
    };
    axum::serve(listener, Router::new().route("/metrics", get(answer))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_its_class_and_all_above() {
        let metrics = Metrics::default();
        metrics.action("start", Verdict::Ok, Duration::from_millis(200));
        metrics.action("start", Verdict::Ok, Duration::from_secs(1000));
        metrics.request("BREW", 501);
        let mut text = Text::default();
        metrics.counters(&mut text);
        let has = |line: &str| assert!(text.0.lines().any(|have| have == line), "{line} is not in\n{}", text.0);
        has("pvectl_requests_total{method=\"other\",status=\"501\"} 1");
        has("pvectl_actions_total{action=\"start\",result=\"ok\"} 2");
        has("pvectl_action_duration_seconds_bucket{action=\"start\",result=\"ok\",le=\"0.1\"} 0");
        has("pvectl_action_duration_seconds_bucket{action=\"start\",result=\"ok\",le=\"0.25\"} 1");
        has("pvectl_action_duration_seconds_bucket{action=\"start\",result=\"ok\",le=\"300\"} 1");
        has("pvectl_action_duration_seconds_bucket{action=\"start\",result=\"ok\",le=\"+Inf\"} 2");
        has("pvectl_action_duration_seconds_sum{action=\"start\",result=\"ok\"} 1000.2");
        assert_eq!(of_stat("cpu  10 1 5 100 20 1 1 2 7 7\ncpu0 1 1"), Some([20.0, 120.0]));
        assert_eq!(of_stat("intr 1"), None);
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
