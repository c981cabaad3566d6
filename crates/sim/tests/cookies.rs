//! `syn_cookies` where servers are reached by NAT: nothing is kept of a SYN; who acknowledges the cookie gets the connection the two ends
//! would have agreed on; and what follows is as each end knows it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod segments;

use connsync::{Message, Teller};
use engine::{
    DropReason, Taken,
    model::{Desired, Limits},
};
use segments::{ACK, FIN, Options, PSH, RST, SYN, Segment};
use sim::{
    Sent, World,
    world::{MACS, network, persistent, service},
};
use std::net::SocketAddr;
use types::{ForwardingMethod::Masq, Protocol, Scheduler, SynCookies};

const V4: Ends = Ends {
    client: "172.16.0.1:4711",
    vip: "10.0.0.100:80",
    servers: &["10.1.0.11:8080", "10.1.0.12:8080"],
};
const V6: Ends = Ends {
    client: "[fd77::1]:4711",
    vip: "[fd00::100]:80",
    servers: &["[fd01::11]:8080", "[fd01::12]:8080"],
};

#[derive(Clone, Copy)]
struct Ends {
    client: &'static str,
    vip: &'static str,
    servers: &'static [&'static str],
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn desired(ends: Ends, when: SynCookies) -> Desired {
    let mut desired = network();
    let made = service(Protocol::Tcp, ends.vip, Scheduler::Rr, Masq, ends.servers);
    desired.limits = vec![(
        made.key,
        Limits {
            syn_cookies: when,
            client_prefix: if at(ends.vip).is_ipv4() { 32 } else { 64 },
            ..Limits::default()
        },
    )];
    desired.services = vec![made];
    desired
}

fn world(ends: Ends, when: SynCookies) -> World {
    World::new(&desired(ends, when), 2)
}

/// What the client's SYN says; all there is.
const ASKED: Options = Options {
    size: Some(1460),
    scale: Some(9),
    sack: true,
    times: Some((5_000, 0)),
    blocks: Vec::new(),
};

fn dropped(world: &World, reason: DropReason) -> u64 {
    let workers = world.workers.iter();
    workers.map(|w| w.counters().dropped(reason)).sum()
}

fn one(sent: &[Sent]) -> Segment {
    assert_eq!(sent.len(), 1, "{sent:#?}");
    Segment::read(&sent[0].bytes)
}

fn from_client(ends: Ends, seq: u32, ack: u32, flags: u8) -> Segment {
    Segment::new(at(ends.client), at(ends.vip), seq, ack, flags)
}

/// The client's SYN, answered.
fn ask(world: &mut World, ends: Ends, isn: u32, options: &Options) -> Segment {
    let syn = from_client(ends, isn, 0, SYN).with(options.clone());
    let sent = world.give(0, 0, &syn.frame(MACS[0]));
    assert_eq!(sent[0].port.0, 0);
    let answer = one(&sent);
    assert_eq!(answer.flags, SYN | ACK);
    assert_eq!((answer.ack, answer.window), (isn.wrapping_add(1), 0));
    assert_eq!(
        (answer.source, answer.destination),
        (at(ends.vip), at(ends.client))
    );
    answer
}

/// The client's acknowledgement of that answer.
fn acknowledgement(ends: Ends, isn: u32, answer: &Segment) -> Segment {
    let mut options = Options::default();
    options.times = answer.options.times.map(|(value, _)| (5_020, value));
    let mut ack = from_client(ends, isn.wrapping_add(1), answer.seq.wrapping_add(1), ACK);
    ack.window = 500;
    ack.with(options)
}

/// A connection that began with a cookie, as far as it is open.
struct Open {
    ends: Ends,
    server: SocketAddr,
    /// The next numbers: the client's, the server's as the client knows them, the server's own.
    client: u32,
    told: u32,
    own: u32,
    /// The server's timestamp as the client knows it, less its own.
    ahead: u32,
}

/// The server's own first number, its timestamp then, the scale it says.
const SERVER: (u32, u32, Option<u8>) = (0xffff_fff0, 900_000, Some(7));

