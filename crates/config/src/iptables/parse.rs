//! A rule's words, from behind the chain.

use super::{Class, Refused};
use crate::{MarkRule, PortRange, TcpFlags};
use std::net::IpAddr;
use types::{IpNet, Mark, Protocol};

/// What one rule of iptables is here.
#[derive(Default)]
pub(super) struct Parsed {
    /// In any order: they differ in their addresses and have one mark.
    pub rules: Vec<MarkRule>,
    /// What to know.
    pub told: Vec<String>,
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Refused> {
    Err((Class::Wrong, text.into()))
}

fn unsupported<T>(text: impl Into<String>) -> Result<T, Refused> {
    Err((Class::Unsupported, text.into()))
}

/// The addresses a rule names: lists make several rules.
#[derive(Default)]
struct Ends {
    sources: Vec<IpNet>,
    destinations: Vec<IpNet>,
}

pub(super) fn rule(words: &[&str], ipv6: bool) -> Result<Parsed, Refused> {
    let mut rule = MarkRule::default();
    let mut ends = Ends::default();
    let mut told = Vec::new();
    let mut target = None;
    let mut left = words.iter();
    while let Some(word) = left.next() {
        if *word == "!" || word.starts_with('!') {
            return unsupported(
                "a condition with `!`: mark rules say what is, not what is not. Put a rule for what is excepted before",
            );
        }
        if *word == "--syn" {
            rule.tcp_flags = Some(TcpFlags {
                mask: 0x17,
                set: 0x02,
            });
            continue;
        }
        let Some(value) = left.next().copied() else {
            return wrong(format!("`{word}` needs a value behind it"));
        };
        match *word {
            "-p" | "--protocol" => rule.protocol = protocol(value)?,
            "-s" | "--source" | "--src" => ends.sources = nets(value, ipv6)?,
            "-d" | "--destination" | "--dst" => ends.destinations = nets(value, ipv6)?,
            "-i" | "--in-interface" => {
                if value.ends_with('+') {
                    return unsupported(format!("-i {value}: a mark rule names one port or VLAN"));
                }
                told.push(format!(
                    "-i {value}: taken as the port or VLAN named {value:?}; there must be one"
                ));
                rule.interface = Some(value.to_owned());
            }
            "-m" | "--match" => match value {
                "tcp" | "udp" | "sctp" | "multiport" | "dscp" | "comment" => {}
                other => {
                    return unsupported(format!("-m {other}: mark rules have no such condition"));
                }
            },
            "--comment" => {}
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                rule.ports = ports(value)?;
            }
            "--sport" | "--source-port" | "--sports" | "--source-ports" => {
                rule.source_ports = ports(value)?;
            }
            "--dscp" => rule.dscp = Some(dscp(value)?),
            "--dscp-class" => return unsupported("--dscp-class: write --dscp with its number"),
            "--tcp-flags" => {
                let Some(set) = left.next() else {
                    return wrong("--tcp-flags needs a mask and the flags that are set");
                };
                rule.tcp_flags = Some(TcpFlags {
                    mask: flags(value)?,
                    set: flags(set)?,
                });
            }
            "-j" | "--jump" => target = Some(value),
            "--set-mark" | "--set-xmark" => rule.mark = mark(value)?,
            "--or-mark" | "--and-mark" | "--xor-mark" => {
                return unsupported(format!("{word}: a mark rule sets all of the mark"));
            }
            other => return unsupported(format!("`{other}`: mark rules have no such condition")),
        }
    }
    match target {
        Some("MARK") if rule.mark == Mark(0) => {
            return unsupported(
                "a rule that sets the mark 0, which is none: left out; rules before it are not taken back",
            );
        }
        Some("MARK") => {}
        Some(other @ ("ACCEPT" | "RETURN")) => {
            return unsupported(format!(
                "-j {other} keeps packets from the rules behind it: put those for them first by hand"
            ));
        }
        Some(other) => return unsupported(format!("-j {other} sets no mark; left out")),
        None => return wrong("there is no -j: the rule does nothing"),
    }
    if (!rule.ports.is_empty() || !rule.source_ports.is_empty()) && rule.protocol.is_none() {
        return wrong("ports without a protocol: write -p tcp or -p udp");
    }
    Ok(Parsed {
        rules: each(&rule, ends, ipv6),
        told,
    })
}

