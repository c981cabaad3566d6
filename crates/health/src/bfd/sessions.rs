//! All BFD sessions of a director: which packet is for which, what is due when, and what each finds of its neighbour.
//!
//! One session a neighbour, however many checks ask for it.

use super::{
    packet::{Diagnostic, MULTIHOP_PORT, Mistake, Packet, SINGLE_HOP_PORT, State},
    session::{Session, Settings},
};
use crate::random::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

/// Whom a session is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// It may be behind routers (RFC 5883).
    pub multihop: bool,
}

impl Peer {
    /// Where its packets go.
    #[must_use]
    pub const fn port(self) -> u16 {
        if self.multihop {
            MULTIHOP_PORT
        } else {
            SINGLE_HOP_PORT
        }
    }
}

/// What a session is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its intervals.
    pub settings: Settings,
    /// The director's address in it; absent: as its routes say.
    pub bind: Option<IpAddr>,
    /// Routers that its packets may have passed; 255: any number.
    pub max_hops: u8,
    /// How long it may take to come up for the first time.
    pub patience: Duration,
}

/// A datagram that came to one of BFD's ports.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Who sent it.
    pub from: IpAddr,
    /// To [`MULTIHOP_PORT`].
    pub multihop: bool,
    /// What was left of its time to live, or hop limit.
    pub ttl: u8,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What a session finds of its neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Both hear each other.
    Up,
    /// It has not come up yet, and may take longer.
    Waiting,
    /// The neighbour's operator holds the session down, which says nothing about the neighbour (RFC 5882 section 3.2).
    Held,
    /// It is down, for this reason.
    Down(String),
    /// The director itself cannot have it, for this reason.
    Unable(String),
}

/// Why a packet of a neighbour did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Mistake(Mistake),
    /// With that time to live.
    Hops(u8),
}

struct Entry {
    session: Session,
    wanted: Wanted,
    /// Until then it may be down without a reason.
    patience: Option<Duration>,
    refused: Option<Refused>,
    /// What keeps the director from sending or hearing.
    hindrance: Option<String>,
    /// As it stands in the queue.
    due: Duration,
    told: Option<Finding>,
}

impl Entry {
    fn finding(&self) -> Finding {
        if self.session.state() == State::Up {
            Finding::Up
        } else if let Some(why) = &self.hindrance {
            Finding::Unable(why.clone())
        } else if self.session.neighbours_state() == State::AdminDown {
            Finding::Held
        } else if self.patience.is_some() {
            Finding::Waiting
        } else {
            Finding::Down(self.why())
        }
    }

    fn why(&self) -> String {
        let session = &self.session;
        let mut why = match (session.state(), session.is_heard()) {
            (_, false) => match session.silence() {
                Some(time) => format!("nothing heard for {} s", time.as_secs_f64()),
                None => "nothing heard from the neighbour".to_owned(),
            },
            (State::Init, true) => "the neighbour does not hear us".to_owned(),
            (_, true) => match session.neighbours_diagnostic() {
                Diagnostic::Expired => "the neighbour has not heard us".to_owned(),
                _ => "the neighbour says that it is down".to_owned(),
            },
        };
        match self.refused {
            Some(Refused::Mistake(mistake)) => {
                why += &format!(", a packet of its was refused: {mistake}");
            }
            Some(Refused::Hops(ttl)) => {
                why += &format!(
                    ", a packet of its was refused: its time to live was {ttl}, so it has passed more routers than it may"
                );
            }
            None => {}
        }
        why
    }

    fn next(&self) -> Duration {
        let due = self.session.due();
        self.patience.map_or(due, |until| due.min(until))
    }
}

/// A packet, and to whom it is to be sent.
pub type Sent = (Peer, Packet);

/// All sessions.
pub struct Sessions {
    entries: BTreeMap<Peer, Entry>,
    queue: BTreeSet<(Duration, Peer)>,
    /// Whose finding may be another.
    touched: BTreeSet<Peer>,
    /// Our number of the session that was made last.
    number: u32,
    random: Random,
}

