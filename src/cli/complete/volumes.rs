//! Storages and what lies in them: images, backups, templates of containers.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{Candidate, Request, live::Row, sources::text};
use crate::{client::path::segments, model::GuestKind};

async fn storage_rows(request: &Request) -> Vec<Row> {
    const FIELDS: &[&str] = &["storage", "node", "plugintype", "content", "shared"];
    request.live.list("/cluster/resources", &[("type", "storage")], FIELDS).await
}

fn holds(row: &Row, content: &str) -> bool {
    content.is_empty() || text(row, "content").split(',').any(|held| held == content)
}

/// The storages that hold a kind of content; all of them for none.
pub(super) async fn storages(request: &Request, content: &str) -> Vec<Candidate> {
    let rows = storage_rows(request).await;
    let found: BTreeMap<_, _> = rows
        .iter()
        .filter(|row| holds(row, content))
        .map(|row| (text(row, "storage"), format!("{}: {}", text(row, "plugintype"), text(row, "content"))))
        .collect();
    found.into_iter().map(|(storage, about)| Candidate::new(storage, about)).collect()
}

/// The beginning of a volume: a storage that holds a kind of content.
pub(super) async fn volumes(request: &Request, content: &str) -> Vec<Candidate> {
    let storages = storages(request, content).await;
    storages.into_iter().map(|storage| Candidate::open(format!("{}:", storage.value), storage.about)).collect()
}

/// The volumes of a sort of content, in every storage that holds some.
pub(super) async fn volumes_of(request: &Request, content: &str, wanted: impl Fn(&str) -> bool) -> Vec<Candidate> {
    let mut places = BTreeMap::new();
    for row in storage_rows(request).await.iter().filter(|row| holds(row, content)) {
        let (storage, node) = (text(row, "storage").into_owned(), text(row, "node").into_owned());
        if request.flag("node").is_some_and(|wanted| wanted != node) {
            continue;
        }
        // A shared storage says the same on every node.
        let key = if text(row, "shared") == "1" { String::new() } else { node.clone() };
        places.entry((storage, key)).or_insert(node);
    }
    let lists = places.iter().map(async |((storage, _), node)| {
        let path = segments(&["nodes", node, "storage", storage, "content"]);
        request.live.list(&path, &[("content", content)], &["volid"]).await
    });
    let volumes: BTreeSet<String> =
        join_all(lists).await.iter().flatten().map(|row| text(row, "volid").into_owned()).collect();
    volumes.iter().filter(|volume| wanted(volume)).map(|volume| Candidate::new(volume, "")).collect()
}

/// The images in storages.
pub(super) async fn images(request: &Request) -> Vec<Candidate> {
    let mut all = Vec::new();
    for content in ["iso", "vztmpl", "import"] {
        all.extend(volumes_of(request, content, |_| true).await);
    }
    all
}

/// The backups of a kind of guest, or of both.
pub(super) async fn backups(request: &Request) -> Vec<Candidate> {
    let kind = request.kind().and_then(|kind| kind.guest);
    let marks: &[&str] = match kind {
        None => &["/"],
        Some(GuestKind::Qemu) => &["-qemu-", "/vm/"],
        Some(GuestKind::Lxc) => &["-lxc-", "/ct/"],
    };
    volumes_of(request, "backup", |volume| marks.iter().any(|mark| volume.contains(mark))).await
}

/// The OS templates of every storage that holds some: by name, then by volume.
pub(super) async fn os_templates(request: &Request) -> Vec<Candidate> {
    let volumes = volumes_of(request, "vztmpl", |_| true).await;
    let file = |volume: &str| volume.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    let mut families = BTreeMap::new();
    for Candidate { value, .. } in &volumes {
        // `debian-12-standard_12.7-1_amd64.tar.zst`: up to the version, and the newest is meant.
        if let Some((family, _)) = file(value).split_once('_') {
            families.insert(family.to_owned(), file(value));
        }
    }
    let families = families.into_iter().map(|(family, file)| Candidate::new(family, file));
    families.chain(volumes).collect()
}
