//! What compiles, what it means, and what each mistake is told.

use super::{Local, Net, NextHop};
use crate::{
    ModelError,
    model::{Desired, Interface, Route},
    testing::{desired, ip, mac},
};
use flowtable::{Family as _, V4, V6};
use types::{InterfaceId, PortId, VlanId};

const CL: InterfaceId = InterfaceId(0);
const RS: InterfaceId = InterfaceId(1);

fn route(to: &str, via: Option<&str>, interface: Option<u16>) -> Route {
    Route {
        to: to.parse().unwrap(),
        via: via.map(ip),
        unreachable: false,
        interface: interface.map(InterfaceId),
    }
}

fn mistakes(change: impl FnOnce(&mut Desired)) -> Vec<String> {
    let mut desired = desired();
    change(&mut desired);
    let errors = Net::compile(&desired, &[]).expect_err("a mistake");
    errors.iter().map(ModelError::to_string).collect()
}

#[test]
fn addresses_and_routes_mean_what_they_say() {
    let mut desired = desired();
    desired
        .routes
        .push(route("10.2.0.0/16", Some("10.1.0.254"), None));
    desired.routes.push(route("10.2.3.0/24", None, Some(0)));
    let net = Net::compile(&desired, &[ip("10.9.9.9")]).unwrap();
    assert_eq!(net.local(ip("10.0.0.1")), Some(Local::Own(CL)));
    assert_eq!(net.local(ip("fd01::1")), Some(Local::Own(RS)));
    assert_eq!(net.local(ip("fe80::ff:fe00:101")), Some(Local::Own(RS)));
    assert_eq!(net.local(ip("10.0.0.100")), Some(Local::Vip));
    assert_eq!(net.local(ip("10.9.9.9")), Some(Local::Vip));
    assert_eq!(net.local(ip("10.1.0.255")), Some(Local::Broadcast));
    assert_eq!(net.local(ip("255.255.255.255")), Some(Local::Broadcast));
    assert_eq!(net.local(ip("10.0.0.2")), None);
    let next = |to: &str| {
        net.route(ip(to))
            .map(|n| (n.interface, n.gateway.to_string()))
    };
    assert_eq!(next("10.1.0.77"), Some((RS, "10.1.0.77".to_owned())));
    assert_eq!(next("10.2.4.1"), Some((RS, "10.1.0.254".to_owned())));
    assert_eq!(next("10.2.3.1"), Some((CL, "10.2.3.1".to_owned())));
    assert_eq!(next("8.8.8.8"), Some((CL, "10.0.0.254".to_owned())));
    assert_eq!(next("2001:db8::1"), Some((CL, "fd00::fe".to_owned())));
    assert_eq!(net.connected(ip("10.1.0.9")), Some(RS));
    assert_eq!(net.connected(ip("10.2.4.1")), None, "behind a gateway");
    assert_eq!(
        net.connected(ip("10.2.3.1")),
        None,
        "a route, not a segment"
    );
    assert_eq!(net.gateways().count(), 3);
}

#[test]
fn the_filter_knows_every_vip() {
    let vips: Vec<_> = (0..300u32)
        .map(|n| std::net::Ipv4Addr::from_bits(0xc000_0200 + n * 7).into())
        .collect();
    let net = Net::compile(&desired(), &vips).unwrap();
    for vip in &vips {
        let std::net::IpAddr::V4(vip) = vip else {
            unreachable!()
        };
        assert!(net.may_be_vip4(V4::words(vip.to_bits())));
    }
    assert!(net.may_be_vip6(V6::words(0xfd00 << 112 | 0x100)));
    let strangers = (0..10_000u32)
        .filter(|n| net.may_be_vip4(V4::words(0x0b00_0000 + n * 31)))
        .count();
    assert!(
        strangers < 1500,
        "{strangers} of 10000 pass a filter of 4096 bits with 301 set"
    );
}

