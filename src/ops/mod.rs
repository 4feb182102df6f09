//! What a verb does: find the targets, make a plan, check that it is safe, run it.
//!
//! The SDK's high-level door. It speaks to people only through what it returns and through [`Observer`]; it knows no
//! flags, no terminal, and no backend by name.

#[cfg(feature = "manifest")]
mod apply;
mod attach;
mod away;
mod backup;
mod bulk;
mod carry;
mod checks;
mod choose;
mod clone;
mod create;
mod devices;
mod disks;
mod evacuate;
mod ha;
mod history;
mod image;
mod inside;
mod labels;
mod locked;
mod loss;
mod lost;
mod metrics;
mod migrate;
mod observe;
mod on_host;
mod outcome;
mod params;
mod pause;
mod place;
mod plan;
mod raw;
mod reconcile;
mod recorded;
mod rename;
mod request;
mod resource;
mod restore;
mod resume;
mod rules;
mod run;
mod snapshot;
mod startup;
mod stored;
mod tags;
mod targets;
mod task;
mod verbs;
mod wait;
mod words;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use crate::model::closest;
#[cfg(feature = "manifest")]
pub use apply::{
    ApplyPlan, ApplyRequest, Deed, Difference, Effect, FieldChange, Fields, Made, Pruning, Work, differences,
    manifest_nouns,
};
pub use attach::{AddRequest, Addition, NewCard, NewDisk, NewMount, NewShare};
pub use away::out_of_reach;
pub use backup::{BACKUPS, BackupPlaces, BackupRequest};
pub use bulk::{Together, tally_of};
pub use carry::{ImportRequest, MoveDiskRequest};
pub use checks::{CHECKS, Check, Claims, MemoryClaim};
pub use choose::Choice;
pub use clone::{CloneRequest, name_of_copy};
pub use create::CreateRequest;
pub use devices::Device;
pub use disks::Growth;
pub use evacuate::Evacuation;
pub use history::config_changes;
pub use image::{IMAGES, ImageRequest, content_of_file, family_of};
pub use inside::{
    Address, Addresses, CLOUDINIT, EXEC, ExecRequest, Executed, FILE_WRITE, FREEZE, Origin, SENDKEY, SET_PASSWORD,
    THAW, TRIM, configured_addresses, no_address,
};
pub use labels::LabelChange;
pub use loss::{DiskLoss, Loss, Since};
pub use lost::{Found, Lost, Traits};
pub use metrics::{History, Metrics};
pub use migrate::{MigrateRequest, Moving, StorageMap};
pub use observe::{Interrupt, Observer, Silent};
pub use on_host::{HostProgram, LONGEST_ON_HOST};
pub use outcome::{Outcome, Status};
pub use params::{Beyond, check_params, friendly_value};
pub use plan::{Change, DeleteRequest, Plan, UpdateRequest};
pub use raw::{CallOutcome, CallPlan, CallRequest, Subject};
pub use resource::{
    FoundUse, NODE_VERBS, Naming, NodeVerb, Paths, PoolMembers, RESOURCES, Reach, Resource, ResourceOutcome,
    ResourcePlan, ResourceRequest, SERVICE_VERBS, Scope, Sort, Tie, plain, resource,
};
pub use restore::RestoreRequest;
pub use resume::ResumeRequest;
pub use rules::{Demand, Rule, verbs_of_rules};
pub use run::RunOptions;
pub use snapshot::{SnapshotRequest, snapshot_tree};
pub use startup::Turn;
pub use stored::{CONTENT, Found as FoundVolumes, Place, Stored, Within, file_of};
pub use tags::{TagRequest, check_lock, check_tag};
pub use targets::{Resolved, Target, Which, resolve, resolve_either};
pub use verbs::{
    ADD, BACKUP, CLONE, CONFIG_ROLLBACK, COPY, CREATE, DELETE, DELETE_SNAPSHOT, DETACH, IMPORT_DISK, LOCK, MIGRATE,
    MOVE_DISK, POWER_VERBS, Power, PowerVerb, REASSIGN, REMOVE, RENAME, RESIZE_DISK, RESTORE, ROLLBACK, SNAPSHOT, TAG,
    TEMPLATE, UNLOCK, UPDATE, UPDATE_SNAPSHOT, VerbOption, When, Words, action_of, power_verb, words_of,
};

