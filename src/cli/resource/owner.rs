//! Whose a thing is: `--guest 101`, `--node pve1`, `--group web`, or, below the owner's own word, what stands first.
//!
//! Which sorts of owners there are is in the table of things; here they are arguments.

use clap::{Arg, ArgMatches, Command};

use super::View;
use crate::{
    cli::{
        cx::texts,
        session::Session,
        verb::{Kind, value},
    },
    model::{Error, Hint, NodeName, Result},
    ops::{Naming, Reach, Scope, Sort, Target, resolve_either},
};

// The ids of the arguments: parameters of things may be called `node` and `group`.
const NODE: &str = "owner-node";
const GUEST: &str = "owner-guest";
const GROUP: &str = "owner-group";
const INSIDE: &str = "owner-set";

impl View {
    /// Adds the arguments that say whose it is. Below `node` the node stands first, elsewhere it is a flag.
    pub(crate) fn owner_args(&self, command: Command, kind: &Kind) -> Command {
        let of = self.resource;
        let mut args: Vec<Arg> = Vec::new();
        if of.is_of(Reach::Node) {
            args.push(match kind.noun {
                "node" => Arg::new(NODE).value_name("NODE").required(true).help("The node's name"),
                _ => flag(NODE, "node", "NODE", "Of this node"),
            });
        }
        if of.is_of(Reach::Vm) || of.is_of(Reach::Container) {
            args.push(flag(GUEST, "guest", "GUEST", "Of this VM or container, by VMID or name"));
        }
        if of.is_of(Reach::Group) {
            args.push(flag(GROUP, "group", "GROUP", "Of this security group"));
        }
        let alone: Vec<_> = args.iter().map(|arg| arg.get_id().clone()).collect();
        args = args
            .into_iter()
            .map(|arg| {
                let others = alone.iter().filter(|id| *id != arg.get_id()).cloned().collect::<Vec<_>>();
                arg.conflicts_with_all(others)
            })
            .collect();
        if let Some((word, _)) = of.inside {
            args.push(flag(INSIDE, word, "NAME", "The set that it is in").required(true));
        }
        command.args(args)
    }

    /// The sort of thing, as the owner that was named has it; the cluster's if none was.
    pub(crate) async fn sort(&self, session: &Session, matches: &ArgMatches) -> Result<Sort> {
        let of = self.resource;
        session.ops.require_server(of.plural)?;
        let given = |id: &str| matches.try_get_one::<String>(id).ok().flatten();
        let mut scope = Scope::default();
        if let Some(node) = given(NODE) {
            scope = Scope::node(&session.ops.require_node(node).await?.node);
        } else if let Some(guest) = given(GUEST) {
            let guests = session.ops.backend().guests().await?;
            let found = match Target::parse_all(&[guest])?.as_slice() {
                [one] => resolve_either(one, &guests)?,
                _ => Vec::new(),
            };
            let [one] = found.as_slice() else {
                return Err(Error::usage(format!("`{guest}` is more than one guest, and --guest takes one")));
            };
            scope = Scope::guest(&one.guest);
        } else if let Some(group) = given(GROUP) {
            scope = Scope::group(group);
        } else if let Some(node) = typed_node(of.home, matches) {
            scope = Scope::node(&session.ops.require_node(&node).await?.node);
        } else if of.home == Reach::Node {
            scope = Scope::node(&only_node(session, of.plural).await?);
        }
        if let (Some(inside), Some(set)) = (of.inside, given(INSIDE)) {
            scope = scope.inside(inside, set);
        }
        Sort::new(of, scope)
    }

    /// The names that were typed; of what there is one of, that one.
    pub(super) fn names(&self, matches: &ArgMatches, sort: &Sort) -> Vec<String> {
        match self.resource.naming {
            Naming::Single => vec![String::new()],
            _ => texts(matches, "targets").iter().map(|name| self.bare(name, sort).to_owned()).collect(),
        }
    }

    /// A name without what says whose it is, which is how lists print it with `-o name`.
    pub(super) fn bare<'n>(&self, name: &'n str, sort: &Sort) -> &'n str {
        let whose = sort.full_name("");
        match name.strip_prefix(&whose).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) if !whose.is_empty() => rest,
            _ => name,
        }
    }
}

/// The node before a name, as lists print it: `pve1/vmbr0`.
fn typed_node(home: Reach, matches: &ArgMatches) -> Option<String> {
    let ids = ["targets", super::NAME].into_iter();
    let mut typed = ids.filter_map(|id| matches.try_get_many::<String>(id).ok().flatten()?.next());
    let (node, _) = typed.find_map(|name| name.split_once('/'))?;
    (home == Reach::Node).then(|| node.to_owned())
}

/// The node of a cluster that has one.
async fn only_node(session: &Session, plural: &str) -> Result<NodeName> {
    let nodes = session.ops.backend().nodes().await?;
    match nodes.as_slice() {
        [one] => Ok(one.node.clone()),
        all => {
            let names = all.iter().map(|node| node.node.to_string()).collect::<Vec<_>>().join(", ");
            Err(Error::usage(format!("say of which node the {plural} are"))
                .with_hint(Hint::Text(format!("--node NODE, which is one of {names}"))))
        }
    }
}

fn flag(id: &'static str, long: &'static str, of: &'static str, help: &'static str) -> Arg {
    value(long, of, help).id(id).display_order(0)
}
