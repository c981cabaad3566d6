//! A running IPVS is replaced by the engine, or the engine by IPVS: the new one has the rules of the old one and hears, as a backup in
//! synchronisation, of its connections. From then on each packet must get from the new one, which has seen none before, what it gets
//! from the old one.

use super::{
    Action, Oracle, OracleError,
    action::{hex, unhex},
    craft::{self, Crafted, Segment},
};
use crate::golden::{ConnectionRow, Looked, Op, OutFrame, Player, Step};
use connsync::{GROUP, PORT, Route, datagram, frame, group_mac};
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};
use types::{MacAddr, Tick};
use wire::{Sum, ethernet, tcp};

/// Services under NAT and direct routing, of both families and protocols, one of them persistent, one FTP.
const RULES: [&str; 17] = [
    "-A -t 10.0.0.100:80 -s rr",
    "-a -t 10.0.0.100:80 -r 10.1.0.11:8080 -m -w 1",
    "-a -t 10.0.0.100:80 -r 10.1.0.12:8080 -m -w 1",
    "-a -t 10.0.0.100:80 -r 10.1.0.13:8080 -m -w 1",
    "-A -t 10.0.0.100:443 -s rr -p 300",
    "-a -t 10.0.0.100:443 -r 10.1.0.11:443 -m -w 1",
    "-a -t 10.0.0.100:443 -r 10.1.0.12:443 -m -w 1",
    "-A -t 10.0.0.100:25 -s rr",
    "-a -t 10.0.0.100:25 -r 10.1.0.11:25 -g -w 1",
    "-a -t 10.0.0.100:25 -r 10.1.0.13:25 -g -w 1",
    "-A -t 10.0.0.100:21 -s rr",
    "-a -t 10.0.0.100:21 -r 10.1.0.11:21 -m -w 1",
    "-A -u 10.0.0.100:53 -s rr",
    "-a -u 10.0.0.100:53 -r 10.1.0.12:53 -m -w 1",
    "-A -t [fd00::100]:80 -s rr",
    "-a -t [fd00::100]:80 -r [fd01::11]:80 -m -w 1",
    "-a -t [fd00::100]:80 -r [fd01::12]:80 -m -w 1",
];
/// What clients ask for; whether it is UDP, and whether servers answer through the director.
const ASKED: [(&str, bool, bool); 6] = [
    ("10.0.0.100:80", false, true),
    ("10.0.0.100:443", false, true),
    ("10.0.0.100:25", false, false),
    ("10.0.0.100:21", false, true),
    ("10.0.0.100:53", true, true),
    ("[fd00::100]:80", false, true),
];
/// Without it, port 21 is as any other.
const FTP: &str = "modprobe ip_vs_ftp";
/// Clients of each.
const CLIENTS: u8 = 6;
/// IPVS waits two seconds before it tells.
const TOLD_S: f64 = 3.0;
const DAEMON: &str = "--mcast-interface cl0 --syncid 7";

/// Which way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The engine takes over from the oracle.
    Oracle,
    /// The oracle takes over from the engine.
    Engine,
}

/// What came over, and what did not.
#[derive(Clone, Debug, Default)]
pub struct Replacement {
    /// Messages of synchronisation.
    pub messages: usize,
    /// Connections and templates both have, with the same server.
    pub connections: usize,
    /// Packets that got the same from both.
    pub packets: usize,
    /// What was otherwise, in words.
    pub differences: Vec<String>,
}

/// A client's connection, on both sides of the director.
struct Call {
    client: SocketAddr,
    service: SocketAddr,
    udp: bool,
    /// Who answers through the director.
    server: Option<SocketAddr>,
    /// Bytes sent so far, each way.
    sent: [u32; 2],
    /// By how much the director has made what the server said longer.
    moved: u32,
}

impl Call {
    /// A packet of the client's, or of its server's.
    fn packet(&mut self, back: bool, flags: u8, data: &[u8]) -> Option<(&'static str, Crafted)> {
        let (side, from, to) = match back {
            false => ("cl", self.client, self.service),
            true => ("rs", self.server?, self.client),
        };
        if self.udp {
            return Some((side, craft::udp(from, to, data, true)));
        }
        let [forth, other] = match back {
            false => self.sent,
            true => [self.sent[1], self.sent[0]],
        };
        let segment = Segment {
            flags,
            sequence: 1000 + forth,
            acknowledgement: if flags & tcp::ACK == 0 {
                0
            } else {
                1000 + other + if back { 0 } else { self.moved }
            },
            options: Vec::new(),
            data: data.to_vec(),
        };
        let taken = u32::try_from(data.len()).unwrap_or(0) + u32::from(flags & tcp::SYN != 0);
        self.sent[usize::from(back)] += taken;
        Some((side, craft::tcp(from, to, &segment)))
    }
}

