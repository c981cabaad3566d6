//! Which source address and port the next connection has: in turn or at random, never one that is still in use.

use super::segment::Tuple;
use crate::{
    axis::Axis,
    random::Random,
    template::{Order, Template},
};

/// Tuples tried before it is said that none is free.
const TRIES: u32 = 256;
/// Axes, the fastest first: source port, source address, destination port, destination address.
const ODOMETER: [usize; 4] = [1, 0, 3, 2];

/// The tuples of one worker.
pub struct Tuples {
    axes: [Axis; 4],
    is_ipv6: bool,
    /// Its share of all: from the first, so many.
    first: u64,
    count: u64,
    next: u64,
    random: Option<Random>,
}

impl Tuples {
    /// Those of worker `worker` of `workers`; no other has one of them. In turn, or at random if the template's order is uniform.
    #[must_use]
    pub fn new(template: &Template, worker: u16, workers: u16, seed: u64) -> Self {
        let all = template.flows();
        let bound = |worker: u16| bound(all, worker, workers);
        let is_random = template.order == Order::Uniform;
        Self {
            axes: template.axes.clone(),
            is_ipv6: template.is_ipv6,
            first: bound(worker),
            count: bound(worker + 1) - bound(worker),
            next: 0,
            random: is_random.then(|| Random::new(seed.wrapping_add(u64::from(worker) << 32))),
        }
    }

    /// The next of which `is_free` says so.
    #[inline]
    pub fn next_free(&mut self, is_free: impl Fn(&Tuple) -> bool) -> Option<Tuple> {
        if self.count == 0 {
            return None;
        }
        if let Some(random) = &mut self.random {
            self.next = random.below(self.count);
        }
        for _ in 0..TRIES.min(u32::try_from(self.count).unwrap_or(TRIES)) {
            let tuple = self.at(self.first + self.next);
            self.next += 1;
            if self.next == self.count {
                self.next = 0;
            }
            if is_free(&tuple) {
                return Some(tuple);
            }
        }
        None
    }

    #[expect(clippy::cast_possible_truncation, reason = "axes of ports hold ports")]
    fn at(&self, mut number: u64) -> Tuple {
        let mut values = [0; 4];
        for axis in ODOMETER {
            let total = self.axes[axis].total();
            let place = if total > 1 { number % total } else { 0 };
            values[axis] = self.axes[axis].at(place);
            number /= total;
        }
        Tuple {
            ours: values[0],
            theirs: values[2],
            ports: [values[1] as u16, values[3] as u16],
            is_ipv6: self.is_ipv6,
        }
    }
}

/// Tells which worker a tuple is of.
#[derive(Clone)]
pub struct Owners {
    axes: [Axis; 4],
    all: u64,
    workers: u16,
}

impl Owners {
    /// As [`Tuples::new`] shares them out.
    #[must_use]
    pub fn new(template: &Template, workers: u16) -> Self {
        Self {
            axes: template.axes.clone(),
            all: template.flows(),
            workers,
        }
    }

    /// The worker, if it is anybody's.
    #[must_use]
    #[inline]
    pub fn of(&self, tuple: &Tuple) -> Option<u16> {
        let values = [
            tuple.ours,
            tuple.ports[0].into(),
            tuple.theirs,
            tuple.ports[1].into(),
        ];
        let mut number = 0;
        for axis in ODOMETER.into_iter().rev() {
            number = number * self.axes[axis].total() + self.axes[axis].index_of(values[axis])?;
        }
        (0..self.workers).find(|worker| number < bound(self.all, worker + 1, self.workers))
    }
}

/// The first tuple of a worker.
fn bound(all: u64, worker: u16, workers: u16) -> u64 {
    let share = u128::from(all) * u128::from(worker) / u128::from(workers.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn workers_share_all_tuples_and_know_whose_they_are() {
        for order in ["sequential", "uniform"] {
            let text =
                format!("tcp 10.0.0.1-10.0.0.3,10.0.0.9:5-9 > 10.0.1.1:80,443 order {order}");
            let template: Template = text.parse().unwrap();
            let owners = Owners::new(&template, 3);
            let mut seen = HashSet::new();
            for worker in 0..3 {
                let mut tuples = Tuples::new(&template, worker, 3, 1);
                // Each only while it is free.
                while let Some(tuple) = tuples.next_free(|t| !seen.contains(t)) {
                    assert_eq!(owners.of(&tuple), Some(worker), "{tuple:?}");
                    seen.insert(tuple);
                }
            }
            assert_eq!(seen.len(), 40);
            let other = Tuple {
                ports: [4, 80],
                ..*seen.iter().next().unwrap()
            };
            assert_eq!(owners.of(&other), None);
        }
    }

    #[test]
    fn source_ports_turn_first_and_the_one_used_last_comes_last() {
        let template: Template = "tcp 10.0.0.1-10.0.0.2:5-6 > 10.0.1.1:80".parse().unwrap();
        let mut tuples = Tuples::new(&template, 0, 1, 1);
        let ports: Vec<u16> = (0..5)
            .filter_map(|_| Some(tuples.next_free(|_| true)?.ports[0]))
            .collect();
        assert_eq!(ports, [5, 6, 5, 6, 5]);
        assert!(tuples.next_free(|_| false).is_none());
    }
}
