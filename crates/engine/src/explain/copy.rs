//! A director once more, for one packet: everything the packet may read or change is copied, so that what becomes of it becomes
//! of nothing else. Of the connections only those are copied that it can have to do with.

use super::{Explanation, Fate, facts};
use crate::{
    CapacityError, Director, DropReason, Output, WorkerCounters,
    claims::Claims,
    local::{Local, Standing},
    lvs::{self, Ip, Splice, Tallies, TrafficCells},
    overload::Relief,
    packet::{self, Addresses, Packet, Parsed},
    ratelimit::RateLimits,
    reassembly::{FragmentKey, Reassembly},
    shared::Shared,
    snapshot::Snapshot,
    waiting::{Group, Room, Waiting},
    worker::Worker,
};
use flowtable::{
    Aside, Bound, Claim, Entry, Expiry, New, Side, Slot, StateFlags, Table, Tuple, V4, V6,
};
use rcu::{Domain, Published};
use std::{net::IpAddr, sync::Arc};
use types::{InterfaceId, PortId, Tick};
use wire::{Frame, protocol};

/// Connections there is room for: what is copied, and what comes of it.
const ROOM: usize = 64;

impl Director {
    /// What would become of a frame received on `port` now, and why. Nothing changes: frames are sent to `out` only. Which worker would
    /// meet it is not known: it is explained as of the one that has least room for it. Not foreseen is whose connection an ICMP error about
    /// a tunnel packet concerns.
    ///
    /// # Errors
    /// When there is no memory for the copy.
    pub fn explain<F: Frame>(
        &self,
        now: Tick,
        port: PortId,
        frame: F,
        out: &mut impl Output<F>,
    ) -> Result<Explanation, CapacityError> {
        let domain = Domain::new(1);
        let Some(reader) = domain.reader() else {
            return Err(CapacityError::NoWorkers);
        };
        let live = self.shared();
        let snapshot = live.snapshot.with_current(Snapshot::copy);
        let key = self.hash_key();
        let connections4 = Table::new(ROOM, key, Arc::clone(&domain))?;
        let connections6 = Table::new(ROOM, key, Arc::clone(&domain))?;
        let shared = Arc::new(Shared {
            aside4: Aside::new(&connections4)?,
            aside6: Aside::new(&connections6)?,
            secret: live.secret,
            neighbours: live.neighbours.copy(),
            connections4,
            connections6,
            roster: live.roster.copy(),
            roles: Arc::clone(&live.roles),
            claims: Claims::default(),
            watch: Arc::default(),
            defences: live.defences.copy(),
            clients: live.clients.copy(),
            resets: crate::lvs::Resets::default(),
            snapshot: Published::new(Arc::clone(&domain), snapshot),
            domain,
        });
        let reassembly = Arc::new(Reassembly::new(key));
        let counters = WorkerCounters::new(self.capacity().ports.into());
        let mut bound = None;
        if let Parsed::Ip(packet) = shared
            .snapshot
            .with_current(|snapshot| packet::parse(&frame, port, &snapshot.net))
        {
            self.bring_fragments(&reassembly, &counters, (&frame, &packet), out);
            let to = &*shared;
            let told = (&frame, &packet);
            bound = to.snapshot.with_current(|snapshot| match packet.addresses {
                Addresses::V4 { .. } => bring::<V4, F>(live, to, snapshot, told, now),
                Addresses::V6 { .. } => bring::<V6, F>(live, to, snapshot, told, now),
            });
        }
        let local = Local::new(
            Arc::new(counters),
            (
                Arc::new(TrafficCells::new(self.capacity().servers)),
                Arc::new(Tallies::new(self.capacity().services)),
            ),
            // What it notes nobody is told.
            (
                Arc::default(),
                Arc::new(Relief::fixed(self.overload().worst())),
            ),
            Standing {
                limits: Arc::new(self.tightest(now)),
                queues: Arc::default(),
            },
            reassembly,
            &shared,
            (0, 1),
        );
        let mut worker = Worker::new(shared, reader, local);
        let mut explained = worker.step_explained(now, port, frame, out);
        // The copy had room.
        match self.room(&worker.local().waiting) {
            Room::Free => {}
            Room::ForTheOldest => explained.fate.dropped.push(DropReason::NeighbourQueueFull),
            Room::Full => {
                let fate = &mut explained.fate;
                (fate.held, fate.sent) = (false, Vec::new());
                fate.dropped.push(DropReason::NeighbourQueueFull);
            }
        }
        if let Some(reason) = bound.filter(|_| explained.fate.chosen.is_some()) {
            explained.fate = Fate {
                dropped: vec![reason],
                ..Fate::default()
            };
        }
        Ok(explained)
    }

    /// What is held of the packet that a fragment is of, and of others where it belongs.
    fn bring_fragments<F: Frame>(
        &self,
        to: &Reassembly<F>,
        counters: &WorkerCounters,
        (frame, packet): (&F, &Packet),
        out: &mut impl Output<F>,
    ) {
        let Some(key) = FragmentKey::of(frame, packet) else {
            return;
        };
        let view = self.fragments().and_then(|held| held.look(&key));
        if let Some(view) = view
            && to.become_like(&view, frame, packet, &mut || out.alloc())
        {
            counters.held.add(view.held() as u64);
        }
    }

