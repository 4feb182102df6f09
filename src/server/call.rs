//! A call of the API, whoever brought it: permissions, node and parameters in a real server's order, and then the service.
//!
//! It knows no wire: what came over one is taken apart in `exchange`.

use super::{
    Fault, Identity, Kit, Peer, Reply, Request, Upload,
    guard::Source,
    login,
    permit::{self, permit},
};
use crate::{
    contract::{self, Endpoint, Found},
    model::{Call, Method, Params},
};

/// Where goes who answers on the websocket; `None` where none is asked for.
pub(super) type Place<'p> = Option<&'p mut Option<Box<dyn Peer>>>;

/// A call of somebody who is known and did not come over the wire by it.
pub(super) async fn inside(kit: &Kit, who: &Identity, call_of: Call, id: &str) -> Result<Reply, Fault> {
    let (found, params) = find(call_of)?;
    call(kit, found, (params, None), (Some(who.clone()), who.token.is_some()), (None, id, None, None)).await
}

/// The same, as far as its checks go: nothing is done, and the request is what the service would be handed.
pub(super) fn checked_inside(kit: &Kit, who: &Identity, call_of: Call, id: &str) -> Result<Request, Fault> {
    let (found, params) = find(call_of)?;
    check(kit, found, (params, None), (Some(who.clone()), who.token.is_some()), (None, id))
}

/// The method of a call, and what is given to it.
fn find(call_of: Call) -> Result<(Found<'static>, Params), Fault> {
    let Call { method, path, params, .. } = call_of;
    let missing = || Fault { status: 501, ..Fault::die(format!("Method '{method} {path}' not implemented")) };
    let found = contract::embedded().find_decoded(method, &path).ok_or_else(missing)?;
    Ok((found, params))
}

/// The API proper: permissions, node, parameters, and then the service.
pub(super) async fn call(
    kit: &Kit,
    found: Found<'static>,
    given: (Params, Option<Upload>),
    who: (Option<Identity>, bool),
    (task_ends, id, peer, source): (Option<String>, &str, Place<'_>, Option<Source>),
) -> Result<Reply, Fault> {
    let request = check(kit, found, given, who, (task_ends, id))?;
    match (request.method, request.template) {
        (Method::Post, "/access/ticket") => login::log_in(kit, &request.params, source).await,
        (Method::Get, "/access/ticket") => Ok(Reply::null()),
        _ => {
            let reply = kit.service().handle(&request).await?;
            if let Some(peer) = peer {
                *peer = Some(kit.service().websocket(&request)?);
            }
            Ok(reply)
        }
    }
}

/// Permissions, node, parameters.
fn check(
    kit: &Kit,
    found: Found<'static>,
    (given, upload): (Params, Option<Upload>),
    (identity, has_token): (Option<Identity>, bool),
    (task_ends, id): (Option<String>, &str),
) -> Result<Request, Fault> {
    let endpoint = found.endpoint;
    let mut params = found.path_params;
    for (name, value) in given.iter() {
        match endpoint.path_params().any(|path_param| path_param == name).then(|| params.get(name)).flatten() {
            None => params.push(name, value),
            Some(in_path) if in_path == value => {}
            Some(_) => {
                let text = "duplicate parameter (already defined in URI) with conflicting values!";
                return Err(Fault::parameter(name, text));
            }
        }
    }
    if has_token && !endpoint.allowtoken && identity.is_none() {
        let message = format!("Permission check failed ({})", permit::no_tokens(&endpoint.path, &params));
        return Err(Fault { status: 403, ..Fault::die(message) });
    }
    permit(kit.service(), endpoint, identity.as_ref(), &params)?;
    find_node(kit, endpoint, &mut params)?;
    endpoint.check(&params).map_err(Fault::parameters)?;
    let params = join_lists(endpoint, params);
    let (method, template) = (endpoint.method, endpoint.path.as_str());
    Ok(Request { method, template, params, identity, upload, task_ends, id: id.to_owned() })
}

/// Looks up the node that a method runs on; `localhost` is the one that answers.
fn find_node(kit: &Kit, endpoint: &Endpoint, params: &mut Params) -> Result<(), Fault> {
    if params.get("node") == Some("localhost") && endpoint.path_params().any(|name| name == "node") {
        params.set("node", kit.service().local_node());
    }
    match endpoint.proxyto.as_deref().and_then(|name| params.get(name)) {
        Some(node) if !kit.service().has_node(node) => Err(Fault::die(format!(
            "hostname lookup '{node}' failed - failed to get address info for: {node}: Temporary failure in name \
             resolution"
        ))),
        Some(node) if !kit.service().reaches_node(node) => Err(Fault { status: 595, ..Fault::die("No route to host") }),
        _ => Ok(()),
    }
}

/// A list that was given as a repeated key becomes one value, so that the service sees one spelling.
fn join_lists(endpoint: &Endpoint, params: Params) -> Params {
    let mut joined = Params::new();
    for (name, value) in params.iter() {
        let is_list = endpoint.parameters.get(name).is_some_and(contract::Schema::is_list);
        match joined.get(name).filter(|_| is_list).map(|earlier| format!("{earlier},{value}")) {
            Some(both) => joined.set(name, both),
            None => joined.push(name, value),
        }
    }
    joined
}
