//! When a found thing equals a recorded one.

use super::recording::{ConnectionRow, OutFrame};
use crate::Sent;
use engine::{ServerView, ServiceView, model::ServiceKey};
use std::{
    fmt,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
};
use types::{Family, ForwardingMethod, GueChecksum, Scheduler, Tunnel};

/// A step whose result was not the recorded one.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Number of the step, from 0.
    pub step: usize,
    /// The recording's remark on it.
    pub note: String,
    /// As recorded.
    pub expected: String,
    /// As found.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "step {} {}\n  recorded {}\n  found    {}",
            self.step, self.note, self.expected, self.found
        )
    }
}

/// Seconds left may differ by one: the recording's clock and ours are read at different moments.
pub(super) fn about(a: i64, b: i64) -> bool {
    (a - b).abs() <= 1
}

/// The same frames, in order for each interface; bytes a recording calls volatile are not compared.
pub(super) fn frames(expected: &[OutFrame], found: &[Sent], sides: &[&str]) -> bool {
    sides.iter().enumerate().all(|(port, side)| {
        let want: Vec<&OutFrame> = expected.iter().filter(|f| f.interface == *side).collect();
        let got: Vec<&Sent> = found.iter().filter(|s| s.port.index() == port).collect();
        want.len() == got.len() && want.iter().zip(got).all(|(w, g)| same_bytes(w, &g.bytes))
    })
}

pub(super) fn same_bytes(expected: &OutFrame, found: &[u8]) -> bool {
    let Some(want) = from_hex(&expected.frame) else {
        return false;
    };
    let drawn = drawn(&want);
    let volatile = || expected.volatile.iter().chain(drawn);
    want.len() == found.len()
        && want
            .iter()
            .zip(found)
            .enumerate()
            .all(|(at, (a, b))| a == b || volatile().any(|[from, to]| (*from..*to).contains(&at)))
}

/// Where a recording's ranges do not say so: the source port of GUE over IPv6 comes of a hash with a key of its own after each start, and
/// the checksum covers it, if there is one.
fn drawn(frame: &[u8]) -> &'static [[usize; 2]] {
    let over_ipv6 = frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&17);
    match frame.get(56..62) {
        Some([0x17, 0xc0, _, _, 0, 0]) if over_ipv6 => &[[54, 56]],
        Some([0x17, 0xc0, ..]) if over_ipv6 => &[[54, 56], [60, 62]],
        _ => &[],
    }
}

/// The frame with the identification of an IPv4 packet, and the header checksum, marked as volatile.
pub(super) fn own_identification(frame: &OutFrame) -> OutFrame {
    let mut frame = frame.clone();
    if frame.frame.get(24..28) == Some("0800") {
        frame.volatile.extend([[18, 20], [24, 26]]);
    }
    // A synchronisation daemon's socket has a port the kernel drew, which the checksum covers.
    if frame.frame.get(72..76) == Some("2290") {
        frame.volatile.extend([[34, 36], [40, 42]]);
    }
    frame
}

pub(super) fn connections(expected: &[ConnectionRow], found: &[ConnectionRow]) -> bool {
    let sorted = |rows: &[ConnectionRow]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    let (want, got) = (sorted(expected), sorted(found));
    want.len() == got.len()
        && want.iter().zip(&got).all(|(w, g)| {
            about(w.expire, g.expire)
                && ConnectionRow {
                    expire: 0,
                    ..w.clone()
                } == ConnectionRow {
                    expire: 0,
                    ..g.clone()
                }
        })
}

/// What is in one list and not in the other, for a message.
pub(super) fn other_rows(expected: &[ConnectionRow], found: &[ConnectionRow]) -> (String, String) {
    let missing = |rows: &[ConnectionRow], others: &[ConnectionRow]| {
        let alone = |row: &&ConnectionRow| {
            let one = std::slice::from_ref(*row);
            !others
                .iter()
                .any(|o| connections(one, std::slice::from_ref(o)))
        };
        let line = |r: &ConnectionRow| {
            format!(
                "{} {} {} {} {} {} {}",
                r.proto,
                r.client,
                r.virtual_address,
                r.dest,
                r.state,
                r.expire,
                r.pe.as_deref().unwrap_or_default()
            )
        };
        let mut lines: Vec<String> = rows.iter().filter(alone).map(line).collect();
        lines.sort();
        format!("of {}: {lines:#?}", rows.len())
    };
    (missing(expected, found), missing(found, expected))
}

/// Name and counts of every server, in an order of its own (servers of several services may share a name).
pub(super) fn counts(rows: impl Iterator<Item = (String, [i64; 3])>) -> Vec<(String, [i64; 3])> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

