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

#[test]
fn what_is_tracked_is_read_written_and_resolved() {
    use config::{TrackWeight, TrackedBy};
    let text = PAIR.replacen(
        "sync_group = 'lvs'\n",
        "sync_group = 'lvs'\ntrack_interface = ['lan weight -20 reverse']\ntrack_script = ['gate']\n\
         track_file = ['note', 'other weight 0']\ntrack_gateway = ['uplink', 'six']\ntrack_bfd = ['edge weight -9']\ntrack_servers = ['all', 'web weight -7']\n",
        1,
    ) + "[[vrrp_script]]\nname = 'gate'\nscript = ['/bin/gate', 'x']\ninterval = 0.5\nweight = -30\nfall = 3\n\
         [[track_file]]\nname = 'note'\nfile = '/run/note'\n[[track_file]]\nname = 'other'\nfile = '/run/other'\nweight = 2\n\
         [[track_gateway]]\nname = 'uplink'\naddress = '192.0.2.254'\nfall = 5\nweight = -3\n\
         [[track_gateway]]\nname = 'six'\naddress = 'fe80::1'\ninterface = 'lan'\ninterval = 0.5\n\
         [[track_bfd]]\nname = 'edge'\naddress = '192.0.2.253'\nbind = '192.0.2.1'\nmin_tx = 0.05\nmultiplier = 4\nmultihop = true\nweight = -1\n\
         [[track_servers]]\nname = 'all'\n[[track_servers]]\nname = 'web'\nservice = 'tcp 192.0.2.10:80'\nshare = 75\nreverse = true\n";
    let config = parsed(&text);
    let again = Config::parse(&config.to_toml(), "again").unwrap();
    assert_eq!(again, config);
    let script = &config.vrrp_scripts[0];
    assert_eq!(
        (script.timeout, script.interval.as_millis()),
        (script.interval, 500)
    );
    assert_eq!(script.user, "nobody");
    let of = |by, reverse| TrackWeight { by, reverse };
    let (_, members) = config.vrrp_units()[0].clone();
    let tracked: Vec<_> = config.tracked(&members).into_iter().collect();
    assert_eq!(
        tracked,
        [
            TrackedBy::Interface("lan", of(-20, true)),
            TrackedBy::Script("gate", of(-30, false)),
            TrackedBy::File("note", of(1, false)),
            TrackedBy::File("other", of(0, false)),
            TrackedBy::Gateway("six", of(0, false)),
            TrackedBy::Gateway("uplink", of(-3, false)),
            TrackedBy::Bfd("edge", of(-9, false)),
            TrackedBy::Servers("all", of(0, false)),
            TrackedBy::Servers("web", of(-7, false)),
        ]
    );
    let changes = diff(
        &config,
        &parsed(
            &text
                .replace("fall = 3", "fall = 2")
                .replace("fall = 5", "rise = 2")
                .replace("min_tx = 0.05", "passive = true")
                .replace("share = 75\nreverse = true", "share = 76")
                .replace("['gate']", "['gate weight 5']"),
        ),
    );
    let texts: Vec<_> = changes
        .iter()
        .map(|c| (c.text.as_str(), c.effect))
        .collect();
    assert_eq!(
        texts,
        [
            (
                "vrrp public: track_script gate -> gate weight 5",
                Effect::Reload
            ),
            ("vrrp_script gate: fall 3 -> 2", Effect::Reload),
            ("track_gateway uplink: rise 1 -> 2", Effect::Reload),
            ("track_gateway uplink: fall 5 -> 3", Effect::Reload),
            ("track_bfd edge: min_tx 0.05 s -> 0.3 s", Effect::Reload),
            ("track_bfd edge: passive false -> true", Effect::Reload),
            ("track_servers web: share 75 -> 76", Effect::Reload),
            ("track_servers web: reverse true -> false", Effect::Reload),
        ]
    );
}

#[test]
fn programs_of_virtual_routers_are_read_and_written() {
    let text = PAIR.to_owned()
        + "[[vrrp_notify]]\nrouter = 'public'\nnotify_master = ['/bin/up', 'a b']\nnotify_backup = ['/bin/down']\nnotify_fault = ['/bin/fault']\n\
           notify_stop = ['/bin/stop']\n[[vrrp_notify]]\nrouter = 'lvs'\nnotify = ['/bin/all']\nnotify_master_rx_lower_pri = ['/bin/again']\nuser = 'root'\n";
    let config = parsed(&text);
    assert_eq!(Config::parse(&config.to_toml(), "again").unwrap(), config);
    let [own, group] = &config.vrrp_notify[..] else {
        panic!("{:?}", config.vrrp_notify)
    };
    assert_eq!((own.user.as_str(), group.user.as_str()), ("nobody", "root"));
    assert_eq!(own.master, ["/bin/up", "a b"]);
    assert_eq!(group.rx_lower_pri, ["/bin/again"]);
    let of = config.vrrp.iter().filter(|v| v.sync_group.is_some());
    assert!(of.clone().count() == 2 && of.into_iter().all(|v| group.is_about(v)));
    let less = text.replace("notify_stop = ['/bin/stop']\n", "");
    let changes = diff(&config, &parsed(&less));
    let texts: Vec<_> = changes
        .iter()
        .map(|c| (c.text.as_str(), c.effect))
        .collect();
    let wanted = "vrrp_notify public as nobody: notify_stop /bin/stop -> ";
    assert_eq!(texts, [(wanted, Effect::Reload)]);
}
