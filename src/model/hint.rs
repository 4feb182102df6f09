//! What a person can do about an error, as data. The words for it are the command line's.

use std::collections::BTreeMap;

/// A configuration key that somebody else changed while a change of ours was on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meanwhile {
    /// The key.
    pub key: String,
    /// What it was when it was read; `None` if it was not set.
    pub read: Option<String>,
    /// What it is now.
    pub now: Option<String>,
    /// What it would be with our change, where that is about it.
    pub ours: Option<Option<String>>,
}

/// Something a person can act on. The knowledge is noted where the error arises; the words are the command line's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Names that are close to one that is unknown.
    DidYouMean(Vec<String>),
    /// The guest is locked, by this.
    Locked(String),
    /// Somebody else changed the configuration after it was read: what differs.
    ChangedMeanwhile(Vec<Meanwhile>),
    /// These privileges are needed on this path.
    NeedsPrivilege {
        /// The object, `/vms/150`.
        path: String,
        /// `VM.PowerMgmt`.
        privilege: String,
    },
    /// A privilege is needed, and the server does not say which: several would do, or it is the user's own business.
    UnnamedPrivilege,
    /// The node is down, or its name is wrong.
    NodeUnreachable(String),
    /// The cluster has lost the node.
    NodeAway(String),
    /// The cluster has the node, but its API does not answer.
    NodeSilent(String),
    /// The server takes connections, but what does the work there does not answer.
    DaemonSilent,
    /// The server's certificate is not signed by anybody we know; its SHA-256 fingerprint.
    UnknownCertificate {
        /// The endpoint.
        endpoint: String,
        /// Upper-case hex with colons.
        fingerprint: String,
    },
    /// The credentials were refused.
    Credentials,
    /// The VMID is taken.
    VmidTaken(String),
    /// The server's answer was lost: look before doing it again.
    MayHaveHappened,
    /// The built-in description of the API does not have a parameter; a newer server may.
    UnknownParameter,
    /// How to come back to a task that was left.
    Resume(String),
    /// Anything else, in words.
    Text(String),
}

/// Ends of tasks that leave it open how far they came.
const ENDS: &[(&str, &str)] = &[
    ("received interrupt", STOPPED),
    ("interrupted by signal", STOPPED),
    (
        "unexpected status",
        "the task is gone without a word, as when its node goes down: look at the guest before it is done again",
    ),
];
/// Refusals of storages, by a part of their words, whether a task ends with them or an answer says so.
const REFUSED: &[(&str, &str)] = &[
    (
        "snapshot feature is not available",
        "a disk of it is where there are no snapshots: `raw` in a directory, LVM without a chain, a path of the node; put it \
         elsewhere with `move-disk`, or make a backup",
    ),
    (
        "is not most recent snapshot on",
        "this storage goes back only to the newest snapshot: delete the newer ones first, and what they keep is lost",
    ),
    (
        "There is a max backup limit of",
        "the storage keeps only so many: delete one (`backup delete`), or give --remove, which prunes as the storage says",
    ),
];
const STOPPED: &str = "somebody stopped the task: look at the guest before it is done again";

/// What the server's words tell a person to do.
pub(super) fn hints_from(status: u16, message: &str, params: &BTreeMap<String, String>) -> Vec<Hint> {
    let between = |open: &str, close: char| {
        let rest = &message[message.find(open)? + open.len()..];
        rest.split(close).next().map(str::to_owned)
    };
    let mut hints = Vec::new();
    if let Some(holder) = between("is locked (", ')') {
        hints.push(Hint::Locked(holder));
    }
    if message.contains("can't lock file") {
        let again = if status == 0 {
            "give the command again then"
        } else {
            "a change of a guest waits for it with --wait-lock 60s"
        };
        let hint = format!("another task has it at this moment: see `pvectl task list --running`; {again}");
        hints.push(Hint::Text(hint));
    }
    if message.contains("cfs-lock") {
        hints.push(Hint::Text("somebody else changes the same file of the cluster: give the command again".into()));
    }
    if let Some((_, hint)) = REFUSED.iter().find(|(said, _)| message.contains(said)) {
        hints.push(Hint::Text((*hint).to_owned()));
    }
    if let Some((_, hint)) = ENDS.iter().find(|(end, _)| status == 0 && message == *end) {
        hints.push(Hint::Text((*hint).to_owned()));
    }
    let is_roots = |text: &str| text.contains("nly root can ") || text.contains("nly root may ");
    if is_roots(message) || params.values().any(|said| is_roots(said)) {
        hints.push(Hint::Text(
            "root@pam logged in with its password may do it; an API token of root is not enough".into(),
        ));
    }
    if status == 401 && message.contains("client certificate") {
        let hint =
            "another one is to be had with `pvectl enroll … --overwrite`, for a one-time token of the host's owner";
        hints.push(Hint::Text(hint.to_owned()));
    } else if status == 401 && !message.contains("one-time token") {
        hints.push(Hint::Credentials);
    }
    // A task may find out as well.
    if matches!(status, 0 | 403) && message.contains("Permission check failed") {
        let named = between("Permission check failed (", ')').and_then(|inner| {
            inner.split_once(", ").map(|(path, privilege)| (path.to_owned(), privilege.replace('|', " or ")))
        });
        hints.extend(match named.filter(|(path, _)| path.starts_with('/')) {
            Some((path, privilege)) => Some(Hint::NeedsPrivilege { path, privilege }),
            None if message.trim() == "Permission check failed" => Some(Hint::UnnamedPrivilege),
            None => None,
        });
    }
    if let Some(node) = between("hostname lookup '", '\'') {
        hints.push(Hint::NodeUnreachable(node));
    }
    if let Some(taken) = params.get("vmid").into_iter().map(String::as_str).chain([message]).find(|text| {
        (text.starts_with("VM ") || text.starts_with("CT ") || text.contains(" - VM ") || text.contains(" - CT "))
            && text.contains("already exists")
    }) {
        hints.push(Hint::VmidTaken(taken.trim().to_owned()));
    }
    if params.values().any(|said| said.contains("hotplug problem")) {
        // The server writes the change down before it tries.
        let hint = "the change waits for the next start; others with it may be in effect: `pvectl vm describe` tells";
        hints.push(Hint::Text(hint.into()));
    }
    hints
}
