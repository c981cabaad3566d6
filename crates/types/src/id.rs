//! Ids: small integers that index tables.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// As a table index.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A DPDK port, in the order of the configuration (not DPDK's own number).
    PortId(u16)
);
id!(
    /// A layer-3 interface: a port, or one VLAN of a port. Index into the interfaces of the snapshot.
    InterfaceId(u16)
);
id!(
    /// A worker thread, from 0.
    WorkerId(u16)
);
id!(
    /// A virtual service: its slot in the slab that outlives snapshots.
    ServiceId(u32)
);
id!(
    /// A real server of one service: its slot in the slab that outlives snapshots.
    ServerId(u32)
);
