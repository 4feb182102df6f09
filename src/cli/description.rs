//! The description of the API that holds for a server: its own, fetched once for each version and kept.
//!
//! Nobody is asked anything for it, and nothing fails for want of it: the embedded one is always there.

use std::time::Duration;

use super::{cx::Cx, session::Access};
use crate::{
    client::Client,
    config::{Connection, Descriptions},
    contract::Contract,
    model::{Class, Error, Result},
};

/// How long a server may take to tell its version.
const VERSION: Duration = Duration::from_secs(3);
/// How long it may take to send its description, which is some 4 MB.
const DESCRIPTION: Duration = Duration::from_secs(30);

/// A server's own description.
pub(crate) struct Described {
    pub(crate) contract: Contract,
    /// The server's version: `9.2.11`.
    pub(crate) version: String,
}

/// The description of the context's server, `None` for the sandbox, which has the embedded one. `refresh` fetches it
/// even if it is at hand.
///
/// # Errors
/// When there is no server to ask, or no good answer.
pub(crate) async fn of_context(cx: &Cx, refresh: bool) -> Result<Option<Described>> {
    let Some(client) = connect(cx).await? else { return Ok(None) };
    let answered = within(VERSION, client.version()).await?;
    let version = answered.version;
    let kept = Descriptions::new(&cx.paths()?);
    let key = key(&version, &answered.repoid);
    if !refresh && let Some(contract) = kept.load(&key).and_then(|packed| Contract::unpacked(&packed).ok()) {
        return Ok(Some(Described { contract, version }));
    }
    cx.ui.say(format_args!("reading the server's own description, once for version {version}"));
    let contract = within(DESCRIPTION, client.description()).await?;
    kept.save(&key, &contract.packed());
    Ok(Some(Described { contract, version }))
}

/// What was kept of the context's server. Only its version is asked for, and only where anything was kept at all.
pub(crate) async fn kept(cx: &Cx) -> Option<Contract> {
    let kept = Descriptions::new(&cx.paths().ok()?);
    if kept.is_empty() {
        return None;
    }
    let client = connect(cx).await.ok()??;
    let answered = within(VERSION, client.version()).await.ok()?;
    Contract::unpacked(&kept.load(&key(&answered.version, &answered.repoid))?).ok()
}

/// Connects without a word to the context's server; `None` for the sandbox, which is not even started, and for
/// this host.
async fn connect(cx: &Cx) -> Result<Option<Client>> {
    match cx.resolve()?.connection {
        Connection::Sandbox { .. } | Connection::Local => Ok(None),
        Connection::Proxmox(_) => Ok(cx.silent().session(Access::Read).await?.client),
    }
}

/// Under what a description is kept.
fn key(version: &str, repoid: &str) -> String {
    format!("{version}-{repoid}")
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(Class::Unreachable, "the server does not answer in time");
    tokio::time::timeout(limit, answer).await.map_err(late)?
}
