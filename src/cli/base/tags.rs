//! `tag add|remove`, `lock` and `unlock`.

use async_trait::async_trait;
use clap::{ArgMatches, Command};

use super::{
    choose::{Meant, chosen_beside, paced},
    get::targets_arg,
    mutate::{change, mutate},
};
use crate::{
    cli::{
        cx::{Cx, text, texts},
        session::Access,
        verb::{Exit, Group, Kind, Verb, value},
    },
    model::{Error, GuestKind, Hint, Result},
    ops::{LOCK, TAG, TagRequest, UNLOCK, check_lock, check_tag},
};

pub(super) const GROUP: Group = Group {
    name: "tag",
    about: "Tags: added and taken away, the others stay",
    verbs: &[&Tag { adds: true }, &Tag { adds: false }],
};

/// One verb for both.
struct Tag {
    adds: bool,
}

#[async_trait(?Send)]
impl Verb for Tag {
    fn name(&self) -> &'static str {
        if self.adds { "add" } else { "remove" }
    }

    fn about(&self, kind: &Kind) -> String {
        match self.adds {
            true => format!("Add tags to {}", kind.plural),
            false => format!("Take tags from {}", kind.plural),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let (noun, verb) = (kind.noun, self.name());
        vec![
            format!("pvectl {noun} tag {verb} 100 old"),
            format!("pvectl {noun} tag {verb} old --selector app=web --dry-run"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        chosen_beside(command).mut_arg("targets", |arg| {
            arg.value_name("GUEST|TAG")
                .help("The guest (VMID, name, list, range), then the tags; only tags where guests are chosen")
        })
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let mut words = texts(matches, "targets");
        let guests: Vec<String> =
            if Meant::is_chosen(matches) { Vec::new() } else { words.drain(..words.len().min(1)).collect() };
        let tags: Vec<String> = words.iter().flat_map(|word| word.split([',', ';'])).map(str::to_owned).collect();
        let how = format!("pvectl {} tag {} 100 TAG", kind.noun, self.name());
        if tags.is_empty() {
            return Err(Error::usage("say which tags").with_hint(Hint::Text(how)));
        }
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        if guests.is_empty()
            && let Some(number) = tags.iter().find(|tag| tag.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(Error::usage(format!("`{number}` looks like a guest, and others are chosen by the flags"))
                .with_hint(Hint::Text("name guests, or choose them, but not both".into())));
        }
        let meant = Meant::of(&guests, matches, &format!("say which {}, and then the tags", kind.noun))?;
        let request = match self.adds {
            true => TagRequest { add: tags, ..TagRequest::default() },
            false => TagRequest { remove: tags, ..TagRequest::default() },
        };
        let mut session = cx.session(Access::Write).await?;
        session.options = paced(matches, session.options)?;
        session.together = meant.together(false);
        let found = meant.find(cx, &session, kind).await?;
        let plan = async |found: &_| session.ops.plan_tags(found, &request).await;
        mutate(cx, &session, TAG, &found, plan).await
    }
}

/// What a backup leaves behind while it is at work: others leave a guest alone that has it.
const USUAL: &str = "backup";

pub(super) struct Lock;

#[async_trait(?Send)]
impl Verb for Lock {
    fn name(&self) -> &'static str {
        LOCK.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Lock {}, so that nobody starts, changes, moves or removes them; for root@pam by password", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} lock 100 --dry-run", kind.noun), format!("pvectl {} lock 100 --as migrate", kind.noun)]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let sort = match kind.guest() {
            GuestKind::Qemu => "What is said to hold it: backup, clone, create, migrate, rollback, snapshot, …",
            GuestKind::Lxc => "What is said to hold it: backup, create, disk, fstrim, migrate, rollback, snapshot, …",
        };
        command.arg(targets_arg(true)).arg(value("as", "LOCK", sort).default_value(USUAL))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let lock = text(matches, "as").unwrap_or(USUAL);
        check_lock(kind.guest(), lock)?;
        change(cx, kind, matches, LOCK, async |session, found| session.ops.plan_lock(found, lock).await).await
    }
}

pub(super) struct Unlock;

#[async_trait(?Send)]
impl Verb for Unlock {
    fn name(&self) -> &'static str {
        UNLOCK.name
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Take locks from {} that a task has left behind; for root@pam by password", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} unlock 100 --dry-run", kind.noun)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        change(cx, kind, matches, UNLOCK, async |session, found| session.ops.plan_unlock(found).await).await
    }
}
