//! Sets of addresses, aliases, and what of both a rule may name, of the cluster and of guests.

use serde_json::{Value, json};

use super::{
    Context, Reply, Route,
    firewall::{edit, file, wire},
};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::firewall::{Firewall, IpSet, Keys, digest},
    server::Fault,
};

macro_rules! routes {
    ($($base:literal),*) => {
        &[
            $(
                (Get, concat!($base, "/aliases"), aliases),
                (Post, concat!($base, "/aliases"), create_alias),
                (Get, concat!($base, "/aliases/{name}"), alias),
                (Put, concat!($base, "/aliases/{name}"), update_alias),
                (Delete, concat!($base, "/aliases/{name}"), remove_alias),
                (Get, concat!($base, "/ipset"), sets),
                (Post, concat!($base, "/ipset"), create_set),
                (Get, concat!($base, "/ipset/{name}"), entries),
                (Post, concat!($base, "/ipset/{name}"), create_entry),
                (Delete, concat!($base, "/ipset/{name}"), remove_set),
                (Get, concat!($base, "/ipset/{name}/{cidr}"), entry),
                (Put, concat!($base, "/ipset/{name}/{cidr}"), update_entry),
                (Delete, concat!($base, "/ipset/{name}/{cidr}"), remove_entry),
                (Get, concat!($base, "/refs"), refs),
            )*
        ]
    };
}

pub(super) const TABLE: &[Route] =
    routes!("/cluster/firewall", "/nodes/{node}/qemu/{vmid}/firewall", "/nodes/{node}/lxc/{vmid}/firewall");

/// A row: what names it, its keys, and what tells whether it was changed.
fn row((key, name): (&str, &str), keys: &Keys, digest: &str) -> Value {
    let mut row = json!({key: name, "digest": digest});
    for (key, value) in keys {
        row[key.as_str()] = if key == "cidr" { value.as_str().into() } else { wire(key, value) };
    }
    row
}

fn alias_row(file: &Firewall, name: &str, keys: &Keys) -> Value {
    let mut row = row(("name", name), keys, &digest(&file.aliases));
    let is_six = keys.get("cidr").is_some_and(|cidr| cidr.contains(':'));
    row["ipversion"] = if is_six { 6 } else { 4 }.into();
    row
}

fn aliases(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, file) = file(context)?;
    let rows = file.aliases.iter().map(|(name, keys)| alias_row(&file, name, keys));
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn no_alias() -> Fault {
    Fault::parameter("name", "no such alias")
}

fn alias(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, file) = file(context)?;
    let name = context.need("name")?;
    let keys = file.aliases.get(name).ok_or_else(no_alias)?;
    Ok(Reply::data(alias_row(&file, name, keys)))
}

/// What a request says of an address or an alias.
fn said(context: &Context<'_>, keys: &mut Keys, of: &[&str]) {
    let given = of.iter().filter_map(|key| Some(((*key).to_owned(), context.param(key)?.to_owned())));
    keys.extend(given);
}

fn create_alias(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let name = context.need("name")?;
        if file.aliases.contains_key(name) {
            return Err(Fault::parameter("name", format!("alias '{name}' already exists")));
        }
        let mut keys = Keys::new();
        said(context, &mut keys, &["cidr", "comment"]);
        file.aliases.insert(name.to_owned(), keys);
        Ok(())
    })
}

fn update_alias(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        context.unchanged(&digest(&file.aliases))?;
        let name = context.need("name")?;
        file.aliases.remove(name).ok_or_else(no_alias)?;
        // It is made anew: a comment that is not said is gone.
        let mut keys = Keys::new();
        said(context, &mut keys, &["cidr", "comment"]);
        let new = context.param("rename").unwrap_or(name);
        if file.aliases.contains_key(new) {
            return Err(Fault::parameter("name", format!("alias '{new}' already exists")));
        }
        file.aliases.insert(new.to_owned(), keys);
        Ok(())
    })
}

fn remove_alias(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        context.unchanged(&digest(&file.aliases))?;
        let name = context.need("name")?;
        file.aliases.remove(name).ok_or_else(no_alias)?;
        Ok(())
    })
}

