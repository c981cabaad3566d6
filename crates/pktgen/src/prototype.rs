//! A frame of one template and one size, ready to be copied; what varies is written over it and added to its checksums.

use crate::{
    flows::Flow,
    stamp::{self, Stamp},
    template::{Checksum, Kind, Template},
};
use std::net::{Ipv4Addr, Ipv6Addr};
use types::MacAddr;
use wire::{Arp, IntoBytes, Sum, arp, ethernet, icmp};

/// Bytes in which all that is not zero stands: the largest headers and a stamp.
pub const HEAD: usize = 96;
/// Enough for UDP over IPv4.
pub const SHORT: usize = 64;

/// The frame's addresses on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The port's MAC.
    pub from: MacAddr,
    /// The next hop's.
    pub to: MacAddr,
}

/// A frame ready to be copied.
#[derive(Clone)]
pub struct Prototype {
    head: [u8; HEAD],
    /// Bytes in a buffer, without check sequence.
    pub len: u16,
    /// Bytes that are not zero.
    pub used: usize,
    is_ipv6: bool,
    /// Axes with more than one value.
    varies: [bool; 4],
    /// Every frame is the same.
    pub is_fixed: bool,
    /// Where addresses, ports (or an echo's identifier), the stamp and checksums stand.
    addresses_at: [usize; 2],
    ip_checksum_at: Option<usize>,
    ports_at: [usize; 2],
    stamp_at: Option<usize>,
    checksum_at: Option<usize>,
    /// UDP's checksum of 0 means none: all ones stand for it.
    is_udp: bool,
    /// Addresses count in the upper checksum.
    pseudo: bool,
    /// Sums of what does not vary.
    ip_sum: u32,
    upper_sum: u32,
}

impl Prototype {
    /// The frame of `template` of `size` bytes, check sequence included. With a stamp's `run` and `stream` if it carries one.
    #[must_use]
    pub fn new(template: &Template, size: u16, link: Link, stamp: Option<(u16, u16)>) -> Self {
        let len = template.frame_len(size);
        let headers = usize::from(template.headers_len());
        let is_arp = template.kind == Kind::Arp;
        let to = if is_arp { MacAddr::BROADCAST } else { link.to };
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend(to.0);
        bytes.extend(link.from.0);
        if let Some((id, priority)) = template.vlan {
            bytes.extend(ethernet::VLAN.to_be_bytes());
            bytes.extend((u16::from(priority) << 13 | id.get()).to_be_bytes());
        }
        let ethertype = match template.is_ipv6 {
            _ if is_arp => ethernet::ARP,
            true => ethernet::IPV6,
            false => ethernet::IPV4,
        };
        bytes.extend(ethertype.to_be_bytes());
        let ip_at = bytes.len();
        let mut ip_len = len - u16::try_from(ip_at).unwrap_or(0);
        // A TCP segment without data, in the smallest frame there is: what is left is the frame's padding, as on any wire.
        if matches!(template.kind, Kind::Tcp { .. }) && stamp.is_none() && size == 64 {
            ip_len = template.headers_len() - u16::try_from(ip_at).unwrap_or(0);
        }
        // What varies is left 0 here, so that it can be added.
        let varies = [0, 1, 2, 3].map(|i: usize| template.axes[i].total() > 1);
        let fixed = [0, 1, 2, 3].map(|i: usize| if varies[i] { 0 } else { template.axes[i].at(0) });
        let number = template.kind.number(template.is_ipv6);
        if !is_arp {
            push_ip(&mut bytes, template, ip_len, [fixed[0], fixed[2]], number);
        }
        let upper_at = bytes.len();
        let upper_len = ip_len - u16::try_from(upper_at - ip_at).unwrap_or(0);
        let port = |value: u128| u16::try_from(value).unwrap_or(0);
        if is_arp {
            let (us, them) = ((link.from.0, low(fixed[0])), ([0; 6], low(fixed[2])));
            bytes.extend(Arp::new(arp::REQUEST, us, them).as_bytes());
        } else {
            let ports = [port(fixed[1]), port(fixed[3])];
            push_upper(&mut bytes, template, upper_len, ports);
        }
        debug_assert_eq!(bytes.len(), headers);
        let stamp_at = stamp.map(|(run, stream)| {
            let blank = Stamp {
                run,
                stream,
                number: 0,
                clock: 0,
            };
            bytes.extend(blank.to_bytes());
            headers
        });
        let used = bytes.len();
        bytes.resize(HEAD, 0);
        let checksum_at = match (template.checksum, template.kind) {
            (Checksum::None, _) | (_, Kind::Arp) => None,
            (_, Kind::Udp) => Some(upper_at + wire::udp::CHECKSUM_OFFSET),
            (_, Kind::Tcp { .. }) => Some(upper_at + wire::tcp::CHECKSUM_OFFSET),
            (_, Kind::Echo) => Some(upper_at + 2),
        };
        let pseudo = template.kind != Kind::Echo || template.is_ipv6;
        let mut upper = match (pseudo, template.is_ipv6) {
            (false, _) => Sum::new(),
            (true, false) => Sum::pseudo4(low(fixed[0]), low(fixed[2]), number, upper_len),
            (true, true) => Sum::pseudo6(fixed[0], fixed[2], number, upper_len.into()),
        };
        upper.add(&bytes[upper_at..used]);
        if template.checksum == Checksum::Wrong {
            upper.add16(1);
        }
        let mut ip = Sum::new();
        ip.add(&bytes[ip_at..upper_at]);
        let mut prototype = Self {
            head: bytes.try_into().unwrap_or([0; HEAD]),
            len,
            used,
            is_ipv6: template.is_ipv6,
            varies,
            is_fixed: false,
            addresses_at: match template.is_ipv6 {
                _ if is_arp => [ip_at + 14, ip_at + 24],
                true => [ip_at + 8, ip_at + 24],
                false => [ip_at + 12, ip_at + 16],
            },
            ip_checksum_at: (!is_arp && !template.is_ipv6).then_some(ip_at + 10),
            ports_at: match template.kind {
                Kind::Echo => [upper_at + 4; 2],
                _ => [upper_at, upper_at + 2],
            },
            stamp_at,
            checksum_at,
            is_udp: template.kind == Kind::Udp,
            pseudo,
            ip_sum: ip.folded().into(),
            upper_sum: upper.folded().into(),
        };
        if varies == [false; 4] && stamp_at.is_none() {
            // Its checksums too.
            let mut head = prototype.head;
            prototype.write(&Flow::default(), 0, 0, &mut head);
            (prototype.head, prototype.is_fixed) = (head, true);
        }
        prototype
    }

