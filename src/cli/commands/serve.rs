//! `serve`: the VMs of this host over the API of Proxmox VE.
//!
//! Sockets, certificate and the first token; what is answered is the library's.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{ArgMatches, value_parser};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::serve_people::GROUP;
use crate::{
    backends::Backend,
    cli::{
        cx::{Cx, flag, text},
        local, print,
        session::Access,
        verb::{Entry, Exit, run_in_group, switch, value, with_group},
    },
    config::write_private,
    model::{Class, Error, Hint, Result},
    serve::{self, Host},
    server::{Kit, Limits, Options, Tls, listen},
};

/// The token that a host begins with.
const FIRST: &str = "pvectl";

pub(super) const ENTRY: Entry = Entry {
    name: "serve",
    about: "Serve the VMs of this host over the API of Proxmox VE, until Ctrl-C",
    examples: &["pvectl serve", "pvectl serve --listen 0.0.0.0:8006"],
    args: |command| {
        let path = |name, about| value(name, "FILE", about).value_parser(value_parser!(PathBuf));
        with_group(command, GROUP)
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
    let home = cx.paths()?.local().join("serve");
    let backend = local::backend(cx)?;
    let node = backend.nodes().await?.remove(0).node;
    let access = Arc::new(serve::Access::open(&home.join("tokens.db"))?);
    let tls = match (
        flag(matches, "no-tls"),
        matches.get_one::<PathBuf>("tls-cert"),
        matches.get_one::<PathBuf>("tls-key"),
    ) {
        (true, ..) => None,
        (false, Some(certificate), Some(key)) => Some(Tls::from_pem(&read(certificate)?, &read(key)?)?),
        _ => Some(own_certificate(&home, &[node.to_string(), "localhost".into(), address.ip().to_string()])?),
    };
    let first = access.is_new().then(|| access.issue(FIRST, None)).transpose()?;
    let cannot =
        |error: std::io::Error| Error::new(Class::Failed, format!("cannot listen on {address}")).with_source(error);
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let url = format!("http{}://{}", if tls.is_some() { "s" } else { "" }, listener.local_addr().map_err(cannot)?);
    let fingerprint = tls.as_ref().map(|tls| tls.fingerprint().to_owned());
    // Said once: it is kept nowhere.
    let token = first.as_ref().map(|issued| format!("{}={}", issued.id, issued.secret.expose_secret()));
    let data = json!({"url": url, "node": node, "token": token, "fingerprint": fingerprint});
    print::data_or(&cx.ui, &style, &data, std::slice::from_ref(&url), |out| {
        writeln!(out, "PVECTL_ENDPOINT={url}")?;
        fingerprint.iter().try_for_each(|fingerprint| writeln!(out, "PVECTL_FINGERPRINT={fingerprint}"))?;
        token.iter().try_for_each(|token| writeln!(out, "PVECTL_TOKEN={token}"))
    })?;
    if first.is_some() {
        cx.ui.say("the token is shown this once; it may do everything");
    }
    cx.ui.say("serving until Ctrl-C");
    let backend = Arc::new(backend);
    let host = Host::new(backend.clone(), node, access);
    let requests = matches.get_one::<u32>("rate-limit").copied().unwrap_or_default();
    let limits = Limits { requests, ..Limits::strict() };
    let kit = Kit::new(Arc::new(host), Options { limits, ..Options::default() });
    let served = listen(kit, listener, tls, told_to_end()?).await;
    // Tasks of this process end with it.
    cx.ui.say("waiting for the tasks that are at work; VMs stay as they are");
    backend.leave().await;
    served.map(|()| 0).map_err(|error| Error::new(Class::Failed, "the server stopped").with_source(error))
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
