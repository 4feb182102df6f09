//! The configuration flags of `create` and `update`, and how they, `--set` and a file become PVE's keys.
//!
//! The table has the keys people use most, spelt as PVE spells them; every other key goes through `--set KEY=VALUE`.

use std::{fs, io::Read as _, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    cli::cx::{text, texts},
    manifest::Manifest,
    model::{Class, Error, GuestKind, Hint, Params, Result, is_secret_key},
};

/// A configuration key with a flag of its own.
struct Field {
    key: &'static str,
    value: &'static str,
    help: &'static str,
    kinds: &'static [GuestKind],
}

const BOTH: &[GuestKind] = &GuestKind::ALL;
const VM: &[GuestKind] = &[GuestKind::Qemu];
const CT: &[GuestKind] = &[GuestKind::Lxc];

const fn field(key: &'static str, value: &'static str, help: &'static str, kinds: &'static [GuestKind]) -> Field {
    Field { key, value, help, kinds }
}

const FIELDS: &[Field] = &[
    field("name", "NAME", "Name, a DNS name", VM),
    field("hostname", "NAME", "Host name, a DNS name", CT),
    field("cores", "N", "Processor cores (a VM's: per socket)", BOTH),
    field("sockets", "N", "Processor sockets", VM),
    field("memory", "SIZE", "Memory: MiB, or with a unit (8G)", BOTH),
    field("swap", "SIZE", "Swap: MiB, or with a unit", CT),
    field("cpu", "TYPE", "Processor type, such as host or x86-64-v2-AES", VM),
    field("ostype", "TYPE", "Guest operating system", BOTH),
    field("bios", "TYPE", "seabios or ovmf", VM),
    field("machine", "TYPE", "Machine type, such as q35", VM),
    field("scsihw", "TYPE", "SCSI controller, such as virtio-scsi-single", VM),
    field("rootfs", "VOLUME", "Root disk: STORAGE:GIB, such as local-lvm:8", CT),
    field("scsi0", "VOLUME", "First SCSI disk: STORAGE:GIB, such as local-lvm:32", VM),
    field("virtio0", "VOLUME", "First virtio disk: STORAGE:GIB", VM),
    field("ide2", "VOLUME", "CD drive: STORAGE:iso/FILE,media=cdrom or STORAGE:cloudinit", VM),
    field("mp0", "VOLUME", "First mount point: STORAGE:GIB,mp=/path", CT),
    field(
        "net0",
        "NET",
        "First network card, such as virtio,bridge=vmbr0 (container: name=eth0,bridge=vmbr0,ip=dhcp)",
        BOTH,
    ),
    field("boot", "ORDER", "Boot order, such as order=scsi0;net0", VM),
    field("agent", "BOOL", "Whether a guest agent runs in it", VM),
    field("onboot", "BOOL", "Start it with its node", BOTH),
    field("tags", "TAGS", "Tags, comma separated", BOTH),
    field("description", "TEXT", "Notes", BOTH),
    field("unprivileged", "BOOL", "User ids apart from the host's", CT),
    field("features", "LIST", "Such as nesting=1,keyctl=1", CT),
    field("ciuser", "USER", "Cloud-init: user", VM),
    field("ipconfig0", "IP", "Cloud-init: first card's address, such as ip=dhcp", VM),
    field("nameserver", "IP", "DNS server", BOTH),
    field("searchdomain", "DOMAIN", "DNS search domain", BOTH),
];

fn fields(kind: GuestKind) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.kinds.contains(&kind))
}

/// Adds the flags.
pub(super) fn config_args(mut command: Command, kind: GuestKind) -> Command {
    for field in fields(kind) {
        command = command.arg(
            Arg::new(field.key).long(field.key).value_name(field.value).help(field.help).help_heading("Configuration"),
        );
    }
    command.arg(
        Arg::new("set")
            .long("set")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .help("Any other key of PVE's; secrets as KEY=@FILE or KEY=- (stdin). Repeatable")
            .help_heading("Configuration"),
    )
}

/// The flag that names a file.
pub(super) fn file_arg(help: &'static str) -> Arg {
    Arg::new("file").short('f').long("file").value_name("FILE").help(help)
}

/// Reads the file of `-f`, if there is one; `-` is stdin.
pub(super) fn read_file(matches: &ArgMatches) -> Result<Option<Vec<Manifest>>> {
    let Some(file) = text(matches, "file") else { return Ok(None) };
    let (path, content) = if file == "-" {
        let mut content = String::new();
        let read = std::io::stdin().read_to_string(&mut content);
        (PathBuf::from("stdin"), read.map(|_| content))
    } else {
        (PathBuf::from(file), fs::read_to_string(file))
    };
    let content =
        content.map_err(|error| Error::usage(format!("cannot read {}", path.display())).with_source(error))?;
    Manifest::read(&content, &path).map(Some)
}

/// The configuration keys of the command line, over those of a file.
pub(super) fn config_params(matches: &ArgMatches, kind: GuestKind, file: Option<&Manifest>) -> Result<Params> {
    let mut params = file.map(|file| file.params.clone()).unwrap_or_default();
    for field in fields(kind) {
        if let Some(value) = text(matches, field.key) {
            params.set(field.key, value);
        }
    }
    for pair in texts(matches, "set") {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Error::usage(format!("`--set {pair}`: KEY=VALUE is expected")))?;
        params.set(key, if is_secret_key(key) { secret(key, value)? } else { value.to_owned() });
    }
    Ok(params)
}

/// A secret never stands on the command line, where every user of the machine can read it.
fn secret(key: &str, value: &str) -> Result<String> {
    let read = match value.strip_prefix('@') {
        Some(file) => fs::read_to_string(file)
            .map_err(|error| Error::usage(format!("`{key}`: cannot read {file}")).with_source(error))?,
        None if value == "-" => {
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|error| Error::new(Class::Failed, format!("`{key}`: cannot read stdin")).with_source(error))?;
            line
        }
        None => {
            return Err(Error::usage(format!("`{key}` is a secret and is not taken from the command line"))
                .with_hint(Hint::Text(format!("give --set {key}=@FILE, or --set {key}=- to read it from stdin"))));
        }
    };
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}

/// An error about a key of a file gets the line it is about.
pub(super) fn at_line(error: Error, file: Option<&Manifest>, path: Option<&str>) -> Error {
    let (Some(file), Some(path)) = (file, path) else { return error };
    let line = file.lines.iter().find(|(key, _)| error.message().contains(&format!("`{key}`")));
    match line {
        Some((_, line)) => error.context(format_args!("{path}:{line}")),
        None => error,
    }
}
