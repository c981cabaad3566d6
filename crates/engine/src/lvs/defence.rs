//! Defences against floods, by IPVS's names: `drop_entry` ends half-open connections here and there, `drop_packet` lets
//! every so-manieth new connection fail, `secure_tcp` goes by other TCP states. Each is off, on, or on while room in the
//! connection tables is scarce.
//!
//! In place of free memory, which is taken at start, the free part of the tables counts: `amemthresh` pages of 4096
//! bytes, or an eighth of the tables if that is less.

use super::{
    entry::{self, Ended, account},
    family::Ip,
    state::{SctpState, TEMPLATE_ASSURED, TcpState},
};
use crate::{
    Output,
    context::Context,
    model::{Defence, Settings},
    shared::Shared,
};
use flowtable::{Listed, V4, V6};
use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use types::Tick;
use wire::{Frame, protocol};

/// Slots looked at in one call at most.
const MOST: u64 = 2048;
/// `drop_entry` looks at one slot of so many each second.
const PART: u64 = 32;
const SECOND_MS: u64 = 1000;
/// Bytes of a page, and of a table's slot, to count room as the kernel counts memory.
const PAGE: u64 = 4096;

/// How things stand, for all workers.
#[derive(Debug, Default)]
pub(crate) struct Defences {
    /// While room is scarce: one in so many new connections fails. 0: there is room.
    scarce: AtomicU32,
    /// New connections until the next that fails.
    countdown: AtomicI32,
}

impl Defences {
    /// How things stand now, by itself.
    pub fn copy(&self) -> Self {
        Self {
            scarce: AtomicU32::new(self.scarce.load(Acquire)),
            countdown: AtomicI32::new(self.countdown.load(Relaxed)),
        }
    }

    fn is_on(&self, defence: Defence) -> bool {
        match defence {
            Defence::Off => false,
            Defence::Automatic => self.scarce.load(Acquire) != 0,
            Defence::On => true,
        }
    }

    /// Whether TCP goes by the states of `secure_tcp`.
    pub fn secures_tcp(&self, settings: &Settings) -> bool {
        settings.secure_tcp != Defence::Off && self.is_on(settings.secure_tcp)
    }

    /// Whether this packet, which wants a new connection, is to be dropped.
    #[cold]
    pub fn drops_packet(&self, settings: &Settings) -> bool {
        let rate = match settings.drop_packet {
            Defence::Off => return false,
            Defence::Automatic => self.scarce.load(Acquire),
            Defence::On => settings.am_droprate,
        };
        if rate == 0 || self.countdown.fetch_sub(1, Relaxed) > 1 {
            return false;
        }
        self.countdown
            .store(i32::try_from(rate).unwrap_or(i32::MAX), Relaxed);
        true
    }

    /// Looks how much room there is.
    fn judge(&self, shared: &Shared, settings: &Settings) {
        let room = |slots: usize, live: u64, bytes: usize| {
            let each = (bytes as u64).checked_div(slots as u64).unwrap_or(0);
            let pages = |slots: u64| slots * each / PAGE;
            let all = slots as u64;
            (pages(all), pages(all.saturating_sub(live)))
        };
        let (four, six) = (&shared.connections4, &shared.connections6);
        let live = |counts: flowtable::Counts| counts.connections + counts.templates;
        let rooms = [
            room(four.slots(), live(four.counts()), four.bytes()),
            room(six.slots(), live(six.counts()), six.bytes()),
        ];
        let scarce = rooms.iter().map(|(pages, free)| {
            let least = u64::from(settings.amemthresh).min(pages / 8);
            least.checked_div(least.saturating_sub(*free)).unwrap_or(0)
        });
        // Of two tables the one in need decides: one in few.
        let rate = scarce.filter(|rate| *rate > 0).min().unwrap_or(0);
        self.scarce
            .store(u32::try_from(rate).unwrap_or(u32::MAX), Release);
    }
}

/// A worker's part in the defences.
#[derive(Debug)]
pub(crate) struct Defender {
    share: (u32, u32),
    random: u64,
    judged: Tick,
    swept: Tick,
}

impl Defender {
    /// Of worker `share.0` of `share.1`.
    pub const fn new(share: (u32, u32)) -> Self {
        Self {
            share,
            random: 0x9e37_79b9_7f4a_7c15 ^ share.0 as u64,
            judged: Tick(0),
            swept: Tick(0),
        }
    }

