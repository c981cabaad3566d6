//! Random commands and frames: a director with a few services, and what clients, servers, routers and its administrator do.
//!
//! Not made here, since it differs on purpose (`tests/golden/exceptions.json` has the reasons): one client endpoint that
//! uses two VIPs, an edit of a server's forwarding method, options the kernel writes into, extension headers of IPv6, a packet
//! that ends within its TCP or UDP header (malformed here; Linux passes it on).

use super::{
    Action,
    craft::{self, Crafted},
    flow::Flow,
    setup::Setup,
};
use crate::{
    golden::{Op, Topology},
    mutation::Dice,
};
use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
};
use wire::protocol;

/// Frames of one scenario: short ones see more services, long ones more connections at once.
const FRAMES: [usize; 4] = [200, 800, 1600, 2400];

/// Frames of a batch at most.
const BATCH: usize = 32;

/// An action, and the flow whose packet it is.
type Sent = (Action, Option<usize>);

/// A course of random actions, made as it goes: answers depend on what became of the packets before.
pub struct Scenario {
    dice: Dice,
    topology: Topology,
    setup: Setup,
    setting_up: Vec<Action>,
    waiting: VecDeque<Sent>,
    flows: Vec<Flow>,
    clients: u16,
    /// Packets sent in fragments.
    cuts: u16,
    frames: usize,
    most: usize,
    /// Whose packets the frames of the last batch were.
    senders: Vec<Option<usize>>,
    /// Flows whose first packet is in this batch: what they do next depends on what becomes of it.
    unanswered: BTreeSet<usize>,
    ended: bool,
}

impl Scenario {
    /// The scenario of that seed.
    #[must_use]
    pub fn new(seed: u64, topology: Topology) -> Self {
        let mut dice = Dice::new(seed);
        // The first throws of neighbouring seeds are alike.
        for _ in 0..8 {
            dice.byte();
        }
        let most = FRAMES[dice.below(FRAMES.len())];
        let mut setting_up = Vec::new();
        let setup = Setup::new(&mut dice, most == FRAMES[0], &mut setting_up);
        Self {
            dice,
            topology,
            setup,
            setting_up,
            waiting: VecDeque::new(),
            flows: Vec::new(),
            clients: 0,
            cuts: 0,
            frames: 0,
            most,
            senders: Vec::new(),
            unanswered: BTreeSet::new(),
            ended: false,
        }
    }

    /// What is configured before the first frame.
    #[must_use]
    pub fn setting_up(&self) -> &[Action] {
        &self.setting_up
    }

    /// What comes next: some frames, none of which depends on what becomes of another, or one action of another kind. Nothing: it is over.
    pub fn batch(&mut self) -> Vec<Action> {
        let mut batch = Vec::new();
        self.senders.clear();
        self.unanswered.clear();
        while batch.len() < BATCH {
            if self.waiting.is_empty() && !self.ended {
                if self.frames >= self.most {
                    self.ended = true;
                    self.waiting.extend(
                        [
                            Action::Connections,
                            Action::Counts,
                            Action::List(""),
                            Action::List("--persistent-conn"),
                        ]
                        .map(|look| (look, None)),
                    );
                } else if !self.event() {
                    if batch.is_empty() {
                        self.unanswered.clear();
                        continue;
                    }
                    break;
                }
                continue;
            }
            let frame = matches!(self.waiting.front(), Some((Action::Frame(..), _)));
            if !frame && !batch.is_empty() {
                break;
            }
            let Some((action, sender)) = self.waiting.pop_front() else {
                break;
            };
            batch.push(action);
            self.senders.push(sender);
            if !frame {
                break;
            }
        }
        batch
    }

    /// Takes notice of what the oracle did in the last batch.
    pub fn observe(&mut self, ops: &[Op]) {
        for (sender, op) in self.senders.iter().zip(ops) {
            let flow = sender.and_then(|at| self.flows.get_mut(at));
            if let (Some(flow), Op::Tx { out, .. }) = (flow, op) {
                flow.observe(out);
            }
        }
    }

    /// Lets it end with a last look at everything.
    pub const fn finish(&mut self) {
        self.most = 0;
    }

