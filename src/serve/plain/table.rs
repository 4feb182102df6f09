//! The plain routes: one entry each, from which requests are answered and the OpenAPI file is written.

use futures_util::future::BoxFuture;

use super::{Answer, Call, Desk, Trouble};
use crate::model::Method::{self, Delete, Get, Post};

/// Does what is asked for.
pub(super) type Handle = for<'r> fn(&'r Desk, Call) -> BoxFuture<'r, Result<Answer, Trouble>>;

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// Below `/api`.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// What may stand in the query.
    pub(super) query: &'static [&'static str],
    /// The schema of its body, and whether there has to be one.
    pub(super) body: Option<(&'static str, bool)>,
    /// The statuses of good answers, and their schema.
    pub(super) good: (&'static [u16], &'static str),
    /// The statuses of others, beside those that every route has.
    pub(super) bad: &'static [u16],
    /// Whether it is answered to nobody in particular.
    pub(super) is_open: bool,
    pub(super) handle: Handle,
}

const BODY: Option<(&str, bool)> = None;

macro_rules! routes {
    ($($method:ident $path:literal $handle:ident: $summary:literal, $body:expr => $good:expr, $schema:literal, $bad:expr
        $(, query $query:expr)? $(, open $open:expr)?;)*) => {
        &[$({
            #[allow(unused_mut, unused_assignments)]
            const QUERY: &[&str] = { let mut query: &[&str] = &[]; $(query = $query;)? query };
            #[allow(unused_mut, unused_assignments)]
            const OPEN: bool = { let mut open = false; $(open = $open;)? open };
            Route {
                method: $method,
                path: $path,
                summary: $summary,
                query: QUERY,
                body: $body,
                good: ($good, $schema),
                bad: $bad,
                is_open: OPEN,
                handle: |desk, call| Box::pin(desk.$handle(call)),
            }
        }),*]
    };
}

/// What an action on a VM may answer: in the wrong state or forbidden, not there, not done by the VMM.
const ACTION: &[u16] = &[400, 403, 404, 500];

/// All of them.
pub(super) const TABLE: &[Route] = routes![
    Get "/vms" list: "List the VMs", BODY => &[200], "Vms", &[500];
    Post "/vms" create: "Make a VM", Some(("NewVm", true)) => &[201], "Vm", &[400, 403, 500];
    Get "/vms/{name}" get: "Tell of a VM", BODY => &[200], "Vm", &[400, 404, 500];
    Delete "/vms/{name}" delete: "Remove a VM and its disks; one that is on only with force", BODY => &[200], "Message",
        ACTION, query &["force"];
    Post "/vms/{name}/start" start: "Start a VM", BODY => &[200], "Vm", ACTION;
    Post "/vms/{name}/stop" stop: "Cut the power of a VM", BODY => &[200], "Vm", ACTION;
    Post "/vms/{name}/restart" restart:
        "Shut a VM down, or cut its power when it does not go in time, and start it again",
        Some(("Restart", false)) => &[200], "Vm", ACTION;
    Post "/vms/{name}/pause" pause: "Freeze the processors of a VM", BODY => &[200], "Vm", ACTION;
    Post "/vms/{name}/resume" resume: "Let a paused VM go on", BODY => &[200], "Vm", ACTION;
    Post "/vms/{name}/rename" rename: "Give a VM another name", Some(("Rename", true)) => &[200], "Message", ACTION;
    Post "/vms/{name}/copy" copy: "Make a full copy of a VM and start it", Some(("Copy", false)) => &[201], "Vm", ACTION;
    Get "/plans" plans: "List the plans, the newest first", BODY => &[200], "Plans", &[500];
    Post "/plans" add_plan: "Give a plan: its actions are done in order, each once", Some(("NewPlan", true))
        => &[200, 201], "Plan", &[400, 409, 500];
    Get "/plans/{id}" plan: "Tell of a plan and how its actions ended", BODY => &[200], "Plan", &[400, 404, 500];
    Post "/exec/{command}" exec: "Run a command that the owner of the host allows", Some(("Exec", false))
        => &[200], "Ran", ACTION;
    Get "/queue" queue: "List the changes that wait in queues of VMs", BODY => &[200], "Queue", &[500];
    Post "/queue" enqueue: "Put a change of a VM into its queue: it is done once, when the VM can, after what waits before it",
        Some(("NewQueued", true)) => &[201], "Queued", ACTION;
    Delete "/queue/{id}" cancel: "Take a change out of its queue; what stood behind it goes on", BODY
        => &[200], "Message", ACTION;
    Get "/host" tell_host: "Tell of the host", BODY => &[200], "Host", &[403, 500];
    Post "/host/heartbeat" beat: "Send a heartbeat now", BODY => &[200], "Heartbeat", &[400, 403, 500];
    Get "/me" me: "Tell who is asking, by what, and until when that is good", BODY => &[200], "Me", &[500];
    Post "/enroll" enroll: "Get a client certificate for a one-time token", Some(("Enroll", true)) => &[201], "Enrolled",
        &[400, 401, 500], open true;
    Post "/renew" renew: "Get a new certificate in place of the one that is shown", Some(("Renew", true))
        => &[201], "Enrolled", &[400, 500];
    Post "/unenroll" unenroll: "Revoke the certificate that is shown", BODY => &[200], "Message", &[400, 500];
    Get "/metrics" metrics: "The metrics, as Prometheus reads them", BODY => &[200], "Metrics", &[403, 500];
    Get "/openapi.json" describe: "This description", BODY => &[200], "OpenApi", &[], open true;
];
