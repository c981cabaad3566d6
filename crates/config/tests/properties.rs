//! What holds for any text and any configuration.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use config::{
    Access, Config, Cores, EditError, Effect, HostTap, Hugepages, Idle, Limits, Netmask,
    Persistence, Port, Route, Server, Service, Settings, diff,
};
use health::{Check, OnFailure, Passive, Policy, ServerPolicy, SorryServer};
use proptest::prelude::*;
use std::time::Duration;
use types::{
    ForwardingMethod, Protocol, Scheduler, SchedulerFlag, ServiceKey, SynCookies, Tunnel, Weight,
};

const WHOLE: &str = include_str!("../../../dpdk-config/tarpon.toml");

/// Checks of every type, with every key.
fn checks() -> impl Strategy<Value = Vec<Check>> {
    let texts: Vec<(&str, &str)> = vec![
        ("tcp", ""),
        (
            "tcp",
            "send = \"PING\\r\\n\"\nexpect = '^\\+PONG'\nport = 6379",
        ),
        (
            "http",
            "path = '/a?b'\nhost = 'www.example'\nversion = '1.1'\nstatus = [200, '300-399']",
        ),
        (
            "http",
            "body = 'x'\nbody_not = 'y'\ndigest = 'd41d8cd98f00b204e9800998ecf8427e'\nbind = '10.1.0.1'",
        ),
        (
            "https",
            "sni = 'a.b'\nca = '/ca'\ncertificate = '/c'\nkey = '/k'\nalpha = true\nrise = 3\nretry_when_down = true",
        ),
        ("https", "delay_loop = 0.25\nwarmup = 0\nretry = 7"),
        (
            "script",
            "command = ['/bin/true', '%h', 'a \"b\"']\ndynamic = true\nuser = 'root'\nexpect = '^OK'",
        ),
        (
            "ping",
            "address = '10.1.0.77'\ntimeout = 1.5\ndelay_before_retry = 0",
        ),
        (
            "udp",
            "payload = '00ff'\nreply = '4X 49'\nmax_length = 9\nmin_length = 2",
        ),
        ("udp", ""),
        ("dns", "name = 'a.example.'\nrecord = 'AAAA'"),
        ("smtp", "helo = 'me'"),
        ("file", "path = '/run/state'"),
        (
            "bfd",
            "min_tx = 0.25\nmultiplier = 4\nbind = '10.1.0.1'\ntimeout = 7",
        ),
        (
            "bfd",
            "multihop = true\nmin_rx = 1\npassive = true\naddress = '10.1.0.77'",
        ),
    ];
    prop::collection::btree_set(0..texts.len(), 0..4).prop_map(move |chosen| {
        let tables: String = chosen
            .into_iter()
            .map(|n| format!("[[service.check]]\ntype = '{}'\n{}\n", texts[n].0, texts[n].1))
            .collect();
        let port = "[[port]]\nname = 'a'\ndevice = 'net_null0'\n[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.1:80'\n";
        let text = format!("{port}{tables}");
        let config = Config::parse(&text, "t").unwrap_or_else(|report| panic!("{report}"));
        config.services[0].health.checks.clone()
    })
}

