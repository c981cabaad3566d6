//! How the machine treats frames: questions about the VIP and connections to it are made to arrive, and what it sends is listened to.

use crate::{
    error::Refusal,
    facts::Interface,
    live::System,
    report::{
        Outcome, Report,
        frames::{self, What},
        injector::Injector,
        probe::{CONNECT, ephemeral},
        who_has::{ANSWER, question},
    },
    request::{Method, Request},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::ControlFlow,
    time::{Duration, Instant},
};
use types::{MacAddr, Protocol};

/// A made-up client: benchmark addresses (RFC 2544, RFC 5180), which are nobody's, and a local MAC.
const PEER_MAC: MacAddr = MacAddr([0x02, 0x54, 0x41, 0x52, 0x50, 0x01]);
const PEER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 77, 77));
const PEER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0x77, 0x77));

pub(super) fn behaviour(system: &System, request: &Request, nic: &Interface, report: &mut Report) {
    let Some(mac) = nic.mac else { return };
    let mut peers = Vec::new();
    for (peer, v4) in [(PEER_V4, true), (PEER_V6, false)] {
        if request.vips.iter().any(|v| v.is_ipv4() == v4) {
            peers.push(peer);
        }
    }
    let mut injector = match Injector::open(system, nic, mac, &peers) {
        Ok(injector) => injector,
        Err(error) => {
            report.add(
                Outcome::Skipped,
                format!("behaviour on {}", nic.name),
                format!("frames cannot be made to arrive here: {error}"),
                "run `tarpon realserver probe` from the director",
            );
            return;
        }
    };
    for &vip in &request.vips {
        if let Err(error) = one_vip(&mut injector, request, nic, mac, vip, report) {
            report.add(
                Outcome::Skipped,
                format!("behaviour on {}", nic.name),
                error.to_string(),
                "run `tarpon realserver probe` from the director",
            );
            return;
        }
    }
}

fn one_vip(
    injector: &mut Injector<'_>,
    request: &Request,
    nic: &Interface,
    mac: MacAddr,
    vip: IpAddr,
    report: &mut Report,
) -> Result<(), Refusal> {
    let peer = if vip.is_ipv4() { PEER_V4 } else { PEER_V6 };
    let word = if vip.is_ipv4() { "ARP" } else { "ND" };
    let subject = format!("{word} silence about {vip} on {}", nic.name);
    let mut answers = 0;
    for to in [Some(mac), None] {
        if let Some(frame) = question(PEER_MAC, Some(peer), vip, to) {
            injector.into.send(&frame)?;
            let heard = injector.out.listen(ANSWER, |heard| match &heard.what {
                What::Arp {
                    request: false,
                    sender,
                    ..
                } if IpAddr::V4(*sender) == vip && heard.source == mac => ControlFlow::Break(()),
                What::Advert { target } if IpAddr::V6(*target) == vip && heard.source == mac => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            })?;
            answers += usize::from(heard.is_some());
        }
    }
    if answers == 0 {
        report.pass(
            subject,
            "a who-has sent to this MAC and one sent to all were not answered",
        );
    } else {
        report.add(
            Outcome::Fail,
            subject,
            "a who-has for the VIP was answered: clients and routers will bypass the director",
            "tarpon-realserver apply; with method sysctl name every interface",
        );
    }
    if request.method == Method::Tunnel {
        return Ok(());
    }
    for &port in request
        .ports
        .iter()
        .filter(|_| request.protocols.contains(&Protocol::Tcp))
    {
        connect(injector, nic, mac, peer, SocketAddr::new(vip, port), report)?;
    }
    Ok(())
}

/// A SYN arrives; the kernel asks for the made-up client by ARP (with what sender?), is answered, and lets its SYN-ACK out.
fn connect(
    injector: &mut Injector<'_>,
    nic: &Interface,
    mac: MacAddr,
    peer: IpAddr,
    to: SocketAddr,
    report: &mut Report,
) -> Result<(), Refusal> {
    let from = SocketAddr::new(peer, ephemeral());
    let mut leaked = false;
    let mut verdict = None;
    let end = Instant::now() + CONNECT;
    injector.into.send(&frames::tcp_segment(
        (PEER_MAC, mac),
        from,
        to,
        frames::SYN,
        1,
    ))?;
    while verdict.is_none() && Instant::now() < end {
        let Injector { into, out, .. } = injector;
        verdict = out.listen(Duration::from_millis(100), |heard| {
            if heard.source != mac {
                return ControlFlow::Continue(());
            }
            match &heard.what {
                What::Arp {
                    request: true,
                    sender,
                    target,
                    ..
                } => {
                    leaked |= IpAddr::V4(*sender) == to.ip() || IpAddr::V4(*target) == to.ip();
                    if IpAddr::V4(*target) == peer {
                        // A failing send shows as no answer below.
                        let _ = into.send(&frames::arp(
                            false,
                            (PEER_MAC, *target),
                            mac,
                            (mac, *sender),
                        ));
                    }
                    ControlFlow::Continue(())
                }
                What::Solicit { source, target } => {
                    leaked |= IpAddr::V6(*source) == to.ip() || IpAddr::V6(*target) == to.ip();
                    if IpAddr::V6(*target) == peer {
                        let _ = into.send(&frames::neighbour(
                            false,
                            (PEER_MAC, *target),
                            (mac, *source),
                            *target,
                        ));
                    }
                    ControlFlow::Continue(())
                }
                What::Tcp {
                    from: source,
                    to: target,
                    flags,
                    sequence: _,
                } if *target == from => ControlFlow::Break((*source, *flags)),
                _ => ControlFlow::Continue(()),
            }
        })?;
    }
    injector.into.send(&frames::tcp_segment(
        (PEER_MAC, mac),
        from,
        to,
        frames::RST,
        2,
    ))?;
    let subject = format!("a connection to {to} arriving on {}", nic.name);
    match verdict {
        Some((source, flags)) if source == to && flags & frames::SYN_ACK == frames::SYN_ACK => {
            report.pass(subject, format!("accepted, answered from {source}"))
        }
        Some((source, flags)) if source == to && flags & frames::RST != 0 => {
            report.add(
                Outcome::Fail,
                subject,
                "refused: nothing listens there",
                "start the service on the VIP or on all addresses",
            );
        }
        Some((source, _)) => report.add(
            Outcome::Fail,
            subject,
            format!("answered from {source}, which the client will not know"),
            "",
        ),
        None => report.add(
            Outcome::Fail,
            subject,
            "no answer: the VIP's packets are not taken, or a filter drops them",
            "tarpon-realserver apply; look at the machine's own packet filter",
        ),
    }
    let subject = format!("ARP sent because of {}", to.ip());
    if leaked {
        report.add(
            Outcome::Fail,
            subject,
            "the server asked with the VIP: whoever hears it learns the wrong MAC",
            "tarpon-realserver apply",
        );
    } else if verdict.is_some() {
        report.pass(subject, "the VIP does not appear in it");
    }
    Ok(())
}
