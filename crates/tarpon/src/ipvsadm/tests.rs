//! Against what ipvsadm 1.31 itself said and printed.

use super::{
    grammar::{Dialect, Target, parse},
    listing::{self, Columns, Style},
    saved,
};
use api::{Persistence, Server, Service, Traffic};
use std::net::SocketAddr;
use types::{ForwardingMethod, Protocol, Scheduler, SchedulerFlag, ServiceKey, Weight};

#[test]
fn every_observed_line_is_taken_or_refused_in_the_same_words() {
    let (mut checked, mut differences) = (0, Vec::new());
    for row in include_str!("observed.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        let [words, status, message] = row.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            panic!("a row without three columns: {row}");
        };
        let split: Vec<&str> = words.split_whitespace().collect();
        let (said_status, said) = match parse(&split, Dialect::CommandLine) {
            Ok(_) => ("0".to_owned(), String::new()),
            Err(refusal) => (refusal.status.to_string(), refusal.message),
        };
        if (said_status.as_str(), said.trim_end()) != (status, message) {
            differences.push(format!(
                "ipvsadm {words}\n  {status} {message}\n  {said_status} {said}"
            ));
        }
        checked += 1;
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(checked > 800, "{checked} rows only");
}

#[test]
fn slips_the_original_takes_for_addresses_are_refused() {
    for (words, message) in [
        (
            "-A -u 10.0.0:55 -s rr",
            "illegal virtual server address[:port] specified",
        ),
        (
            "-A -t 10.0.0.100:99 -M 33 -p 3",
            "illegal virtual server persistent mask specified",
        ),
    ] {
        let split: Vec<&str> = words.split_whitespace().collect();
        let refusal = parse(&split, Dialect::CommandLine).unwrap_err();
        assert_eq!(
            (refusal.message.as_str(), refusal.status),
            (message, 2),
            "{words}"
        );
    }
}

#[test]
fn a_saved_file_of_an_older_ipvsadm_may_leave_dashes_out() {
    let words = [
        "-A",
        "-u",
        "10.0.0.100:5060",
        "-s",
        "wlc",
        "-p",
        "60",
        "pe",
        "sip",
        "ops",
    ];
    let line = parse(&words, Dialect::Saved).unwrap();
    assert_eq!(line.engine.as_deref(), Some("sip"));
    assert!(parse(&words, Dialect::CommandLine).is_err());
}

#[test]
fn values_stand_where_they_may() {
    for words in [
        "-A -t 10.0.0.100:92 -p5 -srr",
        "--add-service --tcp-service=10.0.0.100:92 --scheduler rr --persistent=5",
        "-A -t10.0.0.100:92 -s rr -p 5",
    ] {
        let split: Vec<&str> = words.split_whitespace().collect();
        let line = parse(&split, Dialect::CommandLine).unwrap();
        assert_eq!(
            (line.persistent, line.scheduler.as_str()),
            (Some(5), "rr"),
            "{words}"
        );
        assert!(
            matches!(line.target, Some(Target::Address { address, .. }) if address.port() == 92)
        );
    }
}

fn service(protocol: Protocol, address: &str, scheduler: Scheduler) -> Service {
    Service {
        name: None,
        key: ServiceKey::Address {
            protocol,
            address: address.parse().unwrap(),
        },
        scheduler,
        scheduler_flags: Vec::new(),
        persistence_engine: None,
        one_packet: false,
        flood: None,
        persistence: None,
        traffic: Traffic::default(),
        rate: Traffic::default(),
        servers: Vec::new(),
    }
}

fn server(address: &str, method: ForwardingMethod, weight: u32) -> Server {
    Server {
        address: address.parse().unwrap(),
        method,
        weight: Weight(weight),
        tunnel: types::Tunnel::Ipip,
        upper_threshold: 0,
        lower_threshold: 0,
        overloaded: false,
        draining: false,
        health: None,
        active: 0,
        inactive: 0,
        templates: 0,
        traffic: Traffic::default(),
        rate: Traffic::default(),
    }
}

const TUNNELS: [&str; 5] = [
    "gre:csum",
    "gue:6080",
    "gue:6080:csum",
    "gue:60080:remcsum",
    "gre",
];

