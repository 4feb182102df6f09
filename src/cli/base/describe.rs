//! `describe`: everything about a guest, laid out for people.

use std::io::{self, Write};

use async_trait::async_trait;
use clap::{ArgMatches, Command};
use futures_util::future::{try_join_all, try_join3};
use serde_json::{Map, Value, json};

use super::{
    away::incomplete,
    get::{details, known, targets_arg},
};
use crate::{
    backends::TaskQuery,
    cli::{
        cx::{Cx, texts},
        print::{
            self, Shape,
            fields::{section, write_pairs},
            human::uptime,
        },
        session::{Access, Session},
        ui::{style, styled},
        verb::{Exit, Kind, Verb},
    },
    model::{Error, Pending, Result, Size, Snapshot, TaskEntry, is_disk_key, is_numbered, is_secret_key, node_status},
    ops::{Resolved, Target},
};

pub(super) struct Describe;

#[async_trait(?Send)]
impl Verb for Describe {
    fn name(&self) -> &'static str {
        "describe"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Describe {} for people: status, configuration, pending changes, snapshots, last tasks", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} describe 100", kind.noun), format!("pvectl describe {} web-1", kind.noun)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let found = session.ops.find(&Target::parse_all(&texts(matches, "targets"))?, kind.guest()).await?;
        let described = try_join_all(found.iter().map(|found| Described::read(&session, found))).await?;
        let names: Vec<String> = found.iter().map(|found| found.guest.reference().to_string()).collect();
        let people = |out: &mut dyn Write, places: &[usize]| {
            for (at, place) in places.iter().enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                described[*place].write(out)?;
            }
            Ok(())
        };
        let data: Vec<Value> = described.iter().map(Described::data).collect();
        print::each(&cx.ui, &session.style, Shape::of(data.len()), &data, &names, people)?;
        let lost: Vec<Error> = described.into_iter().filter_map(|described| described.lost).collect();
        Ok(incomplete(cx, &lost, found.len()))
    }
}

struct Described {
    noun: &'static str,
    guest: Map<String, Value>,
    here: Map<String, Value>,
    pending: Vec<Pending>,
    snapshots: Vec<Snapshot>,
    tasks: Vec<TaskEntry>,
    /// Why the rest is not there.
    lost: Option<Error>,
}

