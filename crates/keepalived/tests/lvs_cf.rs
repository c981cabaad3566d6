//! What an lvs.cf comes to.

use config::{Config, SyncRole};
use health::{Aim, Kind, OnFailure};
use keepalived::{
    Class, Import,
    lvs_cf::{Node, read},
};
use std::{collections::BTreeMap, time::Duration};
use types::{ForwardingMethod, Mark, Scheduler, ServiceKey};

const FILE: &str = include_str!("lvs.cf");

fn words(import: &Import, class: Class) -> Vec<String> {
    let of = import.notes.iter().filter(|note| note.class == class);
    of.map(|note| format!("{}:{}", note.place.line, note.word))
        .collect()
}

#[test]
fn services_with_nannys_checks() {
    let import = read(FILE, "lvs.cf", Node::Primary);
    assert_eq!(words(&import, Class::Wrong), Vec::<String>::new());
    let names: Vec<_> = import.services.iter().map(|s| s.name.as_deref()).collect();
    assert_eq!(names, [Some("HTTP"), Some("dns"), Some("by mark")]);

    let http = &import.services[0];
    assert_eq!(http.key.to_string(), "tcp 192.0.2.10:80");
    assert_eq!(http.scheduler, Scheduler::Wlc);
    let persistence = http.persistence.expect("persistence");
    assert_eq!(persistence.timeout_s, 300);
    assert_eq!(persistence.netmask.to_string(), "255.255.255.0");
    let servers: Vec<String> = http
        .servers
        .iter()
        .map(|s| format!("{} {} {}", s.address, s.method, s.weight.0))
        .collect();
    assert_eq!(servers, ["10.0.0.11:80 masq 3", "10.0.0.12:8080 masq 1"]);
    assert_eq!(http.health.slow_start, Duration::from_secs(15));
    assert_eq!(http.health.on_failure, OnFailure::Quiesce);
    assert_eq!(
        http.health.sorry_server.map(|s| s.address.to_string()),
        Some("10.0.0.99:80".into())
    );
    let check = &http.health.checks[0];
    let Kind::Tcp { send, expect } = &check.kind else {
        panic!("{check:?}");
    };
    assert_eq!(send.as_deref(), Some("GET / HTTP/1.0\r\n\r\n"));
    let expect = expect.as_ref().expect("an answer is expected");
    assert!(expect.is_in(b"HTTP/1.1 200 OK") && !expect.is_in(b"no HTTP"));
    assert_eq!(check.timing.delay_loop, Duration::from_secs(3));

    let dns = &import.services[1];
    let Kind::Script(script) = &dns.health.checks[0].kind else {
        panic!("{dns:?}");
    };
    assert_eq!(script.command, ["/usr/local/bin/dig.sh", "%h"]);
    assert_eq!(script.user, "nobody");
    assert!(
        script
            .expect
            .as_ref()
            .is_some_and(|e| e.is_in(b"O.K") && !e.is_in(b"OxK"))
    );

    let marked = &import.services[2];
    assert!(matches!(
        marked.key,
        ServiceKey::Mark { mark: Mark(80), .. }
    ));
    assert_eq!(
        words(&import, Class::Unsupported),
        ["62:failover", "63:address", "64:start_cmd"]
    );
}

#[test]
fn load_monitors_are_checks_that_scale_weights() {
    let of = |monitor: &str| {
        let file = FILE.replace("load_monitor = none", &format!("load_monitor = {monitor}"));
        let import = read(&file, "lvs.cf", Node::Primary);
        let config = Config::default();
        let mut config = config;
        import.apply(&mut config);
        assert_eq!(config.service_problems(), []);
        let http = import.services[0].clone();
        let loads = http.servers.iter().flat_map(move |server| {
            let checks = http.health.checks_of(server.address).to_vec();
            let loads = checks.into_iter().filter_map(|check| match check.kind {
                Kind::Script(script) => Some((script.command.join(" "), script.load_weight)),
                _ => None,
            });
            loads.collect::<Vec<_>>()
        });
        loads.collect::<Vec<_>>()
    };
    assert_eq!(of("none"), []);
    assert_eq!(
        of("rup"),
        [
            ("/usr/bin/rup %h".into(), Some(3)),
            ("/usr/bin/rup %h".into(), Some(1))
        ]
    );
    assert_eq!(
        of("ruptime"),
        [
            ("/usr/bin/ruptime web1".into(), Some(3)),
            ("/usr/bin/ruptime web2".into(), Some(1))
        ]
    );
    assert_eq!(of("other"), []);
}

