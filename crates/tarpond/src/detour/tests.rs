use super::*;

const MACHINE: &str = "[[port]]\nname = \"lan\"\ndevice = \"tap:a\"\naddresses = [\"10.1.0.1/24\", \"2001:db8:2::1/64\"]\n\
                       [[vlan]]\nname = \"dmz\"\nport = \"lan\"\nid = 5\naddresses = [\"10.5.0.1/24\"]\n\
                       [[route]]\nto = \"10.9.0.0/16\"\nvia = \"10.1.0.254\"\n";

fn config(services: &str) -> Config {
    Config::parse(&format!("{MACHINE}{services}"), "t").unwrap_or_else(|report| panic!("{report}"))
}

fn service(method: &str, server: &str, check: &str) -> String {
    format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.10:80\"\nmethod = \"{method}\"\n[[service.check]]\ntype = \"tcp\"\n{check}\n\
         [[service.server]]\naddress = \"{server}\"\n"
    )
}

/// Where the check connects to, and what it leads to.
fn led(services: &str) -> Option<(String, Detour)> {
    let config = config(services);
    let mut detours = Detours::default();
    detours.follow(&config);
    let service = &config.services[0];
    let server = &service.servers[0];
    let check = &service.health.checks_of(server.address)[0];
    let led = detours.lead(check, service.key, server);
    let address = led.detour?;
    assert_eq!(led.target(server.address).ip().to_string(), "192.0.2.10");
    let detour = detours.table().lock().expect("alone")[&address];
    assert_eq!(detours.stations(), [detour.hop]);
    Some((led.endpoint(server.address).to_string(), detour))
}

#[test]
fn direct_routing_and_tunnels_are_checked_on_the_virtual_address() {
    let (endpoint, detour) = led(&service("route", "10.1.0.11", "")).expect("a detour");
    assert_eq!(endpoint, "240.0.0.1:80");
    assert_eq!(detour.hop.1.to_string(), "10.1.0.11");
    assert_eq!(detour.tunnel, None);
    let (_, far) = led(&service("tunnel", "10.9.0.11", "")).expect("a detour");
    assert_eq!(far.hop.1.to_string(), "10.1.0.254", "the gateway's MAC");
    let ends = far
        .tunnel
        .map(|(_, from, to)| (from.to_string(), to.to_string()));
    assert_eq!(ends, Some(("10.1.0.1".to_owned(), "10.9.0.11".to_owned())));
}

#[test]
fn others_are_not() {
    for (method, server, check) in [
        ("masq", "10.1.0.11", ""),
        ("route", "10.1.0.11", "target = \"server\""),
        ("route", "10.1.0.11", "port = 81"),
        ("route", "10.1.0.11", "address = \"10.1.0.99\""),
        // The host has no part in VLANs.
        ("route", "10.5.0.11", ""),
    ] {
        assert_eq!(
            led(&service(method, server, check)),
            None,
            "{method} {check}"
        );
    }
    let other_port = led(&service(
        "route",
        "10.1.0.11",
        "target = \"virtual\"\nport = 81",
    ));
    assert_eq!(other_port.expect("a detour").0, "240.0.0.1:81");
}

#[test]
fn a_detour_keeps_its_address_through_reloads() {
    let two = |first: &str| {
        format!(
            "{}[[service.server]]\naddress = \"10.1.0.12\"\n",
            service("route", first, "")
        )
    };
    let mut detours = Detours::default();
    let mut of_second = |first: &str| {
        let config = config(&two(first));
        detours.follow(&config);
        let service = &config.services[0];
        let check = &service.health.checks[0];
        detours.lead(check, service.key, &service.servers[1]).detour
    };
    let before = of_second("10.1.0.11");
    assert!(before.is_some());
    assert_eq!(of_second("10.1.0.10"), before);
    assert_eq!(of_second("10.1.0.13"), before);
}

#[test]
fn the_host_needs_a_way_only_where_there_are_detours() {
    let none = ranges(&config(&service("masq", "10.1.0.11", "")));
    assert!(none.is_empty());
    let some = ranges(&config(&service("route", "10.1.0.11", "")));
    assert_eq!(some.into_iter().collect::<Vec<_>>(), [(0, false)]);
}
