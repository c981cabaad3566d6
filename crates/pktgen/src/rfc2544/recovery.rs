//! System recovery (RFC 2544 26.5): a device is overloaded, then gets half of that; for how long does it still lose frames?

use super::{Bench, Course};
use crate::{
    gaps::LastLost,
    rate::Rate,
    report::{Followed, Report, si},
    spread::Spread,
};
use anyhow::Result;
use serde::Serialize;
use std::fmt;

/// Of the throughput: what overloads.
const OVERLOAD: f64 = 1.1;
/// Of that: what it gets then.
const THEN: f64 = 0.5;
/// Whoever still loses frames in the last part of the time it is looked at has not recovered.
const CALM: f64 = 0.1;

/// How a device recovers.
#[derive(Clone, Debug, Serialize)]
pub struct Recovery {
    /// Seconds of each overload.
    pub overload_seconds: f64,
    /// Seconds it was looked at after each.
    pub watched_seconds: f64,
    /// Seconds from the rate's fall to the last frame lost, of the runs in which the device recovered; none if it did in none.
    pub recovery_seconds: Option<Spread>,
    /// Runs at whose end frames were still being lost.
    pub not_recovered: usize,
    /// Each run.
    pub runs: Vec<Overloaded>,
}

/// One overload, and what came after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overloaded {
    /// Frames a second while it lasted.
    pub overload_pps: f64,
    /// Percent of them lost: nothing, if the device was not overloaded.
    pub overload_lost_percent: f64,
    /// Frames a second then.
    pub then_pps: f64,
    /// Of them lost.
    pub lost_after: u64,
    /// Seconds until the last of them was sent, to the next frame that came: 0 if none was lost. None: some were lost in the last tenth of
    /// the time.
    pub recovery_seconds: Option<f64>,
}

impl Overloaded {
    /// Of a run whose rate turned; `None` if it was over before.
    #[expect(clippy::cast_precision_loss, reason = "frames and clocks of a run")]
    fn of(report: &Report, followed: &Followed) -> Option<Self> {
        let (at, made) = followed.turned?;
        let (_, came_after) = followed.gaps.since_turn()?;
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / followed.hz;
        let sent = report.sent.packets;
        let came = report.measured.as_ref().map_or(0, |m| m.packets);
        let sent_after = sent.saturating_sub(made);
        let lost_after = sent_after.saturating_sub(came_after);
        let lost_before = sent.saturating_sub(came).saturating_sub(lost_after);
        let overloaded = seconds(followed.start, at);
        let watched = report.sent.seconds - overloaded;
        let per_second = |n: u64, seconds: f64| match seconds > 0.0 {
            true => n as f64 / seconds,
            false => 0.0,
        };
        Some(Self {
            overload_pps: per_second(made, overloaded),
            overload_lost_percent: lost_before as f64 * 100.0 / made.max(1) as f64,
            then_pps: per_second(sent_after, watched),
            lost_after,
            recovery_seconds: match followed.gaps.last_lost(sent) {
                _ if lost_after == 0 => Some(0.0),
                LastLost::None => Some(0.0),
                LastLost::Between(_, behind) => {
                    Some(seconds(at, behind)).filter(|s| *s <= watched * (1.0 - CALM))
                }
                LastLost::AtTheEnd => None,
            },
        })
    }

    /// Whether anything was lost while it was to be overloaded.
    fn was_overloaded(&self) -> bool {
        self.overload_lost_percent > 0.0
    }
}

