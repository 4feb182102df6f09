//! Plain routes beside the API of Proxmox VE, for people and scripts: names instead of VMIDs, JSON, a bearer token or a
//! client certificate.
//!
//! Another face of the same actions: each is done by calls of that API, with its checks and permissions. What they are
//! and what they answer is in `table`; nothing is decided here that a node would not decide.

mod act;
mod answer;
mod beyond;
mod enroll;
mod openapi;
mod table;
mod vm;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use futures_util::StreamExt as _;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, RwLock};
use url::form_urlencoded;

use self::{
    act::Making,
    answer::Answer,
    enroll::Enrolling,
    table::{Route, TABLE},
};
pub(super) use self::{
    act::{DELETE, NewVm, PAUSE, RESUME, SNAPSHOT, START, STOP, TRIES, Verb, is_number_taken},
    answer::Trouble,
    beyond::Exec,
    vm::Vm,
};
use super::{AllowList, Host, heartbeat::Heart, plans::Store};
use crate::{
    model::{Fact, Result},
    server::{Beside, Identity, Kit, Means, Recognised, Way},
};

pub use self::openapi::openapi;

/// Below which all of it is.
const ROOT: &str = "/api";

/// The largest body, as on a real server.
const LARGEST_BODY: usize = 512 * 1024;

/// How long a body may take to come.
const SLOWEST_BODY: Duration = Duration::from_secs(30);

/// Looks at what the host is and has; it may block.
pub type Look = Arc<dyn Fn() -> Vec<Fact> + Send + Sync>;

/// What answers the plain routes.
pub struct Desk {
    pub(super) host: Arc<Host>,
    pub(super) store: Store,
    pub(super) allowed: AllowList,
    pub(super) heart: Option<Heart>,
    enrolling: Option<Enrolling>,
    look: Option<Look>,
    making: Mutex<Making>,
    /// There is a new plan.
    pub(super) news: Notify,
    /// Whoever is at work reads; who waits until nobody is, writes.
    pub(super) at_work: Arc<RwLock<()>>,
}

impl Desk {
    /// Over a host, with plans that are kept in this file.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn new(host: Arc<Host>, plans: &std::path::Path, allowed: AllowList, heart: Option<Heart>) -> Result<Self> {
        Ok(Self {
            host,
            store: Store::open(plans)?,
            allowed,
            heart,
            enrolling: None,
            look: None,
            making: Mutex::default(),
            news: Notify::new(),
            at_work: Arc::default(),
        })
    }

    /// The same with a look at the host, for whoever asks what it is and has.
    #[must_use]
    pub fn with_look(self, look: Look) -> Self {
        Self { look: Some(look), ..self }
    }

    /// Waits for what is at work; nothing new is begun from now on.
    pub async fn leave(&self) {
        let _nobody = self.at_work.write().await;
        self.host.leave().await;
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Who asks, and by which request.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) kit: Kit,
    pub(super) who: Identity,
    pub(super) id: String,
}

/// A request, taken apart.
pub(super) struct Call {
    pub(super) asker: Asker,
    /// By what whoever asks was recognised; `None` where nobody has to be.
    by: Option<Means>,
    way: Way,
    /// What stands in the path for the words in braces.
    vars: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) key: Option<String>,
    body: Vec<u8>,
}

impl Call {
    /// The name in the path.
    fn name(&self) -> &str {
        self.vars.first().map_or("", String::as_str)
    }

    fn parse<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, Trouble> {
        serde_json::from_slice(bytes)
            .map_err(|error| Trouble::bad(format!("the body is not what is expected: {error}")))
    }

    fn body<T: DeserializeOwned>(&self) -> std::result::Result<T, Trouble> {
        match self.body.is_empty() {
            true => Err(Trouble::bad("a body in JSON is expected")),
            false => Self::parse(&self.body),
        }
    }

    /// The body; none is as good as an empty object.
    fn body_or_nothing<T: DeserializeOwned>(&self) -> std::result::Result<T, Trouble> {
        Self::parse(if self.body.is_empty() { b"{}" } else { &self.body })
    }

    /// Refuses a body that would be ignored.
    fn no_body(&self) -> std::result::Result<(), Trouble> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        self.body_or_nothing().map(|Nothing {}| ())
    }

    /// A switch in the query.
    fn flag(&self, name: &str) -> std::result::Result<bool, Trouble> {
        match self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Trouble::bad(format!("{name}=`{other}`: true or false is expected"))),
        }
    }
}

/// Reads a body; what is too much of it is read too, so that its sender gets to read the answer.
async fn bytes(body: Body) -> std::result::Result<Vec<u8>, Trouble> {
    const ENOUGH: usize = 64 * 1024 * 1024;
    let mut chunks = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Trouble::bad("the body was broken off"))?;
        seen += chunk.len();
        if seen <= LARGEST_BODY {
            kept.extend_from_slice(&chunk);
        } else if seen > ENOUGH {
            break;
        }
    }
    if seen > LARGEST_BODY { Err(Trouble::new(413, "the body is too large")) } else { Ok(kept) }
}

