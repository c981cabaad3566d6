//! FTP control connections (RFC 959, RFC 2428) through NAT: what is said there of data connections, and what replacing an
//! address in the server's stream does to sequence numbers.
//!
//! Both directions are read byte by byte, so that it does not matter where segments begin and end.

mod command;
mod reply;
mod stream;

pub use command::{Command, Commands};
pub use reply::Announced;
pub use stream::{MAX_SEGMENT, Moved, Rewritten, Stop, Stream};
