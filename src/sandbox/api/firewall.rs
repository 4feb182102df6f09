//! Rules, options and security groups of the firewall, of the cluster, nodes and guests.
//!
//! Sets and aliases are in [`firewall_sets`](super::firewall_sets). The words for what is missing and what is in the way
//! are the server's as far as they are recorded.

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route, index};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::firewall::{Firewall, Group, Keys, digest},
    server::Fault,
};

macro_rules! routes {
    ($($base:literal),*) => {
        &[
            $(
                (Get, concat!($base, "/rules"), rules),
                (Post, concat!($base, "/rules"), create),
                (Get, concat!($base, "/rules/{pos}"), rule),
                (Put, concat!($base, "/rules/{pos}"), update),
                (Delete, concat!($base, "/rules/{pos}"), remove),
                (Get, concat!($base, "/options"), options),
                (Put, concat!($base, "/options"), set_options),
            )*
            (Get, "/cluster/firewall", |_| Ok(index("name", CLUSTER))),
            (Get, "/nodes/{node}/firewall", |context| context.node().map(|_| index("name", NODE))),
            (Get, "/nodes/{node}/qemu/{vmid}/firewall", |context| context.guest().map(|_| index("name", GUEST))),
            (Get, "/nodes/{node}/lxc/{vmid}/firewall", |context| context.guest().map(|_| index("name", GUEST))),
            (Get, "/cluster/firewall/macros", macros),
            (Get, "/nodes/{node}/firewall/log", log),
            (Get, "/nodes/{node}/qemu/{vmid}/firewall/log", log),
            (Get, "/nodes/{node}/lxc/{vmid}/firewall/log", log),
            (Get, "/cluster/firewall/groups", groups),
            (Post, "/cluster/firewall/groups", create_group),
            (Get, "/cluster/firewall/groups/{group}", rules),
            (Delete, "/cluster/firewall/groups/{group}", remove_group),
            (Post, "/cluster/firewall/groups/{group}", create),
            (Get, "/cluster/firewall/groups/{group}/{pos}", rule),
            (Put, "/cluster/firewall/groups/{group}/{pos}", update),
            (Delete, "/cluster/firewall/groups/{group}/{pos}", remove),
        ]
    };
}

pub(super) const TABLE: &[Route] = routes!(
    "/cluster/firewall",
    "/nodes/{node}/firewall",
    "/nodes/{node}/qemu/{vmid}/firewall",
    "/nodes/{node}/lxc/{vmid}/firewall"
);

const CLUSTER: &[&str] = &["aliases", "rules", "options", "groups", "ipset", "macros", "refs"];
const NODE: &[&str] = &["rules", "options", "log"];
const GUEST: &[&str] = &["rules", "aliases", "ipset", "refs", "options", "log"];

/// Some of the macros that a server knows.
const MACROS: &[(&str, &str)] = &[
    ("BitTorrent", "BitTorrent traffic for BitTorrent 3.1 and earlier"),
    ("Ceph", "Ceph Storage Cluster traffic (Ceph Monitors, OSD & MDS Daemons)"),
    ("DNS", "Domain Name System traffic (upd and tcp)"),
    ("HTTP", "Hypertext Transfer Protocol (WWW)"),
    ("HTTPS", "Hypertext Transfer Protocol (WWW) over SSL"),
    ("Mail", "Mail traffic (SMTP, SMTPS, Submission)"),
    ("MySQL", "MySQL server"),
    ("NTP", "Network Time Protocol (ntpd)"),
    ("Ping", "ICMP echo request"),
    ("PostgreSQL", "PostgreSQL server"),
    ("SMTP", "Simple Mail Transfer Protocol"),
    ("SSH", "Secure shell traffic"),
    ("Web", "WWW traffic (HTTP and HTTPS)"),
];

/// Parameters that are nothing a rule or a file has.
const OTHER: &[&str] = &["node", "vmid", "group", "pos", "moveto", "digest", "delete"];

