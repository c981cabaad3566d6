//! Recordings of Linux 6.1's IPVS (`tests/golden/`), replayed through the engine: every frame byte for byte, every
//! state, count and listing. What is not equal stands in `tests/golden/exceptions.json` with its reason, or fails; an
//! exception nothing needs any more fails too.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use serde::Deserialize;
use sim::golden::{Outcome, Recording, replay};
use std::{collections::BTreeSet, path::PathBuf};

/// Recordings and the fewest comparisons that must have been made of each.
const RECORDINGS: &[(&str, usize)] = &[
    ("conn_reuse", 688),
    ("edit_live", 38),
    ("icmp_errors", 48),
    ("no_dest", 50),
    ("no_service", 39),
    ("persist_port0", 38),
    ("persist_tcp", 58),
    ("quiesce", 117),
    ("removal", 139),
    ("rewrite_dr", 20),
    ("rewrite_ipv6", 48),
    ("rewrite_nat", 37),
    ("rewrite_tun", 22),
    ("sched_lc", 921),
    ("sched_rr", 921),
    ("sched_wlc", 921),
    ("sched_wrr", 921),
    ("stats", 15),
    ("tcp_states", 1710),
    ("timeouts", 50),
    ("udp_ops", 16),
];

/// Steps of a recording that need not be equal.
#[derive(Debug, Deserialize)]
struct Exception {
    recording: String,
    from: usize,
    to: usize,
    reason: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn exceptions() -> Vec<Exception> {
    let text = std::fs::read_to_string(folder().join("exceptions.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn outcome(name: &str, workers: u16) -> Outcome {
    let recording = Recording::read(&folder().join(format!("{name}.json.gz"))).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    replay(&recording, workers, &mut || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    })
}

fn check(workers: u16) {
    let exceptions = exceptions();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, at_least) in RECORDINGS {
        let outcome = outcome(name, workers);
        let mut excepted = 0;
        let mut except = |step: usize| {
            let found = exceptions
                .iter()
                .position(|e| e.recording == *name && (e.from..=e.to).contains(&step));
            used.extend(found);
            excepted += usize::from(found.is_some());
            found.is_some()
        };
        for difference in &outcome.differences {
            if !except(difference.step) {
                wrong.push(format!("{name}: {difference}"));
            }
        }
        for (step, why) in &outcome.unsupported {
            if !except(*step) {
                wrong.push(format!("{name} step {step}: {why}"));
            }
        }
        println!("{name}: {} compared, {excepted} excepted", outcome.compared);
        compared += outcome.compared;
        if outcome.compared < *at_least {
            let found = outcome.compared;
            wrong.push(format!(
                "{name}: {found} compared, at least {at_least} expected"
            ));
        }
    }
    for (at, exception) in exceptions.iter().enumerate() {
        if !used.contains(&at) {
            wrong.push(format!("nothing needs this exception: {exception:?}"));
        }
        assert!(!exception.reason.is_empty());
    }
    println!("{compared} compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn recordings_replay_identically() {
    check(1);
}

#[test]
fn recordings_replay_identically_whichever_of_two_workers_meets_a_frame() {
    check(2);
}

#[test]
fn recordings_replay_identically_whichever_of_four_workers_meets_a_frame() {
    check(4);
}
