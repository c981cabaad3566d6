//! On the server itself: the plan's steps are in force, and frames that arrive on the interface are treated as a director needs it.

use super::{
    Outcome, Report, frames,
    frames::What,
    injector::Injector,
    probe::{ANSWER, CONNECT, ephemeral, question},
};
use crate::{
    action::Action,
    error::Refusal,
    facts::{Facts, Interface},
    live::{System, gather::read_sysctl, satisfied},
    plan::plan,
    request::{Method, Request},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::ControlFlow,
    time::{Duration, Instant},
};
use types::{MacAddr, Protocol};

/// Besides the requests.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// A client, to see which way its answers go.
    pub client: Option<IpAddr>,
    /// The director's address here, which direct routing's answers must not pass.
    pub director: Option<IpAddr>,
}

/// A made-up client: benchmark addresses (RFC 2544, RFC 5180), which are nobody's, and a local MAC.
const PEER_MAC: MacAddr = MacAddr([0x02, 0x54, 0x41, 0x52, 0x50, 0x01]);
const PEER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 77, 77));
const PEER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0x77, 0x77));

/// Check this machine against `requests`.
///
/// # Errors
/// When the machine cannot be asked at all.
pub fn check(
    system: &System,
    requests: &[Request],
    facts: &Facts,
    options: &CheckOptions,
) -> Result<Report, Refusal> {
    let mut report = Report::default();
    in_force(system, requests, facts, &mut report)?;
    if system.files_only {
        report.add(
            Outcome::Skipped,
            "behaviour",
            "this system does not run: only its files were looked at",
            "run check on it once it has booted",
        );
        return Ok(report);
    }
    for request in requests {
        for &vip in &request.vips {
            listeners(request, vip, facts, &mut report);
            routes(system, request, vip, facts, options, &mut report);
        }
        if request.vips.iter().any(|v| v.is_ipv4())
            && request.method != Method::Nat
            && request.method != Method::Tunnel
        {
            rp_filter(system, request, facts, options, &mut report);
        }
        if request.method != Method::Nat {
            for nic in nics(request, facts) {
                behaviour(system, request, nic, &mut report);
            }
        }
    }
    Ok(report)
}

