//! `-o jsonpath=TEMPLATE`: what kubectl's templates make of the data. A list is under `items`.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::select::Template;

pub(super) fn write(out: &mut dyn Write, template: &Template, data: Value) -> io::Result<()> {
    let data = if data.is_array() { json!({ "items": data }) } else { data };
    let mut last = LastByte { out, last: None };
    template.write(&mut last, &data)?;
    // A line is whole, also where the template does not end it.
    match last.last {
        None | Some(b'\n') => Ok(()),
        Some(_) => writeln!(out),
    }
}

/// Remembers what was written last.
struct LastByte<'a> {
    out: &'a mut dyn Write,
    last: Option<u8>,
}

impl Write for LastByte<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.last = bytes[..written].last().copied().or(self.last);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
