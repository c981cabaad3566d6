//! Headers as views over a frame's bytes, checksums, and the trait a frame buffer has.
//!
//! Nothing here copies, allocates, panics or does I/O.
#![forbid(unsafe_code)]

mod frame;

pub use frame::{Frame, RxChecksum, TxChecksum, TxL4};
