//! How fast to send, and when the next frame is due.

use std::{fmt, str::FromStr};

/// Preamble and gap between frames, bytes: they take time on the wire and count in rates of bits.
pub const WIRE_OVERHEAD: u16 = 20;

/// A rate, over all workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Frames a second.
    Packets(f64),
    /// Bits a second on the wire: check sequence, preamble and gap counted.
    Bits(f64),
    /// Of the link's speed.
    Percent(f64),
    /// As fast as the ports take them.
    Max,
}

impl Rate {
    /// Frames of `size` bytes a second, check sequence included; `None` where that depends on what a device takes: [`Rate::Max`], or a
    /// share of a link whose speed, bits a second, is not known.
    #[must_use]
    pub fn frames(self, size: u16, link_bps: Option<f64>) -> Option<f64> {
        let per_frame = f64::from(size + WIRE_OVERHEAD) * 8.0;
        match (self, link_bps) {
            (Self::Packets(pps), _) => Some(pps),
            (Self::Bits(bps), _) => Some(bps / per_frame),
            (Self::Percent(share), Some(bps)) => Some(bps * share / 100.0 / per_frame),
            (Self::Percent(_), None) | (Self::Max, _) => None,
        }
    }

    /// A part of it; as fast as goes stays that.
    #[must_use]
    pub fn part(self, part: f64) -> Self {
        match self {
            Self::Packets(n) => Self::Packets(n * part),
            Self::Bits(n) => Self::Bits(n * part),
            Self::Percent(n) => Self::Percent(n * part),
            Self::Max => Self::Max,
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let wrong = || {
            format!(
                "`{text}` is no rate: packets a second (`1000`, `250k`, `1.5M`), bits a second on the wire (`100mbit`, `2.5gbit`), a share \
                 of the link's speed (`40%`), or `max`"
            )
        };
        if lower == "max" {
            return Ok(Self::Max);
        }
        let digits = lower
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let rate = match unit.trim() {
            "" | "pps" => Self::Packets(number),
            "k" | "kpps" => Self::Packets(number * 1e3),
            "m" | "mpps" => Self::Packets(number * 1e6),
            "bit" => Self::Bits(number),
            "kbit" => Self::Bits(number * 1e3),
            "mbit" => Self::Bits(number * 1e6),
            "gbit" => Self::Bits(number * 1e9),
            "%" if number <= 100.0 => Self::Percent(number),
            _ => return Err(wrong()),
        };
        if number > 0.0 { Ok(rate) } else { Err(wrong()) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(n) => write!(f, "{n:.0} packets/s"),
            Self::Bits(n) => write!(f, "{:.3} Mbit/s", n / 1e6),
            Self::Percent(n) => write!(f, "{n} % of the link"),
            Self::Max => write!(f, "as fast as goes"),
        }
    }
}

/// Says when frames are due, in clocks since the start. Time is its caller's.
#[derive(Clone, Debug)]
pub struct Pace {
    /// No rate: always due.
    is_free: bool,
    /// Clocks a frame takes, and each byte of it on the wire.
    per_frame: f64,
    per_byte: f64,
    /// When the next frame is due.
    due: f64,
    /// Clocks it may be late before the past is given up: a pause shall not become a burst.
    patience: f64,
    /// Clocks given up.
    given_up: f64,
    /// From when on another rate holds, and that.
    turn: Option<(f64, Slope)>,
}

/// Clocks of a frame at a rate.
#[derive(Clone, Copy, Debug)]
struct Slope {
    is_free: bool,
    per_frame: f64,
    per_byte: f64,
}

/// How late frames may be and still be sent, seconds.
const PATIENCE_S: f64 = 0.002;

impl Pace {
    /// One worker's of `workers`, for a clock of `hz`.
    ///
    /// # Errors
    /// A share of a link whose speed, bits a second, is not known.
    pub fn new(
        rate: Rate,
        link_bps: Option<f64>,
        workers: u16,
        worker: u16,
        hz: f64,
    ) -> Result<Self, String> {
        let workers_f = f64::from(workers.max(1));
        let (per_frame, per_byte) = match rate {
            Rate::Max => (0.0, 0.0),
            Rate::Packets(pps) => (hz * workers_f / pps, 0.0),
            Rate::Bits(bps) => (0.0, hz * workers_f * 8.0 / bps),
            Rate::Percent(share) => {
                let bps = link_bps.ok_or(
                    "a rate in % needs a link speed, and this port knows none: give `--link-speed 10gbit`, or the rate in packets or bits",
                )?;
                (0.0, hz * workers_f * 8.0 / (bps * share / 100.0))
            }
        };
        Ok(Self {
            is_free: rate == Rate::Max,
            per_frame,
            per_byte,
            // Workers take turns.
            due: per_frame * f64::from(worker) / workers_f,
            patience: hz * PATIENCE_S,
            given_up: 0.0,
            turn: None,
        })
    }

    /// From clock `at` on as `later`, which begins then.
    #[must_use]
    pub const fn then(mut self, at: f64, later: &Self) -> Self {
        let slope = Slope {
            is_free: later.is_free,
            per_frame: later.per_frame,
            per_byte: later.per_byte,
        };
        self.turn = Some((at, slope));
        self
    }

