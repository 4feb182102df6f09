//! A simulated Proxmox VE cluster that lasts in a file: three nodes, guests, storages, tasks that take their time.
//!
//! It answers requests that the [kit](crate::server) has checked; it opens no socket. Its texts and shapes are those
//! of a recorded server.

mod api;
mod session;
mod store;
mod world;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use secrecy::SecretString;

pub use self::session::Session;
use self::{
    store::Store,
    world::{Millis, World, fresh, seconds},
};
use crate::{
    model::{Class, Clock, Error, Method, NodeName, Result},
    server::{
        Fault, Identity, Peer, Reply, Request, Service,
        access::{self, Directory},
    },
};

/// How large a new sandbox is, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// How many nodes: `pve1`, `pve2`, …; at least one.
    pub nodes: u32,
    /// How many guests beside those that every sandbox has, from VMID 10000.
    pub guests: u32,
    /// What every task's duration is multiplied with: 1 gives tenths of a second, 0 ends tasks at once.
    pub pace: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 3, guests: 0, pace: 1.0 }
    }
}

/// How much is in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Nodes.
    pub nodes: usize,
    /// Guests, templates among them.
    pub guests: usize,
    /// Tasks at work.
    pub running_tasks: usize,
}

/// A simulated cluster. Any number of these, in any number of processes, may stand on the same file.
pub struct Sandbox {
    inside: Mutex<Inside>,
    clock: Arc<dyn Clock>,
    local: NodeName,
}

struct Inside {
    store: Store,
    world: World,
}

impl fmt::Debug for Sandbox {
    /// The world holds secrets and may be large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Opens the sandbox in a file; makes a fresh one if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or is not a sandbox's.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::start(Store::open(path)?, &Shape::default(), clock)
    }

    /// A sandbox that ends with this value.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory(shape: &Shape, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::start(Store::in_memory()?, shape, clock)
    }

    /// Replaces what is in a file by a fresh sandbox of this shape, with a new token secret. Processes that use the
    /// file go on with the new one.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn reset(path: &Path, shape: &Shape, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut store = Store::open(path)?;
        store.clear()?;
        Self::start(store, shape, clock)
    }

    fn start(mut store: Store, shape: &Shape, clock: Arc<dyn Clock>) -> Result<Self> {
        let seed = store.random()?;
        let fresh = fresh::world(shape, &seed, clock.now().as_millisecond());
        let world = store.fill(fresh)?;
        let local = NodeName::new(api::FIRST_NODE).map_err(|error| Error::new(Class::Bug, error.to_string()))?;
        Ok(Self { inside: Mutex::new(Inside { store, world }), clock, local })
    }

    /// The name (`root@pam!pvectl`) and the secret of the token that comes with the sandbox. The privilege-separated
    /// `audit@pve!readonly` has the same secret; the password of `root@pam`, `audit@pve` and `totp@pve` (second
    /// factor `totp:123456`) is `sandbox`.
    pub fn token(&self) -> (String, SecretString) {
        let inside = self.inside();
        (format!("{}!{}", access::ROOT, fresh::TOKEN), inside.world.meta().secret.clone().into())
    }

    /// How much is in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn census(&self) -> Result<Census> {
        self.look(|world, _| Census {
            nodes: world.nodes.len(),
            guests: world.guests.len(),
            running_tasks: world.running.len(),
        })
    }

    /// Changes the pace of tasks that start from now on: see [`Shape::pace`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_pace(&self, pace: f64) -> Result<()> {
        let inside = &mut *self.inside();
        let done = inside.store.write(&mut inside.world, |world| {
            world.edit_meta().pace = pace;
            Ok::<(), std::convert::Infallible>(())
        })?;
        let Ok(()) = done;
        Ok(())
    }

    /// Cuts nodes off from the others, or brings them back. Guests and tasks there go on; nobody can ask about them.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a node that there is not, [`Class::Usage`] for the one that answers; when the file cannot
    /// be written.
    pub fn set_online(&self, nodes: &[String], online: bool) -> Result<()> {
        let inside = &mut *self.inside();
        inside.store.write(&mut inside.world, |world| {
            for name in nodes {
                if !online && name == api::FIRST_NODE {
                    return Err(Error::usage(format!("{name} is the node that answers, and cannot be offline")));
                }
                match world.nodes.edit(name.as_str()) {
                    Some(node) => node.online = online,
                    None => return Err(world.no_node(name)),
                }
            }
            Ok(())
        })?
    }

    /// Answers a request.
    fn answer(&self, request: &Request) -> Result<Reply, Fault> {
        let route = api::route(request.method, request.template).ok_or_else(|| Fault {
            status: 501,
            message: format!("Method '{} {}' not implemented", request.method, request.template),
            errors: Default::default(),
        })?;
        let now = self.now();
        let inside = &mut *self.inside();
        inside.bring_up_to(now).map_err(|error| trouble(&error))?;
        if request.method == Method::Get {
            return route.answer(&mut inside.world, now, request);
        }
        let run = |world: &mut World| {
            world.settle(now);
            let reply = route.answer(world, now, request)?;
            // What takes no time is over before anybody can look.
            world.settle(now);
            Ok(reply)
        };
        inside.store.write(&mut inside.world, run).map_err(|error| trouble(&error))?
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(|poisoned| {
            // A handler panicked half-way: what it left in memory must not reach the file.
            let mut inside = poisoned.into_inner();
            inside.world = World::new();
            inside.store.forget();
            self.inside.clear_poison();
            inside
        })
    }

    fn now(&self) -> Millis {
        self.clock.now().as_millisecond()
    }

    /// Looks at the newest world, with every task settled whose time has come.
    fn look<T>(&self, look: impl FnOnce(&World, Millis) -> T) -> Result<T> {
        let now = self.now();
        let inside = &mut *self.inside();
        inside.bring_up_to(now)?;
        Ok(look(&inside.world, now))
    }
}

