//! `api-resources`: the kinds, their names, verbs and paths, and what each backend does for them.
//!
//! Everything is read from the tables.

use std::collections::BTreeSet;

use clap::ArgMatches;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    backends::{ACTIONS, Action, BACKENDS, Capabilities, Support},
    cli::{
        cx::{Cx, text},
        kinds::KINDS,
        print::{self, Column, Row},
        verb::{Entry, Exit, Kind, Of, value},
    },
    contract::embedded,
    model::{Error, Method, Result, closest},
    ops::{NODE_VERBS, RESOURCES, Resource, action_of},
};

pub(super) const ENTRY: Entry = Entry {
    name: "api-resources",
    about: "List the kinds of resources: their names, verbs and API paths, and what each backend does",
    examples: &["pvectl api-resources", "pvectl api-resources --verb suspend -o wide", "pvectl api-resources -o json"],
    args: |command| {
        command.arg(value("verb", "VERB", "Only kinds that have this verb")).arg(value(
            "backend",
            "BACKEND",
            "Only verbs that this backend does",
        ))
    },
    run: |cx, matches| Box::pin(async { run(cx, matches) }),
};

/// A kind as a row.
#[derive(Serialize)]
struct KindRow {
    name: &'static str,
    noun: &'static str,
    aliases: Vec<&'static str>,
    about: &'static str,
    verbs: Vec<&'static str>,
    paths: &'static [&'static str],
    /// The methods of the API that its verbs call: `GET /pools`.
    methods: Vec<String>,
    /// By backend: the verbs it does, and why it does not do the others.
    backends: Map<String, Value>,
}

impl Row for KindRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<KindRow>] = &[
            Column::new("NAME", "name", |row: &KindRow| row.name.to_owned()),
            Column::new("NOUN", "noun", |row: &KindRow| row.noun.to_owned()),
            Column::new("ALIASES", "aliases", |row: &KindRow| row.aliases.join(",")),
            Column::new("VERBS", "verbs", |row: &KindRow| row.verbs.join(",")),
            Column::new("BACKENDS", "backends", |row: &KindRow| row.on().join("; ")).wide(),
            Column::new("PATHS", "paths", |row: &KindRow| row.paths.join(",")).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }
}

impl KindRow {
    /// `None` for a kind without any verb that is wanted.
    fn new(kind: &'static Kind, backends: &[&Capabilities], verb: Option<&str>) -> Option<Self> {
        let all: Vec<&'static str> = (kind.verbs)().iter().map(|verb| verb.name()).collect();
        if verb.is_some_and(|wanted| !all.contains(&wanted)) {
            return None;
        }
        let serving: Vec<&Capabilities> = backends.iter().copied().filter(|backend| kind.of.is_on(backend)).collect();
        if serving.is_empty() && kind.of != Of::Account {
            return None;
        }
        let done =
            |verb: &&str| serving.is_empty() || serving.iter().any(|backend| without(kind, backend, verb).is_none());
        let verbs: Vec<&'static str> = all.iter().copied().filter(done).collect();
        let wanted = verb.is_none_or(|wanted| verbs.contains(&wanted));
        (wanted && !verbs.is_empty()).then_some(Self {
            name: kind.plural,
            noun: kind.noun,
            aliases: kind.aliases.to_vec(),
            about: kind.about,
            verbs,
            paths: kind.paths,
            methods: methods(kind),
            backends: serving
                .into_iter()
                .map(|backend| (backend.backend.to_owned(), described(kind, backend, &all)))
                .collect(),
        })
    }

