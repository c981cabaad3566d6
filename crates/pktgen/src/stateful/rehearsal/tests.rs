//! Clients and servers as a whole, on wires that lose, repeat, reorder and damage.

use super::*;
use crate::{
    axis::Axis,
    random::Random,
    rate::{Pace, Rate},
    stateful::{
        clients::{Close, Script},
        http::{self, Content},
        servers::Service,
        tcb::Timing,
        tuples::Tuples,
    },
    template::Template,
};
use proptest::prelude::*;
use std::sync::Arc;
use types::MacAddr;

const MS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Course {
    requests: u32,
    request: usize,
    content: u32,
    close: Close,
    hold_ms: u64,
    count: u64,
    most: u32,
    is_ipv6: bool,
}

const PLAIN: Course = Course {
    requests: 1,
    request: 100,
    content: 200,
    close: Close::Server,
    hold_ms: 0,
    count: 100,
    most: 1000,
    is_ipv6: false,
};

fn rehearsal(course: &Course) -> Rehearsal {
    let text = if course.is_ipv6 {
        "tcp [fd00::1-fd00::2] > [fd00:1::1]:80"
    } else {
        "tcp 10.0.0.1-10.0.0.2 > 10.0.1.1:80"
    };
    let text = text.replace("[fd00::1-fd00::2]", "[fd00::1]");
    let template: Template = text.parse().unwrap();
    let timing = Timing {
        rto_ns: 1000 * MS,
        timeout_ns: 20_000 * MS,
        time_wait_ns: 100 * MS,
        mss: 1460,
        stamps: false,
    };
    let content = Arc::new(Content::new());
    let get = |closes| http::get("h", "/", course.request, closes).into();
    let script = Script {
        requests: course.requests,
        request: get(false),
        last_request: get(course.close == Close::Server),
        close: course.close,
        hold_ns: course.hold_ms * MS,
        expected_len: Some(course.content.into()),
        expected: None,
        timing,
        path: Path {
            from: MacAddr([2, 0, 0, 0, 0, 1]),
            to: MacAddr([2, 0, 0, 0, 0, 2]),
            vlan: None,
            ttl: 64,
            tos: 0,
        },
        first_sequence: 4_294_900_000,
        count: Some(course.count),
    };
    let pace = Pace::new(Rate::Packets(10_000.0), None, 1, 0, 1e9).unwrap();
    let tuples = Tuples::new(&template, 0, 1, 1);
    let service = Service {
        content: course.content,
        ports: Some(Axis::one(80)),
        addresses: [
            vec![template.axes[2].clone()],
            vec![template.axes[2].clone()],
        ],
        timing,
        first_sequence: 77,
    };
    Rehearsal::new(
        Clients::new(script, course.most, tuples, pace, Arc::clone(&content)),
        Some(Servers::new(service, course.most, content)),
    )
}

/// Runs it to its end.
fn run(rehearsal: &mut Rehearsal, mut carry: impl FnMut(u64, bool, &[u8]) -> Vec<u64>) {
    let mut steps = 0;
    while rehearsal.step(600_000 * MS, true, &mut carry) {
        steps += 1;
        assert!(
            steps < 3_000_000,
            "it never ends: {:?}",
            rehearsal.clients.tally
        );
    }
    assert_eq!(
        (rehearsal.clients.open_now(), rehearsal.under_way()),
        (0, 0)
    );
    assert_eq!(rehearsal.servers.as_ref().unwrap().open_now(), 0);
}

fn good(now: u64, _: bool, _: &[u8]) -> Vec<u64> {
    vec![now + WIRE_NS]
}

