//! `console` and `logs`: what a guest says, live with a keyboard, or afterwards.

use std::io::{self, IsTerminal as _};

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rustix::termios::tcgetwinsize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    signal::unix::{SignalKind, signal},
};

use super::get::target_arg;
use crate::{
    backends::{Console as Line, LogOf, LogRequest},
    cli::{
        cx::{Cx, flag, text},
        session::{Access, Session},
        terminal::{Escape, Raw},
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{Class, Error, GuestKind, GuestRef, Result},
};

/// How much of what was said before is shown on a terminal, bytes.
const UNREAD: usize = 4096;

/// The guest that is meant, and how it is called.
async fn one(session: &Session, kind: &Kind, matches: &ArgMatches) -> Result<(GuestRef, String)> {
    let guest = session.ops.find_one(text(matches, "target").unwrap_or_default(), kind.guest()).await?;
    let label = match &guest.name {
        Some(name) => format!("{} ({name})", guest.reference()),
        None => guest.reference().to_string(),
    };
    Ok((guest.reference(), label))
}

pub(super) struct Console;

#[async_trait(?Send)]
impl Verb for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn about(&self, kind: &Kind) -> String {
        match kind.guest() {
            GuestKind::Qemu => "Sit at the serial console of a vm that runs".to_owned(),
            GuestKind::Lxc => "Sit at the console of a container that runs".to_owned(),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} console web", kind.noun),
            format!("pvectl {} console 100 --escape ctrl-o", kind.noun),
            format!("echo uptime | pvectl {} console web", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg()).arg(escape_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let escape = Escape::parse(text(matches, "escape").unwrap_or_default())?;
        let session = seat(cx).await?;
        let (guest, label) = one(&session, kind, matches).await?;
        let line = session.ops.console(&guest, &label).await?;
        sit_at(cx, &session, &label, line, escape).await
    }
}

/// A session for whoever sits at a console: what they type there may change anything.
pub(crate) async fn seat(cx: &Cx) -> Result<Session> {
    if cx.switches.dry_run {
        return Err(Error::usage("a console is sat at: there is nothing to show of it with --dry-run"));
    }
    cx.session(Access::Write).await
}

/// The escape key, as an argument.
pub(crate) fn escape_arg() -> Arg {
    value("escape", "KEY", "The key that leaves: ctrl-], ^O, …; none for no such key").default_value("ctrl-]")
}

/// Sits at a console until it ends or somebody leaves.
pub(crate) async fn sit_at(cx: &Cx, session: &Session, label: &str, mut line: Line, escape: Escape) -> Result<Exit> {
    let _mind = cx.interrupt.mind();
    let ended = sit(cx, label, &mut line, escape).await;
    drop(line);
    // What the guest said is written down to its end.
    session.ops.backend().leave().await;
    ended
}

/// How sitting at a console ends.
enum End {
    Left,
    Off,
    Nobody,
    Told,
}

async fn sit(cx: &Cx, label: &str, line: &mut Line, escape: Escape) -> Result<Exit> {
    let failed = |what: &str, error: io::Error| Error::new(Class::Failed, what).with_source(error);
    let by_hand = io::stdin().is_terminal();
    let escape = if by_hand { escape } else { Escape::parse("none")? };
    if by_hand {
        let way = escape.name().map_or_else(|| "close the terminal to leave".into(), |key| format!("{key} leaves"));
        cx.ui.err_line(format_args!("at the console of {label}; {way}"));
    }
    let mut end = [SignalKind::terminate(), SignalKind::hangup()]
        .map(|kind| signal(kind).map_err(|error| failed("cannot listen to signals", error)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .into_iter();
    let (mut terminated, mut hung_up) = match (end.next(), end.next()) {
        (Some(one), Some(other)) => (one, other),
        _ => return Err(Error::new(Class::Bug, "two signals are not two")),
    };
    let mut resized = signal(SignalKind::window_change()).map_err(|error| failed("cannot listen to signals", error))?;
    tell_size(line);
    let raw = Raw::begin().map_err(|error| failed("cannot make the terminal raw", error))?;
    let unread = line.take_unread();
    let shown = if by_hand { &unread[unread.len().saturating_sub(UNREAD)..] } else { &unread[..] };
    let mut ended = if cx.ui.raw(shown)? { None } else { Some(End::Nobody) };
    let (mut stdin, mut more) = (tokio::io::stdin(), true);
    let (mut typed, mut said) = ([0; 1024], [0; 8192]);
    let ended = loop {
        if let Some(ended) = ended.take() {
            break ended;
        }
        tokio::select! {
            read = line.read(&mut said) => match read {
                Ok(0) | Err(_) => ended = Some(End::Off),
                Ok(count) => if !cx.ui.raw(&said[..count])? {
                    ended = Some(End::Nobody);
                },
            },
            read = stdin.read(&mut typed), if more => match read {
                // Nothing more is typed; what the guest says is still wanted.
                Ok(0) | Err(_) if !by_hand => more = false,
                Ok(0) | Err(_) => ended = Some(End::Left),
                Ok(count) => {
                    let (keys, leave) = escape.split(&typed[..count]);
                    if line.write_all(keys).await.is_err() {
                        ended = Some(End::Off);
                    } else if leave {
                        ended = Some(End::Left);
                    }
                }
            },
            _ = resized.recv() => tell_size(line),
            _ = terminated.recv() => ended = Some(End::Told),
            _ = hung_up.recv() => ended = Some(End::Told),
            () = cx.interrupt.raised() => ended = Some(End::Told),
        }
    };
    drop(raw);
    match ended {
        End::Left => cx.ui.say(format_args!("\nleft the console of {label}; it goes on")),
        End::Off if by_hand && line.is_remote() => {
            cx.ui.say(format_args!("\nthe console of {label} ended: the guest is off, or the other end hung up"));
        }
        End::Off if by_hand => cx.ui.say(format_args!("\n{label} is off")),
        End::Off | End::Nobody => {}
        End::Told => return Ok(Class::Interrupted.exit_code()),
    }
    Ok(0)
}

/// Tells the other end how large the terminal is, where there is one.
fn tell_size(line: &Line) {
    if let Ok(size) = tcgetwinsize(io::stdout())
        && size.ws_col > 0
    {
        line.resize(size.ws_col, size.ws_row);
    }
}

pub(super) struct Logs;

#[async_trait(?Send)]
impl Verb for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Print what a {} said on its console since it was started, also when it is off", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} logs web", kind.noun),
            format!("pvectl {} logs web -f -n 20", kind.noun),
            format!("pvectl {} logs web --vmm", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target_arg())
            .arg(switch("follow", "Go on with what is added, until it is off").short('f'))
            .arg(
                Arg::new("lines")
                    .short('n')
                    .long("lines")
                    .value_name("LINES")
                    .action(ArgAction::Set)
                    .value_parser(value_parser!(u64))
                    .help("Begin with the last so many lines"),
            )
            .arg(switch("vmm", "The log and the events of the program that runs it, instead"))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let lines = matches.get_one::<u64>("lines").map(|lines| usize::try_from(*lines).unwrap_or(usize::MAX));
        let of = if flag(matches, "vmm") { LogOf::Vmm } else { LogOf::Guest };
        let request = LogRequest { of, lines, follow: flag(matches, "follow") };
        let session = cx.session(Access::Read).await?;
        let (guest, _) = one(&session, kind, matches).await?;
        let mut log = session.ops.backend().guest_log(&guest, &request).await?;
        let _mind = cx.interrupt.mind();
        let mut bytes = vec![0; 64 * 1024];
        let ended = loop {
            let read = tokio::select! {
                read = log.read(&mut bytes) => read,
                () = cx.interrupt.raised() => break Ok(Class::Interrupted.exit_code()),
            };
            match read.map(|count| cx.ui.raw(&bytes[..count]).map(|heard| heard && count > 0)) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break Ok(0),
                Ok(Err(error)) => break Err(error),
                Err(error) => break Err(Error::new(Class::Failed, "the log ended early").with_source(error)),
            }
        };
        drop(log);
        // Who listened to the guest for it says goodbye.
        session.ops.backend().leave().await;
        ended
    }
}
