//! `tag add|remove` and `unlock`.

use async_trait::async_trait;
use clap::{ArgMatches, Command};

use super::{
    choose::{Meant, chosen_beside, paced},
    get::targets_arg,
    mutate::mutate,
};
use crate::{
    cli::{
        cx::{Cx, texts},
        session::Access,
        verb::{Exit, Group, Kind, Verb},
    },
    model::{Error, Hint, Result},
    ops::{TAG, TagRequest, Target, UNLOCK, check_tag},
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
        let targets = Target::parse_all(&texts(matches, "targets"))?;
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let plan = async |found: &_| session.ops.plan_unlock(found).await;
        mutate(cx, &session, UNLOCK, &found, plan).await
    }
}
