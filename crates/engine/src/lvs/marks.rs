//! Firewall marks: which mark a packet gets that no connection is known for. The first rule that matches decides; one
//! that lets the packet go on may be overruled by a later one.
//!
//! Rules are found by what they say of protocol, networks and port, so that many of them cost little more than few: those
//! of one shape (the same prefix lengths, a single port or not) are in one hash table. Most packets have no rule of most shapes,
//! and a [`Screen`] of a few kilobytes in front of each table says so.

mod screen;

use crate::{
    model::MarkRule,
    packet::{Fragment, Packet},
};
use hashbrown::HashMap;
use screen::Screens;
use std::{
    net::IpAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use types::{IpNet, Mark};

/// A rule with the packets it has matched.
#[derive(Debug)]
struct Compiled {
    rule: MarkRule,
    hits: Arc<AtomicU64>,
}

/// What rules of one shape say; prefix lengths and whether there is a protocol or a single port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    /// Family (IPv4 or not) and prefix length.
    destination: Option<(bool, u8)>,
    source: Option<(bool, u8)>,
    protocol: bool,
    port: bool,
}

/// What rules of a shape are looked up by.
type Key = (u128, u128, u8, u16);

/// The rules of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    rules: Box<[Compiled]>,
    /// By shape, the numbers of the rules with that key, ascending.
    shapes: Vec<(Shape, HashMap<Key, Vec<u32>>)>,
    /// Of all shapes.
    screens: Screens,
}

impl Marks {
    /// Compiles `rules`; those that were among `before` go on counting.
    pub fn new(rules: &[MarkRule], before: &Self) -> Self {
        let old = before.rules.iter();
        let mut known: HashMap<&MarkRule, &Arc<AtomicU64>> =
            old.map(|c| (&c.rule, &c.hits)).collect();
        let mut by_shape: HashMap<Shape, HashMap<Key, Vec<u32>>> = HashMap::new();
        for (rule, number) in rules.iter().zip(0..) {
            let (shape, key) = place(rule);
            by_shape
                .entry(shape)
                .or_default()
                .entry(key)
                .or_default()
                .push(number);
        }
        let compiled = |rule: &MarkRule| Compiled {
            rule: rule.clone(),
            hits: known.remove(rule).map(Arc::clone).unwrap_or_default(),
        };
        let shapes: Vec<_> = by_shape.into_iter().collect();
        Self {
            rules: rules.iter().map(compiled).collect(),
            screens: Screens::of(&shapes),
            shapes,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The same rules, with hits of their own.
    pub fn copy(&self) -> Self {
        let copy = |compiled: &Compiled| Compiled {
            rule: compiled.rule.clone(),
            hits: Arc::default(),
        };
        Self {
            rules: self.rules.iter().map(copy).collect(),
            shapes: self.shapes.clone(),
            screens: self.screens.clone(),
        }
    }

    /// The mark of a packet; 0 is none. `class` says its TOS or traffic class, if anybody asks.
    #[inline]
    pub fn of(&self, packet: &Packet, class: impl FnOnce() -> u8) -> Mark {
        if self.screens.let_through(packet) {
            self.decided(packet, class())
        } else {
            Mark(0)
        }
    }

    #[inline(never)]
    fn decided(&self, packet: &Packet, class: u8) -> Mark {
        let mut mark = Mark(0);
        for (_, found) in self.deciding(packet, class) {
            found.hits.fetch_add(1, Relaxed);
            mark = found.rule.mark;
        }
        mark
    }

    /// Numbers of the rules that have a say, in order, and the mark the last of them gives; nothing is counted.
    pub fn explained(&self, packet: &Packet, class: u8) -> (Vec<u32>, Mark) {
        let say = self.deciding(packet, class);
        let (numbers, marks): (Vec<_>, Vec<_>) = say.map(|(n, found)| (n, found.rule.mark)).unzip();
        (numbers, marks.last().copied().unwrap_or_default())
    }

    /// The rules that match, up to the first that does not let the packet go on.
    fn deciding(&self, packet: &Packet, class: u8) -> impl Iterator<Item = (u32, &Compiled)> {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let (number, found) = self.next(packet, class, from?)?;
            from = found.rule.goes_on.then_some(number + 1);
            Some((number, found))
        })
    }

