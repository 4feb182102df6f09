//! The firewall's entries of the table: rules, options, groups, sets and aliases, of whomever has them.

use serde_json::{Map, Value};

use super::{
    Naming, Paths, Reach, Resource, ResourcePlan, Sort, plain,
    table::{rows_of, word},
    uses::{Tie, Use},
};
use crate::{
    model::{Error, Method, Params, Result},
    ops::{Change, Ops},
};

/// The places of something that the cluster, VMs and containers have, below `/firewall`.
macro_rules! guests {
    ($list:literal, $made:literal, $one:literal) => {
        &[
            (Reach::Vm, paths!("/nodes/{node}/qemu/{vmid}/firewall", $list, $made, $one)),
            (Reach::Container, paths!("/nodes/{node}/lxc/{vmid}/firewall", $list, $made, $one)),
        ]
    };
}
macro_rules! paths {
    ($base:literal, $list:literal, $made:literal, $one:literal) => {
        Paths { list: concat!($base, $list), made: concat!($base, $made), one: concat!($base, $one) }
    };
}

pub(super) const RULE: Resource = Resource {
    naming: Naming::Position,
    ours: &["moveto"],
    elsewhere: &[
        (Reach::Node, paths!("/nodes/{node}/firewall", "/rules", "/rules", "/rules/{pos}")),
        (Reach::Vm, paths!("/nodes/{node}/qemu/{vmid}/firewall", "/rules", "/rules", "/rules/{pos}")),
        (Reach::Container, paths!("/nodes/{node}/lxc/{vmid}/firewall", "/rules", "/rules", "/rules/{pos}")),
        (Reach::Group, paths!("/cluster/firewall/groups/{group}", "", "", "/{pos}")),
    ],
    ..Resource::new(
        "firewall-rule",
        "firewall rules",
        "/cluster/firewall/rules",
        "/cluster/firewall/rules/{pos}",
        &["pos"],
    )
};

pub(super) const OPTIONS: Resource = Resource {
    naming: Naming::Single,
    elsewhere: &[
        (Reach::Node, paths!("/nodes/{node}/firewall", "/options", "/options", "/options")),
        (Reach::Vm, paths!("/nodes/{node}/qemu/{vmid}/firewall", "/options", "/options", "/options")),
        (Reach::Container, paths!("/nodes/{node}/lxc/{vmid}/firewall", "/options", "/options", "/options")),
    ],
    ..Resource::new("firewall-options", "firewall options", SETTINGS, SETTINGS, &[])
};
const SETTINGS: &str = "/cluster/firewall/options";

pub(super) const GROUP: Resource = Resource {
    ours: &["rename"],
    shape: |answer| of_rows("rules", answer),
    uses: &[Use {
        read: ("", &[]),
        tie: Tie::Holds,
        way_out: "delete its rules first: pvectl firewall rule delete POSITION --group {name}",
        find: |_, group| match group["rules"].as_array().map_or(0, Vec::len) {
            0 => Vec::new(),
            1 => vec!["its rule".to_owned()],
            many => vec![format!("its {many} rules")],
        },
    }],
    ..Resource::new(
        "firewall-group",
        "security groups",
        "/cluster/firewall/groups",
        "/cluster/firewall/groups/{group}",
        &["group"],
    )
};

pub(super) const IPSET: Resource = Resource {
    ours: &["rename"],
    shape: |answer| of_rows("entries", answer),
    elsewhere: guests!("/ipset", "/ipset", "/ipset/{name}"),
    uses: &[Use {
        read: ("", &[]),
        tie: Tie::Holds,
        way_out: "delete it with its entries: --force",
        find: |_, set| rows_of(&set["entries"], |entry| format!("its entry {}", word(entry, "cidr"))),
    }],
    ..Resource::new("firewall-ipset", "IP sets", "/cluster/firewall/ipset", "/cluster/firewall/ipset/{name}", &["name"])
};

