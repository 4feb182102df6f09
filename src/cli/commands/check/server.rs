//! What `check` finds out about a server: a table of steps, each of which needs that those before it went well.

use std::{fmt::Display, net::SocketAddr};

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::privileges;
use crate::{
    cli::{
        error::words,
        server::{Expiry, Server, Told, days_until, expiry, greet, served},
    },
    client::{Certificate, Client, Me, addresses, connect, handshake},
    contract::RELEASE,
    model::{Class, Error, Fact, FactStatus, ServedHost},
};

/// The oldest release whose API has all that the usual verbs call.
const OLDEST: (u32, u32) = (7, 4);

/// From so many days before its end on something has to be renewed soon.
const SOON: i64 = 14;

/// So many seconds may two clocks differ: beyond it codes of second factors and the ends of tokens are not what they seem.
const APART: i64 = 30;

/// What one step after the other finds out.
struct Way<'a> {
    server: &'a Server<'a>,
    /// Of each endpoint whose name is known.
    addresses: Vec<(String, Vec<SocketAddr>)>,
    certificates: Vec<(String, Certificate)>,
    client: Option<Client>,
    told: Option<Told>,
    /// If it is one that pvectl serves.
    host: Option<ServedHost>,
    /// Who one is there, where it is a host that pvectl serves.
    me: Option<Me>,
}

/// A step: what it is called, and how it is taken. It says nothing where it does not apply.
struct Step {
    name: &'static str,
    take: for<'w> fn(&'w mut Way<'_>) -> LocalBoxFuture<'w, Option<Fact>>,
}

/// All of them, in their order.
const STEPS: &[Step] = &[
    Step { name: "dns", take: |way| Box::pin(dns(way)) },
    Step { name: "tcp", take: |way| Box::pin(tcp(way)) },
    Step { name: "tls", take: |way| Box::pin(tls(way)) },
    Step { name: "certificate", take: |way| Box::pin(async { certificate(way) }) },
    Step { name: "login", take: |way| Box::pin(login(way)) },
    Step { name: "version", take: |way| Box::pin(async { version(way) }) },
    Step { name: "clock", take: |way| Box::pin(async { clock(way) }) },
    Step { name: "credentials", take: |way| Box::pin(credentials(way)) },
    Step { name: "privileges", take: |way| Box::pin(granted(way)) },
    Step { name: "heartbeat", take: |way| Box::pin(heartbeat(way)) },
];

/// Looks at everything. What comes after something that has to be mended is left out, and said to be.
pub(super) async fn look(server: &Server<'_>) -> Vec<Fact> {
    let (addresses, certificates) = (Vec::new(), Vec::new());
    let mut way = Way { server, addresses, certificates, client: None, told: None, host: None, me: None };
    let mut facts: Vec<Fact> = vec![context(server)];
    let mut broken = None;
    for step in STEPS {
        let fact = match broken {
            None => (step.take)(&mut way).await,
            Some(before) if is_always(step.name) => Some(Fact::new(
                step.name,
                FactStatus::Skipped,
                format!("not looked at: {before} has to be mended first"),
            )),
            Some(_) => None,
        };
        let Some(fact) = fact else { continue };
        if fact.status.is_bad() {
            broken = Some(step.name);
        }
        facts.push(fact);
    }
    facts
}

/// Whether a step applies to every server; not each of them sends heartbeats.
fn is_always(name: &str) -> bool {
    name != "heartbeat"
}

fn context(server: &Server<'_>) -> Fact {
    let identity = server.identity().map(ToString::to_string);
    let urls = server.urls();
    let place = if urls.is_empty() { "a simulated cluster in this process".to_owned() } else { urls.join(", ") };
    let whose = identity.as_ref().map_or_else(String::new, |identity| format!(", as {identity}"));
    let name = server.context().map_or_else(|| "none".to_owned(), str::to_owned);
    Fact::ok("context", format!("{name}: {place}{whose}"))
        .value(json!({"context": server.context(), "endpoints": urls, "identity": identity}))
}