    /// The first rule from number `from` on that matches.
    fn next(&self, packet: &Packet, class: u8, from: u32) -> Option<(u32, &Compiled)> {
        let mut best: Option<(u32, &Compiled)> = None;
        self.screens.passed(packet, &mut |at| {
            let upto = best.map_or(u32::MAX, |(number, _)| number);
            best = self.among(at, packet, class, from..upto).or(best);
        });
        best
    }

    /// The first rule of a shape that matches, of those with these numbers.
    #[inline(never)]
    fn among(
        &self,
        shape: usize,
        packet: &Packet,
        class: u8,
        numbers: Range<u32>,
    ) -> Option<(u32, &Compiled)> {
        let (shape, rules) = self.shapes.get(shape)?;
        let list = rules.get(&key_of(*shape, packet)?)?;
        let start = list.partition_point(|number| *number < numbers.start);
        let rest = list.get(start..).unwrap_or_default().iter();
        let candidates = rest.take_while(|number| **number < numbers.end);
        candidates
            .filter_map(|number| Some((*number, self.rules.get(*number as usize)?)))
            .find(|(_, compiled)| matches(&compiled.rule, packet, class))
    }

    /// Packets each rule has matched, in order.
    pub fn hits(&self) -> impl Iterator<Item = u64> {
        self.rules
            .iter()
            .map(|compiled| compiled.hits.load(Relaxed))
    }
}

/// Where a rule stands.
fn place(rule: &MarkRule) -> (Shape, Key) {
    let port = match &rule.destination_ports[..] {
        [range] if range.start() == range.end() => Some(*range.start()),
        _ => None,
    };
    let length = |net: IpNet| (net.address().is_ipv4(), net.prefix());
    let network = |net: Option<IpNet>| net.map_or(0, |net| bits(net.network().address()));
    let shape = Shape {
        destination: rule.destination.map(length),
        source: rule.source.map(length),
        protocol: rule.protocol.is_some(),
        port: port.is_some(),
    };
    let key = (
        network(rule.destination),
        network(rule.source),
        rule.protocol.map_or(0, |p| p.number()),
        port.unwrap_or(0),
    );
    (shape, key)
}

/// Where the rules of a shape that may match a packet would stand.
fn key_of(shape: Shape, packet: &Packet) -> Option<Key> {
    Some((
        network_of(shape.destination, packet.addresses.destination())?,
        network_of(shape.source, packet.addresses.source())?,
        if shape.protocol { packet.protocol } else { 0 },
        if shape.port {
            packet.destination_port
        } else {
            0
        },
    ))
}

