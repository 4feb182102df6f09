//! `status`: who one is where, whether the server is there, and for how long all of that holds.
//!
//! It tells what is, also of a server that is away; whether it will do, and how to mend it, is `check`'s.

use clap::ArgMatches;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::{
        cx::Cx,
        error::report,
        print::{self, fields::write_pairs, human::ago},
        server::{Server, days_until, expiry, greet, served},
        session::say_sandbox,
        verb::{Entry, Exit},
    },
    client::{Client, handshake},
    config::{Connection, Resolved},
    journal::{Filter, Journal, Status as Ended},
    model::{Error, Heartbeat, Result},
};

pub(super) const ENTRY: Entry = Entry {
    name: "status",
    about: "Show the context, its server, who one is there and until when; also when the server is away",
    examples: &["pvectl status", "pvectl status --context lab -o json", "pvectl status --host https://minipc:8006"],
    args: |command| command,
    run: |cx, matches| Box::pin(run(cx, matches)),
};

/// Everything that is told; `null` where it is not known. Times are RFC 3339, days are whole and below zero afterwards.
#[derive(Debug, Default, Serialize)]
struct Status {
    context: Option<String>,
    /// `proxmox`, `served` (a host that pvectl serves), `sandbox`, `local`.
    kind: Option<&'static str>,
    endpoints: Vec<String>,
    reachable: bool,
    /// Its version in its own words.
    version: Option<String>,
    /// The node that is served.
    node: Option<String>,
    user: Option<String>,
    /// `token`, `password`, or `certificate`.
    method: Option<&'static str>,
    /// When the token, or the user, is over.
    expires: Option<String>,
    expires_in_days: Option<i64>,
    enrolled: bool,
    /// The server's certificate.
    certificate: Option<Shown>,
    /// When a command last had an answer from it.
    last_contact: Option<String>,
    /// How far its clock is ahead of this one's, in seconds.
    clock_ahead: Option<i64>,
    reports_to: Option<String>,
    heartbeat: Option<Heartbeat>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    fingerprint: String,
    not_after: String,
    days: i64,
}

async fn run(cx: &Cx, _: &ArgMatches) -> Result<Exit> {
    let resolved = cx.resolve()?;
    for warning in &resolved.warnings {
        cx.ui.warn(warning);
    }
    if let Connection::Sandbox { implicit: true } = resolved.connection {
        say_sandbox(cx);
    }
    let style = cx.style(&resolved)?;
    let (status, error) = match Server::of(cx, &resolved).await? {
        Some(server) => of_server(cx, &resolved, &server).await?,
        None => (of_this_host(), None),
    };
    let names = [format!("context/{}", status.context.as_deref().unwrap_or("none"))];
    print::data_or(&cx.ui, &style, &status, &names, |out| write_pairs(out, lines(&status)))?;
    Ok(match &error {
        Some(error) => {
            report(&cx.ui, cx.error_format(), error);
            error.class().exit_code()
        }
        None => 0,
    })
}

fn of_this_host() -> Status {
    Status {
        context: Some("local".to_owned()),
        kind: Some("local"),
        reachable: true,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..Status::default()
    }
}

async fn of_server(cx: &Cx, resolved: &Resolved, server: &Server<'_>) -> Result<(Status, Option<Error>)> {
    let before = last_contact(cx, server)?;
    let is_sandbox = matches!(resolved.connection, Connection::Sandbox { .. });
    let mut status = Status {
        context: server.context().map(str::to_owned),
        kind: is_sandbox.then_some("sandbox"),
        endpoints: server.urls(),
        user: server.identity().map(ToString::to_string),
        method: server.method(None),
        enrolled: server.is_enrolled(),
        last_contact: before.map(|at| at.to_string()),
        ..Status::default()
    };
    let mut away = None;
    for endpoint in &server.endpoints {
        let (shown, answered) = handshake(endpoint, &server.trust, server.certificate.as_ref()).await;
        status.certificate = shown.map(|shown| Shown {
            fingerprint: shown.fingerprint.to_string(),
            not_after: shown.not_after.to_string(),
            days: days_until(shown.not_after),
        });
        match answered {
            Ok(()) => {
                status.reachable = true;
                break;
            }
            Err(error) => away = Some(error),
        }
    }
    let told = match (status.reachable, away) {
        (false, Some(error)) => Err(error),
        _ => async { of_user(&mut status, server, &server.client().await?).await }.await,
    };
    let error = told.err();
    status.error = error.as_ref().map(ToString::to_string);
    Ok((status, error))
}

