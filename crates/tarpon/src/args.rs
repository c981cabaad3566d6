//! The command line's grammar, and the texts of `--help`.

use api::EngineChoice;
use clap::{Args, Parser, Subcommand, ValueHint};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};
use types::{Family, ForwardingMethod, IpNet, Mark, Protocol, Scheduler, SchedulerFlag, Tunnel};

/// Where the daemon listens unless its configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/tarpon/control.sock";

/// Shows and changes a running Tarpon director.
#[derive(Debug, Parser)]
#[command(
    name = "tarpon",
    version,
    propagate_version = true,
    disable_help_subcommand = false,
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  tarpon status                                     is it well?
  tarpon services                                   who serves what, with how many connections
  tarpon check /etc/tarpon/tarpon.toml              every mistake in a file, and what applying it would change
  tarpon apply /etc/tarpon/tarpon.toml              make it so, without losing a connection
  tarpon server drain web 10.1.0.11:8080 --deadline 60
  tarpon capture -w - tcp port 80 | wireshark -k -i -

Exit status:
  0  done
  1  the daemon refused, the work failed, or a file has mistakes
  2  the command line is wrong
  3  the daemon cannot be reached

The daemon takes commands from root and from the user it runs as. All commands but `check`, `convert`, `replay`, `realserver`, `completions` and `man`
need it to run."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The daemon's control socket
    #[arg(
        long,
        global = true,
        env = "TARPON_SOCKET",
        default_value = DEFAULT_SOCKET,
        value_name = "PATH",
        value_hint = ValueHint::AnyPath
    )]
    pub socket: PathBuf,

    /// Print the daemon's answer as JSON; streams print one line per item
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// How the director is: workers, tables, memory, what this machine cannot do
    #[command(after_long_help = "\
BUSY is the share of time a worker spent on bursts that had packets; polling empty queues does not count.")]
    Status,

    /// Virtual services, their real servers, connections and traffic
    Services {
        /// Packets as well as bytes
        #[arg(long)]
        stats: bool,

        /// Per second instead of since the start, averaged over some eight seconds as IPVS does
        #[arg(long, conflicts_with = "stats")]
        rate: bool,
    },

    /// Connections in the table
    #[command(after_long_help = "\
Examples:
  tarpon connections --service web --state ESTABLISHED
  tarpon connections --client 198.51.100.0/24 --limit 20

EXPIRES is the time left if nothing more comes.")]
    Connections(ConnectionsArgs),

    /// Ports: driver, link, addresses, statistics, offloads, limitations
    Ports,

    /// The neighbour table: ARP and IPv6 neighbour discovery
    Neighbours,

    /// Virtual routers: who is master, since when and why
    #[command(after_long_help = "\
HEARD is who advertised last, with its priority. The same lines of `since` and `why` belong to instances that move together.")]
    Vrrp {
        /// Also what was sent, received and refused
        #[arg(long)]
        counters: bool,
    },

    /// Give a virtual router's addresses, and those that move with it, to another director
    #[command(after_long_help = "\
The director says so, and the other takes over after its skew. This one takes them back when the other fails, and not before,
whatever the priorities are.")]
    Failover {
        /// An instance's or a sync group's name
        instance: String,
    },

    /// A rehearsed takeover: give the addresses to the other director, measure the gap, take them back
    #[command(after_long_help = "\
The addresses are asked for every millisecond while they are with nobody or with the other director (ARP, neighbour discovery). What is
measured is, there: from giving them up to the first sign of the other (an answer, or its announcement); back: from its last sign until
this director had them, and for how long it still answered then. They stay with the other for a second, and come back as a better
director preempts a worse one, `preempt_delay` included.

Refused unless a director is heard of in connection synchronisation that has 99 % of the active connections; nothing is known of the health
checks there. Progress goes to standard error. Exit status 1 if they did not go, or did not come back.")]
    Drill {
        /// An instance's or a sync group's name
        instance: String,
        /// Also when the other director is not known to be ready
        #[arg(long)]
        force: bool,
    },

    /// The other director's configuration: whether it is the same, and how to make it so
    #[command(after_long_help = "\
