//! Two and three directors on two segments, over links that lose, delay, reorder and duplicate, in one direction too, and in
//! processes that sleep now and then; then everything heals. One seed is one world. `VRRP_SEEDS=10000` plays so many, from `VRRP_FIRST` on.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{cmp::Reverse, collections::BinaryHeap, net::IpAddr, time::Duration};
use vrrp::{
    Action, Advertisement, Authentication, Interval, Member, MemberSettings, Preemption, State,
    Unit, Version,
};

const SEGMENTS: usize = 2;
/// Longest way over a whole link.
const DELAY_US: u64 = 900;

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// How one direction of one segment between two directors behaves while links are bad.
#[derive(Clone, Copy)]
struct Fault {
    cut: bool,
    loss: u64,
    duplicates: u64,
    /// Added to the delay at most, µs: later frames overtake.
    jitter: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Delivery {
    at: Duration,
    order: u64,
    to: usize,
    from: usize,
    segment: usize,
    priority: u8,
}

struct Director {
    unit: Unit,
    sleeps_until: Duration,
    /// What came while it slept; the oldest are lost, as a port's ring would.
    inbox: Vec<Delivery>,
}

struct World {
    random: Random,
    now: Duration,
    directors: Vec<Director>,
    faults: Vec<Fault>,
    heals: Duration,
    sleeping: bool,
    wire: BinaryHeap<Reverse<Delivery>>,
    order: u64,
    interval: Duration,
    /// Who announced the addresses last, as stations on whole links hear it.
    announced: Option<usize>,
    /// Since when there are two masters.
    two_since: Option<Duration>,
    /// The longest that lasted, since links are whole and the bound has passed.
    two_longest: Duration,
    bound: Duration,
}

fn address(director: usize, segment: usize, crossed: bool) -> IpAddr {
    let base = if crossed && segment == 1 {
        50 - director
    } else {
        director + 1
    };
    IpAddr::from([
        10,
        0,
        u8::try_from(segment).unwrap(),
        u8::try_from(base).unwrap(),
    ])
}

impl World {
    fn new(seed: u64, may_preempt: bool) -> Self {
        let mut random = Random(seed);
        let count = 2 + usize::try_from(random.below(2)).unwrap();
        let centiseconds = [1, 2, 10, 100][usize::try_from(random.below(4)).unwrap()];
        let interval = Interval::of_centiseconds(centiseconds).unwrap();
        let segments = 1 + usize::try_from(random.below(2)).unwrap();
        // Equal priorities, with addresses that say different things on the two segments, are the hardest.
        let (equal, crossed) = (random.chance(30), random.chance(50));
        let preemption = Preemption {
            allowed: random.chance(70) && may_preempt,
            delay: if random.chance(30) {
                interval.duration() * 5
            } else {
                Duration::ZERO
            },
        };
        let directors = (0..count)
            .map(|n| {
                let priority = if equal {
                    100
                } else {
                    u8::try_from(50 + random.below(200)).unwrap()
                };
                let members = (0..segments)
                    .map(|segment| MemberSettings {
                        version: Version::V3,
                        router_id: 1,
                        priority,
                        interval,
                        source: address(n, segment, crossed),
                        addresses: vec![IpAddr::from([10, 0, 0, 100])],
                        authentication: Authentication::None,
                    })
                    .collect();
                Director {
                    unit: Unit::new(members, preemption),
                    sleeps_until: us(random.below(1_000_000)),
                    inbox: Vec::new(),
                }
            })
            .collect();
        let faults = (0..count * count * SEGMENTS)
            .map(|_| Fault {
                cut: random.chance(20),
                loss: random.below(80),
                duplicates: random.below(30),
                jitter: random.below(interval.duration().as_micros().try_into().unwrap()),
            })
            .collect();
        let interval = interval.duration();
        Self {
            heals: us(1_000_000) + interval * u32::try_from(20 + random.below(60)).unwrap(),
            sleeping: random.chance(50),
            random,
            now: Duration::ZERO,
            directors,
            faults,
            wire: BinaryHeap::new(),
            order: 0,
            interval,
            announced: None,
            two_since: None,
            two_longest: Duration::ZERO,
            // Two rounds of advertisements, and what is still under way.
            bound: interval * 3,
        }
    }

