//! From the configuration's words to the engine's.

mod limits;

use crate::{ports::OpenPort, sync, takeover};
use config::{Config, PortRange};
use engine::model::{
    Defence, Desired, Interface, MarkRule, Offloads, Persistence, Route, Server, Service, Settings,
};
use std::net::IpAddr;
use types::{InterfaceId, MacAddr, OnRemoval, PortId, SchedulerFlags, ServiceKey};

/// What the engine must know of a port beside what is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// The MAC in use.
    pub mac: MacAddr,
    /// Checksums it fills in.
    pub offloads: Offloads,
}

impl From<&OpenPort> for PortFacts {
    fn from(open: &OpenPort) -> Self {
        let active = open.port.offloads();
        Self {
            mac: open.mac,
            offloads: Offloads {
                tx_ipv4: active.tx_ipv4_checksum,
                tx_l4: active.tx_l4_checksum,
            },
        }
    }
}

/// The whole desired state; `ports` in the order of the configuration's.
#[must_use]
pub fn desired(config: &Config, ports: &[PortFacts]) -> Desired {
    Desired {
        interfaces: interfaces(config, ports),
        routes: routes(config),
        services: config.services.iter().map(service).collect(),
        vips: vips(config),
        floating: takeover::floating(config),
        unaccepted: takeover::unaccepted(config),
        virtual_macs: takeover::virtual_macs(config),
        stations: [takeover::stations(config), sync::stations(config)].concat(),
        marks: config.marks.iter().map(|rule| mark(config, rule)).collect(),
        local: Vec::new(),
        on_removal: on_removal(config),
        limits: limits::limits(config),
        settings: settings(config),
    }
}

/// Names of the interfaces in the order of their ids: ports, then VLANs.
pub fn interface_names(config: &Config) -> impl Iterator<Item = &str> {
    let ports = config.ports.iter().map(|p| p.name.as_str());
    ports.chain(config.vlans.iter().map(|v| v.name.as_str()))
}

fn interfaces(config: &Config, facts: &[PortFacts]) -> Vec<Interface> {
    let ports = config.ports.iter().zip(facts).zip(0..);
    let untagged = ports.map(|((port, facts), id)| Interface {
        name: port.name.clone(),
        port: PortId(id),
        vlan: None,
        mac: facts.mac,
        mtu: port.mtu,
        addresses: port.addresses.clone(),
        host: port.tap().is_some(),
        offloads: facts.offloads,
        rp_filter: port.rp_filter,
    });
    let tagged = config.vlans.iter().filter_map(|vlan| {
        let ports = config.ports.iter().zip(facts).zip(0..);
        let ((port, facts), id) = ports.into_iter().find(|((p, _), _)| p.name == vlan.port)?;
        Some(Interface {
            name: vlan.name.clone(),
            port: PortId(id),
            vlan: Some(vlan.id),
            mac: facts.mac,
            mtu: port.mtu,
            addresses: vlan.addresses.clone(),
            // The TAP carries the port's untagged addresses; those of a VLAN the engine answers for itself.
            host: false,
            offloads: facts.offloads,
            rp_filter: vlan.rp_filter,
        })
    });
    untagged.chain(tagged).collect()
}

/// Virtual addresses beside the services'.
fn vips(config: &Config) -> Vec<IpAddr> {
    let marked = config.mark_addresses().map(|(ip, _)| ip);
    let moving = config.vrrp.iter().flat_map(config::Vrrp::addresses);
    marked.chain(moving).collect()
}

/// The interface of that name.
pub fn interface_id(config: &Config, name: &str) -> Option<InterfaceId> {
    let mut named = interface_names(config).zip(0..);
    let (_, id) = named.find(|(n, _)| *n == name)?;
    Some(InterfaceId(id))
}

fn mark(config: &Config, rule: &config::MarkRule) -> MarkRule {
    let ranges = |list: &[PortRange]| list.iter().map(|range| range.0..=range.1).collect();
    MarkRule {
        mark: rule.mark,
        protocol: rule.protocol,
        source: rule.source,
        destination: rule.destination,
        source_ports: ranges(&rule.source_ports),
        destination_ports: ranges(&rule.ports),
        interface: rule
            .interface
            .as_deref()
            .and_then(|name| interface_id(config, name)),
        dscp: rule.dscp,
        tcp_flags: rule.tcp_flags.map(|flags| (flags.mask, flags.set)),
        goes_on: rule.goes_on,
    }
}

fn routes(config: &Config) -> Vec<Route> {
    let id = |name: &str| interface_id(config, name);
    config
        .all_routes()
        .into_iter()
        .map(|route| Route {
            to: route.to,
            via: route.via,
            unreachable: route.unreachable,
            interface: route.interface.as_deref().and_then(id),
        })
        .collect()
}