/// What an error tells to do.
fn mend(error: &Error) -> Option<String> {
    let hints: Vec<String> = error.hints().iter().map(words).collect();
    (!hints.is_empty()).then(|| hints.join("; "))
}

/// An error as a fact.
fn failed(name: &'static str, error: &Error) -> Fact {
    Fact { mend: mend(error), ..Fact::new(name, FactStatus::Failed, error.to_string()) }
}

/// What was found out of an endpoint, in words and as it is.
type Found<T> = Result<(String, T), Error>;

/// What was found out of each endpoint, in one: one that goes is enough, since the next one is asked where it does not.
fn of_all<T>(name: &'static str, all: Vec<(String, Found<T>)>, keep: &mut Vec<T>) -> Fact {
    let several = all.len() > 1;
    let (mut seen, mut values, mut mends) = (Vec::new(), Vec::new(), Vec::new());
    let mut good = 0;
    for (endpoint, found) in all {
        let text = match found {
            Ok((text, found)) => {
                good += 1;
                keep.push(found);
                values.push(json!({"endpoint": endpoint, "status": "ok", "seen": text}));
                text
            }
            Err(error) => {
                let text = error.to_string();
                mends.extend(mend(&error));
                values.push(json!({"endpoint": endpoint, "status": "failed", "seen": text}));
                text
            }
        };
        seen.push(if several { format!("{endpoint}: {text}") } else { text });
    }
    let status = match good {
        0 => FactStatus::Failed,
        good if good < values.len() => FactStatus::Warn,
        _ => FactStatus::Ok,
    };
    let fact = Fact::new(name, status, seen.join("; ")).value(values);
    Fact { mend: (!mends.is_empty()).then(|| mends.join("; ")), ..fact }
}

fn skipped(name: &'static str, why: impl Into<String>) -> Fact {
    Fact::new(name, FactStatus::Skipped, why)
}

async fn dns(way: &mut Way<'_>) -> Option<Fact> {
    if let Some(why) = way.server.proxy() {
        return Some(skipped("dns", why));
    }
    let mut all = Vec::new();
    for endpoint in &way.server.endpoints {
        let found = addresses(endpoint).await.map(|found| {
            let texts: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            let name = endpoint.url.domain();
            let text =
                name.map_or("an address needs none".to_owned(), |name| format!("{name} is {}", texts.join(", ")));
            (text, (endpoint.to_string(), found))
        });
        all.push((endpoint.to_string(), found));
    }
    let mut found = Vec::new();
    let fact = of_all("dns", all, &mut found);
    way.addresses = found;
    Some(fact)
}

async fn tcp(way: &mut Way<'_>) -> Option<Fact> {
    if let Some(why) = way.server.proxy() {
        return Some(skipped("tcp", why));
    }
    let mut all = Vec::new();
    for (endpoint, found) in &way.addresses {
        let connected = connect(found).await.map(|address| (format!("{address} takes connections"), ()));
        all.push((endpoint.clone(), connected));
    }
    Some(of_all("tcp", all, &mut Vec::new()))
}

async fn tls(way: &mut Way<'_>) -> Option<Fact> {
    let mut all = Vec::new();
    for endpoint in &way.server.endpoints {
        let (shown, answered) = handshake(endpoint, &way.server.trust, way.server.certificate.as_ref()).await;
        let found = answered.map(|()| {
            let text = match (&shown, endpoint.fingerprint) {
                _ if !endpoint.is_https() => "not encrypted, and on this machine".to_owned(),
                (_, Some(_)) => "the certificate is the one that is pinned".to_owned(),
                (Some(shown), None) => format!("signed by an authority that is trusted here: {}", shown.issuer),
                (None, None) => "trusted".to_owned(),
            };
            (text, shown.map(|shown| (endpoint.to_string(), shown)))
        });
        all.push((endpoint.to_string(), found));
    }
    let mut shown = Vec::new();
    let fact = of_all("tls", all, &mut shown);
    way.certificates = shown.into_iter().flatten().collect();
    Some(fact)
}