    /// Masters that act as such: with a lease that runs.
    fn masters(&self) -> usize {
        let acts = |d: &&Director| d.unit.lease().is_some_and(|until| self.now <= until);
        self.directors.iter().filter(acts).count()
    }

    /// Whether who announced the addresses last has them.
    fn last_is_master(&self) -> bool {
        let last = self.announced.and_then(|n| self.directors.get(n));
        last.is_some_and(|d| d.unit.state() == State::Master)
    }

    fn watch(&mut self) {
        if self.masters() > 1 {
            let since = *self.two_since.get_or_insert(self.now);
            if since >= self.heals + self.bound {
                self.two_longest = self.two_longest.max(self.now - since);
            } else if self.now > self.heals + self.bound {
                // Two from before the bound, still.
                self.two_longest = self.two_longest.max(self.now - self.heals - self.bound);
            }
        } else {
            self.two_since = None;
        }
    }

    fn act(&mut self, from: usize, actions: &[Action]) {
        for action in actions {
            if *action == Action::Announce {
                self.announced = Some(from);
            }
            let Action::Send { member, priority } = *action else {
                continue;
            };
            for to in (0..self.directors.len()).filter(|to| *to != from) {
                let at = (from * self.directors.len() + to) * SEGMENTS + member;
                let fault = if self.now < self.heals {
                    self.faults[at]
                } else {
                    Fault {
                        cut: false,
                        loss: 0,
                        duplicates: 0,
                        jitter: 0,
                    }
                };
                if fault.cut || self.random.chance(fault.loss) {
                    continue;
                }
                let copies = 1 + usize::from(self.random.chance(fault.duplicates));
                for _ in 0..copies {
                    let late = us(100 + self.random.below(DELAY_US - 100))
                        + us(self.random.below(fault.jitter + 1));
                    self.order += 1;
                    self.wire.push(Reverse(Delivery {
                        at: self.now + late,
                        order: self.order,
                        to,
                        from,
                        segment: member,
                        priority,
                    }));
                }
            }
        }
    }

    fn said(&self, delivery: &Delivery) -> (IpAddr, Advertisement) {
        let member: &Member = &self.directors[delivery.from].unit.members()[delivery.segment];
        (
            member.settings().source,
            member.advertisement(delivery.priority),
        )
    }

    /// A director that is awake: what came first, then what is due.
    fn wake(&mut self, n: usize) {
        let mut actions = Vec::new();
        let inbox = std::mem::take(&mut self.directors[n].inbox);
        let unit_now = self.now;
        for delivery in inbox {
            let (from, said) = self.said(&delivery);
            self.directors[n]
                .unit
                .receive(unit_now, delivery.segment, from, &said, &mut actions);
        }
        let unit = &mut self.directors[n].unit;
        if unit.state() == State::Init {
            unit.start(unit_now, &mut actions);
        }
        unit.poll(unit_now, &mut actions);
        self.act(n, &actions);
        if self.sleeping && self.now < self.heals && self.random.chance(3) {
            let long = u64::try_from(self.interval.as_micros()).unwrap() * 8;
            self.directors[n].sleeps_until = self.now + us(self.random.below(long));
        }
    }

