//! The flows of a template, one after the other in its order.

use crate::{
    axis::Axis,
    random::Random,
    template::{Order, Template},
};
use std::sync::Arc;

/// What tells a flow from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Source and destination; IPv4 addresses in the low 32 bits.
    pub addresses: [u128; 2],
    /// Source and destination ports; the source's is an echo's identifier.
    pub ports: [u16; 2],
}

/// Draws of a Zipf distribution that are made before anything is sent, and then repeated.
const DRAWN: usize = 1 << 18;
/// Axes, the fastest first: source port, source address, destination port, destination address.
const ODOMETER: [usize; 4] = [1, 0, 3, 2];

/// Goes through the flows of one template, for one worker.
pub struct Flows {
    axes: [Axis; 4],
    now: Flow,
    drawing: Drawing,
}

enum Drawing {
    /// One flow only.
    Still,
    /// Places on the axes of this flow, and how many flows come, this one among them, before all begins again.
    Sequential {
        begun: bool,
        at: [u64; 4],
        left: u64,
        all: u64,
    },
    /// Each axis by itself.
    UniformAxes,
    /// A number below.
    UniformBelow(u64),
    /// Numbers drawn in advance, and which is next.
    Drawn { numbers: Box<[u32]>, next: usize },
    /// Part of a list, again and again.
    Listed {
        flows: Arc<[Flow]>,
        first: usize,
        end: usize,
        next: usize,
    },
}

impl Flows {
    /// Those of `template` for worker `worker` of `workers`: when sequential, each begins elsewhere.
    #[must_use]
    pub fn new(template: &Template, random: &mut Random, worker: u64, workers: u64) -> Self {
        let all = template.flows();
        let mut flows = Self {
            axes: template.axes.clone(),
            now: Flow::default(),
            drawing: Drawing::Still,
        };
        let first =
            u64::try_from(u128::from(all) * u128::from(worker) / u128::from(workers.max(1)))
                .unwrap_or(0);
        let places = flows.places(first);
        flows.go_to(places);
        flows.drawing = match template.order {
            _ if all == 1 => Drawing::Still,
            Order::Sequential => Drawing::Sequential {
                begun: false,
                at: places,
                left: all - first,
                all,
            },
            Order::Uniform if template.limit.is_some() => Drawing::UniformBelow(all),
            Order::Uniform => Drawing::UniformAxes,
            Order::Zipf { s } => {
                let all = u32::try_from(all).unwrap_or(u32::MAX);
                Drawing::Drawn {
                    numbers: (0..DRAWN).map(|_| zipf(random.unit(), all, s)).collect(),
                    next: 0,
                }
            }
        };
        flows
    }

    /// Those of a list: the share of worker `worker` of `workers`, again and again.
    #[must_use]
    pub fn listed(flows: Arc<[Flow]>, worker: usize, workers: usize) -> Self {
        let bound = |worker| flows.len() * worker / workers.max(1);
        let (first, end) = (bound(worker), bound(worker + 1));
        Self {
            axes: [0; 4].map(Axis::one),
            now: Flow::default(),
            drawing: Drawing::Listed {
                flows,
                first,
                end,
                next: first,
            },
        }
    }

    /// The next flow.
    #[inline]
    pub fn next_flow(&mut self, random: &mut Random) -> &Flow {
        match &mut self.drawing {
            Drawing::Still => {}
            Drawing::Listed {
                flows,
                first,
                end,
                next,
            } => {
                if let Some(flow) = flows.get(*next) {
                    self.now = *flow;
                }
                *next += 1;
                if *next >= *end {
                    *next = *first;
                }
            }
            Drawing::Sequential { begun, .. } => {
                if *begun {
                    self.step();
                } else {
                    *begun = true;
                }
            }
            Drawing::UniformAxes => {
                let places = [0, 1, 2, 3].map(|i: usize| match self.axes[i].total() {
                    1 => 0,
                    total => random.below(total),
                });
                self.go_to(places);
            }
            Drawing::UniformBelow(all) => {
                let number = random.below(*all);
                let places = self.places(number);
                self.go_to(places);
            }
            Drawing::Drawn { numbers, next } => {
                let number = numbers.get(*next).copied().unwrap_or(0);
                *next = (*next + 1) % DRAWN;
                let places = self.places(number.into());
                self.go_to(places);
            }
        }
        &self.now
    }