fn open(world: &mut World, ends: Ends, isn: u32) -> Open {
    let answer = ask(world, ends, isn, &ASKED);
    let sent = world.give(1, 0, &acknowledgement(ends, isn, &answer).frame(MACS[0]));
    assert_eq!(sent[0].port.0, 1);
    let syn = one(&sent);
    assert_eq!((syn.seq, syn.flags), (isn, SYN));
    assert_eq!(syn.source, at(ends.client));
    let mut reply = Segment::new(syn.destination, syn.source, SERVER.0, isn + 1, SYN | ACK);
    reply.window = 65_160;
    let reply = reply.with(Options {
        size: Some(1400),
        scale: SERVER.2,
        sack: true,
        times: Some((SERVER.1, 5_020)),
        blocks: Vec::new(),
    });
    let sent = world.give(0, 1, &reply.frame(MACS[1]));
    let both: Vec<Segment> = sent.iter().map(|s| Segment::read(&s.bytes)).collect();
    let [to_server, to_client] = both.as_slice() else {
        panic!("{both:#?}");
    };
    assert_eq!((sent[0].port.0, sent[1].port.0), (1, 0));
    assert_eq!((to_server.seq, to_server.flags), (isn + 1, ACK));
    assert_eq!(to_server.ack, SERVER.0.wrapping_add(1));
    assert_eq!(to_server.options.times, Some((5_020, SERVER.1)));
    assert_eq!(to_server.window, 500);
    assert_eq!(
        (to_client.seq, to_client.flags),
        (answer.seq.wrapping_add(1), ACK)
    );
    assert_eq!((to_client.ack, to_client.window), (isn + 1, 65_160 >> 7));
    let told = to_client.options.times.unwrap();
    assert_eq!(told.1, 5_020);
    Open {
        ends,
        server: syn.destination,
        client: isn.wrapping_add(1),
        told: answer.seq.wrapping_add(1),
        own: SERVER.0.wrapping_add(1),
        ahead: told.0.wrapping_sub(SERVER.1),
    }
}

impl Open {
    fn client_says(&mut self, world: &mut World, worker: usize, data: &[u8], flags: u8) -> Segment {
        let mut said = from_client(self.ends, self.client, self.told, flags | ACK);
        said.window = 321;
        said.data = data.to_vec();
        let said = said.with(Options {
            times: Some((6_000, 900_010_u32.wrapping_add(self.ahead))),
            ..Options::default()
        });
        let heard = one(&world.give(worker, 0, &said.frame(MACS[0])));
        assert_eq!(
            (heard.source, heard.destination),
            (said.source, self.server)
        );
        assert_eq!((heard.seq, heard.ack), (self.client, self.own));
        assert_eq!((heard.flags, heard.window), (said.flags, 321));
        assert_eq!(heard.options.times, Some((6_000, 900_010)));
        assert_eq!(heard.data, data);
        self.client = self.client.wrapping_add(length(data));
        heard
    }

    fn server_says(&mut self, world: &mut World, worker: usize, data: &[u8], flags: u8) -> Segment {
        let mut said = Segment::new(
            self.server,
            at(self.ends.client),
            self.own,
            self.client,
            flags | ACK,
        );
        said.window = 77;
        said.data = data.to_vec();
        let said = said.with(Options {
            times: Some((900_100, 6_000)),
            ..Options::default()
        });
        let heard = one(&world.give(worker, 1, &said.frame(MACS[1])));
        assert_eq!(
            (heard.source, heard.destination),
            (at(self.ends.vip), said.destination)
        );
        assert_eq!((heard.seq, heard.ack), (self.told, self.client));
        assert_eq!((heard.flags, heard.window), (said.flags, 77));
        let time = 900_100_u32.wrapping_add(self.ahead);
        assert_eq!(heard.options.times, Some((time, 6_000)));
        assert_eq!(heard.data, data);
        self.own = self.own.wrapping_add(length(data));
        self.told = self.told.wrapping_add(length(data));
        heard
    }
}

fn length(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap()
}

