//! `explain`: what a configuration key or a method of the API takes, with prose from the server where it can be asked.
//!
//! What is declared is found by `contract`; how it looks is in `layout`.

mod layout;

use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

use self::layout::{difference, heading, write_difference};
use crate::{
    cli::{
        cx::{Cx, flag, text},
        description::{self, Described},
        kinds::KINDS,
        print::{self, Style},
        verb::{Entry, Exit, Kind, switch},
    },
    contract::{
        Arguments, Contract, Endpoint, Explained, ExplainedKey, ExplainedMethod, ParameterDifference, embedded,
    },
    model::{Error, GuestKind, Hint, Method, Result, closest},
    ops::{RESOURCES, Resource},
};

pub(super) const ENTRY: Entry = Entry {
    name: "explain",
    about: "Explain a configuration key or a method of the API: type, limits, values, privileges",
    examples: &[
        "pvectl explain vm",
        "pvectl explain vm.net0",
        "pvectl explain container.rootfs.size",
        "pvectl explain storage create",
        "pvectl explain manifest.vm.spec.disks",
        "pvectl explain /nodes/{node}/qemu post",
        "pvectl explain --differences",
    ],
    args: |command| {
        command
            .arg(Arg::new("what").value_name("KIND.KEY|PATH").required_unless_present("differences").help(
                "vm.net0, container.rootfs, a part of it (vm.net0.bridge), storage, pool.comment, a path of the API, or a place of a manifest (manifest.vm.spec)",
            ))
            .arg(
                Arg::new("method")
                    .value_name("METHOD")
                    .help("Of a path: get, post, put or delete; all if none is given"),
            )
            .arg(switch("embedded", "Do not ask the server: only what is built in, of Proxmox VE 9.2"))
            .arg(
                switch("refresh", "Read the server's own description again, even if it is at hand")
                    .conflicts_with("embedded"),
            )
            .arg(
                switch("differences", "List what the server's API has, lacks or wants otherwise than 9.2")
                    .conflicts_with_all(["what", "method", "embedded"]),
            )
    },
    run: |cx, matches| Box::pin(run(cx, matches)),
};

