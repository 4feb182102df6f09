//! `move-disk`, `detach`, `reassign`, `import-disk`: disks that go elsewhere, and one that comes.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use super::{
    mutate::{mutate, mutate_and},
    touched::Touched,
};
use crate::{
    cli::{
        cx::{Cx, flag, text, wait_lock_arg},
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{GuestKind, Result},
    ops::{
        DETACH, IMPORT_DISK, ImportRequest, MOVE_DISK, MoveDiskRequest, Outcome, Plan, REASSIGN, Resolved, Target,
        Words,
    },
};

/// What a disk of a kind is called in examples.
fn example(kind: &Kind) -> &'static str {
    if kind.guest() == GuestKind::Qemu { "scsi1" } else { "mp0" }
}

fn target() -> Arg {
    Arg::new("target").value_name("GUEST").required(true).help("VMID, name or NODE/VMID")
}

fn key() -> Arg {
    Arg::new("key").value_name("DISK").required(true).help("The disk's key in the configuration")
}

fn format_arg() -> Arg {
    value("format", "FORMAT", "What it is to be there; as before if nothing is said")
        .value_parser(PossibleValuesParser::new(["raw", "qcow2", "vmdk"]))
}

/// The guests of a verb on a disk of theirs.
async fn found(session: &Session, kind: &Kind, matches: &ArgMatches) -> Result<Vec<Resolved>> {
    let targets = Target::parse_all(&[text(matches, "target").unwrap_or_default()])?;
    session.ops.find(&targets, kind.guest()).await
}

/// Carries a change of a configuration out, and tells what of it waits for a start.
async fn change(
    cx: &Cx,
    session: &Session,
    words: Words,
    found: &[Resolved],
    plan: impl AsyncFn(&Resolved) -> Result<Plan>,
) -> Result<Exit> {
    let touched = Touched::default();
    let noted = async |found: &Resolved| {
        let plan = plan(found).await?;
        touched.note(found, &plan);
        Ok(plan)
    };
    let tell = async |outcomes: &[Outcome]| touched.tell(cx, session, outcomes).await;
    mutate_and(cx, session, words, found, noted, tell).await
}

pub(super) struct MoveDisk;

#[async_trait(?Send)]
impl Verb for MoveDisk {
    fn name(&self) -> &'static str {
        MOVE_DISK.name
    }

    fn about(&self, kind: &Kind) -> String {
        match kind.guest() {
            GuestKind::Qemu => "Put a disk into another storage, while the VM runs if it does".to_owned(),
            GuestKind::Lxc => "Put a volume of containers that are off into another storage".to_owned(),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let disk = if kind.guest() == GuestKind::Qemu { "scsi0" } else { "rootfs" };
        vec![
            format!("pvectl {} move-disk 100 {disk} fast", kind.noun),
            format!("pvectl {} move-disk 100 {disk} fast --delete --dry-run", kind.noun),
        ]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let command = command
            .arg(target().help("VMID, name, list (150,151), range (150-199) or NODE/VMID"))
            .arg(key())
            .arg(Arg::new("storage").value_name("STORAGE").required(true).help("Where it goes"))
            .arg(switch("delete", "Remove the old copy; else it stays as an unused disk"))
            .arg(value("bwlimit", "KIB", "No faster than so many KiB a second").value_parser(value_parser!(u64)))
            .arg(wait_lock_arg());
        match kind.guest() {
            GuestKind::Qemu => command.arg(format_arg()),
            GuestKind::Lxc => command,
        }
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let own = |name| text(matches, name).unwrap_or_default().to_owned();
        let format = matches.try_get_one::<String>("format").ok().flatten().cloned();
        let request = MoveDiskRequest {
            disk: own("key"),
            storage: own("storage"),
            format,
            delete: flag(matches, "delete"),
            bwlimit: matches.get_one("bwlimit").copied(),
        };
        let session = cx.session(Access::Write).await?;
        let found = found(&session, kind, matches).await?;
        let plan = async |found: &_| session.ops.plan_move_disk(found, &request).await;
        mutate(cx, &session, MOVE_DISK, &found, plan).await
    }
}

pub(super) struct Detach;

#[async_trait(?Send)]
impl Verb for Detach {
    fn name(&self) -> &'static str {
        DETACH.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Take a disk from a {}; it is kept as unused, and nothing is destroyed", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} detach 100 {}", kind.noun, example(kind))]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target()).arg(key()).arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let key = text(matches, "key").unwrap_or_default();
        let session = cx.session(Access::Write).await?;
        let found = found(&session, kind, matches).await?;
        change(cx, &session, DETACH, &found, async |found| session.ops.plan_detach(found, key).await).await
    }
}

pub(super) struct Reassign;

#[async_trait(?Send)]
impl Verb for Reassign {
    fn name(&self) -> &'static str {
        REASSIGN.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Give a disk of a {} to another on the same node", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let disk = example(kind);
        let first = format!("pvectl {} reassign 100 {disk} --to 101", kind.noun);
        // What a container has unused stays so with the other.
        let way = if kind.guest() == GuestKind::Qemu { " --as scsi1" } else { "" };
        vec![first, format!("pvectl {} reassign 100 unused0 --to 101{way}", kind.noun)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target())
            .arg(key())
            .arg(value("to", "GUEST", "Who gets it: VMID or name").required(true))
            .arg(value("as", "DISK", "Its key there; the same, or the lowest free one"))
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let [key, to] = ["key", "to"].map(|name| text(matches, name).unwrap_or_default());
        let session = cx.session(Access::Write).await?;
        let found = found(&session, kind, matches).await?;
        let to = session.ops.find_one(to, kind.guest()).await?;
        let plan = async |found: &_| session.ops.plan_reassign(found, key, &to, text(matches, "as")).await;
        mutate(cx, &session, REASSIGN, &found, plan).await
    }
}

pub(super) struct ImportDisk;

#[async_trait(?Send)]
impl Verb for ImportDisk {
    fn name(&self) -> &'static str {
        IMPORT_DISK.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Give a {} a new disk that is made from an image or from another disk", kind.noun)
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![
            "pvectl vm import-disk 100 local:import/debian-12.qcow2 --storage local-lvm".to_owned(),
            "pvectl vm import-disk 100 local-lvm:vm-103-disk-0 --storage local-lvm --disk scsi5".to_owned(),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(target())
            .arg(
                Arg::new("source")
                    .value_name("SOURCE")
                    .required(true)
                    .help("A volume, or a path on the VM's node, which only root@pam may name"),
            )
            .arg(value("storage", "STORAGE", "Where the disk goes").required(true))
            .arg(
                value("disk", "DISK", "Its key (scsi5), or the bus alone for the lowest free one")
                    .default_value("scsi"),
            )
            .arg(format_arg().help("What it is to be, where the storage leaves a choice"))
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let own = |name| text(matches, name).unwrap_or_default().to_owned();
        let format = text(matches, "format").map(str::to_owned);
        let request = ImportRequest { source: own("source"), storage: own("storage"), key: own("disk"), format };
        let session = cx.session(Access::Write).await?;
        let found = found(&session, kind, matches).await?;
        change(cx, &session, IMPORT_DISK, &found, async |found| session.ops.plan_import_disk(found, &request).await)
            .await
    }
}
