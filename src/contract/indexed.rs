//! Numbered parameters: the description says `net[n]`, a call says `net0`.
//!
//! How far the numbers go is not in the description; this table has it.

/// The largest number of each, on a real server. `net` and `unused`, which VMs and containers share, go equally far.
const LAST: &[(&str, u16)] = &[
    ("acmedomain", 4),
    ("dev", 255),
    ("hostpci", 15),
    ("ide", 3),
    ("ipconfig", 31),
    ("link", 7),
    ("mp", 255),
    ("net", 31),
    ("numa", 7),
    ("parallel", 2),
    ("sata", 5),
    ("scsi", 30),
    ("serial", 3),
    ("unused", 255),
    ("usb", 13),
    ("virtio", 15),
    ("virtiofs", 9),
];

/// For names that are not in the table.
const LAST_OF_OTHERS: u16 = 255;

/// `net[n]` for `net0`; `None` for what is no numbered name, or has a number that is too large.
pub(super) fn declared_name(concrete: &str) -> Option<String> {
    let base = concrete.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &concrete[base.len()..];
    if base.is_empty() || digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    let last = last_index(base);
    digits.parse::<u16>().is_ok_and(|number| number <= last).then(|| format!("{base}[n]"))
}

/// The largest number of a numbered parameter: 31 for `net`. Where a VM and a container have the same parameter, they
/// have the same number of it.
pub fn last_index(base: &str) -> u16 {
    LAST.iter().find(|(name, _)| *name == base).map_or(LAST_OF_OTHERS, |(_, last)| *last)
}
