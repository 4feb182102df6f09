//! What is mounted, as the kernel's table has it. What follows from that is asked elsewhere.

use std::{fs, path::Path};

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The number of its device: `259:1`.
    pub(super) number: String,
    /// Where it is mounted.
    pub(super) place: String,
    /// The file system: `ext4`.
    pub(super) kind: Option<String>,
    /// What is mounted: `/dev/sda1`.
    pub(super) source: Option<String>,
}

/// All mounts that this process sees; none where the table cannot be read.
pub(super) fn mounts(root: &Path) -> Vec<Mount> {
    let table = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    table.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let columns: Vec<&str> = line.split(' ').collect();
    // In front of the dash are as many columns as the kernel likes.
    let dash = columns.iter().position(|column| *column == "-");
    let behind = |n: usize| Some((*columns.get(dash? + n)?).to_owned());
    Some(Mount {
        number: (*columns.get(2)?).to_owned(),
        place: (*columns.get(4)?).to_owned(),
        kind: behind(1),
        source: behind(2),
    })
}
