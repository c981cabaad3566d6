//! Connections told by one director and taken over by another: they go on there as if nothing had happened.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use connsync::{Addresses, Connection, Flags, Message, Rules, Teller, Version};
use engine::{
    Synchronizer, Taken,
    model::{Desired, Persistence, ServiceKey},
};
use sim::{
    Packet, World,
    packet::read,
    world::{MACS, network, persistent, service},
};
use std::net::SocketAddr;
use types::{
    Family,
    ForwardingMethod::{Masq, Route, Tunnel},
    Mark, PersistenceEngine, PortId,
    Protocol::{Tcp, Udp},
    Scheduler::Rr,
};

const ACK: u8 = 0x10;
const SYN: u8 = 2;
const FIN: u8 = 1;

fn desired(rules: Option<Rules>) -> Desired {
    let mut desired = network();
    let servers = ["10.1.0.11:8080", "10.1.0.12:8080", "10.1.0.13:8080"];
    let same = ["10.1.0.11:80", "10.1.0.12:80", "10.1.0.13:80"];
    desired.services = vec![
        service(Tcp, "10.0.0.100:80", Rr, Masq, &servers),
        service(Tcp, "10.0.0.101:80", Rr, Route, &same),
        service(Tcp, "10.0.0.102:80", Rr, Tunnel, &same),
        service(
            Udp,
            "10.0.0.100:53",
            Rr,
            Masq,
            &["10.1.0.11:53", "10.1.0.12:53"],
        ),
        service(
            Tcp,
            "[fd00::100]:80",
            Rr,
            Masq,
            &["[fd01::11]:80", "[fd01::12]:80"],
        ),
        service(
            Tcp,
            "10.0.0.103:443",
            Rr,
            Masq,
            &["10.1.0.11:443", "10.1.0.12:443"],
        ),
    ];
    desired.services[5].persistence = persistent(100);
    desired.settings.sync = rules;
    desired
}

struct Director {
    world: World,
    synchronizer: Synchronizer,
}

impl Director {
    fn new(desired: &Desired) -> Self {
        let mut world = World::new(desired, 1);
        let synchronizer = world.director.synchronizer().unwrap();
        Self {
            world,
            synchronizer,
        }
    }

    /// A packet from a client; where it goes on to.
    fn client(&mut self, from: &str, to: &str, flags: u8) -> Option<SocketAddr> {
        let packet = Packet::tcp(from.parse().unwrap(), to.parse().unwrap(), flags);
        self.send(0, &packet.frame(MACS[0])).map(|p| p.destination)
    }

    /// A server's answer; from where it comes to the client.
    fn server(&mut self, from: SocketAddr, to: &str, flags: u8) -> Option<SocketAddr> {
        let packet = Packet::tcp(from, to.parse().unwrap(), flags);
        self.send(1, &packet.frame(MACS[1])).map(|p| p.source)
    }

    fn send(&mut self, port: u16, frame: &[u8]) -> Option<Packet> {
        let sent = self.world.give(0, port, frame);
        assert!(sent.len() < 2);
        let sent = sent.first().filter(|sent| sent.port != PortId(port))?;
        read(&sent.bytes)
    }

    /// The first message of a call; where it goes on to.
    fn call(&mut self, from: &str, id: &str) -> Option<SocketAddr> {
        let message = format!("INVITE sip:lab SIP/2.0\r\nCall-ID: {id}\r\n\r\n");
        let vip = "10.0.0.100:5060".parse().unwrap();
        let packet = Packet::udp(from.parse().unwrap(), vip, message.as_bytes());
        self.send(0, &packet.frame(MACS[0])).map(|p| p.destination)
    }

    fn noted(&mut self) -> Vec<Connection> {
        let mut told = Vec::new();
        let now = self.world.now;
        self.synchronizer
            .noted(now, usize::MAX, &mut |c| told.push(c.clone()));
        told
    }

    fn all(&mut self) -> Vec<Connection> {
        let (mut told, mut position) = (Vec::new(), Some(0));
        while let Some(at) = position {
            let now = self.world.now;
            position = self
                .synchronizer
                .all(now, at, 100, &mut |c| told.push(c.clone()));
        }
        told
    }

