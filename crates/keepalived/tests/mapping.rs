//! What a file comes to: services, checks with keepalived's defaults, and what is said of each word.

use config::AuthType;
use health::{Kind, OnFailure};
use keepalived::{Class, Import, NoIncludes, read};
use proptest::prelude::*;
use std::time::Duration;
use types::{ForwardingMethod, Scheduler};

const WEB: &str = r#"
global_defs {
    router_id LB1
    script_user checker
    lvs_timeouts tcp 900 tcpfin 60 udp 30
    smtp_server 192.0.2.25
    vrrp_garp_master_refresh 60
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        192.0.2.10/24
    }
    track_bfd {
        chk
    }
}
virtual_server_group WEB {
    192.0.2.10 80
    192.0.2.11-12 80
    fwmark 7
}
virtual_server group WEB {
    delay_loop 6
    lb_algo wrr
    lb_kind NAT
    persistence_timeout 50
    protocol TCP
    quorum 2
    hysteresis 1
    quorum_down "/usr/local/bin/tell 'no quorum'" nobody
    sorry_server 10.0.0.99 8080
    alpha
    virtualhost www.example
    real_server 10.0.0.11 8080 {
        weight 3
        inhibit_on_failure
        notify_down "/usr/local/bin/tell down"
        HTTP_GET {
            url {
                path /health
                status_code 200-299 404
                regex "^OK"
                regex_options caseless
            }
            url {
                path /db
                digest d41d8cd98f00b204e9800998ecf8427e
                virtualhost db.example
            }
            connect_timeout 3
            retry 2
            delay_before_retry 2
        }
    }
    real_server 10.0.0.12 8080 {
        uthreshold 100
        delay_loop 9
        MISC_CHECK { misc_path "/bin/check 10.0.0.12 'a b'" }
        DNS_CHECK { type MX name example.org }
    }
}
"#;

fn import(text: &str) -> Import {
    read(text, "k.conf", "n", &mut NoIncludes)
}

