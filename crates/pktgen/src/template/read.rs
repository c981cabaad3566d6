//! Reading a template.

use super::{Checksum, Kind, Order, Sizes, Template, TemplateError};
use crate::axis::Axis;
use std::{net::IpAddr, str::FromStr};
use types::{IpNet, VlanId};
use wire::tcp;

/// Names of TCP flags and their bits.
const FLAGS: [(&str, u8); 8] = [
    ("fin", tcp::FIN),
    ("syn", tcp::SYN),
    ("rst", tcp::RST),
    ("psh", tcp::PSH),
    ("ack", tcp::ACK),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

/// A word and where it starts, in bytes.
type Word<'a> = (usize, &'a str);
/// A mistake at a byte of the text.
type Mistake = (usize, String);

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        read(text).map_err(|(byte, what)| TemplateError {
            text: text.to_owned(),
            at: text.get(..byte).unwrap_or(text).chars().count() + 1,
            what,
        })
    }
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    text.split_whitespace().map(|word| {
        // Both are of the same text.
        (word.as_ptr().addr() - text.as_ptr().addr(), word)
    })
}

fn read(text: &str) -> Result<Template, Mistake> {
    let end = text.trim_end().len();
    let mut words = words(text);
    let mut next = |wanted: &str| words.next().ok_or((end, format!("{wanted} is missing")));
    let (at, word) =
        next("what to send (`udp 10.0.0.1-10.0.0.250:1024-65535 > 10.0.1.1:80 size 64`)")?;
    let kind = match word {
        "udp" => Kind::Udp,
        "tcp" => Kind::Tcp { flags: tcp::SYN },
        "icmp" => Kind::Echo,
        "arp" => Kind::Arp,
        _ => {
            return Err((
                at,
                format!("`{word}` is no protocol to send: udp, tcp, icmp or arp"),
            ));
        }
    };
    let source = next("where packets come from (`10.0.0.1-10.0.0.250:1024-65535`)")?;
    let (at, arrow) = next("` > ` and where packets go")?;
    if arrow != ">" {
        return Err((
            at,
            format!("`{arrow}` stands where ` > ` belongs: SOURCE > DESTINATION"),
        ));
    }
    let destination = next("where packets go (`10.0.1.1:80`)")?;
    // An echo request has an identifier, written as its source's port.
    let (source_port, destination_port) = match kind {
        Kind::Echo => (Port::Default(1, 1), Port::None),
        Kind::Arp => (Port::None, Port::None),
        _ => (Port::Default(1024, 65535), Port::Needed),
    };
    let (from, from_port, is_ipv6) = endpoint(source, source_port)?;
    let (to, to_port, to_ipv6) = endpoint(destination, destination_port)?;
    if is_ipv6 != to_ipv6 {
        return Err((
            destination.0,
            "source and destination must be of one family, IPv4 or IPv6".to_owned(),
        ));
    }
    if kind == Kind::Arp && is_ipv6 {
        return Err((source.0, "ARP is IPv4's".to_owned()));
    }
    let mut template = Template {
        kind,
        is_ipv6,
        axes: [from, from_port, to, to_port],
        order: Order::Sequential,
        limit: None,
        sizes: Sizes::one(0),
        weight: 1,
        vlan: None,
        ttl: 64,
        tos: 0,
        dont_fragment: false,
        first_fragment: false,
        checksum: Checksum::Right,
    };
    let (mut sized, mut said) = (None, Vec::new());
    let rest: Vec<Word<'_>> = words.collect();
    let mut rest = rest.into_iter();
    while let Some((at, word)) = rest.next() {
        if word == "df" {
            template.dont_fragment = true;
            continue;
        }
        if !OPTIONS.contains(&word) {
            return Err((
                at,
                format!(
                    "`{word}` means nothing here: one of {}, df",
                    OPTIONS.join(", ")
                ),
            ));
        }
        let (value_at, value) = rest
            .next()
            .ok_or((end, format!("`{word}` needs a value behind it")))?;
        if said.contains(&word) {
            return Err((at, format!("`{word}` has been said already")));
        }
        said.push(word);
        if word == "size" {
            sized = Some(value_at);
        }
        option(&mut template, word, value).map_err(|what| (value_at, what))?;
    }
    // Without a size, the smallest in which there is room for the stamp.
    let headers = template.headers_len() - if template.vlan.is_some() { 4 } else { 0 };
    let least = (headers + super::FCS).max(64);
    match sized {
        None => {
            let stamp = match kind {
                Kind::Arp => 0,
                _ => u16::try_from(crate::stamp::LEN).unwrap_or(0),
            };
            let measured = (headers + super::FCS + stamp).max(64);
            template.sizes = Sizes::one(measured);
        }
        Some(at) => {
            if let Some((size, _)) = template.sizes.all().iter().find(|(size, _)| *size < least) {
                return Err((
                    at,
                    format!(
                        "size {size} is too small for the headers of this template: at least {least}"
                    ),
                ));
            }
        }
    }
    Ok(template)
}