/// How long the certificate is good, of the endpoint whose ends first.
fn certificate(way: &mut Way<'_>) -> Option<Fact> {
    let Some((endpoint, first)) = way.certificates.iter().min_by_key(|(_, shown)| shown.not_after) else {
        return Some(skipped("certificate", "there is none: it is not encrypted"));
    };
    let days = days_until(first.not_after);
    let value = json!({
        "endpoint": endpoint, "subject": first.subject, "issuer": first.issuer, "fingerprint": first.fingerprint.to_string(),
        "not_before": first.not_before.to_string(), "not_after": first.not_after.to_string(), "days": days,
    });
    let until = day(first.not_after);
    let fact = if first.not_before > Timestamp::now() {
        Fact::warn("certificate", format!("good from {} on only", day(first.not_before)))
            .mend("Set the clock of this machine, or of the server: `timedatectl` shows it.")
    } else if days < 0 {
        Fact::warn("certificate", format!("over since {until}; the pinned fingerprint lets it pass"))
            .mend("Renew it on the server (`pvenode cert`), and pin the new one.")
    } else if days < SOON {
        Fact::warn("certificate", format!("good for {days} days, until {until}"))
            .mend("Renew it on the server (`pvectl node certificate`, or `pvenode cert` there); a pinned one changes with it.")
    } else {
        Fact::ok("certificate", format!("good for {days} days, until {until}"))
    };
    Some(fact.value(value))
}

fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

async fn login(way: &mut Way<'_>) -> Option<Fact> {
    let logged_in = async {
        let client = way.server.client().await?;
        let told = greet(&client).await?;
        Ok::<_, Error>((client, told))
    };
    Some(match logged_in.await {
        Ok((client, told)) => {
            let user = client.user().to_owned();
            let method = way.server.method(Some(&user)).unwrap_or_default();
            way.server.note();
            (way.me, way.host) = served(&client).await.map_or((None, None), |(me, host)| (Some(me), host));
            (way.client, way.told) = (Some(client), Some(told));
            let whose = if user.is_empty() { "whom the server takes one for" } else { &user };
            let shown = format!("{whose}, by {method}");
            Fact::ok("login", shown).value(json!({"user": user, "method": method}))
        }
        Err(error) => failed("login", &error),
    })
}

fn version(way: &mut Way<'_>) -> Option<Fact> {
    let version = &way.told.as_ref()?.version;
    if let Some(me) = &way.me {
        return Some(of_pvectl(&me.server.version));
    }
    let value = json!({"version": version.version, "release": version.release, "known": RELEASE});
    let fact = match (number(&version.release), number(RELEASE)) {
        (Some(release), _) if release < OLDEST => {
            Fact::warn("version", format!("{}; calls are made as {}.{} has them", version.version, OLDEST.0, OLDEST.1))
                .mend("Some verbs will be refused: upgrade the server (`pveversion` there shows what it is).")
        }
        (Some(release), Some(known)) if release > known => {
            Fact::warn("version", format!("{}, newer than the {RELEASE} that this pvectl describes", version.version))
                .mend("What is new is reached by `pvectl api` and --force-param; a newer pvectl may know it.")
        }
        _ => Fact::ok("version", format!("{} (this pvectl describes {RELEASE})", version.version)),
    };
    Some(fact.value(value))
}

/// The version of a host that pvectl serves, beside this one.
fn of_pvectl(there: &str) -> Fact {
    let here = env!("CARGO_PKG_VERSION");
    let fact = match number(there) == number(here) {
        true => Fact::ok("version", format!("pvectl {there}, with the API of {RELEASE}")),
        false => Fact::warn("version", format!("pvectl {there}, and this one is {here}"))
            .mend("What lies beside the API of Proxmox VE may differ: use the same release on both sides."),
    };
    fact.value(json!({"version": there, "release": RELEASE, "known": here}))
}

