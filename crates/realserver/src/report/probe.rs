//! From the director, over the wire: is the server silent about the VIP, does it take the VIP's packets, who else answers?

mod questions;

use super::{Outcome, Report, who_has::resolve, wire::Wire};
use crate::{
    error::Refusal,
    facts::{Facts, Interface},
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use types::{MacAddr, Protocol};

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
                    Protocol::Sctp => probe.report.add(
                        Outcome::Skipped,
                        format!("sctp {} accepted", SocketAddr::new(vip, port)),
                        "SCTP is not probed",
                        "",
                    ),
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

/// A port or identifier nobody else is likely to use now.
pub(super) fn ephemeral() -> u16 {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    u16::try_from(40_000 + nanos / 1000 % 20_000).unwrap_or(40_000)
}