    /// Turns to the flow behind this one: only what turns is looked up again.
    #[inline]
    fn step(&mut self) {
        let Drawing::Sequential { at, left, all, .. } = &mut self.drawing else {
            return;
        };
        *left -= 1;
        if *left == 0 {
            (*left, *at) = (*all, [0; 4]);
            self.go_to([0; 4]);
            return;
        }
        for axis in ODOMETER {
            at[axis] += 1;
            let turned = at[axis] == self.axes[axis].total();
            if turned {
                at[axis] = 0;
            }
            let value = self.axes[axis].at(at[axis]);
            self.now.set(axis, value);
            if !turned {
                break;
            }
        }
    }

    /// Where flow `number` is on each axis.
    fn places(&self, mut number: u64) -> [u64; 4] {
        let mut places = [0; 4];
        for axis in ODOMETER {
            let total = self.axes[axis].total();
            // Most axes have one value: no division then.
            if total > 1 {
                places[axis] = number % total;
                number /= total;
            }
        }
        places
    }

    #[inline]
    fn go_to(&mut self, places: [u64; 4]) {
        for (axis, place) in places.into_iter().enumerate() {
            let value = self.axes[axis].at(place);
            self.now.set(axis, value);
        }
    }
}

/// Flows `from` to `from + count` of a template in one order in which every flow comes once and neighbours are far apart (RFC 9693
/// asks for the enumeration of all port numbers in pseudorandom order; RFC 4814). The order is the seed's.
#[must_use]
pub fn enumerated(template: &Template, from: u64, count: u64, seed: u64) -> Vec<Flow> {
    let all = template.flows();
    let mut flows = Flows {
        axes: template.axes.clone(),
        now: Flow::default(),
        drawing: Drawing::Still,
    };
    let end = from.saturating_add(count).min(all);
    let take = |number| {
        let places = flows.places(permuted(number, all, seed));
        flows.go_to(places);
        flows.now
    };
    (from..end).map(take).collect()
}

/// Where `number`, below `all`, comes in a permutation of the numbers below `all`: a Feistel network over the next even power of two,
/// gone through until a number below is met (Black and Rogaway 2002, cycle walking).
fn permuted(number: u64, all: u64, seed: u64) -> u64 {
    let bits = (64 - all.saturating_sub(1).leading_zeros()).max(2);
    let half = bits.div_ceil(2);
    let mask = (1_u64 << half) - 1;
    let mut at = number;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4_u64 {
            let key = seed ^ (round << 56);
            let mixed = Random::new(key ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15)).draw();
            (left, right) = (right, left ^ (mixed >> 17 & mask));
        }
        at = left << half | right;
        if at < all {
            return at;
        }
    }
}

impl Flow {
    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        let ([a, b], [p, q]) = (self.addresses, self.ports);
        Self {
            addresses: [b, a],
            ports: [q, p],
        }
    }

    /// Axes as in [`Template::axes`].
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "axes of ports hold ports")]
    fn set(&mut self, axis: usize, value: u128) {
        match axis {
            0 => self.addresses[0] = value,
            1 => self.ports[0] = value as u16,
            2 => self.addresses[1] = value,
            _ => self.ports[1] = value as u16,
        }
    }
}

