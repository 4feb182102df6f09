//! From a request to an answer: deadline, retry, failover, trace and the wire, each in a file of its own.
//!
//! It knows what may be sent twice; it does not know who is logged in or what the answer is for.

mod failover;
mod failure;
mod retry;
pub(super) mod tls;
mod trace;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::header::HeaderMap;
use tokio::time::{Instant, sleep, timeout_at};

use self::{
    failover::{Wire, Wires},
    failure::{Failure, Phase},
    retry::{Attempts, Next},
};
use super::{ClientCertificate, Endpoint, Trust, auth::Credentials, request::Request, response::Answer};
use crate::model::{Call, Class, Error, Method, Result, Secrets};

/// What the transport is told when it is made.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) trust: Trust,
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) user_agent: String,
}

/// How long an upload may take.
const UPLOAD: Duration = Duration::from_secs(24 * 60 * 60);

/// How many times as long as an answer what is left of an upload may be on its way.
const STALLED: u32 = 4;

/// How an answer is read: [`Answer::read`] for the API, [`Answer::file`] for what lies beside it.
pub(super) type Read<T> = fn(&Answer, &Call, &Endpoint) -> Result<T>;

/// The way to a cluster.
pub(super) struct Transport {
    wires: Wires,
    options: Options,
    /// How much of the last file was taken to be sent.
    uploaded: Arc<AtomicU64>,
    /// Secrets of all calls so far: a task repeats what the call that began it was given.
    sent: Mutex<Secrets>,
}

impl Transport {
    /// Prepares everything and opens nothing.
    pub(super) fn new(endpoints: Vec<Endpoint>, mut options: Options) -> Self {
        // An endpoint that swallows packets must leave time for the next one.
        options.connect_timeout = options.connect_timeout.min(options.request_timeout / 3);
        Self { wires: Wires::new(endpoints), options, uploaded: Arc::default(), sent: Mutex::default() }
    }

    /// How much of the file that is uploaded was taken to be sent.
    pub(super) fn uploaded(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }

