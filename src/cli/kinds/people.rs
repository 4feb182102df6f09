//! `user`, `group`, `role`, `realm`: who may log in, and what can be granted to them. Tables only.
//!
//! Tokens, grants, passwords and second factors have files of their own.

use super::factor;
use crate::{
    cli::{
        print::fields::{Field, How},
        resource::{View, late, verbs},
        verb::{Kind, Of},
    },
    ops::resource,
};

pub(super) const USER: Kind = Kind {
    noun: "user",
    plural: "users",
    aliases: &[],
    about: "Users of a cluster",
    guest: None,
    paths: &["/access/users", "/access/users/{userid}"],
    of: Of::Cluster,
    columns: || USERS.headings(),
    verbs: || {
        let mut all = verbs(&USERS);
        all.push(Box::new(factor::PASSWORD));
        all.push(Box::new(factor::TFA));
        all.push(Box::new(factor::UNLOCK));
        all
    },
};

static USERS: View = View {
    resource: resource("user"),
    columns: &[
        Field::text("USER", "userid"),
        Field::new("ENABLED", "enable", How::FlagOn),
        Field::new("EXPIRES", "expire", How::End),
        Field::text("GROUPS", "groups"),
        Field::new("TOKENS", "tokens", How::Count),
        Field::text("COMMENT", "comment"),
        Field::text("EMAIL", "email").wide(),
        Field::text("FIRST NAME", "firstname").wide(),
        Field::text("LAST NAME", "lastname").wide(),
        Field::text("REALM TYPE", "realm-type").wide(),
    ],
    example: "ann@pve",
    making: "--comment Ann --expire 90d",
    changing: "--enable no",
    is_named_by_server: false,
    late: late!(USERS),
};

pub(super) const GROUP: Kind = Kind {
    noun: "group",
    plural: "groups",
    aliases: &[],
    about: "Groups of users, to which roles can be granted at once",
    guest: None,
    paths: &["/access/groups", "/access/groups/{groupid}"],
    of: Of::Cluster,
    columns: || GROUPS.headings(),
    verbs: || verbs(&GROUPS),
};

static GROUPS: View = View {
    resource: resource("group"),
    columns: &[Field::text("GROUP", "groupid"), Field::text("USERS", "users"), Field::text("COMMENT", "comment")],
    example: "ops",
    making: "--comment 'who looks after it'",
    changing: "--comment 'who looks after all of it'",
    is_named_by_server: false,
    late: late!(GROUPS),
};

pub(super) const ROLE: Kind = Kind {
    noun: "role",
    plural: "roles",
    aliases: &[],
    about: "Roles: sets of privileges that can be granted",
    guest: None,
    paths: &["/access/roles", "/access/roles/{roleid}"],
    of: Of::Cluster,
    columns: || ROLES.headings(),
    verbs: || verbs(&ROLES),
};

static ROLES: View = View {
    resource: resource("role"),
    columns: &[
        Field::text("ROLE", "roleid"),
        Field::new("BUILT IN", "special", How::Flag),
        Field::new("COUNT", "privs", How::Count),
        Field::text("PRIVILEGES", "privs").wide(),
    ],
    example: "Operator",
    making: "--privs VM.Audit,VM.PowerMgmt",
    changing: "--privs VM.Console --append",
    is_named_by_server: false,
    late: late!(ROLES),
};

pub(super) const REALM: Kind = Kind {
    noun: "realm",
    plural: "realms",
    aliases: &["domain"],
    about: "Realms: where users and their passwords are known",
    guest: None,
    paths: &["/access/domains", "/access/domains/{realm}"],
    of: Of::Cluster,
    columns: || REALMS.headings(),
    verbs: || {
        let mut all = verbs(&REALMS);
        all.push(Box::new(factor::SYNC));
        all
    },
};

static REALMS: View = View {
    resource: resource("realm"),
    columns: &[
        Field::text("REALM", "realm"),
        Field::text("TYPE", "type"),
        Field::new("DEFAULT", "default", How::Flag),
        Field::text("TFA", "tfa"),
        Field::text("COMMENT", "comment"),
    ],
    example: "corp",
    making: "--type ldap --server1 ldap.example.org --base_dn dc=example,dc=org --user_attr uid",
    changing: "--comment 'the directory'",
    is_named_by_server: false,
    late: late!(REALMS),
};