/// Whose file a request is about: the key under which it is kept.
pub(super) fn owner(context: &Context<'_>) -> Result<String, Fault> {
    let template: &str = context.request.template;
    if template.starts_with("/cluster") {
        return Ok("cluster".to_owned());
    }
    if template.contains("{vmid}") {
        return context.guest().map(|guest| format!("guest {}", guest.vmid));
    }
    context.node().map(|node| format!("node {node}"))
}

/// The file of the request's owner.
pub(super) fn file(context: &Context<'_>) -> Result<(String, Firewall), Fault> {
    let owner = owner(context)?;
    let file = context.world.firewalls.get(owner.as_str()).cloned().unwrap_or_default();
    Ok((owner, file))
}

/// Changes the file of the request's owner, or leaves it as it is.
pub(super) fn edit(
    context: &mut Context<'_>,
    change: impl FnOnce(&Context<'_>, &mut Firewall) -> Result<(), Fault>,
) -> Result<Reply, Fault> {
    let (owner, mut file) = file(context)?;
    change(context, &mut file)?;
    context.world.firewalls.insert(owner, file);
    Ok(Reply::null())
}

/// The rules that a request is about: those of a group, or of the owner.
fn rules_in<'f>(context: &Context<'_>, file: &'f mut Firewall) -> Result<&'f mut Vec<Keys>, Fault> {
    match context.request.template.contains("{group}") {
        false => Ok(&mut file.rules),
        true => {
            let name = context.need("group")?;
            let group = file.groups.get_mut(name);
            Ok(&mut group.ok_or_else(|| Fault::die(format!("no such security group '{name}'")))?.rules)
        }
    }
}

/// A value as it goes over the wire.
pub(super) fn wire(key: &str, value: &str) -> Value {
    const TEXTS: [&str; 3] = ["dport", "sport", "comment"];
    match value.parse::<u64>() {
        Ok(number) if !TEXTS.contains(&key) => number.into(),
        _ => value.into(),
    }
}

fn object(keys: &Keys) -> Map<String, Value> {
    keys.iter().map(|(key, value)| (key.clone(), wire(key, value))).collect()
}

fn row(rules: &[Keys], at: usize) -> Map<String, Value> {
    let mut row = object(&rules[at]);
    row.insert("pos".into(), at.into());
    row.insert("digest".into(), digest(&rules).into());
    row
}

fn rules(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, mut file) = file(context)?;
    let rules = rules_in(context, &mut file)?;
    let rows = (0..rules.len()).map(|at| Value::from(row(rules, at)));
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The position in the path, where there is a rule.
fn position(context: &Context<'_>, rules: &[Keys]) -> Result<usize, Fault> {
    let at = context.need("pos")?;
    let found = at.parse::<usize>().ok().filter(|at| *at < rules.len());
    found.ok_or_else(|| Fault::die(format!("no rule at position {at}")))
}

fn rule(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, mut file) = file(context)?;
    let rules = rules_in(context, &mut file)?;
    let at = position(context, rules)?;
    let mut row = row(rules, at);
    // Of one alone the position is a text.
    row.insert("pos".into(), at.to_string().into());
    Ok(Reply::data(Value::from(row)))
}

/// Takes over what a request says.
fn take_over(context: &Context<'_>, keys: &mut Keys) {
    let given = context.request.params.iter().filter(|(key, _)| !OTHER.contains(key));
    keys.extend(given.map(|(key, value)| (key.to_owned(), value.to_owned())));
    for gone in context.list("delete") {
        keys.remove(gone);
    }
}

