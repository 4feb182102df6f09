//! What the server says, for completion: from the cache, else from the server within a moment, else an older copy.
//!
//! It only reads, never asks anybody, and everything that goes wrong is just nothing.

use std::{future::Future, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    cli::session::{TicketFiles, way_to},
    client::{Auth, Client, Endpoint},
    config::{
        Cache, Connection, Credentials, Env, File, Flags, Identity, Login, Paths, SecretSource, Tickets, resolve,
    },
    model::{Call, Method, Params, Result},
    sandbox,
};

/// How long all that a key press asks of servers may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// How old an answer may be that no server is asked about again.
const FRESH: Duration = Duration::from_secs(10);

/// A row of an answer.
pub(super) type Row = Map<String, Value>;

/// The way to the server of one context.
#[derive(Clone)]
enum Way {
    Sandbox(std::path::PathBuf),
    Server(Client),
}

/// The server of the context and what is known of it.
pub(super) struct Live {
    paths: Paths,
    way: Option<(Way, Cache)>,
    deadline: Instant,
}

impl Live {
    /// Finds out whom to ask; nobody is asked yet.
    pub(super) async fn new(env: &Env, flags: Flags, paths: Paths, deadline: Instant) -> Self {
        // Even a file may keep one waiting: it may be a pipe, or on another machine.
        let (env, places) = (env.clone(), paths.clone());
        let found = within(deadline, aside(move || async move { way(&env, &flags, &places).ok().flatten() })).await;
        Self { paths, way: found.flatten().flatten(), deadline }
    }

    /// The places of this account.
    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The rows of a list, each with only these fields; none if nobody says.
    pub(super) async fn list(&self, path: &str, params: &[(&str, &str)], fields: &'static [&'static str]) -> Vec<Row> {
        let Some((way, cache)) = &self.way else { return Vec::new() };
        let question = format!("{path} {params:?} {fields:?}");
        let known = cache.load(&question, Timestamp::now());
        if let Some((data, _)) = known.as_ref().filter(|(_, age)| *age < FRESH) {
            return rows(data, fields);
        }
        let call = Call::new(Method::Get, path).with_params(params.iter().copied().collect::<Params>());
        let way = way.clone();
        let answer = within(self.deadline, aside(move || async move { way.ask(&call).await.ok() })).await;
        match answer.flatten().flatten() {
            Some(data) => {
                let rows = rows(&data, fields);
                cache.save(&question, &rows.iter().cloned().map(Value::Object).collect(), Timestamp::now());
                rows
            }
            None => known.map_or_else(Vec::new, |(data, _)| rows(&data, fields)),
        }
    }

    /// The result of work that may block, if it comes in time.
    pub(super) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        within(self.deadline, aside(move || async move { work() })).await.flatten()
    }
}

impl Way {
    async fn ask(&self, call: &Call) -> Result<Value> {
        match self {
            Self::Server(client) => Ok(client.send(call).await?.data),
            Self::Sandbox(path) => {
                let served = sandbox::Session::start(path).await?;
                let auth = Auth::Token { id: served.token_id().to_owned(), secret: served.secret().clone() };
                let client = Client::builder().endpoint(Endpoint::parse(served.url())?).auth(auth).build()?;
                Ok(client.send(call).await?.data)
            }
        }
    }
}

/// Waits for something until a moment and no longer.
async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, work).await.ok()
}

/// Does work on a thread of its own: whatever blocks there (a name that is looked up, a locked file) holds up nobody,
/// and ends with the process.
async fn aside<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            // Nobody may be waiting any more.
            let _ = tell.send(runtime.block_on(work()));
            runtime.shutdown_background();
        }
    });
    told.await.ok()
}

/// The fields that are wanted: no more of an answer is kept. A list of plain words has one field, the first.
fn rows(data: &Value, fields: &[&str]) -> Vec<Row> {
    let row = |value: &Value| match value {
        Value::Object(whole) => {
            let kept = fields.iter().filter_map(|field| Some(((*field).to_owned(), whole.get(*field)?.clone())));
            Some(kept.collect())
        }
        Value::String(_) => fields.first().map(|field| Row::from_iter([((*field).to_owned(), value.clone())])),
        _ => None,
    };
    data.as_array().into_iter().flatten().filter_map(row).collect()
}

