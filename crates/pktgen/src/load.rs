//! What a device does at parts of a rate: how long frames take, and what it loses.

use crate::report::{Latency, Report, si};
use serde::Serialize;
use std::fmt;

/// Latency at a load (RFC 2544 26.2).
#[derive(Clone, Debug, Serialize)]
pub struct AtLoad {
    /// Percent of the throughput.
    pub percent: f64,
    /// Frames lost meanwhile.
    pub lost: u64,
    /// Microseconds; none if nothing came back.
    pub latency_us: Option<Latency>,
    /// Packet delay variation: the 99.9th percentile less the least (RFC 8219 7.3.1), microseconds.
    pub delay_variation_us: Option<f64>,
}

/// What was lost at a load (RFC 2544 26.3).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lost {
    /// Percent of the rate where searches begin.
    pub percent: f64,
    /// Frames a second that were sent.
    pub sent_pps: f64,
    /// Percent of them.
    pub lost_percent: f64,
}

impl AtLoad {
    /// Of a trial.
    #[must_use]
    pub fn new(percent: f64, report: &Report) -> Self {
        let measured = report.measured.as_ref();
        let latency_us = measured.and_then(|m| m.latency_us.clone());
        Self {
            percent,
            lost: measured.map_or(report.sent.packets, |m| m.lost),
            delay_variation_us: latency_us.as_ref().map(|l| l.p99_9 - l.min),
            latency_us,
        }
    }
}

impl Lost {
    /// Of a trial.
    #[must_use]
    pub fn new(percent: f64, report: &Report) -> Self {
        let loss = report.measured.as_ref().map_or(1.0, |m| m.loss);
        Self {
            percent,
            sent_pps: report.sent.pps,
            lost_percent: loss * 100.0,
        }
    }
}

impl fmt::Display for AtLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.percent;
        match (&self.latency_us, self.delay_variation_us) {
            (Some(l), Some(variation)) => write!(
                f,
                "at {percent:>3} %: latency min {:.1}, mean {:.1}, p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} µs, variation {variation:.1} µs; lost {}",
                l.min, l.mean, l.p50, l.p99, l.p99_9, l.max, self.lost
            ),
            _ => write!(f, "at {percent:>3} %: nothing came back"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at load {:.0} %, {}/s: lost {:.4} %",
            self.percent,
            si(self.sent_pps),
            self.lost_percent
        )
    }
}
