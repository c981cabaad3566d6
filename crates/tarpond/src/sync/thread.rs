//! The thread itself: what was heard, what is to be told, and what two Tarpons say to each other beside.

use super::{Desk, Plan, QUEUE, Tools};
use crate::takeover::{ALWAYS, Urgent};
use config::SyncRole;
use connsync::{
    Connection, Heard, Message, Note, Report, Route, Teller, Version, Whole, datagram, frame,
    group_mac,
};
use engine::Taken;
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};
use types::Tick;
use wire::Frame as _;

/// Milliseconds between two reports, and between two while everything is asked for.
const REPORT_MS: u64 = 1000;
const ASK_MS: u64 = 200;
/// A Tarpon not heard of for so long is gone.
const GONE_MS: u64 = 5000;
/// Tarpons known at once: anybody may send messages that say they come from yet another.
const PEERS: usize = 64;
/// Before everything is told once more because notes of it were lost.
const RETELL_MS: u64 = 10_000;
/// Slots of the table looked at, and notes, in a round.
const SLOTS: u32 = 4096;
const NOTES: usize = 4096;
/// For so long a new master hears the old one, whose last words may have waited for more.
const AFTERWARDS_MS: u64 = 100;
/// And any master another that says it tells, too: one of them is not heard by everybody, and either may remain.
const BESIDE_MS: u64 = 3 * REPORT_MS;
/// Messages of all being told that may wait to be sent: the rest waits where it is.
const AHEAD: usize = 64;
/// How long the thread sleeps at most: while it tells, and else.
const NAP: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// Another Tarpon.
struct Peer {
    from: IpAddr,
    heard: Heard,
    report: Report,
    at_ms: u64,
}

/// All being told.
struct Telling {
    position: u64,
    asked: u64,
    connections: u64,
}

pub(super) struct Thread {
    plan: Option<Plan>,
    tools: Tools,
    desk: Arc<Desk>,
    teller: Teller,
    is_master: bool,
    /// Until when it hears, as a master, what the one before still has to tell; `None` once that is over.
    hears_until_ms: Option<u64>,
    /// Whether everything has been told to this one.
    whole: Whole,
    /// Notes that were lost, as of the last time everything was told for it, and when that was.
    retold: (u64, u64),
    all: Option<Telling>,
    waiting: VecDeque<Vec<u8>>,
    peers: BTreeMap<u64, Peer>,
    next_report_ms: u64,
    /// Connections it has, and active ones: looked at with every report.
    own: (u64, u64),
    counters: BTreeMap<&'static str, u64>,
    identification: u16,
}

impl Thread {
    pub fn new(plan: Option<Plan>, tools: Tools, desk: Arc<Desk>) -> Self {
        let now = tools.clock.now().0;
        let mut thread = Self {
            teller: teller(None, tools.sender, now),
            plan: None,
            tools,
            desk,
            is_master: false,
            hears_until_ms: None,
            whole: Whole::new(now),
            retold: (0, now),
            all: None,
            waiting: VecDeque::new(),
            peers: BTreeMap::new(),
            next_report_ms: now,
            own: (0, 0),
            counters: BTreeMap::new(),
            identification: 0,
        };
        thread.follow(plan, now);
        thread
    }

    pub fn run(mut self) {
        while !self.desk.stop.load(Ordering::Relaxed) {
            let wanted = self.desk.plan.lock();
            let wanted = wanted.unwrap_or_else(PoisonError::into_inner).take();
            let now = self.tools.clock.now();
            if let Some(plan) = wanted
                && plan != self.plan
            {
                self.follow(plan, now.0);
            }
            self.judge_role(now);
            let busy = self.receive(now) | self.tell(now);
            self.report(now.0);
            self.send();
            if !busy {
                let nap = NAP[usize::from(!self.tells())];
                self.tools.mail.wait(nap, || true);
            }
        }
    }

    fn follow(&mut self, plan: Option<Plan>, now: u64) {
        self.teller = teller(plan.as_ref(), self.tools.sender, now);
        self.plan = plan;
        self.next_report_ms = now;
        self.whole = Whole::new(now);
        self.all = None;
        self.waiting.clear();
        self.judge_ready(now);
    }

    fn role(&self) -> Option<SyncRole> {
        self.plan.as_ref().map(|plan| plan.role)
    }

    fn tells(&self) -> bool {
        self.role()
            .is_some_and(|role| role.tells() && (role != SyncRole::Vrrp || self.is_master))
    }

    fn listens(&self) -> bool {
        self.role().is_some_and(|role| {
            role.listens()
                && (role != SyncRole::Vrrp || !self.is_master || self.hears_until_ms.is_some())
        })
    }

