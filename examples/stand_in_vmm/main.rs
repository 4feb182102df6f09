//! A stand-in for `cloud-hypervisor` (v53): the same arguments, socket, answers, files and locks, and no guest.
//!
//! Tests run it where no KVM is, and where the VMM has to misbehave. What it does was observed on the real one, with which
//! it shares a list of scenarios (`tests/integration/vmm.rs`); what it can be told beyond that is in `control.rs`.

#[cfg(target_os = "linux")]
mod config;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod devices;
#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod serial;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod verbs;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return start::main();
    #[cfg(not(target_os = "linux"))]
    return std::process::ExitCode::FAILURE;
}