fn lines(import: &Import, class: Class) -> Vec<String> {
    let of = import.notes.iter().filter(|note| note.class == class);
    of.map(ToString::to_string).collect()
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_group_becomes_a_service_for_each_of_its_members() {
    let import = import(WEB);
    assert_eq!(lines(&import, Class::Wrong), Vec::<String>::new());
    let keys: Vec<String> = import.services.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(
        keys,
        [
            "tcp 192.0.2.10:80",
            "tcp 192.0.2.11:80",
            "tcp 192.0.2.12:80",
            "mark 7"
        ]
    );
    let service = &import.services[0];
    assert_eq!(
        (service.scheduler, service.method),
        (Scheduler::Wrr, ForwardingMethod::Masq)
    );
    assert_eq!(service.persistence.unwrap().timeout_s, 50);
    let health = &service.health;
    assert_eq!((health.quorum, health.hysteresis), (2, 1));
    assert_eq!(
        health.sorry_server.unwrap().address.to_string(),
        "10.0.0.99:8080"
    );
    assert_eq!(health.quorum_down, ["/usr/local/bin/tell", "no quorum"]);
    // quorum_down names one; script_user counts where none is named.
    assert_eq!(health.user(), "nobody");
    let unnamed = self::import(&WEB.replace("'no quorum'\" nobody", "'no quorum'\""));
    assert_eq!(unnamed.services[0].health.user(), "checker");
    assert_eq!(import.timeouts.tcp_fin, Some(60));
    let first = service.servers[0];
    assert_eq!(
        (first.address.to_string().as_str(), first.weight.0),
        ("10.0.0.11:8080", 3)
    );
    assert_eq!(service.servers[1].upper_threshold, 100);
    assert_eq!(health.on_failure_of(first.address), OnFailure::Quiesce);
    assert_eq!(
        health.on_failure_of(service.servers[1].address),
        OnFailure::Remove
    );
    assert_eq!(
        health.servers[&first.address].notify_down,
        ["/usr/local/bin/tell", "down"]
    );
}

#[test]
fn checks_inherit_and_have_keepaliveds_defaults() {
    let import = import(WEB);
    let service = &import.services[0];
    let checks = service.health.checks_of(service.servers[0].address);
    assert_eq!(checks.len(), 2);
    for check in checks {
        let t = check.timing;
        assert_eq!(
            (t.delay_loop, t.timeout, t.retry, t.delay_before_retry),
            (s(6), s(3), 2, s(2))
        );
        assert!(t.alpha && t.warmup.is_none());
        // Both pages, and the first once more.
        assert_eq!((t.rise, t.retry_when_down), (3, false));
    }
    let (Kind::Http(first), Kind::Http(second)) = (&checks[0].kind, &checks[1].kind) else {
        panic!("pages");
    };
    assert_eq!(first.host.as_deref(), Some("www.example"));
    assert_eq!(first.status, [(200, 299), (404, 404)]);
    assert!(first.body.as_ref().unwrap().is_in(b"ok then"));
    assert_eq!(
        (second.host.as_deref(), second.path.as_str()),
        (Some("db.example"), "/db")
    );
    assert!(second.digest.is_some());
    let others = service.health.checks_of(service.servers[1].address);
    let (misc, dns) = (&others[0], &others[1]);
    let Kind::Script(script) = &misc.kind else {
        panic!("a script");
    };
    assert_eq!(script.command, ["/bin/check", "10.0.0.12", "a b"]);
    assert_eq!(script.user, "checker");
    // MISC_CHECK: no retry, and as long as delay_loop; DNS_CHECK: three, delay_loop apart.
    assert_eq!((misc.timing.retry, misc.timing.timeout), (0, s(9)));
    assert_eq!((dns.timing.retry, dns.timing.delay_before_retry), (3, s(9)));
    assert_eq!(dns.timing.timeout, s(5));
}

#[test]
fn what_is_not_done_is_named_with_its_place() {
    let import = import(WEB);
    let unsupported = lines(&import, Class::Unsupported);
    let wanted = "k.conf:17:9: unsupported: chk: nothing of that name is defined";
    assert!(
        unsupported.iter().any(|line| line.starts_with(wanted)),
        "{wanted} in {unsupported:#?}"
    );
    let counts = import.counts();
    assert_eq!(counts.values().sum::<usize>(), import.notes.len());
    assert_eq!(counts[&Class::Unsupported], 1, "{unsupported:#?}");
    assert!(import.coverage_percent() > 90 && import.coverage_percent() < 100);
}

#[test]
fn authentication_headers_are_version_2s() {
    let instance = |version| {
        format!(
            "vrrp_instance A {{\n version {version}\n interface eth0\n virtual_router_id 51\n authentication {{\n auth_type AH\n \
             auth_pass secret\n }}\n virtual_ipaddress {{\n 192.0.2.10\n }}\n}}\n"
        )
    };
    for (version, pass, kind) in [(2, Some("secret"), AuthType::Ah), (3, None, AuthType::Pass)] {
        let import = import(&instance(version));
        assert_eq!(lines(&import, Class::Wrong), Vec::<String>::new());
        assert_eq!(lines(&import, Class::Unsupported), Vec::<String>::new());
        let [made] = import.vrrp.as_slice() else {
            panic!("one");
        };
        assert_eq!((made.auth_pass.as_deref(), made.auth_type), (pass, kind));
    }
}

#[test]
fn virtual_routers_have_keepaliveds_defaults() {
    let import = import(
        "vrrp_sync_group G {\n group {\n A\n B\n }\n track_interface {\n eth0\n eth1\n eth2\n }\n}\n\
         vrrp_instance A {\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 150\n nopreempt\n advert_int 0.4\n \
         authentication {\n auth_type PASS\n auth_pass 123456789\n }\n virtual_ipaddress {\n 192.0.2.10/24 dev eth0 label eth0:1\n \
         192.0.2.10\n 2001:db8::10/64\n }\n}\n\
         vrrp_instance B {\n interface eth1\n virtual_router_id 52\n vrrp_version 3\n advert_int 0.4\n garp_master_refresh 9\n \
         unicast_peer {\n 10.0.0.3\n }\n virtual_ipaddress {\n 10.0.0.1\n }\n no_accept\n}\n",
    );
    assert_eq!(lines(&import, Class::Wrong), Vec::<String>::new());
    let [a, b] = import.vrrp.as_slice() else {
        panic!("two");
    };
    assert_eq!(
        (a.version, a.advert_int_ms, a.priority, a.preempt),
        (2, 1000, 150, false)
    );
    assert_eq!(a.auth_pass.as_deref(), Some("12345678"));
    assert_eq!(
        (
            a.garp_master_repeat,
            a.garp_master_delay,
            a.garp_master_refresh
        ),
        (5, 5, 0)
    );
    assert_eq!(a.virtual_ipaddress, [ip("192.0.2.10")]);
    assert_eq!(
        a.virtual_ipaddress_excluded,
        [ip("2001:db8::10")],
        "one family is advertised"
    );
    assert_eq!(
        (
            b.version,
            b.advert_int_ms,
            b.priority,
            b.garp_master_refresh
        ),
        (3, 400, 100, 9)
    );
    assert_eq!(b.unicast_peer, [ip("10.0.0.3")]);
    assert_eq!((a.unit(), b.unit()), ("G", "G"));
    let tracked: Vec<String> = a.track_interface.iter().map(ToString::to_string).collect();
    assert_eq!(tracked, ["eth0", "eth1", "eth2"]);
    assert_eq!((a.accept, b.accept), (true, false));
    assert_eq!(lines(&import, Class::Unsupported), Vec::<String>::new());
}

#[test]
fn a_virtual_mac_is_the_instances_own() {
    let import = import(
        "vrrp_instance A {\n interface eth0\n virtual_router_id 51\n use_vmac vrrp.51\n vmac_xmit_base\n virtual_ipaddress {\n \
         192.0.2.10\n }\n}\n\
         vrrp_instance B {\n interface eth1\n virtual_router_id 52\n version 3\n use_vmac vrrp.52 02:00:00:00:00:01\n \
         virtual_ipaddress {\n 2001:db8::10\n }\n}\n",
    );
    let macs: Vec<_> = import
        .vrrp
        .iter()
        .map(|v| v.virtual_mac().unwrap().to_string())
        .collect();
    assert_eq!(macs, ["00:00:5e:00:01:33", "00:00:5e:00:02:34"]);
    assert_eq!(
        lines(&import, Class::Unsupported),
        [
            "k.conf:14:2: unsupported: use_vmac: the MAC is 00:00:5e:00:01 (IPv6: 02) and the virtual_router_id"
        ]
    );
}

/// A file after the manual page's.
const TRACKING: &str = r#"
global_defs {
    script_user checker
}
vrrp_script chk_haproxy {
    script "killall -0 haproxy"
    interval 2
    weight 2
}
vrrp_script gate {
    script "/usr/local/bin/gate 'a b'"
    timeout 5
    weight -10 reverse
    rise 2
    fall 3
    init_fail
    user root
}
track_file note {
    file /run/note
    weight 2
    init_file 0
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.10
    }
    track_interface {
        eth1 weight -20
    }
    track_script {
        chk_haproxy
        gate weight 5 noreverse
        nothing
    }
    track_file {
        note weight 0 reverse
    }
}
vrrp_sync_group G {
    group {
        B
    }
    track_file {
        note
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 2
    virtual_ipaddress {
        192.0.2.11
    }
    track_script {
        gate
    }
}
vrrp_instance C {
    interface eth0
    virtual_router_id 3
    priority 255
    virtual_ipaddress {
        192.0.2.12
    }
    track_script {
        gate
        gate weight 254
    }
}
"#;

#[test]
fn what_instances_track_is_tracked() {
    let import = import(TRACKING);
    let [haproxy, gate] = import.scripts.as_slice() else {
        panic!("two scripts: {:?}", import.scripts);
    };
    assert_eq!(haproxy.script, ["/usr/bin/env", "killall", "-0", "haproxy"]);
    assert_eq!(
        (haproxy.user.as_str(), haproxy.interval, haproxy.timeout),
        ("checker", s(2), s(2))
    );
    assert_eq!((haproxy.weight.by, haproxy.rise, haproxy.fall), (2, 1, 1));
    assert_eq!(gate.script, ["/usr/local/bin/gate", "a b"]);
    assert_eq!(
        (gate.user.as_str(), gate.interval, gate.timeout),
        ("root", s(1), s(5))
    );
    assert_eq!((gate.weight.by, gate.weight.reverse), (-10, true));
    assert_eq!((gate.rise, gate.fall, gate.init_fail), (2, 3, true));
    assert_eq!(import.files[0].weight.by, 2);
    let of = |name: &str| {
        let v = import.vrrp.iter().find(|v| v.name == name).expect(name);
        let lists = [&v.track_interface, &v.track_script, &v.track_file];
        let text = |list: &Vec<config::Track>| {
            let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
            texts.join(",")
        };
        lists.map(text)
    };
    assert_eq!(
        of("A"),
        [
            "eth1 weight -20",
            "chk_haproxy,gate weight 5",
            "note weight 0 reverse"
        ]
    );
    // A member's weights do not count in a group; the group's do.
    assert_eq!(of("B"), ["", "gate weight 0 reverse", "note"]);
    assert_eq!(of("C"), ["", "", ""]);
    assert_eq!(
        lines(&import, Class::Unsupported),
        ["k.conf:36:9: unsupported: nothing: nothing of that name is defined"]
    );
    assert_eq!(
        lines(&import, Class::Wrong),
        ["k.conf:69:9: wrong: gate: \"254\" is no weight from -253 to 253"]
    );
    let harmless = lines(&import, Class::Harmless);
    let wanted = "k.conf:68:9: harmless: gate: priority 255 does not change";
    assert!(harmless.iter().any(|l| l == wanted), "{harmless:#?}");
    // And the whole is a configuration like any other.
    let machine = "[[port]]\nname = \"eth0\"\ndevice = \"af_packet:eth0\"\naddresses = [\"192.0.2.1/24\"]\n\
                   [[port]]\nname = \"lan\"\ndevice = \"af_packet:eth1\"\naddresses = [\"10.1.0.1/24\"]\n";
    let mut config =
        config::Config::parse(machine, "m").unwrap_or_else(|report| panic!("{report}"));
    import.apply(&mut config);
    assert_eq!(config.problems(), []);
    assert_eq!(config.vrrp[0].track_interface[0].name, "lan");
    let again = config::Config::parse(&config.to_toml(), "again");
    assert_eq!(again.unwrap_or_else(|report| panic!("{report}")), config);
}

#[test]
fn interfaces_are_found_by_the_hosts_names() {
    let machine = "[[port]]\nname = \"wan\"\ndevice = \"af_packet:eth0\"\naddresses = [\"192.0.2.1/24\"]\n\
                   [[vlan]]\nname = \"dmz\"\nport = \"wan\"\nid = 5\naddresses = [\"198.51.100.1/24\"]\n";
    let of = |interface: &str| {
        let text = format!(
            "vrrp_instance A {{\n interface {interface}\n virtual_router_id 1\n virtual_ipaddress {{\n 192.0.2.10\n }}\n}}\n"
        );
        let mut config =
            config::Config::parse(machine, "m").unwrap_or_else(|report| panic!("{report}"));
        import(&text).apply(&mut config);
        config.vrrp[0].interface.clone()
    };
    assert_eq!(of("eth0"), "wan");
    assert_eq!(of("wan"), "wan");
    assert_eq!(of("eth0.5"), "dmz");
    assert_eq!(
        of("eth0.6"),
        "eth0.6",
        "which there is not, as will be said"
    );
}

#[test]
fn direct_routing_keeps_the_port_and_checks_the_servers_own() {
    let import = import(
        "virtual_server 192.0.2.10 80 {\n lb_kind DR\n real_server 10.0.0.11 8080 {\n TCP_CHECK {\n }\n }\n real_server 10.0.0.12 {\n \
         TCP_CHECK {\n connect_port 81\n }\n }\n}\n",
    );
    let service = &import.services[0];
    assert_eq!(service.servers[0].address.to_string(), "10.0.0.11:80");
    let of = |n: usize| service.health.checks_of(service.servers[n].address)[0].clone();
    assert_eq!(
        of(0).target(service.servers[0].address).to_string(),
        "10.0.0.11:8080"
    );
    assert_eq!(
        of(1).target(service.servers[1].address).to_string(),
        "10.0.0.12:81"
    );
}

#[test]
fn mistakes_have_a_hint() {
    let text = "virtual_server 192.0.2.10 80 {\n  dely_loop 6\n  lb_algo wrx\n  real_server 10.0.0.11 http {\n  }\n}\nvirtual_servr x {\n}\n";
    let wrong = lines(&import(text), Class::Wrong);
    assert_eq!(
        wrong,
        [
            "k.conf:2:3: wrong: dely_loop: virtual_server has no such word; did you mean `delay_loop`?",
            "k.conf:3:3: wrong: lb_algo: there is no scheduler \"wrx\"; wlc is used",
            "k.conf:4:3: wrong: real_server: \"http\" is no port from 0 to 65535: write `real_server ADDRESS [PORT]`",
            "k.conf:7:1: wrong: virtual_servr: keepalived.conf has no such word; did you mean `virtual_server`?",
        ]
    );
}

#[test]
fn old_spellings_are_taken() {
    let import = import(
        "virtual_server 192.0.2.10 80 {\n lb_kind dr\n nat_mask 255.255.255.0\n real_server 10.0.0.11 80 {\n HTTP_GET {\n url {\n path /\n }\n \
         nb_get_retry 3\n }\n }\n}\n",
    );
    assert_eq!(lines(&import, Class::Wrong), Vec::<String>::new());
    let service = &import.services[0];
    assert_eq!(service.method, ForwardingMethod::Route);
    assert_eq!(
        service.health.checks_of(service.servers[0].address)[0]
            .timing
            .retry,
        3
    );
}

proptest! {
    /// Whatever a file says, it is read to its end.
    #[test]
    fn any_text_is_read(words in prop::collection::vec(prop::sample::select(vec![
        "virtual_server", "group", "fwmark", "10.0.0.1", "80", "{", "}", "\n", "\n", "real_server", "HTTP_GET", "url", "path", "/", "weight",
        "\"", "'", "\\", "$A=", "$A", "${A}", "@n", "@^n", "~SEQ(A,1,3)", "~LST({A,B},{1,2})", "#", "!", "include", "x", "SSL_GET", "quorum",
        "MISC_CHECK", "misc_path", "global_defs", "lvs_timeouts", "tcp", "-1", "9999999999999", "vrrp_instance", "persistence_timeout",
        "persistence_granularity", "lvs_method", "TUN", "type", "UDP_CHECK", "payload", "0x", "regex", "(", "regex_options", "status_code",
    ]), 0..80)) {
        let text = words.join(" ");
        let import = import(&text);
        prop_assert!(import.coverage_percent() <= 100);
    }
}

#[test]
fn notify_fifos_are_ours() {
    let import = import(
        "global_defs {\n notify_fifo /run/all\n lvs_notify_fifo /run/lvs monitor staff\n vrrp_notify_fifo /run/vrrp monitor\n \
         vrrp_notify_fifo_script \"/usr/local/bin/reader -v\"\n lvs_notify_fifo_script /usr/local/bin/reader root\n}\n",
    );
    let told: Vec<_> = import
        .notify
        .iter()
        .map(|n| {
            let words: Vec<&str> = n.events.iter().map(|about| about.word()).collect();
            let owner = (n.user.as_deref(), n.group.as_deref());
            (n.to.to_string(), n.format.word(), words.join(" "), owner)
        })
        .collect();
    let fifo = |path: &str, about: &str, owner| {
        (
            format!("fifo {path}"),
            "keepalived",
            about.to_owned(),
            owner,
        )
    };
    let expected = [
        fifo("/run/all", "services vrrp", (None, None)),
        fifo("/run/lvs", "services", (Some("monitor"), Some("staff"))),
        fifo("/run/vrrp", "vrrp", (Some("monitor"), None)),
    ];
    assert_eq!(told, expected);
    assert!(import.notify.iter().all(|n| n.mode == 0o600));
    let readers: Vec<_> = import
        .notify
        .iter()
        .map(|n| (n.reader.join(" "), n.reads_it()))
        .collect();
    let expected = [
        (String::new(), None),
        ("/usr/local/bin/reader".into(), Some("root")),
        ("/usr/local/bin/reader -v".into(), Some("monitor")),
    ];
    assert_eq!(readers, expected);
    assert_eq!(lines(&import, Class::Mapped).len(), 2);
    let wrong = self::import(
        "global_defs {\n script_user lvs\n notify_fifo_script /bin/a\n lvs_notify_fifo_script b\n lvs_notify_fifo /run/a\n}\n",
    );
    assert_eq!(lines(&wrong, Class::Wrong).len(), 2);
    assert!(wrong.notify[0].reader.is_empty());
    let wrong = self::import(
        "global_defs {\n notify_fifo /run/a\n lvs_notify_fifo /run/a\n vrrp_notify_fifo b\n}\n",
    );
    assert_eq!(lines(&wrong, Class::Wrong).len(), 2);
    assert_eq!(wrong.notify.len(), 1);
}

/// What becomes of one virtual server with one real server.
fn one(words: &str, server: &str) -> Import {
    import(&format!(
        "virtual_server 192.0.2.10 25 {{\n{words}\nreal_server 10.0.0.11 25 {{\n{server}\n}}\n}}\n"
    ))
}

#[test]
fn a_protocol_that_is_not_named_is_said() {
    let (tcp, udp) = (Some("tcp".to_owned()), Some("udp".to_owned()));
    let of = |words: &str, server: &str| {
        let import = one(words, server);
        let mapped = lines(&import, Class::Mapped);
        let key = import.services[0].key.to_string();
        (key.split(' ').next().map(str::to_owned), mapped.len())
    };
    assert_eq!(of("protocol TCP", ""), (tcp.clone(), 0));
    assert_eq!(of("", "HTTP_GET {\nurl {\npath /\n}\n}"), (tcp, 1));
    assert_eq!(of("", "DNS_CHECK {\n}"), (udp.clone(), 1));
    assert_eq!(of("", ""), (udp, 1));
    // All that is to be said of the block is said.
    let every_port = import("virtual_server 192.0.2.10 {\nreal_server 10.0.0.11 {\n}\n}\n");
    let mapped = lines(&every_port, Class::Mapped);
    assert!(
        mapped[0].contains("no `protocol`") && mapped[0].contains("360 s"),
        "{mapped:?}"
    );
    let import = import(
        "virtual_server 192.0.2.10 {\nreal_server 10.0.0.11 {\n}\nreal_server 10.0.0.11 {\n}\n}\n",
    );
    assert_eq!(lines(&import, Class::Wrong).len(), 1);
}

#[test]
fn every_host_of_an_old_mail_check_is_asked() {
    let import = one(
        "protocol TCP",
        "SMTP_CHECK {\nconnect_port 26\nhost {\nconnect_ip 10.0.0.12\n}\nhost {\nconnect_ip 10.0.0.13\nconnect_port 27\n}\n}",
    );
    let health = &import.services[0].health;
    let server = import.services[0].servers[0].address;
    let asked: Vec<_> = health
        .checks_of(server)
        .iter()
        .map(|c| c.target(server).to_string())
        .collect();
    assert_eq!(asked, ["10.0.0.12:26", "10.0.0.13:27"]);
}

#[test]
fn where_a_pattern_may_begin() {
    let of = |words: &str| {
        let import = one(
            "protocol TCP",
            &format!("HTTP_GET {{\nurl {{\npath /\nregex \"o[kK]\"\n{words}\n}}\n}}"),
        );
        assert_eq!(import.coverage_percent(), 100, "{words}");
        let server = import.services[0].servers[0].address;
        let check = &import.services[0].health.checks_of(server)[0];
        let health::Kind::Http(page) = &check.kind else {
            panic!("{check:?}");
        };
        let pattern = page.body.clone().expect("a pattern");
        ["ok--", "-ok-", "--ok", "\u{e9}ok"].map(|text| pattern.is_in(text.as_bytes()))
    };
    assert_eq!(of(""), [true, true, true, true]);
    assert_eq!(of("regex_min_offset 1"), [false, true, true, true]);
    assert_eq!(of("regex_max_offset 1"), [true, true, false, false]);
    assert_eq!(
        of("regex_min_offset 1\nregex_max_offset 1"),
        [false, true, false, false]
    );
    assert_eq!(
        of("regex_min_offset 0\nregex_max_offset 0"),
        [true, true, true, true]
    );
}

#[test]
fn a_directory_without_files_is_no_mistake() {
    let of = |word: &str| {
        let text = format!("{word} /nonexistent-directory/*.conf\n");
        read(&text, "k.conf", "n", &mut keepalived::Files).is_wrong()
    };
    assert!(!of("include") && !of("includer"));
    assert!(of("includea") && of("includew") && of("includem"));
    assert!(
        read(
            "include /nonexistent.conf\n",
            "k.conf",
            "n",
            &mut keepalived::Files
        )
        .is_wrong()
    );
}

#[test]
fn a_sequence_away_from_its_end_is_none() {
    let of = |head: &str| {
        import(&format!(
            "virtual_server_group G {{\n~SEQ({head}) 10.0.0.$N 80\n}}\n"
        ))
        .is_wrong()
    };
    assert!(!of("N, 1, 3") && !of("N, 3, -1, 1") && !of("N, 3, 1") && !of("N, 2"));
    let (least, most) = (i64::MIN, i64::MAX);
    assert!(of(&format!("N, {most}, 1, {least}")));
    assert!(of("N, 10, 2, -4") && of("N, 1, -1, 3") && of("N, 1, 0, 3"));
}

#[test]
fn a_quorum_beyond_all_servers_is_lowered_as_keepalived_lowers_it() {
    let of = |words: &str| {
        let server =
            |n: u8| format!("real_server 10.0.0.{n} 80 {{\nweight 2\nTCP_CHECK {{\n}}\n}}\n");
        let servers = server(11) + &server(12);
        let import = import(&format!(
            "virtual_server 192.0.2.10 80 {{\nprotocol TCP\n{words}\n{servers}}}\n"
        ));
        let health = &import.services[0].health;
        let mapped = lines(&import, Class::Mapped).len();
        (
            health.quorum,
            health.hysteresis,
            mapped,
            import.coverage_percent(),
        )
    };
    assert_eq!(of("quorum 4\nhysteresis 3"), (4, 3, 0, 100));
    assert_eq!(of("quorum 5\nhysteresis 9"), (4, 3, 1, 100));
    assert_eq!(of("hysteresis 9\nquorum 5"), (4, 3, 1, 100));
    assert_eq!(of("hysteresis 1"), (1, 0, 0, 100));
}

#[test]
fn programs_are_told_once_of_a_group() {
    let import = import(
        "virtual_server_group G {\n 192.0.2.10-11 80\n fwmark 7\n}\nvirtual_server group G {\nquorum_up /bin/up\nquorum_down /bin/down\n\
         real_server 10.0.0.11 80 {\nnotify_up /bin/back\nnotify_down /bin/gone\nTCP_CHECK {\n}\n}\n}\n",
    );
    let told: Vec<usize> = import
        .services
        .iter()
        .map(|service| {
            let health = &service.health;
            let own = health
                .servers
                .values()
                .flat_map(|own| [&own.notify_up, &own.notify_down]);
            let all = own.chain([&health.quorum_up, &health.quorum_down]);
            all.filter(|program| !program.is_empty()).count()
        })
        .collect();
    assert_eq!(told, [4, 0, 0]);
    let mapped = lines(&import, Class::Mapped);
    assert!(
        mapped
            .iter()
            .any(|line| line.contains("programs are told of the first")),
        "{mapped:?}"
    );
}

#[test]
fn tunnels_single_packets_and_synchronisation() {
    let text = "global_defs {\nlvs_sync_daemon eth1 inst VI_1 id 7 maxlen 1000 port 8849 ttl 2 group 224.0.0.82\n}\n\
                virtual_server 192.0.2.10 53 {\nprotocol UDP\nops\nlb_algo lblc\nlb_kind TUN type gue port 6080 csum\n\
                real_server 10.0.0.11 53 {\n}\nreal_server 10.0.0.12 53 {\nlvs_method TUN type gre\n}\n\
                real_server 10.0.0.13 53 {\nlvs_method TUN type vxlan\n}\n}\n";
    let import = import(text);
    let sync = import.sync.as_ref().expect("synchronisation");
    assert_eq!(
        (
            sync.interface.as_str(),
            sync.syncid,
            sync.sync_maxlen,
            sync.mcast_port,
            sync.mcast_ttl
        ),
        ("eth1", 7, Some(1000), 8849, 2)
    );
    assert_eq!(sync.mcast_group.to_string(), "224.0.0.82");
    let service = &import.services[0];
    assert!(service.one_packet);
    assert_eq!(service.scheduler, Scheduler::Lblc);
    let tunnels: Vec<String> = service
        .servers
        .iter()
        .map(|s| s.tunnel.to_string())
        .collect();
    assert_eq!(tunnels, ["gue:6080:csum", "gre", "gue:6080:csum"]);
    let wrong = lines(&import, Class::Wrong);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("vxlan"), "{wrong:?}");
    for wrong in ["eth1 id x", "eth1 one two", "eth1 id"] {
        let import = self::import(&format!("global_defs {{\nlvs_sync_daemon {wrong}\n}}\n"));
        assert!(import.sync.is_none() && import.is_wrong(), "{wrong}");
    }
}

