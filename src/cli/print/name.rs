//! `-o name`: one name a line, good as an argument of the next command.

use std::io::{self, Write};

pub(super) fn write(out: &mut dyn Write, name: &str) -> io::Result<()> {
    writeln!(out, "{name}")
}
