//! An FTP server's stream through NAT against a model of two TCP stacks: segments are cut at random and cut anew when
//! they are sent again, lost, doubled and reordered, acknowledged cumulatively and selectively; what the client reads must
//! be the server's text with its address replaced, and the server must never be told that something arrived which did not.
#![expect(clippy::cast_possible_truncation, reason = "short streams")]

use proptest::prelude::*;
use std::net::SocketAddr;
use wire::ftp::{Announced, MAX_SEGMENT, Stream};

const VIP: [u8; 4] = [203, 0, 113, 200];

/// A piece of what the server says.
#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// Its address, its port, and the port that is to stand there.
    Passive([u8; 4], u16, u16),
    Extended(u16, u16),
    /// A reply that begins as if it had an address.
    Misleading,
}

/// The server's bytes, the client's, and for each of the server's how many bytes the client must have for it to have
/// arrived; `None`: within a replaced range, it is the director that must deliver it.
struct Course {
    said: Vec<u8>,
    heard: Vec<u8>,
    arrived_with: Vec<Option<usize>>,
    /// The ports to stand in the replies, and whether those are extended ones.
    answers: Vec<(u16, bool)>,
}

impl Course {
    fn plain(&mut self, text: &str) {
        for byte in text.bytes() {
            self.said.push(byte);
            self.heard.push(byte);
            self.arrived_with.push(Some(self.heard.len()));
        }
    }

    fn range(&mut self, from: &str, to: &str) {
        self.said.extend(from.bytes());
        self.heard.extend(to.bytes());
        self.arrived_with.extend(vec![None; from.len() - 1]);
        self.arrived_with.push(Some(self.heard.len()));
    }

    fn of(pieces: &[Piece]) -> Self {
        let mut course = Self {
            said: Vec::new(),
            heard: Vec::new(),
            arrived_with: Vec::new(),
            answers: Vec::new(),
        };
        let numbers = |[a, b, c, d]: [u8; 4], port: u16| {
            let [high, low] = port.to_be_bytes();
            format!("{a},{b},{c},{d},{high},{low})")
        };
        for piece in pieces {
            match piece {
                Piece::Text(text) => course.plain(text),
                Piece::Passive(address, port, instead) => {
                    course.plain("227 Entering Passive Mode (");
                    course.range(&numbers(*address, *port), &numbers(VIP, *instead));
                    course.plain(".\r\n");
                    course.answers.push((*instead, false));
                }
                Piece::Extended(port, instead) => {
                    course.plain("229 Entering Extended Passive Mode (|");
                    course.range(&format!("||{port}|"), &format!("||{instead}|"));
                    course.plain(")\r\n");
                    course.answers.push((*instead, true));
                }
                Piece::Misleading => {
                    course.plain("227 nowhere, ");
                    course.range("1,2,3\r", "1,2,3\r");
                    course.plain("\n");
                }
            }
        }
        course
    }
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let text = prop_oneof![
        Just("200 ok\r\n".to_owned()),
        Just("150 Opening BINARY mode data connection.\r\n226 done\r\n".to_owned()),
        Just("211-Features:\r\n EPSV\r\n PASV\r\n211 End\r\n".to_owned()),
    ];
    let port = 1..=u16::MAX;
    let piece = prop_oneof![
        3 => text.prop_map(Piece::Text),
        1 => Just(Piece::Misleading),
        2 => (any::<[u8; 4]>(), port.clone(), port.clone()).prop_map(|(a, p, i)| Piece::Passive(a, p, i)),
        2 => (port.clone(), port).prop_map(|(p, i)| Piece::Extended(p, i)),
    ];
    prop::collection::vec(piece, 1..9)
}

/// A small generator of random numbers, so that a failure is one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

struct Server {
    /// The number of its first byte.
    first: u32,
    acknowledged: usize,
    sent: usize,
}