/// What only somebody who is let in is told.
async fn of_user(status: &mut Status, server: &Server<'_>, client: &Client) -> Result<()> {
    let told = greet(client).await?;
    let user = client.user();
    server.note();
    let until = expiry(server, client).await.at();
    status.method = server.method(Some(user));
    status.user = Some(user.to_owned()).filter(|user| !user.is_empty()).or(status.user.take());
    status.expires = until.map(|at| at.to_string());
    status.expires_in_days = until.map(days_until);
    status.last_contact = Some(Timestamp::now().to_string());
    status.clock_ahead = told.ahead.map(|ahead| ahead.as_secs());
    status.version = Some(told.version.version);
    if let Some((me, host)) = served(client).await {
        status.kind = Some("served");
        status.version = Some(format!("pvectl {}", me.server.version));
        status.node = Some(me.server.name);
        (status.reports_to, status.heartbeat) = host.map_or((None, None), |host| (host.reports_to, host.heartbeat));
    }
    status.kind = status.kind.or(Some("proxmox"));
    Ok(())
}

/// When a command last had an answer: of `status` and `check` that is kept, of changes the journal knows it.
fn last_contact(cx: &Cx, server: &Server<'_>) -> Result<Option<Timestamp>> {
    let looked = server.contacts()?.last();
    let filter = |status| Filter {
        context: Some(server.name.clone()),
        status: Some(status),
        limit: Some(1),
        ..Filter::default()
    };
    let journal = Journal::open_read_only(&cx.paths()?.journal())?;
    let mut changed = None;
    for status in journal.iter().flat_map(|_| [Ended::Ok, Ended::Warning]) {
        let found = journal.as_ref().map(|journal| journal.operations(&filter(status))).transpose()?;
        changed = changed.max(found.into_iter().flatten().filter_map(|operation| operation.ended).max());
    }
    Ok(looked.max(changed))
}

/// The same for people.
fn lines(status: &Status) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: String| {
        if !value.is_empty() {
            lines.push((key.to_owned(), value));
        }
    };
    let days = |days: i64| match days {
        ..0 => "over".to_owned(),
        0 => "less than a day left".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    };
    line("context", status.context.clone().unwrap_or_else(|| "none (a server that is named alone)".to_owned()));
    line(
        "server",
        match (status.kind, &status.version) {
            (Some("local"), Some(version)) => format!("this host, under pvectl {version}"),
            (Some("served"), Some(version)) => format!("{} on {version}", status.node.as_deref().unwrap_or_default()),
            (Some("sandbox"), Some(version)) => format!("a simulated cluster, Proxmox VE {version}"),
            (_, Some(version)) => format!("Proxmox VE {version}"),
            (_, None) if status.reachable => "it is there, and lets nobody in".to_owned(),
            (_, None) => "away".to_owned(),
        },
    );
    line("endpoints", status.endpoints.join(", "));
    line(
        "user",
        match (&status.user, status.method) {
            (Some(user), Some(method)) => format!("{user}, by {method}"),
            (Some(user), None) => user.clone(),
            (None, _) => String::new(),
        },
    );
    line(
        "expires",
        match (&status.expires, status.expires_in_days) {
            (Some(at), Some(left)) => format!("{at} ({})", days(left)),
            _ => String::new(),
        },
    );
    line("enrolled", if status.enrolled { "yes" } else { "no" }.to_owned());
    if let Some(shown) = &status.certificate {
        line("certificate", format!("{} ({})", shown.not_after, days(shown.days)));
        line("fingerprint", shown.fingerprint.clone());
    }
    line(
        "last contact",
        match status.last_contact.as_deref().and_then(|at| at.parse().ok()) {
            Some(at) if status.error.is_some() => ago(at),
            Some(_) => "now".to_owned(),
            None if status.error.is_some() => "never, as far as is known here".to_owned(),
            None => String::new(),
        },
    );
    line(
        "clock",
        match status.clock_ahead {
            Some(-2..=2) => "as here".to_owned(),
            Some(ahead @ ..0) => format!("{} s behind", -ahead),
            Some(ahead) => format!("{ahead} s ahead"),
            None => String::new(),
        },
    );
    if let Some(to) = &status.reports_to {
        line(
            "heartbeats",
            match &status.heartbeat {
                Some(beat) if beat.is_ok() => format!("to {to}, the last one at {}", beat.time),
                Some(beat) => {
                    format!("to {to}; the one at {} failed: {}", beat.time, beat.error.as_deref().unwrap_or_default())
                }
                None => format!("to {to}, none yet"),
            },
        );
    }
    lines
}