#[test]
fn pulse_becomes_virtual_routers_that_move_together() {
    for (node, priority, peers) in [
        (Node::Primary, 150, ["192.0.2.3", "10.0.0.3"]),
        (Node::Backup, 100, ["192.0.2.2", "10.0.0.2"]),
    ] {
        let import = read(FILE, "lvs.cf", node);
        let routers: Vec<String> = import
            .vrrp
            .iter()
            .map(|v| {
                assert_eq!(v.priority, priority);
                assert_eq!(v.advert_int_ms, 6000);
                assert!(!v.preempt);
                format!(
                    "{} {:?} {:?} {:?}",
                    v.interface, v.sync_group, v.virtual_ipaddress, v.unicast_peer
                )
            })
            .collect();
        assert_eq!(
            routers,
            [
                format!("eth0 Some(\"lvs\") [192.0.2.10, 192.0.2.11] [{}]", peers[0]),
                format!("eth1 Some(\"lvs\") [10.0.0.254] [{}]", peers[1]),
            ]
        );
        let sync = import.sync.expect("synchronisation");
        assert_eq!(
            (sync.role, sync.interface.as_str(), sync.syncid),
            (SyncRole::Vrrp, "eth1", 1)
        );
    }
    // Nobody to take over: no virtual router, and what is said of the other says nothing.
    let import = read(
        &FILE.replace("backup_active = 1", "backup_active = 0"),
        "lvs.cf",
        Node::Primary,
    );
    assert!(import.vrrp.is_empty() && import.sync.is_none());
    assert!(words(&import, Class::Harmless).contains(&"11:deadtime".into()));
    assert!(words(&import, Class::Mapped).contains(&"13:nat_router".into()));
}

#[test]
fn what_is_printed_is_a_configuration_that_is_right() {
    let import = read(FILE, "lvs.cf", Node::Primary);
    let machine = "[director]\nname = \"lb\"\n[[port]]\nname = \"wan\"\ndevice = \"af_packet:eth0\"\naddresses = [\"192.0.2.2/24\"]\n\
                   [[port]]\nname = \"lan\"\ndevice = \"af_packet:eth1\"\naddresses = [\"10.0.0.2/24\"]\n[[mark]]\nmark = 80\nprotocol = \"tcp\"\n";
    let mut config = Config::parse(machine, "m").expect("the machine's file");
    import.apply(&mut config);
    assert_eq!(
        config.sync.as_ref().map(|s| s.interface.as_str()),
        Some("lan")
    );
    let again = Config::parse(&config.to_toml(), "again").expect("what is written is right");
    assert_eq!(again, config);
    assert_eq!(config.settings.tcp_timeout, 600);
}

#[test]
fn direct_routing_checks_the_servers_own_address_and_port() {
    let text = FILE.replace("network = nat", "network = direct");
    let import = read(&text, "lvs.cf", Node::Primary);
    let http = &import.services[0];
    let servers: Vec<String> = http.servers.iter().map(|s| s.address.to_string()).collect();
    assert_eq!(servers, ["10.0.0.11:80", "10.0.0.12:80"]);
    assert!(
        http.servers
            .iter()
            .all(|s| s.method == ForwardingMethod::Route)
    );
    let checks = http.health.checks_of(http.servers[1].address);
    assert_eq!(
        (checks[0].port, checks[0].aim),
        (Some(8080), Some(Aim::Server))
    );
}

#[test]
fn every_mistake_has_its_place() {
    let import = read(
        "serial = 1\nnetwork = bridge\nvirtual a {\n address = here\n active = 2\n schedular = rr\n server b { weight = x }\n}\nprimary = 1 {\n",
        "f",
        Node::Primary,
    );
    let notes: BTreeMap<String, String> = import
        .notes
        .iter()
        .filter(|note| note.class == Class::Wrong)
        .map(|note| {
            (
                format!("{}:{}", note.place.line, note.place.column),
                note.text.clone(),
            )
        })
        .collect();
    for (place, wanted) in [
        ("1:1", "did you mean `serial_no`"),
        ("2:1", "nat, direct or tunnel"),
        ("3:1", "it has no address"),
        ("4:2", "not an address"),
        ("5:2", "neither 1 nor 0"),
        ("6:2", "did you mean `scheduler`"),
        ("7:2", "it has no address"),
        ("7:13", "not a weight"),
    ] {
        let text = notes.get(place).map_or("", String::as_str);
        assert!(text.contains(wanted), "{place}: {notes:#?}");
    }
    assert!(import.services.is_empty());
}
