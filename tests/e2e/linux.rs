//! A director as it is without Tarpon: a Linux host with the real keepalived, which balances over the real servers by the kernel's NAT.
//! IPVS is in few kernels that tests run on, nftables in all: a new connection goes to the next server in turn, and the kernel keeps its
//! own table of them. Nobody tells it of connections, and it tells nobody.

use crate::{
    lab::{Background, Lab, run},
    takeover::VIP,
    watch::ECHO,
};
use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// Its addresses, its virtual ones, and where.
const SIDES: [(&str, &str, &str); 2] = [
    ("wan", "198.51.100.3/24", VIP),
    ("lan", "10.1.0.3/24", "10.1.0.1"),
];

/// The host, and keepalived on it unless that has ended.
pub struct Linux<'a> {
    lab: &'a Lab,
    node: &'static str,
    priority: u8,
    interval_ms: u64,
    keepalived: Option<Background>,
    starts: u32,
}

impl<'a> Linux<'a> {
    /// On a node of `lab`, as one that does not preempt.
    pub fn start(lab: &'a Lab, node: &'static str, priority: u8, interval_ms: u64) -> Result<Self> {
        let rules = lab.dir.join("balance.nft");
        fs::write(&rules, balance())?;
        let mut lines = vec![
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0".to_owned(),
            format!("nft -f {}", rules.display()),
        ];
        for (interface, address, _) in SIDES {
            lines.push(format!("ethtool -K {interface} tx off"));
            lines.push(format!("ip addr add {address} dev {interface}"));
        }
        for line in lines {
            lab.text(node, &line, 5)?;
        }
        let mut linux = Self {
            lab,
            node,
            priority,
            interval_ms,
            keepalived: None,
            starts: 0,
        };
        linux.start_again()?;
        Ok(linux)
    }

    /// Starts keepalived, which has ended.
    pub fn start_again(&mut self) -> Result<()> {
        let path = self.lab.dir.join("pair-keepalived.conf");
        fs::write(&path, self.configuration())?;
        self.starts += 1;
        self.keepalived = Some(self.lab.start(
            self.node,
            &format!(
                "keepalived --dont-fork --vrrp --use-file={} --pid={} --vrrp_pid={} --log-console",
                path.display(),
                self.pid_file("keepalived"),
                self.pid_file("vrrp"),
            ),
        )?);
        Ok(())
    }

    /// A file of its own for each start: one that was killed leaves its file.
    fn pid_file(&self, what: &str) -> String {
        let name = format!("{what}-pair-{}.pid", self.starts);
        self.lab.dir.join(name).display().to_string()
    }

    fn configuration(&self) -> String {
        let Self {
            priority,
            interval_ms,
            ..
        } = self;
        let interval = f64::from(u32::try_from(*interval_ms).unwrap_or(u32::MAX)) / 1000.0;
        let instance = |name: &str, (interface, _, address): (&str, &str, &str)| {
            format!(
                "vrrp_instance {name} {{\nstate BACKUP\nnopreempt\ninterface {interface}\nvirtual_router_id 10\npriority {priority}\n\
                 advert_int {interval}\nvirtual_ipaddress {{\n{address}\n}}\n}}\n"
            )
        };
        "global_defs {\nvrrp_version 3\nvrrp_rt_priority 50\n}\nvrrp_sync_group lvs {\ngroup {\npublic\nprivate\n}\n}\n"
            .to_owned()
            + &instance("public", SIDES[0])
            + &instance("private", SIDES[1])
    }

    /// `master`: the kernel has both virtual addresses; `backup`: none of them, and keepalived runs.
    pub fn state(&self) -> Result<String> {
        let mut has = 0;
        for (interface, _, address) in SIDES {
            let line = format!("ip -o addr show dev {interface}");
            let text = self.lab.text(self.node, &line, 5)?;
            has += usize::from(text.contains(&format!(" {address}/")));
        }
        let state = match (has, &self.keepalived) {
            (2, _) => "master",
            (1, _) => "divided",
            (_, Some(_)) => "backup",
            (_, None) => "gone",
        };
        Ok(state.to_owned())
    }

    /// keepalived is two processes.
    fn processes(&self) -> Result<Vec<Pid>> {
        let parent = self.keepalived.as_ref().context("keepalived has ended")?;
        let path = self.pid_file("vrrp");
        let child = fs::read_to_string(&path).with_context(|| path.clone())?;
        let pids = [i32::try_from(parent.pid())?, child.trim().parse()?];
        Ok(pids.into_iter().filter_map(Pid::from_raw).collect())
    }

    /// Sends both of its processes a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        for pid in self.processes()? {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// SIGKILL. The virtual addresses stay in the kernel.
    pub fn die(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.keepalived = None;
        Ok(())
    }

    /// The kernel gives up the virtual addresses.
    pub fn forget(&self) -> Result<()> {
        for (interface, _, address) in SIDES {
            let line = format!("ip addr flush dev {interface} to {address}/32");
            self.lab.text(self.node, &line, 5)?;
        }
        Ok(())
    }

    /// SIGTERM: it gives the addresses up, and says so.
    pub fn end(&mut self) -> Result<()> {
        let Some(keepalived) = &mut self.keepalived else {
            return Ok(());
        };
        let pid = i32::try_from(keepalived.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a pid")?, Signal::TERM)?;
        run::until("keepalived still runs after SIGTERM", 10, || {
            keepalived.has_ended()
        })?;
        self.keepalived = None;
        Ok(())
    }
}

/// The kernel's NAT in place of IPVS's.
fn balance() -> String {
    let servers = |more: &str| {
        let one = |n| format!("{} : 10.1.0.{}{more}", n, 11 + n);
        (0..3).map(one).collect::<Vec<_>>().join(", ")
    };
    // What servers send on connections that the kernel does not know is not let through: untranslated the client has no use for it, and
    // the kernel would take it for a connection, in the way of the client's own.
    format!(
        "table ip lvs {{\nchain balance {{\ntype nat hook prerouting priority dstnat\n\
         ip daddr {VIP} tcp dport 80 dnat to numgen inc mod 3 map {{ {} }}\n\
         ip daddr {VIP} udp dport {ECHO} dnat to numgen inc mod 3 map {{ {} }}\n}}\n\
         chain known {{\ntype filter hook forward priority 0\niifname lan ct state new drop\n}}\n}}\n",
        servers(" . 8080"),
        servers(""),
    )
}
