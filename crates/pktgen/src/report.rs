//! The result of a run: for people and as JSON.

use crate::{counts::Totals, gaps::Gaps, meter::Seen, rate::WIRE_OVERHEAD};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
};

/// The result of `pktgen tx`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was sent.
    pub sent: Sent,
    /// Frames carried the stamp by which loss and latency are measured.
    pub stamped: bool,
    /// What came back; nothing to tell without stamps, or if nothing did on the only port there is.
    pub measured: Option<Measured>,
    /// Frames that came in and carry no stamp of this run.
    pub foreign: u64,
    /// The ports' own counts, the sending one first.
    pub ports: Vec<PortCounts>,
    /// Where the stream's numbers broke off, if somebody wanted to know.
    #[serde(skip)]
    pub followed: Option<Followed>,
}

/// A stream that was followed, by one worker's clock.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Where its numbers broke off.
    pub gaps: Gaps,
    /// Clocks a second.
    pub hz: f64,
    /// When the first frame was due.
    pub start: u64,
    /// When the rate turned, and frames made by then.
    pub turned: Option<(u64, u64)>,
    /// When the worker ended: nothing has come since the last frame that did.
    pub end: u64,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sent {
    /// Frames the port took.
    pub packets: u64,
    /// Their bytes, check sequence included.
    pub bytes: u64,
    /// From the first to the last.
    pub seconds: f64,
    /// Frames a second.
    pub pps: f64,
    /// Bits a second on the wire: preamble and gap counted.
    pub bits_per_second: f64,
    /// Times the port did not take all it was offered at once.
    pub refused: u64,
    /// Part of the time in which the wanted rate was not kept: 0 to 1.
    pub behind: f64,
    /// CPU time of all workers meanwhile, seconds: on a shared machine less than the time that went by.
    pub cpu_seconds: f64,
}

/// What came back.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Frames, duplicates not counted.
    pub packets: u64,
    /// Frames sent of which nothing came.
    pub lost: u64,
    /// Their share of those sent.
    pub loss: f64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Frames behind a later one of their flow (RFC 4737).
    pub reordered: u64,
    /// Frames whose IPv4 header checksum was wrong.
    pub bad_ip_checksum: u64,
    /// Frames whose TCP, UDP or ICMP checksum was wrong.
    pub bad_upper_checksum: u64,
    /// From the sending worker to the receiving one, microseconds. None if nothing came.
    pub latency_us: Option<Latency>,
}

/// How long frames took, microseconds.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "percentiles speak for themselves")]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    /// Upper ends and how many frames are up to each and above the one before.
    pub histogram: Vec<(f64, u64)>,
}

/// A port's own counts.
#[derive(Clone, Debug, Serialize)]
pub struct PortCounts {
    /// The device.
    pub port: String,
    /// Frames sent, answers to ARP among them.
    pub tx_packets: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Frames lost because nobody took them out of the port in time.
    pub rx_missed: u64,
    /// Frames the port could not send.
    pub tx_errors: u64,
}

impl Sent {
    /// Of counts, over `seconds`; `behind` seconds of them, over all `workers`, the rate was not kept.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^52 frames are years")]
    pub fn new(totals: &Totals, seconds: f64, behind: f64, cpu_seconds: f64) -> Self {
        let per_second = |n: f64| if seconds > 0.0 { n / seconds } else { 0.0 };
        let on_wire = totals.sent_bytes + totals.sent * u64::from(WIRE_OVERHEAD);
        Self {
            packets: totals.sent,
            bytes: totals.sent_bytes,
            seconds,
            pps: per_second(totals.sent as f64),
            bits_per_second: per_second(on_wire as f64 * 8.0),
            refused: totals.refused,
            behind: if seconds > 0.0 {
                (behind / seconds).min(1.0)
            } else {
                0.0
            },
            cpu_seconds,
        }
    }
}

impl Measured {
    /// What came of `sent` frames.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^52 frames are years")]
    pub fn new(sent: u64, seen: &Seen, latency: &Histogram<u64>) -> Self {
        let packets = seen.stamped - seen.duplicates;
        let lost = sent.saturating_sub(packets);
        Self {
            packets,
            lost,
            loss: if sent == 0 {
                0.0
            } else {
                lost as f64 / sent as f64
            },
            duplicates: seen.duplicates,
            reordered: seen.reordered,
            bad_ip_checksum: seen.bad_ip_checksum,
            bad_upper_checksum: seen.bad_upper_checksum,
            latency_us: Latency::of(latency),
        }
    }
}