Services, mark rules, [access], [settings] and `compat` are to be the same on both; ports, addresses, routes and virtual routers are each director's own.
A version is named by the count of edits and by a fingerprint of what it says. A director takes what is a later version of its own; where both
were edited, --force takes one for both. Exit status 1 if it was not taken; `diff`: 1 if they differ.")]
    Twin {
        #[command(subcommand)]
        what: Option<Twin>,
    },

    /// Connection synchronisation: who tells whom, and how much of it has arrived
    #[command(after_long_help = "\
COMPLETE is which part of this director's active connections the other one has. LOST counts messages that did not arrive.
Directors that are not Tarpon are told, and heard, but say nothing of themselves.")]
    Sync,

    /// Mark rules, the packets they matched, and those that do nothing
    Marks,
    /// Routes in use: connected ones, gateways and static ones
    Routes,

    /// Health checks: who is up, who is down, and why
    #[command(after_long_help = "\
LAST is how long ago the check was made last, TOOK how long that took. A check that could not be made for a reason of the director's
own (`not made`) says nothing about the server. WEIGHT is the one in force.")]
    Health,

    /// What changed, when, and why: servers up and down, quorums, edits, reloads
    #[command(after_long_help = "\
Examples:
  tarpon events                             all that are kept
  tarpon events --since '2026-11-21 18:00'
  tarpon events --follow --service web
  tarpon events --follow --json | jq .what

Times are UTC. With --json each event is an object on a line of its own.")]
    Events(EventsArgs),

    /// Where a connection could go at a moment, and what has ended or reset it
    #[command(after_long_help = "\
Examples:
  tarpon why tcp 198.51.100.7:4000 '>' 192.0.2.10:443
  tarpon why 'tcp 198.51.100.7:4000 > 192.0.2.10:443' --at '2026-11-21 18:22:10'

From the events that the daemon keeps (`tarpon events`): which servers took new connections then, since when and why the others did not, and
what happened to the service in the quarter of an hour before. Which server a connection had is known as long as it is in the table.
The service is the one that has such packets now, by their address or by the mark that the rules give them.")]
    Why(WhyArgs),

    /// Tell ExaBGP, or BIRD and FRR, which virtual addresses are served here, as long as they are
    #[command(after_long_help = "\
An address is announced while one of its services has its quorum or a sorry server, and, where a virtual router ([[vrrp]]) has it, while that is
master here. It is withdrawn when that ends, and when the daemon does not answer. In ExaBGP's configuration:

  process tarpon { run /usr/local/bin/tarpon announce; encoder text; }
  neighbor 192.0.2.254 { ... api { processes [ tarpon ]; } }

