//! `config`: contexts and what is set.

use std::{fs, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;

use crate::{
    cli::{
        cx::{Cx, flag, text, texts},
        print::{self, Column, Row},
        session::ask_password,
        trust,
        verb::{Entry, Exit, run_in_group, switch, value, with_group},
    },
    config::{Context, Credentials, Endpoint, File, Login, RESERVED, Stored, parse_token},
    model::{Error, Result},
};

pub(super) const ENTRY: Entry = Entry {
    name: "config",
    about: "Contexts: which servers there are, and how to log in",
    examples: &[],
    args: |command| with_group(command, GROUP),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, GROUP)),
};

const GROUP: &[Entry] = &[
    Entry {
        name: "add-context",
        about: "Add a server, or a cluster by several of its nodes; the first one becomes current",
        examples: &[
            "pvectl config add-context lab --endpoint https://pve1:8006 --token-file token",
            "pvectl config add-context lab --endpoint pve1 --endpoint pve2 --user root@pam",
        ],
        args: add_args,
        run: |cx, matches| Box::pin(add(cx, matches)),
    },
    Entry {
        name: "use-context",
        about: "Make a context current",
        examples: &["pvectl config use-context lab"],
        args: |command| command.arg(name_arg()),
        run: |cx, matches| Box::pin(async { use_context(cx, matches) }),
    },
    Entry {
        name: "get-contexts",
        about: "List contexts",
        examples: &["pvectl config get-contexts"],
        args: |command| command,
        run: |cx, _| Box::pin(async { list(cx) }),
    },
    Entry {
        name: "view",
        about: "Show what is set",
        examples: &["pvectl config view --origin"],
        args: |command| command.arg(switch("origin", "Show where each value comes from")),
        run: |cx, matches| Box::pin(async { view(cx, matches) }),
    },
    Entry {
        name: "remove-context",
        about: "Remove a context and its credentials",
        examples: &["pvectl config remove-context lab"],
        args: |command| command.arg(name_arg()),
        run: |cx, matches| Box::pin(async { remove(cx, matches) }),
    },
];

fn name_arg() -> Arg {
    Arg::new("name").value_name("NAME").required(true).help("The context's name")
}

fn add_args(command: Command) -> Command {
    command
        .arg(name_arg())
        .arg(
            value("endpoint", "URL", "A server, such as https://pve1:8006; repeat it for more nodes of one cluster")
                .action(ArgAction::Append)
                .required(true),
        )
        .arg(value("token-file", "FILE", "API token, a line user@realm!name=uuid; - is stdin").conflicts_with("user"))
        .arg(value("user", "USER@REALM", "Log in with a password, which is asked for"))
        .arg(value("password-file", "FILE", "Take the password from a file; - is stdin").requires("user"))
        .arg(
            value("credential-command", "COMMAND", "A command that prints the token or password")
                .conflicts_with("token-file"),
        )
        .arg(
            value(
                "fingerprint",
                "SHA256",
                "Trust the certificate with this fingerprint; one for all endpoints, or one each",
            )
            .action(ArgAction::Append)
            .conflicts_with("ca-file"),
        )
        .arg(value("ca-file", "FILE", "Trust this authority, a PEM file"))
        .arg(value("client-certificate", "FILE", "Show this certificate to the servers, a PEM file; a login by itself"))
        .arg(
            value("client-key", "FILE", "The certificate's key, where it is not in the same file")
                .requires("client-certificate"),
        )
        .arg(value("node", "NODE", "The node that new guests go to"))
        .arg(switch("read-only", "Refuse every change"))
        .arg(value("rules-file", "FILE", "Rules for changes: what wants a name typed, what is forbidden"))
        .arg(switch("overwrite", "Replace a context of this name"))
}

