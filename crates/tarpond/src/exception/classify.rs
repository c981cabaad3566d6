//! Which punted frames keep the network together: they have a ring of their own.

use wire::Frame;

const VLAN: [u8; 2] = [0x81, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// ICMPv6 types of neighbour and router discovery (RFC 4861).
const DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;

/// Whether `frame` is ARP, neighbour discovery, or of a routing or redundancy protocol (OSPF, VRRP, BGP, BFD, RIP).
pub fn keeps_the_network_together(frame: &impl Frame) -> bool {
    read(frame.head()).unwrap_or(false)
}

/// `None` when the frame ends before what must be looked at.
fn read(bytes: &[u8]) -> Option<bool> {
    let mut at = 12;
    while bytes.get(at..at + 2)? == VLAN {
        at += 4;
    }
    let kind = bytes.get(at..at + 2)?;
    let ip = bytes.get(at + 2..)?;
    if kind == ARP {
        return Some(true);
    }
    if kind == IPV4 {
        let header = usize::from(ip.first()? & 15) * 4;
        let protocol = *ip.get(9)?;
        let later_fragment = (u16::from(*ip.get(6)? & 0x1f) << 8) | u16::from(*ip.get(7)?) != 0;
        return Some(protocol_does(
            protocol,
            ip.get(header..).filter(|_| !later_fragment),
        ));
    }
    if kind == IPV6 {
        let protocol = *ip.get(6)?;
        let upper = ip.get(40..)?;
        if protocol == 58 {
            return Some(DISCOVERY.contains(upper.first()?));
        }
        return Some(protocol_does(protocol, Some(upper)));
    }
    Some(false)
}

fn protocol_does(protocol: u8, upper: Option<&[u8]>) -> bool {
    let ports = || {
        let upper = upper?;
        let port = |at: usize| Some(u16::from_be_bytes([*upper.get(at)?, *upper.get(at + 1)?]));
        Some([port(0)?, port(2)?])
    };
    let either =
        |known: &[u16]| ports().is_some_and(|ports| ports.iter().any(|p| known.contains(p)));
    match protocol {
        // OSPF, VRRP
        89 | 112 => true,
        // BGP
        6 => either(&[179]),
        // RIP, RIPng, BFD single-hop, its echo, and multi-hop
        17 => either(&[520, 521, 3784, 3785, 4784]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    fn frame(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend(kind);
        bytes.extend(rest);
        bytes
    }

    fn ipv4(protocol: u8, fragment: u8, upper: &[u8]) -> Vec<u8> {
        let mut ip = vec![0; 20];
        ip[0] = 0x45;
        ip[7] = fragment;
        ip[9] = protocol;
        ip.extend(upper);
        frame([8, 0], &ip)
    }

    #[test]
    fn control_traffic_is_told_from_the_rest() {
        assert_eq!(read(&frame([8, 6], &[0; 28])), Some(true));
        assert_eq!(
            read(&frame([0x81, 0], &[0, 5, 8, 6])),
            Some(true),
            "behind a tag"
        );
        assert_eq!(read(&ipv4(112, 0, &[])), Some(true), "VRRP");
        assert_eq!(read(&ipv4(6, 0, &[0x12, 0x34, 0, 179])), Some(true), "BGP");
        assert_eq!(read(&ipv4(6, 0, &[0x12, 0x34, 0, 80])), Some(false));
        assert_eq!(
            read(&ipv4(6, 9, &[0, 179, 0, 179])),
            Some(false),
            "a later fragment has no ports"
        );
        assert_eq!(
            read(&ipv4(1, 0, &[8, 0])),
            Some(false),
            "echo requests are what floods are made of"
        );
        let mut solicitation = vec![0; 41];
        solicitation[6] = 58;
        solicitation[40] = 135;
        assert_eq!(read(&frame([0x86, 0xdd], &solicitation)), Some(true));
    }

    #[test]
    fn frames_that_end_early_are_the_rest() {
        let whole = ipv4(6, 0, &[0, 179, 0, 179]);
        for length in 0..whole.len() {
            assert_ne!(read(&whole[..length]), Some(true), "{length}");
        }
        assert_eq!(read(&[0x81; 13]), None);
    }
}
