//! Paths of the API, segment by segment: fixed ones from the contract's templates, names from the server's own lists.
//!
//! A list is asked for only where the template has a name in braces and the path above it can be read.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::{Candidate, Request, config, sources};
use crate::{
    cli::kinds::KINDS,
    client::path::segments,
    contract::{embedded, plain_path},
    model::{GuestKind, Method},
};

/// The methods and the commands that call them.
const METHODS: &[(&str, Method)] =
    &[("get", Method::Get), ("post", Method::Post), ("put", Method::Put), ("delete", Method::Delete)];

/// The fields by which a list names its members, beside one that is called as the name in the path.
const NAMES: &[&str] = &["name", "id", "volid", "iface"];

/// What a list's fields are read for: names, then what each is.
const FIELDS: &[&str] = &[
    "node",
    "vmid",
    "storage",
    "upid",
    "poolid",
    "userid",
    "groupid",
    "roleid",
    "realm",
    "tokenid",
    "volid",
    "iface",
    "name",
    "id",
    "status",
    "comment",
    "description",
    "type",
];

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

fn braced(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Whether a template begins with these segments: a name in braces stands for any.
fn begins(template: &[&str], typed: &[&str]) -> bool {
    template.len() >= typed.len() && template.iter().zip(typed).all(|(t, s)| t == s || braced(t).is_some())
}

/// The next segments after those typed: each with whether more can follow.
fn next_segments(typed: &[&str], method: Option<Method>) -> BTreeMap<&'static str, bool> {
    let mut found = BTreeMap::new();
    for (_, template) in embedded().templates().filter(|(have, _)| method.is_none_or(|wanted| wanted == *have)) {
        let template = split(template);
        if !begins(&template, typed) {
            continue;
        }
        // A fixed segment that was typed is that and no name: `/nodes/pve1/qemu` and not `/nodes/{node}/{x}`.
        if let Some(next) = template.get(typed.len()) {
            *found.entry(*next).or_insert(false) |= template.len() > typed.len() + 1;
        }
    }
    found
}

/// The method that is meant: the command's, if it is one.
fn method(request: &Request) -> Option<Method> {
    METHODS.iter().find(|(name, _)| *name == request.verb()).map(|(_, method)| *method)
}

/// `/nodes/pve1/qe…`: what the next segment can be.
pub(super) async fn paths(request: &Request) -> Vec<Candidate> {
    let (before, _) = sources::last_of(&request.word, &['/']);
    let before = if before.is_empty() { "/" } else { before };
    let typed = split(before);
    let mut found = Vec::new();
    for (segment, more) in next_segments(&typed, method(request)) {
        let candidate = |value: &str, about: String| match more {
            true => Candidate::open(format!("{before}{value}/"), about),
            false => Candidate::new(format!("{before}{value}"), about),
        };
        match braced(segment) {
            None => found.push(candidate(segment, String::new())),
            Some(name) => {
                let names = members(request, &typed, name).await;
                found.extend(names.into_iter().map(|member| candidate(&member.value, member.about)));
            }
        }
    }
    found
}

/// The members of the list at a path, by the name that the template gives them.
async fn members(request: &Request, typed: &[&str], name: &str) -> Vec<Candidate> {
    let decoded: Vec<String> =
        typed.iter().map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect();
    // Guests are known by name elsewhere too; one list of them is enough.
    if let ("vmid", Some(kind)) = (name, GuestKind::ALL.iter().find(|kind| typed.last() == Some(&kind.api()))) {
        let guests = sources::guests(request, Some(*kind)).await;
        let here = guests.iter().filter(|guest| Some(&guest.node) == decoded.get(1));
        return here.map(sources::Guest::as_vmid).collect();
    }
    let path = segments(&decoded);
    // Where the list wants parameters of its own, nobody can ask for it like this.
    let can_ask = embedded().find(Method::Get, &path).is_some_and(|found| {
        let needed = found.endpoint.parameters.properties.iter().filter(|(_, schema)| !schema.optional);
        needed.map(|(key, _)| key).all(|key| found.path_params.get(key).is_some())
    });
    if !can_ask {
        return Vec::new();
    }
    let rows = request.live.list(&path, &[], FIELDS).await;
    let member = |row: &super::live::Row| {
        let field = std::iter::once(&name).chain(NAMES).find(|field| row.contains_key(**field))?;
        let about = ["status", "comment", "description", "type"].into_iter().find(|field| row.contains_key(*field));
        let about = about.map_or_else(String::new, |field| sources::text(row, field).into_owned());
        let shown = row.get("name").filter(|_| *field != "name").and_then(|name| name.as_str()).map(str::to_owned);
        let about = [shown.unwrap_or_default(), about].into_iter().filter(|part| !part.is_empty());
        Some(Candidate::new(sources::text(row, field), about.collect::<Vec<_>>().join(", ")))
    };
    // The server's word for "now" stands among the snapshots.
    rows.iter().filter_map(member).filter(|member| !member.value.is_empty() && member.value != "current").collect()
}

