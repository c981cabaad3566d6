//! BFD (RFC 5880 to 5883) in asynchronous mode: packets, one session, and all of a director's, on a virtual clock.

pub mod packet;
mod session;
mod sessions;

pub use session::{Session, Settings};
pub use sessions::{Finding, Heard, Peer, Sent, Sessions, Wanted};

#[cfg(test)]
mod tests;
