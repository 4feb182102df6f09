//! `resize-disk` and `template`: single calls on guests that are there.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use super::{get::targets_arg, mutate::mutate};
use crate::{
    cli::{
        cx::{Cx, text, texts, wait_lock_arg},
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{GuestKind, Result},
    ops::{Growth, RESIZE_DISK, TEMPLATE, Target},
};

pub(super) struct ResizeDisk;

#[async_trait(?Send)]
impl Verb for ResizeDisk {
    fn name(&self) -> &'static str {
        RESIZE_DISK.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Make a disk of {} larger; no disk becomes smaller", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let disk = if kind.guest() == GuestKind::Qemu { "scsi0" } else { "rootfs" };
        vec![
            format!("pvectl {} resize-disk 100 {disk} +10G", kind.noun),
            format!("pvectl {} resize-disk 100 {disk} 50G --dry-run", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let target = "VMID, name, list (150,151), range (150-199) or NODE/VMID";
        command
            .arg(Arg::new("target").value_name("TARGET").required(true).help(target))
            .arg(Arg::new("key").value_name("DISK").required(true).help("The disk's key in the configuration"))
            .arg(
                Arg::new("size")
                    .value_name("SIZE")
                    .required(true)
                    .help("How large it is to be (50G), or by how much it grows (+10G)"),
            )
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (disk, size) = (text(matches, "key").unwrap_or_default(), text(matches, "size").unwrap_or_default());
        let growth = Growth::parse(size)?;
        let targets = Target::parse_all(&texts(matches, "target"))?;
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let plan = async |found: &_| session.ops.plan_resize_disk(found, disk, growth).await;
        mutate(cx, &session, RESIZE_DISK, &found, plan).await
    }
}

pub(super) struct Template;

#[async_trait(?Send)]
impl Verb for Template {
    fn name(&self) -> &'static str {
        TEMPLATE.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Make templates of {}: they never start again, and others are made from them", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let mut lines = vec![format!("pvectl {} template 100", kind.noun)];
        if kind.guest() == GuestKind::Qemu {
            lines.push("pvectl vm create --template 100 --name app --start".to_owned());
        }
        lines
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true)).arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let targets = Target::parse_all(&texts(matches, "targets"))?;
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let plan = async |found: &_| session.ops.plan_template(found).await;
        mutate(cx, &session, TEMPLATE, &found, plan).await
    }
}
