//! One cell: a command against a sandbox of its own, served in this process, with something going wrong.

use std::{
    fmt, fs, net,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use pvectl::{
    journal::{Filter, Journal, Operation},
    model::SystemClock,
    sandbox::Sandbox,
    server::{FaultScript, Kit, Logged, Options, listen},
};
use regex_lite::Regex;
use secrecy::ExposeSecret as _;
use tokio::sync::oneshot;

use super::{
    faults::{FAULTS, Fault, From},
    verbs::Verb,
};
use crate::harness::{Env, NOBODY};

/// Where everything lies that commands leave behind.
const STATE: &str = ".local/state/pvectl";

/// What became of a command.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) code: i32,
    pub(super) stderr: String,
    /// Changes that reached the server, logins left out.
    pub(super) changes: Vec<String>,
    /// What the journal says of its operations.
    pub(super) statuses: Vec<String>,
    /// Whether it started a task.
    pub(super) starts_task: bool,
    /// Whether that task is a node's, and about no guest.
    pub(super) is_of_node: bool,
    /// What was read before the first change.
    reads: Vec<String>,
}

impl Cell {
    /// Whether it looked at anything before the first change.
    pub(super) fn reads_before(&self) -> bool {
        !self.reads.is_empty()
    }

    /// As it stands in a table: exit code, changes that reached the server, the journal's word.
    pub(super) fn short(&self) -> String {
        let statuses = if self.statuses.is_empty() { "–".to_owned() } else { self.statuses.join(", ") };
        format!("{} {}× {statuses}", self.code, self.changes.len())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n{}", self.short(), self.changes.join(", "), self.stderr)
    }
}

/// A command with everything that was done before it.
pub(super) struct Prepared {
    home: Env,
    line: String,
    /// Operations that are in the journal already.
    before: i64,
    last_read: Option<String>,
    /// The path of the first change.
    change: String,
    /// How often that is read before.
    skipped: usize,
}

impl Prepared {
    /// Prepares a command, and runs it with nothing going wrong.
    pub(super) fn new(verb: &Verb) -> (Self, Cell) {
        let home = Env::fleeting();
        fs::create_dir_all(home.path(STATE)).expect("a directory");
        let served = Served::new(&home, if verb.slow { 1000.0 } else { 0.0 }, &[]);
        served.write_context(&home, From::Token);
        let mut printed = String::new();
        for line in verb.setup {
            // What is cut off fails on purpose; a setup that went wrong shows in the run without a fault.
            printed = home.run(line).raw.trim().to_owned();
        }
        drop(served);
        // Made once, and not in each cell.
        drop(Journal::open(&home.journal(), Arc::new(SystemClock), "here".into()).expect("a journal"));
        let mut prepared = Self {
            before: operations(&home, 0).first().map_or(0, |operation| operation.id.0),
            home,
            line: verb.line.replace("{upid}", &printed),
            last_read: None,
            change: "/**".to_owned(),
            skipped: 0,
        };
        let well = prepared.run(&FAULTS[0]);
        let last = well.reads.last();
        prepared.last_read = well.reads.iter().rev().find(|read| !verb.abreast || Some(*read) != last).cloned();
        if let Some((_, path)) = well.changes.first().and_then(|change| change.split_once(' ')) {
            path.clone_into(&mut prepared.change);
        }
        prepared.skipped =
            well.reads.iter().filter(|read| Some(*read) == prepared.last_read.as_ref()).count().max(1) - 1;
        (prepared, well)
    }

