//! The digest of the recording `hash_maps`: which server each client goes to, for each setup. Its frames were not
//! recorded; they are made from the keys.

use super::{compare::Difference, recording::Recording, replay::Outcome, world::World};
use crate::{Carrier, Packet};
use serde::Deserialize;
use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};
use types::MacAddr;
use wire::tcp;

/// One setup, and what it did with the keys.
#[derive(Debug, Deserialize)]
struct Row {
    label: String,
    /// Commands, in order.
    setup: Vec<String>,
    v6: bool,
    /// "src": the clients are the keys. "dst": one client asks for destinations made from them.
    key: String,
    /// The server of each key; "cl" is a refusal sent back to the client.
    servers: Vec<String>,
}

/// Compares the digest, if the recording has one of this kind. Its differences stand at the step after the last.
pub(super) fn compare<C: Carrier>(
    recording: &Recording,
    world: &World<C::Frame>,
    carrier: &mut C,
    outcome: &mut Outcome,
) {
    if recording.keys4.is_empty() {
        return;
    }
    let step = recording.steps.len();
    let rows: Vec<Row> = match serde_json::from_value(recording.table.clone()) {
        Ok(rows) => rows,
        Err(why) => {
            outcome.unsupported.push((step, format!("table: {why}")));
            return;
        }
    };
    for row in rows {
        match found(recording, world, carrier, &row) {
            Ok(found) => {
                outcome.compared += row.servers.len();
                differences(recording, &row, &found, step, outcome);
            }
            Err(why) => outcome
                .unsupported
                .push((step, format!("{}: {why}", row.label))),
        }
    }
}

fn keys<'r>(recording: &'r Recording, row: &Row) -> &'r [String] {
    if row.v6 {
        &recording.keys6
    } else {
        &recording.keys4
    }
}

fn differences(
    recording: &Recording,
    row: &Row,
    found: &[String],
    step: usize,
    outcome: &mut Outcome,
) {
    let pairs = row.servers.iter().zip(found).zip(keys(recording, row));
    let mut wrong = pairs.filter(|((want, got), _)| want != got);
    if let Some(((want, got), key)) = wrong.next() {
        let mut note = format!("{}: {key}", row.label);
        let more = wrong.count();
        if more > 0 {
            let _ = write!(note, " and {more} more");
        }
        outcome.differences.push(Difference {
            step,
            note,
            expected: want.clone(),
            found: got.clone(),
        });
    }
}

/// The server each key went to.
fn found<C: Carrier>(
    recording: &Recording,
    world: &World<C::Frame>,
    carrier: &mut C,
    row: &Row,
) -> Result<Vec<String>, String> {
    let topology = &recording.topology;
    let mut world = world.fresh(topology);
    for command in &row.setup {
        let words: Vec<&str> = command.split_whitespace().collect();
        // Cleaning up, noted with the setup, came after the keys.
        if words.contains(&"del") {
            continue;
        }
        world.command(&words)?;
    }
    let mac = &topology.director["cl0"].mac;
    let mac: MacAddr = mac.parse().map_err(|_| format!("MAC {mac}"))?;
    let keys = keys(recording, row);
    if keys.len() != row.servers.len() {
        return Err(format!(
            "{} keys, {} servers",
            keys.len(),
            row.servers.len()
        ));
    }
    let mut server = |key: &String| {
        let (client, virtual_) = ends(key, row)?;
        let frame = Packet::tcp(client, virtual_, tcp::SYN).frame(mac);
        let sent = world.receive("cl", &frame, carrier, &mut || 0)?;
        Ok(sent.first().map_or_else(
            || "nothing".to_owned(),
            |sent| server_of(recording, &sent.bytes),
        ))
    };
    keys.iter().map(&mut server).collect()
}

/// The client and the address it asks for.
fn ends(key: &str, row: &Row) -> Result<(SocketAddr, SocketAddr), String> {
    // IPv6 keys have a run of zeros written out next to the `::`, which the standard library refuses.
    let key: SocketAddr = key
        .replace(":0::", "::")
        .parse()
        .map_err(|_| format!("key {key}"))?;
    let client = |text: &str| {
        let ip: IpAddr = text.parse().unwrap_or(key.ip());
        SocketAddr::new(ip, key.port())
    };
    Ok(match (row.key.as_str(), key.ip()) {
        ("src", IpAddr::V4(_)) => (key, SocketAddr::from(([10, 0, 0, 100], 80))),
        ("src", IpAddr::V6(_)) => (
            key,
            SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 0x100], 80)),
        ),
        ("dst", IpAddr::V4(ip)) => {
            let [.., x, y] = ip.octets();
            let to = Ipv4Addr::new(10, 9, x, y);
            (client("172.16.0.200"), (to, 80).into())
        }
        ("dst", ip @ IpAddr::V6(_)) => (client("fd00::200"), (ip, 80).into()),
        (other, _) => return Err(format!("keyed by {other}")),
    })
}

/// The name of the real server a frame goes to; "cl" if it goes back.
fn server_of(recording: &Recording, frame: &[u8]) -> String {
    let mac = frame.get(..6).unwrap_or_default();
    let is = |text: &str| {
        let parsed: Result<MacAddr, _> = text.parse();
        parsed.is_ok_and(|m| m.0.as_slice() == mac)
    };
    let servers = &recording.topology.real_servers;
    let found = servers.iter().find(|(_, server)| is(&server.mac));
    found.map_or_else(|| "cl".to_owned(), |(name, _)| name.clone())
}