With --interface the addresses are put on an interface of the host instead, for routing daemons that announce what the kernel has, and taken
away when the program ends; what else the interface has stays. A run that was killed leaves them: the next one takes them over.

  ip link add vips type dummy && ip link set vips up
  tarpon announce --interface vips
  BIRD:  protocol direct { ipv4; ipv6; interface \"vips\"; }     and export it
  FRR:   redistribute connected route-map VIPS            with match interface vips")]
    Announce(AnnounceArgs),

    /// Where the file, the configuration in force and the table differ, and why
    Diff,

    /// Every frame's fate: received, sent, and dropped by reason
    #[command(after_long_help = "\
At any moment  rx + generated + from host = tx + punted + dropped + held.  An answer of the director itself (ARP, echo)
drops the request (`answered`) and counts as generated.")]
    Counters {
        /// Also the reasons that never occurred, and each worker by itself
        #[arg(long)]
        all: bool,
    },

    /// Find every mistake in a configuration file; changes nothing
    #[command(after_long_help = "\
Works without a daemon. If one runs, what applying the file would change is shown too, and which of it needs a restart.")]
    Check {
        /// The file; `-` is standard input; one that ends in .conf is read as keepalived's
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        options: KeepalivedArgs,
    },

    /// Another program's file as this one's
    #[command(subcommand)]
    Convert(ConvertCommand),

    /// Make a configuration file the director's state, without losing a connection
    #[command(after_long_help = "\
Refused whole if the file has mistakes, or changes what needs a restart (ports, cores, table sizes). Services and servers that
were added, edited or removed on this command line and are not in the file go with it, and are listed.

The daemon's own file is not written: what is applied from another file lasts until the next reload or restart.")]
    Apply {
        /// The file; `-` is standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// Apply the daemon's own configuration file again (as SIGHUP does)
    Reload,

    /// Add, edit or delete a virtual service
    #[command(subcommand, after_long_help = EDITS)]
    Service(ServiceCommand),

    /// Add, edit, delete or drain a real server of a service
    #[command(subcommand, after_long_help = EDITS)]
    Server(ServerCommand),

    /// Copies of the frames the router receives and sends, while it runs
    #[command(after_long_help = "\
Examples:
  tarpon capture                                   a line for each frame
  tarpon capture -w web.pcapng --seconds 10 tcp port 80
  tarpon capture -w - host 192.0.2.10 | tshark -r -

FILTER is a small part of tcpdump's language:
  [src|dst] host ADDRESS        [src|dst] net PREFIX        ether [src|dst] host MAC
  [src|dst] port N              [src|dst] portrange N-M     vlan [N]
  ip ip6 arp tcp udp sctp icmp icmp6 proto N                less N    greater N
joined by `and`, `or` (read from left to right), `not` and parentheses (quoted for the shell). Conditions side by side must
both hold (`tcp port 80`).

A file has one interface per port, and each frame's direction (Wireshark: frame.packet_flags_direction). A frame forwarded
appears twice, as received and as sent. Frames that come faster than they can be copied are counted and missed; forwarding
never waits.")]
    Capture(CaptureArgs),

    /// What would become of a packet, and why: mark, service, connection, servers, the frame that leaves; changes nothing
    #[command(after_long_help = EXPLAIN)]
    Explain(ExplainArgs),

    /// The same of live packets that match a filter, as they come
    #[command(after_long_help = "\
Examples:
  tarpon trace host 198.51.100.7 and tcp port 443
  tarpon trace --count 1 --json 'tcp port 80' | jq .dropped

FILTER is that of `tarpon capture`; it is held against packets as they are received. At most 200 packets a second are traced, the
others that match are counted; all are forwarded as ever, in their order. Without a trace workers pay nothing for there being one.")]
    Trace(TraceArgs),

    /// What the director makes of recorded packets: offline, on virtual time, without root or daemon
    #[command(after_long_help = REPLAY)]
    Replay(ReplayArgs),

    /// Prepare real servers for direct routing, tunnelling and NAT, check them, take it back
    #[command(after_long_help = "\
Without a subcommand, on a director: what each real server of each service needs, the command to run there, and the one to run here
that verifies it over the wire.

plan, apply, check and undo are for the real server itself; `tarpon-realserver` is the same command by itself, to be copied there. It
needs no daemon.

Exit status: 0 done, 1 a check failed, 2 refused (nothing was changed).")]
    Realserver(realserver::Args),

    /// Settings in force, and their change: timeouts, defences, what the kernel has under net/ipv4/vs
    #[command(after_long_help = "\
Examples:
  tarpon settings                                  all of them; * marks those that are not the default
  tarpon settings tcp_timeout
  tarpon settings drop_entry=1 net.ipv4.vs.sloppy_tcp=1

Names are those of [settings] in the configuration file; the kernel's names do too. Changes take effect at once, all that are named
or none, and last until the next apply, reload or restart: write them into the file to keep them.")]
    Settings {
        /// NAME shows one, NAME=VALUE changes it
        #[arg(value_name = "NAME[=VALUE]")]
        words: Vec<String>,
    },

    /// Set the traffic statistics of services and servers to zero
    Zero,

    /// Speak ipvsadm: its commands, listings, saved files and exit statuses
    #[command(
        disable_help_flag = true,
        after_long_help = "\
Examples:
  tarpon ipvsadm -Ln
  tarpon ipvsadm -A -t 198.51.100.10:80 -s wrr -p 300
  tarpon ipvsadm -a -t 198.51.100.10:80 -r 10.1.0.11:8080 -m -w 2
  tarpon ipvsadm -R < /etc/ipvsadm.rules

A link to `tarpon` by the name `ipvsadm` takes scripts as they are; the socket is then that of TARPON_SOCKET. `tarpon ipvsadm -h`
lists the commands."
    )]
    Ipvsadm {
        /// As after `ipvsadm`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },

    /// Stop the daemon cleanly
    Shutdown,

    /// Print a completion script for a shell
    #[command(after_long_help = "\
Example:
  tarpon completions bash > /etc/bash_completion.d/tarpon")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },

    /// Write manual pages into a directory
    Man {
        /// The directory
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

const REPLAY: &str = "\
The network is always the same: on the clients' side (cl) the director has 10.0.0.1/24 and fd00::1/64, the VIPs 10.0.0.100 and
fd00::100, and its default route (10.0.0.254); on the servers' side (rs) 10.1.0.1/24 and fd01::1/64, and real servers 10.1.0.11 to .22, fd01::11
to ::1c. Settings are those of Linux's IPVS unless changed.

The directory gets cl.pcap and rs.pcap (what the director sent, with the time of the frame that caused it), steps.json (each frame and
what came of it), conns.txt, conns.json, list.txt, stats.txt and rules.txt, as ipvsadm prints them.

Example:
  tarpon replay -r rules --cl clients.pcap --rs servers.pcap -s net/ipv4/vs/sloppy_tcp=1 -o out";

/// Offline.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Services and servers, as `ipvsadm -Sn` saves them
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rules: PathBuf,

    /// Firewall marks: iptables command lines (`-t mangle` may be left out)
    #[arg(short = 'i', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub marks: Option<PathBuf>,

    /// A setting, as net/ipv4/vs/sloppy_tcp=1 (may be repeated)
    #[arg(short, long = "sysctl", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,

    /// Commands of `ip` carried out first: routes, link MTUs
    #[arg(short = 'S', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub setup: Option<PathBuf>,

    /// Frames that arrive on the clients' side (pcap)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cl: Option<PathBuf>,

    /// Frames that arrive on the servers' side (pcap)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rs: Option<PathBuf>,

    /// As much time passes between frames as between their timestamps; else none
    #[arg(long)]
    pub realtime: bool,

    /// Leave the frames' destination MACs as they are; else they are the director's
    #[arg(long)]
    pub keep_mac: bool,

    /// Seconds that pass after the last frame
    #[arg(long, value_name = "SECONDS", default_value_t = 2.2)]
    pub settle: f64,

    /// The directory for what came of it
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
}

const EDITS: &str = "\
A SERVICE is named by its virtual address and port (\"192.0.2.10:80\", \"[2001:db8::10]:80\", with --protocol udp for UDP), or by
the name the configuration gives it.

Edits take effect at once and last until the next apply, reload or restart: write them into the configuration file to keep them.";

#[derive(Debug, Args)]
pub struct ConnectionsArgs {
    /// Only connections to this service: an address (all its ports), address and port, or a name
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,

    /// Only clients in this prefix
    #[arg(long, value_name = "ADDRESS[/PREFIX]")]
    pub client: Option<IpNet>,

    /// Only real servers in this prefix
    #[arg(long, value_name = "ADDRESS[/PREFIX]")]
    pub server: Option<IpNet>,

    /// Only this protocol
    #[arg(long, value_parser = Protocol::from_str)]
    pub protocol: Option<Protocol>,

    /// Only this state, as listed
    #[arg(long)]
    pub state: Option<String>,

    /// At most this many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: u64,

    /// Also persistence templates
    #[arg(long)]
    pub templates: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConvertCommand {
    /// keepalived.conf: its virtual servers with their checks, to standard output
    #[command(after_long_help = "\
Example:
  tarpon convert keepalived /etc/keepalived/keepalived.conf --machine /etc/tarpon/machine.toml > /etc/tarpon/tarpon.toml

Every word that does not do here exactly what it does there is named on standard error, with FILE:LINE:COLUMN: mapped (what it is for,
in another way), harmless, unsupported, or wrong. The last line says how many have their effect here.

Exit status 1 if anything is wrong, and with --strict if anything is unsupported.")]
    Keepalived {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// A tarpon.toml with this machine's ports and settings: the whole file is printed, not the services alone
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        machine: Option<PathBuf>,
        #[command(flatten)]
        options: KeepalivedArgs,
    },

    /// Piranha's lvs.cf: its virtual servers with nanny's checks, pulse's takeover and synchronisation, to standard output
    #[command(
        name = "lvs.cf",
        visible_alias = "piranha",
        after_long_help = "\
Example:
  tarpon convert lvs.cf /etc/sysconfig/ha/lvs.cf --node primary --machine machine.toml > /etc/tarpon/tarpon.toml

That file serves both directors; each has one of its own here: --node says which is meant. What pulse did by its heartbeat is done by
virtual routers (VRRP), one for each device addresses are on, that move together. Every word that does not do here exactly what it
does there is named on standard error, with FILE:LINE:COLUMN: mapped (what it is for, in another way), harmless, unsupported, or
wrong. The last line says how many have their effect here.

Exit status 1 if anything is wrong, and with --strict if anything is unsupported."
    )]
    LvsCf {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Which of the two directors
        #[arg(long, value_enum, default_value = "primary")]
        node: Node,
        /// A tarpon.toml with this machine's ports and settings: the whole file is printed, not what is in lvs.cf alone
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        machine: Option<PathBuf>,
        /// Unsupported words are mistakes
        #[arg(long)]
        strict: bool,
    },

    /// What ipvsadm-save wrote, or a script of ipvsadm commands: its services and servers, to standard output
    #[command(after_long_help = "\
Examples:
  ipvsadm-save -n | tarpon convert ipvsadm -
  tarpon convert ipvsadm /etc/sysconfig/ipvsadm > services.toml

Taken over are -A and -a, in scripts also -C and --set. Any other line is named on standard error, with FILE:LINE, and so is every
mistake; the exit status is 1 then. To load such a file into a running director: tarpon ipvsadm -R < FILE.")]
    Ipvsadm {
        /// The file; `-` is standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// iptables: the MARK rules of its mangle table as [[mark]] rules, to standard output
    #[command(after_long_help = "\
Examples:
  iptables-save | tarpon convert iptables - >> /etc/tarpon/tarpon.toml
  tarpon convert iptables /etc/rc.d/marks.sh

FILE is a script of iptables and ip6tables commands, or what iptables-save or ip6tables-save wrote. With iptables the last rule that
matches decides, here the first: rules come out in reverse. What is not taken over, and every mistake, is named on standard error, with
FILE:LINE: wrong (iptables would not take it either), unsupported, or harmless (it has no part in marks).

Exit status 1 if anything is wrong or unsupported.")]
    Iptables {
        /// The file; `-` is standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// The directors of an lvs.cf.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Node {
    Primary,
    Backup,
}

impl From<Node> for keepalived::lvs_cf::Node {
    fn from(node: Node) -> Self {
        match node {
            Node::Primary => Self::Primary,
            Node::Backup => Self::Backup,
        }
    }
}

#[derive(Debug, Args)]
pub struct KeepalivedArgs {
    /// keepalived.conf: unsupported words are mistakes
    #[arg(long)]
    pub strict: bool,

    /// keepalived.conf: the configuration id of `@` lines (keepalived -i) [default: the host's name]
    #[arg(long, visible_alias = "config-id", value_name = "ID")]
    pub id: Option<String>,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with those to come
    #[arg(long, short = 'f')]
    pub follow: bool,

    /// Only those of this service: VIP:PORT, mark:N (IPv6: mark6:N), or its name
    #[arg(long)]
    pub service: Option<String>,

    /// The service's protocol, when it is given by address
    #[arg(long, default_value = "tcp", value_parser = Protocol::from_str)]
    pub protocol: Protocol,

    /// Only those from this moment on, in UTC: "2026-11-21 18:22:10.250", or "18:22:10", the latest such
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Only those after this number (as in --json)
    #[arg(long, value_name = "N")]
    pub after: Option<u64>,
}

/// `why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The moment, in UTC: "2026-11-21 18:22:10.250", or "18:22:10", the latest such [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,

    /// The connection, as its client's packets are: PROTOCOL ADDRESS:PORT > ADDRESS:PORT
    #[arg(value_name = "FLOW", required = true)]
    pub words: Vec<String>,
}

/// `announce`
#[derive(Debug, Args)]
pub struct AnnounceArgs {
    /// Not ExaBGP's lines but the addresses themselves, as /32 and /128 on this interface of the host, for BIRD and FRR to announce
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = ["next_hop", "med"])]
    pub interface: Option<String>,

    /// The next hop that is told [default: self, the session's own address]
    #[arg(long, value_name = "ADDRESS")]
    pub next_hop: Option<IpAddr>,

    /// The multi-exit discriminator that is told: the lower is preferred
    #[arg(long, value_name = "N")]
    pub med: Option<u32>,

    /// Milliseconds between looks
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub interval: u64,

    /// Say what is announced now, and end
    #[arg(long)]
    pub once: bool,
}

