//! `apply`, `diff` and `export`: what should be, as files.
//!
//! What has to be done is decided by `ops`; how the files are read is in `load`.

mod apply;
mod diff;
mod explain;
mod export;
mod load;
mod show;
mod unapply;
mod watch;

pub(super) use self::{apply::ENTRY as APPLY, diff::ENTRY as DIFF, explain::explain, export::ENTRY as EXPORT};
pub(crate) use self::{
    load::{file_args, load, plain_only},
    unapply::unapply,
};
