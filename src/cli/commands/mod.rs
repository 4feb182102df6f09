//! Everything that is not kind × verb: kubectl's word order, configuration, the sandbox, help.

mod api;
mod api_resources;
#[cfg(target_os = "linux")]
mod check;
mod completion;
mod config;
mod enroll;
mod explain;
pub(crate) mod help;
#[cfg(target_os = "linux")]
mod host;
pub(crate) mod manifest;
mod queue;
mod sandbox;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod serve_certificates;
#[cfg(target_os = "linux")]
mod serve_people;
mod status;
mod verb_first;
mod version;

use super::verb::Entry;

/// Every command.
pub(crate) const COMMANDS: &[Entry] = &[
    verb_first::GET,
    verb_first::DESCRIBE,
    verb_first::DELETE,
    manifest::APPLY,
    manifest::DIFF,
    manifest::EXPORT,
    api::ENTRY,
    explain::ENTRY,
    api_resources::ENTRY,
    config::ENTRY,
    completion::ENTRY,
    #[cfg(target_os = "linux")]
    check::ENTRY,
    #[cfg(target_os = "linux")]
    host::ENTRY,
    enroll::ENROLL,
    enroll::RENEW,
    enroll::UNENROLL,
    status::ENTRY,
    queue::ENTRY,
    sandbox::ENTRY,
    #[cfg(target_os = "linux")]
    serve::ENTRY,
    version::ENTRY,
    help::ENTRY,
];