/// Has one of them replaced by the other.
///
/// # Errors
/// When the oracle does not answer, or refuses a command.
///
/// # Panics
/// When the engine loses or invents a frame.
pub fn replace(oracle: &mut Oracle, replaced: Replaced) -> Result<Replacement, OracleError> {
    let player = Player::new(oracle.topology().clone(), 1);
    let mut scene = Scene {
        oracle,
        player,
        replaced,
        started: Instant::now(),
        said: Vec::new(),
        found: Replacement::default(),
    };
    scene.old(Action::Fresh)?;
    scene.old(Action::Command(FTP.into()))?;
    for rule in RULES {
        scene.old(Action::Command(format!("ipvsadm {rule}")))?;
    }
    let mut calls = scene.calls()?;
    scene.join()?;
    // It has run without a daemon until now: what it had before is told with the next packet.
    scene.old(Action::Setting("sync_threshold", "0 1".into()))?;
    let master = format!("ipvsadm --start-daemon master {DAEMON}");
    scene.old(Action::Command(master))?;
    for call in &mut calls {
        if let Some((side, packet)) = call.packet(false, tcp::ACK | tcp::PSH, b"still here") {
            scene.old_frame(side, &packet)?;
        }
    }
    scene.over()?;
    // What either says from now on would stand among the packets that are compared.
    scene.old(Action::Command("ipvsadm --stop-daemon master".into()))?;
    scene.new_one("ipvsadm --stop-daemon backup")?;
    scene.compare_connections()?;
    scene.go_on(&mut calls)?;
    Ok(scene.found)
}

struct Scene<'o> {
    oracle: &'o mut Oracle,
    player: Player,
    replaced: Replaced,
    started: Instant,
    /// Messages of synchronisation that have not been handed over.
    said: Vec<Vec<u8>>,
    found: Replacement,
}

