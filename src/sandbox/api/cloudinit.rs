//! Cloud-init drives: what one says, what it will say, made anew.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        Method::{Get, Put},
        PropertyString,
    },
    sandbox::world::guest::{Guest, is_cloudinit_key},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/qemu/{vmid}/cloudinit", pending),
    (Put, "/nodes/{node}/qemu/{vmid}/cloudinit", regenerate),
    (Get, "/nodes/{node}/qemu/{vmid}/cloudinit/dump", dump),
];

/// What stands in a password's place.
const MASKED: &str = "**********";

fn pending(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    let now = guest.config_to_come();
    let on_drive = guest.cloudinit.clone().unwrap_or_default();
    let shown = |key: &str, value: &str| if key == "cipassword" { MASKED.to_owned() } else { value.to_owned() };
    let mut rows: Vec<Value> = Vec::new();
    for (key, value) in now.iter().filter(|(key, _)| is_cloudinit_key(key)) {
        rows.push(match on_drive.get(key) {
            None => json!({"key": key, "pending": shown(key, value)}),
            Some(old) if old == value => json!({"key": key, "value": shown(key, value)}),
            Some(old) => json!({"key": key, "value": shown(key, old), "pending": shown(key, value)}),
        });
    }
    rows.extend(on_drive.keys().filter(|key| !now.contains_key(*key)).map(|key| json!({"key": key, "delete": 1})));
    Ok(Reply::data(rows))
}

fn regenerate(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let vmid = context.guest()?.vmid;
    context.wait_for_lock(vmid)?;
    if let Some(lock) = context.guest()?.lock() {
        return Err(Fault::die(format!("VM is locked ({lock})")));
    }
    if let Some(guest) = context.world.guests.edit(&vmid) {
        guest.write_cloudinit();
    }
    Ok(Reply::null())
}

fn dump(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    Ok(Reply::data(match context.need("type")? {
        "user" => user(guest),
        "network" => network(guest),
        _ => format!("instance-id: {}\n", &guest.digest()),
    }))
}

fn user(guest: &Guest) -> String {
    let mut text = format!("#cloud-config\nhostname: {}\nmanage_etc_hosts: true\n", guest.name());
    if let Some(user) = guest.get("ciuser") {
        text += &format!("user: {user}\n");
    }
    if guest.get("cipassword").is_some() {
        text += "password: $5$…\n";
    }
    if let Some(keys) = guest.get("sshkeys") {
        text += "ssh_authorized_keys:\n";
        let keys = percent_decode_str(keys).decode_utf8_lossy().into_owned();
        text += &keys.lines().map(|key| format!("  - {key}\n")).collect::<String>();
    }
    text + "chpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: true\n"
}

fn network(guest: &Guest) -> String {
    let mut text = "version: 1\nconfig:\n".to_owned();
    for (key, value) in guest.config.iter().filter(|(key, _)| key.starts_with("ipconfig")) {
        let number = key.trim_start_matches("ipconfig");
        text += &format!("    - type: physical\n      name: eth{number}\n      subnets:\n");
        let parts = PropertyString::lenient(value);
        for part in ["ip", "ip6"].into_iter().filter_map(|part| parts.get(part)) {
            text += &match part {
                "dhcp" => "      - type: dhcp4\n".to_owned(),
                fixed => format!("      - type: static\n        address: '{fixed}'\n"),
            };
        }
    }
    text
}
