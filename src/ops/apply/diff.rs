//! Three ways to say what something is: what was applied last, what there is, what a document wants. Pure: what has to
//! change, and what somebody else changed in between.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::request::same_value;

/// Keys and parts of keys, by name: `cores`, `net0.bridge`, `labels.app`.
pub type Fields = BTreeMap<String, String>;

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// What it is; `None` if it is not set.
    pub before: Option<String>,
    /// What it should be; `None` if it should not be set.
    pub after: Option<String>,
    /// What was applied last, where somebody else changed it since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
}

/// What has to change so that everything wanted is so. What was applied and is wanted no longer goes; what nobody ever
/// said here is left alone. `known` is what was applied, the newest last: several where the last time did not come to
/// its end, so that either may be there.
pub fn differences(known: &[&Fields], live: &Fields, wanted: &Fields) -> Vec<Difference> {
    let said = |field: &str| known.iter().rev().filter_map(|known| known.get(field)).collect::<Vec<_>>();
    let drifted = |field: &str, now: Option<&String>| {
        let said = said(field);
        let ours = said.iter().any(|said| now.is_some_and(|now| same(field, now, said)));
        // Of several, one may never have come about.
        if ours || said.len() < known.len() { None } else { said.last().map(|said| (*said).clone()) }
    };
    let mut found = Vec::new();
    for (field, after) in wanted {
        let before = live.get(field);
        if before.is_some_and(|before| same(field, before, after)) {
            continue;
        }
        found.push(Difference {
            field: field.clone(),
            before: before.cloned(),
            after: Some(after.clone()),
            applied: drifted(field, before),
        });
    }
    let mut left: Vec<&String> =
        known.iter().flat_map(|known| known.keys()).filter(|field| !wanted.contains_key(*field)).collect();
    left.sort();
    left.dedup();
    for field in left {
        let Some(before) = live.get(field) else { continue };
        let applied = drifted(field, Some(before));
        found.push(Difference { field: field.clone(), before: Some(before.clone()), after: None, applied });
    }
    found
}

/// Whether two spellings of a field's value mean the same.
pub(super) fn same(field: &str, one: &str, other: &str) -> bool {
    let is_text = ["name", "hostname", "description", "comment"].contains(&field);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let is_address = field.ends_with(".macaddr") || field.ends_with(".hwaddr");
    one.trim_end() == other.trim_end()
        || (!is_text && number(one).is_some_and(|one| number(other) == Some(one)))
        || (is_address && one.eq_ignore_ascii_case(other))
        || same_value(field, one, other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(text: &str) -> Fields {
        text.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn shown(known: &[&str], live: &str, wanted: &str) -> String {
        let known: Vec<Fields> = known.iter().map(|text| fields(text)).collect();
        let found = differences(&known.iter().collect::<Vec<_>>(), &fields(live), &fields(wanted));
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let one = |found: &Difference| {
            let drift = found.applied.as_ref().map_or(String::new(), |applied| format!("!{applied}"));
            format!("{}:{}>{}{drift}", found.field, word(&found.before), word(&found.after))
        };
        found.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn three_ways_are_told_apart() {
        for (known, live, wanted, want) in [
            // Nothing was applied: there is nothing that somebody else could have changed.
            (&[][..], "cores=2 onboot=1", "cores=4", "cores:2>4"),
            (&["cores=2"], "cores=2", "cores=4", "cores:2>4"),
            (&["cores=2"], "cores=2 onboot=1", "cores=2", ""),
            (&["cores=2 onboot=1"], "cores=2 onboot=1", "cores=2", "onboot:1>-"),
            (&["cores=2 onboot=1"], "cores=2", "cores=2", ""),
            // Somebody else.
            (&["cores=2"], "cores=8", "cores=2", "cores:8>2!2"),
            (&["cores=2"], "cores=8", "cores=4", "cores:8>4!2"),
            (&["cores=2"], "cores=8", "cores=8", ""),
            (&["cores=2"], "", "cores=2", "cores:->2!2"),
            (&["cores=2 onboot=1"], "cores=2 onboot=0", "cores=2", "onboot:0>-!1"),
            // The last time did not come to its end.
            (&["cores=2", "cores=4"], "cores=4", "cores=8", "cores:4>8"),
            (&["cores=2", "cores=4"], "cores=2", "cores=8", "cores:2>8"),
            (&["cores=2", "cores=4"], "cores=3", "cores=8", "cores:3>8!2"),
            (&["", "cores=4"], "", "cores=4", "cores:->4"),
            // Spellings.
            (&[], "tags=a;b cpulimit=1 net0.macaddr=AA", "tags=b,a cpulimit=1.0 net0.macaddr=aa", ""),
        ] {
            assert_eq!(shown(known, live, wanted), want, "{known:?} {live} {wanted}");
        }
    }

    fn any_fields() -> impl Strategy<Value = Fields> {
        proptest::collection::btree_map("[a-e]", "[x-z]", 0..5)
    }

    proptest! {
        #[test]
        fn what_is_done_is_done_and_no_more(
            known in proptest::collection::vec(any_fields(), 0..3),
            live in any_fields(),
            wanted in any_fields(),
        ) {
            let known: Vec<&Fields> = known.iter().collect();
            let mut after = live.clone();
            for change in differences(&known, &live, &wanted) {
                prop_assert_eq!(live.get(&change.field), change.before.as_ref());
                prop_assert_ne!(&change.before, &change.after);
                match change.after {
                    Some(value) => drop(after.insert(change.field, value)),
                    None => drop(after.remove(&change.field)),
                }
            }
            for (field, value) in &wanted {
                prop_assert_eq!(after.get(field), Some(value));
            }
            for (field, value) in &live {
                let said = wanted.contains_key(field) || known.iter().any(|known| known.contains_key(field));
                prop_assert!(said || after.get(field) == Some(value), "{} is nobody's business", field);
            }
            prop_assert_eq!(differences(&[&wanted], &after, &wanted), Vec::new());
        }
    }
}
