//! The API over the world: one file per area, each with a table of the routes that it answers.
//!
//! Parameters and the contract's permissions were checked by the kit; what the contract cannot know is checked here.

mod agent;
mod backup;
mod clone;
mod cloudinit;
mod cluster;
mod config;
pub(super) mod console;
mod create;
mod definition;
mod disk;
mod factor;
mod figures;
mod firewall;
mod firewall_sets;
mod guest;
mod ha;
mod hardware;
mod image;
mod jobs;
mod machine;
mod migrate;
mod network;
mod node;
mod pool;
mod power;
mod remove;
mod restore;
mod settings;
mod snapshot;
mod storage;
mod task;
mod thing;

use super::world::{
    Millis, World,
    effect::{Act, Effect},
    guest::Guest,
    task::Order,
};
use crate::{
    model::{GuestKind, Method},
    server::{
        Fault, Reply, Request,
        access::{self, Asked, Caller},
    },
};

/// Answers one sort of request.
pub(super) type Handler = fn(&mut Context<'_>) -> Result<Reply, Fault>;

/// Method, the contract's path template, and who answers.
type Route = (Method, &'static str, Handler);

const TABLES: &[&[Route]] = &[
    cluster::TABLE,
    guest::TABLE,
    agent::TABLE,
    cloudinit::TABLE,
    console::TABLE,
    config::TABLE,
    power::TABLE,
    create::TABLE,
    clone::TABLE,
    disk::TABLE,
    remove::TABLE,
    snapshot::TABLE,
    task::TABLE,
    node::TABLE,
    machine::TABLE,
    migrate::TABLE,
    storage::TABLE,
    definition::TABLE,
    pool::TABLE,
    thing::TABLE,
    ha::TABLE,
    jobs::TABLE,
    firewall::TABLE,
    network::TABLE,
    factor::TABLE,
    hardware::TABLE,
    settings::TABLE,
    firewall_sets::TABLE,
    backup::TABLE,
    image::TABLE,
];

/// Who answers a request.
pub(super) enum Answerer {
    Own(Handler),
    /// What the kit knows how to answer: people.
    Kit(access::Handler),
}

impl Answerer {
    pub(super) fn answer(&self, world: &mut World, now: Millis, request: &Request) -> Result<Reply, Fault> {
        match self {
            Self::Own(handler) => handler(&mut Context { world, now, request }),
            Self::Kit(handler) => handler(&mut Asked::new(world, request)),
        }
    }
}

/// Who answers a request, if anybody does.
pub(super) fn route(method: Method, template: &str) -> Option<Answerer> {
    let mut routes = TABLES.iter().copied().flatten();
    let own = routes.find(|(have, path, _)| *have == method && *path == template);
    let own = own.map(|(_, _, handler)| Answerer::Own(*handler));
    own.or_else(|| access::route(method, template).map(Answerer::Kit))
}

/// The templates of all routes of a method.
#[cfg(test)]
pub(super) fn templates(method: Method) -> impl Iterator<Item = &'static str> {
    let own = TABLES.iter().copied().flatten().filter(move |(have, _, _)| *have == method);
    own.map(|(_, template, _)| *template).chain(access::templates(method))
}

/// The name of the first node of every sandbox, the one that the kit pretends to be.
pub(super) const FIRST_NODE: &str = "pve1";

/// A request with the world that it is about.
pub(super) struct Context<'a> {
    pub(super) world: &'a mut World,
    pub(super) now: Millis,
    pub(super) request: &'a Request,
}

impl<'a> Context<'a> {
    /// Who asks: `user@realm` or `user@realm!token`.
    fn authid(&self) -> String {
        self.request.authid()
    }

