//! Pulls from a server that behaves badly in every way, and what the store has afterwards.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};
use url::Url;

use super::{Checksum, Images, Pull, Source, pull::hex};
use crate::{
    backends::cloud_hypervisor::disk::{Format, Unwatched, create_raw, overlay},
    model::{Class, Error, Result},
};

/// How the server answers one request.
#[derive(Clone, Default)]
struct Answer {
    body: Vec<u8>,
    etag: Option<&'static str>,
    /// After so many bytes of the body the connection is gone.
    cut: Option<usize>,
    /// Whether it honours `Range`.
    ranges: bool,
    status: Option<&'static str>,
}

/// A server that gives one answer after another, the last one again and again, and notes what was asked.
struct Server {
    url: Url,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/disk.img?key=hunter2", listener.local_addr().unwrap())).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = requests.clone();
        std::thread::spawn(move || {
            for (at, connection) in listener.incoming().enumerate() {
                let answer = answers.get(at).or(answers.last()).unwrap();
                // Who hangs up early is not the server's trouble.
                let _ = serve(&connection.unwrap(), answer, &noted);
            }
        });
        Self { url, requests }
    }

    /// The `Range` and `If-Range` of each request.
    fn ranges(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, answer: &Answer, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut range, mut condition) = (None, None);
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.to_ascii_lowercase().split_once(": ") {
            Some(("range", value)) => range = Some(value.to_owned()),
            Some(("if-range", value)) => condition = Some(value.to_owned()),
            Some(("accept-encoding", value)) => assert_eq!(value, "identity"),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    noted.lock().unwrap().push([range.clone(), condition.clone()].into_iter().flatten().collect::<Vec<_>>().join(" "));
    let length = answer.body.len();
    let wanted = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let same = condition.as_deref() == answer.etag;
    let from = wanted.filter(|_| answer.ranges && same).unwrap_or(0);
    let (status, extra) = match (answer.status, from) {
        (Some(status), _) => (status, String::new()),
        (None, 0) => ("200 OK", String::new()),
        (None, from) if from >= length => ("416 Range Not Satisfiable", format!("Content-Range: bytes */{length}\r\n")),
        (None, from) => ("206 Partial Content", format!("Content-Range: bytes {from}-{}/{length}\r\n", length - 1)),
    };
    let rest = if status.starts_with('2') { &answer.body[from..] } else { &[] };
    let tag = answer.etag.map_or(String::new(), |tag| format!("ETag: {tag}\r\n"));
    write!(stream, "HTTP/1.1 {status}\r\n{tag}{extra}Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len())?;
    stream.write_all(&rest[..answer.cut.unwrap_or(rest.len()).min(rest.len())])
}

/// A raw disk of 300,032 bytes with zeros in its middle.
fn disk() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..300_032_u32).map(|at| (at / 7) as u8 | 1).collect();
    bytes[100_000..200_000].fill(0);
    bytes
}

fn sum(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

struct Store {
    images: Images,
    home: tempfile::TempDir,
}

fn nobody(_: &Path) -> Result<Vec<String>> {
    Ok(Vec::new())
}

impl Store {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { images: Images::new(home.path().join("images")), home }
    }

    fn pull(&self, pull: Pull) -> Result<super::Image> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.images.pull(&pull, &nobody, Arc::new(Unwatched)))
    }

    fn file(&self, name: &str, content: &[u8]) -> Pull {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        wish(Source::File(path))
    }

    /// The names of all files of the store, but for its own two.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.images.directory()).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !["lock", "index.json"].contains(&name.as_str())).collect();
        names.sort();
        names
    }

    fn content(&self, image: &super::Image) -> Vec<u8> {
        fs::read(self.images.path(image)).unwrap()
    }
}

fn wish(source: Source) -> Pull {
    Pull { source, name: "one".into(), checksum: None, format: None, overwrite: false }
}

fn from(server: &Server) -> Pull {
    wish(Source::Url(server.url.clone()))
}

fn sha(bytes: &[u8]) -> Option<Checksum> {
    Some(Checksum::Sha256(sum(bytes)))
}

fn good() -> Answer {
    Answer { body: disk(), etag: Some("\"v1\""), ranges: true, ..Answer::default() }
}

#[test]
fn an_image_is_pulled_whole_and_named() {
    let (store, server) = (Store::new(), Server::start(vec![good()]));
    let image = store.pull(Pull { checksum: sha(&disk()), ..from(&server) }).unwrap();
    assert!(store.content(&image) == disk());
    assert_eq!((image.format, image.virtual_size, image.size), (Format::Raw, 300_032, 300_032));
    assert_eq!(image.sha256, sum(&disk()));
    assert!(!image.source.contains("hunter2"), "{}", image.source);
    assert_eq!(store.images.get("one").unwrap(), image);
    assert_eq!(store.files(), [image.file.as_str()]);
    assert_eq!(fs::metadata(store.images.path(&image)).unwrap().mode() & 0o777, 0o400);
    let error = store.pull(from(&server)).unwrap_err();
    assert_eq!((error.class(), error.message()), (Class::Conflict, "image `one` already exists"));
    let again = store.pull(Pull { overwrite: true, ..from(&server) }).unwrap();
    assert_eq!(store.files(), [again.file], "the old file is gone");
    assert_eq!(store.images.get("onne").unwrap_err().class(), Class::NotFound);
    assert!(store.images.left_behind().unwrap().is_empty());
}

