//! `create`: guests from flags, from a template, from a file.

use std::sync::Arc;

use async_trait::async_trait;
use clap::{ArgMatches, Command};

use super::{
    config::{self, Typed, at_line, config_args, file_arg, read_file},
    host::{host_args, on_this_host, refuse_elsewhere},
    mutate::{carry_out, require_somebody_to_confirm},
};
use crate::{
    cli::{
        cx::{Cx, flag, text},
        description,
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch, value},
    },
    manifest::Manifest,
    model::{Error, GuestKind, NodeName, Result, Vmid},
    ops::{Beyond, CreateRequest},
};

pub(super) struct Create;

#[async_trait(?Send)]
impl Verb for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Create a {}; node and VMID are chosen unless given", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let lines: &[&str] = match kind.guest() {
            GuestKind::Qemu => &[
                "pvectl vm create --vmid 150 --name web-server --cores 4 --memory 8192 --start",
                "pvectl vm create --template debian-12 --name app-server --memory 4G",
                "pvectl vm create --name db --disk local-lvm:32 --net bridge=vmbr0 --onboot",
                "pvectl vm create --template debian-12 --name app --label tier=web --start",
                "pvectl vm create -f vm-config.json",
            ],
            GuestKind::Lxc => &[
                "pvectl container create --hostname web --template debian-12 --rootfs local-lvm:8",
                "pvectl container create --hostname db --template debian-12 --net bridge=vmbr0",
                "pvectl container create -f container.yaml",
            ],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let command = command
            .arg(file_arg("Read the guest, or several, from a JSON or YAML file with PVE's keys; - is stdin"))
            .arg(value("vmid", "VMID", "Its number; the next free one if none is given"))
            .arg(value("node", "NODE", "Its node; one with room if none is given"))
            .arg(value("pool", "POOL", "The pool it goes into"))
            .arg(value("storage", "STORAGE", "Where disks go that name no storage of their own"))
            .arg(switch("start", "Start it once it is made"));
        let command = match kind.guest() {
            GuestKind::Qemu => command
                .arg(value("template", "NAME", "Clone this VM template (name or VMID)"))
                .arg(switch("full", "Copy the template's disks whole instead of linking to them").requires("template")),
            GuestKind::Lxc => command.arg(
                value("template", "NAME", "OS template: a name (debian-12) of which the newest is taken, or a volume")
                    .conflicts_with("ostemplate"),
            ),
        };
        host_args(config_args(command, kind.guest(), config::Verb::Create), kind.guest(), config::Verb::Create)
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let files = read_file(matches)?;
        if files.is_none() && !matches.args_present() {
            return Err(Error::usage(format!("say what {} to create: flags, or -f FILE (see --help)", kind.noun)));
        }
        let manifests: Vec<Option<Manifest>> =
            files.map_or_else(|| vec![None], |files| files.into_iter().map(Some).collect());
        let typed = Typed::read(cx, matches, kind.guest(), config::Verb::Create)?;
        let mut requests = Vec::new();
        for manifest in &manifests {
            let mut request = request(kind.guest(), matches, &typed, manifest.as_ref())?;
            if request.check().is_err() {
                // A server of another version may have told what it takes.
                request.beyond.described = description::kept(cx).await.map(Arc::new);
                request.check().map_err(|error| at_line(error, manifest.as_ref(), text(matches, "file")))?;
            }
            requests.push(request);
        }
        if requests.iter().any(CreateRequest::overwrites) {
            require_somebody_to_confirm(cx)?;
        }
        let session = cx.session(Access::Write).await?;
        refuse_elsewhere(matches, &session)?;
        let mut plans = Vec::new();
        // One after the other: each takes a VMID and room that the next must not count on.
        for (mut request, manifest) in requests.into_iter().zip(&manifests) {
            default_node(&mut request, &session)?;
            let taken: Vec<Vmid> = plans.iter().map(|plan: &crate::ops::Plan| plan.guest.vmid).collect();
            let plan = session.ops.plan_create(&request, &taken).await;
            plans.push(plan.map_err(|error| at_line(error, manifest.as_ref(), text(matches, "file")))?);
        }
        carry_out(cx, &session, plans).await
    }
}

fn default_node(request: &mut CreateRequest, session: &Session) -> Result<()> {
    // A clone stays on its template's node unless somebody says otherwise now.
    if let (None, None, Some(node)) = (&request.node, &request.template, &session.default_node) {
        request.node = Some(NodeName::new(node.clone()).map_err(|error| Error::usage(error.to_string()))?);
    }
    Ok(())
}

fn request(kind: GuestKind, matches: &ArgMatches, typed: &Typed, file: Option<&Manifest>) -> Result<CreateRequest> {
    if let Some(other) = file.and_then(|file| file.kind).filter(|other| *other != kind) {
        return Err(Error::usage(format!("the file describes a {other}, and this command creates a {kind}")));
    }
    let usage = |error: crate::model::ParseIdError| Error::usage(error.to_string());
    let vmid = text(matches, "vmid").map(str::parse).transpose().map_err(usage)?;
    let node = text(matches, "node").map(NodeName::new).transpose().map_err(usage)?;
    let mut params = typed.over(file);
    for key in ["pool", "storage"] {
        if let Some(value) = text(matches, key) {
            params.set(key, value);
        }
    }
    Ok(CreateRequest {
        kind,
        vmid: vmid.or_else(|| file.and_then(|file| file.vmid)),
        node: node.or_else(|| file.and_then(|file| file.node.clone())),
        template: text(matches, "template").map(str::to_owned).or_else(|| file.and_then(|file| file.template.clone())),
        full: flag(matches, "full").then_some(true),
        start: flag(matches, "start") || file.is_some_and(|file| file.start == Some(true)),
        check: !flag(matches, "no-checks"),
        params,
        devices: typed.devices.clone(),
        labels: typed.labels.clone(),
        beyond: Beyond { forced: on_this_host(matches, typed.forced.clone())?, described: None },
    })
}
