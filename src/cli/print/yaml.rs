//! `-o yaml`: the data itself. With `config` and `manifest` one of the few places that know the YAML library.

use std::io::{self, Write};

use serde::Serialize;

pub(super) fn write(out: &mut dyn Write, data: &impl Serialize) -> io::Result<()> {
    let text = serde_yaml::to_string(data).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())?;
    if text.ends_with('\n') { Ok(()) } else { writeln!(out) }
}
