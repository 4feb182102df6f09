//! Arguments, files and signals: from the command line to a listening socket, and to the end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    control::Control,
    devices::{Granularity, lock},
    events::Events,
    http,
    machine::{Ending, Machine},
};

/// Options that take no value; every other one takes one or more.
const SWITCHES: &[&str] = &["landlock", "no-shutdown", "pvpanic", "rtc", "watchdog", "v", "vv", "vvv"];

/// What of the command line matters here. Sections of the configuration on the command line are not stood in for.
#[derive(Default)]
struct Options {
    socket: Option<String>,
    events: Option<String>,
    log: Option<String>,
    restore: Option<String>,
    no_shutdown: bool,
    payload: bool,
}

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--version" || argument == "-V") {
        let _ = writeln!(io::stdout(), "cloud-hypervisor v53.0.0");
        return ExitCode::SUCCESS;
    }
    let options = match parse(&arguments[1..]) {
        Ok(options) => options,
        Err(said) => {
            let _ = writeln!(io::stderr(), "error: {said}\n\nFor more information, try '--help'.");
            return ExitCode::from(2);
        }
    };
    match serve(&arguments[0], &options) {
        Ok(never) => match never {},
        Err(said) => {
            let _ =
                writeln!(io::stderr(), "Error: Cloud Hypervisor exited with the following chain of errors:\n{said}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let Some(name) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(format!("unexpected argument '{argument}' found"));
        };
        let (name, inline) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
        if SWITCHES.contains(&name) {
            options.no_shutdown |= name == "no-shutdown";
            continue;
        }
        let value = inline.or_else(|| rest.next_if(|next| !next.starts_with("--")).cloned());
        let value =
            value.ok_or_else(|| format!("a value is required for '--{name} <{name}>' but none was supplied"))?;
        match name {
            "api-socket" => options.socket = Some(value),
            "event-monitor" => options.events = Some(value),
            "log-file" => options.log = Some(value),
            "restore" => options.restore = Some(value),
            "kernel" | "firmware" => options.payload = true,
            "cpus" | "memory" | "cmdline" | "initramfs" | "disk" | "net" | "fs" | "serial" | "console" | "vsock"
            | "seccomp" | "log-format" | "platform" | "balloon" | "rng" | "landlock-rules" => {}
            _ => return Err(format!("unexpected argument '--{name}' found")),
        }
    }
    Ok(options)
}

/// A file descriptor that was inherited.
fn inherited(number: &str) -> Result<OwnedFd, String> {
    let number = number.parse().map_err(|_| format!("  0: bad file descriptor '{number}'"))?;
    let adopt = || {
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        pidfd_getfd(own, number, PidfdGetfdFlags::empty())
    };
    adopt().map_err(|error: rustix::io::Errno| format!("  0: {error}"))
}

fn said(error: &io::Error) -> String {
    format!("  0: Failed to start the VMM thread\n  1: Error creation API server's socket\n  2: {error}")
}

fn serve(program: &str, options: &Options) -> Result<std::convert::Infallible, String> {
    let log = options.log.as_ref().map(PathBuf::from);
    if let Some(log) = &log {
        // Kept open to the end, as the real one keeps it.
        let mut file = File::create(log).map_err(|error| format!("  0: Error creating log file\n  1: {error}"))?;
        let _ = writeln!(file, "cloud-hypervisor:   0.000001s: <vmm> INFO: stand-in");
        std::mem::forget(file);
    }
    let events = match options.events.as_deref().map(|given| given.split_once('=').unwrap_or(("path", given))) {
        None => Events::default(),
        Some(("fd", number)) => Events::to(File::from(inherited(number)?)),
        Some((_, path)) => Events::to(File::create(path).map_err(|error| format!("  0: {error}"))?),
    };
    let mut ending = Ending::default();
    let listener = match options.socket.as_deref().map(|given| given.split_once('=').unwrap_or(("path", given))) {
        None => None,
        Some(("fd", number)) => Some(UnixListener::from(inherited(number)?)),
        Some((_, path)) => {
            let beside = OpenOptions::new().create(true).truncate(false).write(true).open(format!("{path}.lock"));
            let beside = beside.map_err(|error| said(&error))?;
            if !lock(&beside, true, Granularity::Full) {
                return Err(format!(
                    "  0: Failed to start the VMM thread\n  1: API socket {path:?} is already in use by another instance"
                ));
            }
            let _ = fs::remove_file(path);
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            let listener = UnixListener::bind(path).map_err(|error| said(&error))?;
            ending.socket = Some((PathBuf::from(path), beside));
            Some(listener)
        }
    };
    let control = Control::beside(program, log.as_deref());
    let machine = Machine::new(events, control, ending, options.no_shutdown);
    let machine = Arc::new(std::sync::Mutex::new(machine));
    machine.lock().map_err(|error| error.to_string())?.events.say("vmm", "starting", Value::Null);
    // As on the real one, a restore is forgotten when there is something to boot.
    if let Some(restore) = options.restore.as_ref().filter(|_| !options.payload) {
        let fields: serde_json::Map<_, _> = restore
            .split(',')
            .filter_map(|field| field.split_once('='))
            .map(|(key, value)| (key.to_owned(), if value == "true" { json!(true) } else { json!(value) }))
            .collect();
        let body = Value::Object(fields).to_string();
        let answer = machine.lock().map_err(|error| error.to_string())?.handle("PUT", "vm.restore", body.as_bytes());
        if answer.status >= 300 {
            return Err(format!("  0: {}", answer.body));
        }
    }
    if let Some(listener) = listener {
        let served = Arc::clone(&machine);
        thread::spawn(move || http::serve(&listener, &served));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let catch = |kind| signal(kind).map_err(|error| error.to_string());
        let mut terminate = catch(SignalKind::terminate())?;
        let mut interrupt = catch(SignalKind::interrupt())?;
        let mut guest_off = catch(SignalKind::user_defined1())?;
        let mut guest_reset = catch(SignalKind::user_defined2())?;
        loop {
            // The machine's lock is the real one's single thread: while it is busy, signals wait like everybody.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = guest_off.recv() => {
                    machine.lock().map_err(|error| error.to_string())?.guest_powers_off();
                    continue;
                }
                _ = guest_reset.recv() => {
                    machine.lock().map_err(|error| error.to_string())?.handle("PUT", "vm.reboot", b"");
                    continue;
                }
            }
            machine.lock().map_err(|error| error.to_string())?.end();
        }
    })
}
