//! Client certificates of a served host.
//!
//! The key is made here and goes nowhere. What is signed there and not kept here is revoked, or goes by itself.

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Wanted, keep};
use crate::{
    cli::{
        cx::Cx,
        print::{self, Style},
        session::builder,
        verb::Exit,
    },
    client::{Auth, Client, ClientBuilder, ClientCertificate, Enrolled, NewKey},
    config::{Context, Credentials, File, Proxmox, Resolved, write_private},
    model::{Class, Hint, Result, Sent},
};

/// The client that a new certificate makes.
fn with(client: ClientBuilder, key: &NewKey, enrolled: &Enrolled) -> Result<Client> {
    let certificate = ClientCertificate::from_pem(&enrolled.certificate, key.key())?;
    client.client_certificate(certificate).auth(Auth::Certificate { user: enrolled.user.clone() }).build()
}

pub(super) async fn enroll(cx: &Cx, style: &Style, wanted: &Wanted, token: &SecretString) -> Result<Exit> {
    let _lock = keep::lock(&wanted.paths)?;
    let key = NewKey::draw()?;
    let enrolled = wanted.client()?.build()?.enroll(token, key.request()).await.map_err(|error| {
        let hint = match (error.sent(), error.class()) {
            (Some(Sent::Maybe), _) => {
                "the one-time token may be used up, and a certificate signed that nobody has: \
                 `pvectl serve enrollment list` on the host tells; ask for another token"
            }
            (_, Class::Unauthenticated) => "ask for another one: `pvectl serve enrollment create USER` on the host",
            (_, Class::Usage) => "on Proxmox VE, log in once with --user USER@REALM",
            _ => return error,
        };
        error.with_hint(Hint::Text(hint.to_owned()))
    })?;
    if wanted.endpoint.fingerprint().is_some_and(|pinned| pinned != enrolled.fingerprint) {
        cx.ui.warn(
            "the server says that it has another certificate than the one that is pinned: a proxy is in between?",
        );
    }
    let before = keep::serial(&keep::place(&wanted.paths, &wanted.name));
    let current = match keep(wanted, &key, &enrolled) {
        Ok(current) => current,
        Err(error) => {
            // What was not kept must not stay there either.
            let revoked = async { with(wanted.client()?, &key, &enrolled)?.unenroll().await }.await;
            let serial = &enrolled.serial;
            let hint = match revoked {
                Ok(()) => "the certificate was revoked, and the one-time token is used up: ask for another".to_owned(),
                Err(_) => format!(
                    "the one-time token is used up, and a certificate is there that nobody has: on the host \
                     `pvectl serve certificate revoke {serial}`"
                ),
            };
            return Err(error.context("the certificate could not be kept").with_hint(Hint::Text(hint)));
        }
    };
    let Enrolled { user, serial, expires, .. } = &enrolled;
    let data = json!({
        "context": wanted.name, "endpoint": wanted.endpoint.url(), "user": user, "serial": serial, "expires": expires,
        "certificate": keep::place(&wanted.paths, &wanted.name),
    });
    print::data_or(&cx.ui, style, &data, &[format!("context/{}", wanted.name)], |_| Ok(()))?;
    cx.ui.say(format_args!("enrolled at {} as {user} until {expires}", wanted.endpoint.url()));
    wanted.say(cx, current);
    if let Some(before) = before {
        cx.ui.warn(format_args!(
            "the certificate {before} that this context had is not revoked: on the host `pvectl serve certificate revoke {before}`"
        ));
    }
    Ok(0)
}

/// Keeps a certificate and makes the context of it, or leaves nothing behind. Gives whether that is current.
fn keep(wanted: &Wanted, key: &NewKey, enrolled: &Enrolled) -> Result<bool> {
    let context = Context {
        user: Some(enrolled.user.clone()),
        client_certificate: Some(keep::written(&wanted.name)),
        ..Context::default()
    };
    ClientCertificate::from_pem(&enrolled.certificate, key.key())?;
    let (mut file, current) = wanted.put(context)?;
    let mut credentials = Credentials::load(&wanted.paths.credentials)?;
    // A password of a context that is replaced would be tried first.
    credentials.remove(&wanted.name);
    let path = keep::place(&wanted.paths, &wanted.name);
    let before = std::fs::read_to_string(&path).ok();
    keep::write(&path, key.key(), enrolled)?;
    let saved = credentials.save().and_then(|()| file.save());
    if saved.is_err() {
        // As it was; the first failure is the one to tell.
        match before {
            Some(before) => drop(write_private(&path, &before)),
            None => drop(std::fs::remove_file(&path)),
        }
    }
    saved.map(|()| current)
}