/// The route of a request, and what stands in its path for the words in braces.
fn find(method: &str, path: &str) -> std::result::Result<(&'static Route, Vec<String>), Trouble> {
    let segments: Vec<&str> = path.strip_prefix(ROOT).unwrap_or_default().split('/').skip(1).collect();
    let mut others = Vec::new();
    for route in TABLE {
        let wanted: Vec<&str> = route.path.split('/').skip(1).collect();
        let is_var = |word: &str| word.starts_with('{');
        let fits = wanted.len() == segments.len()
            && wanted
                .iter()
                .zip(&segments)
                .all(|(want, have)| if is_var(want) { !have.is_empty() } else { want == have });
        if !fits {
            continue;
        }
        if route.method.as_str() == method {
            let vars = wanted.iter().zip(&segments).filter(|(want, _)| is_var(want));
            let decode = |text: &str| {
                let decoded = percent_decode_str(text).decode_utf8().ok()?;
                (!decoded.contains(char::is_control)).then(|| decoded.into_owned())
            };
            let vars: Option<Vec<String>> = vars.map(|(_, have)| decode(have)).collect();
            return vars.map(|vars| (route, vars)).ok_or_else(|| Trouble::bad("the path is no text"));
        }
        others.push(route.method.as_str());
    }
    match others.is_empty() {
        true => Err(Trouble::new(404, format!("there is nothing at {path}"))),
        false => Err(Trouble::new(405, format!("{path} knows {}, not {method}", others.join(", ")))),
    }
}

impl Table {
    /// Answers a request.
    async fn answer(
        &self,
        kit: &Kit,
        request: axum::extract::Request,
        id: &str,
    ) -> std::result::Result<Answer, Trouble> {
        let (parts, body) = request.into_parts();
        let found = find(parts.method.as_str(), parts.uri.path());
        let (who, by) = match &found {
            Ok((route, _)) if route.is_open => (Identity { user: String::new(), token: None }, None),
            // Who is nobody learns nothing, not even what there is.
            _ => {
                let Recognised { who, by } = kit.recognise(&parts).await.map_err(|why| Trouble::new(401, why))?;
                (who, Some(by))
            }
        };
        let (route, vars) = found?;
        let query: Vec<(String, String)> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        if let Some((key, _)) = query.iter().find(|(key, _)| !route.query.contains(&key.as_str())) {
            return Err(Trouble::bad(format!("`{key}` is not known in a query here")));
        }
        let read = tokio::time::timeout(SLOWEST_BODY, bytes(body)).await;
        let read = read.map_err(|_| Trouble::new(408, "the body did not come in time"))?;
        let body = read?;
        let text = |name: &str| parts.headers.get(name).map(HeaderValue::to_str).transpose();
        let unreadable = |_| Trouble::bad("a header is no text");
        let kind = text("content-type").map_err(unreadable)?.unwrap_or("application/json");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !body.is_empty() && !kind.eq_ignore_ascii_case("application/json") {
            return Err(Trouble::new(415, "a body is read as JSON: Content-Type: application/json"));
        }
        let key = text("idempotency-key").map_err(unreadable)?.map(str::to_owned);
        let _answering = kit.answering(&parts);
        let asker = Asker { kit: kit.clone(), who, id: id.to_owned() };
        let call = Call { asker, by, way: kit.way(&parts), vars, query, key, body };
        let (desk, at_work) = (self.0.clone(), self.0.at_work.clone().read_owned().await);
        // It goes on when whoever asked has gone: nothing is left half done.
        let work = tokio::spawn(async move {
            let _at_work = at_work;
            (route.handle)(&desk, call).await
        });
        work.await.unwrap_or_else(|_| Err(Trouble::new(500, "this is a bug in pvectl")))
    }
}

/// The plain routes of a desk, for the kit.
#[derive(Debug)]
pub struct Table(pub Arc<Desk>);

#[async_trait]
impl Beside for Table {
    fn has(&self, path: &str) -> bool {
        path == ROOT || path.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/'))
    }

    async fn answer(&self, kit: &Kit, request: axum::extract::Request, id: &str) -> Response<Body> {
        let mut response = match Self::answer(self, kit, request, id).await {
            Ok(answer) => answer.response(),
            Err(trouble) => trouble.response(),
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_decoded_and_refused() {
        let found = |method, path| find(method, path).map(|(route, vars)| (route.path, vars));
        assert_eq!(found("GET", "/api/vms").unwrap(), ("/vms", vec![]));
        assert_eq!(found("POST", "/api/vms/web%20x/start").unwrap(), ("/vms/{name}/start", vec!["web x".to_owned()]));
        for path in ["/api", "/api/", "/api/vms/", "/api/vms//start", "/api/vms/web/start/", "/api/nothing"] {
            assert_eq!(find("POST", path).unwrap_err().status, 404, "{path}");
        }
        assert_eq!(find("GET", "/api/vms/web/start").unwrap_err().status, 405);
        assert_eq!(find("GET", "/api/vms/%ff").unwrap_err().status, 400);
        assert_eq!(find("GET", "/api/vms/a%00b").unwrap_err().status, 400);
    }
}