/// A policy, and what the first servers have of their own.
fn policies() -> impl Strategy<Value = (Policy, Vec<ServerPolicy>)> {
    let own = (
        prop::option::of(checks()),
        prop::option::of(any::<bool>()),
        any::<bool>(),
    );
    let own = own.prop_filter_map("nothing of its own", |(checks, quiesce, told)| {
        let own = ServerPolicy {
            checks,
            on_failure: quiesce.map(|on| {
                if on {
                    OnFailure::Quiesce
                } else {
                    OnFailure::Remove
                }
            }),
            notify_up: if told {
                vec!["/a".into(), "b c".into()]
            } else {
                vec![]
            },
            notify_down: vec![],
        };
        (own != ServerPolicy::default()).then_some(own)
    });
    let numbers = (1u32..9, 0u32..9, 0u64..99_999, any::<bool>());
    (
        checks(),
        prop::collection::vec(own, 0..3),
        numbers,
        any::<bool>(),
    )
        .prop_map(|(checks, own, (quorum, hysteresis, slow, sorry), told)| {
            let policy = Policy {
                checks,
                on_failure: if sorry {
                    OnFailure::Quiesce
                } else {
                    OnFailure::Remove
                },
                quorum,
                hysteresis,
                sorry_server: sorry.then(|| SorryServer {
                    inhibit: false,
                    address: "10.1.0.250:80".parse().unwrap(),
                    method: ForwardingMethod::Masq,
                }),
                slow_start: Duration::from_millis(slow),
                quorum_up: if told { vec!["/up".into()] } else { vec![] },
                quorum_down: if told {
                    vec![]
                } else {
                    vec!["/down".into(), "\"".into()]
                },
                passive: Passive {
                    suspect_after: told.then_some(quorum),
                    eject_after: sorry.then_some(hysteresis + 1),
                    eject_time: Duration::from_secs(if sorry { 1 + slow / 2 } else { 30 }),
                },
                on_removal: told.then_some(types::OnRemoval::Reset),
                notify_user: if told { "root".into() } else { String::new() },
                omega: told,
                ..Policy::new()
            };
            (policy, own)
        })
}

/// Pieces of the language, well and badly put together.
fn lines() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "[director]",
        "[[port]]",
        "[port]",
        "[[vlan]]",
        "[[route]]",
        "[[service]]",
        "[[service.server]]",
        "[[service.check]]",
        "[[service.server.check]]",
        "check = false",
        "check = 5",
        "type = \"http\"",
        "type = \"script\"",
        "delay_loop = 0.001",
        "status = [99, \"200-700\", []]",
        "body = \"(\"",
        "command = [\"x\"]",
        "quorum = 0",
        "sorry_server = \"10.0.0.7\"",
        "[settings]",
        "[access]",
        "allow = [\"10.0.0.0/8\", \"fe80::1\", 5]",
        "deny = [\"10.0.0.1/8\", \"10.0.0.0/8\"]",
        "connection_limit = 0",
        "syn_cookies = { above = 0 }",
        "client_rate_limit = 10001",
        "client_prefix = 33",
        "[service.server]",
        "name = \"wan\"",
        "device = \"net_null0\"",
        "device = 5",
        "addresses = [\"10.0.0.1/8\"]",
        "addresses = [\"10.0.0.1/99\", 3, []]",
        "gateway = \"10.0.0.2\"",
        "gateway6 = \"fe80::1\"",
        "port = \"wan\"",
        "id = 10",
        "id = 99999999999999999999",
        "to = \"0.0.0.0/0\"",
        "via = \"10.0.0.2\"",
        "interface = \"wan\"",
        "protocol = \"tcp\"",
        "address = \"10.0.0.9:80\"",
        "address = \"[::1]:0\"",
        "scheduler = \"rr\"",
        "persistent = true",
        "netmask = 129",
        "weight = -0",
        "server = []",
        "server = {}",
        "service = 3",
        "cores = [1, 1]",
        "cores = [[1]]",
        "x = {a = 1}",
        "é = \"é\"",
        "\"\" = 1",
        "a.b.c = 1",
        "mtu = 0xffff",
        "queues = 1_0",
        "mac = \"ff:ff:ff:ff:ff:ff\"",
        "host = \"\"",
        "\"",
        "'''",
        "= =",
        "# x",
        "[[",
        "]]",
        "[a]\n[a]",
    ]);
    prop::collection::vec(line, 0..25).prop_map(|lines| lines.join("\n"))
}

