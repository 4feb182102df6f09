//! `token`: API tokens of users. Their secret is told once, when they are made or get a new one.

use clap::{Arg, ArgMatches, Command};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        cx::{Cx, flag, text},
        print::{
            self,
            fields::{Field, How},
        },
        resource::{
            Create, Delete, Describe, Get, List, Update, View, carry_out, late, params_of, report_outcomes, run,
            unset_of,
        },
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, Verb, switch, value},
    },
    client::{Permissions, Propagates},
    config::{Connection, Context, Credentials, File, Stored},
    model::{Error, Hint, Method, Params, Result},
    ops::{ResourceOutcome, plain, resource},
};

pub(super) const KIND: Kind = Kind {
    noun: "token",
    plural: "tokens",
    aliases: &[],
    about: "API tokens of users, for programs",
    guest: None,
    paths: &["/access/users/{userid}/token", "/access/users/{userid}/token/{tokenid}"],
    of: Of::Cluster,
    columns: || VIEW.headings(),
    verbs: || {
        let verbs: Vec<Box<dyn Verb>> = vec![
            Box::new(List(&VIEW)),
            Box::new(Get(&VIEW)),
            Box::new(Describe(&VIEW)),
            Box::new(CREATE),
            Box::new(UPDATE),
            Box::new(Delete(&VIEW)),
        ];
        verbs
    },
};

static VIEW: View = View {
    resource: resource("token"),
    columns: &[
        Field::text("USER", "userid"),
        Field::text("TOKEN", "tokenid"),
        Field::new("EXPIRES", "expire", How::End),
        Field::new("SEPARATED", "privsep", How::FlagOn),
        Field::text("COMMENT", "comment"),
    ],
    example: "ann@pve!laptop",
    making: "--expire 90d",
    changing: "--regenerate",
    is_named_by_server: false,
    late: late!(VIEW),
};

const CREATE: Entry = Entry {
    name: "create",
    about: "Create an API token; its secret is printed, once",
    examples: &[
        "pvectl token create ann@pve laptop --expire 90d",
        "pvectl token create ann@pve laptop --privsep no --into-context lab",
    ],
    args: |command| {
        Create(&VIEW).args(into_args(command.arg(token_arg())), &KIND).mut_arg("resource-name", |arg| {
            arg.value_name("USER").help("Whose it is: USER@REALM; or the whole name, USER@REALM!TOKEN")
        })
    },
    run: |cx, matches| Box::pin(create(cx, matches)),
};

const UPDATE: Entry = Entry {
    name: "update",
    about: "Change an API token; with --regenerate it gets a new secret, which is printed, once",
    examples: &["pvectl token update ann@pve!laptop --expire never", "pvectl token update ann@pve!laptop --regenerate"],
    args: |command| Update(&VIEW).args(into_args(command), &KIND),
    run: |cx, matches| Box::pin(update(cx, matches)),
};

fn token_arg() -> Arg {
    Arg::new("token-name").value_name("TOKEN").index(2).help("What it is called")
}

fn into_args(command: Command) -> Command {
    command
        .arg(
            value("into-context", "NAME", "Put it into a context of this server, instead of printing the secret")
                .display_order(901),
        )
        .arg(switch("overwrite", "Replace a context of that name").requires("into-context").display_order(902))
}

async fn create(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let user = text(matches, "resource-name").unwrap_or_default();
    let name = match text(matches, "token-name") {
        Some(token) => format!("{user}!{token}"),
        None => user.to_owned(),
    };
    if !name.contains('!') {
        return Err(Error::usage("a token needs a name of its own")
            .with_hint(Hint::Text(format!("pvectl token create {user} NAME"))));
    }
    let request = params_of(cx, matches, &VIEW, Method::Post)?;
    let place = Place::new(cx, matches, &name)?;
    let session = cx.session(Access::Write).await?;
    let plan = session.ops.plan_create_resource(VIEW.resource, Some(&name), &request).await?;
    if cx.switches.dry_run {
        return carry_out(cx, &session, vec![plan]).await;
    }
    let outcomes = run(cx, &session, vec![plan]).await;
    told(cx, &session, place, outcomes).await
}

async fn update(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let name = text(matches, "resource-name").unwrap_or_default();
    let mut request = params_of(cx, matches, &VIEW, Method::Put)?;
    request.unset = unset_of(matches);
    let regenerates = request.set.get("regenerate").is_some_and(|value| !["0", "no", "false"].contains(&value));
    let place = Place::new(cx, matches, name)?;
    if place.is_some() && !regenerates {
        return Err(Error::usage("the secret of a token cannot be had again")
            .with_hint(Hint::Text("--regenerate gives it a new one".into())));
    }
    let session = cx.session(Access::Write).await?;
    let plan = session.ops.plan_update_resource(VIEW.resource, name, &request).await?;
    if cx.switches.dry_run || !regenerates {
        return carry_out(cx, &session, vec![plan]).await;
    }
    let outcomes = run(cx, &session, vec![plan]).await;
    told(cx, &session, place, outcomes).await
}

