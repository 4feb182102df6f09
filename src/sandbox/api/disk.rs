//! Disks of guests: they grow, go into other storages, and to other guests.
//!
//! What comes of it is in [`world::effect`](crate::sandbox::world::effect).

use super::{Context, Reply, Route, vmid};
use crate::{
    model::{
        GuestKind,
        Method::{Post, Put},
    },
    sandbox::world::{carry::Move, effect::Act, task::Order},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Put, "/nodes/{node}/qemu/{vmid}/resize", resize),
    (Put, "/nodes/{node}/lxc/{vmid}/resize", resize),
    (Post, "/nodes/{node}/qemu/{vmid}/move_disk", move_disk),
    (Post, "/nodes/{node}/lxc/{vmid}/move_volume", move_disk),
];

/// Refuses what was read before somebody else changed it.
fn refuse_outdated(context: &Context<'_>) -> Result<(), Fault> {
    let digest = context.guest()?.digest();
    match context.param("digest").is_some_and(|seen| seen != digest) {
        true => Err(Fault::die(match context.kind() {
            GuestKind::Qemu => "checksum mismatch (file change by other user?)",
            GuestKind::Lxc => "detected modified configuration - file changed by other user? Try again.",
        })),
        false => Ok(()),
    }
}

fn resize(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let act = Act::Resize { disk: context.need("disk")?.to_owned(), size: context.need("size")?.to_owned() };
    refuse_outdated(context)?;
    let order = context.order("resize", 100, act)?;
    Ok(context.begin(order))
}

fn move_disk(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let is_vm = context.kind() == GuestKind::Qemu;
    let names = if is_vm { ["disk", "target-disk"] } else { ["volume", "target-volume"] };
    let (disk, guest) = (context.need(names[0])?.to_owned(), context.guest()?.clone());
    if let Some(lock) = guest.lock() {
        return Err(Fault::die(format!("{} is locked ({lock})", guest.word())));
    }
    refuse_outdated(context)?;
    context.wait_for_lock(guest.vmid)?;
    if let Some(to) = context.param("target-vmid") {
        if context.param("storage").is_some() {
            return Err(Fault::parameter("target-vmid", "either set 'storage' or 'target-vmid', but not both"));
        }
        let to = vmid("target-vmid", to)?;
        context.require(&format!("/vms/{to}"), &["VM.Config.Disk"])?;
        let key = context.param(names[1]).unwrap_or(&disk).to_owned();
        context.world.check_reassign(&guest, &disk, to, &key).map_err(Fault::die)?;
        let word = guest.word();
        let line = format!("reassign disk '{disk}' from {word} '{}' as '{key}' to {word} '{to}'", guest.vmid);
        let kind = if is_vm { "qmmove" } else { "move_volume" };
        let order = context.order(kind, 150, Act::Reassign { disk, to, key })?;
        return Ok(context.begin(Order { script: vec![(0.2, line)], holds: vec![guest.vmid, to], ..order }));
    }
    let storage = context.need("storage")?;
    context.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    if !is_vm && guest.is_running() {
        return Err(Fault::die("cannot move volumes of a running container"));
    }
    let (format, delete) = (context.param("format"), context.flag("delete"));
    let go = Move { disk: &disk, storage, format, delete };
    let old = context.world.check_move(&guest, &go).map_err(Fault::die)?;
    let (new, script) = context.world.copy_for_move(&guest, &go, &old).map_err(Fault::die)?;
    let takes = 400 + i64::try_from((old.size >> 30) * 10).unwrap_or(600).min(600);
    let act = Act::MoveDisk { disk: disk.clone(), new: Box::new(new), delete };
    let order = context.order(if is_vm { "qmmove" } else { "move_volume" }, takes, act)?;
    Ok(context.begin(Order { script, ..order }))
}
