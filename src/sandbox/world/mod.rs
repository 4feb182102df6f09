//! The simulated cluster as data and rules: nodes, storages, guests, tasks, users, and what happens to them.
//!
//! No I/O and no clock: the time comes in as a number, changes go out as rows. Times are milliseconds since 1970.

mod act;
pub(crate) mod agent;
pub(crate) mod backup;
pub(crate) mod carry;
pub(crate) mod config;
pub(crate) mod copying;
pub(crate) mod disk;
pub(crate) mod effect;
pub(crate) mod firewall;
pub(crate) mod fresh;
pub(crate) mod guest;
pub(crate) mod ha;
pub(crate) mod moving;
pub(crate) mod network;
pub(crate) mod node;
mod snapshot;
pub(crate) mod task;
pub(crate) mod terminal;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use self::{
    agent::Agent,
    backup::Archive,
    firewall::Firewall,
    guest::Guest,
    ha::Service,
    network::Networks,
    node::{Node, Pool, Storage, Volume},
    task::Task,
};
use crate::server::{
    Fault,
    access::{Directory, People, REALMS, Table},
    random,
};
pub(crate) use crate::server::{access::Row, random::uuid};

/// Milliseconds since 1970.
pub(crate) type Millis = i64;

/// The key of a replication job that is marked for removal under which stands when its node has done that: told to
/// nobody.
pub(crate) const GONE: &str = " gone";

/// A definition: its keys as they were given, each with its values.
pub(crate) type Thing = BTreeMap<String, Vec<String>>;

/// What there is once in a sandbox: counters, the seed of its made-up numbers, its pace.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Where all made-up values of this sandbox come from.
    pub(crate) seed: String,
    /// How many values were made up.
    pub(crate) drawn: u64,
    /// The process id the next task gets; never used twice.
    pub(crate) next_pid: u32,
    /// When the nodes came up.
    pub(crate) booted: Millis,
    /// What every duration is multiplied with: 1 is tenths of a second, 0 is at once.
    pub(crate) pace: f64,
    /// The secret of the token that comes with the sandbox.
    pub(crate) secret: String,
}

