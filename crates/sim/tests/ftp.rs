//! FTP through NAT as its client and its server see it: addresses replaced, data connections expected, numbers and
//! checksums right, and nothing left when all is over.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use connsync::{Connection, Flags, Message, Teller};
use engine::{
    Synchronizer,
    model::{Desired, Settings},
};
use sim::{
    Packet, World, packet,
    world::{MACS, network, persistent, service},
};
use std::net::SocketAddr;
use types::{ForwardingMethod::Masq, PortId, Protocol::Tcp, Scheduler::Rr};
use wire::{FromBytes, checksum};

const SYN: u8 = 2;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x18;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// One family's addresses.
#[derive(Clone, Copy)]
struct Ends {
    client: &'static str,
    vip: &'static str,
    servers: [&'static str; 2],
}

const V4: Ends = Ends {
    client: "172.16.0.1",
    vip: "10.0.0.100",
    servers: ["10.1.0.11", "10.1.0.12"],
};
const V6: Ends = Ends {
    client: "[2001:db8::1]",
    vip: "[fd00::100]",
    servers: ["[fd01::11]", "[fd01::12]"],
};

fn ftp(ends: Ends, settings: Settings) -> Desired {
    let mut desired = network();
    let servers = ends.servers.map(|server| format!("{server}:21"));
    let vip = format!("{}:21", ends.vip);
    desired.services = vec![service(
        Tcp,
        &vip,
        Rr,
        Masq,
        &servers.each_ref().map(String::as_str),
    )];
    desired.settings = settings;
    desired.settings.icmp_rate = None;
    desired
}

/// A control connection, with the numbers each side has come to.
struct Session {
    ends: Ends,
    client: SocketAddr,
    server: SocketAddr,
    /// The next byte of the client, of the server, and the server's as the client counts it.
    numbers: [u32; 3],
}

/// A TCP header's numbers set, its checksum mended.
fn number(frame: &mut [u8], sequence: u32, acknowledgement: u32) {
    let at = l4(frame);
    let (tcp, _) = wire::Tcp::mut_from_prefix(&mut frame[at..]).unwrap();
    for (field, value) in [
        (&mut tcp.sequence, sequence),
        (&mut tcp.acknowledgement, acknowledgement),
    ] {
        let sum = checksum::update32(tcp.checksum.get(), field.get(), value);
        tcp.checksum.set(sum);
        field.set(value);
    }
}

fn numbers(frame: &[u8]) -> (u32, u32) {
    let (tcp, _) = wire::Tcp::ref_from_prefix(&frame[l4(frame)..]).unwrap();
    (tcp.sequence.get(), tcp.acknowledgement.get())
}

fn l4(frame: &[u8]) -> usize {
    if frame[12] == 8 { 34 } else { 54 }
}

fn only(world: &mut World, port: u16, frame: &[u8]) -> Option<(Packet, (u32, u32))> {
    let sent = world.give(0, port, frame);
    assert!(sent.len() <= 1, "{sent:?}");
    // An answer of the director's own does not count.
    let sent = sent.iter().find(|sent| sent.port == PortId(1 - port))?;
    Some((packet::read(&sent.bytes).unwrap(), numbers(&sent.bytes)))
}

impl Session {
    /// A session of that client port, its control connection established.
    fn open(world: &mut World, ends: Ends, port: u16) -> Self {
        let client = at(&format!("{}:{port}", ends.client));
        let mut session = Self {
            ends,
            client,
            server: client,
            numbers: [1000, u32::MAX - 20, u32::MAX - 20],
        };
        let vip = session.vip(21);
        let syn = Packet::tcp(client, vip, SYN).frame(MACS[0]);
        session.server = only(world, 0, &syn).unwrap().0.destination;
        let mut answer = Packet::tcp(session.server, client, SYN | ACK).frame(MACS[1]);
        number(&mut answer, session.numbers[1].wrapping_sub(1), 1000);
        let (answer, _) = only(world, 1, &answer).unwrap();
        assert_eq!(answer.source, vip);
        session.says(world, "").unwrap();
        session
    }

