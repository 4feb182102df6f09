//! The sandbox asked directly, with a clock that the test sets. How it does over HTTP is tested with the kit.

mod access;
mod backups;
mod config;
mod guests;
mod ha;
mod power;
mod recorded;
mod sharing;
mod tasks;

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use super::*;
use crate::{model::Params, server::Identity};

/// A clock that stands until it is moved.
pub(super) struct Hand(AtomicI64);

impl Hand {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_795_180_000_000)))
    }

    pub(super) fn forward(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

/// A sandbox and somebody who asks it.
pub(super) struct Asker {
    pub(super) sandbox: Sandbox,
    pub(super) clock: Arc<Hand>,
    pub(super) who: Identity,
}

pub(super) fn root() -> Identity {
    Identity { user: "root@pam".into(), token: Some("pvectl".into()) }
}

impl Asker {
    pub(super) fn new() -> Self {
        Self::of(&Shape::default())
    }

    pub(super) fn of(shape: &Shape) -> Self {
        let clock = Hand::new();
        let sandbox = Sandbox::in_memory(shape, clock.clone()).unwrap();
        Self { sandbox, clock, who: root() }
    }

    /// Asks; the path is matched against the routes' templates as the kit would do it.
    pub(super) fn ask(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Result<Reply, Fault> {
        let request = request(method, path, params, &self.who);
        self.sandbox.answer(&request)
    }

    pub(super) fn get(&self, path: &str) -> Value {
        self.ask(Method::Get, path, &[]).unwrap_or_else(|fault| panic!("GET {path}: {fault:?}")).data
    }

    /// A change that is done at once or names a task.
    pub(super) fn post(&self, path: &str, params: &[(&str, &str)]) -> String {
        let reply = self.ask(Method::Post, path, params);
        let data = reply.unwrap_or_else(|fault| panic!("POST {path}: {fault:?}")).data;
        data.as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn fault(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Fault {
        match self.ask(method, path, params) {
            Err(fault) => fault,
            Ok(reply) => panic!("{method} {path} was answered: {reply:?}"),
        }
    }

    /// Lets a task end and gives its exit status.
    pub(super) fn finish(&self, upid: &str) -> String {
        for _ in 0..600 {
            let node = upid.split(':').nth(1).unwrap();
            let status = self.get(&format!("/nodes/{node}/tasks/{upid}/status"));
            if let Some(exit) = status["exitstatus"].as_str() {
                return exit.to_owned();
            }
            self.clock.forward(500);
        }
        panic!("{upid} does not end");
    }

    /// Posts and waits for the task.
    pub(super) fn run(&self, path: &str, params: &[(&str, &str)]) -> String {
        self.finish(&self.post(path, params))
    }
}

/// Builds what the kit would hand over.
pub(super) fn request(method: Method, path: &str, params: &[(&str, &str)], who: &Identity) -> Request {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len()
            && wanted.iter().zip(&parts).all(|(want, have)| want.starts_with('{') || want == have)
    };
    let mut templates: Vec<&'static str> = api::templates(method).filter(|template| fits(template)).collect();
    templates.sort_by_key(|template| template.matches('{').count());
    let template = templates.first().copied().unwrap_or("/nosuch");
    let mut all: Params = template
        .split('/')
        .zip(&parts)
        .filter_map(|(want, have)| {
            Some((want.strip_prefix('{')?.strip_suffix('}')?.to_owned(), have.replace("%2F", "/")))
        })
        .collect();
    all.extend(params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Request {
        method,
        template,
        params: all,
        identity: Some(who.clone()),
        upload: None,
        task_ends: None,
        id: String::new(),
    }
}
