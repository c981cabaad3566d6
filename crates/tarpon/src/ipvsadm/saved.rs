//! `ipvsadm -S`: the table as commands that make it again.

use super::{
    listing::{mask, ordered, transport},
    names,
};
use api::{Server, Service};
use std::fmt::Write as _;
use types::{ForwardingMethod, Protocol};

/// Every service and server, one command each. Thresholds, which the original forgets, are saved too.
pub fn saved(services: &[Service], numeric: bool) -> String {
    let mut text = String::new();
    for service in ordered(services, true, |s| {
        (s.address.is_ipv6(), s.protocol.number(), s.address)
    }) {
        let letter = match service.protocol {
            Protocol::Tcp => 't',
            Protocol::Udp => 'u',
        };
        let address = names::shown(service.address, transport(service.protocol), numeric);
        let target = format!("-{letter} {address}");
        let _ = write!(text, "-A {target} -s {}", service.scheduler);
        if let Some(persistence) = &service.persistence {
            let _ = write!(text, " -p {}", persistence.timeout_s);
            if let Some(mask) = mask(service) {
                let _ = write!(text, " -M {mask}");
            }
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
        for server in ordered(&service.servers, true, |s| s.address) {
            let address = names::shown(server.address, transport(service.protocol), numeric);
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
        text.push_str(" --tun-type ipip");
    }
    text
}