/// Where a secret goes that is to be in a context: all that could be refused is before the token is made.
struct Place {
    file: File,
    credentials: Credentials,
    context: Context,
    overwrite: bool,
}

impl Place {
    fn new(cx: &Cx, matches: &ArgMatches, id: &str) -> Result<Option<Self>> {
        let Some(name) = text(matches, "into-context") else { return Ok(None) };
        let paths = cx.paths()?;
        let resolved = cx.resolve()?;
        let Connection::Proxmox(server) = &resolved.connection else {
            return Err(Error::usage("--into-context is about a server, and this is none")
                .with_hint(Hint::Text("choose one with --context or --host".into())));
        };
        let mut file = File::open(&paths)?;
        // What is said of the server goes along; who logs in there, and how, does not.
        let known = server.context.as_ref().and_then(|name| file.context(&name.value).ok().cloned());
        let context = Context {
            name: name.to_owned(),
            token_id: Some(id.to_owned()),
            user: None,
            credential_command: None,
            endpoints: server.endpoints.value.clone(),
            ..known.unwrap_or_default()
        };
        let overwrite = flag(matches, "overwrite");
        file.add_context(context.clone(), overwrite)?;
        let mut credentials = Credentials::load(&paths.credentials)?;
        credentials.insert(name, Stored::TokenSecret(SecretString::from(String::new())))?;
        Ok(Some(Self { file: File::open(&paths)?, credentials, context, overwrite }))
    }

    fn keep(mut self, cx: &Cx, secret: &str) -> Result<()> {
        let name = self.context.name.clone();
        self.credentials.insert(&name, Stored::TokenSecret(secret.into()))?;
        let current = self.file.add_context(self.context, self.overwrite)?;
        // Credentials first: a context without its secret would be half a context.
        self.credentials.save()?;
        self.file.save()?;
        let more = if current { ", and is current" } else { "" };
        cx.ui.say(format_args!("context `{name}` is in {}{more}", self.file.path().display()));
        Ok(())
    }
}

/// Prints the secret or puts it where it is to be, and says what the token may.
async fn told(cx: &Cx, session: &Session, place: Option<Place>, outcomes: Vec<ResourceOutcome>) -> Result<Exit> {
    let secret =
        outcomes.iter().find_map(|outcome| Some((outcome.name.clone(), plain(outcome.data.as_ref()?.get("value")?)?)));
    let Some((id, secret)) = secret else { return report_outcomes(cx, session, outcomes) };
    let kept = match place {
        Some(place) => place.keep(cx, &secret).map(|()| true),
        None => Ok(false),
    };
    if matches!(kept, Ok(true)) {
        explain(cx, session, &id).await;
        return report_outcomes(cx, session, outcomes);
    }
    // Nobody can have it again, so it is printed even when it was to be somewhere else.
    let mut data: Map<String, Value> = match outcomes.first().map(print::to_value).transpose()? {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    data.insert("full-tokenid".into(), json!(id));
    data.insert("value".into(), json!(secret));
    print::data_or(&cx.ui, &session.style, &Value::Object(data), &[format!("token/{id}")], |out| {
        writeln!(out, "{id}={secret}")
    })?;
    cx.ui.say("this is the only time that the secret is shown; the line is what --token-file reads");
    explain(cx, session, &id).await;
    kept.map(|_| 0)
}

/// What a token lacks of what its user may: where privileges are separated it has only what was granted to itself.
async fn explain(cx: &Cx, session: &Session, id: &str) {
    let Ok(Some(gap)) = gap(session, id).await else { return };
    cx.ui.say(format_args!("{gap}"));
}

/// The difference in words; nothing where there is none.
async fn gap(session: &Session, id: &str) -> Result<Option<String>> {
    let user = id.split('!').next().unwrap_or_default();
    let of = async |who: &str| -> Result<Permissions> {
        let answer = session.ops.read_at("/access/permissions", Params::new().with("userid", who)).await?;
        serde_json::from_value(answer)
            .map_err(|error| Error::usage("the server lists privileges in an unknown way").with_source(error))
    };
    let (theirs, its) = futures_util::future::try_join(of(user), of(id)).await?;
    let missing = |path: &str, privileges: &std::collections::BTreeMap<String, Propagates>| {
        privileges.keys().filter(|privilege| !its.has(path, privilege)).count()
    };
    let lacks: usize = theirs.0.iter().map(|(path, privileges)| missing(path, privileges)).sum();
    if lacks == 0 {
        return Ok(None);
    }
    let has =
        if its.0.is_empty() { "has none".to_owned() } else { format!("lacks {lacks} of those that its user has") };
    Ok(Some(format!(
        "its privileges are separate from {user}'s, and it {has}: grant it a role with \
         `pvectl acl add / --token '{id}' --role ROLE`, or give it all with `pvectl token update '{id}' --privsep no`"
    )))
}
