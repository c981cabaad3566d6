//! Two directors of a lab that take over from each other: both Tarpon, or the second a Linux host with keepalived.

use crate::{
    lab::{
        Lab,
        router::{Killed, Router},
        run,
    },
    linux::Linux,
    sync::{SYNC, status},
    takeover::{Advertising, NODES, VIP, becomes, file_of, state},
    takeover_options::{Fault, Options, Peer},
    watch::ECHO,
};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::{
    thread,
    time::{Duration, Instant},
};

/// One of the two.
enum Director<'a> {
    Tarpon(Router<'a>),
    /// It was killed, and leaves this to the next.
    Gone(Option<Killed>),
    Linux(Linux<'a>),
}

/// The two.
pub struct Pair<'a> {
    lab: &'a Lab,
    interval_ms: u64,
    /// Whether connections are told.
    sync: bool,
    /// Whether there are very many of them.
    many: bool,
    directors: [Director<'a>; 2],
}

impl<'a> Pair<'a> {
    /// The first as master, the second beside it.
    pub fn start(lab: &'a Lab, options: &Options) -> Result<Self> {
        let mut pair = Self {
            lab,
            interval_ms: options.interval_ms,
            sync: options.peer == Peer::Tarpon,
            many: options.is_many(),
            directors: [Director::Gone(None), Director::Gone(None)],
        };
        pair.start_one(0)?;
        becomes(pair.tarpon(0)?, "master")?;
        match options.peer {
            Peer::Tarpon => pair.start_one(1)?,
            Peer::Keepalived => {
                let linux = Linux::start(lab, NODES[1], PRIORITIES[1], options.interval_ms)?;
                pair.directors[1] = Director::Linux(linux);
            }
        }
        Ok(pair)
    }

    fn start_one(&mut self, node: usize) -> Result<()> {
        let advertising = Advertising {
            interval_ms: self.interval_ms,
            preempt: false,
        };
        let servers: String = (11..=13)
            .map(|n| format!("[[service.server]]\naddress = \"10.1.0.{n}\"\n"))
            .collect();
        let text = file_of(self.lab, node, PRIORITIES[node], advertising)
            + &format!(
                "\n[[service]]\nprotocol = \"udp\"\naddress = \"{VIP}:{ECHO}\"\nmethod = \"masq\"\n{servers}\n"
            )
            + if self.sync { SYNC } else { "" };
        let text = match self.many {
            true => text.replace("connections = 100_000", "connections = 400_000"),
            false => text,
        };
        let killed = match &mut self.directors[node] {
            Director::Gone(killed) => killed.take(),
            _ => None,
        };
        self.directors[node] = Director::Tarpon(match killed {
            Some(killed) => Router::start_after(self.lab, NODES[node], &text, killed)?,
            None => Router::start_on(self.lab, NODES[node], &text)?,
        });
        Ok(())
    }

    fn tarpon(&self, node: usize) -> Result<&Router<'a>> {
        match &self.directors[node] {
            Director::Tarpon(router) => Ok(router),
            _ => anyhow::bail!("{} is no Tarpon, or not there", NODES[node]),
        }
    }

    fn state(&self, node: usize) -> Result<String> {
        match &self.directors[node] {
            Director::Tarpon(router) => state(router),
            Director::Gone(_) => Ok("gone".into()),
            Director::Linux(linux) => linux.state(),
        }
    }

    /// Both are there, one is master, and the other has what it needs to follow it. Says which is master.
    pub fn settled(&self) -> Result<usize> {
        let mut last = String::new();
        let mut master = 0;
        run::until("the directors do not settle", 40, || {
            let states = [self.state(0)?, self.state(1)?];
            last = states.join(" and ");
            master = usize::from(states[1] == "master");
            let settled = states[master] == "master" && states[1 - master] == "backup";
            Ok(settled && (!self.sync || status(self.tarpon(1 - master)?)?.told_everything))
        })
        .with_context(|| format!("they are {last}"))?;
        Ok(master)
    }

    /// Waits until `node` is master.
    pub fn taken_over(&self, node: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.state(node)? != "master" {
            let log = match &self.directors[node] {
                Director::Tarpon(router) => router.log_tail(15),
                _ => String::new(),
            };
            ensure!(
                Instant::now() < deadline,
                "{} did not take over within {patience:?}:\n{log}",
                NODES[node],
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What is to happen to `node`, the master.
    pub fn apply(&mut self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Public => return self.cable("wan", node, "down"),
            Fault::Private => return self.cable("lan", node, "down"),
            Fault::Oneway => return self.deafen_switches(node),
            Fault::Kill | Fault::Stop | Fault::Planned => {}
        }
        let director = &mut self.directors[node];
        match (std::mem::replace(director, Director::Gone(None)), fault) {
            (Director::Tarpon(router), Fault::Kill) => {
                *director = Director::Gone(Some(router.kill()?));
            }
            (Director::Linux(mut linux), Fault::Kill) => {
                // What the kernel holds for keepalived stays when only keepalived dies: it is the machine that dies.
                let gone = linux.die();
                *director = Director::Linux(linux);
                gone?;
                self.cable("wan", node, "down")?;
                self.cable("lan", node, "down")?;
            }
            (Director::Tarpon(router), fault) => {
                let done = match fault {
                    Fault::Stop => router.signal(Signal::STOP),
                    _ => router.tarpon("failover lvs").map(|_| ()),
                };
                *director = Director::Tarpon(router);
                done?;
            }
            (Director::Linux(mut linux), fault) => {
                let done = match fault {
                    Fault::Stop => linux.signal(Signal::STOP),
                    _ => linux.end(),
                };
                *director = Director::Linux(linux);
                done?;
            }
            (Director::Gone(_), _) => anyhow::bail!("{} is not there", NODES[node]),
        }
        Ok(())
    }

    /// Undoes it.
    pub fn heal(&mut self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Public => return self.cable("wan", node, "up"),
            Fault::Private => return self.cable("lan", node, "up"),
            Fault::Oneway => return self.undeafen_switches(),
            Fault::Kill | Fault::Stop | Fault::Planned => {}
        }
        let is_linux = matches!(self.directors[node], Director::Linux(_));
        if fault == Fault::Kill && is_linux {
            // Before it is on the wire again: a machine that starts has no virtual addresses.
            if let Director::Linux(linux) = &self.directors[node] {
                linux.forget()?;
            }
            self.cable("wan", node, "up")?;
            self.cable("lan", node, "up")?;
        }
        match (&mut self.directors[node], fault) {
            (Director::Tarpon(router), Fault::Stop) => router.signal(Signal::CONT),
            (Director::Tarpon(_), _) => Ok(()),
            (Director::Gone(_), _) => self.start_one(node),
            (Director::Linux(linux), Fault::Stop) => linux.signal(Signal::CONT),
            (Director::Linux(linux), _) => linux.start_again(),
        }
    }

    fn cable(&self, wire: &str, node: usize, to: &str) -> Result<()> {
        let line = format!("ip link set {}-{wire} {to}", NODES[node]);
        self.lab.text(wire, &line, 5).map(|_| ())
    }

    /// What the node sends is lost; what is sent to it arrives.
    fn deafen_switches(&self, node: usize) -> Result<()> {
        ["wan", "lan"]
            .into_iter()
            .try_for_each(|wire| deafen(self.lab, wire, NODES[node], ""))
    }

    fn undeafen_switches(&self) -> Result<()> {
        ["wan", "lan"]
            .into_iter()
            .try_for_each(|wire| undeafen(self.lab, wire))
    }

    /// Ends both in order.
    pub fn stop(self) -> Result<()> {
        for director in self.directors {
            match director {
                Director::Tarpon(router) => router.stop()?,
                Director::Linux(mut linux) => linux.end()?,
                Director::Gone(_) => {}
            }
        }
        Ok(())
    }
}

/// Both above 200, so that the skew is short.
const PRIORITIES: [u8; 2] = [220, 210];

/// What `node` sends on `wire` is lost in the switch: all, or what an expression of nft's says, like `udp dport 8848`.
pub fn deafen(lab: &Lab, wire: &str, node: &str, what: &str) -> Result<()> {
    let path = lab.dir.join(format!("deaf-{wire}.nft"));
    std::fs::write(
        &path,
        format!(
            "table netdev deaf {{\nchain in {{\ntype filter hook ingress device \"{node}-{wire}\" priority 0;\n{what} drop\n}}\n}}\n"
        ),
    )?;
    lab.text(wire, &format!("nft -f {}", path.display()), 5)
        .map(|_| ())
}

/// Undoes [`deafen`].
pub fn undeafen(lab: &Lab, wire: &str) -> Result<()> {
    lab.text(wire, "nft delete table netdev deaf", 5)
        .map(|_| ())
}
