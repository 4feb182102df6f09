//! From flags, environment and files to a connection: the rules of who wins, in one place.
//!
//! Pure: reads no file and asks nobody. The rules:
//! - A value comes from a flag, else the environment, else the context, else the default.
//! - Whom to talk to is taken from one layer as a whole: a context named by a flag is never sent to a server that some
//!   variable names, and a server that is named alone never gets a context's secret. What a context trusts its
//!   certificate by is no secret and holds for the same address, however it is named.
//! - The sandbox is the default only where nothing at all is configured. Everything half configured is an error.

mod files;

use std::{collections::BTreeMap, path::PathBuf};

use self::files::beside;
use super::{
    Connection, Context, Credentials, Endpoint, Env, File, GlobalOption, Identity, OPTIONS, Origin, Proxmox, RESERVED,
    ReadOnly, RuleFiles, SecretSource, Sourced, Stored, file::unknown,
};
use crate::model::{Error, Hint, Result};

/// What the command line says for the options of [`OPTIONS`], by their names there.
#[derive(Debug, Clone, Default)]
pub struct Flags(BTreeMap<&'static str, String>);

impl Flags {
    /// Sets one.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }

    /// The same with this one set.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// What was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A global option and its value.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The option.
    pub option: &'static GlobalOption,
    /// Its value; `None` for one that nobody set and that has no default.
    pub value: Option<Sourced<String>>,
}

/// Everything that is set.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Whom to talk to.
    pub connection: Connection,
    /// Whether every change is refused.
    pub read_only: ReadOnly,
    /// The files of rules for changes.
    pub rules: RuleFiles,
    /// The global options, in the table's order.
    pub settings: Vec<Setting>,
    /// What the user should know, one sentence each, for stderr.
    pub warnings: Vec<String>,
}

/// A line of `config view --origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is set.
    pub key: &'static str,
    /// To what; never a secret.
    pub value: String,
    /// By whom.
    pub origin: Origin,
}

impl Resolved {
    /// The value of a global option.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.option.name == name)?;
        setting.value.as_ref().map(|value| value.value.as_str())
    }

    /// What is set, to what, by whom: the connection first, then the options that have a value.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut row = |key, value: String, origin: &Origin| rows.push(Row { key, value, origin: origin.clone() });
        if let Connection::Proxmox(proxmox) = &self.connection {
            let urls: Vec<&str> = proxmox.endpoints.value.iter().map(Endpoint::url).collect();
            row("endpoints", urls.join(","), &proxmox.endpoints.origin);
            if let Some(origin) = &proxmox.fingerprints {
                let pins: Vec<&str> =
                    proxmox.endpoints.value.iter().map(|endpoint| endpoint.fingerprint().unwrap_or("-")).collect();
                row("fingerprints", pins.join(","), origin);
            }
            if let Some(ca_file) = &proxmox.ca_file {
                row("ca-file", ca_file.value.display().to_string(), &ca_file.origin);
            }
            for (key, file) in
                [("client-certificate", &proxmox.client_certificate), ("client-key", &proxmox.client_key)]
            {
                file.iter().for_each(|file| row(key, file.value.display().to_string(), &file.origin));
            }
            // A token from the environment may have another name; what cannot be known is not claimed.
            if let Some(identity) = proxmox.identity.as_ref().filter(|known| known.origin == proxmox.secret.origin) {
                row("identity", identity.value.to_string(), &identity.origin);
            }
            row("secret", proxmox.secret.value.to_string(), &proxmox.secret.origin);
            if let Some(node) = &proxmox.node {
                row("node", node.value.clone(), &node.origin);
            }
        }
        let Sourced { value, origin } = self.read_only.sourced();
        if *value || matches!(self.connection, Connection::Proxmox(_)) {
            row("read-only", value.to_string(), origin);
        }
        for Sourced { value, origin } in self.rules.sourced() {
            row("rules-file", value.display().to_string(), origin);
        }
        for Setting { option, value } in &self.settings {
            // The endpoints above say it with the port.
            if let Some(value) = value.as_ref().filter(|_| option.name != "host") {
                row(option.name, value.value.clone(), &value.origin);
            }
        }
        rows
    }
}

