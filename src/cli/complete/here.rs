//! What completion offers of this host: images and networks.
//!
//! Read from the host itself, whatever context is chosen; where there can be none, nothing is offered.

use super::{Candidate, Request};

/// The images of this host.
pub(super) async fn images(request: &Request) -> Vec<Candidate> {
    #[cfg(target_os = "linux")]
    {
        use crate::backends::cloud_hypervisor::disk::Images;
        let images = Images::new(request.live.paths().images());
        let found = request.live.blocking(move || images.list().ok()).await.flatten().unwrap_or_default();
        found.iter().map(|image| Candidate::new(&image.name, image.source.clone())).collect()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = request;
        Vec::new()
    }
}

/// The bridges of this host, pvectl's own among them.
pub(super) async fn networks(request: &Request) -> Vec<Candidate> {
    #[cfg(target_os = "linux")]
    {
        use crate::backends::cloud_hypervisor::host::network::links_now;
        let found = request.live.blocking(move || links_now().ok()).await.flatten().unwrap_or_default();
        let bridges = found.iter().filter(|link| link.bridge.is_some());
        bridges
            .map(|link| Candidate::new(&link.name, if link.mark.is_some() { "pvectl's" } else { "a bridge" }))
            .collect()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = request;
        Vec::new()
    }
}
