//! Words of `vrrp_instance` and `vrrp_sync_group` of which nothing is made, and why, or why not needed.

use crate::{note::Notes, tell, tree::Statement, value::flag, vrrp_notify};

const HARMLESS: &[&str] = &[
    "debug",
    "dont_track_primary",
    "garp_extra_if",
    "garp_interval",
    "gna_interval",
    "kernel_rx_buf_size",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "native_ipv6",
    "notify_deleted",
    "promote_secondaries",
    "no_promote_secondaries",
    "skip_check_adv_addr",
];
const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "use_vmac_addr",
        "addresses on other interfaces than the instance's are announced with the port's own MAC",
    ),
    (
        "use_ipvlan",
        "addresses move by gratuitous ARP, under the port's own MAC",
    ),
    (
        "virtual_rules",
        "the way of a packet depends on its destination alone: [[route]]",
    ),
    ("lower_prio_no_advert", "a worse master is contradicted"),
    (
        "notify_priority_changes",
        "a [[notify]] with format = \"json\" and `tarpon events` tell of priorities",
    ),
];
/// Words that have a number, of which one does here what it does there; what is so with any other.
const FIXED: &[(&str, &str, &str)] = &[
    (
        "garp_master_refresh_repeat",
        "1",
        "a round of refreshing is one announcement of each address",
    ),
    (
        "down_timer_adverts",
        "3",
        "a master is given up after three intervals and a skew, as the standards say",
    ),
    (
        "unicast_ttl",
        "255",
        "advertisements have a TTL of 255, and with less they are not heard: they have crossed no router",
    ),
];
/// Words whose purpose is met without them.
const MET: &[(&str, &str)] = &[
    ("check_unicast_src", "with peers, others are never heard"),
    (
        "garp_lower_prio_delay",
        "who hears a worse master contradicts it at once, and announces as when it became master",
    ),
    (
        "garp_lower_prio_repeat",
        "who hears a worse master contradicts it at once, and announces as when it became master",
    ),
    (
        "higher_prio_send_advert",
        "who gives way to a better master says so with priority 0, and that one announces the addresses again",
    ),
    (
        "unicast_fault_no_peer",
        "without peers there is the group; a list of none is a mistake",
    ),
];
/// Of an instance that is gone.
const DELETED: &str =
    "instances are not removed while it runs: at the restart that does it `notify_stop` is run";
/// Words of an instance that are looked at one by one.
pub(crate) const INSTANCE: &[&str] = &[
    "accept",
    "advert_int",
    "authentication",
    "garp_master_delay",
    "garp_master_refresh",
    "garp_master_repeat",
    "interface",
    "mcast_src_ip",
    "no_accept",
    "nopreempt",
    "preempt",
    "preempt_delay",
    "priority",
    "state",
    "strict_mode",
    "track_bfd",
    "track_file",
    "track_interface",
    "track_script",
    "track_src_ip",
    "unicast_peer",
    "unicast_src_ip",
    "use_vmac",
    "version",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "virtual_routes",
    "virtual_router_id",
    "vrrp_version",
];
/// The same of a group.
pub(crate) const GROUP: &[&str] = &[
    "group",
    "global_tracking",
    "sync_group_tracking_weight",
    "track_bfd",
    "track_file",
    "track_interface",
    "track_script",
];

/// A word that is not among those of a block that are looked at one by one. `word`: as an instance has it; `known`: those.
pub(crate) fn other(inner: &Statement, word: &str, block: &str, known: &[&str], notes: &mut Notes) {
    if let Some((_, why)) = UNSUPPORTED.iter().find(|(name, _)| *name == word) {
        // BOOL words may say no.
        match inner.block.is_none() && inner.argument(0).is_some_and(|_| flag_says_no(inner)) {
            true => notes.exact(inner),
            false => notes.unsupported_block(inner, why),
        }
    } else if word == "smtp_alert" {
        tell::alert(inner, notes);
    } else if let Some((_, same, why)) = FIXED.iter().find(|(name, ..)| *name == word) {
        match inner.argument(0) == Some(*same) {
            true => notes.exact(inner),
            false => notes.unsupported(inner, *why),
        }
    } else if let Some((_, how)) = MET.iter().find(|(name, _)| *name == word) {
        notes.mapped(inner, *how);
    } else if word == "notify_deleted" {
        notes.harmless(inner, DELETED);
    } else if HARMLESS.contains(&word) {
        notes.harmless(inner, "");
    } else {
        let all: Vec<&str> = known
            .iter()
            .chain(vrrp_notify::WORDS)
            .chain(HARMLESS)
            .copied()
            .chain(UNSUPPORTED.iter().chain(MET).map(|(name, _)| *name))
            .chain(FIXED.iter().map(|(name, ..)| *name))
            .collect();
        notes.unknown(inner, block, &all);
    }
}

fn flag_says_no(inner: &Statement) -> bool {
    flag(inner, &mut Notes::default()) == Some(false)
}
