//! BFD: any datagrams at any time. What is read is written again as it was, and a session goes on whatever it hears: it is up only
//! while its neighbour is heard, and comes up again with a neighbour that means well.
#![no_main]

use health::bfd::{
    Finding, Heard, Peer, Session, Sessions, Settings, Wanted,
    packet::{LENGTH, Packet, State},
};
use libfuzzer_sys::fuzz_target;
use std::{collections::BTreeMap, time::Duration};

const PEER: Peer = Peer {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    multihop: false,
};
/// Of a packet in the input: its time to live, and how many milliseconds go by before it.
const HEAD: usize = 2;

fuzz_target!(|bytes: &[u8]| {
    let wanted = Wanted {
        settings: Settings::default(),
        bind: None,
        max_hops: 0,
        patience: Duration::from_secs(3),
    };
    let mut sessions = Sessions::new(1);
    sessions.follow(Duration::ZERO, &BTreeMap::from([(PEER, wanted)]));
    let mut now = Duration::ZERO;
    let mut out = Vec::new();
    let mut number = None;
    for chunk in bytes.chunks(HEAD + LENGTH) {
        let [ttl, pause, payload @ ..] = chunk else {
            break;
        };
        now += Duration::from_millis(4 * u64::from(*pause));
        sessions.poll(now, &mut out);
        // An input cannot guess our number: one in four has it right.
        let mut payload = payload.to_vec();
        number = out
            .last()
            .map(|(_, packet): &(Peer, Packet)| packet.mine)
            .or(number);
        if pause % 4 == 0
            && let (Some(slot), Some(number)) = (payload.get_mut(8..12), number)
        {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        if let Ok(packet) = Packet::parse(&payload) {
            assert_eq!(Packet::parse(&packet.bytes()), Ok(packet));
        }
        let heard = Heard {
            from: PEER.address,
            multihop: false,
            ttl: *ttl,
            payload: &payload,
        };
        if let Some((peer, answer)) = sessions.receive(now, &heard) {
            assert!(peer == PEER && answer.last && !answer.poll && *ttl == u8::MAX);
        }
        sessions.news();
        assert!(out.len() < 100_000, "bounded by time");
    }

    // However far off what it heard: without another word it is down in the end, and then a neighbour brings it up.
    for _ in 0..10 {
        if let Some(due) = sessions.due() {
            now = now.max(due) + Duration::from_secs(300 * 3600);
        }
        sessions.poll(now, &mut out);
    }
    sessions.follow(now, &BTreeMap::from([(PEER, wanted)]));
    let found = |sessions: &mut Sessions| sessions.news().pop().map(|(_, finding)| finding);
    assert_ne!(found(&mut sessions), Some(Finding::Up));
    let mut neighbour = Session::new(Settings::default(), 7, now);
    let mut last = None;
    for _ in 0..500 {
        now += Duration::from_millis(20);
        let mut from_us = Vec::new();
        sessions.poll(now, &mut from_us);
        let from_it = neighbour.poll(now, 0).into_iter();
        let answers: Vec<Packet> = from_us
            .iter()
            .filter_map(|(_, packet)| neighbour.receive(now, packet))
            .collect();
        for packet in from_it.chain(answers) {
            let heard = Heard {
                from: PEER.address,
                multihop: false,
                ttl: u8::MAX,
                payload: &packet.bytes(),
            };
            if let Some((_, answer)) = sessions.receive(now, &heard) {
                neighbour.receive(now, &answer);
            }
        }
        last = found(&mut sessions).or(last);
    }
    assert_eq!((neighbour.state(), last), (State::Up, Some(Finding::Up)));
});
