//! What is done to a node as a whole: its power, all its guests at once, its services. Plans only, each one call.

use super::{
    ResourcePlan, plain,
    uses::{Found, Tie},
};
use crate::{
    model::{Error, Guest, GuestKind, Hint, Method, Params, Result, closest},
    ops::Ops,
};

/// A verb on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeVerb {
    /// `shutdown`.
    pub name: &'static str,
    /// Where it is in the API; all are POST.
    pub path: &'static str,
    /// Parameters that make the call this verb.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Whether it asks, for it takes the power from guests.
    pub asks: bool,
    /// Whether the node has to be up, or down.
    pub up: bool,
}

/// The verbs.
pub const NODE_VERBS: &[NodeVerb] = &[
    NodeVerb { name: "start-all", path: "/nodes/{node}/startall", fixed: &[], asks: false, up: true },
    NodeVerb { name: "stop-all", path: "/nodes/{node}/stopall", fixed: &[], asks: true, up: true },
    NodeVerb { name: "suspend-all", path: "/nodes/{node}/suspendall", fixed: &[], asks: true, up: true },
    NodeVerb { name: "refresh-updates", path: "/nodes/{node}/apt/update", fixed: &[], asks: false, up: true },
    NodeVerb { name: "wake", path: "/nodes/{node}/wakeonlan", fixed: &[], asks: false, up: false },
    NodeVerb { name: "shutdown", path: STATUS, fixed: &[("command", "shutdown")], asks: true, up: true },
    NodeVerb { name: "reboot", path: STATUS, fixed: &[("command", "reboot")], asks: true, up: true },
];

const STATUS: &str = "/nodes/{node}/status";

/// What can be done to a service.
pub const SERVICE_VERBS: [&str; 4] = ["start", "stop", "restart", "reload"];

impl Ops {
    /// Plans a verb on a node, and lists the guests there that lose their power by it.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for a node that there is not,
    /// [`Class::Conflict`](crate::model::Class::Conflict) for one that is down, or up already.
    pub async fn plan_node(&self, verb: &NodeVerb, node: &str, params: &Params) -> Result<ResourcePlan> {
        self.require_server("nodes that can be told so")?;
        let is_up = self.require_node(node).await?.is_online();
        if is_up != verb.up {
            let state = if is_up { "online already" } else { "offline" };
            let error = Error::conflict(format!("cannot {} node {node}: it is {state}", verb.name));
            return Err(match is_up {
                true => error,
                false => error.with_hint(Hint::Text(format!("pvectl node wake {node}"))),
            });
        }
        let mut whole = Params::new().with("node", node);
        whole.extend(verb.fixed.iter().copied());
        whole.extend(params.iter());
        let target = (Method::Post, verb.path);
        let mut plan = self.plan_resource_call(verb.name, "node", node, target, (whole, &Params::new())).await?;
        if verb.asks {
            let chosen = params.get("vms").map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
            let goes = |guest: &&Guest| {
                let named = chosen.as_ref().is_none_or(|chosen| chosen.contains(&guest.vmid.to_string()));
                // Containers cannot be suspended to disk.
                let meant = verb.name != "suspend-all" || guest.kind == GuestKind::Qemu;
                guest.node.as_str() == node && guest.status == "running" && named && meant
            };
            let guests = self.backend().guests().await?;
            let found = |guest: &Guest| {
                let name = guest.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
                Found { what: format!("{}{name}", guest.reference()), tie: Tie::Goes, way_out: "" }
            };
            plan.uses = guests.iter().filter(goes).map(found).collect();
        }
        Ok(plan)
    }

    /// Plans what is done to a service of a node.
    ///
    /// # Errors
    /// As [`plan_node`](Self::plan_node); [`Class::NotFound`](crate::model::Class::NotFound) for a service that there is
    /// not.
    pub async fn plan_service(&self, act: &'static str, node: &str, service: &str) -> Result<ResourcePlan> {
        self.require_server("services of nodes")?;
        self.require_node(node).await?;
        let there = self.rows_at("/nodes/{node}/services", Params::new().with("node", node)).await?;
        let names: Vec<String> = there.iter().filter_map(|row| plain(&row["service"])).collect();
        if !names.iter().any(|name| name == service) {
            let close = closest(service, names.into_iter());
            return Err(Error::not_found(format!("node {node} has no service `{service}`")).did_you_mean(close));
        }
        let path = format!("/nodes/{{node}}/services/{{service}}/{act}");
        let params = Params::new().with("node", node).with("service", service);
        self.plan_resource_call(act, "service", service, (Method::Post, &path), (params, &Params::new())).await
    }
}
