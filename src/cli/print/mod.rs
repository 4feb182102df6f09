//! How data is printed: one file per format, and the table of formats.
//!
//! Only tables print cells; everything else prints the resource's own data.

mod arrange;
mod csv;
mod custom_columns;
pub(crate) mod fields;
mod format;
pub(crate) mod human;
mod jq;
mod json;
mod jsonpath;
mod name;
pub(crate) mod plot;
pub(crate) mod table;
mod yaml;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

pub(crate) use arrange::Arrange;
pub(crate) use format::{FORMATS, Format, known_formats};
pub(crate) use table::{Column, Lines};

use super::ui::Ui;
use crate::model::{Class, Error, Hint, Result};

/// The version of what JSON and YAML say: `docs/reference/output.md` describes it and says what changes it.
pub(crate) const SCHEMA: u32 = 1;

/// How things are printed.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) headers: bool,
    pub(crate) colours: bool,
    pub(crate) arrange: Arrange,
}

impl Style {
    /// The same for what is chosen and ordered already.
    pub(crate) fn arranged(&self) -> Self {
        Self { arrange: Arrange::default(), ..self.clone() }
    }
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

/// Whether one thing was asked for, which is printed as an object, or several, which are an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    Several,
}

impl Shape {
    /// The shape of so many things that were asked for.
    pub(crate) fn of(count: usize) -> Self {
        if count == 1 { Self::One } else { Self::Several }
    }
}

/// Prints a list: an array for machines, a table for people.
pub(crate) fn list<T: Row>(ui: &Ui, style: &Style, rows: &mut Vec<T>) -> Result<()> {
    arrange::<T, _>(style, rows, to_value)?;
    ui.data(|out| match style.format {
        Format::Name => rows.iter().try_for_each(|row| name::write(out, &row.name())),
        Format::Table | Format::Wide => table::write(out, T::columns(), rows, style),
        _ => write_data(out, style, &fields::<T>(), rows),
    })
}

/// Writes what happened to a row, for machines: a line of its own.
pub(crate) fn event(out: &mut dyn Write, style: &Style, event: &Value) -> io::Result<()> {
    match &style.format {
        Format::Jq(jq) => jq::write(out, jq, event),
        _ => writeln!(out, "{event}"),
    }
}

/// Prints one thing: an object for machines, a table of one row for people.
pub(crate) fn one<T: Row>(ui: &Ui, style: &Style, row: &T) -> Result<()> {
    let mut rows = vec![row];
    arrange::<T, _>(style, &mut rows, to_value)?;
    if rows.is_empty() {
        return list::<T>(ui, &style.arranged(), &mut Vec::new());
    }
    ui.data(|out| match style.format {
        Format::Name => name::write(out, &row.name()),
        Format::Table | Format::Wide => table::write(out, T::columns(), std::slice::from_ref(row), style),
        _ => write_data(out, style, &fields::<T>(), row),
    })
}

/// Writes documents of YAML, each below a line of dashes.
pub(crate) fn documents(out: &mut dyn Write, documents: &[Value]) -> io::Result<()> {
    documents.iter().enumerate().try_for_each(|(at, document)| {
        if at > 0 {
            writeln!(out, "---")?;
        }
        yaml::write(out, document)
    })
}

/// Prints one thing that has no columns: data for machines, or what `people` writes.
pub(crate) fn data_or(
    ui: &Ui,
    style: &Style,
    data: &impl Serialize,
    names: &[String],
    people: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    if style.arrange.is_wanted() {
        match to_value(data)? {
            Value::Array(_) if style.format.is_table() => {
                return Err(Error::usage("there are no rows here to choose or sort for people")
                    .with_hint(Hint::Text("give an output format for machines, such as -o json".into())));
            }
            Value::Array(items) => return each(ui, style, Shape::Several, &items, names, |_, _| Ok(())),
            one => {
                let mut kept = vec![one];
                style.arrange.apply(&mut kept, &[], |one| Ok(one.clone()))?;
                if kept.is_empty() {
                    return each(ui, &style.arranged(), Shape::Several, &kept, &[], |_, _| Ok(()));
                }
            }
        }
    }
    ui.data(|out| match style.format {
        Format::Name => names.iter().try_for_each(|name| name::write(out, name)),
        Format::Table | Format::Wide => people(out),
        _ => write_data(out, style, &[], data),
    })
}

