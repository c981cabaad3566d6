//! What is said of connection synchronisation.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// How connection synchronisation goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sync {
    /// As configured: `master`, `backup`, `both` or `vrrp`.
    pub role: String,
    /// It tells now.
    pub tells: bool,
    /// It listens now.
    pub listens: bool,
    /// The interface it is on.
    pub interface: String,
    /// Which set of directors it is of.
    pub syncid: u8,
    /// Bytes of a message at most.
    pub sync_maxlen: u16,
    /// The group.
    pub mcast_group: IpAddr,
    /// The port.
    pub mcast_port: u16,
    /// Time to live.
    pub mcast_ttl: u8,
    /// Other directors, instead of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unicast_peer: Vec<IpAddr>,
    /// Connections it has.
    pub connections: u64,
    /// Those of them that count as active.
    pub active: u64,
    /// As one who listens: everything has been told it, or nobody was there who would.
    pub told_everything: bool,
    /// What was sent, received, taken over and lost, by name.
    pub counters: BTreeMap<String, u64>,
    /// Other Tarpons heard in the last seconds.
    pub peers: Vec<SyncPeer>,
}

/// Another Tarpon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncPeer {
    /// Its address.
    pub from: IpAddr,
    /// It tells.
    pub tells: bool,
    /// It listens.
    pub listens: bool,
    /// Connections it has.
    pub connections: u64,
    /// Those of them that count as active.
    pub active: u64,
    /// When it was heard last.
    pub heard_ms_ago: u64,
    /// Messages that did not come: here, or there of those told from here.
    pub messages_lost: u64,
    /// Which part of the active connections here it has, where it is told of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_percent: Option<f64>,
}

/// A daemon of ipvsadm to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncStart {
    /// `master` or `backup`.
    pub role: String,
    /// The interface; absent: that of the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Which set of directors it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syncid: Option<u8>,
    /// Bytes of a message at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_maxlen: Option<u16>,
    /// The group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcast_group: Option<IpAddr>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcast_port: Option<u16>,
    /// Time to live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcast_ttl: Option<u8>,
}

/// A daemon of ipvsadm to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncStop {
    /// `master` or `backup`.
    pub role: String,
}
