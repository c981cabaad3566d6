//! Two ends over a wire that loses, repeats and reorders.

use super::*;
use crate::random::Random;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const TIMING: Timing = Timing {
    rto_ns: 1000 * MS,
    timeout_ns: 900_000 * MS,
    time_wait_ns: 500 * MS,
    mss: 1460,
    stamps: false,
};

struct Wire {
    random: Random,
    /// Of 1000 segments.
    lost: u64,
    twice: u64,
    late: u64,
    /// With timestamps.
    stamps: bool,
    /// Arrival, order, which end, what.
    under_way: Vec<(u64, u64, usize, Said)>,
    count: u64,
}

impl Wire {
    fn send(&mut self, now: u64, to: usize, said: Said) {
        let copies = 1 + u64::from(self.random.below(1000) < self.twice);
        for _ in 0..copies {
            if self.random.below(1000) < self.lost {
                continue;
            }
            let late = match self.random.below(1000) < self.late {
                true => self.random.below(30 * MS),
                false => 0,
            };
            self.count += 1;
            self.under_way.push((now + MS + late, self.count, to, said));
        }
    }
}

/// Byte `at` of what end `who` sends.
fn byte(who: usize, at: u32) -> u8 {
    let [mixed, ..] = at.wrapping_mul(31).wrapping_add(at >> 8).to_le_bytes();
    mixed ^ if who == 0 { 0 } else { 0x55 }
}

struct Seen {
    bytes: [u32; 2],
    over: [bool; 2],
    given_up: bool,
    again: u32,
    took_ns: u64,
}

/// Both send `sizes` and end; whoever `first` is ends as soon as all of its own is queued, the other when it has heard the end.
fn exchange(
    sizes: [u32; 2],
    first: usize,
    mut wire: Wire,
    numbers: [u32; 2],
    windows: [u16; 2],
) -> Seen {
    let timing = Timing {
        stamps: wire.stamps,
        ..TIMING
    };
    let mut ends: [Option<Tcb>; 2] = [Some(Tcb::connect(0, numbers[0], &timing)), None];
    let mut seen = Seen {
        bytes: [0; 2],
        over: [false; 2],
        given_up: false,
        again: 0,
        took_ns: 0,
    };
    let mut now = 0;
    let mut ticks = 0;
    loop {
        ticks += 1;
        assert!(ticks < 2_000_000, "it never ends");
        for (who, end) in ends.iter_mut().enumerate() {
            let Some(end) = end else { continue };
            if end.lapse(now, &timing) == Lapse::GivenUp {
                seen.given_up = true;
                return seen;
            }
            while let Some(said) = end.poll(now, &timing) {
                seen.again += u32::from(said.is_again);
                assert_eq!(said.options.stamps.is_some(), timing.stamps);
                let data = said.len + if timing.stamps { STAMPS_LEN } else { 0 };
                assert!(data <= timing.mss);
                wire.send(now, 1 - who, said);
            }
        }
        let done = |end: &Option<Tcb>| end.as_ref().is_some_and(|end| end.state() == State::Closed);
        if ends.iter().all(done) {
            seen.took_ns = now;
            return seen;
        }
        let arrival = wire.under_way.iter().map(|(at, ..)| *at).min();
        let deadline = ends
            .iter()
            .flatten()
            .filter(|e| e.state() != State::Closed)
            .map(Tcb::deadline)
            .min();
        now = now.max(
            arrival
                .into_iter()
                .chain(deadline)
                .min()
                .expect("something is to happen"),
        );
        wire.under_way.sort_by_key(|(at, count, ..)| (*at, *count));
        while wire.under_way.first().is_some_and(|(at, ..)| *at <= now) {
            let (_, _, to, said) = wire.under_way.remove(0);
            let payload: Vec<u8> = (0..u32::from(said.len))
                .map(|i| byte(1 - to, said.at + i))
                .collect();
            let heard = Heard {
                flags: said.flags,
                sequence: said.sequence,
                acknowledgement: said.acknowledgement,
                window: windows[1 - to],
                options: said.options,
                payload: &payload,
            };
            let Some(end) = &mut ends[to] else {
                if said.flags == SYN {
                    ends[to] = Some(Tcb::accept(now, numbers[1], &heard, &timing));
                }
                continue;
            };
            let took = end.take(now, &heard, &timing);
            assert!(!took.is_reset);
            for value in took.data {
                assert_eq!(*value, byte(1 - to, seen.bytes[to]));
                seen.bytes[to] += 1;
            }
            if took.is_established {
                end.queue(sizes[to]);
                if to == first {
                    end.end_sending();
                }
            }
            if took.is_end && to != first {
                end.end_sending();
            }
            seen.over[to] |= took.is_over;
        }
    }
}

fn quiet(seed: u64) -> Wire {
    Wire {
        random: Random::new(seed),
        lost: 0,
        twice: 0,
        late: 0,
        stamps: false,
        under_way: Vec::new(),
        count: 0,
    }
}