    fn judge_role(&mut self, now: Tick) {
        let units = self.plan.as_ref().map_or(0, |plan| plan.units);
        let is_master = (0..units).any(|unit| self.tools.roles.has(unit, now));
        if !self.is_master && is_master {
            self.hears_until_ms = Some(now.0 + AFTERWARDS_MS);
            // Who thinks that it is master, too, is to listen before it is told anything.
            self.next_report_ms = now.0;
        }
        self.hears_until_ms = self
            .hears_until_ms
            .filter(|until| is_master && now.0 < *until);
        if self.is_master && !is_master {
            self.tell_last(now);
            // What it has from now on is the other's.
            self.whole = Whole::new(now.0);
        }
        self.is_master = is_master;
        self.judge_ready(now.0);
    }

    /// Whether VRRP may take over from somebody who is well.
    fn judge_ready(&mut self, now: u64) {
        let told_by_somebody = self.peers.values().any(|peer| peer.report.tells);
        if self.listens() {
            self.whole.look(now, self.lost(), told_by_somebody);
        }
        let ready = self.whole.is_complete() || !self.listens();
        self.tools.ready.store(ready, Ordering::Relaxed);
    }

    /// Messages that were told and have not come.
    fn lost(&self) -> u64 {
        let each = self.peers.values().map(|peer| peer.heard.lost);
        each.fold(0, u64::saturating_add)
    }

    fn count(&mut self, what: &'static str, more: u64) {
        *self.counters.entry(what).or_default() += more;
    }

