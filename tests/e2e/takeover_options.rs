//! The command line of `scripts/takeover`.

use anyhow::{Context as _, Result, bail, ensure};

/// What is done to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// The cable of the public side is unplugged.
    Public,
    /// That of the private side.
    Private,
    /// What it sends is lost, on both sides; what is sent to it arrives.
    Oneway,
    /// `tarpon failover`.
    Planned,
}

const FAULTS: [(&str, Fault); 6] = [
    ("kill", Fault::Kill),
    ("stop", Fault::Stop),
    ("public", Fault::Public),
    ("private", Fault::Private),
    ("oneway", Fault::Oneway),
    ("planned", Fault::Planned),
];

/// The other director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Another Tarpon.
    Tarpon,
    /// The real keepalived on a Linux host.
    Keepalived,
}

const PEERS: [(&str, Peer); 2] = [("tarpon", Peer::Tarpon), ("keepalived", Peer::Keepalived)];

/// A run.
#[derive(Clone, Debug)]
pub struct Options {
    pub interval_ms: u64,
    pub count: usize,
    pub fault: Fault,
    pub idle: usize,
    pub peer: Peer,
    pub json: Option<String>,
}

impl Options {
    /// Unless the command line says otherwise.
    pub const DEFAULT: Self = Self {
        interval_ms: 100,
        count: 20,
        fault: Fault::Kill,
        idle: 100,
        peer: Peer::Tarpon,
        json: None,
    };
}

pub const HELP: &str = "\
usage: scripts/takeover [--interval-ms N] [--count N] [--fault FAULT] [--peer PEER] [--connections N] [--json FILE]

Two directors in a lab of network namespaces, and takeovers between them, one after the other, under HTTP: requests, two long
downloads, idle connections. Runs on any machine, as root; nothing is left behind.

  --interval-ms N   between advertisements: 10 to 40000, in tens [default: 100]
  --count N         takeovers [default: 20]
  --fault FAULT     what happens to the master [default: kill]
                      kill      SIGKILL; it is started again afterwards
                      stop      SIGSTOP, then SIGCONT
                      public    the cable of the public side is unplugged
                      private   the cable of the private side is unplugged
                      oneway    what it sends is lost on both sides, what is sent to it arrives
                      planned   `tarpon failover`
  --peer PEER       the other director [default: tarpon]
                      tarpon      another Tarpon, which is told of connections
                      keepalived  the real keepalived on a Linux host, which balances by the kernel's NAT (nftables), each new
                                  connection to the next server: no kernel module is needed. The two take over from each other in turn.
                                  Nobody tells the other of connections: what is sent on one that it does not know is, for the kernel,
                                  a new connection, and survives where that happens to go to the same server; Tarpon resets it.
                                  `kill` is the end of the host: what only keepalived's end leaves in the kernel would go on answering.
                                  After `stop` it does. `planned` is SIGTERM to keepalived
  --connections N   idle connections, 150000 at most, each asked again after every takeover [default: 100]
  --json FILE       the figures go to FILE, too

What is printed last, and written to FILE:
  {\"gap_ms\":{\"p50\":N,\"p99\":N,\"max\":N},\"survived\":N,\"reset\":N,\"two_masters\":N,\"takeovers\":N}

  gap_ms        of each takeover: how long the service did not answer, by datagrams sent through the virtual address to real servers
                every half millisecond: from the last answered one before the longest silence to the first answered after it
  survived      connections that worked before a takeover and after it, of all takeovers together
  reset         those that broke, or on which nothing came for 5 s, of those that were older than 0.3 s. Short requests, each on a
                connection of its own, go on all the time; those that fail are told beside, for who is a few milliseconds old has
                not been told of yet
  two_masters   moments in which both directors advertised themselves as master on a wire that carried both
  takeovers     how many were made
Exit status: 0 measured; 1 it could not be measured; 2 the command line is wrong.
";

impl Options {
    /// Whether there are more connections than the lab's servers commonly take.
    pub const fn is_many(&self) -> bool {
        self.idle > 4000
    }

    /// From a command line; `None`: help is wanted.
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self::DEFAULT;
        while let Some(option) = given.next() {
            let mut value = || {
                given
                    .next()
                    .with_context(|| format!("{option} needs a value"))
            };
            match option.as_str() {
                "-h" | "--help" => return Ok(None),
                "--interval-ms" => {
                    options.interval_ms = number(&option, &value()?)?;
                    let fits = (10..=40_000).contains(&options.interval_ms);
                    ensure!(
                        fits && options.interval_ms.is_multiple_of(10),
                        "--interval-ms is 10 to 40000, in tens: VRRP counts hundredths of a second"
                    );
                }
                "--count" => {
                    options.count = number(&option, &value()?)?;
                    ensure!(
                        (1..=100_000).contains(&options.count),
                        "--count is 1 to 100000"
                    );
                }
                "--connections" => {
                    options.idle = number(&option, &value()?)?;
                    ensure!(options.idle <= 150_000, "--connections is at most 150000");
                }
                "--fault" => {
                    let name = value()?;
                    let known = FAULTS.iter().find(|(word, _)| *word == name);
                    let words = FAULTS.map(|(word, _)| word).join(", ");
                    options.fault = known
                        .with_context(|| format!("there is no fault {name:?}; there are {words}"))?
                        .1;
                }
                "--peer" => {
                    let name = value()?;
                    let known = PEERS.iter().find(|(word, _)| *word == name);
                    let words = PEERS.map(|(word, _)| word).join(" or ");
                    options.peer = known
                        .with_context(|| format!("the peer cannot be {name:?}; it is {words}"))?
                        .1;
                }
                "--json" => options.json = Some(value()?),
                _ => bail!("unknown argument {option:?}"),
            }
        }
        Ok(Some(options))
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T> {
    text.parse()
        .map_err(|_| anyhow::anyhow!("{option}: {text:?} is no number"))
}