pub use wait::{UNTIL, Until, Waited};

use crate::{
    backends::Backend,
    model::{Error, Guest, GuestKind, Node, Recorder, Result},
    tasks::Follower,
};

/// Verbs on the guests of one backend, recorded in one journal.
#[derive(Clone)]
pub struct Ops {
    backend: Arc<dyn Backend>,
    recorder: Arc<dyn Recorder>,
    follower: Follower,
    context: String,
    listing: Arc<Mutex<Option<Listing<Guest>>>>,
    nodes: Arc<Mutex<Option<Listing<Node>>>>,
    ha: Arc<tokio::sync::Mutex<ha::View>>,
}

/// When all guests or nodes were listed last, and how they were.
type Listing<T> = (Instant, Arc<Vec<T>>);

/// For so long a list will do for a look before a change.
const RECENT: Duration = Duration::from_secs(30);

impl Ops {
    /// Verbs on this backend. `context` is the name under which it stands in the journal and in results.
    pub fn new<B: Backend + 'static>(backend: Arc<B>, recorder: Arc<dyn Recorder>, context: impl Into<String>) -> Self {
        let follower = Follower::new(backend.clone());
        Self {
            backend,
            recorder,
            follower,
            context: context.into(),
            listing: Arc::default(),
            nodes: Arc::default(),
            ha: Arc::default(),
        }
    }

    /// The backend, for reads.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Follows tasks of this backend.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// The same verbs, recorded elsewhere.
    #[must_use]
    pub fn recorded_in(&self, recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder, ..self.clone() }
    }

    /// The context's name.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The guests of a kind that were asked for, all or none.
    ///
    /// # Errors
    /// See [`resolve`].
    pub async fn find(&self, targets: &[Target], kind: GuestKind) -> Result<Vec<Resolved>> {
        let mut guests = self.backend.guests().await?;
        self.recall_names(targets, &mut guests);
        resolve(targets, kind, &self.listed(guests))
    }

    /// All guests, as the cluster lists them now.
    ///
    /// # Errors
    /// Whatever the backend says.
    pub async fn guests(&self) -> Result<Arc<Vec<Guest>>> {
        Ok(self.listed(self.backend.guests().await?))
    }

    /// Keeps a list of all guests for who wants to know a moment later.
    fn listed(&self, guests: Vec<Guest>) -> Arc<Vec<Guest>> {
        let guests = Arc::new(guests);
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), guests.clone()));
        guests
    }

    /// The nodes as they are now, kept in the same way.
    pub(super) async fn nodes(&self) -> Result<Arc<Vec<Node>>> {
        let nodes = Arc::new(self.backend.nodes().await?);
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), nodes.clone()));
        Ok(nodes)
    }

    /// The same, or as they were a moment ago.
    pub(super) async fn recent_nodes(&self) -> Result<Arc<Vec<Node>>> {
        let listed = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match listed {
            Some((when, nodes)) if when.elapsed() < RECENT => Ok(nodes),
            _ => self.nodes().await,
        }
    }

    /// All guests, or as they were a moment ago.
    pub(crate) async fn recent_guests(&self) -> Result<Arc<Vec<Guest>>> {
        let listed = self.listing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match listed {
            Some((when, guests)) if when.elapsed() < RECENT => Ok(guests),
            _ => self.guests().await,
        }
    }

    /// One guest of a kind.
    ///
    /// # Errors
    /// See [`resolve`]; also when the target names several.
    pub async fn find_one(&self, target: &str, kind: GuestKind) -> Result<Guest> {
        let mut found = self.find(&Target::parse_all(&[target])?, kind).await?;
        match found.len() {
            1 => Ok(found.remove(0).guest),
            several => Err(Error::usage(format!("`{target}` names {several} {kind}s, one is expected"))),
        }
    }
}
