//! Ageing: each worker moves its hand over its share of the tables, a small piece at a call. How far is due is decided once
//! a millisecond; it is done then, between bursts, and when there is nothing else to do, so that however many connections end at once no
//! packet waits long.
//!
//! What is past its time is no connection any more, swept or not (`flowtable`). So what ends all at once can wait its turn, and packets
//! get no less of the worker for it; but what ends must go as fast as new connections come.

use super::{entry, family::Ip};
use crate::{Output, context::Context, shared::Shared};
use flowtable::{Cursor, V4, V6};
use types::Tick;
use wire::Frame;

/// A round over the whole table takes about this long, if calls come often enough.
const ROUND_MS: u64 = 1000;
/// Groups of 14 slots due in a millisecond at most: what bounds the share of the worker's time.
const MOST: usize = 128;
/// Groups in one piece at most.
const SLICE: usize = 16;
/// Connections ended in one piece at most, and slots given back, but for the rest of a group: with [`SLICE`], what bounds the delay of the
/// next burst.
const ENDED: u32 = 24;
/// Connections ended in a millisecond at most while there are packets, beside twice as many as have begun: a hundredth of the worker's time.
const QUOTA: u64 = 128;
/// Groups due in a millisecond at least: a small table costs next to nothing, so what runs out there is gone sooner.
const LEAST: usize = 16;

/// A worker's hands.
#[derive(Debug)]
pub(crate) struct Hands {
    v4: Cursor,
    v6: Cursor,
    /// When they last moved.
    moved: Tick,
    /// Groups in its share: IPv4, IPv6.
    groups: [u64; 2],
    /// Groups to pass still.
    due: [usize; 2],
    /// Connections that may end still.
    quota: u32,
    /// Connections that had begun when that was decided.
    begun: u64,
}

impl Hands {
    /// The hands of worker `share` of `shares`.
    pub fn new(shared: &Shared, (share, shares): (u32, u32)) -> Self {
        let groups = |slots: usize| (slots as u64 / 14 / u64::from(shares.max(1))) + 1;
        Self {
            v4: shared.connections4.cursor(share, shares),
            v6: shared.connections6.cursor(share, shares),
            moved: Tick(0),
            groups: [
                groups(shared.connections4.slots()),
                groups(shared.connections6.slots()),
            ],
            due: [0; 2],
            quota: 0,
            begun: 0,
        }
    }

    /// Whether there is something to do before the next millisecond.
    #[inline]
    pub const fn are_behind(&self) -> bool {
        self.could_go_on() && self.quota != 0
    }

    /// Whether there is something to do if nothing else is.
    #[inline]
    pub const fn could_go_on(&self) -> bool {
        self.due[0] | self.due[1] != 0
    }
}

/// Finds out how far the hands must move by now, and does the first piece of it.
pub(crate) fn age<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let begun = cx.local.traffic.begun();
    let hands = &mut cx.local.hands;
    let elapsed = cx.now.since_ms(hands.moved).min(ROUND_MS);
    if elapsed > 0 {
        hands.moved = cx.now;
        hands.due = hands.groups.map(|groups| {
            let due = (groups * elapsed).div_ceil(ROUND_MS);
            usize::try_from(due).unwrap_or(MOST).clamp(LEAST, MOST)
        });
        let quota = QUOTA * elapsed + 2 * begun.wrapping_sub(hands.begun);
        hands.quota = u32::try_from(quota).unwrap_or(u32::MAX);
        hands.begun = begun;
    }
    if hands.are_behind() {
        go_on(cx);
    }
}

/// The next piece.
#[cold]
pub(crate) fn go_on<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let hands = &mut cx.local.hands;
    let [due4, due6] = &mut hands.due;
    let most = ENDED.min(hands.quota);
    let ended = sweep::<V4>(cx.shared, cx.now, &mut hands.v4, due4, most)
        + sweep::<V6>(cx.shared, cx.now, &mut hands.v6, due6, most);
    hands.quota = hands.quota.saturating_sub(ended);
}

/// The next piece in time nobody else wants: it counts for nothing.
#[cold]
pub(crate) fn go_on_idly<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let quota = std::mem::replace(&mut cx.local.hands.quota, u32::MAX);
    go_on(cx);
    cx.local.hands.quota = quota;
}

/// Says how many connections have ended.
fn sweep<I: Ip>(
    shared: &Shared,
    now: Tick,
    cursor: &mut Cursor,
    due: &mut usize,
    most: u32,
) -> u32 {
    let table = I::table(shared);
    let mut settle = |e: flowtable::Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    let groups = SLICE.min(*due);
    let swept = table.expire_some(now, cursor, groups, most, &mut settle);
    // A share smaller than what is due has been gone round.
    *due = if swept.groups < groups && swept.expired < most {
        0
    } else {
        *due - swept.groups
    };
    swept.expired
}
