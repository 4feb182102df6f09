//! What a person can do about an error, as data. The words for it are the command line's.

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
    /// The node is down, or its name is wrong.
    NodeUnreachable(String),
    /// The cluster has lost the node.
    NodeAway(String),
    /// The cluster has the node, but its API does not answer.
    NodeSilent(String),
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
