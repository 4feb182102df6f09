//! Consoles: `termproxy` with a little shell behind it, `vncproxy` with the beginning of a conversation, `spiceproxy`, keys and
//! the monitor.

use serde_json::json;

use super::{Context, Reply, Route};
use crate::{
    model::{
        GuestKind,
        Method::{Get, Post, Put},
        is_key,
    },
    sandbox::world::{Millis, World, hash, terminal::Terminal},
    server::{Fault, Peer},
};

pub(super) const TABLE: &[Route] = &[
    (Post, "/nodes/{node}/termproxy", |context| open(context, false)),
    (Post, "/nodes/{node}/qemu/{vmid}/termproxy", |context| open(context, false)),
    (Post, "/nodes/{node}/lxc/{vmid}/termproxy", |context| open(context, false)),
    (Post, "/nodes/{node}/vncshell", |context| open(context, true)),
    (Post, "/nodes/{node}/qemu/{vmid}/vncproxy", |context| open(context, true)),
    (Post, "/nodes/{node}/lxc/{vmid}/vncproxy", |context| open(context, true)),
    (Get, "/nodes/{node}/vncwebsocket", look),
    (Get, "/nodes/{node}/qemu/{vmid}/vncwebsocket", look),
    (Get, "/nodes/{node}/lxc/{vmid}/vncwebsocket", look),
    (Post, "/nodes/{node}/spiceshell", spice_term),
    (Post, "/nodes/{node}/qemu/{vmid}/spiceproxy", spice),
    (Post, "/nodes/{node}/lxc/{vmid}/spiceproxy", spice_term),
    (Put, "/nodes/{node}/qemu/{vmid}/sendkey", key),
    (Post, "/nodes/{node}/qemu/{vmid}/monitor", monitor),
];

/// How long a ticket is good, milliseconds.
const GOOD: Millis = 40_000;

/// Monitor commands that everybody may give who may look.
const FOR_ALL: [&str; 2] = ["help", "info"];
/// Those that want the right to change the system; the others are root's.
const FOR_SOME: [&str; 3] = ["announce_self", "balloon", "cont"];

/// What a ticket is for.
fn place(context: &Context<'_>) -> Result<String, Fault> {
    match context.param("vmid") {
        Some(vmid) => Ok(format!("/vms/{vmid}")),
        None => Ok(format!("/nodes/{}", context.node()?)),
    }
}

/// The part of a ticket that cannot be made up.
fn seal(world: &World, authid: &str, place: &str, port: &str, time: Millis) -> String {
    hash(&format!("{}:{authid}:{place}:{port}:{time}", world.meta().secret))
}

/// Opens a console: says where it is, and what lets somebody in.
fn open(context: &mut Context<'_>, vnc: bool) -> Result<Reply, Fault> {
    let (place, authid, now) = (place(context)?, context.authid(), context.now);
    if context.param("vmid").is_some() {
        context.guest()?;
    }
    let drawn = context.world.draw();
    let port = (5900 + usize::from_str_radix(&drawn[..4], 16).unwrap_or(0) % 100).to_string();
    let mut ticket = format!("PVEVNC:{now:X}::{}", seal(context.world, &authid, &place, &port, now));
    let id = context.param("vmid").unwrap_or_default().to_owned();
    let node = context.node()?;
    let upid = format!("UPID:{node}:{:08X}:00000001:{:08X}:vncproxy:{id}:{authid}:", 1000, now / 1000);
    let mut answer = json!({"port": port, "user": authid, "upid": upid});
    if vnc {
        let password = drawn[4..12].to_owned();
        ticket = format!("{password}:{ticket}");
        answer["password"] = password.into();
        answer["cert"] = "-----BEGIN CERTIFICATE-----\n".into();
    }
    answer["ticket"] = ticket.into();
    Ok(Reply::data(answer))
}

/// Checks the ticket, as a request without an upgrade does too.
fn look(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (port, ticket) = (context.need("port")?, context.need("vncticket")?);
    let bare = ticket.find("PVEVNC:").map_or(ticket, |at| &ticket[at..]);
    let invalid = || Fault { status: 401, ..Fault::die("permission denied - invalid PVEVNC ticket") };
    let (time, sealed) = bare.trim_start_matches("PVEVNC:").split_once("::").ok_or_else(invalid)?;
    let time = Millis::from_str_radix(time, 16).map_err(|_| invalid())?;
    let right = seal(context.world, &context.authid(), &place(context)?, port, time);
    if right != sealed || !(0..=GOOD).contains(&(context.now - time)) {
        return Err(invalid());
    }
    Ok(Reply::data(json!({ "port": port })))
}

