//! Packets in words: `tcp 198.51.100.7:4000 > 192.0.2.10:443 flags syn`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use thiserror::Error;

/// A packet somebody might send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketSpec {
    /// What it is.
    pub kind: PacketKind,
    /// Where it comes from; port 0 if there is none.
    pub source: SocketAddr,
    /// Where it goes likewise.
    pub destination: SocketAddr,
    /// The port or VLAN it comes in on, by name; absent: the one the route back to its source leaves by.
    pub interface: Option<String>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The upper six bits of TOS or traffic class.
    pub dscp: u8,
    /// Bytes behind the headers.
    pub payload: u16,
    /// Only a fragment of it.
    pub fragment: Option<FragmentSpec>,
}

/// A part of a packet, by what is behind its IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentSpec {
    /// Where it begins, bytes: a multiple of 8.
    pub offset: u16,
    /// Bytes in it: a multiple of 8, unless it is the last.
    pub length: u16,
    /// The packet's identification.
    pub id: u16,
}

impl PacketSpec {
    /// Bytes behind the IP header.
    fn behind_ip(&self) -> u32 {
        let headers = match self.kind {
            PacketKind::Tcp(_) => 20,
            PacketKind::Udp | PacketKind::Echo | PacketKind::Error(..) => 8,
            // A chunk's header with a little behind it, too.
            PacketKind::Sctp(_) => 32,
        };
        headers + u32::from(self.payload)
    }

    /// Whether there are fragments behind it.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        let end = |part: FragmentSpec| u32::from(part.offset) + u32::from(part.length);
        self.fragment
            .is_some_and(|part| end(part) < self.behind_ip())
    }
}

/// What a packet is above IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// TCP, with these flags.
    Tcp(u8),
    /// UDP.
    Udp,
    /// SCTP, with a chunk of this type.
    Sctp(u8),
    /// An echo request, by ICMP or `ICMPv6`.
    Echo,
    /// An ICMP error about another packet.
    Error(IcmpKind, Box<PacketSpec>),
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// The port is unreachable.
    Unreachable,
    /// Too big for a way of this MTU.
    TooBig(u16),
    /// The TTL is used up.
    Exceeded,
}

/// What is wrong with a description.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("packet: {0}")]
pub struct PacketError(String);

const FLAGS: &[(&str, char, u8)] = &[
    ("fin", 'f', 1),
    ("syn", 's', 2),
    ("rst", 'r', 4),
    ("psh", 'p', 8),
    ("ack", 'a', 16),
    ("urg", 'u', 32),
];

const CHUNKS: &[(&str, u8)] = &[
    ("data", 0),
    ("init", 1),
    ("init-ack", 2),
    ("sack", 3),
    ("heartbeat", 4),
    ("abort", 6),
    ("shutdown", 7),
    ("shutdown-ack", 8),
    ("cookie-echo", 10),
    ("cookie-ack", 11),
    ("shutdown-complete", 14),
];