#[test]
fn each_port_may_have_a_default_of_its_own() {
    let mut desired = desired();
    desired
        .routes
        .push(route("0.0.0.0/0", Some("10.1.0.254"), None));
    let net = Net::compile(&desired, &[]).unwrap();
    let to = ip("8.8.8.8");
    let via = |interface, gateway: &str| {
        Some(NextHop {
            interface,
            gateway: ip(gateway),
        })
    };
    assert_eq!(
        net.route(to),
        via(CL, "10.0.0.254"),
        "the first is the director's"
    );
    assert_eq!(
        net.route_back(to, RS),
        via(RS, "10.1.0.254"),
        "answers go back where asked"
    );
    assert_eq!(net.route_back(to, CL), via(CL, "10.0.0.254"));
    assert_eq!(
        net.route_back(ip("10.0.0.9"), RS),
        via(CL, "10.0.0.9"),
        "a better route is a better route"
    );
    assert_eq!(net.route_back(ip("fe80::9"), RS), via(RS, "fe80::9"));
    assert!(net.gateways().any(|n| n.gateway == ip("10.1.0.254")));
}

#[test]
fn sources_are_near_the_next_hop() {
    let mut desired = desired();
    desired.interfaces[0]
        .addresses
        .push("10.7.0.1/24".parse().unwrap());
    let net = Net::compile(&desired, &[]).unwrap();
    let source = |to: &str, interface, gateway: &str| {
        let next = NextHop {
            interface,
            gateway: ip(gateway),
        };
        net.source_for(ip(to), next).unwrap().to_string()
    };
    assert_eq!(source("8.8.8.8", CL, "10.0.0.254"), "10.0.0.1");
    assert_eq!(source("8.8.8.8", CL, "10.7.0.254"), "10.7.0.1");
    assert_eq!(source("2001:db8::1", CL, "fd00::fe"), "fd00::1");
    assert_eq!(source("fe80::1", RS, "fe80::1"), "fe80::ff:fe00:101");
}

#[test]
fn vlans_of_a_port_are_told_apart() {
    let mut desired = desired();
    let vlan = |id: u16, address: &str| Interface {
        name: format!("rs.{id}"),
        vlan: Some(VlanId::try_from(id).unwrap()),
        addresses: vec![address.parse().unwrap()],
        ..desired.interfaces[1].clone()
    };
    let more = [vlan(10, "10.10.0.1/24"), vlan(20, "10.20.0.1/24")];
    desired.interfaces.extend(more);
    let net = Net::compile(&desired, &[]).unwrap();
    assert_eq!(net.interface_of(PortId(1), None), Some(RS));
    assert_eq!(
        net.interface_of(PortId(1), Some(0)),
        Some(RS),
        "a priority tag"
    );
    assert_eq!(net.interface_of(PortId(1), Some(20)), Some(InterfaceId(3)));
    assert_eq!(net.interface_of(PortId(1), Some(30)), None);
    assert_eq!(net.interface_of(PortId(0), Some(20)), None);
    assert_eq!(net.interface_of(PortId(7), None), None);
}

#[test]
fn a_gateway_must_be_a_neighbour() {
    assert_eq!(
        mistakes(|d| d.routes.push(route("10.5.0.0/16", Some("10.9.0.1"), None))),
        [
            "the gateway 10.9.0.1 of the route to 10.5.0.0/16 is not on a connected segment \
          (10.0.0.0/24 on `cl`, 10.1.0.0/24 on `rs`); a gateway must be a neighbour"
        ]
    );
    // On another interface than the one named.
    assert_eq!(
        mistakes(|d| d
            .routes
            .push(route("10.5.0.0/16", Some("10.1.0.9"), Some(0))))
        .len(),
        1
    );
    assert_eq!(
        mistakes(|d| d.routes.push(route("10.5.0.0/16", Some("10.1.0.1"), None))),
        ["the gateway 10.1.0.1 of the route to 10.5.0.0/16 is the director's own address"]
    );
    assert_eq!(
        mistakes(|d| d.routes.push(route("10.5.0.0/16", Some("fd00::9"), None))),
        ["the route to 10.5.0.0/16 has the gateway fd00::9, which is of the other address family"]
    );
    // A link-local gateway is everybody's neighbour: it needs the interface.
    assert_eq!(
        mistakes(|d| d.routes.push(route("fd05::/16", Some("fe80::1"), None))).len(),
        1
    );
    let mut desired = desired();
    desired
        .routes
        .push(route("fd05::/16", Some("fe80::1"), Some(1)));
    assert!(Net::compile(&desired, &[]).is_ok());
}