async fn add(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let paths = cx.paths()?;
    let name = text(matches, "name").unwrap_or_default().to_owned();
    let overwrite = flag(matches, "overwrite");
    let mut file = File::open(&paths)?;
    let mut credentials = Credentials::load(&paths.credentials)?;
    let mut endpoints = texts(matches, "endpoint").iter().map(|url| Endpoint::new(url)).collect::<Result<Vec<_>>>()?;
    endpoints = pin(endpoints, &texts(matches, "fingerprint"))?;
    let mut context = Context {
        name: name.clone(),
        ca_file: text(matches, "ca-file").map(absolute).transpose()?,
        client_certificate: text(matches, "client-certificate").map(absolute).transpose()?,
        client_key: text(matches, "client-key").map(absolute).transpose()?,
        user: text(matches, "user").map(str::to_owned),
        credential_command: text(matches, "credential-command").map(str::to_owned),
        node: text(matches, "node").map(str::to_owned),
        read_only: flag(matches, "read-only"),
        rules_file: text(matches, "rules-file").map(absolute).transpose()?,
        ..Context::default()
    };
    let login = [&context.user, &context.credential_command, &context.client_certificate];
    if login.iter().all(|login| login.is_none()) && text(matches, "token-file").is_none() {
        return Err(Error::usage(
            "say how to log in: --token-file FILE, --user USER@REALM, --credential-command COMMAND or \
             --client-certificate FILE",
        ));
    }
    // What would be refused must be refused before a person types a password.
    context.endpoints = endpoints.clone();
    file.add_context(context.clone(), overwrite)?;
    if context.ca_file.is_none() {
        endpoints = trust::pin_unknown(cx, endpoints).await?;
    }
    context.endpoints = endpoints;
    let stored = match text(matches, "token-file") {
        Some(token_file) => {
            let (id, secret) = read_token(token_file)?;
            context.token_id = Some(id);
            Some(Stored::TokenSecret(secret))
        }
        None => password(cx, &context, text(matches, "password-file"))?.map(Stored::Password),
    };
    let mut file = File::open(&paths)?;
    let current = file.add_context(context, overwrite)?;
    match stored {
        Some(secret) => credentials.insert(&name, secret)?,
        None => credentials.remove(&name),
    }
    // Credentials first: a context without its secret would be half a context.
    credentials.save()?;
    file.save()?;
    let more = if current { ", and is current" } else { "" };
    cx.ui.say(format_args!("context `{name}` is in {}{more}", file.path().display()));
    Ok(0)
}

/// The password of the context's user, if one is to be stored.
fn password(cx: &Cx, context: &Context, file: Option<&str>) -> Result<Option<SecretString>> {
    let Some(user) = context.user.as_ref().filter(|_| context.credential_command.is_none()) else { return Ok(None) };
    match file {
        Some(file) => Ok(Some(read_secret(file, "password file")?.trim_end_matches(['\r', '\n']).into())),
        // It is whom the certificate is of.
        None if context.client_certificate.is_some() => Ok(None),
        None => ask_password(cx, user).map(Some),
    }
}

/// Gives the endpoints their fingerprints: one for all, or one each.
fn pin(endpoints: Vec<Endpoint>, fingerprints: &[String]) -> Result<Vec<Endpoint>> {
    match fingerprints {
        [] => Ok(endpoints),
        [one] => endpoints.into_iter().map(|endpoint| endpoint.pinned(one)).collect(),
        each if each.len() == endpoints.len() => {
            endpoints.into_iter().zip(each).map(|(endpoint, fingerprint)| endpoint.pinned(fingerprint)).collect()
        }
        each => Err(Error::usage(format!(
            "{} fingerprints for {} endpoints: give one for all, or one each",
            each.len(),
            endpoints.len()
        ))),
    }
}

fn absolute(path: &str) -> Result<String> {
    let absolute = fs::canonicalize(path)
        .map_err(|error| Error::usage(format!("the file `{path}` cannot be used")).with_source(error))?;
    Ok(absolute.display().to_string())
}

/// Reads a file that holds a secret; `-` is stdin.
fn read_secret(file: &str, what: &str) -> Result<String> {
    let read =
        if file == "-" { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(Path::new(file)) };
    read.map_err(|error| Error::usage(format!("cannot read the {what} {file}")).with_source(error))
}

