//! What a host serves and tells beside the API of Proxmox VE, as its flags want it: metrics, commands, heartbeats, and
//! the record of what is done.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{ArgAction, ArgMatches, Command};
use tokio::net::TcpListener;

use super::Certificate;
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
    /// Who is told that this host lives, and how often.
    report: Option<(String, Duration)>,
}

impl Wanted {
    pub(super) fn of(matches: &ArgMatches) -> Result<Self> {
        let allowed = AllowList::parse(texts(matches, "allow-exec").iter().map(String::as_str))?;
        let metrics = text(matches, "metrics-addr").map(metrics_address).transpose()?;
        let every = text(matches, "report-every").map_or(Ok(Duration::from_secs(60)), parse_duration)?;
        if every < Duration::from_secs(1) {
            return Err(Error::usage("--report-every takes a second at least"));
        }
        let report = text(matches, "report-to").map(|url| (url.to_owned(), every));
        Ok(Self { allowed, metrics, report })
    }

    /// Whether somebody is told that this host lives.
    pub(super) fn reports(&self) -> bool {
        self.report.is_some()
    }

    /// What tells them; it signs with the key of the certificate.
    pub(super) fn heart(&self, certificate: Option<&Certificate>) -> Result<Option<Heart>> {
        let (Some((url, every)), Some(certificate)) = (&self.report, certificate) else { return Ok(None) };
        Heart::new(url, *every, &certificate.key, certificate.tls.fingerprint()).map(Some)
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
