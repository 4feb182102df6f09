//! `image`: what guests are made of. In a cluster's storages installation media, templates of containers and disks to
//! import; on this host disk images. One set of words for both; each backend has its file.

mod cluster;
#[cfg(target_os = "linux")]
mod local;

use clap::{Arg, ArgAction, ArgMatches};

use crate::{
    cli::{
        cx::Cx,
        print::fields::headings_of,
        verb::{Entry, Kind, Of, switch, value},
    },
    config::Connection,
    model::{Error, Hint, Result},
};

pub(super) const KIND: Kind = Kind {
    noun: "image",
    plural: "images",
    aliases: &["img"],
    about: "Images: installation media, templates of containers, disks to import; disk images of this host",
    guest: None,
    paths: &["/nodes/{node}/storage/{storage}/content", "/nodes/{node}/aplinfo"],
    of: Of::Backends,
    columns: || headings_of(cluster::COLUMNS),
    verbs: || {
        vec![Box::new(LIST), Box::new(GET), Box::new(AVAILABLE), Box::new(PULL), Box::new(UPLOAD), Box::new(DELETE)]
    },
};

/// Flags that only a cluster has a meaning for, and those that only this host has.
const OF_CLUSTERS: [&str; 5] = ["storage", "node", "content", "no-verify-certificates", "compression"];
const OF_THIS_HOST: [&str; 1] = ["format"];

/// Whether the context is this host. Flags of the other side are refused.
fn is_here(cx: &Cx, matches: &ArgMatches) -> Result<bool> {
    let here = matches!(cx.resolve()?.connection, Connection::Local);
    let given = |name: &&&str| {
        matches.try_contains_id(name).unwrap_or(false)
            && matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
    };
    let others: &[&str] = if here { &OF_CLUSTERS } else { &OF_THIS_HOST };
    match others.iter().find(given) {
        Some(name) if here => {
            Err(Error::usage(format!("--{name} is about storages of a cluster, and this host has none")))
        }
        Some(name) => Err(Error::usage(format!("--{name} is about images of this host (--context local)"))),
        None => Ok(here),
    }
}

/// Refuses what this host has no use for.
fn require_cluster(cx: &Cx, matches: &ArgMatches, instead: &str) -> Result<()> {
    match is_here(cx, matches)? {
        false => Ok(()),
        true => Err(Error::usage("that is for clusters: images of this host are pulled from addresses and files")
            .with_hint(Hint::Text(instead.to_owned()))),
    }
}

const LIST: Entry = Entry {
    name: "list",
    about: "List the images in all storages of all nodes, or those of this host",
    examples: &[
        "pvectl image list",
        "pvectl image list --storage local --content iso",
        "pvectl --context local image list --sort-by size -o wide",
    ],
    args: |command| command.args(place_args()).arg(content_arg()),
    run: |cx, matches| {
        Box::pin(async move {
            #[cfg(target_os = "linux")]
            if is_here(cx, matches)? {
                return local::list(cx);
            }
            cluster::list(cx, matches).await
        })
    },
};

const GET: Entry = Entry {
    name: "get",
    about: "Show single images",
    examples: &[
        "pvectl image get local:iso/debian-12.7.0-amd64-netinst.iso --node pve1",
        "pvectl --context local image get debian-12 -o yaml",
    ],
    args: |command| command.arg(names_arg()).args(place_args()),
    run: |cx, matches| {
        Box::pin(async move {
            #[cfg(target_os = "linux")]
            if is_here(cx, matches)? {
                return local::get(cx, matches);
            }
            cluster::get(cx, matches).await
        })
    },
};

const AVAILABLE: Entry = Entry {
    name: "available",
    about: "List the templates of containers that a node can fetch by name",
    examples: &["pvectl image available", "pvectl image available debian -o wide"],
    args: |command| {
        let like = Arg::new("like").value_name("WORD").help("Only those with this word in their name or headline");
        command.arg(like).arg(value("node", "NODE", "As this node has them; any if none is given"))
    },
    run: |cx, matches| {
        Box::pin(async move {
            require_cluster(cx, matches, "pvectl --context local image pull https://…")?;
            cluster::available(cx, matches).await
        })
    },
};