macro_rules! world {
    ($($(#[$doc:meta])* $field:ident: $key:ty => $row:ty,)*) => {
        /// The whole cluster.
        pub(crate) struct World {
            meta: Meta,
            meta_changed: bool,
            /// Users, tokens, groups, roles, grants.
            pub(crate) people: People,
            $($(#[$doc])* pub(crate) $field: Table<$key, $row>,)*
        }

        impl World {
            /// An empty one.
            pub(crate) fn new() -> Self {
                Self { meta: Meta::default(), meta_changed: false, people: People::default(), $($field: Table::default(),)* }
            }

            /// Takes over what the file says about one thing. An unknown kind is a newer version's and is left alone.
            pub(crate) fn load(&mut self, kind: &str, key: &str, body: Option<&str>) -> Result<(), serde_json::Error> {
                match kind {
                    $(stringify!($field) => {
                        let row: Option<$row> = read(body)?;
                        if let Some(key) = parse(key) {
                            self.$field.load(key, row);
                        }
                    })*
                    "meta" => if let Some(meta) = read(body)? {
                        self.meta = meta;
                    },
                    _ => self.people.load(kind, key, body)?,
                }
                Ok(())
            }

            /// What changed since the last time, to be written. Forgets that it changed.
            pub(crate) fn take_changes(&mut self) -> Result<Vec<Row>, serde_json::Error> {
                let mut rows = Vec::new();
                if std::mem::take(&mut self.meta_changed) {
                    let body = Some(serde_json::to_string(&self.meta)?);
                    rows.push(Row { kind: "meta", key: String::new(), body });
                }
                $(for (key, row) in self.$field.take_changed() {
                    let body = row.map(serde_json::to_string).transpose()?;
                    rows.push(Row { kind: stringify!($field), key: key.to_string(), body });
                })*
                rows.extend(self.people.take_changes()?);
                Ok(rows)
            }
        }
    };
}

world! {
    /// By name.
    nodes: String => Node,
    /// By name.
    storages: String => Storage,
    /// By [`Volume::key`].
    volumes: String => Volume,
    /// What backups have in them, by [`Volume::key`].
    archives: String => Archive,
    /// By VMID.
    guests: u32 => Guest,
    /// By VMID.
    agents: u32 => Agent,
    /// By name.
    pools: String => Pool,
    /// Tasks whose end has not been settled, by UPID.
    running: String => Task,
    /// Tasks that are over, by UPID.
    finished: String => Task,
    /// Definitions that nothing here works with, by the path of their list and their name.
    things: String => Thing,
    /// Guests under HA, by `vm:100` or `ct:110`.
    ha: String => Service,
    /// The keys of backup jobs, by id.
    backup_jobs: String => BTreeMap<String, String>,
    /// The keys of replication jobs, by `100-0`.
    replications: String => BTreeMap<String, String>,
    /// Files of the firewall, by `cluster`, `node pve1` or `guest 100`.
    firewalls: String => Firewall,
    /// Of nodes where something was changed, by the node's name.
    networks: String => Networks,
}

fn read<T: DeserializeOwned>(body: Option<&str>) -> Result<Option<T>, serde_json::Error> {
    body.map(serde_json::from_str).transpose()
}

/// A key from its text; a text that is no key belongs to nothing we know.
fn parse<K: std::str::FromStr>(key: &str) -> Option<K> {
    key.parse().ok()
}

impl World {
    /// Counters and settings.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Counters and settings, to be changed.
    pub(crate) fn edit_meta(&mut self) -> &mut Meta {
        self.meta_changed = true;
        &mut self.meta
    }

    /// A made-up value that this sandbox gives only once, as 64 hex digits.
    pub(crate) fn draw(&mut self) -> String {
        let meta = self.edit_meta();
        meta.drawn += 1;
        hash(&format!("{}:{}", meta.seed, meta.drawn))
    }

    /// A made-up UUID.
    pub(crate) fn draw_uuid(&mut self) -> String {
        uuid(&self.draw())
    }

    /// A made-up MAC address under Proxmox's own prefix.
    pub(crate) fn draw_mac(&mut self) -> String {
        let hex = self.draw().to_uppercase();
        format!("BC:24:11:{}:{}:{}", &hex[0..2], &hex[2..4], &hex[4..6])
    }

    /// The form in which passwords and secrets are kept.
    pub(crate) fn salted(&self, secret: &str) -> String {
        hash(&format!("{}/{secret}", self.meta.seed))
    }

    /// The smallest VMID that nobody has.
    pub(crate) fn next_vmid(&self) -> u32 {
        let mut free = 100;
        for (vmid, _) in self.guests.iter() {
            if *vmid > free {
                break;
            }
            free = vmid + 1;
        }
        free
    }
}

impl Directory for World {
    fn people(&self) -> &People {
        &self.people
    }

    fn people_mut(&mut self) -> &mut People {
        &mut self.people
    }

    fn pool_of(&self, path: &str) -> Option<&str> {
        let vmid: u32 = path.strip_prefix("/vms/")?.parse().ok()?;
        self.guests.get(&vmid)?.pool.as_deref()
    }

    fn has_realm(&self, name: &str) -> bool {
        REALMS.iter().any(|(have, ..)| *have == name) || self.things.has(format!("/access/domains {name}").as_str())
    }

    fn hash(&mut self, secret: &str) -> Result<String, Fault> {
        Ok(self.salted(secret))
    }

    fn is_password(&self, user: &str, password: &str) -> bool {
        self.people.users.get(user).is_some_and(|user| user.password.as_deref() == Some(&self.salted(password)))
    }

    fn secret(&mut self) -> Result<String, Fault> {
        Ok(self.draw_uuid())
    }
}

/// The SHA-256 of a text as hex digits.
pub(crate) fn hash(text: &str) -> String {
    random::hex(&Sha256::digest(text.as_bytes()))
}

/// Whole seconds of a time, as the API tells it.
pub(crate) fn seconds(time: Millis) -> i64 {
    time.div_euclid(1000)
}