/// Added in the order the recorded commands added them.
fn table() -> Vec<Service> {
    let persistence = |timeout_s, netmask: &str| {
        Some(Persistence {
            timeout_s,
            netmask: netmask.to_owned(),
        })
    };
    let mut web = service(Protocol::Tcp, "10.0.0.100:80", Scheduler::Rr);
    web.servers = vec![
        server("10.1.0.11:8080", ForwardingMethod::Masq, 1),
        server("10.1.0.12:80", ForwardingMethod::Masq, 3),
        server("10.1.0.13:80", ForwardingMethod::Route, 0),
        server("10.1.0.14:80", ForwardingMethod::Tunnel, 1),
    ];
    for (n, tunnel) in (20..).zip(TUNNELS) {
        let address = format!("10.1.0.{n}:80");
        let mut server = server(&address, ForwardingMethod::Tunnel, 1);
        server.tunnel = tunnel.parse().unwrap();
        web.servers.push(server);
    }
    if let Some(second) = web.servers.get_mut(1) {
        (second.upper_threshold, second.lower_threshold) = (100, 50);
    }
    let mut dns = service(Protocol::Udp, "10.0.0.100:53", Scheduler::Wlc);
    dns.scheduler_flags = vec![SchedulerFlag::Flag1, SchedulerFlag::Flag3];
    dns.persistence_engine = Some(types::PersistenceEngine::Sip);
    let mut calls = service(Protocol::Udp, "10.0.0.100:5060", Scheduler::Sh);
    calls.scheduler_flags = vec![SchedulerFlag::ShPort];
    calls.one_packet = true;
    calls.persistence = persistence(60, "255.255.0.0");
    calls.persistence_engine = Some(types::PersistenceEngine::Sip);
    let mut hashed = service(Protocol::Tcp, "10.0.0.100:86", Scheduler::Sh);
    hashed.scheduler_flags = vec![SchedulerFlag::ShFallback, SchedulerFlag::ShPort];
    let mut sticky = service(Protocol::Tcp, "10.0.0.100:443", Scheduler::Wrr);
    sticky.persistence = persistence(360, "255.255.255.255");
    let mut masked = service(Protocol::Tcp, "10.0.0.101:443", Scheduler::Wrr);
    masked.persistence = persistence(60, "255.255.255.0");
    let mut six = service(Protocol::Tcp, "[fd00::100]:80", Scheduler::Lc);
    six.persistence = persistence(60, "64");
    six.servers = vec![server("[fd01::11]:8080", ForwardingMethod::Masq, 1)];
    vec![web, dns, hashed, sticky, masked, six, calls]
}

fn shown(columns: Columns, sorted: bool) -> String {
    let style = Style {
        columns,
        numeric: true,
        exact: false,
        sorted,
    };
    listing::services(&table(), style)
}

