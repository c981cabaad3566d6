//! The command line of connections with a life.

use super::{Ports, Wiring, read_percent, read_ports, read_seconds, read_trial};
use crate::{rate::Rate, stateful::clients::Close, template::Template};
use clap::Args;
use std::path::PathBuf;

pub(super) const TCP_EXAMPLES: &str = "\
Clients live on --port: each connection has a source address and port of the template, in turn (`order uniform`: at random), never one
that is still in use. With --rx-port servers live there, on the template's destinations and --rx-address; without, the far end is real.

Examples:
  # a thousand connections a second to a real server, for ten seconds: opened, closed, nothing said
  pktgen tcp --port af_packet:eth1 --template 'tcp 10.0.0.10-10.0.0.20 > 10.0.0.1:22' --rate 1000 --seconds 10
  # 50,000 connections held open through a NAT between two ports
  pktgen tcp --port af_packet:eth1 --rx-port af_packet:eth2 --gateway 10.0.0.254 --rx-address 10.1.0.11-10.1.0.13 \\
      --template 'tcp 10.0.0.10-10.0.0.20 > 192.0.2.10:80' --rate 5k --count 50000 --concurrent 50000 --hold 30";

pub(super) const HTTP_EXAMPLES: &str = "\
Clients and servers are those of `pktgen tcp`; see there what --port and --rx-port are for.

Examples:
  # a real web server: one request a connection, its page compared with the file it is made of
  pktgen http --port af_packet:eth1 --template 'tcp 10.0.0.10-10.0.0.20 > 10.0.0.1:80' --path /index.html --expect index.html \\
      --rate 500 --seconds 10
  # a balancer between two ports, pktgen on both sides: as many connections as go, ten requests each, answers of 4 kB
  pktgen http --port af_packet:eth1 --rx-port af_packet:eth2 --gateway 10.0.0.254 --rx-address 10.1.0.11-10.1.0.13 \\
      --template 'tcp 10.0.0.10-10.0.0.250 > 192.0.2.10:80' --rate max --concurrent 1000 --requests 10 --response-bytes 4096 --seconds 10
  # what would be sent, both sides, without opening a port
  pktgen http --dry-run --pcap out.pcap --count 3 --template 'tcp 10.0.0.10 > 10.0.0.1:80'";

pub(super) const SERVE_EXAMPLES: &str = "\
Example: a web server without a kernel below it, for curl, wrk or `pktgen http` on another machine
  pktgen serve --port af_packet:eth1 --address 10.0.0.1 --listen 80 --response-bytes 1000";

/// What clients and servers do alike.
#[derive(Clone, Debug, Args)]
pub struct Life {
    /// The ports.
    #[command(flatten)]
    pub wiring: Wiring,
    /// Who connects to whom: `tcp SOURCE[:PORTS] > DESTINATION:PORTS`, with `vlan`, `ttl`, `tos`, `flows` and `order` as of `pktgen tx`
    #[arg(long, short, value_name = "TEXT")]
    pub template: Template,
    /// Connections opened a second (`1000`, `50k`), or `max`: as many as --concurrent lets be open
    #[arg(long, short, default_value = "100", value_parser = read_rate)]
    pub rate: Rate,
    /// Connections there may be at a time, on each side
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    pub concurrent: u32,
    /// Stop when so many connections were opened
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop opening connections after so many seconds; without either, ctrl-C stops
    #[arg(long, short, value_parser = read_trial)]
    pub seconds: Option<f64>,
    /// How long connections under way have to end by themselves then; those that have not are reset
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = read_seconds)]
    pub drain: f64,
    /// Keep each connection open so long when all is done
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = read_seconds)]
    pub hold: f64,
    /// Until the first repetition of a SYN; each doubles the time to the next
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = read_wait)]
    pub rto: f64,
    /// Give a connection up that makes no progress so long
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = read_wait)]
    pub timeout: f64,
    /// Whoever closes first keeps address and port unused so long (real stacks: 60)
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = read_seconds)]
    pub time_wait: f64,
    /// Clients ask for timestamps (RFC 7323), which then stand in every segment: 12 bytes more
    #[arg(long)]
    pub timestamps: bool,
    /// Ports the servers listen on; without, all
    #[arg(long, value_name = "PORTS", value_parser = read_ports)]
    pub listen: Option<Ports>,
    /// Exit with status 1 if more connections fail or get a wrong answer than this share
    #[arg(long, value_name = "PERCENT", value_parser = read_percent)]
    pub max_failed: Option<f64>,
    /// For all that is drawn at random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds between two lines of progress
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = read_wait)]
    pub every: f64,
    /// Write the result to this file as JSON; `-`: to standard output, instead of the text
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub json: Option<PathBuf>,
    /// Open no port; with --pcap, write what would be sent, on both sides: wires without loss, 50 µs long
    #[arg(long)]
    pub dry_run: bool,
    /// The file --dry-run writes; of as many connections as --count or --seconds say, or 100
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub pcap: Option<PathBuf>,
    /// No lines of progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// `pktgen tcp`.
