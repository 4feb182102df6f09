//! Which call is answered by whom: the reads, and the few changes that are about no guest.
//!
//! Changes of guests are in the backends' own table of actions.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Host, change::GUESTS};
use crate::{
    backends::ACTIONS,
    model::Method::{self, Delete, Get},
    server::{Fault, Reply, Request},
};

/// Answers one sort of call.
pub(super) type Route = for<'r> fn(&'r Host, &'r Request) -> BoxFuture<'r, Result<Reply, Fault>>;

macro_rules! routes {
    ($(($method:ident, $path:literal, $name:ident)),* $(,)?) => {
        &[$(($method, $path, |host, request| Box::pin(host.$name(request)))),*]
    };
}

const TABLE: &[(Method, &str, Route)] = routes![
    (Get, "/version", version),
    (Get, "/access", access_index),
    (Get, "/access/domains", domains),
    (Get, "/cluster/resources", resources),
    (Get, "/cluster/nextid", next_id),
    (Get, "/cluster/status", cluster_status),
    (Get, "/cluster/tasks", cluster_tasks),
    (Get, "/nodes", nodes),
    (Get, "/nodes/{node}/version", version),
    (Get, "/nodes/{node}/status", node_status),
    (Get, "/nodes/{node}/time", time),
    (Get, "/nodes/{node}/lxc", no_containers),
    (Get, "/nodes/{node}/qemu", guests),
    (Get, "/nodes/{node}/qemu/{vmid}/status/current", guest_status),
    (Get, "/nodes/{node}/qemu/{vmid}/config", guest_config),
    (Get, "/nodes/{node}/qemu/{vmid}/pending", guest_pending),
    (Get, "/nodes/{node}/qemu/{vmid}/snapshot", snapshots),
    (Get, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", snapshot_config),
    (Get, "/nodes/{node}/storage", storages),
    (Get, "/nodes/{node}/storage/{storage}/content", volumes),
    (Get, "/nodes/{node}/storage/{storage}/content/{volume}", volume),
    (Get, "/nodes/{node}/storage/{storage}/status", storage_status),
    (Get, "/nodes/{node}/tasks", tasks),
    (Get, "/nodes/{node}/tasks/{upid}/status", task_status),
    (Get, "/nodes/{node}/tasks/{upid}/log", task_log),
    (Delete, "/nodes/{node}/tasks/{upid}", stop_task),
    (Get, "/storage", defined_storages),
    (Get, "/storage/{storage}", defined_storage),
    (Get, "/cluster", index),
    (Get, "/nodes/{node}", index),
    (Get, "/nodes/{node}/qemu/{vmid}", index),
    (Get, "/nodes/{node}/qemu/{vmid}/status", index),
    (Get, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", index),
    (Get, "/nodes/{node}/storage/{storage}", index),
    (Get, "/nodes/{node}/tasks/{upid}", index),
];

/// What an index calls its entries by, where that is not `subdir`.
const CALLED: &[(&str, &str)] = &[
    ("/cluster", "name"),
    ("/nodes/{node}", "name"),
    ("/nodes/{node}/tasks/{upid}", "name"),
    ("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", "cmd"),
];

/// Who answers a request, if it is one of these.
pub(super) fn find(request: &Request) -> Option<Route> {
    let found = TABLE.iter().find(|(method, path, _)| *method == request.method && *path == request.template);
    found.map(|(.., route)| *route)
}

impl Host {
    async fn index(&self, request: &Request) -> Result<Reply, Fault> {
        Ok(Reply::data(below(request.template)))
    }
}

/// What is served right below a path.
fn below(index: &str) -> Vec<Value> {
    let (_, key) = CALLED.iter().find(|(path, _)| *path == index).unwrap_or(&("", "subdir"));
    let guests = ACTIONS.iter().map(|action| format!("{GUESTS}{}", action.path));
    let paths = TABLE.iter().map(|(_, path, _)| (*path).to_owned()).chain(guests);
    let names = paths.filter_map(|path| {
        let rest = path.strip_prefix(index)?.strip_prefix('/')?;
        rest.split('/').next().filter(|name| !name.starts_with('{')).map(str::to_owned)
    });
    names.collect::<BTreeSet<_>>().into_iter().map(|name| json!({*key: name})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::embedded;

    #[test]
    fn every_route_is_one_of_the_api() {
        for (method, path, _) in TABLE {
            let found = embedded().find_decoded(*method, path);
            assert!(found.is_some_and(|found| found.endpoint.path == *path), "{method} {path}");
        }
    }
}
