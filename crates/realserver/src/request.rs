//! What the operator asks for: a method, the VIPs, and where they are served. Checked for sense here, before any machine is looked at.

use crate::error::Refusal;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use types::Protocol;

/// How a real server is made to take the VIP's packets. The first five are for direct routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The VIP on `lo`, and `arp_ignore`/`arp_announce` on the interface.
    Sysctl,
    /// The VIP on the interface, and arptables rules that keep it out of every ARP frame.
    Arptables,
    /// No VIP on the server: iptables REDIRECT.
    Iptables,
    /// No VIP on the server: a REDIRECT rule kept by firewalld.
    Firewalld,
    /// No VIP on the server: an nftables redirect in a table of its own.
    Nftables,
    /// Tunnelling: a decapsulation interface, the VIP on it, no reverse-path filter.
    Tunnel,
    /// NAT: the default gateway is the director's floating private address.
    Nat,
}

impl Method {
    /// All methods, in the order shown to people.
    pub const ALL: &'static [Self] = &[
        Self::Sysctl,
        Self::Arptables,
        Self::Iptables,
        Self::Firewalld,
        Self::Nftables,
        Self::Tunnel,
        Self::Nat,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sysctl => "sysctl",
            Self::Arptables => "arptables",
            Self::Iptables => "iptables",
            Self::Firewalld => "firewalld",
            Self::Nftables => "nftables",
            Self::Tunnel => "tunnel",
            Self::Nat => "nat",
        }
    }

    /// REDIRECT methods: the VIP exists only on the director, services must listen on INADDR_ANY.
    #[must_use]
    pub const fn redirects(self) -> bool {
        matches!(self, Self::Iptables | Self::Firewalld | Self::Nftables)
    }

    /// The price and the use of the method, told where the user chooses.
    #[must_use]
    pub const fn trade_off(self) -> &'static str {
        match self {
            Self::Sysctl => {
                "Direct routing. IPv4 and IPv6. The VIP is a host address on lo; the kernel neither answers ARP for it nor announces it. \
                 No cost per packet. A service may bind a VIP, so two services can share a port on two VIPs. \
                 Needs nothing but `ip` and /proc. The best choice unless something forbids it."
            }
            Self::Arptables => {
                "Direct routing. IPv4 only. The VIP is on the interface; arptables drops ARP for it and rewrites ARP from it. \
                 No cost per packet (only ARP frames are filtered). A service may bind a VIP, so two services can share a port on two VIPs. \
                 The distribution's tools cannot start the VIP at boot: a unit of ours does, after the filter stands."
            }
            Self::Iptables => {
                "Direct routing. IPv4 and IPv6. The VIP exists only on the director, so there is no ARP problem at all; simple. \
                 Every packet pays for connection tracking and address translation. Services must listen on INADDR_ANY: \
                 no two services on one port, no binding to a VIP. A rule for each VIP, port and protocol."
            }
            Self::Firewalld => {
                "Direct routing. IPv4 and IPv6. As iptables, kept by firewalld as a permanent direct rule: for servers where firewalld owns the rules. \
                 Every packet pays for connection tracking and translation; no two services on one port. \
                 firewalld drops new connections to a port unless its zone opens that port."
            }
            Self::Nftables => {
                "Direct routing. IPv4 and IPv6. As iptables, in an nftables table of its own (tarpon_realserver), so nothing else is touched. \
                 Every packet pays for connection tracking and translation; no two services on one port."
            }
            Self::Tunnel => {
                "Tunnelling. The director may be any number of hops away. The VIP is a host address on the decapsulation interface with ARP off; \
                 strict rp_filter is taken off, for the inner source is a client that is not routed there. \
                 The encapsulation takes 20 bytes (IPv6: 40) off the MTU."
            }
            Self::Nat => {
                "NAT. Any operating system, no VIP on the server. Requests and replies both cross the director: \
                 the default gateway is its floating private address. The director can become the bottleneck."
            }
        }
    }

    /// Whether the method can carry a VIP of that family.
    #[must_use]
    pub const fn carries(self, vip: IpAddr) -> bool {
        vip.is_ipv4() || !matches!(self, Self::Arptables)
    }
}

/// Who brings it all up at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// Look at the machine.
    #[default]
    Auto,
    /// systemd with Red Hat's files: /etc/sysconfig, arptables.service, iptables.service.
    Rhel,
    /// systemd with Debian's files: netfilter-persistent where it is installed, else a unit of ours.
    Debian,
    /// Init scripts: `service`, `chkconfig` (or Debian's `update-rc.d`).
    Sysv,
    /// Nothing survives a boot.
    None,
}

