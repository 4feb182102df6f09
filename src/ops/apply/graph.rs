//! In which order documents are made so: what one speaks of comes before it, and what goes, goes the other way round.
//!
//! Pure: who needs whom, by what the documents say.

use std::collections::{BTreeSet, HashMap};

use crate::manifest::{Document, Spec};

/// Sorts of things, those first that others speak of. What is in none of the lists comes with the first.
const ORDER: &[&[&str]] = &[
    &["realm", "role"],
    &["group"],
    &["user"],
    &["pool", "storage", "mapping-pci", "mapping-usb", "mapping-dir"],
    &["vm", "container"],
    &["ha-resource", "backup-job", "replication"],
    &["ha-rule"],
];

/// The place of a sort in the order.
pub(super) fn rank(noun: &str) -> usize {
    ORDER.iter().position(|nouns| nouns.contains(&noun)).unwrap_or(0)
}

/// For each document the places of those that it needs.
pub(super) fn needs(documents: &[Document]) -> Vec<Vec<usize>> {
    let mut called: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, document) in documents.iter().enumerate() {
        names(document).into_iter().for_each(|name| called.entry(name).or_default().push(at));
    }
    let of = |own: &Document| {
        let before = |other: &&usize| rank(documents[**other].noun) < rank(own.noun);
        let spoken = words(own);
        let spoken = spoken.iter().filter_map(|word| called.get(word)).flatten().filter(before);
        let template = template_of(own).and_then(|name| called.get(name)).into_iter().flatten();
        let template = template.filter(|other| documents[**other].noun == own.noun);
        let all: BTreeSet<usize> = spoken.chain(template).copied().collect();
        all.into_iter().collect()
    };
    documents.iter().map(of).collect()
}

/// What a guest is made from.
fn template_of(document: &Document) -> Option<&str> {
    match &document.spec {
        Spec::Guest(guest) => guest.from.template.as_deref(),
        Spec::Thing(..) => None,
    }
}

/// What others call it.
fn names(document: &Document) -> Vec<String> {
    let vmid = document.metadata.vmid;
    let prefixed = |prefix: &str| vmid.map(|vmid| format!("{prefix}{vmid}"));
    let own = Some(document.metadata.name.clone());
    [own, prefixed(""), prefixed("vm:"), prefixed("ct:")].into_iter().flatten().collect()
}

/// What a document speaks of.
fn words(document: &Document) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut add = |text: &str| {
        let pieces = text.split([',', ';', ' ']).filter(|piece| !piece.is_empty());
        words.extend(
            pieces
                .flat_map(|piece| [piece, piece.split_once('=').map_or(piece, |(_, value)| value)])
                .map(str::to_owned),
        );
        // `ann@pve` is of realm `pve`, `150-0` is a replication of guest 150.
        words.extend(text.rsplit_once('@').map(|(_, realm)| realm.to_owned()));
        words.extend(text.split_once('-').map(|(vmid, _)| vmid.to_owned()).filter(|vmid| vmid.parse::<u32>().is_ok()));
    };
    match &document.spec {
        Spec::Guest(guest) => {
            let speaking = |field: &str| {
                field == "pool"
                    || field.ends_with(".storage")
                    || field.starts_with("virtiofs")
                    || field.starts_with("hostpci")
            };
            guest.fields.iter().filter(|(field, _)| speaking(field)).for_each(|(_, value)| add(value));
        }
        Spec::Thing(params, _) => {
            add(&document.metadata.name);
            params.iter().for_each(|(_, value)| add(value));
        }
    }
    words
}

/// The places in the order in which they are begun: each behind what it needs, else as they are. Those of a circle, and what
/// needs them, are not among them.
pub(super) fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(needs.len());
    let mut is_out = vec![false; needs.len()];
    loop {
        let before = order.len();
        for at in 0..needs.len() {
            if !is_out[at] && needs[at].iter().all(|need| is_out[*need]) {
                is_out[at] = true;
                order.push(at);
            }
        }
        if order.len() == before {
            return order;
        }
    }
}

/// Whether some need one another, directly or over others: the places of these.
pub(super) fn circle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let order = order(needs);
    let stuck: Vec<usize> = (0..needs.len()).filter(|at| !order.contains(at)).collect();
    (!stuck.is_empty()).then_some(stuck)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::manifest::{Reading, Written, read};

    fn documents(text: &str) -> Vec<Document> {
        let variables = BTreeMap::new();
        let reading = Reading { nouns: &["pool", "storage", "user", "realm", "ha-resource"], variables: &variables };
        let all = read(text, Path::new("a.yaml"), &reading).unwrap();
        all.into_iter()
            .filter_map(|written| if let Written::Document(document) = written { Some(*document) } else { None })
            .collect()
    }

    #[test]
    fn what_is_spoken_of_comes_first() {
        let all = documents(
            "apiVersion: pvectl/v1\nkind: HaResource\nmetadata: { name: 'vm:150' }\n---\n\
             apiVersion: pvectl/v1\nkind: VirtualMachine\nmetadata: { name: web, vmid: 150, pool: prod }\nspec: { from: { template: base } }\n---\n\
             apiVersion: pvectl/v1\nkind: VirtualMachine\nmetadata: { name: base }\nspec: { state: template, disks: { scsi0: { storage: fast, size: 8G } } }\n---\n\
             apiVersion: pvectl/v1\nkind: Pool\nmetadata: { name: prod }\n---\n\
             apiVersion: pvectl/v1\nkind: Storage\nmetadata: { name: fast }\nspec: { type: dir }\n",
        );
        let needs = needs(&all);
        assert_eq!(needs, [vec![1], vec![2, 3], vec![4], vec![], vec![]]);
        assert_eq!(circle(&needs), None);
        assert_eq!(order(&needs), [3, 4, 2, 1, 0]);
    }

    #[test]
    fn circles_are_found() {
        let one = |name: &str, from: &str| {
            format!(
                "apiVersion: pvectl/v1\nkind: VirtualMachine\nmetadata: {{ name: {name} }}\nspec: {{ from: {{ template: {from} }} }}\n---\n"
            )
        };
        let all = documents(&format!("{}{}{}", one("a", "b"), one("b", "a"), one("c", "other")));
        assert_eq!(circle(&needs(&all)), Some(vec![0, 1]));
    }
}
