//! Data connections: expected from what the control connection said, and claimed by their first packet.
//!
//! As in IPVS an expected connection is an entry in LISTEN; one whose client's port nobody knows yet has port 0 in its
//! place.

use super::{
    super::{connect, entry, family, family::Ip, known, services::Services},
    record::RecordId,
};
use crate::{packet::Packet, shared::Shared, snapshot::Snapshot};
use flowtable::{Claim, Entry, Key, Kind, New, Side, Slot, StateFlags, Tuple};
use types::{Mark, Protocol, ServerId, Tick};

/// Milliseconds an expected connection is waited for.
const LISTEN_MS: u32 = 120_000;
/// The virtual port if the server's own is taken is looked for among so many.
const OTHER_PORTS: u16 = 32;

/// A control connection about to expect a data connection.
pub(super) struct Control<'c, I: Ip> {
    pub shared: &'c Shared,
    pub snapshot: &'c Snapshot,
    pub now: Tick,
    pub key: Key<I::Addr>,
    pub server: ServerId,
    pub record: RecordId,
}

/// The entry cannot be made now: the packet that announces it must come again.
pub(super) struct Refused;

/// Whether an expected connection has the key to itself.
enum Place {
    Expected,
    /// Another server's connection has it.
    Taken(Slot),
}

impl<I: Ip> Control<'_, I> {
    /// The client listens at that port, and the server will connect to it from the port below its own.
    pub fn expect_active(&self, client: I::Addr, port: u16) -> Result<(), Refused> {
        let (Some(vport), Some(dport)) =
            (self.key.vport.checked_sub(1), self.key.dport.checked_sub(1))
        else {
            return Ok(());
        };
        // Twice: the client's port was another connection's, which has ended though nobody told us.
        for _ in 0..2 {
            match self.expect(client, port, vport, dport)? {
                Place::Expected => return Ok(()),
                Place::Taken(slot) => self.end(slot),
            }
        }
        Err(Refused)
    }

    /// The server listens at that port, and the client will connect to the virtual port returned: the same one, unless
    /// another server has announced it to this client, or it is a service's.
    pub fn expect_passive(&self, port: u16) -> Result<u16, Refused> {
        let services = &self.snapshot.services;
        let vip = I::ip(self.key.vaddr);
        let mut vport = port;
        for _ in 0..OTHER_PORTS {
            if self.snapshot.settings.compat_ipvs
                || !services.has_exactly(Protocol::Tcp, vip, vport)
            {
                match self.expect(self.key.caddr, 0, vport, port)? {
                    Place::Expected => return Ok(vport),
                    // As in IPVS, where the newest is found first.
                    Place::Taken(slot) if self.snapshot.settings.compat_ipvs => self.end(slot),
                    Place::Taken(_) => {}
                }
            }
            if !self.snapshot.settings.compat_ipvs {
                vport = vport.checked_add(1).unwrap_or(Services::UNPRIVILEGED);
            }
        }
        Err(Refused)
    }

    fn expect(
        &self,
        client: I::Addr,
        client_port: u16,
        vport: u16,
        dport: u16,
    ) -> Result<Place, Refused> {
        let Self { shared, now, .. } = *self;
        let table = I::table(shared);
        let tuple = Tuple {
            protocol: self.key.protocol,
            client,
            client_port,
            other: self.key.vaddr,
            other_port: vport,
        };
        let hash = table.hash(tuple.protocol, client, client_port);
        let mut settle = |e: Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
        let embryo = match table.claim(hash, &tuple, Kind::Connection, now, &mut settle) {
            Claim::Won(embryo) => embryo,
            Claim::Exists(slot) => {
                let entry = table.entry(slot);
                let key = entry.key();
                let same = (key.daddr, key.dport) == (self.key.daddr, dport)
                    && entry.server() == self.server;
                if !same {
                    return Ok(Place::Taken(slot));
                }
                self.listen_again(&entry);
                return Ok(Place::Expected);
            }
            Claim::Busy | Claim::Full | Claim::ClientFull => return Err(Refused),
        };
        let Some(server) = shared.roster.server(self.server) else {
            return Err(Refused);
        };
        server.admit_any();
        let record = shared.roster.records.hold(self.record);
        let virtual_ = (self.key.vaddr, vport);
        embryo.publish(&New {
            daddr: self.key.daddr,
            dport,
            server: self.server,
            flags: entry::CONTROLLED,
            state: LISTEN,
            state_flags: StateFlags::INACTIVE,
            timeout_ms: LISTEN_MS,
            template: None,
            mark: Mark(0),
            deltas: family::deltas::<I>(virtual_, (self.key.daddr, dport)),
            note: record.keep().0,
        });
        Ok(Place::Expected)
    }

    /// The same connection is announced again.
    fn listen_again(&self, entry: &Entry<'_, I>) {
        let mut word = entry.state();
        while word.is_live() {
            let flags = word.flags();
            let listening = word
                .with_state(LISTEN)
                .with_flags(flags.with(StateFlags::INACTIVE));
            match entry.compare_exchange_state(word, listening) {
                Ok(()) => {
                    let server = self.shared.roster.server(entry.server());
                    if let (Some(server), false) = (server, flags.contains(StateFlags::INACTIVE)) {
                        server.deactivate();
                    }
                    break;
                }
                Err(now) => word = now,
            }
        }
        entry.touch(self.now);
        entry.set_timeout_ms(LISTEN_MS);
    }

    fn end(&self, slot: Slot) {
        let table = I::table(self.shared);
        let old = table.entry(slot);
        if let Some(last) = table.remove(slot, old.state().generation()) {
            entry::ended(table, &self.shared.roster, &old, last);
        }
    }
}

