//! What becomes of one packet, and why: the facts the engine decides by, read before it decides, and then its decision.
//!
//! Nothing is decided here. A packet is explained by taking it through [`Worker::step`], be it a live one or one that is only
//! supposed; a supposed one goes through a worker of a copy of the director ([`Director::explain`]), which changes nothing. This
//! allocates, so it is for few packets at a time.
//!
//! [`Director::explain`]: crate::Director::explain

mod copy;
mod facts;

use crate::{
    ConnectionCounts, ConnectionView, DropReason, FragmentFacts, Output, Worker, local::Local,
    model::ServiceKey,
};
use arrayvec::ArrayVec;
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod, InterfaceId, MacAddr, Mark, PortId, ServerId, Tick, Weight};
use wire::Frame;

/// What is kept of a frame that was sent: all headers there can be, and something of what is behind them.
const KEPT: usize = 256;

/// A packet's facts and its fate.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// What was known before; `None`: not an IP packet, or one whose header is refused.
    pub facts: Option<Facts>,
    /// What became of it.
    pub fate: Fate,
}

/// What the engine decides by.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The interface it came in on.
    pub interface: InterfaceId,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// Source; port 0 if the protocol has none.
    pub source: SocketAddr,
    /// Destination likewise.
    pub destination: SocketAddr,
    /// Numbers of the mark rules that have a say, from 0, in order.
    pub rules: Vec<u32>,
    /// The mark they give; 0 is none.
    pub mark: Mark,
    /// Whether marks count on this packet (`compat`: only on those for the director itself).
    pub mark_counts: bool,
    /// The service that would have a new connection of this kind, and by what.
    pub service: Option<(ServiceKey, Caught)>,
    /// What is held of the packet it is a fragment of, if it is one.
    pub fragments: Option<FragmentFacts>,
    /// The connection the packet is of, or about.
    pub connection: Option<(ConnectionView, Sender)>,
    /// The persistence template of connection or client.
    pub template: Option<ConnectionView>,
    /// The service's servers as its scheduler walks them, newest first; without a service that of the connection.
    pub servers: Vec<ServerFacts>,
}

/// By what a service catches a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// By its firewall mark.
    Mark,
    /// By protocol, address and port.
    Exact,
    /// Persistent FTP: a data connection to any port.
    Ftp,
    /// By protocol and address; the service has every port (port 0).
    EveryPort,
}

/// Who sent a packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client, or somebody about what went to the client.
    Client,
    /// The server, or somebody about what went to the server.
    Server,
}

/// A server as the scheduler meets it.
#[derive(Clone, Copy, Debug)]
pub struct ServerFacts {
    /// Its slot.
    pub id: ServerId,
    /// Its address; port 0 is the port the client asked for.
    pub address: SocketAddr,
    /// How packets get there.
    pub method: ForwardingMethod,
    /// Its weight in force.
    pub weight: Weight,
    /// Its connections.
    pub counts: ConnectionCounts,
    /// What lc and wlc compare: 256 active connections, and the inactive ones.
    pub overhead: u64,
    /// No new connections at this many; 0 is off.
    pub upper_threshold: u32,
    /// New ones again below this many; 0 is three quarters of the upper.
    pub lower_threshold: u32,
    /// The upper threshold was reached and the lower not yet passed again.
    pub overloaded: bool,
    /// Removed, and only remembered for its connections.
    pub removed: bool,
    /// The director itself has this address.
    pub local: bool,
    /// The interface towards it; `None`: there is no route.
    pub interface: Option<InterfaceId>,
    /// The next hop on that interface.
    pub next_hop: Option<IpAddr>,
    /// The next hop's MAC, if it is known.
    pub mac: Option<MacAddr>,
}

/// What became of a packet.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// The server a new connection was given.
    pub chosen: Option<ServerId>,
    /// What was sent: the packet, or an answer to it.
    pub sent: Vec<SentFrame>,
    /// It went to the host's stack.
    pub punted: bool,
    /// Why it, or its fragments, ended here; an answer counts as a reason too.
    pub dropped: Vec<DropReason>,
    /// It waits, for its next hop's MAC or for other fragments; of those that wait, the oldest may have to go for it, which
    /// `dropped` says then.
    pub held: bool,
    /// `icmp_rate` kept back an answer to it, or an error about it.
    pub unanswered: bool,
}

/// A frame that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// The port.
    pub port: PortId,
    /// Bytes of all of it.
    pub len: u32,
    /// The first of them.
    pub bytes: Vec<u8>,
}

impl<F: Frame> Worker<F> {
    /// [`Worker::step`] of one frame, received on `port`, with what decides about it.
    #[cold]
    pub fn step_explained(
        &mut self,
        now: Tick,
        port: PortId,
        frame: F,
        out: &mut impl Output<F>,
    ) -> Explanation {
        let mut burst = ArrayVec::new();
        // What was held back before is none of this packet's doing.
        self.step(now, port, &mut burst, out);
        let facts = self.facts(now, port, &frame);
        let counters = self.counters();
        let drops = DropReason::ALL
            .iter()
            .map(|&reason| counters.dropped(reason));
        let drops: Vec<u64> = drops.collect();
        let (held, limited) = (counters.held.get(), counters.rate_limited.get());
        let entered = |local: &Local<F>| local.waiting.entered() + local.fragments_held;
        let entered_before = entered(self.local());
        let servers = facts.iter().flat_map(|facts| &facts.servers);
        let made = |id: ServerId| self.connections_of(id);
        let before: Vec<(ServerId, u64)> = servers.map(|s| (s.id, made(s.id))).collect();
        let mut witness = Witness {
            out,
            sent: Vec::new(),
            punted: false,
        };
        burst.push(frame);
        self.step(now, port, &mut burst, &mut witness);
        let (sent, punted) = (witness.sent, witness.punted);
        let counters = self.counters();
        let reasons = DropReason::ALL.iter().zip(drops);
        let dropped = reasons.filter(|(reason, before)| counters.dropped(**reason) > *before);
        let chosen = before.iter().find(|(id, n)| self.connections_of(*id) > *n);
        Explanation {
            fate: Fate {
                chosen: chosen.map(|(id, _)| *id),
                sent,
                punted,
                dropped: dropped.map(|(reason, _)| *reason).collect(),
                // One that waits in another's place makes no more of them.
                held: counters.held.get() > held || entered(self.local()) > entered_before,
                unanswered: counters.rate_limited.get() > limited,
            },
            facts,
        }
    }
}

/// Passes everything on, and remembers it.
struct Witness<'o, O> {
    out: &'o mut O,
    sent: Vec<SentFrame>,
    punted: bool,
}

impl<F: Frame, O: Output<F>> Output<F> for Witness<'_, O> {
    fn alloc(&mut self) -> Option<F> {
        self.out.alloc()
    }

    fn transmit(&mut self, port: PortId, frame: F) {
        let mut bytes = Vec::with_capacity(KEPT);
        frame.segments(&mut |segment| {
            let room = KEPT - bytes.len();
            bytes.extend_from_slice(segment.get(..room).unwrap_or(segment));
        });
        self.sent.push(SentFrame {
            port,
            len: u32::try_from(frame.total_len()).unwrap_or(u32::MAX),
            bytes,
        });
        self.out.transmit(port, frame);
    }

    fn punt(&mut self, port: PortId, frame: F) {
        self.punted = true;
        self.out.punt(port, frame);
    }

    fn advertisement(&mut self, port: PortId, frame: F) {
        self.punted = true;
        self.out.advertisement(port, frame);
    }
}