    fn vip(&self, port: u16) -> SocketAddr {
        at(&format!("{}:{port}", self.ends.vip))
    }

    fn host(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.server.ip(), port)
    }

    /// The client says a line; what the server gets.
    fn says(&mut self, world: &mut World, text: &str) -> Option<String> {
        let mut packet = Packet::tcp(self.client, self.vip(21), PUSH);
        packet.payload = text.into();
        let mut frame = packet.frame(MACS[0]);
        number(&mut frame, self.numbers[0], self.numbers[2]);
        let (got, (sequence, acknowledgement)) = only(world, 0, &frame)?;
        assert_eq!(sequence, self.numbers[0]);
        assert_eq!(acknowledgement, self.numbers[1], "the server's own count");
        self.numbers[0] += u32::try_from(text.len()).unwrap();
        Some(String::from_utf8(got.payload).unwrap())
    }

    /// The server replies; what the client gets.
    fn replies(&mut self, world: &mut World, text: &str) -> Option<String> {
        let mut packet = Packet::tcp(self.server, self.client, PUSH);
        packet.payload = text.into();
        let mut frame = packet.frame(MACS[1]);
        number(&mut frame, self.numbers[1], self.numbers[0]);
        let (got, (sequence, _)) = only(world, 1, &frame)?;
        assert_eq!(got.source, self.vip(21));
        assert_eq!(sequence, self.numbers[2], "the client's own count");
        let len = |text: &[u8]| u32::try_from(text.len()).unwrap();
        self.numbers[1] = self.numbers[1].wrapping_add(len(text.as_bytes()));
        self.numbers[2] = self.numbers[2].wrapping_add(len(&got.payload));
        Some(String::from_utf8(got.payload).unwrap())
    }

    /// A data connection from the client; whether it got through, and to where.
    fn connects(&self, world: &mut World, from: u16, to: u16) -> Option<SocketAddr> {
        let from = SocketAddr::new(self.client.ip(), from);
        let syn = Packet::tcp(from, self.vip(to), SYN).frame(MACS[0]);
        let (syn, _) = only(world, 0, &syn)?;
        let answer = Packet::tcp(syn.destination, from, SYN | ACK).frame(MACS[1]);
        assert_eq!(only(world, 1, &answer)?.0.source, self.vip(to));
        let ack = Packet::tcp(from, self.vip(to), ACK).frame(MACS[0]);
        assert_eq!(only(world, 0, &ack)?.0.destination, syn.destination);
        Some(syn.destination)
    }
}

fn passive(ip: SocketAddr, port: u16) -> String {
    let address = ip.ip().to_string().replace('.', ",");
    let [high, low] = port.to_be_bytes();
    format!("227 Entering Passive Mode ({address},{high},{low}).\r\n")
}

#[test]
fn a_passive_reply_shows_the_virtual_address_however_it_is_cut() {
    for cut in 1..46 {
        let mut world = World::new(&ftp(V4, Settings::default()), 1);
        let mut session = Session::open(&mut world, V4, 5000);
        session.says(&mut world, "PASV\r\n").unwrap();
        let reply = passive(session.host(0), 51201);
        let (first, second) = reply.split_at(cut);
        let mut got = session.replies(&mut world, first).unwrap();
        session.says(&mut world, "").unwrap();
        got += &session.replies(&mut world, second).unwrap();
        assert_eq!(got, passive(session.vip(0), 51201), "cut at {cut}");
        session.says(&mut world, "LIST\r\n").unwrap();
        let to = session.connects(&mut world, 6000, 51201);
        assert_eq!(to, Some(session.host(51201)));
        assert_eq!(
            session.replies(&mut world, "226 done\r\n").unwrap(),
            "226 done\r\n"
        );
    }
}

