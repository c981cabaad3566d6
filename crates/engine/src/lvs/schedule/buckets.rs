//! Source and destination hashing: 256 buckets, handed out to the servers in turn; an address always meets the same one.
//!
//! sh gives each server as many buckets at a time as its weight; dh goes without regard to weights. A server of weight 0
//! keeps its bucket, and whom it refuses is refused, unless sh may fall back on other buckets.

use super::{
    super::{
        roster::Roster,
        services::{Candidate, Service},
    },
    Asker, admitted, hash,
};

const BUCKETS: usize = 256;
const BITS: u32 = 8;

/// How many buckets a server takes when its turn comes.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// sh.
    ByWeight,
    /// dh.
    One,
}

/// For the snapshot: the server of each bucket, as an index into `servers`.
pub(super) fn table(servers: &[Candidate], turn: Turn) -> Box<[u32]> {
    let turns = servers.iter().zip(0u32..).flat_map(|(server, index)| {
        let buckets = match turn {
            Turn::ByWeight => (server.weight.0 as usize).clamp(1, BUCKETS),
            Turn::One => 1,
        };
        std::iter::repeat_n(index, buckets)
    });
    let turns: Vec<u32> = turns.take(BUCKETS).collect();
    turns.iter().copied().cycle().take(BUCKETS).collect()
}

/// sh.
pub(super) fn by_source<'s>(
    service: &'s Service,
    roster: &Roster,
    asker: &Asker<'_>,
) -> Option<&'s Candidate> {
    let hash = hash::multiplicative::<BITS>(asker.source(service.flags));
    let at = |bucket: usize| admitted(service, roster, bucket % BUCKETS);
    at(hash).or_else(|| {
        // As IPVS tries them: from the bucket as far beyond its own as that is beyond the first.
        let others = 0..if service.flags.fallback { BUCKETS } else { 0 };
        others.into_iter().find_map(|offset| at(offset + 2 * hash))
    })
}

/// dh.
pub(super) fn by_destination<'s>(
    service: &'s Service,
    roster: &Roster,
    asker: &Asker<'_>,
) -> Option<&'s Candidate> {
    let bucket = hash::multiplicative::<BITS>(hash::folded(asker.destination));
    admitted(service, roster, bucket)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::candidates, *};

    fn shares(weights: &[u32], turn: Turn) -> Vec<usize> {
        let table = table(&candidates(weights), turn);
        let of = |index: usize| table.iter().filter(|t| **t as usize == index).count();
        (0..weights.len()).map(of).collect()
    }

    #[test]
    fn buckets_are_handed_out_in_turn() {
        assert_eq!(shares(&[1, 1], Turn::ByWeight), [128, 128]);
        assert_eq!(shares(&[3, 1], Turn::ByWeight), [192, 64]);
        assert_eq!(shares(&[1, 0], Turn::ByWeight), [128, 128]);
        assert_eq!(shares(&[3, 1], Turn::One), [128, 128]);
        // Weights beyond 256 starve who comes last (the servers added first).
        assert_eq!(shares(&[4, 200, 300], Turn::ByWeight), [4, 200, 52]);
        assert_eq!(shares(&[u32::MAX, 1], Turn::ByWeight), [256, 0]);
        assert!(table(&[], Turn::ByWeight).is_empty());
    }
}