#[test]
fn both_ends_speak_as_if_they_had_shaken_hands() {
    for ends in [V4, V6] {
        let mut world = world(ends, SynCookies::On);
        let mut open = open(&mut world, ends, 0xffff_fffe - 1);
        assert_eq!(world.connections().len(), 1);
        assert_eq!(world.connections()[0].state, "ESTABLISHED");
        assert_eq!(
            world
                .service(at(ends.vip))
                .servers
                .iter()
                .map(|s| s.counts.active)
                .sum::<u32>(),
            1
        );
        for round in 0..40u8 {
            let data = vec![round; usize::from(round) * 7];
            open.client_says(&mut world, usize::from(round) % 2, &data, PSH);
            open.server_says(&mut world, usize::from(round + 1) % 2, &data, PSH);
        }
        // The end of it.
        open.client_says(&mut world, 0, b"", FIN);
        open.client = open.client.wrapping_add(1);
        open.server_says(&mut world, 1, b"", FIN);
        assert_eq!(world.connections()[0].state, "TIME_WAIT");
        assert_eq!(dropped(&world, DropReason::CookieSent), 1);
        assert_eq!(dropped(&world, DropReason::CookieAccepted), 1);
        let [(_, flooded)] = world.director.floods(world.now)[..] else {
            panic!("one service has cookies");
        };
        assert!(flooded.on);
        let counts = (flooded.cookies_sent, flooded.accepted, flooded.refused);
        assert_eq!(counts, (1, 1, 0));
    }
}

/// Everything the one director would tell, through the wire, taken by the other.
fn tell(from: &mut World, to: &mut World) -> Vec<Taken> {
    let mut teller = Teller::new(1, 0, 1472, connsync::Pace::IPVS, 0);
    let mut messages = Vec::new();
    let mut synchronizer = from.director.synchronizer().unwrap();
    let now = from.now;
    let mut position = Some(0);
    while let Some(at) = position {
        position = synchronizer.all(now, at, 1000, &mut |told| {
            messages.extend(teller.tell(0, told));
        });
    }
    messages.extend(teller.message());
    let read = messages
        .iter()
        .flat_map(|m| Message::parse(m).unwrap().connections);
    let mut taker = to.director.synchronizer().unwrap();
    let now = to.now;
    read.map(|told| taker.take(now, &told)).collect()
}

/// What differs is told with the connection: the other director goes on with it in the middle of what is said.
#[test]
fn a_takeover_goes_on_where_the_other_was() {
    for ends in [V4, V6] {
        let mut one = world(ends, SynCookies::On);
        let mut two = world(ends, SynCookies::On);
        let mut open = open(&mut one, ends, 0xffff_ff00);
        for round in 0..10u8 {
            open.client_says(&mut one, 0, &[round; 100], PSH);
            open.server_says(&mut one, 1, &[round; 1000], PSH);
        }
        assert_eq!(tell(&mut one, &mut two), [Taken::New]);
        assert_eq!(tell(&mut one, &mut two), [Taken::Known]);
        for round in 0..10u8 {
            open.server_says(&mut two, 1, &[round; 1000], PSH);
            open.client_says(&mut two, 0, &[round; 100], PSH);
        }
        // And back, to one who had it.
        assert_eq!(tell(&mut two, &mut one), [Taken::Known]);
        open.client_says(&mut one, 0, b"bye", FIN);
        open.client = open.client.wrapping_add(1);
        open.server_says(&mut one, 1, b"", FIN);
    }
}

/// Nobody else could go on with a handshake whose server has not answered.
#[test]
fn a_connection_whose_server_has_not_accepted_is_not_told() {
    let (mut one, mut two) = (world(V4, SynCookies::On), world(V4, SynCookies::On));
    let answer = ask(&mut one, V4, 77, &ASKED);
    one.give(0, 0, &acknowledgement(V4, 77, &answer).frame(MACS[0]));
    assert_eq!(one.connections().len(), 1);
    assert_eq!(tell(&mut one, &mut two), []);
}

/// The client's port once more: what is there of it, without a cookie or with another, is not what is told.
#[test]
fn what_began_anew_takes_the_place_of_what_was_there() {
    let mut one = world(V4, SynCookies::On);
    let mut two = world(V4, SynCookies::Off);
    let syn = from_client(V4, 5, 0, SYN).with(ASKED.clone());
    two.give(0, 0, &syn.frame(MACS[0]));
    let mut open = open(&mut one, V4, 900);
    assert_eq!(tell(&mut one, &mut two), [Taken::New]);
    assert_eq!(two.connections().len(), 1);
    open.client_says(&mut two, 0, b"hello", PSH);
    open.server_says(&mut two, 0, b"hello", PSH);
}

