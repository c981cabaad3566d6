//! What connections came to, counted.

use crate::{counts::Count, meter::new_histogram};
use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts of one kind of end, by name, that can be added, shown and shared.
macro_rules! tally {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $field:ident),* $(,)? }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct $name { $($(#[$inner])* pub $field: u64),* }

        impl $name {
            /// With those of another worker.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

tally! {
    /// What the clients' ends have seen.
    ClientTally {
        /// Connections asked for: first SYNs.
        opened,
        /// Handshakes done.
        established,
        /// Connections ended in order, by both sides.
        closed,
        /// Torn down by us with everything done, as `--close reset` says.
        closed_by_reset,
        /// Requests sent.
        requests,
        /// Responses that came whole.
        responses,
        /// Bytes of requests acknowledged or not, each once.
        bytes_sent,
        /// Bytes of responses, heads among them.
        bytes_received,
        /// Answered by a reset instead of a handshake.
        refused,
        /// Reset later.
        reset,
        /// No answer to SYNs.
        timeout_handshake,
        /// No progress of an exchange.
        timeout_exchange,
        /// Not ended in order in time.
        timeout_close,
        /// Ended by the server before the response was whole, or before all were answered.
        short,
        /// Responses with another status than 200.
        wrong_status,
        /// Responses of another length than expected.
        wrong_length,
        /// Responses with other bytes than expected.
        wrong_content,
        /// What came is no response.
        malformed,
        /// Torn down by us because the run was over.
        unfinished,
        /// SYNs sent again.
        syn_again,
        /// Other segments sent again.
        segments_again,
        /// Segments that came early, and were dropped.
        early,
        /// Segments of no connection of ours.
        stray,
        /// Segments with wrong checksums.
        damaged,
        /// Connections not opened in time because every source address and port was in use.
        no_free_port,
    }
}

tally! {
    /// What the servers' ends have seen.
    ServerTally {
        /// Connections asked for.
        accepted,
        /// Handshakes done.
        established,
        /// Connections ended in order.
        closed,
        /// Requests that came.
        requests,
        /// Bytes of requests.
        bytes_received,
        /// Bytes of responses, each once.
        bytes_sent,
        /// Reset by the client.
        reset,
        /// No progress.
        timeout,
        /// What came is no request.
        malformed,
        /// No room for another connection.
        no_room,
        /// Torn down by us because the run was over.
        unfinished,
        /// Segments sent again.
        segments_again,
        /// Segments that came early, and were dropped.
        early,
        /// Segments of no connection of ours, or to no port of ours.
        stray,
        /// Segments with wrong checksums.
        damaged,
    }
}

impl ClientTally {
    /// Connections that failed: each is counted once.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.refused
            + self.reset
            + self.timeout_handshake
            + self.timeout_exchange
            + self.timeout_close
            + self.short
            + self.malformed
    }

    /// Connections that have not come to an end yet.
    #[must_use]
    pub const fn open_now(&self) -> u64 {
        let over = self.closed + self.closed_by_reset + self.unfinished + self.failed();
        self.opened.saturating_sub(over)
    }

    /// Responses that were not what was expected.
    #[must_use]
    pub const fn wrong(&self) -> u64 {
        self.wrong_status + self.wrong_length + self.wrong_content
    }
}

/// How long things took, nanoseconds.
#[derive(Clone, Debug)]
pub struct Times {
    /// From a connection's first SYN to the answer.
    pub handshake: Histogram<u64>,
    /// From a request to the last byte of its response.
    pub response: Histogram<u64>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: new_histogram(),
            response: new_histogram(),
        }
    }
}

impl Times {
    /// With those of another worker.
    pub fn add(&mut self, other: &Self) {
        // All have the same bounds.
        let _ = self.handshake.add(&other.handshake);
        let _ = self.response.add(&other.response);
    }
}

/// What a worker tells while it runs. A cache line pair of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Live {
    /// As of [`ClientTally`] and [`ServerTally`].
    pub opened: Count,
    /// As above; servers' where there are no clients.
    pub established: Count,
    /// As above, closed by reset among them.
    pub closed: Count,
    /// Responses come, or requests answered.
    pub exchanges: Count,
    /// Connections there are now.
    pub open: Count,
    /// Failed or wrong.
    pub failed: Count,
    /// Bytes of responses.
    pub bytes: Count,
    /// 1 when no more connections are to be opened.
    pub has_opened_all: Count,
}

/// The same of all workers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as of `Live`")]
pub struct Moment {
    pub opened: u64,
    pub established: u64,
    pub closed: u64,
    pub exchanges: u64,
    pub open: u64,
    pub failed: u64,
    pub bytes: u64,
    /// Workers that have opened all.
    pub ready: u64,
}

impl Moment {
    /// Added up.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a Live>) -> Self {
        let mut all = Self::default();
        for live in workers {
            all.opened += live.opened.get();
            all.established += live.established.get();
            all.closed += live.closed.get();
            all.exchanges += live.exchanges.get();
            all.open += live.open.get();
            all.failed += live.failed.get();
            all.bytes += live.bytes.get();
            all.ready += live.has_opened_all.get();
        }
        all
    }
}
