//! Runs the real executable in an environment of its own.
//!
//! It asserts nothing but that programs run; what they should say is in the files beside it.

mod chance;
mod server;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use regex_lite::Regex;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::{
    chance::{Chance, number},
    server::{Process, Server, begin},
};

/// The executable under test.
pub(crate) const PVECTL: &str = env!("CARGO_BIN_EXE_pvectl");

/// Where nobody listens, on any machine.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1";

/// How long a command may take before it counts as hung. Far above what any takes, so that no test is about speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A home of its own, and the only variables that the executable gets to see.
#[derive(Clone)]
pub(crate) struct Env {
    home: Arc<TempDir>,
    vars: Vec<(String, String)>,
}

/// What a command left behind, with everything normalised that differs from run to run.
#[must_use]
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Stdout as it came.
    pub(crate) raw: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}", self.code)?;
        for (title, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "\n--- {title}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

impl Output {
    /// The same, if the command went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// The same, if the command ended so.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// The same with the lines of stderr in order of the alphabet, for work that goes on side by side.
    pub(crate) fn sorted(mut self) -> Self {
        let mut lines: Vec<&str> = self.stderr.lines().collect();
        lines.sort_unstable();
        self.stderr = lines.join("\n");
        self
    }

    /// The JSON on stdout, as it came.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.raw).unwrap_or_else(|error| panic!("stdout is no JSON ({error}):\n{self}"))
    }

    /// Asserts that stderr says all of this.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr does not say `{part}`:\n{self}");
        }
        self
    }
}

impl Env {
    /// A fresh account that has never seen pvectl.
    pub(crate) fn bare() -> Self {
        Self::at(TempDir::with_prefix("pvectl-test-").unwrap())
    }

    /// The same in memory, where there is such a place: for tests that need many, and no disk.
    pub(crate) fn fleeting() -> Self {
        Self::at(
            TempDir::with_prefix_in("pvectl-test-", "/dev/shm")
                .unwrap_or_else(|_| TempDir::with_prefix("pvectl-test-").unwrap()),
        )
    }

    fn at(home: TempDir) -> Self {
        let vars = [("COLUMNS", "100"), ("NO_COLOR", "1"), ("TERM", "xterm"), ("TZ", "UTC")];
        Self { home: Arc::new(home), vars: vars.map(|(name, value)| (name.into(), value.into())).into() }
    }

    /// An account with a fresh sandbox, whose tasks end at once, as its chosen context.
    pub(crate) fn new() -> Self {
        Self::paced("0")
    }

    /// The same with tasks that take so many times their usual tenths of a second.
    pub(crate) fn paced(pace: &str) -> Self {
        let env = Self::bare().with("PVECTL_CONTEXT", "sandbox");
        let _ = env.run(&format!("sandbox reset --pace {pace}")).ok();
        env
    }

    /// The same home with one more variable.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut env = self.without(name);
        env.vars.push((name.into(), value.into()));
        env
    }

    /// The same home without a variable.
    pub(crate) fn without(&self, name: &str) -> Self {
        let vars = self.vars.iter().filter(|(have, _)| have != name).cloned().collect();
        Self { home: self.home.clone(), vars }
    }

    /// A path in the home, which is the working directory too.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts a file there.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The journal's file.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path(".local/state/pvectl/journal.db")
    }

    /// Runs a command line, written as in a shell: words, and words in single quotes.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.run_with(line, "")
    }

    /// Runs a command line, and tells what it wrote to stdout byte for byte.
    pub(crate) fn stdout_of(&self, line: &str) -> Vec<u8> {
        assert_cmd::Command::from_std(self.command(line)).timeout(PATIENCE).output().unwrap().stdout
    }

    /// Runs a command line with something on stdin, which is never a terminal.
    pub(crate) fn run_with(&self, line: &str, stdin: &str) -> Output {
        let mut command = assert_cmd::Command::from_std(self.command(line));
        let output = command.timeout(PATIENCE).write_stdin(stdin).output().unwrap();
        self.output(line, &output)
    }

    /// Runs a command line that may be killed on its way; `None` if it was.
    pub(crate) fn run_unless_killed(&self, line: &str) -> Option<Output> {
        let output = assert_cmd::Command::from_std(self.command(line)).timeout(PATIENCE).output().unwrap();
        output.status.code().map(|_| self.output(line, &output))
    }

    /// Runs a shell script in which `$0` is the executable.
    pub(crate) fn shell(&self, script: &str) -> std::process::Output {
        let mut command = self.program(Path::new("/bin/sh"));
        command.args(["-c", script, PVECTL]).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command line and gives the JSON it prints.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --output json")).ok().json()
    }

    /// Starts a command line and leaves it running.
    pub(crate) fn spawn(&self, line: &str) -> Running {
        let mut command = self.command(line);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { env: self.clone(), line: line.to_owned(), child: Some(command.spawn().unwrap()) }
    }

    /// Runs the executable with these very words.
    pub(crate) fn words(&self, words: &[&str]) -> Output {
        let mut command = self.program(Path::new(PVECTL));
        command.args(words);
        let output = assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap();
        self.output(&words.join(" "), &output)
    }

    /// Runs another program in this environment, with something on stdin; `None` where there is no such program.
    pub(crate) fn other(&self, program: &str, args: &[&str], stdin: &str) -> Option<Output> {
        let search = ["/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
        let found = search.iter().map(|directory| Path::new(directory).join(program)).find(|path| path.exists())?;
        let mut command = self.program(&found);
        command.env("PATH", format!("{}:{}", self.path("bin").display(), search.join(":"))).args(args);
        let mut command = assert_cmd::Command::from_std(command);
        let output = command.timeout(PATIENCE).write_stdin(stdin).output().unwrap();
        Some(self.output(program, &output))
    }

    /// A command line, to be started in another way than the others.
    pub(crate) fn process(&self, line: &str) -> Command {
        self.command(line)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.program(Path::new(PVECTL));
        command.args(words(line));
        command
    }

    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
        // Root's is the same for every home.
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command
    }

    fn output(&self, line: &str, output: &std::process::Output) -> Output {
        let code = output.status.code();
        let raw = String::from_utf8_lossy(&output.stdout).into_owned();
        let stdout = normal(&raw, self.home.path());
        let stderr = normal(&String::from_utf8_lossy(&output.stderr), self.home.path());
        let Some(code) = code else { panic!("`pvectl {line}` was killed:\n{stdout}\n{stderr}") };
        assert!(!stderr.contains("panicked at"), "`pvectl {line}` panicked:\n{stderr}");
        Output { code, stdout, stderr, raw }
    }

    /// Serves this home's sandbox from a process of its own, with these flags beside the usual ones.
    pub(crate) fn serve(&self, flags: &str) -> Server {
        Server::start(self, "127.0.0.1:0", flags)
    }
}