    fn take(&mut self, told: &[Connection]) -> Vec<Taken> {
        let now = self.world.now;
        told.iter()
            .map(|c| self.synchronizer.take(now, c))
            .collect()
    }

    /// An established connection; its server.
    fn establish(&mut self, client: &str, vip: &str, nat: bool) -> SocketAddr {
        let server = self.client(client, vip, SYN).unwrap();
        if nat {
            self.server(server, client, SYN | ACK).unwrap();
        }
        assert_eq!(self.client(client, vip, ACK), Some(server));
        server
    }
}

/// Through the wire and back.
fn sent(told: &[Connection]) -> Vec<Connection> {
    let mut teller = Teller::new(1, 0, 1472, connsync::Pace::IPVS, 0);
    let mut messages: Vec<_> = told.iter().filter_map(|c| teller.tell(0, c)).collect();
    messages.extend(teller.message());
    let read = messages.iter().flat_map(|m| {
        let message = Message::parse(m).unwrap();
        assert_eq!(message.version, Version::V1);
        message.connections
    });
    let read: Vec<_> = read.collect();
    assert_eq!(read, told);
    read
}

#[test]
fn established_connections_go_on_at_the_other_director() {
    let mut master = Director::new(&desired(Some(Rules::default())));
    let mut backup = Director::new(&desired(None));
    // So that the backup's own choices are others.
    backup.client("10.9.9.9:1", "10.0.0.100:80", SYN).unwrap();
    let clients = ["10.9.0.1:5000", "10.9.0.2:5000", "10.9.0.3:5000"];
    let mut servers = Vec::new();
    for client in clients {
        servers.push(master.establish(client, "10.0.0.100:80", true));
    }
    let six = ("[fd09::1]:5000", "[fd00::100]:80");
    let six_server = master.establish(six.0, six.1, true);
    let routed = ("10.9.0.4:5000", "10.0.0.101:80");
    master.establish(routed.0, routed.1, false);
    let told = sent(&master.noted());
    assert_eq!(told.len(), 5);
    assert_eq!(backup.take(&told), [Taken::New; 5]);
    assert_eq!(backup.take(&told), [Taken::Known; 5]);
    for (client, server) in clients.into_iter().zip(&servers) {
        assert_eq!(backup.client(client, "10.0.0.100:80", ACK), Some(*server));
        let vip = "10.0.0.100:80".parse().ok();
        assert_eq!(backup.server(*server, client, ACK), vip);
    }
    assert_eq!(backup.client(six.0, six.1, ACK), Some(six_server));
    assert_eq!(backup.server(six_server, six.0, ACK), six.1.parse().ok());
    assert_eq!(
        backup.client(routed.0, routed.1, ACK),
        routed.1.parse().ok()
    );
    let service = backup.world.service("10.0.0.100:80".parse().unwrap());
    let active: u32 = service.servers.iter().map(|s| s.counts.active).sum();
    assert_eq!(active, 4, "three that were taken over, and its own SYN");
    assert_eq!(backup.synchronizer.counts().1, 6);
    // Both list them alike, but for the moment.
    let rows = |d: &Director| {
        let mut rows: Vec<_> = d
            .world
            .connections()
            .iter()
            .map(|c| (c.client, c.destination, c.server, c.state))
            .collect();
        rows.retain(|r| r.0.port() == 5000);
        rows.sort();
        rows
    };
    assert_eq!(rows(&master), rows(&backup));
}

