//! `serve enrollment` and `serve certificate`: who may get a client certificate of this host, and who has one.
//!
//! For the owner, on the host itself, while it is served and while it is not. What a client does about its own is in
//! `enroll`.

use clap::{Arg, ArgMatches};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;

use super::serve_people::people;
use crate::{
    cli::{
        cx::{Cx, moment_after, text},
        print::{self, Column, Row, human::ago, table::status_colour},
        session::Access,
        verb::{Entry, Exit, run_in_group, value, with_group},
    },
    model::{Error, Hint, Result},
    serve::{ClientCertificate, Enrollment},
};

pub(super) const ENROLLMENT: Entry = Entry {
    name: "enrollment",
    about: "One-time tokens, each good for one client certificate of a user",
    examples: &["pvectl serve enrollment create ann@pve"],
    args: |command| with_group(command, ENROLLMENTS),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, ENROLLMENTS)),
};

pub(super) const CERTIFICATE: Entry = Entry {
    name: "certificate",
    about: "Client certificates of the served host",
    examples: &["pvectl serve certificate list"],
    args: |command| with_group(command, CERTIFICATES),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, CERTIFICATES)),
};

const ENROLLMENTS: &[Entry] = &[
    Entry {
        name: "create",
        about: "Make a one-time token for `pvectl enroll`; it is shown this once",
        examples: &[
            "pvectl serve enrollment create ann@pve",
            "pvectl serve enrollment create ann@pve --expire 15m --certificate-lifetime 30d",
        ],
        args: |command| {
            command
                .arg(Arg::new("user").value_name("USER").required(true).help("For whom: USER@REALM"))
                .arg(value("expire", "TIME", "Until when it is good").default_value("1h"))
                .arg(
                    value("certificate-lifetime", "TIME", "How long the certificate holds, and each that renews it")
                        .default_value("90d"),
                )
        },
        run: |cx, matches| Box::pin(async { invite(cx, matches) }),
    },
    Entry {
        name: "list",
        about: "List the one-time tokens and what became of them",
        examples: &["pvectl serve enrollment list"],
        args: |command| command,
        run: |cx, _| Box::pin(async { list(cx, people(cx)?.enrollments()?, "there is no one-time token") }),
    },
    Entry {
        name: "delete",
        about: "Take a one-time token back",
        examples: &["pvectl serve enrollment delete 1f0a3c55"],
        args: |command| command.arg(Arg::new("id").value_name("ID").required(true).help("What stands before its dot")),
        run: |cx, matches| Box::pin(async { delete(cx, matches) }),
    },
];

const CERTIFICATES: &[Entry] = &[
    Entry {
        name: "list",
        about: "List the client certificates, the newest first",
        examples: &["pvectl serve certificate list", "pvectl serve certificate list -o json"],
        args: |command| command,
        run: |cx, _| Box::pin(async { list(cx, people(cx)?.certificates()?, "nobody has a client certificate") }),
    },
    Entry {
        name: "revoke",
        about: "Revoke a client certificate; it is refused from the next request on",
        examples: &["pvectl serve certificate revoke 4f1c6a4e90…"],
        args: |command| command.arg(Arg::new("serial").value_name("SERIAL").required(true).help("Its serial number")),
        run: |cx, matches| Box::pin(async { revoke(cx, matches) }),
    },
];

fn state(row: &Enrollment) -> &'static str {
    match row {
        Enrollment { serial: Some(_), .. } => "used",
        _ if row.expires <= Timestamp::now() => "expired",
        _ => "waiting",
    }
}

impl Row for Enrollment {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Enrollment>] = &[
            Column::new("ID", "id", |row: &Enrollment| row.id.clone()),
            Column::new("USER", "user", |row: &Enrollment| row.user.clone()),
            Column::new("STATUS", "status", |row: &Enrollment| state(row).to_owned()).coloured(status_colour),
            Column::new("CREATED", "created", |row: &Enrollment| ago(row.created)),
            Column::new("EXPIRES", "expires", |row: &Enrollment| row.expires.to_string()),
            Column::new("CERTIFICATE", "serial", |row: &Enrollment| row.serial.clone().unwrap_or_default()),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("enrollment/{}", self.id)
    }
}

impl Row for ClientCertificate {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<ClientCertificate>] = &[
            Column::new("SERIAL", "serial", |row: &ClientCertificate| row.serial.clone()),
            Column::new("USER", "user", |row: &ClientCertificate| row.user.clone()),
            Column::new("STATUS", "status", |row: &ClientCertificate| {
                let state = match row.revoked {
                    Some(_) => "revoked",
                    None if row.expires <= Timestamp::now() => "expired",
                    None => "valid",
                };
                state.to_owned()
            })
            .coloured(status_colour),
            Column::new("ISSUED", "issued", |row: &ClientCertificate| ago(row.issued)),
            Column::new("EXPIRES", "expires", |row: &ClientCertificate| row.expires.to_string()),
            Column::new("FINGERPRINT", "fingerprint", |row: &ClientCertificate| row.fingerprint.clone()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("certificate/{}", self.serial)
    }
}

fn list<R: Row + Serialize>(cx: &Cx, mut rows: Vec<R>, nothing: &str) -> Result<Exit> {
    let style = cx.plain_style()?;
    if rows.is_empty() {
        cx.ui.say(nothing);
    }
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

fn invite(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve enrollment create")?;
    let style = cx.plain_style()?;
    let user = text(matches, "user").unwrap_or_default();
    let now = Timestamp::now();
    let expires = moment_after(text(matches, "expire").unwrap_or_default(), now)?;
    let over = moment_after(text(matches, "certificate-lifetime").unwrap_or_default(), now)?;
    let lifetime = over.as_second() - now.as_second();
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would make a one-time token for {user}"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    let made = people(cx)?.invite(user, now, expires, lifetime).map_err(|error| {
        let hint = "only root@pam is there from the beginning; others are made with `pvectl user create`";
        error.with_hint(Hint::Text(hint.into()))
    })?;
    let token = made.token.expose_secret();
    let made = made.enrollment;
    let data = json!({"id": made.id, "user": user, "expires": expires, "lifetime": lifetime, "token": token});
    print::data_or(&cx.ui, &style, &data, &[made.name()], |out| writeln!(out, "{token}"))?;
    cx.ui.say(format_args!(
        "the token is shown this once, and good for one `pvectl enroll https://THIS-HOST:8006` as {user} until {expires}"
    ));
    Ok(0)
}

fn delete(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve enrollment delete")?;
    let id = text(matches, "id").unwrap_or_default();
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would take the one-time token {id} back"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    people(cx)?.delete_enrollment(id)?;
    cx.ui.say(format_args!("the one-time token {id} is gone"));
    Ok(0)
}

fn revoke(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "serve certificate revoke")?;
    let serial = text(matches, "serial").unwrap_or_default().to_lowercase();
    if !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::usage(format!("`{serial}` is no serial number: hex digits are expected")));
    }
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would revoke the certificate {serial}"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    match people(cx)?.revoke(&serial, Timestamp::now())? {
        true => cx.ui.say(format_args!("the certificate {serial} is revoked")),
        false => cx.ui.say(format_args!("the certificate {serial} was revoked before")),
    }
    Ok(0)
}