#[test]
fn a_reply_sent_again_is_the_same_again() {
    let mut world = World::new(&ftp(V4, Settings::default()), 1);
    let mut session = Session::open(&mut world, V4, 5000);
    session.says(&mut world, "PASV\r\n").unwrap();
    let reply = passive(session.host(0), 51201);
    let before = session.numbers;
    let first = session.replies(&mut world, &reply).unwrap();
    let after = session.numbers;
    session.numbers = before;
    assert_eq!(session.replies(&mut world, &reply).unwrap(), first);
    assert_eq!(session.numbers, after);
    assert_eq!(world.connections().len(), 2, "expected once");
}

#[test]
fn extended_passive_and_active_work_in_both_families() {
    for ends in [V4, V6] {
        let mut world = World::new(&ftp(ends, Settings::default()), 1);
        let mut session = Session::open(&mut world, ends, 5000);
        session.says(&mut world, "EPSV\r\n").unwrap();
        let reply = "229 Entering Extended Passive Mode (|||51300|)\r\n";
        assert_eq!(session.replies(&mut world, reply).unwrap(), reply);
        let to = session.connects(&mut world, 6100, 51300);
        assert_eq!(to, Some(session.host(51300)));

        let family = if session.client.is_ipv4() { 1 } else { 2 };
        let own = session.client.ip();
        let command = format!("EPRT |{family}|{own}|6200|\r\n");
        assert_eq!(session.says(&mut world, &command).unwrap(), command);
        let listens = SocketAddr::new(own, 6200);
        let syn = Packet::tcp(session.host(20), listens, SYN).frame(MACS[1]);
        let (syn, _) = only(&mut world, 1, &syn).unwrap();
        assert_eq!((syn.source, syn.destination), (session.vip(20), listens));
        let answer = Packet::tcp(listens, session.vip(20), SYN | ACK).frame(MACS[0]);
        let (answer, _) = only(&mut world, 0, &answer).unwrap();
        assert_eq!(answer.destination, session.host(20));
    }
}

/// Two servers that happen to listen at the same port for clients behind one address (their own NAT, mostly).
#[test]
fn two_servers_ports_for_one_client_address_do_not_get_mixed_up() {
    for ends in [V4, V6] {
        let mut world = World::new(&ftp(ends, Settings::default()), 1);
        let mut one = Session::open(&mut world, ends, 5000);
        let mut two = Session::open(&mut world, ends, 5001);
        assert_ne!(one.server, two.server);
        let reply = |port: u16| format!("229 Entering Extended Passive Mode (|||{port}|)\r\n");
        for session in [&mut one, &mut two] {
            session.says(&mut world, "EPSV\r\n").unwrap();
        }
        assert_eq!(
            one.replies(&mut world, &reply(51300)).unwrap(),
            reply(51300)
        );
        assert_eq!(
            two.replies(&mut world, &reply(51300)).unwrap(),
            reply(51301)
        );
        let to = two.connects(&mut world, 6000, 51301);
        assert_eq!(to, Some(two.host(51300)));
        let to = one.connects(&mut world, 6000, 51300);
        assert_eq!(to, Some(one.host(51300)));
    }
}

#[test]
fn nothing_is_expected_for_somebody_else() {
    let mut world = World::new(&ftp(V4, Settings::default()), 1);
    let mut session = Session::open(&mut world, V4, 5000);
    session.says(&mut world, "PORT 172,16,0,9,4,1\r\n").unwrap();
    assert_eq!(world.connections().len(), 1, "a third party's address");
    // What the server announces without being asked is hidden all the same, and leads to the server itself.
    let reply = passive(at("192.0.2.77:0"), 51400);
    assert_eq!(
        session.replies(&mut world, &reply).unwrap(),
        passive(session.vip(0), 51400)
    );
    let to = session.connects(&mut world, 6000, 51400);
    assert_eq!(to, Some(session.host(51400)));
    // Claimed: it leads nowhere twice, and nobody else may have it.
    assert_eq!(session.connects(&mut world, 6001, 51400), None);
}

