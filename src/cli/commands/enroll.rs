//! `enroll`, `renew`, `unenroll`: a login of one's own on a server, kept in a context: a client certificate on a served host,
//! an API token on Proxmox VE.
//!
//! What is the same for both is here and in `keep`; `served` and `proxmox` do what is not. What the owner of a served host
//! does about certificates is in `serve_certificates`.

mod keep;
mod proxmox;
mod served;

use clap::{ArgMatches, Command};
use secrecy::SecretString;
use serde_json::json;

use super::config::read_secret;
use crate::{
    cli::{
        cx::{Cx, flag, moment_after, text},
        print::{self, Style},
        session::{Access, ask_password, endpoint_of, password_auth},
        trust,
        verb::{Entry, Exit, switch, value},
    },
    client::{Auth, Client, ClientBuilder},
    config::{self, Connection, Context, Endpoint, File, Origin, Paths, Proxmox, Resolved, SecretSource},
    model::{Class, Error, Hint, Result},
};

pub(super) const ENROLL: Entry = Entry {
    name: "enroll",
    about: "Get a login of one's own on a server and keep it in a context: a certificate, or an API token on Proxmox",
    examples: &[
        "pvectl enroll https://minipc:8006 --token-file token",
        "pvectl enroll https://minipc:8006 --context minipc --token -",
        "pvectl enroll https://pve1:8006 --context lab --user ann@pve --expire 90d",
    ],
    args: enroll_args,
    run: |cx, matches| Box::pin(enroll(cx, matches)),
};

pub(super) const RENEW: Entry = Entry {
    name: "renew",
    about: "Renew the certificate or the API token of a context",
    examples: &["pvectl renew --if-within 30d", "pvectl renew --context lab --password-file password --expire 90d"],
    args: |command| {
        command
            .arg(value("if-within", "TIME", "Only if it would be over within this time; else nothing is done"))
            .arg(expire_arg())
            .arg(password_arg())
    },
    run: |cx, matches| Box::pin(renew(cx, matches)),
};

pub(super) const UNENROLL: Entry = Entry {
    name: "unenroll",
    about: "Give the login of a context back: revoke it there, remove it and the context here",
    examples: &["pvectl unenroll --context minipc", "pvectl unenroll --context minipc --force"],
    args: |command| {
        command.arg(password_arg()).arg(switch("force", "Remove it here although it cannot be revoked there"))
    },
    run: |cx, matches| Box::pin(unenroll(cx, matches)),
};

fn expire_arg() -> clap::Arg {
    value("expire", "TIME", "Until when the API token is good; a certificate's time is its server's to say")
        .default_value("90d")
}

fn password_arg() -> clap::Arg {
    value(
        "password-file",
        "FILE",
        "On Proxmox: the user's password, where one is needed; - is stdin; else it is asked for",
    )
}

fn enroll_args(command: Command) -> Command {
    command
        .arg(clap::Arg::new("url").value_name("URL").required(true).help("The server"))
        .arg(value("token", "TOKEN", "The one-time token of a served host; @FILE, - for stdin; asked for by default"))
        .arg(value("token-file", "FILE", "The same from a file; - is stdin").conflicts_with("token"))
        .arg(
            value("user", "USER@REALM", "On Proxmox: log in as this user, once, and make an API token")
                .conflicts_with_all(["token", "token-file"]),
        )
        .arg(password_arg().requires("user"))
        .arg(value("token-name", "NAME", "What the API token is called; pvectl-HOST by default").requires("user"))
        .arg(expire_arg().requires("user"))
        .arg(
            value("privsep", "yes|no", "Whether the API token has only what is granted to itself")
                .value_parser(["yes", "no"])
                .default_value("yes")
                .requires("user"),
        )
        .arg(value("fingerprint", "SHA256", "Trust the server's certificate with this fingerprint"))
        .arg(switch("overwrite", "Replace a context of this name"))
}

/// A context that is to be, and where.
struct Wanted {
    paths: Paths,
    name: String,
    endpoint: Endpoint,
    overwrite: bool,
}

