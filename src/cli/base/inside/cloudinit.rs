//! `cloudinit`: what a VM's cloud-init drive says, what it will say, and the drive made anew.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    super::get::{target_arg, targets_arg},
    change, one,
};
use crate::{
    backends::Action,
    cli::{
        cx::{Cx, text},
        print::{
            self, Shape,
            fields::{Field, fields},
        },
        session::{Access, Session},
        verb::{Exit, Group, Kind, Verb},
    },
    model::{Class, ConfigView, Error, Guest, Hint, Params, Result},
    ops::{CLOUDINIT, plain},
};

pub(super) const GROUP: Group = Group {
    name: "cloudinit",
    about: "The cloud-init drive of a VM: what it says, what it will say, made anew",
    verbs: &[&Get, &Dump, &Regenerate],
};

const COLUMNS: &[Field] = &[
    Field::text("KEY", "key"),
    Field::text("ON THE DRIVE", "value"),
    Field::text("TO COME", "pending"),
    Field::text("CHANGE", "change"),
];

/// Says what is missing where there is no such drive.
async fn require_drive(session: &Session, guest: &Guest) -> Result<()> {
    session.ops.require_server("cloud-init drives that can be looked at")?;
    let config = session.ops.backend().guest_config(&guest.reference(), ConfigView::Pending).await?;
    let is_drive = |value: &Value| plain(value).is_some_and(|value| value.contains("cloudinit"));
    if config.0.values().any(is_drive) {
        return Ok(());
    }
    Err(Error::new(Class::Conflict, format!("{} has no cloud-init drive", guest.reference()))
        .with_hint(Hint::Text(format!("pvectl vm update {} --ide2 STORAGE:cloudinit", guest.vmid))))
}

struct Get;

#[async_trait(?Send)]
impl Verb for Get {
    fn name(&self) -> &'static str {
        "get"
    }

    fn about(&self, _: &Kind) -> String {
        "Show what the drive says, and what it will say when it is made anew".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec!["pvectl vm cloudinit get 100".to_owned(), "pvectl vm cloudinit get 100 -o json".to_owned()]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let guest = one(&session, kind, matches).await?.guest;
        require_drive(&session, &guest).await?;
        let params = Params::new().with("node", &guest.node).with("vmid", guest.vmid);
        let mut rows = session.ops.rows_at("/nodes/{node}/qemu/{vmid}/cloudinit", params).await?;
        rows.sort_by_cached_key(|row| plain(&row["key"]).unwrap_or_default());
        let waits = rows.iter_mut().map(|row| told(row, &guest, session.ops.context())).filter(|waits| *waits).count();
        fields(&cx.ui, &session.style, COLUMNS, (Shape::Several, rows), |row| plain(&row["key"]).unwrap_or_default())?;
        if waits > 0 {
            cx.ui.say(format_args!(
                "what is to come is on the drive after the next start, or after: pvectl vm cloudinit regenerate {}",
                guest.vmid
            ));
        }
        Ok(0)
    }
}

/// Makes a row readable, and says whether something of it waits.
fn told(row: &mut Value, guest: &Guest, context: &str) -> bool {
    let is_keys = row["key"] == "sshkeys";
    for part in ["value", "pending"] {
        // Keys are kept encoded, which nobody can read.
        if let (true, Some(text)) = (is_keys, row[part].as_str()) {
            row[part] = percent_decode_str(text).decode_utf8_lossy().trim().into();
        }
    }
    let goes = row["delete"].as_i64().unwrap_or(0) != 0;
    let change = match (goes, row["value"].is_null(), row["pending"].is_null()) {
        (true, ..) => "removed",
        (_, true, false) => "added",
        (_, false, false) => "changed",
        _ => "",
    };
    row["change"] = change.into();
    row["vmid"] = guest.vmid.get().into();
    row["context"] = context.into();
    !change.is_empty()
}

struct Dump;

#[async_trait(?Send)]
impl Verb for Dump {
    fn name(&self) -> &'static str {
        "dump"
    }

    fn about(&self, _: &Kind) -> String {
        "Print a file of the drive as it would be made now".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec!["pvectl vm cloudinit dump 100 user".to_owned(), "pvectl vm cloudinit dump 100 network".to_owned()]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let part = Arg::new("part").value_name("PART").required(true).value_parser(["user", "network", "meta"]);
        command.arg(target_arg()).arg(part.help("Which file"))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let guest = one(&session, kind, matches).await?.guest;
        require_drive(&session, &guest).await?;
        let part = text(matches, "part").unwrap_or_default();
        let params = Params::new().with("node", &guest.node).with("vmid", guest.vmid).with("type", part);
        let data = session.ops.read_at("/nodes/{node}/qemu/{vmid}/cloudinit/dump", params).await?;
        let content = data.as_str().unwrap_or_default().to_owned();
        let told = serde_json::json!({
            "vmid": guest.vmid, "part": part, "content": content, "context": session.ops.context(),
        });
        print::data_or(&cx.ui, &session.style, &told, &[guest.reference().to_string()], |out| {
            writeln!(out, "{}", content.trim_end_matches('\n'))
        })?;
        Ok(0)
    }
}

struct Regenerate;

#[async_trait(?Send)]
impl Verb for Regenerate {
    fn name(&self) -> &'static str {
        "regenerate"
    }

    fn about(&self, _: &Kind) -> String {
        "Make the drive anew, with what waits; the VM reads it when it starts next".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec!["pvectl vm cloudinit regenerate 100".to_owned()]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        change(cx, kind, matches, CLOUDINIT, async |session, found| {
            if !session.ops.backend().capabilities().here {
                require_drive(session, &found.guest).await?;
            }
            session.ops.plan_inside(CLOUDINIT, Action::CloudInit, found, Params::new())
        })
        .await
    }
}
