//! The flags of things: one for each parameter of the method, from the contract, with what help says about it.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{View, help::help};
use crate::{
    cli::{
        base::{typed, value_of_secret},
        cx::{Cx, text, texts},
    },
    config::OPTIONS,
    contract::{Kind, Schema, embedded},
    model::{Error, Hint, Method, Params, Result, is_secret_at},
    ops::{Naming, ResourceRequest},
};

const SET: &str = "set";
const FORCE_PARAM: &str = "force-param";

/// Before the parameters stands whose thing it is.
const FIRST: usize = 10;

/// After the parameters themselves.
pub(super) const LAST: usize = 900;

/// What a method takes that is neither the thing's name nor done by us; whoever it is of, all that one of the owners has.
fn parameters(view: &View, method: Method) -> impl Iterator<Item = (&'static str, &'static Schema)> {
    let of = view.resource;
    let mut all: Vec<(&str, &Schema)> = Vec::new();
    for (_, paths) in of.reached() {
        let path = if method == Method::Post { paths.made } else { paths.one };
        let endpoint = embedded().endpoint(method, path);
        for (name, schema) in endpoint.into_iter().flat_map(|endpoint| &endpoint.parameters.properties) {
            let is_fixed = of.fixed.iter().any(|(key, _)| key == name) && method == Method::Post;
            let is_name = of.keys.contains(&name.as_str()) || path.contains(&format!("{{{name}}}"));
            // `delete` is how something is unset, except where it takes members away, which has verbs of its own. Who
            // names one by its position may say which list that is in.
            let is_how = name == "delete" || name == "digest" && of.naming != Naming::Position;
            // Of what is numbered there are many: `--set acmedomain0=…`.
            let is_numbered = name.ends_with("[n]");
            let is_ours = of.ours.contains(&name.as_str()) || method == Method::Put && is_how || is_numbered;
            if !(is_fixed || is_name || is_ours || all.iter().any(|(have, _)| have == name)) {
                all.push((name, schema));
            }
        }
    }
    all.into_iter()
}

/// Whether a parameter has the name of an option that every command has.
fn is_taken(name: &str) -> bool {
    ["help", "version", SET, FORCE_PARAM, "unset"].contains(&name) || OPTIONS.iter().any(|option| option.name == name)
}

/// What every verb that sends parameters has.
pub(super) fn common_args(command: Command) -> Command {
    let pair = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("KEY=VALUE").action(ArgAction::Append).display_order(LAST).help(help)
    };
    command
        .arg(pair(SET, "Any parameter; a secret as KEY=@FILE or KEY=- (stdin). Repeatable"))
        .arg(pair(FORCE_PARAM, "Send it unchecked: for parameters of a newer server. Repeatable"))
}

/// Adds the flags of a method.
pub(crate) fn flags_of(command: Command, view: &View, method: Method) -> Command {
    let of = view.resource;
    let path = if method == Method::Post { of.made } else { of.one };
    let mut hidden = Vec::new();
    let mut args = Vec::new();
    for (name, schema) in parameters(view, method) {
        if is_taken(name) {
            hidden.push(name);
            continue;
        }
        let secret = is_secret_at(path, name);
        let (text, is_common) = help(of.noun, name, schema);
        let arg = Arg::new(name).long(name).help(text).hide_short_help(!is_common && schema.optional);
        let arg = typed(arg, ("", secret), schema);
        // A number on the wire, and a switch to people.
        let is_switch = name == "enable" && schema.kind == Kind::Integer;
        let arg = if is_switch { arg.num_args(0..=1).default_missing_value("1").value_name("BOOL") } else { arg };
        args.push(if schema.kind == Kind::Array { arg.action(ArgAction::Append) } else { arg });
    }
    // What must be given stands first, then what people give.
    args.sort_by_key(|arg| {
        let required = parameters(view, method).any(|(name, schema)| arg.get_id() == name && !schema.optional);
        (!required, arg.is_hide_short_help_set())
    });
    let args = args.into_iter().enumerate().map(|(order, arg)| arg.display_order(order + FIRST));
    let command = command.args(args.collect::<Vec<_>>());
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut after = format!("{examples}\n\nWhat a parameter takes: pvectl explain {path} {}", word(method));
    for name in hidden {
        after += &format!("\n`{name}` has the name of an option of every command: --set {name}=…");
    }
    command.after_help(after.trim_start().to_owned())
}

fn word(method: Method) -> String {
    method.as_str().to_lowercase()
}

/// What was typed. Secrets are fetched from where they are.
pub(crate) fn typed_params(cx: &Cx, matches: &ArgMatches, view: &View, method: Method) -> Result<ResourceRequest> {
    let path = view.resource.one;
    let mut set = Params::new();
    let value = |key: &str, value: String| {
        if is_secret_at(path, key) { value_of_secret(cx, key, &value) } else { Ok(value) }
    };
    for (name, schema) in parameters(view, method).filter(|(name, _)| !is_taken(name)) {
        if schema.kind == Kind::Array {
            set.extend(texts(matches, name).into_iter().map(|value| (name, value)));
        } else if let Some(given) = text(matches, name) {
            set.set(name, value(name, given.to_owned())?);
        }
    }
    let pairs = |flag: &str| -> Result<Vec<(String, String)>> {
        let split = |pair: String| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            // What has no key may be a secret, so it is not repeated.
            _ => Err(Error::usage(format!("`--{flag}` takes KEY=VALUE"))),
        };
        texts(matches, flag).into_iter().map(split).collect()
    };
    for (key, given) in pairs(SET)? {
        if set.get(&key).is_some() {
            return Err(Error::usage(format!("`{key}` is given twice"))
                .with_hint(Hint::Text(format!("give --set {key}=VALUE once, and no flag for it"))));
        }
        set.push(key.clone(), value(&key, given)?);
    }
    let mut forced = Params::new();
    for (key, given) in pairs(FORCE_PARAM)? {
        forced.set(&key, value(&key, given)?);
    }
    Ok(ResourceRequest { set, unset: Vec::new(), forced })
}
