use super::{
    Finding, Heard, Peer, Session, Sessions, Settings, Wanted,
    packet::{Diagnostic, Mistake, Packet, State},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const FAST: Settings = Settings {
    min_tx: ms(100),
    min_rx: ms(100),
    multiplier: 3,
    passive: false,
};

/// Two ends and a wire that can be cut, one way each; the moment each packet was sent.
struct World {
    now: Duration,
    ends: [Session; 2],
    cut: [bool; 2],
    sent: [Vec<Duration>; 2],
}

impl World {
    fn new(settings: [Settings; 2]) -> Self {
        let [a, b] = settings;
        Self {
            now: ms(0),
            ends: [Session::new(a, 1, ms(0)), Session::new(b, 2, ms(0))],
            cut: [false; 2],
            sent: [Vec::new(), Vec::new()],
        }
    }

    /// Until that moment; packets take no time.
    fn run(&mut self, until: Duration) {
        loop {
            let due = self.ends[0].due().min(self.ends[1].due());
            if due > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(due);
            for from in 0..2 {
                if let Some(packet) = self.ends[from].poll(self.now, 255) {
                    self.sent[from].push(self.now);
                    self.deliver(from, packet);
                }
            }
        }
    }

    fn deliver(&mut self, from: usize, packet: Packet) {
        if !self.cut[from] {
            let read = Packet::parse(&packet.bytes()).expect("what is written is read");
            assert_eq!(read, packet);
            if let Some(answer) = self.ends[1 - from].receive(self.now, &packet) {
                assert!(answer.last && !answer.poll);
                self.deliver(1 - from, answer);
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }
}

#[test]
fn two_ends_come_up_and_then_send_as_often_as_the_slower_likes() {
    let slow = Settings {
        min_rx: ms(300),
        ..FAST
    };
    let mut world = World::new([FAST, slow]);
    world.run(ms(3000));
    assert_eq!(world.states(), [State::Up; 2]);
    let from = |end: usize| world.sent[end].windows(2).map(|w| w[1] - w[0]);
    assert_eq!(from(0).next_back(), Some(ms(300)), "as the other can hear");
    assert_eq!(from(1).next_back(), Some(ms(100)));
}

#[test]
fn silence_is_found_out_after_multiplier_times_the_interval() {
    let mut world = World::new([FAST; 2]);
    world.run(ms(5000));
    assert_eq!(world.states(), [State::Up; 2]);
    world.cut = [false, true];
    let last = *world.sent[1].last().expect("it sends");
    world.run(last + ms(299));
    assert_eq!(world.states(), [State::Up; 2]);
    world.run(last + ms(300));
    assert_eq!(world.ends[0].state(), State::Down);
    assert_eq!(world.ends[0].diagnostic(), Diagnostic::Expired);
    // It tells the other at once, which hears it still.
    assert_eq!(world.ends[1].state(), State::Down);
    assert_eq!(world.ends[1].diagnostic(), Diagnostic::NeighbourDown);
    // Down, a second passes between packets.
    let from = world.sent[0].len();
    world.run(world.now + ms(10_000));
    let times = &world.sent[0][from..];
    assert!(
        times.windows(2).all(|w| w[1] - w[0] == ms(1000)),
        "{times:?}"
    );
    world.cut = [false, false];
    world.run(world.now + ms(3000));
    assert_eq!(world.states(), [State::Up; 2]);
}

#[test]
fn who_is_held_down_says_so() {
    let mut world = World::new([FAST; 2]);
    world.run(ms(5000));
    let now = world.now;
    world.ends[0].stop(now);
    world.run(now + ms(1));
    assert_eq!(world.states(), [State::AdminDown, State::Down]);
    assert_eq!(world.ends[1].diagnostic(), Diagnostic::NeighbourDown);
}

#[test]
fn a_packet_for_another_session_changes_nothing() {
    let mut session = Session::new(FAST, 1, ms(0));
    let mut other = Session::new(FAST, 9, ms(0));
    let mut packet = other.poll(ms(0), 0).expect("the first");
    packet.yours = 7;
    assert_eq!(session.receive(ms(0), &packet), None);
    assert_eq!(session.state(), State::Down);
}

#[test]
fn wrong_packets_are_told_apart() {
    let good = Session::new(FAST, 5, ms(0))
        .poll(ms(0), 0)
        .expect("the first")
        .bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Packet::parse(&bytes).err()
    };
    assert_eq!(Packet::parse(&good[..23]).err(), Some(Mistake::Short));
    assert_eq!(with(0, 0x40), Some(Mistake::Version));
    assert_eq!(with(3, 23), Some(Mistake::Short));
    assert_eq!(with(3, 25), Some(Mistake::Short));
    assert_eq!(with(2, 0), Some(Mistake::Multiplier));
    assert_eq!(with(1, 0x41), Some(Mistake::Multipoint));
    assert_eq!(with(7, 0), Some(Mistake::Discriminator));
    assert_eq!(with(1, 0xc0), Some(Mistake::Unaddressed));
    assert_eq!(with(1, 0x44), Some(Mistake::Authenticated));
    assert_eq!(with(1, 0x40), None);
}

#[test]
fn slower_intervals_count_when_the_other_has_confirmed_them() {
    let mut world = World::new([FAST; 2]);
    world.run(ms(5000));
    let slow = Settings {
        min_tx: ms(500),
        ..FAST
    };
    // While it cannot confirm them, it is still sent to as often as it expects.
    world.cut = [false, true];
    world.ends[0].set(world.now, slow);
    let from = world.sent[0].len();
    world.run(world.now + ms(250));
    let times = &world.sent[0][from..];
    assert!(
        times.windows(2).all(|w| w[1] - w[0] == ms(100)),
        "{times:?}"
    );
    world.cut = [false; 2];
    world.run(world.now + ms(3000));
    assert_eq!(world.states(), [State::Up; 2]);
    let last = world.sent[0].windows(2).map(|w| w[1] - w[0]).next_back();
    assert_eq!(last, Some(ms(500)));
}

#[test]
fn who_is_passive_waits_to_be_spoken_to() {
    let passive = Settings {
        passive: true,
        ..FAST
    };
    let mut world = World::new([passive; 2]);
    world.run(ms(5000));
    assert_eq!([world.sent[0].len(), world.sent[1].len()], [0, 0]);
    let mut world = World::new([passive, FAST]);
    world.run(ms(5000));
    assert_eq!(world.states(), [State::Up; 2]);
}

const PEER: Peer = Peer {
    address: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 11)),
    multihop: false,
};
const WANTED: Wanted = Wanted {
    settings: FAST,
    bind: None,
    max_hops: 0,
    patience: ms(2500),
};

