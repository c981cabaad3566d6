//! `ipvsadm -S`: the table as commands that make it again.

use super::{
    listing::{mask, order, ordered, server_order, transport_of},
    names,
};
use api::{Server, Service, ServiceRef};
use std::fmt::Write as _;
use types::{Family, ForwardingMethod, GueChecksum, Protocol, Tunnel};

/// Every service and server, one command each. Thresholds, which the original forgets, are saved too.
pub fn saved(services: &[Service], numeric: bool) -> String {
    let mut text = String::new();
    for service in ordered(services, true, order) {
        let transport = transport_of(service.key);
        let target = match service.key {
            ServiceRef::Address { protocol, address } => {
                let option = match protocol {
                    Protocol::Tcp => "-t",
                    Protocol::Udp => "-u",
                    Protocol::Sctp => "--sctp-service",
                };
                format!("{option} {}", names::shown(address, transport, numeric))
            }
            ServiceRef::Mark { mark, family } => match family {
                Family::Ipv4 => format!("-f {}", mark.0),
                Family::Ipv6 => format!("-f {} -6", mark.0),
            },
        };
        let _ = write!(text, "-A {target} -s {}", service.scheduler);
        if let Some(persistence) = &service.persistence {
            let _ = write!(text, " -p {}", persistence.timeout_s);
            if let Some(mask) = mask(service) {
                let _ = write!(text, " -M {mask}");
            }
        }
        if let Some(engine) = service.persistence_engine {
            let _ = write!(text, " --pe {engine}");
        }
        if service.one_packet {
            text.push_str(" -o");
        }
        let flags: Vec<String> = service
            .scheduler_flags
            .iter()
            .map(ToString::to_string)
            .collect();
        if !flags.is_empty() {
            let _ = write!(text, " -b {}", flags.join(","));
        }
        text.push('\n');
        for server in ordered(&service.servers, true, server_order) {
            let address = names::shown(server.address, transport, numeric);
            let _ = writeln!(text, "-a {target} -r {address} {}", options(server));
        }
    }
    text
}

fn options(server: &Server) -> String {
    let method = match server.method {
        ForwardingMethod::Masq => 'm',
        ForwardingMethod::Route => 'g',
        ForwardingMethod::Tunnel => 'i',
    };
    let mut text = format!("-{method} -w {}", server.weight.0);
    if server.upper_threshold != 0 {
        let _ = write!(text, " -x {}", server.upper_threshold);
    }
    if server.lower_threshold != 0 {
        let _ = write!(text, " -y {}", server.lower_threshold);
    }
    if server.method == ForwardingMethod::Tunnel {
        text.push_str(match server.tunnel {
            Tunnel::Ipip => " --tun-type ipip",
            Tunnel::Gre { .. } => " --tun-type gre",
            Tunnel::Gue { .. } => " --tun-type gue",
        });
        if let Tunnel::Gue { port, .. } = server.tunnel {
            let _ = write!(text, " --tun-port {port}");
        }
        text.push_str(checksum_option(server.tunnel));
    }
    text
}

const fn checksum_option(tunnel: Tunnel) -> &'static str {
    match tunnel {
        Tunnel::Ipip => "",
        Tunnel::Gre { checksum: false }
        | Tunnel::Gue {
            checksum: GueChecksum::None,
            ..
        } => " --tun-nocsum",
        Tunnel::Gre { checksum: true }
        | Tunnel::Gue {
            checksum: GueChecksum::Full,
            ..
        } => " --tun-csum",
        Tunnel::Gue {
            checksum: GueChecksum::Remote,
            ..
        } => " --tun-remcsum",
    }
}
