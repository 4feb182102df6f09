//! Destroying a guest, and making a template of one.
//!
//! Both are refused at once when the guest's state forbids them.

use super::{Context, Reply, Route};
use crate::{
    model::{
        GuestKind,
        Method::{Delete, Post},
    },
    sandbox::world::{effect::Act, task::Order},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Delete, "/nodes/{node}/qemu/{vmid}", destroy),
    (Delete, "/nodes/{node}/lxc/{vmid}", destroy),
    (Post, "/nodes/{node}/qemu/{vmid}/template", template),
    (Post, "/nodes/{node}/lxc/{vmid}/template", template),
];

fn destroy(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let is_vm = context.kind() == GuestKind::Qemu;
    let act = Act::Destroy {
        unreferenced: context.flag("destroy-unreferenced-disks"),
        force: !is_vm && context.flag("force"),
        purge: context.flag("purge"),
    };
    let order = context.order(if is_vm { "qmdestroy" } else { "vzdestroy" }, 200, act)?;
    context.check(&order)?;
    if !context.flag("purge") {
        refuse_used(context)?;
    }
    context.wait_for_lock(context.vmid()?)?;
    let volids = context.guest()?.volids();
    let names = volids.iter().filter_map(|volid| volid.split_once(':')).map(|(_, name)| name);
    let script = names.map(|name| (0.5, format!("  Logical volume \"{name}\" successfully removed."))).collect();
    Ok(context.begin(Order { script, ..order }))
}

/// What else knows the guest has to be asked for too.
fn refuse_used(context: &Context<'_>) -> Result<(), Fault> {
    let guest = context.guest()?;
    let (word, vmid) = (guest.word(), guest.vmid);
    if context.world.service(guest.kind, vmid).is_some() {
        let text = format!("unable to remove {word} {vmid} - used in HA resources and purge parameter not set.");
        return Err(Fault::die(text));
    }
    match context.world.replications.keys().find(|id| id.split('-').next() == Some(&vmid.to_string())) {
        Some(id) => {
            Err(Fault::die(format!("There is a replication job '{id}' for guest '{vmid}' - Please remove that first.")))
        }
        None => Ok(()),
    }
}

fn template(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let is_vm = context.kind() == GuestKind::Qemu;
    let order = context.order(if is_vm { "qmtemplate" } else { "vztemplate" }, 300, Act::Template)?;
    context.check(&order)?;
    context.wait_for_lock(context.vmid()?)?;
    let reply = context.begin(order);
    // The container's variant starts a task too, but keeps its UPID to itself.
    Ok(if is_vm { reply } else { Reply::null() })
}
