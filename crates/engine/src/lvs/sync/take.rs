//! A connection another director told of, taken into the table: as `ip_vs_proc_conn` of Linux 6.1 does, but for one whose server is
//! not configured here, which IPVS keeps without one.

use super::super::{
    calls::CallId,
    connect::{self, serves},
    cookies::Splice,
    entry::{self, Kept, is_spliced},
    family::{self, Ip},
    ftp, persist,
    services::{FTP, Target},
    state::{SctpState, TEMPLATE_ASSURED, TcpState, Timeouts},
};
use super::{Taken, tell::ENGINE};
use crate::{shared::Shared, snapshot::Snapshot};
use connsync::{Connection, Flags, Rules};
use flowtable::{Claim, Deltas, Entry, Kind, MAX_TIMEOUT_MS, Name, New, Slot, StateFlags, Tuple};
use types::{ForwardingMethod, Mark, Tick};
use wire::{ftp::Moved, protocol};

/// Tries while workers are at the same key.
const TRIES: u32 = 64;
/// Seconds a template has whose timeout was not told.
const TEMPLATE_S: u32 = 180;

/// What it is taken into.
pub(super) struct Into<'a> {
    pub shared: &'a Shared,
    pub snapshot: &'a Snapshot,
    pub now: Tick,
}

/// A connection of one family, its numbers checked.
struct Told<A> {
    tuple: Tuple<A>,
    daddr: A,
    dport: u16,
    mark: Mark,
    template: bool,
    /// A template's Call-ID.
    call: Option<CallId>,
    inactive: bool,
    one_way: bool,
    state: u8,
    timeout_ms: u32,
    /// How far what the server says has been moved.
    moved: Option<Moved>,
    /// What is changed, as it began with a cookie.
    splice: Option<connsync::Splice>,
}

/// Takes one over.
pub(super) fn take<I: Ip>(
    into: &Into<'_>,
    told: &Connection,
    [client, virtual_, server]: [I::Addr; 3],
) -> Taken {
    let template = told.flags.contains(Flags::TEMPLATE);
    let Some(state) = state(told, template) else {
        return Taken::Unsupported;
    };
    let call = match &told.persistence {
        None => None,
        Some((name, id)) if template && name == ENGINE.name().as_bytes() => match CallId::new(id) {
            Some(call) => Some(call),
            None => return Taken::Unsupported,
        },
        Some(_) => return Taken::Unsupported,
    };
    let seconds = match told.timeout_s {
        0 if template => TEMPLATE_S,
        0 => timeout_s(&into.snapshot.timeouts, told.protocol, state),
        told => told,
    };
    let told = Told {
        tuple: Tuple {
            protocol: told.protocol,
            client,
            client_port: told.client_port,
            other: virtual_,
            other_port: told.virtual_port,
        },
        daddr: server,
        dport: told.server_port,
        mark: Mark(told.mark),
        template,
        call,
        inactive: told.flags.contains(Flags::INACTIVE),
        one_way: told.flags.contains(Flags::NO_OUTPUT),
        state,
        timeout_ms: seconds.saturating_mul(1000).clamp(1, MAX_TIMEOUT_MS),
        moved: told.sequence.map(|deltas| Moved {
            from: deltas.outwards.from,
            by: deltas.outwards.delta,
            before: deltas.outwards.previous_delta,
        }),
        splice: told.splice,
    };
    for _ in 0..TRIES {
        if let Some(taken) = try_to::<I>(into, &told) {
            return taken;
        }
        std::hint::spin_loop();
    }
    Taken::Busy
}

/// The state's number, if it is one of that protocol's; and only of connections that can be taken over.
fn state(told: &Connection, template: bool) -> Option<u8> {
    let state = u8::try_from(told.state).ok()?;
    let method = told.flags.and(Flags::METHOD);
    let odd = [Flags::ONE_PACKET, Flags::NO_CLIENT_PORT];
    if method == Flags::BYPASS || odd.iter().any(|flag| told.flags.contains(*flag)) {
        return None;
    }
    let last = match told.protocol {
        _ if template => TEMPLATE_ASSURED,
        protocol::TCP => TcpState::SynAck as u8,
        protocol::SCTP => SctpState::Closed as u8,
        protocol::UDP => 0,
        _ => return None,
    };
    (state <= last).then_some(state)
}

