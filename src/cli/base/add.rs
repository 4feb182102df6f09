//! `add` and `remove`: devices of a guest, each a key of its configuration.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use super::{mutate::mutate_and, touched::Touched};
use crate::{
    cli::{
        cx::{Cx, flag, text, wait_lock_arg},
        session::Access,
        verb::{Exit, Kind, Verb, switch, value, with_examples},
    },
    model::{Error, GuestKind, Hint, Result},
    ops::{ADD, AddRequest, Addition, NewCard, NewDisk, NewShare, Outcome, REMOVE, Target},
};

mod container;

pub(super) struct Add;

/// A kind of device: its word, what it is, its arguments, how they are read.
struct What {
    name: &'static str,
    about: &'static str,
    examples: &'static [&'static str],
    args: fn(Command) -> Command,
    read: fn(&ArgMatches) -> Result<Addition>,
}

/// What a kind of guest can be given.
fn whats(kind: GuestKind) -> &'static [What] {
    match kind {
        GuestKind::Qemu => VM,
        GuestKind::Lxc => container::WHATS,
    }
}

const VM: &[What] = &[
    What {
        name: "disk",
        about: "Add a disk: a new one, a volume that exists, or on this host a file or block device by its path",
        examples: &[
            "pvectl vm add disk web --path data.raw --readonly --id data1",
            "pvectl vm add disk 150 --size 32G --storage local-lvm",
            "pvectl vm add disk 150 --volume local-lvm:vm-150-disk-3 --bus scsi",
        ],
        args: |command| {
            size_args(command)
                .arg(
                    value("path", "FILE", "A file or block device of this host; it is never deleted")
                        .required_unless_present_any(["volume", "size"]),
                )
                .arg(
                    value("volume", "STORAGE:GIB|VOLUME", "A new disk of so many GiB, or a volume that exists")
                        .conflicts_with_all(["path", "size"]),
                )
                .arg(
                    value("format", "FORMAT", "What the file is; by its ending if nothing is said, else raw")
                        .value_parser(PossibleValuesParser::new(["raw", "qcow2"])),
                )
                .arg(
                    value("bus", "BUS", "Where the guest finds it")
                        .value_parser(PossibleValuesParser::new(["virtio", "scsi"]))
                        .default_value("virtio"),
                )
                .arg(switch("readonly", "The guest can only read it"))
                .arg(switch("direct", "Past the page cache of the host"))
                .arg(switch("iommu", "Behind the guest's IOMMU; only on this host"))
        },
        read: |matches| {
            let volume = match text(matches, "path") {
                Some(path) => absolute(path)?,
                None => new_volume(matches).unwrap_or_default(),
            };
            Ok(Addition::Disk(NewDisk {
                volume,
                format: text(matches, "format").map(str::to_owned),
                bus: text(matches, "bus").map(str::to_owned),
                readonly: flag(matches, "readonly"),
                direct: flag(matches, "direct"),
                iommu: flag(matches, "iommu"),
            }))
        },
    },
    What {
        name: "fs",
        about: "Share a directory through virtiofs",
        examples: &["pvectl vm add fs web --source /srv --tag share", "pvectl vm add fs 150 --tag mapping-name"],
        args: |command| {
            command
                .arg(
                    value(
                        "tag",
                        "TAG",
                        "The name by which the guest mounts it; on Proxmox that of the directory mapping",
                    )
                    .required(true),
                )
                .arg(value("source", "DIR", "The directory; pvectl serves it with a virtiofsd; only on this host"))
                .arg(value(
                    "socket",
                    "FILE",
                    "Where virtiofsd listens: without --source, one of yours; only on this host",
                ))
                .arg(switch("readonly", "The guest can only read it").requires("source"))
                .arg(
                    value("cache", "CACHE", "What the guest may keep in its memory; auto if nothing is said")
                        .value_parser(PossibleValuesParser::new(["auto", "always", "metadata", "never"])),
                )
                .arg(
                    value("sandbox", "HOW", "How virtiofsd shuts itself in; namespace if nothing is said")
                        .value_parser(PossibleValuesParser::new(["namespace", "chroot", "none"]))
                        .requires("source"),
                )
        },
        read: |matches| {
            let own = |name| text(matches, name).map(str::to_owned);
            Ok(Addition::Share(NewShare {
                tag: own("tag").unwrap_or_default(),
                source: text(matches, "source").map(absolute).transpose()?,
                socket: text(matches, "socket").map(absolute).transpose()?,
                readonly: flag(matches, "readonly"),
                sandbox: own("sandbox"),
                cache: own("cache"),
            }))
        },
    },
    What {
        name: "device",
        about: "Pass a PCI device of the host through",
        examples: &[
            "pvectl vm add device web --path /sys/bus/pci/devices/0000:01:00.0 --id gpu0",
            "pvectl vm add device 150 --mapping gpu",
        ],
        args: |command| {
            command
                .arg(
                    value("path", "PATH|ADDRESS", "The device: /sys/bus/pci/devices/0000:01:00.0, or only its address")
                        .required_unless_present("mapping"),
                )
                .arg(value("mapping", "NAME", "A resource mapping of a Proxmox cluster").conflicts_with("path"))
        },
        read: |matches| match (text(matches, "path"), text(matches, "mapping")) {
            (Some(path), _) => {
                let address = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                if address.len() < 7 || !address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
                    return Err(Error::usage(format!("--path: `{path}` is no PCI device"))
                        .with_hint(Hint::Text("it looks like /sys/bus/pci/devices/0000:01:00.0".into())));
                }
                Ok(Addition::Host(address.to_owned()))
            }
            (None, mapping) => Ok(Addition::Host(format!("mapping={}", mapping.unwrap_or_default()))),
        },
    },
    What {
        name: "net",
        about: "Add a network card on a bridge",
        examples: &["pvectl vm add net web --bridge vmbr0", "pvectl vm add net 150 --bridge vmbr0 --tag 20"],
        args: |command| {
            command
                .arg(value("bridge", "BRIDGE", "The bridge that it is on").required(true))
                .arg(value("model", "MODEL", "What the guest sees; virtio if nothing is said"))
                .arg(value("mac", "ADDRESS", "Its address; a fresh one if nothing is said"))
                .arg(value("tag", "VLAN", "The VLAN it is in").value_parser(value_parser!(u16).range(1..4095)))
        },
        read: |matches| {
            Ok(Addition::Card(NewCard {
                bridge: text(matches, "bridge").unwrap_or_default().to_owned(),
                model: text(matches, "model").map(str::to_owned),
                mac: text(matches, "mac").map(str::to_owned),
                tag: matches.get_one::<u16>("tag").copied(),
                ..NewCard::default()
            }))
        },
    },
];

