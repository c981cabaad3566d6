//! A client's connection as both of its ends play it: mostly in order, with loss, repetition and nonsense.

use super::{
    action::unhex,
    craft::{self, Crafted, Segment},
};
use crate::{golden::OutFrame, mutation::Dice};
use std::net::SocketAddr;
use types::Protocol;
use wire::tcp::{ACK, FIN, RST, SYN};

const PSH: u8 = 8;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

/// A whole connection: who sends, which flags, with data or not.
const COURSE: [(End, u8, bool); 11] = [
    (End::Client, SYN, false),
    (End::Server, SYN | ACK, false),
    (End::Client, ACK, false),
    (End::Client, PSH | ACK, true),
    (End::Server, ACK, false),
    (End::Server, PSH | ACK, true),
    (End::Client, ACK, false),
    (End::Client, FIN | ACK, false),
    (End::Server, ACK, false),
    (End::Server, FIN | ACK, false),
    (End::Client, ACK, false),
];

/// Flags nobody expects.
const ODD: [u8; 10] = [
    SYN,
    SYN | ACK,
    ACK,
    FIN,
    FIN | ACK,
    RST,
    RST | ACK,
    0,
    SYN | FIN,
    SYN | RST,
];

/// An association: who sends which chunk.
const ASSOCIATION: [(End, u8); 9] = [
    (End::Client, INIT),
    (End::Server, INIT_ACK),
    (End::Client, 10),
    (End::Server, 11),
    (End::Client, 0),
    (End::Server, 3),
    (End::Client, 7),
    (End::Server, 8),
    (End::Client, 14),
];

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// Chunks there are, and one there is not.
const CHUNKS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 99];

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub protocol: Protocol,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    /// Where NAT took it: its server answers through the director.
    pub server: Option<SocketAddr>,
    /// The last IP packet that went to the servers' side.
    pub forwarded: Option<Vec<u8>>,
    /// The last that went back to the client.
    pub returned: Option<Vec<u8>>,
    at: usize,
    sequence: [u32; 2],
}

impl Flow {
    pub const fn new(protocol: Protocol, client: SocketAddr, vip: SocketAddr) -> Self {
        Self {
            protocol,
            client,
            vip,
            server: None,
            forwarded: None,
            returned: None,
            at: 0,
            sequence: [1000, 5000],
        }
    }

    /// The next packet, and the side it arrives on. `None`: that end's packets do not pass the director.
    pub fn next(&mut self, dice: &mut Dice) -> Option<(&'static str, Crafted)> {
        if self.protocol == Protocol::Sctp {
            return self.chunk(dice);
        }
        let (end, flags, data) = if dice.one_in(5) {
            let end = if dice.one_in(3) {
                End::Server
            } else {
                End::Client
            };
            (end, ODD[dice.below(ODD.len())], dice.one_in(4))
        } else {
            if dice.one_in(12) {
                self.at += 1; // Lost before it got here.
            }
            let now = COURSE[self.at % COURSE.len()];
            if !dice.one_in(10) {
                self.at += 1; // Otherwise it comes again.
            }
            now
        };
        let (side, from, to) = match end {
            End::Client => ("cl", self.client, self.vip),
            End::Server => ("rs", self.server?, self.client),
        };
        let data = if data {
            vec![b'x'; 1 + dice.below(200)]
        } else {
            Vec::new()
        };
        let packet = match self.protocol {
            Protocol::Tcp => self.segment(end, flags, data, from, to),
            _ => craft::udp(from, to, &data, !dice.one_in(6)),
        };
        Some((side, packet))
    }

    fn chunk(&mut self, dice: &mut Dice) -> Option<(&'static str, Crafted)> {
        let (end, kind) = if dice.one_in(5) {
            let end = [End::Client, End::Client, End::Server][dice.below(3)];
            (end, CHUNKS[dice.below(CHUNKS.len())])
        } else {
            let now = ASSOCIATION[self.at % ASSOCIATION.len()];
            if !dice.one_in(10) {
                self.at += 1;
            }
            now
        };
        let (side, from, to) = match end {
            End::Client => ("cl", self.client, self.vip),
            End::Server => ("rs", self.server?, self.client),
        };
        let body = match kind {
            INIT | INIT_ACK => 16,
            _ => 4 * dice.below(8),
        };
        let length = u8::try_from(4 + body).unwrap_or(4);
        let mut chunk = vec![kind, 0, 0, length];
        chunk.resize(4 + body, 0x11);
        // Something behind a cookie may tell more.
        if matches!(kind, 10 | 11) && dice.one_in(4) {
            chunk.extend([CHUNKS[dice.below(CHUNKS.len())], 0, 0, 4]);
        }
        Some((side, craft::sctp(from, to, 0x22, &chunk)))
    }

    fn segment(
        &mut self,
        end: End,
        flags: u8,
        data: Vec<u8>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Crafted {
        let [own, other] = match end {
            End::Client => [0, 1],
            End::Server => [1, 0],
        };
        let length = u32::try_from(data.len()).unwrap_or(0);
        let segment = Segment {
            flags,
            sequence: self.sequence[own],
            acknowledgement: if flags & ACK == 0 {
                0
            } else {
                self.sequence[other]
            },
            options: if flags & SYN == 0 {
                Vec::new()
            } else {
                vec![2, 4, 5, 0xb4]
            },
            data,
        };
        self.sequence[own] += length + u32::from(flags & (SYN | FIN) != 0);
        craft::tcp(from, to, &segment)
    }

    /// Takes notice of what became of one of its packets.
    pub fn observe(&mut self, out: &[OutFrame]) {
        for frame in out {
            let bytes = unhex(&frame.frame);
            let Some(packet) = bytes.get(14..) else {
                continue;
            };
            match craft::ends(packet) {
                Some((_, from, to)) if frame.interface == "rs" && from == self.client => {
                    self.forwarded = Some(packet.to_vec());
                    // Unchanged by direct routing: then answers go another way.
                    self.server = (to != self.vip).then_some(to);
                }
                Some((_, _, to)) if frame.interface == "cl" && to == self.client => {
                    self.returned = Some(packet.to_vec());
                }
                _ => {}
            }
        }
    }
}