impl Sessions {
    /// None yet. Sessions' numbers come from `seed`: another at each start, so that neighbours see that it is one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let [a, b, c, d, ..] = random.draw().to_be_bytes();
        Self {
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            touched: BTreeSet::new(),
            number: u32::from_be_bytes([a, b, c, d]),
            random,
        }
    }

    /// Makes these the sessions; those that stay go on. The last packets of those that do not.
    pub fn follow(&mut self, now: Duration, wanted: &BTreeMap<Peer, Wanted>) -> Vec<Sent> {
        let mut last = Vec::new();
        let mut before = std::mem::take(&mut self.entries);
        for (peer, wanted) in wanted {
            let mut entry = match before.remove(peer) {
                Some(entry) if entry.wanted.bind == wanted.bind => entry,
                _ => self.new_entry(now, *wanted),
            };
            entry.session.set(now, wanted.settings);
            entry.wanted = *wanted;
            entry.told = None;
            entry.due = entry.next();
            self.entries.insert(*peer, entry);
        }
        for (peer, mut entry) in before {
            entry.session.stop(now);
            last.extend(entry.session.poll(now, 0).map(|packet| (peer, packet)));
        }
        let entries = &self.entries;
        self.queue = entries.iter().map(|(p, e)| (e.due, *p)).collect();
        self.touched = entries.keys().copied().collect();
        last
    }

    fn new_entry(&mut self, now: Duration, wanted: Wanted) -> Entry {
        self.number = self.number.wrapping_add(1).max(1);
        Entry {
            session: Session::new(wanted.settings, self.number, now),
            wanted,
            patience: Some(now + wanted.patience),
            refused: None,
            hindrance: None,
            due: now,
            told: None,
        }
    }

    /// Takes a datagram; the answer, if it wants one at once. What is for no session is dropped.
    pub fn receive(&mut self, now: Duration, heard: &Heard<'_>) -> Option<Sent> {
        let peer = Peer {
            address: heard.from,
            multihop: heard.multihop,
        };
        let entry = self.entries.get_mut(&peer)?;
        let hops = u8::MAX - heard.ttl;
        let read = match Packet::parse(heard.payload) {
            // Whatever is in it: who is further away cannot send what has not passed a router (RFC 5881 section 5).
            _ if hops > entry.wanted.max_hops => Err(Refused::Hops(heard.ttl)),
            read => read.map_err(Refused::Mistake),
        };
        entry.refused = read.err();
        let answer = entry.session.receive(now, &read.ok()?);
        self.touch(peer);
        answer.map(|packet| (peer, packet))
    }

    /// What is to be sent by now is put into `out`.
    pub fn poll(&mut self, now: Duration, out: &mut Vec<Sent>) {
        while let Some((due, peer)) = self.queue.first().copied()
            && due <= now
        {
            let [chance, ..] = self.random.draw().to_be_bytes();
            if let Some(entry) = self.entries.get_mut(&peer) {
                if entry.patience.is_some_and(|until| until <= now) {
                    entry.patience = None;
                }
                out.extend(entry.session.poll(now, chance).map(|packet| (peer, packet)));
            }
            self.touch(peer);
        }
    }

    /// What keeps the director from sending to a neighbour, or hearing it; `None`: nothing does, and if something did before,
    /// the session has its time to come up from now on.
    pub fn hinder(&mut self, now: Duration, peer: Peer, why: Option<String>) {
        if let Some(entry) = self.entries.get_mut(&peer)
            && entry.hindrance != why
        {
            if why.is_none() {
                entry.patience = Some(now + entry.wanted.patience);
            }
            entry.hindrance = why;
            self.touch(peer);
        }
    }

    /// When [`Self::poll`] is to be called next.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Findings that are others than before, or that [`Self::follow`] wants told anew.
    pub fn news(&mut self) -> Vec<(Peer, Finding)> {
        let mut news = Vec::new();
        for peer in std::mem::take(&mut self.touched) {
            if let Some(entry) = self.entries.get_mut(&peer) {
                let finding = entry.finding();
                if entry.told.as_ref() != Some(&finding) {
                    entry.told = Some(finding.clone());
                    news.push((peer, finding));
                }
            }
        }
        news
    }

    fn touch(&mut self, peer: Peer) {
        self.touched.insert(peer);
        if let Some(entry) = self.entries.get_mut(&peer) {
            if entry.session.state() == State::Up {
                entry.patience = None;
            }
            let due = entry.next();
            self.queue.remove(&(entry.due, peer));
            entry.due = due;
            self.queue.insert((due, peer));
        }
    }
}