impl Bench<'_> {
    /// As often as is asked for: of a device of that throughput, in frames of the size that is set.
    pub(super) fn recovery(
        &mut self,
        size: u16,
        throughput: f64,
        top: f64,
    ) -> Result<Option<Recovery>> {
        if throughput <= 0.0 {
            return Ok(None);
        }
        let (overload_seconds, watched_seconds) = (self.args.overload, self.args.recover);
        let rate = (throughput * OVERLOAD).min(top);
        let mut runs: Vec<Overloaded> = Vec::new();
        for _ in 0..self.args.repeat {
            let report = self.go(&Course {
                seconds: Some(overload_seconds + watched_seconds),
                then: Some((overload_seconds, Rate::Packets(rate * THEN))),
                follow: true,
                ..Course::at(Rate::Packets(rate))
            })?;
            let followed = report.followed.as_ref();
            let run = followed.and_then(|followed| Overloaded::of(&report, followed));
            self.note(size, rate, &report, "overload, then half of it");
            runs.extend(run);
        }
        let recovered: Vec<f64> = runs.iter().filter_map(|run| run.recovery_seconds).collect();
        Ok(Some(Recovery {
            overload_seconds,
            watched_seconds,
            not_recovered: runs.len() - recovered.len(),
            recovery_seconds: Spread::of(&recovered),
            runs,
        }))
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.runs.last() else {
            return write!(f, "recovery: over before the rate fell");
        };
        write!(
            f,
            "recovery: {:.1} s at {}/s lost {:.3} %; then at {}/s ",
            self.overload_seconds,
            si(last.overload_pps),
            last.overload_lost_percent,
            si(last.then_pps)
        )?;
        let all = self.runs.len();
        match &self.recovery_seconds {
            None => write!(
                f,
                "frames were still lost after {:.1} s",
                self.watched_seconds
            )?,
            Some(spread) if spread.p99 == 0.0 => write!(f, "nothing was lost")?,
            Some(spread) => write!(
                f,
                "the last frame was lost {} after the rate fell{}",
                time(spread.median),
                spread.told(time)
            )?,
        }
        if self.not_recovered > 0 && self.recovery_seconds.is_some() {
            write!(
                f,
                "; not recovered within {:.1} s in {} of {all} runs",
                self.watched_seconds, self.not_recovered
            )?;
        }
        if !self.runs.iter().all(Overloaded::was_overloaded) {
            let said =
                "; it was not overloaded: no more was asked for, or could be sent, than it takes";
            write!(f, "{said}")?;
        }
        Ok(())
    }
}