/// Refuses a rule that means nothing.
fn check(context: &Context<'_>, rule: &Keys) -> Result<(), Fault> {
    let get = |key: &str| rule.get(key).map(String::as_str);
    let known = |name: &str| MACROS.iter().any(|(have, _)| *have == name);
    if let Some(name) = get("macro").filter(|name| !known(name)) {
        return Err(Fault::parameter("macro", format!("unknown macro '{name}'")));
    }
    let action = get("action").unwrap_or_default();
    let cluster = context.world.firewalls.get("cluster");
    match get("type") {
        Some("group") if cluster.is_none_or(|cluster| !cluster.groups.contains_key(action)) => {
            Err(Fault::parameter("action", format!("there is no security group '{action}'")))
        }
        Some("group") => Ok(()),
        _ if !["ACCEPT", "DROP", "REJECT"].contains(&action) => {
            Err(Fault::parameter("action", format!("unknown action '{action}'")))
        }
        _ if (get("dport").is_some() || get("sport").is_some()) && get("proto").is_none() && get("macro").is_none() => {
            let key = if get("dport").is_some() { "dport" } else { "sport" };
            Err(Fault::parameter("proto", format!("missing property - '{key}' requires this property")))
        }
        _ => Ok(()),
    }
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let rules = rules_in(context, file)?;
        let mut rule = Keys::new();
        take_over(context, &mut rule);
        check(context, &rule)?;
        // A new rule is the first, and off, whatever was said of its position.
        rule.entry("enable".into()).or_insert_with(|| "0".into());
        rules.insert(0, rule);
        Ok(())
    })
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let rules = rules_in(context, file)?;
        context.unchanged(&digest(rules))?;
        let at = position(context, rules)?;
        match context.number("moveto").and_then(|to| usize::try_from(to).ok()) {
            // It is put before the one that stands there now, and at the end where none does.
            Some(to) if to != at => {
                let rule = rules.remove(at);
                let place = if to > at { to - 1 } else { to };
                rules.insert(place.min(rules.len()), rule);
            }
            _ => {
                take_over(context, &mut rules[at]);
                check(context, &rules[at])?;
            }
        }
        Ok(())
    })
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let rules = rules_in(context, file)?;
        context.unchanged(&digest(rules))?;
        let at = position(context, rules)?;
        rules.remove(at);
        Ok(())
    })
}

fn options(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, file) = file(context)?;
    let mut all = object(&file.options);
    all.insert("digest".into(), digest(&file.options).into());
    Ok(Reply::data(Value::from(all)))
}

fn set_options(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        context.unchanged(&digest(&file.options))?;
        take_over(context, &mut file.options);
        Ok(())
    })
}

fn macros(_: &mut Context<'_>) -> Result<Reply, Fault> {
    let rows = MACROS.iter().map(|(name, about)| json!({"macro": name, "descr": about}));
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// As where nothing was ever logged.
fn log(context: &mut Context<'_>) -> Result<Reply, Fault> {
    owner(context)?;
    let line = json!({"n": 1, "t": "unable to open file - No such file or directory"});
    Ok(Reply { total: Some(1), ..Reply::data(vec![line]) })
}

fn groups(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, file) = file(context)?;
    let digest = digest(&file.groups);
    let rows = file.groups.iter().map(|(name, group)| {
        let mut row = json!({"group": name, "digest": digest});
        if let Some(comment) = &group.comment {
            row["comment"] = comment.as_str().into();
        }
        row
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// Makes a group, or renames one and changes what is said of it.
fn create_group(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let name = context.need("group")?;
        let mut group = match context.param("rename") {
            None if file.groups.contains_key(name) => {
                return Err(Fault::parameter("group", format!("Security group '{name}' already exists")));
            }
            None => Group::default(),
            Some(old) => {
                context.unchanged(&digest(&file.groups))?;
                if old != name && file.groups.contains_key(name) {
                    return Err(Fault::parameter("group", format!("Security group '{name}' does already exist")));
                }
                let gone = file.groups.remove(old);
                gone.ok_or_else(|| Fault::parameter("group", format!("Security group '{old}' does not exists")))?
            }
        };
        if let Some(comment) = context.param("comment") {
            group.comment = Some(comment.to_owned());
        }
        file.groups.insert(name.to_owned(), group);
        Ok(())
    })
}

fn remove_group(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        if !rules_in(context, file)?.is_empty() {
            return Err(Fault::die(format!("Security group '{}' is not empty", context.need("group")?)));
        }
        file.groups.remove(context.need("group")?);
        Ok(())
    })
}