#[test]
fn synchronisation_where_old_files_have_it() {
    const INSTANCE: &str =
        "interface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n";
    for word in ["lvs_sync_daemon_interface", "lvs_sync_daemon_inteface"] {
        let instance =
            |name: &str, of: &str| format!("vrrp_instance {name} {{\n{INSTANCE}{word} {of}\n}}\n");
        let interface = |text: &str| import(text).sync.map(|sync| sync.interface);
        assert_eq!(interface(&instance("a", "eth1")).as_deref(), Some("eth1"));
        let global = "global_defs {\nlvs_sync_daemon eth2\n}\n";
        assert_eq!(
            interface(&format!("{global}{}", instance("a", "eth1"))).as_deref(),
            Some("eth2")
        );
        for wrong in [
            instance("a", ""),
            instance("a", "eth1") + &instance("b", "eth2"),
        ] {
            assert!(import(&wrong).is_wrong(), "{wrong}");
        }
    }
}

#[test]
fn mail_to_a_name_alone_is_for_the_mail_servers_host() {
    let text = "global_defs {\nnotification_email {\nacassen\nroot@example.org\n}\nnotification_email_from lvs\nsmtp_server 192.0.2.25\nsmtp_alert\n}\n";
    let import = import(text);
    let mail = import.mail.as_ref().expect("mail");
    assert_eq!(mail.to, ["acassen@localhost", "root@example.org"]);
    assert_eq!(mail.from, "lvs@localhost");
    assert_eq!(
        lines(&import, Class::Mapped).len(),
        2,
        "{:?}",
        lines(&import, Class::Mapped)
    );
    let text = "global_defs {\nnotification_email {\na@b@c\n}\n}\n";
    assert_eq!(lines(&self::import(text), Class::Unsupported).len(), 1);
}