fn service(service: &config::Service) -> Service {
    Service {
        key: service.key,
        scheduler: service.scheduler,
        flags: SchedulerFlags::of(service.scheduler, &service.scheduler_flags),
        persistence: service.persistence.map(|persistence| Persistence {
            timeout_s: persistence.timeout_s,
            netmask: persistence.netmask.bits(),
        }),
        persistence_engine: service.persistence_engine,
        one_packet: service.one_packet,
        servers: service.servers.iter().map(server).collect(),
    }
}

fn on_removal(config: &Config) -> Vec<(ServiceKey, OnRemoval)> {
    let services = config.services.iter();
    let own = services.filter_map(|s| Some((s.key, s.health.on_removal?)));
    own.collect()
}

const fn server(server: &config::Server) -> Server {
    Server {
        address: server.address,
        method: server.method,
        tunnel: server.tunnel,
        weight: server.weight,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        edits: 0,
    }
}

fn settings(config: &Config) -> Settings {
    let from = &config.settings;
    Settings {
        compat_ipvs: config.compat_ipvs,
        sync: sync::rules(config),
        sync_group: sync::heard_at(config),
        ip_forward: from.ip_forward,
        expire_nodest_conn: from.expire_nodest_conn,
        expire_quiescent_template: from.expire_quiescent_template,
        conn_reuse_mode: from.conn_reuse_mode,
        sloppy_tcp: from.sloppy_tcp,
        sloppy_sctp: from.sloppy_sctp,
        drop_entry: Defence::numbered(from.drop_entry),
        drop_packet: Defence::numbered(from.drop_packet),
        secure_tcp: Defence::numbered(from.secure_tcp),
        am_droprate: from.am_droprate,
        amemthresh: from.amemthresh,
        schedule_icmp: from.schedule_icmp,
        cache_bypass: from.cache_bypass,
        lblc_expiration_s: from.lblc_expiration,
        lblcr_expiration_s: from.lblcr_expiration,
        nat_icmp_send: from.nat_icmp_send,
        pmtu_disc: from.pmtu_disc,
        timeout_tcp_s: from.tcp_timeout,
        timeout_tcp_fin_s: from.tcp_fin_timeout,
        timeout_udp_s: from.udp_timeout,
        icmp_rate: from.icmp_rate,
        ipfrag_time_s: from.ipfrag_time,
        ip6frag_time_s: from.ip6frag_time,
        ipfrag_high_thresh: from.ipfrag_high_thresh,
        default_ttl: from.ip_default_ttl,
        endpoint_connections: from.endpoint_connections,
        ftp_ports: std::array::from_fn(|n| from.ftp_ports.get(n).copied().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[director]
workers = 1
[[port]]
name = "wan"
device = "net_null0"
addresses = ["192.0.2.1/24"]
gateway = "192.0.2.254"
[[port]]
name = "lan"
device = "net_null1"
addresses = ["10.1.0.1/24"]
host = false
[[vlan]]
name = "lan.10"
port = "lan"
id = 10
addresses = ["10.10.0.1/24"]
[[route]]
to = "10.9.0.0/16"
via = "10.10.0.2"
interface = "lan.10"
[[service]]
protocol = "tcp"
address = "192.0.2.10:80"
scheduler = "rr"
persistent = 60
netmask = "255.255.255.0"
method = "masq"
[[service.server]]
address = "10.1.0.11:8080"
weight = 3
"#;

    #[test]
    fn nothing_of_the_file_is_lost_on_the_way() {
        let config = Config::parse(TEXT, "t").unwrap_or_else(|report| panic!("{report}"));
        let facts = |n| PortFacts {
            mac: MacAddr([2, 0, 0, 0, 0, n]),
            offloads: Offloads::default(),
        };
        let desired = desired(&config, &[facts(1), facts(2)]);
        let of = |i: usize| &desired.interfaces[i];
        assert_eq!(
            (of(0).port, of(0).vlan, of(0).host),
            (PortId(0), None, true)
        );
        assert_eq!((of(1).port, of(1).host), (PortId(1), false));
        assert_eq!(
            (of(2).port, of(2).vlan.map(types::VlanId::get), of(2).mac),
            (PortId(1), Some(10), facts(2).mac)
        );
        assert_eq!(desired.routes.len(), 2);
        assert_eq!(desired.routes[0].interface, Some(InterfaceId(0)));
        assert_eq!(desired.routes[1].interface, Some(InterfaceId(2)));
        let service = &desired.services[0];
        assert_eq!(
            service.persistence,
            Some(Persistence {
                timeout_s: 60,
                netmask: 0xffff_ff00,
            })
        );
        assert_eq!(service.servers[0].weight.0, 3);
        assert_eq!(service.servers[0].method, types::ForwardingMethod::Masq);
        assert_eq!(
            desired.settings,
            Settings::default(),
            "the two crates agree about defaults"
        );
        assert!(!desired.settings.compat_ipvs);
        let compat = Config::parse(&format!("compat = \"ipvs\"\n{TEXT}"), "t")
            .unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(settings(&compat), Settings::ipvs());
    }
}
