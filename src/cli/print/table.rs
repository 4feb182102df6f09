//! `-o table` and `-o wide`: columns two blanks apart, as wide as their widest cell.
//!
//! Own code instead of a table library: no borders, no wrapping and no cell model are needed, and a list of ten
//! thousand guests is printed in one pass (see `docs/design/decisions.md`).

use std::io::{self, Write};

use anstyle::Style as Colour;
use unicode_width::UnicodeWidthStr;

use super::{Format, Row, Style};
use crate::cli::ui::style;

/// A column of a table.
pub(crate) struct Column<T> {
    /// Its header.
    pub(crate) title: &'static str,
    /// The field of the row's data that it shows, for sorting.
    pub(crate) field: &'static str,
    /// Only in `wide`.
    pub(crate) wide: bool,
    /// Numbers stand to the right.
    pub(crate) right: bool,
    /// The text for a row; `-` is printed where it is empty.
    pub(crate) cell: fn(&T) -> String,
    /// The colour for a cell's text.
    pub(crate) colour: fn(&str) -> Option<Colour>,
}

impl<T> Column<T> {
    pub(crate) const fn new(title: &'static str, field: &'static str, cell: fn(&T) -> String) -> Self {
        Self { title, field, wide: false, right: false, cell, colour: |_| None }
    }

    pub(crate) const fn right(self) -> Self {
        Self { right: true, ..self }
    }

    pub(crate) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    pub(crate) const fn coloured(self, colour: fn(&str) -> Option<Colour>) -> Self {
        Self { colour, ..self }
    }
}

/// Green for what runs or went well, red for what failed, yellow for what is in between.
pub(crate) fn status_colour(status: &str) -> Option<Colour> {
    Some(match status {
        "running" | "online" | "ok" | "OK" => style::GOOD,
        "failed" | "unknown" | "offline" => style::BAD,
        "paused" | "suspended" | "warning" | "prelaunch" | "sent" => style::HALF,
        "stopped" | "cancelled" | "planned" => style::DIM,
        _ => return None,
    })
}

pub(crate) fn write<T>(out: &mut dyn Write, columns: &[Column<T>], rows: &[T], style: &Style) -> io::Result<()> {
    let columns = shown(columns, style);
    let header = titles(&columns);
    let header = style.headers.then_some(header.as_slice());
    let cells = cells(&columns, rows.iter());
    let colour = |at: usize, text: &str| if style.colours { (columns[at].colour)(text) } else { None };
    write_lines(out, &mut vec![0; columns.len()], header, &cells, |at| columns[at].right, colour)
}

/// Rows that come one after the other, below one header: as wide as the widest cell so far.
pub(crate) struct Lines {
    widths: Vec<usize>,
    header: bool,
}

impl Lines {
    pub(crate) fn new<T: Row>(style: &Style) -> Self {
        Self { widths: vec![0; shown(T::columns(), style).len()], header: style.headers }
    }

    /// Writes the next rows, for people: cells or names.
    pub(crate) fn write<T: Row>(&mut self, out: &mut dyn Write, style: &Style, rows: &[&T]) -> io::Result<()> {
        if let Format::Name = style.format {
            return rows.iter().try_for_each(|row| super::name::write(out, &row.name()));
        }
        let columns = shown(T::columns(), style);
        let header = titles(&columns);
        let header = std::mem::take(&mut self.header).then_some(header.as_slice());
        let cells = cells(&columns, rows.iter().copied());
        let colour = |at: usize, text: &str| if style.colours { (columns[at].colour)(text) } else { None };
        write_lines(out, &mut self.widths, header, &cells, |at| columns[at].right, colour)
    }
}

fn shown<'a, T>(columns: &'a [Column<T>], style: &Style) -> Vec<&'a Column<T>> {
    let wide = matches!(style.format, Format::Wide);
    columns.iter().filter(|column| wide || !column.wide).collect()
}

fn titles<T>(columns: &[&Column<T>]) -> Vec<Cell> {
    columns.iter().map(|column| Cell::new(column.title.to_owned())).collect()
}

fn cells<'a, T: 'a>(columns: &[&Column<T>], rows: impl ExactSizeIterator<Item = &'a T>) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(rows.len() * columns.len());
    cells.extend(rows.flat_map(|row| columns.iter().map(|column| Cell::new((column.cell)(row)))));
    cells
}

/// Writes rows of texts whose columns are known only now.
pub(crate) fn write_cells(
    out: &mut dyn Write,
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
    style: &Style,
) -> io::Result<()> {
    write_coloured(out, titles, rows, style, |_| false, |_, _| None)
}

/// The same with numbers to the right, and colours.
pub(crate) fn write_coloured(
    out: &mut dyn Write,
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
    style: &Style,
    right: impl Fn(usize) -> bool,
    colour: impl Fn(usize, &str) -> Option<Colour>,
) -> io::Result<()> {
    let header: Vec<Cell> = titles.into_iter().map(Cell::new).collect();
    let cells: Vec<Cell> = rows.into_iter().flatten().map(Cell::new).collect();
    let columns = header.len();
    let header = style.headers.then_some(header.as_slice());
    write_lines(out, &mut vec![0; columns], header, &cells, right, colour)
}

fn write_lines(
    out: &mut dyn Write,
    widths: &mut [usize],
    header: Option<&[Cell]>,
    cells: &[Cell],
    right: impl Fn(usize) -> bool,
    colour: impl Fn(usize, &str) -> Option<Colour>,
) -> io::Result<()> {
    let columns = widths.len().max(1);
    let lines = || cells.chunks(columns);
    for (at, width) in widths.iter_mut().enumerate() {
        *width = header.into_iter().chain(lines()).map(|line| line[at].width).max().unwrap_or(0).max(*width);
    }
    if let Some(header) = header {
        write_line(out, widths, header, &right, |_, _| Some(style::HEADER))?;
    }
    lines().try_for_each(|line| write_line(out, widths, line, &right, &colour))
}

fn write_line(
    out: &mut dyn Write,
    widths: &[usize],
    line: &[Cell],
    right: impl Fn(usize) -> bool,
    colour: impl Fn(usize, &str) -> Option<Colour>,
) -> io::Result<()> {
    for (at, Cell { text, width }) in line.iter().enumerate() {
        let gap = if at == 0 { "" } else { "  " };
        let pad = widths[at] - width;
        let (before, after) = if right(at) { (pad, 0) } else { (0, pad) };
        // Nothing but the cell itself: a line has no blanks at its end.
        let after = if at + 1 == line.len() { 0 } else { after };
        let colour = colour(at, text).unwrap_or_default();
        write!(out, "{gap}{:before$}{}{text}{}{:after$}", "", colour.render(), colour.render_reset(), "")?;
    }
    writeln!(out)
}

/// A cell as it is printed, and how many columns of the terminal it takes.
struct Cell {
    text: String,
    width: usize,
}

impl Cell {
    fn new(text: String) -> Self {
        match text {
            empty if empty.is_empty() => Self { text: "-".to_owned(), width: 1 },
            // Nearly every cell; the general rule takes longer than all else about it.
            plain if plain.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Self { width: plain.len(), text: plain },
            other => {
                // Control characters and line ends in a name must not break the table, or the terminal.
                let text: String = other.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                Self { width: text.width(), text }
            }
        }
    }
}
