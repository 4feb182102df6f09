//! The kit itself: what it serves, how it is set up, what it has seen.
//!
//! What happens to one request is in `exchange`; sockets are in `listen`.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::Router;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Beside, Faults, Service, exchange,
    guard::{Guard, Limits},
    random,
};
use crate::{
    contract::embedded,
    model::{Clock, SystemClock},
};

/// How many requests the log keeps.
const LOG_LENGTH: usize = 1024;

/// Is told of a request. It is called by whoever answers, so it should be quick.
pub type OnRequest = Arc<dyn Fn(&Logged) + Send + Sync>;

/// How a kit behaves.
pub struct Options {
    /// How long an answer 401 is held back. A real server takes three seconds, and so does this by default.
    pub auth_delay: Duration,
    /// How long a connection may stay idle before it is closed. Five seconds on a real server.
    pub idle: Duration,
    /// How many requests a connection is good for. A hundred on a real server.
    pub requests_per_connection: u32,
    /// Tells the time: for the `Date` header and the age of tickets.
    pub clock: Arc<dyn Clock>,
    /// The key that tickets are signed with; a random one, if there is none, and then tickets die with the kit.
    pub secret: Option<Vec<u8>>,
    /// How much it takes from those who ask; anything by default.
    pub limits: Limits,
    /// What goes wrong, for tests.
    pub faults: Option<Arc<dyn Faults>>,
    /// Is told of every request once it is known how it is answered, and before the answer leaves.
    pub on_request: Option<OnRequest>,
    /// What is served beside the API.
    pub beside: Option<Arc<dyn Beside>>,
    /// Whether answers tell what their request is called, which a real server's do not.
    pub names_requests: bool,
}

impl Default for Options {
    /// As a real server.
    fn default() -> Self {
        Self {
            auth_delay: Duration::from_secs(3),
            idle: Duration::from_secs(5),
            requests_per_connection: 100,
            clock: Arc::new(SystemClock),
            secret: None,
            limits: Limits::default(),
            faults: None,
            on_request: None,
            beside: None,
            names_requests: false,
        }
    }
}

impl Options {
    /// For a server in the same process as its client: nothing is held back.
    pub fn in_process() -> Self {
        Self { auth_delay: Duration::ZERO, ..Self::default() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("auth_delay", &self.auth_delay)
            .field("idle", &self.idle)
            .field("requests_per_connection", &self.requests_per_connection)
            .finish_non_exhaustive()
    }
}

/// A request that was answered, or whose connection was gone before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The word the client sent: `GET`.
    pub method: String,
    /// The path below `/api2/json`, decoded, without a query.
    pub path: String,
    /// The status of the answer; 0 when nobody got one.
    pub status: u16,
    /// What it is called.
    pub id: String,
    /// How long it took.
    pub time: Duration,
}

/// The PVE API over a [`Service`]. Clones are the same kit.
#[derive(Clone)]
pub struct Kit(Arc<Inner>);

struct Inner {
    service: Arc<dyn Service>,
    options: Options,
    guard: Guard,
    secret: OnceLock<Option<Vec<u8>>>,
    description: OnceLock<String>,
    log: Mutex<Log>,
    /// Where [`listen`](super::listen) hears that nobody shall be there for a while.
    door: Mutex<Option<mpsc::UnboundedSender<Absence>>>,
    /// How often nobody was.
    absences: watch::Sender<u64>,
}

/// For so long nobody is there; with whom to tell when it has begun.
pub(super) type Absence = (Duration, oneshot::Sender<()>);

#[derive(Default)]
struct Log {
    last: VecDeque<Logged>,
    count: u64,
}

impl Kit {
    /// A kit over this service. Costs nothing: keys are made and the contract is read when they are first needed.
    pub fn new(service: Arc<dyn Service>, options: Options) -> Self {
        Self(Arc::new(Inner {
            service,
            guard: Guard::new(options.limits.clone()),
            options,
            secret: OnceLock::new(),
            description: OnceLock::new(),
            log: Mutex::default(),
            door: Mutex::default(),
            absences: watch::Sender::new(0),
        }))
    }

    /// As a router that can be served, or nested beside other routes. Faults that cut connections and the limits of a
    /// connection need [`listen`](super::listen) below.
    pub fn router(&self) -> Router {
        let kit = self.clone();
        Router::new().fallback(move |request: axum::extract::Request| {
            let kit = kit.clone();
            async move { exchange::answer(&kit, request).await }
        })
    }

    /// The last requests (1024 at most), oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.log().last.iter().cloned().collect()
    }

    /// How many requests there were.
    pub fn request_count(&self) -> u64 {
        self.log().count
    }

    pub(super) fn note(&self, logged: Logged) {
        if let Some(told) = &self.0.options.on_request {
            told(&logged);
        }
        let mut log = self.log();
        log.count += 1;
        if log.last.len() == LOG_LENGTH {
            log.last.pop_front();
        }
        log.last.push_back(logged);
    }

    pub(super) fn service(&self) -> &dyn Service {
        self.0.service.as_ref()
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    /// The time by its clock.
    pub fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }

    /// The key that tickets are signed with; `None` on a machine that has no random numbers.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        let make = || self.0.options.secret.clone().or_else(|| random::bytes::<32>().map(Vec::from));
        self.0.secret.get_or_init(make).as_deref()
    }

    /// The description of what it serves, as the file that a real server has beside its API.
    pub(super) fn description(&self) -> &str {
        self.0.description.get_or_init(|| embedded().to_apidoc())
    }

    /// Opens the door: what comes is how long nobody shall be there.
    pub(super) fn open_door(&self) -> mpsc::UnboundedReceiver<Absence> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.door() = Some(sender);
        receiver
    }

    /// Begins an absence, where anybody listens, and returns when no connection is taken any more.
    pub(super) async fn leave(&self, time: Duration) {
        let (begun, told) = oneshot::channel();
        let sent = self.door().as_ref().is_some_and(|door| door.send((time, begun)).is_ok());
        if sent {
            // An error is a listener that went for good.
            let _ = told.await;
        }
    }

    /// Ends all connections that wait for this.
    pub(super) fn hang_up_all(&self) {
        self.0.absences.send_modify(|count| *count += 1);
    }

    /// Changes when connections have to end.
    pub(super) fn absences(&self) -> watch::Receiver<u64> {
        self.0.absences.subscribe()
    }

    fn door(&self) -> std::sync::MutexGuard<'_, Option<mpsc::UnboundedSender<Absence>>> {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("options", &self.0.options).finish_non_exhaustive()
    }
}