    fn draw(&mut self) -> u64 {
        // Xorshift (Marsaglia 2003); what is hit only has to be spread.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Does what is due.
pub(crate) fn defend<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let settings = &cx.snapshot.settings;
    let automatic = [
        settings.drop_entry,
        settings.drop_packet,
        settings.secure_tcp,
    ]
    .contains(&Defence::Automatic);
    let (now, defender) = (cx.now, &mut cx.local.defender);
    if automatic && defender.share.0 == 0 && now.since_ms(defender.judged) >= SECOND_MS {
        defender.judged = now;
        cx.shared.defences.judge(cx.shared, settings);
    }
    if !cx.shared.defences.is_on(settings.drop_entry) {
        defender.swept = now;
        return;
    }
    let slots = (cx.shared.connections4.slots() + cx.shared.connections6.slots()) as u64;
    let every = PART * SECOND_MS * u64::from(defender.share.1.max(1));
    let due = slots * now.since_ms(defender.swept).min(SECOND_MS) / every;
    if due == 0 {
        return;
    }
    defender.swept = now;
    let count = u32::try_from(due.min(MOST)).unwrap_or(u32::MAX);
    let at = u32::try_from(defender.draw() % slots).unwrap_or(0);
    match (at as usize).checked_sub(cx.shared.connections4.slots()) {
        None => sweep::<V4>(cx.shared, now, at, count),
        Some(at) => sweep::<V6>(cx.shared, now, u32::try_from(at).unwrap_or(0), count),
    }
}

fn sweep<I: Ip>(shared: &Shared, now: Tick, at: u32, count: u32) {
    let table = I::table(shared);
    table.list(at, count, now, |listed| {
        if is_expendable(listed) {
            end::<I>(shared, listed);
        }
    });
}

/// Half open, or a template none of whose connections was ever established. (IPVS also ends established connections
/// that have been silent for a minute after few packets, and UDP's; they are not counted here.)
fn is_expendable<A>(listed: &Listed<A>) -> bool {
    let state = listed.state.state();
    match (listed.key.template, listed.key.protocol) {
        (true, _) => listed.packets == 0 && state != TEMPLATE_ASSURED,
        (false, protocol::TCP) => matches!(
            TcpState::from_number(state),
            TcpState::SynRecv | TcpState::SynAck
        ),
        (false, protocol::SCTP) => matches!(
            SctpState::from_number(state),
            SctpState::Init1 | SctpState::Init
        ),
        _ => false,
    }
}

/// Ends the connection, and with it a template it was the last of.
fn end<I: Ip>(shared: &Shared, listed: &Listed<I::Addr>) {
    let table = I::table(shared);
    let Some(last) = table.remove(listed.slot, listed.state.generation()) else {
        return;
    };
    let kind = if listed.key.template {
        Ended::Template
    } else {
        Ended::Connection(last)
    };
    let kept = entry::kept(listed.key.flags, listed.note);
    account(
        table,
        &shared.roster,
        listed.server,
        kind,
        listed.template,
        kept,
    );
    let Some(slot) = listed.template else {
        return;
    };
    let template = table.entry(slot);
    let word = template.state();
    if word.is_live()
        && template.is_template()
        && template.n_control() == 0
        && word.state() != TEMPLATE_ASSURED
        && let Some(last) = table.remove(slot, word.generation())
    {
        entry::ended(table, &shared.roster, &template, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As observed of IPVS (recording `defence`): the first fails, then every third.
    #[test]
    fn every_so_manieth_packet_is_dropped() {
        let defences = Defences::default();
        let settings = Settings {
            drop_packet: Defence::On,
            am_droprate: 3,
            ..Settings::ipvs()
        };
        let dropped: Vec<bool> = (0..7).map(|_| defences.drops_packet(&settings)).collect();
        assert_eq!(dropped, [true, false, false, true, false, false, true]);
        assert!(!defences.drops_packet(&Settings::ipvs()));
    }

    #[test]
    fn automatic_is_off_while_there_is_room() {
        let defences = Defences::default();
        let settings = Settings {
            drop_packet: Defence::Automatic,
            secure_tcp: Defence::Automatic,
            ..Settings::ipvs()
        };
        assert!(!defences.drops_packet(&settings) && !defences.secures_tcp(&settings));
        defences.scarce.store(2, Release);
        assert!(defences.secures_tcp(&settings));
        let dropped: Vec<bool> = (0..4).map(|_| defences.drops_packet(&settings)).collect();
        assert_eq!(dropped, [true, false, true, false]);
    }
}