#[test]
fn the_table_is_printed_as_ipvsadm_prints_it() {
    assert_eq!(
        shown(Columns::Default, true),
        "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:80 rr
  -> 10.1.0.11:8080               Masq    1      0          0         
  -> 10.1.0.12:80                 Masq    3      0          0         
  -> 10.1.0.13:80                 Route   0      0          0         
  -> 10.1.0.14:80                 Tunnel  1      0          0         
  -> 10.1.0.20:80                 Tunnel  1      0          0         
  -> 10.1.0.21:80                 Tunnel  1      0          0         
  -> 10.1.0.22:80                 Tunnel  1      0          0         
  -> 10.1.0.23:80                 Tunnel  1      0          0         
  -> 10.1.0.24:80                 Tunnel  1      0          0         
TCP  10.0.0.100:86 sh (sh-fallback,sh-port)
TCP  10.0.0.100:443 wrr persistent 360
TCP  10.0.0.101:443 wrr persistent 60 mask 255.255.255.0
UDP  10.0.0.100:53 wlc (flag-1,flag-3)
UDP  10.0.0.100:5060 sh (sh-port) persistent 60 mask 255.255.0.0 pe sip ops
TCP  [fd00::100]:80 lc persistent 60 mask 64
  -> [fd01::11]:8080              Masq    1      0          0         
"
    );
    assert!(shown(Columns::Thresholds, true).contains(
        "
TCP  10.0.0.100:80 rr
  -> 10.1.0.11:8080               0          0          0          0         
  -> 10.1.0.12:80                 100        50         0          0         
"
    ));
    assert!(shown(Columns::PersistentConnections, true).contains(
        "
TCP  10.0.0.100:80 rr
  -> 10.1.0.11:8080               1         0           0          0         
  -> 10.1.0.12:80                 3         0           0          0         
"
    ));
    assert!(shown(Columns::TunnelInfo, true).contains(
        "
  -> 10.1.0.13:80                 Route   n/a           0      0          0         
  -> 10.1.0.14:80                 Tunnel  ipip          1      0          0         
  -> 10.1.0.20:80                 Tunnel  gre:+c        1      0          0         
  -> 10.1.0.21:80                 Tunnel  gue:6080:-c   1      0          0         
  -> 10.1.0.22:80                 Tunnel  gue:6080:+c   1      0          0         
  -> 10.1.0.23:80                 Tunnel  gue:60080:r+c 1      0          0         
  -> 10.1.0.24:80                 Tunnel  gre:-c        1      0          0         
"
    ));
    assert!(shown(Columns::Default, false).contains(
        "
  -> 10.1.0.14:80                 Tunnel  1      0          0         
  -> 10.1.0.13:80                 Route   0      0          0         
  -> 10.1.0.12:80                 Masq    3      0          0         
"
    ));
}

#[test]
fn figures_are_shortened_as_ipvsadm_does() {
    let mut dns = service(Protocol::Udp, "10.0.0.100:53", Scheduler::Rr);
    dns.servers = vec![server("10.1.0.11:53", ForwardingMethod::Route, 1)];
    let mut line = |in_packets, in_bytes, exact| {
        dns.servers[0].traffic = Traffic {
            connections: 2,
            in_packets,
            out_packets: 1,
            in_bytes,
            out_bytes: 576,
        };
        let style = Style {
            columns: Columns::Stats,
            numeric: true,
            exact,
            sorted: true,
        };
        listing::services(std::slice::from_ref(&dns), style)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    for (in_packets, in_bytes, exact, expected) in [
        (
            1600,
            96_044_800,
            false,
            "  -> 10.1.0.11:53                        2     1600        1 96044800      576",
        ),
        (
            1670,
            100_246_760,
            false,
            "  -> 10.1.0.11:53                        2     1670        1  100246K      576",
        ),
        (
            1670,
            100_246_760,
            true,
            "  -> 10.1.0.11:53                        2     1670        1 100246760      576",
        ),
        (
            16_670,
            1_000_666_760,
            false,
            "  -> 10.1.0.11:53                        2    16670        1    1000M      576",
        ),
        (
            17_670,
            1_060_694_760,
            true,
            "  -> 10.1.0.11:53                        2    17670        1 1060694760      576",
        ),
    ] {
        assert_eq!(line(in_packets, in_bytes, exact), expected);
    }
}

/// As in the recording `stats`, step 22.
#[test]
fn rates_are_printed_as_ipvsadm_prints_them() {
    let rate = Traffic {
        in_bytes: 32,
        out_bytes: 35,
        ..Traffic::default()
    };
    let mut web = service(Protocol::Tcp, "10.0.0.100:80", Scheduler::Rr);
    let mut first = server("10.1.0.11:8080", ForwardingMethod::Masq, 1);
    (web.rate, first.rate) = (rate, rate);
    web.servers = vec![first];
    let style = Style {
        columns: Columns::Rate,
        numeric: true,
        exact: false,
        sorted: true,
    };
    assert_eq!(
        listing::services(&[web], style),
        "\
Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
TCP  10.0.0.100:80                       0        0        0       32       35
  -> 10.1.0.11:8080                      0        0        0       32       35
"
    );
}

#[test]
fn connections_are_printed_as_ipvsadm_prints_them() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut connection = api::Connection {
        protocol: Protocol::Udp,
        client: address("10.0.0.100:53200"),
        vip: address("10.0.0.100:53"),
        server: address("10.1.0.11:53"),
        method: ForwardingMethod::Route,
        state: "UDP".to_owned(),
        expires_ms: 276_900,
        template: false,
        persistence: None,
    };
    assert_eq!(
        listing::connection(&connection, true, true),
        "UDP 04:36  UDP         10.0.0.100:53200   10.0.0.100:53      10.1.0.11:53\n"
    );
    connection.protocol = Protocol::Tcp;
    connection.state = "TIME_WAIT".to_owned();
    connection.expires_ms = 119_000;
    connection.client = address("[2001:db8::1]:40000");
    connection.vip = address("[fd00::100]:80");
    connection.server = address("[fd01::11]:8080");
    assert_eq!(
        listing::connection(&connection, true, true),
        "TCP 01:59  TIME_WAIT   [2001:db8::1]:40000 [fd00::100]:80     [fd01::11]:8080\n"
    );
    // As recorded of ipvsadm 1.31.
    let template = api::Connection {
        protocol: Protocol::Udp,
        client: address("172.16.0.1:0"),
        vip: address("10.0.0.100:5060"),
        server: address("10.1.0.11:5060"),
        state: "NONE".to_owned(),
        expires_ms: 59_900,
        template: true,
        persistence: Some(api::EngineData {
            engine: types::PersistenceEngine::Sip,
            data: "bbbb@host".to_owned(),
        }),
        ..connection
    };
    let short = "UDP 00:59  NONE        172.16.0.1:0       10.0.0.100:5060    10.1.0.11:5060";
    assert_eq!(
        listing::connection(&template, true, true),
        format!("{short}   sip                bbbb@host\n")
    );
    assert_eq!(
        listing::connection(&template, false, true),
        format!("{short}\n")
    );
}

