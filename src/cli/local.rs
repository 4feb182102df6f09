//! This host as a context: where its VMs lie, which programs they run on, who works.
//!
//! Values only; what is done with them is the backend's.

use std::{path::PathBuf, sync::Arc};

use rustix::process::geteuid;

use super::{cx::Cx, print::Style, session::Access};
use crate::{
    backends::cloud_hypervisor::{
        Local, Options, failpoint,
        host::facts::{Look, find_firmware, find_nft, find_virtiofsd, find_vmm},
        host::{self, Groups, Pci, Surroundings, Units, units},
    },
    config::{Connection, write_private},
    model::{Error, NodeName, Result, SystemClock},
};

/// At which point a test wants the process to be killed; other builds than those of tests do not know it.
const KILL_AT: &str = "PVECTL_TEST_KILL_AT";

/// How output looks, for what is of this host alone; another context is refused so, and a change where there may be none.
pub(super) fn style_here(cx: &Cx, access: Access, refusal: impl FnOnce() -> Error) -> Result<Style> {
    let resolved = cx.resolve()?;
    if !matches!(resolved.connection, Connection::Local) {
        return Err(refusal());
    }
    for warning in &resolved.warnings {
        cx.ui.warn(warning);
    }
    cx.check_access(access, &resolved.read_only)?;
    cx.style(&resolved)
}

/// The backend of this host. Looks at no VM yet.
pub(super) fn backend(cx: &Cx) -> Result<Local> {
    if failpoint::ARE_HERE
        && let Some(order) = cx.env.get(KILL_AT)
    {
        failpoint::arm(order);
    }
    let look = look(cx)?;
    let host = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short = host.split('.').next().unwrap_or_default();
    let node = NodeName::new(short)
        .or_else(|_| NodeName::new("localhost"))
        .map_err(|error| Error::usage(error.to_string()))?;
    let options = Options {
        binary: find_vmm(&look).ok(),
        firmware: find_firmware(&look),
        nft: find_nft(&look),
        virtiofsd: find_virtiofsd(&look),
        state: look.state,
        run: look.run,
        node,
        units: units(cx)?,
        pci: Pci::default(),
        groups: look.groups,
        user: "root@pam".to_owned(),
        patience: cx.wait_lock()?,
    };
    Local::open(options, Arc::new(SystemClock))
}

/// Where to look for what VMs need.
pub(super) fn look(cx: &Cx) -> Result<Look> {
    let paths = cx.paths()?;
    let programs: Vec<PathBuf> =
        cx.env.path("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let groups = Groups::find(&Surroundings {
        root: "/".into(),
        named: cx.env.path("PVECTL_CGROUP_DIR"),
        programs: programs.clone(),
        runtime: cx.env.path("XDG_RUNTIME_DIR"),
        uid: geteuid().as_raw(),
    });
    Ok(Look { state: paths.local(), run: paths.run(geteuid().is_root()), programs, groups, ..Look::default() })
}

/// The systemd that starts VMs with the host.
fn units(cx: &Cx) -> Result<Option<Units>> {
    let user = !geteuid().is_root();
    let directory = match cx.env.path("PVECTL_UNIT_DIR") {
        Some(directory) => directory,
        None if !units::runs() => return Ok(None),
        None if user => {
            let config = cx.env.path("XDG_CONFIG_HOME").or_else(|| Some(cx.env.path("HOME")?.join(".config")));
            let Some(config) = config else { return Ok(None) };
            config.join("systemd/user")
        }
        None => PathBuf::from("/etc/systemd/system"),
    };
    let Service { executable, environment, .. } = service(cx)?;
    Ok(Some(Units { directory, user, executable, environment }))
}

/// This executable as a service of systemd.
pub(super) struct Service {
    /// Whether it would be a user's own systemd.
    pub(super) user: bool,
    /// The executable, by its path.
    pub(super) executable: PathBuf,
    /// What it needs of the environment.
    pub(super) environment: Vec<(String, String)>,
}

/// The same for whoever runs this.
pub(super) fn service(cx: &Cx) -> Result<Service> {
    // What decides where VMs and programs are. A user's systemd sets the directory of sockets, and root's is fixed.
    let environment = ["HOME", "XDG_STATE_HOME", "PATH", "PVECTL_CGROUP_DIR"];
    let environment =
        environment.iter().filter_map(|name| Some(((*name).to_owned(), cx.env.get(name)?.to_owned()))).collect();
    let executable = std::env::current_exe()
        .map_err(|error| Error::usage(format!("where this executable is cannot be found out: {error}")))?;
    Ok(Service { user: !geteuid().is_root(), executable, environment })
}

/// In which boot of the host VMs with onboot=1 were last started, by whomever.
pub(super) struct BootMark(PathBuf);

impl BootMark {
    /// That of this host.
    pub(super) fn new(cx: &Cx) -> Result<Self> {
        Ok(Self(cx.paths()?.local().join("guests-started")))
    }

    /// Whether it was this one.
    pub(super) fn is_set(&self) -> Result<bool> {
        let kept = std::fs::read_to_string(&self.0).unwrap_or_default();
        Ok(kept.trim() == host::boot_id()?)
    }

    /// It was this one.
    pub(super) fn set(&self) -> Result<()> {
        write_private(&self.0, &format!("{}\n", host::boot_id()?))
    }
}