fn timeout_s(timeouts: &Timeouts, protocol: u8, state: u8) -> u32 {
    let ms = match protocol {
        protocol::TCP => timeouts.tcp_ms(state),
        protocol::SCTP => timeouts.sctp_ms(state),
        _ => timeouts.udp_ms(),
    };
    ms / 1000
}

/// `None`: a worker is at the same key; again.
fn try_to<I: Ip>(into: &Into<'_>, told: &Told<I::Addr>) -> Option<Taken> {
    let Into { shared, now, .. } = *into;
    let table = I::table(shared);
    let tuple = &told.tuple;
    let (hash, kind) = if told.template {
        let name = told
            .call
            .map_or(Name::NONE, |call| table.name(call.words()));
        (table.template_hash(tuple, name), Kind::Template(name))
    } else {
        let hash = table.hash(tuple.protocol, tuple.client, tuple.client_port);
        (hash, Kind::Connection)
    };
    let mut settle = |e: Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    let embryo = match table.claim(hash, tuple, kind, now, &mut settle) {
        Claim::Won(embryo) => embryo,
        Claim::Exists(slot) if told.template => {
            let call = told.call.as_ref();
            return persist::is_of_call(&table.entry(slot), &shared.roster, call)
                .then(|| update::<I>(into, told, slot))
                .flatten();
        }
        Claim::Exists(slot) => return update::<I>(into, told, slot),
        Claim::Busy => return None,
        Claim::Full | Claim::ClientFull => return Some(Taken::NoRoom),
    };
    // Dropped, the embryo is as if it had never been.
    let Some(target) = server::<I>(into.snapshot, told) else {
        return Some(Taken::NoServer);
    };
    let Some(counts) = shared.roster.server(target.id) else {
        return Some(Taken::NoServer);
    };
    let call = match told.call.map(|call| shared.roster.calls.keep(&call)) {
        None => None,
        Some(Some(held)) => Some(held),
        Some(None) => return Some(Taken::NoRoom),
    };
    let nat = target.method == ForwardingMethod::Masq;
    let is_read = !told.template && ftp::concerns(into.snapshot, tuple) && ftp::reads(target);
    let beside = match told.splice.filter(|_| !told.template) {
        None => None,
        Some(splice) => match Splice::at::<I>(shared, embryo.slot()) {
            // As where it began: what is changed is changed both ways.
            Some(beside) if nat && !target.local && !is_read => Some((beside, splice)),
            _ => return Some(Taken::Unsupported),
        },
    };
    let record = match is_read.then(|| shared.roster.records.take()) {
        None => None,
        Some(Some(held)) => Some(held),
        Some(None) => return Some(Taken::NoRoom),
    };
    if told.template {
        counts.hold();
    } else {
        if nat {
            connect::supersede::<I>(shared, tuple, (told.daddr, told.dport), now);
        }
        counts.admit_any();
        if !told.inactive {
            counts.activate();
        }
    }
    let virtual_ = (tuple.other, tuple.other_port);
    let (flags, note) = match (record, call) {
        (Some(record), _) => {
            let record = record.keep();
            if let Some(moved) = told.moved {
                shared.roster.records.told(record, moved);
            }
            (entry::READ, record.0)
        }
        (None, call) => (
            entry::template_flags(target.method, call.is_some()),
            call.map_or(0, |call| call.keep().0),
        ),
    };
    let flags = match beside {
        Some((beside, splice)) => {
            beside.take(&splice);
            flags | entry::SPLICED
        }
        None => flags,
    };
    let slot = embryo.publish(&New {
        daddr: told.daddr,
        dport: told.dport,
        server: target.id,
        flags,
        state: told.state,
        state_flags: state_flags(told, target.method),
        timeout_ms: told.timeout_ms,
        template: None,
        mark: told.mark,
        deltas: if nat && !told.template {
            family::deltas::<I>(virtual_, (told.daddr, told.dport))
        } else {
            Deltas::default()
        },
        note,
    });
    if !told.template {
        let rules = into.snapshot.settings.sync.unwrap_or(Rules::IPVS);
        table.entry(slot).set_packets(rules.threshold);
    }
    Some(Taken::New)
}

