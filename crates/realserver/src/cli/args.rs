//! The words of the command line, and what they say.

use crate::{
    action::ArpChains,
    error::Refusal,
    facts::Facts,
    live::{System, gather},
    others::Platform,
    request::{Boot, Method, Request},
};
use clap::Subcommand;
use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};
use types::{MacAddr, Protocol};

/// The arguments, to be mounted under any command.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

impl Args {
    /// No subcommand was given: a director lists what its servers need.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.command.is_none()
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print exactly what apply would run, and change nothing.
    Plan {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prepare this machine, now and for every boot. Again is no change.
    Apply {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        place: Place,
    },
    /// Verify by behaviour: frames are made to arrive here, and what this machine does with them is watched. Without --vip: what was applied.
    Check {
        #[command(flatten)]
        what: MaybeWhat,
        #[command(flatten)]
        place: Place,
        /// A client's address, to see which way its answers go.
        #[arg(long)]
        client: Option<IpAddr>,
        /// The director's address on this segment, which answers must not pass.
        #[arg(long)]
        director: Option<IpAddr>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take back what apply changed: all of it, or what concerns a VIP.
    Undo {
        /// Only these VIPs.
        #[arg(long)]
        vip: Vec<IpAddr>,
        #[command(flatten)]
        place: Place,
        /// Also where a file was changed since apply; the changed file is kept as NAME.tarpon-changed.
        #[arg(long)]
        force: bool,
    },
    /// Write stand-alone POSIX shell scripts (apply.sh, check.sh, undo.sh) for a server without this program.
    Script {
        #[command(flatten)]
        what: What,
        /// The directory to write them to.
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Write ansible tasks.
    Ansible {
        #[command(flatten)]
        what: What,
        /// The file to write; standard output if not given.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// From the director, over the wire: does the server answer ARP for the VIP, does it take the VIP's packets?
    Probe {
        /// The server's own address.
        #[arg(long, required_unless_present = "mac")]
        real_ip: Option<IpAddr>,
        /// Its MAC address, if it is not to be asked for.
        #[arg(long)]
        mac: Option<MacAddr>,
        /// The interface it is on; found by --real-ip if not given.
        #[arg(long, required_unless_present = "real_ip")]
        interface: Option<String>,
        /// A virtual address; repeat for more.
        #[arg(long, required = true)]
        vip: Vec<IpAddr>,
        /// A service's port; repeat for more.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: Vec<u16>,
        /// A service's protocol.
        #[arg(long, default_value = "tcp")]
        protocol: Vec<Protocol>,
        /// Then listen this many seconds for anyone who claims a VIP.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        listen: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The methods, what each costs and what it is for.
    Methods,
    /// What to type on a real server that does not run Linux.
    Instructions {
        /// The system.
        #[arg(long, value_enum)]
        system: Platform,
        #[command(flatten)]
        what: What,
    },
}

/// The four remedies for direct routing (and tunnelling and NAT), and where.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct What {
    /// sysctl: VIP on lo, no cost, services may bind the VIP. arptables: the same with the VIP on the interface, IPv4 only.
    /// iptables, firewalld, nftables: REDIRECT, simple, but every packet pays and ports cannot be reused. `methods` tells all.
    #[arg(long, value_enum, default_value = "sysctl")]
    pub method: Method,
    #[command(flatten)]
    pub rest: Rest,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct MaybeWhat {
    /// The method to check; what was applied if not given.
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    #[command(flatten)]
    pub rest: Rest,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Rest {
    /// A virtual address; repeat for more.
    #[arg(long)]
    pub vip: Vec<IpAddr>,
    /// A service's port; repeat for more.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// A service's protocol.
    #[arg(long, default_value = "tcp")]
    protocol: Vec<Protocol>,
    /// The interface the director's frames arrive on (repeat for more; `all`: every one). Found if there is only one.
    #[arg(long)]
    interface: Vec<String>,
    /// The server's own address, which the director uses (arptables).
    #[arg(long)]
    real_ip: Option<Ipv4Addr>,
    /// The director's floating private address (nat).
    #[arg(long)]
    gateway: Option<IpAddr>,
    /// One service answers for all VIPs of a port (lifts REDIRECT's refusal).
    #[arg(long)]
    one_service: bool,
    /// Who brings it up at boot.
    #[arg(long, value_enum, default_value = "auto")]
    boot: Boot,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// Prepare the system below this directory (an image, a chroot) for its next boot. Nothing that runs is touched.
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// The same for this system, from inside: write files for the next boot, touch nothing that runs.
    #[arg(long)]
    files_only: bool,
    /// What this machine's arptables calls its chains; found out if not given.
    #[arg(long, value_enum)]
    arptables_chains: Option<ArpChains>,
}

impl Rest {
    pub fn request(self, method: Method) -> Request {
        let mut request = Request {
            method,
            vips: self.vip,
            ports: self.port,
            protocols: self.protocol,
            interfaces: self.interface,
            real_ip: self.real_ip,
            gateway: self.gateway,
            one_service: self.one_service,
            boot: self.boot,
        };
        keep_first(&mut request.vips);
        keep_first(&mut request.ports);
        keep_first(&mut request.protocols);
        keep_first(&mut request.interfaces);
        request
    }
}

/// Said twice is said once.
fn keep_first<T: PartialEq + Clone>(items: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::new();
    items.retain(|item| {
        let new = !seen.contains(item);
        if new {
            seen.push(item.clone());
        }
        new
    });
}

impl Place {
    pub fn system(&self) -> Result<System, Refusal> {
        if self.root == Path::new("/") {
            return Ok(System::new("/", self.files_only));
        }
        System::image(&self.root)
    }

    pub fn facts(&self, system: &System) -> Result<Facts, Refusal> {
        gather(system, self.arptables_chains)
    }
}
