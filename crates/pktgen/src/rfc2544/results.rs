//! What `pktgen rfc2544` has found: for people and as JSON.

use super::{Recovery, Reset};
use crate::{
    load::{AtLoad, Lost},
    plot::Point,
    report::{bits, si},
    search::Limit,
    spread::Spread,
};
use serde::Serialize;
use std::fmt;

/// The results for one size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OfSize {
    /// Bytes with check sequence.
    pub size: u16,
    /// The highest rate without loss.
    #[serde(flatten)]
    pub throughput: Option<Throughput>,
    /// Latency at parts of the throughput.
    pub latency: Vec<AtLoad>,
    /// Loss at parts of the rate where the search begins, from all of it downwards.
    pub loss: Vec<Lost>,
    /// The longest burst without loss.
    pub back_to_back: Option<BackToBack>,
    /// How it comes back from an overload.
    pub recovery: Option<Recovery>,
    /// How long it forwarded nothing when it was reset: of the smallest size only.
    #[serde(flatten)]
    pub reset: Option<Reset>,
    /// Rates tried, and what came of each.
    pub tried: Vec<Point>,
}

/// The highest rate at which nothing is lost (RFC 2544 26.1).
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// Frames a second, the median of all searches; 0 if the device lost frames at any rate tried.
    pub throughput_pps: f64,
    /// The same in bits on the wire.
    pub throughput_bits_per_second: f64,
    /// Why it is no higher: of the last search.
    pub limited_by: Limit,
    /// Trials it took, of all searches.
    pub trials: u32,
    /// Of all searches.
    pub searches: Spread,
}

/// The longest burst of which nothing is lost (RFC 2544 26.4, RFC 9004).
#[derive(Clone, Debug, Serialize)]
pub struct BackToBack {
    /// Frames, of all searches.
    pub frames: Spread,
    /// The longest burst tried lost nothing: a device may take more.
    pub at_least: bool,
    /// Frames a second within bursts.
    pub burst_pps: f64,
}

impl fmt::Display for OfSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.throughput {
            Some(found) => writeln!(f, "size {:>4}  {found}", self.size)?,
            None => writeln!(f, "size {:>4}", self.size)?,
        }
        for at in &self.latency {
            writeln!(f, "           {at}")?;
        }
        for lost in &self.loss {
            writeln!(f, "           {lost}")?;
        }
        if let Some(burst) = &self.back_to_back {
            let least = if burst.at_least {
                " at least: the longest burst tried lost nothing"
            } else {
                ""
            };
            writeln!(
                f,
                "           back to back {:.0} frames at {}/s{least}{}",
                burst.frames.median,
                si(burst.burst_pps),
                burst.frames.told(|frames| format!("{frames:.0}"))
            )?;
        }
        if let Some(recovery) = &self.recovery {
            writeln!(f, "           {recovery}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.limited_by.why();
        write!(
            f,
            "{}/s, {} on the wire ({} trials; {why}){}",
            si(self.throughput_pps),
            bits(self.throughput_bits_per_second),
            self.trials,
            self.searches.told(si)
        )
    }
}
