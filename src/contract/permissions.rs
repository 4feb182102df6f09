//! Who may call a method, as the description declares it.
//!
//! The declaration only: whether somebody has a privilege is known to whoever keeps the access control list.

use std::fmt;

use serde_json::Value;

/// Who may call a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// Nothing is declared: `root@pam` itself, and none of its tokens.
    Root,
    /// Everybody, logged in or not.
    World,
    /// Everybody who is logged in; the method may look closer itself.
    All,
    /// Whoever passes this.
    Check(Check),
}

/// A condition on the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// Privileges on an object.
    Privileges {
        /// The object, with parameters in braces: `/vms/{vmid}`.
        path: String,
        /// The privileges.
        privileges: Vec<String>,
        /// Whether one of them is enough.
        any: bool,
        /// Only passes if this parameter is given.
        require_param: Option<String>,
    },
    /// The parameter `userid` names the caller.
    OwnUser,
    /// `Realm.AllocateUser` on the realm of the parameter `userid`.
    UserRealm {
        /// The privilege.
        privilege: String,
    },
    /// One of these privileges on `/access/groups`, or on a group that the user of the parameter `userid` is in.
    UserGroup {
        /// The privileges.
        privileges: Vec<String>,
        /// Whether the groups are those of the parameter `groups`, all of which count.
        from_param: bool,
    },
    /// The right to change permissions on an object.
    ModifyPermissions {
        /// The object, with parameters in braces.
        path: String,
    },
    /// A kind of condition that this version does not know; nobody but `root@pam` passes.
    Unknown(String),
}

impl Permissions {
    /// Reads the declaration.
    pub(super) fn read(declared: &Value) -> Self {
        match (declared["user"].as_str(), &declared["check"]) {
            (_, check @ Value::Array(_)) => Self::Check(Check::read(check)),
            (Some("world"), _) => Self::World,
            (Some("all"), _) => Self::All,
            _ => Self::Root,
        }
    }
}

impl Check {
    fn read(declared: &Value) -> Self {
        let rest = declared.as_array().and_then(|all| all.get(1..)).unwrap_or_default();
        let text = |at: usize| rest.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let texts = |at: usize| {
            let all = rest.get(at).and_then(Value::as_array);
            all.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        // Options follow as a flat list of names and values.
        let option = |from: usize, name: &str| {
            rest.get(from..).unwrap_or_default().chunks_exact(2).find(|pair| pair[0] == name).map(|pair| &pair[1])
        };
        match declared[0].as_str().unwrap_or_default() {
            "and" => Self::And(rest.iter().map(Self::read).collect()),
            "or" => Self::Or(rest.iter().map(Self::read).collect()),
            "perm" => Self::Privileges {
                path: text(0),
                privileges: texts(1),
                any: option(2, "any").is_some_and(|v| v == 1),
                require_param: option(2, "require_param").and_then(Value::as_str).map(str::to_owned),
            },
            "userid-param" if text(0) == "self" => Self::OwnUser,
            "userid-param" => Self::UserRealm { privilege: text(0) },
            "userid-group" => Self::UserGroup { privileges: texts(0), from_param: option(1, "groups_param").is_some() },
            "perm-modify" => Self::ModifyPermissions { path: text(0) },
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl fmt::Display for Permissions {
    /// In words: `VM.PowerMgmt on /vms/{vmid}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root@pam only"),
            Self::World => f.write_str("everybody, without a login"),
            Self::All => f.write_str("everybody who is logged in; the method may look closer itself"),
            Self::Check(check) => check.fmt(f),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |checks: &[Self], word: &str| {
            let part = |check: &Self| match check {
                Self::And(_) | Self::Or(_) if checks.len() > 1 => format!("({check})"),
                other => other.to_string(),
            };
            checks.iter().map(part).collect::<Vec<_>>().join(word)
        };
        match self {
            Self::And(checks) => f.write_str(&joined(checks, " and ")),
            Self::Or(checks) => f.write_str(&joined(checks, " or ")),
            Self::Privileges { path, privileges, any, require_param } => {
                if privileges.len() > 1 {
                    f.write_str(if *any { "one of " } else { "all of " })?;
                }
                write!(f, "{} on {path}", privileges.join(", "))?;
                match require_param {
                    Some(param) => write!(f, " (with `{param}`)"),
                    None => Ok(()),
                }
            }
            Self::OwnUser => f.write_str("being the user in question"),
            Self::UserRealm { privilege } => write!(f, "{privilege} on the user's realm"),
            Self::UserGroup { privileges, from_param } => {
                let groups = if *from_param { "each of the groups" } else { "a group of the user" };
                write!(f, "{} on {groups}, or on /access/groups", privileges.join(" or "))
            }
            Self::ModifyPermissions { path } => write!(f, "the right to change permissions on {path}"),
            Self::Unknown(word) => write!(f, "a check that is unknown here ({word})"),
        }
    }
}