/// The client of a context with a certificate.
fn client(cx: &Cx, server: &Proxmox, resolved: &Resolved) -> Result<(ClientBuilder, Client)> {
    let builder = builder(cx, resolved, server)?;
    let user = server.identity.as_ref().map(|identity| identity.value.to_string()).unwrap_or_default();
    Ok((builder.clone(), builder.auth(Auth::Certificate { user }).build()?))
}

/// Renews the certificate of a context; nothing where it holds beyond `within`.
pub(super) async fn renew(
    cx: &Cx,
    name: &str,
    server: &Proxmox,
    resolved: &Resolved,
    within: Option<Timestamp>,
) -> Result<Option<Value>> {
    let (anew, client) = client(cx, server, resolved)?;
    let me = client.me().await?;
    let until = me.expires.unwrap_or(Timestamp::MAX);
    // By the clock of the server, which is the one that counts.
    let ahead = me.time.duration_since(Timestamp::now());
    if within.is_some_and(|within| until > within + ahead) {
        cx.ui.say(format_args!("the certificate of context `{name}` holds until {until}; nothing to do"));
        return Ok(None);
    }
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would renew the certificate of context `{name}`, which holds until {until}"));
        cx.ui.say("nothing was sent (--dry-run)");
        return Ok(None);
    }
    let key = NewKey::draw()?;
    let enrolled = client.renew(key.request()).await.map_err(|error| {
        let hint = format!("the certificate that is there holds until {until}: run it again");
        error.with_hint(Hint::Text(hint))
    })?;
    let new = with(anew, &key, &enrolled)?;
    store(cx, name, server, &key, &enrolled)?;
    // The first use of the new one takes the old one away.
    if let Err(error) = new.me().await {
        cx.ui.warn(format_args!("the new certificate is kept, and was not tried: {error}"));
    }
    let Enrolled { user, serial, expires, .. } = &enrolled;
    cx.ui.say(format_args!("the certificate of context `{name}` is renewed until {expires}"));
    Ok(Some(json!({"context": name, "changed": true, "user": user, "serial": serial, "expires": expires})))
}

/// Keeps a renewed certificate in the place of the old one. Where key and certificate were two files, which nothing could
/// replace at once, a file of both takes their place.
fn store(cx: &Cx, name: &str, server: &Proxmox, key: &NewKey, enrolled: &Enrolled) -> Result<()> {
    if let (Some(both), None) = (&server.client_certificate, &server.client_key) {
        return keep::write(&both.value, key.key(), enrolled);
    }
    let paths = cx.paths()?;
    keep::write(&keep::place(&paths, name), key.key(), enrolled)?;
    let mut file = File::open(&paths)?;
    let context =
        Context { client_certificate: Some(keep::written(name)), client_key: None, ..file.context(name)?.clone() };
    file.add_context(context, true)?;
    file.save()
}

/// Revokes the certificate of a context. Gives what to say of it.
pub(super) async fn revoke(cx: &Cx, server: &Proxmox, resolved: &Resolved) -> Result<String> {
    let (_, client) = client(cx, server, resolved)?;
    match client.unenroll().await {
        Ok(()) => Ok("the certificate is revoked".to_owned()),
        // It was revoked before, by an earlier attempt perhaps, or is over.
        Err(error) if error.class() == Class::Unauthenticated => {
            Ok(format!("the server does not take it any more: {error}"))
        }
        Err(error) => Err(error),
    }
}

/// What is left to do there by somebody else.
pub(super) fn left(server: &Proxmox) -> String {
    let serial = server.client_certificate.as_ref().and_then(|file| keep::serial(&file.value));
    let serial = serial.unwrap_or_else(|| "SERIAL".to_owned());
    format!("the certificate is to be revoked on the host: `pvectl serve certificate revoke {serial}`")
}