#[test]
fn what_ends_at_the_master_ends_at_the_backup() {
    let mut master = Director::new(&desired(Some(Rules::IPVS)));
    let mut backup = Director::new(&desired(None));
    let (client, vip) = ("10.9.0.1:5000", "10.0.0.100:80");
    let server = master.establish(client, vip, true);
    assert_eq!(master.noted(), [], "IPVS waits for the third packet");
    master.client(client, vip, ACK).unwrap();
    let told = master.noted();
    assert_eq!((told.len(), told[0].state, told[0].timeout_s), (1, 1, 900));
    assert_eq!(backup.take(&told), [Taken::New]);
    master.client(client, vip, ACK | FIN).unwrap();
    let told = master.noted();
    assert_eq!((told.len(), told[0].state, told[0].timeout_s), (1, 7, 60));
    assert!(told[0].flags.contains(Flags::INACTIVE));
    assert_eq!(backup.take(&told), [Taken::Known]);
    let counts = |d: &Director| {
        let service = d.world.service(vip.parse().unwrap());
        let of = |f: fn(&engine::ConnectionCounts) -> u32| {
            service.servers.iter().map(|s| f(&s.counts)).sum::<u32>()
        };
        (of(|c| c.active), of(|c| c.inactive))
    };
    assert_eq!(counts(&backup), (0, 1));
    // To another server, and closing: the end of one that has been replaced.
    let mut other = told[0].clone();
    if let Addresses::V4(all) = &mut other.addresses {
        let octet = if all[2].octets()[3] == 11 { 12 } else { 11 };
        all[2] = [10, 1, 0, octet].into();
    }
    assert_eq!(backup.take(&[other.clone()]), [Taken::Stale]);
    other.flags = Flags::MASQ;
    other.state = 1;
    assert_eq!(backup.take(&[other]), [Taken::New]);
    assert_ne!(backup.client(client, vip, ACK), Some(server));
    backup.world.pass(901_000);
    assert_eq!(
        (backup.world.connections().len(), counts(&backup)),
        (0, (0, 0))
    );
}

#[test]
fn templates_keep_clients_at_their_server_and_everything_is_told_to_who_asks() {
    let mut master = Director::new(&desired(Some(Rules::default())));
    let mut backup = Director::new(&desired(None));
    backup.client("10.9.9.9:1", "10.0.0.103:443", SYN).unwrap();
    let (client, vip) = ("10.9.0.1:5000", "10.0.0.103:443");
    let server = master.establish(client, vip, true);
    let mut names: Vec<_> = master.noted();
    // The template comes with every packet that is told; once is enough here.
    names.dedup();
    assert!(
        names
            .iter()
            .any(|c| c.flags.contains(Flags::TEMPLATE) && c.timeout_s == 100)
    );
    let all = sent(&master.all());
    assert_eq!(all.len(), 2);
    assert_eq!(backup.take(&all), [Taken::New; 2]);
    assert_eq!(backup.client("10.9.0.1:5001", vip, SYN), Some(server));
    // Half-open ones are nobody's business.
    master.client("10.9.0.7:1", "10.0.0.100:80", SYN).unwrap();
    assert_eq!(master.all().len(), 2);
}

#[test]
fn calls_stay_at_their_server() {
    let desired = |rules| {
        let mut desired = desired(rules);
        let servers = ["10.1.0.11:5060", "10.1.0.12:5060", "10.1.0.13:5060"];
        let mut calls = service(Udp, "10.0.0.100:5060", Rr, Masq, &servers);
        calls.persistence = persistent(100).map(|p| Persistence {
            netmask: 0xffff_0000,
            ..p
        });
        calls.persistence_engine = Some(PersistenceEngine::Sip);
        desired.services.push(calls);
        desired
    };
    let mut master = Director::new(&desired(Some(Rules::default())));
    let mut backup = Director::new(&desired(None));
    let one = master.call("10.9.0.1:5060", "one@host").unwrap();
    let two = master.call("10.9.0.1:5061", "two@host").unwrap();
    assert_ne!(one, two);
    assert_eq!(master.call("10.9.7.7:5060", "one@host"), Some(one));
    // Other calls first at the backup, so that its round robin stands elsewhere.
    backup.call("10.9.0.8:1", "other").unwrap();
    let all = sent(&master.all());
    let told: Vec<_> = all.iter().filter_map(|c| c.persistence.clone()).collect();
    assert_eq!((all.len(), told.len()), (5, 2));
    assert!(told.iter().any(|(_, id)| id == b"two@host"));
    assert_eq!(backup.take(&all), [Taken::New; 5]);
    assert_eq!(backup.take(&all), [Taken::Known; 5]);
    for n in 0..3 {
        let client = format!("10.9.1.{n}:5060");
        assert_eq!(backup.call(&client, "one@host"), Some(one));
        assert_eq!(
            backup.call(&client.replace(":5060", ":1"), "two@host"),
            Some(two)
        );
    }
    let mut wrong = all
        .iter()
        .find(|c| c.persistence.is_some())
        .unwrap()
        .clone();
    for told in [("sip", ""), ("nosuch", "x")] {
        wrong.persistence = Some((told.0.into(), told.1.into()));
        assert_eq!(backup.take(&[wrong.clone()]), [Taken::Unsupported]);
    }
    // Once they have ended their places are free again: there is room for as many once more.
    let room = (8192 + 2048) / 16;
    for round in 0..3 {
        master.world.pass(500_000);
        assert!(master.world.connections().is_empty());
        for n in 0..=room {
            let (client, id) = (format!("10.9.2.1:{}", 6000 + n), format!("{round}-{n}"));
            let server = master.call(&client, &id);
            assert_eq!(server.is_some(), n < room, "{round}, call {n} of {room}");
        }
    }
}

