//! What the engine keeps in a connection's entry, and the accounting of its life.

use super::{
    calls::CallNumber,
    ftp::RecordId,
    roster::Roster,
    state::{HELD_MS, TEMPLATE_ASSURED},
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

/// Those of a template. `call`: with a Call-ID.
pub(crate) const fn template_flags(method: ForwardingMethod, call: bool) -> u8 {
    flags(method) | if call { CALL } else { 0 }
}

/// The bits of the static flags that say how packets get to the server.
const METHOD: u8 = 3;
/// An FTP data connection: its note is the record of the control connection it came of.
pub(crate) const CONTROLLED: u8 = 4;
/// An FTP control connection under NAT, whose packets are read: its note is its record.
pub(crate) const READ: u8 = 8;
/// A connection that began with a cookie: what its packets have to be changed by stands beside it.
pub(crate) const SPLICED: u8 = 32;
/// A template of a persistence engine: its note is where its Call-ID stands.
pub(crate) const CALL: u8 = 16;
/// The static flags of a connection without a server, whose packets go on to where they were going (`cache_bypass`).
pub(crate) const BYPASS: u8 = 3;

/// Whether it is one of those.
pub(crate) const fn is_bypass(flags: u8) -> bool {
    flags & METHOD == BYPASS
}

/// Whether a connection's packets are read.
#[inline]
pub(crate) const fn is_read(flags: u8) -> bool {
    flags & READ != 0
}

/// Whether it began with a cookie.
#[inline]
pub(crate) const fn is_spliced(flags: u8) -> bool {
    flags & SPLICED != 0
}

/// Whether more of its packets is to be changed than addresses and ports.
#[inline]
pub(crate) const fn is_looked_into(flags: u8) -> bool {
    flags & (READ | SPLICED) != 0
}

/// Whether it is NAT, and no packet needs to be read.
#[inline]
pub(crate) const fn is_mere_nat(flags: u8) -> bool {
    flags & (METHOD | READ | SPLICED) == 0
}

/// Whether replies come back through the director.
pub(crate) const fn is_nat(flags: u8) -> bool {
    flags & METHOD == 0
}

/// Whether it is an FTP data connection.
pub(crate) const fn is_controlled(flags: u8) -> bool {
    flags & CONTROLLED != 0
}

/// What is kept of an entry beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// What was said on an FTP control connection; its data connections hold it too.
    Said(RecordId),
    /// The template's Call-ID.
    Call(CallNumber),
}

/// What is kept of an entry with this note.
pub(crate) fn kept(flags: u8, note: u32) -> Option<Kept> {
    if flags & (READ | CONTROLLED | CALL) == 0 {
        None
    } else if flags & CALL != 0 {
        Some(Kept::Call(CallNumber(note)))
    } else {
        Some(Kept::Said(RecordId(note)))
    }
}

/// Where the template's Call-ID stands.
pub(crate) fn call(flags: u8, note: u32) -> Option<CallNumber> {
    (flags & CALL != 0).then_some(CallNumber(note))
}

/// See [`flags`].
#[inline]
pub(crate) const fn method(flags: u8) -> ForwardingMethod {
    match flags & METHOD {
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
    // One that was given up before its time is asked about again and again: it keeps the time it has left.
    let left = entry.expires_in_ms(now);
    let stays = || entry.is_template() && left > 0 && roster.keeps_to_the_end(entry.server());
    if controls(roster, entry) || stays() {
        let timeout_ms = if left == 0 { HELD_MS } else { left };
        return Expiry::Rearm { timeout_ms };
    }
    ended(table, roster, entry, entry.state());
    Expiry::Expire
}

/// Whether connections hold it: those of a template, the data connections of an FTP control connection.
fn controls<F: Family>(roster: &Roster, entry: &Entry<'_, F>) -> bool {
    if entry.is_template() {
        return entry.n_control() > 0;
    }
    let flags = entry.key().flags;
    is_read(flags) && roster.records.controls(RecordId(entry.note()))
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
    let kept = kept(entry.key().flags, entry.note());
    account(table, roster, entry.server(), kind, entry.template(), kept);
}

/// [`ended`] of a connection, but for the server's count.
pub(crate) fn uncounted<F: Family>(table: &Table<F>, roster: &Roster, entry: &Entry<'_, F>) {
    if let Some(kept) = kept(entry.key().flags, entry.note()) {
        roster.release(kept);
    }
    if let Some(template) = entry.template() {
        table.entry(template).drop_control();
    }
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
    kept: Option<Kept>,
) {
    if let Some(kept) = kept {
        roster.release(kept);
    }
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