/// `9.2` of `9.2.11`.
fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
}

fn clock(way: &mut Way<'_>) -> Option<Fact> {
    let Some(ahead) = way.told.as_ref()?.ahead else {
        return Some(skipped("clock", "the server does not say what time it is"));
    };
    let seconds = ahead.as_secs();
    let value = json!({"ahead": seconds});
    let which = if seconds < 0 { "behind" } else { "ahead of" };
    Some(match seconds.abs() {
        0..=2 => Fact::ok("clock", "the server's is that of this machine"),
        apart @ 3..=APART => Fact::ok("clock", format!("the server's is {apart} s {which} this machine's")),
        apart => Fact::warn("clock", format!("the server's is {apart} s {which} this machine's")).mend(
            "Set both by NTP (`timedatectl set-ntp true`): codes of second factors, ends of tokens and the search for \
             lost answers go by it.",
        ),
    }
    .value(value))
}

/// How long the token or the user is let in.
async fn credentials(way: &mut Way<'_>) -> Option<Fact> {
    let client = way.client.as_ref()?;
    let what = match way.server.method(Some(client.user())) {
        Some("certificate") => "the client certificate",
        Some("token") => "the token",
        _ => "the user",
    };
    let until = expiry(way.server, client).await;
    let days = until.at().map(days_until);
    let value = json!({"expires": until.at().map(|at| at.to_string()), "days": days});
    Some(match (until, days) {
        (Expiry::At(at), Some(days)) if days < SOON => {
            Fact::warn("credentials", format!("{what} is good for {days} days, until {}", day(at))).mend(
                match what {
                    "the client certificate" => "Renew it: `pvectl renew`.",
                    _ => "Give it more time: `pvectl token update ID --expire 90d`, for a user `user update`; by whoever may.",
                },
            )
        }
        (Expiry::At(at), Some(days)) => {
            Fact::ok("credentials", format!("{what} is good for {days} days, until {}", day(at)))
        }
        (Expiry::Untold, _) => Fact::ok("credentials", format!("how long {what} is good the server tells others only")),
        _ => Fact::ok("credentials", format!("{what} has no end")),
    }
    .value(value))
}

/// What the usual verbs want and this user or token lacks.
async fn granted(way: &mut Way<'_>) -> Option<Fact> {
    let client = way.client.as_ref()?;
    let held = match client.permissions(None).await {
        Ok(held) => held,
        Err(error) => return Some(failed("privileges", &error)),
    };
    let release = way.told.as_ref().and_then(|told| number(&told.version.release));
    Some(privileges::judge(client.user(), &held, release))
}

/// Has a host that tells somebody that it lives do so now.
async fn heartbeat(way: &mut Way<'_>) -> Option<Fact> {
    let client = way.client.as_ref()?;
    let to = way.host.as_ref()?.reports_to.clone()?;
    if way.server.is_read_only() {
        return Some(skipped("heartbeat", "not sent: changes are switched off"));
    }
    let untaken = |why: &dyn Display| {
        Fact::warn("heartbeat", format!("{to} did not take it: {why}"))
            .mend("Look whether it can be reached from the host, and whether `serve --report-to` is right.")
    };
    Some(match client.send_heartbeat().await {
        Ok(beat) if beat.is_ok() => Fact::ok("heartbeat", format!("sent to {to}")).value(json!(beat)),
        Ok(beat) => untaken(&beat.error.as_deref().unwrap_or("without a reason")).value(json!(beat)),
        Err(error) if error.class() == Class::Forbidden => {
            skipped("heartbeat", "not sent: it wants Sys.Modify on the node")
        }
        Err(error) => untaken(&error).value(Value::Null),
    })
}
