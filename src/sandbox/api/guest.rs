//! The lists of a node's guests and the state of one.
//!
//! Power is in [`power`](super::power), configurations are in [`config`](super::config).

use serde_json::Value;

use super::{Context, Reply, Route, cluster::visible, figures, index};
use crate::{model::Method::Get, server::Fault};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/qemu", list),
    (Get, "/nodes/{node}/lxc", list),
    (Get, "/nodes/{node}/qemu/{vmid}", |_| Ok(index("subdir", QEMU))),
    (Get, "/nodes/{node}/lxc/{vmid}", |_| Ok(index("subdir", LXC))),
    (Get, "/nodes/{node}/qemu/{vmid}/status", |_| Ok(index("subdir", QEMU_STATUS))),
    (Get, "/nodes/{node}/lxc/{vmid}/status", |_| Ok(index("subdir", LXC_STATUS))),
    (Get, "/nodes/{node}/qemu/{vmid}/status/current", current),
    (Get, "/nodes/{node}/lxc/{vmid}/status/current", current),
    (Get, "/nodes/{node}/qemu/{vmid}/rrddata", history),
    (Get, "/nodes/{node}/lxc/{vmid}/rrddata", history),
];

const QEMU: &[&str] = &["config", "pending", "status", "clone", "migrate", "snapshot", "template", "rrddata"];
const LXC: &[&str] = &["config", "pending", "status", "clone", "migrate", "snapshot", "template", "rrddata"];
const QEMU_STATUS: &[&str] = &["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"];
const LXC_STATUS: &[&str] = &["current", "start", "stop", "shutdown", "reboot", "migrate"];

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, kind) = (context.node()?, context.kind());
    let here = visible(context).filter(|guest| guest.node == node && guest.kind == kind);
    Ok(Reply::data(here.map(|guest| Value::from(figures::listed(guest, context.now))).collect::<Vec<_>>()))
}

fn current(context: &mut Context<'_>) -> Result<Reply, Fault> {
    Ok(Reply::data(figures::current(context.world, context.guest()?, context.now)))
}

fn history(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let frame = context.need("timeframe")?;
    Ok(Reply::data(figures::history(context.guest()?, frame, context.now)))
}
