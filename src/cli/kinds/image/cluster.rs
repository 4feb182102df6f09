//! Images in the storages of a cluster: listed, fetched by a node, sent from here, removed.

use std::{io::Read as _, path::Path, pin::pin, time::Duration};

use clap::ArgMatches;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        meter::Meter,
        print::{
            self, Shape,
            fields::{Field, How, fields},
            human::size,
        },
        resource::{carry_out, carry_out_asking, report_outcomes, run},
        session::{Access, Session},
        verb::Exit,
    },
    model::{Error, Hint, Params, Result},
    ops::{FoundUse, IMAGES, ImageRequest, Stored, Within, plain},
};

/// The columns of images in storages.
pub(super) const COLUMNS: &[Field] = &[
    Field::text("IMAGE", "volid"),
    Field::text("NODE", "node"),
    Field::text("CONTENT", "content"),
    Field::text("FORMAT", "format"),
    Field::new("SIZE", "size", How::Size),
    Field::new("ADDED", "ctime", How::When),
    Field::text("STORAGE", "storage").wide(),
];

/// The columns of templates that can be fetched.
const AVAILABLE: &[Field] = &[
    Field::text("TEMPLATE", "template"),
    Field::text("PACKAGE", "package"),
    Field::text("VERSION", "version"),
    Field::text("SECTION", "section"),
    Field::new("HEADLINE", "headline", How::Line),
    Field::text("OS", "os").wide(),
    Field::text("ARCHITECTURE", "architecture").wide(),
    Field::text("SOURCE", "source").wide(),
];

/// How often the bar of an upload is drawn.
const TICK: Duration = Duration::from_millis(100);

fn within(session: &Session, matches: &ArgMatches) -> Within {
    let owned = |name| text(matches, name).map(str::to_owned);
    Within { storage: owned("storage"), node: owned("node").or_else(|| session.default_node.clone()) }
}

/// Where to look for what is there: everywhere unless somebody says.
fn anywhere(matches: &ArgMatches) -> Within {
    let owned = |name| text(matches, name).map(str::to_owned);
    Within { storage: owned("storage"), node: owned("node") }
}

fn row(session: &Session, stored: &Stored) -> Result<Value> {
    let mut row = print::to_value(&stored.volume)?;
    row["node"] = stored.node.as_str().into();
    row["storage"] = stored.storage.as_str().into();
    row["context"] = session.ops.context().into();
    Ok(row)
}

fn name_of(row: &Value) -> String {
    format!("image/{}", row.get("volid").and_then(plain).unwrap_or_default())
}

pub(super) async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let wanted: Vec<&str> = match text(matches, "content") {
        None => IMAGES.to_vec(),
        Some(content) if IMAGES.contains(&content) => vec![content],
        Some(content) => {
            return Err(Error::usage(format!("`content` `{content}`: one of {} is expected", IMAGES.join(", "))));
        }
    };
    let found = session.ops.stored(&wanted, &anywhere(matches)).await?;
    for (node, status) in found.away.iter() {
        cx.ui.warn(format_args!("node {node} is {status}: what it has is not known"));
    }
    found.unread.iter().for_each(|text| cx.ui.warn(text));
    let rows = found.volumes.iter().map(|stored| row(&session, stored)).collect::<Result<Vec<_>>>()?;
    fields(&cx.ui, &session.style, COLUMNS, (Shape::Several, rows), name_of)?;
    Ok(0)
}

/// Images by name, all or none.
async fn named(session: &Session, matches: &ArgMatches) -> Result<Vec<Stored>> {
    let within = anywhere(matches);
    let mut found = Vec::new();
    for name in texts(matches, "targets") {
        let name = name.strip_prefix("image/").unwrap_or(&name);
        found.push(session.ops.stored_one("image", name, &IMAGES, &within).await?);
    }
    Ok(found)
}

pub(super) async fn get(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let found = named(&session, matches).await?;
    let rows = found.iter().map(|stored| row(&session, stored)).collect::<Result<Vec<_>>>()?;
    fields(&cx.ui, &session.style, COLUMNS, (Shape::of(rows.len()), rows), name_of)?;
    Ok(0)
}