/// The snapshots of the guest that was typed before; of several those that the first has.
pub(super) async fn snapshots(request: &Request) -> Vec<Candidate> {
    const FIELDS: &[&str] = &["name", "description", "snaptime"];
    let (Some(kind), Some(target)) = (request.kind().and_then(|kind| kind.guest), request.positionals().next()) else {
        return Vec::new();
    };
    let target = target.split(',').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let guests = sources::guests(request, Some(kind)).await;
    let Some(guest) = guests.iter().find(|guest| guest.vmid == target || guest.name == target) else {
        return Vec::new();
    };
    let path = segments(&["nodes", &guest.node, kind.api(), &guest.vmid, "snapshot"]);
    let mut rows = request.live.list(&path, &[], FIELDS).await;
    // The server's word for "now" stands among them.
    rows.retain(|row| sources::text(row, "name") != "current");
    rows.sort_by_key(|row| sources::text(row, "snaptime").parse::<u64>().unwrap_or_default());
    rows.iter().map(|row| Candidate::new(sources::text(row, "name"), sources::text(row, "description"))).collect()
}

/// `-p name=`: the parameters of the method that was typed before.
pub(super) async fn params(request: &Request) -> Vec<Candidate> {
    let Some(path) = request.positionals().next().map(plain_path) else { return Vec::new() };
    let method = method(request).unwrap_or(Method::Get);
    let Some(found) = embedded().find(method, &path) else { return Vec::new() };
    let properties = found.endpoint.parameters.properties.iter();
    // What stands in braces in the path has still to be given; the node of a guest is found.
    let is_open = |name: &str, value: &str| braced(value) == Some(name);
    let own = properties.filter(|(name, _)| found.path_params.get(name).is_none_or(|value| is_open(name, value)));
    config::pairs_of(request, own.map(|(name, schema)| (name.as_str(), schema))).await
}

/// The methods of the path that was typed before.
pub(super) fn methods(request: &Request) -> Vec<Candidate> {
    let Some(path) = request.positionals().next().map(plain_path) else { return Vec::new() };
    let found = METHODS.iter().filter_map(|(name, method)| Some((name, embedded().find(*method, &path)?)));
    found.map(|(name, found)| Candidate::new(*name, found.endpoint.name.as_str())).collect()
}

