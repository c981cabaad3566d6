//! `[twin]`

use super::{
    section::{Reader, Section},
    value::{integer, parsed, text, word},
};
use crate::{Push, Twin};
use std::path::PathBuf;
use toml::de::DeValue;

pub(super) fn read(reader: &mut Reader, section: &mut Section<'_>) -> Option<Twin> {
    const PEER: &str = "the other director's address, like \"10.1.0.3\"";
    const KEY: &str = "the whole path of a file, like \"/etc/tarpon/twin.key\"";
    let path = |value: &DeValue<'_>| {
        let text = text(value)?;
        let whole = text.starts_with('/') && !text.contains('\0');
        whole.then(|| PathBuf::from(text)).ok_or(None)
    };
    let absent = section.is_empty();
    let (peer, key_file) = match absent {
        true => (
            section.get(reader, "peer", PEER, parsed),
            section.get(reader, "key_file", KEY, path),
        ),
        false => (
            section.need(reader, "peer", PEER, parsed),
            section.need(reader, "key_file", KEY, path),
        ),
    };
    let wanted = "a port from 1 to 65535, like 8849";
    let port = section.get(reader, "port", wanted, integer(1..=u16::MAX));
    let wanted = "\"auto\" or \"manual\"";
    let push = section.get(reader, "push", wanted, word(Push::WORDS));
    if absent {
        return None;
    }
    Some(Twin {
        peer: peer?,
        port: port.unwrap_or(Twin::PORT),
        key_file: key_file?,
        push: push.unwrap_or(Push::Auto),
    })
}