    /// Lets something happen, or nothing; `false`: it must be known first what became of the packets before.
    fn event(&mut self) -> bool {
        let happens = match self.dice.below(1000) {
            0..580 if !self.flows.is_empty() => {
                let at = self.dice.below(self.flows.len());
                // The latest are the liveliest.
                let at = at.max(self.dice.below(self.flows.len()));
                if self.unanswered.contains(&at) {
                    return false;
                }
                self.packet_of(at);
                None
            }
            0..830 => {
                if let Some(flow) = self.new_flow() {
                    self.flows.push(flow);
                    self.unanswered.insert(self.flows.len() - 1);
                    self.packet_of(self.flows.len() - 1);
                }
                None
            }
            830..890 => self.icmp_error(),
            890..930 => self.stray(),
            930..950 => self.echo(),
            950..958 => {
                let mut edits = Vec::new();
                self.setup.edit(&mut self.dice, &mut edits);
                self.waiting.extend(edits.into_iter().map(|e| (e, None)));
                None
            }
            958..966 => Some(self.setup.setting(&mut self.dice)),
            966..968 => {
                let pause = [0.02, 0.05, 0.1, 0.4][self.dice.below(4)];
                Some(Action::Sleep(pause))
            }
            968..995 => Some(Action::Counts),
            _ => Some(Action::Connections),
        };
        self.waiting.extend(happens.map(|action| (action, None)));
        true
    }

    fn new_flow(&mut self) -> Option<Flow> {
        let (protocol, vip) = self.setup.target(&mut self.dice);
        self.clients = self.clients.wrapping_add(1);
        let last = 1 + self.dice.below(6);
        let ip = match vip {
            SocketAddr::V4(_) => format!("172.16.{}.{last}", self.dice.below(3)),
            SocketAddr::V6(_) => format!("2001:db8:{:x}::{last:x}", self.dice.below(3)),
        };
        let client = SocketAddr::new(ip.parse().ok()?, 2000 + self.clients);
        Some(Flow::new(protocol, client, vip))
    }

    fn packet_of(&mut self, at: usize) {
        let Some(flow) = self.flows.get_mut(at) else {
            return;
        };
        let Some((side, mut packet)) = flow.next(&mut self.dice) else {
            return;
        };
        spoil(&mut self.dice, &mut packet);
        let can_be_cut = packet.source.is_ipv4()
            && packet.fragment == 0
            && packet.options.is_empty()
            && packet.payload.len() > 48;
        if can_be_cut && self.dice.one_in(3) {
            self.cut(at, side, packet);
            return;
        }
        let action = self.sent(side, &packet);
        self.waiting.push_back((action, Some(at)));
    }

    /// Sends the packet of that flow in two or three fragments, in any order, sometimes one of them twice or never.
    fn cut(&mut self, at: usize, side: &'static str, mut packet: Crafted) {
        self.cuts = self.cuts.wrapping_add(1);
        packet.id = 0x4000 + self.cuts;
        // A TCP header is never cut: see the exceptions.
        let eighths = (packet.payload.len() - 1) / 8;
        let first = 3 + self.dice.below(eighths - 3);
        let mut cuts = vec![8 * first];
        if first < eighths && self.dice.one_in(3) {
            cuts.push(8 * (first + 1 + self.dice.below(eighths - first)));
        }
        cuts.retain(|at| *at < packet.payload.len());
        let mut pieces = packet.fragments(&cuts);
        if self.dice.one_in(3) {
            pieces.reverse();
        }
        match self.dice.below(12) {
            0 => pieces.truncate(1),
            1 => pieces.insert(0, pieces[0].clone()),
            _ => {}
        }
        for piece in pieces {
            let action = self.sent(side, &piece);
            self.waiting.push_back((action, Some(at)));
        }
    }

    fn sent(&mut self, side: &'static str, packet: &Crafted) -> Action {
        self.frames += 1;
        Action::Frame(side, packet.frame(side, &self.topology))
    }

