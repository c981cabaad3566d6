//! Standard output, without panics when its reader goes away.

use crate::failure::Failure;
use std::io::{self, Write};

/// Writes a text that ends in a line feed.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line.
pub fn line(text: &str) -> Result<(), io::Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
