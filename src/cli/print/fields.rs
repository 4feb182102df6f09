//! Rows of data whose columns are entries of a table: what field each shows, and how.
//!
//! For kinds that have no type of their own: what the server says is printed as it is.

use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Format, Heading, Shape, Style,
    human::{percent, size, uptime},
    name, table, write_data,
};
use crate::{
    cli::ui::{Ui, style},
    model::Result,
    ops::plain,
};

/// How a field is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// As it is.
    Text,
    /// A number, to the right.
    Number,
    /// Bytes.
    Size,
    /// A share of one, as percent.
    Share,
    /// Seconds.
    Uptime,
    /// Seconds since 1970.
    When,
    /// The same of something that ends; 0 is never.
    End,
    /// `yes` or nothing.
    Flag,
    /// The same where nothing is said means `yes`.
    FlagOn,
    /// How many there are in it.
    Count,
    /// A state, with its colour.
    Status,
    /// Its first line.
    Line,
    /// Of an object this part.
    Part(&'static str),
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) title: &'static str,
    pub(crate) field: &'static str,
    pub(crate) how: How,
    /// Only in `wide`.
    pub(crate) wide: bool,
}

impl Field {
    pub(crate) const fn new(title: &'static str, field: &'static str, how: How) -> Self {
        Self { title, field, how, wide: false }
    }

    pub(crate) const fn text(title: &'static str, field: &'static str) -> Self {
        Self::new(title, field, How::Text)
    }

    pub(crate) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    fn is_right(&self) -> bool {
        matches!(self.how, How::Number | How::Size | How::Share | How::Uptime | How::Count)
    }
}

impl How {
    /// A value for people.
    pub(crate) fn show(self, value: Option<&Value>) -> String {
        let number = || value.and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
        let whole = || number().map(|number| number as u64);
        let when = |seconds: u64| Timestamp::from_second(seconds as i64).map_or(String::new(), |at| at.to_string());
        let truth = |value: &Value| !matches!(plain(value).as_deref(), None | Some("0" | ""));
        match self {
            Self::Text | Self::Number | Self::Status => value.and_then(plain).unwrap_or_default(),
            Self::Line => {
                value.and_then(plain).and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
            }
            Self::Part(key) => value.and_then(|value| value.get(key)).and_then(plain).unwrap_or_default(),
            Self::Size => size(whole()),
            Self::Share => percent(number()),
            Self::Uptime => whole().map_or(String::new(), uptime),
            Self::When => whole().filter(|seconds| *seconds > 0).map_or(String::new(), when),
            Self::End => match whole() {
                None | Some(0) => "never".to_owned(),
                Some(seconds) => when(seconds),
            },
            Self::Flag => if value.is_some_and(truth) { "yes" } else { "" }.to_owned(),
            Self::FlagOn => if value.is_none_or(truth) { "yes" } else { "no" }.to_owned(),
            Self::Count => match value {
                Some(Value::Array(all)) => all.len().to_string(),
                Some(Value::Object(all)) => all.len().to_string(),
                // It is not known where it is not said.
                None => String::new(),
                other => {
                    let text = other.and_then(plain).unwrap_or_default();
                    text.split([',', ';', ' ']).filter(|part| !part.is_empty()).count().to_string()
                }
            },
        }
    }
}

/// Titles and fields, as a kind's table has them.
pub(crate) fn headings_of(columns: &[Field]) -> Vec<Heading> {
    columns.iter().map(|column| (column.title, column.field)).collect()
}

/// Prints rows: data for machines, cells for people. One thing is an object.
pub(crate) fn fields(
    ui: &Ui,
    style: &Style,
    columns: &[Field],
    (shape, mut rows): (Shape, Vec<Value>),
    name_of: impl Fn(&Value) -> String,
) -> Result<()> {
    if style.arrange.is_wanted() {
        style.arrange.apply(&mut rows, &headings_of(columns), |row| Ok(row.clone()))?;
    }
    ui.data(|out| match (&style.format, shape, rows.as_slice()) {
        (Format::Name, ..) => rows.iter().try_for_each(|row| name::write(out, &name_of(row))),
        (Format::Table | Format::Wide, ..) => write_rows(out, style, columns, &rows),
        (_, Shape::One, [row]) => write_data(out, style, &names(columns), row),
        _ => write_data(out, style, &names(columns), &rows),
    })
}

/// Writes cells.
pub(crate) fn write_rows(out: &mut dyn Write, style: &Style, columns: &[Field], rows: &[Value]) -> std::io::Result<()> {
    let wide = matches!(style.format, Format::Wide);
    let shown: Vec<&Field> = columns.iter().filter(|column| wide || !column.wide).collect();
    let cells = rows.iter().map(|row| shown.iter().map(|column| column.how.show(row.get(column.field))).collect());
    let colour = |at: usize, text: &str| match shown[at].how {
        How::Status if style.colours => table::status_colour(text),
        _ => None,
    };
    let titles = shown.iter().map(|column| column.title.to_owned()).collect();
    table::write_coloured(out, titles, cells.collect(), style, |at| shown[at].is_right(), colour)
}

fn names(columns: &[Field]) -> Vec<&'static str> {
    columns.iter().map(|column| column.field).collect()
}

/// Pairs of a title and a value below a headline, as pages for people have them.
pub(crate) fn section(
    out: &mut dyn Write,
    title: &str,
    lines: impl IntoIterator<Item = (String, String)>,
) -> std::io::Result<()> {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "{}", crate::cli::ui::styled(style::HEADER, title))?;
    write_pairs(out, lines)
}

/// The same without a headline.
pub(crate) fn write_pairs(
    out: &mut dyn Write,
    lines: impl IntoIterator<Item = (String, String)>,
) -> std::io::Result<()> {
    let lines: Vec<(String, String)> = lines.into_iter().collect();
    let width = lines.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    lines.iter().try_for_each(|(key, value)| match value.as_str() {
        "" => writeln!(out, "  {key}"),
        value => writeln!(out, "  {key:width$}  {value}"),
    })
}
