//! `clone` and `cp`: guests made from others. The second is a full copy with a name of its own, and starts.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use super::mutate::{carry_out, unlocked};
use crate::{
    cli::{
        cx::{Cx, flag, text, texts, wait_lock_arg},
        session::Access,
        verb::{Exit, Kind, Verb, switch, value},
    },
    model::{Error, GuestKind, Hint, NodeName, Result},
    ops::{CLONE, COPY, CloneRequest, Target},
};

/// One verb for both: whether the copy starts.
pub(super) struct Clone {
    pub(super) starts: bool,
}

impl Clone {
    /// Whether the disks of the copy may be of another format: what only a VM's are.
    fn takes_format(&self, kind: &Kind) -> bool {
        !self.starts && kind.guest() == GuestKind::Qemu
    }
}

#[async_trait(?Send)]
impl Verb for Clone {
    fn name(&self) -> &'static str {
        if self.starts { COPY.name } else { CLONE.name }
    }

    fn about(&self, kind: &Kind) -> String {
        let noun = kind.noun;
        match self.starts {
            true => format!("Copy a {noun} whole, under a name of its own, and start the copy"),
            false => format!("Make a {noun} from another; it is not started"),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        match self.starts {
            true => vec![format!("pvectl {noun} cp web"), format!("pvectl {noun} cp web web-test --storage local-lvm")],
            false => vec![
                format!("pvectl {noun} clone 9000 web-2"),
                format!("pvectl {noun} clone 9000 web-2 --full --vmid 150"),
                format!("pvectl {noun} clone web web-old --snapname before-upgrade --full"),
            ],
        }
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let name = match (self.starts, kind.guest()) {
            (true, _) => "The copy's name; else that of the source with -copy, -copy-2, …",
            (false, GuestKind::Qemu) => "The clone's name; else the server's choice, Copy-of-VM-…",
            (false, GuestKind::Lxc) => "The clone's host name; else the server's choice, Copy-of-CT-…",
        };
        let command = command
            .arg(Arg::new("source").value_name("SOURCE").required(true).help("VMID, name or NODE/VMID"))
            .arg(Arg::new("name").value_name("NAME").help(name))
            .arg(value("name-flag", "NAME", "The same, by a flag").long("name").conflicts_with("name"))
            .arg(value("vmid", "VMID", "Its number; the next free one if none is given"))
            .arg(value("target", "NODE", "Its node, which needs storage that both have; else that of the source"))
            .arg(value("storage", "STORAGE", "Where its disks go; else beside those of the source"))
            .arg(wait_lock_arg())
            .arg(value("snapname", "SNAPSHOT", "Copy the source as it was in this snapshot").visible_alias("snapshot"))
            .arg(value("pool", "POOL", "The pool it goes into"))
            .arg(value("description", "TEXT", "A text for people"));
        if self.starts {
            return command;
        }
        let command = command.arg(switch("full", "Copy all data; what is done unless the source is a template")).arg(
            switch("linked", "Keep only what differs from the template, which has to stay").conflicts_with("full"),
        );
        let format = "What the disks of a full clone are to be, raw or qcow2; else as those of the source";
        match self.takes_format(kind) {
            true => command.arg(value("format", "FORMAT", format).conflicts_with("linked")),
            false => command,
        }
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let usage = |error: crate::model::ParseIdError| Error::usage(error.to_string());
        let owned = |name: &str| text(matches, name).map(str::to_owned);
        let full = match self.starts {
            true => Some(true),
            false if flag(matches, "full") => Some(true),
            false => flag(matches, "linked").then_some(false),
        };
        let request = CloneRequest {
            name: owned("name").or_else(|| owned("name-flag")),
            vmid: text(matches, "vmid").map(str::parse).transpose().map_err(usage)?,
            full,
            target: text(matches, "target").map(NodeName::new).transpose().map_err(usage)?,
            storage: owned("storage"),
            format: if self.takes_format(kind) { owned("format") } else { None },
            snapshot: owned("snapname"),
            pool: owned("pool"),
            description: owned("description"),
            start: self.starts,
        };
        let targets = Target::parse_all(&texts(matches, "source"))?;
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let [source] = found.as_slice() else {
            return Err(Error::usage(format!("`{}` takes one {} at a time", self.name(), kind.noun))
                .with_hint(Hint::Text("each copy wants a name and a number of its own".into())));
        };
        let plan = unlocked(cx, &session, source, async || session.ops.plan_clone(source, &request).await).await?;
        carry_out(cx, &session, vec![plan]).await
    }
}
