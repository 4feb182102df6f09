//! `serve password` and `serve token`: what the owner of a host does about its people on the host itself.
//!
//! Everything else about people is done over the API, by whoever may; these work while it is served and while it is not.

use clap::{Arg, ArgMatches};
use secrecy::ExposeSecret;
use serde_json::json;

use super::serve_certificates::{CERTIFICATE, ENROLLMENT};
use crate::{
    cli::{
        base::value_of_secret,
        cx::{Cx, text},
        print,
        session::Access,
        verb::{Entry, Exit, value},
    },
    model::{Error, Hint, Result},
    serve,
    server::access::ROOT,
};

/// The shortest and the longest password, as Proxmox takes them.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;

pub(super) const GROUP: &[Entry] = &[
    Entry {
        name: "password",
        about: "Give a user of the served host another password; root@pam by default",
        examples: &["pvectl serve password", "pvectl serve password ann@pve --password @new"],
        args: |command| {
            command.arg(Arg::new("user").value_name("USER").default_value(ROOT).help("USER@REALM")).arg(value(
                "password",
                "@FILE",
                "The new one: @FILE, - for stdin; asked for by default",
            ))
        },
        run: |cx, matches| Box::pin(async { password(cx, matches) }),
    },
    Entry {
        name: "token",
        about: "Make an API token of root@pam that may do everything on the served host",
        examples: &["pvectl serve token again"],
        args: |command| command.arg(Arg::new("name").value_name("NAME").required(true).help("Its name")),
        run: |cx, matches| Box::pin(async { token(cx, matches) }),
    },
    ENROLLMENT,
    CERTIFICATE,
];

pub(super) fn people(cx: &Cx) -> Result<serve::Access> {
    serve::Access::open(&cx.paths()?.local().join("serve/tokens.db"))
}

fn password(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve password")?;
    let user = text(matches, "user").unwrap_or(ROOT);
    let password = value_of_secret(cx, "password", text(matches, "password").unwrap_or_default())?;
    if !LENGTHS.contains(&password.len()) {
        let (least, most) = (LENGTHS.start(), LENGTHS.end());
        return Err(Error::usage(format!("a password has {least} to {most} characters")));
    }
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would give {user} another password"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    people(cx)?.set_password(user, &password).map_err(|error| {
        let hint = "only root@pam is there from the beginning; others are made with `pvectl user create`";
        error.with_hint(Hint::Text(hint.into()))
    })?;
    cx.ui.say(format_args!("{user} has another password; tickets that it has are good until they are over"));
    Ok(0)
}

fn token(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve token")?;
    let style = cx.plain_style()?;
    let name = text(matches, "name").unwrap_or_default();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() > 1
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !is_name {
        return Err(Error::usage(format!(
            "`{name}` is no name of a token: a letter, then letters, digits, `.`, `_`, `-`"
        )));
    }
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would make the token {ROOT}!{name}"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    let issued = people(cx)?.issue(name, None)?;
    let line = format!("{}={}", issued.id, issued.secret.expose_secret());
    let data = json!({"full-tokenid": issued.id, "value": issued.secret.expose_secret()});
    print::data_or(&cx.ui, &style, &data, std::slice::from_ref(&issued.id), |out| {
        writeln!(out, "PVECTL_TOKEN={line}")
    })?;
    cx.ui.say("the token is shown this once; it may do everything");
    Ok(0)
}
