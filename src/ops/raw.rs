//! Single calls of the API as somebody asked for them: checked, the node found, read page by page, or recorded and
//! followed like a plan's step.
//!
//! It does not know what a call means to a guest: no power state is looked at and no configuration kept.

use std::{fmt, path::PathBuf};

use serde_json::Value;

use super::{Interrupt, Observer, Ops, RunOptions, Status, recorded::Recorded};
use crate::{
    client::{Reply, path},
    contract::{Arguments, Contract, Route},
    model::{
        Call, Class, Error, GuestKind, Hint, Intent, Method, NodeName, OperationId, Params, Result, Sent, Submitted,
        Upid, Vmid,
    },
};

/// How many rows are asked for at once where nothing else was said.
const PAGE: u64 = 500;

/// A call that was found in the API and whose parameters are right. Pure: it knows no server.
#[derive(Debug, Clone)]
pub struct CallRequest<'c> {
    route: Route<'c>,
    params: Params,
    file: Option<PathBuf>,
}

/// A call that can be shown and sent.
#[derive(Debug, Clone)]
pub struct CallPlan {
    /// The call.
    pub call: Call,
    /// The node in its path.
    pub node: Option<NodeName>,
    /// The guest in its path.
    pub vmid: Option<Vmid>,
    /// What sort of guest that is.
    pub kind: Option<GuestKind>,
    /// Whether its answer comes in pages, `start` and `limit`.
    pub has_pages: bool,
    /// What it is to a person, where it is more than a call.
    pub subject: Option<Subject>,
}

/// The verb that a call carries out, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `create`.
    pub verb: &'static str,
    /// `pool`.
    pub kind: &'static str,
    /// What it is called; empty where the server gives the name.
    pub name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, kind, name } = self;
        write!(f, "{verb} {kind}{}{name}", if name.is_empty() { "" } else { " " })
    }
}

/// What became of a call that changes something.
#[derive(Debug)]
pub struct CallOutcome {
    /// How it went.
    pub status: Status,
    /// What the server answered; `None` if it did not, or refused.
    pub data: Option<Value>,
    /// The task it started.
    pub upid: Option<Upid>,
    /// How that ended, in the server's words.
    pub exit_status: Option<String>,
    /// Its place in the journal.
    pub operation: Option<OperationId>,
    /// Why it failed, or was not waited for.
    pub error: Option<Error>,
    /// The end of a failed task's log.
    pub log: Vec<String>,
}

impl<'c> CallRequest<'c> {
    /// Finds the method and checks the parameters; see [`Contract::route`] and [`Route::params`]. Only an upload takes a
    /// file, whose name is its parameter `filename`.
    ///
    /// # Errors
    /// [`Class::Usage`] for everything that the contract does not have so, and for what the path lacks; a node is not
    /// missed where the path has a guest.
    pub fn new(
        contract: &'c Contract,
        method: Method,
        path: &str,
        mut arguments: Arguments,
        forced: &Params,
        file: Option<PathBuf>,
    ) -> Result<Self> {
        let route = contract.route(method, path, &mut arguments)?;
        let params = route.params(arguments, forced)?;
        let request = Self { route, params, file };
        if request.route.endpoint.path.ends_with("/upload") && request.file.is_none() {
            return Err(Error::usage("an upload needs a file").with_hint(Hint::Text("give -p filename=@FILE".into())));
        }
        // With the guest its node is known too.
        let of_a_guest = request.kind().is_some();
        let open = request.route.open().filter(|name| !(of_a_guest && *name == "node"));
        let missing: Vec<String> = open.map(|name| format!("`{name}`")).collect();
        if missing.is_empty() {
            return Ok(request);
        }
        let error = format!("{} needs {}", request.route.endpoint.path, missing.join(" and "));
        let first = missing[0].trim_matches('`');
        Err(Error::usage(error).with_hint(Hint::Text(format!("put it into the path, or give -p {first}=VALUE"))))
    }

    /// Whether all that its path lacks is the node of the guest in it.
    pub fn needs_node(&self) -> bool {
        self.route.open().eq(["node"]) && self.kind().is_some()
    }

    /// Whether its answer comes in pages.
    pub fn has_pages(&self) -> bool {
        self.route.endpoint.method == Method::Get
            && ["start", "limit"].iter().all(|name| self.route.endpoint.parameters.get(name).is_some())
    }

    fn kind(&self) -> Option<GuestKind> {
        GuestKind::ALL.into_iter().find(|kind| self.route.endpoint.path.contains(&format!("/{}/{{vmid}}", kind.api())))
    }

