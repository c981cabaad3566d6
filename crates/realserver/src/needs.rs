//! On a director: what each real server of each service needs. Takes plain values; the caller has asked the control socket.

use crate::request::Method;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use types::{ForwardingMethod, Protocol};

/// A virtual service as the director lists it. One of `address` and `mark` is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceView {
    /// VIP and port; port 0 is every port.
    pub address: Option<SocketAddr>,
    /// A firewall mark service: its VIPs are not known here.
    pub mark: Option<u32>,
    /// Its protocol; none for a firewall mark.
    pub protocol: Option<Protocol>,
    /// Its real servers.
    pub servers: Vec<ServerView>,
}

/// A real server of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerView {
    /// Its address and port.
    pub address: SocketAddr,
    /// How packets reach it.
    pub forwarding: ForwardingMethod,
}

/// What one server needs for one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The service, as ipvsadm writes it.
    pub service: String,
    /// The server.
    pub server: SocketAddr,
    /// How packets reach it.
    pub forwarding: ForwardingMethod,
    /// In a sentence.
    pub needs: String,
    /// To run on the server.
    pub command: String,
    /// To run here afterwards; empty where the wire cannot tell.
    pub probe: String,
}

/// One entry for each server of each service, in their order. `gateway`: the director's floating private address, if it is known.
#[must_use]
pub fn needs(services: &[ServiceView], gateway: Option<IpAddr>) -> Vec<Need> {
    services
        .iter()
        .flat_map(|service| {
            service
                .servers
                .iter()
                .map(move |server| need(service, server, gateway))
        })
        .collect()
}

fn need(service: &ServiceView, server: &ServerView, gateway: Option<IpAddr>) -> Need {
    let name = match (service.address, service.mark) {
        (Some(address), _) => format!(
            "{} {address}",
            service.protocol.map_or("any", Protocol::name)
        ),
        (None, Some(mark)) => format!("mark {mark}"),
        (None, None) => "a service without address or mark".into(),
    };
    let vip = service
        .address
        .map_or("VIP".to_owned(), |a| a.ip().to_string());
    let port = service.address.map(|a| a.port()).filter(|p| *p != 0);
    let ports = port.map_or(String::new(), |p| format!(" --port {p}"));
    let protocol = service
        .protocol
        .map_or(String::new(), |p| format!(" --protocol {p}"));
    let probe = format!(
        "tarpon realserver probe --real-ip {} --vip {vip}{ports}{protocol}",
        server.address.ip()
    );
    let apply = |method: Method| {
        format!(
            "tarpon-realserver apply --method {} --vip {vip}{ports}{protocol}",
            method.name()
        )
    };
    let mut need = Need {
        service: name,
        server: server.address,
        forwarding: server.forwarding,
        needs: String::new(),
        command: String::new(),
        probe,
    };
    match server.forwarding {
        ForwardingMethod::Route => {
            need.needs = format!(
                "must accept packets for {vip}, stay silent about it in ARP, and reply to clients past the director; \
                 methods: sysctl (usual), arptables, iptables, firewalld, nftables"
            );
            need.command = apply(Method::Sysctl);
            if let (Some(vip), port) = (service.address, server.address.port())
                && port != vip.port()
            {
                need.needs.push_str(&format!(
                    "; direct routing keeps the port: the service must listen on {}, not {port}",
                    vip.port()
                ));
            }
        }
        ForwardingMethod::Tunnel => {
            need.needs = format!(
                "must decapsulate IP in IP, accept packets for {vip} without strict rp_filter, and reply to clients past the director"
            );
            need.command = apply(Method::Tunnel);
        }
        ForwardingMethod::Masq => {
            let gateway = gateway.map_or("FLOATING-PRIVATE-ADDRESS".to_owned(), |g| g.to_string());
            need.needs = format!(
                "must have the director's floating private address {gateway} as default gateway, and no VIP; the service listens on {}",
                server.address
            );
            need.command = format!("tarpon-realserver apply --method nat --gateway {gateway}");
            // The server answers as itself: nothing of the VIP can be seen on the wire.
            need.probe.clear();
        }
    }
    need
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_of_each_service_is_told_its_own() {
        let server = |address: &str, forwarding| ServerView {
            address: address.parse().unwrap(),
            forwarding,
        };
        let services = [
            ServiceView {
                address: Some("192.0.2.10:80".parse().unwrap()),
                mark: None,
                protocol: Some(Protocol::Tcp),
                servers: vec![
                    server("10.0.0.1:80", ForwardingMethod::Route),
                    server("10.0.0.2:8080", ForwardingMethod::Masq),
                ],
            },
            ServiceView {
                address: Some("[2001:db8::10]:53".parse().unwrap()),
                mark: None,
                protocol: Some(Protocol::Udp),
                servers: vec![server("[2001:db8::1]:53", ForwardingMethod::Tunnel)],
            },
            ServiceView {
                address: None,
                mark: Some(7),
                protocol: None,
                servers: vec![server("10.0.0.1:0", ForwardingMethod::Route)],
            },
        ];
        let needs = needs(&services, "10.0.0.254".parse().ok());
        let commands: Vec<&str> = needs.iter().map(|n| n.command.as_str()).collect();
        assert_eq!(
            commands,
            [
                "tarpon-realserver apply --method sysctl --vip 192.0.2.10 --port 80 --protocol tcp",
                "tarpon-realserver apply --method nat --gateway 10.0.0.254",
                "tarpon-realserver apply --method tunnel --vip 2001:db8::10 --port 53 --protocol udp",
                "tarpon-realserver apply --method sysctl --vip VIP",
            ]
        );
        assert_eq!(
            needs[0].probe,
            "tarpon realserver probe --real-ip 10.0.0.1 --vip 192.0.2.10 --port 80 --protocol tcp"
        );
        assert_eq!(needs[1].probe, "");
        assert_eq!(needs[3].service, "mark 7");
    }

    #[test]
    fn another_port_is_named_with_direct_routing() {
        let service = ServiceView {
            address: Some("192.0.2.10:80".parse().unwrap()),
            mark: None,
            protocol: Some(Protocol::Tcp),
            servers: vec![ServerView {
                address: "10.0.0.1:8080".parse().unwrap(),
                forwarding: ForwardingMethod::Route,
            }],
        };
        assert!(
            needs(&[service], None)[0]
                .needs
                .contains("must listen on 80, not 8080")
        );
    }
}