fn state_flags<A>(told: &Told<A>, method: ForwardingMethod) -> StateFlags {
    let mut flags = StateFlags::default();
    if told.template {
        return flags;
    }
    if told.inactive {
        flags = flags.with(StateFlags::INACTIVE);
    }
    // The way packets go is the server's here; of NAT it was told whether replies have been seen.
    if told.one_way || method != ForwardingMethod::Masq {
        flags = flags.with(StateFlags::NOOUTPUT);
    }
    flags
}

/// There is such an entry already.
fn update<I: Ip>(into: &Into<'_>, told: &Told<I::Addr>, slot: Slot) -> Option<Taken> {
    let Into { shared, now, .. } = *into;
    let table = I::table(shared);
    let entry = table.entry(slot);
    let key = entry.key();
    // Made anew in between, with a cookie or without: what is there is another connection, too.
    let same_kind = is_spliced(key.flags) == told.splice.is_some();
    let same = same_kind && (key.daddr, key.dport) == (told.daddr, told.dport);
    if !told.template && !same {
        if told.inactive {
            // The end of one that has been replaced.
            return Some(Taken::Stale);
        }
        if let Some(last) = table.remove(slot, entry.state().generation()) {
            entry::ended(table, &shared.roster, &entry, last);
        }
        return None;
    }
    let mut word = entry.state();
    while word.is_live() {
        let flags = word.flags();
        let changed = match (told.template, told.inactive) {
            (true, _) => flags,
            (false, true) => flags.with(StateFlags::INACTIVE),
            (false, false) => flags.without(StateFlags::INACTIVE),
        };
        let new = word.with_state(told.state).with_flags(changed);
        match entry.compare_exchange_state(word, new) {
            Ok(()) => {
                let was_inactive = flags.contains(StateFlags::INACTIVE);
                if let Some(server) = shared.roster.server(entry.server())
                    && !told.template
                {
                    match (was_inactive, told.inactive) {
                        (true, false) => server.activate(),
                        (false, true) => server.deactivate(),
                        _ => {}
                    }
                }
                if let Some(moved) = told.moved
                    && !entry::is_controlled(key.flags)
                    && let Some(Kept::Said(record)) = entry::kept(key.flags, entry.note())
                {
                    shared.roster.records.told(record, moved);
                }
                if let Some(splice) = &told.splice
                    && let Some(beside) = Splice::at::<I>(shared, slot)
                    && !told.template
                    && beside.told() != Some(*splice)
                {
                    beside.take(splice);
                }
                entry.touch(now);
                entry.set_timeout_ms(told.timeout_ms);
                return Some(Taken::Known);
            }
            Err(now) => word = now,
        }
    }
    None
}

/// The server here that it goes to.
fn server<'s, I: Ip>(snapshot: &'s Snapshot, told: &Told<I::Addr>) -> Option<&'s Target> {
    let services = &snapshot.services;
    let tuple = &told.tuple;
    let protocol = connect::protocol_numbered(tuple.protocol);
    let vip = I::ip(tuple.other);
    let service = match protocol {
        // A template of a mark, which stands where the address would.
        None => services.of_mark(I::marked(tuple.other), vip.is_ipv4()),
        Some(protocol) => services
            .find(told.mark, protocol, vip, tuple.other_port)
            // A template of FTP covers every port.
            .or_else(|| {
                let ftp = services.find(told.mark, protocol, vip, FTP);
                ftp.filter(|_| told.template && tuple.other_port == 0)
            }),
    }?;
    let address = I::ip(told.daddr);
    let mut targets = service
        .servers
        .iter()
        .filter_map(|c| services.target(c.id))
        .filter(|t| t.address == address && serves(t));
    let any_port =
        |t: &&Target| t.port == 0 || told.dport == 0 || t.method != ForwardingMethod::Masq;
    targets
        .clone()
        .find(|t| t.port == told.dport)
        .or_else(|| targets.find(any_port))
}
