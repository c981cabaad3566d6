//! The services the cases use: one VIP per forwarding method, as `scripts/lab` prepares the real servers for it.

use crate::lab::{Lab, SERVERS, clients};
use anyhow::{Result, bail};
use std::fmt;

/// Forwarding methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Masq,
    Route,
    Tunnel,
}

/// Address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// Protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

pub const METHODS: [Method; 3] = [Method::Masq, Method::Route, Method::Tunnel];
pub const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// A service on the method's VIP with the real servers of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub method: Method,
    pub family: Family,
    pub protocol: Protocol,
    /// The service's port; a masqueraded server's own is `server_port`.
    pub port: u16,
    pub server_port: u16,
    pub scheduler: &'static str,
    /// Weights of rs1, rs2, ...; as many servers as weights.
    pub weights: &'static [u16],
    /// Further lines of the service's table.
    pub more: &'static str,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}_{:?}_{:?}", self.method, self.family, self.protocol);
        f.write_str(&name.to_lowercase())
    }
}

impl Service {
    /// HTTP; under masquerading the servers listen on another port than the service.
    pub const fn http(method: Method, family: Family) -> Self {
        let server_port = if matches!(method, Method::Masq) {
            8080
        } else {
            80
        };
        Self {
            method,
            family,
            protocol: Protocol::Tcp,
            port: 80,
            server_port,
            scheduler: "rr",
            weights: &[1, 1, 1],
            more: "",
        }
    }

    /// DNS over UDP.
    pub const fn dns(method: Method, family: Family) -> Self {
        Self {
            protocol: Protocol::Udp,
            port: 53,
            server_port: 53,
            ..Self::http(method, family)
        }
    }

    /// iperf3 on the first real server alone: its control and data connections must meet there.
    pub const fn iperf3(method: Method, family: Family) -> Self {
        Self {
            port: 5201,
            server_port: 5201,
            weights: &[1],
            ..Self::http(method, family)
        }
    }

    /// By weights 3, 2, 1.
    pub const fn weighted(self) -> Self {
        Self {
            scheduler: "wrr",
            weights: &[3, 2, 1],
            ..self
        }
    }

    /// The VIP.
    pub fn vip(&self) -> String {
        let last = match self.method {
            Method::Masq => 10,
            Method::Route => 20,
            Method::Tunnel => 30,
        };
        match self.family {
            Family::Ipv4 => format!("198.51.100.{last}"),
            Family::Ipv6 => format!("2001:db8:1::{last}"),
        }
    }

    /// VIP and port.
    pub fn address(&self) -> String {
        join(self.family, &self.vip(), self.port)
    }

    /// Address and port of a real server, from 1.
    pub fn server(&self, number: usize) -> String {
        let address = match self.family {
            Family::Ipv4 => format!("10.1.0.1{number}"),
            Family::Ipv6 => format!("2001:db8:2::1{number}"),
        };
        join(self.family, &address, self.server_port)
    }

    /// Its tables in the configuration file.
    pub fn text(&self) -> String {
        let word = |text: String| text.to_lowercase();
        let mut text = format!(
            "[[service]]\nprotocol = \"{}\"\naddress = \"{}\"\nscheduler = \"{}\"\nmethod = \"{}\"\n{}\n",
            word(format!("{:?}", self.protocol)),
            self.address(),
            self.scheduler,
            word(format!("{:?}", self.method)),
            self.more,
        );
        for (at, weight) in self.weights.iter().enumerate() {
            let server = self.server(at + 1);
            text += &format!("[[service.server]]\naddress = \"{server}\"\nweight = {weight}\n");
        }
        text + "\n"
    }

    /// In which order its scheduler turns to the real servers, newest first as IPVS keeps them, over and over.
    pub fn cycle(&self) -> &'static [&'static str] {
        match (self.scheduler, self.weights) {
            ("rr", [_]) => &["rs1"],
            ("rr", [_, _, _]) => &["rs3", "rs2", "rs1"],
            // At each level of the current weight (3, 2, 1) those of at least that weight.
            ("wrr", [3, 2, 1]) => &["rs1", "rs2", "rs1", "rs3", "rs2", "rs1"],
            _ => unreachable!("no case uses this"),
        }
    }

    /// `n` connections, one after the other; who served each.
    pub fn ask(&self, lab: &Lab, n: usize) -> Result<Vec<String>> {
        match self.protocol {
            Protocol::Tcp => clients::who_answers(lab, &self.address(), n, None),
            Protocol::Udp => clients::who_answers_dns(lab, &self.vip(), n),
            Protocol::Sctp => bail!("no server over SCTP says who it is"),
        }
    }
}

fn join(family: Family, address: &str, port: u16) -> String {
    match family {
        Family::Ipv4 => format!("{address}:{port}"),
        Family::Ipv6 => format!("[{address}]:{port}"),
    }
}

/// Starts the tunnel's end on every real server; drop to end them.
pub fn decapsulate(lab: &Lab) -> Result<Vec<crate::lab::Background>> {
    SERVERS
        .iter()
        .map(|server| {
            let helper = lab.start_helper(server, "decap")?;
            crate::lab::run::until("the tunnel's end is not up", 5, || {
                Ok(
                    crate::lab::run::end(&mut lab.on(server, "ip link show decap0 up"), 5)?
                        .stdout
                        .contains("decap0"),
                )
            })?;
            Ok(helper)
        })
        .collect()
}
