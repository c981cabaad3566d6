//! A file is read as written, with the defaults where it says nothing, and written back to the same.

use config::{Config, Cores, HostTap, Netmask, Settings, known_keys};
use types::{ForwardingMethod, Scheduler, Weight};

const WHOLE: &str = r#"
compat = "ipvs"

[director]
name = "lb1"
cores = [2, 3]
connections = 2_000_000
hugepages = "never"

[[port]]
name = "wan"
device = "net_af_packet0,iface=veth1"
mtu = 1400
mac = "02:00:00:00:00:01"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
gateway = "192.0.2.254"
gateway6 = "fe80::1"
host = "tarpon-wan"

[[port]]
name = "lan"
device = "0000:03:00.0"
queues = 2
addresses = ["10.1.0.1/24", "2001:db8:1::1/64"]
host = false

[[vlan]]
name = "lan.10"
port = "lan"
id = 10
addresses = ["10.10.0.1/24"]

[[route]]
to = "10.9.0.0/16"
via = "10.1.0.2"

[[service]]
name = "web"
protocol = "tcp"
address = "192.0.2.10:80"
scheduler = "rr"
persistent = 300
netmask = "255.255.255.0"
method = "masq"

  [[service.server]]
  address = "10.1.0.11:8080"
  weight = 3

  [[service.server]]
  address = "10.1.0.12"
  method = "route"
  upper_threshold = 100

[[service]]
protocol = "udp"
address = "[2001:db8::10]:53"
persistent = true
netmask = 64

  [[service.server]]
  address = "2001:db8:1::53"

[settings]
tcp_timeout = 60
icmp_rate = "unlimited"
expire_nodest_conn = 1
"#;

#[test]
fn a_whole_file_is_read_as_written() {
    let config = Config::parse(WHOLE, "t.toml").unwrap_or_else(|report| panic!("{report}"));
    assert!(config.compat_ipvs);
    assert_eq!(config.director.cores, Cores::Named(vec![2, 3]));
    assert_eq!(config.director.connections, 2_000_000);
    assert_eq!(config.director.connections6, 262_144, "the default");
    assert_eq!(config.ports[0].tap().as_deref(), Some("tarpon-wan"));
    assert_eq!(config.ports[1].host, HostTap::Off);
    assert!(config.ports[1].is_pci());
    assert_eq!(config.vlans[0].id.get(), 10);
    let routes = config.all_routes();
    assert_eq!(routes.len(), 3, "two gateways and a route");
    assert_eq!(routes[0].to.to_string(), "0.0.0.0/0");

    let web = &config.services[0];
    assert_eq!(web.scheduler, Scheduler::Rr);
    let persistence = web.persistence.unwrap();
    assert_eq!(persistence.timeout_s, 300);
    assert_eq!(persistence.netmask.bits(), 0xffff_ff00);
    assert_eq!(web.servers[0].weight, Weight(3));
    assert_eq!(
        web.servers[0].method,
        ForwardingMethod::Masq,
        "the service's"
    );
    assert_eq!(
        web.servers[1].address.to_string(),
        "10.1.0.12:80",
        "the service's port"
    );
    assert_eq!(web.servers[1].method, ForwardingMethod::Route);

    let dns = &config.services[1];
    assert_eq!(dns.scheduler, Scheduler::Wlc, "the default");
    assert_eq!(dns.method, ForwardingMethod::Route, "the default");
    assert_eq!(dns.persistence.unwrap().timeout_s, 300);
    assert_eq!(dns.persistence.unwrap().netmask, Netmask::V6(64));
    assert_eq!(Netmask::V6(64).bits(), u128::MAX << 64);

    assert_eq!(
        config.settings,
        Settings {
            tcp_timeout: 60,
            icmp_rate: None,
            expire_nodest_conn: true,
            ..Settings::ipvs()
        }
    );
}

#[test]
fn what_is_written_back_is_read_the_same() {
    let config = Config::parse(WHOLE, "t.toml").unwrap();
    let text = config.to_toml();
    let again =
        Config::parse(&text, "again.toml").unwrap_or_else(|report| panic!("{report}\n{text}"));
    assert_eq!(config, again);
}

#[test]
fn defaults_follow_the_profile() {
    let port = "[[port]]\nname='a'\ndevice='net_null0'\n";
    let plain = Config::parse(port, "t.toml").unwrap();
    assert_eq!(plain.settings, Settings::default());
    assert!(plain.settings.expire_nodest_conn);
    assert_eq!(plain.ports[0].tap().as_deref(), Some("tp-a"));
    assert_eq!(plain.ports[0].mtu, 1500);
    let ipvs = Config::parse(&format!("compat = 'ipvs'\n{port}"), "t.toml").unwrap();
    assert_eq!(ipvs.settings, Settings::ipvs());
}

