//! Fetching a file from a server: in one go where that works, else piece by piece, hashed on the way.
//!
//! What is there of a file is gone on with only if the server says that it is still the same file, and if this host was
//! not rebooted since: what had not reached the disk would be zeros.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
    time::Duration,
};

use futures_util::StreamExt;
use reqwest::{
    Client, Response, StatusCode,
    header::{self, HeaderMap, HeaderName},
    redirect,
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::pull::hex;
use crate::{
    backends::cloud_hypervisor::{
        disk::{
            Watch, cancelled, directory_of, failed,
            format::{TELLING, refuse_no_disk},
            require_space,
        },
        failpoint::{Point, reach},
    },
    model::{Class, Error, Hint, Result},
};

/// How often a connection may break without anything new having come.
const TRIES: u32 = 5;
/// How long to wait before the first new try; twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a list of checksums may be.
const LONGEST_LIST: usize = 4 << 20;

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The SHA-256 of its bytes, in lower-case hex.
    pub(super) sha256: String,
}

/// What is there of a file: under our lock, with a note beside it on what it is.
pub(super) struct Download {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Drop for Download {
    fn drop(&mut self) {
        // In words, not by closing: a child that another thread has forked has the file too until it runs its program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// The note.
#[derive(Serialize, Deserialize, PartialEq)]
struct Note {
    /// The address, hashed: it may have a secret in it.
    source: String,
    /// What the server calls this version of the file.
    validator: String,
    /// This run of the host's kernel.
    boot: String,
}

impl Download {
    fn note(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".json");
        name.into()
    }

    /// Removes the note, and the file if it was not put elsewhere.
    pub(super) fn forget(&self) {
        self.forget_note();
        let same = |there: &fs::Metadata| {
            self.file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        // What is there by now may be somebody else's.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| same(&there)) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Whether another try can go on with what is there.
    pub(super) fn is_worth_keeping(&self, class: Class) -> bool {
        matches!(class, Class::Unreachable | Class::Interrupted)
            && self.note().exists()
            && self.file.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// From now on nobody goes on with what is there. A note that cannot be removed is caught when it is read: the
    /// server and the file decide.
    pub(super) fn forget_note(&self) {
        let _ = fs::remove_file(self.note());
    }

    /// Keeps nothing of it; gives the reason back.
    pub(super) fn discard(self, why: Error) -> Error {
        self.forget();
        why
    }

    /// How much of this very file is there already, hashed.
    fn kept(&self, source: &str, boot: &str, watch: &dyn Watch) -> Option<(Sha256, u64, String)> {
        let note: Note = serde_json::from_slice(&fs::read(self.note()).ok()?).ok()?;
        if note.source != source || note.boot != boot || boot.is_empty() {
            return None;
        }
        let (mut digest, mut done, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
        loop {
            if watch.cancelled() {
                return None;
            }
            match self.file.read_at(&mut buffer, done) {
                Ok(0) => return Some((digest, done, note.validator)),
                Ok(read) => {
                    digest.update(&buffer[..read]);
                    done += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

/// How an attempt ended that did not bring the whole file.
enum Ended {
    /// The connection broke, or the server is busy: try again.
    Broken(Error),
    /// There is no use in trying again.
    Over(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Over(error)
    }
}

/// A file on its way.
struct Transfer<'a> {
    url: &'a Url,
    shown: &'a str,
    download: &'a Download,
    watch: &'a dyn Watch,
    source: String,
    boot: String,
    client: Client,
    digest: Sha256,
    done: u64,
    validator: Option<String>,
    first: Vec<u8>,
}

/// Fetches a file to its end.
pub(super) async fn fetch(url: &Url, shown: &str, download: &mut Download, watch: &dyn Watch) -> Result<Fetched> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let source = hex(&Sha256::digest(url.as_str()));
    let kept = download.kept(&source, &boot, watch);
    let (digest, done, validator) = match kept {
        Some((digest, done, validator)) => (digest, done, Some(validator)),
        None => (Sha256::new(), 0, None),
    };
    let client = client()?;
    let first = Vec::new();
    let mut transfer = Transfer { url, shown, download, watch, source, boot, client, digest, done, validator, first };
    if done == 0 {
        transfer.start_over()?;
    } else {
        watch.say(&format!("going on after {}", crate::model::Size(done)));
    }
    let mut wait = FIRST_WAIT;
    let mut tries = 0;
    loop {
        let before = transfer.done;
        match transfer.attempt().await {
            Ok(()) => return Ok(Fetched { sha256: hex(&transfer.digest.finalize()) }),
            Err(Ended::Over(error)) => return Err(error),
            Err(Ended::Broken(error)) => {
                if transfer.done > before {
                    (tries, wait) = (0, FIRST_WAIT);
                }
                tries += 1;
                if tries >= TRIES {
                    return Err(match transfer.done {
                        0 => error,
                        _ => error
                            .with_hint(Hint::Text("what came is kept: the same command goes on from there".to_owned())),
                    });
                }
                watch.say(&format!("{error}; trying again"));
            }
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

impl Transfer<'_> {
    fn start_over(&mut self) -> Result<()> {
        self.download.forget_note();
        (self.digest, self.done, self.validator) = (Sha256::new(), 0, None);
        self.first.clear();
        self.download.file.set_len(0).map_err(|error| failed("write", &self.download.path, error))
    }

    async fn attempt(&mut self) -> Result<(), Ended> {
        let mut request = self.client.get(self.url.clone()).header(header::ACCEPT_ENCODING, "identity");
        match &self.validator {
            Some(validator) if self.done > 0 => {
                let range = format!("bytes={}-", self.done);
                request = request.header(header::RANGE, range).header(header::IF_RANGE, validator);
            }
            _ => self.start_over()?,
        }
        let response = request.send().await.map_err(|error| self.broken(error))?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && self.done > 0 {
            // The same file, of which nothing is missing. Or nonsense, and then from the beginning.
            if content_range(response.headers()) == Some((None, Some(self.done))) {
                return Ok(());
            }
            self.start_over()?;
            return Err(Ended::Broken(self.unreachable("the server cannot go on with the file")));
        }
        if !response.status().is_success() {
            return Err(self.refused(response.status()));
        }
        if response.status() == StatusCode::PARTIAL_CONTENT {
            if content_range(response.headers()).and_then(|(from, _)| from) != Some(self.done) {
                self.start_over()?;
                return Err(Ended::Broken(self.unreachable("the server sends another part than was asked for")));
            }
        } else if self.done > 0 {
            self.watch.say("the file has changed, or the server cannot go on with it: from the beginning");
            self.start_over()?;
        }
        let total = response.content_length().map(|rest| self.done + rest);
        require_space(directory_of(&self.download.path), total.map_or(0, |total| total - self.done))?;
        self.take_note(response.headers());
        self.receive(response, total).await?;
        match total {
            Some(total) if self.done < total => {
                Err(Ended::Broken(self.unreachable("the connection ended in the middle of the file")))
            }
            _ => Ok(()),
        }
    }

    async fn receive(&mut self, response: Response, total: Option<u64>) -> Result<(), Ended> {
        let told = |error| Ended::Over(failed("write", &self.download.path, error));
        let (mut stream, file) = (response.bytes_stream(), &self.download.file);
        self.watch.moved(self.done, total);
        let mut ended = Ok(());
        while let Some(chunk) = stream.next().await {
            if self.watch.cancelled() {
                ended = Err(Ended::Over(cancelled()));
                break;
            }
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    ended = Err(self.broken(error));
                    break;
                }
            };
            if self.done == self.first.len() as u64 && self.first.len() < TELLING {
                self.first.extend(chunk.iter().take(TELLING - self.first.len()));
                refuse_no_disk(self.shown, &self.first)?;
            }
            // What is nothing but zeros becomes a hole.
            if chunk.iter().any(|byte| *byte != 0) {
                file.write_all_at(&chunk, self.done).map_err(told)?;
            }
            self.digest.update(&chunk);
            self.done += chunk.len() as u64;
            reach(Point::PieceWritten);
            self.watch.moved(self.done, total);
        }
        file.set_len(self.done).map_err(told)?;
        ended
    }

    /// Notes what the server calls this version, if it says so in a way that can be relied on.
    fn take_note(&mut self, headers: &HeaderMap) {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
        self.validator = tag.or_else(|| text(header::LAST_MODIFIED));
        let Some(validator) = self.validator.clone() else { return self.download.forget_note() };
        let note = Note { source: self.source.clone(), validator, boot: self.boot.clone() };
        // Without it the next command only has to begin anew.
        let written = serde_json::to_vec(&note).map(|text| fs::write(self.download.note(), text));
        if !matches!(written, Ok(Ok(()))) {
            self.download.forget_note();
        }
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::new(Class::Unreachable, format!("cannot fetch `{}`: {why}", self.shown))
    }

    fn broken(&self, error: reqwest::Error) -> Ended {
        let why = if error.is_timeout() {
            "the server is silent"
        } else if error.is_connect() {
            "no connection to the server"
        } else if error.is_redirect() {
            return Ended::Over(
                self.unreachable("the server sends us on and on, or away from https").with_source(error.without_url()),
            );
        } else {
            "the connection broke"
        };
        // The address in it may have a secret.
        Ended::Broken(self.unreachable(why).with_source(error.without_url()))
    }

    fn refused(&self, status: StatusCode) -> Ended {
        let class = match status.as_u16() {
            401 => Class::Unauthenticated,
            403 => Class::Forbidden,
            404 | 410 => Class::NotFound,
            408 | 429 | 500..=599 => Class::Unreachable,
            _ => Class::Failed,
        };
        let error = Error::new(class, format!("cannot fetch `{}`: the server answered {status}", self.shown));
        if class == Class::Unreachable { Ended::Broken(error) } else { Ended::Over(error) }
    }
}

/// `bytes 100-199/500` as where it begins and how much there is; `bytes */500` begins nowhere.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (part, total) = range.split_once('/')?;
    Some((part.split_once('-').and_then(|(from, _)| from.parse().ok()), total.parse().ok()))
}

fn client() -> Result<Client> {
    let policy = redirect::Policy::custom(|attempt| {
        let down =
            attempt.previous().last().is_some_and(|from| from.scheme() == "https") && attempt.url().scheme() != "https";
        if down || attempt.previous().len() > 10 { attempt.error("refused") } else { attempt.follow() }
    });
    Client::builder()
        .user_agent(concat!("pvectl/", env!("CARGO_PKG_VERSION")))
        // A file is fetched as it lies there: lengths, ranges and checksums are those of the file.
        .no_gzip()
        .connect_timeout(Duration::from_secs(15))
        .read_timeout(SILENCE)
        .redirect(policy)
        .build()
        .map_err(|error| Error::new(Class::Failed, "cannot prepare to fetch").with_source(error))
}

/// Fetches a short text.
pub(super) async fn fetch_text(url: &Url, shown: &str) -> Result<String> {
    let told = |error: reqwest::Error| {
        let class = match error.status() {
            Some(StatusCode::NOT_FOUND) => Class::NotFound,
            _ => Class::Unreachable,
        };
        Error::new(class, format!("cannot fetch `{shown}`")).with_source(error.without_url())
    };
    let response = client()?.get(url.clone()).send().await.and_then(Response::error_for_status).map_err(told)?;
    let (mut stream, mut text) = (response.bytes_stream(), Vec::new());
    while let Some(chunk) = stream.next().await {
        text.extend_from_slice(&chunk.map_err(told)?);
        if text.len() > LONGEST_LIST {
            return Err(Error::usage(format!("`{shown}` is too long to be a list of checksums")));
        }
    }
    String::from_utf8(text).map_err(|_| Error::usage(format!("`{shown}` is no list of checksums")))
}