    /// Runs the command in a copy of what was prepared.
    pub(super) fn run(&self, fault: &Fault) -> Cell {
        let home = Env::fleeting();
        fs::create_dir_all(home.path(STATE)).expect("a directory");
        for entry in fs::read_dir(self.home.path(STATE)).expect("what was prepared").map(|entry| entry.expect("a file"))
        {
            if entry.file_type().expect("a type").is_file() {
                fs::copy(entry.path(), home.path(STATE).join(entry.file_name())).expect("a copy");
            }
        }
        let read = self.last_read.as_deref().unwrap_or("/**");
        let skip = self.skipped.to_string();
        let rule =
            |rule: &&str| rule.replace("{read}", read).replace("{before}", &skip).replace("{change}", &self.change);
        let rules: Vec<String> = fault.rules.iter().map(rule).collect();
        let served = Served::new(&home, fault.pace, &rules);
        served.write_context(&home, fault.from);
        let env = match fault.from {
            From::Hasty => home.with("PVECTL_REQUEST_TIMEOUT", "700ms"),
            _ => home.clone(),
        };
        let output = env.run(&format!("{} {}", self.line, fault.flags));
        // What the server still does for somebody who is gone is over with it.
        let kit = served.stop();
        let requests = kit.requests();
        let is_change = |logged: &&Logged| logged.method != "GET" && logged.path != "/access/ticket";
        let reads = requests.iter().take_while(|logged| !is_change(logged)).filter(|logged| logged.method == "GET");
        let operations = operations(&home, self.before);
        let waited = Regex::new(r"(waited|ended within) \d+m?s").expect("a pattern");
        Cell {
            code: output.code,
            stderr: waited.replace_all(&output.stderr, "$1 1s").into_owned(),
            changes: requests.iter().filter(is_change).map(|is| format!("{} {}", is.method, is.path)).collect(),
            statuses: operations.iter().rev().map(|operation| operation.status.to_string()).collect(),
            starts_task: operations.iter().any(|operation| operation.upid.is_some()),
            is_of_node: operations.iter().filter_map(|it| it.upid.as_ref()).any(|upid| upid.id.parse::<u32>().is_err()),
            reads: reads.map(|logged| logged.path.clone()).collect(),
        }
    }
}

/// The journal's operations after this one, the newest first.
fn operations(home: &Env, after: i64) -> Vec<Operation> {
    let journal = Journal::open_read_only(&home.journal()).expect("a journal that can be read");
    let all = journal.map(|journal| journal.operations(&Filter::default()).expect("operations"));
    all.unwrap_or_default().into_iter().filter(|operation| operation.id.0 > after).collect()
}

/// The sandbox of a home, served until this goes.
struct Served {
    kit: Kit,
    url: String,
    secret: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Served {
    fn new(home: &Env, pace: f64, rules: &[String]) -> Self {
        let sandbox = Sandbox::open(&home.path(STATE).join("sandbox.db"), Arc::new(SystemClock)).expect("a sandbox");
        if pace > 0.0 || rules.is_empty() {
            sandbox.set_pace(pace).expect("a pace");
        }
        let secret = sandbox.token().1.expose_secret().to_owned();
        let rules = rules.iter().map(|rule| rule.parse().expect("a rule"));
        let faults = Arc::new(FaultScript::new(rules));
        let kit = Kit::new(Arc::new(sandbox), Options { faults: Some(faults), ..Options::in_process() });
        let listener = listener();
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let serving = kit.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let stopped = async { drop(stopped.await) };
                listen(serving, listener, None, stopped).await.expect("a server");
            });
        });
        Self { kit, url, secret, stop: Some(stop), thread: Some(thread) }
    }

    /// Ends it, and gives what it has seen.
    fn stop(self) -> Kit {
        self.kit.clone()
    }

    /// Writes the context and the credentials with which it is asked.
    fn write_context(&self, home: &Env, from: From) {
        let token = match from {
            From::Reader => "audit@pve!readonly",
            _ => "root@pam!pvectl",
        };
        let endpoints = match from {
            From::Nowhere => vec![NOBODY],
            From::Twice => vec![NOBODY, &self.url],
            _ => vec![self.url.as_str()],
        };
        let endpoints: String = endpoints.iter().map(|url| format!("  - url: {url}\n")).collect();
        let who = match from {
            From::Password => "  user: root@pam\n  credential-command: echo sandbox\n".to_owned(),
            _ => format!("  token-id: {token}\n"),
        };
        let context = format!("current-context: lab\ncontexts:\n- name: lab\n  endpoints:\n{endpoints}{who}");
        home.write(".config/pvectl/config.yaml", &context);
        let credentials = format!("contexts:\n  lab:\n    token-secret: {}\n", self.secret);
        let path = home.write(".config/pvectl/credentials.yaml", &credentials);
        let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mine).expect("a file of ours");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A server that panicked has said so.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// A port that no system gives away by itself: a server that is down for a while finds it free again.
fn listener() -> net::TcpListener {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % COUNT;
        if let Ok(listener) = net::TcpListener::bind(("127.0.0.1", FIRST + offset)) {
            listener.set_nonblocking(true).expect("a socket");
            return listener;
        }
    }
}
