//! The command line.

pub mod rfc2544;
pub mod rfc9693;
mod stateful;

pub use rfc2544::Rfc2544;
pub use rfc9693::Rfc9693;
pub use stateful::{Http, Life, Serve, Tcp};

use crate::{
    axis::Axis,
    rate::Rate,
    template::{Template, address_range, port_range},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dpdk::{Device, Hugepages};
use std::{net::IpAddr, path::PathBuf};
use types::MacAddr;

/// A packet generator on DPDK ports: sends by templates at a rate, and measures what comes back.
///
/// It sends on the ports it is given and on no others. A port is written as everywhere in Tarpon: `af_packet:eth1` (a kernel
/// interface), `0000:03:00.0` (a NIC bound to vfio-pci), `net_null0` and other virtual devices with their arguments.
#[derive(Debug, Parser)]
#[command(name = "pktgen", version, max_term_width = 120)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send frames by templates, or of a recording; measure loss, latency, reordering and damage of those that come back
    #[command(after_long_help = EXAMPLES)]
    Tx(Box<Tx>),
    /// Open TCP connections at a rate and close them; measure handshakes, setup and teardown rates, and what fails
    #[command(after_long_help = stateful::TCP_EXAMPLES)]
    Tcp(Box<Tcp>),
    /// Open connections and ask HTTP requests on them; measure response times, and what is answered wrong
    #[command(after_long_help = stateful::HTTP_EXAMPLES)]
    Http(Box<Http>),
    /// Be the server of TCP connections and HTTP requests, for whoever asks
    #[command(after_long_help = stateful::SERVE_EXAMPLES)]
    Serve(Box<Serve>),
    /// Send by templates for long, with a report now and then; exit status 1 if more is lost than may be
    #[command(after_long_help = SOAK_EXAMPLES)]
    Soak(Box<Soak>),
    /// Send a flood of one kind, from many senders, to see what a device does under it
    #[command(after_long_help = FLOOD_EXAMPLES)]
    Flood(Box<Flood>),
    /// Search for the highest rate without loss, frame size by frame size, and measure latency there (RFC 2544)
    #[command(after_long_help = rfc2544::EXAMPLES)]
    Rfc2544(Box<Rfc2544>),
    /// Measure a device that keeps connections: how fast it takes new ones, how many it keeps, what goes over them (RFC 9693)
    #[command(after_long_help = rfc9693::EXAMPLES)]
    Rfc9693(Box<Rfc9693>),
}

const SOAK_EXAMPLES: &str = "\
Example: a night through a device between two ports at half a million packets a second, with a line each minute
  pktgen soak --port 0000:03:00.0 --rx-port 0000:03:00.1 --gateway 10.0.0.254 --rate 500k --seconds 28800 --every 60 --log night.jsonl \\
      --max-loss 0.0001 --template 'udp 10.0.0.1-10.0.0.250 > 10.0.1.1-10.0.1.250:80 order uniform'";

/// `pktgen soak`.
#[derive(Debug, Args)]
pub struct Soak {
    /// What is sent, and for how long: --seconds or --count must say.
    #[command(flatten)]
    pub tx: Tx,
    /// Seconds between two reports
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = read_trial)]
    pub every: f64,
    /// Write each report to this file, too: a line of JSON each
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Loss over the whole time that is no failure
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = read_percent)]
    pub max_loss: f64,
}

const FLOOD_EXAMPLES: &str = "\
Floods are templates of `pktgen tx`: --dry-run shows the template, and with --pcap the frames.

Example: ten thousand SYNs a second to a service behind the router 10.0.0.254, for a minute
  pktgen flood syn --to 192.0.2.10:80 --port af_packet:eth1 --address 10.0.0.9 --gateway 10.0.0.254 --rate 10k --seconds 60";