#[test]
fn what_the_client_can_is_what_the_server_is_told() {
    for ends in [V4, V6] {
        let mut world = world(ends, SynCookies::On);
        for (scale, sack) in [
            (None, true),
            (Some(0), false),
            (Some(14), true),
            (Some(7), false),
        ] {
            let asked = Options {
                scale,
                sack,
                ..ASKED
            };
            let isn = 77;
            let answer = ask(&mut world, ends, isn, &asked);
            assert_eq!(answer.options.scale, scale.map(|_| 7));
            assert_eq!(answer.options.sack, sack);
            assert_eq!(answer.options.times.unwrap().1, 5_000);
            let mtu = if at(ends.vip).is_ipv4() { 1460 } else { 1440 };
            assert_eq!(answer.options.size, Some(mtu));
            let sent = world.give(0, 0, &acknowledgement(ends, isn, &answer).frame(MACS[0]));
            let syn = one(&sent);
            let wanted = Options {
                size: Some(mtu),
                times: Some((5_020, 0)),
                ..asked.clone()
            };
            assert_eq!(syn.options, wanted);
            // The next is another client's.
            world.pass(100_000);
        }
        // Without timestamps there is nowhere to carry more than the segment size.
        let bare = Options {
            size: Some(1300),
            times: None,
            ..ASKED
        };
        let answer = ask(&mut world, ends, 5, &bare);
        assert_eq!((answer.options.scale, answer.options.sack), (None, false));
        let sent = world.give(0, 0, &acknowledgement(ends, 5, &answer).frame(MACS[0]));
        let smaller = Options {
            size: Some(1220),
            ..Options::default()
        };
        assert_eq!(one(&sent).options, smaller);
    }
}

#[test]
fn who_guesses_or_comes_late_gets_a_reset_and_no_connection() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    let good = acknowledgement(V4, 100, &answer);
    for wrong in [
        Segment {
            ack: good.ack + 1,
            ..good.clone()
        },
        Segment {
            ack: good.ack ^ 1 << 30,
            ..good.clone()
        },
        Segment {
            seq: good.seq + 1,
            ..good.clone()
        },
        Segment {
            source: at("172.16.0.2:4711"),
            ..good.clone()
        },
        Segment {
            source: at("172.16.0.1:4712"),
            ..good.clone()
        },
    ] {
        let reset = one(&world.give(0, 0, &wrong.frame(MACS[0])));
        assert_eq!((reset.flags, reset.seq), (RST, wrong.ack));
    }
    assert_eq!(dropped(&world, DropReason::CookieWrong), 5);
    world.pass(130_000);
    // As it is always on, cookies are looked for all the time.
    assert_eq!(one(&world.give(0, 0, &good.frame(MACS[0]))).flags, RST);
    assert_eq!(dropped(&world, DropReason::CookieOld), 1);
    assert!(world.connections().is_empty());
}

#[test]
fn an_acknowledgement_once_more_makes_no_second_connection() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    let good = acknowledgement(V4, 100, &answer).frame(MACS[0]);
    assert_eq!(world.give(0, 0, &good).len(), 1);
    assert!(world.give(0, 0, &good).is_empty());
    assert!(world.give(1, 0, &good).is_empty());
    assert_eq!(dropped(&world, DropReason::Handshake), 2);
    assert_eq!(world.connections().len(), 1);
}

#[test]
fn a_probe_for_a_window_is_an_acknowledgement() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    // The acknowledgement was lost; the client asks for a window.
    let mut probe = acknowledgement(V4, 100, &answer);
    probe.seq -= 1;
    let syn = one(&world.give(0, 0, &probe.frame(MACS[0])));
    assert_eq!((syn.flags, syn.seq), (SYN, 100));
}

#[test]
fn floods_grow_no_table() {
    for ends in [V4, V6] {
        let mut world = world(ends, SynCookies::On);
        for n in 0..20_000u32 {
            let mut syn = from_client(ends, n, 0, SYN);
            syn.source
                .set_port(u16::try_from(n % 60_000).unwrap() + 1024);
            assert_eq!(world.give(0, 0, &syn.frame(MACS[0])).len(), 1);
            syn.flags = ACK;
            syn.ack = n.wrapping_mul(0x9e37_79b9);
            world.give(1, 0, &syn.frame(MACS[0]));
        }
        assert!(world.connections().is_empty());
        let counts = world.director.tables();
        assert_eq!(counts.iter().map(|c| c.connections).sum::<u64>(), 0);
        assert_eq!(dropped(&world, DropReason::CookieSent), 20_000);
        assert_eq!(dropped(&world, DropReason::CookieWrong), 20_000);
    }
}