const LISTEN: u8 = super::super::state::TcpState::Listen as u8;

/// What became of a packet that may be the first of an expected connection.
pub(crate) enum Claimed {
    /// Nothing of the kind is expected.
    No,
    /// Its connection.
    Is(Slot),
    /// Another worker is at it.
    Busy,
}

/// Makes an expected connection whose client's port was not known the connection of this packet.
#[cold]
pub(crate) fn claim<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    packet: &Packet,
    now: Tick,
) -> Claimed {
    let Some(tuple) = family::tuple::<I>(packet, Side::Virtual) else {
        return Claimed::No;
    };
    if tuple.client_port == 0 || (!snapshot.settings.compat_ipvs && !known::opens(packet)) {
        return Claimed::No;
    }
    let table = I::table(shared);
    let open = Tuple {
        client_port: 0,
        ..tuple
    };
    let hash = table.hash(open.protocol, open.client, 0);
    let Some(expected) = table.find_entry(hash, &open, Side::Virtual, now) else {
        return Claimed::No;
    };
    let (key, word) = (expected.key(), expected.state());
    if !entry::is_controlled(key.flags) {
        return Claimed::No;
    }
    let (server, deltas, note) = (expected.server(), expected.deltas(), expected.note());
    let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
    let mut settle = |e: Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    let embryo = match table.claim(hash, &tuple, Kind::Connection, now, &mut settle) {
        Claim::Won(embryo) => embryo,
        Claim::Exists(slot) => return Claimed::Is(slot),
        Claim::Busy => return Claimed::Busy,
        Claim::Full | Claim::ClientFull => return Claimed::No,
    };
    // Whoever ends the expected one has its place at the server, and its hold on the record.
    let Some(last) = table.remove(expected.slot(), word.generation()) else {
        return Claimed::Busy;
    };
    connect::supersede::<I>(shared, &tuple, (key.daddr, key.dport), now);
    Claimed::Is(embryo.publish(&New {
        daddr: key.daddr,
        dport: key.dport,
        server,
        flags: key.flags,
        state: LISTEN,
        state_flags: last.flags(),
        timeout_ms: LISTEN_MS,
        template: None,
        mark: Mark(0),
        deltas,
        note,
    }))
}