/// What is wanted of data that has no columns, in the order that is wanted: of an array what matches; of one thing the
/// thing, or an empty array.
pub(crate) fn arranged(style: &Style, data: Value) -> Result<Value> {
    if !style.arrange.is_wanted() {
        return Ok(data);
    }
    let (mut rows, one) = match data {
        Value::Array(rows) => (rows, false),
        one => (vec![one], true),
    };
    style.arrange.apply(&mut rows, &[], |row| Ok(row.clone()))?;
    Ok(if one { rows.pop().unwrap_or_else(|| Value::Array(Vec::new())) } else { Value::Array(rows) })
}

/// Prints things that have no columns: data for machines; for people what `people` writes of those whose places it is
/// given.
pub(crate) fn each<T: Serialize>(
    ui: &Ui,
    style: &Style,
    shape: Shape,
    things: &[T],
    names: &[String],
    people: impl FnOnce(&mut dyn Write, &[usize]) -> io::Result<()>,
) -> Result<()> {
    let mut places: Vec<usize> = (0..things.len()).collect();
    if style.arrange.is_wanted() {
        style.arrange.apply(&mut places, &[], |place| to_value(&things[*place]))?;
    }
    ui.data(|out| match (&style.format, shape, places.as_slice()) {
        (Format::Name, ..) => {
            places.iter().filter_map(|place| names.get(*place)).try_for_each(|name| name::write(out, name))
        }
        (Format::Table | Format::Wide, ..) => people(out, &places),
        (_, Shape::One, [place]) => write_data(out, style, &[], &things[*place]),
        _ => write_data(out, style, &[], &places.iter().map(|place| &things[*place]).collect::<Vec<_>>()),
    })
}

/// Leaves the rows of a kind that are wanted, in the order that is wanted. `data` is what a row is chosen by.
pub(crate) fn arrange<T: Row, R>(style: &Style, rows: &mut Vec<R>, data: impl Fn(&R) -> Result<Value>) -> Result<()> {
    if !style.arrange.is_wanted() {
        return Ok(());
    }
    let columns: Vec<_> = T::columns().iter().map(|column| (column.title, column.field)).collect();
    style.arrange.apply(rows, &columns, data)
}

fn fields<T: Row>() -> Vec<&'static str> {
    T::columns().iter().map(|column| column.field).collect()
}

/// Data as a value, for all that looks into it.
pub(crate) fn to_value(data: &impl Serialize) -> Result<Value> {
    serde_json::to_value(data)
        .map_err(|error| Error::new(Class::Bug, "this cannot be written as JSON").with_source(error))
}

/// Writes in a format that takes data. `fields` are those of the columns, if there are any.
fn write_data(out: &mut dyn Write, style: &Style, fields: &[&str], data: &impl Serialize) -> io::Result<()> {
    // Long lists are written without a value in between.
    match &style.format {
        Format::Json => return json::write(out, data),
        Format::Yaml => return yaml::write(out, data),
        _ => {}
    }
    let data = to_value(data).map_err(io::Error::other)?;
    let rows = || data.as_array().map_or(std::slice::from_ref(&data), Vec::as_slice);
    match &style.format {
        Format::Csv => csv::write(out, style.headers, fields, rows()),
        Format::CustomColumns(columns) => custom_columns::write(out, style, columns, rows()),
        Format::JsonPath(template) => jsonpath::write(out, template, data),
        Format::Jq(jq) => jq::write(out, jq, &data),
        // These have no data of their own.
        Format::Json | Format::Yaml | Format::Name | Format::Table | Format::Wide => Ok(()),
    }
}