/// The lines of an `ipvsadm -Ln` listing as sorted rows of words, recorded and found: IPVS lists services in the
/// order of a hash table.
pub(super) fn listing(
    opt: &str,
    output: &[String],
    services: &[ServiceView],
) -> Result<(Vec<String>, Vec<String>), String> {
    let mut columns = Columns::Counts;
    for word in opt.split_whitespace() {
        columns = match word {
            // Rows are sorted here, names are never looked up, and no figure is so large that it is shortened.
            "-n" | "--numeric" | "--sort" | "--nosort" | "--exact" => continue,
            "--stats" => Columns::Traffic,
            "--rate" => Columns::Rate,
            "--persistent-conn" => Columns::Persistent,
            "--thresholds" => Columns::Thresholds,
            "--tun-info" => Columns::Tunnels,
            _ => return Err(format!("not supported: ipvsadm -Ln {opt}")),
        };
    }
    let headings = ["IP", "Prot", "-> RemoteAddress:Port"];
    let is_heading = |line: &String| headings.iter().any(|h| line.starts_with(&format!("{h} ")));
    let mut expected: Vec<String> = output
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + " ")
        .filter(|line| !is_heading(line))
        .map(|line| line.trim().to_owned())
        .filter(|l| !l.is_empty())
        .collect();
    let mut found = Vec::new();
    for service in services {
        let name = match service.key {
            ServiceKey::Address { protocol, address } => {
                format!("{} {address}", protocol.name().to_uppercase())
            }
            ServiceKey::Mark { mark, family } => match family {
                Family::Ipv4 => format!("FWM {}", mark.0),
                Family::Ipv6 => format!("FWM {} IPv6", mark.0),
            },
        };
        found.push(match columns {
            Columns::Traffic => format!("{name} {}", traffic(&service.traffic)),
            Columns::Rate => format!("{name} {}", traffic(&service.rate)),
            Columns::Counts | Columns::Persistent | Columns::Thresholds | Columns::Tunnels => {
                let mut line = format!("{name} {}", service.scheduler);
                if let Some(names) = flags(service) {
                    let _ = write!(line, " ({names})");
                }
                if let Some(p) = service.persistence {
                    let _ = write!(line, " persistent {}", p.timeout_s);
                    if let Some(mask) = mask(&service.key, p.netmask) {
                        let _ = write!(line, " mask {mask}");
                    }
                    if let Some(engine) = service.persistence_engine {
                        let _ = write!(line, " pe {engine}");
                    }
                }
                if service.one_packet {
                    line.push_str(" ops");
                }
                line
            }
        });
        for server in &service.servers {
            let (address, weight) = (server.address, server.weight.0);
            let (active, inactive) = (server.counts.active, server.counts.inactive);
            found.push(match columns {
                Columns::Traffic => format!("-> {address} {}", traffic(&server.traffic)),
                Columns::Rate => format!("-> {address} {}", traffic(&server.rate)),
                Columns::Counts => {
                    let method = method(server.method);
                    format!("-> {address} {method} {weight} {active} {inactive}")
                }
                Columns::Tunnels => {
                    let tunnel = tunnel(server);
                    let method = method(server.method);
                    format!("-> {address} {method} {tunnel} {weight} {active} {inactive}")
                }
                Columns::Thresholds => {
                    let (upper, lower) = (server.upper_threshold, server.lower_threshold);
                    format!("-> {address} {upper} {lower} {active} {inactive}")
                }
                Columns::Persistent => {
                    let persistent = server.counts.persistent;
                    format!("-> {address} {weight} {persistent} {active} {inactive}")
                }
            });
        }
    }
    expected.sort();
    found.sort();
    Ok((expected, found))
}

/// The scheduler's flags, by ipvsadm's names.
fn flags(service: &ServiceView) -> Option<String> {
    let scheduler = match service.scheduler {
        Scheduler::Sh | Scheduler::Mh => service.scheduler.name(),
        // Another scheduler keeps them, and they have numbers.
        _ => "",
    };
    let name = |set: bool, word: &str, number: &str| {
        set.then(|| match scheduler {
            "" => format!("flag-{number}"),
            scheduler => format!("{scheduler}-{word}"),
        })
    };
    let names = [
        name(service.flags.fallback, "fallback", "1"),
        name(service.flags.port, "port", "2"),
        (scheduler.is_empty() && service.flags.third).then(|| "flag-3".to_owned()),
    ];
    let names: Vec<String> = names.into_iter().flatten().collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// The mask of persistence, where it is not the whole address.
fn mask(key: &ServiceKey, mask: u128) -> Option<String> {
    let v4 = match key {
        ServiceKey::Address { address, .. } => address.is_ipv4(),
        ServiceKey::Mark { family, .. } => *family == Family::Ipv4,
    };
    if v4 {
        let mask = u32::try_from(mask).ok().filter(|mask| *mask != u32::MAX)?;
        Some(Ipv4Addr::from_bits(mask).to_string())
    } else {
        (mask != u128::MAX).then(|| mask.leading_ones().to_string())
    }
}

/// Type, port and checksum of a tunnel, as ipvsadm has them.
fn tunnel(server: &ServerView) -> String {
    let checksum = |set| if set { "+c" } else { "-c" };
    match server.tunnel {
        _ if server.method != ForwardingMethod::Tunnel => "n/a".to_owned(),
        Tunnel::Ipip => "ipip".to_owned(),
        Tunnel::Gre { checksum: set } => format!("gre:{}", checksum(set)),
        Tunnel::Gue { port, checksum } => {
            let kind = match checksum {
                GueChecksum::None => "-c",
                GueChecksum::Full => "+c",
                GueChecksum::Remote => "r+c",
            };
            format!("gue:{port}:{kind}")
        }
    }
}

/// What a listing shows of each server.
enum Columns {
    Counts,
    Traffic,
    Rate,
    Persistent,
    Thresholds,
    Tunnels,
}

fn traffic(t: &engine::Traffic) -> String {
    format!(
        "{} {} {} {} {}",
        t.connections, t.packets_in, t.packets_out, t.bytes_in, t.bytes_out
    )
}

const fn method(method: ForwardingMethod) -> &'static str {
    match method {
        ForwardingMethod::Masq => "Masq",
        ForwardingMethod::Route => "Route",
        ForwardingMethod::Tunnel => "Tunnel",
    }
}

/// `address|port`, as recordings write it.
pub(super) fn endpoint(address: SocketAddr) -> String {
    format!("{}|{}", address.ip(), address.port())
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|p| u8::from_str_radix(p, 16).ok())
        })
        .collect()
}

/// Two digits a byte.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
