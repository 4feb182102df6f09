//! What is done to a node as a whole, and what it tells of itself: services, log, certificates, all its guests at once.
//!
//! A node's power is not simulated: to shut one down or to wake it is taken, and changes nothing.

use serde_json::{Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        GuestKind,
        Method::{Get, Post},
    },
    sandbox::world::{
        Millis,
        effect::{Act, Effect},
        seconds,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Post, "/nodes/{node}/status", power),
    (Post, "/nodes/{node}/wakeonlan", wake),
    (Post, "/nodes/{node}/startall", start_all),
    (Post, "/nodes/{node}/stopall", stop_all),
    (Post, "/nodes/{node}/suspendall", suspend_all),
    (Get, "/nodes/{node}/services", services),
    (Post, "/nodes/{node}/services/{service}/start", |context| service(context, "srvstart")),
    (Post, "/nodes/{node}/services/{service}/stop", |context| service(context, "srvstop")),
    (Post, "/nodes/{node}/services/{service}/restart", |context| service(context, "srvrestart")),
    (Post, "/nodes/{node}/services/{service}/reload", |context| service(context, "srvreload")),
    (Get, "/nodes/{node}/syslog", syslog),
    (Get, "/nodes/{node}/certificates/info", certificates),
];

/// The services of every node, and whether they are there at all.
const SERVICES: &[(&str, bool)] = &[
    ("chrony", false),
    ("corosync", true),
    ("cron", true),
    ("pve-cluster", true),
    ("pvedaemon", true),
    ("pveproxy", true),
    ("pvestatd", true),
    ("spiceproxy", true),
    ("sshd", true),
];

fn power(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node().map(|_| Reply::null())
}

fn wake(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = context.node()?;
    let id = context.world.nodes.get(node.as_str()).map_or(0, |node| node.id);
    Ok(Reply::data(format!("BC:24:11:00:00:{id:02X}")))
}

/// A task of a node that has no effect of its own.
pub(super) fn order(context: &Context<'_>, node: &str, kind: &'static str, id: String, takes: Millis) -> Order {
    let (node, authid) = (node.to_owned(), context.authid());
    Order { node, kind, id, authid, takes, holds: Vec::new(), script: Vec::new(), effect: Effect::Nothing }
}

const POWER: &[&str] = &["VM.PowerMgmt"];