impl Wanted {
    /// Puts it into the file, in memory.
    ///
    /// # Errors
    /// Where it cannot stand there.
    fn put(&self, more: Context) -> Result<(File, bool)> {
        let mut file = File::open(&self.paths)?;
        let context = Context { name: self.name.clone(), endpoints: vec![self.endpoint.clone()], ..more };
        let current = file.add_context(context, self.overwrite)?;
        Ok((file, current))
    }

    /// A client of the server.
    fn client(&self) -> Result<ClientBuilder> {
        Ok(Client::builder().endpoint(endpoint_of(&self.endpoint)?))
    }

    /// Says that it is there.
    fn say(&self, cx: &Cx, current: bool) {
        let more = if current { ", and is current" } else { "" };
        cx.ui.say(format_args!("context `{}` is in {}{more}", self.name, self.paths.config.display()));
    }
}

/// What a context is called that nobody names: as the server.
fn name_of(endpoint: &Endpoint) -> String {
    let host = endpoint.url().split("://").nth(1).and_then(|rest| rest.rsplit_once(':')).map_or("", |(host, _)| host);
    host.trim_matches(['[', ']']).replace(':', "-")
}

async fn enroll(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "enroll")?;
    let style = cx.plain_style()?;
    let mut endpoint = Endpoint::new(text(matches, "url").unwrap_or_default())?;
    if let Some(fingerprint) = text(matches, "fingerprint") {
        endpoint = endpoint.pinned(fingerprint)?;
    }
    let name = cx.flags.get("context").map_or_else(|| name_of(&endpoint), str::to_owned);
    let overwrite = flag(matches, "overwrite");
    let mut wanted = Wanted { paths: cx.paths()?, name, endpoint, overwrite };
    moment_after(text(matches, "expire").unwrap_or_default(), jiff::Timestamp::now())?;
    // What would be refused must be refused before a token is used up.
    drop(wanted.put(Context::default())?);
    if cx.switches.dry_run {
        let what = match text(matches, "user") {
            Some(user) => format!("log in as {user} and make an API token"),
            None => "make a key, and have a certificate signed for the one-time token".to_owned(),
        };
        cx.ui.say(format_args!(
            "would {what} at {}, and keep it in the context `{}`",
            wanted.endpoint.url(),
            wanted.name
        ));
        cx.ui.say("nothing was sent (--dry-run)");
        return Ok(0);
    }
    let endpoints = trust::pin_unknown(cx, vec![wanted.endpoint.clone()]).await?;
    wanted.endpoint = endpoints.into_iter().next().unwrap_or(wanted.endpoint);
    match text(matches, "user") {
        Some(user) => proxmox::enroll(cx, matches, &style, &wanted, user).await,
        None => served::enroll(cx, &style, &wanted, &one_time_token(cx, matches)?).await,
    }
}

/// The one-time token. Unlike other secrets it may stand on the command line: it is worth nothing once the command has run.
fn one_time_token(cx: &Cx, matches: &ArgMatches) -> Result<SecretString> {
    let read = |file: &str| read_secret(file, "token file").map(|text| text.trim().into());
    match (text(matches, "token"), text(matches, "token-file")) {
        (Some("-"), _) => read("-"),
        (Some(typed), _) => typed.strip_prefix('@').map_or_else(|| Ok(typed.into()), read),
        (None, Some(file)) => read(file),
        (None, None) if cx.ui.can_ask() => cx.ui.ask_secret("One-time token"),
        (None, None) => Err(Error::usage("a one-time token is needed, and there is no terminal to ask on")
            .with_hint(Hint::Text(
            "on a served host: --token-file FILE, of `pvectl serve enrollment create USER` there; on Proxmox: --user"
                .into(),
        ))),
    }
}

/// A login that this command looks after.
enum Login {
    Certificate,
    /// An API token, by its name `user@realm!name`.
    Token(String),
}

