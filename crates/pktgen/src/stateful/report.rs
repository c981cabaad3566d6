//! The result of `pktgen tcp`, `http` and `serve`: for people and as JSON.

use super::tally::{ClientTally, Moment, ServerTally, Times};
use crate::report::{Latency, PortCounts, bits, si};
use serde::Serialize;
use std::fmt;

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seconds in which connections were opened; of `serve`, all.
    pub seconds: f64,
    /// CPU time of all workers meanwhile.
    pub cpu_seconds: f64,
    /// Part of the time in which the rate wanted was not kept: 0 to 1.
    pub behind: f64,
    /// What happened a second, in those seconds.
    pub per_second: PerSecond,
    /// What the clients saw.
    pub clients: Option<OfClients>,
    /// What the servers saw.
    pub servers: Option<ServerTally>,
    /// Frames no port took: they count as lost.
    pub unsent: u64,
    /// The ports' own counts, the clients' first.
    pub ports: Vec<PortCounts>,
}

/// What happened a second while connections were opened.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PerSecond {
    /// Handshakes done.
    pub established: f64,
    /// Connections ended in order, or reset with everything done.
    pub closed: f64,
    /// Responses.
    pub responses: f64,
    /// Bits of responses, without headers of TCP and below.
    pub response_bits: f64,
}

/// What the clients saw.
#[derive(Clone, Debug, Serialize)]
pub struct OfClients {
    /// By kind.
    #[serde(flatten)]
    pub tally: ClientTally,
    /// Connections that failed, of all kinds.
    pub failed: u64,
    /// Responses that were wrong, of all kinds.
    pub wrong: u64,
    /// From a SYN to its answer, microseconds.
    pub handshake_us: Option<Latency>,
    /// From a request to the last byte of its answer.
    pub response_us: Option<Latency>,
}

impl OfClients {
    /// Of counts and times.
    #[must_use]
    pub fn new(tally: ClientTally, times: &Times) -> Self {
        Self {
            tally,
            failed: tally.failed(),
            wrong: tally.wrong(),
            handshake_us: Latency::of(&times.handshake),
            response_us: Latency::of(&times.response),
        }
    }

    /// Connections that failed or were answered wrong, of those opened; 0 to 1.
    #[must_use]
    pub fn failure(&self) -> f64 {
        (self.failed + self.wrong) as f64 / self.tally.opened.max(1) as f64
    }
}

impl PerSecond {
    /// Of what had happened when the time was over.
    #[must_use]
    pub fn new(at_end: &Moment, seconds: f64) -> Self {
        let per = |n: u64| {
            if seconds > 0.0 {
                n as f64 / seconds
            } else {
                0.0
            }
        };
        Self {
            established: per(at_end.established),
            closed: per(at_end.closed),
            responses: per(at_end.exchanges),
            response_bits: per(at_end.bytes) * 8.0,
        }
    }
}

/// What happened between two moments.
#[must_use]
pub fn line(elapsed: f64, seconds: f64, before: &Moment, now: &Moment) -> String {
    let per = |now: u64, before: u64| si((now - before) as f64 / seconds);
    let mut text = format!(
        "{elapsed:6.1} s  opened {}/s  established {}/s  closed {}/s  open {}",
        per(now.opened, before.opened),
        per(now.established, before.established),
        per(now.closed, before.closed),
        now.open
    );
    if now.exchanges > 0 {
        let bytes = (now.bytes - before.bytes) as f64;
        text += &format!(
            "  answers {}/s ({})",
            per(now.exchanges, before.exchanges),
            bits(bytes * 8.0 / seconds)
        );
    }
    if now.failed > 0 {
        text += &format!("  failed or wrong {}", now.failed);
    }
    text
}

/// `, NAME N` for those that are not 0.
fn named(all: &[(&str, u64)]) -> String {
    let named = all.iter().filter(|(_, n)| *n > 0);
    named.map(|(name, n)| format!(", {name} {n}")).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = &self.per_second;
        if let Some(clients) = &self.clients {
            clients.write(f, rates, self.seconds)?;
        }
        if let Some(servers) = &self.servers {
            servers.write(f)?;
        }
        if self.behind > 0.001 {
            writeln!(
                f,
                "rate         not kept for {:.1} % of the time",
                self.behind * 100.0
            )?;
        }
        if self.unsent > 0 {
            writeln!(
                f,
                "unsent       {} frames no port took: they count as lost",
                self.unsent
            )?;
        }
        for port in &self.ports {
            writeln!(f, "port         {port}")?;
        }
        Ok(())
    }
}

impl OfClients {
    fn write(&self, f: &mut fmt::Formatter<'_>, rates: &PerSecond, seconds: f64) -> fmt::Result {
        let t = &self.tally;
        writeln!(
            f,
            "connections  {} opened in {seconds:.3} s; established {} ({}/s), closed {} ({}/s)",
            t.opened,
            t.established,
            si(rates.established),
            t.closed + t.closed_by_reset,
            si(rates.closed)
        )?;
        if self.failed + t.unfinished + t.no_free_port > 0 {
            let kinds = named(&[
                ("refused", t.refused),
                ("reset", t.reset),
                ("no answer to the SYN", t.timeout_handshake),
                ("no answer to a request", t.timeout_exchange),
                ("not ended in time", t.timeout_close),
                ("ended before all was answered", t.short),
                ("no HTTP", t.malformed),
            ]);
            writeln!(f, "failed       {} connections{kinds}", self.failed)?;
            let others = named(&[
                ("reset by us at the end of the run", t.unfinished),
                (
                    "not opened, as no address and port was free",
                    t.no_free_port,
                ),
            ]);
            if !others.is_empty() {
                writeln!(f, "             besides{others}")?;
            }
        }
        if let Some(latency) = &self.handshake_us {
            writeln!(f, "handshake    {latency}")?;
        }
        if t.requests > 0 {
            writeln!(
                f,
                "exchanges    {} requests ({} bytes), {} answers ({} bytes; {}/s, {})",
                t.requests,
                t.bytes_sent,
                t.responses,
                t.bytes_received,
                si(rates.responses),
                bits(rates.response_bits)
            )?;
            if self.wrong > 0 {
                let kinds = named(&[
                    ("another status than 200", t.wrong_status),
                    ("another length", t.wrong_length),
                    ("other bytes", t.wrong_content),
                ]);
                writeln!(f, "wrong        {} answers{kinds}", self.wrong)?;
            }
        }
        if let Some(latency) = &self.response_us {
            writeln!(f, "answer       {latency}")?;
        }
        let odd = named(&[
            ("SYNs sent again", t.syn_again),
            ("other segments sent again", t.segments_again),
            ("came early", t.early),
            ("of no connection", t.stray),
            ("wrong checksums", t.damaged),
        ]);
        if !odd.is_empty() {
            writeln!(f, "segments     {}", odd.trim_start_matches(", "))?;
        }
        Ok(())
    }
}

impl ServerTally {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "servers      {} asked for, established {}, closed {}; {} requests ({} bytes), answered with {} bytes{}",
            self.accepted,
            self.established,
            self.closed,
            self.requests,
            self.bytes_received,
            self.bytes_sent,
            named(&[
                ("reset", self.reset),
                ("given up", self.timeout),
                ("no HTTP", self.malformed),
                ("no room", self.no_room),
                ("reset by us at the end of the run", self.unfinished),
                ("segments sent again", self.segments_again),
                ("came early", self.early),
                ("segments of no connection", self.stray),
                ("wrong checksums", self.damaged),
            ])
        )
    }
}