/// `pktgen flood`.
#[derive(Debug, Args)]
pub struct Flood {
    /// What of
    #[arg(value_enum)]
    pub kind: FloodKind,
    /// To whom: ADDRESS:PORT as in templates, ADDRESS alone for icmp and arp
    #[arg(long, value_name = "TARGET")]
    pub to: String,
    /// From whom, as in templates; without, from the addresses set aside for tests: 198.18.0.0/15, [2001:2:0::/65]
    #[arg(long, value_name = "ADDRESSES")]
    pub from: Option<String>,
    /// The ports.
    #[command(flatten)]
    pub wiring: Wiring,
    /// As of `pktgen tx`; must be said
    #[arg(long, short, value_parser = |text: &str| text.parse::<Rate>())]
    pub rate: Rate,
    /// Stop after so many frames
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after so many seconds; without either, ctrl-C stops
    #[arg(long, short, value_parser = read_trial)]
    pub seconds: Option<f64>,
    /// For all that is drawn at random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the result to this file as JSON; `-`: to standard output, instead of the text
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub json: Option<PathBuf>,
    /// Open no port; with --pcap, write what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// The file --dry-run writes
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub pcap: Option<PathBuf>,
    /// No line each second
    #[arg(long, short)]
    pub quiet: bool,
}

/// Kinds of floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloodKind {
    /// TCP handshakes begun
    Syn,
    /// TCP segments of no connection
    Ack,
    /// Small UDP datagrams
    Udp,
    /// Fragments of IPv4 packets whose rest never comes
    Frag,
    /// Echo requests
    Icmp,
    /// ARP requests, from many senders
    Arp,
}

const EXAMPLES: &str = "\
A template says one kind of packet and its flows:
  PROTOCOL SOURCE[:PORTS] > DESTINATION:PORTS [WORD VALUE]...
  udp | tcp | icmp | arp  icmp: echo requests; the source's PORTS are identifiers. arp: requests to all
  10.0.0.1  10.0.0.1-10.0.0.250  10.0.0.0/24  10.0.0.1,10.0.0.7     addresses; IPv6 ones in brackets: [2001:db8::/112]:1024-65535
  size 64 | 64-1518 | 64:7,594:4,1518:1 | imix                      bytes with check sequence; `:N` how often
  order sequential | uniform | zipf[:EXPONENT]   flows N            which flow comes next; only the first N flows
  flags syn,ack   vlan ID[:PRIORITY]   ttl N   tos N   df   checksum right|wrong|none   fragment first   weight N

Examples:
  # what would be sent, without opening a port
  pktgen tx --dry-run --pcap out.pcap --count 100 --template 'udp 10.0.0.1-10.0.0.250 > 10.0.1.1:80 size imix'
  # through a device between two ports, at 100,000 packets a second for ten seconds
  pktgen tx --port af_packet:eth1 --rx-port af_packet:eth2 --gateway 10.0.0.254 --rate 100k --seconds 10 \\
      --template 'udp 10.0.0.1-10.0.0.250:1024-65535 > 10.0.1.1:80 size 64 order uniform'
  # round trips to a machine that answers pings
  pktgen tx --port af_packet:eth1 --rate 1000 --count 5000 --template 'icmp 10.0.0.9 > 10.0.0.1 size 100'";

/// `pktgen tx`.
#[derive(Debug, Args)]
pub struct Tx {
    /// The ports.
    #[command(flatten)]
    pub wiring: Wiring,
    /// What to send (see below); may be repeated
    #[arg(long, short, value_name = "TEXT")]
    pub template: Vec<Template>,
    /// Send the frames of this file instead, again and again
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    pub from_pcap: Option<PathBuf>,
    /// Packets a second (`1000`, `250k`, `1.5M`), bits on the wire (`100mbit`, `2.5gbit`), a share of the link (`40%`), or `max`
    #[arg(long, short, default_value = "1000", value_parser = |text: &str| text.parse::<Rate>())]
    pub rate: Rate,
    /// Stop after so many frames
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Stop after so many seconds; without either, ctrl-C stops
    #[arg(long, short, value_parser = read_trial)]
    pub seconds: Option<f64>,
    /// How long to wait for the last frames to come back
    #[arg(long, default_value = "0.5", value_name = "SECONDS", value_parser = read_seconds)]
    pub drain: f64,
    /// Send frames without the stamp by which loss and latency are measured
    #[arg(long)]
    pub no_stamp: bool,
    /// For all that is drawn at random: the same seed, the same frames
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the result to this file as JSON; `-`: to standard output, instead of the text
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub json: Option<PathBuf>,
    /// Open no port; with --pcap, write what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// The file --dry-run writes; as many frames as --count or --seconds say, or 1000
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub pcap: Option<PathBuf>,
    /// No line each second
    #[arg(long, short)]
    pub quiet: bool,
}