/// Which service.
#[derive(Debug, Args)]
pub struct ServiceArg {
    /// The service: VIP:PORT, mark:N (IPv6: mark6:N), or its name
    #[arg(value_name = "SERVICE")]
    pub service: String,

    /// The service's protocol, when it is given by address
    #[arg(long, default_value = "tcp", value_parser = Protocol::from_str)]
    pub protocol: Protocol,
}

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Add a service, without servers
    #[command(after_long_help = "\
Example:
  tarpon service add 192.0.2.10:80 --scheduler rr --method masq
  tarpon server add 192.0.2.10:80 10.1.0.11:8080")]
    Add {
        /// Virtual address and port; port 0, with --persistent, is every port. Or a firewall mark: mark:80, for IPv6 mark6:80
        #[arg(value_name = "VIP:PORT", value_parser = ServiceText::from_str)]
        address: ServiceText,
        /// The protocol
        #[arg(long, default_value = "tcp", value_parser = Protocol::from_str)]
        protocol: Protocol,
        #[command(flatten)]
        options: ServiceOptions,
    },
    /// Change a service; what is not named stays, connections too
    Edit {
        #[command(flatten)]
        service: ServiceArg,
        #[command(flatten)]
        options: ServiceOptions,
    },
    /// Remove a service with its servers; its connections end as `expire_nodest_conn` says
    Delete {
        #[command(flatten)]
        service: ServiceArg,
    },
}