    /// Writes the start of a frame of `flow`; `number` and `clock` go into the stamp. Only the first `SPAN` bytes of `out` are
    /// touched: [`SHORT`] where that is enough, or [`HEAD`].
    #[inline(always)]
    pub fn write<const SPAN: usize>(
        &self,
        flow: &Flow,
        number: u32,
        clock: u64,
        out: &mut [u8; SPAN],
    ) {
        let Some(head) = self.head.first_chunk::<SPAN>() else {
            return;
        };
        *out = *head;
        if self.is_fixed {
            return;
        }
        let mut ip_sum = self.ip_sum;
        let mut upper_sum = self.upper_sum;
        for (which, axis) in [0, 2].into_iter().enumerate() {
            if self.varies[axis] {
                let words = self.put_address(which, flow.addresses[which], out);
                ip_sum += words;
                upper_sum += if self.pseudo { words } else { 0 };
            }
        }
        for (which, axis) in [1, 3].into_iter().enumerate() {
            if self.varies[axis] {
                put(out, self.ports_at[which], &flow.ports[which].to_be_bytes());
                upper_sum += u32::from(flow.ports[which]);
            }
        }
        if let Some(at) = self.stamp_at {
            let at = at + stamp::VARYING;
            put(out, at, &number.to_be_bytes());
            put(out, at + 4, &clock.to_be_bytes());
            upper_sum += words(number) + words((clock >> 32) as u32) + words(low(clock.into()));
        }
        if let Some(at) = self.ip_checksum_at {
            put(out, at, &fold(ip_sum).to_be_bytes());
        }
        if let Some(at) = self.checksum_at {
            let sum = fold(upper_sum);
            let sum = if self.is_udp && sum == 0 { 0xffff } else { sum };
            put(out, at, &sum.to_be_bytes());
        }
    }

    /// [`Prototype::write`] for frames that are all the same; says how many bytes the whole frame has.
    #[inline(always)]
    pub fn copy(&self, is_short: bool, out: &mut [u8; HEAD]) -> u16 {
        if is_short {
            out[..SHORT].copy_from_slice(&self.head[..SHORT]);
        } else {
            *out = self.head;
        }
        self.len
    }

    /// Puts source (0) or destination (1) into its place; says the sum of its words.
    #[inline]
    fn put_address<const SPAN: usize>(
        &self,
        which: usize,
        address: u128,
        out: &mut [u8; SPAN],
    ) -> u32 {
        if self.is_ipv6 {
            put(out, self.addresses_at[which], &address.to_be_bytes());
            return [96, 64, 32, 0]
                .map(|s| words(low(address >> s)))
                .iter()
                .sum();
        }
        put(out, self.addresses_at[which], &low(address).to_be_bytes());
        words(low(address))
    }
}