#[test]
fn on_a_good_wire_nothing_is_said_twice_and_an_exchange_takes_three_round_trips() {
    let seen = exchange([100, 1000], 1, quiet(1), [0, u32::MAX], [65535; 2]);
    assert_eq!(
        (seen.bytes, seen.over, seen.again),
        ([1000, 100], [true; 2], 0)
    );
    // What is left is the wait of whoever closed first.
    assert!(
        seen.took_ns <= 6 * MS + TIMING.time_wait_ns,
        "{}",
        seen.took_ns
    );
}

#[test]
fn a_dead_wire_is_given_up_and_a_syn_is_repeated_ever_more_rarely() {
    let timing = Timing {
        timeout_ns: 60_000 * MS,
        ..TIMING
    };
    let mut end = Tcb::connect(0, 7, &timing);
    let mut said = Vec::new();
    let mut now = 0;
    while end.lapse(now, &timing) != Lapse::GivenUp {
        if let Some(syn) = end.poll(now, &timing) {
            assert_eq!(
                (syn.flags, syn.sequence, syn.options.mss),
                (SYN, 7, Some(1460))
            );
            said.push(now / MS);
        }
        now = end.deadline();
    }
    assert_eq!(said, [0, 1000, 3000, 7000, 15_000, 31_000]);
    assert_eq!(now / MS, 60_000);
}

#[test]
fn resets_count_only_where_they_are_expected() {
    let syn_ack = Heard {
        flags: SYN | ACK,
        sequence: 99,
        acknowledgement: 8,
        window: 1000,
        options: Options::default(),
        payload: &[],
    };
    let mut end = Tcb::connect(0, 7, &TIMING);
    let refused = Heard {
        flags: RST | ACK,
        sequence: 0,
        ..syn_ack
    };
    // Before anything was sent it cannot be an answer.
    assert!(!end.take(1, &refused, &TIMING).is_reset);
    end.poll(1, &TIMING).unwrap();
    assert!(
        !end.take(
            1,
            &Heard {
                acknowledgement: 9,
                ..refused
            },
            &TIMING
        )
        .is_reset
    );
    assert!(end.clone().take(1, &refused, &TIMING).is_reset);
    assert!(end.take(1, &syn_ack, &TIMING).is_established);
    end.poll(1, &TIMING).unwrap();
    let rst = Heard {
        flags: RST,
        sequence: 101,
        ..syn_ack
    };
    assert!(!end.take(2, &rst, &TIMING).is_reset);
    assert_eq!(end.poll(2, &TIMING).map(|s| s.flags), Some(ACK));
    assert!(
        end.take(
            2,
            &Heard {
                sequence: 100,
                ..rst
            },
            &TIMING
        )
        .is_reset
    );
}

/// What a client's SYN and first bytes look like if the server says `options`, and then a window of 1000; and how many bytes go at once.
fn first_flight(options: Options, timing: &Timing) -> (Options, u32) {
    let mut end = Tcb::connect(0, 7, timing);
    let syn = end.poll(0, timing).unwrap();
    let syn_ack = Heard {
        flags: SYN | ACK,
        sequence: 99,
        acknowledgement: 8,
        window: 1000,
        options,
        payload: &[],
    };
    assert!(end.take(0, &syn_ack, timing).is_established);
    end.queue(100_000);
    let flight = |end: &mut Tcb, now| -> u32 {
        let said = std::iter::from_fn(|| end.poll(now, timing));
        said.map(|said| u32::from(said.len)).sum()
    };
    // In a SYN it is not shifted. A crumb less than a segment is kept back.
    let first = flight(&mut end, 1);
    assert_eq!(first, if timing.stamps { 988 } else { 1000 });
    let ack = Heard {
        flags: ACK,
        sequence: 100,
        acknowledgement: 8 + first,
        ..syn_ack
    };
    end.take(MS, &ack, timing);
    (syn.options, flight(&mut end, MS))
}

#[test]
fn what_is_offered_is_what_a_client_can_and_windows_are_shifted_as_the_server_says() {
    let all = Options {
        mss: Some(1000),
        scale: Some(3),
        sack: true,
        stamps: Some((5, 6)),
    };
    let (syn, bytes) = first_flight(all, &TIMING);
    let offered = Options {
        mss: Some(1460),
        scale: Some(SCALE),
        sack: true,
        stamps: None,
    };
    assert_eq!((syn, bytes), (offered, 8000));
    let (_, bytes) = first_flight(Options { scale: None, ..all }, &TIMING);
    assert_eq!(bytes, 1000);
    let timing = Timing {
        stamps: true,
        ..TIMING
    };
    let (syn, bytes) = first_flight(all, &timing);
    assert!(syn.stamps.is_some() && bytes <= 8000, "{syn:?} {bytes}");
}

