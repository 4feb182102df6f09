//! What a service tells the systemd that started it: that it is ready, that it lives, that it ends.
//!
//! The protocol of `sd_notify(3)`: a datagram of text. Where nobody listens nothing is told, and nobody waits for it.

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt as _, net::UnixDatagram},
    path::Path,
    time::Duration,
};

/// Whoever started this process.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Notify {
    /// By the values of `NOTIFY_SOCKET` and `WATCHDOG_USEC`; `WATCHDOG_PID` is whom the last is meant for.
    ///
    /// # Errors
    /// When the socket is not there.
    pub fn new(path: &OsStr, watchdog_usec: Option<&str>, watchdog_pid: Option<&str>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match path.as_bytes().strip_prefix(b"@") {
            #[cfg(target_os = "linux")]
            Some(name) => {
                use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
                socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
            }
            #[cfg(not(target_os = "linux"))]
            Some(_) => return Err(io::ErrorKind::Unsupported.into()),
            None => socket.connect(Path::new(path))?,
        }
        socket.set_nonblocking(true)?;
        let is_ours = watchdog_pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let micros = watchdog_usec.and_then(|text| text.parse().ok()).filter(|micros| *micros > 0 && is_ours);
        Ok(Self { socket, watchdog: micros.map(Duration::from_micros) })
    }

    /// It takes requests.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// It ends, and is given so long for it.
    pub fn stopping(&self, within: Duration) {
        self.say(&format!("STOPPING=1\nSTATUS=waiting for tasks\nEXTEND_TIMEOUT_USEC={}", within.as_micros()));
    }

    /// Says that it lives, again and again for as long as it is polled: a process that hangs polls nothing.
    pub async fn live(&self) {
        let Some(within) = self.watchdog else { return std::future::pending().await };
        loop {
            self.say("WATCHDOG=1");
            tokio::time::sleep(within / 3).await;
        }
    }

    fn say(&self, text: &str) {
        if let Err(error) = self.socket.send(text.as_bytes()) {
            tracing::debug!(%error, "systemd does not listen");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_is_heard() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let heard = || {
            let mut text = [0; 256];
            let length = listener.recv(&mut text).unwrap();
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let pid = std::process::id().to_string();
        let notify = Notify::new(path.as_os_str(), Some("3000000"), Some(&pid)).unwrap();
        notify.ready("here");
        assert_eq!(heard(), "READY=1\nSTATUS=here");
        tokio::select! {
            biased;
            () = notify.live() => {}
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(heard(), "WATCHDOG=1");
        notify.stopping(Duration::from_secs(2));
        assert!(heard().contains("EXTEND_TIMEOUT_USEC=2000000"));
        // Meant for another process, or for nobody.
        assert_eq!(Notify::new(path.as_os_str(), Some("3000000"), Some("1")).unwrap().watchdog, None);
        assert_eq!(Notify::new(path.as_os_str(), Some("0"), None).unwrap().watchdog, None);
        Notify::new(home.path().join("none").as_os_str(), None, None).unwrap_err();
    }
}