#[test]
fn a_cut_connection_is_gone_on_with() {
    let cut = |at| Answer { cut: Some(at), ..good() };
    let (store, server) = (Store::new(), Server::start(vec![cut(150_000), cut(60_000), good()]));
    let image = store.pull(Pull { checksum: sha(&disk()), ..from(&server) }).unwrap();
    assert!(store.content(&image) == disk());
    let ranges = server.ranges();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0], "");
    assert!(ranges[1].starts_with("bytes=") && ranges[1].ends_with("- \"v1\""), "{ranges:?}");
    assert_ne!(ranges[1], ranges[2]);
}

#[test]
fn what_came_is_kept_for_the_next_command() {
    let cut = Answer { cut: Some(150_000), ..good() };
    let busy = Answer { status: Some("503 Service Unavailable"), ..Answer::default() };
    let (store, server) = (Store::new(), Server::start(vec![cut, busy]));
    let error = store.pull(from(&server)).unwrap_err();
    assert_eq!(error.class(), Class::Unreachable);
    assert!(format!("{:?}", error.hints()).contains("goes on from there"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(store.files(), ["one.partial", "one.partial.json"]);
    assert!(store.images.list().unwrap().is_empty());
    assert!(!fs::read_to_string(store.images.directory().join("one.partial.json")).unwrap().contains("hunter2"));
    let kept = fs::metadata(store.images.directory().join("one.partial")).unwrap().len();
    assert!(kept > 0 && kept <= 150_000);
    // The same address again, now well: moved here, for the port is another one.
    let server = Server::start(vec![good()]);
    let note = store.images.directory().join("one.partial.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    text["source"] = sum(server.url.as_str().as_bytes()).into();
    fs::write(&note, text.to_string()).unwrap();
    let image = store.pull(Pull { checksum: sha(&disk()), ..from(&server) }).unwrap();
    assert_eq!(server.ranges(), [format!("bytes={kept}- \"v1\"")]);
    assert!(store.content(&image) == disk());
    assert_eq!(store.files(), [image.file]);
}

#[test]
fn a_file_that_changed_meanwhile_comes_from_the_beginning() {
    let other: Vec<u8> = disk().iter().map(|byte| byte ^ 0x55).collect();
    for ranges in [true, false] {
        let cut = Answer { cut: Some(150_000), ..good() };
        let new = Answer { body: other.clone(), etag: Some("\"v2\""), ranges, ..Answer::default() };
        let (store, server) = (Store::new(), Server::start(vec![cut, new]));
        let image = store.pull(Pull { checksum: sha(&other), ..from(&server) }).unwrap();
        assert!(store.content(&image) == other);
    }
}

#[test]
fn a_server_that_cannot_go_on_is_asked_from_the_beginning() {
    for (etag, ranges) in [(Some("\"v1\""), false), (None, true), (Some("W/\"v1\""), true)] {
        let cut = Answer { cut: Some(150_000), etag, ranges, ..good() };
        let whole = Answer { cut: None, ..cut.clone() };
        let (store, server) = (Store::new(), Server::start(vec![cut, whole]));
        let image = store.pull(from(&server)).unwrap();
        assert!(store.content(&image) == disk());
        let asked = &server.ranges()[1];
        assert_eq!(asked.is_empty(), etag != Some("\"v1\""), "{asked}");
    }
}

#[test]
fn what_is_wrong_leaves_nothing() {
    let html = Answer { body: b"<!DOCTYPE html><html>moved</html>".repeat(100), ..good() };
    let odd = Answer { body: vec![7; 1000], ..good() };
    let missing = Answer { status: Some("404 Not Found"), ..Answer::default() };
    let any: fn(Pull) -> Pull = |pull| pull;
    type Case = (Answer, fn(Pull) -> Pull, Class, &'static str);
    let cases: Vec<Case> = vec![
        (good(), |pull| Pull { checksum: sha(b"other"), ..pull }, Class::Failed, "has another checksum"),
        (good(), |pull| Pull { format: Some(Format::Qcow2), ..pull }, Class::Usage, "is raw, not qcow2"),
        (html, any, Class::Usage, "is a web page"),
        (odd, any, Class::Usage, "nor the length of a raw disk"),
        (Answer { body: Vec::new(), ..good() }, any, Class::Usage, "it is empty"),
        (missing, any, Class::NotFound, "the server answered 404"),
        (good(), |pull| Pull { name: "../x".into(), ..pull }, Class::Usage, "cannot name an image"),
    ];
    for (answer, change, class, text) in cases {
        let (store, server) = (Store::new(), Server::start(vec![answer]));
        let error = store.pull(change(from(&server))).unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(error.message().contains(text) && !error.message().contains("hunter2"), "{error}");
        assert!(!error.message().contains("partial"), "our own names are nobody's: {error}");
        assert_eq!(store.files(), [""; 0], "{text}");
        assert!(store.images.list().unwrap().is_empty());
    }
}

#[test]
fn files_of_this_host_are_taken_packed_or_not() {
    let store = Store::new();
    let image = store.pull(store.file("disk.raw", &disk())).unwrap();
    assert!(store.content(&image) == disk() && image.sha256 == sum(&disk()));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&disk()).unwrap();
    let packed = packed.finish().unwrap();
    let wish = Pull { name: "two".into(), checksum: sha(&packed), ..store.file("disk.raw.gz", &packed) };
    let image = store.pull(wish).unwrap();
    assert!(store.content(&image) == disk() && image.sha256 == sum(&packed));
    assert_eq!(store.files().len(), 2, "{:?}", store.files());
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("a.gz", packed[..1000].to_vec(), "cannot be unpacked"),
        ("a.xz", b"\xfd7zXZ\0and more of it".to_vec(), "compressed with xz"),
        ("a.vhdx", [b"vhdxfile".as_slice(), &[0; 504]].concat(), "vhdx images are not kept here"),
        ("a.qcow2", b"QFI\xfb and nothing of use".repeat(10), "cannot be used as a disk"),
    ];
    for (name, content, text) in cases {
        let error = store.pull(Pull { name: "three".into(), ..store.file(name, &content) }).unwrap_err();
        assert!(error.message().contains(text) && error.message().contains(name), "{error}");
        assert_eq!(store.files().len(), 2, "{:?}", store.files());
    }
    let sums = format!("{}  disk.raw\n", sum(b"another"));
    let Source::File(list) = store.file("SHA256SUMS", sums.as_bytes()).source else { unreachable!() };
    let wish = Pull { name: "four".into(), ..store.file("disk.raw", &disk()) };
    let list = Some(Checksum::List(Source::File(list)));
    let error = store.pull(Pull { checksum: list.clone(), ..wish }).unwrap_err();
    assert!(error.message().contains("has another checksum"), "{error}");
    let wish = Pull { name: "four".into(), checksum: list, ..store.file("unlisted.raw", &disk()) };
    assert!(store.pull(wish).unwrap_err().message().contains("has no SHA-256 of `unlisted.raw`"));
}

#[test]
fn an_image_over_another_is_refused_and_one_in_use_stays() {
    let store = Store::new();
    let base = store.pull(store.file("disk.raw", &disk())).unwrap();
    let over = store.home.path().join("over.qcow2");
    let folders = [store.images.directory().to_owned()];
    overlay(&over, &store.images.path(&base), base.format, Some(1 << 30), &folders).unwrap();
    let pull = Pull { name: "two".into(), ..wish(Source::File(over)) };
    let error = store.pull(pull).unwrap_err();
    assert!(error.message().contains("needs another image below it"), "{error}");
    let users = |_: &Path| -> Result<Vec<String>> { Ok(vec!["vm/100 (web)".into()]) };
    let delete = |names: &[&str], users: super::Users<'_>| -> Result<Vec<super::Image>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        store.images.delete(&names, users)
    };
    let used = |error: Error| (error.class(), error.message().to_owned());
    let told = (Class::Conflict, "image `one` is in use by vm/100 (web)".to_owned());
    assert_eq!(used(delete(&["one"], &users).unwrap_err()), told);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pull = Pull { overwrite: true, ..store.file("new.raw", &disk()) };
    let error = runtime.block_on(store.images.pull(&pull, &users, Arc::new(Unwatched))).unwrap_err();
    assert_eq!(used(error), told);
    assert_eq!(delete(&["one", "none"], &nobody).unwrap_err().class(), Class::NotFound);
    assert_eq!(store.images.list().unwrap().len(), 1, "all or none");
    assert_eq!(delete(&["one"], &nobody).unwrap(), [base]);
    assert!(store.files().is_empty() && store.images.list().unwrap().is_empty());
}

#[test]
fn leftovers_are_seen_and_a_damaged_index_is_said() {
    let store = Store::new();
    assert!(store.images.left_behind().unwrap().is_empty(), "nothing was ever put there");
    store.pull(store.file("disk.raw", &disk())).unwrap();
    let stray = store.images.directory().join("gone-123.raw");
    create_raw(&stray, 512).unwrap();
    assert_eq!(store.images.left_behind().unwrap(), [stray]);
    fs::write(store.images.directory().join("index.json"), "{").unwrap();
    assert!(store.images.list().unwrap_err().message().contains("is damaged"));
}
