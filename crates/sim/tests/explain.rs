//! `Director::explain` foretells what happens, and changes nothing: every frame of the recordings of Linux's IPVS is explained
//! before the engine gets it, and the replay must still be the recording.

use sim::golden::{Recording, replay, replay_foretold};
use std::path::PathBuf;

/// Recordings of which each frame ends as it is foretold. Not copied, so not foretold: the connection inside a tunnel packet that an ICMP
/// error quotes.
const RECORDINGS: &[&str] = &[
    "ah_esp",
    "defence",
    "defence2",
    "edit_live",
    "found_fragment_odd_last",
    "found_icmp_removed_server",
    "found_last_fragment",
    "found_mark6_template",
    "found_server_of_every_port",
    "fragment_room",
    "fragment_sizes",
    "fragments",
    "fragments6",
    "frags2",
    "ftp",
    "icmp_errors",
    "no_dest",
    "no_service",
    "persist_fwmark",
    "persist_port0",
    "persist_tcp",
    "quiesce",
    "removal",
    "rewrite_dr",
    "rewrite_ipv6",
    "rewrite_nat",
    "sched_lblc_load",
    "sched_mh",
    "sched_rr",
    "sched_wrr",
    "sctp",
    "udp_ops",
];

#[test]
fn frames_end_as_foretold_and_nothing_else_changes() {
    for name in RECORDINGS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let recording = Recording::read(&folder.join(format!("{name}.json.gz"))).unwrap();
        let foretold = replay_foretold(&recording);
        let alone = replay(&recording, 1, &mut || 0);
        println!("{name}: {} compared", alone.compared);
        assert!(alone.compared > 0, "{name}");
        assert_eq!(
            format!("{foretold:?}"),
            format!("{alone:?}"),
            "{name} with explanations"
        );
    }
}