fn judge(text: &str) -> Result<(), TestCaseError> {
    match Config::parse(text, "t.toml") {
        Ok(config) => {
            prop_assert!(config.problems().is_empty());
            prop_assert_eq!(Config::parse(&config.to_toml(), "again"), Ok(config));
        }
        Err(report) => {
            prop_assert!(!report.problems.is_empty());
            let lines = text.split('\n').count();
            for problem in &report.problems {
                prop_assert!(
                    (1..=lines).contains(&problem.line) && problem.column >= 1,
                    "{}",
                    report
                );
            }
            let sorted = report.problems.is_sorted_by_key(|p| (p.line, p.column));
            prop_assert!(sorted, "{}", report);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read_or_reported(text in prop_oneof![lines(), ".{0,200}", "[\\[\\]=\"a-c0-9.\n ]{0,120}"]) {
        judge(&text)?;
    }

    #[test]
    fn any_change_of_a_file_is_read_or_reported(
        at in any::<prop::sample::Index>(),
        remove in 0usize..12,
        insert in prop_oneof!["[ -~]{0,6}", "\\PC{0,3}", Just("\n".to_owned())],
    ) {
        let chars: Vec<char> = WHOLE.chars().collect();
        let at = at.index(chars.len());
        let after = (at + remove).min(chars.len());
        let text: String = chars[..at].iter().copied().chain(insert.chars()).chain(chars[after..].iter().copied()).collect();
        judge(&text)?;
    }
}

const TUNNELS: [&str; 4] = ["ipip", "gre:csum", "gue:6080", "gue:1:remcsum"];

fn of_one_kind(servers: &[Server]) -> bool {
    let nat = |s: &Server| s.method == ForwardingMethod::Masq;
    servers.iter().all(nat) || !servers.iter().any(nat)
}

/// A configuration that makes sense, with most of its fields at will.
fn configs() -> impl Strategy<Value = Config> {
    let server = (2u8..100, 1u16..9999, 0u32..5, 0usize..3, 0u32..100).prop_map(
        |(host, port, weight, method, upper)| {
            let method = ForwardingMethod::ALL[method];
            let port = if method == ForwardingMethod::Masq {
                port
            } else {
                80
            };
            let tunnel = match method {
                ForwardingMethod::Tunnel => TUNNELS[host as usize % TUNNELS.len()].parse(),
                _ => Ok(Tunnel::Ipip),
            };
            let tunnel = tunnel.unwrap();
            Server {
                weight: Weight(weight),
                tunnel,
                upper_threshold: upper,
                lower_threshold: upper / 2,
                ..Server::new(format!("10.1.0.{host}:{port}").parse().unwrap(), method)
            }
        },
    );
    let service = (
        1u8..=254,
        any::<bool>(),
        0usize..Scheduler::ALL.len(),
        prop::option::of((1u32..9999, any::<u32>())),
        prop::collection::vec(server, 0..4),
        prop::option::of("[a-z]{1,8}"),
        policies(),
    )
        .prop_map(
            |(host, udp, scheduler, persistence, mut servers, name, (mut health, own))| {
                servers.sort_by_key(|s| s.address);
                servers.dedup_by_key(|s| s.address);
                let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
                health.servers = servers.iter().map(|s| s.address).zip(own).collect();
                if udp || !servers.iter().any(|s| s.method == ForwardingMethod::Masq) {
                    health.passive = Passive::new();
                }
                let limited = name.is_some();
                let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
                Service {
                    name,
                    health,
                    limits: Limits {
                        access: Access {
                            allow: if limited {
                                nets(&["10.0.0.0/8", "10.9.9.9/32"])
                            } else {
                                vec![]
                            },
                            deny: if udp {
                                nets(&["198.51.100.0/24"])
                            } else {
                                vec![]
                            },
                        },
                        connections: limited.then_some(u32::from(host)),
                        rate: udp.then_some(1 + u32::from(host)),
                        client_rate: limited.then_some(1),
                        client_prefix: limited.then_some(24),
                        syn_cookies: match host % 3 {
                            _ if udp || !of_one_kind(&servers) => SynCookies::Off,
                            0 => SynCookies::On,
                            1 => SynCookies::Off,
                            _ => SynCookies::Above(1 + u32::from(host)),
                        },
                    },
                    scheduler: Scheduler::ALL[scheduler],
                    scheduler_flags: SchedulerFlag::ALL
                        .iter()
                        .copied()
                        .filter(|f| f.fits(Scheduler::ALL[scheduler]))
                        .collect(),
                    persistence: persistence.map(|(timeout_s, mask)| Persistence {
                        timeout_s,
                        netmask: Netmask::V4(mask.max(1).into()),
                    }),
                    persistence_engine: (udp && host % 2 == 0)
                        .then_some(types::PersistenceEngine::Sip),
                    one_packet: udp && scheduler % 2 == 1,
                    servers,
                    ..Service::new(ServiceKey::Address {
                        protocol,
                        address: format!("192.0.2.{host}:80").parse().unwrap(),
                    })
                }
            },
        );
    let director = (
        1u16..9,
        any::<bool>(),
        1024u32..9999,
        any::<bool>(),
        0usize..3,
        "[a-z\"\\\\ ]{0,9}",
    );
    let port = (
        576u16..9600,
        any::<bool>(),
        prop::option::of(1u8..=255),
        0u8..3,
    );
    let settings = (
        any::<bool>(),
        0u8..4,
        1u32..1000,
        prop::option::of(0u32..1000),
    );
    (
        director,
        port,
        prop::collection::vec(service, 0..4),
        settings,
        any::<bool>(),
    )
        .prop_map(|(director, port, mut services, settings, routes)| {
            services.sort_by_key(Service::key);
            services.dedup_by_key(|s| s.key());
            let mut config = Config::default();
            let (workers, named, connections, poll, pages, name) = director;
            config.director.cores = if named {
                Cores::Named((0..workers).collect())
            } else {
                Cores::Count(workers)
            };
            config.director.connections = connections;
            config.director.idle = if poll { Idle::Poll } else { Idle::Pause };
            config.director.hugepages =
                [Hugepages::Auto, Hugepages::Require, Hugepages::Never][pages];
            config.director.name = name;
            let (mtu, promiscuous, mac, host) = port;
            config.ports.push(Port {
                name: "lan".into(),
                device: "0000:03:00.0".into(),
                queues: promiscuous.then_some(1),
                mtu,
                mac: mac.map(|b| types::MacAddr([2, 0, 0, 0, 0, b])),
                addresses: vec!["10.1.0.1/24".parse().unwrap()],
                gateway: routes.then(|| "10.1.0.254".parse().unwrap()),
                gateway6: None,
                host: [
                    HostTap::Off,
                    HostTap::Default,
                    HostTap::Named("tap0".into()),
                ][usize::from(host)]
                .clone(),
                promiscuous,
                rp_filter: types::RpFilter::WORDS[pages].1,
            });
            if routes {
                config.routes.push(Route {
                    to: "10.9.0.0/16".parse().unwrap(),
                    via: Some("10.1.0.9".parse().unwrap()),
                    unreachable: false,
                    interface: promiscuous.then(|| "lan".into()),
                });
                config.routes.push(Route {
                    to: "10.55.0.0/16".parse().unwrap(),
                    via: None,
                    unreachable: true,
                    interface: None,
                });
            }
            let mut names = std::collections::BTreeSet::new();
            for service in &mut services {
                service.name = service
                    .name
                    .take()
                    .filter(|name| names.insert(name.clone()));
            }
            config.services = services;
            let (on, mode, timeout, icmp_rate) = settings;
            config.settings = Settings {
                sloppy_tcp: on,
                sloppy_sctp: !on,
                drop_entry: mode,
                drop_packet: 3 - mode,
                secure_tcp: mode / 2,
                am_droprate: timeout,
                amemthresh: timeout,
                overload_drop: mode.min(2),
                schedule_icmp: !on,
                cache_bypass: on && mode > 1,
                conn_reuse_mode: mode,
                tcp_timeout: timeout,
                icmp_rate,
                ..Settings::default()
            };
            config
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read_again(config in configs()) {
        prop_assert_eq!(config.problems(), vec![]);
        let text = config.to_toml();
        prop_assert_eq!(Config::parse(&text, "t.toml").map_err(|r| format!("{r}\n{text}")), Ok(config));
    }

    #[test]
    fn there_is_a_difference_exactly_where_two_differ(a in configs(), b in configs()) {
        prop_assert_eq!(diff(&a, &a), vec![]);
        prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
        let restart = diff(&a, &b).iter().any(|c| c.effect == Effect::Restart);
        let mut only_services = a.clone();
        only_services.services = b.services.clone();
        prop_assert!(diff(&a, &only_services).iter().all(|c| c.effect == Effect::Reload));
        prop_assert!(restart || a.director == b.director);
        prop_assert_eq!(diff(&a, &only_services).is_empty(), a.services == b.services);
    }
}

#[test]
fn an_order_is_a_difference() {
    let mut a = Config::parse(WHOLE, "t.toml").unwrap();
    let servers = &mut a.services[0].servers;
    assert!(servers.len() > 1);
    let before = a.clone();
    a.services[0].servers.reverse();
    let changes: Vec<String> = diff(&before, &a).into_iter().map(|c| c.text).collect();
    assert_eq!(
        changes,
        [format!(
            "service {}: server: in another order",
            a.services[0].key()
        )]
    );
}

#[test]
fn edits_are_checked_like_files() {
    let config = Config::parse(WHOLE, "t.toml").unwrap();
    let key = config.services[0].key();
    let far = Server::new("203.0.113.9:80".parse().unwrap(), ForwardingMethod::Route);
    let refused = config
        .edited(|c| c.service_mut(key)?.add_server(far))
        .unwrap_err();
    assert!(
        matches!(&refused, EditError::Invalid(problems) if problems.len() == 1),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains("is not on a connected segment"),
        "{refused}"
    );
    let again = config.services[0].clone();
    let refused = config.edited(|c| c.add_service(again)).unwrap_err();
    assert!(matches!(refused, EditError::Exists(_)));
    let nowhere = config
        .edited(|c| {
            c.service_mut(key)?
                .delete_server("10.9.9.9:9".parse().unwrap())
        })
        .unwrap_err();
    assert!(
        matches!(&nowhere, EditError::NotFound(text) if text.contains("the servers are")),
        "{nowhere}"
    );
    let edited = config
        .edited(|c| c.service_mut(key)?.set_persistence(Some(60), None, None))
        .unwrap();
    let changes: Vec<String> = diff(&config, &edited).into_iter().map(|c| c.text).collect();
    assert_eq!(changes, [format!("service {key}: persistent 0 -> 60")]);
    let off = edited
        .edited(|c| c.service_mut(key)?.set_persistence(Some(0), None, None))
        .unwrap();
    assert_eq!(off, config);
    assert!(
        config
            .edited(|c| c
                .service_mut(key)?
                .set_persistence(None, Some("255.255.0.0"), None))
            .is_err()
    );
    let gone = config.edited(|c| c.delete_service(key)).unwrap();
    assert_eq!(gone.services.len() + 1, config.services.len());
}

#[test]
fn bottomless_nesting_is_reported() {
    for depth in [100, 10_000, 200_000] {
        for (open, close) in [("[", "]"), ("{a=", "}")] {
            let text = format!("x = {}{}", open.repeat(depth), close.repeat(depth));
            assert!(Config::parse(&text, "t.toml").is_err());
        }
        let text = format!("[{}a]", "a.".repeat(depth));
        assert!(Config::parse(&text, "t.toml").is_err());
        let text = format!("{}a = 1", "a.".repeat(depth));
        assert!(Config::parse(&text, "t.toml").is_err());
    }
}
