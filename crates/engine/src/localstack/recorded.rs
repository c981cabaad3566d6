//! The stack against what Linux did with the same frames: `linux-6.1.txt`, byte for byte.

use crate::testing::{World, desired, hex, to_hex};
use std::collections::BTreeMap;
use types::PortId;

const RECORDING: &str = include_str!("linux-6.1.txt");

/// Where we mean to do otherwise. Each must still differ from Linux, or it is no exception.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "from 10.0.0.255",
        "Linux answers a broadcast source by broadcast: an amplifier",
    ),
    (
        "IPv6 forwarded, hop limit 1",
        "Linux, where a VIP is an address of the interface, may choose it; a VIP is not ours to route with",
    ),
    ("IPv6 too big", "the same choice of source"),
];

struct Case {
    name: String,
    port: u16,
    received: Vec<u8>,
    sent: Vec<(u16, Vec<u8>)>,
    setup: Vec<String>,
}

fn cases() -> Vec<Case> {
    let port = |name: &str| u16::from(name == "rs");
    let mut cases: Vec<Case> = Vec::new();
    let (mut name, mut setup) = (String::new(), Vec::new());
    for line in RECORDING.lines() {
        let (kind, rest) = line.split_at_checked(2).unwrap_or(("", ""));
        match kind {
            "# " => name = rest.to_owned(),
            "! " => setup.push(rest.to_owned()),
            "> " | "< " => {
                let (interface, bytes) = rest.split_once(' ').unwrap();
                if kind == "> " {
                    cases.push(Case {
                        name: name.clone(),
                        port: port(interface),
                        received: hex(bytes),
                        sent: Vec::new(),
                        setup: setup.clone(),
                    });
                } else {
                    let sent = &mut cases.last_mut().unwrap().sent;
                    sent.push((port(interface), hex(bytes)));
                }
            }
            _ => assert!(line.is_empty(), "{line}"),
        }
    }
    cases
}

fn world(setup: &[String]) -> World {
    let mut desired = desired();
    for step in setup {
        if let Some(mtu) = step.strip_prefix("rs0 mtu ") {
            let rs = desired.interfaces.iter_mut().find(|i| i.port == PortId(1));
            rs.unwrap().mtu = mtu.parse().unwrap();
        } else {
            assert_eq!(step, "no default route");
            desired.interfaces[1].mtu = 1500;
            desired.routes.clear();
        }
    }
    if desired.interfaces[1].mtu < 1280 {
        desired.interfaces[1].addresses.truncate(1);
    }
    let known = World::new();
    let mut world = World::of(&desired);
    world.shared = known.shared;
    world
}

/// The identification of packets a router may fragment, and the flow label, are its own: they are cleared, after a look
/// at the checksum.
fn comparable(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    let ours4: &[[u8; 4]] = &[[10, 0, 0, 1], [10, 0, 0, 100], [10, 1, 0, 1]];
    match bytes[12..14] {
        [8, 0] => {
            assert_eq!(
                wire::checksum::of(&bytes[14..14 + usize::from(bytes[14] & 15) * 4]),
                0
            );
            if bytes[20] & 0x40 == 0 && ours4.iter().any(|ip| bytes[26..30] == *ip) {
                bytes[18..20].fill(0);
                bytes[24..26].fill(0);
            }
        }
        [0x86, 0xdd] if bytes[22] == 0xfd && bytes[26..36] == [0; 10] => {
            bytes[15] &= 0xf0;
            bytes[16..18].fill(0);
        }
        _ => {}
    }
    to_hex(&bytes)
}

#[test]
fn every_answer_is_linux_s() {
    let exceptions: BTreeMap<_, _> = EXCEPTIONS.iter().copied().collect();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() > 130, "{} cases", cases.len());
    for case in &cases {
        let mut world = world(&case.setup);
        let ours: Vec<_> = world
            .answer(case.port, &case.received)
            .iter()
            .map(|(port, bytes)| (*port, comparable(bytes)))
            .collect();
        let linux: Vec<_> = case
            .sent
            .iter()
            .map(|(port, bytes)| (*port, comparable(bytes)))
            .collect();
        if (ours == linux) == exceptions.contains_key(case.name.as_str()) {
            wrong.push(format!(
                "{}\n  got  {}\n  we    {ours:?}\n  Linux {linux:?}",
                case.name,
                to_hex(&case.received)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, _) in EXCEPTIONS {
        assert!(cases.iter().any(|c| c.name == *name), "{name}");
    }
}
