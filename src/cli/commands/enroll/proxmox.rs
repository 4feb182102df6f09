//! API tokens on Proxmox VE: made with one login by password, renewed before they are over, deleted at the end.
//!
//! A token is not its user, so it looks after itself only where it may change users; else the user logs in once more.

use std::sync::Arc;

use clap::ArgMatches;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{Wanted, as_user};
use crate::{
    backends,
    cli::{
        cx::{Cx, moment_after, text},
        print::{self, Style},
        session::{builder, open_journal},
        verb::Exit,
    },
    client::{Auth, Client},
    config::{Context, Credentials, File, Login, Proxmox, Resolved, Stored},
    model::{Class, Error, Hint, Method, NullRecorder, Params, Recorder, Result},
    ops::{Ops, ResourcePlan, ResourceRequest, RunOptions, Silent, plain, resource},
};

/// The path of a token.
const TOKEN: &str = "/access/users/{userid}/token/{tokenid}";

/// A token that was just made.
struct Made {
    id: String,
    secret: SecretString,
    expires: Timestamp,
}

impl Made {
    /// As it is kept: with its name, so that one file says it all.
    fn line(&self) -> SecretString {
        format!("{}={}", self.id, self.secret.expose_secret()).into()
    }

    fn auth(&self) -> Auth {
        Auth::Token { id: self.id.clone(), secret: self.secret.clone() }
    }
}

/// Somebody who changes tokens, with the record of it.
struct Actor<'a> {
    cx: &'a Cx,
    client: Client,
    ops: Ops,
}

impl<'a> Actor<'a> {
    fn new(cx: &'a Cx, client: Client, place: &str) -> Result<Self> {
        let recorder: Arc<dyn Recorder> = match cx.switches.no_journal {
            true => Arc::new(NullRecorder),
            false => Arc::new(open_journal(cx)?),
        };
        let ops = Ops::new(Arc::new(backends::Proxmox::new(client.clone())), recorder, place);
        Ok(Self { cx, client, ops })
    }

    async fn run(&self, plan: ResourcePlan) -> Result<Option<Value>> {
        let outcome = self.ops.run_resource(plan, &RunOptions::default(), &Silent, &self.cx.interrupt).await;
        match outcome.error {
            Some(error) => Err(error),
            None => Ok(outcome.data),
        }
    }

    async fn make(&self, id: &str, expires: Timestamp, privsep: bool, comment: &str) -> Result<Made> {
        let set = Params::new()
            .with("expire", expires.as_second())
            .with("privsep", u8::from(privsep))
            .with("comment", comment);
        let request = ResourceRequest { set, ..ResourceRequest::default() };
        let plan = self.ops.plan_create_resource(resource("token"), Some(id), &request).await?;
        let secret = self.run(plan).await?.and_then(|data| plain(data.get("value")?));
        let secret = secret.ok_or_else(|| {
            Error::new(Class::Failed, format!("the server made the token {id} and did not tell its secret"))
                .with_hint(Hint::Text(format!("delete it: `pvectl token delete '{id}'`")))
        })?;
        Ok(Made { id: id.to_owned(), secret: secret.into(), expires })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let plan = self.ops.plan_delete_resource(resource("token"), id, &Params::new()).await?;
        self.run(plan).await.map(drop)
    }

    /// The error of something that came after a token was made, which goes again.
    async fn without(&self, made: &Made, error: Error) -> Error {
        let hint = match self.delete(&made.id).await {
            Ok(()) => "the new token was deleted again".to_owned(),
            Err(_) => format!("the new token is there: `pvectl token delete '{}'`", made.id),
        };
        error.with_hint(Hint::Text(hint))
    }

    /// Gives a token what was granted to another one.
    async fn grant_as(&self, old: &str, new: &str) -> Result<()> {
        let grants = self.client.call(Method::Get, "/access/acl", Params::new()).await?.data;
        let text = |row: &Value, key: &str| row.get(key).and_then(plain).unwrap_or_default();
        let its = |row: &&Value| text(row, "type") == "token" && text(row, "ugid") == old;
        for row in grants.as_array().into_iter().flatten().filter(its) {
            let grant = Params::new()
                .with("path", text(row, "path"))
                .with("roles", text(row, "roleid"))
                .with("tokens", new)
                .with("propagate", row.get("propagate").and_then(plain).unwrap_or_else(|| "1".into()));
            self.client.call(Method::Put, "/access/acl", grant).await?;
        }
        Ok(())
    }
}

/// User and name of a token.
fn parts(id: &str) -> (&str, &str) {
    id.split_once('!').unwrap_or((id, ""))
}

fn at(id: &str) -> Params {
    let (user, name) = parts(id);
    Params::new().with("userid", user).with("tokenid", name)
}