/// The flags for a new disk of which the size is said.
fn size_args(command: Command) -> Command {
    command
        .arg(value("size", "SIZE", "A new one of this size: 32G"))
        .arg(value("storage", "STORAGE", "Where that goes; the only one for it if nothing is said").requires("size"))
}

/// The volume that is meant by them, or by `--volume`.
fn new_volume(matches: &ArgMatches) -> Option<String> {
    let size = text(matches, "size").map(|size| match text(matches, "storage") {
        Some(storage) => format!("{storage}:{size}"),
        None => size.to_owned(),
    });
    size.or_else(|| text(matches, "volume").map(str::to_owned))
}

/// A path of the guest's node, of which nothing is known here.
fn absolute_on_node(flag: &str, path: &str) -> Result<String> {
    match path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err(Error::usage(format!("--{flag}: `{path}` is no whole path of the node"))),
    }
}

/// A path that does not depend on the directory of this command.
fn absolute(path: &str) -> Result<String> {
    let whole = std::path::absolute(path).map_err(|error| Error::usage(format!("`{path}` is no path: {error}")))?;
    whole.to_str().map(str::to_owned).ok_or_else(|| Error::usage(format!("`{path}` is no text")))
}

/// Refuses a path that would be one of this machine's where it is to be one of the served host's.
fn paths_are_whole(matches: &ArgMatches) -> Result<()> {
    // The address of a device is no path, and has no directory.
    let is_address = |path: &str| matches.try_contains_id("mapping").is_ok() && !path.contains('/');
    for flag in ["path", "source", "socket"] {
        if let Ok(Some(path)) = matches.try_get_one::<String>(flag)
            && !is_address(path)
        {
            absolute_on_node(flag, path)?;
        }
    }
    Ok(())
}

