//! `image`: disk images of this host, from which local VMs are made.
//!
//! Works on files; no VM and no server of ours is needed.

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches};
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;

use crate::{
    backends::cloud_hypervisor::disk::{Checksum, Format, Image, Images, Pull, Source, Watch},
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        local,
        print::{
            self, Column, Row, Shape, headings,
            human::{ago, size},
        },
        progress::{bar, show_share},
        session::Access,
        ui::{Ui, style, styled},
        verb::{Entry, Exit, Kind, Of, switch, value},
    },
    model::{Class, Error, Hint, Result},
};

pub(super) const KIND: Kind = Kind {
    noun: "image",
    plural: "images",
    aliases: &["img"],
    about: "Disk images of this host, from which local VMs are made",
    guest: None,
    paths: &[],
    of: Of::ThisHost,
    columns: headings::<ImageRow>,
    verbs: || vec![Box::new(LIST), Box::new(GET), Box::new(PULL), Box::new(DELETE)],
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
    let style = local::style_here(cx, access, || {
        Error::usage("images are kept on this host only; clusters do not have theirs here yet")
            .with_hint(Hint::Text("give `--context local` for the images of this host".into()))
    })?;
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

const LIST: Entry = Entry {
    name: "list",
    about: "List the images of this host",
    examples: &["pvectl --context local image list", "pvectl --context local image list --sort-by size -o wide"],
    args: |command| command.visible_alias("ls"),
    run: |cx, _| Box::pin(async { list(cx) }),
};

fn list(cx: &Cx) -> Result<Exit> {
    let (images, style) = store(cx, Access::Read)?;
    let mut rows: Vec<ImageRow> = images.list()?.into_iter().map(row).collect();
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

const GET: Entry = Entry {
    name: "get",
    about: "Show single images",
    examples: &["pvectl --context local image get debian-12 -o yaml"],
    args: |command| command.arg(names_arg()),
    run: |cx, matches| Box::pin(async { get(cx, matches) }),
};

fn names_arg() -> Arg {
    Arg::new("targets")
        .value_name("NAME")
        .required(true)
        .num_args(1..)
        .action(ArgAction::Append)
        .help("Names of images")
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

fn get(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let (images, style) = store(cx, Access::Read)?;
    let mut rows: Vec<ImageRow> = named(&images, matches)?.into_iter().map(row).collect();
    match rows.as_slice() {
        [one] => print::one(&cx.ui, &style, one)?,
        _ => print::list(&cx.ui, &style, &mut rows)?,
    }
    Ok(0)
}

const PULL: Entry = Entry {
    name: "pull",
    about: "Put an image into the store: a raw or qcow2 file, plain or packed with gzip, from a server or this host",
    examples: &[
        "pvectl --context local image pull https://cloud.example.org/debian-12.qcow2 --name debian-12",
        "pvectl --context local image pull https://cloud.example.org/noble.img --sha256 https://cloud.example.org/SHA256SUMS",
        "pvectl --context local image pull ./disk.raw --name golden --overwrite",
    ],
    args: |command| {
        let sum = "What its SHA-256 must be: 64 hex digits, or the address or path of a list such as SHA256SUMS";
        command
            .arg(
                Arg::new("source")
                    .value_name("URL|FILE")
                    .required(true)
                    .help("An http or https address, or a file's path"),
            )
            .arg(value("name", "NAME", "What it is called here; else its file's name without the ending"))
            .arg(value("sha256", "SUM|LIST", sum))
            .arg(value("format", "FORMAT", "Refuse it unless it is raw, or qcow2"))
            .arg(switch("overwrite", "Replace an image of this name"))
    },
    run: |cx, matches| Box::pin(pull(cx, matches)),
};

async fn pull(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
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

/// A bar on a terminal, a line at the beginning elsewhere.
struct Meter {
    ui: Arc<Ui>,
    what: String,
    bar: Option<ProgressBar>,
    began_at: AtomicU64,
}

/// No place was told yet.
const NOWHERE: u64 = u64::MAX;

impl Meter {
    fn new(ui: Arc<Ui>, what: String) -> Self {
        let bar = ui.draws().then(|| bar(&ui));
        match &bar {
            Some(bar) => bar.set_message(what.clone()),
            None => ui.say(&what),
        }
        Self { ui, what, bar, began_at: AtomicU64::new(NOWHERE) }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.ui.bars().remove(bar);
        }
    }
}

impl Watch for Meter {
    fn moved(&self, done: u64, total: Option<u64>) {
        let Some(bar) = &self.bar else { return };
        // What an earlier pull brought does not count for the speed.
        let _ = self.began_at.compare_exchange(NOWHERE, done, Ordering::Relaxed, Ordering::Relaxed);
        let fresh = done.saturating_sub(self.began_at.load(Ordering::Relaxed));
        let seconds = bar.elapsed().max(Duration::from_millis(100)).as_secs_f64();
        let speed = HumanBytes((fresh as f64 / seconds) as u64);
        let of = total.map_or(String::new(), |total| format!(" of {}", HumanBytes(total)));
        bar.set_message(format!("{}  {}{of}, {speed}/s", self.what, HumanBytes(done)));
        if let Some(total) = total.filter(|total| *total > 0) {
            show_share(bar, done as f64 / total as f64);
        }
    }

    fn say(&self, text: &str) {
        self.ui.say(format_args!("{}: {text}", self.what));
    }
}

const DELETE: Entry = Entry {
    name: "delete",
    about: "Delete images; shows what will be lost and asks",
    examples: &[
        "pvectl --context local image delete debian-12",
        "pvectl --context local image delete old older --confirm",
    ],
    args: |command| command.arg(names_arg()),
    run: |cx, matches| Box::pin(async { delete(cx, matches) }),
};

fn delete(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
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
