//! The atomics this workspace's lock-free code is written against: `std`'s, or those of loom or shuttle under their `cfg`.

// Never loom's: it cannot be a receiver (`self: &Arc<Self>`), and reference counts are not what is checked.
pub use std::sync::Arc;

#[cfg(loom)]
pub use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(all(shuttle, not(loom)))]
pub use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(not(any(loom, shuttle)))]
pub use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
};
