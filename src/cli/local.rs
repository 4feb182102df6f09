//! This host as a context: where its VMs lie, which programs they run on, who works.
//!
//! Values only; what is done with them is the backend's.

use std::sync::Arc;

use rustix::process::geteuid;

use super::cx::Cx;
use crate::{
    backends::cloud_hypervisor::{
        Local, Options,
        host::facts::{Look, find_firmware, find_nft, find_vmm},
    },
    model::{Error, NodeName, Result, SystemClock},
};

/// The backend of this host. Looks at no VM yet.
pub(super) fn backend(cx: &Cx) -> Result<Local> {
    let paths = cx.paths()?;
    let programs = cx.env.path("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let look = Look { state: paths.local(), run: paths.run(geteuid().is_root()), programs, ..Look::default() };
    let host = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short = host.split('.').next().unwrap_or_default();
    let node = NodeName::new(short)
        .or_else(|_| NodeName::new("localhost"))
        .map_err(|error| Error::usage(error.to_string()))?;
    let options = Options {
        binary: find_vmm(&look).ok(),
        firmware: find_firmware(&look),
        nft: find_nft(&look),
        state: look.state,
        run: look.run,
        node,
        user: "root@pam".to_owned(),
        patience: None,
    };
    Local::open(options, Arc::new(SystemClock))
}