/// Whether a guest is meant.
type Meant = fn(&Context<'_>, u32) -> bool;

/// A task for each guest that is meant, and one that stands for all of them.
fn all(
    context: &mut Context<'_>,
    kind: &'static str,
    (words, act, is_meant): ([&'static str; 2], Act, Meant),
) -> Result<Reply, Fault> {
    let node = context.node()?;
    let named = context.param("vms").map(|list| list.split([',', ';', ' ']).map(str::to_owned).collect::<Vec<_>>());
    let meant: Vec<(GuestKind, u32)> = context
        .world
        .guests_on(&node)
        .filter(|guest| named.as_ref().is_none_or(|named| named.contains(&guest.vmid.to_string())))
        .filter(|guest| is_meant(context, guest.vmid))
        .map(|guest| (guest.kind, guest.vmid))
        .collect();
    // For some of them it is enough to be allowed that for each.
    if !context.may("/", POWER) {
        match &named {
            Some(named) => named.iter().try_for_each(|vmid| context.require(&format!("/vms/{vmid}"), POWER))?,
            None => context.require("/", POWER)?,
        }
    }
    let parent = order(context, &node, kind, String::new(), 600);
    for (guest, vmid) in meant {
        let word = if guest == GuestKind::Qemu { words[0] } else { words[1] };
        let effect = Effect::Guest { kind: guest, vmid, act: act.clone(), skiplock: false };
        let one = Order { holds: vec![vmid], effect, ..order(context, &node, word, vmid.to_string(), 300) };
        context.begin(one);
    }
    Ok(context.begin(parent))
}

fn start_all(context: &mut Context<'_>) -> Result<Reply, Fault> {
    all(
        context,
        "startall",
        (["qmstart", "vzstart"], Act::Start, |context, vmid| {
            let asked = context.flag("force") || context.param("vms").is_some();
            let guest = context.world.guests.get(&vmid);
            guest.is_some_and(|guest| {
                !guest.is_running() && !guest.is_template() && (asked || guest.get("onboot") == Some("1"))
            })
        }),
    )
}

fn stop_all(context: &mut Context<'_>) -> Result<Reply, Fault> {
    all(
        context,
        "stopall",
        (["qmshutdown", "vzshutdown"], Act::Stop, |context, vmid| {
            context.world.guests.get(&vmid).is_some_and(crate::sandbox::world::guest::Guest::is_running)
        }),
    )
}

fn suspend_all(context: &mut Context<'_>) -> Result<Reply, Fault> {
    all(
        context,
        "suspendall",
        (["qmsuspend", "vzsuspend"], Act::Suspend("local-lvm".to_owned()), |context, vmid| {
            context.world.guests.get(&vmid).is_some_and(|guest| guest.is_running() && guest.kind == GuestKind::Qemu)
        }),
    )
}

fn services(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let rows = SERVICES.iter().map(|(name, there)| {
        let [state, active, unit] = match there {
            true => ["running", "active", "enabled"],
            false => ["dead", "inactive", "not-found"],
        };
        json!({
            "service": name, "name": name, "desc": format!("{name}.service"), "state": state, "active-state": active,
            "unit-state": unit,
        })
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn service(context: &mut Context<'_>, kind: &'static str) -> Result<Reply, Fault> {
    let node = context.node()?;
    let order = order(context, &node, kind, context.need("service")?.to_owned(), 100);
    Ok(context.begin(order))
}

/// The log: a line for the beginning and the end of each task of the node.
fn syslog(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = context.node()?;
    let mut lines: Vec<(Millis, String)> = Vec::new();
    let tasks = context.world.running.values().chain(context.world.finished.values());
    for task in tasks.filter(|task| task.node == node) {
        let line = |text: String| format!("{node} pvedaemon[{}]: <{}> {text}", task.pid, task.authid);
        lines.push((task.start, line(format!("starting task {}", task.upid))));
        if let Some(exit) = &task.exit {
            lines.push((task.end, line(format!("end task {} {exit}", task.upid))));
        }
    }
    // What happened in the same moment stays in its order.
    lines.sort_by_key(|(when, _)| *when);
    let at = |seconds: i64| {
        jiff::Timestamp::from_second(seconds).map_or(String::new(), |at| at.strftime("%b %d %H:%M:%S").to_string())
    };
    let all: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(index, (when, text))| json!({"n": index + 1, "t": format!("{} {text}", at(seconds(*when)))}))
        .collect();
    let number = |key: &str, default: usize| {
        context.number(key).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let (start, limit, total) = (number("start", 0), number("limit", 50), all.len());
    let rows: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    Ok(Reply { total: Some(total as u64), ..Reply::data(rows) })
}

fn certificates(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.node()?;
    let node = context.world.nodes.get(name.as_str());
    let fingerprint = node.map(|node| node.fingerprint()).unwrap_or_default();
    let booted = seconds(context.world.meta().booted);
    let own = super::settings::certificate(context)?;
    let mut rows = vec![json!({
        "filename": "pve-ssl.pem", "fingerprint": fingerprint, "issuer": "/CN=Proxmox Virtual Environment/OU=sandbox/O=PVE Cluster Manager CA",
        "subject": format!("/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN={name}.example.org"),
        "san": [name], "notbefore": booted, "notafter": booted + 730 * 86_400, "public-key-bits": 2048,
        "public-key-type": "rsaEncryption",
    })];
    rows.extend(own);
    Ok(Reply::data(rows))
}
