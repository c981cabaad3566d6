//! What can be wrong with a message.

use thiserror::Error;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// Not a UDP datagram in one piece, or damaged.
    #[error("the frame has no whole UDP datagram with a right checksum")]
    Datagram,
    /// Shorter than what stands in every message.
    #[error("{0} bytes are no message: its header alone has 4 in version 0, 8 in version 1")]
    Short(usize),
    /// The message says another length.
    #[error("the message says it has {said} bytes, and has {has}")]
    Length {
        /// What it says.
        said: u16,
        /// What it has.
        has: usize,
    },
    /// A connection reaches beyond the end.
    #[error("connection {0} reaches beyond the message's end")]
    Truncated(u8),
    /// A connection is of another version than 0.
    #[error("connection {connection} has version {version}; only 0 is known")]
    ConnectionVersion {
        /// Which.
        connection: u8,
        /// Its version.
        version: u8,
    },
    /// A connection says a length that cannot be.
    #[error("connection {connection} says it has {size} bytes, which cannot be")]
    ConnectionSize {
        /// Which.
        connection: u8,
        /// What it says.
        size: u16,
    },
    /// Something behind a connection's addresses is not as it must be.
    #[error("connection {connection} has an option of type {option} that is not as it must be")]
    Option {
        /// Which.
        connection: u8,
        /// The option's type.
        option: u8,
    },
    /// What another Tarpon says cannot be read.
    #[error("a note of kind {0} that is not as it must be")]
    Note(u8),
}

impl ParseError {
    /// Its name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Datagram => "datagram",
            Self::Short(_) => "short",
            Self::Length { .. } => "length",
            Self::Truncated(_) => "truncated",
            Self::ConnectionVersion { .. } => "connection_version",
            Self::ConnectionSize { .. } => "connection_size",
            Self::Option { .. } => "option",
            Self::Note(_) => "note",
        }
    }
}
