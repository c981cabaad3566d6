//! What the other director says of its configuration: any bytes are a message that says the same when written back, or a mistake; any
//! text is taken whole, or refused with a reason. Histories of any kind are compared without contradiction.
#![no_main]

use api::{History, Relation, TwinMessage, Version};
use config::{Config, conflict};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static OWN: LazyLock<Config> = LazyLock::new(|| {
    let text = "[[port]]\nname = 'wan'\ndevice = 'net_af_packet0,iface=a'\naddresses = ['192.0.2.2/24']\n\
                [[port]]\nname = 'lan'\ndevice = 'net_af_packet1,iface=b'\naddresses = ['10.1.0.2/24']\n\
                [twin]\npeer = '10.1.0.3'\nkey_file = '/key'\n\
                [[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10:80'\nmethod = 'masq'\n\
                [[service.server]]\naddress = '10.1.0.11:80'\n";
    Config::parse(text, "own.toml").expect("it is right")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = TwinMessage::decode(bytes) else {
        return;
    };
    assert_eq!(TwinMessage::decode(&message.encode()).ok(), Some(message.clone()));
    match message {
        TwinMessage::State { versions, .. } => compared(versions),
        TwinMessage::Text { text, versions } | TwinMessage::Push { text, versions, .. } => {
            compared(versions);
            taken(&text);
        }
        _ => {}
    }
});

fn taken(text: &str) {
    let own = LazyLock::force(&OWN);
    let before = own.shared_to_toml();
    let _ = own.shared_changes(text);
    if let Some(conflict) = conflict(own, &before, text) {
        assert!(conflict.here.is_empty() && conflict.both.is_empty(), "{conflict:?}");
    }
    match own.with_shared(text) {
        Ok(merged) => {
            assert_eq!(merged.shared_to_toml(), text);
            assert_eq!((&merged.ports, &merged.twin), (&own.ports, &own.twin));
            assert!(merged.problems().is_empty());
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

fn compared(versions: Vec<Version>) {
    let Some(theirs) = History::received(versions) else {
        return;
    };
    let mut own = History::new("0123".into());
    own.edit("4567".into());
    let opposite = match own.relation(&theirs) {
        Relation::Same => Relation::Same,
        Relation::Ahead => Relation::Behind,
        Relation::Behind => Relation::Ahead,
        Relation::Parted(_) => {
            assert!(matches!(theirs.relation(&own), Relation::Parted(_)));
            return;
        }
    };
    assert_eq!(theirs.relation(&own), opposite);
    own.adopt(&theirs);
    assert_eq!(own.relation(&theirs), Relation::Same);
}
