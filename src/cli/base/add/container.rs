//! What `container add` adds: a volume, a directory of the node, a device file, a network card.

use clap::{Command, value_parser};

use super::{What, absolute_on_node, new_volume, size_args};
use crate::{
    cli::{
        cx::{flag, text},
        verb::{switch, value},
    },
    ops::{Addition, NewCard, NewMount},
};

const PLACE: &str = "Where it is in the container: /srv/data";

pub(super) const WHATS: &[What] = &[
    What {
        name: "disk",
        about: "Add a volume at a path: a new one, or one that exists",
        examples: &[
            "pvectl container add disk 110 --size 8G --storage local-lvm --mp /srv/data",
            "pvectl container add disk 110 --volume local-lvm:vm-110-disk-1 --mp /srv/old --readonly",
        ],
        args: |command| {
            size_args(command)
                .arg(
                    value("volume", "STORAGE:GIB|VOLUME", "A new volume of so many GiB, or one that exists")
                        .required_unless_present("size")
                        .conflicts_with("size"),
                )
                .arg(value("mp", "PATH", PLACE).required(true))
                .arg(switch("readonly", "It can only be read there"))
                .arg(switch("backup", "Backups have it; else they leave it out"))
        },
        read: |matches| {
            Ok(Addition::Mount(NewMount {
                volume: new_volume(matches).unwrap_or_default(),
                path: text(matches, "mp").unwrap_or_default().to_owned(),
                readonly: flag(matches, "readonly"),
                backup: flag(matches, "backup"),
            }))
        },
    },
    What {
        name: "fs",
        about: "Show a directory of the container's node at a path in it; for root@pam by password",
        examples: &["pvectl container add fs 110 --source /mnt/media --mp /srv/media --readonly"],
        args: |command| {
            command
                .arg(value("source", "DIR", "The directory, on the container's node").required(true))
                .arg(value("mp", "PATH", PLACE).required(true))
                .arg(switch("readonly", "It can only be read there"))
        },
        read: |matches| {
            Ok(Addition::Mount(NewMount {
                volume: absolute_on_node("source", text(matches, "source").unwrap_or_default())?,
                path: text(matches, "mp").unwrap_or_default().to_owned(),
                readonly: flag(matches, "readonly"),
                backup: false,
            }))
        },
    },
    What {
        name: "device",
        about: "Pass a device file of the node through; for root@pam by password",
        examples: &["pvectl container add device 110 --path /dev/ttyUSB0"],
        args: |command| command.arg(value("path", "FILE", "The device, on the container's node").required(true)),
        read: |matches| Ok(Addition::DeviceFile(absolute_on_node("path", text(matches, "path").unwrap_or_default())?)),
    },
    What {
        name: "net",
        about: "Add a network card on a bridge",
        examples: &[
            "pvectl container add net 110 --bridge vmbr0 --ip dhcp",
            "pvectl container add net 110 --bridge vmbr0 --tag 20 --ip 10.0.20.5/24 --gw 10.0.20.1",
        ],
        args: net_args,
        read: |matches| {
            let own = |name| text(matches, name).map(str::to_owned);
            Ok(Addition::Card(NewCard {
                bridge: own("bridge").unwrap_or_default(),
                model: None,
                mac: own("mac"),
                tag: matches.get_one::<u16>("tag").copied(),
                ip: own("ip"),
                gateway: own("gw"),
            }))
        },
    },
];

fn net_args(command: Command) -> Command {
    command
        .arg(value("bridge", "BRIDGE", "The bridge that it is on").required(true))
        .arg(value("ip", "ADDRESS/BITS", "Its address, or dhcp; none if nothing is said"))
        .arg(value("gw", "ADDRESS", "The gateway").requires("ip"))
        .arg(value("mac", "ADDRESS", "Its hardware address; a fresh one if nothing is said"))
        .arg(value("tag", "VLAN", "The VLAN it is in").value_parser(value_parser!(u16).range(1..4095)))
}
