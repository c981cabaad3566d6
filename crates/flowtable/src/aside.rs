//! What few connections need beside their entries: eight words a slot in memory of its own, which costs next to nothing until
//! it is used.

use crate::{
    family::Family,
    memory::{Region, Zeroed},
    table::{Slot, Table, TableError},
};
use rcu::sync::AtomicU32;

/// The words of one slot. They mean what the caller says: whoever makes a connection writes them before it publishes the entry,
/// whoever finds the entry reads what was written.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Words(pub [AtomicU32; 8]);
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Words>() == 32);

// SAFETY: atomic integers only, for which zero is a value.
unsafe impl Zeroed for Words {
    fn zeroed() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

/// Words for every slot of a table.
pub struct Aside(Region<Words>);

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Aside").field(&self.0.len()).finish()
    }
}

impl Aside {
    /// For the slots of `table`, all zero.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new<F: Family>(table: &Table<F>) -> Result<Self, TableError> {
        let slots = table.slots();
        let refused = |source| TableError::Memory {
            capacity: slots,
            bytes: slots * size_of::<Words>(),
            source,
        };
        Ok(Self(Region::new(slots).map_err(refused)?))
    }

    /// The words of a slot of that table.
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<&[AtomicU32; 8]> {
        Some(&self.0.get(slot.0 as usize)?.0)
    }
}
