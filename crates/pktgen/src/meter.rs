//! What the frames that come back tell: loss, latency, reordering, damage.

use crate::{
    gaps::{Gaps, is_before},
    parse,
    stamp::Stamp,
};
use hdrhistogram::Histogram;

/// Numbers of a stream that are remembered, to tell a late frame from one that came twice.
const WINDOW: u32 = 1 << 16;
/// Flows whose last frame is remembered.
const FLOWS: usize = 1 << 16;
/// The longest latency told apart: a minute, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Counts what comes in on one worker's queues.
pub struct Meter {
    run: u16,
    /// Nanoseconds of a clock, in 2^-32.
    ns_of_clock: u64,
    streams: Vec<Stream>,
    flows: Box<[LastOfFlow]>,
    seen: Seen,
    latency: Histogram<u64>,
    /// Of the one stream there is, if somebody wants to know.
    gaps: Option<Gaps>,
}

/// What has come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Frames with our stamp.
    pub stamped: u64,
    /// Of them, those that had come before.
    pub duplicates: u64,
    /// Frames behind which a later one of the same flow had come already.
    pub reordered: u64,
    /// Frames with a wrong IPv4 header checksum.
    pub bad_ip_checksum: u64,
    /// Frames with a wrong TCP, UDP or ICMP checksum.
    pub bad_upper_checksum: u64,
    /// Frames of others.
    pub foreign: u64,
    /// Nanoseconds all stamped frames took, added.
    pub latency_sum_ns: u64,
}

/// The numbers of a stream that have come.
struct Stream {
    /// The highest, plus one.
    next: u32,
    begun: bool,
    /// A bit for each of the last [`WINDOW`] numbers.
    bits: Box<[u64]>,
}

/// The last frame of a flow. A slot is shared by flows of one hash; the last of them has it.
#[derive(Clone, Copy, Default)]
struct LastOfFlow {
    flow: u32,
    stream: u16,
    used: bool,
    number: u32,
}

impl Meter {
    /// For frames of `run`, from `streams` streams, stamped by a clock of `hz`.
    ///
    /// # Panics
    /// Never: the histogram's bounds are right.
    #[must_use]
    pub fn new(run: u16, streams: u16, hz: u64) -> Self {
        let stream = || Stream {
            next: 0,
            begun: false,
            bits: vec![0; WINDOW as usize / 64].into(),
        };
        Self {
            run,
            ns_of_clock: u64::try_from((1_000_000_000_u128 << 32) / u128::from(hz.max(1)))
                .unwrap_or(u64::MAX),
            streams: (0..streams).map(|_| stream()).collect(),
            flows: vec![LastOfFlow::default(); FLOWS].into(),
            seen: Seen::default(),
            latency: new_histogram(),
            gaps: None,
        }
    }

    /// Looks where the numbers of the one stream break off, too.
    #[must_use]
    pub fn with_gaps(mut self) -> Self {
        self.gaps = Some(Gaps::default());
        self
    }

    /// As [`Gaps::turn`].
    pub const fn turn(&mut self, number: u32) {
        if let Some(gaps) = &mut self.gaps {
            gaps.turn(number);
        }
    }

    /// Where they broke off.
    pub const fn take_gaps(&mut self) -> Option<Gaps> {
        self.gaps.take()
    }

    /// Takes a frame that came at `now`; `bytes` may be the first part of it. False if it is none of ours.
    #[inline]
    pub fn take(&mut self, now: u64, bytes: &[u8], total: usize) -> bool {
        let Some(frame) = parse::parse(bytes, total) else {
            self.seen.foreign += 1;
            return false;
        };
        let stamp = Stamp::read(frame.payload).filter(|stamp| stamp.run == self.run);
        let Some((stamp, stream)) =
            stamp.and_then(|s| Some((s, self.streams.get_mut(usize::from(s.stream))?)))
        else {
            self.seen.foreign += 1;
            return false;
        };
        self.seen.stamped += 1;
        self.seen.bad_ip_checksum += u64::from(!frame.ip_checksum_right);
        self.seen.bad_upper_checksum += u64::from(frame.upper_checksum_right == Some(false));
        if stream.has_come(stamp.number) {
            self.seen.duplicates += 1;
            return true;
        }
        if let Some(gaps) = &mut self.gaps {
            gaps.take(now, stamp.number, stamp.clock);
        }
        let [low, tag] = [frame.flow, frame.flow >> 32];
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the table's size; half a hash"
        )]
        let (slot, tag) = (low as usize % FLOWS, tag as u32);
        let last = &mut self.flows[slot];
        let same = last.used && last.flow == tag && last.stream == stamp.stream;
        // RFC 4737 3.3: reordered if a later one was seen before.
        if same && is_before(stamp.number, last.number) {
            self.seen.reordered += 1;
        } else {
            *last = LastOfFlow {
                flow: tag,
                stream: stamp.stream,
                used: true,
                number: stamp.number,
            };
        }
        let clocks = now.saturating_sub(stamp.clock);
        let ns = u64::try_from((u128::from(clocks) * u128::from(self.ns_of_clock)) >> 32)
            .unwrap_or(u64::MAX);
        self.seen.latency_sum_ns = self.seen.latency_sum_ns.saturating_add(ns);
        self.latency.saturating_record(ns.max(1));
        true
    }

    /// Counts so far.
    #[must_use]
    #[inline]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Counts and latencies, at the end.
    #[must_use]
    pub fn finish(self) -> (Seen, Histogram<u64>) {
        (self.seen, self.latency)
    }
}

