//! Who has an address: asking by ARP or neighbour discovery, and hearing who answers.

use super::{
    frames::{self, What},
    wire::Wire,
};
use crate::{error::Refusal, facts::Interface};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    ops::ControlFlow,
    time::Duration,
};
use types::MacAddr;

/// How long an answer on the same segment may take.
pub(super) const ANSWER: Duration = Duration::from_millis(400);

/// The Ethernet address of `real_ip`, asked for up to three times.
pub(super) fn resolve(
    wire: &mut Wire,
    mac: MacAddr,
    nic: &Interface,
    real_ip: IpAddr,
) -> Result<MacAddr, Refusal> {
    let own = |v4: bool| {
        nic.addresses
            .iter()
            .map(types::IpNet::address)
            .find(|a| a.is_ipv4() == v4)
    };
    for _ in 0..3 {
        match (own(real_ip.is_ipv4()), real_ip) {
            (Some(IpAddr::V4(own)), IpAddr::V4(target)) => {
                wire.send(&frames::arp(
                    true,
                    (mac, own),
                    MacAddr::BROADCAST,
                    (MacAddr::default(), target),
                ))?;
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
                wire.send(&frames::neighbour(
                    true,
                    (mac, own),
                    frames::solicited_node(target),
                    target,
                ))?;
            }
            _ => {
                return Err(Refusal::Wire(format!(
                    "{} has no address to ask for {real_ip} with; give --mac",
                    nic.name
                )));
            }
        }
        let answer = wire.listen(ANSWER, |heard| match &heard.what {
            What::Arp {
                request: false,
                sender,
                sender_mac,
                ..
            } if IpAddr::V4(*sender) == real_ip => ControlFlow::Break(*sender_mac),
            What::Advert { target } if IpAddr::V6(*target) == real_ip => {
                ControlFlow::Break(heard.source)
            }
            _ => ControlFlow::Continue(()),
        })?;
        if let Some(mac) = answer {
            return Ok(mac);
        }
    }
    Err(Refusal::Wire(format!(
        "nobody on {} answers for {real_ip}; is the server up, and on this segment?",
        nic.name
    )))
}

/// Who answered a question about `vip` within the time.
pub(super) fn answerers(
    wire: &mut Wire,
    vip: IpAddr,
    time: Duration,
) -> Result<BTreeSet<MacAddr>, Refusal> {
    let mut found = BTreeSet::new();
    wire.listen(time, |heard| {
        match &heard.what {
            What::Arp {
                request: false,
                sender,
                sender_mac,
                ..
            } if IpAddr::V4(*sender) == vip => {
                found.insert(*sender_mac);
            }
            What::Advert { target } if IpAddr::V6(*target) == vip => {
                found.insert(heard.source);
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(found)
}

/// "Who has VIP" to one station or (`to` = `None`) to all.
pub(super) fn question(
    mac: MacAddr,
    own: Option<IpAddr>,
    vip: IpAddr,
    to: Option<MacAddr>,
) -> Option<Vec<u8>> {
    match (vip, own) {
        // Without an address of our own this is an ARP probe (RFC 5227): sender 0.0.0.0.
        (IpAddr::V4(vip), own) => {
            let own = if let Some(IpAddr::V4(own)) = own {
                own
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            Some(frames::arp(
                true,
                (mac, own),
                to.unwrap_or(MacAddr::BROADCAST),
                (MacAddr::default(), vip),
            ))
        }
        (IpAddr::V6(vip), Some(IpAddr::V6(own))) => {
            let (group_mac, group) = frames::solicited_node(vip);
            Some(frames::neighbour(
                true,
                (mac, own),
                (
                    to.unwrap_or(group_mac),
                    if to.is_some() { vip } else { group },
                ),
                vip,
            ))
        }
        _ => None,
    }
}
