//! The command line: what nonsense is told, and that a dry run repeats.

use std::{
    env, fs,
    process::{Command, Output},
};

fn pktgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pktgen"))
        .args(arguments)
        .output()
        .expect("pktgen runs")
}

/// What a refused command says.
fn refused(arguments: &[&str]) -> String {
    let output = pktgen(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const ONE: &str = "udp 10.0.0.1 > 10.0.1.1:80";

#[test]
fn nonsense_is_told_where_it_is_and_what_to_write() {
    for (arguments, part) in [
        (&["tx", "--template", ONE][..], "--port af_packet:eth1"),
        (
            &["tx", "--port", "eth", "--template", ONE],
            "af_packet:eth1",
        ),
        (
            &["tx", "--dry-run"],
            "--template 'udp 10.0.0.1 > 10.0.1.1:80'",
        ),
        (
            &[
                "tx",
                "--dry-run",
                "--template",
                "udp 10.0.0.1 > 10.0.1.1:80 size 63",
            ],
            "character 33",
        ),
        (
            &["tx", "--dry-run", "--template", ONE, "--rate", "fast"],
            "packets a second",
        ),
        (
            &["tx", "--dry-run", "--template", ONE, "--rate", "5%"],
            "--link-speed",
        ),
        (
            &["tx", "--dry-run", "--template", ONE, "--count", "0"],
            "--count",
        ),
        (
            &["tx", "--dry-run", "--template", ONE, "--seconds", "soon"],
            "seconds",
        ),
        (
            &[
                "tx",
                "--dry-run",
                "--template",
                "tcp 10.0.0.1 > 10.0.1.1:80 size 64",
            ],
            "--no-stamp",
        ),
        (
            &[
                "tx",
                "--dry-run",
                "--template",
                "udp 10.0.0.1 > 10.0.1.1:80 size 9000",
            ],
            "--mtu 8982",
        ),
        (
            &["tx", "--dry-run", "--from-pcap", "/no/such.pcap"],
            "/no/such.pcap",
        ),
        (
            &["tx", "--dry-run", "--from-pcap", "/proc/self/exe"],
            "no pcap file",
        ),
        (
            &[
                "tx",
                "--port",
                "net_null0",
                "--workers",
                "64",
                "--template",
                ONE,
            ],
            "--workers 64",
        ),
        (
            &[
                "tx",
                "--port",
                "net_null0",
                "--cores",
                "4000",
                "--template",
                ONE,
            ],
            "may not use CPU 4000",
        ),
        (&["flood", "syn", "--to", "10.0.0.1:80"], "--rate <RATE>"),
        (
            &["flood", "syn", "--to", "10.0.0.1", "--rate", "1"],
            "lacks the destination port",
        ),
        (&["flood", "arp", "--to", "[::1]", "--rate", "1"], "IPv4's"),
        (&["rfc2544", "--template", ONE, "--trial", "0"], "too short"),
        (
            &["rfc2544", "--template", ONE, "--sizes", "1600"],
            "--mtu 1582",
        ),
        (
            &[
                "tx",
                "--pcap",
                "x",
                "--port",
                "net_null0",
                "--template",
                ONE,
            ],
            "--dry-run",
        ),
    ] {
        let said = refused(arguments);
        assert!(said.contains(part), "{arguments:?} is told:\n{said}");
    }
}

#[test]
fn a_dry_run_repeats_with_its_seed() {
    let run = |name: &str, seed: &str| {
        let file = env::temp_dir().join(format!("pktgen-{}-{name}.pcap", std::process::id()));
        let path = file.to_str().unwrap();
        let text = "udp 10.0.0.0/16 > 10.1.0.0/16:1-9 size 64-200 order uniform";
        let output = pktgen(&[
            "tx",
            "--dry-run",
            "--pcap",
            path,
            "--count",
            "300",
            "--seed",
            seed,
            "--no-stamp",
            "--template",
            text,
        ]);
        assert!(output.status.success(), "{output:?}");
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        bytes
    };
    let first = run("a", "1");
    assert!(first.len() > 300 * 64);
    assert_eq!(first, run("b", "1"));
    assert_ne!(first, run("c", "2"));
}
