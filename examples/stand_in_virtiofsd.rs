//! A stand-in for `virtiofsd` (1.14): the same arguments, words and ends, and no files.
//!
//! As the real one it takes one connection on a socket that it inherits, and ends with it.

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io::{self, Read, Write},
        os::{fd::OwnedFd, unix::net::UnixListener},
        path::Path,
        process::ExitCode,
    };

    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    /// Options that take a value, with those that it can be.
    const VALUES: &[(&str, &[&str])] = &[
        ("fd", &[]),
        ("shared-dir", &[]),
        ("cache", &["auto", "always", "never", "metadata"]),
        ("sandbox", &["namespace", "chroot", "none"]),
        ("log-level", &["error", "warn", "info", "debug", "trace", "off"]),
    ];
    const SWITCHES: &[&str] = &["readonly", "xattr", "posix-acl", "allow-direct-io"];

    fn say(text: &str) {
        let _ = writeln!(io::stderr(), "[stand-in INFO  virtiofsd] {text}");
    }

    pub(crate) fn main() -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let answer = match arguments.as_slice() {
            [one] if one == "--version" => Some("virtiofsd 1.14.0"),
            [one] if one == "--help" => Some("      --migration-mode <MIGRATION_MODE>"),
            _ => None,
        };
        if let Some(answer) = answer {
            let _ = writeln!(io::stdout(), "{answer}");
            return ExitCode::SUCCESS;
        }
        match serve(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(said) => {
                let _ = writeln!(io::stderr(), "[stand-in ERROR virtiofsd] {said}");
                ExitCode::FAILURE
            }
        }
    }

    fn serve(arguments: &[String]) -> Result<(), String> {
        let (mut socket, mut shared) = (None, None);
        for argument in arguments {
            let unexpected = || format!("unexpected argument '{argument}' found");
            let option = argument.strip_prefix("--").ok_or_else(unexpected)?;
            match option.split_once('=') {
                None if SWITCHES.contains(&option) => {}
                None => return Err(unexpected()),
                Some((name, value)) => {
                    let (_, possible) = VALUES.iter().find(|(known, _)| *known == name).ok_or_else(unexpected)?;
                    if !possible.is_empty() && !possible.contains(&value) {
                        return Err(format!("invalid value '{value}' for '--{name}'"));
                    }
                    match name {
                        "fd" => socket = Some(value),
                        "shared-dir" => shared = Some(value),
                        _ => {}
                    }
                }
            }
        }
        let shared = shared.ok_or("the following required arguments were not provided: --shared-dir")?;
        if !Path::new(shared).is_dir() {
            return Err(format!("{shared} does not exist"));
        }
        let socket = socket.and_then(|number| number.parse().ok()).ok_or("no socket was given")?;
        let adopt = || pidfd_getfd(pidfd_open(getpid(), PidfdFlags::empty())?, socket, PidfdGetfdFlags::empty());
        let socket: OwnedFd = adopt().map_err(|error: rustix::io::Errno| error.to_string())?;
        say("Waiting for vhost-user socket connection...");
        let (mut client, _) = UnixListener::from(socket).accept().map_err(|error| error.to_string())?;
        say("Client connected, servicing requests");
        let mut asked = [0; 1024];
        while client.read(&mut asked).is_ok_and(|length| length > 0) {}
        say("Client disconnected, shutting down");
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return linux::main();
    #[cfg(not(target_os = "linux"))]
    return std::process::ExitCode::FAILURE;
}
