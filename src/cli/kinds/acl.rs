//! `acl`: which role is granted to whom on which path.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use crate::{
    cli::{
        cx::{Cx, text, texts},
        print::{
            Shape,
            fields::{Field, How, fields, headings_of},
        },
        resource::carry_out,
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, value},
    },
    model::{Error, Hint, Method, Params, Result, closest},
    ops::plain,
};

pub(super) const KIND: Kind = Kind {
    noun: "acl",
    plural: "acls",
    aliases: &["grant"],
    about: "Grants: which role is given to whom on which path",
    guest: None,
    paths: &["/access/acl"],
    of: Of::Cluster,
    columns: || headings_of(COLUMNS),
    verbs: || vec![Box::new(LIST), Box::new(ADD), Box::new(REMOVE)],
};

const COLUMNS: &[Field] = &[
    Field::text("PATH", "path"),
    Field::text("TYPE", "type"),
    Field::text("WHO", "ugid"),
    Field::text("ROLE", "roleid"),
    Field::new("PROPAGATE", "propagate", How::FlagOn),
];

const ACL: &str = "/access/acl";

const LIST: Entry = Entry {
    name: "list",
    about: "List grants",
    examples: &[
        "pvectl acl list",
        "pvectl acl list --path /pool/prod",
        "pvectl acl list --field-selector ugid=ann@pve",
    ],
    args: |command| command.arg(value("path", "PATH", "Only on this path")),
    run: |cx, matches| Box::pin(list(cx, matches)),
};

const ADD: Entry = Entry {
    name: "add",
    about: "Grant roles on a path, and on all that is below it",
    examples: &[
        "pvectl acl add /pool/prod --user ann@pve --role PVEVMUser",
        "pvectl acl add / --token ann@pve!laptop --role PVEAuditor --propagate no --dry-run",
    ],
    args: |command| {
        let below = value("propagate", "BOOL", "Whether it holds below the path too; it does if nothing is said");
        grant_args(command).arg(below.value_parser(["yes", "no"]).default_value("yes").hide_default_value(true))
    },
    run: |cx, matches| Box::pin(change(cx, matches, true)),
};

const REMOVE: Entry = Entry {
    name: "remove",
    about: "Take grants away",
    examples: &["pvectl acl remove /pool/prod --user ann@pve --role PVEVMUser"],
    args: grant_args,
    run: |cx, matches| Box::pin(change(cx, matches, false)),
};

/// To whom something can be granted: the flag, the parameter, and the word in a grant.
const WHO: [(&str, &str, &str); 3] = [
    ("user", "users", "A user. Repeatable"),
    ("group", "groups", "A group. Repeatable"),
    ("token", "tokens", "An API token, USER@REALM!TOKEN. Repeatable"),
];

fn grant_args(command: Command) -> Command {
    let many = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(name.to_uppercase()).action(ArgAction::Append).help(help)
    };
    let command = command
        .arg(Arg::new("acl-path").value_name("PATH").required(true).help("/, /vms/100, /pool/prod, /storage/local, …"))
        .arg(many("role", "A role. Repeatable").required(true));
    command.args(WHO.map(|(name, _, help)| many(name, help)))
}

async fn rows(session: &Session) -> Result<Vec<Value>> {
    session.ops.require_server("grants")?;
    let mut rows = session.ops.rows_at(ACL, Params::new()).await?;
    rows.iter_mut().for_each(Value::sort_all_objects);
    rows.sort_by_cached_key(|row| ["path", "type", "ugid", "roleid"].map(|key| plain(&row[key])));
    Ok(rows)
}

fn name_of(row: &Value) -> String {
    let [path, who, role] = ["path", "ugid", "roleid"].map(|key| plain(&row[key]).unwrap_or_default());
    format!("acl/{path} {who} {role}")
}

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let mut rows = rows(&session).await?;
    if let Some(path) = text(matches, "path") {
        rows.retain(|row| row["path"] == path);
    }
    rows.iter_mut().for_each(|row| row["context"] = session.ops.context().into());
    fields(&cx.ui, &session.style, COLUMNS, (Shape::Several, rows), name_of)?;
    Ok(0)
}

async fn change(cx: &Cx, matches: &ArgMatches, adds: bool) -> Result<Exit> {
    let path = text(matches, "acl-path").unwrap_or_default();
    let roles = texts(matches, "role");
    let whom: Vec<(&str, &str, Vec<String>)> = WHO
        .iter()
        .map(|(word, param, _)| (*word, *param, texts(matches, word)))
        .filter(|(.., who)| !who.is_empty())
        .collect();
    if whom.is_empty() {
        return Err(Error::usage("say whom: --user, --group or --token"));
    }
    let mut params = Params::new().with("path", path).with("roles", roles.join(","));
    for (_, param, who) in &whom {
        params.push(*param, who.join(","));
    }
    let propagate = text(matches, "propagate") != Some("no");
    match adds {
        true => params.push("propagate", u8::from(propagate)),
        false => params.push("delete", 1),
    }
    let name = whom.iter().flat_map(|(.., who)| who.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    let name = format!("{} on {path} for {name}", roles.join(","));
    let session = cx.session(Access::Write).await?;
    session.ops.require_server("grants")?;
    let verb = if adds { "add" } else { "remove" };
    let target = (Method::Put, ACL);
    let mut plan = session.ops.plan_resource_call(verb, "acl", &name, target, (params, &Params::new())).await?;

    let there = rows(&session).await?;
    let have = |word: &str, who: &str, role: &str| {
        let is_it =
            |row: &&Value| row["path"] == path && row["type"] == word && row["ugid"] == who && row["roleid"] == role;
        there.iter().find(is_it)
    };
    let mut wanted = whom
        .iter()
        .flat_map(|(word, _, who)| who.iter().map(move |who| (*word, who)))
        .flat_map(|(word, who)| roles.iter().map(move |role| (word, who, role)));
    if adds {
        let is_same = |row: &Value| How::FlagOn.show(row.get("propagate")) == if propagate { "yes" } else { "no" };
        if wanted.all(|(word, who, role)| have(word, who, role).is_some_and(is_same)) {
            plan.call = None;
            plan.notes.push("granted already".into());
        }
    } else if let Some((word, who, role)) = wanted.find(|(word, who, role)| have(word, who, role).is_none()) {
        let error = Error::not_found(format!("{role} is not granted on {path} to {word} {who}"));
        let its = there.iter().filter(|row| row["ugid"] == who.as_str());
        let its: Vec<String> = its
            .map(|row| {
                format!("{} on {}", plain(&row["roleid"]).unwrap_or_default(), plain(&row["path"]).unwrap_or_default())
            })
            .collect();
        return Err(match its.is_empty() {
            true => error.did_you_mean(closest(who, there.iter().filter_map(|row| plain(&row["ugid"])))),
            false => error.with_hint(Hint::Text(format!("it has {}", its.join(", ")))),
        });
    }
    carry_out(cx, &session, vec![plan]).await
}
