//! What pvectl costs, beside the least that could be paid: an empty process, curl, a task's own end.
//!
//! No test: it takes figures and never fails on one. `cargo bench` runs it; `-- list task` only those parts, and
//! `-- --full` also what takes minutes to prepare. Every comparison is made in one run, the two sides taking turns, so
//! that a busy machine slows both. Needs `curl` for the comparisons with it and Linux for the memory figures; what
//! cannot be measured is said. What it starts it also ends, and it leaves no files.

use std::{
    error::Error,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use pvectl::{
    client::{Auth, Client, Endpoint},
    journal::{Filter, Journal},
    model::{Event, Intent, LogPage, NodeName, Recorder, SystemClock, TaskEntry, TaskStatus, Upid, Verdict},
    sandbox::Sandbox,
    tasks::{Follower, Limits, NoWatch, TaskSource},
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

#[cfg(target_os = "linux")]
mod local;
mod serial;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const PVECTL: &str = env!("CARGO_BIN_EXE_pvectl");

/// Measures something and puts its figures into the report.
type Part = fn(&mut Report) -> Result<()>;

/// The parts by name, in the order they run; the last column marks those that only `--full` runs.
const PARTS: &[(&str, Part, bool)] = &[
    ("start", start_up, false),
    ("tab", tab, false),
    ("list", lists, false),
    ("memory", memory, false),
    ("task", task_end, false),
    ("journal", journal, false),
    ("sandbox", sandbox, false),
    ("bulk", bulk, false),
    ("apply", plans, false),
    ("local", local_vms, false),
    ("reflink", reflink, true),
    ("history", history, true),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == serial::WORD) {
        return match serial::client(&args[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                talk(&error.to_string());
                ExitCode::FAILURE
            }
        };
    }
    let full = args.iter().any(|arg| arg == "--full");
    let named: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut report = Report::default();
    let mut code = ExitCode::SUCCESS;
    for (name, part, slow) in PARTS {
        let wanted = if named.is_empty() { full || !slow } else { named.iter().any(|wanted| wanted == name) };
        if !wanted {
            continue;
        }
        talk(&format!("measuring: {name}"));
        if let Err(error) = part(&mut report) {
            talk(&format!("{name} could not be measured: {error}"));
            code = ExitCode::FAILURE;
        }
    }
    report.print();
    code
}

// The parts.

/// What is answered without a server: the words of the command, and what it may take over an empty process.
const ALONE: [(&[&str], Option<Duration>); 11] = {
    const START: Option<Duration> = Some(Duration::from_millis(5));
    [
        (&["version"], START),
        (&["help"], START),
        (&["vm", "--help"], START),
        (&["vm", "create", "-h"], None),
        (&["explain", "vm.net0"], None),
        (&["explain", "vm"], None),
        (&["explain", "/nodes/{node}/qemu", "post"], None),
        (&["api", "ls"], None),
        (&["api", "ls", "/nodes/{node}/qemu/{vmid}"], None),
        (&["api", "ls", "--recursive"], None),
        (&["completion", "bash"], None),
    ]
};

/// What it takes to say the version, how the program is used, and what the API looks like.
fn start_up(report: &mut Report) -> Result<()> {
    let home = Home::new()?;
    let mut commands: [Command; ALONE.len() + 1] = std::array::from_fn(|at| match at {
        0 => empty(),
        at => home.pvectl(ALONE[at - 1].0),
    });
    let [nothing, alone @ ..] = taking_turns(200, &mut commands)?;
    for ((words, budget), samples) in ALONE.iter().zip(alone) {
        let over = samples.median().saturating_sub(nothing.median());
        let what = format!("`pvectl {}` over an empty process", words.join(" "));
        let told = format!("{} over {}", ms(over), nothing.told());
        let kept = budget.is_none_or(|budget| over <= budget);
        report.row(&what, if budget.is_some() { "≤ 5 ms" } else { "-" }, kept, &told);
    }
    Ok(())
}

/// What it takes to answer a TAB, with what was seen last still fresh.
fn tab(report: &mut Report) -> Result<()> {
    const LINES: [&str; 3] = ["pvectl vm start ", "pvectl vm create --bios ", "pvectl api get /nodes/pve1/"];
    let home = Home::new()?;
    let mut commands: [Command; LINES.len() + 1] = std::array::from_fn(|at| match at {
        0 => empty(),
        at => {
            let mut command = home.pvectl(&[LINES[at - 1], "", "9"]);
            command.env("PVECTL_COMPLETE", "bash");
            command
        }
    });
    let [nothing, tabs @ ..] = taking_turns(100, &mut commands)?;
    for (line, samples) in LINES.iter().zip(tabs) {
        let over = samples.median().saturating_sub(nothing.median());
        report.row(
            &format!("a TAB after `{line}` over an empty process, values from the cache"),
            "-",
            true,
            &format!("{}, p95 {}", ms(over), ms(samples.p95())),
        );
    }
    Ok(())
}

/// A list of many guests against curl and the same request.
fn lists(report: &mut Report) -> Result<()> {
    if !has_curl() {
        talk("SKIPPED: there is no `curl` to compare lists with");
        return Ok(());
    }
    for (guests, rounds, limit) in [(1_000, 100, 1.3), (10_000, 30, 1.5)] {
        for tls in [false, true] {
            let home = Home::with_guests(guests)?;
            let server = Server::start(&home, tls)?;
            let mut commands = [
                server.curl(&[]),
                server.curl(&["--compressed"]),
                server.pvectl(&home, &["vm", "list"]),
                server.pvectl(&home, &["vm", "list", "-o", "json"]),
            ];
            let [curl, packed, table, data] = taking_turns(rounds, &mut commands)?;
            for (format, samples) in [("table", table), ("json", data)] {
                let ratio = samples.median().as_secs_f64() / curl.median().as_secs_f64();
                report.row(
                    &format!("{guests} guests as {format}, {}", if tls { "TLS, fingerprint" } else { "plain HTTP" }),
                    &format!("≤ {limit} × curl"),
                    ratio <= limit,
                    &format!(
                        "{ratio:.2} × ({}, curl {}, `curl --compressed` {})",
                        samples.told(),
                        curl.told(),
                        ms(packed.median())
                    ),
                );
            }
        }
    }
    Ok(())
}

/// The most memory that a list of many guests takes.
fn memory(report: &mut Report) -> Result<()> {
    if !Path::new("/proc/self/status").exists() {
        talk("SKIPPED: memory is read from /proc, which is not here");
        return Ok(());
    }
    let home = Home::with_guests(10_000)?;
    for tls in [false, true] {
        let server = Server::start(&home, tls)?;
        for format in ["table", "wide", "json", "yaml"] {
            let kib = peak_kib(&mut server.pvectl(&home, &["vm", "list", "-o", format]))?;
            report.row(
                &format!("peak memory, 10000 guests as {format}, {}", if tls { "TLS" } else { "plain HTTP" }),
                "≤ 40 MB",
                kib * 1024 <= 40_000_000,
                &format!("{:.1} MB", (kib * 1024) as f64 / 1e6),
            );
        }
    }
    Ok(())
}

/// What it takes to find out that 1,000 guests are as their files say, and what is to be done where they are not.
fn plans(report: &mut Report) -> Result<()> {
    let home = Home::with_guests(1_000)?;
    let server = Server::start(&home, false)?;
    let manifests = server.pvectl(&home, &["export", "--all", "-o", "yaml"]).stdout(Stdio::piped()).output()?;
    let file = home.path("guests.yaml");
    fs::write(&file, &manifests.stdout)?;
    let other = String::from_utf8(manifests.stdout)?.replace("cores: 1", "cores: 2");
    let changed = home.path("changed.yaml");
    fs::write(&changed, other)?;
    let [file, changed] = [&file, &changed].map(|path| path.display().to_string());
    let mut commands =
        [server.pvectl(&home, &["diff", "-f", &file]), server.pvectl(&home, &["apply", "-f", &changed, "--dry-run"])];
    let [same, changes] = taking_turns(5, &mut commands)?;
    report.row("`diff` of 1000 guests that are as they should be", "-", true, &same.told());
    report.row("`apply --dry-run` of 1000 guests that are to have another number of cores", "-", true, &changes.told());
    Ok(())
}

/// From the end of a task of 0.3 s to the end of the command that waits for it.
fn task_end(report: &mut Report) -> Result<()> {
    const BUDGET: Duration = Duration::from_millis(100);
    let home = Home::with_guests(60)?;
    let server = Server::start(&home, false)?;
    let stopped = server.guests(&home, "stopped")?;
    let (mut late, mut whole) = (Samples::default(), Samples::default());
    for vmid in stopped.iter().take(20) {
        let began = Instant::now();
        let output = server.pvectl(&home, &["vm", "start", vmid, "-o", "json"]).output()?;
        let ended = SystemTime::now().duration_since(UNIX_EPOCH)?;
        whole.0.push(began.elapsed());
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        // One target is an object, several are an array.
        let upid = answer["upid"].as_str().ok_or("the start named no task")?;
        late.0.push(ended.saturating_sub(home.end_of(upid)?));
    }
    report.row(
        "a task of 0.3 s: from its end to the end of `pvectl vm start`",
        "≤ 100 ms",
        late.p95() <= BUDGET,
        &format!("{} (whole command {})", late.told(), ms(whole.median())),
    );
    Ok(())
}

/// What the journal adds to an operation, on the disk that the build directory is on.
fn journal(report: &mut Report) -> Result<()> {
    const BUDGET: Duration = Duration::from_millis(3);
    let home = Home::new()?;
    let path = home.path("journal.db");
    let open = || Journal::open(&path, Arc::new(SystemClock), "bench".into());
    drop(open()?);
    let (mut opens, mut operations, mut probes) = (Samples::default(), Samples::default(), Samples::default());
    let mut probe = fs::File::create(home.path("probe"))?;
    for number in 0..300 {
        let began = Instant::now();
        let journal = open()?;
        opens.0.push(began.elapsed());
        let began = Instant::now();
        operation(&journal, number)?;
        operations.0.push(began.elapsed());
        // What the disk alone takes: the two writes that must be safe before a request goes out.
        let began = Instant::now();
        for _ in 0..2 {
            probe.write_all(&[0; 4096])?;
            probe.sync_data()?;
        }
        probes.0.push(began.elapsed());
    }
    report.row(
        "journal, one operation (planned, sent, upid, step, ended)",
        "≤ 3 ms",
        operations.median() <= BUDGET,
        &format!("{}; two bare fdatasync {}", operations.told(), ms(probes.median())),
    );
    report.row("journal, opening an existing one", "-", true, &opens.told());
    Ok(())
}

/// A command with nothing configured: the simulated cluster comes and goes with it.
fn sandbox(report: &mut Report) -> Result<()> {
    let home = Home::new()?;
    let served = Home::new()?;
    // The first command makes the sandbox; that is not what every command costs.
    run(&mut home.pvectl(&["vm", "list"]))?;
    run(&mut served.pvectl(&["vm", "list"]))?;
    let server = Server::start(&served, false)?;
    let mut commands =
        [empty(), home.pvectl(&["version"]), home.pvectl(&["vm", "list"]), server.pvectl(&served, &["vm", "list"])];
    let [nothing, version, own, other] = taking_turns(100, &mut commands)?;
    let over = |samples: &Samples| ms(samples.median().saturating_sub(nothing.median()));
    report.row(
        "`pvectl vm list`, built-in sandbox in the same process",
        "-",
        true,
        &format!(
            "{} over an empty process ({}); with the sandbox in another process {}; `version` {}",
            over(&own),
            own.told(),
            over(&other),
            over(&version)
        ),
    );
    Ok(())
}

/// 500 guests started by one command, and 500 tasks followed at once.
fn bulk(report: &mut Report) -> Result<()> {
    const GUESTS: usize = 500;
    let home = Home::with_guests(700)?;
    let server = Server::start(&home, false)?;
    home.set_pace(0.0)?;
    let running = server.guests(&home, "running")?.join(",");
    run(&mut server.pvectl(&home, &["vm", "stop", &running]))?;
    let mut vms = server.guests(&home, "stopped")?;
    vms.truncate(GUESTS);

    serial::measure(report, &home, &server, &vms)?;

    let (few, _) = follow_at_once(&home, &server, &vms[..GUESTS / 10])?;
    let (many, took) = follow_at_once(&home, &server, &vms)?;
    let told = |polls: [u64; 3]| polls.map(|polls| polls.to_string()).join(", ");
    report.row(
        &format!("{GUESTS} tasks of 6 s on 3 nodes followed at once to their ends"),
        "polls grow with nodes",
        many.iter().sum::<u64>() < 2 * few.iter().sum::<u64>(),
        &format!(
            "{:.2} s; polls per node {} (of {} tasks: {})",
            took.as_secs_f64(),
            told(many),
            GUESTS / 10,
            told(few)
        ),
    );
    Ok(())
}

/// Starts VMs and then follows all their tasks at once: polls by node, and the time to the last end.
fn follow_at_once(home: &Home, server: &Server, vms: &[String]) -> Result<([u64; 3], Duration)> {
    let vms = vms.join(",");
    home.set_pace(0.0)?;
    run(&mut server.pvectl(home, &["vm", "stop", &vms]))?;
    // So slow that the first task still runs when the last one is started: 6 s.
    home.set_pace(20.0)?;
    let output = server.pvectl(home, &["vm", "start", &vms, "--no-wait"]).output()?;
    let upids = String::from_utf8(output.stdout)?;
    let upids: Vec<Upid> = upids.lines().map(str::parse).collect::<Result<_, _>>()?;
    let source = Arc::new(Counting { client: server.client()?, polls: Default::default() });
    let follower = Follower::new(source.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let limits = Limits::default();
    let waits = upids.iter().map(async |upid| follower.wait(upid, &limits, &mut NoWatch).await);
    let ends = runtime.block_on(join_all(waits));
    let took = began.elapsed();
    ends.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok((source.polls.each_ref().map(|polls| polls.load(Ordering::Relaxed)), took))
}

/// VMs of this host.
fn local_vms(report: &mut Report) -> Result<()> {
    #[cfg(target_os = "linux")]
    return local::measure(report);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = report;
        talk("SKIPPED: VMs of this host are there on Linux only");
        Ok(())
    }
}

/// A copy by reflink.
fn reflink(report: &mut Report) -> Result<()> {
    #[cfg(target_os = "linux")]
    return local::reflink(report);
    #[cfg(not(target_os = "linux"))]
    local_vms(report)
}

/// The list of operations over a long history. The file is made by SQL and its hashes are not computed.
fn history(report: &mut Report) -> Result<()> {
    const ROWS: i64 = 1_000_000;
    const BUDGET: Duration = Duration::from_millis(30);
    let home = Home::new()?;
    let path = home.path(".local/state/pvectl/journal.db");
    drop(Journal::open(&path, Arc::new(SystemClock), "bench".into())?);
    let began = Instant::now();
    write_history(&path, ROWS)?;
    talk(&format!("{ROWS} operations written in {:.0} s", began.elapsed().as_secs_f64()));
    let questions: [(&str, &[&str]); 5] = [
        ("`op list`", &["op", "list"]),
        ("`op list --status failed`", &["op", "list", "--status", "failed"]),
        ("`op list --target 150`", &["op", "list", "--target", "150"]),
        ("`op list --verb delete`", &["op", "list", "--verb", "delete"]),
        ("`op list --since 2h`", &["op", "list", "--since", "2h"]),
    ];
    for (name, args) in questions {
        let names = home.pvectl(args).args(["-o", "name"]).output()?;
        if !names.stdout.starts_with(b"operation/") {
            return Err(format!("{name} listed nothing").into());
        }
        let [nothing, list] = taking_turns(50, &mut [empty(), home.pvectl(args)])?;
        report.row(
            &format!("{name} over {ROWS} operations, whole command"),
            "≤ 30 ms",
            list.median() <= BUDGET,
            &format!("{} (an empty process {})", list.told(), ms(nothing.median())),
        );
    }
    let journal = Journal::open(&path, Arc::new(SystemClock), "bench".into())?;
    let mut samples = Samples::default();
    for _ in 0..50 {
        let began = Instant::now();
        journal.operations(&Filter { limit: Some(50), ..Filter::default() })?;
        samples.0.push(began.elapsed());
    }
    report.row("the same in an open journal", "≤ 30 ms", samples.median() <= BUDGET, &samples.told());
    let mut writes = Samples::default();
    for number in 0..100 {
        let began = Instant::now();
        operation(&journal, number)?;
        writes.0.push(began.elapsed());
    }
    report.row("one more operation after them", "≤ 3 ms", writes.median() <= Duration::from_millis(3), &writes.told());
    Ok(())
}

// What they are made of.

const NODES: [&str; 3] = ["pve1", "pve2", "pve3"];

/// Asks about tasks and counts how often, by node.
struct Counting {
    client: Client,
    polls: [AtomicU64; 3],
}

impl Counting {
    fn count(&self, node: &NodeName) {
        if let Some(at) = NODES.iter().position(|name| *name == node.as_str()) {
            self.polls[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl TaskSource for Counting {
    async fn task_status(&self, upid: &Upid) -> pvectl::Result<TaskStatus> {
        self.count(&upid.node);
        self.client.task_status(upid).await
    }

    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> pvectl::Result<LogPage> {
        self.count(&upid.node);
        self.client.task_log(upid, start, limit).await
    }

    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> pvectl::Result<Vec<TaskEntry>> {
        self.count(node);
        self.client.tasks_since(node, since, limit).await
    }

    async fn stop_task(&self, upid: &Upid) -> pvectl::Result<()> {
        self.client.stop_task(upid).await
    }
}

/// An operation as `vm start` writes it.
fn operation(journal: &Journal, number: u32) -> Result<()> {
    let upid = format!("UPID:pve1:{:08X}:00041609:6B003243:qmstart:150:root@pam:", 0x1000 + number);
    let intent = Intent {
        verb: "start".into(),
        target: "150".into(),
        kind: "qemu".into(),
        vmid: Some(150),
        name: Some("web-server".into()),
        node: Some("pve1".into()),
        context: "lab".into(),
        user: "root@pam!pvectl".into(),
        steps: vec![json!({"method": "POST", "path": "/nodes/pve1/qemu/150/status/start", "params": {}})],
        ..Intent::default()
    };
    let id = journal.plan(&intent)?;
    let ok = || Some("OK".to_owned());
    let events = [
        Event::Sent { step: 1 },
        Event::Upid { step: 1, upid: upid.parse()? },
        Event::Step { step: 1, verdict: Verdict::Ok, exit_status: ok() },
        Event::Ended { verdict: Verdict::Ok, exit_status: ok(), error: None },
    ];
    events.iter().try_for_each(|event| journal.event(id, event))?;
    Ok(())
}

/// Fills a journal: operations a minute apart, two events each, one in a hundred failed.
fn write_history(path: &Path, rows: i64) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "off")?;
    let transaction = connection.transaction()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO event (id, operation, time, payload, prev_hash, hash)
             VALUES (?1, ?2, ?3, ?4, zeroblob(32), zeroblob(32))",
        )?;
        for row in 0..rows {
            let (vmid, time) = (100 + row % 900, now - (rows - row) * 60_000_000);
            let verb = ["start", "stop", "update", "delete"][row as usize % 4];
            let verdict = if row % 100 == 0 { "failed" } else { "ok" };
            let planned = json!({
                "event": "planned", "host": "bench", "pid": 1, "verb": verb, "target": vmid.to_string(),
                "kind": "qemu", "vmid": vmid, "name": format!("guest-{vmid}"), "node": "pve1", "context": "lab",
                "user": "root@pam", "steps": [], "config_before": null,
            });
            let ended = json!({"event": "ended", "verdict": verdict, "exit_status": verdict, "error": null});
            insert.execute((2 * row + 1, row + 1, time, planned.to_string()))?;
            insert.execute((2 * row + 2, row + 1, time + 300_000, ended.to_string()))?;
        }
    }
    transaction.commit()?;
    drop(connection);
    // What the disk still has to do for this must not be in the figures.
    fs::File::open(path)?.sync_all()?;
    Ok(())
}

/// A home directory of our own, on the disk of the build, gone with this value.
struct Home(TempDir);

impl Home {
    fn new() -> Result<Self> {
        Ok(Self(TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?))
    }

    /// One whose sandbox has so many guests more than every sandbox has.
    fn with_guests(guests: u32) -> Result<Self> {
        let home = Self::new()?;
        run(&mut home.pvectl(&["sandbox", "reset", "--guests", &guests.to_string()]))?;
        Ok(home)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// pvectl with nothing but this home.
    fn pvectl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PVECTL);
        command.args(args).env_clear().env("HOME", self.0.path()).stdin(Stdio::null());
        command
    }

    /// Where its sandbox lies.
    fn sandbox(&self) -> Result<PathBuf> {
        let status = self.pvectl(&["sandbox", "status", "-o", "json"]).output()?;
        let status: Value = serde_json::from_slice(&status.stdout)?;
        Ok(status["path"].as_str().ok_or("the sandbox has no path")?.into())
    }

    /// Changes how long the sandbox's tasks take; a server that uses it goes on.
    fn set_pace(&self, pace: f64) -> Result<()> {
        Ok(Sandbox::open(&self.sandbox()?, Arc::new(SystemClock))?.set_pace(pace)?)
    }

    /// When a task ended, since 1970. The API says it in seconds; the sandbox's file has the milliseconds.
    fn end_of(&self, upid: &str) -> Result<Duration> {
        let file = Connection::open(self.sandbox()?)?;
        let ask = "SELECT body FROM thing WHERE key = ?1 AND body IS NOT NULL";
        let task: String = file.query_row(ask, [upid], |row| row.get(0))?;
        let task: Value = serde_json::from_str(&task)?;
        Ok(Duration::from_millis(task["end"].as_u64().ok_or("the task has no end")?))
    }
}

