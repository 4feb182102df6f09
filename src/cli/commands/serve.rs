//! `serve`: the VMs of this host over the API of Proxmox VE.
//!
//! Sockets, certificate and the first token, the beginning and the end; what is answered is the library's.

mod beside;
mod logs;
mod unit;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{ArgMatches, value_parser};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::serve_people::GROUP;
use crate::{
    backends::{Backend, cloud_hypervisor::host::facts},
    cli::{
        cx::{Cx, flag, parse_duration, text},
        local, print,
        session::Access,
        verb::{Entry, Exit, run_in_group, switch, value, with_group},
    },
    config::write_private,
    model::{Class, Clock, Error, Hint, Result, SystemClock},
    serve::{self, Desk, Host, Life, Notify, Table},
    server::{Kit, Limits, Options, Tls, listen},
};

/// The token that a host begins with.
const FIRST: &str = "pvectl";

pub(super) const ENTRY: Entry = Entry {
    name: "serve",
    about: "Serve the VMs of this host over the API of Proxmox VE, until Ctrl-C",
    examples: &[
        "pvectl serve",
        "pvectl serve --listen 0.0.0.0:8006",
        "pvectl serve --listen 0.0.0.0:8006 --print-unit | sudo tee /etc/systemd/system/pvectl-serve.service",
    ],
    args: |command| {
        let path = |name, about| value(name, "FILE", about).value_parser(value_parser!(PathBuf));
        let command = with_group(command, GROUP)
            .subcommand_required(false)
            .arg_required_else_help(false)
            .args_conflicts_with_subcommands(true)
            .arg(value("listen", "ADDRESS", "Where; port 0 takes a free one").default_value("127.0.0.1:8006"))
            .arg(path("tls-cert", "Certificate chain as PEM; one that it signs itself by default").requires("tls-key"))
            .arg(path("tls-key", "The key of the certificate, as PEM").requires("tls-cert"))
            .arg(
                value("rate-limit", "N", "Requests a second of one source; those above wait for their turn")
                    .value_parser(value_parser!(u32)),
            )
            .arg(switch("no-tls", "Speak plain HTTP; on a loopback address only").conflicts_with("tls-cert"))
            .arg(switch(
                "no-onboot",
                "Leave VMs with onboot=1 to others; else they start once after each boot of the host",
            ))
            .arg(
                value("stop-timeout", "DURATION", "How long to wait at the end for the tasks that are at work")
                    .default_value("60s"),
            )
            .arg(
                value("log-format", "FORMAT", "How log lines are written to stderr")
                    .value_parser(logs::FORMATS)
                    .default_value("text"),
            )
            .arg(
                value("log-level", "LEVEL", "What is logged: changes with `info`, each request with `debug`")
                    .value_parser(logs::LEVELS)
                    .default_value("info"),
            )
            .arg(switch("print-unit", "Print a systemd unit that serves with these flags, and end"));
        beside::args(command)
    },
    run: |cx, matches| {
        Box::pin(async move {
            match matches.subcommand() {
                Some(_) => run_in_group(cx, matches, GROUP).await,
                None => run(cx, matches).await,
            }
        })
    },
};

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve")?;
    let style = cx.plain_style()?;
    let address: SocketAddr = text(matches, "listen").unwrap_or_default().parse().map_err(|_| {
        Error::usage("--listen takes an address and a port").with_hint(Hint::Text("such as 127.0.0.1:8006".into()))
    })?;
    if flag(matches, "no-tls") && !address.ip().is_loopback() {
        return Err(Error::usage(format!("{address} can be reached from elsewhere, and is not served without TLS")));
    }
    let limit = parse_duration(text(matches, "stop-timeout").unwrap_or_default())?;
    if flag(matches, "print-unit") {
        return unit::print(cx, matches, limit);
    }
    let wanted = beside::Wanted::of(matches)?;
    logs::begin(cx, matches);
    open_many_files();
    // Before anything is begun, so that whoever waits for this service learns at once that it cannot be told.
    let systemd = notify(cx)?;
    let home = cx.paths()?.local().join("serve");
    let backend = local::backend(cx)?;
    let node = backend.nodes().await?.remove(0).node;
    let access = Arc::new(serve::Access::open(&home.join("tokens.db"))?);
    let names = [node.to_string(), "localhost".into(), address.ip().to_string()];
    // One certificate for the listener and for what signs heartbeats.
    let is_plain = flag(matches, "no-tls");
    let certificate = (!is_plain || wanted.reports()).then(|| Certificate::of(matches, &home, &names)).transpose()?;
    let heart = wanted.heart(certificate.as_ref())?;
    let tls = certificate.filter(|_| !is_plain).map(|certificate| certificate.tls);
    let authority = home.join("clients-ca.pem");
    let authority = (!is_plain).then(|| serve::Authority::open(&authority)).transpose()?;
    let tls = match (tls, &authority) {
        (Some(tls), Some(authority)) => Some(tls.with_clients_of(authority.certificate())?),
        (tls, _) => tls,
    };
    let cannot =
        |error: std::io::Error| Error::new(Class::Failed, format!("cannot listen on {address}")).with_source(error);
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let metrics = wanted.metrics().await?;
    // Not before nothing stands in the way any more: a token that nobody is shown is lost.
    let first = access.is_new().then(|| access.issue(FIRST, None)).transpose()?;
    let url = format!("http{}://{}", if tls.is_some() { "s" } else { "" }, listener.local_addr().map_err(cannot)?);
    let fingerprint = tls.as_ref().map(|tls| tls.fingerprint().to_owned());
    // Said once: it is kept nowhere.
    let token = first.as_ref().map(|issued| format!("{}={}", issued.id, issued.secret.expose_secret()));
    let metrics_url = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    let metrics_url = metrics_url.map(|address| format!("http://{address}/metrics"));
    let data = json!({"url": url, "node": node, "token": token, "fingerprint": fingerprint, "metrics": metrics_url});
    print::data_or(&cx.ui, &style, &data, std::slice::from_ref(&url), |out| {
        writeln!(out, "PVECTL_ENDPOINT={url}")?;
        fingerprint.iter().try_for_each(|fingerprint| writeln!(out, "PVECTL_FINGERPRINT={fingerprint}"))?;
        token.iter().try_for_each(|token| writeln!(out, "PVECTL_TOKEN={token}"))
    })?;
    let say = |line: &str| logs::say(cx, matches, line);
    if first.is_some() {
        say("the token is shown this once; it may do everything");
    }
    if let Some(url) = &metrics_url {
        say(&format!("metrics at {url}"));
    }
    say("serving until Ctrl-C");
    let backend = Arc::new(backend);
    let life = Life::new(backend.clone(), node.clone());
    let host = Host::new(backend.clone(), node, access)?.with_recorder(beside::recorder(cx, &backend).await?);
    let (view, host) = (host.view(), Arc::new(host));
    let desk = Desk::new(host.clone(), &home.join("plans.db"), wanted.allowed, heart)?;
    let at = local::look(cx)?;
    let desk = desk.with_look(Arc::new(move || facts::look(&at)));
    let desk = Arc::new(match (authority, &fingerprint) {
        (Some(authority), Some(fingerprint)) => desk.with_authority(authority, fingerprint.clone()),
        _ => desk,
    });
    let requests = matches.get_one::<u32>("rate-limit").copied().unwrap_or_default();
    let limits = Limits { requests, ..Limits::strict() };
    let options = Options {
        limits,
        clock: clock(cx),
        names_requests: true,
        beside: Some(Arc::new(Table(desk.clone()))),
        on_request: Some(logs::on_request(host.metrics().clone())),
        ..Options::default()
    };
    let kit = Kit::new(host.clone(), options);
    let mut told = told_to_end()?;
    let mut aside = vec![
        tokio::spawn(serve::carry_out(desk.clone(), kit.clone())),
        tokio::spawn(serve::report(desk.clone())),
        tokio::spawn(attend(life.clone(), view)),
        tokio::spawn(start_guests(life, local::BootMark::new(cx)?, !flag(matches, "no-onboot"))),
    ];
    aside.extend(metrics.map(|listener| tokio::spawn(tell_metrics(listener, host))));
    if let Some(systemd) = &systemd {
        systemd.ready(&format!("serving at {url}"));
    }
    let live = async {
        match &systemd {
            Some(systemd) => systemd.live().await,
            None => std::future::pending().await,
        }
    };
    let served = tokio::select! {
        served = listen(kit, listener, tls, told.again()) => served,
        () = live => Ok(()),
    };
    // Nothing new is begun.
    aside.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(systemd) = &systemd {
        systemd.stopping(limit + Duration::from_secs(5));
    }
    // Tasks of this process end with it.
    say("waiting for the tasks that are at work; VMs stay as they are");
    tokio::select! {
        () = desk.leave() => {}
        () = tokio::time::sleep(limit) => say("tasks are still at work; what they leave is put in order later"),
        () = told.again() => say("tasks are left at work; what they leave is put in order later"),
    }
    served.map(|()| 0).map_err(|error| Error::new(Class::Failed, "the server stopped").with_source(error))
}