    fn run(&mut self, until: Duration) {
        loop {
            let wire = self.wire.peek().map(|Reverse(d)| d.at);
            let due = self.directors.iter().map(|d| match d.unit.state() {
                State::Init => d.sleeps_until,
                _ if d.inbox.is_empty() => {
                    d.unit.due().unwrap_or(Duration::MAX).max(d.sleeps_until)
                }
                _ => d.sleeps_until,
            });
            let Some(next) = due.chain(wire).min().filter(|next| *next <= until) else {
                self.now = until;
                self.watch();
                return;
            };
            self.now = self.now.max(next);
            self.watch();
            while let Some(Reverse(d)) = self.wire.peek() {
                if d.at > self.now {
                    break;
                }
                let Some(Reverse(delivery)) = self.wire.pop() else {
                    break;
                };
                let inbox = &mut self.directors[delivery.to].inbox;
                inbox.push(delivery);
                if inbox.len() > 4 {
                    inbox.remove(0);
                }
            }
            for n in 0..self.directors.len() {
                let d = &self.directors[n];
                let has = !d.inbox.is_empty()
                    || d.unit.state() == State::Init
                    || d.unit.due().is_some_and(|due| due <= self.now);
                if d.sleeps_until <= self.now && has {
                    self.wake(n);
                    self.watch();
                }
            }
        }
    }
}

/// Plays one world: what is wrong with it, if anything.
fn play(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed, true);
    let end = world.heals + world.interval * 60;
    world.run(world.heals);
    // Words of a conflict that ended before may have been lost: for that there is the refreshing of announcements.
    let states = world.directors.iter().map(|d| d.unit.state());
    let in_conflict = states.filter(|state| *state == State::Master).count() > 1;
    world.run(end);
    // Who preempts is master a moment before the other hears of it: one way over a link.
    if world.two_longest > us(DELAY_US) {
        return Err(format!(
            "seed {seed}: two masters for {:?} on whole links",
            world.two_longest
        ));
    }
    match world.masters() {
        1 if in_conflict && !world.last_is_master() => Err(format!(
            "seed {seed}: stations have last heard the addresses of one that is not master"
        )),
        1 => Ok(()),
        n => Err(format!(
            "seed {seed}: {n} masters at the end: {:?}",
            world
                .directors
                .iter()
                .map(|d| (d.unit.state(), d.unit.cause().clone()))
                .collect::<Vec<_>>()
        )),
    }
}

#[test]
fn there_are_never_two_masters_once_links_are_whole() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = number("VRRP_SEEDS").unwrap_or(500);
    let first = number("VRRP_FIRST").unwrap_or(0);
    // Found among 10,000: three equals whose addresses order them in a circle gave way to each other in step, for ever. And among 1,000,000: they did
    // again and again, because each who was master for a moment had the others begin to wait together. And since it is looked at who was
    // announced last: the loser had said nothing on giving way, or woke late (83 to 470), or was the second of two to give way; the last
    // by a word of its own that came so late that it began and lost once more.
    let kept = [5754, 232_919, 83, 238, 298, 470, 745, 4430, 77_000_171_719];
    let wrong: Vec<String> = (first..first + seeds)
        .chain(kept)
        .filter_map(|seed| play(seed).err())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {seeds} worlds:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Links are whole throughout; only the processes sleep. Then the lease keeps two from acting as master: who takes over from a
/// sleeper does it when the sleeper's lease has run out. (But for preemption, which waits for nothing: a master that falls asleep in that
/// very moment does not hear of it before its lease ends.)
#[test]
fn sleep_alone_never_makes_two_masters() {
    for seed in 0..500 {
        let mut world = World::new(seed, false);
        for fault in &mut world.faults {
            *fault = Fault {
                cut: false,
                loss: 0,
                duplicates: 0,
                jitter: 0,
            };
        }
        // From the first master on, there is nothing to heal.
        let end = world.heals;
        world.sleeping = true;
        world.bound = Duration::ZERO;
        world.heals = Duration::ZERO;
        world.asleep(end);
        assert!(
            world.two_longest <= us(DELAY_US),
            "seed {seed}: two masters for {:?}",
            world.two_longest
        );
    }
}

impl World {
    /// Runs to `end`, with directors that fall asleep at random whatever the links do.
    fn asleep(&mut self, end: Duration) {
        let step = self.interval / 2;
        while self.now < end {
            let until = (self.now + step).min(end);
            self.run(until);
            let n = usize::try_from(self.random.below(self.directors.len() as u64)).unwrap();
            if self.random.chance(10) {
                let long = u64::try_from(self.interval.as_micros()).unwrap() * 8;
                self.directors[n].sleeps_until = self.now + us(self.random.below(long));
            }
        }
    }
}