pub(super) const ENTRY: Resource = Resource {
    inside: Some(("ipset", "name")),
    kept: &[&["comment"], &["nomatch"]],
    elsewhere: guests!("/ipset/{name}", "/ipset/{name}", "/ipset/{name}/{cidr}"),
    ..Resource::new(
        "firewall-entry",
        "entries of IP sets",
        "/cluster/firewall/ipset/{name}",
        "/cluster/firewall/ipset/{name}/{cidr}",
        &["cidr"],
    )
};

pub(super) const ALIAS: Resource = Resource {
    kept: &[&["comment"]],
    elsewhere: guests!("/aliases", "/aliases", "/aliases/{name}"),
    ..Resource::new(
        "firewall-alias",
        "aliases of addresses",
        "/cluster/firewall/aliases",
        "/cluster/firewall/aliases/{name}",
        &["name"],
    )
};

impl Ops {
    /// Plans to move a rule to where it is to stand afterwards. The server takes before which rule it is to be put, as
    /// the list is now.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for positions that there are not.
    pub async fn plan_move_rule(&self, sort: &Sort, from: usize, to: usize) -> Result<ResourcePlan> {
        let rows = self.resources(sort).await?;
        if let Some(missing) = [from, to].into_iter().find(|at| *at >= rows.len()) {
            return Err(sort.missing(&missing.to_string(), rows.iter().map(|row| sort.of.name_of(row)).collect()));
        }
        let name = from.to_string();
        let mut params = sort.named(&name)?;
        params.push("moveto", if to > from { to + 1 } else { to });
        params.extend(plain(&rows[from]["digest"]).map(|digest| ("digest", digest)));
        let target = (Method::Put, sort.paths().one);
        let (noun, full) = (sort.of.noun, sort.full_name(&name));
        let mut plan = self.plan_resource_call("move", noun, &full, target, (params, &Params::new())).await?;
        if from == to {
            plan.call = None;
            plan.notes.push("it stands there already".into());
            return Ok(plan);
        }
        plan.changes.push(Change { key: "pos".into(), before: Some(name), after: Some(to.to_string()) });
        Ok(plan)
    }

    /// Plans to rename a security group or a set, or to say something else of it: both are asked for where new ones are
    /// made.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) when there is none of this name.
    pub async fn plan_rename_set(
        &self,
        sort: &Sort,
        name: &str,
        (new, comment): (Option<&str>, Option<&str>),
    ) -> Result<ResourcePlan> {
        let rows = self.resources(sort).await?;
        let Some(row) = rows.iter().find(|row| sort.of.name_of(row) == name) else {
            return Err(match self.resource(sort, name).await {
                Err(error) => error,
                Ok(_) => Error::not_found(format!("no such {}: `{name}`", sort.of.noun)),
            });
        };
        let mut params = sort.named(new.unwrap_or(name))?;
        params.push("rename", name);
        params.extend(comment.map(|comment| ("comment", comment)));
        params.extend(plain(&row["digest"]).map(|digest| ("digest", digest)));
        let target = (Method::Post, sort.paths().made);
        let (noun, full) = (sort.of.noun, sort.full_name(name));
        let mut plan = self.plan_resource_call("update", noun, &full, target, (params, &Params::new())).await?;
        let have = plain(&row["comment"]);
        if let Some(comment) = comment.filter(|comment| Some(*comment) != have.as_deref()) {
            plan.changes.push(Change { key: "comment".into(), before: have, after: Some(comment.to_owned()) });
        }
        if let Some(new) = new.filter(|new| *new != name) {
            plan.changes.push(Change {
                key: sort.of.keys[0].into(),
                before: Some(name.to_owned()),
                after: Some(new.to_owned()),
            });
        }
        if plan.changes.is_empty() {
            plan.call = None;
            plan.notes.push("nothing to change".into());
        }
        Ok(plan)
    }
}

/// The answer about one that has rows is its rows alone.
fn of_rows(key: &str, answer: Value) -> Value {
    match answer {
        Value::Array(rows) => Value::Object(Map::from_iter([(key.to_owned(), Value::Array(rows))])),
        other => other,
    }
}
