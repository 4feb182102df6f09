//! What is printed and in which order: `--field-selector` and `--sort-by`, over the data of rows.
//!
//! The columns of a kind lend their titles as names of fields. Without either option nothing here runs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    model::{Error, Result, closest},
    select::{FieldPath, FieldSelector, SortKeys},
};

/// How rows are chosen and ordered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrange {
    pub(crate) filter: Option<FieldSelector>,
    pub(crate) sort: Option<SortKeys>,
}

/// A column's title and the field it shows.
pub(super) type Titled = (&'static str, &'static str);

impl Arrange {
    /// Whether there is anything to do.
    pub(crate) fn is_wanted(&self) -> bool {
        self.filter.is_some() || self.sort.is_some()
    }

    /// Leaves the rows that are wanted, in the order that is wanted.
    ///
    /// # Errors
    /// For a field that no row and no column has.
    pub(super) fn apply<R>(
        &self,
        rows: &mut Vec<R>,
        columns: &[Titled],
        data: impl Fn(&R) -> Result<Value>,
    ) -> Result<()> {
        let mut keyed: Vec<(Value, R)> =
            rows.drain(..).map(|row| Ok((data(&row)?, row))).collect::<Result<Vec<_>>>()?;
        // Before the filter takes rows away, so that what a mistake is does not depend on it.
        let sort =
            self.sort.as_ref().map(|sort| sort.map_fields(|path| sort_field(path, columns, &keyed))).transpose()?;
        if let Some(filter) = &self.filter {
            let filter = filter.map_fields(|path| filter_field(path, columns, &keyed))?;
            let mut wanted = Vec::new();
            for (data, row) in keyed {
                if filter.matches(&data)? {
                    wanted.push((data, row));
                }
            }
            keyed = wanted;
        }
        if let Some(sort) = sort {
            sort.sort(&mut keyed, |(data, _)| data);
        }
        rows.extend(keyed.into_iter().map(|(_, row)| row));
        Ok(())
    }
}

/// The field of the column that is called so.
fn titled(path: &FieldPath, columns: &[Titled]) -> Option<FieldPath> {
    let (_, field) = columns.iter().find(|(title, _)| path.is_open() && title.eq_ignore_ascii_case(path.first()))?;
    Some(FieldPath::key(*field))
}

/// Whether a field is one: a column's, which rows may be without, or one that some row has.
fn is_known<R>(path: &FieldPath, columns: &[Titled], rows: &[(Value, R)]) -> bool {
    rows.is_empty()
        || columns.iter().any(|(_, field)| *field == path.first())
        || rows.iter().any(|(data, _)| data.get(path.first()).is_some())
}

/// People sort by what they see: a title comes before a field of the same name.
fn sort_field<R>(path: &FieldPath, columns: &[Titled], rows: &[(Value, R)]) -> Result<FieldPath> {
    if let Some(path) = titled(path, columns) {
        return Ok(path);
    }
    if is_known(path, columns, rows) {
        return Ok(path.clone());
    }
    let titles = columns.iter().map(|(title, _)| title.to_lowercase());
    Err(unknown(path, "sort", "columns are", titles.collect(), rows))
}

/// A filter sees data: a field comes before a title of the same name.
fn filter_field<R>(path: &FieldPath, columns: &[Titled], rows: &[(Value, R)]) -> Result<FieldPath> {
    if is_known(path, columns, rows) {
        return Ok(path.clone());
    }
    if let Some(path) = titled(path, columns) {
        return Ok(path);
    }
    let fields = columns.iter().map(|(_, field)| (*field).to_owned());
    Err(unknown(path, "filter", "columns have", fields.collect(), rows))
}

fn unknown<R>(path: &FieldPath, verb: &str, are: &str, known: Vec<String>, rows: &[(Value, R)]) -> Error {
    let keys = rows.first().and_then(|(data, _)| data.as_object()).into_iter().flat_map(|data| data.keys().cloned());
    let (are, known) = if known.is_empty() { ("there are", keys.collect()) } else { (are, known) };
    let word = path.first().to_lowercase();
    let mut close = closest(&word, known.iter().cloned());
    if close.is_empty() {
        // No column is like it; a key that none shows may be.
        let keys: BTreeSet<&String> =
            rows.iter().filter_map(|(data, _)| data.as_object()).flat_map(|data| data.keys()).collect();
        close = closest(&word, keys.into_iter().cloned());
    }
    let known = known.join(", ");
    Error::usage(format!("no row has a field `{}` to {verb} by; {are} {known}", path.first())).did_you_mean(close)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Hint;

    const COLUMNS: &[Titled] = &[("VMID", "vmid"), ("MEMORY", "maxmem"), ("POOL", "pool")];

    fn arrange(filter: Option<&str>, sort: Option<&str>) -> Result<Vec<i64>> {
        let arrange =
            Arrange { filter: filter.map(|text| text.parse().unwrap()), sort: sort.map(|text| text.parse().unwrap()) };
        let mut rows = vec![
            json!({"vmid": 9, "maxmem": 2, "config": {"cores": 2}}),
            json!({"vmid": 100, "maxmem": null}),
            json!({"vmid": 20, "maxmem": 10, "config": {"cores": 1}}),
        ];
        arrange.apply(&mut rows, COLUMNS, |row| Ok(row.clone()))?;
        Ok(rows.iter().map(|row| row["vmid"].as_i64().unwrap()).collect())
    }

    #[test]
    fn columns_lend_their_titles() {
        assert_eq!(arrange(None, Some("-memory")).unwrap(), [20, 9, 100]);
        assert_eq!(arrange(Some("Memory>=2"), Some("vmid")).unwrap(), [9, 20]);
        assert_eq!(arrange(Some("config.cores<2"), None).unwrap(), [20]);
        assert_eq!(
            arrange(Some("config.none=1"), None).unwrap(),
            [0_i64; 0],
            "a configuration has no key that must be"
        );
        assert_eq!(arrange(Some("pool="), Some("pool")).unwrap(), [9, 100, 20], "no row must have a column's field");
    }

    #[test]
    fn what_nothing_has_is_a_mistake() {
        let error = arrange(None, Some("vmdi")).unwrap_err();
        assert_eq!(error.message(), "no row has a field `vmdi` to sort by; columns are vmid, memory, pool");
        assert_eq!(error.hints(), [Hint::DidYouMean(vec!["vmid".into()])]);
        let error = arrange(Some("maxmen=1"), None).unwrap_err();
        assert_eq!(error.message(), "no row has a field `maxmen` to filter by; columns have vmid, maxmem, pool");
        assert_eq!(error.hints(), [Hint::DidYouMean(vec!["maxmem".into()])]);
    }
}
