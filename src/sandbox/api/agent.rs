//! The inside of guests: what the agents of VMs answer, and the addresses of containers.
//!
//! What the agent's programs do is in [`world::agent`](crate::sandbox::world::agent).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Context, Reply, Route, index};
use crate::{
    model::{
        Method::{Get, Post},
        PropertyString, bytes_of_text, text_of_bytes,
    },
    sandbox::world::{
        agent::{Agent, SILENT},
        guest::{Guest, Power},
        seconds,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/qemu/{vmid}/agent", |_| Ok(index("name", COMMANDS))),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/ping", |context| result(context, |_, _| json!({}))),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/info", |context| result(context, |_, _| info())),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-osinfo", |context| result(context, |_, _| osinfo())),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-host-name", |context| {
        result(context, |_, guest| json!({"host-name": guest.name()}))
    }),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-timezone", |context| {
        result(context, |_, _| json!({"offset": 0, "zone": "UTC"}))
    }),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-time", |context| {
        result(context, |context, _| json!(context.now * 1_000_000))
    }),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-users", |context| {
        result(
            context,
            |context, guest| json!([{"user": "root", "login-time": seconds(context.now) - guest.uptime(context.now) as i64}]),
        )
    }),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-vcpus", |context| {
        result(context, |_, guest| {
            (0..guest.cpus()).map(|cpu| json!({"logical-id": cpu, "online": true, "can-offline": cpu > 0})).collect()
        })
    }),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo", |context| result(context, |_, guest| fsinfo(guest))),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", |context| {
        result(context, |_, guest| interfaces(guest))
    }),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status", |context| {
        result(context, |context, guest| {
            let frozen = context.world.agents.get(&guest.vmid).is_some_and(|agent| agent.frozen);
            json!(if frozen { "frozen" } else { "thawed" })
        })
    }),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-freeze", |context| freeze(context, true)),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-thaw", |context| freeze(context, false)),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/fstrim", |context| {
        result(context, |_, _| json!({"paths": [{"path": "/", "trimmed": 1_073_741_824, "minimum": 0}]}))
    }),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/set-user-password", set_password),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/exec", exec),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/exec-status", exec_status),
    (Get, "/nodes/{node}/qemu/{vmid}/agent/file-read", file_read),
    (Post, "/nodes/{node}/qemu/{vmid}/agent/file-write", file_write),
    (Get, "/nodes/{node}/lxc/{vmid}/interfaces", of_container),
];

/// What an agent is asked to do, as it calls it.
const COMMANDS: &[&str] = &[
    "exec",
    "exec-status",
    "file-read",
    "file-write",
    "fsfreeze-freeze",
    "fsfreeze-status",
    "fsfreeze-thaw",
    "fstrim",
    "get-fsinfo",
    "get-host-name",
    "get-osinfo",
    "get-time",
    "get-timezone",
    "get-users",
    "get-vcpus",
    "info",
    "network-get-interfaces",
    "ping",
    "set-user-password",
];

/// Who has a password in every guest.
const USERS: [&str; 2] = ["root", "debian"];

/// The most that one answer has of a file.
const READ_AT_ONCE: usize = 16 << 20;

/// The slices in which the server reads.
const SLICE: usize = 1 << 20;

/// The guest in the path, if its agent answers.
fn guest(context: &Context<'_>) -> Result<Guest, Fault> {
    let guest = context.guest()?;
    let Some(agent) = guest.get("agent") else { return Err(Fault::die("No QEMU guest agent configured")) };
    if !guest.is_running() {
        return Err(Fault::die(format!("VM {} is not running", guest.vmid)));
    }
    let parts = PropertyString::lenient(agent);
    let enabled = parts.get_or_bare("enabled").is_some_and(|enabled| ["1", "on", "yes", "true"].contains(&enabled));
    let silent = guest.get("description").is_some_and(|text| text.contains(SILENT));
    if !enabled || silent || guest.power == Power::Paused {
        return Err(Fault::die("QEMU guest agent is not running"));
    }
    Ok(guest.clone())
}

fn result(context: &mut Context<'_>, answer: impl FnOnce(&Context<'_>, &Guest) -> Value) -> Result<Reply, Fault> {
    let guest = guest(context)?;
    Ok(Reply::data(json!({"result": answer(context, &guest)})))
}

/// What the guest's agent knows, to be changed.
fn edit<'c>(context: &'c mut Context<'_>, guest: &Guest) -> Result<&'c mut Agent, Fault> {
    if !context.world.agents.has(&guest.vmid) {
        context.world.agents.insert(guest.vmid, Agent::default());
    }
    context.world.agents.edit(&guest.vmid).ok_or_else(|| Fault::die("QEMU guest agent is not running"))
}

fn info() -> Value {
    let commands =
        COMMANDS.iter().map(|name| json!({"name": format!("guest-{name}"), "enabled": true, "success-response": true}));
    json!({"version": "7.2.11", "supported_commands": commands.collect::<Vec<_>>()})
}

fn osinfo() -> Value {
    json!({
        "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 12 (bookworm)", "version": "12 (bookworm)",
        "version-id": "12", "machine": "x86_64", "kernel-release": "6.1.0-28-amd64",
        "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)",
    })
}

fn fsinfo(guest: &Guest) -> Value {
    let total = guest.maxdisk();
    json!([{"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": total, "used-bytes": total / 4, "disk": []}])
}