/// Sessions with one neighbour, and that neighbour.
struct Pair {
    sessions: Sessions,
    neighbour: Session,
    now: Duration,
    deaf: bool,
    ttl: u8,
    findings: Vec<(Duration, Finding)>,
}

impl Pair {
    fn new(wanted: Wanted) -> Self {
        let mut sessions = Sessions::new(7);
        sessions.follow(ms(0), &BTreeMap::from([(PEER, wanted)]));
        Self {
            sessions,
            neighbour: Session::new(FAST, 9, ms(0)),
            now: ms(0),
            deaf: false,
            ttl: 255,
            findings: Vec::new(),
        }
    }

    fn run(&mut self, until: Duration) {
        while self.now < until {
            self.now += ms(1);
            let mut out = Vec::new();
            if let Some(packet) = self.neighbour.poll(self.now, 255) {
                out.extend(self.hear(&packet.bytes()));
            }
            self.sessions.poll(self.now, &mut out);
            for (peer, packet) in out {
                assert_eq!(peer, PEER);
                if let Some(answer) = self.neighbour.receive(self.now, &packet) {
                    self.hear(&answer.bytes());
                }
            }
            let news = self.sessions.news();
            self.findings
                .extend(news.into_iter().map(|(_, f)| (self.now, f)));
        }
    }

    fn hear(&mut self, payload: &[u8]) -> Option<(Peer, Packet)> {
        if self.deaf {
            return None;
        }
        let heard = Heard {
            from: PEER.address,
            multihop: false,
            ttl: self.ttl,
            payload,
        };
        self.sessions.receive(self.now, &heard)
    }

