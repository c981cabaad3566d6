//! From the director, over the wire: is the server silent about the VIP, does it take the VIP's packets, who else answers?

use super::{Outcome, Report, frames, wire::Wire};
use crate::{
    error::Refusal,
    facts::{Facts, Interface},
    report::frames::What,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    time::Duration,
};
use types::{MacAddr, Protocol};

/// How long an answer on the same segment may take.
pub(super) const ANSWER: Duration = Duration::from_millis(400);
/// A SYN may wait for the server to resolve our address first.
pub(super) const CONNECT: Duration = Duration::from_millis(1500);

/// What to probe.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Where the server is; empty: the interface whose network holds the real IP.
    pub interface: Option<String>,
    /// The server's own address.
    pub real_ip: Option<IpAddr>,
    /// Its Ethernet address, if `real_ip` is not to be resolved.
    pub mac: Option<MacAddr>,
    /// The VIPs.
    pub vips: Vec<IpAddr>,
    /// The services' ports.
    pub ports: Vec<u16>,
    /// The services' protocols.
    pub protocols: Vec<Protocol>,
    /// Then listen this long for ARP that names a VIP.
    pub listen: Duration,
}

struct Probe<'a> {
    wire: Wire,
    mac: MacAddr,
    nic: &'a Interface,
    server: MacAddr,
    report: Report,
}

/// Probe a server.
///
/// # Errors
/// When the wire cannot be used or the server cannot be found on it.
pub fn probe(options: &ProbeOptions, facts: &Facts) -> Result<Report, Refusal> {
    let nic = interface(options, facts)?;
    let mac = nic
        .mac
        .ok_or_else(|| Refusal::Wire(format!("{} has no Ethernet address", nic.name)))?;
    let mut wire = Wire::open(&nic.name)?;
    let server = match (options.mac, options.real_ip) {
        (Some(mac), _) => mac,
        (None, Some(real_ip)) => resolve(&mut wire, mac, nic, real_ip)?,
        (None, None) => {
            return Err(Refusal::Request(
                "name the server: --real-ip ADDRESS, or --mac".into(),
            ));
        }
    };
    let mut probe = Probe {
        wire,
        mac,
        nic,
        server,
        report: Report::default(),
    };
    for &vip in &options.vips {
        probe.silence(vip)?;
        let Some(own) = probe.own_address(vip) else {
            probe.report.add(
                Outcome::Skipped,
                format!("{vip} accepted"),
                format!(
                    "{} has no address of that family to send from",
                    probe.nic.name
                ),
                "",
            );
            continue;
        };
        for &port in &options.ports {
            for &protocol in &options.protocols {
                match protocol {
                    Protocol::Tcp => probe.tcp(own, SocketAddr::new(vip, port))?,
                    Protocol::Udp => probe.udp(own, SocketAddr::new(vip, port))?,
                }
            }
        }
        probe.echo(own, vip, options.real_ip)?;
    }
    if !options.listen.is_zero() {
        probe.flux(&options.vips, options.listen)?;
    }
    probe.report.add(
        Outcome::Warn,
        "return path",
        "answers to this probe come straight back; answers to clients take the server's own routes, which only the server knows",
        "run `tarpon-realserver check --client CLIENT` on the server",
    );
    Ok(probe.report)
}

fn interface<'a>(options: &ProbeOptions, facts: &'a Facts) -> Result<&'a Interface, Refusal> {
    if let Some(name) = &options.interface {
        let known = || {
            facts
                .interfaces
                .iter()
                .map(|i| i.name.clone())
                .collect::<Vec<_>>()
                .join(", ")
        };
        return facts
            .interface(name)
            .ok_or_else(|| Refusal::UnknownInterface {
                name: name.clone(),
                known: known(),
            });
    }
    let real_ip = options.real_ip.ok_or_else(|| Refusal::WhichInterface {
        reason: "no --real-ip".into(),
    })?;
    facts
        .interfaces
        .iter()
        .find(|i| i.mac.is_some() && i.addresses.iter().any(|n| n.contains(real_ip)))
        .ok_or_else(|| Refusal::WhichInterface {
            reason: format!("{real_ip} is in no network of this machine"),
        })
}