/// The plan says what must be in force; a plan that is refused now (the VIP on the wrong interface, someone's rule) is itself the finding.
fn in_force(
    system: &System,
    requests: &[Request],
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Refusal> {
    let steps = match plan(requests, facts) {
        Ok(plan) => plan.steps,
        Err(error) => {
            report.add(Outcome::Fail, "in the way", error.to_string(), "");
            return Ok(());
        }
    };
    for step in steps {
        let persistent = matches!(
            step.action,
            Action::File { .. } | Action::Enable { .. } | Action::Chkconfig { .. }
        );
        let commands = step.action.commands(facts.chains);
        let subject = match &step.action {
            Action::Table { .. } => continue,
            action
                if system.files_only && !persistent && !matches!(action, Action::Save { .. }) =>
            {
                continue;
            }
            Action::Save { path, .. } => {
                if system.path(&path.to_string_lossy()).exists() {
                    report.pass(format!("{}", path.display()), "rules are saved");
                } else {
                    report.add(
                        Outcome::Fail,
                        format!("{}", path.display()),
                        "no rules are saved: a boot loses them",
                        "tarpon-realserver apply",
                    );
                }
                continue;
            }
            Action::File { path, .. } => path.display().to_string(),
            _ => commands.join("; "),
        };
        if satisfied(system, &step.action, facts)? {
            report.pass(subject, "in force");
        } else {
            let detail = if persistent {
                "not as apply writes it: a boot may lose the preparation"
            } else {
                "not in force"
            };
            report.add(
                Outcome::Fail,
                subject,
                detail,
                format!("{}; `tarpon-realserver apply` does it", step.why),
            );
        }
    }
    Ok(())
}

/// The interfaces where the VIP's frames can arrive: those named, else every Ethernet that is up.
fn nics<'a>(request: &'a Request, facts: &'a Facts) -> impl Iterator<Item = &'a Interface> {
    let any = request.interfaces.is_empty() || request.interfaces.iter().any(|i| i == "all");
    facts
        .interfaces
        .iter()
        .filter(move |i| i.mac.is_some() && i.up && (any || request.interfaces.contains(&i.name)))
}

fn listeners(request: &Request, vip: IpAddr, facts: &Facts, report: &mut Report) {
    for &port in &request.ports {
        for &protocol in &request.protocols {
            let subject = format!("a service for {vip} port {port}/{protocol}");
            let bound: Vec<IpAddr> = facts
                .listeners
                .iter()
                .filter(|l| l.protocol == protocol && l.address.port() == port)
                .filter(|l| l.address.is_ipv4() == vip.is_ipv4() || l.dual)
                .map(|l| l.address.ip())
                .collect();
            let wildcard = bound.iter().any(IpAddr::is_unspecified);
            let specific = bound.contains(&vip);
            // REDIRECT leads to the first address of the interface the packet came in by.
            let own = request.method.redirects()
                && nics(request, facts)
                    .any(|i| i.addresses.iter().any(|n| bound.contains(&n.address())));
            if wildcard || own || (specific && !request.method.redirects()) {
                let place = if specific {
                    "bound to the VIP"
                } else {
                    "bound to all addresses"
                };
                report.pass(subject, place);
            } else if bound.is_empty() {
                report.add(
                    Outcome::Fail,
                    subject,
                    "nothing listens on that port",
                    "start the service",
                );
            } else {
                let list = bound
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                let remedy = if request.method.redirects() {
                    "bind it to all addresses"
                } else {
                    "bind it to the VIP or to all addresses"
                };
                report.add(
                    Outcome::Fail,
                    subject,
                    format!("listens on {list} only, where the VIP's packets do not arrive"),
                    remedy,
                );
            }
        }
    }
}

/// "via ADDRESS" and "dev NAME" of `ip route get`.
fn route_get(
    system: &System,
    to: IpAddr,
    from: IpAddr,
) -> Result<(Option<IpAddr>, String), Refusal> {
    let words = [
        "ip",
        "route",
        "get",
        &to.to_string(),
        "from",
        &from.to_string(),
    ]
    .map(str::to_owned);
    // A VIP that is not on this machine cannot be asked for as a source.
    let text = system.run(&words).or_else(|_| system.run(&words[..4]))?;
    let after = |word: &str| text.split_whitespace().skip_while(|w| *w != word).nth(1);
    Ok((
        after("via").and_then(|v| v.parse().ok()),
        after("dev").unwrap_or_default().to_owned(),
    ))
}

fn routes(
    system: &System,
    request: &Request,
    vip: IpAddr,
    facts: &Facts,
    options: &CheckOptions,
    report: &mut Report,
) {
    let example = if vip.is_ipv4() {
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1))
    } else {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))
    };
    let client = options.client.filter(|c| c.is_ipv4() == vip.is_ipv4());
    let subject = client.map_or(format!("the way back from {vip}"), |c| {
        format!("the way back from {vip} to {c}")
    });
    match route_get(system, client.unwrap_or(example), vip) {
        Ok((via, device)) => {
            let way = via.map_or(format!("directly over {device}"), |v| {
                format!("via {v} over {device}")
            });
            if request.method != Method::Nat && via.is_some() && via == options.director {
                report.add(
                    Outcome::Fail,
                    subject,
                    format!("{way}: that is the director, which has no use for it"),
                    "with direct routing and tunnelling answers must not pass the director: set another gateway",
                );
            } else {
                report.pass(subject, way);
            }
            if let Some(nic) = facts.interface(&device) {
                report.pass("MTU", format!("{} on {device}", nic.mtu));
            }
        }
        Err(_) => report.add(
            Outcome::Fail,
            subject,
            "no route: answers to clients cannot leave",
            "set a default gateway that is not the director",
        ),
    }
}

fn rp_filter(
    system: &System,
    request: &Request,
    facts: &Facts,
    options: &CheckOptions,
    report: &mut Report,
) {
    let example = options
        .client
        .filter(IpAddr::is_ipv4)
        .unwrap_or(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)));
    let way = route_get(system, example, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).ok();
    for nic in nics(request, facts) {
        let own = read_sysctl(&format!("net/ipv4/conf/{}/rp_filter", nic.name))
            .and_then(|v| v.parse::<u8>().ok())
            .unwrap_or(0);
        // The kernel takes the larger of the two (ip-sysctl.rst).
        let effective = own.max(facts.rp_filter_all);
        let subject = format!("rp_filter on {}", nic.name);
        match (&way, effective) {
            (Some((_, device)), 1) if *device != nic.name => report.add(
                Outcome::Fail,
                subject,
                format!("1 (strict), and clients are routed over {device}: their packets are dropped on arrival here"),
                format!("echo 2 > /proc/sys/net/ipv4/conf/{}/rp_filter", nic.name),
            ),
            (None, 1 | 2) => {
                report.add(Outcome::Fail, subject, format!("{effective}, and there is no route to clients: their packets are dropped"), "set a default gateway");
            }
            _ => report.pass(subject, format!("{effective}: clients' packets pass")),
        }
    }
}

fn behaviour(system: &System, request: &Request, nic: &Interface, report: &mut Report) {
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
