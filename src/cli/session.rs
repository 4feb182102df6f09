//! From settings to a working backend: the client, the journal, and for the sandbox a server in this very process.

use std::{
    mem,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{complete, cx::Cx, print::Style, rules, ui::Ui};
use crate::{
    backends::Proxmox,
    client::{
        Auth, Client, ClientBuilder, ClientCertificate, Endpoint, SecondFactor, SecretString, StoredTicket,
        TicketStore, Trust,
    },
    config::{Cache, Connection, Login, Resolved, Tickets},
    journal::Journal,
    model::{
        Applied, Call, Class, Error, Event, Hint, Intent, Method, NullRecorder, OperationId, Recorder, Result,
        SystemClock,
    },
    ops::{Ops, Rule, RunOptions, Together},
    sandbox,
};

/// What a command will do with the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only read.
    Read,
    /// Change something: the journal must be open before anything is sent.
    Write,
}

/// A backend at hand.
pub(crate) struct Session {
    pub(crate) ops: Ops,
    pub(crate) style: Style,
    pub(crate) options: RunOptions,
    /// How a change of several guests was asked for.
    pub(crate) together: Together,
    /// The rules of the context, for whoever changes something.
    pub(crate) rules: Vec<Rule>,
    /// The connection below, for what is no verb.
    pub(crate) client: Option<Client>,
    /// The node that new guests go to unless told otherwise.
    pub(crate) default_node: Option<String>,
    /// Where the first endpoint is; `None` for the sandbox, which is gone when the command is.
    pub(crate) url: Option<String>,
    // Serves as long as the session lives.
    _sandbox: Option<sandbox::Session>,
    _seen: Option<Forgetting>,
}

/// Forgets what completion has seen when a session that changes things ends: a new guest should be there at once.
struct Forgetting(Cache);

impl Drop for Forgetting {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl Session {
    pub(super) async fn open(cx: &Cx, access: Access, resolved: Resolved) -> Result<Self> {
        for warning in &resolved.warnings {
            cx.ui.warn(warning);
        }
        let style = cx.style(&resolved)?;
        cx.check_access(access, &resolved.read_only)?;
        if access == Access::Write && style.arrange.filter.is_some() {
            // Taken for a choice of what is changed, it would be the opposite: everything named would be.
            return Err(Error::usage("--field-selector chooses what is printed, not what is changed").with_hint(
                Hint::Text("choose with a list: `pvectl vm list --field-selector … -o name` prints targets".into()),
            ));
        }
        let options = cx.run_options(&resolved)?;
        let rules = if access == Access::Write { rules::load(&resolved)? } else { Vec::new() };
        let recorder = Opening::begin(cx, access)?;
        let url = match &resolved.connection {
            Connection::Proxmox(server) => server.endpoints.value.first().map(|endpoint| endpoint.url().to_owned()),
            _ => None,
        };
        let (client, name, served, default_node) = match &resolved.connection {
            Connection::Sandbox { implicit } => {
                if *implicit {
                    say_sandbox(cx);
                }
                let served = sandbox::Session::start(&cx.paths()?.sandbox()).await?;
                (sandbox_client(&served)?, "sandbox".to_owned(), Some(served), None)
            }
            Connection::Local => {
                let backend = super::local::backend(cx)?;
                let ops = Ops::new(left_open(Arc::new(backend)), recorder.end()?, "local");
                return Ok(Self {
                    ops,
                    style,
                    options,
                    together: Together::default(),
                    rules,
                    client: None,
                    default_node: None,
                    url: None,
                    _sandbox: None,
                    _seen: None,
                });
            }
            Connection::Proxmox(server) => {
                let node = server.node.as_ref().map(|node| node.value.clone());
                (client(cx, &resolved, server).await?, name_of(server), None, node)
            }
        };
        let seen = match access {
            Access::Write if !cx.switches.dry_run => {
                Some(Forgetting(complete::cache(&cx.paths()?, &resolved.connection, client.user())))
            }
            _ => None,
        };
        let ops = Ops::new(Arc::new(Proxmox::new(client.clone())), recorder.end()?, name);
        let (together, client) = (Together::default(), Some(client));
        Ok(Self { ops, style, options, together, rules, client, default_node, url, _sandbox: served, _seen: seen })
    }
}

/// A recorder that is being opened, while the rest of the session is.
enum Opening {
    Open(Arc<dyn Recorder>),
    Journal(JoinHandle<Result<Journal>>),
}

impl Opening {
    fn begin(cx: &Cx, access: Access) -> Result<Self> {
        Ok(match access {
            Access::Write if cx.switches.no_journal => {
                cx.ui.warn("nothing of this is kept in the journal (--no-journal)");
                Self::Open(Arc::new(NullRecorder))
            }
            Access::Write if !cx.switches.dry_run => {
                let path = cx.paths()?.journal();
                Self::Journal(thread::spawn(move || open_journal_at(&path)))
            }
            _ => Self::Open(Arc::new(Remembering(cx.paths()?.journal()))),
        })
    }

