//! The command line of `pktgen rfc9693`.

use super::{Wiring, read_part, read_percent, read_seconds, read_step, read_trial};
use crate::{rate::Rate, template::Template};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
The initiator is on --port and sends what the template says: UDP packets (TCP with `flags`), every combination of addresses and ports
once, in pseudorandom order. The responder is on --rx-port: it learns each connection from what the device makes of it, and answers
the way it came. The device's table must be empty before a measurement: --empty COMMAND empties it. Without, each measurement takes
combinations not used before.

Examples:
  # a NAT gateway with Linux's connection tracking, its shell reached by ssh
  pktgen rfc9693 --port 0000:03:00.0 --rx-port 0000:03:00.1 --gateway 10.0.0.254 --rx-address 203.0.113.2 --connections 100000 \\
      --template 'udp 10.0.0.1:1024-41023 > 203.0.113.2:1-100' --empty 'ssh gateway conntrack -F' --measure rate,throughput,teardown,capacity
  # a balancer's UDP service; real servers are played
  pktgen rfc9693 --port af_packet:eth1 --rx-port af_packet:eth2 --rx-address 10.1.0.11-10.1.0.13 --connections 20000 \\
      --template 'udp 10.0.0.10-10.0.0.250 > 192.0.2.10:53'
  # how it scales with the connections in its table
  pktgen rfc9693 --port 0000:03:00.0 --rx-port 0000:03:00.1 --gateway 10.0.0.254 --rx-address 203.0.113.2 --connections 10000,100000,1000000 \\
      --template 'udp 10.0.0.1:1024-41023 > 203.0.113.2:1-100' --empty 'ssh gateway conntrack -F' --json scale.json";

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Maximum connection establishment rate
    Rate,
    /// Throughput of connections that are established, both ways at once
    Throughput,
    /// Latency over them at parts of that throughput; needs `throughput`
    Latency,
    /// What is lost over them by load, from the top until two loads lose nothing; needs `throughput`
    Loss,
    /// Connection tear-down rate; needs --empty
    Teardown,
    /// Connection tracking table capacity
    Capacity,
}

/// `pktgen rfc9693`.
#[derive(Debug, Args)]
pub struct Rfc9693 {
    /// The ports.
    #[command(flatten)]
    pub wiring: Wiring,
    /// Who connects to whom, as of `pktgen tx`: as many connections as it has combinations of addresses and ports
    #[arg(long, short, value_name = "TEXT")]
    pub template: Template,
    /// What to measure, in this order
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "rate,throughput"
    )]
    pub measure: Vec<Measure>,
    /// Connections of each measurement; of several numbers everything but the capacity is measured with each, one after the other, to see
    /// how a device scales. Of the capacity, where the search begins: the first
    #[arg(long, default_value = "10000", value_delimiter = ',', value_name = "N,...", value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    pub connections: Vec<u64>,
    /// Answers validate the connections at this percent of the rate they were opened at: slow enough to be nothing a device that kept them
    /// would lose
    #[arg(long, default_value = "50", value_name = "PERCENT", value_parser = read_part)]
    pub validate_at: f64,
    /// Connections the capacity is searched up to; without, as many as the template has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    pub most: Option<u64>,
    /// Where searches for rates begin, as of `pktgen tx`; 100% without a known speed of the link is what this machine can send
    #[arg(long, short, default_value = "100%", value_parser = |text: &str| text.parse::<Rate>())]
    pub rate: Rate,
    /// Rate at which tables are filled when that is not what is measured; without, half of the establishment rate found
    #[arg(long, value_name = "RATE", value_parser = |text: &str| text.parse::<Rate>())]
    pub fill_rate: Option<Rate>,
    /// A command that empties the device's connection tracking table; run by `sh -c` before each measurement
    #[arg(long, value_name = "COMMAND")]
    pub empty: Option<String>,
    /// How long to wait before each measurement, for connections to time out, say
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = read_seconds)]
    pub wait: f64,
    /// Seconds of each trial of throughput (RFC 2544 wants 60)
    #[arg(long, default_value = "2", value_parser = read_trial)]
    pub trial: f64,
    /// How long to wait for the last frames
    #[arg(long, default_value = "0.5", value_name = "SECONDS", value_parser = read_seconds)]
    pub drain: f64,
    /// Measure latency at these percents of the throughput
    #[arg(long, default_value = "100,50", value_delimiter = ',', value_name = "PERCENT,...", value_parser = read_percent)]
    pub latency_at: Vec<f64>,
    /// Measure loss at loads so many percent apart
    #[arg(long, default_value = "10", value_name = "PERCENT", value_parser = read_step)]
    pub step: f64,
    /// Times each rate is measured, of which the median is told
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// How near results are to be, percent
    #[arg(long, default_value = "2", value_name = "PERCENT", value_parser = read_percent)]
    pub resolution: f64,
    /// Loss that does not count as loss, percent of the frames (the RFC: none)
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = read_percent)]
    pub tolerate: f64,
    /// For the order of combinations
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the results to this file as JSON; `-`: to standard output, instead of the text
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub json: Option<PathBuf>,
    /// Draw the trials of the searches for rates into this file (SVG)
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Open no port; with --pcap, write what phase 1 would send
    #[arg(long)]
    pub dry_run: bool,
    /// The file --dry-run writes
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub pcap: Option<PathBuf>,
    /// No line for each trial
    #[arg(long, short)]
    pub quiet: bool,
}