/// Words that have a value behind them.
const OPTIONS: [&str; 10] = [
    "size", "flags", "order", "flows", "weight", "vlan", "ttl", "tos", "checksum", "fragment",
];

fn option(template: &mut Template, word: &str, value: &str) -> Result<(), String> {
    match word {
        "size" => template.sizes = Sizes::read(value)?,
        "flags" => {
            let Kind::Tcp { flags } = &mut template.kind else {
                return Err("only tcp has flags".to_owned());
            };
            *flags = read_flags(value)?;
        }
        "order" => template.order = read_order(value)?,
        "flows" => template.limit = Some(number(value, 1, u64::from(u32::MAX), "flows")?),
        "weight" => {
            template.weight = u16::try_from(number(value, 1, 1000, "the weight")?).unwrap_or(1);
        }
        "vlan" => {
            let (id, priority) = value.split_once(':').unwrap_or((value, "0"));
            let id = u16::try_from(number(id, 1, 4094, "the VLAN id")?).unwrap_or(1);
            let priority =
                u8::try_from(number(priority, 0, 7, "the priority behind the colon")?).unwrap_or(0);
            template.vlan = Some((VlanId::try_from(id)?, priority));
        }
        "fragment" => {
            if value != "first" || template.is_ipv6 || template.kind == Kind::Arp {
                return Err(
                    "only `fragment first`, of IPv4: the start of a packet whose rest never comes"
                        .to_owned(),
                );
            }
            template.first_fragment = true;
        }
        "ttl" => {
            template.ttl =
                u8::try_from(number(value, 0, 255, "the time to live")?).unwrap_or(u8::MAX);
        }
        "tos" => {
            template.tos =
                u8::try_from(number(value, 0, 255, "the type of service byte")?).unwrap_or(0);
        }
        _ => {
            template.checksum = match value {
                "right" => Checksum::Right,
                "wrong" => Checksum::Wrong,
                "none" if template.kind == Kind::Udp && !template.is_ipv6 => Checksum::None,
                "none" => return Err("only udp over IPv4 may go without a checksum".to_owned()),
                _ => {
                    return Err(format!(
                        "`{value}` is no checksum: right, wrong, or none (udp over IPv4)"
                    ));
                }
            };
        }
    }
    Ok(())
}

fn number(text: &str, least: u64, most: u64, what: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|n| (least..=most).contains(n))
        .ok_or(format!(
            "`{text}` is not {what}: a number from {least} to {most}"
        ))
}

fn read_flags(value: &str) -> Result<u8, String> {
    if value == "none" {
        return Ok(0);
    }
    value.split(',').try_fold(0, |all, name| {
        let known = FLAGS.iter().find(|(flag, _)| *flag == name);
        known.map(|(_, bit)| all | bit).ok_or(format!(
            "`{name}` is no TCP flag: none, or a list (`syn,ack`) of fin, syn, rst, psh, ack, urg, ece, cwr"
        ))
    })
}

fn read_order(value: &str) -> Result<Order, String> {
    match value.split_once(':').unwrap_or((value, "")) {
        ("sequential", "") => Ok(Order::Sequential),
        ("uniform", "") => Ok(Order::Uniform),
        ("zipf", s) => {
            let s = if s.is_empty() { "1" } else { s };
            let s: f64 = s
                .parse()
                .ok()
                .filter(|s| (0.1..=5.0).contains(s))
                .ok_or(format!(
                    "`{s}` is no exponent of a Zipf distribution: 0.1 to 5 (`zipf:1.0`)"
                ))?;
            Ok(Order::Zipf { s })
        }
        _ => Err(format!(
            "`{value}` is no order of flows: sequential, uniform, zipf or zipf:EXPONENT"
        )),
    }
}

/// What becomes of the port behind an address.
#[derive(Clone, Copy)]
enum Port {
    /// Must be there.
    Needed,
    /// This, where none is written.
    Default(u16, u16),
    /// There is none.
    None,
}

/// Addresses and ports; `true` if they are IPv6's.
fn endpoint((at, text): Word<'_>, port: Port) -> Result<(Axis, Axis, bool), Mistake> {
    let (addresses, addresses_at, written) = split(at, text)?;
    let (axis, is_ipv6) = read_addresses(addresses, addresses_at)?;
    let port_at = at + text.len() - written.map_or(0, str::len);
    let ports = match (written, port) {
        (Some(_), Port::None) => {
            return Err((
                port_at,
                "there is no port here (of icmp the source may have an identifier)".to_owned(),
            ));
        }
        (Some(written), _) => read_list(written, port_at, read_ports)?,
        (None, Port::Needed) => {
            return Err((
                at,
                format!("`{text}` lacks the destination port: `{text}:80`"),
            ));
        }
        (None, Port::Default(first, last)) => {
            Axis::range(first.into(), last.into()).unwrap_or(Axis::one(first.into()))
        }
        (None, Port::None) => Axis::one(0),
    };
    Ok((axis, ports, is_ipv6))
}

