//! The serial port's socket and a guest behind it that says what it is told to and echoes what is typed; `q` turns it
//! off.
//!
//! One line only: who connects takes it. What is said while nobody listens is kept, and given to the next one some
//! hundred bytes at once, as the real one does; the rest comes when the guest says more. As the real one, it is deaf and
//! dumb from then on when somebody goes who has not read everything.

use std::{
    fs,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Signal, getpid, kill_process};

/// What the real one gets rid of at once: as much as a socket takes of single bytes.
const AT_ONCE: usize = 278;

#[derive(Default)]
struct Port {
    kept: Vec<u8>,
    client: Option<UnixStream>,
    /// How many have connected.
    count: usize,
    /// Whether there is a guest that listens.
    guest: bool,
    /// Whether it has given up; then these wait for nothing.
    dead: bool,
    waiting: Vec<UnixStream>,
}

impl Port {
    fn give(&mut self, most: usize) {
        if self.dead {
            return;
        }
        let Some(client) = &mut self.client else { return };
        let now: Vec<u8> = self.kept.drain(..self.kept.len().min(most)).collect();
        let _ = client.write_all(&now);
    }

    fn say(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        self.give(usize::MAX);
    }
}

/// The port, until this is dropped, and its file with it.
pub(crate) struct Serial {
    path: PathBuf,
    port: Arc<Mutex<Port>>,
    pub(crate) stale: bool,
}

impl Serial {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let port = Arc::new(Mutex::new(Port::default()));
        let shared = Arc::clone(&port);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (Ok(mut from), Ok(mut port)) = (stream.try_clone(), shared.lock()) else { return };
                if port.dead {
                    port.waiting.push(stream);
                    continue;
                }
                if let Some(before) = port.client.replace(stream) {
                    let _ = before.shutdown(Shutdown::Both);
                }
                port.count += 1;
                let number = port.count;
                port.give(AT_ONCE);
                drop(port);
                let shared = Arc::clone(&shared);
                thread::spawn(move || listen(&mut from, number, &shared));
            }
        });
        Ok(Self { path: path.to_owned(), port, stale: false })
    }

    /// The guest is there, and says this.
    pub(crate) fn say(&self, text: &str) {
        if let Ok(mut port) = self.port.lock() {
            port.guest = true;
            port.say(text.as_bytes());
        }
    }
}

/// Hears what is typed on one connection.
fn listen(from: &mut UnixStream, number: usize, port: &Mutex<Port>) {
    let mut bytes = [0; 4096];
    loop {
        let read = from.read(&mut bytes);
        let Ok(mut port) = port.lock() else { return };
        if read.is_err() && port.count == number {
            port.dead = true;
        }
        let count = read.unwrap_or(0);
        if count == 0 {
            // Its own line has ended, not one that took it over.
            if port.count == number {
                port.client = None;
            }
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        if port.guest {
            port.say(&bytes[..count]);
            if bytes[..count].contains(&b'q') {
                // The handler of this signal lets the guest power off.
                let _ = kill_process(getpid(), Signal::USR1);
            }
        }
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        if let Ok(mut port) = self.port.lock()
            && let Some(client) = port.client.take()
        {
            let _ = client.shutdown(Shutdown::Both);
        }
        if !self.stale {
            let _ = fs::remove_file(&self.path);
        }
    }
}
