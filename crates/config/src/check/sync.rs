//! Connection synchronisation: whether messages can go where they are to.

use super::Problems;
use crate::{Config, SyncRole};
use std::net::IpAddr;
use types::IpNet;

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let Some(sync) = &config.sync else {
        return;
    };
    let ports = config.ports.iter().map(|p| (&p.name, &p.addresses));
    let vlans = config.vlans.iter().map(|v| (&v.name, &v.addresses));
    let interfaces: Vec<(&String, &Vec<IpNet>)> = ports.chain(vlans).collect();
    let Some((_, addresses)) = interfaces.iter().find(|(name, _)| **name == sync.interface) else {
        let names: Vec<&str> = interfaces.iter().map(|(name, _)| name.as_str()).collect();
        problems.add(
            "sync.interface",
            format!("there is no port or VLAN {:?}", sync.interface),
            format!("write one of {}", names.join(", ")),
        );
        return;
    };
    let has = |four: bool| addresses.iter().any(|net| net.address().is_ipv4() == four);
    let family = |four: bool| if four { "IPv4" } else { "IPv6" };
    let four = sync.mcast_group.is_ipv4();
    if sync.unicast_peer.is_empty() && four && !has(four) {
        problems.add(
            "sync.interface",
            format!("{:?} has no IPv4 address to send from", sync.interface),
            "give it one, or write an IPv6 mcast_group",
        );
    }
    for (number, peer) in sync.unicast_peer.iter().enumerate() {
        let at = format!("sync.unicast_peer[{number}]");
        let on_link = addresses.iter().any(|net| net.contains(*peer));
        let own = addresses.iter().any(|net| net.address() == *peer);
        if own {
            problems.add(
                at,
                format!("{peer} is this director's own address"),
                "write the other directors' addresses",
            );
        } else if !on_link {
            problems.add(
                at,
                format!("{peer} is not on the link of {:?}", sync.interface),
                format!(
                    "write {} addresses of directors on that link, or another interface",
                    family(has(true))
                ),
            );
        }
    }
    if sync.role == SyncRole::Vrrp && config.vrrp.is_empty() {
        problems.add(
            "sync.role",
            "there is no [[vrrp]] that says who is master",
            "write a [[vrrp]], or the role \"master\", \"backup\" or \"both\"",
        );
    }
    if !sync.mcast_group.is_multicast() {
        let group: IpAddr = sync.mcast_group;
        problems.add(
            "sync.mcast_group",
            format!("{group} is no multicast address"),
            "write one, like \"224.0.0.81\"",
        );
    }
}
