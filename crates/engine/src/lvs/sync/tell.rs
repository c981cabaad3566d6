//! A connection of the table in the words of IPVS's messages.

use super::super::{
    cookies::Splice,
    entry::{self, Kept, is_bypass, method},
    family::Ip,
    list,
    state::Timeouts,
};
use crate::shared::Shared;
use connsync::{Addresses, Connection, Flags, SequenceDelta, SequenceDeltas};
use flowtable::{Listed, StateFlags};
use std::net::IpAddr;
use types::{ForwardingMethod, PersistenceEngine};
use wire::protocol;

/// The one there is.
pub(super) const ENGINE: PersistenceEngine = PersistenceEngine::Sip;

/// `None` for what no other director could make anything of.
pub(super) fn connection<I: Ip>(
    shared: &Shared,
    listed: &Listed<I::Addr>,
    timeouts: &Timeouts,
) -> Option<Connection> {
    let key = &listed.key;
    let word = listed.state;
    // Given up, or with a server of the other family, whose address has no place in a message.
    let foreign = I::ip(key.daddr).is_unspecified();
    if is_bypass(key.flags) || word.flags().contains(StateFlags::UNHASHED) || foreign {
        return None;
    }
    let splice = if entry::is_spliced(key.flags) {
        // `?`: its server has not accepted, so nobody else could go on with it.
        Some(Splice::at::<I>(shared, listed.slot)?.told()?)
    } else {
        None
    };
    let persistence = match entry::call(key.flags, listed.note) {
        None => None,
        // `?`: it ends in this instant.
        Some(_) => Some((ENGINE.name().into(), list::call_of::<I>(shared, listed)?)),
    };
    let sequence = moved(shared, listed.key.flags, listed.note);
    let is_moved = match sequence {
        Some(_) => Flags::OUT_SEQ,
        None => Flags::default(),
    };
    Some(Connection {
        protocol: key.protocol,
        flags: flags(key.flags, key.template, word.flags()).with(is_moved),
        state: word.state().into(),
        client_port: key.cport,
        virtual_port: key.vport,
        server_port: key.dport,
        mark: listed.mark.0,
        timeout_s: timeout_ms::<I>(listed, timeouts).div_ceil(1000),
        addresses: addresses([key.caddr, key.vaddr, key.daddr].map(I::ip))?,
        sequence,
        splice,
        persistence,
    })
}

/// How far what the server says on an FTP control connection has been moved.
fn moved(shared: &Shared, fixed: u8, note: u32) -> Option<SequenceDeltas> {
    if entry::is_controlled(fixed) {
        return None;
    }
    let Some(Kept::Said(record)) = entry::kept(fixed, note) else {
        return None;
    };
    let moved = shared.roster.records.movement(record)?;
    let outwards = SequenceDelta {
        from: moved.from,
        delta: moved.by,
        previous_delta: moved.before,
    };
    Some(SequenceDeltas {
        outwards,
        ..SequenceDeltas::default()
    })
}

/// By the state: what the entry says may be the one before, if its worker is just changing it.
fn timeout_ms<I: Ip>(listed: &Listed<I::Addr>, timeouts: &Timeouts) -> u32 {
    let state = listed.state.state();
    match listed.key.protocol {
        _ if listed.key.template => listed.timeout_ms,
        protocol::TCP => timeouts.tcp_ms(state),
        protocol::SCTP => timeouts.sctp_ms(state),
        _ => timeouts.udp_ms(),
    }
}

fn flags(fixed: u8, template: bool, now: StateFlags) -> Flags {
    let of = |is: bool, flag| if is { flag } else { Flags::default() };
    let method = match method(fixed) {
        ForwardingMethod::Masq => Flags::MASQ,
        ForwardingMethod::Route => Flags::ROUTE,
        ForwardingMethod::Tunnel => Flags::TUNNEL,
    };
    if template {
        // As IPVS makes them: they never count as active, and have the server's flags.
        let one_way = of(method != Flags::MASQ, Flags::NO_OUTPUT);
        return method
            .with(Flags::TEMPLATE)
            .with(Flags::INACTIVE)
            .with(one_way);
    }
    method
        .with(of(now.contains(StateFlags::NOOUTPUT), Flags::NO_OUTPUT))
        .with(of(now.contains(StateFlags::INACTIVE), Flags::INACTIVE))
}

fn addresses(all: [IpAddr; 3]) -> Option<Addresses> {
    match all {
        [IpAddr::V4(a), IpAddr::V4(b), IpAddr::V4(c)] => Some(Addresses::V4([a, b, c])),
        [IpAddr::V6(a), IpAddr::V6(b), IpAddr::V6(c)] => Some(Addresses::V6([a, b, c])),
        _ => None,
    }
}
