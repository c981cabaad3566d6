//! The command line against a fake daemon: what it asks, what it shows, how it exits.
//! Golden texts are in `tests/golden`; `BLESS=1` rewrites them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod fake;
#[path = "fake/world.rs"]
mod world;

use api::{
    Applied, Capture, CaptureEnd, Change, Command, ConnectionFilter, ConnectionsEnd, DrainEnd,
    DrainProgress, Edited, Effect, ErrorCode, Item, Reply, ServerAdd, ServiceAdd, ServiceRef,
};
use fake::{Act, Daemon, ok, refuse};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Output},
};
use types::{ForwardingMethod, Protocol, Scheduler, Weight};

fn tarpon(socket: &Path, args: &[&str]) -> Output {
    process::Command::new(env!("CARGO_BIN_EXE_tarpon"))
        .env_remove("TARPON_SOCKET")
        .arg("--socket")
        .arg(socket)
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares with `tests/golden/NAME`, or writes it with `BLESS=1`.
fn golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, got).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; BLESS=1 writes it", path.display()));
    assert_eq!(
        got,
        expected,
        "differs from {}; BLESS=1 rewrites it",
        path.display()
    );
}

/// A director that answers every question.
fn director() -> Daemon {
    Daemon::start(|command| match command {
        Command::Status => ok(Reply::Status(Box::new(world::status()))),
        Command::Services => ok(Reply::Services(world::services())),
        Command::Ports => ok(Reply::Ports(world::ports())),
        Command::Neighbours => ok(Reply::Neighbours(world::neighbours())),
        Command::Routes => ok(Reply::Routes(world::routes())),
        Command::Counters => ok(Reply::Counters(world::counters())),
        Command::Connections(_) => Act::Answer(
            world::connections()
                .into_iter()
                .map(Item::Connection)
                .collect(),
            Ok(Reply::Connections(ConnectionsEnd {
                listed: 3,
                limited: true,
            })),
        ),
        Command::Check(_) | Command::Apply(_) | Command::Reload => ok(Reply::Applied(Applied {
            changes: vec![
                Change {
                    text: "service tcp 192.0.2.10:80: scheduler rr -> wlc".into(),
                    effect: Effect::Reload,
                },
                Change {
                    text: "port wan: mtu 1500 -> 9000".into(),
                    effect: Effect::Restart,
                },
            ],
            lost_edits: vec!["service tcp 192.0.2.11:80: added".into()],
        })),
        Command::ServerDrain(_) => Act::Answer(
            [(5, 2, 60), (5, 2, 59), (0, 2, 58)]
                .into_iter()
                .map(|(active, inactive, left)| {
                    Item::Drain(DrainProgress {
                        active,
                        inactive,
                        remaining_s: Some(left),
                    })
                })
                .collect(),
            Ok(Reply::Drain(DrainEnd {
                seconds: 3,
                deleted: false,
            })),
        ),
        Command::Capture(capture) => {
            let frames = world::frames().into_iter().map(Item::Frame).collect();
            let end = Reply::Capture(CaptureEnd {
                captured: 2,
                missed: 1,
            });
            if capture.count.is_some() {
                Act::Answer(frames, Ok(end))
            } else {
                Act::UntilClosed(frames, end)
            }
        }
        _ => ok(Reply::Edited(Edited {
            changes: vec!["done".into()],
        })),
    })
}

#[test]
fn tables_are_as_recorded() {
    let daemon = director();
    for (name, args) in [
        ("status.txt", &["status"][..]),
        ("services.txt", &["services"]),
        ("services-stats.txt", &["services", "--stats"]),
        ("services-rate.txt", &["services", "--rate"]),
        ("connections.txt", &["connections"]),
        ("ports.txt", &["ports"]),
        ("neighbours.txt", &["neighbours"]),
        ("routes.txt", &["routes"]),
        ("counters.txt", &["counters"]),
        ("counters-all.txt", &["counters", "--all"]),
        ("reload.txt", &["reload"]),
        (
            "drain.txt",
            &[
                "server",
                "drain",
                "web",
                "10.1.0.11:8080",
                "--deadline",
                "60",
            ],
        ),
        (
            "capture.txt",
            &["capture", "--count", "2", "tcp", "port", "80"],
        ),
    ] {
        let output = tarpon(&daemon.socket, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        golden(name, &text(&output.stdout));
    }
}

#[test]
fn json_is_the_daemons_answer() {
    let daemon = director();
    let output = tarpon(&daemon.socket, &["services", "--json"]);
    let got: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(got, serde_json::to_value(world::services()).unwrap());
    let output = tarpon(&daemon.socket, &["--json", "connections"]);
    let lines = text(&output.stdout);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        first,
        serde_json::to_value(&world::connections()[0]).unwrap()
    );
    assert_eq!(lines.lines().count(), 3, "one line per connection");
}

