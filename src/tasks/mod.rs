//! Following tasks to their end: polling, logs, progress, many at once.
//!
//! Knows no HTTP: whoever can answer a [`TaskSource`]'s questions can be followed.

mod source;

pub use source::TaskSource;