#[test]
fn a_mark_s_template_is_found_again() {
    let mut desired = desired(Some(Rules::default()));
    let mut marked = service(
        Tcp,
        "10.0.0.104:80",
        Rr,
        Masq,
        &["10.1.0.11:80", "10.1.0.12:80"],
    );
    marked.key = ServiceKey::Mark {
        mark: Mark(9),
        family: Family::Ipv4,
    };
    marked.persistence = persistent(100);
    desired.services = vec![marked];
    let mut backup = Director::new(&desired);
    let template = Connection {
        protocol: 0,
        flags: Flags::MASQ.with(Flags::TEMPLATE).with(Flags::INACTIVE),
        state: 1,
        client_port: 0,
        virtual_port: 0,
        server_port: 0,
        mark: 9,
        timeout_s: 100,
        addresses: Addresses::V4([
            [10, 9, 0, 1].into(),
            [0, 0, 0, 9].into(),
            [10, 1, 0, 11].into(),
        ]),
        sequence: None,
        splice: None,
        persistence: None,
    };
    assert_eq!(backup.take(&[template]), [Taken::New]);
}

#[test]
fn what_is_not_configured_or_not_known_is_left_out() {
    let mut backup = Director::new(&desired(None));
    let told = |port, server: [u8; 4]| Connection {
        protocol: 6,
        flags: Flags::MASQ,
        state: 1,
        client_port: 5000,
        virtual_port: port,
        server_port: 8080,
        mark: 0,
        timeout_s: 0,
        addresses: Addresses::V4([[10, 9, 0, 1].into(), [10, 0, 0, 100].into(), server.into()]),
        sequence: None,
        splice: None,
        persistence: None,
    };
    let right = told(80, [10, 1, 0, 11]);
    let with = |f: fn(&mut Connection)| {
        let mut told = right.clone();
        f(&mut told);
        told
    };
    assert_eq!(
        backup.take(&[
            told(81, [10, 1, 0, 11]),
            told(80, [10, 1, 0, 99]),
            with(|c| c.state = 11),
            with(|c| c.protocol = 47),
            with(|c| c.flags = Flags::BYPASS),
            with(|c| c.flags = Flags::ONE_PACKET),
            with(|c| c.flags = Flags::NO_CLIENT_PORT),
        ]),
        [
            Taken::NoServer,
            Taken::NoServer,
            Taken::Unsupported,
            Taken::Unsupported,
            Taken::Unsupported,
            Taken::Unsupported,
            Taken::Unsupported
        ]
    );
    assert_eq!(backup.world.connections().len(), 0);
    assert_eq!(backup.take(&[right]), [Taken::New]);
    // Its own timeout, since none was told.
    assert_eq!(backup.world.connections()[0].expires_ms, 900_000);
}