/// What to prepare. One request is one method for some VIPs; several requests add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The virtual addresses.
    pub vips: Vec<IpAddr>,
    /// The ports served (REDIRECT methods have a rule for each; elsewhere they are only checked).
    pub ports: Vec<u16>,
    /// The protocols served.
    pub protocols: Vec<Protocol>,
    /// The interfaces the director's frames arrive on; empty: the one that holds the real server's address.
    pub interfaces: Vec<String>,
    /// The server's own IPv4 address, which replaces the VIP in ARP (arptables); empty: the interface's first.
    pub real_ip: Option<Ipv4Addr>,
    /// The director's floating private address (NAT).
    pub gateway: Option<IpAddr>,
    /// One service on INADDR_ANY answers for all VIPs of a port: lifts the REDIRECT methods' refusal.
    pub one_service: bool,
    /// Who brings it up at boot.
    pub boot: Boot,
}

impl Request {
    /// Mistakes that need no machine to be seen.
    ///
    /// # Errors
    /// The first thing that cannot be, and what to write instead.
    pub fn validate(&self) -> Result<(), Refusal> {
        let method = self.method.name();
        let wrong = |what: String| Err(Refusal::Request(what));
        if self.method == Method::Nat {
            let Some(gateway) = self.gateway else {
                return wrong(
                    "method nat needs --gateway: the director's floating private address".into(),
                );
            };
            if self.vips.contains(&gateway) {
                return wrong(format!(
                    "--gateway {gateway} is also a VIP; the gateway is the director's floating private address"
                ));
            }
        } else if self.gateway.is_some() {
            return wrong(format!(
                "--gateway is for method nat; with {method} the replies do not cross the director"
            ));
        } else if self.vips.is_empty() {
            return wrong(format!("method {method} needs at least one --vip"));
        }
        for vip in &self.vips {
            if vip.is_unspecified()
                || vip.is_multicast()
                || vip.is_loopback()
                || *vip == IpAddr::V4(Ipv4Addr::BROADCAST)
            {
                return wrong(format!(
                    "{vip} cannot be a VIP; write the virtual service's unicast address"
                ));
            }
            if let IpAddr::V6(v6) = vip {
                if let Some(v4) = v6.to_ipv4_mapped() {
                    return wrong(format!("{vip} is an IPv4 address in disguise; write {v4}"));
                }
                if v6.is_unicast_link_local() {
                    return wrong(format!(
                        "{vip} is link-local, which no router passes on; a VIP is an address clients can reach"
                    ));
                }
            }
            if !self.method.carries(*vip) {
                return wrong(format!(
                    "arptables filters ARP, which IPv6 does not use, so it cannot carry {vip}; use --method sysctl (the VIP on lo) or nftables"
                ));
            }
            if self.real_ip.map(IpAddr::V4) == Some(*vip) {
                return wrong(format!(
                    "{vip} is given as VIP and as --real-ip; the real IP is the server's own address"
                ));
            }
        }
        if self.method.redirects() && self.ports.is_empty() {
            return wrong(format!(
                "method {method} needs --port: it has one rule for each VIP, port and protocol"
            ));
        }
        if self.ports.contains(&0) {
            return wrong("port 0 is no port; 1 to 65535".into());
        }
        if let Some(name) = self.interfaces.iter().find(|n| !is_interface_name(n)) {
            return wrong(format!(
                "`{name}` cannot be an interface's name; 1 to 15 characters, no `/` and no blanks"
            ));
        }
        if self.interfaces.iter().any(|n| n == "lo") {
            return wrong(
                "no director's frame arrives on lo; --interface is the NIC on the director's segment (the VIP goes where the method has it)".into(),
            );
        }
        if self.real_ip.is_some() && self.method != Method::Arptables {
            return wrong(format!(
                "--real-ip is what arptables writes in place of the VIP; method {method} has no use for it"
            ));
        }
        Ok(())
    }

    /// Every VIP, port and protocol combination, as the REDIRECT methods need them.
    pub fn services(&self) -> impl Iterator<Item = (IpAddr, u16, Protocol)> + '_ {
        self.vips.iter().flat_map(move |&vip| {
            self.ports.iter().flat_map(move |&port| {
                self.protocols
                    .iter()
                    .map(move |&protocol| (vip, port, protocol))
            })
        })
    }
}

/// A name the kernel accepts and a shell or unit file can hold unquoted.
fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@' | b':'))
        && !name.starts_with('-')
}