/// What completion keeps of this context, its servers and its user.
pub(crate) fn cache(paths: &Paths, connection: &Connection, user: &str) -> Cache {
    match connection {
        Connection::Proxmox(server) => {
            let context = server.context.as_ref().map_or("", |name| &name.value);
            let urls: Vec<&str> = server.endpoints.value.iter().map(crate::config::Endpoint::url).collect();
            Cache::new(paths, &[context, &urls.join(","), user])
        }
        Connection::Sandbox { .. } | Connection::Local => {
            Cache::new(paths, &["sandbox", &paths.sandbox().to_string_lossy()])
        }
    }
}

/// The way to the context's server, if it can be gone without asking a person: a token, or the ticket of an earlier
/// login. A command for credentials is not run, for it may ask, and nobody logs in, for a login may fail.
fn way(env: &Env, flags: &Flags, paths: &Paths) -> Result<Option<(Way, Cache)>> {
    let file = File::load(paths)?;
    let credentials = Credentials::load(&paths.credentials)?;
    let resolved = resolve(flags, env, file.as_ref(), &credentials)?;
    let server = match &resolved.connection {
        Connection::Sandbox { .. } => {
            let path = paths.sandbox();
            return Ok(Some((Way::Sandbox(path), cache(paths, &resolved.connection, ""))));
        }
        Connection::Local => return Ok(None),
        Connection::Proxmox(server) => server,
    };
    let user = server.identity.as_ref().map(|identity| &identity.value);
    let auth = match (&server.secret.value, user) {
        (SecretSource::Command(_) | SecretSource::Ask, Some(Identity::User(user))) => Auth::Kept { user: user.clone() },
        (SecretSource::Command(_) | SecretSource::Ask, _) => return Ok(None),
        _ => match server.login()? {
            Some(Login::Token { id, secret }) => Auth::Token { id, secret },
            Some(Login::Password { user, .. }) => Auth::Kept { user },
            Some(Login::Certificate { user }) => Auth::Certificate { user },
            None => return Ok(None),
        },
    };
    let cache = cache(paths, &resolved.connection, auth.user());
    let builder = way_to(server)?.ticket_store(Arc::new(TicketFiles(Tickets::new(paths)))).auth(auth);
    Ok(Some((Way::Server(builder.build()?), cache)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_takes_longer_than_the_moment_there_is_for_all() {
        let begin = Instant::now();
        let deadline = begin + PATIENCE;
        assert_eq!(within(deadline, async { 1 }).await, Some(1));
        assert_eq!(within(deadline, sleep(Duration::from_millis(200))).await, Some(()));
        // What comes second has only what the first has left.
        assert_eq!(within(deadline, sleep(Duration::from_millis(200))).await, None);
        assert_eq!(within(deadline, std::future::pending::<()>()).await, None);
        assert_eq!(begin.elapsed(), PATIENCE);
        assert!(PATIENCE <= Duration::from_millis(300));
    }

    #[tokio::test]
    async fn what_blocks_holds_up_nobody() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let stuck = aside(move || async move { held.recv().is_ok() });
        assert_eq!(within(Instant::now() + Duration::from_millis(1), stuck).await, None);
        // It was stuck until now.
        drop(hold);
        assert_eq!(aside(|| async { 5 }).await, Some(5));
    }

    #[test]
    fn only_the_wanted_fields_are_kept() {
        let data = json!([{"userid": "a@pve", "keys": "secret"}, "word", 5]);
        assert_eq!(json!(rows(&data, &["userid", "comment"])), json!([{"userid": "a@pve"}, {"userid": "word"}]));
        assert_eq!(rows(&json!({"userid": "a"}), &["userid"]), Vec::<Row>::new());
    }
}