/// Words for the methods; `create` and `set` are what `pvesh` calls them.
const METHODS: &[(&str, Method)] = &[
    ("get", Method::Get),
    ("post", Method::Post),
    ("create", Method::Post),
    ("put", Method::Put),
    ("set", Method::Put),
    ("update", Method::Put),
    ("delete", Method::Delete),
];

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    if flag(matches, "differences") {
        let server = description::of_context(cx, flag(matches, "refresh")).await?;
        return differences(cx, &style, server.as_ref());
    }
    let what = text(matches, "what").unwrap_or_default();
    if let Some(path) = what.strip_prefix("manifest").filter(|rest| rest.is_empty() || rest.starts_with('.')) {
        return super::manifest::explain(cx, &style, path.trim_start_matches('.'));
    }
    let subject = match text(matches, "method") {
        // As people call it: `post /pools`.
        Some(path) if path.starts_with('/') => Subject::parse(path, Some(what))?,
        method => Subject::parse(what, method)?,
    };
    if cx.flags.get("context").is_some() {
        // A context that is named is meant; only its server may be out of reach.
        cx.resolve()?;
    }
    let server = if flag(matches, "embedded") { None } else { server(cx, flag(matches, "refresh")).await };
    let contract = server.as_ref().map_or(embedded(), |server| &server.contract);
    // What the server no longer has is still explained.
    let found = subject.explain(contract).or_else(|_| subject.explain(embedded()))?;
    let notes = server.as_ref().map(|server| subject.notes(server)).unwrap_or_default();
    let mut data = found.data();
    if let (Some(server), Value::Object(data)) = (&server, &mut data) {
        data.insert("server".to_owned(), json!({"version": server.version, "differences": notes}));
    }
    let names = found.names();
    print::data_or(&cx.ui, &style, &data, &names, |out| {
        found.write(out, &style, cx.width())?;
        if let Some(server) = server.as_ref().filter(|_| !notes.is_empty()) {
            heading(out, &format!("Otherwise than in 9.2, on this server ({})", server.version))?;
            notes.iter().try_for_each(|note| writeln!(out, "  {}", difference(note)))?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// The server's own description, if it is to be had.
async fn server(cx: &Cx, refresh: bool) -> Option<Described> {
    match description::of_context(cx, refresh).await {
        Ok(server) => server,
        Err(error) => {
            cx.ui.say(format_args!(
                "this is the description of 9.2 that is built in; the server's own was not to be had: {error}"
            ));
            None
        }
    }
}

/// What is to be explained.
enum Subject {
    /// All keys of a kind of guest.
    Guest(GuestKind),
    /// A key, or a part of one.
    Key(GuestKind, String),
    /// The methods of a path, or one of them.
    Path(String, Option<Method>),
    /// What makes and changes a thing of another kind, or one of both; all that it takes, or one parameter.
    Thing(&'static Resource, Option<Method>, Option<String>),
}

/// The same with what was found.
enum Found {
    Guest(GuestKind, Vec<Explained>),
    Key(Box<ExplainedKey>),
    Methods(Vec<ExplainedMethod>),
}

impl Subject {
    fn parse(what: &str, method: Option<&str>) -> Result<Self> {
        let method = method.map(method_of).transpose()?;
        let root = what.split('/').next().unwrap_or_default();
        let is_path = what.contains('/') || embedded().knows_path(root);
        if is_path {
            return Ok(Self::Path(format!("/{}", what.trim_start_matches('/')), method));
        }
        let (word, key) = what.split_once('.').map_or((what, None), |(word, key)| (word, Some(key)));
        let of_word =
            |of: &&Resource| of.noun == word || KINDS.iter().any(|kind| kind.noun == of.noun && kind.is_called(word));
        if let Some(of) = RESOURCES.iter().find(of_word) {
            return Ok(Self::Thing(of, method, key.map(str::to_owned)));
        }
        if method.is_some() {
            return Err(Error::usage(format!("`{what}` is no path, and only paths have methods")));
        }
        match (KINDS.iter().find(|kind| kind.is_called(word)).and_then(|kind| kind.guest), key) {
            (Some(guest), None) => Ok(Self::Guest(guest)),
            (Some(guest), Some(key)) => Ok(Self::Key(guest, key.to_owned())),
            (None, _) => Err(no_subject(what, word)),
        }
    }

    /// The methods that it is about, as a description has them.
    fn endpoints<'c>(&self, contract: &'c Contract) -> Vec<&'c Endpoint> {
        match self {
            Self::Guest(guest) | Self::Key(guest, _) => contract.configuring(*guest).collect(),
            Self::Path(path, wanted) => {
                let methods = Method::ALL.into_iter().filter(|method| wanted.is_none_or(|wanted| wanted == *method));
                methods.filter_map(|method| Some(contract.find(method, path)?.endpoint)).collect()
            }
            Self::Thing(of, wanted, _) => {
                let places =
                    [(Method::Get, of.one), (Method::Post, of.made), (Method::Put, of.one), (Method::Delete, of.one)];
                // To make and to change one is what there is to explain.
                let meant = |method: Method| {
                    wanted.map_or(matches!(method, Method::Post | Method::Put), |wanted| wanted == method)
                };
                let places = places.into_iter().filter(|(method, _)| meant(*method));
                places.filter_map(|(method, path)| contract.endpoint(method, path)).collect()
            }
        }
    }

    /// Looks it up.
    fn explain(&self, contract: &Contract) -> Result<Found> {
        Ok(match self {
            Self::Guest(guest) => {
                let keys = contract.guest_keys(*guest);
                let keys = keys.into_iter().map(|key| Ok(contract.explain_key(*guest, key)?.parameter));
                Found::Guest(*guest, keys.collect::<Result<_>>()?)
            }
            Self::Key(guest, key) => Found::Key(Box::new(contract.explain_key(*guest, key)?)),
            Self::Thing(of, _, key) => {
                let mut methods: Vec<ExplainedMethod> =
                    self.endpoints(contract).iter().map(|endpoint| endpoint.explain()).collect();
                if let Some(key) = key {
                    let known: Vec<String> =
                        methods.iter().flat_map(|m| m.parameters.iter().map(|p| p.name.clone())).collect();
                    methods.retain_mut(|method| {
                        method.parameters.retain(|parameter| parameter.name == *key);
                        !method.parameters.is_empty()
                    });
                    if methods.is_empty() {
                        let error = Error::usage(format!("a {} has no parameter `{key}`", of.noun));
                        return Err(error.did_you_mean(closest(key, known.into_iter())));
                    }
                }
                Found::Methods(methods)
            }
            Self::Path(path, method) => match self.endpoints(contract).as_slice() {
                // Whoever looks for a way to call it knows best what is close.
                [] => {
                    let method = method.unwrap_or(Method::Get);
                    let route = contract.route(method, path, &mut Arguments::default())?;
                    Found::Methods(vec![route.endpoint.explain()])
                }
                found => Found::Methods(found.iter().map(|endpoint| endpoint.explain()).collect()),
            },
        })
    }

    /// What differs on the server, as far as it is about this.
    fn notes(&self, server: &Described) -> Vec<ParameterDifference> {
        let about = |difference: &ParameterDifference| match self {
            Self::Key(_, key) | Self::Thing(.., Some(key)) => is_about(&difference.name, key),
            Self::Guest(_) | Self::Path(..) | Self::Thing(..) => true,
        };
        let mut notes: Vec<ParameterDifference> = Vec::new();
        for here in self.endpoints(embedded()) {
            let there = server.contract.endpoint(here.method, &here.path);
            for difference in there.map(|there| here.differences(there)).unwrap_or_default() {
                if about(&difference) && !notes.contains(&difference) {
                    notes.push(difference);
                }
            }
        }
        notes
    }
}

/// Whether a difference of `net[n].bridge` is about `net0`, or the other way round.
fn is_about(name: &str, key: &str) -> bool {
    let plain = |text: &str| {
        text.split('.')
            .map(|part| part.trim_end_matches("[n]").trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
            .collect::<Vec<_>>()
    };
    let (name, key) = (plain(name), plain(key));
    name.iter().zip(&key).all(|(a, b)| a == b)
}

fn method_of(word: &str) -> Result<Method> {
    let found = METHODS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, method)| *method);
    found.ok_or_else(|| Error::usage(format!("`{word}` is no method: get, post, put or delete is expected")))
}

fn no_subject(what: &str, word: &str) -> Error {
    let with_key: Vec<String> = GuestKind::ALL
        .iter()
        .filter(|guest| embedded().explain_key(**guest, what).is_ok())
        .map(|guest| format!("{}.{what}", guest.noun()))
        .collect();
    let guests: Vec<&str> = KINDS.iter().filter(|kind: &&&Kind| kind.guest.is_some()).map(|kind| kind.noun).collect();
    let error = Error::usage(format!("there is nothing called `{word}` to explain")).with_hint(Hint::Text(format!(
        "a kind of guest is expected ({}), one of its keys, another kind (storage, user, …), or a path of the API (/nodes)",
        guests.join(", ")
    )));
    error.did_you_mean(with_key)
}

impl Found {
    fn data(&self) -> Value {
        match self {
            Self::Guest(guest, keys) => json!({"guest": guest, "keys": keys}),
            Self::Key(key) => json!(key),
            Self::Methods(methods) => match methods.as_slice() {
                [one] => json!(one),
                several => json!({"methods": several}),
            },
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Guest(guest, keys) => keys.iter().map(|key| format!("{}.{}", guest.noun(), key.name)).collect(),
            Self::Key(key) => vec![format!("{}.{}", key.guest.noun(), key.key)],
            Self::Methods(methods) => methods.iter().map(|m| format!("{} {}", m.method, m.path)).collect(),
        }
    }
}

fn differences(cx: &Cx, style: &Style, server: Option<&Described>) -> Result<Exit> {
    let (version, found) = match server {
        Some(server) => (server.version.as_str(), embedded().differences(&server.contract)),
        // The sandbox is made of the embedded one.
        None => ("9.2", Vec::new()),
    };
    let names: Vec<String> = found.iter().map(|found| format!("{} {}", found.method, found.path)).collect();
    print::data_or(&cx.ui, style, &found, &names, |out| {
        found.iter().try_for_each(|found| write_difference(out, found))
    })?;
    if found.is_empty() {
        cx.ui.say(format_args!("the server's API ({version}) is the one that is built in (9.2)"));
    }
    Ok(0)
}