#[derive(Debug, Args)]
pub struct ServiceOptions {
    /// A name for listings
    #[arg(long)]
    pub name: Option<String>,

    /// How connections are spread: rr, wrr, lc, wlc, lblc, lblcr, sed, nq, fo, ovf, sh, dh, mh, twos [default for a new one: wlc]
    #[arg(long, short = 's', value_parser = Scheduler::from_str)]
    pub scheduler: Option<Scheduler>,

    /// What the scheduler may do besides: sh-fallback, sh-port, mh-fallback, mh-port, by commas [with an empty value: nothing]
    #[arg(long, short = 'b', value_name = "FLAGS", value_parser = scheduler_flags)]
    pub scheduler_flags: Option<SchedulerFlagList>,

    /// A client stays with its server for so many seconds after its last new connection [without a number: 300; 0: off]
    #[arg(long, short = 'p', value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    pub persistent: Option<u32>,

    /// Clients of one network count as one: an IPv4 mask, or an IPv6 prefix length
    #[arg(long, short = 'M', value_name = "MASK")]
    pub netmask: Option<String>,

    /// What tells a client's connections apart besides its address: sip, the Call-ID of SIP over UDP [none: nothing]
    #[arg(long, value_name = "ENGINE", value_parser = EngineChoice::from_str)]
    pub persistence_engine: Option<EngineChoice>,

