//! Files given on the command line.

use crate::failure::Failure;
use std::{fs, io::Read as _, path::Path};

/// A file's name for messages, and its text; `-` is standard input.
pub fn text(path: &Path) -> Result<(String, String), Failure> {
    let (name, text) = if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        (String::from("standard input"), read.map(|_| text))
    } else {
        (path.display().to_string(), fs::read_to_string(path))
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Failure::failed(format!("cannot read {name}: {error}"))),
    }
}