/// Addresses, where they start, and the port. IPv6 addresses stand in brackets, as they have colons of their own.
fn split(at: usize, text: &str) -> Result<(&str, usize, Option<&str>), Mistake> {
    if let Some(inner) = text.strip_prefix('[') {
        let (inside, behind) = inner
            .split_once(']')
            .ok_or((at, format!("`{text}`: the bracket is never closed")))?;
        if behind.is_empty() {
            return Ok((inside, at + 1, None));
        }
        let port = behind.strip_prefix(':').ok_or((
            at + inside.len() + 2,
            format!("`{behind}` stands behind the bracket, where `:PORT` may be"),
        ))?;
        return Ok((inside, at + 1, Some(port)));
    }
    if text.matches(':').count() > 1 {
        return Err((
            at,
            format!(
                "`{text}`: IPv6 addresses stand in brackets (`[2001:db8::1-2001:db8::9]:80`, `[2001:db8::/112]:80`)"
            ),
        ));
    }
    Ok(text
        .split_once(':')
        .map_or((text, at, None), |(addresses, port)| {
            (addresses, at, Some(port))
        }))
}

/// A list of what `read` reads, separated by commas.
fn read_list(
    text: &str,
    at: usize,
    mut read: impl FnMut(&str) -> Result<Axis, String>,
) -> Result<Axis, Mistake> {
    let mut all: Option<Axis> = None;
    let mut part_at = at;
    for part in text.split(',') {
        let axis = read(part).map_err(|what| (part_at, what))?;
        all = Some(match all {
            None => axis,
            Some(all) => all
                .and(axis)
                .ok_or((part_at, "that is more than 2^63 values".to_owned()))?,
        });
        part_at += part.len() + 1;
    }
    all.ok_or((at, "nothing is written there".to_owned()))
}

/// Ports outside a template: `80,443,8000-8009`.
///
/// # Errors
/// What is wrong.
pub fn port_range(text: &str) -> Result<Axis, String> {
    read_list(text, 0, read_ports).map_err(|(_, what)| what)
}

fn read_ports(part: &str) -> Result<Axis, String> {
    let port = |text: &str| {
        text.parse::<u16>().map_err(|_| {
            format!("`{text}` is no port: a number to 65535, a range (`1024-65535`), a list (`80,443,8000-8009`)")
        })
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (port(first)?, port(last)?);
    Axis::range(first.into(), last.into())
        .ok_or(format!("`{part}` is empty: write `{last}-{first}`"))
}

fn read_addresses(text: &str, at: usize) -> Result<(Axis, bool), Mistake> {
    let mut family = None;
    let axis = read_list(text, at, |part| {
        let (axis, is_ipv6) = read_address_range(part)?;
        if *family.get_or_insert(is_ipv6) != is_ipv6 {
            return Err(format!("`{part}` is of another family than the one before"));
        }
        Ok(axis)
    })?;
    Ok((axis, family == Some(true)))
}

/// Addresses outside a template: `10.0.0.1-10.0.0.9,10.0.1.0/24`. True if they are IPv6's.
///
/// # Errors
/// What is wrong.
pub fn address_range(text: &str) -> Result<(Axis, bool), String> {
    read_addresses(text, 0).map_err(|(_, what)| what)
}

fn read_address_range(part: &str) -> Result<(Axis, bool), String> {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let address = |text: &str| {
        text.parse::<IpAddr>().map_err(|_| {
            format!(
                "`{text}` is no IP address: one (`10.0.0.1`), a range (`10.0.0.1-10.0.0.250`), a prefix (`10.0.0.0/24`), a list of them \
                 separated by commas; no names"
            )
        })
    };
    let too_many =
        || format!("`{part}` holds more than 2^63 addresses; of IPv6, a /65 holds as many");
    if part.contains('/') {
        let net: IpNet = part
            .parse()
            .map_err(|error: types::IpNetError| error.to_string())?;
        let first = net.network().address();
        let bits = u32::from(if first.is_ipv6() { 128 } else { 32 } - net.prefix());
        if bits > 63 {
            return Err(too_many());
        }
        let axis = Axis::range(number(first), number(first) + ((1 << bits) - 1));
        return Ok((axis.ok_or_else(too_many)?, first.is_ipv6()));
    }
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (address(first)?, address(last)?);
    if first.is_ipv6() != last.is_ipv6() {
        return Err(format!("`{part}` mixes IPv4 and IPv6"));
    }
    if number(first) > number(last) {
        return Err(format!("`{part}` is empty: write `{last}-{first}`"));
    }
    let axis = Axis::range(number(first), number(last)).ok_or_else(too_many)?;
    Ok((axis, first.is_ipv6()))
}