/// Ports, who we are on them, and what they run on.
#[derive(Clone, Debug, Args)]
pub struct Wiring {
    /// The port to send on
    #[arg(long, short, value_name = "DEVICE")]
    pub port: Option<Device>,
    /// The port frames come back on, if it is another
    #[arg(long, value_name = "DEVICE")]
    pub rx_port: Option<Device>,
    /// Our own addresses on --port, beside the templates' sources: ARP and neighbour solicitations for them are answered
    #[arg(long, value_name = "ADDRESSES", value_parser = read_addresses)]
    pub address: Vec<Addresses>,
    /// Our own addresses on --rx-port, beside the templates' destinations
    #[arg(long, value_name = "ADDRESSES", value_parser = read_addresses, requires = "rx_port")]
    pub rx_address: Vec<Addresses>,
    /// Who gets the frames: its MAC is asked for. Not needed if there is one destination and it is on the link
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<IpAddr>,
    /// The MAC that gets the frames: nothing is asked
    #[arg(long, value_name = "MAC", conflicts_with = "gateway")]
    pub to_mac: Option<MacAddr>,
    /// Threads that send and receive, each with queues of its own on every port
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// The CPUs they run on, like 2,3; without, the first this process may use
    #[arg(long, value_delimiter = ',', value_name = "CPU,...")]
    pub cores: Vec<usize>,
    /// Largest IP packet
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..=9000))]
    pub mtu: u16,
    /// What --rate in % is of, where the port does not know; like 10gbit
    #[arg(long, value_name = "RATE", value_parser = read_speed)]
    pub link_speed: Option<f64>,
    /// Memory for packets, MB
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(64..))]
    pub memory: Option<u32>,
    /// Hugepages: if there are any, always, or never
    #[arg(long, value_enum, default_value_t)]
    pub hugepages: Pages,
}

/// Whether to use hugepages.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Pages {
    /// If there are enough.
    #[default]
    Auto,
    /// Or fail.
    Required,
    /// Not.
    Never,
}

impl From<Pages> for Hugepages {
    fn from(pages: Pages) -> Self {
        match pages {
            Pages::Auto => Self::Auto,
            Pages::Required => Self::Required,
            Pages::Never => Self::Never,
        }
    }
}

/// Addresses of one family.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Which.
    pub axis: Axis,
    /// The family.
    pub is_ipv6: bool,
}

fn read_addresses(text: &str) -> Result<Addresses, String> {
    address_range(text).map(|(axis, is_ipv6)| Addresses { axis, is_ipv6 })
}

/// Ports, in ranges.
#[derive(Clone, Debug)]
pub struct Ports(pub Axis);

fn read_ports(text: &str) -> Result<Ports, String> {
    let ports = port_range(text)?;
    match (0..ports.total()).any(|n| ports.at(n) == 0) {
        true => Err(format!(
            "`{text}`: nobody can connect to port 0: from 1 to 65535"
        )),
        false => Ok(Ports(ports)),
    }
}

fn read_seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.0..=1e7).contains(s))
        .ok_or(format!("`{text}` is no time: seconds, like `10` or `0.5`"))
}

fn read_trial(text: &str) -> Result<f64, String> {
    let seconds = read_seconds(text)?;
    if seconds >= 0.05 {
        Ok(seconds)
    } else {
        Err(format!("`{text}` is too short: 0.05 s at least"))
    }
}

fn read_percent(text: &str) -> Result<f64, String> {
    text.trim_end_matches('%')
        .parse()
        .ok()
        .filter(|p| (0.0..=100.0).contains(p))
        .ok_or(format!("`{text}` is no share: percent from 0 to 100"))
}

fn read_part(text: &str) -> Result<f64, String> {
    let part = read_percent(text)?;
    if part >= 1.0 {
        Ok(part)
    } else {
        Err(format!("`{text}` is too little: percent from 1 to 100"))
    }
}

fn read_step(text: &str) -> Result<f64, String> {
    let step = read_percent(text)?;
    if (0.1..=50.0).contains(&step) {
        Ok(step)
    } else {
        Err(format!(
            "`{text}` is no step between loads: percent from 0.1 to 50"
        ))
    }
}

fn read_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(Rate::Bits(bps)) => Ok(bps),
        _ => Err(format!("`{text}` is no speed of a link: like `10gbit`")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_made() {
        <super::Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
