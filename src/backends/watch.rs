//! Guests that are kept in sight: what is known of all of them, and whether anything has happened since.
//!
//! For whoever answers many questions about them in a process that goes on. Who asks once asks the backend.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;

use crate::model::{Guest, Result, Vmid};

/// All guests as they were seen.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Counted up with every difference, in states and in figures.
    pub generation: u64,
    /// The guests, by number. States are true as long as there is no news; figures are those of `measured`.
    pub guests: Vec<Guest>,
    /// Of these a command that is gone, or a process that died, has left something to be put in order.
    pub left: Vec<Vmid>,
    /// When load and memory were last looked at.
    pub measured: Instant,
}

/// Keeps guests in sight.
#[async_trait]
pub trait GuestWatch: Send + Sync {
    /// What was seen last; nothing before the first look.
    fn last(&self) -> Option<Arc<Sighting>>;

    /// Whether anything has happened that the last look cannot know of. It asks the kernel and no guest, and takes
    /// microseconds.
    fn has_news(&self) -> bool;

    /// Looks at what has news, and at what was not looked at for long; all there is to do where nothing has happened is
    /// to find that out.
    ///
    /// # Errors
    /// When the state cannot be read. What was seen before stays.
    async fn look(&self) -> Result<Arc<Sighting>>;

    /// Waits until something happens, without looking again and again.
    ///
    /// # Errors
    /// When the kernel tells nothing any more.
    async fn happens(&self) -> Result<()>;
}
