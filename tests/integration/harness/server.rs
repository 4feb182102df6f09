//! The sandbox as a server in a process of its own, with a log of every request.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    ops::Deref,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

use super::Env;

/// The sandbox as a server, and an environment whose commands talk to it. The server is killed when this goes.
pub(crate) struct Server {
    env: Env,
    home: Env,
    flags: String,
    process: Process,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) fingerprint: Option<String>,
    pub(crate) certificate: Option<String>,
}

impl Deref for Server {
    type Target = Env;

    fn deref(&self) -> &Env {
        &self.env
    }
}

impl Server {
    pub(crate) fn start(home: &Env, listen: &str, flags: &str) -> Self {
        let log = home.path("requests.log");
        let line =
            format!("sandbox serve --listen {listen} --no-auth-delay -o json --request-log {} {flags}", log.display());
        let (process, ready) = begin(home, &line);
        let text = |key: &str| ready[key].as_str().map(str::to_owned);
        let (url, token) = (text("url").unwrap(), text("token").unwrap());
        let mut env = home.without("PVECTL_CONTEXT").with("PVECTL_ENDPOINT", &url).with("PVECTL_TOKEN", &token);
        if let Some(fingerprint) = text("fingerprint") {
            env = env.with("PVECTL_FINGERPRINT", &fingerprint);
        }
        Self {
            env,
            home: home.clone(),
            flags: flags.to_owned(),
            process,
            url,
            token,
            fingerprint: text("fingerprint"),
            certificate: text("certificate"),
        }
    }

    /// The secret that every token of the sandbox has.
    pub(crate) fn secret(&self) -> &str {
        self.token.rsplit('=').next().unwrap()
    }

    /// Every request so far: `GET /version 200`; status 0 where nobody got an answer.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("requests.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// How many requests there were with this method to paths that end so.
    pub(crate) fn count(&self, method: &str, end: &str) -> usize {
        let is = |line: &&String| {
            let mut words = line.split(' ');
            words.next() == Some(method) && words.next().is_some_and(|path| path.ends_with(end))
        };
        self.requests().iter().filter(is).count()
    }

    /// Requests that change something.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|line| !line.starts_with("GET ")).collect()
    }

    /// Kills it, as a loss of power would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Serves again at the same address.
    pub(crate) fn restart(&mut self) {
        let address = self.url.rsplit('/').next().unwrap().to_owned();
        let again = Self::start(&self.home, &address, &self.flags);
        *self = again;
    }
}

/// Starts a server, and gives what it says of itself with `-o json` once it listens.
pub(crate) fn begin(home: &Env, line: &str) -> (Process, Value) {
    let mut command = home.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut said = String::new();
    let mut out = BufReader::new(process.0.stdout.take().unwrap());
    loop {
        if out.read_line(&mut said).unwrap() == 0 {
            let log = process.0.stderr.take().map(io::read_to_string);
            panic!("the server did not start:\n{said}{}", log.unwrap().unwrap());
        }
        if let Ok(ready) = serde_json::from_str(&said) {
            // Who is not read stands still once enough was said.
            let log = process.0.stderr.take();
            thread::spawn(move || log.map(|mut log| io::copy(&mut log, &mut io::sink())));
            return (process, ready);
        }
    }
}

/// A process that is killed when this goes.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Kills it, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
