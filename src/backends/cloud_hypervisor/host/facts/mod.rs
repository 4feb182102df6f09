//! What this host is and has, as far as VMs need it: what was seen, whether it will do, and how to mend it.
//!
//! It looks and changes nothing: a file that is made for a probe is gone with the probe.

mod kernel;
mod programs;
mod storage;

use std::path::PathBuf;

pub use kernel::{can_confine, may_change_network, memory_bytes};
pub use programs::{
    OLDEST, Version, build, check_virtiofsd, find_firmware, find_nft, find_virtiofsd, find_vmm, keeps_open_files,
};

use super::Groups;
use crate::model::Size;
pub use crate::model::{Fact, FactStatus as Status};

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Where VMs, images and disks are kept; it need not be there yet.
    pub state: PathBuf,
    /// Where sockets are.
    pub run: PathBuf,
    /// The directories of programs, in their order.
    pub programs: Vec<PathBuf>,
    /// The VMM, if it was named.
    pub vmm: Option<PathBuf>,
    /// The firmware, if it was named.
    pub firmware: Option<PathBuf>,
    /// Who makes control groups.
    pub groups: Groups,
}

/// What this user cannot open and every VMM needs: the reason of many a failed start.
pub fn shut_doors() -> Vec<Fact> {
    let doors = [(kernel::open("/dev/kvm"), kernel::kvm as fn() -> Fact), (kernel::open("/dev/net/tun"), kernel::taps)];
    doors.into_iter().filter_map(|(opened, fact)| opened.is_err().then(fact)).collect()
}

/// Looks at everything, in the order in which it should be read. It blocks for milliseconds: the VMM is asked for its
/// version.
pub fn look(at: &Look) -> Vec<Fact> {
    vec![
        kernel::kvm(),
        programs::vmm(at),
        programs::firmware(at),
        storage::state(&at.state),
        storage::sockets(&at.run),
        storage::reflink(&at.state),
        storage::space(&at.state),
        kernel::memory(),
        kernel::cpus(),
        programs::groups(at),
        kernel::taps(),
        kernel::bridges(),
        programs::nft(at),
        programs::virtiofsd(at),
        kernel::kernel(),
        kernel::nested(),
        kernel::landlock(),
        kernel::userfaultfd(),
        programs::systemd(),
    ]
}

fn size(bytes: u64) -> String {
    Size::bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_do_says_how_to_mend_it() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = Look { state: directory.path().join("state"), ..Look::default() };
        let facts = look(&nothing);
        let names: std::collections::BTreeSet<&str> = facts.iter().map(|fact| &*fact.name).collect();
        assert_eq!(names.len(), facts.len());
        for fact in &facts {
            assert!(!fact.seen.is_empty(), "{fact:?}");
            assert_eq!(fact.mend.is_none(), fact.status == Status::Ok, "{fact:?}");
        }
        // Without directories of programs there is no VMM.
        assert!(facts.iter().any(|fact| fact.status.is_bad()));
        // Nothing was made.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