fn push_ip(bytes: &mut Vec<u8>, template: &Template, len: u16, [from, to]: [u128; 2], number: u8) {
    if template.is_ipv6 {
        bytes.extend(wire::Ipv6::class(template.tos).get().to_be_bytes());
        bytes.extend((len - 40).to_be_bytes());
        bytes.extend([number, template.ttl]);
        bytes.extend(Ipv6Addr::from_bits(from).octets());
        bytes.extend(Ipv6Addr::from_bits(to).octets());
        return;
    }
    bytes.extend([0x45, template.tos]);
    bytes.extend(len.to_be_bytes());
    bytes.extend([0, 0]);
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let fragment = flag(template.dont_fragment, wire::ipv4::DONT_FRAGMENT)
        | flag(template.first_fragment, wire::ipv4::MORE_FRAGMENTS);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([template.ttl, number, 0, 0]);
    bytes.extend(Ipv4Addr::from_bits(low(from)).octets());
    bytes.extend(Ipv4Addr::from_bits(low(to)).octets());
}

/// Of IP packets.
fn push_upper(bytes: &mut Vec<u8>, template: &Template, len: u16, [from, to]: [u16; 2]) {
    match template.kind {
        Kind::Udp => {
            bytes.extend([from, to, len, 0].map(u16::to_be_bytes).as_flattened());
        }
        Kind::Tcp { flags } => {
            bytes.extend([from, to].map(u16::to_be_bytes).as_flattened());
            // Sequence and acknowledgement numbers 1, no options, a full window.
            bytes.extend([0, 0, 0, 1, 0, 0, 0, u8::from(flags & wire::tcp::ACK != 0)]);
            bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        Kind::Echo => {
            let kind = if template.is_ipv6 {
                icmp::v6::ECHO
            } else {
                icmp::v4::ECHO
            };
            bytes.extend([kind, 0, 0, 0]);
            bytes.extend(from.to_be_bytes());
            bytes.extend([0, 1]);
        }
        Kind::Arp => {}
    }
}

#[inline]
fn put<const N: usize, const SPAN: usize>(out: &mut [u8; SPAN], at: usize, bytes: &[u8; N]) {
    if let Some(place) = out.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = *bytes;
    }
}

