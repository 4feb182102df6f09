//! People and what they may do: users, tokens, groups, roles and grants, and the calls below `/access` about them.
//!
//! Who is asking is found out by the kit, with tickets and headers; where all this is kept is a [`Directory`]'s business.

mod acl;
mod group;
mod rows;
mod rules;
mod scope;
mod table;
#[cfg(test)]
mod tests;
mod user;

pub use rows::Row;
use rules::is_acl_path;
pub use rules::{Grant, Group, People, Privileges, REALMS, ROOT, Token, User};
pub use scope::{Caller, Storages};
pub use table::Table;

use super::{Fault, Reply, Request};
use crate::model::Method;

/// Where people are kept.
pub trait Directory {
    /// Everybody.
    fn people(&self) -> &People;

    /// Everybody, to be changed.
    fn people_mut(&mut self) -> &mut People;

    /// The pool of the guest that a path names; its roles hold for the guest too.
    fn pool_of(&self, _path: &str) -> Option<&str> {
        None
    }

    /// Whether there is a realm of this name.
    fn has_realm(&self, name: &str) -> bool {
        REALMS.iter().any(|(have, ..)| *have == name)
    }

    /// The form in which a password or a secret is kept.
    ///
    /// # Errors
    /// When it cannot be hashed.
    fn hash(&mut self, secret: &str) -> Result<String, Fault>;

    /// Whether this is the user's password.
    fn is_password(&self, user: &str, password: &str) -> bool;

    /// A secret that nobody has had before, as a UUID.
    ///
    /// # Errors
    /// On a machine without random numbers.
    fn secret(&mut self) -> Result<String, Fault>;

    /// The privileges of `user@realm` or `user@realm!token` on a path.
    fn privileges(&self, authid: &str, path: &str) -> Privileges {
        self.people().privileges(authid, path, self.pool_of(path))
    }

    /// Whether somebody has one of these privileges on a path.
    fn may(&self, authid: &str, path: &str, any: &[&str]) -> bool {
        if self.people().is_almighty(authid) {
            return true;
        }
        let privileges = self.privileges(authid, path);
        any.iter().any(|privilege| privileges.contains_key(privilege))
    }
}

/// A request about people, and where they are kept.
pub struct Asked<'a> {
    directory: &'a mut dyn Directory,
    request: &'a Request,
}

/// Answers one sort of request about people.
pub type Handler = fn(&mut Asked<'_>) -> Result<Reply, Fault>;

/// Method, the contract's path template, and who answers.
type Route = (Method, &'static str, Handler);

const TABLES: [&[Route]; 3] = [acl::TABLE, group::TABLE, user::TABLE];

/// The templates of all routes of a method.
#[cfg(test)]
pub(crate) fn templates(method: Method) -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().flatten().filter(move |(have, _, _)| *have == method).map(|(_, template, _)| *template)
}

/// Who answers a request, if it is one about people.
pub fn route(method: Method, template: &str) -> Option<Handler> {
    let mut routes = TABLES.into_iter().flatten();
    routes.find(|(have, path, _)| *have == method && *path == template).map(|(_, _, handler)| *handler)
}

impl std::fmt::Debug for Asked<'_> {
    /// What is asked may have secrets in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("template", &self.request.template).finish_non_exhaustive()
    }
}

impl<'a> Asked<'a> {
    /// A request that was checked by the kit.
    pub fn new(directory: &'a mut dyn Directory, request: &'a Request) -> Self {
        Self { directory, request }
    }

    fn people(&self) -> &People {
        self.directory.people()
    }

    fn people_mut(&mut self) -> &mut People {
        self.directory.people_mut()
    }

    fn authid(&self) -> String {
        self.request.authid()
    }

    fn param(&self, key: &str) -> Option<&'a str> {
        self.request.params.get(key)
    }

    fn need(&self, key: &str) -> Result<&'a str, Fault> {
        self.request.need(key)
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.request.list(key)
    }

    fn flag(&self, key: &str) -> bool {
        self.request.flag(key)
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.request.number(key)
    }

    fn caller(&self) -> Caller<'_> {
        Caller::new(&*self.directory, self.request.identity.as_ref())
    }

    fn may(&self, path: &str, any: &[&str]) -> bool {
        self.caller().may(path, any)
    }

    fn require(&self, path: &str, any: &[&str]) -> Result<(), Fault> {
        self.caller().require(path, any)
    }
}