#[derive(Debug, Args)]
pub struct Tcp {
    /// Connections.
    #[command(flatten)]
    pub life: Life,
    /// Who ends a connection: the client in order, or by a reset
    #[arg(long, value_enum, default_value = "client")]
    pub close: Close,
}

/// `pktgen http`.
#[derive(Debug, Args)]
pub struct Http {
    /// Connections.
    #[command(flatten)]
    pub life: Life,
    /// Who ends a connection: the server, asked to by the last request; the client in order, or by a reset
    #[arg(long, value_enum, default_value = "server")]
    pub close: Close,
    /// Requests on each connection, one after the other's answer
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub requests: u32,
    /// What is asked for
    #[arg(long, default_value = "/", value_parser = read_path)]
    pub path: String,
    /// The name it is asked of; without, the destination's address
    #[arg(long, value_name = "NAME", value_parser = read_host)]
    pub host: Option<String>,
    /// Bytes of each request, filled up with a header line; without, as few as it takes
    #[arg(long, default_value_t = 0, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=7000))]
    pub request_bytes: u32,
    /// Bytes of the content our own servers answer with
    #[arg(long, default_value_t = 100, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    pub response_bytes: u32,
    /// Bytes of the content answers are to have; others are counted as wrong
    #[arg(long, value_name = "BYTES")]
    pub expect_bytes: Option<u64>,
    /// A file answers are to be equal to, byte by byte
    #[arg(long, value_name = "FILE", conflicts_with = "expect_bytes")]
    pub expect: Option<PathBuf>,
}

/// `pktgen serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The port; --address says who we are there.
    #[command(flatten)]
    pub wiring: Wiring,
    /// Ports to listen on, like 80 or 80,8000-8009
    #[arg(long, default_value = "80", value_name = "PORTS", value_parser = read_ports)]
    pub listen: Ports,
    /// Bytes of the content of each answer
    #[arg(long, default_value_t = 100, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    pub response_bytes: u32,
    /// Connections there may be at a time
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    pub concurrent: u32,
    /// Give a connection up that makes no progress so long
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = read_wait)]
    pub timeout: f64,
    /// Stop after so many seconds; without, ctrl-C stops
    #[arg(long, short, value_parser = read_trial)]
    pub seconds: Option<f64>,
    /// Seconds between two lines of progress
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = read_wait)]
    pub every: f64,
    /// Write the result to this file as JSON; `-`: to standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No lines of progress
    #[arg(long, short)]
    pub quiet: bool,
}

fn read_rate(text: &str) -> Result<Rate, String> {
    match text.parse() {
        Ok(rate @ (Rate::Packets(_) | Rate::Max)) => Ok(rate),
        _ => Err(format!(
            "`{text}` is no rate of connections: a number a second (`1000`, `50k`, `1.5M`), or `max`"
        )),
    }
}

fn read_wait(text: &str) -> Result<f64, String> {
    let seconds = read_seconds(text)?;
    if seconds >= 0.01 {
        Ok(seconds)
    } else {
        Err(format!("`{text}` is too short: 0.01 s at least"))
    }
}

fn read_path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
    if is_path && text.len() < 4096 {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no path: it begins with `/`, without blanks, like `/index.html`"
        ))
    }
}

fn read_host(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if is_name && text.len() < 256 {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no name of a host, like `www.example.org`"
        ))
    }
}
