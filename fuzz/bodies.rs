//! What the fuzz targets do with a text. The suite does the same with the seeds and with made-up texts
//! (`tests/integration/fuzz.rs`), so that a mistake shows without a fuzzer.
#![allow(dead_code, reason = "each target uses one of them")]

use std::{
    future, io,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    panic,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use pvectl::{
    model::{PropertyString, SystemClock, Tags, Upid},
    sandbox::{Sandbox, Shape},
    select::{FieldPath, FieldSelector, LabelSelector, SortKeys, Template},
    server::{Kit, Options, listen},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// A property string that is read and printed is read as the same again.
pub(crate) fn property_string(text: &str) {
    let Ok(parsed) = text.parse::<PropertyString>() else { return };
    let printed = parsed.to_string();
    assert_eq!(printed.parse::<PropertyString>().as_ref(), Ok(&parsed), "{printed:?}");
    for (key, value) in parsed.iter() {
        assert!(key.map_or(parsed.bare(), |key| parsed.get(key)).is_some(), "{key:?} {value:?}");
    }
}

/// A UPID is printed as it was written, to the byte.
pub(crate) fn upid(text: &str) {
    let Ok(parsed) = text.parse::<Upid>() else { return };
    assert_eq!(parsed.to_string(), text);
}

/// A label selector that is read and printed is read as the same again, and works on any tags.
pub(crate) fn label_selector(text: &str) {
    // Whatever tags a server sends.
    let tags = Tags::parse(text);
    let Ok(parsed) = text.parse::<LabelSelector>() else { return };
    let printed = parsed.to_string();
    let again: LabelSelector = printed.parse().unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again, parsed, "{printed:?}");
    for tags in [tags, Tags::default(), Tags::parse("app.web;a;a.;.a;..;a.b.c")] {
        let mut each = parsed.requirements().iter().map(|one| one.to_string().parse::<LabelSelector>());
        let all = each.all(|one| one.is_ok_and(|one| one.matches(&tags)));
        assert_eq!(parsed.matches(&tags), all, "{printed:?} on {tags}");
    }
}

/// Field selectors, sort keys and paths that are read and printed are read as the same again, and work on any data.
pub(crate) fn field_selector(text: &str) {
    let data = data(text);
    if let Ok(parsed) = text.parse::<FieldSelector>() {
        let printed = parsed.to_string();
        let again: FieldSelector = printed.parse().unwrap_or_else(|error| panic!("{printed:?}: {error}"));
        assert_eq!(again, parsed, "{printed:?}");
        assert_eq!(again.matches(&data).ok(), parsed.matches(&data).ok());
    }
    if let Ok(parsed) = text.parse::<SortKeys>() {
        let printed = parsed.to_string();
        let again: SortKeys = printed.parse().unwrap_or_else(|error| panic!("{printed:?}: {error}"));
        assert_eq!(again, parsed, "{printed:?}");
        let mut rows = vec![data.clone(), json!({"a": text}), json!({"a": 1}), json!(null), data.clone()];
        parsed.sort(&mut rows, |row| row);
        assert_eq!(rows.len(), 5);
    }
    if let Ok(parsed) = text.parse::<FieldPath>() {
        let printed = parsed.to_string();
        assert_eq!(printed.parse::<FieldPath>().ok().as_ref(), Some(&parsed), "{printed:?}");
        parsed.get(&data);
    }
}

/// A template is read or refused, and what is read works on any data.
pub(crate) fn jsonpath_template(text: &str) {
    let Ok(template) = Template::compile(text) else { return };
    // An expression may not fit the data; it must not fall over it.
    let _ = template.write(&mut io::sink(), &data(text));
    let _ = template.write(&mut io::sink(), &Value::Null);
}

/// Data in which texts like `a`, `a.b`, `items[0]` find something, and the text itself.
fn data(text: &str) -> Value {
    json!({
        "a": {"b": [1, {"c": text}, null], "d": "8192"},
        "items": [{"a": 1, "name": "x", "status": "running"}, {"a": -1.5, "name": text}],
        "node": "pve1", "maxmem": 4_294_967_296_u64, "template": 0, text: true,
    })
}

/// Where a sandbox is served, for as long as this process lives, and the header of who may do everything there.
static SERVED: LazyLock<(SocketAddr, String)> = LazyLock::new(|| {
    let shape = Shape { pace: 0.0, ..Shape::default() };
    let sandbox = Sandbox::in_memory(&shape, Arc::new(SystemClock)).expect("a sandbox");
    let (name, secret) = sandbox.token();
    // A panic ends a connection and nothing else.
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().name() == Some(SERVING) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        before(panic);
    }));
    let (tell, told) = mpsc::channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("an address")).expect("who asked is there");
            listen(Kit::new(Arc::new(sandbox), Options::in_process()), listener, None, future::pending()).await
        })
    };
    thread::Builder::new().name(SERVING.to_owned()).spawn(serve).expect("a thread");
    let address = told.recv().expect("a server");
    (address, format!("Authorization: PVEAPIToken={name}={}", secret.expose_secret()))
});

/// What the thread is called that answers.
const SERVING: &str = "served";

/// How often it has fallen over.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// The statuses that a server of this API has for whatever it is asked.
const STATUSES: [u16; 17] = [101, 200, 308, 400, 401, 403, 404, 405, 408, 411, 413, 414, 431, 500, 501, 505, 506];

/// A request, with lines as in a file and without credentials, is answered with a status of this API or with the end of
/// its connection; nothing falls over, and the next one is answered.
pub(crate) fn request(text: &str) {
    let (address, authorization) = &*SERVED;
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let head = format!("{line}\n{authorization}\nConnection: close\n{headers}").trim_end().replace('\n', "\r\n");
    let said = ask(*address, format!("{head}\r\n\r\n{body}").as_bytes(), false);
    assert!(said.is_none_or(|status| STATUSES.contains(&status)), "{said:?}");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    let version = format!("GET /api2/json/version HTTP/1.1\r\nHost: x\r\n{authorization}\r\nConnection: close\r\n\r\n");
    assert_eq!(ask(*address, version.as_bytes(), true), Some(200));
}

/// The status of an answer, if there is one. A server owes none to who has hung up half-way, as who sends half a request does.
fn ask(address: SocketAddr, request: &[u8], is_whole: bool) -> Option<u16> {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    // Who is refused early does not take the rest.
    let _ = stream.write_all(request);
    if !is_whole {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let answer = answer.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()
}
