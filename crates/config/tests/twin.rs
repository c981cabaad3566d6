//! What two directors have alike, and what stays each one's own.

use config::{Config, Effect, Push, conflict, diff, fingerprint};

fn node(own: u8, more: &str) -> Config {
    let text = format!(
        "compat = 'ipvs'\n[director]\nname = 'n{own}'\n\
         [[port]]\nname = 'wan'\ndevice = 'net_af_packet0,iface=a'\naddresses = ['192.0.2.{own}/24']\n\
         [[port]]\nname = 'lan'\ndevice = 'net_af_packet1,iface=b'\naddresses = ['10.1.0.{own}/24']\n\
         [twin]\npeer = '10.1.0.{}'\nkey_file = '/etc/key'\n{more}",
        5 - own
    );
    Config::parse(&text, "test.toml").unwrap_or_else(|report| {
        let lines: Vec<String> = report.lines().collect();
        panic!("{lines:#?}")
    })
}

const SERVICES: &str = "[[mark]]\nmark = 7\nprotocol = 'udp'\ndestination = '192.0.2.11'\ninterface = 'wan'\n\
     [access]\ndeny = ['203.0.113.0/24']\n[settings]\ntcp_timeout = 77\n\
     [[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10:80'\nmethod = 'masq'\nscheduler = 'wrr'\n\
     [[service.check]]\ntype = 'http'\npath = '/up'\nstatus = [200]\n\
     [[service.server]]\naddress = '10.1.0.11:80'\nweight = 3\n\
     [[service]]\nmark = 7\n";

#[test]
fn the_table_is_read_written_and_needs_a_restart() {
    let one = node(2, "");
    let twin = one.twin.clone().unwrap();
    assert_eq!((twin.port, twin.push), (8849, Push::Auto));
    assert_eq!(Config::parse(&one.to_toml(), "again").unwrap(), one);
    let mut other = one.clone();
    if let Some(twin) = &mut other.twin {
        twin.push = Push::Manual;
        twin.port = 1;
    }
    let changes = diff(&one, &other);
    let texts: Vec<_> = changes.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(texts, ["twin: port 8849 -> 1", "twin: push auto -> manual"]);
    assert!(changes.iter().all(|c| c.effect == Effect::Restart));
    assert_eq!(Config::parse(&other.to_toml(), "again").unwrap(), other);
    other.twin = None;
    assert_eq!(diff(&other, &one)[0].text, "twin: peer none -> 10.1.0.3");
}

#[test]
fn what_is_shared_crosses_and_the_rest_stays() {
    let (one, two) = (node(2, SERVICES), node(3, ""));
    let text = one.shared_to_toml();
    assert!(
        !text.contains("10.1.0.2/24") && !text.contains("n2"),
        "{text}"
    );
    let merged = two.with_shared(&text).unwrap();
    assert_eq!(merged.shared_to_toml(), text);
    assert_eq!(
        (
            &merged.services,
            &merged.marks,
            &merged.access,
            &merged.settings
        ),
        (&one.services, &one.marks, &one.access, &one.settings)
    );
    assert_eq!(
        (&merged.ports, &merged.twin, &merged.director),
        (&two.ports, &two.twin, &two.director)
    );
    assert_eq!(fingerprint(&text).len(), 32);
    assert_ne!(fingerprint(&text), fingerprint(&two.shared_to_toml()));
    let changes = two.shared_changes(&text);
    assert!(
        changes.contains(&"service tcp 192.0.2.10:80: added".to_owned()),
        "{changes:?}"
    );
    assert!(one.shared_changes(&text).is_empty());
}

#[test]
fn what_makes_no_sense_here_is_refused_whole() {
    let one = node(2, SERVICES);
    // The port its mark rule names is called otherwise there.
    let other = node(3, "").to_toml().replace("\"wan\"", "\"outside\"");
    let other = Config::parse(&other, "other").unwrap();
    let why = other.with_shared(&one.shared_to_toml()).unwrap_err();
    assert!(why.iter().any(|line| line.contains("\"wan\"")), "{why:?}");
    // A real server is the other director itself.
    let server = SERVICES.replace("10.1.0.11:80", "10.1.0.3:80");
    let why = node(3, "")
        .with_shared(&node(2, &server).shared_to_toml())
        .unwrap_err();
    assert!(why.iter().any(|line| line.contains("10.1.0.3")), "{why:?}");
    for text in [
        "",
        "x",
        "[[service]]\n",
        "[[port]]\nname = 'a'\n",
        "[settings]\nunknown = 1\n",
    ] {
        assert!(one.with_shared(text).is_err(), "{text:?}");
    }
    // Nothing but what is shared may come.
    let more = one.shared_to_toml() + "\n[sync]\nrole = 'both'\ninterface = 'lan'\n";
    assert!(one.with_shared(&more).is_err());
}

#[test]
fn what_was_edited_on_both_sides_is_named() {
    let common = node(2, SERVICES).shared_to_toml();
    let edited = |from: &str, to: &str| {
        let text = SERVICES.replace(from, to);
        assert_ne!(text, SERVICES);
        text
    };
    let one = node(2, &edited("weight = 3", "weight = 4"));
    let two = node(
        3,
        &edited("'wrr'", "'rr'").replace("tcp_timeout = 77", "tcp_timeout = 78"),
    );
    let found = conflict(&one, &common, &two.shared_to_toml()).unwrap();
    assert_eq!(found.both, ["service tcp 192.0.2.10:80"]);
    assert_eq!(
        found.here,
        ["service tcp 192.0.2.10:80: server 10.1.0.11:80: weight 3 -> 4"]
    );
    assert_eq!(
        found.there,
        [
            "service tcp 192.0.2.10:80: scheduler wrr -> rr",
            "settings: tcp_timeout 77 -> 78"
        ]
    );
    let apart = node(3, &edited("tcp_timeout = 77", "udp_timeout = 5"));
    let one = node(2, &edited("tcp_timeout = 77", "tcp_timeout = 79"));
    let found = conflict(&one, &common, &apart.shared_to_toml()).unwrap();
    assert_eq!(found.both, ["settings: tcp_timeout"]);
    assert_eq!(conflict(&one, &common, "x"), None);
}