/// An address cut to a length; 0 where none is asked for, `None` for one of another family.
fn network_of(shape: Option<(bool, u8)>, address: IpAddr) -> Option<u128> {
    let Some((v4, len)) = shape else {
        return Some(0);
    };
    if address.is_ipv4() != v4 {
        return None;
    }
    let host = if v4 { 32 } else { 128 } - u32::from(len);
    Some(
        bits(address)
            .checked_shr(host)
            .unwrap_or(0)
            .checked_shl(host)
            .unwrap_or(0),
    )
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// Whether all that a rule says is true of a packet.
fn matches(rule: &MarkRule, packet: &Packet, class: u8) -> bool {
    let within = |net: Option<IpNet>, ip| net.is_none_or(|net| net.contains(ip));
    // A later fragment has no ports, and no flags.
    let whole = packet.fragment == Fragment::No;
    let among = |ranges: &[std::ops::RangeInclusive<u16>], port: u16| {
        ranges.is_empty() || (whole && ranges.iter().any(|range| range.contains(&port)))
    };
    rule.protocol.is_none_or(|p| p.number() == packet.protocol)
        && within(rule.source, packet.addresses.source())
        && within(rule.destination, packet.addresses.destination())
        && among(&rule.source_ports, packet.source_port)
        && among(&rule.destination_ports, packet.destination_port)
        && rule.interface.is_none_or(|i| i == packet.interface)
        && rule.dscp.is_none_or(|dscp| dscp == class >> 2)
        && rule.tcp_flags.is_none_or(|(mask, set)| {
            packet.protocol == wire::protocol::TCP && whole && packet.tcp_flags & mask == set
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Addresses;
    use proptest::prelude::*;
    use types::{InterfaceId, Protocol};

    fn packet(protocol: u8, source: u32, destination: u32, ports: (u16, u16), flags: u8) -> Packet {
        Packet {
            interface: InterfaceId((source & 1) as u16),
            addresses: Addresses::V4 {
                source,
                destination,
            },
            l3: 14,
            l4: 34,
            ip_len: 40,
            protocol,
            source_port: ports.0,
            destination_port: ports.1,
            tcp_flags: if protocol == 6 { flags } else { 0 },
            chunk: None,
            fragment: Fragment::No,
            reassembled: Default::default(),
            headless: false,
            link_group: false,
        }
    }

    /// Small numbers, so that rules and packets meet.
    fn rule() -> impl Strategy<Value = MarkRule> {
        let net = || prop::option::of((0u8..4, prop::sample::select(vec![0u8, 30, 31, 32])));
        let ports = || prop::collection::vec((0u16..4, 0u16..2), 0..3);
        (
            (1u32..5, prop::option::of(prop::bool::ANY), net(), net()),
            (ports(), ports(), prop::option::of(0u16..2)),
            (
                prop::option::of(0u8..2),
                prop::option::of((0u8..4, 0u8..4)),
                prop::bool::ANY,
            ),
        )
            .prop_map(
                |((mark, udp, from, to), (sports, dports, interface), rest)| {
                    let net = |(host, len): (u8, u8)| {
                        let net: IpNet = format!("10.0.0.{host}/{len}").parse().unwrap();
                        net.network()
                    };
                    let ranges =
                        |list: Vec<(u16, u16)>| list.iter().map(|(a, n)| *a..=a + n).collect();
                    let (dscp, tcp_flags, goes_on) = rest;
                    MarkRule {
                        mark: Mark(mark),
                        protocol: udp.map(|udp| if udp { Protocol::Udp } else { Protocol::Tcp }),
                        source: from.map(net),
                        destination: to.map(net),
                        source_ports: ranges(sports),
                        destination_ports: ranges(dports),
                        interface: interface.map(InterfaceId),
                        dscp,
                        tcp_flags,
                        goes_on,
                    }
                },
            )
    }

    proptest! {
        /// The compiled rules against a walk over all of them.
        #[test]
        fn the_first_that_matches_decides(
            rules in prop::collection::vec(rule(), 0..20),
            packets in prop::collection::vec((any::<bool>(), 0u32..4, 0u32..4, 0u16..4, 0u16..4, 0u8..4, 0u8..8), 1..40),
        ) {
            let marks = Marks::new(&rules, &Marks::default());
            let mut hits = vec![0; rules.len()];
            for (udp, from, to, sport, dport, flags, class) in packets {
                let protocol = if udp { 17 } else { 6 };
                let packet = packet(protocol, 0x0a00_0000 + from, 0x0a00_0000 + to, (sport, dport), flags);
                let mut expected = Mark(0);
                for (rule, hits) in rules.iter().zip(&mut hits) {
                    if matches(rule, &packet, class) {
                        expected = rule.mark;
                        *hits += 1;
                        if !rule.goes_on {
                            break;
                        }
                    }
                }
                prop_assert_eq!(marks.of(&packet, || class), expected);
            }
            prop_assert_eq!(marks.hits().collect::<Vec<u64>>(), hits);
        }
    }

    #[test]
    fn rules_of_both_families_and_of_none_are_found_among_many() {
        let net = |text: String| text.parse::<IpNet>().unwrap();
        let rules: Vec<MarkRule> = (0..6000_u32)
            .map(|n| {
                let rule = MarkRule {
                    mark: Mark(n + 1),
                    ..MarkRule::default()
                };
                let [high, low] = u16::try_from(n / 4).unwrap().to_be_bytes();
                match n % 4 {
                    0 => MarkRule {
                        source: Some(net(format!("2001:db8:{:x}::/48", n / 4))),
                        ..rule
                    },
                    1 => MarkRule {
                        destination: Some(net(format!("2001:db8::{:x}/128", n / 4))),
                        protocol: Some(Protocol::Udp),
                        ..rule
                    },
                    2 => MarkRule {
                        destination: Some(net(format!("10.1.{high}.{low}/32"))),
                        ..rule
                    },
                    _ => MarkRule {
                        destination_ports: {
                            let port = u16::try_from(n / 4 + 1).unwrap();
                            vec![port..=port]
                        },
                        protocol: Some(Protocol::Tcp),
                        ..rule
                    },
                }
            })
            .collect();
        let marks = Marks::new(&rules, &Marks::default());
        let of = |packet: &Packet| marks.of(packet, || 0).0;
        let six = |source: u128, destination: u128, protocol, port| Packet {
            addresses: Addresses::V6 {
                source,
                destination,
            },
            ..packet(protocol, 1, 2, (9, port), 0)
        };
        let prefix = 0x2001_0db8_u128 << 96;
        for n in 0..1500_u32 {
            let wide = u128::from(n);
            let port = u16::try_from(n + 1).unwrap();
            assert_eq!(of(&six(prefix | wide << 80 | 77, 1, 17, 0)), 4 * n + 1);
            assert_eq!(of(&six(1, prefix | wide, 17, 0)), 4 * n + 2);
            assert_eq!(of(&packet(17, 1, 0x0a01_0000 + n, (1, 0), 0)), 4 * n + 3);
            assert_eq!(of(&packet(6, 1, 2, (9, port), 0)), 4 * n + 4);
            assert_eq!(of(&six(1, 2, 6, port)), 4 * n + 4);
            // And nothing of what is nobody's.
            assert_eq!(of(&six(2 + wide, 2 + wide, 17, port)), 0);
            assert_eq!(of(&packet(17, 1, 0x0a02_0000 + n, (9, port), 0)), 0);
        }
        // The digests are not all alike: else every packet would be held against every table.
        let passed = (0..1000_u32)
            .map(|n| packet(17, 0x0b00_0000 + n, 0x0c00_0000 + 7 * n, (9, 9), 0))
            .map(|packet| {
                let mut passed = 0;
                marks.screens.passed(&packet, &mut |_| passed += 1);
                passed
            })
            .sum::<usize>();
        assert!(
            passed < 100,
            "{passed} of 2000 screens let a stranger through"
        );
    }

    #[test]
    fn a_rule_that_stays_goes_on_counting() {
        let rule = |mark, port: u16| MarkRule {
            mark: Mark(mark),
            destination_ports: vec![port..=port],
            ..MarkRule::default()
        };
        let before = Marks::new(&[rule(1, 80), rule(2, 81)], &Marks::default());
        let web = packet(6, 1, 2, (9, 80), 2);
        assert_eq!(before.of(&web, || 0), Mark(1));
        let after = Marks::new(&[rule(3, 82), rule(1, 80), rule(1, 80)], &before);
        assert_eq!(after.hits().collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn a_whole_family_is_a_destination_too() {
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        let rule = MarkRule {
            mark: Mark(1),
            destination: Some(all),
            ..MarkRule::default()
        };
        let marks = Marks::new(&[rule], &Marks::default());
        assert_eq!(marks.of(&packet(17, 1, u32::MAX, (1, 2), 0), || 0), Mark(1));
    }
}
