//! `tarpon replay`, without a daemon.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn replayed(args: &[&str]) -> Output {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
    Command::new(env!("CARGO_BIN_EXE_tarpon"))
        .current_dir(folder)
        .arg("replay")
        .args(args)
        .output()
        .unwrap()
}

/// `tests/replay/expected` is what Linux's IPVS made of the same packets.
#[test]
fn a_replay_gives_what_ipvs_gave() {
    let out = std::env::temp_dir().join(format!("tarpon-replay-{}", std::process::id()));
    let output = replayed(&[
        "-r",
        "rules",
        "-i",
        "marks",
        "--cl",
        "cl.pcap",
        "--rs",
        "rs.pcap",
        "-o",
        out.to_str().unwrap(),
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let expected = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replay/expected");
    let trace = fs::read_to_string(expected.join("trace.txt")).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), trace);
    for name in ["list.txt", "stats.txt", "rules.txt", "cl.pcap", "rs.pcap"] {
        let (found, wanted) = (fs::read(out.join(name)), fs::read(expected.join(name)));
        assert!(found.unwrap() == wanted.unwrap(), "{name}");
    }
    let rows = |name: &str, folder: &Path| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        // The kernel's order is that of a hash; how long each has left depends on the moment.
        let mut rows: Vec<String> = text.lines().map(|l| l.replacen(&l[4..9], "", 1)).collect();
        rows.sort();
        rows
    };
    let connections = rows("conns.txt", &out);
    assert_eq!(connections.len(), 14);
    assert_eq!(connections, rows("conns.txt", &expected));
    let steps: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("steps.json")).unwrap()).unwrap();
    assert_eq!(steps.as_array().map(Vec::len), Some(14));
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_replay_says_what_is_wrong_with_its_files() {
    for (args, said) in [
        (&["-r", "none", "-o", "/dev/null"][..], "none: No such file"),
        (
            &["-r", "marks", "-o", "/dev/null"],
            "marks:1: ipvsadm -A PREROUTING",
        ),
        (
            &["-r", "rules", "-s", "sloppy_tcp", "-o", "/dev/null"],
            "-s sloppy_tcp: write KEY=VALUE",
        ),
        (
            &[
                "-r",
                "rules",
                "-s",
                "net/ipv4/vs/sloth=1",
                "-o",
                "/dev/null",
            ],
            "sloth",
        ),
        (
            &["-r", "rules", "--cl", "rules", "-o", "/dev/null"],
            "rules: ",
        ),
        (
            &["-r", "rules", "--settle=-1", "-o", "/dev/null"],
            "--settle",
        ),
    ] {
        let output = replayed(args);
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}