#[async_trait(?Send)]
impl Verb for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Add a disk, a shared directory, a host device or a network card to a {}", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        whats(kind.guest()).iter().filter_map(|what| what.examples.first()).map(|line| (*line).to_owned()).collect()
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let group = command.subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true);
        whats(kind.guest()).iter().fold(group, |group, what| {
            let lines: Vec<String> = what.examples.iter().map(|line| (*line).to_owned()).collect();
            let command = (what.args)(Command::new(what.name).about(what.about).arg(target())).arg(wait_lock_arg());
            let command = match kind.guest() {
                GuestKind::Qemu => command
                    .arg(value("id", "ID", "A name by which `remove` finds it; only on this host"))
                    .arg(switch("queue", "Not now: when the VM can; only on this host, and on one that pvectl serves")),
                GuestKind::Lxc => command,
            };
            group.subcommand(with_examples(command, &lines))
        })
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let chosen = matches.subcommand().and_then(|(name, matches)| {
            whats(kind.guest()).iter().find(|what| what.name == name).map(|what| (what, matches))
        });
        let Some((what, matches)) = chosen else { return Err(Error::usage("say what to add (see --help)")) };
        let request = AddRequest {
            what: (what.read)(matches)?,
            id: text(matches, "id").map(str::to_owned),
            queue: flag(matches, "queue"),
        };
        let targets = Target::parse_all(&[text(matches, "target").unwrap_or_default()])?;
        let session = cx.session(Access::Write).await?;
        if request.queue && session.client.is_some() {
            paths_are_whole(matches)?;
        }
        let found = session.ops.find(&targets, kind.guest()).await?;
        let touched = Touched::default();
        let plan = async |found: &_| {
            let plan = session.ops.plan_add(found, &request).await?;
            touched.note(found, &plan);
            Ok(plan)
        };
        let tell = async |outcomes: &[Outcome]| touched.tell(cx, &session, outcomes).await;
        let code = mutate_and(cx, &session, ADD, &found, plan, tell).await?;
        if code == 0 && request.queue && !cx.switches.dry_run {
            cx.ui.say("queued: the next command on the VM does it (pvectl queue list)");
        }
        Ok(code)
    }
}

fn target() -> Arg {
    Arg::new("target").value_name("TARGET").required(true).help("VMID or name")
}

pub(super) struct Remove;

#[async_trait(?Send)]
impl Verb for Remove {
    fn name(&self) -> &'static str {
        "remove"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Take a device away from a {}; a disk is not deleted", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        match kind.guest() {
            GuestKind::Qemu => vec!["pvectl vm remove web data1".to_owned(), "pvectl vm remove 150 net1".to_owned()],
            GuestKind::Lxc => {
                vec!["pvectl container remove 110 net1".to_owned(), "pvectl container remove 110 mp0".to_owned()]
            }
        }
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target())
            .arg(Arg::new("device").value_name("DEVICE").required(true).help("Its key (virtio1, net0), or its name"))
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let device = text(matches, "device").unwrap_or_default();
        let targets = Target::parse_all(&[text(matches, "target").unwrap_or_default()])?;
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let touched = Touched::default();
        let plan = async |found: &_| {
            let plan = session.ops.plan_remove(found, device).await?;
            touched.note(found, &plan);
            Ok(plan)
        };
        let tell = async |outcomes: &[Outcome]| touched.tell(cx, &session, outcomes).await;
        mutate_and(cx, &session, REMOVE, &found, plan, tell).await
    }
}
