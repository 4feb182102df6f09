//! Work that blocks, beside all that goes on meanwhile. What the work is, is its caller's.

use tokio::task::{JoinHandle, spawn_blocking};

use crate::model::{Class, Error, Result};

/// What is said of work on a disk that panicked.
pub(super) const DISK: &str = "the work on a disk ended early";

/// Does something that blocks. `lost` is what is said if it panics.
///
/// # Errors
/// What the work says, or [`Class::Bug`].
pub(super) async fn aside<T: Send + 'static>(
    lost: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(lost, spawn_blocking(work)).await
}

/// The same for work that was begun before.
pub(super) async fn joined<T>(lost: &'static str, work: JoinHandle<Result<T>>) -> Result<T> {
    work.await.map_err(|error| Error::new(Class::Bug, lost).with_source(error))?
}
