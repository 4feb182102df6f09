//! Field selectors: conditions on the data of a row, `status=running,node!=pve1,maxmem>=4G`.
//!
//! They see data as it is printed, not as a table shows it.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde_json::Value;

use super::{
    compare::text,
    path::FieldPath,
    scan::{Scanner, escape},
};
use crate::model::{Error, Result, Size};

/// How a field must stand to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `=` or `==`: the same; with nothing behind it, absent or empty.
    Is,
    /// `!=`: anything but the same; what is absent counts as another.
    IsNot,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// How relations are written; of two that begin alike the longer one first.
const RELATIONS: &[(&str, Relation)] = &[
    ("==", Relation::Is),
    ("=", Relation::Is),
    ("!=", Relation::IsNot),
    ("<=", Relation::AtMost),
    ("<", Relation::Less),
    (">=", Relation::AtLeast),
    (">", Relation::More),
];

/// Fields of configurations that are in MiB, not in bytes.
const MIB: &[&str] = &["memory", "swap", "balloon"];

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The field.
    pub path: FieldPath,
    /// How it must stand to the value.
    pub relation: Relation,
    /// The value, as it was written.
    pub value: String,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSelector(Vec<Condition>);

impl FieldSelector {
    /// The conditions, of which there is at least one.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }

    /// The same conditions on other fields: for those who let people call fields by other names.
    ///
    /// # Errors
    /// Those of `map`.
    pub fn map_fields(&self, map: impl Fn(&FieldPath) -> Result<FieldPath>) -> Result<Self> {
        let condition = |one: &Condition| Ok(Condition { path: map(&one.path)?, ..one.clone() });
        self.0.iter().map(condition).collect::<Result<_>>().map(Self)
    }

    /// Whether data meets all conditions.
    ///
    /// # Errors
    /// If a number is to be compared with something that is none.
    pub fn matches(&self, data: &Value) -> Result<bool> {
        self.0.iter().try_fold(true, |so_far, one| Ok(so_far && one.holds(data)?))
    }
}

impl Condition {
    fn holds(&self, data: &Value) -> Result<bool> {
        let found = self.path.get(data);
        Ok(match self.relation {
            Relation::Is => self.is(found),
            Relation::IsNot => !self.is(found),
            _ => {
                let Some(order) = found.map(|found| self.order(found)).transpose()? else { return Ok(false) };
                match self.relation {
                    Relation::Less => order == Ordering::Less,
                    Relation::AtMost => order != Ordering::Greater,
                    Relation::More => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                }
            }
        })
    }

    fn is(&self, found: Option<&Value>) -> bool {
        match found {
            None => self.value.is_empty(),
            // The server's truth is 1.
            Some(Value::Number(number)) if matches!(self.value.as_str(), "true" | "false") => {
                number.as_u64() == Some(u64::from(self.value == "true"))
            }
            Some(Value::Number(number)) => number.as_f64().is_some_and(|number| self.number() == Some(number)),
            // One of them is enough.
            Some(Value::Array(items)) => match items.is_empty() {
                true => self.value.is_empty(),
                false => items.iter().any(|item| self.is(Some(item))),
            },
            // A number that the server wrote as text, and a size: 8192 and 8G.
            Some(Value::String(have)) if *have != self.value && self.value.parse::<f64>().is_err() => {
                self.number().is_some_and(|wanted| have.parse() == Ok(wanted))
            }
            Some(other) => text(other) == self.value,
        }
    }

    fn order(&self, found: &Value) -> Result<Ordering> {
        let have = found.as_f64().or_else(|| found.as_str()?.parse().ok());
        match (have, self.number()) {
            (Some(have), Some(wanted)) => Ok(have.total_cmp(&wanted)),
            (Some(_), None) if found.is_number() => Err(Error::usage(format!(
                "`{}` holds numbers, and `{}` is none: a number or a size such as 4G is expected",
                self.path, self.value
            ))),
            _ => Ok(text(found).as_str().cmp(&self.value)),
        }
    }

    /// The value as a number: plain, or a size in the field's unit.
    fn number(&self) -> Option<f64> {
        if let Ok(number) = self.value.parse::<f64>() {
            return Some(number).filter(|number| number.is_finite());
        }
        let bytes = self.value.parse::<Size>().ok()?.0 as f64;
        let mib = !self.path.is_open() && MIB.contains(&self.path.last());
        Some(if mib { bytes / f64::from(1 << 20) } else { bytes })
    }
}

