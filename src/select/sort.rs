//! Sort keys: the fields by which rows are ordered, `node,-mem`. What has no value stands last, either way round.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde_json::Value;

use super::{compare::compare, path::FieldPath, scan::Scanner};
use crate::model::{Error, Result};

/// A field to sort by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// The field.
    pub path: FieldPath,
    /// The largest first.
    pub backwards: bool,
}

/// Fields to sort by; each decides where those before it leave rows equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKeys(Vec<SortKey>);

impl SortKeys {
    /// The keys, of which there is at least one.
    pub fn keys(&self) -> &[SortKey] {
        &self.0
    }

    /// The same order by other fields: for those who let people call fields by other names.
    ///
    /// # Errors
    /// Those of `map`.
    pub fn map_fields(&self, map: impl Fn(&FieldPath) -> Result<FieldPath>) -> Result<Self> {
        let key = |key: &SortKey| Ok(SortKey { path: map(&key.path)?, backwards: key.backwards });
        self.0.iter().map(key).collect::<Result<_>>().map(Self)
    }

    /// Orders rows by their data; equal ones keep their order.
    pub fn sort<T>(&self, rows: &mut Vec<T>, data: impl Fn(&T) -> &Value) {
        let values = |row: &T| self.0.iter().map(|key| key.path.get(data(row)).cloned()).collect();
        let mut keyed: Vec<(Vec<Option<Value>>, T)> = rows.drain(..).map(|row| (values(&row), row)).collect();
        keyed.sort_by(|(a, _), (b, _)| {
            let orders = self.0.iter().zip(a.iter().zip(b)).map(|(key, (a, b))| match (a, b) {
                (Some(a), Some(b)) if key.backwards => compare(b, a),
                (Some(a), Some(b)) => compare(a, b),
                _ => b.is_some().cmp(&a.is_some()),
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        rows.extend(keyed.into_iter().map(|(_, row)| row));
    }
}

impl FromStr for SortKeys {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new("a list of fields to sort by", text);
        let mut keys = Vec::new();
        loop {
            scanner.blanks();
            let backwards = scanner.eat("-");
            keys.push(SortKey { path: FieldPath::scan(&mut scanner)?, backwards });
            if scanner.is_done() {
                return Ok(Self(keys));
            }
            if !scanner.eat(",") {
                return Err(scanner.expected("`,` or the end"));
            }
        }
    }
}

impl fmt::Display for SortKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}{}", if key.backwards { "-" } else { "" }, key.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn order(keys: &str) -> Vec<i64> {
        let mut rows = vec![
            json!({"id": 9, "node": "pve2", "mem": 2, "config": {"cores": 4}}),
            json!({"id": 100, "node": "pve1"}),
            json!({"id": 20, "node": "PVE1", "mem": 10, "config": {"cores": 1}}),
        ];
        keys.parse::<SortKeys>().unwrap().sort(&mut rows, |row| row);
        rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
    }

    #[test]
    fn numbers_as_numbers_and_absent_ones_last() {
        assert_eq!(order("id"), [9, 20, 100]);
        assert_eq!(order("-id"), [100, 20, 9]);
        assert_eq!(order("mem"), [9, 20, 100]);
        assert_eq!(order("-mem"), [20, 9, 100]);
        assert_eq!(order("config.cores"), [20, 9, 100]);
        assert_eq!(order("node,-id"), [100, 20, 9]);
        assert_eq!(order("-node,id"), [9, 20, 100]);
        assert_eq!(order("nothing"), [9, 100, 20]);
    }

    #[test]
    fn errors_name_the_place() {
        let error = "node,".parse::<SortKeys>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`node,` is not a list of fields to sort by, at its end: a field's name is expected"
        );
        assert!("node=1".parse::<SortKeys>().unwrap_err().to_string().contains("at character 5: `,` or the end"));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(fields in prop::collection::vec((".+", any::<bool>()), 1..4)) {
            let keys = fields.into_iter().map(|(name, backwards)| SortKey { path: FieldPath::key(name), backwards });
            let keys = SortKeys(keys.collect());
            prop_assert_eq!(keys.to_string().parse::<SortKeys>().unwrap(), keys);
        }
    }
}