impl Scene<'_> {
    fn step(&self, op: Op) -> Step {
        Step {
            t: self.started.elapsed().as_secs_f64(),
            note: None,
            op,
        }
    }

    fn wrong(&mut self, what: String) {
        self.found.differences.push(what);
    }

    /// The engine alone does something.
    fn engine(&mut self, op: Op) -> Looked {
        let step = self.step(op);
        match self.player.play(&step, &mut || 0) {
            Ok(looked) => looked,
            Err(unsupported) => Looked::Different("carried out".into(), unsupported.why),
        }
    }

    /// Whoever is to be replaced does something.
    fn old(&mut self, action: Action) -> Result<(), OracleError> {
        let op = match self.replaced {
            Replaced::Oracle => action.perform(self.oracle)?,
            Replaced::Engine => told(&action),
        };
        let refused = match (&op, self.replaced) {
            (Op::Cmd { rc: Some(0), .. }, Replaced::Oracle) => None,
            (Op::Cmd { cmd, output, .. }, Replaced::Oracle) => Some(format!("{cmd}: {output:?}")),
            (_, Replaced::Oracle) => None,
            (_, Replaced::Engine) => match self.engine(op) {
                Looked::Different(_, why) => Some(why),
                _ => None,
            },
        };
        refused.map_or(Ok(()), |why| Err(OracleError::Nonsense(why)))
    }

    /// What the old one sends for a frame. Messages of synchronisation may be among it, and are kept.
    fn old_frame(
        &mut self,
        side: &'static str,
        packet: &Crafted,
    ) -> Result<Vec<(String, Vec<u8>)>, OracleError> {
        let bytes = packet.frame(side, self.oracle.topology());
        let sent: Vec<(String, Vec<u8>)> = match self.replaced {
            Replaced::Oracle => match Action::Frame(side, bytes).perform(self.oracle)? {
                Op::Tx { out, .. } => out.into_iter().map(named).collect(),
                _ => Vec::new(),
            },
            Replaced::Engine => {
                let mut sent = self.pass();
                let caused = self.player.receive(side, &bytes);
                sent.extend(caused.map_err(OracleError::Nonsense)?);
                sent.into_iter().map(on_side).collect()
            }
        };
        self.keep(&sent);
        Ok(sent)
    }

    fn pass(&mut self) -> Vec<crate::Sent> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.player.pass_to(Tick(now))
    }

    fn keep(&mut self, sent: &[(String, Vec<u8>)]) {
        let on = sent.iter().filter(|(side, _)| side == "cl");
        let messages = on.filter_map(|(_, bytes)| {
            let heard = datagram(bytes).ok()?;
            (heard.destination.port() == PORT).then(|| heard.message.to_vec())
        });
        self.said.extend(messages);
    }

    /// Clients that have been there for a few packets, some of them idle since.
    fn calls(&mut self) -> Result<Vec<Call>, OracleError> {
        let mut calls = Vec::new();
        for (service, udp, through) in ASKED {
            let service: SocketAddr = service
                .parse()
                .map_err(|e| OracleError::Nonsense(format!("{service}: {e}")))?;
            for n in 0..CLIENTS {
                let ip = match service {
                    SocketAddr::V4(_) => IpAddr::from([172, 16, 0, n + 1]),
                    SocketAddr::V6(_) => format!("2001:db8::{}", n + 1)
                        .parse()
                        .unwrap_or(service.ip()),
                };
                let mut call = Call {
                    client: SocketAddr::new(ip, 5000 + u16::from(n)),
                    service,
                    udp,
                    server: None,
                    sent: [0; 2],
                    moved: 0,
                };
                let first = if udp { 0 } else { tcp::SYN };
                let data: &[u8] = if udp { b"query" } else { b"" };
                if let Some((side, packet)) = call.packet(false, first, data) {
                    for (on, bytes) in self.old_frame(side, &packet)? {
                        let ends = bytes.get(14..).and_then(craft::ends);
                        if let Some((_, _, to)) = ends.filter(|_| on == "rs" && through) {
                            call.server = Some(to);
                        }
                    }
                }
                if through && call.server.is_none() {
                    let what = format!(
                        "the first packet of {} to {service} went nowhere",
                        call.client
                    );
                    return Err(OracleError::Nonsense(what));
                }
                // Linux leaves to connection tracking, and does not tell, how far an address that was replaced has moved the rest.
                let (question, answer): (&[u8], &[u8]) = match (service.port(), self.replaced) {
                    (21, Replaced::Engine) => (
                        b"PASV\r\n",
                        b"227 Entering Passive Mode (10,1,0,11,23,112)\r\n",
                    ),
                    _ => (b"question\r\n", b"200 answer\r\n"),
                };
                let rest: [(bool, u8, &[u8]); 6] = [
                    (true, tcp::SYN | tcp::ACK, b""),
                    (false, tcp::ACK, b""),
                    (false, tcp::ACK | tcp::PSH, question),
                    (true, tcp::ACK | tcp::PSH, answer),
                    (false, tcp::ACK, b""),
                    (false, tcp::ACK | tcp::PSH, b"more"),
                ];
                for (back, flags, data) in rest {
                    if let Some((side, packet)) = call.packet(back, flags, data) {
                        let was = packet.frame(side, self.oracle.topology()).len();
                        let sent = self.old_frame(side, &packet)?;
                        if let Some((_, is)) = sent.iter().find(|(on, _)| back && on == "cl") {
                            call.moved += u32::try_from(is.len().saturating_sub(was)).unwrap_or(0);
                        }
                    }
                }
                if answer.starts_with(b"227") && call.moved == 0 {
                    let what = format!("no address was replaced for {}", call.client);
                    return Err(OracleError::Nonsense(what));
                }
                calls.push(call);
            }
        }
        Ok(calls)
    }

    /// The new one gets the old one's rules, as `ipvsadm -Sn` writes them, and listens.
    fn join(&mut self) -> Result<(), OracleError> {
        let backup = format!("ipvsadm --start-daemon backup {DAEMON}");
        let rules: Vec<String> = match self.replaced {
            Replaced::Oracle => {
                let saved = Action::Command("ipvsadm -Sn".into()).perform(self.oracle)?;
                let Op::Cmd { output, .. } = saved else {
                    return Err(OracleError::Nonsense("no rules".into()));
                };
                output
                    .unwrap_or_default()
                    .lines()
                    .map(str::to_owned)
                    .collect()
            }
            Replaced::Engine => RULES.map(str::to_owned).to_vec(),
        };
        let rules = rules.into_iter().map(|rule| format!("ipvsadm {rule}"));
        if self.replaced == Replaced::Engine {
            Action::Fresh.perform(self.oracle)?;
        }
        for line in [FTP.to_owned()].into_iter().chain(rules).chain([backup]) {
            self.new_one(&line)?;
        }
        Ok(())
    }

    /// A command to whoever takes over.
    fn new_one(&mut self, line: &str) -> Result<(), OracleError> {
        let refused = match self.replaced {
            Replaced::Oracle => self.player.command(line).err(),
            Replaced::Engine => match Action::Command(line.to_owned()).perform(self.oracle)? {
                Op::Cmd { rc: Some(0), .. } => None,
                other => Some(format!("{other:?}")),
            },
        };
        refused.map_or(Ok(()), |why| {
            Err(OracleError::Nonsense(format!("{line}: {why}")))
        })
    }

    /// What the old one says of its connections reaches the new one, from another director's address: nobody listens to their own.
    fn over(&mut self) -> Result<(), OracleError> {
        let sent: Vec<(String, Vec<u8>)> = match self.replaced {
            Replaced::Oracle => {
                let query = json!({"op": "sleep", "seconds": TOLD_S});
                let said = self.oracle.ask(&query)?;
                let out = serde_json::from_value::<Vec<OutFrame>>(said["out"].clone());
                out.unwrap_or_default().into_iter().map(named).collect()
            }
            Replaced::Engine => {
                std::thread::sleep(std::time::Duration::from_secs_f64(TOLD_S));
                self.pass().into_iter().map(on_side).collect()
            }
        };
        self.keep(&sent);
        for message in std::mem::take(&mut self.said) {
            self.found.messages += 1;
            let route = Route {
                mac: MacAddr([2, 0, 0, 0, 0, 0x77]),
                vlan: None,
                to_mac: group_mac(GROUP.into()),
                source: SocketAddr::new(Ipv4Addr::new(10, 0, 0, 77).into(), PORT),
                destination: SocketAddr::new(GROUP.into(), PORT),
                ttl: 1,
            };
            let bytes = frame(&route, 0, &message);
            match self.replaced {
                Replaced::Oracle => {
                    self.pass();
                    self.player
                        .receive("cl", &bytes)
                        .map_err(OracleError::Nonsense)?;
                }
                Replaced::Engine => {
                    let query = json!({"op": "tx", "if": "cl", "frame": hex(&bytes)});
                    self.oracle.ask(&query)?;
                }
            }
        }
        // IPVS's daemon reads in its own time.
        if self.replaced == Replaced::Engine {
            Action::Sleep(1.0).perform(self.oracle)?;
        }
        Ok(())
    }

    /// The new one has every connection of the old one, with its server and state.
    fn compare_connections(&mut self) -> Result<(), OracleError> {
        let Op::Conns { rows } = Action::Connections.perform(self.oracle)? else {
            return Err(OracleError::Nonsense("no connections".into()));
        };
        self.pass();
        let engines = self.player.connections();
        // Data connections that are only expected are not told.
        let is_told = |row: &ConnectionRow| row.state != "LISTEN";
        let rows: Vec<_> = rows.into_iter().filter(is_told).collect();
        let engines: Vec<_> = engines.into_iter().filter(is_told).collect();
        let (old, new) = match self.replaced {
            Replaced::Oracle => (rows, engines),
            Replaced::Engine => (engines, rows),
        };
        let same = |a: &ConnectionRow, b: &ConnectionRow| {
            let of = |r: &ConnectionRow| {
                (
                    r.proto.clone(),
                    r.client.clone(),
                    r.virtual_address.clone(),
                    r.dest.clone(),
                    r.state.clone(),
                )
            };
            of(a) == of(b)
        };
        for row in &old {
            match new.iter().any(|other| same(row, other)) {
                true => self.found.connections += 1,
                false => self.wrong(format!("the new one has not {row:?}")),
            }
        }
        for row in new.iter().filter(|row| !old.iter().any(|o| same(o, row))) {
            self.wrong(format!("only the new one has {row:?}"));
        }
        Ok(())
    }

    /// Both get the packets that follow, to the end of each connection, and one of a new connection of a client that belongs to a server.
    fn go_on(&mut self, calls: &mut [Call]) -> Result<(), OracleError> {
        let rest: [(bool, u8, &[u8]); 6] = [
            (false, tcp::ACK | tcp::PSH, b"the next question"),
            (true, tcp::ACK | tcp::PSH, b"the next answer"),
            (true, tcp::ACK | tcp::FIN, b""),
            (false, tcp::ACK, b""),
            (false, tcp::ACK | tcp::FIN, b""),
            (true, tcp::ACK, b""),
        ];
        for call in calls.iter_mut() {
            for (back, flags, data) in rest {
                if call.udp && data.is_empty() {
                    continue;
                }
                if let Some((side, packet)) = call.packet(back, flags, data) {
                    self.both(side, &packet, call.moved > 0)?;
                }
            }
            if call.service.port() == 443 {
                let mut again = Call {
                    client: SocketAddr::new(call.client.ip(), 7000),
                    sent: [0; 2],
                    moved: 0,
                    ..*call
                };
                if let Some((side, packet)) = again.packet(false, tcp::SYN, b"") {
                    self.both(side, &packet, false)?;
                }
            }
        }
        Ok(())
    }

    /// The next packet to both. `moved`: the new one moves its sequence numbers.
    fn both(
        &mut self,
        side: &'static str,
        packet: &Crafted,
        moved: bool,
    ) -> Result<(), OracleError> {
        let bytes = packet.frame(side, self.oracle.topology());
        let mut op = Action::Frame(side, bytes).perform(self.oracle)?;
        let Op::Tx { brief, out, .. } = &mut op else {
            return Err(OracleError::Nonsense("no frame".into()));
        };
        // Linux takes its time to leave the group its daemon was in.
        out.retain(|sent| !is_igmp(&unhex(&sent.frame)));
        if moved {
            // Linux 6.1 moves the numbers and leaves the checksum as it was (`tcp_snat_handler` looks at the payload alone), so nobody
            // takes such a packet: the numbers are compared.
            for sent in out.iter_mut() {
                sent.frame = hex(&with_right_checksum(unhex(&sent.frame)));
            }
        }
        let (brief, sent) = (brief.clone(), out.len());
        match self.engine(op) {
            _ if sent == 0 => self.wrong(format!("{side}> {brief}: IPVS sends nothing")),
            Looked::Different(oracle, engine) => {
                self.wrong(format!(
                    "{side}> {brief}\n    IPVS   {oracle}\n    Tarpon {engine}"
                ));
            }
            _ => self.found.packets += 1,
        }
        Ok(())
    }
}