/// Puts everything together.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound) for a context that a flag or variable names and that does not
/// exist, with close names; [`Class::Usage`](crate::model::Class::Usage) for what is half configured, with the way out.
pub fn resolve(flags: &Flags, env: &Env, file: Option<&File>, credentials: &Credentials) -> Result<Resolved> {
    let mut warnings = env.warnings();
    let choice = choose(flags, env, file, &mut warnings)?;
    let mut context = None;
    let connection = match &choice.context {
        Some(name) if RESERVED.contains(&name.value.as_str()) => {
            if let Some(servers) = &choice.servers {
                return Err(Error::usage(format!(
                    "context `{}` is built in and has no server, but {} names one",
                    name.value, servers.origin
                )));
            }
            if name.value == "local" { Connection::Local } else { Connection::Sandbox { implicit: choice.implicit } }
        }
        name => {
            context = name.as_ref().map(|name| find(name, file)).transpose()?;
            let input = Input { env, file, credentials, context };
            let proxmox = input.proxmox(choice.clone())?;
            warnings.extend(input.other_way(&proxmox));
            Connection::Proxmox(Box::new(proxmox))
        }
    };
    if let Connection::Proxmox(_) = connection {
        warnings.extend(credentials.warnings());
    }
    let settings =
        OPTIONS.iter().map(|option| Setting { option, value: setting(option, flags, env, context, &choice) });
    let read_only = ReadOnly::with(env, context);
    let rules = RuleFiles::with(env, context, |written| beside(written, env, file));
    Ok(Resolved { connection, read_only, rules, settings: settings.collect(), warnings })
}

fn setting(
    option: &GlobalOption,
    flags: &Flags,
    env: &Env,
    context: Option<&Context>,
    choice: &Choice,
) -> Option<Sourced<String>> {
    // Which layer these two come from is decided for both at once.
    match option.name {
        "context" => return choice.context.clone(),
        "host" => return choice.servers.clone(),
        _ => {}
    }
    let flag = || Some(Sourced::new(flags.get(option.name)?.to_owned(), Origin::Flag(format!("--{}", option.name))));
    let variable = || option.env.and_then(|name| Some(Sourced::new(env.get(name)?.to_owned(), Origin::Env(name))));
    let key = || Some(Sourced::new(context?.option(option.key?)?.to_owned(), Origin::Context(context?.name.clone())));
    let default = || Some(Sourced::new(option.default?.to_owned(), Origin::Default));
    flag().or_else(variable).or_else(key).or_else(default)
}

/// Whom the first layer that says anything names: a context, servers, or both (then the servers replace the context's).
#[derive(Clone)]
struct Choice {
    context: Option<Sourced<String>>,
    servers: Option<Sourced<String>>,
    implicit: bool,
}

fn choose(flags: &Flags, env: &Env, file: Option<&File>, warnings: &mut Vec<String>) -> Result<Choice> {
    let flag =
        |name: &str| flags.get(name).map(|value| Sourced::new(value.to_owned(), Origin::Flag(format!("--{name}"))));
    let variable = |name: &'static str| -> Result<_> {
        Ok(env.text(name)?.map(|value| Sourced::new(value.to_owned(), Origin::Env(name))))
    };
    let choice = Choice { context: flag("context"), servers: flag("host"), implicit: false };
    if choice.context.is_some() || choice.servers.is_some() {
        let by = if choice.context.is_some() { "--context" } else { "--host" };
        for (other, said) in [("PVECTL_CONTEXT", &choice.context), ("PVECTL_ENDPOINT", &choice.servers)] {
            if said.is_none() && env.is_set(other) {
                warnings.push(format!("`{other}` is ignored, as {by} says whom to talk to"));
            }
        }
        return Ok(choice);
    }
    let choice =
        Choice { context: variable("PVECTL_CONTEXT")?, servers: variable("PVECTL_ENDPOINT")?, implicit: false };
    if choice.context.is_some() || choice.servers.is_some() {
        return Ok(choice);
    }
    if let Some(file) = file {
        let context = Some(Sourced::new(current(file)?.to_owned(), Origin::File));
        return Ok(Choice { context, servers: None, implicit: false });
    }
    if let Some(name) = env.connection().next() {
        let hint = "set PVECTL_ENDPOINT too, or add a context with `pvectl config add-context`".to_owned();
        return Err(Error::usage(format!("{name} is set, but nothing says which server to talk to"))
            .with_hint(Hint::Text(hint)));
    }
    let context = Some(Sourced::new("sandbox".to_owned(), Origin::Default));
    Ok(Choice { context, servers: None, implicit: true })
}

/// The current context of a file, which has to have one.
fn current(file: &File) -> Result<&str> {
    let path = file.path().display();
    match file.current() {
        Some(name) if RESERVED.contains(&name) || file.context(name).is_ok() => Ok(name),
        Some(name) => Err(Error::usage(format!("the current context `{name}` does not exist in `{path}`"))
            .with_hint(Hint::Text("choose one with `pvectl config use-context NAME`".to_owned()))),
        None if file.contexts().is_empty() => Err(Error::usage(format!("`{path}` has no context"))
            .with_hint(Hint::Text("add one with `pvectl config add-context`, or try `--context sandbox`".to_owned()))),
        None => {
            let names: Vec<&str> = file.contexts().iter().map(|context| context.name.as_str()).collect();
            let hint = format!(
                "choose one with `pvectl config use-context NAME` or --context; there are {}",
                names.join(", ")
            );
            Err(Error::usage(format!("no context is current in `{path}`")).with_hint(Hint::Text(hint)))
        }
    }
}

