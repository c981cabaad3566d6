//! Ageing: each worker moves its hand over its share of the tables, a bounded piece at a call.

use super::{entry, family::Ip};
use crate::{Output, context::Context, shared::Shared};
use flowtable::{Cursor, V4, V6};
use types::Tick;
use wire::Frame;

/// A round over the whole table takes about this long, if calls come often enough.
const ROUND_MS: u64 = 1000;
/// Groups of 14 slots in one call at most: what bounds the delay of the next burst.
const MOST: usize = 128;
/// And at least: a small table costs next to nothing, so what runs out there is gone sooner.
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
        }
    }
}

/// Moves the hands as far as the time since the last call says.
pub(crate) fn age<F: Frame, O: Output<F>>(cx: &mut Context<'_, F, O>) {
    let hands = &mut cx.local.hands;
    let elapsed = cx.now.since_ms(hands.moved).min(ROUND_MS);
    if elapsed == 0 {
        return;
    }
    hands.moved = cx.now;
    let [groups4, groups6] = hands.groups.map(|groups| {
        let due = (groups * elapsed).div_ceil(ROUND_MS);
        usize::try_from(due).unwrap_or(MOST).clamp(LEAST, MOST)
    });
    sweep::<V4>(cx.shared, cx.now, &mut hands.v4, groups4);
    sweep::<V6>(cx.shared, cx.now, &mut hands.v6, groups6);
}

fn sweep<I: Ip>(shared: &Shared, now: Tick, cursor: &mut Cursor, groups: usize) {
    let table = I::table(shared);
    let mut settle = |e: flowtable::Entry<'_, I>| entry::expired(table, &shared.roster, &e, now);
    table.expire(now, cursor, groups, &mut settle);
}