    /// Whoever asks, to be held against what is granted.
    fn caller(&self) -> Caller<'_> {
        Caller::new(&*self.world, self.request.identity.as_ref())
    }

    /// Whether root itself asks, by ticket: some things no token may do.
    fn is_root(&self) -> bool {
        self.caller().is_root()
    }

    fn param(&self, key: &str) -> Option<&'a str> {
        self.request.params.get(key)
    }

    /// The members of a parameter that is a list; none where it is not given.
    fn list(&self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.request.list(key)
    }

    fn need(&self, key: &str) -> Result<&'a str, Fault> {
        self.request.need(key)
    }

    fn flag(&self, key: &str) -> bool {
        self.request.flag(key)
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.request.number(key)
    }

    /// Refuses where what somebody saw is another by now.
    fn unchanged(&self, now: &str) -> Result<(), Fault> {
        match self.param("digest") {
            Some(seen) if seen != now => {
                Err(Fault::die("detected modified configuration - file changed by other user? Try again."))
            }
            _ => Ok(()),
        }
    }

    /// The node in the path.
    fn node(&self) -> Result<String, Fault> {
        match self.need("node")? {
            "localhost" => Ok(FIRST_NODE.to_owned()),
            node if self.world.nodes.has(node) => Ok(node.to_owned()),
            node => Err(Fault::die(format!(
                "hostname lookup '{node}' failed - failed to get address info for: {node}: \
                 Temporary failure in name resolution"
            ))),
        }
    }

    /// VM or container, by the path.
    fn kind(&self) -> GuestKind {
        if self.request.template.contains("/lxc") { GuestKind::Lxc } else { GuestKind::Qemu }
    }

    /// The guest's number in the path.
    fn vmid(&self) -> Result<u32, Fault> {
        vmid("vmid", self.need("vmid")?)
    }

    /// The guest in the path.
    fn guest(&self) -> Result<&Guest, Fault> {
        self.world.guest(self.kind(), &self.node()?, self.vmid()?).map_err(Fault::die)
    }

    fn may(&self, path: &str, any: &[&str]) -> bool {
        self.caller().may(path, any)
    }

    fn require(&self, path: &str, any: &[&str]) -> Result<(), Fault> {
        self.caller().require(path, any)
    }

    /// Whether `skiplock` is asked for by somebody who may.
    fn skiplock(&self) -> Result<bool, Fault> {
        let asked = self.flag("skiplock");
        if asked {
            self.caller().may_skip_lock()?;
        }
        Ok(asked)
    }

    /// Starts a task and answers with its UPID.
    fn begin(&mut self, order: Order) -> Reply {
        let upid = self.world.begin(order, self.now);
        if let Some(text) = &self.request.task_ends {
            self.world.end_with(&upid, text);
        }
        Reply::data(upid)
    }

    /// A task on the guest in the path that does this to it.
    fn order(&self, kind: &'static str, takes: Millis, act: Act) -> Result<Order, Fault> {
        let vmid = self.vmid()?;
        let effect = Effect::Guest { kind: self.kind(), vmid, act, skiplock: self.skiplock()? };
        Ok(self.order_of(kind, takes, vmid, self.node()?, effect))
    }

    /// A task about a guest.
    fn order_of(&self, kind: &'static str, takes: Millis, vmid: u32, node: String, effect: Effect) -> Order {
        let (id, authid) = (vmid.to_string(), self.authid());
        Order { node, kind, id, authid, takes, holds: vec![vmid], script: Vec::new(), effect }
    }

    /// Refuses what the guest's state does not allow, before a task is made.
    fn check(&self, order: &Order) -> Result<(), Fault> {
        self.world.check(&order.effect, &order.node).map_err(Fault::die)
    }

    /// Refuses when a task holds the guest for longer than a server waits.
    fn wait_for_lock(&self, vmid: u32) -> Result<(), Fault> {
        if self.world.free_at(&[vmid]) - self.now > super::world::task::LOCK_PATIENCE {
            let kind = if self.kind() == GuestKind::Lxc { "vz" } else { "qm" };
            return Err(Fault::die(super::world::task::locked_file(kind, vmid)));
        }
        Ok(())
    }
}

/// A guest's number as a parameter.
fn vmid(name: &str, text: &str) -> Result<u32, Fault> {
    let number = text.parse::<crate::model::Vmid>();
    let invalid = "invalid format - value does not look like a valid VM ID\n";
    number.map(crate::model::Vmid::get).map_err(|_| Fault::parameter(name, invalid))
}

/// An index: `[{"subdir": "config"}, …]`.
fn index(key: &str, names: &[&str]) -> Reply {
    let rows = names.iter().map(|name| serde_json::json!({ key: name }));
    Reply::data(rows.collect::<Vec<_>>())
}