    /// Each backend, with what it does not do.
    fn on(&self) -> Vec<String> {
        let does = |backend: &Value| backend["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty());
        let shown = self.backends.iter().filter(|(_, backend)| does(backend)).map(|(name, backend)| {
            let missing: Vec<&str> =
                backend["missing"].as_object().into_iter().flatten().map(|(verb, _)| verb.as_str()).collect();
            if missing.is_empty() { name.clone() } else { format!("{name} (not {})", missing.join(", ")) }
        });
        shown.collect()
    }
}

/// What verbs of single kinds call beside what the tables of actions and things have: the noun, and the method.
const MORE: &[(&str, Method, &str)] = &[
    ("task", Method::Get, "/nodes/{node}/tasks/{upid}/log"),
    ("task", Method::Get, "/nodes/{node}/tasks/{upid}/status"),
    ("task", Method::Delete, "/nodes/{node}/tasks/{upid}"),
    ("node", Method::Get, "/nodes/{node}/status"),
    ("node", Method::Get, "/nodes/{node}/syslog"),
    ("node", Method::Get, "/nodes/{node}/tasks"),
    ("node", Method::Get, "/nodes/{node}/services"),
    ("node", Method::Get, "/nodes/{node}/certificates/info"),
    ("node", Method::Get, "/nodes/{node}/disks/list"),
    ("node", Method::Get, "/nodes/{node}/hardware/pci"),
    ("node", Method::Get, "/nodes/{node}/hardware/usb"),
    ("node", Method::Get, "/nodes/{node}/apt/update"),
    ("node", Method::Get, "/nodes/{node}/apt/versions"),
    ("firewall", Method::Get, "/cluster/firewall/macros"),
    ("firewall", Method::Get, "/cluster/firewall/refs"),
    ("firewall", Method::Get, "/nodes/{node}/qemu/{vmid}/firewall/refs"),
    ("firewall", Method::Get, "/nodes/{node}/lxc/{vmid}/firewall/refs"),
    ("firewall", Method::Get, "/nodes/{node}/firewall/log"),
    ("firewall", Method::Get, "/nodes/{node}/qemu/{vmid}/firewall/log"),
    ("firewall", Method::Get, "/nodes/{node}/lxc/{vmid}/firewall/log"),
    ("node", Method::Post, "/nodes/{node}/services/{service}/start"),
    ("node", Method::Post, "/nodes/{node}/services/{service}/stop"),
    ("node", Method::Post, "/nodes/{node}/services/{service}/restart"),
    ("node", Method::Post, "/nodes/{node}/services/{service}/reload"),
    ("acl", Method::Put, "/access/acl"),
    ("backup", Method::Post, "/nodes/{node}/vzdump"),
    ("backup", Method::Get, "/nodes/{node}/vzdump/extractconfig"),
    ("backup", Method::Put, "/nodes/{node}/storage/{storage}/content/{volume}"),
    ("backup", Method::Delete, "/nodes/{node}/storage/{storage}/content/{volume}"),
    ("backup", Method::Get, "/nodes/{node}/storage/{storage}/prunebackups"),
    ("backup", Method::Delete, "/nodes/{node}/storage/{storage}/prunebackups"),
    ("backup", Method::Post, "/nodes/{node}/qemu"),
    ("backup", Method::Post, "/nodes/{node}/lxc"),
    ("image", Method::Post, "/nodes/{node}/aplinfo"),
    ("image", Method::Get, "/nodes/{node}/query-url-metadata"),
    ("image", Method::Post, "/nodes/{node}/storage/{storage}/download-url"),
    ("image", Method::Post, "/nodes/{node}/storage/{storage}/upload"),
    ("image", Method::Delete, "/nodes/{node}/storage/{storage}/content/{volume}"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/info"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-osinfo"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-host-name"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-time"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-timezone"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-users"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/get-vcpus"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/exec-status"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/agent/file-read"),
    ("vm", Method::Post, "/nodes/{node}/qemu/{vmid}/agent/ping"),
    ("vm", Method::Post, "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status"),
    ("container", Method::Get, "/nodes/{node}/lxc/{vmid}/interfaces"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/cloudinit"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/cloudinit/dump"),
    ("vm", Method::Post, "/nodes/{node}/qemu/{vmid}/monitor"),
    ("vm", Method::Post, "/nodes/{node}/qemu/{vmid}/spiceproxy"),
    ("vm", Method::Post, "/nodes/{node}/qemu/{vmid}/termproxy"),
    ("vm", Method::Post, "/nodes/{node}/qemu/{vmid}/vncproxy"),
    ("vm", Method::Get, "/nodes/{node}/qemu/{vmid}/vncwebsocket"),
    ("container", Method::Post, "/nodes/{node}/lxc/{vmid}/termproxy"),
    ("container", Method::Get, "/nodes/{node}/lxc/{vmid}/vncwebsocket"),
    ("node", Method::Post, "/nodes/{node}/termproxy"),
    ("node", Method::Get, "/nodes/{node}/vncwebsocket"),
];

/// What verbs of guests read: what follows `/nodes/{node}/{qemu|lxc}/{vmid}`.
const READS: &[&str] =
    &["/status/current", "/config", "/pending", "/snapshot", "/snapshot/{snapname}/config", "/rrddata"];

/// What of a server's things this host has too, and the verbs for that.
const HERE: &[(&str, &[&str])] =
    &[("storage", &["list", "content"]), ("network", &["list", "get", "describe", "create", "delete"])];

/// The methods of the API that the verbs of a kind call, in the order of the alphabet.
fn methods(kind: &Kind) -> Vec<String> {
    let mut all: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut add = |method: Method, path: &str| {
        all.insert((method.as_str(), path.to_owned()));
    };
    kind.paths.iter().for_each(|path| add(Method::Get, path));
    for (_, method, path) in MORE.iter().filter(|(noun, ..)| *noun == kind.noun) {
        add(*method, path);
    }
    if kind.noun == "node" {
        NODE_VERBS.iter().for_each(|verb| add(Method::Post, verb.path));
    }
    if let Some(guest) = kind.guest {
        let base = format!("/nodes/{{node}}/{}", guest.api());
        READS.iter().for_each(|path| add(Method::Get, &format!("{base}/{{vmid}}{path}")));
        let proxmox = &BACKENDS[0];
        let done = ACTIONS.iter().filter(|spec| matches!(proxmox.support(guest, spec.action), Support::Yes));
        done.for_each(|spec| add(spec.method, &spec.template(guest)));
    }
    // `mapping pci` is a thing of its own.
    let is_its = |of: &&Resource| {
        of.noun == kind.noun || of.noun.strip_prefix(kind.noun).is_some_and(|rest| rest.starts_with('-'))
    };
    for of in RESOURCES.iter().filter(is_its) {
        of.more.iter().for_each(|(method, path)| add(*method, path));
        for (_, paths) in of.reached() {
            let places = [
                (Method::Get, paths.list),
                (Method::Post, paths.made),
                (Method::Get, paths.one),
                (Method::Put, paths.one),
                (Method::Delete, paths.one),
            ];
            let there = places.into_iter().filter(|(method, path)| embedded().endpoint(*method, path).is_some());
            there.for_each(|(method, path)| add(method, path));
        }
    }
    all.into_iter().map(|(method, path)| format!("{method} {path}")).collect()
}

/// Why a backend does not do a verb, if it does not.
fn without(kind: &Kind, backend: &Capabilities, verb: &str) -> Option<&'static str> {
    let Some(guest) = kind.guest else {
        // What is in them is read through the backend, what they are is a server's.
        let ours = HERE.iter().find(|(noun, _)| *noun == kind.noun).map_or(&[][..], |(_, verbs)| *verbs);
        let is_defined = RESOURCES.iter().any(|of| of.noun == kind.noun) && !ours.contains(&verb);
        let is_sent = kind.noun == "image" && ["available", "upload"].contains(&verb);
        return match backend.here {
            true if is_defined => Some("they are defined on Proxmox VE clusters alone"),
            true if is_sent => Some("images of this host are pulled, from addresses and files"),
            _ => None,
        };
    };
    let refused = |action| match backend.support(guest, action) {
        Support::Yes => None,
        Support::No { reason, .. } => Some(reason),
    };
    match action_of(verb, guest) {
        Some(action) => refused(action),
        // Where there can be none of the kind, there is nothing to read either.
        None => backend.absent(verb).or_else(|| refused(Action::Create)),
    }
}

fn described(kind: &Kind, backend: &Capabilities, verbs: &[&'static str]) -> Value {
    let missing: Map<String, Value> =
        verbs.iter().filter_map(|verb| Some(((*verb).to_owned(), without(kind, backend, verb)?.into()))).collect();
    let does: Vec<&str> = verbs.iter().copied().filter(|verb| !missing.contains_key(*verb)).collect();
    serde_json::json!({"verbs": does, "missing": missing})
}

fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let verbs = || KINDS.iter().flat_map(|kind| (kind.verbs)()).map(|verb| verb.name().to_owned());
    let verb = text(matches, "verb");
    if let Some(unknown) = verb.filter(|wanted| verbs().all(|verb| verb != *wanted)) {
        return Err(Error::usage(format!("no kind has a verb `{unknown}`")).did_you_mean(closest(unknown, verbs())));
    }
    let backends: Vec<&Capabilities> = match text(matches, "backend") {
        None => BACKENDS.iter().collect(),
        Some(wanted) => {
            let names = || BACKENDS.iter().map(|backend| backend.backend.to_owned());
            let found = BACKENDS.iter().find(|backend| backend.backend == wanted).ok_or_else(|| {
                let known = names().collect::<Vec<_>>().join(", ");
                Error::usage(format!("unknown backend `{wanted}`, known are {known}"))
                    .did_you_mean(closest(wanted, names()))
            })?;
            vec![found]
        }
    };
    let style = cx.plain_style()?;
    let mut rows: Vec<KindRow> = KINDS.iter().filter_map(|kind| KindRow::new(kind, &backends, verb)).collect();
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::{Of, methods};
    use crate::{cli::kinds::KINDS, contract::embedded, model::Method};

    #[test]
    fn every_path_is_one_that_can_be_read() {
        for kind in KINDS {
            assert_eq!(kind.paths.is_empty(), !matches!(kind.of, Of::Backends | Of::Cluster), "{}", kind.noun);
            for path in kind.paths {
                let known = embedded().templates().any(|(method, template)| (method, template) == (Method::Get, *path));
                assert!(known, "{}: {path}", kind.noun);
            }
        }
    }

    #[test]
    fn every_method_that_verbs_call_is_one() {
        for (kind, method) in KINDS.iter().flat_map(|kind| methods(kind).into_iter().map(|method| (kind.noun, method)))
        {
            let (word, path) = method.split_once(' ').unwrap();
            let known = embedded().templates().any(|(method, template)| (method.as_str(), template) == (word, path));
            assert!(known, "{kind}: {method}");
        }
    }
}
