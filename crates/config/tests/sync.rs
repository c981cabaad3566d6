//! Connection synchronisation: read, written and compared.

use config::{Config, Effect, Sync, SyncRole, diff};

const PORT: &str = "\
[[port]]
name = 'lan'
device = 'net_null0'
addresses = ['10.1.0.2/24']
";

fn parsed(text: &str) -> Config {
    Config::parse(&format!("{PORT}{text}"), "t.toml").unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn defaults_are_those_of_ipvs_and_all_is_written_as_it_was_read() {
    assert_eq!(parsed("").sync, None);
    assert_eq!(parsed("[sync]\n").sync, None);
    let plain = parsed("[sync]\nrole = 'both'\ninterface = 'lan'\n");
    let expected = Sync {
        role: SyncRole::Both,
        interface: "lan".into(),
        ..Sync::default()
    };
    assert_eq!(plain.sync, Some(expected));
    let all = parsed(
        "[sync]\nrole = 'master'\ninterface = 'lan'\nsyncid = 7\nmcast_group = 'ff02::81'\nmcast_port = 9000\nmcast_ttl = 2\n\
         unicast_peer = ['10.1.0.3']\nsync_maxlen = 1000\nsync_threshold = [0, 1]\nsync_persist_mode = true\n",
    );
    for config in [plain, all.clone()] {
        let text = config.to_toml();
        let again = Config::parse(&text, "t.toml").unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(again, config, "{text}");
    }
    let changes = diff(&parsed("[sync]\nrole = 'both'\ninterface = 'lan'\n"), &all);
    assert_eq!(changes.len(), 9, "{changes:?}");
    assert!(changes.iter().all(|c| c.effect == Effect::Reload));
    assert_eq!(diff(&parsed(""), &all).len(), 1);
}