    /// Schedule each datagram by itself and keep no connection (UDP services, and UDP of services by mark) [with =false: no more]
    #[arg(long, short = 'o', value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub one_packet: Option<bool>,

    /// Forwarding method of servers added without one: masq, route, tunnel [default for a new one: route]
    #[arg(long, value_parser = ForwardingMethod::from_str)]
    pub method: Option<ForwardingMethod>,
}

/// A service in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceText {
    /// `192.0.2.10:80`
    Address(SocketAddr),
    /// `mark:80`, `mark6:80`
    Mark(Mark, Family),
}

impl FromStr for ServiceText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (family, number) = match text.split_once(':') {
            Some(("mark", number)) => (Family::Ipv4, number),
            Some(("mark6", number)) => (Family::Ipv6, number),
            _ => {
                let address = text.parse().map(Self::Address);
                return address.map_err(|_| {
                    "write it like 192.0.2.10:80, [2001:db8::10]:80 or mark:80".into()
                });
            }
        };
        match number.parse() {
            Ok(mark) if mark > 0 => Ok(Self::Mark(Mark(mark), family)),
            _ => Err("a mark is a whole number from 1 to 4294967295".into()),
        }
    }
}

/// The flags of `--scheduler-flags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerFlagList(pub Vec<SchedulerFlag>);

