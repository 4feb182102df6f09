//! Sockets: accepts connections, speaks HTTP/1.1 on them plain or over TLS, and ends them as a real server does.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{Response, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
};

use super::{Kit, Tls, exchange, guard::Source, response::Answer, seats::Seats, tls::Shown};

/// The first byte of a TLS handshake; no HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// How large the head of a request may be.
const HEAD: usize = 64 * 1024;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long everybody has to notice that nobody is there any more, before the one answer that is still to come.
const FAREWELL: Duration = Duration::from_millis(300);

/// How long to wait after the system had no more sockets to give.
const BREATH: Duration = Duration::from_millis(50);

/// A connection as its requests see it.
#[derive(Clone, Default)]
pub(super) struct Connection(Arc<State>);

#[derive(Default)]
struct State {
    served: AtomicU32,
    hang_up: Notify,
    last_words: AtomicBool,
    source: Option<Source>,
    shown: OnceLock<Shown>,
    /// How many of its requests are being answered.
    answers: AtomicU32,
}

/// A request of a connection that is being answered, for as long as this is there.
pub(super) struct Answering(Connection);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    fn from(source: Source) -> Self {
        Self(Arc::new(State { source: Some(source), ..State::default() }))
    }

    /// Where it comes from, as far as known.
    pub(super) fn source(&self) -> Option<Source> {
        self.0.source
    }

    /// The certificate that was shown, if any.
    pub(super) fn shown(&self) -> Option<&Shown> {
        self.0.shown.get()
    }

    /// Begins to answer a request.
    pub(super) fn answering(&self) -> Answering {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// Whether a request of it is being answered.
    pub(super) fn is_answered(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed) > 0
    }

    /// Whether it is this one.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Counts a request, and says whether it is the last that this connection takes.
    pub(super) fn is_last(&self, limit: u32) -> bool {
        self.0.served.fetch_add(1, Ordering::Relaxed) + 1 >= limit
    }

    /// Lets an answer out while all other connections end.
    pub(super) fn speak_last(&self) {
        self.0.last_words.store(true, Ordering::Relaxed);
    }

    /// Drops the connection without another word.
    pub(super) fn hang_up(&self) {
        self.0.hang_up.notify_one();
    }
}

/// Serves until `shutdown` is over, and then drops what connections there are. Without `tls` it speaks plain HTTP; with
/// it, whoever speaks plain HTTP is told to come back with `https`. Needs a runtime with I/O and time, of one thread or
/// many.
///
/// # Errors
/// When the listener can accept no more.
pub async fn listen(
    kit: Kit,
    mut listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let mut door = kit.open_door();
    let (mut connections, seats) = (JoinSet::new(), Seats::default());
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some((time, begun)) = door.recv() => {
                let address = listener.local_addr()?;
                drop(listener);
                kit.hang_up_all();
                tokio::time::sleep(FAREWELL).await;
                let _ = begun.send(());
                listener = tokio::select! {
                    () = &mut shutdown => return Ok(()),
                    again = bind_again(address, time) => again?,
                };
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let source = Source::of(address.ip());
                    let connection = Connection::from(source);
                    // Without a seat it is dropped.
                    if let Some(seat) = seats.take(kit.guard().limits(), source, &connection) {
                        // From now on: what is accepted just before nobody is there ends too.
                        let absences = kit.absences();
                        let (kit, tls) = (kit.clone(), tls.clone());
                        connections.spawn(async move {
                            let _seat = seat;
                            tokio::select! {
                                () = serve(kit, stream, tls, absences, &connection) => {}
                                () = connection.0.hang_up.notified() => {}
                            }
                        });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                // A connection that was gone before it was accepted, or too many open files: neither is for good.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            },
        }
    }
}

/// Binds an address that we had, after so long.
async fn bind_again(address: SocketAddr, after: Duration) -> io::Result<TcpListener> {
    tokio::time::sleep(after).await;
    loop {
        match TcpListener::bind(address).await {
            // Somebody may have it for a moment.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(BREATH).await,
            bound => return bound,
        }
    }
}

async fn serve(kit: Kit, stream: TcpStream, tls: Option<Tls>, absences: watch::Receiver<u64>, connection: &Connection) {
    // Answers are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return speak(&kit, stream, Speech::Api, absences, connection).await };
    let mut first = [0];
    match tokio::time::timeout(HANDSHAKE, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] != TLS_HANDSHAKE => speak(&kit, stream, Speech::Redirect, absences, connection).await,
        Ok(Ok(1)) => match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                if let Some(shown) = tls.judge(stream.get_ref().1.peer_certificates(), kit.now()) {
                    let _ = connection.0.shown.set(shown);
                }
                speak(&kit, stream, Speech::Api, absences, connection).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "no TLS connection came about"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        _ => {}
    }
}

/// What is said on a connection.
#[derive(Clone, Copy)]
enum Speech {
    Api,
    Redirect,
}

async fn speak(
    kit: &Kit,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    speech: Speech,
    mut absences: watch::Receiver<u64>,
    connection: &Connection,
) {
    let absent = async {
        // An error is a kit that is gone, and with it whoever could answer.
        let _ = absences.changed().await;
        if connection.0.last_words.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        async move {
            Ok::<_, Infallible>(match speech {
                Speech::Api => exchange::answer(kit, request).await,
                Speech::Redirect => redirect(kit, &request),
            })
        }
    });
    let talk = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(kit.options().idle)
        .max_buf_size(HEAD)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        ended = talk => if let Err(error) = ended { tracing::trace!(%error, "a connection ended early") },
        () = absent => {}
    }
}

/// For plain HTTP on a TLS port.
fn redirect(kit: &Kit, request: &hyper::Request<Body>) -> Response<Body> {
    let is_read = matches!(request.method().as_str(), "GET" | "HEAD");
    let (status, text) = if is_read { (301, "Moved Permanently") } else { (308, "Permanent Redirect") };
    let mut response = Answer::text(status, text).into_response(request.headers(), kit.now(), true);
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Ok(location) = format!("https://{host}{path}").parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
