//! The nouns of the project as plain data: identifiers, guests, tasks, sizes, parameters, errors.
//!
//! Nothing here does I/O, and nothing here imports another module of the crate. The small traits that cut
//! import cycles live here too: [`Recorder`] for the journal, [`TaskSource`] for whoever follows tasks, and [`Clock`] for whoever needs
//! the time.

mod away;
mod call;
mod clock;
mod close;
pub mod config;
mod config_value;
mod error;
mod fact;
mod guest;
mod hint;
mod id;
mod inside;
mod keyboard;
mod list;
mod node;
mod pending;
mod privilege;
mod property;
mod record;
mod resource;
mod rows;
mod secrets;
mod served;
mod size;
mod source;
mod status;
mod tags;
mod task;
mod timeframe;
pub mod tolerant;
mod upid;

pub use away::{Away, node_status};
pub use call::{Call, Method, Params, is_secret_at, is_secret_key};
pub use clock::{Clock, SystemClock};
pub use close::closest;
pub use config_value::config_value;
pub use error::{Class, Error, Result, Sent, classify, classify_text};
pub use fact::{Fact, FactStatus};
pub(crate) use guest::Survey;
pub use guest::{ConfigView, Guest, GuestConfig, GuestKind, GuestRef, Snapshot, is_disk_key, is_numbered};
pub use hint::{Hint, Meanwhile};
#[cfg(any(feature = "serve", all(feature = "local", target_os = "linux")))]
pub(crate) use id::is_host_name;
pub(crate) use id::is_local;
pub use id::{Digest, NodeName, ParseIdError, Vmid};
pub use inside::{INPUT_AT_ONCE, JOIN_PIECES, RUN_WITH_PIECES, WRITTEN_AT_ONCE, bytes_of_text, text_of_bytes};
#[cfg(feature = "sandbox")]
pub(crate) use keyboard::is_key;
pub use keyboard::{keys_named, keys_of_text};
pub use list::List;
pub use node::{CpuInfo, Node, NodeStatus, Space, Storage, StorageConfig, StorageStatus, Volume};
pub use pending::{ConfigTexts, Pending, PendingChanges, apply_pending, config_to_come};
#[cfg(any(feature = "manifest", feature = "sandbox"))]
pub(crate) use privilege::is_listed;
pub use privilege::{config_privilege, is_root_only_key};
#[cfg(feature = "server")]
pub(crate) use privilege::{is_drive, is_net};
pub use property::{PropertyString, PropertyStringError};
pub use record::{
    Applied, Bulk, BulkGuest, Event, Intent, NullRecorder, OperationId, Recorder, StepId, Tally, Verdict,
};
pub use resource::{
    ClusterMember, ClusterResource, NetworkResource, Pool, PoolResource, ResourceKind, StorageResource,
};
pub use secrets::Secrets;
pub use served::{Heartbeat, QueuedStep, Ran, ServedHost};
pub use size::{Size, SizeError};
pub use source::TaskSource;
pub use status::{GuestStatus, HaState};
pub use tags::Tags;
pub use task::{ExitStatus, LogLine, LogPage, Submitted, TaskEntry, TaskStatus, UNEXPECTED};
pub use timeframe::Timeframe;
pub use upid::{Upid, UpidError};