#[test]
fn a_server_that_refuses_is_the_client_s_reset() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    let syn = one(&world.give(0, 0, &acknowledgement(V4, 100, &answer).frame(MACS[0])));
    let refusal = Segment::new(syn.destination, syn.source, 0, 101, RST | ACK);
    let sent = world.give(1, 1, &refusal.frame(MACS[1]));
    let reset = one(&sent);
    assert_eq!(sent[0].port.0, 0);
    assert_eq!(
        (reset.flags, reset.seq),
        (RST | ACK, answer.seq.wrapping_add(1))
    );
    assert_eq!(world.connections()[0].state, "CLOSE");
    // And its next SYN is answered again.
    ask(&mut world, V4, 101, &ASKED);
    assert_eq!(world.director.failed_attempts().count(), 1);
}

#[test]
fn a_server_that_is_silent_is_asked_again_and_given_up() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    let first = world.give(0, 0, &acknowledgement(V4, 100, &answer).frame(MACS[0]));
    let again = world.pass(14_000);
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|sent| sent.bytes == first[0].bytes));
    let last = world.pass(2_000);
    let reset = one(&last);
    assert_eq!(
        (reset.flags, reset.seq),
        (RST | ACK, answer.seq.wrapping_add(1))
    );
    assert!(world.connections().is_empty());
    assert_eq!(world.director.failed_attempts().count(), 1);
}

#[test]
fn a_server_s_older_connection_is_cleared_away() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    let syn = one(&world.give(0, 0, &acknowledgement(V4, 100, &answer).frame(MACS[0])));
    // RFC 5961: a challenge.
    let challenge = Segment::new(syn.destination, syn.source, 7_000, 9_000, ACK);
    let reset = one(&world.give(0, 1, &challenge.frame(MACS[1])));
    assert_eq!((reset.flags, reset.seq), (RST, 9_000));
    assert_eq!(one(&world.pass(1_100)).flags, SYN);
}

#[test]
fn other_scales_and_holes_are_translated() {
    let mut world = world(V4, SynCookies::On);
    let answer = ask(&mut world, V4, 100, &ASKED);
    let syn = one(&world.give(0, 0, &acknowledgement(V4, 100, &answer).frame(MACS[0])));
    // A server that scales by 2, where the client was told 7.
    let mut reply = Segment::new(syn.destination, syn.source, 40, 101, SYN | ACK);
    reply.window = 6_400;
    let reply = reply.with(Options {
        scale: Some(2),
        ..ASKED
    });
    world.give(0, 1, &reply.frame(MACS[1]));
    let mut data = Segment::new(syn.destination, syn.source, 41, 101, ACK);
    data.window = 3_200;
    let heard = one(&world.give(0, 1, &data.frame(MACS[1])));
    assert_eq!((heard.window, heard.seq), (100, answer.seq.wrapping_add(1)));
    // The client misses some of it.
    let told = answer.seq.wrapping_add(1);
    let mut ack = from_client(V4, 101, told, ACK);
    ack.window = 9;
    let holes = vec![
        (told.wrapping_add(100), told.wrapping_add(200)),
        (told.wrapping_add(500), told.wrapping_add(600)),
    ];
    let ack = ack.with(Options {
        blocks: holes,
        ..Options::default()
    });
    let heard = one(&world.give(0, 0, &ack.frame(MACS[0])));
    assert_eq!((heard.ack, heard.window), (41, 9));
    assert_eq!(heard.options.blocks, [(141, 241), (541, 641)]);
}

#[test]
fn persistence_and_limits_hold_as_for_any_connection() {
    let mut desired = desired(V4, SynCookies::On);
    desired.services[0].persistence = persistent(300);
    desired.limits[0].1.client_rate = Some(3);
    desired.limits[0].1.deny = vec!["172.16.9.0/24".parse().unwrap()];
    let mut world = World::new(&desired, 1);
    let mut servers = Vec::new();
    for port in 1000..1005u16 {
        let mut syn = from_client(V4, 1, 0, SYN).with(ASKED);
        syn.source.set_port(port);
        let answer = one(&world.give(0, 0, &syn.frame(MACS[0])));
        let mut ack = acknowledgement(V4, 1, &answer);
        ack.source.set_port(port);
        let sent = world.give(0, 0, &ack.frame(MACS[0]));
        servers.extend(sent.iter().map(|s| Segment::read(&s.bytes).destination));
    }
    assert_eq!(servers.len(), 3, "the rate is the client's");
    assert!(servers.iter().all(|s| *s == servers[0]), "{servers:?}");
    assert_eq!(dropped(&world, DropReason::ClientRateLimit), 2);
    let mut syn = from_client(V4, 1, 0, SYN);
    syn.source = at("172.16.9.1:5");
    assert!(world.give(0, 0, &syn.frame(MACS[0])).is_empty());
    assert_eq!(dropped(&world, DropReason::Denied), 1);
}

