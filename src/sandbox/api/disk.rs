//! Disks of guests: they grow.
//!
//! What comes of it is in [`world::effect`](crate::sandbox::world::effect).

use super::{Context, Reply, Route};
use crate::{
    model::{GuestKind, Method::Put},
    sandbox::world::effect::Act,
    server::Fault,
};

pub(super) const TABLE: &[Route] =
    &[(Put, "/nodes/{node}/qemu/{vmid}/resize", resize), (Put, "/nodes/{node}/lxc/{vmid}/resize", resize)];

fn resize(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let act = Act::Resize { disk: context.need("disk")?.to_owned(), size: context.need("size")?.to_owned() };
    let digest = context.guest()?.digest();
    if context.param("digest").is_some_and(|seen| seen != digest) {
        return Err(Fault::die(match context.kind() {
            GuestKind::Qemu => "checksum mismatch (file change by other user?)",
            GuestKind::Lxc => "detected modified configuration - file changed by other user? Try again.",
        }));
    }
    let order = context.order("resize", 100, act)?;
    Ok(context.begin(order))
}
