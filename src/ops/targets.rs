//! From what a person types to guests: VMIDs, lists, ranges, names, `node/…`.
//!
//! Parsing is pure; resolving looks at one listing of the cluster and finds all targets or none.

use crate::model::{Error, Guest, GuestKind, Hint, NodeName, Result, Vmid, closest};

/// One thing a person typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it was typed.
    pub text: String,
    /// Only on this node.
    pub node: Option<NodeName>,
    /// What it means.
    pub which: Which,
}

/// What a target names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This guest.
    Vmid(Vmid),
    /// Every guest with a number from … to, both included.
    Range(Vmid, Vmid),
    /// The guest of this name.
    Name(String),
}

impl Target {
    /// Reads what was typed: `150`, `150,151`, `150-199`, `web-server`, `pve1/150`, `vm/150`.
    ///
    /// # Errors
    /// For an empty piece, a range the wrong way round, a number that is no VMID.
    pub fn parse_all<S: AsRef<str>>(args: &[S]) -> Result<Vec<Self>> {
        args.iter().flat_map(|arg| arg.as_ref().split(',')).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let usage = |reason: String| Error::usage(format!("`{text}` is not a target: {reason}"));
        let (prefix, rest) = match text.split_once('/') {
            Some((prefix, rest)) => (Some(prefix), rest),
            None => (None, text),
        };
        // `-o name` prints `vm/150`; it must be good as a target too.
        let is_kind = |word: &str| GuestKind::ALL.iter().any(|kind| kind.noun() == word || kind.api() == word);
        let node = match prefix {
            Some(prefix) if !is_kind(prefix) => Some(NodeName::new(prefix).map_err(|e| usage(e.to_string()))?),
            _ => None,
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let vmid = |text: &str| text.parse::<Vmid>().map_err(|e| usage(e.to_string()));
        let which = match rest.split_once('-') {
            _ if rest.is_empty() => return Err(usage("a VMID or a name is expected".into())),
            _ if is_number(rest) => Which::Vmid(vmid(rest)?),
            Some((first, last)) if is_number(first) && is_number(last) => {
                let (first, last) = (vmid(first)?, vmid(last)?);
                if first > last {
                    return Err(usage(format!("the range runs backwards, try {last}-{first}")));
                }
                Which::Range(first, last)
            }
            _ => Which::Name(rest.to_owned()),
        };
        Ok(Self { text: text.to_owned(), node, which })
    }

    pub(super) fn matches(&self, guest: &Guest) -> bool {
        self.node.as_ref().is_none_or(|node| guest.node == *node)
            && match &self.which {
                Which::Vmid(vmid) => guest.vmid == *vmid,
                Which::Range(first, last) => (*first..=*last).contains(&guest.vmid),
                Which::Name(name) => guest.name.as_deref() == Some(name),
            }
    }
}

/// A guest that somebody asked for, and by which words.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The guest as the cluster lists it.
    pub guest: Guest,
    /// What was typed.
    pub target: String,
}

/// Finds every target among the guests, in the order typed, each guest once.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound) naming every target that is unknown, with close names;
/// [`Class::Usage`](crate::model::Class::Usage) for a name that several guests have.
pub fn resolve(targets: &[Target], kind: GuestKind, guests: &[Guest]) -> Result<Vec<Resolved>> {
    let mut found: Vec<Resolved> = Vec::new();
    let mut unknown: Vec<&Target> = Vec::new();
    for target in targets {
        let hits: Vec<&Guest> = guests.iter().filter(|guest| guest.kind == kind && target.matches(guest)).collect();
        match (&target.which, hits.as_slice()) {
            (_, []) => unknown.push(target),
            (Which::Name(name), [_, _, ..]) => return Err(ambiguous(kind, name, &hits)),
            (_, hits) => {
                for guest in hits {
                    if !found.iter().any(|have| have.guest.vmid == guest.vmid) {
                        found.push(Resolved { guest: (*guest).clone(), target: target.text.clone() });
                    }
                }
            }
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(not_found(&unknown, kind, guests)) }
}

/// The same for a target that may be a guest of either kind.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_either(target: &Target, guests: &[Guest]) -> Result<Vec<Resolved>> {
    let one = std::slice::from_ref(target);
    resolve(one, GuestKind::Qemu, guests).or_else(|error| resolve(one, GuestKind::Lxc, guests).map_err(|_| error))
}

fn ambiguous(kind: GuestKind, name: &str, hits: &[&Guest]) -> Error {
    let list: Vec<String> = hits.iter().map(|guest| format!("{} on {}", guest.vmid, guest.node)).collect();
    Error::usage(format!("the name `{name}` is ambiguous: {} {kind}s have it ({})", hits.len(), list.join(", ")))
        .with_hint(Hint::Text("give the VMID instead".into()))
}