/// The number below `all` that a uniform draw means: the inverse of the continuous 1/k^s distribution.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 1 to below 2^32"
)]
fn zipf(uniform: f64, all: u32, s: f64) -> u32 {
    let end = f64::from(all) + 1.0;
    let k = if (s - 1.0).abs() < 1e-6 {
        end.powf(uniform)
    } else {
        (uniform * (end.powf(1.0 - s) - 1.0) + 1.0).powf(1.0 / (1.0 - s))
    };
    (k as u32).clamp(1, all) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};

    fn flows(text: &str, worker: u64, workers: u64) -> (Flows, Random) {
        let mut random = Random::new(1);
        let template: Template = text.parse().unwrap();
        (Flows::new(&template, &mut random, worker, workers), random)
    }

    fn draw(text: &str, count: usize) -> Vec<Flow> {
        let (mut flows, mut random) = flows(text, 0, 1);
        (0..count).map(|_| *flows.next_flow(&mut random)).collect()
    }

    const SMALL: &str = "udp 10.0.0.1-10.0.0.3:5,7 > 10.0.1.1-10.0.1.2:80-81";

    #[test]
    fn in_sequence_every_flow_comes_once_and_source_ports_turn_first() {
        let seen = draw(SMALL, 48);
        let unique: HashSet<String> = seen.iter().map(|f| format!("{f:?}")).collect();
        assert_eq!(unique.len(), 24);
        assert_eq!(seen[..24], seen[24..]);
        assert_eq!(
            [seen[0].ports[0], seen[1].ports[0], seen[2].ports[0]],
            [5, 7, 5]
        );
        assert_eq!(seen[2].addresses[0], seen[0].addresses[0] + 1);
        assert_eq!((seen[5].ports[1], seen[6].ports[1]), (80, 81));
        assert_eq!(seen[12].addresses[1], seen[0].addresses[1] + 1);
    }

    #[test]
    fn an_enumeration_holds_every_flow_once_and_can_be_taken_in_parts() {
        for (text, all) in [
            (SMALL, 24),
            ("udp 10.0.0.1:1-1000 > 10.1.0.1:1-37", 37_000),
            ("udp 10.0.0.1:5 > 10.0.0.2:6", 1),
        ] {
            let template: Template = text.parse().unwrap();
            let whole = enumerated(&template, 0, u64::MAX, 7);
            let unique: HashSet<String> = whole.iter().map(|f| format!("{f:?}")).collect();
            assert_eq!((whole.len(), unique.len()), (all, all));
            let parts = [
                enumerated(&template, 0, 9, 7),
                enumerated(&template, 9, 1 << 40, 7),
            ];
            assert_eq!(parts.concat(), whole);
            if all > 20 {
                assert_ne!(whole, enumerated(&template, 0, u64::MAX, 8));
                // Not in turn.
                assert_ne!(whole, draw(text, all));
            }
        }
    }

    #[test]
    fn a_list_is_shared_out_and_gone_through_again() {
        let template: Template = SMALL.parse().unwrap();
        let list: Arc<[Flow]> = enumerated(&template, 0, 24, 1).into();
        let mut random = Random::new(1);
        let mut seen = Vec::new();
        for worker in 0..5 {
            let mut flows = Flows::listed(Arc::clone(&list), worker, 5);
            let share = 24 * (worker + 1) / 5 - 24 * worker / 5;
            let twice: Vec<Flow> = (0..2 * share)
                .map(|_| *flows.next_flow(&mut random))
                .collect();
            assert_eq!(twice[..share], twice[share..]);
            seen.extend_from_slice(&twice[..share]);
        }
        assert_eq!(seen, *list);
    }

    #[test]
    fn a_limit_takes_the_first_flows_in_any_order() {
        let first: HashSet<String> = draw(SMALL, 5).iter().map(|f| format!("{f:?}")).collect();
        for order in ["sequential", "uniform", "zipf"] {
            let text = format!("{SMALL} flows 5 order {order}");
            let seen: HashSet<String> = draw(&text, 500).iter().map(|f| format!("{f:?}")).collect();
            assert_eq!(seen, first, "{order}");
        }
    }

    #[test]
    fn workers_begin_elsewhere_and_meet_all() {
        let (mut second, mut random) = flows(SMALL, 1, 2);
        let begun: Vec<Flow> = (0..24).map(|_| *second.next_flow(&mut random)).collect();
        let all = draw(SMALL, 24);
        assert_eq!(begun[..12], all[12..]);
        assert_eq!(begun[12..], all[..12]);
    }

    #[test]
    fn uniform_draws_are_even_and_zipf_draws_are_not() {
        let count = |text: &str| {
            let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
            for flow in draw(text, 100_000) {
                *counts.entry(flow.ports[0]).or_default() += 1;
            }
            counts
        };
        let even = count("udp 10.0.0.1:1-100 > 10.0.0.2:1 order uniform");
        assert_eq!(even.len(), 100);
        assert!(even.values().all(|n| (800..1200).contains(n)), "{even:?}");
        let zipf = count("udp 10.0.0.1:1-1000 > 10.0.0.2:1 order zipf:1.0");
        // Of the continuous distribution over 1..=1001, ln 2 / ln 1001 falls to the first.
        assert!((9_500..10_500).contains(&zipf[&1]), "{}", zipf[&1]);
        assert!((5_400..6_400).contains(&zipf[&2]), "{}", zipf[&2]);
        assert!(zipf.len() > 900);
    }

    #[test]
    fn zipf_stays_in_bounds() {
        for s in [0.1, 0.99, 1.0, 1.5, 5.0] {
            assert_eq!(zipf(0.0, 10, s), 0);
            assert!(zipf(1.0, 10, s) <= 9);
            assert!(zipf(1.0 - 1e-12, u32::MAX, s) < u32::MAX);
        }
    }
}
