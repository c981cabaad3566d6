//! A packet in one line.

use super::Headers;
use std::fmt;

/// A line of tcpdump's kind.
impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&packet(self))
    }
}

fn packet(h: &Headers) -> String {
    let mut out = String::new();
    for id in h.vlans.iter().flatten() {
        out.push_str(&format!("vlan {id} "));
    }
    let protocol = match (h.ethertype, h.protocol) {
        (Some(0x0806), _) => "arp".to_owned(),
        (_, Some(number)) => match number {
            1 => "icmp".to_owned(),
            4 => "ipip".to_owned(),
            6 => format!("tcp {}", flags(h.tcp_flags)),
            17 => "udp".to_owned(),
            41 => "ip6ip".to_owned(),
            58 => "icmp6".to_owned(),
            132 => "sctp".to_owned(),
            _ => format!("proto {number}"),
        },
        (Some(kind), None) => format!("type {kind:#06x}"),
        (None, None) => "cut off".to_owned(),
    };
    out.push_str(&protocol);
    match (h.addresses, h.ports, h.macs) {
        (Some((from, to)), Some((sport, dport)), _) => {
            out.push_str(&format!(
                " {} > {}",
                std::net::SocketAddr::new(from, sport),
                std::net::SocketAddr::new(to, dport)
            ));
        }
        (Some((from, to)), None, _) => out.push_str(&format!(" {from} > {to}")),
        (None, _, Some((from, to))) => out.push_str(&format!(" {from} > {to}")),
        (None, _, None) => {}
    }
    out
}

/// TCP's flags as tcpdump writes them.
fn flags(flags: Option<u8>) -> String {
    let Some(flags) = flags else {
        return "-".into();
    };
    let letters = [
        (0x02, 'S'),
        (0x01, 'F'),
        (0x04, 'R'),
        (0x08, 'P'),
        (0x20, 'U'),
        (0x10, '.'),
    ];
    let set: String = letters
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, c)| *c)
        .collect();
    if set.is_empty() { "none".into() } else { set }
}
