//! Virtual machines and containers on Proxmox VE, from Rust: the library under the `pvectl` command.
//!
//! It speaks to a cluster over its REST API, follows tasks to their end, and does what a verb of the command line
//! does, without a terminal: whatever the command line can do, this can do. What has no function of its own goes through
//! [`client::Client::call`], which knows every method of the API.
//!
//! ```
//! # #[cfg(feature = "sandbox")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use pvectl::{
//!     backends::{Backend, Proxmox},
//!     client::{Auth, Client, Endpoint},
//!     model::{GuestKind, NullRecorder, Params},
//!     ops::{Interrupt, Ops, RunOptions, Silent, Status, Target, power_verb},
//!     sandbox,
//! };
//!
//! // A simulated cluster, served on a free port by this process. A real one differs only in these two values.
//! let directory = tempfile::tempdir()?;
//! let cluster = sandbox::Session::start(&directory.path().join("sandbox.db")).await?;
//! let endpoint = Endpoint::parse(cluster.url())?;
//! let auth = Auth::Token { id: cluster.token_id().to_owned(), secret: cluster.secret().clone() };
//!
//! let client = Client::builder().endpoint(endpoint).auth(auth).build()?;
//! let ops = Ops::new(Arc::new(Proxmox::new(client)), Arc::new(NullRecorder), "example");
//!
//! for guest in ops.backend().guests().await? {
//!     println!("{} {} is {} on {}", guest.vmid, guest.label(), guest.status, guest.node);
//! }
//!
//! // A verb is a plan first, which can be shown, and then a run, which says how it went.
//! let found = ops.find(&Target::parse_all(&["web-2"])?, GuestKind::Qemu).await?;
//! let start = power_verb("start", GuestKind::Qemu).ok_or("no such verb")?;
//! let plan = ops.plan_power(start, &found[0], &Params::new(), false).await?;
//! let outcomes = ops.run(vec![plan], &RunOptions::default(), &Silent, &Interrupt::default()).await;
//! assert_eq!(outcomes[0].status, Status::Ok);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sandbox"))]
//! # fn main() {}
//! ```
//!
//! # The rooms
//! - [`model`]: the nouns as plain data: VMID, guest, UPID, size, property string, and the one [`Error`]; in
//!   [`model::config`] every key of a guest's configuration.
//! - [`contract`]: the official API description, embedded: look up, check, explain.
//! - [`client`]: the REST API: endpoints, trust, authentication, failover, one method per call that is used here.
//! - [`tasks`]: following a UPID to its end, with its log and its progress.
//! - [`select`]: label selectors, field selectors and sort keys; JSONPath and jq with the feature `query`.
//! - [`backends`]: the trait behind which guests live, and Proxmox behind it.
//! - [`ops`]: what a verb does: find the targets, plan, run. The door that most programs want.
//! - `journal`, `server`, `serve`, `sandbox`, `manifest`, `config`, `cli`: with the features below.
//!
//! # Features
//! - `cli` (default): the command line, with `config`; turns everything else on.
//! - `enroll`: keys that client certificates of a served host are asked for: `client::NewKey`.
//! - `manifest`: what should be as files (`manifest`), and `ops::Ops::plan_apply`, which makes it so.
//! - `query`: JSONPath templates and jq over data, in [`select`].
//! - `journal`: the SQLite record of every operation; give `journal::Journal` to [`ops::Ops`] as its recorder.
//! - `serve`: a backend served over the API, with `server`.
//! - `server`: the kit that serves the API: routing and checks from the contract, tickets, tokens, faults.
//! - `sandbox`: the simulated cluster, with `server`.
//!
//! With `default-features = false` none of their dependencies is in the tree: neither clap nor SQLite nor axum.
//!
//! # Manners
//! The library reads no environment variable, writes to no stream and keeps no global state. It needs a tokio runtime
//! with time and I/O enabled; one thread is enough. Every failure is an [`Error`] with a class, which says whether the
//! request may have been processed ([`Error::sent`]). A change is never sent twice unless it was certainly never sent.
//! Secrets are [`SecretString`](client::SecretString)s and appear in no error, no `Debug` output and no log.

pub mod backends;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
#[cfg(feature = "cli")]
pub mod config;
pub mod contract;
#[cfg(feature = "journal")]
pub mod journal;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod model;
pub mod ops;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod select;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "server")]
pub mod server;
#[cfg(any(feature = "journal", feature = "sandbox", feature = "serve", all(feature = "local", target_os = "linux")))]
mod sqlite;
pub mod tasks;

pub use model::{Error, Result};
