//! Maglev hashing (Eisenbud and others, NSDI 2016, 3.4), with IPVS's table size, keys and weights: every server walks the
//! table in an order of its own and takes what is free, so that a server more or less moves few clients.
//!
//! A server that is quiesced keeps its part: the weight it had last counts. Whom it refuses is refused, unless the
//! service falls back on other places of the table.

use super::{
    super::{
        roster::Roster,
        services::{Candidate, Service},
    },
    Asker, admitted, gcd, hash,
};

/// Places in the table: IPVS's default, a prime.
const PLACES: u32 = 4093;
/// The keys of the two hashes.
const FIRST: u64 = 2_654_435_761;
const SECOND: u64 = 2_654_446_892;
/// A turn is at most about so many bits of places.
const TURN_BITS: u32 = 6;

/// A server while the table is filled.
struct Walker {
    at: u32,
    skip: u32,
    /// Places it takes when its turn comes.
    turn: u32,
}

/// For the snapshot: the server of each place, as an index into `servers`. Empty when no server has ever had a weight.
pub(super) fn table(servers: &[Candidate]) -> Box<[u32]> {
    let mut walkers = walkers(servers);
    if walkers.iter().all(|w| w.turn == 0) {
        return Box::default();
    }
    const FREE: u32 = u32::MAX;
    let mut table = vec![FREE; PLACES as usize].into_boxed_slice();
    let mut left = PLACES;
    while left > 0 {
        for (walker, index) in walkers.iter_mut().zip(0u32..) {
            for _ in 0..walker.turn.min(left) {
                // The skip is prime to the size: every walk meets every place.
                while let Some(place) = table.get_mut(walker.at as usize) {
                    walker.at = (walker.at + walker.skip) % PLACES;
                    if *place == FREE {
                        *place = index;
                        left -= 1;
                        break;
                    }
                }
            }
        }
    }
    table
}

fn walkers(servers: &[Candidate]) -> Vec<Walker> {
    let weights = servers.iter().map(|s| s.last_weight.0);
    let divisor = weights.clone().fold(0, gcd).max(1);
    let largest = weights.max().unwrap_or(0) / divisor;
    // Large weights are scaled down, or the turns would be longer than the table.
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(TURN_BITS);
    let walker = |server: &Candidate| Walker {
        at: hash::sip(server.spread, FIRST) % PLACES,
        skip: hash::sip(server.spread, SECOND) % (PLACES - 1) + 1,
        turn: match server.last_weight.0 {
            0 => 0,
            weight => ((weight / divisor) >> shift).max(1),
        },
    };
    servers.iter().map(walker).collect()
}

/// The place of what hashes to that number.
pub(super) const fn place(source: u32) -> u32 {
    hash::sip(source, FIRST) % PLACES
}

pub(super) fn choose<'s>(
    service: &'s Service,
    roster: &Roster,
    asker: &Asker<'_>,
) -> Option<&'s Candidate> {
    let source = asker.source(service.flags);
    let place = |offset: u32| place(source.wrapping_add(offset));
    let at = |offset| admitted(service, roster, place(offset) as usize);
    at(0).or_else(|| {
        let own = place(0);
        let tries = 0..if service.flags.fallback { PLACES } else { 0 };
        tries.into_iter().find_map(|n| at((n + own) % PLACES))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::candidates, *};

    fn shares(servers: &[Candidate]) -> Vec<usize> {
        let table = table(servers);
        let of = |index: usize| table.iter().filter(|t| **t as usize == index).count();
        (0..servers.len()).map(of).collect()
    }

    #[test]
    fn the_table_is_shared_by_weight() {
        assert_eq!(shares(&candidates(&[1, 1])), [2047, 2046]);
        assert_eq!(shares(&candidates(&[1, 2, 3])), [683, 1364, 2046]);
        assert!(table(&candidates(&[0, 0])).is_empty());
        assert!(table(&[]).is_empty());
    }

    #[test]
    fn the_weight_had_last_counts() {
        let mut servers = candidates(&[1, 1]);
        let before = table(&servers);
        servers[0].weight.0 = 0;
        assert_eq!(table(&servers), before);
        servers[0].last_weight.0 = 0;
        assert_eq!(shares(&servers), [0, PLACES as usize]);
    }

    #[test]
    fn a_server_less_moves_few_of_the_others_clients() {
        let all = candidates(&[1; 10]);
        let (before, after) = (table(&all), table(&all[..9]));
        let moved = before.iter().zip(&after).filter(|(b, a)| **b < 9 && a != b);
        assert!(moved.count() < PLACES as usize / 20);
    }
}