pub(super) async fn available(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let node = match text(matches, "node") {
        Some(name) => session.ops.require_node(name).await?,
        None => {
            let nodes = session.ops.backend().nodes().await?;
            let up = nodes.into_iter().find(|node| node.is_online());
            up.ok_or_else(|| Error::conflict("no node is online"))?
        }
    };
    let mut rows = session.ops.available_images(&node.node).await?;
    if let Some(like) = text(matches, "like").map(str::to_lowercase) {
        let has = |row: &Value, key: &str| {
            row.get(key).and_then(plain).is_some_and(|text| text.to_lowercase().contains(&like))
        };
        rows.retain(|row| has(row, "template") || has(row, "headline"));
    }
    rows.iter_mut().for_each(|row| row["context"] = session.ops.context().into());
    let name = |row: &Value| row.get("template").and_then(plain).unwrap_or_default();
    fields(&cx.ui, &session.style, AVAILABLE, (Shape::Several, rows), name)?;
    Ok(0)
}

fn request(session: &Session, matches: &ArgMatches) -> Result<ImageRequest> {
    let owned = |name| text(matches, name).map(str::to_owned);
    let checksum = match owned("sha256") {
        None => None,
        Some(sum) if sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Some(("sha256".to_owned(), sum.to_lowercase()))
        }
        Some(_) => {
            return Err(Error::usage("--sha256 takes 64 hex digits here")
                .with_hint(Hint::Text("lists such as SHA256SUMS are read for images of this host alone".into())));
        }
    };
    let mut params = Params::new().with_some("compression", text(matches, "compression"));
    if flag(matches, "no-verify-certificates") {
        params.push("verify-certificates", 0);
    }
    Ok(ImageRequest {
        name: owned("name"),
        content: owned("content"),
        within: within(session, matches),
        checksum,
        overwrite: flag(matches, "overwrite"),
        params,
    })
}

pub(super) async fn pull(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let source = text(matches, "source").unwrap_or_default();
    let session = cx.session(Access::Write).await?;
    let request = request(&session, matches)?;
    let is_address = source.starts_with("http://") || source.starts_with("https://");
    if !is_address && (source.contains('/') || Path::new(source).is_file()) {
        return Err(Error::usage(format!("`{source}` is no address that a node could fetch"))
            .with_hint(Hint::Text(format!("a file of this host is sent: pvectl image upload {source}"))));
    }
    let plan = match is_address {
        true => session.ops.plan_pull_url(source, &request).await?,
        false => session.ops.plan_pull_template(source, &request).await?,
    };
    carry_out(cx, &session, vec![plan]).await
}

pub(super) async fn upload(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let file = Path::new(text(matches, "file").unwrap_or_default()).to_owned();
    let session = cx.session(Access::Write).await?;
    let mut request = request(&session, matches)?;
    if flag(matches, "checksum") {
        request.checksum = Some(("sha256".to_owned(), sha256_of(&file)?));
    }
    let plan = session.ops.plan_upload(file.clone(), &request).await?;
    if cx.switches.dry_run {
        return carry_out(cx, &session, vec![plan]).await;
    }
    let whole = std::fs::metadata(&file).map_or(0, |about| about.len());
    let meter = Meter::new(cx.ui.clone(), format!("sending {}", file.display()));
    let backend = session.ops.backend();
    let outcomes = {
        let mut sending = pin!(run(cx, &session, vec![plan]));
        loop {
            tokio::select! {
                outcomes = &mut sending => break outcomes,
                () = tokio::time::sleep(TICK) => match backend.uploaded() {
                    sent if sent < whole => meter.show(sent, Some(whole)),
                    // The node has it all, and its task tells how it goes on.
                    _ => meter.end(),
                },
            }
        }
    };
    meter.end();
    report_outcomes(cx, &session, outcomes)
}

/// The SHA-256 of a file, read once from its beginning to its end.
fn sha256_of(file: &Path) -> Result<String> {
    let unreadable = |error| Error::usage(format!("cannot read {}", file.display())).with_source(error);
    let mut open = std::fs::File::open(file).map_err(unreadable)?;
    let (mut sum, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match open.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => sum.update(&piece[..read]),
        }
    }
}

pub(super) async fn delete(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let session = cx.session(Access::Write).await?;
    let mut plans = Vec::new();
    // All of them are looked at before anything is sent.
    for stored in named(&session, matches).await? {
        let mut plan = session.ops.plan_delete_stored("image", &stored).await?;
        let bytes = size(Some(stored.volume.size.0));
        plan.uses.push(FoundUse::goes(format!("{} of {bytes}", stored.volume.content)));
        plans.push(plan);
    }
    let what = match plans.as_slice() {
        [one] => format!("image {}", one.name),
        several => format!("these {} images", several.len()),
    };
    carry_out_asking(cx, &session, &format!("Delete {what}? This cannot be undone"), plans).await
}