impl Inside {
    fn bring_up_to(&mut self, now: Millis) -> Result<()> {
        self.store.refresh(&mut self.world)?;
        if self.world.next_end().is_some_and(|end| end <= now) {
            let done = self.store.write(&mut self.world, |world| {
                world.settle(now);
                Ok::<(), std::convert::Infallible>(())
            })?;
            let Ok(()) = done;
        }
        Ok(())
    }
}

/// Trouble with the file, told as a server tells its own troubles.
fn trouble(error: &Error) -> Fault {
    Fault::die(error.message())
}

#[async_trait]
impl Service for Sandbox {
    fn local_node(&self) -> NodeName {
        self.local.clone()
    }

    fn has_node(&self, node: &str) -> bool {
        self.look(|world, _| world.nodes.has(node)).unwrap_or(false)
    }

    fn reaches_node(&self, node: &str) -> bool {
        self.look(|world, _| world.is_online(node)).unwrap_or(false)
    }

    async fn check_password(&self, user: &str, password: &str) -> Option<Vec<&'static str>> {
        let check = |world: &World, now| {
            let found = world.people.active_user(user, seconds(now))?;
            (found.password.as_deref()? == world.salted(password))
                .then(|| if found.second_factor.is_some() { vec!["totp"] } else { Vec::new() })
        };
        self.look(check).ok().flatten()
    }

    async fn check_second_factor(&self, user: &str, answer: &str) -> bool {
        let check = |world: &World, now| {
            let found = world.people.active_user(user, seconds(now))?;
            Some(found.second_factor.as_deref()? == world.salted(answer))
        };
        self.look(check).ok().flatten().unwrap_or(false)
    }

    async fn check_token(&self, user: &str, token: &str, secret: &str) -> bool {
        let check = |world: &World, now| {
            Some(world.people.active_token(user, token, seconds(now))?.secret == world.salted(&secret.to_lowercase()))
        };
        self.look(check).ok().flatten().unwrap_or(false)
    }

    fn is_active(&self, user: &str) -> bool {
        let look = |world: &World, now| world.people.active_user(user, seconds(now)).is_some();
        self.look(look).unwrap_or(false)
    }

    fn privileges(&self, who: &Identity, path: &str) -> BTreeSet<String> {
        let look = |world: &World, _| world.privileges(&who.authid(), path);
        let found = self.look(look).unwrap_or_default();
        found.into_keys().map(str::to_owned).collect()
    }

    fn acl_paths(&self) -> Vec<String> {
        self.look(|world, _| world.people.grants.values().map(|grant| grant.path.clone()).collect()).unwrap_or_default()
    }

    async fn handle(&self, request: &Request) -> Result<Reply, Fault> {
        self.answer(request)
    }

    fn websocket(&self, request: &Request) -> Result<Box<dyn Peer>, Fault> {
        let now = self.now();
        let inside = &mut *self.inside();
        inside.bring_up_to(now).map_err(|error| trouble(&error))?;
        api::console::peer(&api::Context { world: &mut inside.world, now, request })
    }
}