fn sets(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, file) = file(context)?;
    let digest = digest(&file.ipsets);
    let rows = file.ipsets.iter().map(|(name, set)| {
        let comment = set.comment.iter().map(|comment| ("comment".to_owned(), comment.clone()));
        row(("name", name), &comment.collect(), &digest)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// Makes a set, or renames one and changes what is said of it.
fn create_set(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let name = context.need("name")?;
        let mut set = match context.param("rename") {
            None if file.ipsets.contains_key(name) => {
                return Err(Fault::parameter("name", format!("IPSet '{name}' already exists")));
            }
            None => IpSet::default(),
            Some(old) => {
                context.unchanged(&digest(&file.ipsets))?;
                if old != name && file.ipsets.contains_key(name) {
                    return Err(Fault::parameter("name", format!("IPSet '{name}' already exists")));
                }
                let gone = file.ipsets.remove(old);
                gone.ok_or_else(|| Fault::parameter("name", format!("IPSet '{old}' does not exist")))?
            }
        };
        if let Some(comment) = context.param("comment") {
            set.comment = Some(comment.to_owned());
        }
        file.ipsets.insert(name.to_owned(), set);
        Ok(())
    })
}

/// The set in the path.
fn set_in<'f>(context: &Context<'_>, file: &'f mut Firewall) -> Result<&'f mut IpSet, Fault> {
    let name = context.need("name")?;
    file.ipsets.get_mut(name).ok_or_else(|| Fault::die(format!("no such IPSet '{name}'")))
}

fn remove_set(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let name = context.need("name")?;
        if !set_in(context, file)?.entries.is_empty() && !context.flag("force") {
            return Err(Fault::die(format!("IPSet '{name}' is not empty")));
        }
        file.ipsets.remove(name);
        Ok(())
    })
}

fn entries(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, mut file) = file(context)?;
    let set = set_in(context, &mut file)?;
    let digest = digest(&set.entries);
    let rows = set.entries.iter().map(|(cidr, keys)| row(("cidr", cidr), keys, &digest));
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn no_entry() -> Fault {
    Fault::parameter("cidr", "no such IP/Network")
}

fn entry(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, mut file) = file(context)?;
    let set = set_in(context, &mut file)?;
    let cidr = context.need("cidr")?;
    let keys = set.entries.get(cidr).ok_or_else(no_entry)?;
    Ok(Reply::data(row(("cidr", cidr), keys, &digest(&set.entries))))
}

fn create_entry(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let set = set_in(context, file)?;
        let cidr = context.need("cidr")?;
        if set.entries.contains_key(cidr) {
            return Err(Fault::parameter("cidr", format!("address '{cidr}' already exists")));
        }
        let mut keys = Keys::new();
        said(context, &mut keys, &["nomatch", "comment"]);
        set.entries.insert(cidr.to_owned(), keys);
        Ok(())
    })
}

fn update_entry(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let set = set_in(context, file)?;
        context.unchanged(&digest(&set.entries))?;
        let cidr = context.need("cidr")?;
        let keys = set.entries.get_mut(cidr).ok_or_else(no_entry)?;
        // What is not said is gone.
        keys.clear();
        said(context, keys, &["nomatch", "comment"]);
        Ok(())
    })
}

fn remove_entry(context: &mut Context<'_>) -> Result<Reply, Fault> {
    edit(context, |context, file| {
        let set = set_in(context, file)?;
        context.unchanged(&digest(&set.entries))?;
        let cidr = context.need("cidr")?;
        set.entries.remove(cidr).ok_or_else(no_entry)?;
        Ok(())
    })
}

/// What a rule of the owner may name: the cluster's, and a guest's own.
fn refs(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (owner, file) = file(context)?;
    let cluster = context.world.firewalls.get("cluster").cloned().unwrap_or_default();
    let mut rows = Vec::new();
    let mut add = |file: &Firewall, scope: &str| {
        let wanted = |kind: &str| context.param("type").is_none_or(|wanted| wanted == kind);
        let aliases = file.aliases.iter().map(|(name, keys)| ("alias", name, keys.get("comment").cloned()));
        let sets = file.ipsets.iter().map(|(name, set)| ("ipset", name, set.comment.clone()));
        for (kind, name, comment) in aliases.chain(sets).filter(|(kind, ..)| wanted(kind)) {
            let mark = if kind == "ipset" { "+" } else { "" };
            let mut row = json!({"type": kind, "name": name, "ref": format!("{mark}{scope}/{name}"), "scope": scope});
            if let Some(comment) = comment {
                row["comment"] = comment.into();
            }
            rows.push(row);
        }
    };
    add(&cluster, "dc");
    if owner != "cluster" {
        add(&file, "guest");
    }
    Ok(Reply::data(rows))
}
