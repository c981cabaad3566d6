//! What is said of virtual routers.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};
use types::MacAddr;

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vrrp {
    /// Its name.
    pub name: String,
    /// The group it moves with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_group: Option<String>,
    /// Instances of the same number move together.
    pub unit: usize,
    /// The interface it is on.
    pub interface: String,
    /// 2 or 3.
    pub version: u8,
    /// Its id on the link.
    pub virtual_router_id: u8,
    /// `init`, `backup`, `master` or `fault`.
    pub state: String,
    /// For how many seconds.
    pub since_s: f64,
    /// Why.
    pub why: String,
    /// Why it would not take over from a worse master yet, if there is a reason but `preempt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lets_be: Option<String>,
    /// As configured.
    pub priority: u8,
    /// As it counts now.
    pub priority_now: u8,
    /// Between advertisements.
    pub advert_int_ms: u64,
    /// What it advertises from.
    pub source: IpAddr,
    /// The virtual router's own MAC, if it has one (`use_vmac`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_mac: Option<MacAddr>,
    /// The virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// What it tracks; the same for all instances that move together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracked: Vec<Tracked>,
    /// Whom it heard last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Heard>,
    /// How often it became master.
    pub takeovers: u64,
    /// How often it woke too late to go on as it was.
    pub woke_late: u64,
    /// What it sent and received, by name. Names with `wrong_` count what all instances could not read.
    pub counters: BTreeMap<String, u64>,
}

/// Something that counts for the priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// `interface`, `script`, `file`, `gateway`, `bfd` or `servers`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// 0: a fault while it is down. Else what is added while it is up (above 0) or taken while it is down (below 0); a file's
    /// number is multiplied by it.
    pub weight: i32,
    /// The other way round.
    pub reverse: bool,
    /// `up`, `down`, a file's number, or `not known yet`.
    pub finding: String,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when, in seconds.
    pub since_s: f64,
    /// What it adds to the priority now.
    pub adds: i32,
    /// Whether it is a fault now.
    pub fault: bool,
}

/// Another director, as it advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Its address.
    pub from: IpAddr,
    /// Its priority.
    pub priority: u8,
}

/// A rehearsed takeover to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The name of an instance or a group.
    pub instance: String,
    /// Even if the other director is not known to be ready.
    #[serde(default)]
    pub force: bool,
}

/// How a drill stands, or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillState {
    /// The group's name, or the instance's.
    pub instance: String,
    /// `going` (given up), `there` (the other director has the addresses), `returning`, `settling` (back; it is looked whether the other
    /// stops answering), `passed` or `failed`.
    pub progress: String,
    /// It has ended.
    pub over: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who had the addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Heard>,
    /// Milliseconds from giving them up to the first sign of somebody else who has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_there_ms: Option<f64>,
    /// Milliseconds from the other's last sign until they were back; 0 if it answered until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_back_ms: Option<f64>,
    /// Milliseconds for which the other still answered when they were back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_ms: Option<f64>,
    /// Probes sent.
    pub probes: u64,
}

impl DrillState {
    /// One that has just begun.
    #[must_use]
    pub fn begun(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            progress: "going".to_owned(),
            over: false,
            why: None,
            peer: None,
            gap_there_ms: None,
            gap_back_ms: None,
            overlap_ms: None,
            probes: 0,
        }
    }
}

/// What to give up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    /// The name of an instance or a group.
    pub instance: String,
}
