//! Websockets that the server opens beside its API: frames of bytes in both directions.
//!
//! The connection is the client's own, with its trust and its credentials. What the bytes mean is for others to know.

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{
    Upgraded,
    header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Bytes, Error as Broken, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

use super::{Client, request::Request};
use crate::model::{Call, Class, Error, Result, Sent};

/// How much goes into one frame: a server refuses those above 128 KiB.
const FRAME: usize = 64 * 1024;

/// An open websocket. It is closed by dropping it.
pub struct WebSocket(WebSocketStream<Upgraded>);

impl Client {
    /// Opens a websocket: a GET whose answer is one. It goes to the endpoint that answered last, for what a call before it
    /// has opened is there and nowhere else; and it is not tried again.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn websocket(&self, call: &Call) -> Result<WebSocket> {
        let key = generate_key();
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
        let value = HeaderValue::from_str(&key).map_err(|error| Error::new(Class::Bug, "no key").with_source(error))?;
        headers.insert("sec-websocket-key", value);
        let request = Request::new(call)?;
        let credentials = self.0.session.credentials(&self.0.transport).await?;
        let response = self.0.transport.upgrade(&request, &credentials, headers).await?;
        let proof = response.headers().get("sec-websocket-accept").and_then(|proof| proof.to_str().ok());
        if proof != Some(derive_accept_key(key.as_bytes()).as_str()) {
            return Err(broken("the server's answer to a websocket is none"));
        }
        let upgraded = response.upgrade().await;
        let upgraded = upgraded.map_err(|error| broken("the websocket did not come about").with_source(error))?;
        Ok(WebSocket(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }
}

fn broken(text: &str) -> Error {
    Error::new(Class::Unreachable, text).with_sent(Sent::Answered)
}

impl WebSocket {
    /// The next bytes; `None` when the other end has closed it.
    ///
    /// # Errors
    /// [`Class::Unreachable`] when the connection breaks.
    pub async fn receive(&mut self) -> Result<Option<Bytes>> {
        loop {
            return match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
                Some(Ok(Message::Text(text))) => Ok(Some(text.into())),
                Some(Ok(Message::Close(_))) | None => Ok(None),
                // Answered by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                // A server closes without a word.
                Some(Err(Broken::ConnectionClosed | Broken::AlreadyClosed | Broken::Protocol(_))) => Ok(None),
                Some(Err(error)) => Err(broken("the connection broke").with_source(error)),
            };
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for frame in bytes.chunks(FRAME) {
            let sent = self.0.send(Message::Binary(Bytes::copy_from_slice(frame))).await;
            sent.map_err(|error| broken("the connection broke").with_source(error))?;
        }
        Ok(())
    }

    /// Says goodbye. That nobody hears it is no error.
    pub async fn close(&mut self) {
        let _ = self.0.close(None).await;
    }
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebSocket")
    }
}