/// Who answers on the websocket.
pub(in crate::sandbox) fn peer(context: &Context<'_>) -> Result<Box<dyn Peer>, Fault> {
    let ticket = context.need("vncticket")?;
    if !ticket.starts_with("PVEVNC:") {
        return Ok(Box::new(Screen));
    }
    let word = format!("{}:{ticket}", context.authid());
    let (name, off) = match context.param("vmid") {
        None => (context.node()?, None),
        Some(_) => {
            let guest = context.guest()?;
            let serial = guest.kind == GuestKind::Lxc || guest.config.iter().any(|(key, _)| key.starts_with("serial"));
            let off = match (guest.is_running(), serial) {
                (false, _) => Some(format!("{} {} is not running\r\n", guest.word(), guest.vmid)),
                (true, false) => Some("unable to find a serial interface\r\n".to_owned()),
                (true, true) => None,
            };
            (guest.name(), off)
        }
    };
    Ok(Box::new(Terminal::new(word, name, off)))
}

/// A screen that says which protocol it speaks, and repeats what it hears.
struct Screen;

impl Peer for Screen {
    fn begin(&mut self) -> Vec<u8> {
        b"RFB 003.008\n".to_vec()
    }

    fn hear(&mut self, bytes: &[u8]) -> (Vec<u8>, crate::server::Heard) {
        (bytes.to_vec(), crate::server::Heard::GoesOn)
    }
}

fn spice(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    let (vmid, title) = (guest.vmid, format!("VM {} - {}", guest.vmid, guest.name()));
    if !guest.is_running() {
        return Err(Fault::die(format!("VM {vmid} not running")));
    }
    if !guest.get("vga").is_some_and(|vga| vga.contains("qxl")) {
        return Err(Fault::die("no spice port"));
    }
    viewer_file(context, title)
}

/// The console of a container or a node, in a terminal that speaks SPICE.
fn spice_term(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let title = match context.param("vmid") {
        None => format!("Shell on '{}'", context.node()?),
        Some(vmid) if context.guest()?.is_running() => format!("CT {vmid}"),
        Some(vmid) => return Err(Fault::die(format!("CT {vmid} not running"))),
    };
    viewer_file(context, title)
}

fn viewer_file(context: &mut Context<'_>, title: String) -> Result<Reply, Fault> {
    let (node, secret) = (context.node()?, context.world.draw());
    let proxy = context.param("proxy").unwrap_or(&node);
    Ok(Reply::data(json!({
        "type": "spice", "title": title, "host": format!("pvespiceproxy:{}", &secret[..40]), "proxy": format!("http://{proxy}:3128"),
        "tls-port": 61000, "password": &secret[40..60], "host-subject": format!("OU=PVE Cluster Node,O=Proxmox,CN={node}"),
        "ca": "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n", "delete-this-file": 1,
        "secure-attention": "Ctrl+Alt+Ins", "toggle-fullscreen": "Shift+F11", "release-cursor": "Ctrl+Alt+R",
    })))
}

fn key(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (guest, pressed) = (context.guest()?, context.need("key")?);
    if !guest.is_running() {
        return Err(Fault::die(format!("VM {} not running", guest.vmid)));
    }
    // QEMU's monitor answers, and nothing is pressed.
    match pressed.split('-').find(|key| !is_key(key)) {
        Some(unknown) => Err(Fault::die(format!("invalid parameter: {unknown}\r"))),
        None => Ok(Reply::null()),
    }
}

fn monitor(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let command = context.need("command")?;
    let name = command.split_whitespace().next().unwrap_or_default();
    if FOR_SOME.contains(&name) {
        context.require("/", &["Sys.Modify"])?;
    } else if !FOR_ALL.contains(&name) && !context.is_root() {
        return Err(Fault::die(format!("root-only command '{name}'")));
    }
    let guest = context.guest()?;
    if !guest.is_running() {
        return Ok(Reply::data(format!("ERROR: VM {} not running\n", guest.vmid)));
    }
    Ok(Reply::data(match command.trim() {
        "info status" => format!("VM status: {}\r\n", guest.resource_status()),
        "info version" => "10.2.2pve-qemu-kvm_10.2.2-1\r\n".to_owned(),
        "info name" => format!("{},debug-threads=on\r\n", guest.name()),
        _ => String::new(),
    }))
}
