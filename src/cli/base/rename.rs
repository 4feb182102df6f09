//! `rename`: another name for one guest.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use super::mutate::mutate;
use crate::{
    cli::{
        cx::{Cx, text, wait_lock_arg},
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Error, Result},
    ops::{RENAME, Target},
};

pub(super) struct Rename;

#[async_trait(?Send)]
impl Verb for Rename {
    fn name(&self) -> &'static str {
        RENAME.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Give a {} another name; it may run meanwhile", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} rename web-1 production-api", kind.noun),
            format!("pvectl {} rename 100 production-api --dry-run", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command
            .arg(Arg::new("target").value_name("TARGET").required(true).help("VMID, name, or NODE/VMID"))
            .arg(Arg::new("name").value_name("NAME").required(true).help("Its new name, a DNS name"))
            .arg(wait_lock_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let target = text(matches, "target").unwrap_or_default();
        let name = text(matches, "name").unwrap_or_default();
        let targets = Target::parse_all(&[target])?;
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        if found.len() > 1 {
            return Err(Error::usage(format!(
                "`{target}` names {} {}, and a name is for one",
                found.len(),
                kind.plural
            )));
        }
        let plan = async |found: &_| session.ops.plan_rename(found, name).await;
        mutate(cx, &session, RENAME, &found, plan).await
    }
}