/// How many seconds a test wants the clock of client certificates to be ahead, in a file that it may change; other builds
/// than those of tests do not know it.
const CLOCK: &str = "PVECTL_TEST_CLOCK";

fn clock(cx: &Cx) -> Arc<dyn Clock> {
    match cx.env.path(CLOCK).filter(|_| cfg!(debug_assertions)) {
        Some(ahead) => Arc::new(Ahead(ahead)),
        None => Arc::new(SystemClock),
    }
}

/// A clock that is ahead.
struct Ahead(PathBuf);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let seconds = fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Timestamp::now() + SignedDuration::from_secs(seconds)
    }
}

async fn tell_metrics(listener: TcpListener, host: Arc<Host>) {
    if let Err(error) = serve::serve_metrics(listener, host).await {
        tracing::error!(%error, "metrics are not served any more");
    }
}

/// Keeps the guests of this host in sight and in order.
async fn attend(life: Life, view: Arc<serve::View>) {
    if let Err(error) = life.attend(&view).await {
        tracing::error!(%error, "guests are not kept in sight any more");
    }
}

/// Starts what wants to start with the host, unless that was done since it booted.
async fn start_guests(life: Life, boot: local::BootMark, wanted: bool) {
    let done = async {
        if !wanted || boot.is_set()? {
            return Ok(());
        }
        life.start_guests().await?;
        boot.set()
    };
    if let Err(error) = done.await {
        tracing::error!(%error, "VMs with onboot=1 were not started");
    }
}

