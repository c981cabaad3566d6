//! Connection synchronisation. Keys are named as ipvsadm, the kernel and keepalived name them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

/// `[sync]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Who tells, who listens.
    pub role: SyncRole,
    /// The interface messages go out on, and are heard on, by name.
    pub interface: String,
    /// 0 to 255: sets of directors on one link are told apart by it. One who listens with 0 hears all.
    pub syncid: u8,
    /// The group messages go to.
    pub mcast_group: IpAddr,
    /// The UDP port.
    pub mcast_port: u16,
    /// Time to live of messages to the group.
    pub mcast_ttl: u8,
    /// The other directors, instead of the group.
    pub unicast_peer: Vec<IpAddr>,
    /// Bytes of a message at most; the link's MTU has the last word.
    pub sync_maxlen: Option<u16>,
    /// The client's packet at which a connection is told, and after how many it is told again (0: not).
    pub sync_threshold: (u32, u32),
    /// Of persistent services, templates only.
    pub sync_persist_mode: bool,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            role: SyncRole::Both,
            interface: String::new(),
            syncid: 0,
            mcast_group: Ipv4Addr::new(224, 0, 0, 81).into(),
            mcast_port: 8848,
            mcast_ttl: 1,
            unicast_peer: Vec::new(),
            sync_maxlen: None,
            sync_threshold: (3, 50),
            sync_persist_mode: false,
        }
    }
}

/// Who tells, who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncRole {
    /// Tells.
    Master,
    /// Listens.
    Backup,
    /// Does both, always.
    Both,
    /// Tells while it is master of a virtual router, and listens while it is not.
    Vrrp,
}

impl SyncRole {
    /// All, in the order they are named in messages.
    pub const ALL: [Self; 4] = [Self::Vrrp, Self::Master, Self::Backup, Self::Both];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Both => "both",
            Self::Vrrp => "vrrp",
        }
    }

    /// Whether it ever tells.
    #[must_use]
    pub const fn tells(self) -> bool {
        !matches!(self, Self::Backup)
    }

    /// Whether it ever listens.
    #[must_use]
    pub const fn listens(self) -> bool {
        !matches!(self, Self::Master)
    }
}

impl fmt::Display for SyncRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