/// The whole conversation. `window`: bytes not yet acknowledged at most; `loss` in hundredths.
fn converse(pieces: &[Piece], initial: u32, window: usize, loss: usize, seed: u64) {
    let course = Course::of(pieces);
    let mut dice = Dice(seed);
    let mut stream = Stream::default();
    stream.begin(initial);
    let mut server = Server {
        first: initial.wrapping_add(1),
        acknowledged: 0,
        sent: 0,
    };
    let mut received = vec![None; course.heard.len()];
    let mut on_the_way: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut answered = 0;
    for step in 0.. {
        assert!(step < 20_000, "stuck: {} acknowledged", server.acknowledged);
        if server.acknowledged == course.said.len() {
            break;
        }
        // The server: something new, or, now and then, from the first byte not acknowledged again.
        let again = dice.roll(4) == 0 || server.sent == course.said.len();
        if again || server.sent - server.acknowledged < window {
            let from = if again {
                server.acknowledged
            } else {
                server.sent
            };
            let len = (1 + dice.roll(60)).min(course.said.len() - from);
            server.sent = server.sent.max(from + len);
            let segment = course.said[from..from + len].to_vec();
            let number = server.first.wrapping_add(from as u32);
            for _ in 0..=usize::from(dice.roll(10) == 0) {
                on_the_way.push((number, segment.clone()));
            }
        }
        // The network: any of what is on the way, or its loss.
        while !on_the_way.is_empty() && dice.roll(3) > 0 {
            let (number, segment) = on_the_way.swap_remove(dice.roll(on_the_way.len().min(3)));
            if dice.roll(100) < loss {
                continue;
            }
            let awaited = answered < course.answers.len();
            let mut trial = stream.clone();
            let mut out = arrayvec::ArrayVec::new();
            let mut now = answered;
            let mut answer = |announced: Announced| {
                let (port, extended) = course.answers[now];
                now += 1;
                assert_eq!(matches!(announced, Announced::Extended { .. }), extended);
                Ok(Some(SocketAddr::new(VIP.into(), port)))
            };
            let went = trial.segment(number, &segment, awaited, 80, &mut out, &mut answer);
            let Ok(went) = went else { continue };
            stream = trial;
            answered = now;
            assert!(went.taken <= segment.len() && out.len() <= 80);
            // The client.
            // What it has it does not look at again.
            let at = went.sequence.wrapping_sub(server.first).cast_signed();
            let upto = first_hole(&received);
            for (place, byte) in (i64::from(at)..).zip(&out) {
                let Some(place) = usize::try_from(place).ok().filter(|p| *p >= upto) else {
                    continue;
                };
                assert_eq!(*byte, course.heard[place], "byte {place} of the client's");
                received[place] = Some(*byte);
            }
            let arrives = dice.roll(100) >= loss;
            acknowledge(&course, &mut stream, &received, &mut server, arrives);
        }
    }
    assert!(
        received.iter().all(Option::is_some),
        "acknowledged, but it never arrived"
    );
}

fn first_hole(received: &[Option<u8>]) -> usize {
    received.iter().take_while(|byte| byte.is_some()).count()
}

/// The client acknowledges what it has; the server learns of it unless that is lost.
fn acknowledge(
    course: &Course,
    stream: &mut Stream,
    received: &[Option<u8>],
    server: &mut Server,
    arrives: bool,
) {
    let has = |place: usize| received.get(place).is_some_and(Option::is_some);
    let upto = first_hole(received);
    let first = server.first;
    let offset = |number: u32| number.wrapping_sub(first) as usize;
    let number = |place: usize| first.wrapping_add(place as u32);
    let acknowledged = offset(stream.acknowledgement(number(upto)));
    assert!(
        acknowledged <= server.sent,
        "acknowledged before it was sent"
    );
    for arrived_with in course.arrived_with[..acknowledged].iter().flatten() {
        assert!(
            *arrived_with <= upto,
            "acknowledged, but it has not arrived"
        );
    }
    // Every run beyond the first hole is a block.
    let mut place = upto;
    while place < received.len() {
        let left = place;
        while has(place) {
            place += 1;
        }
        if left < place {
            let (left, right) = stream.selective(number(left), number(place));
            let (left, right) = (offset(left), offset(right));
            for arrived_with in course.arrived_with.iter().take(right).skip(left).flatten() {
                assert!(has(arrived_with - 1), "in a block, but it has not arrived");
            }
        }
        place += 1;
    }
    if arrives {
        server.acknowledged = server.acknowledged.max(acknowledged);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn the_client_reads_the_server_with_its_address_replaced(
        pieces in pieces(), initial: u32, window in 1usize..400, loss in 0usize..40, seed: u64,
    ) {
        converse(&pieces, initial, window, loss, seed);
    }

    /// A server that sends nothing new before the last byte is acknowledged (Nagle): no part of a reply may be kept back
    /// unacknowledged.
    #[test]
    fn a_server_that_waits_for_every_acknowledgement_is_never_stuck(pieces in pieces(), initial: u32, seed: u64) {
        converse(&pieces, initial, 1, 0, seed);
    }
}

#[test]
fn offsets_are_those_of_each_side() {
    let mut stream = Stream::default();
    stream.begin(999);
    let mut out = arrayvec::ArrayVec::<u8, MAX_SEGMENT>::new();
    let said = b"227 Entering Passive Mode (10,1,0,11,200,1).\r\n";
    let mut answer = |announced| {
        assert_eq!(announced, Announced::Passive([10, 1, 0, 11].into(), 51201));
        Ok(Some("10.0.0.100:51201".parse().unwrap()))
    };
    let went = stream
        .segment(1000, said, true, 1460, &mut out, &mut answer)
        .unwrap();
    assert_eq!((went.sequence, went.taken), (1000, said.len()));
    assert_eq!(
        out.as_slice(),
        b"227 Entering Passive Mode (10,0,0,100,200,1).\r\n"
    );
    assert_eq!(stream.sequence(1000 + 46), 1000 + 47);
    assert_eq!(stream.acknowledgement(1000 + 47), 1000 + 46);
    assert_eq!(stream.acknowledgement(1000), 1000);
    assert_eq!(
        stream.selective(1000 + 47, 1000 + 57),
        (1000 + 46, 1000 + 56)
    );
    // The same SYN again changes nothing, another does.
    stream.begin(999);
    assert_eq!(stream.sequence(1000 + 46), 1000 + 47);
    stream.begin(5000);
    assert_eq!(stream.sequence(1000 + 46), 1000 + 46);
}