/// Each connection is a file, and many systems let a process have few unless it asks.
fn open_many_files() {
    const MANY: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MANY, |maximum| maximum.min(MANY));
    if limit.current.is_some_and(|current| current < most) {
        // With fewer it serves fewer at once.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    }
}

/// The systemd that wants to be told, if one does.
fn notify(cx: &Cx) -> Result<Option<Notify>> {
    let Some(path) = cx.env.path("NOTIFY_SOCKET") else { return Ok(None) };
    let notify = Notify::new(path.as_os_str(), cx.env.get("WATCHDOG_USEC"), cx.env.get("WATCHDOG_PID"));
    let what = format!("cannot tell systemd anything at {}", path.display());
    notify.map(Some).map_err(|error| Error::new(Class::Failed, what).with_source(error))
}

/// The signals that ask for the end, each of which counts.
struct Told([Signal; 2]);

impl Told {
    /// The next one.
    async fn again(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn told_to_end() -> Result<Told> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::new(Class::Failed, "cannot listen for signals").with_source(error));
    Ok(Told([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?]))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())).with_source(error))
}

/// The certificate of this host.
struct Certificate {
    tls: Tls,
    /// Its key, as PEM.
    key: String,
}

impl Certificate {
    /// The one that is given, else its own.
    fn of(matches: &ArgMatches, home: &Path, names: &[String]) -> Result<Self> {
        let given = |name: &str| matches.get_one::<PathBuf>(name);
        match (given("tls-cert"), given("tls-key")) {
            (Some(certificate), Some(key)) => Self::from_pem(&read(certificate)?, read(key)?),
            _ => Self::own(home, names),
        }
    }

    fn from_pem(certificate: &str, key: String) -> Result<Self> {
        Ok(Self { tls: Tls::from_pem(certificate, &key)?, key })
    }

    /// Made once, so that whoever trusts it goes on to.
    fn own(home: &Path, names: &[String]) -> Result<Self> {
        let (certificate, key) = (home.join("certificate.pem"), home.join("key.pem"));
        if certificate.exists() && key.exists() {
            return Self::from_pem(&read(&certificate)?, read(&key)?);
        }
        let (made, its_key) = Tls::generate(names)?;
        // A key without its certificate is made anew.
        write_private(&key, &its_key)?;
        write_private(&certificate, &made)?;
        Self::from_pem(&made, its_key)
    }
}