impl Described {
    async fn read(session: &Session, found: &Resolved) -> Result<Self> {
        let guest = found.guest.reference();
        let backend = session.ops.backend();
        let query =
            TaskQuery { node: Some(guest.node.clone()), vmid: Some(guest.vmid), limit: 5, ..TaskQuery::default() };
        let read = try_join3(
            details(session, found),
            backend.guest_here(&guest),
            try_join3(backend.guest_pending(&guest), backend.snapshots(&guest), backend.tasks(&query)),
        )
        .await;
        let (details, here, (pending, snapshots, tasks), lost) = match read {
            Err(error) if node_status(&error).is_some() => {
                let (details, error) = known(session, found, error)?;
                (details, Map::new(), Default::default(), Some(error))
            }
            read => read.map(|(details, here, rest)| (details, here, rest, None))?,
        };
        let mut pending: Vec<Pending> = pending.into_iter().filter(Pending::waits).collect();
        pending.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { noun: guest.kind.noun(), guest: details, here, pending, snapshots, tasks, lost })
    }

    fn data(&self) -> Value {
        let mut data = self.guest.clone();
        if !self.here.is_empty() {
            data.insert("here".into(), json!(self.here));
        }
        data.insert("pending".into(), json!(self.pending));
        data.insert("snapshots".into(), json!(self.snapshots));
        data.insert("tasks".into(), json!(self.tasks));
        Value::Object(data)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.guest.get(key).and_then(plain)
    }

    fn number(&self, key: &str) -> Option<f64> {
        let value = self.guest.get(key)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = self.text("name").unwrap_or_default();
        let vmid = self.text("vmid").unwrap_or_default();
        let title = format!("{} {vmid} {name}", self.noun);
        writeln!(out, "{}", styled(style::HEADER, title.trim_end()))?;
        let size = |bytes: Option<f64>| bytes.map(|bytes| Size(bytes as u64).to_string());
        let used = |used: &str, all: &str| {
            let all = self.number(all).filter(|all| *all > 0.0)?;
            let free = self.number(used).filter(|used| *used > 0.0);
            Some(match free {
                Some(used) => format!("{} of {}", Size(used as u64), Size(all as u64)),
                None => size(Some(all))?,
            })
        };
        let cpus = self.number("cpus").or(self.number("maxcpu"));
        let facts = [
            ("Status", self.status()),
            ("Node", self.node()),
            ("Uptime", self.number("uptime").map(|seconds| uptime(seconds as u64))),
            (
                "CPUs",
                cpus.map(|cpus| match self.number("cpu").filter(|cpu| *cpu > 0.0) {
                    Some(cpu) => format!("{cpus} ({:.1}% in use)", cpu * 100.0),
                    None => cpus.to_string(),
                }),
            ),
            ("Memory", used("mem", "maxmem")),
            ("Disk", used("disk", "maxdisk")),
            ("Tags", self.text("tags")),
            ("Pool", self.text("pool")),
            ("Lock", self.text("lock")),
            ("Context", self.text("context")),
        ];
        write_pairs(
            out,
            facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.filter(|v| !v.is_empty())?))),
        )?;

        let empty = Map::new();
        let config = self.guest.get("config").and_then(Value::as_object).unwrap_or(&empty);
        let of = |wanted: fn(&str) -> bool| {
            config
                .iter()
                .filter(move |(key, _)| wanted(key))
                .filter_map(|(key, value)| Some((key.clone(), plain(value)?)))
        };
        let is_net: fn(&str) -> bool = |key| is_numbered(key, "net");
        section(out, "Disks", of(is_disk_key))?;
        section(out, "Network", of(is_net))?;
        section(out, "On this host", self.here())?;
        let rest = config.iter().filter(|(key, _)| !is_disk_key(key) && !is_net(key) && *key != "digest").map(
            |(key, value)| {
                let shown = if is_secret_key(key) { "***".to_owned() } else { plain(value).unwrap_or_default() };
                (key.clone(), shown.replace('\n', " ⏎ "))
            },
        );
        section(out, "Configuration", rest)?;
        let waiting = self.pending.iter().map(|pending| {
            let now = pending.value.as_ref().and_then(plain).unwrap_or_else(|| "not set".into());
            let then = pending.pending.as_ref().and_then(plain).unwrap_or_else(|| "not set".into());
            (pending.key.clone(), format!("{now} → {then}"))
        });
        section(out, "Pending (applied by a restart)", waiting)?;
        let snapshots = self.snapshots.iter().map(|snapshot| {
            let when = snapshot.snaptime.and_then(|at| jiff::Timestamp::from_second(at as i64).ok());
            let when = when.map_or(String::new(), |when| when.to_string());
            (
                snapshot.name.clone(),
                format!("{when}  {}", snapshot.description.as_deref().unwrap_or_default().trim()).trim().to_owned(),
            )
        });
        section(out, "Snapshots", snapshots)?;
        let tasks = self.tasks.iter().map(|task| {
            let end = task.ended().map_or_else(|| "running".to_owned(), |end| end.to_string());
            (task.upid.kind.clone(), format!("{}  {}  {end}", task.upid.started(), task.upid.user))
        });
        section(out, "Last tasks", tasks)
    }

    /// What its backend alone knows: texts and numbers as they are, files with their sizes, shares with who serves them.
    fn here(&self) -> impl Iterator<Item = (String, String)> {
        let size = |file: &Value, key: &str| file.get(key).and_then(Value::as_u64).map(|bytes| Size(bytes).to_string());
        let file = move |file: &Value| {
            let path = ["path", "source", "socket"].iter().find_map(|key| file.get(*key).and_then(plain));
            let facts = [
                file.get("error").and_then(plain),
                file.get("served").and_then(plain).map(|served| match served.as_str() {
                    "no" => "not served".to_owned(),
                    served => format!("served {served}"),
                }),
                file.get("format").and_then(plain),
                size(file, "size"),
                size(file, "on-disk").map(|size| format!("{size} on the disk")),
            ];
            format!("{} ({})", path.unwrap_or_default(), facts.into_iter().flatten().collect::<Vec<_>>().join(", "))
        };
        self.here.iter().flat_map(move |(key, value)| match value {
            Value::Object(files) => files.iter().map(|(key, value)| (key.clone(), file(value))).collect(),
            value => plain(value).map(|text| (key.clone(), text)).into_iter().collect::<Vec<_>>(),
        })
    }

    fn node(&self) -> Option<String> {
        let node = self.text("node")?;
        Some(match self.text("node_status") {
            Some(status) => format!("{node} ({status})"),
            None => node,
        })
    }

    fn status(&self) -> Option<String> {
        let status = self.text("status")?;
        let finer = self.text("qmpstatus").filter(|finer| *finer != status);
        let template = self.text("template").is_some_and(|template| template == "1");
        Some(match (template, finer) {
            (true, _) => "template".to_owned(),
            (_, Some(finer)) => format!("{status} ({finer})"),
            _ => status,
        })
    }
}

/// A value as the server would print it.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
