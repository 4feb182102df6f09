//! Control groups of VMMs: how much of the processors each may have, and that the end of a session is not theirs.
//!
//! Where systemd runs it keeps the tree, and is asked: a VMM gets a scope of its own, which goes with it. Elsewhere pvectl
//! keeps a directory of the tree itself. Nothing here limits memory: a VMM that runs out of it is killed, with its guest.

mod find;
mod systemd;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

pub use find::Surroundings;
pub(in crate::backends::cloud_hypervisor) use systemd::Systemd;

use super::{at, hint};
use crate::model::{Error, Result};

/// The controller of processors.
const CPU: &str = "cpu";
/// Microseconds of which a limit is a part.
const PERIOD: u64 = 100_000;
/// The kernel takes no less than a millisecond of them.
const LEAST: u64 = 1000;

/// Who makes groups here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// Nobody, for this reason.
    None(String),
    /// pvectl, below this directory.
    Own(PathBuf),
    /// systemd.
    Systemd(Systemd),
}

impl Default for Groups {
    fn default() -> Self {
        Self::None("nobody has looked who makes control groups".to_owned())
    }
}

/// What a VM may have of the processors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// How many of them at most; as many as there are where nothing is said.
    pub processors: Option<f64>,
    /// Its share where others want them too, from 1 to 10000; 100 where nothing is said.
    pub weight: Option<u64>,
}

impl Limits {
    /// Whether there are any.
    pub fn are_some(&self) -> bool {
        self.processors.is_some() || self.weight.is_some()
    }

    /// Microseconds of `period`; `None` for all of them.
    fn quota(&self, period: u64) -> Option<u64> {
        self.processors.map(|processors| ((processors * period as f64).round() as u64).max(LEAST))
    }

    /// As Proxmox brings weights of older hosts to the scale of newer ones.
    fn weight(&self) -> Option<u64> {
        self.weight.map(|weight| weight.clamp(1, 10_000))
    }
}

/// Which group: that of a VM, in one of its starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName {
    /// `100-1a2b3c4d`, as its directory of sockets.
    pub vm: String,
    /// The start.
    pub generation: u32,
}

impl Groups {
    /// Why processors cannot be limited here; `None` where they can.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::None(why) => Some(why.clone()),
            Self::Own(_) => None,
            Self::Systemd(systemd) => systemd.why_not(),
        }
    }

    /// Puts a process into a group of its own. Says whether there is one. It blocks.
    ///
    /// # Errors
    /// [`Class::Forbidden`](crate::model::Class::Forbidden) without the right to,
    /// [`Class::Failed`](crate::model::Class::Failed) with what systemd or the kernel says.
    pub fn enter(&self, name: &GroupName, limits: &Limits, pid: u32) -> Result<bool> {
        match self {
            Self::None(_) => return Ok(false),
            Self::Own(base) => {
                prepare(base)?;
                let group = base.join(&name.vm);
                make(&group)?;
                limit(&group, limits)?;
                write(&group.join("cgroup.procs"), &pid.to_string())?;
            }
            Self::Systemd(systemd) => systemd.enter(name, limits, pid)?,
        }
        Ok(true)
    }

    /// Changes what a group may have. It blocks.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) where the VM has no group; as [`enter`](Self::enter).
    pub fn limit(&self, name: &GroupName, limits: &Limits) -> Result<()> {
        match self {
            Self::None(why) => Err(Error::conflict(why.clone())),
            Self::Own(base) if !base.join(&name.vm).is_dir() => Err(no_group()),
            Self::Own(base) => limit(&base.join(&name.vm), limits),
            Self::Systemd(systemd) => systemd.limit(name, limits),
        }
    }

    /// Removes the group of a VM whose VMM is gone. One that is not empty stays, for `host gc` to find.
    pub fn leave(&self, vm: &str) {
        if let Self::Own(base) = self {
            let _ = fs::remove_dir(base.join(vm));
        }
    }

    /// The groups that there are, by the VMs they are called after, and whether somebody is in them. Those of systemd go by
    /// themselves.
    pub fn all(&self) -> Vec<(PathBuf, bool)> {
        let Self::Own(base) = self else { return Vec::new() };
        let entries = fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
        let groups = entries.filter(|path| path.is_dir());
        groups.map(|path| (path.clone(), is_populated(&path))).collect()
    }
}

fn no_group() -> Error {
    Error::conflict("its VMM is in no control group of its own: the next start gives it one")
}

/// Whether somebody is in a group.
fn is_populated(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|members| !members.trim().is_empty())
}

/// Has the kernel count processors below a directory, which is made if it is the first time.
fn prepare(base: &Path) -> Result<()> {
    make(base)?;
    if !has_cpu(&base.join("cgroup.controllers"))
        && let Some(above) = base.parent()
    {
        enable(above)?;
    }
    enable(base)
}

fn enable(group: &Path) -> Result<()> {
    let file = group.join("cgroup.subtree_control");
    if has_cpu(&file) {
        return Ok(());
    }
    write(&file, &format!("+{CPU}")).map_err(|error| {
        error.with_hint(hint(
            "a directory whose children are limited holds no process itself; name another one by PVECTL_CGROUP_DIR, \
             or `none` to do without",
        ))
    })
}

fn limit(group: &Path, limits: &Limits) -> Result<()> {
    let quota = limits.quota(PERIOD).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
    write(&group.join("cpu.max"), &format!("{quota} {PERIOD}"))?;
    write(&group.join("cpu.weight"), &limits.weight().unwrap_or(100).to_string())
}

fn has_cpu(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|word| word == CPU))
}

fn make(directory: &Path) -> Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(at("make the control group", directory, error)),
        _ => Ok(()),
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    let written: io::Result<()> = fs::write(file, text);
    written.map_err(|error| at(&format!("write `{text}` to"), file, error))
}