fn scheduler_flags(text: &str) -> Result<SchedulerFlagList, String> {
    let names = text.split(',').filter(|name| !name.is_empty());
    names
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map(SchedulerFlagList)
}

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Add a real server to a service
    Add {
        #[command(flatten)]
        server: ServerArg,
        #[command(flatten)]
        options: ServerOptions,
    },
    /// Change a real server; what is not named stays, connections too
    Edit {
        #[command(flatten)]
        server: ServerArg,
        #[command(flatten)]
        options: ServerOptions,
    },
    /// Remove a real server at once; its connections end as `expire_nodest_conn` says
    Delete {
        #[command(flatten)]
        server: ServerArg,
    },
    /// Send a real server no new connections, and wait until its connections have ended
    #[command(after_long_help = "\
The server's weight becomes 0 at once and stays 0, whatever becomes of the waiting. Then it waits until none of its connections is
left; TCP connections that were closed count for two minutes more, while they may still be sending. Interrupting this command ends the
waiting only. Give the server weight again with `tarpon server edit SERVICE SERVER --weight 1`.

Exit status 1 if the deadline passed with connections left.")]
    Drain {
        #[command(flatten)]
        server: ServerArg,
        /// Stop waiting after so many seconds
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u32>,
        /// Remove the server once it has no connections left
        #[arg(long)]
        delete: bool,
    },
}

/// Which server of which service.
#[derive(Debug, Args)]
pub struct ServerArg {
    #[command(flatten)]
    pub service: ServiceArg,

    /// The real server: ADDRESS:PORT, or ADDRESS for the service's port
    #[arg(value_name = "SERVER")]
    pub server: ServerAddress,
}

/// A server's address, with a port or the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    WithPort(SocketAddr),
    ServicePort(IpAddr),
}

impl FromStr for ServerAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        match (text.parse(), bare.parse()) {
            (Ok(address), _) => Ok(Self::WithPort(address)),
            (_, Ok(ip)) => Ok(Self::ServicePort(ip)),
            _ => Err(
                "write ADDRESS or ADDRESS:PORT, like 10.1.0.11:8080 or [2001:db8::11]:8080".into(),
            ),
        }
    }
}

#[derive(Debug, Args)]
pub struct ServerOptions {
    /// How packets get there: masq (NAT), route (direct routing), tunnel [default for a new one: the service's]
    #[arg(long, value_parser = ForwardingMethod::from_str)]
    pub method: Option<ForwardingMethod>,

