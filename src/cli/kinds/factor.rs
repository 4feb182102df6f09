//! How people prove who they are: a user's password, second factors, and the copy of a realm's users.
//!
//! What users and realms are is in [`people`](super::people). Second factors are not made here: that needs their owner.

use clap::{Arg, ArgMatches};
use serde_json::Value;

use crate::{
    cli::{
        base::{require_somebody_to_confirm, value_of_secret},
        cx::{Cx, flag, text},
        print::{
            Shape,
            fields::{Field, How, fields},
        },
        resource::{carry_out, carry_out_asking},
        session::{Access, Session},
        verb::{Entry, Exit, Group, switch, value},
    },
    model::{Class, Error, Hint, Method, Params, Result},
    ops::{plain, resource},
};

pub(super) const PASSWORD: Entry = Entry {
    name: "password",
    about: "Give a user another password; no API token may do this",
    examples: &["pvectl user password ann@pve --password @new", "pvectl user password ann@pve --password -"],
    args: |command| {
        let secret = |name: &'static str, help: &'static str| {
            value(name, "@FILE", help).num_args(0..=1).default_missing_value("")
        };
        command.arg(user_arg()).arg(secret("password", "The new one: @FILE, - for stdin, or asked for")).arg(secret(
            "confirmation-password",
            "Your own, where the server wants it: @FILE, - for stdin, or asked for",
        ))
    },
    run: |cx, matches| Box::pin(password(cx, matches)),
};

pub(super) const UNLOCK: Entry = Entry {
    name: "unlock-tfa",
    about: "Let a user try again whose second factor was wrong too often",
    examples: &["pvectl user unlock-tfa ann@pve"],
    args: |command| command.arg(user_arg()),
    run: |cx, matches| Box::pin(unlock(cx, matches)),
};

pub(super) const TFA: Group = Group { name: "tfa", about: "Second factors of users", verbs: &[&TFA_LIST, &TFA_DELETE] };

const TFA_LIST: Entry = Entry {
    name: "list",
    about: "List second factors, of one user or of all that you may see",
    examples: &["pvectl user tfa list", "pvectl user tfa list ann@pve"],
    args: |command| command.arg(user_arg().required(false)),
    run: |cx, matches| Box::pin(list(cx, matches)),
};

const TFA_DELETE: Entry = Entry {
    name: "delete",
    about: "Delete a user's second factor; no API token may do this; asks",
    examples: &["pvectl user tfa delete ann@pve totp-1 --dry-run"],
    args: |command| {
        let own = value("password", "@FILE", "Your own, where the server wants it: @FILE, - for stdin, or asked for");
        command
            .arg(user_arg())
            .arg(Arg::new("factor").value_name("ID").required(true).help("Which, by the list"))
            .arg(own.num_args(0..=1).default_missing_value(""))
    },
    run: |cx, matches| Box::pin(delete(cx, matches)),
};

pub(super) const SYNC: Entry = Entry {
    name: "sync",
    about: "Copy users and groups from a realm's directory (ldap, ad)",
    examples: &["pvectl realm sync corp --scope both --test", "pvectl realm sync corp --scope users --dry-run"],
    args: |command| {
        let gone =
            "What becomes of those that are gone there: none, or entry, properties and acl, with semicolons; asks";
        command
            .arg(Arg::new("realm").value_name("REALM").required(true).help("The realm"))
            .arg(
                value("scope", "SCOPE", "What is copied; as the realm says if nothing is")
                    .value_parser(["users", "groups", "both"]),
            )
            .arg(value("remove-vanished", "WHAT", gone))
            .arg(value("enable-new", "BOOL", "Whether new users may log in").value_parser(["yes", "no"]))
            .arg(switch("test", "The server looks what would change, and changes nothing"))
    },
    run: |cx, matches| Box::pin(sync(cx, matches)),
};

const FACTOR_FIELDS: &[Field] = &[
    Field::text("USER", "userid"),
    Field::text("ID", "id"),
    Field::text("TYPE", "type"),
    Field::new("ENABLED", "enable", How::FlagOn),
    Field::new("LOCKED", "totp-locked", How::Flag),
    Field::new("CREATED", "created", How::When),
    Field::text("DESCRIPTION", "description"),
];

fn user_arg() -> Arg {
    Arg::new("user").value_name("USER").required(true).help("USER@REALM")
}

/// Refuses what no token may do, before anything is sent.
fn refuse_tokens(session: &Session, what: &str) -> Result<()> {
    let user = session.ops.backend().user();
    if !user.contains('!') {
        return Ok(());
    }
    Err(Error::new(Class::Forbidden, format!("{what} is nothing that an API token may do, and this context has {user}"))
        .with_hint(Hint::Text(
            "log in with a password: a context that was made with `pvectl config add-context NAME --endpoint URL --user USER@REALM`"
                .into(),
        )))
}