/// Milliseconds, or seconds.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.3} ms", seconds * 1e3)
    } else {
        format!("{seconds:.3} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        counts::Totals,
        gaps::Gaps,
        meter::{Seen, new_histogram},
        rate::Pace,
        report::{Measured, Sent},
    };

    const HZ: f64 = 1e9;

    /// A device that takes so many frames a second, has room for so many that wait, and while it has not rested for `tired_s` after it
    /// lost one, loses every tenth.
    struct Device {
        pps: f64,
        buffer: f64,
        tired_s: f64,
    }

    /// A run on virtual time.
    #[expect(clippy::cast_possible_truncation, reason = "virtual clocks")]
    fn overload(device: &Device, rate: f64, seconds: f64, watched: f64) -> Option<Overloaded> {
        let pace = |pps| Pace::new(Rate::Packets(pps), None, 1, 0, HZ).unwrap();
        let mut pace = pace(rate).then(seconds * HZ, &pace(rate * THEN));
        let (mut gaps, mut turned) = (Gaps::default(), None);
        let (mut number, mut came) = (0_u32, 0_u64);
        let (mut waiting, mut last, mut tired_until) = (0.0, 0.0, 0.0);
        let mut now = 0.0;
        while now < (seconds + watched) * HZ {
            let will_turn = pace.will_turn();
            pace.catch_up(now);
            if will_turn && !pace.will_turn() {
                turned = Some((now as u64, u64::from(number)));
                gaps.turn(number);
            }
            while pace.is_due(now) {
                pace.sent(64);
                waiting = f64::max(0.0, waiting - (now - last) / HZ * device.pps);
                last = now;
                let full = waiting >= device.buffer;
                if full {
                    tired_until = now + device.tired_s * HZ;
                }
                if !full && (now >= tired_until || number % 10 != 0) {
                    waiting += 1.0;
                    let arrives = now + waiting / device.pps * HZ;
                    gaps.take(arrives as u64, number, now as u64);
                    came += 1;
                }
                number += 1;
            }
            now += 1000.0;
        }
        let totals = Totals {
            sent: number.into(),
            ..Totals::default()
        };
        let seen = Seen {
            stamped: came,
            ..Seen::default()
        };
        let report = Report {
            sent: Sent::new(&totals, seconds + watched, 0.0, 0.0),
            stamped: true,
            measured: Some(Measured::new(totals.sent, &seen, &new_histogram())),
            foreign: 0,
            ports: Vec::new(),
            followed: None,
        };
        let followed = Followed {
            gaps,
            hz: HZ,
            start: 0,
            turned,
            end: now as u64,
        };
        Overloaded::of(&report, &followed)
    }

    #[test]
    fn a_device_that_only_drops_what_is_too_much_recovers_at_once() {
        let device = Device {
            pps: 100_000.0,
            buffer: 500.0,
            tired_s: 0.0,
        };
        let run = overload(&device, 110_000.0, 0.5, 0.3).unwrap();
        // The first frame may still find no place.
        assert!(run.lost_after <= 1, "{run:?}");
        assert!(run.recovery_seconds.is_some_and(|s| s < 1e-4), "{run:?}");
        // A tenth more than it takes, less what waited at the end.
        assert!(
            (7.5..9.2).contains(&run.overload_lost_percent),
            "{}",
            run.overload_lost_percent
        );
        assert!((run.overload_pps / 110_000.0 - 1.0).abs() < 0.01);
        assert!((run.then_pps / 55_000.0 - 1.0).abs() < 0.01);
    }

    #[test]
    fn one_that_goes_on_losing_for_a_while_is_timed() {
        let device = Device {
            pps: 100_000.0,
            buffer: 500.0,
            tired_s: 0.2,
        };
        let run = overload(&device, 150_000.0, 0.5, 0.5).unwrap();
        let seconds = run.recovery_seconds.unwrap();
        // Every tenth is lost.
        assert!((0.199..0.201).contains(&seconds), "{seconds}");
        assert!(
            (1480..=1510).contains(&run.lost_after),
            "{}",
            run.lost_after
        );
        // It is looked at for too short a time to see the end.
        for watched in [0.1, 0.21] {
            let run = overload(&device, 150_000.0, 0.5, watched).unwrap();
            assert_eq!(run.recovery_seconds, None, "{watched}");
        }
    }

    #[test]
    fn one_that_never_comes_back_is_told() {
        let device = Device {
            pps: 100_000.0,
            buffer: 500.0,
            tired_s: 1e9,
        };
        let run = overload(&device, 110_000.0, 0.3, 0.2).unwrap();
        assert!(run.lost_after > 900, "{run:?}");
        assert_eq!(run.recovery_seconds, None);
        let told = Recovery {
            overload_seconds: 0.3,
            watched_seconds: 0.2,
            recovery_seconds: None,
            not_recovered: 1,
            runs: vec![run],
        };
        assert!(
            told.to_string().contains("still lost after 0.2 s"),
            "{told}"
        );
    }

    #[test]
    fn a_device_that_was_not_overloaded_is_told_so() {
        let device = Device {
            pps: 200_000.0,
            buffer: 500.0,
            tired_s: 0.0,
        };
        let run = overload(&device, 110_000.0, 0.3, 0.2).unwrap();
        let told = Recovery {
            overload_seconds: 0.3,
            watched_seconds: 0.2,
            recovery_seconds: Spread::of(&[0.0]),
            not_recovered: 0,
            runs: vec![run],
        };
        let told = told.to_string();
        assert!(
            told.contains("nothing was lost") && told.contains("not overloaded"),
            "{told}"
        );
    }
}