/// `vm.net0.bridge`, or a path as the contract spells it.
pub(super) fn explain(request: &Request) -> Vec<Candidate> {
    if request.word.starts_with('/') {
        let (before, _) = sources::last_of(&request.word, &['/']);
        let next = next_segments(&split(before), None).into_iter();
        return next
            .map(|(segment, more)| Candidate { open: more, ..Candidate::new(format!("{before}{segment}"), "") })
            .collect();
    }
    match request.word.split_once('.') {
        None => {
            let guests = KINDS.iter().filter(|kind| kind.guest.is_some());
            let kinds = guests.map(|kind| Candidate::open(format!("{}.", kind.noun), kind.about));
            kinds.chain([Candidate::open("/", "a path of the API")]).collect()
        }
        Some((noun, word)) => {
            let kind = KINDS.iter().find(|kind| kind.is_called(noun)).and_then(|kind| kind.guest);
            kind.map(|kind| config::explained(kind, word))
                .unwrap_or_default()
                .into_iter()
                .map(|c| c.behind(&format!("{noun}.")))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::Instant;

    use super::*;
    use crate::{
        cli::complete::live::Live,
        config::{Env, Flags, Paths},
    };

    /// A line in an account with a fresh sandbox.
    struct Account(tempfile::TempDir);

    impl Account {
        async fn request(&self, path: &[&str], args: &[&str], word: &str) -> Request {
            let env = Env::from_pairs([("HOME", self.0.path().as_os_str()), ("PVECTL_CONTEXT", "sandbox".as_ref())]);
            let deadline = Instant::now() + Duration::from_secs(120);
            let live = Live::new(&env, Flags::default(), Paths::new(&env).unwrap(), deadline).await;
            let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let word = word.to_owned();
            Request { args: texts(args), path: texts(path), arg: String::new(), word, live: Arc::new(live) }
        }
    }

    fn account() -> Account {
        Account(tempfile::tempdir().unwrap())
    }

    fn shown(candidates: Vec<Candidate>, start: &str) -> Vec<(String, String)> {
        let fitting = candidates.into_iter().filter(|candidate| candidate.value.starts_with(start));
        fitting.map(|candidate| (candidate.value, candidate.about)).collect()
    }

    #[tokio::test]
    async fn paths_are_walked_segment_by_segment_with_live_names() {
        let account = account();
        for (method, word, some) in [
            ("get", "", &[("/nodes/", ""), ("/version", "")][..]),
            ("get", "/nodes/p", &[("/nodes/pve1/", "online")]),
            ("get", "/nodes/pve1/qe", &[("/nodes/pve1/qemu/", "")]),
            ("get", "/nodes/pve1/qemu/1", &[("/nodes/pve1/qemu/100/", "web-1, running, pve1")]),
            ("get", "/nodes/pve1/storage/", &[("/nodes/pve1/storage/local/", "")]),
            ("get", "/pools/p", &[("/pools/prod", "what customers see")]),
            ("get", "/access/users/a", &[("/access/users/audit@pve/", "")]),
            ("post", "/nodes/pve1/qemu/100/status/sta", &[("/nodes/pve1/qemu/100/status/start", "")]),
            ("post", "/nodes/pve1/qemu/100/status/cur", &[]),
            ("get", "/nodes/pve1/nothing/", &[]),
            ("delete", "/nodes/pve1/qemu/100/config/", &[]),
        ] {
            let found = shown(paths(&account.request(&["api", method], &[], word).await).await, word);
            for (value, about) in some {
                let hit = found.iter().find(|(found, _)| found == value);
                assert!(hit.is_some_and(|(_, said)| said.contains(about)), "{method} {word}: {found:?}");
            }
            assert_eq!(found.is_empty(), some.is_empty(), "{method} {word}: {found:?}");
        }
        // Guests of another node are not there.
        let found = shown(paths(&account.request(&["api", "get"], &[], "/nodes/pve1/qemu/").await).await, "");
        assert!(!found.iter().any(|(value, _)| value.contains("/101")), "{found:?}");
    }

    #[tokio::test]
    async fn parameters_are_those_of_the_method_and_path() {
        let account = account();
        let ask = async |method: &str, path: &str, word: &str| {
            shown(params(&account.request(&["api", method], &[path, "-p"], word).await).await, word)
        };
        let clone = "/nodes/pve1/qemu/100/clone";
        let names = ask("post", clone, "").await;
        assert!(names.iter().any(|(name, _)| name == "newid=") && !names.iter().any(|(name, _)| name == "vmid="));
        assert_eq!(ask("post", clone, "fu").await, [("full=".into(), "boolean".into())]);
        assert_eq!(ask("post", clone, "full=").await.len(), 2);
        assert_eq!(ask("post", clone, "target=pve2").await, [("target=pve2".into(), "online".into())]);
        assert_eq!(ask("get", clone, "").await, []);
        assert_eq!(ask("post", "nodes/pve1/qemu/100/clone", "fu").await.len(), 1);
        let open = "/nodes/{node}/qemu/{vmid}/config";
        assert_eq!(ask("put", open, "vmi").await.len(), 1);
        assert_eq!(ask("put", open, "vmid=100").await, [("vmid=100".into(), "web-1, running, pve1".into())]);
        let config = "/nodes/pve1/qemu/100/config";
        assert_eq!(ask("put", config, "net1=virtio,bridge=v").await[0].0, "net1=virtio,bridge=vmbr0");
        assert_eq!(ask("put", config, "scsi3=local-l").await[0].0, "scsi3=local-lvm:");
        // A number with a name that nobody writes.
        assert_eq!(ask("put", config, "memory=").await, []);
    }

    #[tokio::test]
    async fn keys_and_templates_are_explained() {
        let account = account();
        let value = async |word: &str| {
            let found = shown(explain(&account.request(&["explain"], &[], word).await), word);
            found.into_iter().map(|(value, _)| value).collect::<Vec<_>>()
        };
        assert_eq!(value("").await, ["vm.", "container.", "/"]);
        assert_eq!(value("vm.sockets").await, ["vm.sockets"]);
        assert_eq!(value("vm.net").await, ["vm.net0"]);
        assert_eq!(value("vm.net0.bri").await, ["vm.net0.bridge"]);
        assert!(value("container.rootfs.").await.contains(&"container.rootfs.size".to_owned()));
        assert_eq!(value("/nodes/").await, ["/nodes/{node}"]);
        let methods = methods(&account.request(&["explain"], &["/nodes/{node}/qemu"], "").await);
        assert_eq!(shown(methods, ""), [("get".into(), "vmlist".into()), ("post".into(), "create_vm".into())]);
    }

    #[tokio::test]
    async fn what_cannot_be_listed_is_not_asked_for() {
        // No account at all: whoever asks gets nothing, without any error.
        let env = Env::from_pairs([("HOME", "/nonexistent"), ("PVECTL_ENDPOINT", "http://127.0.0.1:1")]);
        let live = Live::new(&env, Flags::default(), Paths::new(&env).unwrap(), Instant::now()).await;
        assert!(live.list("/nodes", &[], &["node"]).await.is_empty());
    }
}
