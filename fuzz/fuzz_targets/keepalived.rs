//! keepalived.conf and lvs.cf: every text is read to its end, each word once, and what is made of it has a place in the text.
#![no_main]

use config::Config;
use keepalived::{Import, NoIncludes, lvs_cf, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    judge(text, &read(text, "fuzz.conf", "n", &mut NoIncludes));
    judge(text, &lvs_cf::read(text, "lvs.cf", lvs_cf::Node::Backup));
});

fn judge(text: &str, import: &Import) {
    let lines = text.lines().count().max(1);
    for note in &import.notes {
        assert!((1..=lines).contains(&note.place.line), "{note}");
        assert!(note.place.column >= 1, "{note}");
    }
    assert!(import.coverage_percent() <= 100);
    // It can always be written down.
    let mut config = Config::default();
    import.apply(&mut config);
    assert!(import.services.is_empty() || !config.without_machine_to_toml().is_empty());
}