#[test]
fn commands_carry_what_was_typed() {
    let daemon = director();
    let web = ServiceRef::Address {
        protocol: Protocol::Tcp,
        address: "192.0.2.10:80".parse().unwrap(),
    };
    let ask = |args: &[&str]| {
        let output = tarpon(&daemon.socket, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        daemon.last()
    };
    assert_eq!(
        ask(&[
            "service",
            "add",
            "192.0.2.10:80",
            "--scheduler",
            "rr",
            "--persistent",
            "--netmask",
            "255.255.0.0",
            "--persistence-engine",
            "sip",
            "--one-packet"
        ]),
        Command::ServiceAdd(ServiceAdd {
            service: web,
            name: None,
            scheduler: Some(Scheduler::Rr),
            scheduler_flags: None,
            persistent: Some(300),
            netmask: Some("255.255.0.0".into()),
            persistence_engine: Some("sip".parse().unwrap()),
            one_packet: Some(true),
            method: None,
        })
    );
    // By name, and with the service's port.
    let add = ServerAdd {
        service: web,
        server: "10.1.0.13:80".parse().unwrap(),
        method: Some(ForwardingMethod::Masq),
        weight: Some(Weight(5)),
        tunnel: None,
        upper_threshold: None,
        lower_threshold: None,
    };
    assert_eq!(
        ask(&[
            "server",
            "add",
            "web",
            "10.1.0.13",
            "--method",
            "masq",
            "-w",
            "5"
        ]),
        Command::ServerAdd(add)
    );
    assert_eq!(
        ask(&[
            "connections",
            "--service",
            "web",
            "--client",
            "198.51.100.0/24",
            "--state",
            "established",
            "--limit",
            "0"
        ]),
        Command::Connections(ConnectionFilter {
            protocol: Some(Protocol::Tcp),
            service: Some("192.0.2.10:80".parse().unwrap()),
            client: Some("198.51.100.0/24".parse().unwrap()),
            state: Some("ESTABLISHED".into()),
            ..ConnectionFilter::default()
        })
    );
    assert_eq!(
        ask(&[
            "capture",
            "--port",
            "wan",
            "-c",
            "5",
            "-s",
            "96",
            "not",
            "arp",
            "--seconds",
            "9"
        ]),
        Command::Capture(Capture {
            filter: Some("not arp".into()),
            ports: vec!["wan".into()],
            count: Some(5),
            snaplen: Some(96),
        })
    );
}

#[test]
fn captures_are_pcapng_with_ports_and_directions() {
    use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};
    let daemon = director();
    let path = daemon.socket.with_file_name("out.pcapng");
    let started = std::time::Instant::now();
    let output = tarpon(
        &daemon.socket,
        &["capture", "-w", path.to_str().unwrap(), "--seconds", "1"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(started.elapsed().as_secs() < 10, "it ended by itself");
    assert!(
        text(&output.stderr).contains("2 frames captured, 1 missed"),
        "{}",
        text(&output.stderr)
    );
    let mut reader = PcapNgReader::new(fs::File::open(&path).unwrap()).unwrap();
    let mut got = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            let flags = packet.options.iter().find_map(|o| match o {
                EnhancedPacketOption::Flags(flags) => Some(*flags),
                _ => None,
            });
            got.push((
                packet.interface_id,
                packet.timestamp.as_nanos(),
                flags.unwrap(),
                packet.data.to_vec(),
            ));
        }
    }
    let names: Vec<_> = reader.interfaces().len().to_string().chars().collect();
    assert_eq!(names, ['2'], "an interface for each port");
    let frames = world::frames();
    assert_eq!(
        got,
        [
            (
                0,
                u128::from(frames[0].timestamp_ns),
                1,
                frames[0].data.0.clone()
            ),
            (
                1,
                u128::from(frames[1].timestamp_ns),
                2,
                frames[1].data.0.clone()
            ),
        ]
    );
    // The same on standard output.
    let output = tarpon(&daemon.socket, &["capture", "-w", "-", "--seconds", "1"]);
    assert_eq!(output.stdout, fs::read(&path).unwrap());
}

