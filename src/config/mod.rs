//! What the user has set: contexts, credentials, flags and environment, put together into whom to talk to and how.
//!
//! Opens no connection and knows no client type: [`resolve()`] gives plain values that `cli` turns into a client. The
//! environment comes in as an [`Env`], so nothing here but [`Env::from_process`] looks at the process's own.

mod cache;
mod connection;
mod credentials;
mod descriptions;
mod edit;
mod endpoint;
mod env;
mod file;
mod guard;
mod options;
mod paths;
mod resolve;
mod rules;
mod store;
mod tickets;
mod yaml;

pub use cache::Cache;
pub use connection::{Connection, Identity, Origin, Proxmox, SecretSource, Sourced};
pub use credentials::{Credentials, Login, Stored, parse_token};
pub use descriptions::Descriptions;
pub use endpoint::Endpoint;
pub use env::{Env, EnvVar, TABLE as ENV};
pub use file::{Context, File, Kind, RESERVED};
pub use guard::{ReadOnly, RuleFiles, expect};
pub use options::{GlobalOption, TABLE as OPTIONS};
pub use paths::Paths;
pub use resolve::{Flags, Resolved, Row, Setting, resolve};
pub use rules::{RuleGuests, RuleText, RuleValue, read_rules};
pub(crate) use store::{lock_file, write_private};
pub use tickets::Tickets;

/// The candidates that a misspelled name may have meant, closest first, at most three.
fn close_names<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    scored.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}
