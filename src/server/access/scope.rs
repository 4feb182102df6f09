//! What the contract's permissions cannot know: which keys of a guest somebody may set, whose tasks somebody may see.
//!
//! It asks what somebody may do, and changes nothing.

use super::{Directory, ROOT};
use crate::{
    model::{PropertyString, config_privilege, is_drive, is_net, is_numbered, is_root_only_key},
    server::{Fault, Identity},
};

/// Says whether there is a storage of this name.
pub type Storages<'a> = &'a dyn Fn(&str) -> bool;

/// Somebody who asks for something.
pub struct Caller<'a> {
    directory: &'a dyn Directory,
    authid: String,
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Caller").field(&self.authid).finish()
    }
}

impl<'a> Caller<'a> {
    /// Somebody whom the directory knows; nobody has no privileges.
    pub fn new(directory: &'a dyn Directory, who: Option<&Identity>) -> Self {
        Self { directory, authid: who.map(Identity::authid).unwrap_or_default() }
    }

    /// Whether root itself asks, by ticket: some things no token may do.
    pub fn is_root(&self) -> bool {
        self.authid == ROOT
    }

    /// Whether nothing is forbidden, so that nobody has to look at the grants.
    pub fn is_almighty(&self) -> bool {
        self.directory.people().is_almighty(&self.authid)
    }

    /// `user@realm`.
    pub fn user(&self) -> &str {
        self.authid.split('!').next().unwrap_or_default()
    }

    /// Whether one of these privileges is there on a path.
    pub fn may(&self, path: &str, any: &[&str]) -> bool {
        self.directory.may(&self.authid, path, any)
    }

    /// Refuses where none of these privileges is there.
    ///
    /// # Errors
    /// 403, naming path and privileges.
    pub fn require(&self, path: &str, any: &[&str]) -> Result<(), Fault> {
        if self.may(path, any) { Ok(()) } else { Err(Fault::forbidden(path, &any.join("|"))) }
    }

    /// Refuses to let anybody but root pass over a lock.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn may_skip_lock(&self) -> Result<(), Fault> {
        match self.is_root() {
            true => Ok(()),
            false => Err(Fault::parameter("skiplock", "Only root may use this option.")),
        }
    }

    /// A guest may be made by whoever has `VM.Allocate` on its number or on the pool that it comes into.
    ///
    /// # Errors
    /// 403, in the few words that a server has for this.
    pub fn may_create(&self, vmid: u32, pool: Option<&str>) -> Result<(), Fault> {
        let allowed = self.may(&format!("/vms/{vmid}"), &["VM.Allocate"])
            || pool.is_some_and(|pool| self.may(&format!("/pool/{pool}"), &["VM.Allocate"]));
        match allowed {
            true => Ok(()),
            false => Err(Fault::denied()),
        }
    }

    /// Whether a user's task may be looked at: by itself, or with `Sys.Audit` on the node. Asked once for many.
    pub fn sees_tasks(&self, node: &str) -> impl Fn(&str) -> bool {
        let audits = self.may(&format!("/nodes/{node}"), &["Sys.Audit"]);
        move |user| audits || is_same_user(user, self.user())
    }

    /// The same of one task.
    pub fn may_see_task(&self, user: &str, node: &str) -> bool {
        self.sees_tasks(node)(user)
    }

    /// Refuses to let somebody stop another user's task without `Sys.Modify` on the node.
    ///
    /// # Errors
    /// 403.
    pub fn may_stop_task(&self, user: &str, node: &str) -> Result<(), Fault> {
        if is_same_user(user, self.user()) {
            return Ok(());
        }
        self.require(&format!("/nodes/{node}"), &["Sys.Modify"])
    }

    /// Refuses keys that may not be set to these values: by the guest's privileges, and those of storages and bridges.
    ///
    /// # Errors
    /// 403, or 500 for what root alone may do.
    pub fn may_set<'v>(
        &self,
        path: &str,
        values: impl Iterator<Item = (&'v str, &'v str)>,
        has_storage: Storages<'_>,
    ) -> Result<(), Fault> {
        for (key, value) in values {
            if is_root_only_key(key) || is_of_the_host(key, value) {
                if !self.is_root() {
                    return Err(Fault::die(format!("only root can set '{key}' config")));
                }
                continue;
            }
            self.require(path, &[config_privilege(key, value)])?;
            let parts: PropertyString = value.parse().unwrap_or_default();
            if is_drive(key) {
                self.may_use_disk(value, &parts, has_storage)?;
            }
            if is_net(key)
                && let Some(bridge) = parts.get("bridge")
            {
                self.require(&format!("/sdn/zones/localnetwork/{bridge}"), &["SDN.Use"])?;
            }
        }
        Ok(())
    }

    fn may_use_disk(&self, value: &str, parts: &PropertyString, has_storage: Storages<'_>) -> Result<(), Fault> {
        let is_path = |text: &str| text.starts_with('/');
        let names_file = parts.get("import-from").is_some_and(is_path) || parts.volume().is_some_and(is_path);
        if names_file && !self.is_root() {
            return Err(Fault::die("Only root can pass arbitrary filesystem paths."));
        }
        let Some((storage, _)) = parts.volume().and_then(|volume| volume.split_once(':')) else { return Ok(()) };
        if !has_storage(storage) {
            return Err(Fault::die(format!("storage '{storage}' does not exist")));
        }
        let privileges: &[&str] = match value.contains("media=cdrom") {
            true => &["Datastore.Audit", "Datastore.AllocateSpace"],
            false => &["Datastore.AllocateSpace"],
        };
        self.require(&format!("/storage/{storage}"), privileges)
    }
}

/// Whether a value reaches past the guest, to a device or a script of the host: Proxmox leaves those to root itself.
fn is_of_the_host(key: &str, value: &str) -> bool {
    let is = |family| is_numbered(key, family);
    let parts = || value.parse::<PropertyString>().unwrap_or_default();
    match key {
        "hookscript" => true,
        _ if is("parallel") => true,
        _ if is("hostpci") => parts().get("mapping").is_none(),
        _ if is("usb") => {
            parts().get_or_bare("host").is_some_and(|host| host != "spice") && parts().get("mapping").is_none()
        }
        _ if is("serial") => !value.is_empty() && value != "socket",
        _ => false,
    }
}

fn is_same_user(task: &str, user: &str) -> bool {
    task.split('!').next() == Some(user)
}