#[test]
fn equal_prefixes_are_named_both() {
    assert_eq!(
        mistakes(|d| {
            d.routes.push(route("10.5.0.0/16", Some("10.1.0.9"), None));
            d.routes.push(route("10.5.7.7/16", Some("10.0.0.9"), None));
        }),
        [
            "two routes to 10.5.0.0/16: via 10.1.0.9 on `rs` and via 10.0.0.9 on `cl`; keep one of them"
        ]
    );
    assert_eq!(
        mistakes(|d| d.routes.push(route("10.1.0.0/24", Some("10.0.0.9"), None))),
        ["two routes to 10.1.0.0/24: connected to `rs` and via 10.0.0.9 on `cl`; keep one of them"]
    );
    assert_eq!(
        mistakes(|d| d.routes.push(route("0.0.0.0/0", Some("10.0.0.9"), None))),
        [
            "two routes to 0.0.0.0/0: via 10.0.0.254 on `cl` and via 10.0.0.9 on `cl`; keep one of them"
        ]
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let all = mistakes(|d| {
        d.interfaces[0].mac = mac("01:00:5e:00:00:01");
        d.interfaces[0].mtu = 1000;
        d.interfaces[0]
            .addresses
            .push("224.0.0.1/24".parse().unwrap());
        d.interfaces[0]
            .addresses
            .push("10.3.0.0/24".parse().unwrap());
        d.interfaces[0]
            .addresses
            .push("10.3.0.255/24".parse().unwrap());
        d.interfaces[1]
            .addresses
            .push("10.0.0.1/32".parse().unwrap());
        d.interfaces.push(Interface {
            name: "again".to_owned(),
            mac: mac("02:00:00:00:09:09"),
            addresses: vec![],
            ..d.interfaces[1].clone()
        });
        d.vips.push(ip("127.0.0.1"));
        d.vips.push(ip("fe80::1"));
        d.routes.push(route("10.5.0.0/16", None, None));
        d.routes.push(route("10.6.0.0/16", None, Some(7)));
        d.routes.push(route("ff02::/16", None, Some(0)));
    });
    let expected = [
        "interface `cl` has the MAC 01:00:5e:00:00:01, which is not one a station can have; use a unicast address",
        "interface `cl` cannot have the address 224.0.0.1/24: it is a multicast address",
        "interface `cl` cannot have the address 10.3.0.0/24: it is the network's own address",
        "interface `cl` cannot have the address 10.3.0.255/24: it is the network's broadcast address",
        "interface `cl` has an MTU of 1000; IPv6 needs at least 1280",
        "interfaces `rs` and `again` are both port 1 with the same VLAN; give one another VLAN id",
        "interfaces `rs` and `again` share a port but not its MAC",
        "the address 10.0.0.1 is on interface `cl` and again on `rs`; keep one of them",
        "127.0.0.1 cannot be a virtual address: it is a loopback address",
        "fe80::1 cannot be a virtual address: it is a link-local address",
        "the route to 10.5.0.0/16 has neither a gateway nor an interface; give it `via` or an interface",
        "the route to 10.6.0.0/16 names interface number 7, but there are 3",
        "there can be no route to ff02::/16: it is multicast",
    ];
    for message in expected {
        assert!(
            all.iter().any(|m| m == message),
            "missing: {message}\n{all:#?}"
        );
    }
    assert_eq!(all.len(), expected.len(), "{all:#?}");
}