    fn last(&self) -> &Finding {
        &self.findings.last().expect("something was found").1
    }
}

#[test]
fn a_neighbour_is_found_up_then_down_at_the_detection_time() {
    let mut pair = Pair::new(WANTED);
    pair.run(ms(2400));
    assert_eq!(pair.findings[0].1, Finding::Waiting);
    assert_eq!(*pair.last(), Finding::Up);
    pair.deaf = true;
    let cut = pair.now;
    pair.run(ms(5000));
    let (then, finding) = pair.findings.last().expect("it went down");
    assert_eq!(*finding, Finding::Down("nothing heard for 0.3 s".into()));
    assert!((ms(200)..=ms(300)).contains(&(*then - cut)), "{then:?}");
    pair.deaf = false;
    pair.run(ms(9000));
    assert_eq!(*pair.last(), Finding::Up);
}

#[test]
fn who_never_comes_up_is_down_when_patience_ends() {
    let mut pair = Pair::new(WANTED);
    pair.deaf = true;
    pair.run(ms(4000));
    let down = Finding::Down("nothing heard from the neighbour".into());
    assert_eq!(pair.findings, [(ms(1), Finding::Waiting), (ms(2500), down)]);
}

#[test]
fn who_is_behind_a_router_is_heard_only_where_that_is_allowed() {
    let mut pair = Pair::new(WANTED);
    pair.ttl = 254;
    pair.run(ms(4000));
    let why = "nothing heard from the neighbour, a packet of its was refused: its time to live was 254, so it has passed more routers than it may";
    assert_eq!(*pair.last(), Finding::Down(why.into()));
    let mut pair = Pair::new(Wanted {
        max_hops: 1,
        ..WANTED
    });
    pair.ttl = 254;
    pair.run(ms(4000));
    assert_eq!(*pair.last(), Finding::Up);
}

#[test]
fn a_neighbour_held_down_by_its_operator_is_told_apart() {
    let mut pair = Pair::new(WANTED);
    pair.run(ms(3000));
    pair.neighbour.stop(pair.now);
    pair.run(ms(3100));
    assert_eq!(*pair.last(), Finding::Held);
    // Silence after that is no news.
    pair.deaf = true;
    pair.run(ms(9000));
    assert_eq!(*pair.last(), Finding::Held);
}

#[test]
fn what_keeps_the_director_from_it_is_no_fault_of_the_neighbours() {
    let mut pair = Pair::new(WANTED);
    pair.deaf = true;
    pair.sessions.hinder(ms(0), PEER, Some("no port".into()));
    pair.run(ms(9000));
    assert_eq!(pair.findings, [(ms(1), Finding::Unable("no port".into()))]);
    // Its time to come up begins when nothing does any more.
    pair.sessions.hinder(pair.now, PEER, None);
    pair.run(ms(11_400));
    assert_eq!(*pair.last(), Finding::Waiting);
    pair.run(ms(11_500));
    assert!(matches!(pair.last(), Finding::Down(_)), "{:?}", pair.last());
}

#[test]
fn sessions_that_stay_go_on_and_those_that_end_say_so() {
    let mut pair = Pair::new(WANTED);
    pair.run(ms(3000));
    let found = pair.findings.len();
    let slower = Wanted {
        settings: Settings {
            min_tx: ms(200),
            ..FAST
        },
        ..WANTED
    };
    let last = pair
        .sessions
        .follow(pair.now, &BTreeMap::from([(PEER, slower)]));
    assert_eq!(last, []);
    pair.run(ms(6000));
    let after: Vec<_> = pair.findings[found..].iter().map(|(_, f)| f).collect();
    assert_eq!(after, [&Finding::Up], "told anew, and no other");
    let last = pair.sessions.follow(pair.now, &BTreeMap::new());
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].1.state, State::AdminDown);
    assert_eq!(pair.sessions.due(), None);
    assert_eq!(pair.hear(&last[0].1.bytes()), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert_eq!(Packet::parse(&packet.bytes()), Ok(packet));
            // Whatever it says, the session goes on.
            let mut session = Session::new(FAST, packet.yours.max(1), ms(0));
            session.receive(ms(5), &packet);
            session.poll(session.due(), 0);
        }
    }
}
