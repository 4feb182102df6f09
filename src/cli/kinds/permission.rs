//! `permission`: what somebody may, by path, and the answer to whether they may one thing.

use std::collections::BTreeSet;

use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

use crate::{
    cli::{
        cx::{Cx, text},
        print::{
            self, Shape,
            fields::{Field, How, fields, headings_of},
        },
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, value},
    },
    client::Permissions,
    model::{Class, Error, Params, Result, closest},
    ops::plain,
};

pub(super) const KIND: Kind = Kind {
    noun: "permission",
    plural: "permissions",
    aliases: &[],
    about: "Permissions: what you or others may, and where",
    guest: None,
    paths: &["/access/permissions"],
    of: Of::Cluster,
    columns: || headings_of(COLUMNS),
    verbs: || vec![Box::new(LIST), Box::new(CAN_I)],
};

const COLUMNS: &[Field] = &[
    Field::text("PATH", "path"),
    Field::new("COUNT", "privileges", How::Count),
    Field::text("PRIVILEGES", "privileges").wide(),
];

const LIST: Entry = Entry {
    name: "list",
    about: "List privileges by path",
    examples: &["pvectl permission list -o wide", "pvectl permission list --path /vms/100 --user audit@pve"],
    args: |command| command.arg(value("path", "PATH", "On this path: /vms/100, /pool/prod, …")).arg(user_arg()),
    run: |cx, matches| Box::pin(list(cx, matches)),
};

const CAN_I: Entry = Entry {
    name: "can-i",
    about: "Whether a privilege is there on a path: yes and exit code 0, or no and 1",
    examples: &["pvectl permission can-i VM.PowerMgmt /vms/100", "pvectl permission can-i VM.Audit / --user audit@pve"],
    args: |command| {
        command
            .arg(Arg::new("privilege").value_name("PRIVILEGE").required(true).help("VM.PowerMgmt, Sys.Audit, …"))
            .arg(Arg::new("acl-path").value_name("PATH").required(true).help("/vms/100, /pool/prod, /, …"))
            .arg(user_arg())
    },
    run: |cx, matches| Box::pin(can_i(cx, matches)),
};

fn user_arg() -> Arg {
    value("user", "USER", "Of this user or API token, instead of yourself")
}

async fn read(session: &Session, path: Option<&str>, user: Option<&str>) -> Result<Permissions> {
    session.ops.require_server("permissions")?;
    let params = Params::new().with_some("path", path).with_some("userid", user);
    let answer = session.ops.read_at("/access/permissions", params).await?;
    serde_json::from_value(answer)
        .map_err(|error| Error::new(Class::Failed, "the server lists privileges in an unknown way").with_source(error))
}

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let user = text(matches, "user");
    let found = read(&session, text(matches, "path"), user).await?;
    let who = user.map_or_else(|| session.ops.backend().user(), str::to_owned);
    let rows = found.0.iter().map(|(path, privileges)| {
        let names: Vec<&String> = privileges.keys().collect();
        let below: Vec<&String> = privileges.iter().filter(|(_, below)| below.0).map(|(name, _)| name).collect();
        json!({"path": path, "user": who, "privileges": names, "propagated": below, "context": session.ops.context()})
    });
    let name = |row: &Value| plain(&row["path"]).unwrap_or_default();
    fields(&cx.ui, &session.style, COLUMNS, (Shape::Several, rows.collect()), name)?;
    Ok(0)
}

async fn can_i(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let (privilege, path) =
        (text(matches, "privilege").unwrap_or_default(), text(matches, "acl-path").unwrap_or_default());
    let user = text(matches, "user");
    if !path.starts_with('/') {
        return Err(Error::usage(format!(
            "`{path}` is no path of privileges: it begins with a slash, such as /vms/100"
        )));
    }
    let session = cx.session(Access::Read).await?;
    let allowed = read(&session, Some(path), user).await?.has(path, privilege);
    if !allowed {
        // No because there is no such privilege would be no answer.
        let roles = session.ops.rows_at("/access/roles", Params::new()).await?;
        let known: BTreeSet<String> = roles
            .iter()
            .filter_map(|role| plain(&role["privs"]))
            .flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        if !known.contains(privilege) {
            let error = Error::usage(format!("there is no privilege `{privilege}`"));
            return Err(error.did_you_mean(closest(privilege, known.into_iter())));
        }
    }
    let who = user.map_or_else(|| session.ops.backend().user(), str::to_owned);
    let word = if allowed { "yes" } else { "no" };
    let data = json!({
        "allowed": allowed, "privilege": privilege, "path": path, "user": who, "context": session.ops.context(),
    });
    print::data_or(&cx.ui, &session.style, &data, &[word.to_owned()], |out| writeln!(out, "{word}"))?;
    Ok(if allowed { 0 } else { Class::Failed.exit_code() })
}
