//! `[sync]`

use super::{
    section::{Reader, Section, Wrong},
    value::{flag, integer, text},
};
use crate::{Sync, SyncRole};
use std::net::IpAddr;
use toml::de::DeValue;

pub(super) fn read(reader: &mut Reader, section: &mut Section<'_>) -> Option<Sync> {
    let defaults = Sync::default();
    let absent = section.is_empty();
    let get_role = |v: &DeValue<'_>| {
        let mut roles = SyncRole::ALL.into_iter();
        let word = v.as_str();
        roles.find(|r| Some(r.word()) == word).ok_or(None)
    };
    let wanted = "\"vrrp\", \"master\", \"backup\" or \"both\"";
    let name = "the name of a port or VLAN, like \"lan\"";
    let (role, interface) = if absent {
        (
            section.get(reader, "role", wanted, get_role),
            section.get(reader, "interface", name, text),
        )
    } else {
        (
            section.need(reader, "role", wanted, get_role),
            section.need(reader, "interface", name, text),
        )
    };
    let syncid = section.get(
        reader,
        "syncid",
        "a whole number from 0 to 255",
        integer(0..=255u8),
    );
    let mcast_group = section.get(
        reader,
        "mcast_group",
        "a multicast address, like \"224.0.0.81\"",
        |v| address(v).ok().filter(IpAddr::is_multicast).ok_or(None),
    );
    let mcast_port = section.get(
        reader,
        "mcast_port",
        "a port from 1 to 65535, like 8848",
        integer(1..=u16::MAX),
    );
    let mcast_ttl = section.get(
        reader,
        "mcast_ttl",
        "a whole number from 1 to 255, like 1",
        integer(1..=255u8),
    );
    let peers = section.list(
        reader,
        "unicast_peer",
        ("an address, like \"10.1.0.3\"", "\"10.1.0.3\""),
        address,
    );
    let sync_maxlen = section.get(
        reader,
        "sync_maxlen",
        "bytes, a whole number from 256 to 65507",
        integer(256..=65_507u16),
    );
    let threshold = section.list(
        reader,
        "sync_threshold",
        ("a whole number from 0 to 1000000", "3, 50"),
        |v| integer(0..=1_000_000u32)(v),
    );
    let persist = section.get(reader, "sync_persist_mode", "true or false", flag);
    let sync_threshold = match threshold.as_deref() {
        None => defaults.sync_threshold,
        Some(&[at, every]) if every == 0 || at < every => (at, every),
        Some(_) => {
            reader.report(
                section.position_of("sync_threshold"),
                "sync.sync_threshold",
                "`sync_threshold` is not a packet's number and a larger period".to_owned(),
                "write two numbers, the first below the second unless that is 0: [3, 50]"
                    .to_owned(),
            );
            defaults.sync_threshold
        }
    };
    if absent {
        return None;
    }
    Some(Sync {
        role: role?,
        interface: interface?,
        syncid: syncid.unwrap_or(defaults.syncid),
        mcast_group: mcast_group.unwrap_or(defaults.mcast_group),
        mcast_port: mcast_port.unwrap_or(defaults.mcast_port),
        mcast_ttl: mcast_ttl.unwrap_or(defaults.mcast_ttl),
        unicast_peer: peers.unwrap_or_default(),
        sync_maxlen,
        sync_threshold,
        sync_persist_mode: persist.unwrap_or(false),
    })
}

fn address(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    value.as_str().and_then(|t| t.parse().ok()).ok_or(None)
}