/// The context in use, the server, and its login.
fn login(cx: &Cx) -> Result<(String, Box<Proxmox>, Login, Style, Resolved)> {
    let resolved = cx.resolve()?;
    let style = cx.style(&resolved)?;
    let Connection::Proxmox(server) = &resolved.connection else {
        return Err(Error::usage("this context has no login on a server")
            .with_hint(Hint::Text("choose another with --context".into())));
    };
    let server = server.clone();
    let name = match &server.context {
        Some(name) if matches!(server.secret.origin, Origin::Context(_)) => name.value.clone(),
        _ => return Err(Error::usage("the login in use does not come from a context, so it is not looked after here")),
    };
    let stored = match &server.secret.value {
        SecretSource::Stored(_) => server.login()?,
        _ => None,
    };
    let login = match (&server.secret.value, stored) {
        (SecretSource::Certificate, _) => Login::Certificate,
        // Its name is that of the secret: a renewal may have been killed before it was in the configuration too.
        (_, Some(config::Login::Token { id, .. })) => Login::Token(id),
        (source, _) => {
            return Err(Error::usage(format!(
                "the login of context `{name}` ({source}) is neither a certificate nor an API token that is stored here"
            )));
        }
    };
    Ok((name, server, login, style, resolved))
}

/// Looks whether there is such a login before anything waits for it.
fn look(cx: &Cx) -> Result<()> {
    let (.., resolved) = login(cx)?;
    resolved.warnings.iter().for_each(|warning| cx.ui.warn(warning));
    Ok(())
}

async fn renew(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let within = text(matches, "if-within");
    let within = within.map(|text| moment_after(text, jiff::Timestamp::now())).transpose()?;
    // What is renewed is the way in, also where it is for looking only.
    look(cx)?;
    // One after the other: of two that renew at once, one would store what the other has made void.
    let _lock = keep::lock(&cx.paths()?)?;
    let (name, server, login, style, resolved) = login(cx)?;
    let renewed = match login {
        Login::Certificate => served::renew(cx, &name, &server, &resolved, within).await?,
        Login::Token(id) => proxmox::renew(cx, matches, (&name, &id), &server, &resolved, within).await?,
    };
    let data = renewed.unwrap_or_else(|| json!({"context": name, "changed": false}));
    print::data_or(&cx.ui, &style, &data, &[format!("context/{name}")], |_| Ok(()))?;
    Ok(0)
}

async fn unenroll(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let paths = cx.paths()?;
    look(cx)?;
    let _lock = keep::lock(&paths)?;
    let (name, server, login, _, resolved) = login(cx)?;
    cx.check_access(Access::Write, &resolved.read_only)?;
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would have the login of context `{name}` revoked, and remove both here"));
        cx.ui.say("nothing was sent (--dry-run)");
        return Ok(0);
    }
    let revoked = match &login {
        Login::Certificate => served::revoke(cx, &server, &resolved).await,
        Login::Token(id) => proxmox::revoke(cx, matches, id, &server, &resolved).await,
    };
    let left = match &login {
        Login::Certificate => served::left(&server),
        Login::Token(id) => format!("the API token {id} is there still: `pvectl token delete '{id}'`"),
    };
    let failed = match revoked {
        Ok(said) => {
            cx.ui.say(said);
            None
        }
        Err(error) if flag(matches, "force") => Some(error),
        Err(error) => {
            let hint = format!("nothing was removed here: run it again, or with --force, after which {left}");
            return Err(error.context("the login is not revoked").with_hint(Hint::Text(hint)));
        }
    };
    let was_current = keep::remove(cx, &paths, &name, &server)?;
    cx.ui.say(format_args!("context `{name}` and its login are removed here"));
    if was_current {
        cx.ui.warn("it was the current one: choose another with `pvectl config use-context NAME`");
    }
    if let Some(error) = failed {
        cx.ui.warn(format_args!("it could not be revoked ({error}); {left}"));
        return Ok(Class::Failed.exit_code());
    }
    Ok(0)
}

/// Logs in as a user, with a password from the command's flags or from whoever sits there.
fn as_user(cx: &Cx, matches: &ArgMatches, user: &str) -> Result<Auth> {
    let password = match text(matches, "password-file") {
        Some(file) => read_secret(file, "password file")?.trim_end_matches(['\r', '\n']).into(),
        None => ask_password(cx, user)?,
    };
    Ok(password_auth(cx, user.to_owned(), password))
}