    fn receive(&mut self, now: Tick) -> bool {
        for _ in 0..QUEUE {
            let Some((port, mbuf)) = self.tools.mail.pop() else {
                return false;
            };
            let mut bytes = Vec::with_capacity(mbuf.total_len());
            mbuf.segments(&mut |segment| bytes.extend_from_slice(segment));
            drop(mbuf);
            let Some(plan) = &self.plan else { continue };
            let read = datagram(&bytes).and_then(|d| Ok((d, Message::parse(d.message)?)));
            let (datagram, message) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.count("wrong", 1);
                    if self.counters.get("wrong") == Some(&1) {
                        tracing::warn!("a synchronisation message that is none: {error}");
                    }
                    continue;
                }
            };
            let tag = datagram.vlan.filter(|id| *id != 0);
            let here = port == plan.port && tag == plan.vlan.map(types::VlanId::get);
            let from = datagram.source.ip();
            let known = plan.peers.is_empty() || plan.peers.contains(&from);
            let of_ours = plan.sync_id == 0 || plan.sync_id == message.sync_id;
            if !here || !known || !of_ours || from == plan.source {
                self.count("ignored", 1);
                continue;
            }
            self.hear(now, from, message);
        }
        true
    }

    fn hear(&mut self, now: Tick, from: IpAddr, message: Message) {
        if !message.connections.is_empty() {
            self.count("messages_received", 1);
            self.count("connections_received", message.connections.len() as u64);
            if message.version == Version::V0 {
                self.count("messages_of_version_0", 1);
            }
        }
        match message.note {
            Some(Note::Numbered { sender, number }) => {
                if let Some(peer) = self.peer(sender, from, now.0) {
                    peer.heard.hear(number);
                }
            }
            Some(Note::Report(report)) => {
                if let Some(peer) = self.peer(report.sender, from, now.0) {
                    peer.report = report;
                    if report.tells && report.about == report.sender {
                        peer.heard.hear_of(report.heard);
                    }
                }
                if report.tells && self.is_master && self.role() == Some(SyncRole::Vrrp) {
                    let until = now.0 + BESIDE_MS;
                    self.hears_until_ms = self.hears_until_ms.max(Some(until));
                }
                if report.asks && self.tells() && self.all.is_none() {
                    self.count("asked_for_everything", 1);
                    // Where what follows begins.
                    self.say_report(false);
                    self.all = Some(Telling {
                        position: 0,
                        asked: report.sender,
                        connections: 0,
                    });
                }
            }
            Some(Note::AllTold { sender, asked, .. }) => {
                self.peer(sender, from, now.0);
                if asked == self.tools.sender && self.listens() && !self.whole.is_complete() {
                    self.whole.hear_all(now.0, self.lost());
                    self.judge_ready(now.0);
                    if self.whole.is_complete() {
                        tracing::info!("{from} has told all its connections");
                    }
                }
            }
            None => {}
        }
        if self.listens() {
            for connection in &message.connections {
                let taken = self.tools.engine.take(now, connection);
                self.count(name(taken), 1);
            }
        }
    }

    /// Who has just been heard. `None`, and that is counted: one too many.
    fn peer(&mut self, sender: u64, from: IpAddr, now: u64) -> Option<&mut Peer> {
        self.peers
            .retain(|_, peer| now.saturating_sub(peer.at_ms) < GONE_MS);
        if self.peers.len() >= PEERS && !self.peers.contains_key(&sender) {
            self.count("too_many_peers", 1);
            return None;
        }
        let peer = self.peers.entry(sender).or_insert(Peer {
            from,
            heard: Heard::default(),
            report: Report::default(),
            at_ms: now,
        });
        peer.at_ms = now;
        Some(peer)
    }

    /// True: there is more.
    fn tell(&mut self, now: Tick) -> bool {
        let tells = self.tells();
        let mut told: Vec<Connection> = Vec::new();
        // Those noted while it does not tell are of no interest to anybody.
        let noted = self
            .tools
            .engine
            .noted(now, NOTES, &mut |c| told.push(c.clone()));
        if !tells {
            self.all = None;
            self.retold.0 = self.tools.engine.lost();
            return noted == NOTES;
        }
        self.teller.numbered = self.peers.values().any(|peer| peer.report.listens);
        self.put(now, &told);
        self.tell_again(now.0);
        let more = self.tell_all(now);
        if let Some(message) = self.teller.poll(now.0) {
            self.queue(message);
        }
        noted == NOTES || more
    }

    /// What has not been told yet when another takes over.
    fn tell_last(&mut self, now: Tick) {
        self.tell(now);
        if let Some(message) = self.teller.message() {
            self.queue(message);
        }
    }

    /// Where notes were lost nobody knows what they were of: everything is told again, to those who listen.
    fn tell_again(&mut self, now: u64) {
        let lost = self.tools.engine.lost();
        let (before, at) = self.retold;
        if lost != before && self.all.is_none() && self.teller.numbered && now >= at + RETELL_MS {
            self.retold = (lost, now);
            self.count("told_everything_again", 1);
            self.all = Some(Telling {
                position: 0,
                asked: 0,
                connections: 0,
            });
        }
    }

    fn tell_all(&mut self, now: Tick) -> bool {
        let Some(mut all) = self.all.take() else {
            return false;
        };
        if self.waiting.len() > AHEAD {
            self.all = Some(all);
            return false;
        }
        let mut told = Vec::new();
        let next = self
            .tools
            .engine
            .all(now, all.position, SLOTS, &mut |c| told.push(c.clone()));
        self.put(now, &told);
        all.connections += told.len() as u64;
        match next {
            Some(position) => {
                all.position = position;
                self.all = Some(all);
                true
            }
            None => {
                if let Some(message) = self.teller.message() {
                    self.queue(message);
                }
                self.say(Note::AllTold {
                    sender: self.tools.sender,
                    asked: all.asked,
                    connections: all.connections,
                });
                false
            }
        }
    }

    fn put(&mut self, now: Tick, told: &[Connection]) {
        for connection in told {
            if let Some(message) = self.teller.tell(now.0, connection) {
                self.queue(message);
            }
        }
    }

    fn queue(&mut self, message: Vec<u8>) {
        if self.waiting.len() < QUEUE {
            self.waiting.push_back(message);
        } else {
            self.count("messages_dropped", 1);
        }
    }

    fn say(&mut self, note: Note) {
        let Some(plan) = &self.plan else { return };
        let message = Message {
            version: Version::V1,
            sync_id: plan.sync_id,
            connections: Vec::new(),
            note: Some(note),
        };
        self.queue(message.write());
    }

    fn report(&mut self, now: u64) {
        if now < self.next_report_ms {
            return;
        }
        let asks = self.listens() && self.whole.asks(now);
        if asks {
            self.whole.ask(self.lost());
        }
        self.next_report_ms = now + if asks { ASK_MS } else { REPORT_MS };
        self.own = self.tools.engine.counts();
        self.say_report(asks);
        self.show(now);
    }

    /// How it stands. Who tells says of itself which message was its last.
    fn say_report(&mut self, asks: bool) {
        let (tells, listens) = (self.tells(), self.listens());
        let telling = self.peers.iter().filter(|(_, p)| p.report.tells);
        let about = telling.max_by_key(|(_, p)| p.at_ms);
        let (about, heard, lost) = match about {
            Some((id, peer)) if listens || !tells => (*id, peer.heard.last, peer.heard.lost),
            _ if tells => (self.tools.sender, self.teller.told().0, 0),
            _ => (0, 0, 0),
        };
        self.say(Note::Report(Report {
            sender: self.tools.sender,
            tells,
            listens,
            asks,
            connections: self.own.0,
            active: self.own.1,
            about,
            heard,
            lost,
        }));
    }

    fn send(&mut self) {
        let Some(plan) = self.plan.clone() else {
            return;
        };
        let mut budget = QUEUE / 4;
        while budget > 0
            && let Some(message) = self.waiting.pop_front()
        {
            budget -= 1;
            if plan.peers.is_empty() {
                let route = route(&plan, plan.group, group_mac(plan.group.ip()));
                self.emit(&plan, &route, &message);
            }
            for peer in &plan.peers {
                match self.tools.neighbours.mac(plan.id, *peer) {
                    Some(mac) => {
                        let to = SocketAddr::new(*peer, plan.group.port());
                        self.emit(&plan, &route(&plan, to, mac), &message);
                    }
                    None => self.count("unresolved", 1),
                }
            }
        }
        for ring in &self.tools.outgoing {
            ring.wake();
        }
    }

    fn emit(&mut self, plan: &Plan, route: &Route, message: &[u8]) {
        self.identification = self.identification.wrapping_add(1);
        let bytes = frame(route, self.identification, message);
        let (rings, pool) = (&self.tools.outgoing, &self.tools.pool);
        let sent = Urgent::send(rings, pool, plan.port, &bytes, ALWAYS);
        self.count(
            if sent {
                "datagrams_sent"
            } else {
                "messages_dropped"
            },
            1,
        );
    }

    fn show(&self, now: u64) {
        let shown = self.plan.as_ref().map(|plan| {
            let (messages, connections) = self.teller.told();
            let mut counters: BTreeMap<String, u64> = self
                .counters
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect();
            counters.insert("messages_sent".into(), messages);
            counters.insert("connections_sent".into(), connections);
            counters.insert("notes_lost".into(), self.tools.engine.lost());
            api::Sync {
                role: plan.role.word().to_owned(),
                tells: self.tells(),
                listens: self.listens(),
                interface: plan.interface.clone(),
                syncid: plan.sync_id,
                sync_maxlen: plan.room,
                mcast_group: plan.group.ip(),
                mcast_port: plan.group.port(),
                mcast_ttl: plan.ttl,
                unicast_peer: plan.peers.clone(),
                connections: self.own.0,
                active: self.own.1,
                told_everything: self.whole.is_complete(),
                counters,
                peers: self
                    .peers
                    .values()
                    .map(|p| self.shown_peer(p, now))
                    .collect(),
            }
        });
        *self
            .desk
            .shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn shown_peer(&self, peer: &Peer, now: u64) -> api::SyncPeer {
        let report = &peer.report;
        let about_us = report.about == self.tools.sender;
        api::SyncPeer {
            from: peer.from,
            tells: report.tells,
            listens: report.listens,
            connections: report.connections,
            active: report.active,
            heard_ms_ago: now.saturating_sub(peer.at_ms),
            messages_lost: if about_us {
                report.lost
            } else {
                peer.heard.lost
            },
            complete_percent: (self.tells() && report.listens)
                .then(|| complete(report.active, self.own.1)),
        }
    }
}