/// Reads a description.
///
/// # Errors
/// The first mistake, and what to write instead.
pub fn parse(text: &str) -> Result<PacketSpec, PacketError> {
    let spaced = text.replace("->", ">").replace('>', " > ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    read(&words, true)
}

fn wrong<T>(what: impl Into<String>) -> Result<T, PacketError> {
    Err(PacketError(what.into()))
}

fn read(words: &[&str], outermost: bool) -> Result<PacketSpec, PacketError> {
    let [protocol, source, ">", destination, options @ ..] = words else {
        return wrong(
            "write PROTOCOL SOURCE > DESTINATION, as in 'tcp 198.51.100.7:4000 > 192.0.2.10:443' (quoted for the shell)",
        );
    };
    let (kind, ports) = match *protocol {
        "tcp" => (PacketKind::Tcp(2), true),
        "udp" => (PacketKind::Udp, true),
        "sctp" => (PacketKind::Sctp(1), true),
        "icmp" | "icmp6" => (PacketKind::Echo, false),
        other => {
            return wrong(format!(
                "`{other}` is no protocol; there are tcp, udp, sctp and icmp"
            ));
        }
    };
    let mut packet = PacketSpec {
        kind,
        source: end(source, ports)?,
        destination: end(destination, ports)?,
        interface: None,
        ttl: 64,
        dscp: 0,
        payload: 0,
        fragment: None,
    };
    let mut id = None;
    if packet.source.is_ipv4() != packet.destination.is_ipv4() {
        return wrong(format!(
            "{source} and {destination} are of different families"
        ));
    }
    let mut error = None;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || match options.next() {
            Some(value) => Ok(*value),
            None => wrong(format!("`{option}` needs a value behind it")),
        };
        match (*option, &mut packet.kind) {
            ("flags", PacketKind::Tcp(flags)) => *flags = tcp_flags(value()?)?,
            ("flags", _) => return wrong("only TCP has flags"),
            ("chunk", PacketKind::Sctp(chunk)) => *chunk = sctp_chunk(value()?)?,
            ("chunk", _) => return wrong("only SCTP has chunks"),
            ("on", _) if outermost => packet.interface = Some(value()?.to_owned()),
            ("ttl", _) => packet.ttl = number("ttl", value()?, 1..=255)?,
            ("dscp", _) => packet.dscp = number("dscp", value()?, 0..=63)?,
            ("payload", _) => packet.payload = number("payload", value()?, 0..=9000)?,
            ("fragment", _) if outermost => packet.fragment = Some(fragment(value()?)?),
            ("id", _) if outermost => id = Some(number("id", value()?, 0..=65535)?),
            ("unreachable", PacketKind::Echo) => error = Some(IcmpKind::Unreachable),
            ("exceeded", PacketKind::Echo) => error = Some(IcmpKind::Exceeded),
            ("too-big", PacketKind::Echo) => {
                error = Some(IcmpKind::TooBig(number("too-big", value()?, 68..=65535)?));
            }
            ("about", PacketKind::Echo) if outermost => {
                if packet.fragment.is_some() {
                    return wrong("a fragment of an ICMP error cannot be described");
                }
                let Some(kind) = error else {
                    return wrong(
                        "say what the error is: unreachable, exceeded or too-big MTU, then about PACKET",
                    );
                };
                let about = read(options.as_slice(), false)?;
                if about.source.is_ipv4() != packet.source.is_ipv4() {
                    return wrong("an ICMP error and the packet it is about are of one family");
                }
                packet.kind = PacketKind::Error(kind, Box::new(about));
                return Ok(packet);
            }
            (other, _) => {
                return wrong(format!(
                    "`{other}` was not expected here; there are flags, chunk, on, ttl, dscp, payload, fragment and id, and for icmp unreachable, exceeded and too-big, each with about PACKET at the end"
                ));
            }
        }
    }
    match (&mut packet.fragment, id) {
        (Some(part), Some(id)) => part.id = id,
        (None, Some(_)) => return wrong("an id is a fragment's: add fragment OFFSET+LENGTH"),
        _ => {}
    }
    fits(&packet)?;
    if error.is_some() {
        return wrong("an ICMP error is about a packet: add about PROTOCOL SOURCE > DESTINATION");
    }
    Ok(packet)
}

fn end(text: &str, ports: bool) -> Result<SocketAddr, PacketError> {
    let parsed = match ports {
        true => text.parse::<SocketAddr>().ok(),
        false => text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)),
    };
    match parsed {
        Some(end) if end.port() != 0 || !ports => Ok(end),
        Some(_) => wrong(format!("`{text}`: port 0 is no port a packet has")),
        None if ports => wrong(format!(
            "`{text}` is no ADDRESS:PORT (IPv6: [ADDRESS]:PORT)"
        )),
        None => wrong(format!("`{text}` is no address; icmp has no ports")),
    }
}

fn fragment(text: &str) -> Result<FragmentSpec, PacketError> {
    let Some((offset, length)) = text.split_once('+') else {
        return wrong(format!(
            "`{text}` is no fragment: OFFSET+LENGTH in bytes behind the IP header, like 0+1480"
        ));
    };
    let part = FragmentSpec {
        offset: number("fragment's offset", offset, 0..=65528)?,
        length: number("fragment's length", length, 1..=9000)?,
        id: 1,
    };
    if !part.offset.is_multiple_of(8) {
        return wrong(format!(
            "a fragment begins at a multiple of 8 bytes: {offset} is none"
        ));
    }
    Ok(part)
}

