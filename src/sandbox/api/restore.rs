//! Guests made of archives: a create that names one.

use super::{
    Context, Reply,
    backup::{find, require},
    clone::with_new_mac,
    config, create,
};
use crate::{
    model::{GuestKind, PropertyString, Size, is_drive, is_net},
    sandbox::world::{
        backup::{Archive, Restored, file_of, unable},
        copying::short,
        effect::Effect,
        guest::{Config, Guest, volid_in},
        node::{GIB, Volume},
        seconds,
        task::Order,
    },
    server::Fault,
};

/// Makes a guest of an archive; `others` are parameters that are no configuration keys.
pub(super) fn restore(context: &mut Context<'_>, others: &[&str]) -> Result<Reply, Fault> {
    let (kind, node, vmid) = (context.kind(), context.node()?, context.vmid()?);
    let volid = context.need(if kind == GuestKind::Qemu { "archive" } else { "ostemplate" })?;
    let fail = |why: String| Fault::die(format!("{} - {why}", unable(kind, vmid)));
    let (volume, archive) = find(context, &node, volid)?;
    let (volume, archive) = (volume.clone(), archive.clone());
    require(context, &volume)?;
    if archive.kind != kind {
        return Err(fail(format!("'{volid}' is no archive of a {}", kind.noun())));
    }
    let force = context.flag("force");
    let replaced = context.world.guests.get(&vmid).cloned();
    if let Some(there) = &replaced {
        let word = there.word();
        if !force || there.kind != kind || there.node != node {
            return Err(fail(format!("{word} {vmid} already exists on node '{}'", there.node)));
        }
        if there.get("protection") == Some("1") {
            return Err(fail("protection mode enabled".into()));
        }
        if there.is_running() {
            return Err(fail("vm is running".into()));
        }
    }
    let mut guest = Guest::new(kind, vmid, &node, Config::new());
    guest.pool = context.param("pool").map(str::to_owned);
    let mut volumes: Vec<Volume> = Vec::new();
    for (key, value) in &archive.config {
        let value = if is_drive(key) {
            match disk(context, &guest, key, value, &volumes).map_err(fail)? {
                Some((value, volume)) => {
                    volumes.extend(volume);
                    value
                }
                None => value.clone(),
            }
        } else if is_net(key) && context.flag("unique") {
            with_new_mac(context, value)
        } else if key == "vmgenid" || key == "smbios1" && context.flag("unique") {
            let uuid = context.world.draw_uuid();
            if key == "vmgenid" { uuid } else { format!("uuid={uuid}") }
        } else {
            value.clone()
        };
        if !["parent", "template"].contains(&key.as_str()) {
            guest.config.insert(key.clone(), value);
        }
    }
    guest.config.extend(config::keys(context, others));
    let total: u64 = volumes.iter().map(|volume| volume.size).sum();
    let script = log(context, volid, &archive, &volumes, total);
    if replaced.is_none() {
        create::reserve(context, &guest, "create");
    }
    let task = if kind == GuestKind::Qemu { "qmrestore" } else { "vzrestore" };
    let effect = Effect::Restore(Restored { guest: Box::new(guest), volumes, replaces: replaced.is_some() });
    let order = context.order_of(task, 600, vmid, node, effect);
    Ok(context.begin(Order { script, ..order }))
}

/// A disk of an archive in a guest that is made of it, and the volume that has to be made; nothing for a medium.
fn disk(
    context: &Context<'_>,
    guest: &Guest,
    key: &str,
    value: &str,
    taken: &[Volume],
) -> Result<Option<(String, Option<Volume>)>, String> {
    let medium = value.contains("media=cdrom") && !value.contains("cloudinit");
    let Some(volid) = volid_in(value).filter(|_| !medium) else { return Ok(None) };
    let mut parts = PropertyString::lenient(value);
    let size = parts.remove("size").and_then(|size| size.parse::<Size>().ok());
    let was = volid.split(':').next().unwrap_or_default();
    // All of a container's go to one place.
    let default = if guest.kind == GuestKind::Lxc { "local" } else { was };
    let storage = context.param("storage").unwrap_or(default);
    let what = match volid.contains("cloudinit") {
        true => "cloudinit".to_owned(),
        false => (size.map_or(0, |size| size.0) as f64 / GIB as f64).to_string(),
    };
    let rest = parts.iter().filter_map(|(key, value)| Some((key?, value)));
    let rest = rest.filter(|(key, _)| !["file", "volume", "media"].contains(key));
    let rest: String = rest.map(|(key, value)| format!(",{key}={value}")).collect();
    let drive = context.world.drive(guest, key, &format!("{storage}:{what}{rest}"), taken, context.now)?;
    Ok(Some((drive.value, drive.volume)))
}

fn log(context: &Context<'_>, volid: &str, archive: &Archive, volumes: &[Volume], total: u64) -> Vec<(f64, String)> {
    let mut script = Vec::new();
    let file = volid.rsplit('/').next().unwrap_or(volid);
    if archive.kind == GuestKind::Lxc {
        script.push((0.01, format!("recovering backed-up configuration from '{volid}'")));
        let made = volumes.iter().map(|volume| (0.05, format!("  Logical volume \"{}\" created.", volume.name())));
        script.extend(made);
        script.push((0.1, format!("restoring '{volid}' now..")));
        script.push((0.1, format!("extracting archive '/var/lib/vz/dump/{file}'")));
        script.push((0.9, format!("Total bytes read: {total} ({}, 200MiB/s)", short(total))));
        script.push((0.95, "merging backed-up and given configuration..".into()));
        return script;
    }
    script.push((0.0, format!("restore vma archive: zstd -q -d -c /var/lib/vz/dump/{file} | vma extract -v -r")));
    script.push((0.01, format!("CFG: size: {} name: qemu-server.conf", file_of(archive).len())));
    for (at, volume) in volumes.iter().enumerate() {
        script.push((0.01, format!("DEV: dev_id={} size: {} devname: drive-{at}", at + 1, volume.size)));
    }
    let time = jiff::Timestamp::from_second(seconds(context.now)).unwrap_or_default();
    script.push((0.02, format!("CTIME: {}", time.strftime("%a %b %e %H:%M:%S %Y"))));
    for volume in volumes {
        script.push((0.03, format!("  Logical volume \"{}\" created.", volume.name())));
        script.push((0.03, format!("new volume ID is '{}'", volume.volid)));
    }
    for percent in (10..=100_u64).step_by(10) {
        let share = 0.05 + 0.9 * percent as f64 / 100.0;
        let bytes = total / 100 * percent;
        script.push((share, format!("progress {percent}% (read {bytes} bytes, duration {} sec)", percent / 20)));
    }
    script.push((0.97, format!("total bytes read {total}, sparse bytes {} (75%)", total / 4 * 3)));
    script.push((0.97, "space reduction due to 4K zero blocks 1.5%".into()));
    script.push((0.98, "rescan volumes...".into()));
    script
}
