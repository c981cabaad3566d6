//! Connections that were ended so that their tuple can be used anew, and are counted to the end of the burst: as in IPVS,
//! whose entry goes at the next tick of its clock, the scheduler of the new connection sees the old one's load.

use super::{entry, family::Ip, roster::Roster};
use crate::context::Context;
use arrayvec::ArrayVec;
use flowtable::{Entry, StateFlags, StateWord};
use types::ServerId;

/// Servers with what is counted of them: active or not. When there are more at once the count goes with the connection.
#[derive(Debug, Default)]
pub(crate) struct Lingering(ArrayVec<(ServerId, bool), 64>);

impl Lingering {
    /// Ends the connection at once; its count goes at the end of the burst.
    #[cold]
    pub fn end<I: Ip, F, O>(cx: &mut Context<'_, F, O>, entry: &Entry<'_, I>, word: StateWord)
    where
        F: wire::Frame,
        O: crate::Output<F>,
    {
        let table = I::table(cx.shared);
        let Some(last) = table.remove(entry.slot(), word.generation()) else {
            return;
        };
        let active = !last.flags().contains(StateFlags::INACTIVE);
        entry::uncounted(table, &cx.shared.roster, entry);
        let (roster, waiting) = (&cx.shared.roster, &mut cx.local.lingering.0);
        if let Err(full) = waiting.try_push((entry.server(), active)) {
            leave(roster, full.element());
        }
    }

    /// Takes back what is counted of them.
    #[inline]
    pub fn settle(&mut self, roster: &Roster) {
        while let Some(one) = self.0.pop() {
            leave(roster, one);
        }
    }
}

fn leave(roster: &Roster, (server, active): (ServerId, bool)) {
    if let Some(server) = roster.server(server) {
        server.leave(active);
    }
}
