//! The command line of `pktgen rfc2544`.

use super::{Wiring, read_percent, read_seconds, read_step, read_trial};
use crate::{
    rate::Rate,
    template::{Sizes, Template},
};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Templates are those of `pktgen tx` (see `pktgen tx --help`); their sizes are replaced.

Examples:
  # a router between two ports, a quick look
  pktgen rfc2544 --port 0000:03:00.0 --rx-port 0000:03:00.1 --gateway 10.0.0.254 \\
      --template 'udp 10.0.0.1-10.0.0.250 > 10.0.1.1-10.0.1.250:80 order uniform'
  # the same by the RFC: short trials search, a minute decides; 20 times
  pktgen rfc2544 --port 0000:03:00.0 --rx-port 0000:03:00.1 --gateway 10.0.0.254 --confirm 60 --drain 2 --settle 5 \\
      --repeat 20 --measure throughput,latency,loss,back-to-back \\
      --template 'udp 10.0.0.1-10.0.0.250 > 10.0.1.1-10.0.1.250:80 order uniform'
  # how it comes back from an overload, and from a restart
  pktgen rfc2544 --port 0000:03:00.0 --rx-port 0000:03:00.1 --gateway 10.0.0.254 --measure throughput,recovery,reset --sizes 64 \
      --reset-command 'ssh 10.0.0.254 reboot' --template 'udp 10.0.0.1-10.0.0.250 > 10.0.1.1-10.0.1.250:80 order uniform'";

/// What can be measured of each frame size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// The highest rate without loss (26.1)
    Throughput,
    /// Latency at parts of that rate (26.2)
    Latency,
    /// What is lost by load, from --rate downwards until two loads lose nothing (26.3)
    Loss,
    /// The longest burst without loss, at the shortest gaps (26.4)
    BackToBack,
    /// How long frames are still lost when an overload, 110 % of the throughput, falls to half of that (26.5)
    Recovery,
    /// How long nothing comes when the device is reset, by you or by --reset-command: with the smallest frames (26.6)
    Reset,
}

/// `pktgen rfc2544`.
#[derive(Debug, Args)]
pub struct Rfc2544 {
    /// The ports.
    #[command(flatten)]
    pub wiring: Wiring,
    /// What to send; may be repeated
    #[arg(long, short, value_name = "TEXT", required = true)]
    pub template: Vec<Template>,
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "throughput,latency"
    )]
    pub measure: Vec<Measure>,
    /// Frame sizes, one after the other; those too small to be measured are made larger
    #[arg(long, default_value = "64,128,256,512,1024,1280,1518", value_parser = Sizes::read)]
    pub sizes: Sizes,
    /// Where the search begins: as of `pktgen tx`. Of a link without known speed, 100% is what this machine can send
    #[arg(long, short, default_value = "100%", value_parser = |text: &str| text.parse::<Rate>())]
    pub rate: Rate,
    /// Seconds of each trial of the search
    #[arg(long, default_value = "2", value_parser = read_trial)]
    pub trial: f64,
    /// Seconds of the trial that decides at the rate the search has found, and of latency's and loss's; 0: those of the search do (RFC 2544
    /// wants 60)
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = read_seconds)]
    pub confirm: f64,
    /// Searches of throughput and of bursts, of which the median is told
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Pause before each trial, for the device to come to rest (RFC 2544 wants 5)
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = read_seconds)]
    pub settle: f64,
    /// How long to wait for the last frames of a trial (RFC 2544 wants 2)
    #[arg(long, default_value = "0.5", value_name = "SECONDS", value_parser = read_seconds)]
    pub drain: f64,
    /// How near the result is to be, percent
    #[arg(long, default_value = "1", value_name = "PERCENT", value_parser = read_percent)]
    pub resolution: f64,
    /// Loss that does not count as loss, percent of the frames (RFC 2544: none)
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = read_percent)]
    pub tolerate: f64,
    /// Measure latency at these percents of the rate found
    #[arg(long, default_value = "100,50", value_delimiter = ',', value_name = "PERCENT,...", value_parser = read_percent)]
    pub latency_at: Vec<f64>,
    /// Measure loss at loads so many percent apart (RFC 2544: 10 at most)
    #[arg(long, default_value = "10", value_name = "PERCENT", value_parser = read_step)]
    pub step: f64,
    /// Seconds of the overload that a device is to recover from (RFC 2544 wants 60)
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = read_trial)]
    pub overload: f64,
    /// Seconds it is looked at after that
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = read_trial)]
    pub recover: f64,
    /// What resets the device: a shell command, run when frames have come for a second. Without it, reset the device when you are told to
    #[arg(long, value_name = "COMMAND")]
    pub reset_command: Option<String>,
    /// Seconds in which the device is to be reset and back
    #[arg(long, default_value = "300", value_name = "SECONDS", value_parser = read_trial)]
    pub reset_wait: f64,
    /// For all that is drawn at random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the results to this file as JSON; `-`: to standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the trials into this file (SVG): what was lost and how long frames took, by rate and size
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// No line for each trial
    #[arg(long, short)]
    pub quiet: bool,
}