fn resolve(
    wire: &mut Wire,
    mac: MacAddr,
    nic: &Interface,
    real_ip: IpAddr,
) -> Result<MacAddr, Refusal> {
    let own = |v4: bool| {
        nic.addresses
            .iter()
            .map(types::IpNet::address)
            .find(|a| a.is_ipv4() == v4)
    };
    for _ in 0..3 {
        match (own(real_ip.is_ipv4()), real_ip) {
            (Some(IpAddr::V4(own)), IpAddr::V4(target)) => {
                wire.send(&frames::arp(
                    true,
                    (mac, own),
                    MacAddr::BROADCAST,
                    (MacAddr::default(), target),
                ))?;
            }
            (Some(IpAddr::V6(own)), IpAddr::V6(target)) => {
                wire.send(&frames::neighbour(
                    true,
                    (mac, own),
                    frames::solicited_node(target),
                    target,
                ))?;
            }
            _ => {
                return Err(Refusal::Wire(format!(
                    "{} has no address to ask for {real_ip} with; give --mac",
                    nic.name
                )));
            }
        }
        let answer = wire.listen(ANSWER, |heard| match &heard.what {
            What::Arp {
                request: false,
                sender,
                sender_mac,
                ..
            } if IpAddr::V4(*sender) == real_ip => ControlFlow::Break(*sender_mac),
            What::Advert { target } if IpAddr::V6(*target) == real_ip => {
                ControlFlow::Break(heard.source)
            }
            _ => ControlFlow::Continue(()),
        })?;
        if let Some(mac) = answer {
            return Ok(mac);
        }
    }
    Err(Refusal::Wire(format!(
        "nobody on {} answers for {real_ip}; is the server up, and on this segment?",
        nic.name
    )))
}

/// Who answered a question about `vip` within the time.
pub(super) fn answerers(
    wire: &mut Wire,
    vip: IpAddr,
    time: Duration,
) -> Result<BTreeSet<MacAddr>, Refusal> {
    let mut found = BTreeSet::new();
    wire.listen(time, |heard| {
        match &heard.what {
            What::Arp {
                request: false,
                sender,
                sender_mac,
                ..
            } if IpAddr::V4(*sender) == vip => {
                found.insert(*sender_mac);
            }
            What::Advert { target } if IpAddr::V6(*target) == vip => {
                found.insert(heard.source);
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(found)
}

/// "Who has VIP" to one station or (`to` = `None`) to all.
pub(super) fn question(
    mac: MacAddr,
    own: Option<IpAddr>,
    vip: IpAddr,
    to: Option<MacAddr>,
) -> Option<Vec<u8>> {
    match (vip, own) {
        // Without an address of our own this is an ARP probe (RFC 5227): sender 0.0.0.0.
        (IpAddr::V4(vip), own) => {
            let own = if let Some(IpAddr::V4(own)) = own {
                own
            } else {
                std::net::Ipv4Addr::UNSPECIFIED
            };
            Some(frames::arp(
                true,
                (mac, own),
                to.unwrap_or(MacAddr::BROADCAST),
                (MacAddr::default(), vip),
            ))
        }
        (IpAddr::V6(vip), Some(IpAddr::V6(own))) => {
            let (group_mac, group) = frames::solicited_node(vip);
            Some(frames::neighbour(
                true,
                (mac, own),
                (
                    to.unwrap_or(group_mac),
                    if to.is_some() { vip } else { group },
                ),
                vip,
            ))
        }
        _ => None,
    }
}

impl Probe<'_> {
    fn own_address(&self, like: IpAddr) -> Option<IpAddr> {
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

    fn silence(&mut self, vip: IpAddr) -> Result<(), Refusal> {
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

    fn tcp(&mut self, own: IpAddr, to: SocketAddr) -> Result<(), Refusal> {
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

    fn udp(&mut self, own: IpAddr, to: SocketAddr) -> Result<(), Refusal> {
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
    fn echo(&mut self, own: IpAddr, vip: IpAddr, real_ip: Option<IpAddr>) -> Result<(), Refusal> {
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
    fn flux(&mut self, vips: &[IpAddr], time: Duration) -> Result<(), Refusal> {
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

/// A port or identifier nobody else is likely to use now.
pub(super) fn ephemeral() -> u16 {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    u16::try_from(40_000 + nanos / 1000 % 20_000).unwrap_or(40_000)
}