    /// An error about a packet that went one way or the other.
    fn icmp_error(&mut self) -> Option<Action> {
        let at = self.dice.below(self.flows.len());
        let flow = self.flows.get(at)?;
        let v4 = flow.client.is_ipv4();
        // From the servers' side about what they got; from the clients' about what they got.
        let (side, about) = if self.dice.one_in(2) {
            ("rs", flow.forwarded.clone()?)
        } else {
            ("cl", flow.returned.clone()?)
        };
        // What NAT servers say in ICMPv6 Linux drops: not copied.
        if !v4 && side == "rs" {
            return None;
        }
        let (_, from, to) = craft::ends(&about)?;
        // The receiver says so, or a router before it.
        let router = if v4 { "192.0.2.77" } else { "2001:db8:77::1" };
        let source = if self.dice.one_in(2) {
            to.ip()
        } else {
            router.parse().ok()?
        };
        let kinds: &[[u8; 2]] = if v4 {
            &[
                [3, 0],
                [3, 1],
                [3, 3],
                [3, 4],
                [11, 0],
                [4, 0],
                [5, 1],
                [12, 0],
            ]
        } else {
            &[[1, 0], [1, 4], [2, 0], [3, 0], [4, 0]]
        };
        let kind = kinds[self.dice.below(kinds.len())];
        let rest = match kind {
            [3, 4] | [2, 0] => 1400,
            _ => 0,
        };
        let most = about.len();
        let header = if v4 { 20 } else { 40 };
        let quoted = match self.dice.below(4) {
            0 => header + 8,
            1 => header + 4,
            _ => most,
        };
        let quote = about.get(..quoted.min(most))?;
        let packet = craft::icmp(source, from.ip(), kind, rest, quote);
        Some(self.sent(side, &packet))
    }

    /// A packet of no connection: to no service, past the director, from a server unasked.
    fn stray(&mut self) -> Option<Action> {
        let (_, vip) = self.setup.target(&mut self.dice);
        let v4 = vip.is_ipv4();
        let client = if v4 {
            "172.16.9.9:999"
        } else {
            "[2001:db8:9::9]:999"
        };
        let client: SocketAddr = client.parse().ok()?;
        let server = if v4 {
            "10.1.0.11:8080"
        } else {
            "[fd01::11]:8080"
        };
        let server: SocketAddr = server.parse().ok()?;
        let (side, from, to) = match self.dice.below(4) {
            0 => ("cl", client, SocketAddr::new(vip.ip(), 9)),
            1 => ("cl", client, server),
            2 => ("rs", server, client),
            _ => ("cl", client, vip),
        };
        let flags = [2, 0x10, 4, 0x11, 0x12][self.dice.below(5)];
        let segment = craft::Segment {
            flags,
            sequence: 7,
            ..craft::Segment::default()
        };
        let packet = if self.dice.one_in(3) {
            craft::udp(from, to, b"stray", true)
        } else {
            craft::tcp(from, to, &segment)
        };
        Some(self.sent(side, &packet))
    }

    fn echo(&mut self) -> Option<Action> {
        let (_, vip) = self.setup.target(&mut self.dice);
        let v4 = vip.is_ipv4();
        let client: IpAddr = if v4 { "172.16.9.9" } else { "2001:db8:9::9" }
            .parse()
            .ok()?;
        let kind = if v4 { [8, 0] } else { [128, 0] };
        let packet = craft::icmp(client, vip.ip(), kind, 0x0001_0001, b"are you there");
        Some(self.sent("cl", &packet))
    }
}

/// Fields other than usual: time to live, class, identification, fragments allowed, options, padding, checksums.
fn spoil(dice: &mut Dice, packet: &mut Crafted) {
    packet.id = u16::from(dice.byte()) << 8 | 1;
    if dice.one_in(8) {
        packet.ttl = [1, 2, 255, 0][dice.below(4)];
    }
    if dice.one_in(8) {
        packet.tos = dice.byte();
    }
    if dice.one_in(4) {
        packet.fragment = 0;
    }
    if dice.one_in(16) {
        packet.padding = 1 + dice.below(20);
    }
    if dice.one_in(30) && packet.source.is_ipv4() {
        packet.options = vec![1, 1, 1, 0];
    }
    if dice.one_in(40) {
        packet.wrong_header = packet.source.is_ipv4();
    }
    if dice.one_in(40) && packet.protocol == protocol::TCP {
        packet.payload[17] ^= 1;
    }
}
