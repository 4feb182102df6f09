//! `delete -f` of manifests: what they describe goes, those first that others need not.

use clap::ArgMatches;

use super::{apply::carry_out, load::Loaded};
use crate::{
    cli::{
        cx::{Cx, flag},
        session::Access,
        verb::Exit,
    },
    model::{Error, GuestKind, Result},
    ops::{ApplyRequest, DeleteRequest},
};

/// Removes what documents describe. `only` is the kind of guest where one was named.
pub(crate) async fn unapply(cx: &Cx, matches: &ArgMatches, loaded: Loaded, only: Option<GuestKind>) -> Result<Exit> {
    let other = loaded.documents.iter().find(|document| only.is_some() && document.guest() != only);
    if let (Some(document), Some(only)) = (other, only) {
        let text = format!("{}: this describes a {}, and this command deletes a {only}", document.place, document.noun);
        return Err(Error::usage(text));
    }
    let session = cx.session(Access::Write).await?;
    let how = DeleteRequest {
        force: flag(matches, "force"),
        purge: flag(matches, "purge"),
        purge_disks: flag(matches, "purge-disks"),
    };
    let request = ApplyRequest { documents: loaded.documents, ..ApplyRequest::default() };
    let plan = session.ops.plan_unapply(&request, &how).await?;
    carry_out(cx, &session, plan, &request, &loaded.typed).await
}