/// `pvectl sandbox serve` in a process of its own, which ends with this value.
struct Server {
    process: Child,
    url: String,
    token: String,
    fingerprint: Option<String>,
}

impl Server {
    fn start(home: &Home, tls: bool) -> Result<Self> {
        let mut command = home.pvectl(&["sandbox", "serve", "--listen", "127.0.0.1:0", "-o", "json"]);
        command.args(tls.then_some("--tls")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let mut said = String::new();
        let mut lines = BufReader::new(process.stdout.take().ok_or("the server has no output")?).lines();
        while !said.trim_end().ends_with('}') {
            said.push_str(&lines.next().ok_or("the server did not start")??);
            said.push('\n');
        }
        let said: Value = serde_json::from_str(&said)?;
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        let (url, token) = (text("url").ok_or("no url")?, text("token").ok_or("no token")?);
        Ok(Self { process, url, token, fingerprint: text("fingerprint") })
    }

    /// pvectl talking to this server.
    fn pvectl(&self, home: &Home, args: &[&str]) -> Command {
        let mut command = home.pvectl(args);
        command.env("PVECTL_ENDPOINT", &self.url).env("PVECTL_TOKEN", &self.token);
        command.envs(self.fingerprint.iter().map(|fingerprint| ("PVECTL_FINGERPRINT", fingerprint)));
        command
    }

    /// The library talking to this server.
    fn client(&self) -> Result<Client> {
        let (id, secret) = self.token.split_once('=').ok_or("no token")?;
        let auth = Auth::Token { id: id.to_owned(), secret: secret.to_owned().into() };
        Ok(Client::builder().endpoint(Endpoint::parse(&self.url)?).auth(auth).build()?)
    }

    /// curl with the request that a list of guests makes. It cannot pin a certificate, so it believes any.
    fn curl(&self, more: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command
            .args(more)
            .args(["--silent", "--fail", "--insecure", "--http1.1", "--header"])
            .arg(format!("Authorization: PVEAPIToken={}", self.token))
            .arg(format!("{}/api2/json/cluster/resources", self.url))
            .stdin(Stdio::null());
        command
    }

    /// The VMIDs with this status, beside those that every sandbox has.
    fn guests(&self, home: &Home, status: &str) -> Result<Vec<String>> {
        let list = ["vm", "list", "--status", status, "--template", "false", "-o", "json"];
        let rows: Vec<Value> = serde_json::from_slice(&self.pvectl(home, &list).output()?.stdout)?;
        let vmids = rows.iter().filter_map(|row| row["vmid"].as_u64()).filter(|vmid| *vmid >= 10_000);
        Ok(vmids.map(|vmid| vmid.to_string()).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The least that a process can be.
fn empty() -> Command {
    let mut command = Command::new("true");
    command.stdin(Stdio::null());
    command
}

fn has_curl() -> bool {
    run(Command::new("curl").arg("--version")).is_ok()
}

/// Runs a command to its end and gives the time it took. Its output goes nowhere.
fn run(command: &mut Command) -> Result<Duration> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status()?;
    let took = began.elapsed();
    if status.success() { Ok(took) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// Runs commands in turn, so many times each after a few rounds to warm up; who begins changes from round to round.
fn taking_turns<const N: usize>(rounds: usize, commands: &mut [Command; N]) -> Result<[Samples; N]> {
    let mut samples = [const { Samples(Vec::new()) }; N];
    for round in 0..rounds + 3 {
        for turn in 0..N {
            let at = (round + turn) % N;
            let took = run(&mut commands[at])?;
            if round >= 3 {
                samples[at].0.push(took);
            }
        }
    }
    Ok(samples)
}

/// The most memory a process held, in KiB. Its output is taken in small bites and the kernel's high-water mark read
/// before each, so that the process still lives, waiting for us to take the rest, when the mark is at its highest.
fn peak_kib(command: &mut Command) -> Result<u64> {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = process.stdout.take().ok_or("the process has no output")?;
    let status = format!("/proc/{}/status", process.id());
    let (mut bite, mut peak) = ([0; 4096], 0);
    loop {
        let mark = fs::read_to_string(&status).unwrap_or_default();
        let mark = mark.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = mark.and_then(|mark| mark.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        if output.read(&mut bite)? == 0 {
            break;
        }
    }
    let ended = process.wait()?;
    if ended.success() && peak > 0 { Ok(peak) } else { Err(format!("the process ended with {ended}").into()) }
}

/// Times of one thing.
#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn at(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        self.at(0.5)
    }

    fn p95(&self) -> Duration {
        self.at(0.95)
    }

    fn told(&self) -> String {
        format!("{}, p95 {}", ms(self.median()), ms(self.p95()))
    }
}

fn ms(time: Duration) -> String {
    let time = time.as_secs_f64() * 1e3;
    if time < 0.95 { format!("{time:.2} ms") } else { format!("{time:.1} ms") }
}

/// The figures as a table that can be copied into `docs/performance.md`.
#[derive(Default)]
struct Report(Vec<[String; 4]>);

impl Report {
    fn row(&mut self, what: &str, budget: &str, kept: bool, measured: &str) {
        let kept = match budget {
            "-" => "",
            _ if kept => "yes",
            _ => "**no**",
        };
        self.0.push([what.to_owned(), budget.to_owned(), measured.to_owned(), kept.to_owned()]);
    }

    fn print(&self) {
        let mut out = io::stdout().lock();
        let head = "| what | budget | median | kept |\n|---|---|---|---|".to_owned();
        let rows = self.0.iter().map(|row| format!("| {} |", row.join(" | ")));
        for line in std::iter::once(head).chain(rows) {
            // There is nobody left to tell when nobody reads.
            let _ = writeln!(out, "{line}");
        }
    }
}

/// Prints a line that is for another program.
fn say(text: &str) {
    // Who went away needs none.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Says something that is no figure.
fn talk(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
