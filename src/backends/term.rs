//! Consoles over Proxmox's websocket: `termproxy` opens one, `vncwebsocket` leads to it.
//!
//! What is typed goes out in frames that say their length, a size as a frame of its own; what is said comes as it is.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, interval_at, timeout},
};

use super::Console;
use crate::{
    client::{Client, WebSocket},
    model::{Call, Class, Error, Hint, Method, Params, Result},
};

/// How much may wait in each direction.
const BUFFER: usize = 64 * 1024;
/// How often a sign of life goes out; without one the server hangs up.
const ALIVE: Duration = Duration::from_secs(30);
/// How long the server may take to let somebody in.
const WELCOME: Duration = Duration::from_secs(15);

/// What a server has opened for somebody: where it is, and what lets them in.
pub(crate) struct Opened {
    pub(crate) port: String,
    pub(crate) ticket: String,
    pub(crate) user: String,
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only those who show screens ask for it"))]
    pub(crate) password: Option<String>,
}

impl Opened {
    /// Reads the answer of `termproxy` and `vncproxy`. Ports are numbers here and texts there.
    pub(crate) fn read(data: &Value) -> Result<Self> {
        let text = |key: &str| match &data[key] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let odd = || Error::new(Class::Failed, "the server opened a console, and does not say where");
        Ok(Self {
            port: text("port").ok_or_else(odd)?,
            ticket: text("ticket").ok_or_else(odd)?,
            user: text("user").ok_or_else(odd)?,
            password: text("password"),
        })
    }
}

/// The websocket that leads there.
pub(crate) async fn lead_to(client: &Client, base: &str, opened: &Opened) -> Result<WebSocket> {
    let params = Params::new().with("port", &opened.port).with("vncticket", &opened.ticket);
    let call = Call::new(Method::Get, format!("{base}/vncwebsocket")).with_params(params);
    client.websocket(&call).await.map_err(|error| for_tokens(error, client.user()))
}

/// Opens the console of whatever is at this path of the API: a guest, or a node.
pub(super) async fn console(client: &Client, base: &str) -> Result<Console> {
    let opened = Opened::read(&client.send(&Call::new(Method::Post, format!("{base}/termproxy"))).await?.data)?;
    let mut socket = lead_to(client, base, &opened).await?;
    socket.send(format!("{}:{}\n", opened.user, opened.ticket).as_bytes()).await?;
    let mut said = Vec::new();
    while said.len() < 2 {
        let closed = || Error::new(Class::Forbidden, "the server closed the console before it let anybody in");
        let late = |_| Error::new(Class::Unreachable, "the console does not answer");
        match timeout(WELCOME, socket.receive()).await.map_err(late)?? {
            Some(bytes) => said.extend_from_slice(&bytes),
            None => return Err(for_tokens(closed(), client.user())),
        }
    }
    if !said.starts_with(b"OK") {
        let error = Error::new(Class::Forbidden, "the server does not let anybody into the console");
        return Err(for_tokens(error, client.user()));
    }
    let unread = said.split_off(2);
    let (ours, theirs) = duplex(BUFFER);
    let (resize, sizes) = unbounded_channel();
    tokio::spawn(pump(socket, theirs, sizes));
    Ok(Console::new(unread, ours, ()).with_resize(resize))
}

/// What may be wrong where a token asks for a console.
fn for_tokens(error: Error, user: &str) -> Error {
    if !user.contains('!') || !matches!(error.class(), Class::Forbidden | Class::Unauthenticated) {
        return error;
    }
    error.with_hint(Hint::Text(
        "API tokens open consoles on Proxmox VE 9 and later; for older servers log in as a user (a context without a token)"
            .to_owned(),
    ))
}

/// Carries bytes to and fro until one end is gone.
async fn pump(mut socket: WebSocket, mut line: DuplexStream, mut sizes: UnboundedReceiver<(u16, u16)>) {
    let mut alive = interval_at(Instant::now() + ALIVE, ALIVE);
    let mut typed = vec![0; BUFFER / 2];
    loop {
        let frame = tokio::select! {
            said = socket.receive() => match said {
                Ok(Some(bytes)) if line.write_all(&bytes).await.is_ok() => continue,
                _ => break,
            },
            read = line.read(&mut typed) => match read {
                Ok(count) if count > 0 => keys(&typed[..count]),
                _ => break,
            },
            Some((columns, rows)) = sizes.recv() => format!("1:{columns}:{rows}:").into_bytes(),
            _ = alive.tick() => b"2".to_vec(),
        };
        if socket.send(&frame).await.is_err() {
            break;
        }
    }
    socket.close().await;
}

/// What was typed, as a frame.
fn keys(typed: &[u8]) -> Vec<u8> {
    [format!("0:{}:", typed.len()).as_bytes(), typed].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_typed_says_its_length_in_bytes() {
        assert_eq!(keys("ü\r".as_bytes()), b"0:3:\xc3\xbc\r");
    }

    #[test]
    fn a_port_may_be_a_number_or_a_text() {
        for port in [json!(5900), json!("5900")] {
            let opened = Opened::read(&json!({"port": port, "ticket": "t", "user": "u"})).unwrap();
            assert_eq!((opened.port.as_str(), opened.password), ("5900", None));
        }
        assert!(Opened::read(&json!({"port": 5900})).is_err());
    }

    #[test]
    fn tokens_are_told_what_older_servers_want() {
        let hints = |user: &str| for_tokens(Error::new(Class::Forbidden, "no"), user).hints().len();
        assert_eq!((hints("root@pam!ci"), hints("root@pam")), (1, 0));
    }
}