#[test]
fn a_control_connection_stands_as_long_as_its_data_connections() {
    let settings = Settings {
        timeout_tcp_s: 200,
        ..Settings::default()
    };
    let mut world = World::new(&ftp(V4, settings), 1);
    let mut session = Session::open(&mut world, V4, 5000);
    session.says(&mut world, "PASV\r\n").unwrap();
    let reply = passive(session.host(0), 51201);
    session.replies(&mut world, &reply).unwrap();
    let data = SocketAddr::new(session.client.ip(), 6000);
    session.connects(&mut world, 6000, 51201).unwrap();
    for _ in 0..10 {
        world.pass(100_000);
        // Past its time, though no sweep has come by: found all the same.
        if world.connections().len() == 1 {
            session.says(&mut world, "NOOP\r\n").unwrap();
        }
        let ack = Packet::tcp(data, session.vip(51201), ACK).frame(MACS[0]);
        only(&mut world, 0, &ack).unwrap();
        assert_eq!(world.connections().len(), 2);
    }
    session.replies(&mut world, "226 done\r\n").unwrap();
    world.pass(201_000);
    assert_eq!(world.connections().len(), 1, "the data connection goes");
    world.pass(120_000);
    assert_eq!(world.connections().len(), 0);
    let counts = world.service(session.vip(21)).servers[0].counts;
    assert_eq!((counts.active, counts.inactive), (0, 0));
}

#[test]
fn a_hole_is_waited_for_only_while_a_reply_is() {
    let mut world = World::new(&ftp(V4, Settings::default()), 1);
    let mut session = Session::open(&mut world, V4, 5000);
    let skip = |session: &mut Session| {
        session.numbers[1] = session.numbers[1].wrapping_add(10);
        session.numbers[2] = session.numbers[2].wrapping_add(10);
    };
    skip(&mut session);
    let line = "200 ok\r\n";
    assert_eq!(session.replies(&mut world, line).unwrap(), line);
    session.says(&mut world, "PASV\r\n").unwrap();
    skip(&mut session);
    assert_eq!(session.replies(&mut world, line), None);
}

#[test]
fn persistent_ftp_takes_the_data_connections_along() {
    let mut desired = network();
    desired.services = vec![service(
        Tcp,
        "10.0.0.100:21",
        Rr,
        Masq,
        &["10.1.0.11:21", "10.1.0.12:21"],
    )];
    desired.services[0].persistence = persistent(300);
    let mut world = World::new(&desired, 1);
    let to = |world: &mut World, client: &str, port: u16| {
        let vip = at(&format!("10.0.0.100:{port}"));
        let syn = Packet::tcp(at(client), vip, SYN).frame(MACS[0]);
        Some(only(world, 0, &syn)?.0.destination.ip())
    };
    let first = to(&mut world, "172.16.0.1:5000", 21).unwrap();
    let second = to(&mut world, "172.16.0.2:5000", 21).unwrap();
    assert_ne!(first, second);
    for port in [20, 1024, 51201] {
        assert_eq!(to(&mut world, "172.16.0.1:6000", port), Some(first));
        assert_eq!(to(&mut world, "172.16.0.2:6000", port), Some(second));
    }
    assert_eq!(to(&mut world, "172.16.0.1:6000", 80), None, "privileged");
}

/// What a director tells of a session's control connection, as another reads it from the wire.
fn told(world: &mut World, synchronizer: &mut Synchronizer) -> Vec<Connection> {
    let mut told = Vec::new();
    let now = world.now;
    synchronizer.noted(now, usize::MAX, &mut |c| told.push(c.clone()));
    let mut teller = Teller::new(1, 0, 1472, connsync::Pace::IPVS, 0);
    let mut messages: Vec<_> = told.iter().filter_map(|c| teller.tell(0, c)).collect();
    messages.extend(teller.message());
    let read = messages
        .iter()
        .flat_map(|m| Message::parse(m).unwrap().connections);
    read.collect()
}