/// A guest's addresses, made up from its number.
fn addresses(guest: &Guest) -> [(&'static str, String, u8); 2] {
    let (high, low) = (guest.vmid / 250 % 250, guest.vmid % 250 + 1);
    [
        ("ipv4", format!("10.10.{high}.{low}"), 16),
        ("ipv6", format!("fe80::be24:11ff:fe00:{:x}", guest.vmid % 65536), 64),
    ]
}

/// The hardware address of a guest's first network card.
fn mac(guest: &Guest) -> String {
    let text = guest.get("net0").unwrap_or_default().to_owned();
    let parts = text.split([',', '=']).find(|part| part.len() == 17 && part.contains(':'));
    parts.unwrap_or("00:00:00:00:00:00").to_lowercase()
}

fn interfaces(guest: &Guest) -> Value {
    let listed = |rows: &[(&str, String, u8)]| -> Value {
        rows.iter()
            .map(|(kind, ip, prefix)| json!({"ip-address-type": kind, "ip-address": ip, "prefix": prefix}))
            .collect()
    };
    let lo = listed(&[("ipv4", "127.0.0.1".into(), 8), ("ipv6", "::1".into(), 128)]);
    json!([
        {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": lo},
        {"name": "eth0", "hardware-address": mac(guest), "ip-addresses": listed(&addresses(guest))},
    ])
}

/// A container says nothing while it is off.
fn of_container(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    if !guest.is_running() {
        return Ok(Reply::null());
    }
    let mut rows = interfaces(guest);
    for row in rows.as_array_mut().into_iter().flatten() {
        row["hwaddr"] = row["hardware-address"].clone();
        let listed = row["ip-addresses"].as_array().cloned().unwrap_or_default();
        for (kind, key) in [("ipv4", "inet"), ("ipv6", "inet6")] {
            let first = listed.iter().find(|address| address["ip-address-type"] == kind);
            if let Some(first) = first {
                row[key] = format!("{}/{}", first["ip-address"].as_str().unwrap_or_default(), first["prefix"]).into();
            }
        }
    }
    Ok(Reply::data(rows))
}

fn freeze(context: &mut Context<'_>, frozen: bool) -> Result<Reply, Fault> {
    let guest = guest(context)?;
    edit(context, &guest)?.frozen = frozen;
    Ok(Reply::data(json!({"result": 1})))
}

fn set_password(context: &mut Context<'_>) -> Result<Reply, Fault> {
    guest(context)?;
    let user = context.need("username")?;
    if !USERS.contains(&user) {
        let text = format!(
            "Agent error: Guest agent command failed, error was 'chpasswd: line 1: user '{user}' does not exist'"
        );
        return Err(Fault::die(text));
    }
    Ok(Reply::data(json!({"result": {}})))
}

fn exec(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (guest, now) = (guest(context)?, context.now);
    let request = context.request;
    let command: Vec<&str> = request.params.iter().filter(|(key, _)| *key == "command").map(|(_, word)| word).collect();
    let input = context.param("input-data").map(bytes_of_text).unwrap_or_default();
    let agent = edit(context, &guest)?;
    match agent.begin(&guest, &command, &input, now) {
        Some(pid) => Ok(Reply::data(json!({"pid": pid}))),
        None => Err(Fault::die(format!(
            "Agent error: Guest agent command failed, error was 'Failed to execute child process “{}” (No such file or \
             directory)'",
            command.first().copied().unwrap_or_default()
        ))),
    }
}

/// A real agent tells an end once and forgets it then.
fn exec_status(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = guest(context)?;
    let pid = context.number("pid").unwrap_or_default();
    let program = context.world.agents.get(&guest.vmid).and_then(|agent| agent.program(pid));
    let program = program.ok_or_else(|| Fault::die(format!("Agent error: PID {pid} does not exist")))?;
    if program.end > context.now {
        return Ok(Reply::data(json!({"exited": 0})));
    }
    let mut status = json!({"exited": 1});
    match program.signal {
        Some(signal) => status["signal"] = signal.into(),
        None => status["exitcode"] = program.code.into(),
    }
    for (key, bytes) in [("out-data", program.out()), ("err-data", program.err())] {
        if !bytes.is_empty() {
            status[key] = text_of_bytes(&bytes).into();
        }
    }
    Ok(Reply::data(status))
}

fn file_read(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = guest(context)?;
    let path = context.need("file")?;
    let nothing = Agent::default();
    let content = context.world.agents.get(&guest.vmid).unwrap_or(&nothing).file(&guest, path);
    let content = content.ok_or_else(|| {
        Fault::die(format!("Agent error: failed to open file '{path}' (mode: 'r'): No such file or directory"))
    })?;
    let number = |key: &str, default: usize| {
        context.number(key).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let (offset, count) = (number("offset", 0).min(content.len()), number("count", READ_AT_ONCE));
    let end = (offset + count).min(content.len());
    let wanted = &content[offset..end];
    let text = match context.param("decode") {
        // Each slice is encoded for itself.
        Some("0") => wanted.chunks(SLICE).map(|slice| STANDARD.encode(slice)).collect(),
        _ => text_of_bytes(wanted),
    };
    let mut answer = json!({"content": text, "bytes-read": wanted.len()});
    if end < content.len() {
        answer["truncated"] = 1.into();
    }
    Ok(Reply::data(answer))
}

fn file_write(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = guest(context)?;
    let (path, content) = (context.need("file")?, context.need("content")?);
    let bytes = match context.param("encode") {
        Some("0") => STANDARD.decode(content).map_err(|_| Fault::die("Agent error: Invalid parameter 'buf-b64'"))?,
        _ => bytes_of_text(content),
    };
    let written = edit(context, &guest)?.write(path, &bytes);
    written.map_err(|why| Fault::die(format!("Agent error: failed to open file '{path}' (mode: 'w'): {why}")))?;
    Ok(Reply::null())
}