const PULL: Entry = Entry {
    name: "pull",
    about: "Fetch an image: from an address or, for templates of containers, by name; to this host also from a file",
    examples: &[
        "pvectl image pull https://cdimage.debian.org/debian-12.iso --storage local --node pve1",
        "pvectl image pull debian-12 --storage local --node pve1",
        "pvectl --context local image pull https://cloud.example.org/debian-12.qcow2 --name debian-12",
        "pvectl --context local image pull ./disk.raw --name golden --overwrite",
    ],
    args: |command| {
        let sum = "What its SHA-256 must be: 64 hex digits; on this host also the address or path of SHA256SUMS";
        command
            .arg(Arg::new("source").value_name("URL|NAME|FILE").required(true).help(
                "An http or https address; a template's name (`image available`); on this host also a file's path",
            ))
            .arg(name_arg())
            .arg(value("sha256", "SUM|LIST", sum))
            .args(place_args())
            .arg(content_arg())
            .arg(value("compression", "METHOD", "What it is packed with: gz, lzo, zst, bz2; it is unpacked there"))
            .arg(switch("no-verify-certificates", "Take whatever certificate the server has"))
            .arg(value("format", "FORMAT", "Refuse it unless it is raw, or qcow2 (this host)"))
            .arg(switch("overwrite", "Replace an image of this name"))
    },
    run: |cx, matches| {
        Box::pin(async move {
            #[cfg(target_os = "linux")]
            if is_here(cx, matches)? {
                return local::pull(cx, matches).await;
            }
            let _ = is_here(cx, matches)?;
            cluster::pull(cx, matches).await
        })
    },
};

const UPLOAD: Entry = Entry {
    name: "upload",
    about: "Send a file into a storage of a cluster",
    examples: &[
        "pvectl image upload debian-12.iso --storage local --node pve1",
        "pvectl image upload disk.qcow2 --storage local --node pve1 --name web.qcow2 --checksum",
    ],
    args: |command| {
        command
            .arg(Arg::new("file").value_name("FILE").required(true).help("A file of this host"))
            .arg(name_arg())
            .arg(value("sha256", "SUM", "What its SHA-256 must be, as the server sees it: 64 hex digits"))
            .arg(
                switch(
                    "checksum",
                    "Let the server compare its SHA-256 with that of the file here, which is read twice",
                )
                .conflicts_with("sha256"),
            )
            .args(place_args())
            .arg(content_arg())
            .arg(switch("overwrite", "Replace an image of this name"))
    },
    run: |cx, matches| {
        Box::pin(async move {
            require_cluster(cx, matches, "pvectl --context local image pull ./FILE")?;
            cluster::upload(cx, matches).await
        })
    },
};

const DELETE: Entry = Entry {
    name: "delete",
    about: "Delete images; shows what will be lost and asks",
    examples: &[
        "pvectl image delete local:iso/debian-12.7.0-amd64-netinst.iso --node pve1 --confirm",
        "pvectl --context local image delete old older --confirm",
    ],
    args: |command| command.arg(names_arg()).args(place_args()),
    run: |cx, matches| {
        Box::pin(async move {
            #[cfg(target_os = "linux")]
            if is_here(cx, matches)? {
                return local::delete(cx, matches);
            }
            cluster::delete(cx, matches).await
        })
    },
};

fn names_arg() -> Arg {
    Arg::new("targets")
        .value_name("NAME")
        .required(true)
        .num_args(1..)
        .action(ArgAction::Append)
        .help("Names of images: volumes, or their files; several may be given")
}

fn name_arg() -> Arg {
    let name = value("name", "NAME", "What it is called there; else as its own file, on this host without the ending");
    name.visible_alias("filename")
}

fn content_arg() -> Arg {
    value("content", "CONTENT", "iso, vztmpl or import; else by the end of its name")
}

fn place_args() -> [Arg; 2] {
    [
        value("storage", "STORAGE", "The storage"),
        value("node", "NODE", "The node, where the storage is another one on each"),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    #[test]
    fn flags_of_one_side_are_flags() {
        let command = (PULL.args)(Command::new("pull"));
        for name in OF_CLUSTERS.iter().chain(&OF_THIS_HOST) {
            assert!(command.get_arguments().any(|arg| arg.get_id() == name), "{name}");
        }
    }
}