    /// The endpoints in the order they were given.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.wires.iter().map(|wire| &wire.endpoint)
    }

    /// The endpoint that the next call goes to first.
    #[cfg(test)]
    pub(super) fn preferred(&self) -> &Endpoint {
        &self.wires.get(self.wires.good()).endpoint
    }

    /// Sends a request until there is an answer, as often as is safe and while there is time.
    ///
    /// # Errors
    /// The last failure, or all endpoints' failures in one.
    pub(super) async fn send<T>(
        &self,
        request: &Request<'_>,
        credentials: &Credentials,
        read: Read<T>,
    ) -> Result<(T, Answer)> {
        let method = request.call.method;
        // A file takes as long as it takes.
        let usual = if request.call.file.is_some() { UPLOAD } else { self.options.request_timeout };
        let limit = request.limit().map_or(usual, |limit| limit.max(usual));
        let deadline = Instant::now() + limit;
        let first = self.wires.good();
        let mut attempts = Attempts::new(method, self.wires.len());
        loop {
            let at = (first + attempts.made()) % self.wires.len();
            let wire = self.wires.get(at);
            let until = attempt_limit(method, attempts.elsewhere(), deadline);
            match self.once(wire, request, credentials, read, until).await {
                Ok(answered) => {
                    self.wires.remember(at);
                    return Ok(answered);
                }
                Err(failure) => {
                    if failure.came_from_the_server() {
                        self.wires.remember(at);
                    }
                    let delay = match attempts.next(failure) {
                        Next::GiveUp(error) => return Err(error),
                        Next::Elsewhere => Duration::ZERO,
                        Next::After(delay) => delay,
                    };
                    // Without time for a connection, an attempt could only turn "never sent" into "perhaps".
                    if Instant::now() + delay + self.options.connect_timeout > deadline {
                        return Err(attempts.into_error());
                    }
                    sleep(delay).await;
                }
            }
        }
    }

    /// The stack of one attempt, from the outside in.
    async fn once<T>(
        &self,
        wire: &Wire,
        request: &Request<'_>,
        credentials: &Credentials,
        read: Read<T>,
        until: Instant,
    ) -> Result<(T, Answer), Failure> {
        let (call, endpoint) = (request.call, &wire.endpoint);
        let http = wire.http(&self.options).map_err(Failure::lasting)?;
        let outgoing = request.to(endpoint, credentials);
        let outgoing = request.with_file(http, outgoing, &self.uploaded).map_err(Failure::lasting)?;
        let mut secrets = self.secrets_so_far(call);
        credentials.add_to(&mut secrets);
        let span = trace::Exchange::begin(call, endpoint, &outgoing, &secrets);
        let received = tokio::select! {
            received = timeout_at(until, receive(http, outgoing)) => received.ok(),
            () = self.stalled(call) => None,
        };
        let received = match received {
            Some(Ok(answer)) => Ok(answer),
            Some(Err((phase, error))) => Err(failure::from_reqwest(phase, error, call, endpoint)),
            None => Err(failure::timed_out(call, endpoint)),
        };
        let mut answer = received.inspect_err(|failure| span.failed(failure.error()))?;
        answer.hide(&secrets);
        span.answered(&answer);
        let content = read(&answer, call, endpoint).map_err(Failure::passing)?;
        Ok((content, answer))
    }

    /// Ends when nothing of an upload has moved for a while, its answer counted in; for any other call never.
    async fn stalled(&self, call: &Call) {
        if call.file.is_none() {
            return std::future::pending().await;
        }
        let mut before = None;
        loop {
            let now = self.uploaded();
            if before == Some(now) {
                return;
            }
            before = Some(now);
            sleep(self.options.request_timeout * STALLED).await;
        }
    }

    /// Sends a request whose answer takes the connection over, once, to the endpoint that answered last.
    ///
    /// # Errors
    /// What the server says instead.
    pub(super) async fn upgrade(
        &self,
        request: &Request<'_>,
        credentials: &Credentials,
        headers: HeaderMap,
    ) -> Result<reqwest::Response> {
        let (call, wire) = (request.call, self.wires.get(self.wires.good()));
        let endpoint = &wire.endpoint;
        let mut outgoing = request.to(endpoint, credentials);
        outgoing.headers_mut().extend(headers);
        let mut secrets = self.secrets_so_far(call);
        credentials.add_to(&mut secrets);
        let span = trace::Exchange::begin(call, endpoint, &outgoing, &secrets);
        let limit = Instant::now() + self.options.request_timeout;
        let received = match timeout_at(limit, wire.http(&self.options)?.execute(outgoing)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failure::from_reqwest(Phase::Head, error, call, endpoint).into_error()),
            Err(_) => Err(failure::timed_out(call, endpoint).into_error()),
        };
        let mut response = received.inspect_err(|error| span.failed(error))?;
        let mut answer = Answer::begin(&response);
        if response.status() == reqwest::StatusCode::SWITCHING_PROTOCOLS {
            span.answered(&answer);
            return Ok(response);
        }
        let broken = |error| failure::from_reqwest(Phase::Body, error, call, endpoint).into_error();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            answer.body.extend_from_slice(&chunk);
        }
        answer.hide(&secrets);
        span.answered(&answer);
        answer.read::<serde_json::Value>(call, endpoint)?;
        Err(Error::new(Class::Failed, format!("{endpoint} answers {} and opens no websocket", call.path)))
    }

    /// The secrets that were sent, with those of this call.
    fn secrets_so_far(&self, call: &Call) -> Secrets {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.extend(&call.secrets());
        sent.clone()
    }
}

/// Asks a server what everybody may ask, and puts the certificate that it shows where it is seen.
///
/// # Errors
/// As for every call, when it is not trusted or does not answer.
pub(super) async fn knock(
    endpoint: &Endpoint,
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
    seen: tls::Seen,
    patience: Duration,
) -> Result<()> {
    let call = Call::new(Method::Get, "/access/domains");
    let failed = |error| failure::from_reqwest(Phase::Head, error, &call, endpoint).into_error();
    let config = tls::config(endpoint, trust, certificate, Some(seen))?;
    let builder = reqwest::Client::builder().tls_backend_preconfigured(config).connect_timeout(patience);
    let builder = builder.timeout(patience).redirect(reqwest::redirect::Policy::none());
    let builder = if endpoint.is_local() { builder.no_proxy() } else { builder };
    let request = Request::new(&call)?.to(endpoint, &Credentials::None);
    builder.build().map_err(failed)?.execute(request).await.map(drop).map_err(failed)
}

/// Receives head and body.
async fn receive(http: &reqwest::Client, outgoing: reqwest::Request) -> Result<Answer, (Phase, reqwest::Error)> {
    let mut response = http.execute(outgoing).await.map_err(|error| (Phase::Head, error))?;
    let mut answer = Answer::begin(&response);
    while let Some(chunk) = response.chunk().await.map_err(|error| (Phase::Body, error))? {
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// When an attempt is given up: a read leaves half of the time to the next endpoint, for a node that takes connections
/// and answers nothing is not rare. A change has all the time there is: it is never sent again.
fn attempt_limit(method: Method, elsewhere: bool, deadline: Instant) -> Instant {
    let now = Instant::now();
    if method == Method::Get && elsewhere { now + deadline.saturating_duration_since(now) / 2 } else { deadline }
}