fn find<'a>(name: &Sourced<String>, file: Option<&'a File>) -> Result<&'a Context> {
    match file {
        Some(file) => file.context(&name.value),
        None => Err(unknown(&name.value, std::iter::empty())
            .with_hint(Hint::Text("there is no configuration file; `pvectl config add-context` makes it".to_owned()))),
    }
    .map_err(|error| match &name.origin {
        Origin::Env(variable) => error.context(variable),
        _ => error,
    })
}

/// What the parts of a connection are made from.
struct Input<'a> {
    env: &'a Env,
    file: Option<&'a File>,
    credentials: &'a Credentials,
    context: Option<&'a Context>,
}

impl Input<'_> {
    fn proxmox(&self, choice: Choice) -> Result<Proxmox> {
        let (endpoints, fingerprints) = self.endpoints(choice.servers.as_ref())?;
        let identity = self.identity();
        let [client_certificate, client_key] = self.client_certificate()?;
        let secret = self.secret(choice.servers.as_ref(), client_certificate.as_ref())?;
        Ok(Proxmox {
            context: choice.context,
            ca_file: self.ca_file(&endpoints.value),
            endpoints,
            fingerprints,
            client_certificate,
            client_key,
            identity,
            secret,
            node: self.context.and_then(|context| Some(Sourced::new(context.node.clone()?, from(context)))),
        })
    }

    fn identity(&self) -> Option<Sourced<Identity>> {
        let context = self.context?;
        // The environment gives tokens only, so a user is nobody then.
        let token_given = TOKEN_VARIABLES.iter().any(|name| self.env.is_set(name));
        let user = context.user.clone().map(Identity::User).filter(|_| !token_given);
        Some(Sourced::new(context.token_id.clone().map(Identity::Token).or(user)?, from(context)))
    }

    fn secret(
        &self,
        servers: Option<&Sourced<String>>,
        certificate: Option<&Sourced<PathBuf>>,
    ) -> Result<Sourced<SecretSource>> {
        let [file, variable] = TOKEN_VARIABLES;
        match (self.env.path(file), self.env.text(variable)?) {
            (Some(_), Some(_)) => return Err(Error::usage(format!("{file} and {variable} are both set; keep one"))),
            (Some(path), None) => return Ok(Sourced::new(SecretSource::File(path), Origin::Env(file))),
            (None, Some(token)) => {
                return Ok(Sourced::new(SecretSource::Variable(token.into()), Origin::Env(variable)));
            }
            (None, None) => {}
        }
        let certified = certificate.map(|file| Sourced::new(SecretSource::Certificate, file.origin.clone()));
        let Some(context) = self.context else {
            if let Some(certified) = certified {
                return Ok(certified);
            }
            // With --host a person is there who can be asked.
            return match servers.map(|servers| &servers.origin) {
                Some(origin @ Origin::Flag(_)) => Ok(Sourced::new(SecretSource::Ask, origin.clone())),
                _ => Err(Error::usage("PVECTL_ENDPOINT is set, but no credentials are")
                    .with_hint(Hint::Text(format!("set {file} to the path of a file with an API token")))),
            };
        };
        let name = &context.name;
        let stored = self.credentials.get(name);
        let source = match (&context.credential_command, stored, &context.user, &context.token_id, certified) {
            (Some(command), ..) => SecretSource::Command(command.clone()),
            (None, Some(stored @ Stored::Password(_)), Some(_), _, _) => SecretSource::Stored(stored.clone()),
            (None, Some(stored @ Stored::TokenSecret(_)), None, _, _) => SecretSource::Stored(stored.clone()),
            // What was given goes before it: the certificate may be wanted by a proxy on the way.
            (None, _, _, None, Some(certified)) => return Ok(certified),
            (None, _, Some(_), _, _) => SecretSource::Ask,
            (None, _, None, token, _) => {
                let what = token.as_ref().map_or("credentials".to_owned(), |id| format!("secret of the token `{id}`"));
                let hint = format!(
                    "store it with `pvectl config add-context {name} --overwrite`, set {file}, or give the context a \
                     `credential-command`"
                );
                return Err(Error::usage(format!("context `{name}` has no {what}")).with_hint(Hint::Text(hint)));
            }
        };
        Ok(Sourced::new(source, from(context)))
    }
}

const TOKEN_VARIABLES: [&str; 2] = ["PVECTL_TOKEN_FILE", "PVECTL_TOKEN"];

fn from(context: &Context) -> Origin {
    Origin::Context(context.name.clone())
}

mod servers;
#[cfg(test)]
mod tests;
