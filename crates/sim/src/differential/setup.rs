//! The administrator's part: services, servers, marks, settings, and changes to them.

use super::Action;
use crate::mutation::Dice;
use std::net::SocketAddr;
use types::Protocol;

/// A kind of service: ipvsadm's words for it, who it is for, mark rules it needs.
struct Kind {
    words: &'static str,
    family: u8,
    targets: &'static [(Protocol, &'static str)],
    marks: &'static [&'static str],
    /// Port 0: only with persistence.
    persistent: bool,
    /// Its servers' ports are asked for.
    ports: bool,
}

use Protocol::{Sctp, Tcp, Udp};

const KINDS: [Kind; 11] = [
    Kind {
        words: "--sctp-service 10.0.0.100:9",
        family: 4,
        targets: &[(Sctp, "10.0.0.100:9")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "--sctp-service [fd00::100]:9",
        family: 6,
        targets: &[(Sctp, "[fd00::100]:9")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-t 10.0.0.100:80",
        family: 4,
        targets: &[(Tcp, "10.0.0.100:80")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-t 10.0.0.100:443",
        family: 4,
        targets: &[(Tcp, "10.0.0.100:443")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-u 10.0.0.100:53",
        family: 4,
        targets: &[(Udp, "10.0.0.100:53")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-t 10.0.0.100:0",
        family: 4,
        targets: &[(Tcp, "10.0.0.100:4000"), (Tcp, "10.0.0.100:4001")],
        marks: &[],
        persistent: true,
        ports: false,
    },
    Kind {
        words: "-f 1",
        family: 4,
        targets: &[(Tcp, "10.0.0.100:8000"), (Tcp, "10.0.0.100:8001")],
        marks: &[
            "iptables-legacy -t mangle -A PREROUTING -d 10.0.0.100 -p tcp --dport 8000:8010 -j MARK --set-mark 1",
        ],
        persistent: false,
        ports: false,
    },
    Kind {
        words: "-f 2",
        family: 4,
        targets: &[(Udp, "10.0.0.100:5000"), (Tcp, "10.0.0.100:443")],
        marks: &[
            "iptables-legacy -t mangle -A PREROUTING -d 10.0.0.100 -p udp --dport 5000 -j MARK --set-mark 2",
            "iptables-legacy -t mangle -A PREROUTING -i cl0 -p tcp -m multiport --dports 443,444 -j MARK --set-mark 2",
        ],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-t [fd00::100]:80",
        family: 6,
        targets: &[(Tcp, "[fd00::100]:80")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-u [fd00::100]:53",
        family: 6,
        targets: &[(Udp, "[fd00::100]:53")],
        marks: &[],
        persistent: false,
        ports: true,
    },
    Kind {
        words: "-f 3 -6",
        family: 6,
        targets: &[(Tcp, "[fd00::100]:8000")],
        marks: &[
            "ip6tables-legacy -t mangle -A PREROUTING -d fd00::100 -p tcp --dport 8000 -j MARK --set-mark 3",
        ],
        persistent: false,
        ports: false,
    },
];

const SCHEDULERS: [&str; 15] = [
    "rr", "rr", "wrr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "sh", "mh", "lblc",
    "lblcr",
];

struct Service {
    kind: &'static Kind,
    /// Numbers and method letters of the servers, present or not: a server keeps its method.
    servers: Vec<(usize, char)>,
}

pub(super) struct Setup {
    services: Vec<Service>,
    /// Timers of a few seconds are used. Linux's are up to an eighth late: where there are many packets, one of them comes just then.
    short_timers: bool,
    /// `expire_nodest_conn`: connections of removed servers end.
    ends: bool,
}

impl Setup {
    /// One to four services of different kinds; the commands that make them go to `actions`.
    pub fn new(dice: &mut Dice, short_timers: bool, actions: &mut Vec<Action>) -> Self {
        let mut kinds: Vec<&'static Kind> = KINDS.iter().collect();
        let mut setup = Self {
            services: Vec::new(),
            short_timers,
            ends: false,
        };
        for _ in 0..dice.below(4) {
            actions.push(setup.setting(dice));
        }
        if short_timers && dice.one_in(2) {
            let tcp = [0, 900, 2, 3][dice.below(4)];
            let command = format!(
                "ipvsadm --set {tcp} {} {}",
                dice.below(3),
                1 + dice.below(3)
            );
            actions.push(Action::Command(command));
        }
        for _ in 0..=dice.below(4) {
            let kind = kinds.swap_remove(dice.below(kinds.len()));
            for mark in kind.marks {
                actions.push(Action::Command((*mark).to_owned()));
            }
            actions.push(add(dice, kind, short_timers, "-A"));
            let mut servers = Vec::new();
            for number in 1..=6 {
                let method = ['m', 'm', 'g', 'i'][dice.below(4)];
                servers.push((number, method));
                if dice.one_in(2) {
                    actions.push(server(dice, kind, "-a", number, method));
                }
            }
            setup.services.push(Service { kind, servers });
        }
        setup
    }

    /// A setting, to a value it may have.
    pub fn setting(&mut self, dice: &mut Dice) -> Action {
        let (name, most) = [
            ("expire_nodest_conn", 2),
            ("expire_quiescent_template", 2),
            ("conn_reuse_mode", 4),
            ("sloppy_tcp", 2),
            ("nat_icmp_send", 2),
            ("pmtu_disc", 2),
            ("sloppy_sctp", 2),
            ("schedule_icmp", 2),
        ][dice.below(8)];
        let value = dice.below(most);
        if name == "expire_nodest_conn" {
            self.ends = value != 0;
        }
        Action::Setting(name, value.to_string())
    }

    /// Where a client goes: mostly to a service.
    pub fn target(&self, dice: &mut Dice) -> (Protocol, SocketAddr) {
        let service = &self.services[dice.below(self.services.len())];
        let targets = service.kind.targets;
        let (protocol, address) = targets[dice.below(targets.len())];
        (protocol, address.parse().expect("an address and port"))
    }

    /// A change of a service or a server, right or refused.
    pub fn edit(&self, dice: &mut Dice, actions: &mut Vec<Action>) {
        let service = &self.services[dice.below(self.services.len())];
        let kind = service.kind;
        let (number, method) = service.servers[dice.below(service.servers.len())];
        let action = match dice.below(12) {
            0..3 => server(dice, kind, "-a", number, method),
            3..8 => server(dice, kind, "-e", number, method),
            8..10 => {
                let address = address(kind, number);
                Action::Command(format!("ipvsadm -d {} -r {address}", kind.words))
            }
            10 => {
                let verb = if dice.one_in(3) { "-A" } else { "-E" };
                add(dice, kind, self.short_timers, verb)
            }
            _ => Action::Command(format!("ipvsadm -D {}", kind.words)),
        };
        let removes =
            matches!(&action, Action::Command(c) if c.contains(" -d ") || c.contains(" -D "));
        let gone = matches!(&action, Action::Command(c) if c.contains(" -D "));
        actions.push(action);
        if gone {
            actions.push(add(dice, kind, self.short_timers, "-A"));
        }
        if removes && self.ends {
            // Linux takes a tenth of a second to end the connections.
            actions.push(Action::Sleep(0.3));
        }
    }
}

fn add(dice: &mut Dice, kind: &Kind, short_timers: bool, verb: &str) -> Action {
    let scheduler = SCHEDULERS[dice.below(SCHEDULERS.len())];
    let mut words = format!("ipvsadm {verb} {} -s {scheduler}", kind.words);
    if dice.one_in(3)
        && let Some(flags) = match scheduler {
            "sh" => Some(["sh-fallback", "sh-port", "sh-fallback,sh-port"]),
            "mh" => Some(["mh-fallback", "mh-port", "mh-fallback,mh-port"]),
            _ => None,
        }
    {
        words.push_str(" -b ");
        words.push_str(flags[dice.below(3)]);
    }
    if kind.persistent || dice.one_in(4) {
        words.push_str(match (dice.below(3), short_timers) {
            (0, _) => " -p",
            (1, true) => " -p 3",
            _ => " -p 50",
        });
        if dice.one_in(3) {
            words.push_str(match kind.family {
                4 => [" -M 255.255.255.0", " -M 255.255.0.0"][dice.below(2)],
                _ => [" -M 64", " -M 48"][dice.below(2)],
            });
        }
    }
    // ipvsadm takes it for services of UDP and of marks only.
    let datagrams = kind.words.starts_with("-u") || kind.words.starts_with("-f");
    if datagrams && dice.one_in(6) {
        words.push_str(" -o");
    }
    Action::Command(words)
}

fn address(kind: &Kind, number: usize) -> String {
    // Every other server listens on another port than the service.
    let port = kind.ports && number.is_multiple_of(2);
    match (kind.family, port) {
        (4, true) => format!("10.1.0.{}:8080", 10 + number),
        (4, false) => format!("10.1.0.{}", 10 + number),
        (_, true) => format!("[fd01::{:x}]:8080", 0x10 + number),
        // ipvsadm takes no IPv6 address in brackets without a port.
        (_, false) => format!(
            "[fd01::{:x}]:{}",
            0x10 + number,
            match kind.targets {
                [(Sctp, _)] => 9,
                _ if kind.ports => 80,
                _ => 0,
            }
        ),
    }
}

fn server(dice: &mut Dice, kind: &Kind, verb: &str, number: usize, method: char) -> Action {
    let address = address(kind, number);
    let weight = [1, 1, 1, 2, 3, 5, 0, 100][dice.below(8)];
    let mut words = format!(
        "ipvsadm {verb} {} -r {address} -{method} -w {weight}",
        kind.words
    );
    if dice.one_in(8) {
        let upper = 1 + dice.below(6);
        words.push_str(&format!(" -x {upper}"));
        if dice.one_in(2) {
            words.push_str(&format!(" -y {}", dice.below(upper)));
        }
    }
    Action::Command(words)
}