/// A rule for each pair of addresses. One without any is for its program's family only.
fn each(rule: &MarkRule, ends: Ends, ipv6: bool) -> Vec<MarkRule> {
    let Ends {
        sources,
        mut destinations,
    } = ends;
    if sources.is_empty() && destinations.is_empty() {
        let any = if ipv6 { "::/0" } else { "0.0.0.0/0" };
        destinations.extend(any.parse::<IpNet>());
    }
    let or_none = |list: Vec<IpNet>| match list.is_empty() {
        true => vec![None],
        false => list.into_iter().map(Some).collect(),
    };
    let destinations = or_none(destinations);
    let pairs = or_none(sources)
        .into_iter()
        .flat_map(|source| destinations.iter().map(move |to| (source, *to)));
    pairs
        .map(|(source, destination)| MarkRule {
            source,
            destination,
            ..rule.clone()
        })
        .collect()
}

fn protocol(text: &str) -> Result<Option<Protocol>, Refused> {
    match text.to_lowercase().as_str() {
        "all" | "0" => Ok(None),
        "tcp" | "6" => Ok(Some(Protocol::Tcp)),
        "udp" | "17" => Ok(Some(Protocol::Udp)),
        "sctp" | "132" => Ok(Some(Protocol::Sctp)),
        other => unsupported(format!("-p {other}: services have tcp, udp and sctp")),
    }
}

fn nets(text: &str, ipv6: bool) -> Result<Vec<IpNet>, Refused> {
    text.split(',').map(|text| net(text, ipv6)).collect()
}

fn net(text: &str, ipv6: bool) -> Result<IpNet, Refused> {
    let parsed = text.parse::<IpNet>().ok();
    let host = || text.parse::<IpAddr>().ok().map(IpNet::host);
    // 192.0.2.0/255.255.255.0, as older versions save it.
    let masked = || {
        let (ip, mask) = text.split_once('/')?;
        let mask = mask.parse::<std::net::Ipv4Addr>().ok()?.to_bits();
        let length = mask.leading_ones();
        let contiguous = mask.checked_shl(length).unwrap_or(0) == 0;
        contiguous
            .then(|| format!("{ip}/{length}").parse().ok())
            .flatten()
    };
    match parsed.or_else(host).or_else(masked) {
        Some(net) if net.address().is_ipv4() == ipv6 => {
            wrong(format!("`{text}` is of the other family than the program"))
        }
        Some(net) => Ok(net.network()),
        None if text.contains("n.n") || text.contains('<') => wrong(format!(
            "`{text}` stands for an address: write the service's virtual address there"
        )),
        None => wrong(format!(
            "`{text}` is no address and no prefix; names are not looked up"
        )),
    }
}

/// Ports by name that files have.
const PORTS: &[(&str, u16)] = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("imap", 143),
    ("imap2", 143),
    ("ldap", 389),
    ("https", 443),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
];

fn ports(text: &str) -> Result<Vec<PortRange>, Refused> {
    let one = |text: &str| -> Option<u16> {
        let named = PORTS.iter().find(|(name, _)| *name == text);
        named.map(|(_, port)| *port).or_else(|| text.parse().ok())
    };
    let range = |text: &str| {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        let from = if from.is_empty() { Some(0) } else { one(from) };
        let to = if to.is_empty() {
            Some(u16::MAX)
        } else {
            one(to)
        };
        match (from, to) {
            (Some(from), Some(to)) if from <= to => Ok(PortRange(from, to)),
            _ => wrong(format!("`{text}` is no port and no range FROM:TO")),
        }
    };
    text.split(',').map(range).collect()
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn mark(text: &str) -> Result<Mark, Refused> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    match (number(value), number(mask)) {
        (Some(value), Some(u32::MAX)) => Ok(Mark(value)),
        (Some(_), Some(_)) => unsupported(format!(
            "{text}: a mark rule sets all of the mark, not some bits"
        )),
        _ => wrong(format!("`{text}` is no mark")),
    }
}

fn dscp(text: &str) -> Result<u8, Refused> {
    let value = number(text).and_then(|n| u8::try_from(n).ok());
    match value.filter(|n| *n < 64) {
        Some(value) => Ok(value),
        None => wrong(format!("`{text}` is no DSCP: 0 to 63")),
    }
}

fn flags(text: &str) -> Result<u8, Refused> {
    let mut bits = 0;
    for word in text.split(',') {
        bits |= match word {
            "FIN" => 1,
            "SYN" => 2,
            "RST" => 4,
            "PSH" => 8,
            "ACK" => 16,
            "URG" => 32,
            "ALL" => 63,
            "NONE" => 0,
            other => return wrong(format!("`{other}` is no TCP flag")),
        };
    }
    Ok(bits)
}