    fn end(self) -> Result<Arc<dyn Recorder>> {
        match self {
            Self::Open(recorder) => Ok(recorder),
            Self::Journal(opening) => {
                let journal = opening.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                let journal = left_open(Arc::new(journal));
                Ok(journal)
            }
        }
    }
}

/// Leaves a file to the end of the process, which closes it: SQLite takes half a millisecond to take itself apart, after
/// which nothing is in the file that was not there before.
fn left_open<T>(file: Arc<T>) -> Arc<T> {
    mem::forget(Arc::clone(&file));
    file
}

/// Keeps nothing, and knows what the journal has of names: for who only reads. The file is opened when it is asked for one.
struct Remembering(PathBuf);

impl Recorder for Remembering {
    fn begin(&self, intent: &Intent, events: &[Event]) -> Result<OperationId> {
        NullRecorder.begin(intent, events)
    }

    fn events(&self, operation: OperationId, events: &[Event]) -> Result<()> {
        NullRecorder.events(operation, events)
    }

    fn guests_named(&self, context: &str, name: &str) -> Result<Vec<u32>> {
        Journal::open_read_only(&self.0)?.map_or(Ok(Vec::new()), |journal| journal.guests_named(context, name))
    }

    fn applied(&self, context: &str) -> Result<Vec<Applied>> {
        Journal::open_read_only(&self.0)?.map_or(Ok(Vec::new()), |journal| journal.applied(context))
    }
}

/// Opens the journal for writing.
pub(crate) fn open_journal(cx: &Cx) -> Result<Journal> {
    open_journal_at(&cx.paths()?.journal())
}

fn open_journal_at(path: &Path) -> Result<Journal> {
    let host = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Journal::open(path, Arc::new(SystemClock), host)
}

/// An endpoint of the configuration, as the client has it.
pub(crate) fn endpoint_of(endpoint: &crate::config::Endpoint) -> Result<Endpoint> {
    let parsed = Endpoint::parse(endpoint.url())?;
    Ok(match endpoint.fingerprint() {
        Some(fingerprint) => parsed.with_fingerprint(fingerprint.parse()?),
        None => parsed,
    })
}

/// Who vouches for its certificates.
pub(super) fn trust(server: &crate::config::Proxmox) -> Result<Trust> {
    Ok(server.ca_pem()?.map_or(Trust::System, |pem| Trust::CaPem(pem.into_bytes())))
}

/// What is shown to it to be let in, if anything.
pub(super) fn certificate(server: &crate::config::Proxmox) -> Result<Option<ClientCertificate>> {
    server.client_certificate()?.map(|(chain, key)| ClientCertificate::from_pem(&chain, &key)).transpose()
}

/// What a server is called: by its context, or its first endpoint.
pub(super) fn name_of(server: &crate::config::Proxmox) -> String {
    let first = || server.endpoints.value.first().map(|endpoint| endpoint.url().to_owned()).unwrap_or_default();
    server.context.as_ref().map_or_else(first, |name| name.value.clone())
}

/// Says that nobody asked for the sandbox, which is merely what there is.
pub(super) fn say_sandbox(cx: &Cx) {
    cx.ui.say("using the built-in sandbox, a simulated cluster (add your own with `pvectl config add-context`)");
}

/// A client of the sandbox.
pub(super) fn sandbox_client(served: &sandbox::Session) -> Result<Client> {
    Client::builder()
        .endpoint(Endpoint::parse(served.url())?)
        .auth(Auth::Token { id: served.token_id().to_owned(), secret: served.secret().to_owned() })
        .build()
}

/// The way to a server: where it is, whom to trust, and what is shown.
pub(super) fn way_to(server: &crate::config::Proxmox) -> Result<ClientBuilder> {
    let mut builder = Client::builder();
    for endpoint in &server.endpoints.value {
        builder = builder.endpoint(endpoint_of(endpoint)?);
    }
    builder = builder.trust(trust(server)?);
    Ok(certificate(server)?.into_iter().fold(builder, ClientBuilder::client_certificate))
}

/// A client of a server, without whom to be there.
pub(crate) fn builder(cx: &Cx, resolved: &Resolved, server: &crate::config::Proxmox) -> Result<ClientBuilder> {
    let mut builder = way_to(server)?;
    if let Some(timeout) = resolved.setting("timeout").map(super::cx::parse_duration).transpose()? {
        // Only connecting gets shorter: a change that the server takes its time over must not become "perhaps".
        builder = builder.connect_timeout(timeout.clamp(Duration::from_secs(1), Duration::from_secs(10)));
    }
    if let Some(timeout) = cx.env.get("PVECTL_REQUEST_TIMEOUT").map(super::cx::parse_duration).transpose()? {
        builder = builder.request_timeout(timeout);
    }
    Ok(builder)
}

/// A client that is somebody on this server, who is asked for where that is not known.
pub(super) async fn client(cx: &Cx, resolved: &Resolved, server: &crate::config::Proxmox) -> Result<Client> {
    let mut builder = builder(cx, resolved, server)?;
    let auth = match server.login()? {
        Some(Login::Token { id, secret }) => Auth::Token { id, secret },
        Some(Login::Certificate { user }) => Auth::Certificate { user },
        Some(Login::Password { user, password }) => {
            builder = builder.ticket_store(Arc::new(TicketFiles(Tickets::new(&cx.paths()?))));
            password_auth(cx, user, password)
        }
        None => {
            // First see that there is a server and that it is the right one; only then is a password asked for.
            builder.clone().auth(Auth::None).build()?.send(&Call::new(Method::Get, "/access/domains")).await?;
            let user = match &server.identity {
                Some(identity) => identity.value.to_string(),
                None => ask_user(cx, server)?,
            };
            password_auth(cx, user.clone(), ask_password(cx, &user)?)
        }
    };
    builder.auth(auth).build()
}

pub(crate) fn password_auth(cx: &Cx, user: String, password: SecretString) -> Auth {
    Auth::Password { user, password, second_factor: Some(Arc::new(AskSecondFactor(cx.ui.clone()))) }
}

fn nobody_to_ask(what: &str) -> Error {
    Error::usage(format!("{what} is needed, and there is no terminal to ask on")).with_hint(Hint::Text(
        "give an API token: PVECTL_TOKEN_FILE, or `pvectl config add-context --token-file`".into(),
    ))
}

fn ask_user(cx: &Cx, server: &crate::config::Proxmox) -> Result<String> {
    if !cx.ui.can_ask() {
        return Err(nobody_to_ask("a user"));
    }
    let place = server.endpoints.value.first().map(|endpoint| endpoint.url().to_owned()).unwrap_or_default();
    cx.ui.ask_text(&format!("User on {place}"), "root@pam")
}

/// Asks for a password on the terminal, without echo.
pub(crate) fn ask_password(cx: &Cx, user: &str) -> Result<SecretString> {
    if !cx.ui.can_ask() {
        return Err(nobody_to_ask(&format!("the password of {user}")));
    }
    cx.ui.ask_secret(&format!("Password of {user}"))
}

/// Asks for the second factor on the terminal.
struct AskSecondFactor(Arc<Ui>);

impl SecondFactor for AskSecondFactor {
    fn answer(&self, kinds: &[String]) -> Result<SecretString> {
        if !self.0.can_ask() {
            return Err(Error::new(
                Class::Unauthenticated,
                "the server wants a second factor, and there is no terminal to ask on",
            )
            .with_hint(Hint::Text("scripts use an API token".into())));
        }
        let kind = kinds.iter().find(|kind| *kind == "totp").or(kinds.first()).map_or("totp", String::as_str);
        let code = self.0.ask_secret(&format!("Second factor ({kind})"))?;
        Ok(SecretString::from(format!("{kind}:{}", code.expose_secret().trim())))
    }
}

/// Keeps tickets between commands in files only this user can read.
pub(crate) struct TicketFiles(pub(crate) Tickets);

impl TicketStore for TicketFiles {
    fn load(&self, key: &str) -> Option<StoredTicket> {
        serde_json::from_str::<Kept>(&self.0.load(key, "").ok()??).ok().map(|kept| StoredTicket {
            ticket: kept.ticket.into(),
            csrf: kept.csrf.into(),
            issued: kept.issued,
        })
    }

    fn save(&self, key: &str, ticket: &StoredTicket) {
        let kept = Kept {
            ticket: ticket.ticket.expose_secret().to_owned(),
            csrf: ticket.csrf.expose_secret().to_owned(),
            issued: ticket.issued,
        };
        // Without it the next command only has to log in again.
        let _ = serde_json::to_string(&kept).map(|text| self.0.save(key, "", &text));
    }

    fn forget(&self, key: &str) {
        let _ = self.0.forget(key, "");
    }
}

/// A ticket as it lies in its file.
#[derive(Serialize, Deserialize)]
struct Kept {
    ticket: String,
    csrf: String,
    issued: Timestamp,
}