fn read_token(file: &str) -> Result<(String, SecretString)> {
    let content = read_secret(file, "token file")?;
    match parse_token(&content, None, &format!("the token file {file}"))? {
        Login::Token { id, secret } => Ok((id, secret.expose_secret().into())),
        Login::Password { .. } | Login::Certificate { .. } => Err(Error::usage(format!("{file} holds no API token"))),
    }
}

fn use_context(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let name = text(matches, "name").unwrap_or_default();
    let mut file = File::open(&cx.paths()?)?;
    file.use_context(name)?;
    file.save()?;
    cx.ui.say(format_args!("context `{name}` is current"));
    Ok(0)
}

fn remove(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let name = text(matches, "name").unwrap_or_default();
    let paths = cx.paths()?;
    let mut file = File::open(&paths)?;
    let mut credentials = Credentials::load(&paths.credentials)?;
    let was_current = file.remove_context(name, &mut credentials)?;
    file.save()?;
    credentials.save()?;
    cx.ui.say(format_args!("context `{name}` and its credentials are removed"));
    if was_current {
        cx.ui.warn("it was the current one: choose another with `pvectl config use-context NAME`");
    }
    Ok(0)
}

/// A context as a row.
#[derive(Serialize)]
struct ContextRow {
    name: String,
    current: bool,
    kind: String,
    endpoints: Vec<String>,
    identity: Option<String>,
}

impl Row for ContextRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<ContextRow>] = &[
            Column::new("CURRENT", "current", |row: &ContextRow| if row.current { "*" } else { " " }.to_owned()),
            Column::new("NAME", "name", |row: &ContextRow| row.name.clone()),
            Column::new("KIND", "kind", |row: &ContextRow| row.kind.clone()),
            Column::new("ENDPOINTS", "endpoints", |row: &ContextRow| row.endpoints.join(",")),
            Column::new("IDENTITY", "identity", |row: &ContextRow| row.identity.clone().unwrap_or_default()),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

fn list(cx: &Cx) -> Result<Exit> {
    let style = cx.plain_style()?;
    let file = File::load(&cx.paths()?)?;
    let row = |context: &Context| ContextRow {
        name: context.name.clone(),
        current: file.as_ref().and_then(File::current) == Some(&context.name),
        kind: "proxmox".to_owned(),
        endpoints: context.endpoints.iter().map(|endpoint| endpoint.url().to_owned()).collect(),
        identity: context.token_id.clone().or_else(|| context.user.clone()),
    };
    let mut rows: Vec<ContextRow> = file.iter().flat_map(File::contexts).map(row).collect();
    rows.extend(RESERVED.iter().filter(|name| **name == "sandbox").map(|name| ContextRow {
        name: (*name).to_owned(),
        current: file.is_none(),
        kind: "built-in".to_owned(),
        endpoints: Vec::new(),
        identity: None,
    }));
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

fn view(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let resolved = cx.resolve()?;
    let style = cx.style(&resolved)?;
    let paths = cx.paths()?;
    let origin = flag(matches, "origin");
    let rows = resolved.rows();
    let data = json!({
        "file": paths.config,
        "journal": paths.journal(),
        "settings": rows
            .iter()
            .map(|row| json!({"key": row.key, "value": row.value, "origin": row.origin.to_string()}))
            .collect::<Vec<_>>(),
    });
    let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0).max(7);
    print::data_or(&cx.ui, &style, &data, &[], |out| {
        writeln!(out, "{:width$}  {}", "file", paths.config.display())?;
        writeln!(out, "{:width$}  {}", "journal", paths.journal().display())?;
        rows.iter().try_for_each(|row| match origin {
            true => writeln!(out, "{:width$}  {}  ({})", row.key, row.value, row.origin),
            false => writeln!(out, "{:width$}  {}", row.key, row.value),
        })
    })?;
    Ok(0)
}
