//! `serve`: the VMs of this host over the API of Proxmox VE.
//!
//! Sockets, certificate and the first token; what is answered is the library's.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{ArgAction, ArgMatches, Command, value_parser};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    backends::{Backend, cloud_hypervisor::Local},
    cli::{
        cx::{Cx, flag, parse_duration, text, texts},
        local, print, reconcile,
        session::{Access, open_journal},
        verb::{Entry, Exit, switch, value},
    },
    config::write_private,
    model::{Class, Error, Hint, NullRecorder, Recorder, Result},
    ops::Ops,
    serve::{self, AllowList, Desk, Grant, Heart, Host, Table},
    server::{Kit, Logged, Options, Tls, listen},
};

/// The token that a host begins with.
const FIRST: &str = "root@pam!pvectl";

pub(super) const ENTRY: Entry = Entry {
    name: "serve",
    about: "Serve the VMs of this host over the API of Proxmox VE, until Ctrl-C",
    examples: &["pvectl serve", "pvectl serve --listen 0.0.0.0:8006"],
    args: |command| {
        let path = |name, about| value(name, "FILE", about).value_parser(value_parser!(PathBuf));
        let command = command
            .arg(value("listen", "ADDRESS", "Where; port 0 takes a free one").default_value("127.0.0.1:8006"))
            .arg(path("tls-cert", "Certificate chain as PEM; one that it signs itself by default").requires("tls-key"))
            .arg(path("tls-key", "The key of the certificate, as PEM").requires("tls-cert"))
            .arg(switch("no-tls", "Speak plain HTTP; on a loopback address only").conflicts_with("tls-cert"));
        more_args(command)
    },
    run: |cx, matches| Box::pin(run(cx, matches)),
};

/// What is served and told beside the API of Proxmox VE.
fn more_args(command: Command) -> Command {
    let allow = "Let this program of the host be run by its name over the plain routes; repeatable";
    command
        .arg(value("metrics-addr", "ADDRESS", "Serve metrics for Prometheus here too, on a loopback address"))
        .arg(value("allow-exec", "NAME=PATH", allow).action(ArgAction::Append))
        .arg(value("report-to", "URL", "Send signed heartbeats there"))
        .arg(value("report-every", "TIME", "How often").default_value("60s").requires("report-to"))
}

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve")?;
    let style = cx.plain_style()?;
    let address: SocketAddr = text(matches, "listen").unwrap_or_default().parse().map_err(|_| {
        Error::usage("--listen takes an address and a port").with_hint(Hint::Text("such as 127.0.0.1:8006".into()))
    })?;
    if flag(matches, "no-tls") && !address.ip().is_loopback() {
        return Err(Error::usage(format!("{address} can be reached from elsewhere, and is not served without TLS")));
    }
    let allowed = AllowList::parse(texts(matches, "allow-exec").iter().map(String::as_str))?;
    let metrics = text(matches, "metrics-addr").map(metrics_address).transpose()?;
    let home = cx.paths()?.local().join("serve");
    let backend = local::backend(cx)?;
    let node = backend.nodes().await?.remove(0).node;
    let access = Arc::new(serve::Access::open(&home.join("tokens.db"))?);
    let names = [node.to_string(), "localhost".into(), address.ip().to_string()];
    let tls = match (
        flag(matches, "no-tls"),
        matches.get_one::<PathBuf>("tls-cert"),
        matches.get_one::<PathBuf>("tls-key"),
    ) {
        (true, ..) => None,
        (false, Some(certificate), Some(key)) => Some(Tls::from_pem(&read(certificate)?, &read(key)?)?),
        _ => Some(own_certificate(&home, &names)?),
    };
    let heart = text(matches, "report-to").map(|url| heart(matches, url, &home, &names)).transpose()?;
    let first = access.grants()?.is_empty();
    let first = first
        .then(|| access.issue(&Grant { id: FIRST.into(), role: "Administrator".into(), expire: 0, comment: None }));
    let first = first.transpose()?;
    let cannot =
        |error: std::io::Error| Error::new(Class::Failed, format!("cannot listen on {address}")).with_source(error);
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let metrics =
        match metrics {
            Some(address) => Some(TcpListener::bind(address).await.map_err(|error| {
                Error::new(Class::Failed, format!("cannot listen on {address}")).with_source(error)
            })?),
            None => None,
        };
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
    if first.is_some() {
        cx.ui.say("the token is shown this once; it may do everything");
    }
    if let Some(url) = &metrics_url {
        cx.ui.say(format_args!("metrics at {url}"));
    }
    cx.ui.say("serving until Ctrl-C");
    let backend = Arc::new(backend);
    let recorder = recorder(cx, &backend).await?;
    let host = Arc::new(Host::new(backend, node, access).with_recorder(recorder));
    let desk = Arc::new(Desk::new(host.clone(), &home.join("plans.db"), allowed, heart)?);
    let counted = host.metrics().clone();
    let options = Options {
        names_requests: true,
        beside: Some(Arc::new(Table(desk.clone()))),
        on_request: Some(Arc::new(move |seen: &Logged| {
            tracing::info!(request = seen.id, method = seen.method, path = seen.path, status = seen.status, took = ?seen.time, "answered");
            counted.request(&seen.method, seen.status);
        })),
        ..Options::default()
    };
    let kit = Kit::new(host.clone(), options);
    let plans = tokio::spawn(serve::carry_out(desk.clone(), kit.clone()));
    let reports = tokio::spawn(serve::report(desk.clone()));
    let metrics = metrics.map(|listener| tokio::spawn(serve::serve_metrics(listener, host)));
    let served = listen(kit, listener, tls, told_to_end()?).await;
    [Some(plans), Some(reports)].into_iter().flatten().for_each(|side| side.abort());
    metrics.inspect(|metrics| metrics.abort());
    // Tasks of this process end with it.
    cx.ui.say("waiting for the tasks that are at work; VMs stay as they are");
    desk.leave().await;
    served.map(|()| 0).map_err(|error| Error::new(Class::Failed, "the server stopped").with_source(error))
}