    /// As the answers' limit of the worker that has least left of it.
    fn tightest(&self, now: Tick) -> RateLimits {
        let settings = |snapshot: &Snapshot| snapshot.settings.icmp_rate;
        let rate = self.shared().snapshot.with_current(settings);
        let all = self.standing().map(|standing| &*standing.limits);
        let tightest = all.min_by_key(|limits| rate.map(|rate| limits.tokens(now, rate)));
        tightest.map(RateLimits::copy).unwrap_or_default()
    }

    /// What there is room for of frames that wait in a copy, where most wait already.
    fn room<F>(&self, waiting: &Waiting<F>) -> Room {
        let groups = (0..waiting.groups()).filter_map(|at| waiting.group(at));
        let of = |group: Group| {
            let queues = self.standing().map(|standing| &standing.queues);
            queues.map(move |queues| queues.room(group.id, group.count.saturating_sub(1)))
        };
        groups.flat_map(of).max().unwrap_or(Room::Free)
    }

    /// The interface by which packets from `address` would come in, by the route back.
    #[must_use]
    pub fn interface_towards(&self, address: IpAddr) -> Option<InterfaceId> {
        let route = |snapshot: &Snapshot| snapshot.net.route(address);
        let next = self.shared().snapshot.with_current(route)?;
        Some(next.interface)
    }
}

/// What a new connection of this packet would be refused for.
fn bound_of<I: Ip>(live: &Shared, packet: &Packet) -> Option<DropReason> {
    let tuple = lvs::tuple::<I>(packet, Side::Virtual)?;
    let table = I::table(live);
    let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
    Some(match table.bound(hash, &tuple)? {
        Bound::Full => DropReason::TableFull,
        Bound::ClientFull => DropReason::EndpointLimit,
    })
}

/// Copies the connections and templates a packet can meet. Says what a new connection of the packet's would be refused for.
fn bring<I: Ip, F: Frame>(
    live: &Shared,
    to: &Shared,
    snapshot: &Snapshot,
    (frame, packet): (&F, &Packet),
    now: Tick,
) -> Option<DropReason> {
    let table = I::table(live);
    for (tuple, side) in lvs::candidates::<I, F>(frame, packet) {
        let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
        if let Some(slot) = table.find(hash, &tuple, side, now) {
            copy::<I>(live, to, slot, now);
        }
        // FTP's data connections are expected from any port of the client.
        let open = Tuple {
            client_port: 0,
            ..tuple
        };
        let hash = table.hash(open.protocol, open.client, 0);
        if side == Side::Virtual
            && tuple.protocol == protocol::TCP
            && let Some(slot) = table.find(hash, &open, side, now)
        {
            copy::<I>(live, to, slot, now);
        }
    }
    let (_, mark) = snapshot.marks.explained(packet, lvs::class(frame, packet));
    let bound = bound_of::<I>(live, packet);
    let service = facts::service(snapshot, packet, mark);
    let template = |service| lvs::template_of::<I, F>(live, service, frame, packet);
    let Some((key, name)) = service.and_then(template) else {
        return bound;
    };
    let hash = table.template_hash(&key, name);
    match table.find_template(hash, &key, name, now) {
        Some(slot) => {
            copy::<I>(live, to, slot, now);
            bound
        }
        // It needs one of its own.
        None => bound.or(table.is_full(hash).then_some(DropReason::TableFull)),
    }
}

/// Copies an entry, and the template that controls it.
fn copy<I: Ip>(live: &Shared, to: &Shared, slot: Slot, now: Tick) -> Option<Slot> {
    let listed = I::table(live).copy(slot, now)?;
    let controlling = listed.template;
    let template = controlling.and_then(|slot| copy::<I>(live, to, slot, now));
    let table = I::table(to);
    let key = &listed.key;
    let tuple = key.client_tuple();
    let hash = if key.template {
        table.template_hash(&tuple, listed.name())
    } else {
        table.hash(tuple.protocol, tuple.client, tuple.client_port)
    };
    // Nothing here is past its time: it was just copied.
    let mut settle = |_: Entry<'_, I>| Expiry::Expire;
    let embryo = match table.claim(hash, &tuple, listed.kind(), now, &mut settle) {
        Claim::Won(embryo) => embryo,
        Claim::Exists(slot) => return Some(slot),
        Claim::Busy | Claim::Full | Claim::ClientFull => return None,
    };
    if let (Some(new), Some(old)) = (
        Splice::at::<I>(to, embryo.slot()),
        Splice::at::<I>(live, slot),
    ) {
        new.copy(&old);
    }
    let flags = listed.state.flags();
    let new = embryo.publish(&New {
        daddr: key.daddr,
        dport: key.dport,
        server: listed.server,
        flags: key.flags,
        state: listed.state.state(),
        state_flags: flags.without(StateFlags::UNHASHED),
        timeout_ms: listed.timeout_ms,
        template: template.filter(|slot| table.entry(*slot).add_control()),
        mark: listed.mark,
        deltas: listed.deltas,
        note: listed.note,
    });
    let entry = table.entry(new);
    let idle = u64::from(listed.timeout_ms - listed.expires_in_ms.min(listed.timeout_ms));
    entry.touch(Tick(now.0.saturating_sub(idle)));
    if flags.contains(StateFlags::UNHASHED) {
        entry.unhash();
    }
    Some(new)
}