    /// What packets are wrapped in, with the method tunnel: ipip, gre, gre:csum, gue:PORT, gue:PORT:csum, gue:PORT:remcsum [default for a new one: ipip]
    #[arg(long, value_parser = Tunnel::from_str)]
    pub tunnel: Option<Tunnel>,

    /// Its share of connections; 0 takes no new ones [default for a new one: 1]
    #[arg(long, short = 'w', value_parser = clap::value_parser!(u32).range(0..=2_147_483_647))]
    pub weight: Option<u32>,

    /// No new connections at this many; 0 is no limit
    #[arg(long, short = 'x', value_name = "N")]
    pub upper_threshold: Option<u32>,

    /// New connections again below this many; 0 is three quarters of the upper
    #[arg(long, short = 'y', value_name = "N")]
    pub lower_threshold: Option<u32>,
}

#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// Write pcapng to this file; `-` is standard output. Without it, a line for each frame is printed
    #[arg(long, short = 'w', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub write: Option<PathBuf>,

    /// Only this port, by name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub port: Vec<String>,

    /// Stop after this many frames
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,

    /// Bytes to keep of each frame [default: all]
    #[arg(long, short = 's', value_name = "BYTES", value_parser = clap::value_parser!(u32).range(14..))]
    pub snaplen: Option<u32>,

    /// The filter, as one argument; the same as FILTER
    #[arg(long = "filter", value_name = "EXPR", conflicts_with = "words")]
    pub filter: Option<String>,

    /// Which frames; all if absent
    #[arg(value_name = "FILTER")]
    pub words: Vec<String>,
}

const EXPLAIN: &str = "\
Examples:
  tarpon explain 'tcp 198.51.100.7:4000 > 192.0.2.10:443'
  tarpon explain 'udp [2001:db8::7]:5353 > [2001:db8:1::10]:53 on wan payload 300'
  tarpon explain 'icmp 10.9.0.1 > 192.0.2.10 too-big 1400 about tcp 192.0.2.10:443 > 198.51.100.7:4000'
  tarpon explain --conn 'tcp 198.51.100.7:4000 > 192.0.2.10:443'

PACKET is PROTOCOL SOURCE > DESTINATION, quoted for the shell: tcp, udp and sctp with ports, icmp (an echo request) without. Behind it:
  flags syn,ack    of TCP [default: syn]; tcpdump's letters will do (SA), `none` is none
  chunk data       of SCTP [default: init], by name or number
  on NAME          the port or VLAN it comes in on [default: where the route back to its source leads]
  ttl N  dscp N  payload BYTES
  fragment OFFSET+LENGTH  id N    only a part of it, in bytes behind the IP header; of the packet of that identification [default: 1]
  unreachable | exceeded | too-big MTU, then about PACKET     an ICMP error about another packet

The packet goes through the director's own code, on a copy of its state: what is told is what would happen now. Nothing changes, no
counter either. Bounds that are each worker's own, those on answers and on packets that wait for a neighbour, are told as of the worker
that has least room. Not foreseen are: errors about a tunnel's outer header.

Exit status: 1 with --conn if there is no such connection.";

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A connection there is: the next packet of its client, and under NAT of its server
    #[arg(long)]
    pub conn: bool,

    /// The packet
    #[arg(value_name = "PACKET", required = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Stop after this many packets
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,

    /// Which packets; all if absent
    #[arg(value_name = "FILTER")]
    pub words: Vec<String>,
}

impl CaptureArgs {
    /// The filter's text, if there is one.
    pub fn filter(&self) -> Option<String> {
        self.filter
            .clone()
            .or_else(|| (!self.words.is_empty()).then(|| self.words.join(" ")))
    }
}

/// What to do with the two configurations.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Twin {
    /// Which version each has, and whether one of them is the later (default)
    Status,
    /// What differs: what `pull` would change here
    Diff,
    /// Make this director's configuration that of both
    Push {
        /// Whatever was edited there
        #[arg(long)]
        force: bool,
    },
    /// Make the other director's configuration that of both
    Pull {
        /// Whatever was edited here
        #[arg(long)]
        force: bool,
    },
}