async fn password(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Write).await?;
    session.ops.require_server("users")?;
    refuse_tokens(&session, "to change a password")?;
    let user = text(matches, "user").unwrap_or_default();
    session.ops.resource(resource("user"), user).await?;
    let new = value_of_secret(cx, "password", text(matches, "password").unwrap_or_default())?;
    let mut params = Params::new().with("userid", user).with("password", new);
    if let Some(typed) = text(matches, "confirmation-password") {
        params.push("confirmation-password", value_of_secret(cx, "confirmation-password", typed)?);
    }
    let target = (Method::Put, "/access/password");
    let plan = session.ops.plan_resource_call("password", "user", user, target, (params, &Params::new())).await?;
    carry_out(cx, &session, vec![plan]).await
}

async fn unlock(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Write).await?;
    session.ops.require_server("users")?;
    let user = text(matches, "user").unwrap_or_default();
    session.ops.resource(resource("user"), user).await?;
    let target = (Method::Put, "/access/users/{userid}/unlock-tfa");
    let params = Params::new().with("userid", user);
    let plan = session.ops.plan_resource_call("unlock-tfa", "user", user, target, (params, &Params::new())).await?;
    carry_out(cx, &session, vec![plan]).await
}

/// The second factors of users, one row each.
async fn factors(session: &Session, user: Option<&str>) -> Result<Vec<Value>> {
    session.ops.require_server("second factors")?;
    let all = session.ops.rows_at("/access/tfa", Params::new()).await?;
    let mut rows = Vec::new();
    for one in all.iter().filter(|one| user.is_none_or(|user| one["userid"] == user)) {
        for entry in one["entries"].as_array().into_iter().flatten() {
            let mut row = entry.clone();
            row["userid"] = one["userid"].clone();
            for key in ["totp-locked", "tfa-locked-until"] {
                if let Some(value) = one.get(key) {
                    row[key] = value.clone();
                }
            }
            row["context"] = session.ops.context().into();
            row.sort_all_objects();
            rows.push(row);
        }
    }
    rows.sort_by_cached_key(|row| (plain(&row["userid"]), plain(&row["id"])));
    Ok(rows)
}

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let user = text(matches, "user");
    if let Some(user) = user {
        session.ops.resource(resource("user"), user).await?;
    }
    let rows = factors(&session, user).await?;
    let name = |row: &Value| {
        let [user, id] = ["userid", "id"].map(|key| plain(&row[key]).unwrap_or_default());
        format!("tfa/{user}/{id}")
    };
    fields(&cx.ui, &session.style, FACTOR_FIELDS, (Shape::Several, rows), name)?;
    Ok(0)
}

async fn delete(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let session = cx.session(Access::Write).await?;
    session.ops.require_server("second factors")?;
    refuse_tokens(&session, "to delete a second factor")?;
    let [user, id] = ["user", "factor"].map(|key| text(matches, key).unwrap_or_default());
    let rows = factors(&session, Some(user)).await?;
    let names: Vec<String> = rows.iter().filter_map(|row| plain(&row["id"])).collect();
    if !names.iter().any(|name| name == id) {
        return Err(Error::not_found(format!("{user} has no second factor `{id}`"))
            .did_you_mean(crate::model::closest(id, names.into_iter())));
    }
    let mut params = Params::new().with("userid", user).with("id", id);
    if let Some(typed) = text(matches, "password") {
        params.push("password", value_of_secret(cx, "password", typed)?);
    }
    let target = (Method::Delete, "/access/tfa/{userid}/{id}");
    let name = format!("{user}/{id}");
    let mut plan = session.ops.plan_resource_call("delete", "tfa", &name, target, (params, &Params::new())).await?;
    if rows.len() == 1 {
        plan.notes.push(format!("it is the only one: {user} logs in with the password alone then"));
    }
    carry_out_asking(cx, &session, &format!("Delete {id} of {user}? This cannot be undone"), vec![plan]).await
}

async fn sync(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let gone = text(matches, "remove-vanished").filter(|gone| *gone != "none");
    let asks = gone.is_some() && !flag(matches, "test");
    if asks {
        require_somebody_to_confirm(cx)?;
    }
    let session = cx.session(Access::Write).await?;
    session.ops.require_server("realms")?;
    let realm = text(matches, "realm").unwrap_or_default();
    let found = session.ops.resource(resource("realm"), realm).await?;
    let kind = found.get("type").and_then(plain).unwrap_or_default();
    if ["pam", "pve", "openid"].contains(&kind.as_str()) {
        return Err(Error::usage(format!("realm {realm} is of type {kind}, which has no directory to copy from"))
            .with_hint(Hint::Text("ldap and ad have: pvectl realm list".into())));
    }
    let params = Params::new()
        .with("realm", realm)
        .with_some("scope", text(matches, "scope"))
        .with_some("remove-vanished", text(matches, "remove-vanished"))
        .with_some("enable-new", text(matches, "enable-new").map(|new| u8::from(new == "yes")))
        .with_flag("dry-run", flag(matches, "test"));
    let target = (Method::Post, "/access/domains/{realm}/sync");
    let plan = session.ops.plan_resource_call("sync", "realm", realm, target, (params, &Params::new())).await?;
    match asks {
        true => {
            let question = format!("Sync {realm}, and remove {} of who is gone there?", gone.unwrap_or_default());
            carry_out_asking(cx, &session, &question, vec![plan]).await
        }
        false => carry_out(cx, &session, vec![plan]).await,
    }
}
