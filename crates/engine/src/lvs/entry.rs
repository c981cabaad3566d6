//! What the engine keeps in a connection's entry, and the accounting of its life.

use super::{
    roster::Roster,
    state::{HELD_TEMPLATE_MS, TEMPLATE_ASSURED},
};
use flowtable::{Entry, Expiry, Family, Slot, StateFlags, StateWord, Table};
use types::{ForwardingMethod, ServerId, Tick};

/// The static flags of an entry: how packets get to its server.
pub(crate) const fn flags(method: ForwardingMethod) -> u8 {
    match method {
        ForwardingMethod::Masq => 0,
        ForwardingMethod::Route => 1,
        ForwardingMethod::Tunnel => 2,
    }
}

/// The static flags of a connection without a server, whose packets go on to where they were going (`cache_bypass`).
pub(crate) const BYPASS: u8 = 3;

/// Whether it is one of those.
pub(crate) const fn is_bypass(flags: u8) -> bool {
    flags & 3 == BYPASS
}

/// See [`flags`].
#[inline]
pub(crate) const fn method(flags: u8) -> ForwardingMethod {
    match flags & 3 {
        1 | BYPASS => ForwardingMethod::Route,
        2 => ForwardingMethod::Tunnel,
        _ => ForwardingMethod::Masq,
    }
}

/// An entry past its time, or given up: whether it goes, with the accounting if it does.
pub(crate) fn expired<F: Family>(
    table: &Table<F>,
    roster: &Roster,
    entry: &Entry<'_, F>,
    now: Tick,
) -> Expiry {
    if entry.is_template() && entry.n_control() > 0 {
        // One that was given up before its time is asked about again and again: it keeps the time it has left.
        let timeout_ms = match entry.expires_in_ms(now) {
            0 => HELD_TEMPLATE_MS,
            left => left,
        };
        return Expiry::Rearm { timeout_ms };
    }
    ended(table, roster, entry, entry.state());
    Expiry::Expire
}

/// Accounts for an entry that has ended with `last` as its state. Called once, by who ended it.
pub(crate) fn ended<F: Family>(
    table: &Table<F>,
    roster: &Roster,
    entry: &Entry<'_, F>,
    last: StateWord,
) {
    let kind = if entry.is_template() {
        Ended::Template
    } else {
        Ended::Connection(last)
    };
    account(table, roster, entry.server(), kind, entry.template());
}

/// What has ended.
pub(crate) enum Ended {
    /// A persistence template.
    Template,
    /// A connection, with its last state.
    Connection(StateWord),
}

/// [`ended`], from a copy of the entry.
pub(crate) fn account<F: Family>(
    table: &Table<F>,
    roster: &Roster,
    server: ServerId,
    kind: Ended,
    template: Option<Slot>,
) {
    if let Some(server) = roster.server(server) {
        match kind {
            Ended::Template => server.release(),
            Ended::Connection(last) => server.leave(!last.flags().contains(StateFlags::INACTIVE)),
        }
    }
    if let Some(template) = template {
        table.entry(template).drop_control();
    }
}

/// A connection was established, or answered: its template is kept when the defences look for what to drop.
#[cold]
pub(crate) fn assure<F: Family>(table: &Table<F>, entry: &Entry<'_, F>) {
    let Some(slot) = entry.template() else {
        return;
    };
    let template = table.entry(slot);
    let mut word = template.state();
    while word.is_live() && word.state() != TEMPLATE_ASSURED {
        match template.compare_exchange_state(word, word.with_state(TEMPLATE_ASSURED)) {
            Ok(()) => return,
            Err(now) => word = now,
        }
    }
}