fn not_found(unknown: &[&Target], kind: GuestKind, guests: &[Guest]) -> Error {
    let names: Vec<String> = unknown.iter().map(|target| format!("`{}`", target.text)).collect();
    let mut error = Error::not_found(format!("no such {kind}: {}", names.join(", ")));
    for target in unknown {
        if let Some(other) = guests.iter().find(|guest| guest.kind != kind && target.matches(guest)) {
            let noun = other.kind.noun();
            error = error.with_hint(Hint::Text(format!("{} is a {noun}: use `pvectl {noun} …`", target.text)));
        } else if let Some(elsewhere) = target.node.is_some().then(|| Target { node: None, ..(*target).clone() })
            && let Some(guest) = guests.iter().find(|guest| guest.kind == kind && elsewhere.matches(guest))
        {
            error = error.with_hint(Hint::Text(format!("{} is on node {}", guest.vmid, guest.node)));
        } else {
            let close = close_names(target, kind, guests);
            error = error.did_you_mean(close);
            let is_nameless = |guest: &&Guest| guest.kind == kind && guest.name.is_none();
            let nameless: Vec<String> = guests.iter().filter(is_nameless).map(|guest| guest.vmid.to_string()).collect();
            if matches!(target.which, Which::Name(_)) && !nameless.is_empty() {
                let hint = "the cluster does not know the names of these now, whose nodes do not answer";
                error = error.with_hint(Hint::Text(format!("{hint}: {}", nameless.join(", "))));
            }
        }
    }
    error
}

/// Names and numbers that look like the one typed, the closest first.
fn close_names(target: &Target, kind: GuestKind, guests: &[Guest]) -> Vec<String> {
    let mine = guests.iter().filter(|guest| guest.kind == kind);
    match &target.which {
        Which::Name(name) => closest(name, mine.filter_map(|guest| guest.name.clone())),
        Which::Vmid(vmid) => closest(&vmid.to_string(), mine.map(|guest| guest.vmid.to_string())),
        Which::Range(..) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    fn guests() -> Vec<Guest> {
        let row = |vmid: u32, name: &str, kind: &str, node: &str| {
            serde_json::from_value(serde_json::json!({"vmid": vmid, "name": name, "type": kind, "node": node})).unwrap()
        };
        vec![
            row(100, "web-1", "qemu", "pve1"),
            row(101, "web-2", "qemu", "pve2"),
            row(102, "twin", "qemu", "pve1"),
            row(103, "twin", "qemu", "pve2"),
            row(200, "ct-1", "lxc", "pve1"),
        ]
    }

    fn find(args: &[&str]) -> Result<Vec<u32>> {
        let found = resolve(&Target::parse_all(args)?, GuestKind::Qemu, &guests())?;
        Ok(found.into_iter().map(|found| found.guest.vmid.get()).collect())
    }

    #[test]
    fn finds_numbers_lists_ranges_names_and_places() {
        assert_eq!(find(&["101,100", "100"]).unwrap(), [101, 100]);
        assert_eq!(find(&["100-150"]).unwrap(), [100, 101, 102, 103]);
        assert_eq!(find(&["web-2", "vm/100", "pve1/twin"]).unwrap(), [101, 100, 102]);
    }

    #[test]
    fn one_unknown_target_stops_everything() {
        let error = find(&["100", "999", "wbe-1"]).unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        assert_eq!(error.message(), "no such vm: `999`, `wbe-1`");
        assert!(error.hints().contains(&Hint::DidYouMean(vec!["web-1".into(), "web-2".into()])), "{:?}", error.hints());
    }

    #[test]
    fn says_what_is_ambiguous_or_of_another_kind() {
        let error = find(&["twin"]).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.message().contains("102 on pve1, 103 on pve2"), "{error}");
        let error = find(&["200"]).unwrap_err();
        assert_eq!(error.hints(), [Hint::Text("200 is a container: use `pvectl container …`".into())]);
        let error = find(&["pve2/100"]).unwrap_err();
        assert_eq!(error.hints(), [Hint::Text("100 is on node pve1".into())]);
    }

    #[test]
    fn bad_targets_are_named() {
        for (bad, why) in
            [("99", "out of range"), ("199-150", "backwards"), ("", "expected"), ("pve1.x.org/100", "not a node name")]
        {
            let error = find(&[bad]).unwrap_err();
            assert!(error.class() == Class::Usage && error.message().contains(why), "{bad:?}: {error}");
        }
    }
}
