//! Recordings of Linux 6.1's IPVS (`tests/golden/`), replayed through the engine: every frame byte for byte, every
//! state, count and listing. What is not equal stands in `tests/golden/exceptions.json` with its reason, or fails; an
//! exception nothing needs any more fails too.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use sim::golden::{Exceptions, Outcome, Recording, replay};
use std::path::PathBuf;

/// Recordings and the fewest comparisons that must have been made of each.
const RECORDINGS: &[(&str, usize)] = &[
    ("ah_esp", 22),
    ("conn_reuse", 688),
    ("defence", 62),
    ("defence2", 193),
    ("edit_live", 38),
    ("edit_same", 600),
    ("engine_alone", 21),
    ("found_icmp_removed_server", 159),
    ("found_fragment_odd_last", 3),
    ("found_given_up_template", 200),
    ("found_icmp_without_ports", 1),
    ("found_last_fragment", 132),
    ("found_last_of_a_family", 3),
    ("found_mark6_template", 322),
    ("found_server_of_every_port", 1),
    ("found_no_reset", 586),
    ("found_own_reset", 342),
    ("found_quiesced_template", 321),
    ("found_sctp_abort_behind", 1),
    ("found_stray_without_a_hop", 236),
    ("found_template_outlives_setting", 106),
    ("fragment_room", 240),
    ("fragment_sizes", 283),
    ("fragments", 55),
    ("frags2", 147),
    ("ftp", 28),
    ("ftp2121", 36),
    ("ftp_conntrack", 28),
    ("ftp_persist", 38),
    ("ftp_rounds", 159),
    ("hash_maps", 8064),
    ("icmp_errors", 62),
    ("no_dest", 157),
    ("no_service", 39),
    ("persist6", 209),
    ("persist_fwmark", 72),
    ("persist_port0", 38),
    ("persist_tcp", 58),
    ("quiesce", 117),
    ("removal", 139),
    ("reuse_load", 444),
    ("rewrite_dr", 20),
    ("rewrite_ipv6", 48),
    ("rewrite_nat", 37),
    ("rewrite_tun", 44),
    ("sched_dh", 648),
    ("sched_fo", 921),
    ("sched_lblc", 677),
    ("sched_lblc_load", 720),
    ("sched_lblcr", 677),
    ("sched_lc", 921),
    ("sched_mh", 901),
    ("sched_nq", 921),
    ("sched_ovf", 603),
    ("sched_rr", 921),
    ("sched_sed", 921),
    ("sched_sh", 897),
    ("sched_udp2", 845),
    ("sched_v6", 1287),
    ("sched_wlc", 921),
    ("sched_wrr", 921),
    ("sctp", 21),
    ("sctp2", 117),
    ("sctp_table", 4940),
    ("stats", 19),
    ("sync", 11),
    ("tcp_states", 3444),
    ("thresholds", 1304),
    ("timeouts", 50),
    ("tun_types", 675),
    ("tunnel_errors", 120),
    ("udp_ops", 93),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
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
    let mut exceptions = Exceptions::read(&folder().join("exceptions.json")).unwrap();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, at_least) in RECORDINGS {
        let verdict = exceptions.judge(name, &outcome(name, workers));
        println!("{name}: {verdict}");
        wrong.extend(verdict.failures.iter().map(|f| format!("{name}: {f}")));
        compared += verdict.compared;
        if verdict.compared < *at_least {
            let found = verdict.compared;
            wrong.push(format!(
                "{name}: {found} compared, at least {at_least} expected"
            ));
        }
    }
    for exception in exceptions.unused() {
        wrong.push(format!("nothing needs this exception: {exception:?}"));
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