/// Whether there is a fragment like that of the packet.
fn fits(packet: &PacketSpec) -> Result<(), PacketError> {
    let Some(part) = packet.fragment else {
        return Ok(());
    };
    let (end, all) = (
        u32::from(part.offset) + u32::from(part.length),
        packet.behind_ip(),
    );
    if end > all {
        return wrong(format!(
            "the fragment ends at byte {end}, and the packet has {all} behind its IP header: a larger payload, or a smaller fragment"
        ));
    }
    if packet.more_fragments() && !part.length.is_multiple_of(8) {
        return wrong(format!(
            "a fragment with others behind it has a multiple of 8 bytes: {} is none",
            part.length
        ));
    }
    Ok(())
}

fn number<T: TryFrom<u32>>(
    name: &str,
    text: &str,
    range: std::ops::RangeInclusive<u32>,
) -> Result<T, PacketError> {
    let number = text.parse().ok().filter(|n| range.contains(n));
    match number.and_then(|n| T::try_from(n).ok()) {
        Some(number) => Ok(number),
        None => wrong(format!(
            "{name} `{text}` is no number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

fn tcp_flags(text: &str) -> Result<u8, PacketError> {
    if text == "none" {
        return Ok(0);
    }
    let mut flags = 0;
    for word in text.split(',') {
        let word = word.to_lowercase();
        if let Some((_, _, bit)) = FLAGS.iter().find(|(name, ..)| *name == word) {
            flags |= bit;
            continue;
        }
        for letter in word.chars() {
            // tcpdump's letters.
            let letter = if letter == '.' { 'a' } else { letter };
            match FLAGS.iter().find(|(_, c, _)| *c == letter) {
                Some((_, _, bit)) => flags |= bit,
                None => {
                    return wrong(format!(
                        "`{word}` is no TCP flag; write syn,ack,fin,rst,psh,urg, or none"
                    ));
                }
            }
        }
    }
    Ok(flags)
}

fn sctp_chunk(text: &str) -> Result<u8, PacketError> {
    let named = CHUNKS.iter().find(|(name, _)| *name == text);
    match named.map(|(_, kind)| *kind).or_else(|| text.parse().ok()) {
        Some(kind) => Ok(kind),
        None => wrong(format!(
            "`{text}` is no chunk; write a number or one of {}",
            names(CHUNKS)
        )),
    }
}

fn names(chunks: &[(&str, u8)]) -> String {
    let names: Vec<&str> = chunks.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

impl fmt::Display for PacketSpec {
    /// As [`parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.source, self.destination);
        match &self.kind {
            PacketKind::Tcp(flags) => {
                let set = FLAGS.iter().filter(|(_, _, bit)| flags & bit != 0);
                let names: Vec<&str> = set.map(|(name, ..)| *name).collect();
                let names = if names.is_empty() {
                    "none".into()
                } else {
                    names.join(",")
                };
                write!(f, "tcp {from} > {to} flags {names}")?;
            }
            PacketKind::Udp => write!(f, "udp {from} > {to}")?,
            PacketKind::Sctp(kind) => {
                let named = CHUNKS.iter().find(|(_, number)| number == kind);
                let name = named.map_or_else(|| kind.to_string(), |(name, _)| (*name).into());
                write!(f, "sctp {from} > {to} chunk {name}")?;
            }
            PacketKind::Echo | PacketKind::Error(..) => {
                write!(f, "icmp {} > {}", from.ip(), to.ip())?;
            }
        }
        if let Some(name) = &self.interface {
            write!(f, " on {name}")?;
        }
        if self.ttl != 64 {
            write!(f, " ttl {}", self.ttl)?;
        }
        if self.dscp != 0 {
            write!(f, " dscp {}", self.dscp)?;
        }
        if self.payload != 0 {
            write!(f, " payload {}", self.payload)?;
        }
        if let Some(part) = self.fragment {
            write!(f, " fragment {}+{}", part.offset, part.length)?;
            if part.id != 1 {
                write!(f, " id {}", part.id)?;
            }
        }
        match &self.kind {
            PacketKind::Error(IcmpKind::Unreachable, about) => {
                write!(f, " unreachable about {about}")
            }
            PacketKind::Error(IcmpKind::Exceeded, about) => write!(f, " exceeded about {about}"),
            PacketKind::Error(IcmpKind::TooBig(mtu), about) => {
                write!(f, " too-big {mtu} about {about}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (text, normal) in [
            (
                "tcp 198.51.100.7:4000 > 192.0.2.10:443",
                "tcp 198.51.100.7:4000 > 192.0.2.10:443 flags syn",
            ),
            (
                "tcp [2001:db8::7]:4000->[2001:db8::1]:443 flags SA on wan",
                "tcp [2001:db8::7]:4000 > [2001:db8::1]:443 flags syn,ack on wan",
            ),
            (
                "udp 1.1.1.1:53>2.2.2.2:53 dscp 46 ttl 3 payload 100",
                "udp 1.1.1.1:53 > 2.2.2.2:53 ttl 3 dscp 46 payload 100",
            ),
            (
                "sctp 1.1.1.1:5 > 2.2.2.2:6 chunk data",
                "sctp 1.1.1.1:5 > 2.2.2.2:6 chunk data",
            ),
            (
                "sctp 1.1.1.1:5 > 2.2.2.2:6 chunk 99",
                "sctp 1.1.1.1:5 > 2.2.2.2:6 chunk 99",
            ),
            ("icmp6 ::1 > ::2", "icmp ::1 > ::2"),
            (
                "udp 1.1.1.1:5 > 2.2.2.2:6 fragment 1480+528 payload 2000 id 7",
                "udp 1.1.1.1:5 > 2.2.2.2:6 payload 2000 fragment 1480+528 id 7",
            ),
            (
                "tcp 1.1.1.1:5 > 2.2.2.2:6 flags none",
                "tcp 1.1.1.1:5 > 2.2.2.2:6 flags none",
            ),
            (
                "icmp 10.0.0.5 > 192.0.2.10 too-big 1400 about tcp 192.0.2.10:80 > 198.51.100.7:4000 flags .",
                "icmp 10.0.0.5 > 192.0.2.10 too-big 1400 about tcp 192.0.2.10:80 > 198.51.100.7:4000 flags ack",
            ),
        ] {
            let packet = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(packet.to_string(), normal);
            assert_eq!(parse(normal), Ok(packet));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("", "PROTOCOL SOURCE > DESTINATION"),
            ("tcp 1.1.1.1:5", "PROTOCOL SOURCE > DESTINATION"),
            ("http 1.1.1.1:5 > 2.2.2.2:6", "no protocol"),
            ("tcp 1.1.1.1 > 2.2.2.2:6", "no ADDRESS:PORT"),
            ("tcp 1.1.1.1:0 > 2.2.2.2:6", "port 0"),
            ("icmp 1.1.1.1:5 > 2.2.2.2", "icmp has no ports"),
            ("tcp 1.1.1.1:5 > [::1]:6", "different families"),
            ("udp 1.1.1.1:5 > 2.2.2.2:6 flags syn", "only TCP has flags"),
            ("tcp 1.1.1.1:5 > 2.2.2.2:6 flags xyz", "no TCP flag"),
            ("tcp 1.1.1.1:5 > 2.2.2.2:6 ttl 0", "from 1 to 255"),
            ("tcp 1.1.1.1:5 > 2.2.2.2:6 ttl", "needs a value"),
            ("tcp 1.1.1.1:5 > 2.2.2.2:6 please", "was not expected"),
            ("icmp 1.1.1.1 > 2.2.2.2 unreachable", "about a packet"),
            ("udp 1.1.1.1:5 > 2.2.2.2:6 fragment 8", "OFFSET+LENGTH"),
            ("udp 1.1.1.1:5 > 2.2.2.2:6 fragment 4+4", "multiple of 8"),
            (
                "udp 1.1.1.1:5 > 2.2.2.2:6 payload 9 fragment 0+9",
                "multiple of 8",
            ),
            ("udp 1.1.1.1:5 > 2.2.2.2:6 fragment 8+8", "has 8 behind"),
            ("udp 1.1.1.1:5 > 2.2.2.2:6 fragment 0+0", "from 1 to"),
            ("udp 1.1.1.1:5 > 2.2.2.2:6 id 9", "add fragment"),
            (
                "icmp 1.1.1.1 > 2.2.2.2 fragment 0+8 exceeded about udp 1.1.1.1:1 > 1.1.1.1:2",
                "cannot be described",
            ),
            (
                "icmp 1.1.1.1 > 2.2.2.2 about tcp 1.1.1.1:1 > 1.1.1.1:2",
                "say what the error is",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }
}
