//! Following tasks to their end: polling, logs, progress, many at once.
//!
//! Knows no HTTP: whoever can answer a [`TaskSource`]'s questions can be followed.

mod follow;
mod progress;

pub use follow::{Follower, Limits, NoWatch, Watch, tail};
pub use progress::{Progress, backup_of};

pub use crate::model::TaskSource;