    fn plan(&self) -> Result<CallPlan> {
        let path = path::segments(&self.route.segments()?);
        Ok(CallPlan {
            call: Call { file: self.file.clone(), ..Call::new(self.route.endpoint.method, path) }
                .with_params(self.params.clone()),
            node: self.route.value("node").and_then(|node| NodeName::new(node).ok()),
            vmid: self.route.value("vmid").and_then(|vmid| vmid.parse().ok()),
            kind: self.kind(),
            has_pages: self.has_pages(),
            subject: None,
        })
    }
}

impl Ops {
    /// Plans a call. Only where a guest's node is to be found anything is asked of the server.
    ///
    /// # Errors
    /// [`Class::NotFound`] when there is no such guest.
    pub async fn plan_call(&self, mut request: CallRequest<'_>) -> Result<CallPlan> {
        if let (true, Some(kind)) = (request.needs_node(), request.kind()) {
            let vmid = request.route.value("vmid").unwrap_or_default().to_owned();
            let guest = self.find_one(&vmid, kind).await?;
            request.route.fill("node", guest.node.as_str())?;
        }
        request.plan()
    }

    /// Makes a call that reads.
    ///
    /// # Errors
    /// Whatever the server says; [`Class::Usage`] for a call that changes something.
    pub async fn read_call(&self, plan: &CallPlan) -> Result<Value> {
        if plan.call.method != Method::Get {
            return Err(Error::usage(format!("a {} does not read", plan.call.method)));
        }
        Ok(self.backend.send(&plan.call).await?.data)
    }

    /// Makes a call that reads rows page by page, and gives them all. A `limit` is the size of a page, a `start` where
    /// the first one begins.
    ///
    /// # Errors
    /// As [`read_call`](Self::read_call); [`Class::Usage`] for a method without pages.
    pub async fn read_pages(&self, plan: &CallPlan) -> Result<Vec<Value>> {
        if !plan.has_pages {
            return Err(Error::usage(format!("{} has no pages: it takes no `start` and `limit`", plan.call.path)));
        }
        let number = |name: &str| plan.call.params.get(name).and_then(|text| text.parse::<u64>().ok());
        let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(PAGE);
        let mut start = number("start").unwrap_or(0);
        let mut call = plan.call.clone();
        let mut all = Vec::new();
        loop {
            call.params.set("start", start);
            call.params.set("limit", limit);
            let reply = self.backend.send(&call).await?;
            let Value::Array(rows) = reply.data else {
                return Err(Error::new(Class::Failed, format!("the answer to {} is no list", call.path)));
            };
            let count = rows.len() as u64;
            start += count;
            all.extend(rows);
            // A page may be short because the server gives fewer at once; only without a total that is the end.
            if count == 0 || reply.total.map_or(count < limit, |total| start >= total) {
                return Ok(all);
            }
        }
    }

