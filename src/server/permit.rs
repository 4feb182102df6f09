//! The contract's permissions, held against the privileges somebody has.
//!
//! What a method checks beyond its declaration (which options of a VM one may change) is the service's business.

use super::{Fault, Identity, Service};
use crate::{
    contract::{Check, Endpoint, Permissions},
    model::Params,
};

const ROOT: &str = "root@pam";

/// Privileges that allow changing permissions below a path, beside `Permissions.Modify`.
const MODIFY: &[(&str, &str)] =
    &[("/pool/", "Pool.Allocate"), ("/storage/", "Datastore.Allocate"), ("/vms/", "VM.Allocate")];

/// Lets somebody through to a method, or not.
///
/// # Errors
/// 403, naming the object and the privilege where the server does.
pub(super) fn permit(
    service: &dyn Service,
    endpoint: &Endpoint,
    who: Option<&Identity>,
    params: &Params,
) -> Result<(), Fault> {
    let denied = |why: Option<String>| {
        let message = match why {
            Some(why) => format!("Permission check failed ({why})"),
            None => "Permission check failed".to_owned(),
        };
        Err(Fault { status: 403, ..Fault::die(message) })
    };
    if endpoint.permissions == Permissions::World {
        return Ok(());
    }
    let Some(who) = who else { return denied(Some("user != null".to_owned())) };
    if who.token.is_some() && !endpoint.allowtoken {
        return denied(Some(no_tokens(&endpoint.path, params)));
    }
    // A token of root's is somebody else than root.
    if who.user == ROOT && who.token.is_none() {
        return Ok(());
    }
    match &endpoint.permissions {
        Permissions::World | Permissions::All => Ok(()),
        Permissions::Root => denied(Some(format!("user != {ROOT}"))),
        Permissions::Check(check) => Asked { service, who, params }.passes(check).or_else(denied),
    }
}

/// What a token is told by a method that takes none.
pub(super) fn no_tokens(template: &str, params: &Params) -> String {
    format!("URI '{}' not available with API token, need proper ticket.\n", filled(template, params))
}

struct Asked<'a> {
    service: &'a dyn Service,
    who: &'a Identity,
    params: &'a Params,
}

impl Asked<'_> {
    /// `Err` has what stands in the parentheses of the answer, if anything does.
    fn passes(&self, check: &Check) -> Result<(), Option<String>> {
        match check {
            Check::And(all) => all.iter().try_for_each(|part| self.passes(part)),
            Check::Or(some) => yes(some.iter().any(|part| self.passes(part).is_ok())),
            Check::Privileges { path, privileges, any, require_param } => {
                yes(require_param.as_deref().is_none_or(|name| self.params.get(name).is_some()))?;
                self.has(&filled(path, self.params), privileges, *any)
            }
            Check::OwnUser => yes(self.params.get("userid") == Some(self.who.authid().as_str())),
            Check::UserRealm { privilege } => {
                let realm =
                    self.params.get("userid").and_then(|user| user.rsplit_once('@')).map_or("", |(_, realm)| realm);
                self.has(&format!("/access/realm/{realm}"), std::slice::from_ref(privilege), false)
            }
            Check::UserGroup { privileges, from_param } => self.manages_group(privileges, *from_param),
            Check::ModifyPermissions { path } => {
                let path = filled(path, self.params);
                let further =
                    MODIFY.iter().filter(|(below, _)| path.starts_with(below)).map(|(_, privilege)| *privilege);
                let wanted: Vec<String> =
                    ["Permissions.Modify"].into_iter().chain(further).map(str::to_owned).collect();
                self.has(&path, &wanted, true)
            }
            Check::Unknown(_) => Err(None),
        }
    }

    fn has(&self, path: &str, wanted: &[String], any: bool) -> Result<(), Option<String>> {
        // A path that no object can have is empty to the server, and nobody has anything there.
        let path = if is_path(path) { path } else { "" };
        let have = if path.is_empty() { Default::default() } else { self.service.privileges(self.who, path) };
        if any {
            let found = wanted.iter().any(|privilege| have.contains(privilege));
            return if found { Ok(()) } else { Err(Some(format!("{path}, {}", wanted.join("|")))) };
        }
        match wanted.iter().find(|privilege| !have.contains(*privilege)) {
            Some(missing) => Err(Some(format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    fn manages_group(&self, privileges: &[String], from_param: bool) -> Result<(), Option<String>> {
        let whole = self.has("/access/groups", privileges, true);
        if whole.is_ok() {
            return whole;
        }
        let on_group = |group: &str| self.has(&format!("/access/groups/{group}"), privileges, true);
        if from_param {
            let groups: Vec<&str> = self.params.get("groups").unwrap_or_default().split([',', ';', ' ']).collect();
            let mut named = groups.into_iter().filter(|group| !group.is_empty()).peekable();
            return if named.peek().is_none() { whole } else { named.try_for_each(on_group) };
        }
        let groups = self.service.groups_of(self.params.get("userid").unwrap_or_default());
        if groups.iter().any(|group| on_group(group).is_ok()) { Ok(()) } else { whole }
    }
}

fn yes(passed: bool) -> Result<(), Option<String>> {
    if passed { Ok(()) } else { Err(None) }
}

fn is_path(path: &str) -> bool {
    path.chars().all(|c| c.is_ascii_alphanumeric() || "/.-_:@".contains(c))
}

/// A template with the parameters in it.
fn filled(template: &str, params: &Params) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        path.push_str(before);
        path.push_str(params.get(name).unwrap_or_default());
        rest = after;
    }
    path + rest
}
