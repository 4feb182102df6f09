//! The words for where a VM is in its life, for what is wanted of it, and for how it came to stand still.

use serde::{Deserialize, Serialize};

use super::words::words;

words! {
    /// What is being done to a VM, or was last: what the row says before anybody looks at the process.
    Phase {
        /// It is being made; until that is done it counts for nothing.
        Creating = "creating",
        /// No VMM should run.
        Stopped = "stopped",
        /// A VMM is about to run, and may already.
        Starting = "starting",
        /// A VMM ran when it was last looked at; paused or not is its business.
        Running = "running",
        /// Its power is being cut. A shutdown that waits for the guest is no such phase.
        Stopping = "stopping",
        /// It is being removed, whatever else is the case.
        Deleting = "deleting",
    }
}

words! {
    /// What the user wants it to be.
    Desired {
        /// Off.
        Stopped = "stopped",
        /// On.
        Running = "running",
    }
}

/// How a VM came to stand still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum End {
    /// Somebody stopped it.
    Stopped,
    /// It was suspended to disk.
    Suspended,
    /// The guest powered itself off.
    PoweredOff,
    /// The VMM died under it.
    Crashed {
        /// The last event that the VMM wrote.
        last_event: Option<String>,
    },
    /// The host went down under it.
    HostRebooted,
    /// It never came up.
    FailedStart {
        /// Why, if that is known.
        error: Option<String>,
    },
}