/// Whether a frame is a report of groups.
/// A TCP segment over IPv4 without options.
fn with_right_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    const IP: usize = 14;
    const TCP: usize = IP + 20;
    const AT: std::ops::Range<usize> = TCP + 16..TCP + 18;
    let ends = frame.get(IP + 12..IP + 20).map(<[u8; 8]>::try_from);
    let length = frame.get(IP + 2..IP + 4).map(<[u8; 2]>::try_from);
    if let (Some(Ok([a, b, c, d, e, f, g, h])), Some(Ok(length))) = (ends, length) {
        let length = u16::from_be_bytes(length).saturating_sub(20);
        let (from, to) = ([a, b, c, d], [e, f, g, h]);
        if let Some(sum) = frame.get_mut(AT) {
            sum.fill(0);
        }
        let segment = frame.get(TCP..TCP + usize::from(length));
        let mut sum = Sum::pseudo4(
            u32::from_be_bytes(from),
            u32::from_be_bytes(to),
            wire::protocol::TCP,
            length,
        );
        sum.add(segment.unwrap_or_default());
        let sum = sum.finish();
        if let Some(slot) = frame.get_mut(AT) {
            slot.copy_from_slice(&sum.to_be_bytes());
        }
    }
    frame
}

fn is_igmp(frame: &[u8]) -> bool {
    const IGMP: u8 = 2;
    frame.get(12..14) == Some(&ethernet::IPV4.to_be_bytes()) && frame.get(23) == Some(&IGMP)
}

/// What the oracle sent, by the side it came out on.
fn named(out: OutFrame) -> (String, Vec<u8>) {
    let bytes = unhex(&out.frame);
    (out.interface, bytes)
}

/// The same of the engine.
fn on_side(sent: crate::Sent) -> (String, Vec<u8>) {
    let side = if sent.port.index() == 0 { "cl" } else { "rs" };
    (side.to_owned(), sent.bytes)
}

/// What the engine is told, where the oracle is not asked.
fn told(action: &Action) -> Op {
    match action {
        Action::Command(cmd) => Op::Cmd {
            cmd: cmd.clone(),
            rc: Some(0),
            output: None,
        },
        Action::Setting(name, value) => Op::Sysctl {
            key: format!("net/ipv4/vs/{name}"),
            value: value.clone(),
        },
        _ => Op::Fresh {
            sysctls: Default::default(),
        },
    }
}
