//! Power of two choices: two servers are drawn at random in proportion to their weights, and the one with the smaller
//! load for its weight is taken. Cheap with many servers, and no two directors follow each other.

use super::{
    super::{
        roster::{Roster, ServerState, ServiceState},
        services::{Candidate, Service},
    },
    eligible,
};
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn choose<'s>(
    service: &'s Service,
    state: &ServiceState,
    roster: &Roster,
) -> Option<&'s Candidate> {
    let all = || {
        service
            .servers
            .iter()
            .filter_map(|c| Some((c, eligible(c, roster)?)))
    };
    let total: u64 = all().map(|(c, _)| u64::from(c.weight.0)).sum();
    if total == 0 {
        return None;
    }
    // Drawn from 0 to the total itself, as IPVS does: the first server has one chance more.
    let drawn = || below(state, total + 1);
    let pick = |mark: u64| {
        let mut reached = 0;
        all().find(|(c, _)| {
            reached += u64::from(c.weight.0);
            reached >= mark
        })
    };
    // A server that was eligible may have filled up meanwhile: then the other of the two, or what is left.
    let (one, other) = (pick(drawn()), pick(drawn()));
    let (candidate, server) = match (one, other) {
        (Some(one), Some(other)) if lighter(&other, &one) => other,
        (Some(one), _) => one,
        (None, other) => other.or_else(|| all().next())?,
    };
    server.admit_any();
    Some(candidate)
}

/// Whether `a` has the smaller load for its weight.
fn lighter(a: &(&Candidate, &ServerState), b: &(&Candidate, &ServerState)) -> bool {
    let product = |load: &ServerState, weight: &Candidate| {
        u128::from(load.load().overhead()) * u128::from(weight.weight.0)
    };
    product(b.1, a.0) > product(a.1, b.0)
}

/// A random number below `bound`: the cursor counts draws, `SplitMix64` (Steele, Lea, Flood 2014) makes them random.
fn below(state: &ServiceState, bound: u64) -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.cursor.fetch_add(STEP, Relaxed).wrapping_add(STEP);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // The upper half of the product: no division, and a bias nobody could measure.
    ((u128::from(z) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};
    use types::{ServiceId, Weight};

    const DRAWS: u32 = 60_000;

    /// How often each server is chosen when no connection stays; `busy` are given a load before.
    fn counts(weights: &[u32], busy: &[usize]) -> Vec<u32> {
        let service = testing::service(types::Scheduler::Twos, weights);
        let roster = Roster::new(1, 8);
        for &index in busy {
            let server = roster.server(service.servers[index].id).unwrap();
            (0..1000).for_each(|_| server.admit_any());
        }
        let state = roster.service(ServiceId(0)).unwrap();
        let mut counts = vec![0; weights.len()];
        for _ in 0..DRAWS {
            let chosen = choose(&service, state, &roster).unwrap();
            roster.server(chosen.id).unwrap().leave(false);
            counts[chosen.id.index()] += 1;
        }
        counts
    }

    /// Pearson's statistic against the expected probabilities.
    fn chi_square(counts: &[u32], expected: &[f64]) -> f64 {
        let term = |(&count, p): (&u32, &f64)| {
            let mean = p * f64::from(DRAWS);
            (f64::from(count) - mean).powi(2) / mean
        };
        counts.iter().zip(expected).map(term).sum()
    }

    #[test]
    fn servers_without_load_are_drawn_by_weight() {
        let counts = counts(&[1, 2, 3, 4], &[]);
        // The first server has one chance more: 2, 2, 3, 4 of 11. 16.3: exceeded once in a thousand by chance.
        let expected = [2.0, 2.0, 3.0, 4.0].map(|p| p / 11.0);
        let statistic = chi_square(&counts, &expected);
        assert!(statistic < 16.3, "{counts:?}: {statistic}");
        assert!(chi_square(&counts, &[0.25; 4]) > 16.3, "the test can fail");
    }

    #[test]
    fn a_loaded_server_is_taken_only_when_drawn_twice() {
        let counts = counts(&[1, 1, 1], &[0]);
        let (first, other) = (2.0 / 4.0, 1.0 / 4.0);
        // The others: drawn first, or second after the loaded one.
        let expected = [first * first, other + first * other, other + first * other];
        let statistic = chi_square(&counts, &expected);
        assert!(statistic < 13.8, "{counts:?}: {statistic}");
    }

    #[test]
    fn servers_that_take_nothing_are_never_drawn() {
        assert_eq!(counts(&[0, 5, 0], &[]), [0, DRAWS, 0]);
        let mut service = testing::service(types::Scheduler::Twos, &[1]);
        service.servers[0].weight = Weight(0);
        let roster = Roster::new(1, 8);
        let state = roster.service(ServiceId(0)).unwrap();
        assert!(choose(&service, state, &roster).is_none());
    }
}
