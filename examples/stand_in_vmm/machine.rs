//! The VMM: one request at a time, its machine, and how all ends.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use crate::{
    control::{Control, Fault},
    devices::{Console, Disk, Listening},
    events::Events,
    http::Answer,
};

/// What is left when the process ends in peace: the lock file, not the socket.
#[derive(Default)]
pub(crate) struct Ending {
    /// The API's socket and the lock beside it.
    pub(crate) socket: Option<(PathBuf, File)>,
}

/// A booted machine.
#[derive(Default)]
pub(crate) struct Booted {
    pub(crate) state: &'static str,
    pub(crate) disks: Vec<Disk>,
    pub(crate) sockets: Vec<(String, Listening)>,
    /// Connections to those who serve devices, for as long as they are there.
    pub(crate) served: Vec<(String, UnixStream)>,
    /// Devices by name and place, in the order of their places.
    pub(crate) slots: Vec<(String, String)>,
    /// How many devices got a name here.
    pub(crate) named: usize,
    /// Those that the guest is asked to let go of.
    pub(crate) leaving: Vec<String>,
    pub(crate) vcpus: u64,
    /// The guest has been asked to let go of processors and has not.
    pub(crate) pending: bool,
    pub(crate) memory: u64,
    pub(crate) balloon: u64,
    /// Where it may open files, if it has locked itself in.
    pub(crate) walls: Option<Vec<PathBuf>>,
}

pub(crate) struct Machine {
    pub(crate) events: Events,
    pub(crate) control: Control,
    ending: Ending,
    no_shutdown: bool,
    pub(crate) config: Option<Value>,
    /// Open since the machine was defined; closed when it is shut down.
    pub(crate) consoles: Option<Vec<Console>>,
    pub(crate) booted: Option<Booted>,
    /// When the guest does what it was asked, and what.
    later: Vec<thread::JoinHandle<()>>,
}

/// A refusal: status, and the chain after `Error from API`.
pub(crate) type Refusal = (u16, Vec<String>);

/// A refusal with these words.
pub(crate) fn refuse<T>(status: u16, words: &[&str]) -> Result<T, Refusal> {
    Err((status, words.iter().map(|word| (*word).to_owned()).collect()))
}

impl Machine {
    pub(crate) fn new(events: Events, control: Control, ending: Ending, no_shutdown: bool) -> Self {
        let (config, consoles, booted) = (None, None, None);
        Self { events, control, ending, no_shutdown, config, consoles, booted, later: Vec::new() }
    }

    /// Answers one request; all others wait meanwhile.
    pub(crate) fn handle(&mut self, method: &str, verb: &str, body: &[u8]) -> Answer {
        let fault = self.control.fault(verb);
        match fault {
            Some(Fault::Hang) => loop {
                thread::sleep(Duration::from_secs(3600));
            },
            Some(Fault::DieBefore) => die(),
            Some(Fault::Delay(time)) => thread::sleep(time),
            Some(Fault::Fail) => {
                return Answer::new(500, json!(["Error from API", "The stand-in was told to fail", verb]).to_string());
            }
            _ => {}
        }
        let answer = self.route(method, verb, body);
        if fault == Some(Fault::DieAfter) {
            die();
        }
        Answer { last: verb == "vmm.shutdown" && answer.status == 200, ..answer }
    }

    fn route(&mut self, method: &str, verb: &str, body: &[u8]) -> Answer {
        let reads = matches!(verb, "vmm.ping" | "vm.info" | "vm.counters");
        let bodiless = matches!(
            verb,
            "vmm.shutdown"
                | "vm.delete"
                | "vm.boot"
                | "vm.shutdown"
                | "vm.reboot"
                | "vm.power-button"
                | "vm.nmi"
                | "vm.pause"
                | "vm.resume"
        );
        if !reads && !bodiless && !Self::KNOWN.contains(&verb) {
            return Answer::new(404, r#"["Not Found"]"#);
        }
        if reads != (method == "GET") || (bodiless && !body.is_empty()) {
            return Answer::new(400, r#"["Bad Request"]"#);
        }
        let body = match body {
            [] if verb == "vm.create" => return Answer::new(400, ""),
            [] if reads || bodiless => Value::Null,
            [] => return Answer::new(400, r#"["Bad Request"]"#),
            _ if reads => Value::Null,
            text => match serde_json::from_slice(text) {
                Ok(value) => value,
                Err(error) => return malformed(&error.to_string()),
            },
        };
        match self.act(verb, body) {
            Ok(None) if verb == "vmm.shutdown" => Answer::new(200, ""),
            Ok(None) => Answer::new(204, ""),
            Ok(Some(value)) => Answer::new(200, value.to_string()),
            Err((400, said)) => malformed(&said.concat()),
            Err((429, _)) => Answer::new(429, r#"["Too Many Requests"]"#),
            Err((status, chain)) => {
                let chain: Vec<_> = ["Error from API".to_owned()].into_iter().chain(chain).collect();
                Answer::new(status, json!(chain).to_string())
            }
        }
    }

    /// Drops what runs: power, sockets, locks. The configuration stays.
    pub(crate) fn cut_power(&mut self) {
        if self.booted.is_none() {
            self.consoles.iter_mut().flatten().for_each(Console::leave_behind);
        }
        self.consoles = None;
        if self.booted.take().is_some() {
            self.events.say("vm", "shutdown", Value::Null);
        }
    }

    /// Drops the machine.
    pub(crate) fn drop_machine(&mut self) {
        self.cut_power();
        if self.config.take().is_some() {
            self.events.say("vm", "deleted", Value::Null);
        }
    }

    /// The guest does something after a while, on a thread of its own.
    pub(crate) fn guest_powers_off_after(&mut self, delay: Duration) {
        // The signal's handler takes the machine's lock, as the real guest's would take its turn.
        self.later.push(thread::spawn(move || {
            thread::sleep(delay);
            let _ = kill_process(getpid(), Signal::USR1);
        }));
    }

    /// The guest powers off: the process ends too, unless it was told otherwise.
    pub(crate) fn guest_powers_off(&mut self) {
        if self.booted.is_none() {
            return;
        }
        if self.no_shutdown {
            self.cut_power();
        } else {
            self.end();
        }
    }

    /// Ends the process in peace, which for the guest is a power cut.
    pub(crate) fn end(&mut self) -> ! {
        self.drop_machine();
        self.events.say("vmm", "shutdown", Value::Null);
        if let Some((socket, _)) = &self.ending.socket {
            let _ = fs::remove_file(socket);
        }
        #[allow(clippy::exit, clippy::disallowed_methods, reason = "other threads wait for requests and never return")]
        std::process::exit(0)
    }
}

fn malformed(said: &str) -> Answer {
    Answer::new(400, json!(["Failed to deserialize JSON", said]).to_string())
}

/// Ends the process as `kill -9` does: everything stays where it lies.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
