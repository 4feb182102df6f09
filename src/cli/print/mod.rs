//! How data is printed: one file per format, and the table of formats.
//!
//! JSON and YAML print the resource's own data; only tables print cells.

pub(crate) mod human;
mod json;
mod name;
pub(crate) mod table;
mod yaml;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

pub(crate) use table::Column;

use super::ui::Ui;
use crate::{
    model::{Class, Error, Result},
    ops::closest,
};

/// The version of what JSON and YAML say: `docs/reference/output.md` describes it and says what changes it.
pub(crate) const SCHEMA: u32 = 1;

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// Every format by name.
pub(crate) const FORMATS: &[(&str, Format)] = &[
    ("table", Format::Table),
    ("wide", Format::Wide),
    ("json", Format::Json),
    ("yaml", Format::Yaml),
    ("name", Format::Name),
];

impl Format {
    /// Reads a format's name.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some((_, format)) = FORMATS.iter().find(|(name, _)| *name == text) {
            return Ok(*format);
        }
        let names = || FORMATS.iter().map(|(name, _)| (*name).to_owned());
        let known = names().collect::<Vec<_>>().join(", ");
        let error = Error::usage(format!("unknown output format `{text}`, known are {known}"));
        let close = closest(text, names());
        Err(error.did_you_mean(close))
    }

    /// Whether cells are printed.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// How a list is printed.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) headers: bool,
    pub(crate) colours: bool,
    pub(crate) sort_by: Option<String>,
}

/// What can be printed as a row, as data and by name.
pub(crate) trait Row: Serialize + 'static {
    /// The columns of its table.
    fn columns() -> &'static [Column<Self>]
    where
        Self: Sized;

    /// `vm/150`.
    fn name(&self) -> String;
}

/// A column's title, and the field of the data that it shows.
pub(crate) type Heading = (&'static str, &'static str);

/// The columns of a table.
pub(crate) fn headings<T: Row>() -> Vec<Heading> {
    T::columns().iter().map(|column| (column.title, column.field)).collect()
}

/// Prints a list: an array for machines, a table for people.
pub(crate) fn list<T: Row>(ui: &Ui, style: &Style, rows: &mut Vec<T>) -> Result<()> {
    if let Some(key) = &style.sort_by {
        sort(rows, key)?;
    }
    ui.data(|out| match style.format {
        Format::Json => json::write(out, &rows),
        Format::Yaml => yaml::write(out, &rows),
        Format::Name => rows.iter().try_for_each(|row| name::write(out, &row.name())),
        Format::Table | Format::Wide => table::write(out, T::columns(), rows, style),
    })
}

/// Prints one thing: an object for machines, a table of one row for people.
pub(crate) fn one<T: Row>(ui: &Ui, style: &Style, row: &T) -> Result<()> {
    ui.data(|out| match style.format {
        Format::Json => json::write(out, row),
        Format::Yaml => yaml::write(out, row),
        Format::Name => name::write(out, &row.name()),
        Format::Table | Format::Wide => table::write(out, T::columns(), std::slice::from_ref(row), style),
    })
}

/// Prints data for machines, or what `people` writes.
pub(crate) fn data_or(
    ui: &Ui,
    format: Format,
    data: &impl Serialize,
    names: &[String],
    people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    ui.data(|out| match format {
        Format::Json => json::write(out, data),
        Format::Yaml => yaml::write(out, data),
        Format::Name => names.iter().try_for_each(|name| name::write(out, name)),
        Format::Table | Format::Wide => people(out),
    })
}

/// Orders rows by a column's name or a field of their data; numbers by value, absent ones last.
fn sort<T: Row>(rows: &mut Vec<T>, key: &str) -> Result<()> {
    let (key, backwards) = key.strip_prefix('-').map_or((key, false), |key| (key, true));
    let field = T::columns().iter().find(|column| column.title.eq_ignore_ascii_case(key)).map_or(key, |c| c.field);
    let value = |row: &T| serde_json::to_value(row).ok()?.get(field).filter(|value| !value.is_null()).cloned();
    let mut keyed: Vec<(Option<Value>, T)> = rows.drain(..).map(|row| (value(&row), row)).collect();
    if !keyed.is_empty() && keyed.iter().all(|(value, _)| value.is_none()) {
        rows.extend(keyed.into_iter().map(|(_, row)| row));
        let titles = T::columns().iter().map(|column| column.title.to_lowercase());
        let known = titles.clone().collect::<Vec<_>>().join(", ");
        let error = Error::new(Class::Usage, format!("no row has a field `{key}` to sort by; columns are {known}"));
        let close = closest(&key.to_lowercase(), titles);
        return Err(error.did_you_mean(close));
    }
    keyed.sort_by(|(a, _), (b, _)| match (a, b) {
        (Some(a), Some(b)) => {
            let order = compare(a, b);
            if backwards { order.reverse() } else { order }
        }
        // What has no value stands last, whichever way the rest goes.
        _ => b.is_some().cmp(&a.is_some()),
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
    Ok(())
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_lowercase);
            text(a).cmp(&text(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hint;

    #[derive(Debug, Serialize, PartialEq)]
    struct Named {
        vmid: u32,
        mem: Option<u32>,
    }

    impl Row for Named {
        fn columns() -> &'static [Column<Self>] {
            const { &[Column::new("VMID", "vmid", |row: &Self| row.vmid.to_string())] }
        }

        fn name(&self) -> String {
            self.vmid.to_string()
        }
    }

    #[test]
    fn sorts_numbers_as_numbers_and_absent_ones_last() {
        let row = |vmid, mem| Named { vmid, mem };
        let order = |key: &str| {
            let mut rows = vec![row(9, Some(2)), row(100, None), row(20, Some(10))];
            sort(&mut rows, key).map(|()| rows.iter().map(|row| row.vmid).collect::<Vec<_>>())
        };
        assert_eq!(order("vmid").unwrap(), [9, 20, 100]);
        assert_eq!(order("-VMID").unwrap(), [100, 20, 9]);
        assert_eq!(order("mem").unwrap(), [9, 20, 100]);
        assert_eq!(order("-mem").unwrap(), [20, 9, 100]);
        assert_eq!(order("vmdi").unwrap_err().hints(), [Hint::DidYouMean(vec!["vmid".into()])]);
    }
}
