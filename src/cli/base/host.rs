//! The flags for what only VMs of this host have, and Proxmox has no key for.

use clap::{ArgMatches, Command};

use super::config::Verb;
use crate::{
    cli::{cx::text, session::Session, verb::value},
    model::{Error, GuestKind, Hint, Params, Result},
};

/// A flag for a key that VMs of this host have.
struct HostFlag {
    name: &'static str,
    value: &'static str,
    help: &'static str,
    /// The key of its value.
    key: &'static str,
    /// Whether it is a file, whose place must not depend on the directory of this command.
    file: bool,
    /// Whether it is for a new VM alone.
    once: bool,
}

const fn flag(name: &'static str, value: &'static str, help: &'static str, key: &'static str) -> HostFlag {
    HostFlag { name, value, help, key, file: false, once: false }
}

const FLAGS: &[HostFlag] = &[
    HostFlag {
        once: true,
        ..flag("image", "NAME", "Make the first disk from this image (see `image list`)", "x-image")
    },
    HostFlag { file: true, ..flag("kernel", "FILE", "Boot this kernel, without firmware", "x-kernel") },
    HostFlag { file: true, ..flag("initrd", "FILE", "Its initial ram disk", "x-initrd") },
    flag("cmdline", "TEXT", "Its command line", "x-cmdline"),
    flag("landlock", "0|1", "Confine the VMM to the VM's own files", "x-landlock"),
    flag(
        "serial-log",
        "BOOL",
        "1: all that the guest says on its serial port goes into its log, and there is no console",
        "x-serial-log",
    ),
    flag("ch-config", "JSON", "A merge patch over Cloud Hypervisor's own configuration", "x-ch-config"),
];

fn flags(verb: Verb) -> impl Iterator<Item = &'static HostFlag> {
    FLAGS.iter().filter(move |flag| !flag.once || verb == Verb::Create)
}

/// Adds them.
pub(super) fn host_args(command: Command, kind: GuestKind, verb: Verb) -> Command {
    let of_vms = flags(verb).filter(|_| kind == GuestKind::Qemu);
    command.args(of_vms.map(|flag| value(flag.name, flag.value, flag.help).help_heading("On this host")))
}

/// What was given, with what is sent unchecked: the API's description does not know it.
pub(super) fn on_this_host(matches: &ArgMatches, mut forced: Params) -> Result<Params> {
    for flag in FLAGS {
        let Some(given) = text(matches, flag.name) else { continue };
        if !flag.file {
            forced.set(flag.key, given);
            continue;
        }
        let file = std::path::absolute(given)
            .ok()
            .filter(|file| file.is_file())
            .ok_or_else(|| Error::usage(format!("--{}: there is no file {given}", flag.name)))?;
        forced.set(flag.key, file.display());
    }
    Ok(forced)
}

/// Refuses them elsewhere.
pub(super) fn refuse_elsewhere(matches: &ArgMatches, session: &Session) -> Result<()> {
    let given = FLAGS.iter().find(|flag| text(matches, flag.name).is_some());
    match given.filter(|_| session.client.is_some()) {
        Some(flag) => Err(Error::usage(format!("--{} is for VMs of this host", flag.name))
            .with_hint(Hint::Text("choose it with --context local".into()))),
        None => Ok(()),
    }
}