#[test]
fn a_server_says_what_it_was_asked_for() {
    let asked = Options {
        mss: Some(1460),
        scale: Some(7),
        sack: true,
        stamps: Some((5, 0)),
    };
    let without = Options {
        mss: Some(1460),
        ..Options::default()
    };
    for options in [asked, without] {
        let syn = Heard {
            flags: SYN,
            sequence: 99,
            acknowledgement: 0,
            window: 1000,
            options,
            payload: &[],
        };
        let mut end = Tcb::accept(MS, 7, &syn, &TIMING);
        let said = end.poll(MS, &TIMING).unwrap().options;
        let scale = options.scale.map(|_| SCALE);
        assert_eq!(
            (said.mss, said.scale, said.sack),
            (Some(1460), scale, options.sack)
        );
        assert_eq!(
            said.stamps.map(|(_, echoed)| echoed),
            options.stamps.map(|(sent, _)| sent)
        );
    }
}

#[test]
fn a_far_end_that_takes_nothing_is_asked_again_and_then_heard() {
    let mut end = Tcb::connect(0, 7, &TIMING);
    end.poll(0, &TIMING).unwrap();
    let heard = Heard {
        flags: SYN | ACK,
        sequence: 99,
        acknowledgement: 8,
        window: 0,
        options: Options {
            mss: Some(1000),
            ..Options::default()
        },
        payload: &[],
    };
    end.take(0, &heard, &TIMING);
    end.queue(3000);
    assert_eq!(end.poll(0, &TIMING).map(|s| s.len), Some(0));
    assert_eq!(end.poll(0, &TIMING), None);
    let now = end.deadline();
    assert!(now <= 1000 * MS);
    end.lapse(now, &TIMING);
    assert_eq!(end.poll(now, &TIMING).map(|s| (s.len, s.at)), Some((1, 0)));
    let opened = Heard {
        flags: ACK,
        sequence: 100,
        acknowledgement: 9,
        window: 2000,
        ..heard
    };
    end.take(now, &opened, &TIMING);
    let said: Vec<u16> = std::iter::from_fn(|| end.poll(now, &TIMING))
        .map(|s| s.len)
        .collect();
    assert_eq!(said, [1000, 1000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever the wire does short of being dead, all arrives, in order, once, and both know that it is over.
    #[test]
    fn all_arrives(
        sizes in [0..60_000_u32, 0..60_000_u32],
        first in 0..2_usize,
        seed: u64,
        lost in 0..200_u64,
        twice in 0..100_u64,
        late in 0..300_u64,
        stamps: bool,
        numbers: [u32; 2],
        windows in [2000..=u16::MAX, 2000..=u16::MAX],
    ) {
        let wire = Wire { random: Random::new(seed), lost, twice, late, stamps, under_way: Vec::new(), count: 0 };
        let seen = exchange(sizes, first, wire, numbers, windows);
        // The last acknowledgement may be lost: then one end gives up, with everything done.
        prop_assert_eq!(seen.bytes, [sizes[1], sizes[0]]);
        prop_assert!(seen.given_up || seen.over == [true; 2]);
    }

    /// Nor does nonsense make it panic or accept more than there is.
    #[test]
    fn nonsense_is_survived(steps in proptest::collection::vec((any::<(u8, u32, u32, u16, (Option<u16>, Option<u8>, bool, Option<(u32, u32)>), u8)>(), 0..3_u8, 0..2_000_000_000_u64), 0..60), accepts: bool) {
        let blank = Heard { flags: SYN, sequence: 5, acknowledgement: 0, window: 9, options: Options::default(), payload: &[] };
        let mut end = match accepts {
            true => Tcb::accept(0, 1000, &blank, &TIMING),
            false => Tcb::connect(0, 1000, &TIMING),
        };
        let mut now = 0;
        for ((flags, sequence, acknowledgement, window, (mss, scale, sack, stamps), len), near, pause) in steps {
            let payload = vec![0; len.into()];
            // Near what is expected, or anywhere.
            let sequence = if near > 0 { end.expected().wrapping_add(sequence % 4).wrapping_sub(1) } else { sequence };
            let acknowledgement = if near > 1 { end.acknowledged.wrapping_add(acknowledgement % 300) } else { acknowledgement };
            let heard = Heard { flags, sequence, acknowledgement, window, options: Options { mss, scale: scale.map(|s| s % 15), sack, stamps }, payload: &payload };
            let took = end.take(now, &heard, &TIMING);
            prop_assert!(took.data.len() <= payload.len());
            let _ = refusal(&heard);
            if took.is_established {
                end.queue(5000);
            }
            let mut said = 0;
            while end.poll(now, &TIMING).is_some() {
                said += 1;
                prop_assert!(said < 200);
            }
            prop_assert!(!is_before(end.next, end.acknowledged) && !is_before(end.highest, end.next));
            now += pause;
            if end.lapse(now, &TIMING) == Lapse::GivenUp {
                end.reset();
            }
        }
    }
}
