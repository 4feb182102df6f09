//! One connection to a VMM: requests, and the answers to them. What they mean is the client's.

use std::{io, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{
    error::{Error, Result},
    verb::Verb,
};

/// What is asked, and how.
pub(super) type Ask = (Verb, Request<Full<Bytes>>);

/// Status and body.
pub(super) type Answer = (u16, Vec<u8>);

/// Why there is no answer.
pub(super) enum Failure {
    /// Not connected.
    Connect(io::Error),
    /// What the call says, and what the connection says that ended with it.
    Exchange { error: hyper::Error, ended: Option<hyper::Error> },
    /// Not in time.
    TimedOut,
}

pub(super) fn request(verb: Verb, body: Option<Vec<u8>>) -> Result<Request<Full<Bytes>>> {
    let method = if verb.reads { Method::GET } else { Method::PUT };
    let request = Request::builder().method(method).uri(format!("/api/v1/{}", verb.path)).header(HOST, "localhost");
    let request = match body {
        Some(body) => request.header(CONTENT_TYPE, "application/json").body(Full::from(body)),
        None => request.body(Full::default()),
    };
    request.map_err(|error| Error::malformed(verb, error))
}

/// Asks one thing over a connection: status and body.
async fn ask(sender: &mut http1::SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes().to_vec()))
}

/// Asks one thing after another over one connection, and closes it.
pub(super) async fn exchange<const N: usize>(socket: &Path, asks: [Ask; N], within: Duration) -> Result<[Answer; N]> {
    let first = asks.first().map_or(Verb::PING, |(verb, _)| *verb);
    let talk = async {
        let stream = UnixStream::connect(socket).await.map_err(|error| (first, Failure::Connect(error)))?;
        let lost = |error| (first, Failure::Exchange { error, ended: None });
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // The sender is given up at the end, which ends the connection.
        let asked = async move {
            let mut answers = [const { (0, Vec::new()) }; N];
            for ((verb, request), answer) in asks.into_iter().zip(&mut answers) {
                *answer = ask(&mut sender, request).await.map_err(|error| (verb, error))?;
            }
            Ok(answers)
        };
        let (answers, ended) = futures_util::future::join(asked, connection).await;
        answers.map_err(|(verb, error)| (verb, Failure::Exchange { error, ended: ended.err() }))
    };
    let answers = tokio::time::timeout(within, talk).await.unwrap_or(Err((first, Failure::TimedOut)));
    answers.map_err(|(verb, failure)| Error::from_failure(verb, &failure, within))
}
