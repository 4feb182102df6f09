//! What a served host knows of its guests: held in memory, kept fresh by events, and prepared for those who ask often.
//!
//! States are never stale: whoever asks is answered from memory only where the kernel says that nothing has happened since
//! they were looked at. Figures (load, memory, room) are up to [`OLDEST`] old. Who may see what is not known here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::node::Load;
use crate::{
    backends::{Backend, GuestWatch, Sighting},
    model::{Guest, GuestRef, Node, NodeName, Result, Storage, Vmid},
    server::{Fault, Prepared},
};

/// How old figures may be, and how old those of node and storages may be that are taken beside them.
pub const OLDEST: Duration = Duration::from_secs(3);
/// How old the figures of a single guest may be, of which more is known than of many.
const MEASURE_ONE: Duration = Duration::from_millis(500);
/// How often a server looks that nobody asks anything.
const TICK: Duration = Duration::from_secs(1);
/// What is written becomes readable a moment after the kernel has told of it.
const MOMENT: Duration = Duration::from_millis(2);
/// How many answers are kept prepared; of more callers than that nobody is served quicker.
const PREPARED: usize = 64;

/// All that is in sight, at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Another one for every other picture.
    pub generation: u64,
    /// The guests, by number.
    pub guests: Vec<Guest>,
    /// Those that something was left of to be put in order.
    pub left: Vec<Vmid>,
    /// The node, as its own list has it.
    pub nodes: Vec<Node>,
    /// Its storages.
    pub storages: Vec<Storage>,
    /// When the oldest of the figures were taken.
    pub measured: Instant,
    painted: Instant,
}

/// The guests of a backend, in memory. One for each server; shared.
pub struct View {
    backend: Arc<dyn Backend>,
    watch: Option<Arc<dyn GuestWatch>>,
    node: NodeName,
    load: Load,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    picture: Option<(u64, Arc<Picture>)>,
    generation: u64,
    statuses: HashMap<Vmid, (u64, Instant, Map<String, Value>)>,
    prepared: HashMap<String, Arc<Prepared>>,
    /// Whether the last look of the keeper failed.
    in_trouble: bool,
}

impl View {
    /// A view of the guests on a node, which looks at nothing yet.
    ///
    /// # Errors
    /// When the backend cannot keep them in sight.
    pub fn new(backend: Arc<dyn Backend>, node: NodeName) -> Result<Self> {
        let watch = backend.watch()?;
        let load = Load::default();
        // What is told first is about the time since now.
        load.share();
        Ok(Self { backend, watch, node, load, kept: Mutex::default() })
    }

    /// What there is now.
    ///
    /// # Errors
    /// When the backend cannot be read.
    pub async fn picture(&self) -> Result<Arc<Picture>> {
        let Some(watch) = &self.watch else { return self.paint(None).await };
        let sighting = Self::sighting(&**watch).await?;
        let known = self.kept().picture.clone();
        match known {
            Some((seen, picture)) if seen == sighting.generation && picture.painted.elapsed() < OLDEST => Ok(picture),
            _ => self.paint(Some(&sighting)).await,
        }
    }

    async fn sighting(watch: &dyn GuestWatch) -> Result<Arc<Sighting>> {
        match watch.last() {
            Some(last) if last.measured.elapsed() < OLDEST && !watch.has_news() => Ok(last),
            _ => watch.look().await,
        }
    }

    /// A guest's status as `GET …/status/current` has it.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound), or when the backend cannot be read.
    pub async fn status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        let Some(watch) = &self.watch else { return self.backend.guest_status(guest).await };
        let sighting = Self::sighting(&**watch).await?;
        let known = self.kept().statuses.get(&guest.vmid).cloned();
        if let Some((generation, measured, status)) = known
            && generation == sighting.generation
            && measured.elapsed() < MEASURE_ONE
        {
            return Ok(status);
        }
        let measured = Instant::now();
        let status = self.backend.guest_status(guest).await?;
        let mut kept = self.kept();
        // Those of guests that are gone must not stay for good.
        kept.statuses.retain(|_, (_, measured, _)| measured.elapsed() < MEASURE_ONE);
        kept.statuses.insert(guest.vmid, (sighting.generation, measured, status.clone()));
        Ok(status)
    }

    /// The answer that is made of a picture for those who may see the same of it, which `audience` is a word for.
    ///
    /// # Errors
    /// What `make` says.
    pub fn prepared(
        &self,
        picture: &Picture,
        audience: &str,
        make: impl FnOnce() -> std::result::Result<Value, Fault>,
    ) -> std::result::Result<Arc<Prepared>, Fault> {
        {
            let kept = self.kept();
            let is_present = kept.picture.as_ref().is_some_and(|(_, have)| have.generation == picture.generation);
            if let Some(prepared) = kept.prepared.get(audience).filter(|_| is_present) {
                return Ok(Arc::clone(prepared));
            }
        }
        let prepared = Arc::new(Prepared::data(make()?, picture.measured));
        let mut kept = self.kept();
        let is_present = kept.picture.as_ref().is_some_and(|(_, have)| have.generation == picture.generation);
        if is_present && kept.prepared.len() < PREPARED {
            kept.prepared.insert(audience.to_owned(), Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    /// What there is now, for whoever goes on all the same: why it cannot be seen is logged once.
    pub async fn look(&self) -> Option<Arc<Picture>> {
        let looked = self.picture().await;
        let was_in_trouble = std::mem::replace(&mut self.kept().in_trouble, looked.is_err());
        looked
            .inspect_err(|error| {
                if !was_in_trouble {
                    tracing::warn!(%error, "the guests cannot be looked at");
                }
            })
            .ok()
    }

    /// Waits until something happens, but not for long, and sees to it that what is kept is known to be old.
    ///
    /// # Errors
    /// When the kernel tells nothing any more.
    pub async fn wait(&self) -> Result<()> {
        let Some(watch) = &self.watch else {
            tokio::time::sleep(TICK).await;
            return Ok(());
        };
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            happens = watch.happens() => {
                happens?;
                tokio::time::sleep(MOMENT).await;
            }
        }
        if watch.look().await.is_err() {
            // What happened is still to be heard, again and again.
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Whether guests can be looked at, or why not.
    pub(super) fn health(&self) -> std::result::Result<String, String> {
        // Why not stands in the log, for those who may read that.
        if self.kept().in_trouble {
            Err("the state of the guests cannot be read".to_owned())
        } else {
            Ok("ok".to_owned())
        }
    }

    async fn paint(&self, sighting: Option<&Sighting>) -> Result<Arc<Picture>> {
        let painted = Instant::now();
        let (guests, left) = match sighting {
            Some(sighting) => (sighting.guests.clone(), sighting.left.clone()),
            None => (self.backend.guests().await?, Vec::new()),
        };
        let mut nodes = self.backend.nodes().await?;
        nodes.iter_mut().filter(|node| node.node == self.node).for_each(|node| node.cpu = Some(self.load.share()));
        let storages = self.backend.storages(&self.node).await?;
        let mut kept = self.kept();
        kept.generation += 1;
        kept.prepared.clear();
        let measured = sighting.map_or(painted, |sighting| sighting.measured.min(painted));
        let picture =
            Arc::new(Picture { generation: kept.generation, guests, left, nodes, storages, measured, painted });
        kept.picture = Some((sighting.map_or(0, |sighting| sighting.generation), Arc::clone(&picture)));
        Ok(picture)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("node", &self.node).finish_non_exhaustive()
    }
}