#[test]
fn by_rate_it_comes_and_goes_and_what_stands_goes_on() {
    let mut world = world(V4, SynCookies::Above(100));
    // An ordinary connection.
    let plain = from_client(V4, 1, 0, SYN);
    assert_eq!(one(&world.give(0, 0, &plain.frame(MACS[0]))).flags, SYN);
    let before = world.connections().len();
    let flood = |world: &mut World, ms: u64, each: u16| {
        let mut kept = 0;
        for n in 0..ms {
            world.pass(1);
            for port in 0..each {
                let mut syn = from_client(V4, 9, 0, SYN);
                syn.source = at(&format!(
                    "198.18.{}.{}:{}",
                    n % 250,
                    n / 250 % 250,
                    port + 1
                ));
                let sent = one(&world.give(0, 0, &syn.frame(MACS[0])));
                kept += usize::from(sent.flags == SYN);
            }
        }
        kept
    };
    let kept = flood(&mut world, 3_000, 1);
    assert!((100..=420).contains(&kept), "{kept}");
    assert!(world.director.floods(world.now)[0].1.on);
    // A handshake that began while it was on is good when it is off.
    let mut late = V4;
    late.client = "172.16.0.77:99";
    let answer = ask(&mut world, late, 100, &ASKED);
    world.pass(10_000);
    assert!(!world.director.floods(world.now)[0].1.on);
    let syn = one(&world.give(0, 0, &acknowledgement(late, 100, &answer).frame(MACS[0])));
    assert_eq!((syn.flags, syn.seq), (SYN, 100));
    // And the ordinary one stands, by its own numbers.
    let stands = Segment::new(at("10.1.0.12:8080"), at(V4.client), 7, 2, SYN | ACK);
    let told = one(&world.give(0, 1, &stands.frame(MACS[1])));
    assert_eq!((told.seq, told.source), (7, at(V4.vip)));
    assert!(before <= world.connections().len());
}

#[test]
fn connections_with_and_without_stand_side_by_side() {
    let mut world = world(V4, SynCookies::On);
    let mut with = open(&mut world, V4, 1000);
    world.apply(&desired(V4, SynCookies::Off));
    let mut other = V4;
    other.client = "172.16.0.2:1";
    let syn = one(&world.give(0, 0, &from_client(other, 5, 0, SYN).frame(MACS[0])));
    assert_eq!(syn.flags, SYN);
    for _ in 0..3 {
        with.client_says(&mut world, 0, b"hello", PSH);
        with.server_says(&mut world, 1, b"there", PSH);
    }
}

#[test]
fn what_an_error_quotes_is_what_the_server_sent() {
    let mut world = world(V4, SynCookies::On);
    let mut open = open(&mut world, V4, 1000);
    let heard = open.server_says(&mut world, 0, &[1; 400], PSH);
    // "Fragmentation needed" from a router on the way to the client.
    let quoted = heard.frame(MACS[0])[14..14 + 28].to_vec();
    let router = "192.0.2.9".parse().unwrap();
    let error = sim::packet::icmp_error(MACS[0], router, at(V4.vip).ip(), 3, 4, &quoted);
    let sent = world.give(0, 0, &error);
    assert_eq!((sent.len(), sent[0].port.0), (1, 1));
    let inner = &sent[0].bytes[14 + 20 + 8..];
    let number = u32::from_be_bytes(inner[24..28].try_into().unwrap());
    assert_eq!(number, SERVER.0.wrapping_add(1));
}

#[test]
fn without_a_server_nobody_is_told_that_there_is_one() {
    let mut desired = desired(V4, SynCookies::On);
    for server in &mut desired.services[0].servers {
        server.weight.0 = 0;
    }
    let mut world = World::new(&desired, 1);
    let sent = world.give(0, 0, &from_client(V4, 1, 0, SYN).frame(MACS[0]));
    assert_eq!(dropped(&world, DropReason::NoServer), 1);
    // Port unreachable.
    assert_eq!(sent[0].bytes[14 + 9], 1);
}