    /// Makes a call that changes something, recorded as `api post` and the like before it is sent, and follows its
    /// task.
    pub async fn run_call(
        &self,
        plan: &CallPlan,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> CallOutcome {
        // As long as this lives, an interrupt is minded.
        let _minding = interrupt.mind();
        let mut recorded = Recorded::new(self, options, observer, interrupt);
        let call = &plan.call;
        let mut data = None;
        let planned =
            if interrupt.is_raised() { None } else { Some(recorded.plan(&self.call_intent(plan, options.parent))) };
        let ending = match planned {
            None => recorded.ending(Status::Cancelled, None, Vec::new()),
            Some(Err(error)) => recorded.ending(Status::Failed, Some(error), Vec::new()),
            Some(Ok(())) => {
                let request = async {
                    let answer = self.send_breakable(call, interrupt).await?.data;
                    data = Some(answer.clone());
                    Submitted::from_answer(answer)
                };
                let ended = recorded.send(1, Some(call), request, |upid| observer.call_task(plan, upid)).await;
                let explain = |error: Error, _: &[String]| match &plan.subject {
                    Some(subject) => error.context(format_args!("cannot {subject}")),
                    None => error.context(format_args!("{} {}", call.method, call.path)),
                };
                recorded.end(ended, explain).await
            }
        };
        CallOutcome {
            status: ending.status,
            data,
            upid: ending.upid,
            exit_status: ending.exit_status,
            operation: ending.operation,
            error: ending.error,
            log: ending.log,
        }
    }

    /// Sends a call. An upload is broken off by a wish to stop as long as something of the file is left: a server drops
    /// what it has of one that is not whole.
    async fn send_breakable(&self, call: &Call, interrupt: &Interrupt) -> Result<Reply> {
        let Some(file) = &call.file else { return self.backend.send(call).await };
        let whole = std::fs::metadata(file).map_or(0, |about| about.len());
        let broken = async {
            interrupt.raised().await;
            if self.backend.uploaded() >= whole {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            answered = self.backend.send(call) => answered,
            () = broken => {
                let text = "the upload was broken off, and the server drops what it has of it";
                Err(Error::new(Class::Interrupted, text).with_sent(Sent::Never))
            }
        }
    }

    fn call_intent(&self, plan: &CallPlan, parent: Option<OperationId>) -> Intent {
        let (verb, target, kind, name) = match &plan.subject {
            Some(Subject { verb, kind, name }) => {
                (verb.to_string(), format!("{kind}/{name}"), *kind, Some(name.clone()).filter(|name| !name.is_empty()))
            }
            None => {
                let verb = format!("api {}", plan.call.method.as_str().to_lowercase());
                (verb, plan.call.path.clone(), plan.kind.map_or("api", GuestKind::api), None)
            }
        };
        Intent {
            verb,
            target,
            kind: kind.to_owned(),
            vmid: plan.vmid.map(Vmid::get),
            name,
            node: plan.node.as_ref().map(ToString::to_string),
            context: self.context.clone(),
            user: self.backend.user(),
            steps: vec![plan.call.to_json()],
            parent,
            ..Intent::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

    use super::*;
    use crate::{
        backends::Proxmox,
        client::{Auth, Client, Endpoint},
        contract::embedded,
        model::NullRecorder,
    };

    /// A server with seven rows that gives at most `most` at once, and says how many there are or does not.
    async fn rows(most: u64, tells_total: bool, params: Params) -> (Vec<Value>, usize) {
        let server = MockServer::start().await;
        let answer = move |request: &Request| {
            let number = |name: &str| {
                let pair = request.url.query_pairs().find(|(key, _)| key == name);
                pair.and_then(|(_, value)| value.parse::<u64>().ok()).unwrap()
            };
            let from = number("start").min(7);
            let to = (from + number("limit").min(most)).min(7);
            let mut body = json!({"data": (from..to).collect::<Vec<_>>()});
            if tells_total {
                body["total"] = json!(7);
            }
            ResponseTemplate::new(200).set_body_json(body)
        };
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let endpoint = Endpoint::parse(&server.uri()).unwrap();
        let auth = Auth::Token { id: "root@pam!x".into(), secret: "x".into() };
        let client = Client::builder().endpoint(endpoint).auth(auth).build().unwrap();
        let ops = Ops::new(Arc::new(Proxmox::new(client)), Arc::new(NullRecorder), "test");
        let path = "/nodes/pve1/tasks";
        let request = CallRequest::new(embedded(), Method::Get, path, params.into(), &Params::new(), None).unwrap();
        let plan = ops.plan_call(request).await.unwrap();
        let all = ops.read_pages(&plan).await.unwrap();
        (all, server.received_requests().await.unwrap().len())
    }

    #[tokio::test]
    async fn pages_end_with_the_total_or_a_short_page() {
        let all: Vec<Value> = (0..7).map(Value::from).collect();
        let limit = |limit: u64| Params::new().with("limit", limit);
        assert_eq!(rows(99, true, Params::new()).await, (all.clone(), 1));
        assert_eq!(rows(99, false, Params::new()).await, (all.clone(), 1));
        assert_eq!(rows(99, false, limit(3)).await, (all.clone(), 3));
        assert_eq!(rows(99, false, limit(7)).await, (all.clone(), 2));
        // A server that gives fewer than it was asked for.
        assert_eq!(rows(2, true, limit(5)).await, (all.clone(), 4));
        assert_eq!(rows(99, true, limit(2).with("start", 4)).await, (all[4..].to_vec(), 2));
    }

    #[test]
    fn a_request_knows_what_it_lacks() {
        let request = |path: &str, params: Params| {
            CallRequest::new(embedded(), Method::Get, path, params.into(), &Params::new(), None)
        };
        let config = "/nodes/{node}/qemu/{vmid}/config";
        assert!(request(config, Params::new().with("vmid", 100)).unwrap().needs_node());
        assert!(!request(config, Params::new().with("vmid", 100).with("node", "a")).unwrap().needs_node());
        for (path, lacks) in [(config, "needs `vmid`"), ("/nodes/{node}/storage/{storage}", "`node` and `storage`")] {
            let error = request(path, Params::new()).unwrap_err();
            assert!(error.class() == Class::Usage && error.message().contains(lacks), "{error}");
        }
    }
}
