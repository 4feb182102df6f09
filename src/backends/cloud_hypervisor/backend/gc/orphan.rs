//! What was left behind, as it is told; how it is found is beside.

use serde::Serialize;

use crate::model::Vmid;

/// What something that was left is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrphanKind {
    /// A VMM whose VM is not known any more.
    Vmm,
    /// What serves a shared directory to a VM that is off, or not known any more.
    Share,
    /// A network device of a VM.
    Tap,
    /// A device of the host that a VM had.
    Device,
    /// A control group.
    Group,
    /// A directory of sockets.
    Sockets,
    /// A directory of a VM's logs.
    State,
    /// A disk that no VM names.
    Volume,
    /// A file that never became whole.
    HalfMade,
    /// A log of a start that is long over.
    Log,
}

impl OrphanKind {
    /// Its name, as in the data.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vmm => "vmm",
            Self::Share => "share",
            Self::Tap => "tap",
            Self::Device => "device",
            Self::Group => "group",
            Self::Sockets => "sockets",
            Self::State => "state",
            Self::Volume => "volume",
            Self::HalfMade => "half-made",
            Self::Log => "log",
        }
    }
}

/// Something that was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// What it is.
    pub kind: OrphanKind,
    /// A path, the name of a network device, the address of a device, or the number of a process.
    pub name: String,
    /// The VM that it is, or was, of.
    pub vmid: Option<Vmid>,
    /// Bytes that it takes on the disk.
    pub size: Option<u64>,
    /// Why it counts as left.
    pub reason: String,
    /// Whether it was removed just now.
    pub removed: bool,
    /// Why it could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
