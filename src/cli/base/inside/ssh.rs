//! `ssh`: the system's own ssh to a guest, by its name.
//!
//! Only finds the address; keys, users and configuration are ssh's.

use std::{os::unix::process::CommandExt as _, process};

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use super::ip::from;
use crate::{
    cli::{
        cx::{Cx, text, texts},
        print,
        session::Access,
        verb::{Exit, Kind, Verb, value},
    },
    model::{Class, Error, Hint, Result},
    ops::Target,
};

pub(super) struct Ssh;

#[async_trait(?Send)]
impl Verb for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Log in to a {} with the system's ssh, by its name", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        vec![
            format!("pvectl {noun} ssh web-1"),
            format!("pvectl {noun} ssh debian@web-1 -- uptime"),
            format!("pvectl {noun} ssh web-1 -l root -- -L 8080:localhost:80 -N"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(Arg::new("target").value_name("[USER@]TARGET").required(true).help("VMID, name, or NODE/VMID"))
            .arg(value("login", "USER", "Who logs in; else whoever ssh takes").short('l'))
            .arg(value("address", "ADDRESS", "Go to this address of the guest, instead of the first that is known"))
            .arg(
                Arg::new("args")
                    .value_name("ARGS")
                    .num_args(0..)
                    .last(true)
                    .help("For ssh: options of its own, and what is run there"),
            )
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let typed = text(matches, "target").unwrap_or_default();
        let (user, target) = typed.rsplit_once('@').map_or((None, typed), |(user, target)| (Some(user), target));
        let user = text(matches, "login").or(user);
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-')) {
            return Err(Error::usage(format!("`{typed}` names no user before the @")));
        }
        let session = cx.session(Access::Read).await?;
        let mut found = session.ops.find(&Target::parse_all(&[target])?, kind.guest()).await?;
        let (Some(found), true) = (found.pop(), found.is_empty()) else {
            return Err(Error::usage(format!("`{target}` names several, and ssh goes to one")));
        };
        let guest = found.guest;
        let (address, said) = match text(matches, "address") {
            Some(address) => (address.to_owned(), "the command line"),
            None => {
                let best = session.ops.reachable_address(&guest).await?;
                (best.address.to_string(), from(best.from))
            }
        };
        if address.starts_with('-') {
            return Err(Error::usage(format!("`{address}` is no address")));
        }
        // Addresses are given to others; what the key is kept under is the guest itself.
        let place: String =
            session.ops.context().chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '-' }).collect();
        let alias = format!("HostKeyAlias={}-{}.{place}", kind.noun, guest.vmid);
        let mut words = vec!["-o".to_owned(), alias];
        words.extend(user.into_iter().flat_map(|user| ["-l".to_owned(), user.to_owned()]));
        let args = texts(matches, "args");
        // Options of ssh stand before the address, what is run there behind it.
        let options = options(&args);
        words.extend(args[..options].iter().cloned());
        words.push(address.clone());
        words.extend(args[options..].iter().cloned());
        if cx.switches.dry_run {
            let command: Vec<&str> = std::iter::once("ssh").chain(words.iter().map(String::as_str)).collect();
            let context = session.ops.context();
            let data = serde_json::json!({
                "vmid": guest.vmid, "address": address, "from": said, "command": command, "context": context,
            });
            let line = shlex::try_join(command.iter().copied());
            let line = line.map_err(|error| Error::usage("this cannot be a command line").with_source(error))?;
            print::data_or(&cx.ui, &session.style, &data, &[guest.reference().to_string()], |out| {
                writeln!(out, "{line}")
            })?;
            return Ok(0);
        }
        if cx.switches.verbose > 0 {
            cx.ui.err_line(format_args!("{} is at {address} (says {said})", guest.reference()));
        }
        drop(session);
        // From here on it is ssh's terminal, ssh's signals and ssh's exit code.
        let error = process::Command::new("ssh").args(&words).exec();
        Err(Error::new(Class::Failed, "cannot run ssh")
            .with_source(error)
            .with_hint(Hint::Text(format!("the address is {address}; is an OpenSSH client installed?"))))
    }
}

/// Options of ssh that have a value behind them.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// How many of the words are ssh's own options.
fn options(args: &[String]) -> usize {
    let mut at = 0;
    while let Some(word) = args.get(at) {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break };
        at += 1;
        if letters == "-" {
            break;
        }
        // `-p 22` has its value behind it, `-p22` in it.
        let takes = letters.find(|letter| WITH_VALUE.contains(letter));
        if takes.is_some_and(|place| place + 1 == letters.len()) {
            at += 1;
        }
    }
    at.min(args.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_the_command_begins() {
        for (line, count) in [
            ("", 0),
            ("uptime", 0),
            ("-v uptime -p", 1),
            ("-L 8080:localhost:80 -N", 3),
            ("-p22 -tt top -b", 2),
            ("-vp 22 ls", 2),
            ("-o A=b -- -x", 3),
            ("-p", 1),
        ] {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(options(&args), count, "{line}");
        }
    }
}
