//! `api ls`: the tree of the API's paths, from the built-in description alone.

use clap::{Arg, ArgAction, ArgMatches};
use serde::Serialize;

use crate::{
    cli::{
        cx::{Cx, flag, text},
        print::{self, Column, Row},
        verb::{Entry, Exit},
    },
    contract::embedded,
    model::{Method, Result},
};

pub(super) const LS: Entry = Entry {
    name: "ls",
    about: "List the paths below a path and their methods; needs no server",
    examples: &["pvectl api ls", "pvectl api ls /nodes/{node}/qemu/{vmid}", "pvectl api ls /cluster/ha -R -o name"],
    args: |command| {
        command
            .visible_alias("list")
            .arg(Arg::new("path").value_name("PATH").help("Where to look; the root by default"))
            .arg(
                Arg::new("recursive")
                    .short('R')
                    .long("recursive")
                    .action(ArgAction::SetTrue)
                    .help("List everything below, not only the next level"),
            )
    },
    run: |cx, matches| Box::pin(ls(cx, matches)),
};

#[derive(Serialize)]
struct PathRow {
    name: String,
    path: String,
    methods: Vec<Method>,
}

impl Row for PathRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<PathRow>] = &[
            Column::new("NAME", "name", |row: &PathRow| row.name.clone()),
            Column::new("METHODS", "methods", |row: &PathRow| {
                row.methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(" ")
            }),
            Column::new("PATH", "path", |row: &PathRow| row.path.clone()),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.path.clone()
    }
}

async fn ls(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    let found = embedded().paths_below(text(matches, "path").unwrap_or_default(), flag(matches, "recursive"))?;
    let row = |(path, methods): (String, Vec<Method>)| PathRow {
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        path,
        methods,
    };
    print::list(&cx.ui, &style, &mut found.into_iter().map(row).collect())?;
    Ok(0)
}