#[test]
fn refusals_exit_with_1_and_say_all() {
    let daemon = Daemon::start(|_| {
        refuse(
            ErrorCode::NeedsRestart,
            "the file changes what needs a restart",
            &[
                "port wan: mtu 1500 -> 9000",
                "director: connections 1000 -> 2000",
            ],
        )
    });
    let file = daemon.socket.with_file_name("t.toml");
    fs::write(&file, "").unwrap();
    let output = tarpon(&daemon.socket, &["apply", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "tarpon: the file changes what needs a restart\n  port wan: mtu 1500 -> 9000\n  director: connections 1000 -> 2000\n"
    );
    let output = tarpon(&daemon.socket, &["--json", "zero"]);
    assert_eq!(output.status.code(), Some(1));
    let got: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(got["error"]["code"], "needs_restart");
}

#[test]
fn the_wrong_command_line_exits_with_2() {
    let daemon = director();
    for args in [
        &["sttus"][..],
        &["service", "add", "192.0.2.10"],
        &["service", "add", "192.0.2.10:80", "--scheduler", "magic"],
        &["server", "add", "192.0.2.10:80", "10.1.0.300"],
        &[
            "server",
            "add",
            "192.0.2.10:80",
            "10.1.0.3",
            "-w",
            "2147483648",
        ],
        &["connections", "--client", "10.0.0.0/33"],
        &["capture", "--count", "0"],
    ] {
        let output = tarpon(&daemon.socket, args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(
        daemon.seen.lock().unwrap().is_empty(),
        "nothing reached the daemon"
    );
}

#[test]
fn no_daemon_exits_with_3_and_says_what_to_do() {
    let nowhere = PathBuf::from("/tmp/tarpon-cli-no-such-directory/control.sock");
    let output = tarpon(&nowhere, &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        text(&output.stderr),
        "tarpon: no daemon listens at /tmp/tarpon-cli-no-such-directory/control.sock: start it (systemctl start tarpond, \
         or tarpond --config FILE), or name its socket with --socket\n"
    );
}

#[test]
fn a_daemon_that_fails_midway_is_reported() {
    let hang_up = Daemon::start(|_| Act::HangUp);
    let output = tarpon(&hang_up.socket, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("closed the connection before its answer was complete"));
    let nonsense = Daemon::start(|_| Act::Raw(b"hello\n"));
    let output = tarpon(&nonsense.socket, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot be read: not a JSON object"));
    let future = Daemon::start(|_| Act::Raw(b"{\"version\":2,\"id\":1,\"ok\":{}}\n"));
    let output = tarpon(&future.socket, &["status"]);
    assert!(text(&output.stderr).contains("does not speak protocol version 1"));
}

#[test]
fn check_judges_files_without_a_daemon() {
    let daemon = director();
    let file = daemon.socket.with_file_name("t.toml");
    let nowhere = daemon.socket.with_file_name("none.sock");
    fs::write(
        &file,
        "[[port]]\nname = \"wan\"\ndevice = \"eth0\"\nmtuu = 3\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let output = tarpon(&nowhere, &["check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!(
            "{path}:3:10: \"eth0\" is no device: if it is a kernel interface, write device = \"af_packet:eth0\" to share it with the \
             kernel, or its PCI address to take it over\n\
             {path}:4:1: unknown key `mtuu` in [[port]]: did you mean `mtu`?\n2 mistakes\n"
        )
    );
    let output = tarpon(&nowhere, &["--json", "check", path]);
    let got: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(got["problems"][1]["line"], 4);

    fs::write(&file, "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\n").unwrap();
    let output = tarpon(&nowhere, &["check", path]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("no mistakes (1 port, 0 services, 0 servers)"));
    // With a daemon, what would change.
    let output = tarpon(&daemon.socket, &["check", path]);
    assert!(output.status.success());
    golden("check.txt", &text(&output.stdout).replace(path, "FILE"));
    let output = tarpon(&nowhere, &["check", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("tarpon: cannot read /no/such/file: "));
}

#[test]
fn a_keepalived_conf_is_judged_and_converted() {
    let directory = std::env::temp_dir().join(format!("tarpon-keepalived-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("keepalived.conf");
    let path = file.to_str().unwrap();
    let machine = directory.join("machine.toml");
    fs::write(
        &machine,
        "[[port]]\nname = \"lan\"\ndevice = \"net_null0\"\naddresses = [\"10.0.0.1/24\"]\n",
    )
    .unwrap();
    let web = "virtual_server 192.0.2.10 80 {\n  lb_kind NAT\n  sorry_server_lvs_method TUN type gre\n  real_server 10.0.0.11 8080 {\n    TCP_CHECK {\n    }\n  }\n}\n";
    fs::write(&file, web).unwrap();
    let nowhere = Path::new("/no/such/socket");
    let output = tarpon(nowhere, &["check", path]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains(
            ":3:3: unsupported: sorry_server_lvs_method: to the sorry server tunnels are IP in IP"
        ),
        "{said}"
    );
    assert!(
        said.contains("1 service (with ranges and groups expanded), 0 virtual routers, 80 % of 5 words covered"),
        "{said}"
    );
    let output = tarpon(nowhere, &["check", "--strict", path]);
    assert_eq!(output.status.code(), Some(1));
    // With the machine's half it is a whole file of this program's.
    let machine = machine.to_str().unwrap();
    let output = tarpon(
        nowhere,
        &["convert", "keepalived", path, "--machine", machine],
    );
    let config = config::Config::parse(&text(&output.stdout), "converted").unwrap();
    let service = &config.services[0];
    assert_eq!(service.servers[0].address.to_string(), "10.0.0.11:8080");
    assert_eq!(
        service.health.checks_of(service.servers[0].address).len(),
        1
    );
    // Without it, its services alone.
    let output = tarpon(nowhere, &["convert", "keepalived", path]);
    assert!(text(&output.stdout).starts_with("[[service]]\n"));
    fs::write(&file, web.replace("lb_kind NAT", "lb_kid NAT")).unwrap();
    let output = tarpon(nowhere, &["convert", "keepalived", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(":2:3: wrong: lb_kid: "));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn wrong_filters_are_refused_before_asking() {
    let daemon = director();
    let output = tarpon(&daemon.socket, &["capture", "tcp", "prot", "80"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "tarpon: filter, at character 5: unknown word `prot`; did you mean `port`?\n"
    );
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let daemon = director();
    let script = format!(
        "{} --socket {} connections | true; test ${{PIPESTATUS[0]}} = 0",
        env!("CARGO_BIN_EXE_tarpon"),
        daemon.socket.display()
    );
    let output = process::Command::new("bash")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn completions_and_manual_pages_are_written() {
    let nowhere = Path::new("/nonexistent");
    let output = tarpon(nowhere, &["completions", "bash"]);
    assert!(text(&output.stdout).contains("_tarpon"));
    let directory = std::env::temp_dir().join(format!("tarpon-man-{}", process::id()));
    fs::create_dir_all(&directory).unwrap();
    let output = tarpon(nowhere, &["man", directory.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(directory.join("tarpon-server-drain.1").exists());
    let page = fs::read_to_string(directory.join("tarpon.1")).unwrap();
    assert!(page.contains("Exit status"));
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn realserver_lists_what_this_directors_servers_need() {
    let daemon = director();
    let output = tarpon(&daemon.socket, &["realserver"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    golden("realserver.txt", &text(&output.stdout));
    let output = tarpon(&daemon.socket, &["realserver", "--json"]);
    let got: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        got.as_array().map(Vec::len),
        Some(3),
        "one for each server: {got}"
    );
    let nowhere = Path::new("/nonexistent");
    let output = tarpon(nowhere, &["realserver", "methods"]);
    assert!(output.status.success() && text(&output.stdout).contains("arptables"));
    let output = tarpon(
        nowhere,
        &[
            "realserver",
            "plan",
            "--json",
            "--vip",
            "192.0.2.10",
            "--interface",
            "none-such",
        ],
    );
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

/// The documentation names commands and options that exist.
#[test]
fn the_documented_commands_exist() {
    let documentation = include_str!("../../../docs/cli.md");
    let nowhere = Path::new("/nonexistent");
    let mut checked = 0;
    for row in documentation
        .lines()
        .filter(|line| line.starts_with("| `tarpon "))
    {
        let Some(command) = row
            .split('`')
            .nth(1)
            .and_then(|c| c.strip_prefix("tarpon "))
        else {
            continue;
        };
        let words: Vec<&str> = command
            .split(' ')
            .take_while(|word| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.chars().all(|c| c.is_ascii_lowercase() || c == '.')
            })
            .chain(["--help"])
            .collect();
        let help = tarpon(nowhere, &words);
        assert!(help.status.success(), "{row}");
        let mut help = text(&help.stdout);
        if let [group @ ("service" | "server"), "add", ..] = words[..] {
            help.push_str(&text(&tarpon(nowhere, &[group, "edit", "--help"]).stdout));
        }
        for option in row
            .split(['`', '[', ']', ' '])
            .filter(|word| word.starts_with("--"))
        {
            assert!(
                help.contains(option),
                "`{command}` has no {option}:\n{help}"
            );
        }
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} commands are documented");
}
