//! `-o json`: the data itself, indented.

use std::io::{self, Write};

use serde::Serialize;

pub(super) fn write(out: &mut dyn Write, data: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, data).map_err(io::Error::from)?;
    writeln!(out)
}
