//! The configuration file: every text is either a configuration that says the same when written back, or a report
//! whose places lie in the text. Any text is also read as a script of iptables.
#![no_main]

use config::{Config, diff, iptables};
use libfuzzer_sys::fuzz_target;
use types::{IpNet, MacAddr};

fuzz_target!(|text: &str| {
    values(text);
    let lines = text.lines().count().max(1);
    for note in iptables::read(text).notes {
        assert!((1..=lines).contains(&note.line), "{note:?}");
    }
    match Config::parse(text, "fuzz.toml") {
        Ok(config) => {
            assert!(diff(&config, &config).is_empty());
            assert!(config.problems().is_empty());
            let written = config.to_toml();
            let again = Config::parse(&written, "written.toml");
            assert!(
                again.as_ref().is_ok_and(|again| *again == config),
                "{written}\n{again:#?}"
            );
        }
        Err(report) => {
            let lines = text.lines().count().max(1) + 1;
            assert!(report.lines().count() > 0);
            for problem in &report.problems {
                assert!((1..=lines).contains(&problem.line), "{problem:?}");
                assert!(problem.column >= 1, "{problem:?}");
            }
        }
    }
});

/// A prefix or MAC says the same when written back.
fn values(text: &str) {
    if let Ok(net) = text.parse::<IpNet>() {
        assert_eq!(net.to_string().parse(), Ok(net));
    }
    if let Ok(mac) = text.parse::<MacAddr>() {
        assert_eq!(mac.to_string().parse::<MacAddr>().ok(), Some(mac));
    }
}
