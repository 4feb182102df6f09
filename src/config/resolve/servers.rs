//! Where the servers are and whom to trust there: what a context says of its own, and what a server that is named alone has
//! of a context with the same address, which is trust and never a secret.
//!
//! Who wins over whom is decided beside it.

use super::{Context, Endpoint, Input, Origin, Proxmox, SecretSource, Sourced, from};
use crate::model::{Error, Hint, Result};

impl Input<'_> {
    pub(super) fn endpoints(
        &self,
        servers: Option<&Sourced<String>>,
    ) -> Result<(Sourced<Vec<Endpoint>>, Option<Origin>)> {
        const PINS: &str = "PVECTL_FINGERPRINT";
        let own: &[Endpoint] = self.context.map_or(&[], |context| &context.endpoints);
        let mut pinned_by = None;
        let mut endpoints = match (servers, self.context) {
            (Some(servers), _) => {
                let given = servers.value.split(',').filter(|part| !part.trim().is_empty()).map(Endpoint::new);
                let mut given = given.collect::<Result<Vec<_>>>().map_err(|error| error.context(&servers.origin))?;
                for endpoint in &mut given {
                    // A server of a context's keeps its pinned certificate, however it was named.
                    if let Some(known) = own.iter().find(|known| known.url() == endpoint.url()) {
                        *endpoint = known.clone();
                    } else if let (None, Some((context, known))) = (self.context, self.known(endpoint)) {
                        *endpoint = known.clone();
                        pinned_by = known.fingerprint().map(|_| from(context));
                    }
                }
                Sourced::new(given, servers.origin.clone())
            }
            (None, Some(context)) => Sourced::new(own.to_vec(), from(context)),
            (None, None) => Sourced::new(Vec::new(), Origin::Default),
        };
        if endpoints.value.is_empty() {
            return Err(Error::usage(format!("{} names no server", endpoints.origin)));
        }
        let mut fingerprints = match self.context {
            Some(context) if endpoints.value.iter().any(|endpoint| endpoint.fingerprint().is_some()) => {
                Some(from(context))
            }
            _ => pinned_by,
        };
        if let Some(pins) = self.env.text(PINS)? {
            let pins: Vec<&str> = pins.split(',').collect();
            let count = endpoints.value.len();
            if pins.len() != 1 && pins.len() != count {
                return Err(Error::usage(format!("{PINS} has {} fingerprints for {count} servers", pins.len()))
                    .with_hint(Hint::Text("one for all, or one each, in the same order".to_owned())));
            }
            for (endpoint, pin) in endpoints.value.iter_mut().zip(pins.iter().cycle()) {
                *endpoint = endpoint.clone().pinned(pin).map_err(|error| error.context(PINS))?;
            }
            fingerprints = Some(Origin::Env(PINS));
        }
        Ok((endpoints, fingerprints))
    }

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
