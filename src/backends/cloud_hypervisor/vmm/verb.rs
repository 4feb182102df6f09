//! The endpoints: how each is called, what it changes, in which states it may be called.
//!
//! The VMM's own answers name a state only in prose that changes between versions; what was wrong is told by this table
//! and the state that `vm.info` reports.

use super::config::words;

words! {
    /// The state of the machine in a VMM, as `vm.info` tells it.
    State {
        /// Defined. After `vm.shutdown` it is `Created` again, so that what ran last cannot be read here.
        #[default]
        Created = "Created",
        /// It runs.
        Running = "Running",
        /// Its processors stand still.
        Paused = "Paused",
        /// Never seen over the API.
        Shutdown = "Shutdown",
        /// A debugger holds it.
        BreakPoint = "BreakPoint",
    }
}

/// When a verb may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Always.
    Nothing,
    /// No machine is defined.
    Empty,
    /// A machine is defined, whatever it does.
    Defined,
    /// Defined, not booted.
    Created,
    /// Running or paused.
    Booted,
    /// Running.
    Running,
    /// Paused.
    Paused,
}

impl Needs {
    /// Whether it may be called; `None`: no machine is defined.
    pub fn met_by(self, state: Option<&State>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Empty => state.is_none(),
            Self::Defined => state.is_some(),
            Self::Created => matches!(state, Some(State::Created | State::Shutdown)),
            Self::Booted => matches!(state, Some(State::Running | State::Paused | State::BreakPoint)),
            Self::Running => state == Some(&State::Running),
            Self::Paused => state == Some(&State::Paused),
        }
    }
}

/// An endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verb {
    /// Below `/api/v1/`: `vm.boot`.
    pub path: &'static str,
    /// Whether it only reads: `GET`, else `PUT`.
    pub reads: bool,
    /// When it may be called.
    pub needs: Needs,
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident = $method:ident $path:literal $needs:ident,)*) => {
        impl Verb {
            $($(#[$doc])* pub const $name: Self =
                Self { path: $path, reads: verbs!(@$method), needs: Needs::$needs };)*

            /// Every endpoint.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
    (@GET) => { true };
    (@PUT) => { false };
}

verbs! {
    /// Who serves here.
    PING = GET "vmm.ping" Nothing,
    /// Drops the machine and ends the process. A power cut.
    SHUTDOWN_VMM = PUT "vmm.shutdown" Nothing,
    /// Defines the machine. One that fails over its consoles leaves it defined all the same.
    CREATE = PUT "vm.create" Empty,
    /// Drops the machine; a power cut if it runs. May be repeated.
    DELETE = PUT "vm.delete" Nothing,
    /// Builds the machine and starts it. One that fails leaves it without disks: drop it and define it again.
    BOOT = PUT "vm.boot" Created,
    /// A power cut. The machine stays defined, the process stays.
    SHUTDOWN = PUT "vm.shutdown" Booted,
    /// The reset button.
    REBOOT = PUT "vm.reboot" Booted,
    /// The power button: the guest is asked.
    POWER_BUTTON = PUT "vm.power-button" Booted,
    /// A non-maskable interrupt.
    NMI = PUT "vm.nmi" Booted,
    /// Stops the processors.
    PAUSE = PUT "vm.pause" Running,
    /// Lets them go on.
    RESUME = PUT "vm.resume" Paused,
    /// The machine's configuration and state.
    INFO = GET "vm.info" Defined,
    /// Counters of its devices.
    COUNTERS = GET "vm.counters" Booted,
    /// Processors, memory, balloon.
    RESIZE = PUT "vm.resize" Defined,
    /// The size of a disk.
    RESIZE_DISK = PUT "vm.resize-disk" Booted,
    /// The size of a memory zone.
    RESIZE_ZONE = PUT "vm.resize-zone" Booted,
    /// Passes a device of the host through.
    ADD_DEVICE = PUT "vm.add-device" Defined,
    /// Adds a device of another process.
    ADD_USER_DEVICE = PUT "vm.add-user-device" Defined,
    /// Adds a disk.
    ADD_DISK = PUT "vm.add-disk" Defined,
    /// Adds a shared folder.
    ADD_FS = PUT "vm.add-fs" Defined,
    /// Adds a vhost-user device of any kind.
    ADD_GENERIC_VHOST_USER = PUT "vm.add-generic-vhost-user" Defined,
    /// Adds a network interface.
    ADD_NET = PUT "vm.add-net" Defined,
    /// Adds persistent memory.
    ADD_PMEM = PUT "vm.add-pmem" Defined,
    /// Adds a vDPA device.
    ADD_VDPA = PUT "vm.add-vdpa" Defined,
    /// Adds the socket between guest and host.
    ADD_VSOCK = PUT "vm.add-vsock" Defined,
    /// Asks the guest to let go of a device; before boot it is dropped at once.
    REMOVE_DEVICE = PUT "vm.remove-device" Defined,
    /// Writes the machine to a folder.
    SNAPSHOT = PUT "vm.snapshot" Paused,
    /// Reads a machine from a folder.
    RESTORE = PUT "vm.restore" Empty,
    /// Writes the guest's memory; only in builds for debugging.
    COREDUMP = PUT "vm.coredump" Paused,
    /// Moves the machine away.
    SEND_MIGRATION = PUT "vm.send-migration" Booted,
    /// Takes a machine in.
    RECEIVE_MIGRATION = PUT "vm.receive-migration" Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_decide() {
        assert!(Verb::PAUSE.needs.met_by(Some(&State::Running)));
        assert!(!Verb::PAUSE.needs.met_by(Some(&State::Paused)));
        assert!(!Verb::CREATE.needs.met_by(Some(&State::Created)));
        assert!(!Verb::RESIZE.needs.met_by(None));
        assert!(!Verb::BOOT.needs.met_by(None));
        assert!(Verb::DELETE.needs.met_by(None));
    }
}
