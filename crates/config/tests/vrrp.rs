//! Virtual routers: read, written and compared.

use config::{Config, Effect, diff};

const PORTS: &str = "\
[[port]]
name = 'wan'
device = 'net_null0'
addresses = ['192.0.2.1/24', '2001:db8::1/64']
[[port]]
name = 'lan'
device = 'net_null1'
addresses = ['10.1.0.1/24']
";

const PAIR: &str = "\
[[vrrp]]
name = 'public'
interface = 'wan'
virtual_router_id = 10
virtual_ipaddress = ['192.0.2.10']
virtual_ipaddress_excluded = ['2001:db8::10']
unicast_peer = ['192.0.2.2']
advert_int = 0.25
sync_group = 'lvs'
[[vrrp]]
name = 'private'
interface = 'lan'
virtual_router_id = 10
virtual_ipaddress = ['10.1.0.254']
advert_int = '250ms'
sync_group = 'lvs'
[[vrrp]]
name = 'old'
interface = 'wan'
virtual_router_id = 11
version = 2
auth_pass = 'secret'
virtual_ipaddress = ['192.0.2.11']
[[service]]
protocol = 'tcp'
address = '192.0.2.10:80'
method = 'masq'
[[service.server]]
address = '10.1.0.11'
";

fn parsed(text: &str) -> Config {
    Config::parse(&format!("{PORTS}{text}"), "t.toml").unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn a_pair_is_read_and_written_back() {
    let config = parsed(PAIR);
    let (public, old) = (&config.vrrp[0], &config.vrrp[2]);
    assert_eq!(
        (public.priority, public.version, public.advert_int_ms),
        (100, 3, 250)
    );
    assert!(public.preempt);
    assert_eq!(public.addresses().count(), 2);
    assert_eq!((old.version, old.advert_int_ms), (2, 1000));
    let units = config.vrrp_units();
    let names: Vec<_> = units.iter().map(|(name, m)| (*name, m.len())).collect();
    assert_eq!(names, [("lvs", 2), ("old", 1)]);
    let again = Config::parse(&config.to_toml(), "again").unwrap();
    assert_eq!(again, config);
}

#[test]
fn intervals_are_what_the_wire_can_say() {
    let with = |text: &str| {
        let file = format!(
            "{PORTS}[[vrrp]]\nname = 'p'\ninterface = 'wan'\nvirtual_router_id = 1\nvirtual_ipaddress = ['192.0.2.10']\nadvert_int = {text}\n"
        );
        let config = Config::parse(&file, "t").ok()?;
        Some(config.vrrp[0].advert_int_ms)
    };
    for (text, ms) in [
        ("1", 1000),
        ("0.01", 10),
        ("0.1", 100),
        ("1.25", 1250),
        ("40.95", 40_950),
        ("'10ms'", 10),
        ("'40950ms'", 40_950),
    ] {
        assert_eq!(with(text), Some(ms), "{text}");
    }
    for text in [
        "0",
        "-1",
        "0.0",
        "0.001",
        "0.015",
        "40.96",
        "41",
        "1e1",
        "nan",
        "inf",
        "'5ms'",
        "'15ms'",
        "'1s'",
        "'ms'",
        "'-10ms'",
        "true",
        "'99999999999ms'",
        "256",
    ] {
        assert_eq!(with(text), None, "{text}");
    }
}

#[test]
fn what_needs_a_restart_says_so_and_passwords_are_not_told() {
    let before = parsed(PAIR);
    let effects = |from: &str, to: &str| -> Vec<(String, Effect)> {
        let changes = diff(&before, &parsed(&PAIR.replace(from, to)));
        changes.into_iter().map(|c| (c.text, c.effect)).collect()
    };
    for (from, to) in [
        ("['192.0.2.11']", "['192.0.2.11', '192.0.2.12']"),
        ("'secret'", "'geheim'"),
        ("['192.0.2.2']", "['192.0.2.3']"),
    ] {
        let changes = effects(from, to);
        assert!(!changes.is_empty(), "{to}");
        assert!(changes.iter().all(|(_, e)| *e == Effect::Reload), "{to}");
        assert!(
            !changes.iter().any(|(text, _)| text.contains("geheim")),
            "{changes:?}"
        );
    }
    for (from, to) in [
        ("virtual_router_id = 11", "virtual_router_id = 12"),
        ("name = 'old'", "name = 'new'"),
    ] {
        let changes = effects(from, to);
        assert!(
            changes.iter().any(|(_, e)| *e == Effect::Restart),
            "{changes:?}"
        );
    }
}