#[test]
fn what_is_saved_is_what_ipvsadm_saves_and_thresholds() {
    let text = saved::saved(&table(), true);
    assert_eq!(
        text,
        "\
-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.1.0.11:8080 -m -w 1
-a -t 10.0.0.100:80 -r 10.1.0.12:80 -m -w 3 -x 100 -y 50
-a -t 10.0.0.100:80 -r 10.1.0.13:80 -g -w 0
-a -t 10.0.0.100:80 -r 10.1.0.14:80 -i -w 1 --tun-type ipip
-a -t 10.0.0.100:80 -r 10.1.0.20:80 -i -w 1 --tun-type gre --tun-csum
-a -t 10.0.0.100:80 -r 10.1.0.21:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.0.0.100:80 -r 10.1.0.22:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.100:80 -r 10.1.0.23:80 -i -w 1 --tun-type gue --tun-port 60080 --tun-remcsum
-a -t 10.0.0.100:80 -r 10.1.0.24:80 -i -w 1 --tun-type gre --tun-nocsum
-A -t 10.0.0.100:86 -s sh -b sh-fallback,sh-port
-A -t 10.0.0.100:443 -s wrr -p 360
-A -t 10.0.0.101:443 -s wrr -p 60 -M 255.255.255.0
-A -u 10.0.0.100:53 -s wlc --pe sip -b flag-1,flag-3
-A -u 10.0.0.100:5060 -s sh -p 60 -M 255.255.0.0 --pe sip -o -b sh-port
-A -t [fd00::100]:80 -s lc -p 60 -M 64
-a -t [fd00::100]:80 -r [fd01::11]:8080 -m -w 1
"
    );
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(parse(&words, Dialect::Saved).is_ok(), "{line}");
    }
}

proptest::proptest! {
    #[test]
    fn no_words_make_it_panic(words in proptest::collection::vec("(-{0,2}[a-zA-Z0-9=]{0,14}|[0-9.:\\[\\]]{0,20}|\\PC{0,6})", 0..8)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for dialect in [Dialect::CommandLine, Dialect::Saved] {
            // Looking names up would take the network.
            let named = |word: &&str| word.chars().any(|c| c.is_alphabetic()) && !word.starts_with('-');
            if !words.iter().any(named) {
                let _ = parse(&words, dialect);
            }
        }
    }
}