/// A command at work. It is killed when this goes.
pub(crate) struct Running {
    env: Env,
    line: String,
    child: Option<Child>,
}

impl Running {
    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Output {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        self.env.output(&self.line, &output)
    }

    /// Waits for its end; `None` if it was killed.
    pub(crate) fn wait_unless_killed(mut self) -> Option<Output> {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        output.status.code().map(|_| self.env.output(&self.line, &output))
    }

    /// Reads stderr until a line has this in it, and gives that line.
    #[track_caller]
    pub(crate) fn until(&mut self, part: &str) -> String {
        let stderr = self.child.as_mut().unwrap().stderr.as_mut().unwrap();
        let mut seen = String::new();
        // Byte by byte, so that nothing is taken from what `wait` returns.
        loop {
            let line = read_line(stderr);
            assert!(!line.is_empty(), "`pvectl {}` ended without saying `{part}`:\n{seen}", self.line);
            if line.contains(part) {
                return line;
            }
            seen.push_str(&line);
        }
    }

    /// Kills it, as a loss of power would.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Goes away as a reader: what is written to stdout from now on has nobody to go to.
    pub(crate) fn close_stdout(&mut self) {
        drop(self.child.as_mut().unwrap().stdout.take());
    }

    /// Presses Ctrl-C.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -INT \"$0\"", &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_line(from: &mut impl std::io::Read) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while matches!(from.read(&mut byte), Ok(1)) {
        line.push(byte[0]);
        if byte[0] == b'\n' {
            break;
        }
    }
    String::from_utf8_lossy(&line).into_owned()
}

/// Looks again and again until something is there. What is waited for must come, however long it takes.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "it never came about that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Splits a command line at blanks, except in single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// What differs from run to run, and what stands in its place.
const NORMAL: &[(&str, &str)] = &[
    (r"UPID:([a-z0-9]+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:", "UPID:$1:…:"),
    (r"([0-9A-F]{2}:){31}[0-9A-F]{2}", "FINGERPRINT"),
    (r"([0-9A-F]{2}:){5}[0-9A-F]{2}", "MAC"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{40}\b", "DIGEST"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\(\d+\.\ds\)", "(0.0s)"),
    (r"(Took +)\d+\.\ds", "${1}0.0s"),
    (r"\b\ds ago", "0s ago"),
    (r"\b\d\ds ago", "0s ago "),
    (r"(root@pam!pvectl) from \S+", "$1 from HOST"),
    (r"\b\d+(\.\d)?s  ", "0s  "),
    // Simulated load.
    (r"\d+\.\d% in use", "0.0% in use"),
    (r"[ \d]\d\.\d  ", " 0.0  "),
    (r"(cpu: )0\.\d+", "${1}0.0"),
    (r"ctime=\d+", "ctime=N"),
];

fn normal(text: &str, home: &Path) -> String {
    static RULES: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let rules = RULES.get_or_init(|| NORMAL.iter().map(|(rule, word)| (Regex::new(rule).unwrap(), *word)).collect());
    let text = text.replace(&home.display().to_string(), "~");
    rules.iter().fold(text, |text, (rule, word)| rule.replace_all(&text, *word).into_owned())
}
