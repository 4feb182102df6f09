//! `update`: changes of a guest's configuration, from flags or a file.

use std::sync::Arc;

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{
    choose::{Meant, chosen_args, paced},
    config::{self, Typed, at_line, config_args, file_arg, read_file, swallowed},
    host::{host_args, on_this_host, refuse_elsewhere},
    mutate::mutate_and,
    touched::Touched,
};
use crate::{
    cli::{
        cx::{Cx, text, texts},
        description,
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    manifest::Manifest,
    model::{Error, Hint, Result},
    ops::{Beyond, Outcome, UPDATE, UpdateRequest},
};

pub(super) struct Update;

#[async_trait(?Send)]
impl Verb for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Change the configuration of {}", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} update 150 --cores 8 --memory 16G", kind.noun),
            format!("pvectl {} update 150 -f updated.json --dry-run", kind.noun),
            format!("pvectl {} update 150 --onboot --label tier=web --unset description", kind.noun),
            format!("pvectl {} update 150 --net bridge=vmbr0,tag=20", kind.noun),
        ]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let command = chosen_args(command)
            .arg(file_arg("Take the keys from a JSON or YAML file; null unsets a key; - is stdin"))
            .arg(
                Arg::new("unset")
                    .long("unset")
                    .value_name("KEY")
                    .alias("delete")
                    .action(ArgAction::Append)
                    .value_delimiter(',')
                    .help("Take a key out of the configuration; a disk becomes unused. Repeatable"),
            );
        host_args(config_args(command, kind.guest(), config::Verb::Update), kind.guest(), config::Verb::Update)
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let file = one_manifest(read_file(matches)?)?;
        let targets = targets(matches, file.as_ref()).map_err(|error| {
            swallowed(matches, kind.guest(), config::Verb::Update).into_iter().fold(error, Error::with_hint)
        })?;
        let meant = Meant::of(&targets, matches, "say which guest to update")?;
        let typed = Typed::read(cx, matches, kind.guest(), config::Verb::Update)?;
        let mut request = UpdateRequest {
            set: typed.over(file.as_ref()),
            delete: texts(matches, "unset"),
            devices: typed.devices,
            labels: typed.labels,
            beyond: Beyond { forced: on_this_host(matches, typed.forced)?, described: None },
        };
        if let Some(file) = &file {
            request.delete.extend(file.unset.iter().cloned());
        }
        if request.is_empty() {
            return Err(Error::usage("say what to change: flags, --set, --unset, or -f FILE (see --help)"));
        }
        let in_file = |error| at_line(error, file.as_ref(), text(matches, "file"));
        if request.check(kind.guest()).is_err() {
            // A server of another version may have told what it takes.
            request.beyond.described = description::kept(cx).await.map(Arc::new);
            request.check(kind.guest()).map_err(in_file)?;
        }
        let mut session = cx.session(Access::Write).await?;
        refuse_elsewhere(matches, &session)?;
        session.options = paced(matches, session.options)?;
        session.together = meant.together(false);
        let found = meant.find(cx, &session, kind).await?;
        let touched = Touched::default();
        let plan = async |found: &_| {
            let plan = session.ops.plan_update(found, &request).await.map_err(in_file)?;
            touched.note(found, &plan);
            Ok(plan)
        };
        let tell = async |outcomes: &[Outcome]| touched.tell(cx, &session, outcomes).await;
        mutate_and(cx, &session, UPDATE, &found, plan, tell).await
    }
}

fn one_manifest(files: Option<Vec<Manifest>>) -> Result<Option<Manifest>> {
    match files {
        Some(files) if files.len() > 1 => {
            Err(Error::usage(format!("the file describes {} guests, an update takes one", files.len())))
        }
        files => Ok(files.and_then(|files| files.into_iter().next())),
    }
}

/// The targets typed, or the one of the file.
fn targets(matches: &ArgMatches, file: Option<&Manifest>) -> Result<Vec<String>> {
    let (typed, chosen) = (texts(matches, "targets"), Meant::is_chosen(matches));
    let in_file = file.and_then(|file| file.vmid).map(|vmid| vmid.to_string());
    match (typed.as_slice(), in_file) {
        (_, Some(vmid)) if chosen => Err(Error::usage(format!("the file is about VMID {vmid}, and no other guest"))),
        _ if chosen => Ok(Vec::new()),
        ([], Some(vmid)) => Ok(vec![vmid]),
        ([], None) => Err(Error::usage("say which guest to update").with_hint(Hint::Text("a VMID or a name".into()))),
        ([one], Some(vmid)) if one.bytes().all(|b| b.is_ascii_digit()) && *one != vmid => {
            Err(Error::usage(format!("the file is about VMID {vmid}, not {one}")))
        }
        _ => Ok(typed),
    }
}
