//! The single questions of a probe, and how their answers are judged.

use super::{CONNECT, Probe, ephemeral};
use crate::{
    error::Refusal,
    report::{
        Outcome,
        frames::{self, What},
        who_has::{ANSWER, answerers, question},
    },
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    time::Duration,
};
use types::MacAddr;

impl Probe<'_> {
    pub(super) fn own_address(&self, like: IpAddr) -> Option<IpAddr> {
        let of_family = || {
            self.nic
                .addresses
                .iter()
                .map(types::IpNet::address)
                .filter(|a| a.is_ipv4() == like.is_ipv4() && *a != like)
        };
        // Not link-local, where there is a choice: a server answers a link-local peer on one link only.
        of_family()
            .find(|a| !matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .or_else(|| of_family().next())
    }

    pub(super) fn silence(&mut self, vip: IpAddr) -> Result<(), Refusal> {
        let word = if vip.is_ipv4() { "ARP" } else { "ND" };
        let own = self.own_address(vip);
        let Some(unicast) = question(self.mac, own, vip, Some(self.server)) else {
            self.report.add(
                Outcome::Skipped,
                format!("{word} silence about {vip}"),
                "no IPv6 address here to ask from",
                "",
            );
            return Ok(());
        };
        let mut found = BTreeSet::new();
        for _ in 0..2 {
            self.wire.send(&unicast)?;
            found.extend(answerers(&mut self.wire, vip, ANSWER)?);
        }
        if found.contains(&self.server) {
            self.report.add(
                Outcome::Fail,
                format!("{word} silence about {vip}"),
                format!("the server {} answers who-has {vip} sent to it alone: clients and routers will bypass the director", self.server),
                format!("on the server: tarpon-realserver apply --method sysctl --vip {vip}"),
            );
        } else {
            self.report.pass(
                format!("{word} silence about {vip}"),
                format!(
                    "the server {} does not answer who-has sent to it alone",
                    self.server
                ),
            );
        }
        if let Some(broadcast) = question(self.mac, own, vip, None) {
            self.wire.send(&broadcast)?;
            let others = answerers(&mut self.wire, vip, ANSWER)?;
            let strangers: Vec<String> = others
                .iter()
                .filter(|m| **m != self.mac)
                .map(ToString::to_string)
                .collect();
            if others.contains(&self.server) {
                self.report.add(
                    Outcome::Fail,
                    format!("who has {vip}"),
                    format!("asked of all, {} answer", strangers.join(", ")),
                    "",
                );
            } else if strangers.is_empty() {
                self.report.pass(
                    format!("who has {vip}"),
                    "asked of all, nobody but this machine",
                );
            } else {
                self.report.add(
                    Outcome::Warn,
                    format!("who has {vip}"),
                    format!("asked of all, {} answer", strangers.join(", ")),
                    "right if that is the active director; else a server that must be silent",
                );
            }
        }
        Ok(())
    }

    pub(super) fn tcp(&mut self, own: IpAddr, to: SocketAddr) -> Result<(), Refusal> {
        let from = SocketAddr::new(own, ephemeral());
        let subject = format!("{to}/tcp by the server's MAC");
        let macs = (self.mac, self.server);
        self.wire
            .send(&frames::tcp_segment(macs, from, to, frames::SYN, 1))?;
        let mut again = 0;
        let answer = loop {
            let answer = self.wire.listen(CONNECT / 3, |heard| match &heard.what {
                What::Tcp {
                    from: source,
                    to: target,
                    flags,
                    ..
                } if *target == from && heard.source != self.mac => {
                    ControlFlow::Break((*source, *flags, heard.source))
                }
                _ => ControlFlow::Continue(()),
            })?;
            again += 1;
            if answer.is_some() || again == 3 {
                break answer;
            }
            self.wire
                .send(&frames::tcp_segment(macs, from, to, frames::SYN, 1))?;
        };
        match answer {
            Some((source, flags, mac)) if source == to && flags & frames::SYN_ACK == frames::SYN_ACK => {
                // Half open no longer than needed.
                self.wire.send(&frames::tcp_segment(macs, from, to, frames::RST, 2))?;
                let way = if mac == self.server { String::new() } else { format!(", but through {mac}, not from the server itself") };
                self.report.pass(subject, format!("accepted: SYN-ACK from {source}{way}"));
            }
            Some((source, flags, _)) if source == to && flags & frames::RST != 0 => self.report.add(
                Outcome::Fail,
                subject,
                "the server takes the VIP's packets, but nothing listens there (reset)",
                format!("start the service on {to} or on all addresses"),
            ),
            Some((source, ..)) => {
                self.report.add(Outcome::Fail, subject, format!("answered from {source}, not from the VIP: the client will not know it"), "");
            }
            None => self.report.add(
                Outcome::Fail,
                subject,
                "no answer: the server does not take the VIP's packets, a filter or rp_filter drops them, or its answer goes elsewhere",
                "run `tarpon-realserver check` on the server",
            ),
        }
        Ok(())
    }

    pub(super) fn udp(&mut self, own: IpAddr, to: SocketAddr) -> Result<(), Refusal> {
        let from = SocketAddr::new(own, ephemeral());
        let subject = format!("{to}/udp by the server's MAC");
        self.wire
            .send(&frames::udp_datagram((self.mac, self.server), from, to))?;
        let answer = self.wire.listen(ANSWER, |heard| match &heard.what {
            What::Udp {
                from: source,
                to: target,
            } if *target == from && *source == to => ControlFlow::Break(true),
            What::Unreachable {
                from: source,
                port: true,
            } if *source == to.ip() && heard.source == self.server => ControlFlow::Break(false),
            _ => ControlFlow::Continue(()),
        })?;
        match answer {
            Some(true) => self.report.pass(subject, "answered"),
            Some(false) => self.report.add(
                Outcome::Fail,
                subject,
                "the server takes the VIP's packets, but nothing listens there (port unreachable)",
                format!("start the service on {to} or on all addresses"),
            ),
            None => self.report.add(
                Outcome::Warn,
                subject,
                "no answer to four zero bytes, which many services ignore; not accepting would look the same",
                "run `tarpon-realserver check` on the server",
            ),
        }
        Ok(())
    }

    /// Echo to the VIP, then a full-sized one that may not be fragmented.
    pub(super) fn echo(
        &mut self,
        own: IpAddr,
        vip: IpAddr,
        real_ip: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let answered = self.echo_once(own, vip, 84)?;
        if answered {
            self.report.pass(format!("echo to {vip}"), "answered");
        } else {
            self.report.add(
                Outcome::Warn,
                format!("echo to {vip}"),
                "not answered: normal with a REDIRECT method, where the VIP is not on the server",
                "",
            );
        }
        let target = if answered {
            Some(vip)
        } else {
            real_ip.filter(|r| r.is_ipv4() == own.is_ipv4())
        };
        let mtu = self.nic.mtu;
        let Some(target) = target else { return Ok(()) };
        if self.echo_once(own, target, usize::try_from(mtu).unwrap_or(1500))? {
            self.report.pass(
                "MTU",
                format!("{target} answers a packet of {mtu} bytes, unfragmented"),
            );
        } else {
            self.report.add(
                Outcome::Warn,
                "MTU",
                format!(
                    "{target} does not answer a packet of {mtu} bytes, the MTU of {}",
                    self.nic.name
                ),
                "make the MTU the same on the director's and the servers' interfaces",
            );
        }
        Ok(())
    }

    fn echo_once(&mut self, own: IpAddr, to: IpAddr, size: usize) -> Result<bool, Refusal> {
        let mine = ephemeral();
        for _ in 0..2 {
            self.wire
                .send(&frames::echo((self.mac, self.server), own, to, mine, size))?;
            let answer = self.wire.listen(ANSWER, |heard| match &heard.what {
                What::EchoReply { from, identifier } if *from == to && *identifier == mine => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })?;
            if answer.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Listen for any ARP that names a VIP: the old fault shows up here as soon as it happens.
    pub(super) fn flux(&mut self, vips: &[IpAddr], time: Duration) -> Result<(), Refusal> {
        let own = self.mac;
        let mut seen: BTreeSet<(IpAddr, MacAddr)> = BTreeSet::new();
        self.wire.listen(time, |heard| {
            let claimed = match &heard.what {
                What::Arp { sender, .. } => IpAddr::V4(*sender),
                What::Advert { target } => IpAddr::V6(*target),
                _ => return ControlFlow::<()>::Continue(()),
            };
            if vips.contains(&claimed) && heard.source != own {
                seen.insert((claimed, heard.source));
            }
            ControlFlow::Continue(())
        })?;
        if seen.is_empty() {
            self.report.pass(
                "listening",
                format!("in {} s nobody claimed a VIP", time.as_secs()),
            );
        }
        for (vip, mac) in seen {
            let outcome = if mac == self.server {
                Outcome::Fail
            } else {
                Outcome::Warn
            };
            self.report.add(
                outcome,
                "listening",
                format!("{mac} claims {vip}"),
                "only the active director may",
            );
        }
        Ok(())
    }
}
