//! A call in the form the server takes: target, form, headers.
//!
//! Pure: it makes the request and sends nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{self, Stream};
use reqwest::{
    RequestBuilder,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
    multipart::{Form, Part},
};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::{Endpoint, auth::Credentials, path};
use crate::model::{Call, Error, Method, Result};

const PREFIX: &str = "/api2/json";

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The name of a request to a plain route.
const REQUEST_ID: &str = "x-request-id";

/// The part of a form in which a file is uploaded.
const FILE: &str = "filename";

/// How much of a file is read at once.
const PIECE: usize = 128 << 10;

/// Stands in for an endpoint while a path is checked.
const ANY: &str = "https://pve";

/// A call, encoded once and sent perhaps several times.
pub(super) struct Request<'a> {
    /// What it was made from.
    pub(super) call: &'a Call,
    /// What stands before its path.
    prefix: &'static str,
    query: Option<String>,
    body: Option<String>,
    /// What it is beside the API of Proxmox VE, if it is; its body is JSON then, and else a form.
    plain: Option<Plain>,
}

/// A request to the plain routes of a host that pvectl serves.
#[derive(Debug, Clone, Default)]
pub(super) struct Plain {
    /// What it is called, on both sides.
    pub(super) id: Option<String>,
    /// How long its answer may take, where that is more than usual.
    pub(super) limit: Option<Duration>,
}

impl<'a> Request<'a> {
    /// Encodes the parameters: into the query of a GET or DELETE, for which the server refuses a body, into a form
    /// otherwise. Always with a length: the server takes no chunks.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when the path is not one of the API's: not encoded, with an empty
    /// segment, or with one that climbs.
    pub(super) fn new(call: &'a Call) -> Result<Self> {
        let path = call.path.as_str();
        let whole = path.starts_with('/') && (path == "/" || !path.ends_with('/')) && !path.contains("//");
        // The URL type resolves `..` and encodes what must not stand there; then it would be another path.
        let same = Url::parse(ANY).is_ok_and(|mut url| {
            url.set_path(path);
            url.path() == path
        });
        if !(whole && same) {
            return Err(Error::usage(format!("`{path}` is not a path of the API")));
        }
        let form = path::form(call.params.iter());
        let (query, body) = match call.method {
            Method::Get | Method::Delete => (Some(form).filter(|form| !form.is_empty()), None),
            Method::Post | Method::Put => (None, Some(form).filter(|_| call.file.is_none())),
        };
        Ok(Self { call, prefix: PREFIX, query, body, plain: None })
    }

    /// The same for a file that lies beside the API; the call's path is its whole path.
    pub(super) fn file(call: &'a Call) -> Result<Self> {
        Ok(Self { prefix: "", ..Self::new(call)? })
    }

    /// The same for a plain route, with a body in JSON; the call's path is its whole path, and it has no parameters.
    pub(super) fn plain(call: &'a Call, body: Option<&Value>, plain: Plain) -> Result<Self> {
        Ok(Self { body: body.map(Value::to_string), plain: Some(plain), ..Self::file(call)? })
    }

    /// How long the answer may take, where that is more than usual.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.plain.as_ref()?.limit
    }

    /// The same request with the call's file, in a form of several parts. The server looks at the parts in their order,
    /// so the file comes last; and it takes no chunks, so its length is said.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when the file cannot be read: nothing was sent.
    pub(super) fn with_file(
        &self,
        http: &reqwest::Client,
        outgoing: reqwest::Request,
        uploaded: &Arc<AtomicU64>,
    ) -> Result<reqwest::Request> {
        let Some(path) = &self.call.file else { return Ok(outgoing) };
        let unreadable = |error| Error::usage(format!("cannot read {}", path.display())).with_source(error);
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(Error::usage(format!("{} is no file that could be uploaded", path.display())));
        }
        let name = self.call.params.get(FILE).unwrap_or_default().to_owned();
        let texts = self.call.params.iter().filter(|(key, _)| *key != FILE);
        let form = texts.fold(Form::new(), |form, (key, value)| form.text(key.to_owned(), value.to_owned()));
        uploaded.store(0, Ordering::Relaxed);
        let body = reqwest::Body::wrap_stream(counted(tokio::fs::File::from_std(file), uploaded.clone()));
        let form = form.part(FILE, Part::stream_with_length(body, about.len()).file_name(name));
        let built = RequestBuilder::from_parts(http.clone(), outgoing).multipart(form).build();
        built.map_err(|error| Error::usage("this cannot be uploaded").with_source(error))
    }

    /// The request for one endpoint.
    pub(super) fn to(&self, endpoint: &Endpoint, credentials: &Credentials) -> reqwest::Request {
        let mut url = endpoint.url.clone();
        url.set_path(&format!("{}{}{}", endpoint.url.path().trim_end_matches('/'), self.prefix, self.call.path));
        url.set_query(self.query.as_deref());
        let method = match self.call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = reqwest::Request::new(method, url);
        credentials.put_into(request.headers_mut(), self.call.method);
        if let Some(id) = self.plain.as_ref().and_then(|plain| HeaderValue::from_str(plain.id.as_deref()?).ok()) {
            request.headers_mut().insert(REQUEST_ID, id);
        }
        if let Some(body) = &self.body {
            let headers = request.headers_mut();
            let kind = if self.plain.is_some() { JSON } else { FORM };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            *request.body_mut() = Some(body.clone().into());
        }
        request
    }
}

/// A file piece by piece; what was taken of it is counted.
fn counted(file: tokio::fs::File, uploaded: Arc<AtomicU64>) -> impl Stream<Item = std::io::Result<Vec<u8>>> {
    stream::try_unfold((file, uploaded), |(mut file, uploaded)| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        uploaded.fetch_add(read as u64, Ordering::Relaxed);
        Ok((read > 0).then_some((piece, (file, uploaded))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Params;

    fn url(method: Method, path: &str, params: Params) -> Result<String> {
        let call = Call::new(method, path).with_params(params);
        let endpoint = Endpoint::parse("https://proxy/pve/")?;
        Ok(Request::new(&call)?.to(&endpoint, &Credentials::None).url().to_string())
    }

    #[test]
    fn parameters_go_where_the_server_looks_for_them() {
        let params = Params::new().with("a", "x;y z");
        let base = "https://proxy/pve/api2/json/nodes";
        assert_eq!(url(Method::Get, "/nodes", Params::new()).unwrap(), base);
        assert_eq!(url(Method::Delete, "/nodes", params.clone()).unwrap(), format!("{base}?a=x%3By%20z"));
        assert_eq!(url(Method::Post, "/nodes", params).unwrap(), base);
    }

    #[test]
    fn a_path_that_would_become_another_is_refused() {
        for bad in [
            "",
            "nodes",
            "/nodes/../access",
            "/nodes/%2e%2e/access",
            "/a b",
            "/a?b=1",
            "/a#b",
            "/pools/",
            "/a//b",
            "/ä",
        ] {
            assert!(url(Method::Get, bad, Params::new()).is_err(), "{bad:?} was taken");
        }
        let volume = path::segments(&["storage", "dir1", "content", "dir1:100/vm-100-disk-0.qcow2"]);
        assert!(url(Method::Get, &volume, Params::new()).unwrap().ends_with("dir1:100%2Fvm-100-disk-0.qcow2"));
        assert!(url(Method::Get, "/", Params::new()).is_ok());
    }
}