    /// Whether another rate is still to come.
    #[inline]
    #[must_use]
    pub const fn will_turn(&self) -> bool {
        self.turn.is_some()
    }

    #[cold]
    fn take_turn(&mut self, slope: Slope, now: f64) {
        (self.is_free, self.per_frame, self.per_byte) =
            (slope.is_free, slope.per_frame, slope.per_byte);
        // What the rate before still owed is not sent at this one.
        (self.due, self.turn) = (now, None);
    }

    /// Whether a frame is due at `now`.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: f64) -> bool {
        self.is_free || self.due <= now
    }

    /// When the next frame is due.
    #[must_use]
    pub const fn due(&self) -> f64 {
        self.due
    }

    /// A frame of `size` bytes, check sequence included, is sent.
    #[inline]
    pub fn sent(&mut self, size: u16) {
        if self.is_free {
            return;
        }
        self.due += self.per_frame + self.per_byte * f64::from(size + WIRE_OVERHEAD);
    }

    /// Gives up what is too late.
    #[inline]
    pub fn catch_up(&mut self, now: f64) {
        if let Some((at, slope)) = self.turn
            && now >= at
        {
            self.take_turn(slope, now);
        }
        let late = now - self.due - self.patience;
        if late > 0.0 && !self.is_free {
            self.due += late;
            self.given_up += late;
        }
    }

    /// Clocks in which nothing was sent that should have been.
    #[must_use]
    pub const fn given_up(&self) -> f64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, rate) in [
            ("max", Rate::Max),
            ("1000", Rate::Packets(1000.0)),
            ("1.5M", Rate::Packets(1.5e6)),
            ("20kpps", Rate::Packets(20e3)),
            ("100mbit", Rate::Bits(100e6)),
            ("2.5 Gbit", Rate::Bits(2.5e9)),
            ("40%", Rate::Percent(40.0)),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in [
            "", "fast", "-1", "0", "101%", "1e6", "10mb", "NaN", "inf", "1.2.3", "%",
        ] {
            let said = text.parse::<Rate>().unwrap_err();
            assert!(said.contains("packets a second"), "{said}");
        }
    }

    /// Frames sent in `seconds` when the clock is read every `step` clocks.
    fn sent(rate: Rate, size: u16, seconds: f64, step: f64) -> u32 {
        let hz = 1e9;
        let mut pace = Pace::new(rate, Some(1e9), 1, 0, hz).unwrap();
        let (mut now, mut count) = (0.0, 0);
        while now < seconds * hz {
            pace.catch_up(now);
            while pace.is_due(now) {
                pace.sent(size);
                count += 1;
            }
            now += step;
        }
        count
    }

    #[test]
    fn rates_are_kept_however_coarse_the_clock() {
        for step in [100.0, 3_333.0, 1_000_000.0] {
            let count = sent(Rate::Packets(10_000.0), 64, 1.0, step);
            assert!((9_980..=10_020).contains(&count), "{count} at {step}");
        }
        // Line rate of a gigabit with the smallest frames: 1,488,095 a second.
        let count = sent(Rate::Percent(100.0), 64, 0.1, 1000.0);
        assert!((148_800..=148_820).contains(&count), "{count}");
        assert_eq!(sent(Rate::Percent(50.0), 1518, 0.1, 1000.0), 4064);
    }

    #[test]
    fn a_pause_does_not_become_a_burst() {
        let mut pace = Pace::new(Rate::Packets(1e6), None, 1, 0, 1e9).unwrap();
        pace.catch_up(1e9);
        let mut count = 0;
        while pace.is_due(1e9) {
            pace.sent(64);
            count += 1;
        }
        assert!((1_999..=2_001).contains(&count), "{count}");
        assert!((pace.given_up() - 0.998e9).abs() < 1.0);
    }

    #[test]
    fn another_rate_from_a_time_on() {
        let pace = |pps| Pace::new(Rate::Packets(pps), None, 1, 0, 1e9).unwrap();
        let mut turning = pace(100_000.0).then(0.5e9, &pace(1000.0));
        let (mut before, mut after) = (0, 0);
        for now in (0..1000).map(|step| f64::from(step) * 1e6) {
            turning.catch_up(now);
            while turning.is_due(now) {
                turning.sent(64);
                if turning.will_turn() {
                    before += 1;
                } else {
                    after += 1;
                }
            }
        }
        assert!((49_800..=50_000).contains(&before), "{before}");
        assert!((499..=501).contains(&after), "{after}");
    }

    #[test]
    fn a_share_of_an_unknown_speed_is_refused() {
        let said = Pace::new(Rate::Percent(5.0), None, 1, 0, 1e9).unwrap_err();
        assert!(said.contains("--link-speed"), "{said}");
    }

    #[test]
    fn workers_share_a_rate() {
        let mut count = 0;
        for worker in 0..4 {
            let mut pace = Pace::new(Rate::Packets(1000.0), None, 4, worker, 1e9).unwrap();
            while pace.is_due(1e9 - 1.0) {
                pace.sent(64);
                count += 1;
            }
        }
        assert_eq!(count, 1000);
    }
}