/// What a token is called that nobody names.
fn default_name() -> String {
    let host = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short = host.split('.').next().unwrap_or_default();
    let plain: String = short.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    if plain.is_empty() { "pvectl".to_owned() } else { format!("pvectl-{plain}") }
}

/// The next name of a token that is renewed: `laptop`, `laptop-2`, `laptop-3`.
fn next_name(name: &str, taken: &[String]) -> String {
    let (base, number) = match name.rsplit_once('-').map(|(base, number)| (base, number.parse::<u32>())) {
        Some((base, Ok(number))) => (base, number),
        _ => (name, 1),
    };
    let next = (number.saturating_add(1)..).map(|number| format!("{base}-{number}"));
    let mut free = next.filter(|name| !taken.contains(name));
    free.next().unwrap_or_else(|| name.to_owned())
}

pub(super) async fn enroll(cx: &Cx, matches: &ArgMatches, style: &Style, wanted: &Wanted, user: &str) -> Result<Exit> {
    let id = format!("{user}!{}", text(matches, "token-name").map_or_else(default_name, str::to_owned));
    let privsep = text(matches, "privsep") != Some("no");
    let expires = moment_after(text(matches, "expire").unwrap_or_default(), Timestamp::now())?;
    let context = || Context { token_id: Some(id.clone()), token_expires: Some(expires), ..Context::default() };
    drop(wanted.put(context())?);
    let mut credentials = Credentials::load(&wanted.paths.credentials)?;
    credentials.insert(&wanted.name, Stored::TokenSecret(String::new().into()))?;
    let client = wanted.client()?.auth(as_user(cx, matches, user)?).build()?;
    let actor = Actor::new(cx, client, wanted.endpoint.url())?;
    let made = actor.make(&id, expires, privsep, "pvectl enroll").await.map_err(|error| match error.class() {
        Class::Conflict => error.with_hint(Hint::Text("--token-name gives it another name".into())),
        _ => error,
    })?;
    let mut kept = || {
        let (mut file, current) = wanted.put(context())?;
        credentials.insert(&wanted.name, Stored::TokenSecret(made.line()))?;
        // Credentials first: a context without its secret would be half a context.
        credentials.save()?;
        file.save()?;
        Ok(current)
    };
    let current = match kept() {
        Ok(current) => current,
        Err(error) => return Err(actor.without(&made, error).await),
    };
    let data = json!({
        "context": wanted.name, "endpoint": wanted.endpoint.url(), "user": user, "token": id, "expires": expires,
        "privsep": privsep,
    });
    print::data_or(&cx.ui, style, &data, &[format!("context/{}", wanted.name)], |_| Ok(()))?;
    cx.ui.say(format_args!("the API token {id} of {} is good until {expires}", wanted.endpoint.url()));
    wanted.say(cx, current);
    match privsep {
        true => cx.ui.say(format_args!(
            "its privileges are separate from {user}'s, and it has none yet: somebody who may grants it a role with \
             `pvectl --host {} acl add / --token '{id}' --role ROLE`, or enroll with --privsep no, and it has all that \
             {user} has",
            wanted.endpoint.url(),
        )),
        false => cx.ui.say(format_args!(
            "it may do all that {user} may; with --privsep yes it would have what is granted to itself alone"
        )),
    }
    Ok(0)
}

/// Makes a token in place of another one, up to the point where it can be kept.
async fn replaced(
    actor: &Actor<'_>,
    id: &str,
    expires: Timestamp,
    fresh: impl Fn(Auth) -> Result<Client>,
) -> Result<Made> {
    let (user, name) = parts(id);
    let old = actor.client.call(Method::Get, TOKEN, at(id)).await?.data;
    let all =
        actor.client.call(Method::Get, "/access/users/{userid}/token", Params::new().with("userid", user)).await?;
    let taken = all.data.as_array().into_iter().flatten().filter_map(|row| plain(row.get("tokenid")?));
    let new = format!("{user}!{}", next_name(name, &taken.collect::<Vec<_>>()));
    let privsep = old.get("privsep").and_then(plain).is_none_or(|privsep| privsep != "0");
    let comment = old.get("comment").and_then(plain).unwrap_or_default();
    let made = actor.make(&new, expires, privsep, &comment).await?;
    let works = async {
        if privsep {
            let error = "what was granted to the old token cannot be granted to the new one";
            actor.grant_as(id, &new).await.map_err(|cause| cause.context(error))?;
        }
        fresh(made.auth())?.call(Method::Get, "/version", Params::new()).await.map(drop)
    };
    match works.await {
        Ok(()) => Ok(made),
        Err(error) => Err(actor.without(&made, error).await),
    }
}