impl Seen {
    /// With those of another worker.
    pub fn add(&mut self, other: &Self) {
        self.stamped += other.stamped;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.bad_ip_checksum += other.bad_ip_checksum;
        self.bad_upper_checksum += other.bad_upper_checksum;
        self.foreign += other.foreign;
        self.latency_sum_ns = self.latency_sum_ns.saturating_add(other.latency_sum_ns);
    }
}

/// An empty histogram of latencies, nanoseconds, three digits exact.
#[must_use]
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("bounds and digits are valid")
}

impl Stream {
    /// Whether `number` has come before; remembers it.
    #[inline]
    fn has_come(&mut self, number: u32) -> bool {
        if !self.begun {
            (self.begun, self.next) = (true, number);
        }
        let ahead = number.wrapping_sub(self.next);
        if ahead < u32::MAX / 2 {
            // What was skipped has not come yet.
            for skipped in 0..ahead.min(WINDOW) {
                self.forget(self.next.wrapping_add(skipped));
            }
            self.next = number.wrapping_add(1);
            self.remember(number);
            return false;
        }
        if self.next.wrapping_sub(number) > WINDOW {
            // Too late to be told from one that came twice; loss shall not be invented.
            return false;
        }
        let come = self.bits[Self::word(number)] >> (number % 64) & 1 == 1;
        self.remember(number);
        come
    }

    fn word(number: u32) -> usize {
        ((number % WINDOW) / 64) as usize
    }

    #[inline]
    fn remember(&mut self, number: u32) {
        self.bits[Self::word(number)] |= 1 << (number % 64);
    }

    #[inline]
    fn forget(&mut self, number: u32) {
        self.bits[Self::word(number)] &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flows::Flow,
        prototype::{HEAD, Link, Prototype},
        template::Template,
    };
    use types::MacAddr;

    const HZ: u64 = 2_000_000_000;

    /// Frame `number` of flow `flow`, sent at `clock`.
    fn frame(flow: u16, number: u32, clock: u64) -> Vec<u8> {
        let template: Template = "udp 10.0.0.1:0-65535 > 10.0.0.2:1".parse().unwrap();
        let mac = MacAddr([2; 6]);
        let prototype = Prototype::new(&template, 64, Link { from: mac, to: mac }, Some((9, 0)));
        let mut head = [0; HEAD];
        let flow = Flow {
            ports: [flow, 1],
            ..Flow::default()
        };
        prototype.write(&flow, number, clock, &mut head);
        head[..60].to_vec()
    }

    fn meter(frames: &[(u16, u32)]) -> Seen {
        let mut meter = Meter::new(9, 1, HZ);
        for &(flow, number) in frames {
            meter.take(100, &frame(flow, number, 0), 60);
        }
        *meter.seen()
    }

    #[test]
    fn latency_is_told_in_nanoseconds() {
        let mut meter = Meter::new(9, 1, HZ);
        meter.take(5_000, &frame(1, 0, 1_000), 60);
        meter.take(9_000, &frame(1, 1, 1_000), 60);
        let (seen, latency) = meter.finish();
        assert_eq!((seen.stamped, seen.latency_sum_ns), (2, 6_000));
        assert!(
            (1_998..=2_002).contains(&latency.min()) && (3_996..=4_004).contains(&latency.max())
        );
    }

    #[test]
    fn what_comes_twice_is_counted_once_more_and_not_as_a_frame_that_was_lost() {
        let seen = meter(&[(1, 0), (1, 1), (1, 1), (1, 3), (1, 0)]);
        assert_eq!((seen.stamped, seen.duplicates, seen.reordered), (5, 2, 0));
    }

    #[test]
    fn reordering_counts_within_a_flow_only() {
        assert_eq!(meter(&[(1, 1), (2, 0), (1, 2)]).reordered, 0);
        let seen = meter(&[(1, 0), (1, 3), (1, 1), (1, 2), (1, 4)]);
        assert_eq!((seen.reordered, seen.duplicates), (2, 0));
    }

    #[test]
    fn numbers_wrap() {
        let seen = meter(&[
            (1, u32::MAX - 1),
            (1, u32::MAX),
            (1, 0),
            (1, 1),
            (1, u32::MAX),
        ]);
        assert_eq!((seen.duplicates, seen.reordered), (1, 0));
    }

    #[test]
    fn a_long_gap_does_not_make_old_bits_of_new_frames() {
        let mut frames: Vec<(u16, u32)> = (0..200_000).map(|n| (1, n)).collect();
        frames.drain(70_000..150_000);
        let seen = meter(&frames);
        assert_eq!((seen.stamped, seen.duplicates), (120_000, 0));
    }

    #[test]
    fn other_runs_other_streams_and_noise_are_foreign() {
        let mut meter = Meter::new(8, 1, HZ);
        meter.take(1, &frame(1, 0, 0), 60);
        meter.take(1, &[0; 60], 60);
        assert_eq!((meter.seen().foreign, meter.seen().stamped), (2, 0));
        let mut none = Meter::new(9, 0, HZ);
        none.take(1, &frame(1, 0, 0), 60);
        assert_eq!(none.seen().foreign, 1);
    }

    #[test]
    fn damage_is_counted() {
        let mut meter = Meter::new(9, 1, HZ);
        let mut bytes = frame(1, 0, 0);
        bytes[59] ^= 1;
        meter.take(1, &bytes, 60);
        let mut bytes = frame(1, 1, 0);
        bytes[22] ^= 1;
        meter.take(1, &bytes, 60);
        let seen = meter.seen();
        assert_eq!((seen.bad_upper_checksum, seen.bad_ip_checksum), (1, 1));
    }
}
