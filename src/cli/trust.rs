//! Trust on first use: a certificate that nobody vouches for is shown, and pinned only if a person says so.

use super::cx::Cx;
use crate::{
    client::{self, Auth, Client},
    config::{Endpoint, File},
    model::{Call, Error, Hint, Method, Result},
};

/// Connects to every endpoint without a pin, and asks about those whose certificate is not signed by anybody known.
/// An endpoint that does not answer now is left as it is.
pub(super) async fn pin_unknown(cx: &Cx, endpoints: Vec<Endpoint>) -> Result<Vec<Endpoint>> {
    let mut pinned = Vec::new();
    for endpoint in endpoints {
        pinned.push(if endpoint.fingerprint().is_some() { endpoint } else { pin_one(cx, endpoint).await? });
    }
    Ok(pinned)
}

async fn pin_one(cx: &Cx, endpoint: Endpoint) -> Result<Endpoint> {
    let client = Client::builder().endpoint(client::Endpoint::parse(endpoint.url())?).auth(Auth::None).build()?;
    let Err(error) = client.send(&Call::new(Method::Get, "/access/domains")).await else { return Ok(endpoint) };
    let unknown = error.hints().iter().find_map(|hint| match hint {
        Hint::UnknownCertificate { fingerprint, .. } => Some(fingerprint.clone()),
        _ => None,
    });
    match unknown {
        Some(fingerprint) if cx.ui.can_ask() => match ask(cx, endpoint.url(), &fingerprint)? {
            true => endpoint.pinned(&fingerprint),
            false => Err(error),
        },
        Some(_) => Err(error),
        None => {
            cx.ui.warn(format_args!("{} cannot be checked now: {error}", endpoint.url()));
            Ok(endpoint)
        }
    }
}

fn ask(cx: &Cx, url: &str, fingerprint: &str) -> Result<bool> {
    cx.ui.err_line(format_args!("The certificate of {url} is not signed by anybody this machine knows. Its SHA-256 fingerprint is\n  {fingerprint}\nCompare it with what the node shows: pvenode cert info"));
    cx.ui.ask_yes("Trust it from now on?")
}

/// Asks about the certificate that a command failed on, and pins it in the context it came from. Gives whether it is
/// worth trying again: nothing was sent before.
pub(super) fn pin_after_failure(cx: &Cx, error: &Error) -> Result<bool> {
    let unknown = error.hints().iter().find_map(|hint| match hint {
        Hint::UnknownCertificate { endpoint, fingerprint } => Some((endpoint, fingerprint)),
        _ => None,
    });
    let Some((url, fingerprint)) = unknown.filter(|_| cx.ui.can_ask()) else { return Ok(false) };
    let paths = cx.paths()?;
    let resolved = cx.resolve()?;
    let crate::config::Connection::Proxmox(server) = &resolved.connection else { return Ok(false) };
    // What came by flag or variable has no place where a pin could be kept.
    let Some(name) = &server.context else { return Ok(false) };
    let mut file = File::open(&paths)?;
    let mut context = file.context(&name.value)?.clone();
    let Some(endpoint) = context.endpoints.iter_mut().find(|endpoint| same_place(endpoint.url(), url)) else {
        return Ok(false);
    };
    if !ask(cx, url, fingerprint)? {
        return Ok(false);
    }
    *endpoint = endpoint.clone().pinned(fingerprint)?;
    file.add_context(context, true)?;
    file.save()?;
    Ok(true)
}

fn same_place(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}
