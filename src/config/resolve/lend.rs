//! What a server that is named alone has of a context with the same address: whom to trust there, and never its secret.
//!
//! Who wins over whom is decided beside it.

use super::{Context, Endpoint, Input, Proxmox, SecretSource};

impl Input<'_> {
    /// The context that has this server among its own, and the server as it is there; none where several trust
    /// different certificates.
    pub(super) fn known(&self, endpoint: &Endpoint) -> Option<(&Context, &Endpoint)> {
        let contexts = self.file?.contexts().iter();
        let mut all = contexts.filter_map(|context| {
            let same = context.endpoints.iter().find(|known| known.url() == endpoint.url())?;
            Some((context, same))
        });
        let first = all.next()?;
        let trusts =
            |(context, known): (&Context, &Endpoint)| (known.fingerprint().map(str::to_owned), context.ca_file.clone());
        all.all(|other| trusts(other) == trusts(first)).then_some(first)
    }

    /// How to be somebody on a server that was named alone and that a context has.
    pub(super) fn other_way(&self, proxmox: &Proxmox) -> Option<String> {
        let alone = self.context.is_none() && matches!(proxmox.secret.value, SecretSource::Ask);
        let (context, _) = self.known(proxmox.endpoints.value.first().filter(|_| alone)?)?;
        let name = &context.name;
        Some(format!("a server that is named alone gets no context's credentials: `--context {name}` has this server"))
    }
}
