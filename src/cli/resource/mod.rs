//! Kinds that are single things on a server: pools, storages, users, …; their verbs, made from an entry of a table.
//!
//! What the things are is in [`RESOURCES`](crate::ops::RESOURCES); here is how they look and which flags their verbs
//! have. What only one kind can do is in its own file among the kinds.

mod change;
mod delete;
mod flags;
mod help;
mod lines;
mod owner;
mod read;
mod write;

use clap::{Arg, Command};

pub(crate) use change::{carry_out, carry_out_asking, report_outcomes, run};
pub(crate) use flags::{flags_of, typed_params as params_of};
pub(crate) use lines::lines_of;
pub(crate) use read::people_page;
pub(crate) use write::unset_of;

use super::{
    print::{
        Heading,
        fields::{Field, headings_of},
    },
    verb::{Exit, Verb},
};
use crate::ops::{Naming, Resource};

/// Adds flags when the command that has them is built.
pub(crate) type Late = fn(Command) -> Command;

/// How a kind looks on the command line.
pub(crate) struct View {
    /// What it is.
    pub(crate) resource: &'static Resource,
    /// The columns of its list.
    pub(crate) columns: &'static [Field],
    /// What comes into help as a name.
    pub(crate) example: &'static str,
    /// What comes after the name where one is made, in help.
    pub(crate) making: &'static str,
    /// What comes after the name where one is changed, in help; empty where none can be changed.
    pub(crate) changing: &'static str,
    /// Whether the server gives a name to one that has none.
    pub(crate) is_named_by_server: bool,
    /// The flags, made when the verb is the one typed: those of one that is made, and of one that is changed.
    pub(crate) late: (Late, Late),
}

impl View {
    /// The columns of its list.
    pub(crate) fn headings(&self) -> Vec<Heading> {
        headings_of(self.columns)
    }

    /// `pool/prod`.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.resource.noun)
    }
}

/// What [`View::late`] is for a view: a deferred function cannot know by itself for which it is.
macro_rules! late {
    ($view:ident) => {
        (
            |command| crate::cli::resource::flags_of(command, &$view, crate::model::Method::Post),
            |command| crate::cli::resource::flags_of(command, &$view, crate::model::Method::Put),
        )
    };
}
pub(crate) use late;

pub(crate) struct List(pub(crate) &'static View);
pub(crate) struct Get(pub(crate) &'static View);
pub(crate) struct Describe(pub(crate) &'static View);
pub(crate) struct Create(pub(crate) &'static View);
pub(crate) struct Update(pub(crate) &'static View);
pub(crate) struct Delete(pub(crate) &'static View);

/// The verbs that every such kind has.
pub(crate) fn verbs(view: &'static View) -> Vec<Box<dyn Verb>> {
    let mut verbs: Vec<Box<dyn Verb>> = vec![Box::new(List(view))];
    verbs.extend(verbs_beside_list(view));
    verbs
}

/// The same for a kind whose list is its own.
pub(crate) fn verbs_beside_list(view: &'static View) -> Vec<Box<dyn Verb>> {
    let mut verbs: Vec<Box<dyn Verb>> = vec![Box::new(Get(view)), Box::new(Describe(view)), Box::new(Create(view))];
    if !view.changing.is_empty() {
        verbs.push(Box::new(Update(view)));
    }
    verbs.push(Box::new(Delete(view)));
    verbs
}

/// The id of the argument that names one to be made or changed: a parameter may be called `name`.
const NAME: &str = "resource-name";

fn name_arg(required: bool) -> Arg {
    let help = if required { "What it is called" } else { "What it is called; else the server gives it a name" };
    Arg::new(NAME).value_name("NAME").required(required).help(help)
}

/// Nothing for what there is one of. Positions move when one of them goes, so that each is named by itself.
fn names_arg(view: &View, required: bool) -> Option<Arg> {
    let noun = view.resource.noun;
    let arg = Arg::new("targets").required(required);
    match view.resource.naming {
        Naming::Name => {
            let help = format!("What a {noun} is called; several may be given");
            Some(arg.value_name("NAME").num_args(usize::from(required)..).help(help))
        }
        Naming::Position => Some(arg.value_name("POSITION").help("Its position in the list")),
        Naming::Single => None,
    }
}

/// Words with a blank between those that are there.
fn spaced(words: &[&str]) -> String {
    words.iter().copied().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
