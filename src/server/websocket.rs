//! Websockets: a GET whose answer is one, as a real server opens them for consoles.
//!
//! What is said on one is the service's business, by way of a [`Peer`].

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Bytes, Message, handshake::derive_accept_key, protocol::Role},
};

/// Who is at the other end of a websocket.
pub trait Peer: Send {
    /// What is said before anything was heard.
    fn begin(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// What is said to what was heard; `None` hangs up after it was said.
    fn hear(&mut self, bytes: &[u8]) -> (Vec<u8>, Heard);
}

/// Whether a conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It does.
    GoesOn,
    /// It is over.
    Over,
}

/// Whether a request asks for a websocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
}

/// The answer that opens one, and the conversation beside it; `None` where the request is not one for a websocket.
pub(super) fn open(headers: &HeaderMap, upgrade: OnUpgrade, mut peer: Box<dyn Peer>) -> Option<Response<Body>> {
    let key = headers.get("sec-websocket-key")?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert("sec-websocket-accept", accept);
    if let Some(protocol) = headers.get("sec-websocket-protocol") {
        answer.insert("sec-websocket-protocol", protocol.clone());
    }
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut said = peer.begin();
        loop {
            if !said.is_empty() && socket.send(Message::Binary(Bytes::from(std::mem::take(&mut said)))).await.is_err() {
                return;
            }
            let heard = match socket.next().await {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                _ => return,
            };
            let (answer, goes) = peer.hear(&heard);
            said = answer;
            if goes == Heard::Over {
                // Whoever has gone already misses nothing.
                let _ = socket.send(Message::Binary(Bytes::from(said))).await;
                let _ = socket.close(None).await;
                return;
            }
        }
    });
    Some(response)
}