impl FromStr for FieldSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new("a field selector", text);
        let mut conditions = Vec::new();
        loop {
            let path = FieldPath::scan(&mut scanner)?;
            let relation = RELATIONS.iter().find(|(written, _)| scanner.eat(written)).map(|(_, relation)| *relation);
            let relation = relation.ok_or_else(|| scanner.expected("one of =, !=, <, <=, >, >="))?;
            let before = scanner.clone();
            let value = scanner.escaped(&[','])?;
            if value.is_empty() && !matches!(relation, Relation::Is | Relation::IsNot) {
                return Err(before.expected("a value"));
            }
            conditions.push(Condition { path, relation, value });
            if scanner.is_done() {
                return Ok(Self(conditions));
            }
            scanner.eat(",");
        }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Condition { path, relation, value }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let written = RELATIONS.iter().rev().find(|(_, one)| one == relation).map_or("", |(written, _)| written);
            write!(f, "{comma}{path}{written}{}", escape(value, &[',', '=']))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn matches(selector: &str) -> bool {
        let data = json!({
            "name": "web-1", "status": "running", "cpu": 0.25, "maxmem": 4_294_967_296_u64, "template": 0, "pool": null,
            "started": "2026-11-20T10:00:00Z", "endpoints": ["https://a", "https://b"], "none": [],
            "config": {"memory": "8192", "cores": 4, "net0": "virtio,bridge=vmbr0"},
        });
        selector.parse::<FieldSelector>().unwrap().matches(&data).unwrap()
    }

    #[test]
    fn compares_as_people_mean_it() {
        for yes in [
            "status=running",
            "status == running , name!=web-2",
            "maxmem>=4G,maxmem<=4G,maxmem=4G,maxmem<4097M,maxmem>1",
            "cpu>0.2,cpu<.3",
            "template=false,template!=true,template=0",
            "pool=,nothing=,pool!=prod,none=",
            "config.memory=8G,config.memory=8192,config.memory>4G,config.cores<=4",
            "started>=2026-11-01,started<2026-12",
            "endpoints=https://b,endpoints!=https://c",
            r"config.net0=virtio\,bridge\=vmbr0",
            r"config.net0=virtio\,bridge=vmbr0",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "status=Running",
            "status!=running",
            "maxmem<4G",
            "maxmem>4G",
            "pool=prod",
            "pool>a",
            "name=",
            "endpoints!=https://a",
            "status=running,name=x",
        ] {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn a_number_is_not_compared_with_words() {
        let selector: FieldSelector = "maxmem>lots".parse().unwrap();
        let error = selector.matches(&json!({"maxmem": 1})).unwrap_err();
        assert!(error.to_string().contains("`maxmem` holds numbers, and `lots` is none"), "{error}");
    }

    #[test]
    fn errors_name_the_place() {
        let error = |text: &str| text.parse::<FieldSelector>().unwrap_err().to_string();
        assert_eq!(
            error("status"),
            "`status` is not a field selector, at its end: one of =, !=, <, <=, >, >= is expected"
        );
        assert_eq!(error("a=b,,c=d"), "`a=b,,c=d` is not a field selector, at character 5: a field's name is expected");
        assert_eq!(error("a>"), "`a>` is not a field selector, at its end: a value is expected");
        assert_eq!(error("a=b,"), "`a=b,` is not a field selector, at its end: a field's name is expected");
        assert_eq!(
            error("a!b"),
            "`a!b` is not a field selector, at character 2: one of =, !=, <, <=, >, >= is expected"
        );
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(conditions in prop::collection::vec((".+", 0..RELATIONS.len(), ".+"), 1..4)) {
            let conditions = conditions.into_iter().map(|(field, relation, value)| Condition {
                path: FieldPath::key(field),
                relation: RELATIONS[relation].1,
                value,
            });
            let selector = FieldSelector(conditions.collect());
            prop_assert_eq!(selector.to_string().parse::<FieldSelector>().unwrap(), selector);
        }

        #[test]
        fn a_condition_and_its_negation_share_the_world(have in "[a-c]{0,2}", wanted in "[a-c]{0,2}", absent: bool) {
            let data = if absent { json!({}) } else { json!({"f": have}) };
            let holds = |relation: &str| format!("f{relation}{wanted}").parse::<FieldSelector>().unwrap().matches(&data).unwrap();
            prop_assert_ne!(holds("="), holds("!="));
            prop_assert_eq!(holds("="), if absent { wanted.is_empty() } else { have == wanted });
            if !absent && !wanted.is_empty() {
                prop_assert_ne!(holds("<"), holds(">="));
                prop_assert_ne!(holds(">"), holds("<="));
                prop_assert_eq!(holds("<"), have < wanted);
            }
        }
    }
}
