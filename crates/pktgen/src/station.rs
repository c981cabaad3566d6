//! A station on the link: answers ARP and neighbour solicitations for its addresses, and asks for others'.

use crate::{axis::Axis, parse};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use types::{MacAddr, VlanId};
use wire::{
    Arp, Ethernet, FromBytes, IntoBytes, Ipv6, Sum, U16, U32, arp, ethernet, icmp, nd, protocol,
};

/// Bytes of the largest answer: tagged, IPv6, an advertisement and its option; an Ethernet's smallest frame at least.
pub const ROOM: usize = 96;
/// An Ethernet's smallest frame, without check sequence.
const LEAST: usize = 60;
/// A frame made here.
pub type Answer = ArrayVec<u8, ROOM>;

/// Who we are on a link.
#[derive(Clone, Debug)]
pub struct Station {
    /// The port's MAC.
    pub mac: MacAddr,
    /// IPv4 addresses that are ours.
    pub ipv4: Vec<Axis>,
    /// IPv6 addresses that are ours.
    pub ipv6: Vec<Axis>,
}

impl Station {
    fn has(&self, address: u128, is_ipv6: bool) -> bool {
        let ours = if is_ipv6 { &self.ipv6 } else { &self.ipv4 };
        ours.iter().any(|axis| axis.contains(address))
    }

    /// The answer to `frame`, if it asks for one of our addresses.
    #[must_use]
    pub fn answer(&self, frame: &[u8]) -> Option<Answer> {
        let (at, ethertype) = parse::network(frame)?;
        let packet = frame.get(at..)?;
        let (link, between) = (frame.get(..12)?, frame.get(12..at)?);
        let from: [u8; 6] = *link.get(6..)?.first_chunk()?;
        match ethertype {
            ethernet::ARP => {
                let (asked, _) = Arp::ref_from_prefix(packet).ok()?;
                // An announcement asks for the sender's own address: it wants no answer.
                let wanted = asked.operation.get() == arp::REQUEST
                    && asked.is_ipv4_over_ethernet()
                    && asked.target() != asked.sender()
                    && self.has(asked.target().into(), false);
                wanted.then(|| {
                    let us = (self.mac.0, asked.target());
                    let them = (asked.sender_mac, asked.sender());
                    let body = Arp::new(arp::REPLY, us, them);
                    frame_of(from, self.mac, between, &[body.as_bytes()])
                })
            }
            ethernet::IPV6 => {
                let (header, rest) = Ipv6::ref_from_prefix(packet).ok()?;
                let len = usize::from(header.payload_len.get());
                let message = rest.get(..len)?;
                let (asked, _) = nd::Neighbour::ref_from_prefix(message).ok()?;
                let target = u128::from_be_bytes(asked.target);
                let wanted = header.next_header == protocol::ICMPV6
                    && header.hop_limit == 255
                    && asked.kind == icmp::v6::NEIGHBOUR_SOLICITATION
                    && is_right(header, message)
                    && self.has(target, true);
                wanted.then(|| {
                    // Whoever has no address yet asks whether it may take this one: all are told (RFC 4861 7.2.4).
                    let (to, to_mac, solicited) = match header.source() {
                        0 => (ALL_NODES, nd::multicast_mac(ALL_NODES), 0),
                        source => (source, from, nd::SOLICITED),
                    };
                    let (kind, flags) =
                        (icmp::v6::NEIGHBOUR_ADVERTISEMENT, solicited | nd::OVERRIDE);
                    let option = (nd::TARGET_LINK_LAYER, self.mac);
                    self.neighbour(to_mac, between, (target, to), kind, flags, target, option)
                })
            }
            _ => None,
        }
    }

