//! Power: start, stop, shutdown, reboot, reset, suspend, resume.
//!
//! Some refusals come at once and some only as the task's end, as on a real server; the table says which.

use super::{Context, Reply, Route};
use crate::{
    model::{GuestKind, Method::Post},
    sandbox::world::{
        Millis,
        effect::{Act, Effect, IGNORES_SHUTDOWN},
        ha::sid,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Post, "/nodes/{node}/qemu/{vmid}/status/start", start_vm),
    (Post, "/nodes/{node}/qemu/{vmid}/status/stop", stop),
    (Post, "/nodes/{node}/qemu/{vmid}/status/shutdown", shutdown),
    (Post, "/nodes/{node}/qemu/{vmid}/status/reboot", |c| at_once(c, "qmreboot", 900, Act::Restart)),
    (Post, "/nodes/{node}/qemu/{vmid}/status/reset", |c| at_once(c, "qmreset", 100, Act::Reset)),
    (Post, "/nodes/{node}/qemu/{vmid}/status/suspend", suspend),
    (Post, "/nodes/{node}/qemu/{vmid}/status/resume", |c| at_once(c, "qmresume", 150, Act::Resume)),
    (Post, "/nodes/{node}/lxc/{vmid}/status/start", start_container),
    (Post, "/nodes/{node}/lxc/{vmid}/status/stop", stop),
    (Post, "/nodes/{node}/lxc/{vmid}/status/shutdown", shutdown),
    (Post, "/nodes/{node}/lxc/{vmid}/status/reboot", |c| at_once(c, "vzreboot", 800, Act::Restart)),
    (Post, "/nodes/{node}/lxc/{vmid}/status/suspend", |c| at_once(c, "vzsuspend", 200, Act::Pause)),
    (Post, "/nodes/{node}/lxc/{vmid}/status/resume", |c| at_once(c, "vzresume", 200, Act::Resume)),
];

/// How long it takes to tell HA something.
const TOLD: Millis = 100;

/// How long a shutdown takes in a guest that reacts to it.
const SHUTDOWN: Millis = 600;

/// How long a shutdown waits when the caller does not say, seconds.
const SHUTDOWN_TIMEOUT: i64 = 60;

/// A task that fails by itself if the guest's state is wrong, or the guest missing.
fn later(context: &mut Context<'_>, kind: &'static str, takes: Millis, act: Act) -> Result<Reply, Fault> {
    let order = context.order(kind, takes, act)?;
    Ok(context.begin(order))
}

/// A task that is not even made if the guest's power is wrong or the guest is missing. A lock shows only in the task.
fn at_once(context: &mut Context<'_>, kind: &'static str, takes: Millis, act: Act) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    let resumable = act == Act::Resume && guest.lock() == Some("suspended");
    // What runs only when a task ends that holds the guest now is the task's to find out.
    let busy = context.world.free_at(&[guest.vmid]) > context.now;
    if !guest.is_running() && !resumable && !busy {
        return Err(Fault::die(format!("{} {} not running", guest.word(), guest.vmid)));
    }
    later(context, kind, takes, act)
}

/// Leaves it to HA where that looks after the guest: a task that only tells it.
fn by_ha(context: &mut Context<'_>, stub: &'static str, request: &str, hard: bool) -> Result<Option<Reply>, Fault> {
    let (kind, vmid) = (context.kind(), context.vmid()?);
    if !context.world.is_managed(kind, vmid) {
        return Ok(None);
    }
    let word = if kind == GuestKind::Lxc { "CT" } else { "VM" };
    let what = if request == "started" { "start" } else { "stop" };
    let effect = Effect::TellHa { name: sid(kind, vmid), request: request.to_owned(), hard };
    let order = context.order_of(stub, TOLD, vmid, context.node()?, effect);
    let script = vec![(0.1, format!("Requesting HA {what} for {word} {vmid}"))];
    Ok(Some(context.begin(Order { holds: Vec::new(), script, ..order })))
}

