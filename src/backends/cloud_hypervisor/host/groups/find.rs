//! Who makes control groups on this host: looked at, with nothing changed.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Groups, Systemd, has_cpu};
use crate::backends::cloud_hypervisor::host::mounts::mounts;

/// What is chosen if it is told to do without.
const NONE: &str = "none";

/// What there is to see.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where the host's files are: `/`.
    pub root: PathBuf,
    /// The directory that was named for groups, or `none`.
    pub named: Option<PathBuf>,
    /// The directories of programs.
    pub programs: Vec<PathBuf>,
    /// The directory of this user's sockets.
    pub runtime: Option<PathBuf>,
    /// Who this is.
    pub uid: u32,
}

impl Groups {
    /// Looks.
    pub fn find(at: &Surroundings) -> Self {
        match &at.named {
            Some(named) if named.as_os_str() == NONE => return Self::None("PVECTL_CGROUP_DIR is `none`".to_owned()),
            Some(named) if has_cpu(&named.join("cgroup.controllers")) => return Self::Own(named.clone()),
            Some(named) => {
                let why = "is no directory of control groups (v2) that limits processors";
                return Self::None(format!("`{}`, named by PVECTL_CGROUP_DIR, {why}", named.display()));
            }
            None => {}
        }
        let Some(tree) = unified(&at.root) else {
            return Self::None("this host's control groups are of the first version alone".to_owned());
        };
        match (at.root.join("run/systemd/system").is_dir(), at.uid) {
            (true, uid) => by_systemd(at, &tree, uid),
            (false, 0) => by_root(&tree),
            (false, _) => Self::None("only root and systemd make control groups here".to_owned()),
        }
    }
}

fn by_systemd(at: &Surroundings, tree: &Path, uid: u32) -> Groups {
    let busctl = at.programs.iter().map(|folder| folder.join("busctl")).find(|file| file.is_file());
    let Some(busctl) = busctl else {
        return Groups::None("there is no `busctl` to ask systemd by".to_owned());
    };
    let user = uid != 0;
    if user && !at.runtime.as_ref().is_some_and(|runtime| runtime.join("bus").exists()) {
        return Groups::None(
            "this user has no systemd of his own: there is no socket `bus` in XDG_RUNTIME_DIR".to_owned(),
        );
    }
    let managed = match user {
        true => tree.join(format!("user.slice/user-{uid}.slice/user@{uid}.service")),
        false => tree.to_owned(),
    };
    Groups::Systemd(Systemd { busctl, user, limits: has_cpu(&managed.join("cgroup.controllers")) })
}

fn by_root(tree: &Path) -> Groups {
    let why = if !has_cpu(&tree.join("cgroup.controllers")) {
        "the control of processors is with the first version of control groups, or nowhere"
    } else if tree.join("cgroup.type").exists() {
        // Every group but the very first has a type, and none that has processes in it limits its children.
        "this is a container, which sees only its own part of the control groups"
    } else if accessat(CWD, tree.join("cgroup.subtree_control"), Access::WRITE_OK, AtFlags::EACCESS).is_err() {
        "the control groups are read-only here"
    } else {
        return Groups::Own(tree.join("pvectl"));
    };
    Groups::None(why.to_owned())
}

/// Where the second version of control groups is mounted.
fn unified(root: &Path) -> Option<PathBuf> {
    let mount = mounts(root).into_iter().find(|mount| mount.kind.as_deref() == Some("cgroup2"))?;
    Some(root.join(mount.place.trim_start_matches('/')))
}