/// IPVS tells such servers apart by a port they never see, and lists it.
#[test]
fn in_compat_a_server_of_a_mark_has_a_port_of_its_own_whatever_the_method() {
    let text = "[[port]]\nname='a'\ndevice='net_null0'\naddresses=['10.1.0.1/24']\n[[service]]\nmark=5\nfamily='ipv4'\nmethod='route'\n\
                [[service.server]]\naddress='10.1.0.11:8080'\n";
    let ipvs = Config::parse(&format!("compat = 'ipvs'\n{text}"), "t.toml");
    let ipvs = ipvs.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(ipvs.services[0].servers[0].address.port(), 8080);
    let plain = Config::parse(text, "t.toml").unwrap_err().to_string();
    assert!(plain.contains("the server would never see 8080"), "{plain}");
}

#[test]
fn every_key_is_known_by_its_table() {
    let keys = known_keys();
    for key in [
        ("", "compat"),
        ("director", "cores"),
        ("port", "mtu"),
        ("vlan", "id"),
        ("route", "via"),
        ("service", "netmask"),
        ("server", "weight"),
        ("settings", "icmp_rate"),
    ] {
        assert!(keys.contains(&key), "{key:?} in {keys:?}");
    }
}

#[test]
fn each_interface_may_have_a_default_route_of_its_own() {
    let text = "[[port]]\nname = 'a'\ndevice = 'net_null0'\naddresses = ['192.0.2.1/24']\ngateway = '192.0.2.254'\n\
                [[port]]\nname = 'b'\ndevice = 'net_null1'\naddresses = ['10.1.0.1/24']\ngateway = '10.1.0.254'\n";
    let config = Config::parse(text, "t.toml").unwrap_or_else(|report| panic!("{report}"));
    let interfaces: Vec<_> = config
        .all_routes()
        .into_iter()
        .map(|r| r.interface.unwrap())
        .collect();
    assert_eq!(interfaces, ["a", "b"]);
    let third = format!("{text}[[route]]\nto = '0.0.0.0/0'\nvia = '10.1.0.9'\n");
    let report = Config::parse(&third, "t.toml").unwrap_err();
    assert_eq!(report.problems.len(), 1, "{report}");
    assert!(
        report
            .to_string()
            .contains("already, by 10.1.0.254 on \"b\""),
        "{report}"
    );
}

fn toml_files(directory: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("it is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            toml_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_is_without_mistakes() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dpdk-config");
    let mut files = Vec::new();
    toml_files(&directory, &mut files);
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        Config::parse(&text, &file.display().to_string())
            .unwrap_or_else(|report| panic!("{report}"));
    }
}

/// The example shows every key, and its comments show the defaults.
#[test]
fn the_example_has_every_key_with_its_default() {
    let text = include_str!("../../../dpdk-config/tarpon.toml");
    let documentation = include_str!("../../../docs/configuration.md");
    for (table, key) in known_keys() {
        let written = text
            .lines()
            .map(|line| line.trim_start().trim_start_matches('#'))
            .any(|line| {
                line.starts_with(&format!("{key} = "))
                    || line.starts_with(&format!("[{key}]"))
                    || line.contains(&format!("[[{key}]]"))
                    || line.contains(&format!(".{key}]]"))
            });
        assert!(written, "{table}.{key} is not in dpdk-config/tarpon.toml");
        assert!(
            documentation.contains(&format!("`{key}`")),
            "{table}.{key} is not in docs/configuration.md"
        );
    }
    let default = Config::parse("[[port]]\nname='a'\ndevice='net_null0'\n", "t.toml").unwrap();
    // Those whose comment is an example of something that is absent by default.
    let examples = [
        "compat",
        "cores",
        "mac",
        "persistent",
        "netmask",
        "gateway",
        "gateway6",
        "interface",
        "queues",
    ];
    let all: String = text
        .lines()
        .take_while(|line| !line.starts_with("[[vlan]]"))
        .chain(
            text.lines()
                .skip_while(|line| !line.starts_with("[settings]")),
        )
        .filter(|line| {
            !line.starts_with("addresses")
                && !line.starts_with("gateway")
                && !line.starts_with("# ")
        })
        .map(|line| {
            let bare = line.trim_start_matches('#');
            let key = bare.split(" = ").next().unwrap_or_default();
            if line.starts_with('#') && !examples.contains(&key) {
                format!("{bare}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let config = Config::parse(&all, "t.toml").unwrap_or_else(|report| panic!("{report}\n{all}"));
    assert_eq!(config.settings, default.settings);
    assert_eq!(
        config::Director {
            name: default.director.name.clone(),
            ..config.director.clone()
        },
        default.director
    );
    let port = &config.ports[0];
    assert_eq!(
        (port.mtu, &port.host, port.promiscuous),
        (
            default.ports[0].mtu,
            &default.ports[0].host,
            default.ports[0].promiscuous
        )
    );
}