/// Renews the token of a context: a new one is made, tried and kept before the old one goes. Nothing where that holds
/// beyond `within`.
pub(super) async fn renew(
    cx: &Cx,
    matches: &ArgMatches,
    (name, id): (&str, &str),
    server: &Proxmox,
    resolved: &Resolved,
    within: Option<Timestamp>,
) -> Result<Option<Value>> {
    let paths = cx.paths()?;
    let before = File::open(&paths)?.context(name)?.clone();
    if let Some(within) = within {
        let until = before.token_expires.ok_or_else(|| {
            Error::usage(format!("when the token of context `{name}` is over is not known here"))
                .with_hint(Hint::Text("without --if-within it is renewed, and then it is".into()))
        })?;
        if until > within {
            cx.ui.say(format_args!("the token of context `{name}` is good until {until}; nothing to do"));
            return Ok(None);
        }
    }
    let expires = moment_after(text(matches, "expire").unwrap_or_default(), Timestamp::now())?;
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would make a token in place of {id}, good until {expires}, and delete that one"));
        cx.ui.say("nothing was sent (--dry-run)");
        return Ok(None);
    }
    let builder = builder(cx, resolved, server)?;
    let fresh = |auth: Auth| builder.clone().auth(auth).build();
    let mut actor = Actor::new(cx, fresh(own(server)?)?, name)?;
    let mut made = replaced(&actor, id, expires, fresh).await;
    if matches!(&made, Err(error) if error.class() == Class::Forbidden) {
        actor = Actor::new(cx, fresh(as_user(cx, matches, parts(id).0)?)?, name)?;
        made = replaced(&actor, id, expires, fresh).await;
    }
    let made = made?;
    let kept = || {
        let mut credentials = Credentials::load(&paths.credentials)?;
        // With its name: it counts from now on, whatever the configuration says.
        credentials.insert(name, Stored::TokenSecret(made.line()))?;
        credentials.save()
    };
    if let Err(error) = kept() {
        return Err(actor.without(&made, error).await);
    }
    // Of a renewal that was killed, the one before may be there too: before the configuration forgets its name, and before
    // the token goes that deletes them.
    let old = [before.token_id.clone().filter(|named| named != id), Some(id.to_owned())];
    for old in old.into_iter().flatten() {
        match actor.delete(&old).await {
            Err(error) if error.class() != Class::NotFound => {
                cx.ui.warn(format_args!("the token {old} is there still ({error}): `pvectl token delete '{old}'`"));
            }
            _ => {}
        }
    }
    let context = Context { token_id: Some(made.id.clone()), token_expires: Some(expires), ..before };
    let told = File::open(&paths).and_then(|mut file| {
        file.add_context(context, true)?;
        file.save()
    });
    if let Err(error) = told {
        cx.ui.warn(format_args!("the new token is in use, and the configuration names the old one: {error}"));
    }
    cx.ui.say(format_args!("context `{name}` has the API token {} now, good until {}", made.id, made.expires));
    Ok(Some(json!({"context": name, "changed": true, "token": made.id, "expires": made.expires})))
}

/// The token itself.
fn own(server: &Proxmox) -> Result<Auth> {
    match server.login()? {
        Some(Login::Token { id, secret }) => Ok(Auth::Token { id, secret }),
        _ => Err(Error::new(Class::Bug, "a token that is stored is none")),
    }
}

/// Deletes the token of a context. Gives what to say of it.
pub(super) async fn revoke(
    cx: &Cx,
    matches: &ArgMatches,
    id: &str,
    server: &Proxmox,
    resolved: &Resolved,
) -> Result<String> {
    let builder = builder(cx, resolved, server)?;
    let fresh = |auth: Auth| builder.clone().auth(auth).build();
    let place = server.context.as_ref().map_or(id, |name| name.value.as_str());
    let mut done = Actor::new(cx, fresh(own(server)?)?, place)?.delete(id).await;
    if matches!(&done, Err(error) if matches!(error.class(), Class::Forbidden | Class::Unauthenticated)) {
        let auth = as_user(cx, matches, parts(id).0)?;
        done = Actor::new(cx, fresh(auth)?, place)?.delete(id).await;
    }
    match done {
        Ok(()) => Ok(format!("the API token {id} is deleted")),
        // An earlier attempt has come so far.
        Err(error) if error.class() == Class::NotFound => Ok(format!("there was no API token {id} any more")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_token_has_the_next_name_that_is_free() {
        assert_eq!(next_name("laptop", &[]), "laptop-2");
        assert_eq!(next_name("laptop-2", &["laptop-2".into(), "laptop-3".into()]), "laptop-4");
        assert_eq!(next_name("pvectl-minipc", &[]), "pvectl-minipc-2");
    }
}
