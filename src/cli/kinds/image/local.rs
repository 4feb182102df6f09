//! Images of this host, from which local VMs are made.
//!
//! Works on files; no VM and no server of ours is needed.

use std::{io::Write, path::Path, sync::Arc};

use clap::ArgMatches;
use serde::Serialize;

use crate::{
    backends::cloud_hypervisor::disk::{Checksum, Format, Image, Images, Pull, Source, Watch},
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        local,
        meter::Meter,
        print::{
            self, Column, Row, Shape,
            human::{ago, size},
        },
        session::Access,
        ui::{style, styled},
        verb::Exit,
    },
    model::{Class, Error, Hint, Result},
};

/// An image as a row.
#[derive(Serialize)]
struct ImageRow {
    #[serde(flatten)]
    image: Image,
    context: &'static str,
}

impl Row for ImageRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<ImageRow>] = &[
            Column::new("NAME", "name", |row: &ImageRow| row.image.name.clone()),
            Column::new("FORMAT", "format", |row: &ImageRow| row.image.format.to_string()),
            Column::new("DISK", "virtual_size", |row: &ImageRow| size(Some(row.image.virtual_size))).right(),
            Column::new("SIZE", "size", |row: &ImageRow| size(Some(row.image.size))).right(),
            Column::new("CREATED", "created", |row: &ImageRow| ago(row.image.created)),
            Column::new("SOURCE", "source", |row: &ImageRow| row.image.source.clone()),
            Column::new("SHA256", "sha256", |row: &ImageRow| row.image.sha256.clone()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("image/{}", self.image.name)
    }
}

fn row(image: Image) -> ImageRow {
    ImageRow { image, context: "local" }
}

/// The store of this host, and how output looks.
fn store(cx: &Cx, access: Access) -> Result<(Images, print::Style)> {
    let style = local::style_here(cx, access, || Error::usage("this is not the context of this host"))?;
    Ok((Images::new(cx.paths()?.images()), style))
}

/// Who uses an image's file: the VMs with a disk that lies over it.
fn users(cx: &Cx) -> impl Fn(&Path) -> Result<Vec<String>> + Sync {
    let backend = local::backend(cx);
    move |file| match &backend {
        Ok(backend) => backend.standing_on_file(file),
        Err(error) => Err(Error::new(error.class(), error.message())),
    }
}

pub(super) fn list(cx: &Cx) -> Result<Exit> {
    let (images, style) = store(cx, Access::Read)?;
    let mut rows: Vec<ImageRow> = images.list()?.into_iter().map(row).collect();
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

/// The images that were named, each once.
fn named(images: &Images, matches: &ArgMatches) -> Result<Vec<Image>> {
    let mut names: Vec<String> = Vec::new();
    for typed in texts(matches, "targets") {
        // As the list prints it with `-o name`.
        let name = typed.strip_prefix("image/").unwrap_or(&typed).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.iter().map(|name| images.get(name)).collect()
}

pub(super) fn get(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let (images, style) = store(cx, Access::Read)?;
    let mut rows: Vec<ImageRow> = named(&images, matches)?.into_iter().map(row).collect();
    match rows.as_slice() {
        [one] => print::one(&cx.ui, &style, one)?,
        _ => print::list(&cx.ui, &style, &mut rows)?,
    }
    Ok(0)
}

pub(super) async fn pull(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let (images, style) = store(cx, Access::Write)?;
    if cx.switches.no_wait {
        return Err(Error::usage("--no-wait: an image is fetched by this very command, and nobody else would go on")
            .with_hint(Hint::Text("a pull that was broken off goes on when it is repeated".into())));
    }
    let source = Source::parse(text(matches, "source").unwrap_or_default())?;
    let pull = Pull {
        name: text(matches, "name").map_or_else(|| source.default_name(), str::to_owned),
        checksum: text(matches, "sha256").map(Checksum::parse).transpose()?,
        format: text(matches, "format").map(str::parse::<Format>).transpose()?,
        overwrite: flag(matches, "overwrite"),
        source,
    };
    let users = users(cx);
    images.check(&pull, &users)?;
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would pull {} as image/{}", pull.source, pull.name));
        cx.ui.say("nothing was fetched (--dry-run)");
        return Ok(0);
    }
    let watch = Arc::new(Meter::new(cx.ui.clone(), format!("pulling image/{}", pull.name)));
    let pulled = images.pull(&pull, &users, watch.clone()).await;
    watch.end();
    let image = pulled?;
    cx.ui.say(format_args!("{} image/{} pulled", styled(style::GOOD, "✓"), image.name));
    print::one(&cx.ui, &style, &row(image))?;
    Ok(0)
}

impl Watch for Meter {
    fn moved(&self, done: u64, total: Option<u64>) {
        self.show(done, total);
    }

    fn say(&self, text: &str) {
        self.tell(text);
    }
}

pub(super) fn delete(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let (images, style) = store(cx, Access::Write)?;
    let found = named(&images, matches)?;
    for image in &found {
        cx.ui.say(format_args!(
            "image/{}  {}, {}, from {}",
            image.name,
            image.format,
            size(Some(image.size)),
            image.source
        ));
    }
    if cx.switches.dry_run {
        cx.ui.say("nothing was deleted (--dry-run)");
        return Ok(0);
    }
    if !cx.switches.confirm {
        let what = if found.len() == 1 { "this image" } else { "these images" };
        if !cx.ui.ask_yes(&format!("Delete {what} for good?"))? {
            cx.ui.say("nothing was done");
            return Ok(Class::Failed.exit_code());
        }
    }
    let names: Vec<String> = found.into_iter().map(|image| image.name).collect();
    let removed = images.delete(&names, &users(cx))?;
    let rows: Vec<ImageRow> = removed.into_iter().map(row).collect();
    for row in &rows {
        cx.ui.say(format_args!("{} {} deleted", styled(style::GOOD, "✓"), row.name()));
    }
    let names: Vec<String> = rows.iter().map(Row::name).collect();
    let people = |_: &mut dyn Write, _: &[usize]| Ok(());
    print::each(&cx.ui, &style.arranged(), Shape::of(rows.len()), &rows, &names, people)?;
    Ok(0)
}