impl Latency {
    /// Of a histogram of nanoseconds; none if nothing is in it.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a minute in nanoseconds is below 2^52"
    )]
    pub fn of(ns: &Histogram<u64>) -> Option<Self> {
        let us = |ns: u64| ns as f64 / 1e3;
        (!ns.is_empty()).then(|| Self {
            min: us(ns.min()),
            mean: ns.mean() / 1e3,
            p50: us(ns.value_at_quantile(0.5)),
            p90: us(ns.value_at_quantile(0.9)),
            p99: us(ns.value_at_quantile(0.99)),
            p99_9: us(ns.value_at_quantile(0.999)),
            max: us(ns.max()),
            // Two steps each time it doubles.
            histogram: ns
                .iter_log(500, std::f64::consts::SQRT_2)
                .filter(|step| step.count_since_last_iteration() > 0)
                .map(|step| {
                    (
                        us(step.value_iterated_to()),
                        step.count_since_last_iteration(),
                    )
                })
                .collect(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = &self.sent;
        writeln!(
            f,
            "sent      {} frames, {} bytes in {:.3} s: {} frames/s, {} on the wire",
            sent.packets,
            sent.bytes,
            sent.seconds,
            si(sent.pps),
            bits(sent.bits_per_second)
        )?;
        if sent.behind > 0.001 {
            writeln!(
                f,
                "          the wanted rate was not kept for {:.1} % of the time",
                sent.behind * 100.0
            )?;
        }
        if sent.refused > 0 {
            writeln!(f, "          {} times the port was full", sent.refused)?;
        }
        match &self.measured {
            None => writeln!(
                f,
                "measured  nothing: no frame with this run's stamp came back"
            )?,
            Some(measured) => measured.write(f)?,
        }
        if self.foreign > 0 {
            writeln!(f, "foreign   {} frames that are not ours", self.foreign)?;
        }
        for port in &self.ports {
            writeln!(f, "port      {port}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PortCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: sent {}, received {}",
            self.port, self.tx_packets, self.rx_packets
        )?;
        if self.rx_missed > 0 {
            write!(
                f,
                ", missed {} (this machine was too slow: they are no loss of the device's)",
                self.rx_missed
            )?;
        }
        if self.tx_errors > 0 {
            write!(f, ", could not send {}", self.tx_errors)?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "min {:.1}, mean {:.1}, p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} µs",
            self.min, self.mean, self.p50, self.p90, self.p99, self.p99_9, self.max
        )
    }
}

impl Measured {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "received  {} frames; lost {} ({:.4} %), twice {}, reordered {}, wrong checksums: IP {}, upper {}",
            self.packets,
            self.lost,
            self.loss * 100.0,
            self.duplicates,
            self.reordered,
            self.bad_ip_checksum,
            self.bad_upper_checksum
        )?;
        if let Some(l) = &self.latency_us {
            writeln!(f, "latency   {l}")?;
        }
        Ok(())
    }
}

/// A number as people say it.
#[must_use]
pub fn si(n: f64) -> String {
    match n {
        n if n >= 1e6 => format!("{:.3} M", n / 1e6),
        n if n >= 1e4 => format!("{:.2} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// Bits a second as people say it.
#[must_use]
pub fn bits(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{:.3} Gbit/s", n / 1e9),
        n if n >= 1e6 => format!("{:.2} Mbit/s", n / 1e6),
        n => format!("{:.1} kbit/s", n / 1e3),
    }
}

/// Writes to standard output; whoever reads may have gone (`| head`).
///
/// # Errors
/// When it cannot be written for another reason.
pub fn say(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}

/// Refuses files that could not be written when everything has been measured. Makes none.
///
/// # Errors
/// The option of the first, and why.
pub fn can_be_written(files: &[(&str, Option<&Path>)]) -> Result<()> {
    for (option, path) in files {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            continue;
        };
        let is_new = !path.exists();
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("{option} {} cannot be written", path.display()))?;
        if is_new {
            fs::remove_file(path).with_context(|| format!("{option} {}", path.display()))?;
        }
    }
    Ok(())
}

/// Writes a result as JSON: to a file, or to standard output for `-`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(result: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    if path.as_os_str() == "-" {
        return say(&(text + "\n"));
    }
    fs::write(path, text + "\n").with_context(|| format!("--json {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::new_histogram;

    #[test]
    fn duplicates_do_not_make_up_for_what_was_lost() {
        let seen = Seen {
            stamped: 100,
            duplicates: 10,
            ..Seen::default()
        };
        let measured = Measured::new(100, &seen, &new_histogram());
        assert_eq!((measured.packets, measured.lost), (90, 10));
        assert!((measured.loss - 0.1).abs() < 1e-9);
        assert!(measured.latency_us.is_none());
    }

    #[test]
    fn the_histogram_holds_every_frame() {
        let mut ns = new_histogram();
        for n in 1..=10_000_u64 {
            ns.record(n * 100).unwrap();
        }
        let latency = Latency::of(&ns).unwrap();
        assert_eq!(
            latency.histogram.iter().map(|(_, n)| n).sum::<u64>(),
            10_000
        );
        assert!(latency.histogram.windows(2).all(|w| w[0].0 < w[1].0));
        assert!((latency.p50 - 500.0).abs() < 1.0 && (latency.max - 1000.0).abs() < 1.0);
    }

    #[test]
    fn bits_on_the_wire_count_preamble_and_gap() {
        let totals = Totals {
            sent: 1_488_095,
            sent_bytes: 1_488_095 * 64,
            ..Totals::default()
        };
        let sent = Sent::new(&totals, 1.0, 0.0, 1.0);
        assert!((sent.bits_per_second - 1e9).abs() < 1e3);
    }
}