/// Where what is done is written down; what an earlier server left open there is looked up first.
async fn recorder(cx: &Cx, backend: &Arc<Local>) -> Result<Arc<dyn Recorder>> {
    if cx.switches.no_journal {
        cx.ui.warn("nothing of this is kept in the journal (--no-journal)");
        return Ok(Arc::new(NullRecorder));
    }
    let journal = Arc::new(open_journal(cx)?);
    reconcile::settle(&Ops::new(backend.clone(), journal.clone(), "local"), &journal).await;
    Ok(journal)
}

/// An address for those on this host.
fn metrics_address(text: &str) -> Result<SocketAddr> {
    let address: SocketAddr = text.parse().map_err(|_| Error::usage("--metrics-addr takes an address and a port"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let elsewhere = format!("{address} can be reached from elsewhere, and metrics are served without TLS there");
    Err(Error::usage(elsewhere).with_hint(Hint::Text("read them with a token at /api/metrics of the API".into())))
}

/// Who is told that this host lives; what is told is signed with the key of the certificate.
fn heart(matches: &ArgMatches, url: &str, home: &Path, names: &[String]) -> Result<Heart> {
    let every = text(matches, "report-every").map_or(Ok(Duration::from_secs(60)), parse_duration)?;
    if every < Duration::from_secs(1) {
        return Err(Error::usage("--report-every takes a second at least"));
    }
    let given = |name: &str| matches.get_one::<PathBuf>(name);
    if let (Some(certificate), Some(key)) = (given("tls-cert"), given("tls-key")) {
        let key = read(key)?;
        return Heart::new(url, every, &key, Tls::from_pem(&read(certificate)?, &key)?.fingerprint());
    }
    let own = own_certificate(home, names)?;
    Heart::new(url, every, &read(&home.join("key.pem"))?, own.fingerprint())
}

/// Ends with the first signal that asks for it.
fn told_to_end() -> Result<impl Future<Output = ()>> {
    let cannot = |error| Error::new(Class::Failed, "cannot listen for signals").with_source(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read {}: {error}", path.display())).with_source(error))
}

/// The certificate of this host: made once, so that whoever trusts it goes on to.
fn own_certificate(home: &Path, names: &[String]) -> Result<Tls> {
    let (certificate, key) = (home.join("certificate.pem"), home.join("key.pem"));
    if certificate.exists() && key.exists() {
        return Tls::from_pem(&read(&certificate)?, &read(&key)?);
    }
    let (made, its_key) = Tls::generate(names)?;
    // A key without its certificate is made anew.
    write_private(&key, &its_key)?;
    write_private(&certificate, &made)?;
    Tls::from_pem(&made, &its_key)
}
