//! `delete`: removes guests and their disks, after showing what will be lost.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use super::{
    choose::{Meant, chosen_args, paced},
    mutate::{mutate, require_somebody_to_confirm},
};
use crate::{
    cli::{
        commands::manifest::{file_args, load, plain_only, unapply},
        cx::{Cx, flag, texts},
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch},
    },
    manifest::Manifest,
    model::{Error, GuestKind, Result},
    ops::{DELETE, DeleteRequest, Resolved, Target, resolve},
};

pub(super) struct Delete;

#[async_trait(?Send)]
impl Verb for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Delete {} and their disks; shows what will be lost and asks", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} delete 150", kind.noun),
            format!("pvectl {} delete 150 --confirm", kind.noun),
            format!("pvectl {} delete 150 --force --purge-disks --confirm", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        chosen_args(command).args(delete_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        if !texts(matches, "file").is_empty() {
            return delete_from_file(cx, matches, Some(kind.guest())).await;
        }
        let meant = Meant::read(matches, "say what to delete: a VMID, a name, or -f FILE")?;
        let mut session = cx.session(Access::Write).await?;
        session.options = paced(matches, session.options)?;
        session.together = meant.together(false);
        let found = meant.find(cx, &session, kind).await?;
        delete(cx, &session, &found, matches).await
    }
}

/// The flags of a delete.
pub(crate) fn delete_args() -> Vec<Arg> {
    let files = file_args("Delete what JSON or YAML files describe, or directories of them; - is stdin; repeatable");
    let flags = [
        switch("force", "Stop a running guest first"),
        switch("purge", "Also remove it from backup jobs, replication and HA"),
        switch("purge-disks", "Also destroy disks that belong to it but are not attached"),
    ];
    let beside = |arg: Arg| if arg.get_id() == "file" { arg.conflicts_with("targets") } else { arg };
    files.map(beside).into_iter().chain(flags).collect()
}

async fn delete(cx: &Cx, session: &Session, found: &[Resolved], matches: &ArgMatches) -> Result<Exit> {
    let request = DeleteRequest {
        force: flag(matches, "force"),
        purge: flag(matches, "purge"),
        purge_disks: flag(matches, "purge-disks"),
    };
    let plan = async |found: &_| session.ops.plan_delete(found, &request).await;
    mutate(cx, session, DELETE, found, plan).await
}

/// Deletes what files describe: of plain configurations by VMID, or by name where there is none.
pub(crate) async fn delete_from_file(cx: &Cx, matches: &ArgMatches, only: Option<GuestKind>) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let Some(loaded) = load(matches)? else {
        return Err(Error::usage("say what to delete: a VMID, a name, or -f FILE"));
    };
    let Some(manifests) = plain_only(&loaded)? else {
        return unapply(cx, matches, loaded, only).await;
    };
    let mut wanted = Vec::new();
    for manifest in manifests {
        wanted.push((kinds(manifest, only)?, Target::parse_all(&[identity(manifest)?])?));
    }
    let session = cx.session(Access::Write).await?;
    let guests = session.ops.guests().await?;
    let mut found: Vec<Resolved> = Vec::new();
    for (kinds, target) in wanted {
        let mut results = kinds.iter().map(|kind| resolve(&target, *kind, &guests));
        // Of several possible kinds the first that has such a guest is meant; a VMID is only ever one of them.
        let first = results.next().unwrap_or_else(|| Ok(Vec::new()));
        found.extend(results.fold(first, |best, next| if best.is_ok() { best } else { next.or(best) })?);
    }
    delete(cx, &session, &found, matches).await
}

fn kinds(manifest: &Manifest, only: Option<GuestKind>) -> Result<Vec<GuestKind>> {
    match (only, manifest.kind) {
        (Some(only), Some(kind)) if only != kind => {
            Err(Error::usage(format!("the file describes a {kind}, and this command deletes a {only}")))
        }
        (Some(kind), _) | (None, Some(kind)) => Ok(vec![kind]),
        (None, None) => Ok(GuestKind::ALL.to_vec()),
    }
}

fn identity(manifest: &Manifest) -> Result<String> {
    let name = || GuestKind::ALL.iter().find_map(|kind| manifest.params.get(kind.name_key()));
    match (manifest.vmid, name()) {
        (Some(vmid), _) => Ok(vmid.to_string()),
        (None, Some(name)) => Ok(name.to_owned()),
        (None, None) => Err(Error::usage("the file gives neither `vmid` nor a name to delete by")),
    }
}
