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
const LIVES: &str = "tcp 10.0.0.1 > 10.0.1.1:80";

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
        (
            &["http", "--dry-run", "--template", ONE],
            "connections are TCP's",
        ),
        (
            &[
                "tcp",
                "--dry-run",
                "--template",
                "tcp 10.0.0.1 > 10.0.1.1:80 flags ack",
            ],
            "connections are TCP's",
        ),
        (
            &[
                "http",
                "--dry-run",
                "--template",
                "tcp 10.0.0.1 > 10.0.1.1:80 size 200",
            ],
            "--response-bytes",
        ),
        (
            &[
                "http",
                "--dry-run",
                "--template",
                "tcp 10.0.0.1 > 10.0.1.1:80 order zipf",
            ],
            "order uniform",
        ),
        (&["http", "--template", LIVES], "--port af_packet:eth1"),
        (
            &["http", "--template", LIVES, "--rate", "40%"],
            "rate of connections",
        ),
        (
            &["http", "--template", LIVES, "--path", "index.html"],
            "begins with `/`",
        ),
        (
            &["http", "--template", LIVES, "--hold", "3"],
            "--close client, or reset",
        ),
        (
            &["http", "--template", LIVES, "--expect", "/no/such.file"],
            "--expect /no/such.file",
        ),
        (
            &[
                "http",
                "--template",
                LIVES,
                "--requests",
                "10000000",
                "--request-bytes",
                "7000",
            ],
            "at most 2 GiB",
        ),
        (
            &["tcp", "--template", LIVES, "--close", "server"],
            "`pktgen http` asks",
        ),
        (&["serve", "--port", "net_null0"], "--address 10.0.0.1"),
        (
            &["serve", "--address", "10.0.0.1", "--listen", "http"],
            "is no port",
        ),
        (
            &["rfc9693", "--template", ONE, "--port", "net_null0"],
            "--rx-port DEVICE",
        ),
        (
            &[
                "rfc9693",
                "--dry-run",
                "--template",
                ONE,
                "--connections",
                "70000",
            ],
            "64512 combinations",
        ),
        (
            &[
                "rfc9693",
                "--dry-run",
                "--template",
                ONE,
                "--measure",
                "teardown",
            ],
            "--empty COMMAND",
        ),
        (
            &[
                "rfc9693",
                "--dry-run",
                "--template",
                "icmp 10.0.0.1:1-9 > 10.0.1.1",
                "--connections",
                "5",
            ],
            "told by ports",
        ),
        (&["soak", "--template", ONE], "--seconds, or --count"),
        (
            &["soak", "--template", ONE, "--seconds", "1", "--no-stamp"],
            "nothing would be known of loss",
        ),
        (&["rfc2544", "--template", ONE, "--trial", "0"], "too short"),
        (
            &["rfc2544", "--template", "arp 10.0.0.1 > 10.0.0.2"],
            "udp, tcp or icmp can",
        ),
        (
            &["tx", "--dry-run", "--template", ONE, "--json", "-"],
            "cannot be used with",
        ),
        (
            &["rfc2544", "--template", ONE, "--measure", "latency"],
            "--measure throughput,latency",
        ),
        (
            &["rfc2544", "--template", ONE, "--measure", "jitter"],
            "throughput, latency, loss, back-to-back",
        ),
        (
            &["rfc2544", "--template", ONE, "--step", "0"],
            "percent from 0.1 to 50",
        ),
        (
            &[
                "rfc9693",
                "--dry-run",
                "--template",
                ONE,
                "--measure",
                "rate,loss",
            ],
            "--measure throughput,latency",
        ),
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

#[test]
fn dry_runs_of_connections_repeat_with_their_seed_and_write_every_frame_they_tell_of() {
    let run = |name: &str, arguments: &[&str]| {
        let file = env::temp_dir().join(format!("pktgen-{}-{name}.pcap", std::process::id()));
        let path = file.to_str().unwrap();
        let output = pktgen(&[arguments, &["--dry-run", "--pcap", path]].concat());
        assert!(output.status.success(), "{output:?}");
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        (bytes, String::from_utf8(output.stdout).unwrap())
    };
    let lives = "tcp 10.0.0.0/24 > 10.0.1.1:80 order uniform";
    let http = ["http", "--count", "20", "--template", lives, "--seed"];
    let (first, told) = run("d", &[&http[..], &["1"]].concat());
    assert!(
        told.contains("20 connections, 20 requests: 60 frames of the clients, 60 of the servers"),
        "{told}"
    );
    assert_eq!(first, run("e", &[&http[..], &["1"]].concat()).0);
    assert_ne!(first, run("f", &[&http[..], &["2"]].concat()).0);
    let nat = ["rfc9693", "--connections", "500", "--template", ONE];
    let (frames, _) = run("g", &nat);
    // The file's header, and 16 bytes before each of 60.
    assert_eq!(frames.len(), 24 + 500 * (16 + 60));
}