    /// A question for the MAC of `target`, asked by our address `from`.
    #[must_use]
    pub fn question(&self, from: IpAddr, target: IpAddr, vlan: Option<VlanId>) -> Option<Answer> {
        let mut between: ArrayVec<u8, 6> = ArrayVec::new();
        if let Some(id) = vlan {
            between.extend(ethernet::VLAN.to_be_bytes());
            between.extend(id.get().to_be_bytes());
        }
        match (from, target) {
            (IpAddr::V4(from), IpAddr::V4(target)) => {
                between.extend(ethernet::ARP.to_be_bytes());
                let us = (self.mac.0, from.to_bits());
                let body = Arp::new(arp::REQUEST, us, ([0; 6], target.to_bits()));
                Some(frame_of([0xff; 6], self.mac, &between, &[body.as_bytes()]))
            }
            (IpAddr::V6(from), IpAddr::V6(target)) => {
                between.extend(ethernet::IPV6.to_be_bytes());
                let group = nd::solicited_node(target.to_bits());
                Some(self.neighbour(
                    nd::multicast_mac(group),
                    &between,
                    (from.to_bits(), group),
                    icmp::v6::NEIGHBOUR_SOLICITATION,
                    0,
                    target.to_bits(),
                    (nd::SOURCE_LINK_LAYER, self.mac),
                ))
            }
            _ => None,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn neighbour(
        &self,
        to_mac: [u8; 6],
        between: &[u8],
        (from, to): (u128, u128),
        kind: u8,
        flags: u32,
        target: u128,
        (option, mac): (u8, MacAddr),
    ) -> Answer {
        let mut message = nd::Neighbour {
            kind,
            code: 0,
            checksum: U16::new(0),
            flags: U32::new(flags),
            target: target.to_be_bytes(),
        };
        let option = nd::LinkLayerOption {
            kind: option,
            len: 1,
            mac: mac.0,
        };
        let len = nd::LEN + nd::OPTION_LEN;
        let mut sum = Sum::pseudo6(from, to, protocol::ICMPV6, u32::try_from(len).unwrap_or(0));
        sum.add(message.as_bytes());
        sum.add(option.as_bytes());
        message.checksum.set(sum.finish());
        let header = Ipv6 {
            version_class_flow: Ipv6::class(0),
            payload_len: U16::new(u16::try_from(len).unwrap_or(0)),
            next_header: protocol::ICMPV6,
            hop_limit: 255,
            source: from.to_be_bytes(),
            destination: to.to_be_bytes(),
        };
        let parts = [header.as_bytes(), message.as_bytes(), option.as_bytes()];
        frame_of(to_mac, self.mac, between, &parts)
    }
}

/// ff02::1
const ALL_NODES: u128 = 0xff02_0000_0000_0000_0000_0000_0000_0001;

/// The MAC `frame` tells of `target`.
#[must_use]
pub fn learn(frame: &[u8], target: IpAddr) -> Option<MacAddr> {
    let (at, ethertype) = parse::network(frame)?;
    let packet = frame.get(at..)?;
    match (ethertype, target) {
        (ethernet::ARP, IpAddr::V4(target)) => {
            let (told, _) = Arp::ref_from_prefix(packet).ok()?;
            let right = told.is_ipv4_over_ethernet()
                && told.operation.get() == arp::REPLY
                && told.sender() == target.to_bits();
            right.then_some(MacAddr(told.sender_mac))
        }
        (ethernet::IPV6, IpAddr::V6(target)) => {
            let (header, rest) = Ipv6::ref_from_prefix(packet).ok()?;
            let message = rest.get(..usize::from(header.payload_len.get()))?;
            let (told, options) = nd::Neighbour::ref_from_prefix(message).ok()?;
            let right = header.next_header == protocol::ICMPV6
                && header.hop_limit == 255
                && told.kind == icmp::v6::NEIGHBOUR_ADVERTISEMENT
                && told.target == target.octets()
                && is_right(header, message);
            if !right {
                return None;
            }
            let option = nd::link_layer(options, nd::TARGET_LINK_LAYER).ok()?;
            // An answer to a unicast question need not repeat the address.
            let (ether, _) = Ethernet::ref_from_prefix(frame).ok()?;
            Some(MacAddr(option.unwrap_or(ether.source)))
        }
        _ => None,
    }
}

fn is_right(header: &Ipv6, message: &[u8]) -> bool {
    let len = u32::try_from(message.len()).unwrap_or(0);
    let mut sum = Sum::pseudo6(header.source(), header.destination(), protocol::ICMPV6, len);
    sum.add(message);
    sum.finish() == 0
}

/// `between` is what stands between the addresses and the packet: the tag, if there is one, and the ethertype.
fn frame_of(to: [u8; 6], from: MacAddr, between: &[u8], parts: &[&[u8]]) -> Answer {
    let mut frame = Answer::new();
    for part in [&to, &from.0, between]
        .into_iter()
        .chain(parts.iter().copied())
    {
        // All of it fits: see `ROOM`.
        let _ = frame.try_extend_from_slice(part);
    }
    while frame.len() < LEAST {
        frame.push(0);
    }
    frame
}

const _: () = assert!(
    ROOM >= ethernet::LEN + ethernet::VLAN_LEN + wire::ipv6::LEN + nd::LEN + nd::OPTION_LEN
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::address_range;
    use proptest::prelude::*;

    fn station(last: u8, addresses: &str) -> Station {
        let (axis, is_ipv6) = address_range(addresses).unwrap();
        let (ipv4, ipv6) = if is_ipv6 {
            (vec![], vec![axis])
        } else {
            (vec![axis], vec![])
        };
        Station {
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            ipv4,
            ipv6,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn two_stations_find_each_other() {
        for (range, us, them, nobody) in [
            ("10.0.0.1-10.0.0.9", "10.0.0.100", "10.0.0.5", "10.0.0.10"),
            ("fd00::1-fd00::ff", "fd00::1:0", "fd00::5", "fd00::100"),
        ] {
            for vlan in [None, Some(VlanId::try_from(7).unwrap())] {
                let asking = station(1, us);
                let asked = station(2, range);
                let question = asking.question(ip(us), ip(them), vlan).unwrap();
                let answer = asked.answer(&question).unwrap();
                assert_eq!(learn(&answer, ip(them)), Some(asked.mac));
                assert_eq!(answer[..6], asking.mac.0);
                assert_eq!(answer[12..14] == [0x81, 0], vlan.is_some());
                assert_eq!(learn(&answer, ip(nobody)), None);
                let question = asking.question(ip(us), ip(nobody), vlan).unwrap();
                assert_eq!(asked.answer(&question), None);
                // An answer is no question.
                assert_eq!(asking.answer(&answer), None);
            }
        }
    }

    #[test]
    fn whoever_tries_out_an_address_of_ours_is_told_by_all() {
        let asked = station(2, "fd00::1-fd00::9");
        let question = station(1, "fd00::5")
            .question(ip("::"), ip("fd00::5"), None)
            .unwrap();
        let answer = asked.answer(&question).unwrap();
        assert_eq!(answer[..6], [0x33, 0x33, 0, 0, 0, 1]);
    }

    #[test]
    fn damaged_solicitations_are_not_answered() {
        let asked = station(2, "fd00::1-fd00::9");
        let mut question = station(1, "fd00::99")
            .question(ip("fd00::99"), ip("fd00::5"), None)
            .unwrap();
        question[20] ^= 1;
        let mut routed = question.clone();
        routed[21] = 254;
        assert_eq!(asked.answer(&routed), None);
        let at = question.len() - 1;
        question[20] ^= 1;
        question[at] ^= 1;
        assert_eq!(asked.answer(&question), None);
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), arp in any::<bool>()) {
            if let Some(place) = bytes.get_mut(12..14) {
                place.copy_from_slice(if arp { &[8, 6] } else { &[0x86, 0xdd] });
            }
            let _ = station(1, "0.0.0.0/0").answer(&bytes);
            let _ = station(1, "::/65").answer(&bytes);
            let _ = learn(&bytes, ip("10.0.0.1"));
            let _ = learn(&bytes, ip("::1"));
        }
    }
}