/// Which part of `own` active connections another has, in percent.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage for people, of numbers below 2^53"
)]
fn complete(others: u64, own: u64) -> f64 {
    if others >= own {
        return 100.0;
    }
    (others as f64 / own as f64 * 1000.0).floor() / 10.0
}

fn teller(plan: Option<&Plan>, sender: u64, now: u64) -> Teller {
    match plan {
        Some(plan) => Teller::new(sender, plan.sync_id, plan.room.into(), plan.pace, now),
        None => Teller::new(sender, 0, 0, connsync::Pace::IPVS, now),
    }
}

fn route(plan: &Plan, destination: SocketAddr, to_mac: types::MacAddr) -> Route {
    Route {
        mac: plan.mac,
        vlan: plan.vlan,
        to_mac,
        source: SocketAddr::new(plan.source, plan.group.port()),
        destination,
        ttl: if destination.ip().is_multicast() {
            plan.ttl
        } else {
            64
        },
    }
}

const fn name(taken: Taken) -> &'static str {
    match taken {
        Taken::New => "taken_new",
        Taken::Known => "taken_known",
        Taken::Stale => "not_taken_stale",
        Taken::NoServer => "not_taken_no_server",
        Taken::NoRoom => "not_taken_no_room",
        Taken::Busy => "not_taken_busy",
        Taken::Unsupported => "not_taken_unsupported",
    }
}
