//! A message: header, connections, and between two Tarpons a [`Note`].
//!
//! ```text
//! version 1: 0 reserved (0)  1 sync id  2 bytes in all  4 connections  5 version (1)  6 spare (0)
//! version 0: 0 connections   1 sync id  2 bytes in all
//! ```

use crate::{Connection, Note, ParseError, bytes::Reader};

/// Bytes of version 1's header.
pub const HEADER: usize = 8;

/// Version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4 only, no timeouts, no marks.
    V0,
    /// Linux since 2.6.39.
    V1,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its version.
    pub version: Version,
    /// Which set of directors it is of.
    pub sync_id: u8,
    /// What it tells.
    pub connections: Vec<Connection>,
    /// What another Tarpon says besides.
    pub note: Option<Note>,
}

impl Message {
    /// Reads a message of either version.
    ///
    /// # Errors
    /// [`ParseError`], for the message as a whole: what stood before the mistake is not believed either.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let short = ParseError::Short(bytes.len());
        let mut from = Reader(bytes);
        let (first, sync_id) = (from.u8().ok_or(short)?, from.u8().ok_or(short)?);
        let size = from.u16().ok_or(short)?;
        if usize::from(size) != bytes.len() {
            return Err(ParseError::Length {
                said: size,
                has: bytes.len(),
            });
        }
        let is_new = first == 0 && bytes.get(5..HEADER) == Some(&[1, 0, 0]);
        if !is_new {
            let read = |nth| Connection::read_old(nth, &mut from);
            return Ok(Self {
                version: Version::V0,
                sync_id,
                connections: (0..first).map(read).collect::<Result<_, _>>()?,
                note: None,
            });
        }
        let count = from.u8().ok_or(short)?;
        from.0 = from.0.get(3..).unwrap_or_default();
        let read = |nth| Connection::read(nth, &mut from);
        let connections = (0..count).map(read).collect::<Result<_, _>>()?;
        Ok(Self {
            version: Version::V1,
            sync_id,
            connections,
            note: Note::read(from.0)?,
        })
    }

    /// Writes it in version 1. For tests and tools; what is sent goes through a [`crate::Batch`].
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = header(self.sync_id);
        for connection in &self.connections {
            append(connection, &mut bytes);
        }
        if let Some(note) = &self.note {
            note.write(&mut bytes);
        }
        finish(&mut bytes, self.connections.len());
        bytes
    }
}

/// A header whose length and count are still to be filled in.
pub(crate) fn header(sync_id: u8) -> Vec<u8> {
    vec![0, sync_id, 0, 0, 0, 1, 0, 0]
}

/// A connection behind others.
pub(crate) fn append(connection: &Connection, to: &mut Vec<u8>) {
    align(to);
    connection.write(to);
}

/// Fills up to a multiple of 4.
pub(crate) fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Fills in length and count.
pub(crate) fn finish(bytes: &mut [u8], connections: usize) {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    if let Some(field) = bytes.get_mut(4) {
        *field = u8::try_from(connections).unwrap_or(u8::MAX);
    }
}