#[test]
fn mail_is_sent_where_somebody_asks_for_it() {
    const GLOBAL: &str = "notification_email {\n a@example.org\n b@example.org\n }\n notification_email_from lvs@example.org\n \
                          smtp_server 192.0.2.25 587\n smtp_connect_timeout 7\n smtp_helo_name lb1\n";
    let server = |alert: &str| {
        format!(
            "virtual_server 192.0.2.10 80 {{\n {alert}\n real_server 10.1.0.11 80 {{\n {alert}\n }}\n}}\n"
        )
    };
    let of = |global: &str, rest: &str| {
        let import = import(&format!("global_defs {{\n {GLOBAL} {global}\n}}\n{rest}"));
        assert_eq!(lines(&import, Class::Wrong), Vec::<String>::new());
        import.mail
    };
    let about = |global: &str, rest: &str| {
        let mail = of(global, rest)?;
        Some(
            mail.events
                .iter()
                .map(|about| about.word())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    assert_eq!(about("", &server("")), None, "nobody asks");
    assert_eq!(
        about("", &server("smtp_alert")).as_deref(),
        Some("services")
    );
    assert_eq!(about("", &server("smtp_alert off")), None);
    assert_eq!(about("smtp_alert on", "").as_deref(), Some("services vrrp"));
    assert_eq!(about("smtp_alert_vrrp on", "").as_deref(), Some("vrrp"));
    assert_eq!(
        about("smtp_alert\n no_checker_emails", "").as_deref(),
        Some("vrrp")
    );
    let mail = of("smtp_alert", "").expect("a mail");
    assert_eq!(mail.server(), "192.0.2.25:587");
    assert_eq!(mail.to, ["a@example.org", "b@example.org"]);
    assert_eq!(
        (mail.from.as_str(), mail.connect_timeout),
        ("lvs@example.org", s(7))
    );
    assert_eq!(mail.helo_name.as_deref(), Some("lb1"));
}

#[test]
fn sessions_that_checkers_name_are_checks() {
    const TEXT: &str = "bfd_instance unused {
 neighbor_ip 10.1.0.9
}
bfd_instance rs1 {
 neighbor_ip 10.1.0.11
 source_ip 10.1.0.1
 min_rx 300
 min_tx 3.312
 idle_tx 2000
 multiplier 4
 passive
 ttl 64
 max_hops 2
 weight 5
}
virtual_server 192.0.2.10 80 {
 real_server 10.1.0.11 80 {
  BFD_CHECK {
   name rs1
  }
 }
 real_server 10.1.0.12 80 {
  BFD_CHECK {
   name rs2
   retry 3
  }
 }
 protocol TCP
}
";
    let import = import(TEXT);
    assert_eq!(import.bfds, [], "no virtual router tracks one");
    let service = &import.services[0];
    let first = &service.health.checks_of(service.servers[0].address)[0];
    let Kind::Bfd(bfd) = first.kind else {
        panic!("{first:?}");
    };
    assert_eq!((bfd.multihop, bfd.max_hops), (false, 2));
    let ms = Duration::from_millis;
    let settings = bfd.settings;
    assert_eq!((settings.min_rx, settings.min_tx), (ms(300), ms(10)));
    assert_eq!((settings.multiplier, settings.passive), (4, true));
    assert_eq!(
        (first.address, first.bind.address),
        (Some(ip("10.1.0.11")), Some(ip("10.1.0.1")))
    );
    assert!(
        service
            .health
            .checks_of(service.servers[1].address)
            .is_empty()
    );
    assert_eq!(
        lines(&import, Class::Wrong),
        [
            "k.conf:23:3: wrong: BFD_CHECK: it has no `name`, and checks nothing",
            "k.conf:24:4: wrong: name: there is no bfd_instance \"rs2\"",
            "k.conf:25:4: wrong: retry: BFD_CHECK has no such word",
        ]
    );
    assert_eq!(
        lines(&import, Class::Unsupported),
        [
            "k.conf:1:1: unsupported: bfd_instance: no BFD_CHECK and no track_bfd names it",
            "k.conf:2:2: unsupported: neighbor_ip",
        ]
    );
    assert_eq!(
        lines(&import, Class::Mapped),
        [
            "k.conf:8:2: mapped: min_tx: 10 ms",
            "k.conf:9:2: mapped: idle_tx: a packet a second goes out while it is not up",
            "k.conf:12:2: mapped: ttl: packets leave with 255",
        ]
    );
}

#[test]
fn a_persistence_engine_is_taken_over() {
    let of = |more: &str| {
        import(&format!(
            "virtual_server 192.0.2.10 5060 {{\n  protocol UDP\n  {more}\n  real_server 10.0.0.11 5060 {{\n  }}\n}}\n"
        ))
    };
    let taken = of("persistence_timeout 60\n  persistence_engine sip");
    let persistence = taken.services[0].persistence.unwrap();
    assert_eq!(persistence.timeout_s, 60);
    let sip = Some(types::PersistenceEngine::Sip);
    assert_eq!(taken.services[0].persistence_engine, sip);
    assert_eq!(lines(&taken, Class::Wrong), Vec::<String>::new());
    let alone = of("persistence_engine sip");
    assert_eq!(alone.services[0].persistence, None);
    assert_eq!(alone.services[0].persistence_engine, sip);
    assert_eq!(lines(&alone, Class::Wrong), Vec::<String>::new());
    let unknown = of("persistence_timeout 60\n  persistence_engine nosuch");
    let wrong = lines(&unknown, Class::Wrong).join("\n");
    assert!(
        wrong.contains("unknown persistence engine `nosuch`"),
        "{wrong}"
    );
}

/// What keepalived 2.2.7 made of these was observed: `docs/keepalived.md`.
#[test]
fn a_file_adds_to_the_weight_and_checks_come_from_where_they_are_to() {
    let text = r#"
global_defs {
    rs_init_notifies
}
track_file plain {
    file /run/plain
}
track_file thrice {
    file /run/thrice
    weight 3 reverse
}
virtual_server 192.0.2.10 80 {
    protocol TCP
    sorry_server 10.0.0.9 80
    sorry_server_inhibit
    real_server 10.0.0.1 80 {
        FILE_CHECK {
            track_file plain
        }
    }
    real_server 10.0.0.2 80 {
        FILE_CHECK {
            track_file thrice
        }
    }
    real_server 10.0.0.3 80 {
        FILE_CHECK {
            track_file thrice
            weight 0
        }
        TCP_CHECK {
            bindto 10.0.0.254
            bind_if eth1
            bind_port 4000
            fwmark 7
        }
    }
}
"#;
    let import = read(text, "k.conf", "", &mut NoIncludes);
    assert!(
        import.notes.iter().all(|n| n.class <= Class::Harmless),
        "{:#?}",
        import.notes
    );
    let policy = &import.services[0].health;
    assert!(policy.init_notifies);
    assert!(policy.sorry_server.is_some_and(|sorry| sorry.inhibit));
    let files: Vec<(String, i32, bool)> = policy
        .servers
        .values()
        .filter_map(|own| match &own.checks.as_ref()?.first()?.kind {
            Kind::File(file) => Some((
                file.path.display().to_string(),
                file.weight,
                file.missing_is_zero,
            )),
            _ => None,
        })
        .collect();
    let wanted = [("/run/plain", 1), ("/run/thrice", -3), ("/run/thrice", 0)];
    let wanted = wanted.map(|(path, weight)| (path.to_owned(), weight, true));
    assert_eq!(files, wanted);
    let third = policy.checks_of("10.0.0.3:80".parse().expect("an address"));
    let bind = &third[1].bind;
    assert_eq!(
        (
            bind.address,
            bind.port,
            bind.interface.as_deref(),
            bind.mark
        ),
        ("10.0.0.254".parse().ok(), Some(4000), Some("eth1"), Some(7))
    );
    // There the kernel tells of a change, and once is enough.
    assert_eq!(
        (third[0].timing.retry, third[0].timing.delay_loop),
        (0, Duration::from_millis(250))
    );
    // The interface is the port that is on it.
    let machine = "[[port]]\nname = \"lan\"\ndevice = \"af_packet:eth1\"\naddresses = [\"10.0.0.254/24\", \"192.0.2.1/24\"]\n";
    let mut config = config::Config::parse(machine, "machine.toml").expect("a machine");
    import.apply(&mut config);
    let text = config.to_toml();
    assert!(text.contains("bind_interface = \"lan\""), "{text}");
    let again = config::Config::parse(&text, "again.toml").expect("what was written");
    assert_eq!(again.services, config.services);
}

/// Each says what it is that will not do, and what to write instead.
#[test]
fn what_is_wrong_is_said_with_what_to_write() {
    let text = "virtual_server 192.0.2.300 80 {\n}\nvirtual_server 192.0.2.1 99999 {\n}\nvirtual_server {\n}\n\
                virtual_server 192.0.2.1 80 {\nprotocol TPC\ndelay_loop 0\nreal_server 10.0.0.x 80 {\n}\nreal_server 10.0.0.1 80 {\n\
                HTTP_GET {\nconnect_timeout 0\nurl {\npath health\nstatus_code 99\ndigest 12345\n}\n}\nMISC_CHECK {\nmisc_path check\n}\n}\n}\n";
    let import = keepalived::read(text, "k", "n", &mut keepalived::NoIncludes);
    let wrong = |note: &&keepalived::Note| note.class == keepalived::Class::Wrong;
    let said: Vec<String> = import
        .notes
        .iter()
        .filter(wrong)
        .map(|n| n.to_string())
        .collect();
    let wanted = [
        "k:1:1: wrong: virtual_server: \"192.0.2.300\" is no address: write `virtual_server ADDRESS [PORT]`, `fwmark NUMBER` or `group NAME`",
        "k:3:1: wrong: virtual_server: \"99999\" is no port from 0 to 65535: write `virtual_server ADDRESS [PORT]`, `fwmark NUMBER` or `group NAME`",
        "k:5:1: wrong: virtual_server: nothing stands behind it: write `virtual_server ADDRESS [PORT]`, `fwmark NUMBER` or `group NAME`",
        "k:8:1: wrong: protocol: \"TPC\" is no protocol here: write TCP, UDP or SCTP",
        "k:9:1: wrong: delay_loop: 0 is no time here, there neither, and the default counts: write seconds above 0, as 0.5",
        "k:10:1: wrong: real_server: \"10.0.0.x\" is no address: write `real_server ADDRESS [PORT]`",
        "k:14:1: wrong: connect_timeout: 0 is no time here, there neither, and the default counts: write seconds above 0, as 0.5",
        "k:16:1: wrong: path: \"health\" will not do: write the page's path, from `/` on",
        "k:17:1: wrong: status_code: \"99\" will not do: write statuses from 100 to 599, or ranges of them: 200-299",
        "k:18:1: wrong: digest: \"12345\" will not do: write 32 hexadecimal digits: the MD5 of the page's body, as `genhash` prints it",
        "k:22:1: wrong: misc_path: \"check\" will not do: write the whole path of a program, from `/` on, with its arguments in the same quotes",
    ];
    for want in wanted {
        assert!(
            said.iter().any(|one| one == want),
            "{want}\nnot in\n{}",
            said.join("\n")
        );
    }
    assert_eq!(said.len(), wanted.len(), "{}", said.join("\n"));
}

/// keepalived takes `misc_timeout 0` for `delay_loop`.
#[test]
fn a_misc_timeout_of_0_is_the_default() {
    let text = "virtual_server 192.0.2.1 80 {\ndelay_loop 7\nprotocol TCP\nreal_server 10.0.0.1 80 {\nMISC_CHECK {\nmisc_path /bin/true\nmisc_timeout 0\n}\n}\n}\n";
    let import = keepalived::read(text, "k", "n", &mut keepalived::NoIncludes);
    assert!(!import.is_wrong());
    let service = &import.services[0];
    let checks = service.health.checks_of(service.servers[0].address);
    assert_eq!(checks[0].timing.timeout.as_secs(), 7);
}

#[test]
fn processes_are_counted_by_a_script() {
    let text = "vrrp_track_process proxy {\n  process /usr/sbin/haproxy\n  weight 20\n  quorum 2\n  delay 1.5\n}\n\
                vrrp_track_process none {\n  process a-very-long-process-name\n  quorum_max 0\n  full_command\n}\n\
                vrrp_track_process bad {\n  quorum 1\n}\n\
                vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.10\n }\n track_process {\n proxy\n \
                none weight 0 reverse\n other\n }\n}\n";
    let import = import(text);
    let [proxy, none] = import.scripts.as_slice() else {
        panic!("{:?}", import.scripts);
    };
    assert_eq!(
        (proxy.name.as_str(), proxy.weight.by),
        ("process-proxy", 20)
    );
    assert_eq!((proxy.rise, proxy.fall), (3, 3));
    assert_eq!(proxy.script[3..], ["haproxy", "2", "1000000"]);
    assert_eq!(none.script[3..], ["a-very-long-pro", "0", "0"]);
    let tracked: Vec<String> = import.vrrp[0]
        .track_script
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(tracked, ["process-proxy", "process-none weight 0 reverse"]);
    assert_eq!(
        lines(&import, Class::Wrong),
        ["k.conf:12:1: wrong: vrrp_track_process: it has no `process` that could be looked for"]
    );
    let unsupported = lines(&import, Class::Unsupported);
    assert_eq!(
        unsupported.len(),
        2,
        "full_command and `other`: {unsupported:#?}"
    );

    // And the script does that: this very test is such a process, and nobody is called so.
    let own = std::fs::read_to_string("/proc/self/comm").expect("Linux");
    let count = |name: &str, least: &str, most: &str| {
        let mut line = proxy.script.clone();
        line.truncate(3);
        line.extend([name, least, most].map(str::to_owned));
        let status = std::process::Command::new(&line[0])
            .args(&line[1..])
            .status();
        status.expect("a shell").success()
    };
    let own = own.trim_end();
    assert!(count(own, "1", "1000000"));
    assert!(!count(own, "0", "0"));
    assert!(!count("n o b o d y", "1", "1000000"));
    assert!(count("n o b o d y", "0", "0"));
}

#[test]
fn strict_mode_is_what_the_standards_have() {
    let text = "global_defs {\nvrrp_strict\n}\n\
         vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\npreempt_delay 9\nauthentication {\nauth_type PASS\nauth_pass secret\n}\naccept\n\
         virtual_ipaddress {\n192.0.2.1\n}\n}\n\
         vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\nversion 3\naccept\nvirtual_ipaddress {\n192.0.2.2\n}\n}\n\
         vrrp_instance C {\ninterface eth0\nvirtual_router_id 3\npriority 255\nvirtual_ipaddress {\n192.0.2.3\n}\n}\n\
         vrrp_instance D {\ninterface eth0\nvirtual_router_id 4\nstrict_mode off\npreempt_delay 9\nvirtual_ipaddress {\n192.0.2.4\n}\n}\n\
         vrrp_instance E {\ninterface eth0\nvirtual_router_id 5\nstrict_mode\nvirtual_ipaddress {\n192.0.2.5\n}\n}\n\
         vrrp_instance F {\ninterface eth0\nvirtual_router_id 6\nstrict_mode perhaps\nvirtual_ipaddress {\n192.0.2.6\n}\n}\n";
    let import = import(text);
    let made: Vec<_> = import
        .vrrp
        .iter()
        .map(|v| {
            (
                v.name.as_str(),
                v.auth_pass.is_some(),
                v.preempt_delay,
                v.accept,
            )
        })
        .collect();
    assert_eq!(
        made,
        [
            ("A", false, 0, false),
            ("B", false, 0, true),
            ("C", false, 0, true),
            ("D", false, 9, true),
            ("E", false, 0, false),
            ("F", false, 0, false),
        ]
    );
    assert_eq!(lines(&import, Class::Unsupported), Vec::<String>::new());
    let wrong = lines(&import, Class::Wrong);
    assert!(
        wrong.len() == 1 && wrong[0].contains("neither on nor off"),
        "{wrong:?}"
    );
}

#[test]
fn words_that_are_so_in_any_case_are_not_called_unsupported() {
    let instance = |words: &str| {
        let text = format!(
            "global_defs {{\nvrrp_down_timer_adverts 3\nvrrp_check_unicast_src\n}}\n\
             vrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\n{words}virtual_ipaddress {{\n192.0.2.1\n}}\n}}\n"
        );
        import(&text)
    };
    let met = instance(
        "unicast_ttl 255\ndown_timer_adverts 3\ngarp_master_refresh_repeat 1\ncheck_unicast_src\ngarp_lower_prio_repeat 2\n\
         garp_lower_prio_delay 5\nhigher_prio_send_advert on\nunicast_fault_no_peer\nnotify_deleted \"/bin/gone\"\n\
         notify_priority_changes off\n",
    );
    for class in [Class::Unsupported, Class::Wrong] {
        assert_eq!(lines(&met, class), Vec::<String>::new());
    }
    let other = instance(
        "unicast_ttl 64\ndown_timer_adverts 5\ngarp_master_refresh_repeat 3\nnotify_priority_changes on\nlower_prio_no_advert\n",
    );
    assert_eq!(
        lines(&other, Class::Unsupported).len(),
        5,
        "{:#?}",
        other.notes
    );
}

#[test]
fn sessions_that_virtual_routers_track_are_kept_for_them() {
    let import = import(
        "bfd_instance edge {\nneighbor_ip 192.0.2.1\nsource_ip 192.0.2.2\nmin_tx 50\nmin_rx 100\nmultiplier 4\nvrrp\nweight -30\n}\n\
         bfd_instance nobody {\nneighbor_ip 192.0.2.9\n}\n\
         vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\ntrack_bfd {\nedge\nedge weight 20 reverse\nother\n}\n\
         virtual_ipaddress {\n192.0.2.10\n}\n}\n",
    );
    let [edge] = &import.bfds[..] else {
        panic!("{:?}", import.bfds);
    };
    assert_eq!((edge.name.as_str(), edge.weight.by), ("edge", -30));
    assert_eq!(
        (edge.address, edge.bind),
        (ip("192.0.2.1"), Some(ip("192.0.2.2")))
    );
    let ms = Duration::from_millis;
    let settings = edge.session.settings;
    assert_eq!(
        (settings.min_tx, settings.min_rx, settings.multiplier),
        (ms(50), ms(100), 4)
    );
    let tracks = import.vrrp[0].track_bfd.iter().map(ToString::to_string);
    assert_eq!(
        tracks.collect::<Vec<_>>(),
        ["edge", "edge weight 20 reverse"]
    );
    assert_eq!(
        lines(&import, Class::Unsupported),
        [
            "k.conf:10:1: unsupported: bfd_instance: no BFD_CHECK and no track_bfd names it",
            "k.conf:11:1: unsupported: neighbor_ip",
            "k.conf:19:1: unsupported: other: nothing of that name is defined",
        ]
    );
}