#[test]
fn six_frames_make_a_connection_with_an_exchange() {
    let mut frames = 0;
    let mut all = rehearsal(&PLAIN);
    run(&mut all, |now, to_servers, frame| {
        frames += 1;
        good(now, to_servers, frame)
    });
    let tally = all.clients.tally;
    assert_eq!(
        (
            tally.opened,
            tally.established,
            tally.closed,
            tally.responses
        ),
        (100, 100, 100, 100),
        "{tally:?}"
    );
    assert_eq!(
        (
            tally.failed(),
            tally.wrong(),
            tally.stray,
            tally.segments_again
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(frames, 600);
    let servers = all.servers.unwrap().tally;
    assert_eq!(
        (
            servers.accepted,
            servers.closed,
            servers.requests,
            servers.stray
        ),
        (100, 100, 100, 0)
    );
    assert_eq!(
        (servers.bytes_received, servers.bytes_sent),
        (tally.bytes_sent, tally.bytes_received)
    );
    // Two ways, each so long.
    let times = &all.clients.times;
    assert_eq!((times.handshake.len(), times.response.len()), (100, 100));
    assert!(
        times.handshake.max() < 2 * WIRE_NS + 1000 && times.handshake.min() >= 2 * WIRE_NS - 100
    );
}

#[test]
fn every_way_to_close_and_hold_is_counted() {
    for (close, requests, hold_ms) in [
        (Close::Client, 0, 0),
        (Close::Client, 3, 0),
        (Close::Client, 1, 50_000),
        (Close::Server, 5, 0),
        (Close::Reset, 0, 0),
        (Close::Reset, 2, 10),
    ] {
        let mut all = rehearsal(&Course {
            close,
            requests,
            hold_ms: hold_ms.min(5000),
            ..PLAIN
        });
        run(&mut all, good);
        let tally = all.clients.tally;
        assert_eq!(
            (tally.opened, tally.closed + tally.closed_by_reset),
            (100, 100),
            "{close:?} {requests}: {tally:?}"
        );
        assert_eq!(tally.closed_by_reset > 0, close == Close::Reset);
        assert_eq!(
            (tally.responses, tally.failed(), tally.wrong()),
            (100 * u64::from(requests), 0, 0)
        );
    }
}

#[test]
fn large_contents_and_both_families_pass() {
    for is_ipv6 in [false, true] {
        let mut all = rehearsal(&Course {
            content: 300_000,
            requests: 3,
            request: 4000,
            count: 5,
            is_ipv6,
            ..PLAIN
        });
        run(&mut all, good);
        let tally = all.clients.tally;
        assert_eq!(
            (
                tally.closed,
                tally.responses,
                tally.wrong(),
                tally.segments_again
            ),
            (5, 15, 0, 0),
            "{tally:?}"
        );
    }
}

#[test]
fn no_more_than_the_bound_are_open_at_a_time() {
    let mut all = rehearsal(&Course {
        most: 7,
        close: Close::Client,
        hold_ms: 20,
        count: 50,
        ..PLAIN
    });
    let mut most = 0;
    while all.step(u64::MAX, true, good) {
        most = most.max(all.clients.open_now());
    }
    assert_eq!((most, all.clients.tally.closed), (7, 50));
}

#[test]
fn what_nobody_answers_is_told_by_kind() {
    // Nobody is there.
    let mut all = rehearsal(&Course { count: 3, ..PLAIN });
    all.servers = None;
    while all.step(u64::MAX, true, good) {}
    assert_eq!(
        (
            all.clients.tally.timeout_handshake,
            all.clients.tally.syn_again
        ),
        (3, 12),
        "{:?}",
        all.clients.tally
    );
    // The port is closed.
    let mut all = rehearsal(&Course { count: 3, ..PLAIN });
    let service = Service {
        content: 1,
        ports: Some(Axis::one(81)),
        addresses: [vec![Axis::range(0, u128::from(u32::MAX)).unwrap()], vec![]],
        timing: Timing {
            rto_ns: MS,
            timeout_ns: MS,
            time_wait_ns: 0,
            mss: 1460,
            stamps: false,
        },
        first_sequence: 0,
    };
    all.servers = Some(Servers::new(service, 9, Arc::new(Content::new())));
    while all.step(u64::MAX, true, good) {}
    assert_eq!(all.clients.tally.refused, 3);
    // Everything is lost from the request on.
    let mut all = rehearsal(&Course { count: 3, ..PLAIN });
    run(&mut all, |now, to_servers, frame| {
        // A SYN with its options has 66 bytes.
        if to_servers && frame.len() > 70 {
            vec![]
        } else {
            vec![now + WIRE_NS]
        }
    });
    assert_eq!(
        all.clients.tally.timeout_exchange, 3,
        "{:?}",
        all.clients.tally
    );
    // The content is changed on the way, the checksum mended.
    let mut all = rehearsal(&Course { count: 3, ..PLAIN });
    while all.step(u64::MAX, true, |now, _, _| vec![now + WIRE_NS]) {
        let mut frames: Vec<_> = std::mem::take(&mut all.under_way).into_vec();
        for Reverse(frame) in &mut frames {
            let len = frame.bytes.len();
            if !frame.to_servers && len > 200 {
                frame.bytes.swap(len - 2, len - 4);
            }
        }
        all.under_way = frames.into();
    }
    assert!(
        all.clients.tally.wrong_content > 0,
        "{:?}",
        all.clients.tally
    );
    // Another length than expected.
    let mut all = rehearsal(&Course {
        count: 3,
        content: 9,
        ..PLAIN
    });
    all.clients = rehearsal(&Course {
        count: 3,
        content: 10,
        ..PLAIN
    })
    .clients;
    run(&mut all, good);
    assert_eq!(
        (all.clients.tally.wrong_length, all.clients.tally.responses),
        (3, 3)
    );
}

#[test]
fn what_is_left_at_the_end_is_torn_down_on_both_sides() {
    let mut all = rehearsal(&Course {
        hold_ms: 10_000,
        close: Close::Client,
        ..PLAIN
    });
    while all.step(100 * MS, true, good) {}
    assert_eq!(all.clients.open_now(), 100);
    let mut resets = Vec::new();
    let mut keep = |frame| resets.push(frame);
    all.clients.end(all.now, &mut Desk { take: &mut keep });
    let servers = all.servers.as_mut().unwrap();
    for frame in &resets {
        servers.take(
            all.now,
            &segment::read(frame).unwrap(),
            &mut Desk {
                take: &mut |_| panic!("an answer to a reset"),
            },
        );
    }
    assert_eq!((all.clients.open_now(), servers.open_now()), (0, 0));
    assert_eq!(
        (all.clients.tally.unfinished, servers.tally.reset),
        (100, 100)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// On bad wires exchanges take longer and some connections fail; none is forgotten, and no response is wrong.
    #[test]
    fn every_connection_comes_to_one_end(
        seed: u64,
        lost in 0..150_u64,
        twice in 0..50_u64,
        damaged in 0..50_u64,
        late in 0..200_u64,
        content in 0..9000_u32,
        request in 80..3000_usize,
        requests in 0..4_u32,
        kind in 0..3_usize,
    ) {
        let close = [Close::Client, Close::Server, Close::Reset][kind];
        prop_assume!(requests > 0 || close != Close::Server);
        let mut random = Random::new(seed);
        let mut all = rehearsal(&Course { requests, request, content, close, count: 60, ..PLAIN });
        let mut steps = 0;
        while all.step(600_000 * MS, true, |now, _, _| {
            let copies = 1 + usize::from(random.below(1000) < twice) - usize::from(random.below(1000) < lost);
            (0..copies).map(|_| now + WIRE_NS + if random.below(1000) < late { random.below(40 * MS) } else { 0 }).collect()
        }) {
            steps += 1;
            prop_assert!(steps < 1_000_000, "it never ends: {:?}", all.clients.tally);
            if random.below(1000) < damaged {
                let mut frames = std::mem::take(&mut all.under_way).into_vec();
                // Not one that is damaged already: two damages may make one right checksum.
                if let Some(Reverse(frame)) = frames.first_mut()
                    && segment::read(&frame.bytes).is_ok()
                {
                    let at = 14 + usize::try_from(random.below(frame.bytes.len() as u64 - 14)).unwrap();
                    frame.bytes[at] ^= 0x10;
                }
                all.under_way = frames.into();
            }
        }
        let tally = all.clients.tally;
        prop_assert_eq!(all.clients.open_now(), 0);
        prop_assert_eq!(tally.opened, 60);
        // A reset may come when both had ended: then it is closed already.
        let ends = tally.closed + tally.closed_by_reset + tally.failed();
        prop_assert_eq!(ends, 60, "{:?}", tally);
        prop_assert_eq!((tally.wrong(), tally.malformed), (0, 0));
        prop_assert!(tally.responses <= tally.requests && tally.established <= tally.opened);
        let servers = all.servers.unwrap();
        prop_assert_eq!(servers.open_now(), 0);
        prop_assert!(servers.tally.requests >= tally.responses && servers.tally.malformed == 0);
    }
}