/// The two 16-bit words of a number, added.
#[inline]
const fn words(number: u32) -> u32 {
    (number >> 16) + (number & 0xffff)
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low 32 bits are wanted"
)]
const fn low(number: u128) -> u32 {
    number as u32
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{flows::Flows, parse, random::Random};
    use proptest::prelude::*;

    const LINK: Link = Link {
        from: MacAddr([2, 0, 0, 0, 0, 1]),
        to: MacAddr([2, 0, 0, 0, 0, 2]),
    };

    fn frames(text: &str, size: u16, count: usize) -> Vec<Vec<u8>> {
        let template: Template = text.parse().unwrap();
        let prototype = Prototype::new(&template, size, LINK, Some((7, 3)));
        let mut random = Random::new(1);
        let mut flows = Flows::new(&template, &mut random, 0, 1);
        (0..count)
            .map(|n| {
                let mut head = [0xee; HEAD];
                prototype.write(
                    flows.next_flow(&mut random),
                    u32::try_from(n).unwrap(),
                    0x1234_5678_9abc_def0,
                    &mut head,
                );
                let mut frame = head.to_vec();
                frame.resize(prototype.len.into(), 0);
                frame
            })
            .collect()
    }

    #[test]
    fn frames_are_what_the_template_says_and_their_checksums_right() {
        for text in [
            "udp 10.0.0.1-10.0.0.9:1024-2000 > 10.0.1.1:80",
            "udp 10.0.0.1:5 > 10.0.1.1:80",
            "udp 10.0.0.1-10.0.0.9 > 10.0.1.1-10.0.1.5:80-90 vlan 5:2 tos 4 ttl 9",
            "udp [2001:db8::1-2001:db8::ff]:7-9 > [2001:db8:1::1]:80",
            "tcp 10.0.0.0/24 > 10.0.1.0/24:80 flags syn,ack",
            "tcp [2001:db8::/65] > [2001:db8:1::/65]:80 order uniform vlan 9",
            "icmp 10.0.0.1-10.0.0.9:1-4 > 10.0.1.1-10.0.1.3",
            "icmp [fe80::1-fe80::9]:1-4 > [fe80::2]",
        ] {
            for size in [100, 1518] {
                for (n, frame) in frames(text, size, 50).iter().enumerate() {
                    let seen = parse::parse(frame, frame.len()).unwrap_or_else(|| panic!("{text}"));
                    assert!(seen.ip_checksum_right, "{text}");
                    assert_eq!(seen.upper_checksum_right, Some(true), "{text} {frame:02x?}");
                    let stamp = Stamp::read(seen.payload).unwrap();
                    assert_eq!((stamp.run, stamp.stream), (7, 3));
                    assert_eq!(stamp.number as usize, n);
                    assert_eq!(stamp.clock, 0x1234_5678_9abc_def0);
                }
            }
        }
    }

    #[test]
    fn checksums_can_be_left_out_or_wrong() {
        let frame = &frames("udp 10.0.0.1 > 10.0.0.2:1 checksum none", 64, 1)[0];
        assert_eq!(frame[40..42], [0, 0]);
        for text in [
            "udp 10.0.0.1 > 10.0.0.2:1",
            "tcp [::1] > [::2]:1",
            "icmp 10.0.0.1 > 10.0.0.2",
        ] {
            let frame = &frames(&format!("{text} checksum wrong"), 100, 1)[0];
            let seen = parse::parse(frame, frame.len()).unwrap();
            assert_eq!(seen.upper_checksum_right, Some(false), "{text}");
            assert!(seen.ip_checksum_right);
        }
    }

    #[test]
    fn arp_requests_ask_all_and_fragments_say_that_more_comes() {
        let template: Template = "arp 10.0.0.0/24 > 10.1.0.1-10.1.0.9 vlan 3"
            .parse()
            .unwrap();
        let prototype = Prototype::new(&template, 64, LINK, None);
        let flow = Flow {
            addresses: [0x0a00_0007, 0x0a01_0005],
            ports: [0; 2],
        };
        let mut head = [0xee; HEAD];
        prototype.write(&flow, 0, 0, &mut head);
        let expected = Arp::new(
            arp::REQUEST,
            (LINK.from.0, 0x0a00_0007),
            ([0; 6], 0x0a01_0005),
        );
        assert_eq!(head[..6], [0xff; 6]);
        assert_eq!(head[12..18], [0x81, 0, 0, 3, 8, 6]);
        assert_eq!(head[18..46], *expected.as_bytes());
        assert!(head[46..].iter().all(|byte| *byte == 0));

        let frame = &frames("udp 10.0.0.1 > 10.0.0.2:1 fragment first df", 64, 1)[0];
        assert_eq!(frame[20..22], [0x60, 0]);
    }

    #[test]
    fn the_smallest_tcp_segments_have_no_data() {
        let template: Template = "tcp 10.0.0.1 > 10.0.0.2:1 size 64".parse().unwrap();
        let prototype = Prototype::new(&template, 64, LINK, None);
        let mut head = [0xee; HEAD];
        prototype.write(&Flow::default(), 0, 0, &mut head);
        let seen = parse::parse(&head[..60], 60).unwrap();
        assert!(seen.payload.is_empty() && seen.ip_checksum_right);
        assert_eq!(seen.upper_checksum_right, Some(true));
    }

    #[test]
    fn the_short_way_writes_the_same() {
        let template: Template = "udp 10.0.0.1-10.0.0.9 > 10.0.1.1:80".parse().unwrap();
        let prototype = Prototype::new(&template, 64, LINK, Some((7, 3)));
        assert!(prototype.used <= SHORT);
        let flow = Flow {
            addresses: [1, 2],
            ports: [3, 4],
        };
        let (mut long, mut short) = ([0xee; HEAD], [0xee; SHORT]);
        prototype.write(&flow, 5, 6, &mut long);
        prototype.write(&flow, 5, 6, &mut short);
        assert_eq!(long[..SHORT], short);
    }

    proptest! {
        #[test]
        fn checksums_are_right_whatever_varies(from: u32, to: u32, ports: [u16; 2], number: u32, clock: u64) {
            let template: Template = "udp 0.0.0.0/0:0-65535 > 0.0.0.0/0:0-65535 size 64".parse().unwrap();
            let prototype = Prototype::new(&template, 64, LINK, Some((1, 2)));
            let mut head = [0; HEAD];
            prototype.write(&Flow { addresses: [from.into(), to.into()], ports }, number, clock, &mut head);
            let seen = parse::parse(&head[..60], 60).unwrap();
            prop_assert!(seen.ip_checksum_right);
            prop_assert_eq!(seen.upper_checksum_right, Some(true));
        }
    }
}