fn start_vm(context: &mut Context<'_>) -> Result<Reply, Fault> {
    match by_ha(context, "hastart", "started", false)? {
        Some(reply) => Ok(reply),
        None => later(context, "qmstart", 300, Act::Start),
    }
}

fn start_container(context: &mut Context<'_>) -> Result<Reply, Fault> {
    if context.guest().is_ok_and(crate::sandbox::world::guest::Guest::is_running) {
        return Err(Fault::die(format!("CT {} already running", context.vmid()?)));
    }
    if let Some(reply) = by_ha(context, "hastart", "started", false)? {
        return Ok(reply);
    }
    later(context, "vzstart", 300, Act::Start)
}

/// Containers that do not run are refused at once by stop and shutdown; VMs that do not run are fine with both.
fn refuse_stopped_container(context: &Context<'_>) -> Result<(), Fault> {
    if context.kind() == GuestKind::Lxc {
        let guest = context.guest()?;
        if !guest.is_running() && context.world.free_at(&[guest.vmid]) <= context.now {
            return Err(Fault::die(format!("CT {} not running", guest.vmid)));
        }
    }
    Ok(())
}

fn stop(context: &mut Context<'_>) -> Result<Reply, Fault> {
    refuse_stopped_container(context)?;
    if let Some(reply) = by_ha(context, "hastop", "stopped", true)? {
        return Ok(reply);
    }
    let (stop, shutdown) = match context.kind() {
        GuestKind::Qemu => ("qmstop", "qmshutdown"),
        GuestKind::Lxc => ("vzstop", "vzshutdown"),
    };
    if context.flag("overrule-shutdown") {
        let id = context.vmid()?.to_string();
        let tasks = context.world.running.values().filter(|task| task.id == id && task.kind == shutdown);
        for upid in tasks.map(|task| task.upid.clone()).collect::<Vec<_>>() {
            context.world.interrupt(&upid, context.now);
        }
    }
    later(context, stop, 200, Act::Stop)
}

fn shutdown(context: &mut Context<'_>) -> Result<Reply, Fault> {
    refuse_stopped_container(context)?;
    if let Some(reply) = by_ha(context, "hastop", "stopped", false)? {
        return Ok(reply);
    }
    let (kind, gave_up) = match context.kind() {
        GuestKind::Qemu => ("qmshutdown", "VM quit/powerdown failed - got timeout"),
        GuestKind::Lxc => ("vzshutdown", "container did not stop"),
    };
    let mut order = context.order(kind, SHUTDOWN, Act::Stop)?;
    let stubborn = |text: &str| text.contains(IGNORES_SHUTDOWN);
    let ignored =
        context.guest().is_ok_and(|guest| guest.is_running() && guest.get("description").is_some_and(stubborn));
    if ignored && context.check(&order).is_ok() {
        order.takes = context.number("timeout").unwrap_or(SHUTDOWN_TIMEOUT) * 1000;
        if context.flag("forceStop") {
            order.script.push((1.0, "VM still running - terminating now with SIGTERM".into()));
        } else {
            order.effect = Effect::Fail(gave_up.into());
        }
    }
    Ok(context.begin(order))
}

fn suspend(context: &mut Context<'_>) -> Result<Reply, Fault> {
    if !context.flag("todisk") {
        return at_once(context, "qmpause", 150, Act::Pause);
    }
    let storage = match context.param("statestorage") {
        Some(storage) if !context.world.storages.has(storage) => {
            return Err(Fault::die(format!("storage '{storage}' does not exist")));
        }
        Some(storage) => storage.to_owned(),
        None => context.world.state_storage(context.vmid()?),
    };
    let memory = context.guest()?.memory() >> 20;
    let order = context.order("qmsuspend", 800, Act::Suspend(storage))?;
    if !context.guest()?.is_running() {
        return Err(Fault::die(format!("VM {} not running", context.vmid()?)));
    }
    let line = format!("State saved, quitting ({memory} MiB)");
    Ok(context.begin(Order { script: vec![(0.1, "suspending to disk".into()), (0.9, line)], ..order }))
}
