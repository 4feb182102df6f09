//! What a host serves and tells beside the API of Proxmox VE, as its flags want it: metrics, commands, heartbeats, and
//! the record of what is done.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{ArgAction, ArgMatches, Command};
use tokio::net::TcpListener;

use super::{own_certificate, read};
use crate::{
    backends::cloud_hypervisor::Local,
    cli::{
        cx::{Cx, parse_duration, text, texts},
        reconcile,
        session::open_journal,
        verb::value,
    },
    model::{Class, Error, Hint, NullRecorder, Recorder, Result},
    ops::Ops,
    serve::{AllowList, Heart},
    server::Tls,
};

/// Adds the flags.
pub(super) fn args(command: Command) -> Command {
    let allow = "Let this program of the host be run by its name over the plain routes; repeatable";
    command
        .arg(value("metrics-addr", "ADDRESS", "Serve metrics for Prometheus here too, on a loopback address"))
        .arg(value("allow-exec", "NAME=PATH", allow).action(ArgAction::Append))
        .arg(value("report-to", "URL", "Send signed heartbeats there"))
        .arg(value("report-every", "TIME", "How often").default_value("60s").requires("report-to"))
}

/// What the flags want.
pub(super) struct Wanted {
    pub(super) allowed: AllowList,
    metrics: Option<SocketAddr>,
}

impl Wanted {
    pub(super) fn of(matches: &ArgMatches) -> Result<Self> {
        let allowed = AllowList::parse(texts(matches, "allow-exec").iter().map(String::as_str))?;
        Ok(Self { allowed, metrics: text(matches, "metrics-addr").map(metrics_address).transpose()? })
    }

    /// The socket on which metrics are served.
    pub(super) async fn metrics(&self) -> Result<Option<TcpListener>> {
        let Some(address) = self.metrics else { return Ok(None) };
        let listener = TcpListener::bind(address).await;
        let cannot = |error| Error::new(Class::Failed, format!("cannot listen on {address}")).with_source(error);
        listener.map(Some).map_err(cannot)
    }
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

/// Who is told that this host lives, if anybody; what is told is signed with the key of the certificate.
pub(super) fn heart(matches: &ArgMatches, home: &Path, names: &[String]) -> Result<Option<Heart>> {
    let Some(url) = text(matches, "report-to") else { return Ok(None) };
    let every = text(matches, "report-every").map_or(Ok(Duration::from_secs(60)), parse_duration)?;
    if every < Duration::from_secs(1) {
        return Err(Error::usage("--report-every takes a second at least"));
    }
    let given = |name: &str| matches.get_one::<PathBuf>(name);
    if let (Some(certificate), Some(key)) = (given("tls-cert"), given("tls-key")) {
        let key = read(key)?;
        return Heart::new(url, every, &key, Tls::from_pem(&read(certificate)?, &key)?.fingerprint()).map(Some);
    }
    let own = own_certificate(home, names)?;
    Heart::new(url, every, &read(&home.join("key.pem"))?, own.fingerprint()).map(Some)
}

/// Where what is done is written down; what an earlier server left open there is looked up first.
pub(super) async fn recorder(cx: &Cx, backend: &Arc<Local>) -> Result<Arc<dyn Recorder>> {
    if cx.switches.no_journal {
        cx.ui.warn("nothing of this is kept in the journal (--no-journal)");
        return Ok(Arc::new(NullRecorder));
    }
    let journal = Arc::new(open_journal(cx)?);
    reconcile::settle(&Ops::new(backend.clone(), journal.clone(), "local"), &journal).await;
    Ok(journal)
}