#[test]
fn a_control_connection_goes_on_at_another_director() {
    for (longer, announced) in [(true, "10,1,0,11"), (false, "10,1,0,11")] {
        let mut desired = ftp(V4, Settings::default());
        // The virtual address is longer than the servers', or shorter.
        let ends = if longer {
            V4
        } else {
            Ends {
                vip: "9.9.9.9",
                ..V4
            }
        };
        if !longer {
            desired.services[0] = service(Tcp, "9.9.9.9:21", Rr, Masq, &["10.1.0.11:21"]);
        }
        desired.settings.sync = Some(connsync::Rules::default());
        let [mut one, mut two] = [(); 2].map(|()| World::new(&desired, 1));
        let mut tells = one.director.synchronizer().unwrap();
        let mut takes = two.director.synchronizer().unwrap();
        let mut session = Session::open(&mut one, ends, 2000);
        session.says(&mut one, "PASV\r\n").unwrap();
        let line = format!("227 Entering Passive Mode ({announced},23,112)\r\n");
        let before = session.numbers;
        let shown = session.replies(&mut one, &line).unwrap();
        assert_eq!(shown.len() > line.len(), longer, "{shown}");
        assert_ne!(shown.len(), line.len());
        for connection in told(&mut one, &mut tells) {
            takes.take(two.now, &connection);
        }
        // The reply again, which the client may have missed: the same again. Then on, with the numbers of both sides right.
        let after = session.numbers;
        session.numbers = before;
        assert_eq!(session.replies(&mut two, &line), Some(shown));
        assert_eq!(session.numbers, after);
        session.says(&mut two, "LIST\r\n").unwrap();
        session.replies(&mut two, "150 Here it comes.\r\n").unwrap();
        session.says(&mut two, "PASV\r\n").unwrap();
        session.replies(&mut two, &line).unwrap();
        session.says(&mut two, "QUIT\r\n").unwrap();
        session.replies(&mut two, "221 Goodbye.\r\n").unwrap();
    }
}

#[test]
fn a_control_connection_goes_on_behind_what_was_replaced() {
    let mut desired = ftp(V4, Settings::default());
    desired.settings.sync = Some(connsync::Rules::default());
    let [mut one, mut two] = [(); 2].map(|()| World::new(&desired, 1));
    let mut tells = one.director.synchronizer().unwrap();
    let mut takes = two.director.synchronizer().unwrap();
    let mut session = Session::open(&mut one, V4, 2000);
    for _ in 0..5 {
        session.says(&mut one, "PASV\r\n").unwrap();
        session
            .replies(&mut one, "227 Entering Passive Mode (10,1,0,11,23,112)\r\n")
            .unwrap();
    }
    let told = told(&mut one, &mut tells);
    let last = told.last().unwrap();
    assert!(last.flags.contains(Flags::OUT_SEQ));
    let moved = last.sequence.unwrap().outwards;
    let by = session.numbers[2].wrapping_sub(session.numbers[1]);
    assert_eq!((moved.delta, by), (by, 5), "a byte for each reply");
    assert_eq!(moved.previous_delta, 4);
    takes.take(two.now, last);
    session.says(&mut two, "NOOP\r\n").unwrap();
    session.replies(&mut two, "200 Well.\r\n").unwrap();
    // Of a connection in which nothing was replaced nothing is said, and it is read at the other director all the same.
    let mut plain = Session::open(&mut one, V4, 2001);
    for connection in self::told(&mut one, &mut tells) {
        assert_eq!(connection.sequence, None);
        takes.take(two.now, &connection);
    }
    plain.says(&mut two, "PASV\r\n").unwrap();
    let shown = plain.replies(&mut two, &passive(plain.host(0), 6000));
    assert_eq!(shown, Some(passive(plain.vip(0), 6000)));
    assert_eq!(plain.connects(&mut two, 3000, 6000), Some(plain.host(6000)));
}
