//! What brings a real server up again at boot: the distribution's own service where it has one, else a unit or init script of ours.
//!
//! Our units hold plain commands, so that anyone can read them, and need no Tarpon on the server. A unit that raises a VIP *requires* and follows the
//! one that filters ARP: if the filter fails, the VIP stays down.

use super::Plan;
use crate::{
    action::{Action, Rule, Tool, words},
    facts::Facts,
    request::{Boot, Request},
};

/// Our units and init scripts are `tarpon-realserver-NAME`.
pub const UNIT_PREFIX: &str = "tarpon-realserver";

/// Who carries the configuration over a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Rhel,
    Debian,
    SysvRhel,
    SysvDebian,
    None,
}

impl Carrier {
    pub(super) const fn persists(self) -> bool {
        !matches!(self, Self::None)
    }
}

pub(super) fn carrier(requests: &[&Request], facts: &Facts, plan: &mut Plan) -> Carrier {
    // The latest request decides: all of a method share their files.
    match requests.last().map(|r| r.boot).unwrap_or_default() {
        Boot::Rhel => Carrier::Rhel,
        Boot::Debian => Carrier::Debian,
        Boot::Sysv if facts.files && !facts.init.red_hat => Carrier::SysvDebian,
        Boot::Sysv => Carrier::SysvRhel,
        Boot::None => Carrier::None,
        Boot::Auto if !facts.files || (facts.init.systemd && !facts.init.red_hat) => {
            Carrier::Debian
        }
        Boot::Auto if facts.init.systemd => Carrier::Rhel,
        Boot::Auto if facts.tools.contains_key("chkconfig") => Carrier::SysvRhel,
        Boot::Auto if facts.tools.contains_key("update-rc.d") => Carrier::SysvDebian,
        Boot::Auto => {
            plan.note("neither systemd nor init scripts were found: nothing here survives a boot; run apply again from whatever starts this machine");
            Carrier::None
        }
    }
}

/// A unit (or init script) of ours.
pub(super) struct Unit {
    pub name: &'static str,
    pub what: &'static str,
    /// Without waiting for the network: before it is started, or, where interfaces must exist (which the network's own service may
    /// create: bonds, VLANs), beside it. Else once it is up.
    pub early: bool,
    /// Interfaces that must exist; waited for.
    pub devices: Vec<String>,
    /// Units that must have succeeded before.
    pub requires: Vec<String>,
    /// Commands that must succeed first, where init knows no such dependency.
    pub guards: Vec<String>,
    pub start: Vec<String>,
    pub stop: Vec<String>,
}

/// A command of a unit file.
pub(super) fn line(argv: &[String]) -> String {
    let (tool, rest) = argv
        .split_first()
        .map_or(("", [].as_slice()), |(t, r)| (t.as_str(), r));
    format!("@{tool}@ {}", words(rest))
}

/// Commands that put addresses up; again is no change.
pub(super) fn raise(addresses: &[Action]) -> impl Iterator<Item = String> + '_ {
    addresses.iter().map(|a| line(&a.address_argv("replace")))
}

/// Commands that take them away, the last first.
pub(super) fn lower(addresses: &[Action]) -> Vec<String> {
    let del = |a: &Action| line(&a.address_argv("del"));
    addresses.iter().rev().map(del).collect()
}

pub(super) fn install(unit: &Unit, carrier: Carrier, plan: &mut Plan) {
    let name = format!("{UNIT_PREFIX}-{}", unit.name);
    match carrier {
        Carrier::None => {}
        Carrier::Rhel | Carrier::Debian => {
            plan.push(
                format!("at boot: {}", unit.what),
                Action::File {
                    path: format!("/etc/systemd/system/{name}.service").into(),
                    content: service(unit),
                    mode: 0o644,
                    append: false,
                },
            );
            plan.push(
                "let it start at boot",
                Action::Enable {
                    unit: format!("{name}.service"),
                },
            );
        }
        Carrier::SysvRhel | Carrier::SysvDebian => {
            plan.push(
                format!("at boot: {}", unit.what),
                Action::File {
                    path: format!("/etc/init.d/{name}").into(),
                    content: init_script(unit),
                    mode: 0o755,
                    append: false,
                },
            );
            plan.push("let it start at boot", Action::Chkconfig { service: name });
        }
    }
}

/// Persist rules the way the documents do; returns the unit that restores them.
pub(super) fn save_rules(
    tool: Tool,
    rules: &[Rule],
    carrier: Carrier,
    facts: &Facts,
    plan: &mut Plan,
) -> String {
    let name = tool.name();
    let has = |unit: &str| !facts.files || facts.init.units.contains(unit);
    let save = |path: String| Action::Save {
        argv: vec![format!("{name}-save")],
        path: path.into(),
        stdout: true,
        rules: rules.to_vec(),
    };
    let why = "the rules at boot, before the network is started";
    let debian_file = if tool == Tool::Ip6tables {
        "/etc/iptables/rules.v6"
    } else {
        "/etc/iptables/rules.v4"
    };
    match carrier {
        Carrier::Rhel if facts.runs() && has(&format!("{name}.service")) => {
            plan.push(why, save(format!("/etc/sysconfig/{name}")));
            plan.push(
                "the distribution's service restores them",
                Action::Enable {
                    unit: format!("{name}.service"),
                },
            );
            format!("{name}.service")
        }
        Carrier::Debian
            if facts.known && tool != Tool::Arptables && has("netfilter-persistent.service") =>
        {
            plan.push(why, save(debian_file.into()));
            plan.push(
                "the distribution's service restores them",
                Action::Enable {
                    unit: "netfilter-persistent.service".into(),
                },
            );
            "netfilter-persistent.service".into()
        }
        Carrier::SysvRhel if facts.runs() => {
            let jf = tool == Tool::Arptables
                && (!facts.files || facts.init.scripts.contains("arptables_jf"));
            let service = if jf { "arptables_jf" } else { name };
            plan.push(
                why,
                Action::Save {
                    argv: vec!["service".into(), service.into(), "save".into()],
                    path: format!("/etc/sysconfig/{name}").into(),
                    stdout: false,
                    rules: rules.to_vec(),
                },
            );
            plan.push(
                "the distribution's service restores them",
                Action::Chkconfig {
                    service: service.into(),
                },
            );
            service.into()
        }
        _ => {
            let wait = if tool == Tool::Arptables { "" } else { "-w " };
            let command = |rule: &Rule, verb: &str| {
                let mut argv: Vec<String> = rule
                    .tool
                    .table_words()
                    .iter()
                    .map(|w| (*w).to_owned())
                    .collect();
                argv.push(verb.into());
                argv.push(match (rule.tool, rule.chain.as_str()) {
                    (Tool::Arptables, chain) => format!("@{chain}@"),
                    (_, chain) => chain.to_owned(),
                });
                argv.extend(rule.spec.iter().cloned());
                // Placeholders stay bare; nothing else in a rule needs quoting.
                format!("@{name}@ {wait}{}", argv.join(" "))
            };
            let unit = Unit {
                name,
                what: match tool {
                    Tool::Arptables => "the rules that keep the VIPs out of ARP",
                    _ => "the rules that take the VIPs' packets",
                },
                early: true,
                devices: vec![],
                requires: vec![],
                guards: vec![],
                start: rules.iter().map(|r| command(r, "-A")).collect(),
                stop: rules.iter().rev().map(|r| command(r, "-D")).collect(),
            };
            install(&unit, carrier, plan);
            format!("{UNIT_PREFIX}-{name}.service")
        }
    }
}

/// Persist the nft table: an include where the distribution's nftables.service is in use (it flushes the ruleset), else a unit of ours.
pub(super) fn nft(file: &str, carrier: Carrier, facts: &Facts, plan: &mut Plan) {
    let conf = if carrier == Carrier::Rhel {
        "/etc/sysconfig/nftables.conf"
    } else {
        "/etc/nftables.conf"
    };
    if facts.files && facts.init.enabled.contains("nftables.service") {
        plan.push(
            "nftables.service flushes the ruleset before it loads its own, so the table must be part of it",
            Action::File { path: conf.into(), content: format!("include \"{file}\"\n"), mode: 0o644, append: true },
        );
        return;
    }
    let unit = Unit {
        name: "nftables",
        what: "the table that takes the VIPs' packets",
        early: true,
        devices: vec![],
        requires: vec![],
        guards: vec![],
        start: vec![format!("@nft@ -f {file}")],
        stop: ["ip", "ip6"]
            .iter()
            .map(|f| format!("-@nft@ delete table {f} {}", crate::action::NFT_TABLE))
            .collect(),
    };
    install(&unit, carrier, plan);
}

fn service(unit: &Unit) -> String {
    let mut text = format!(
        "# Written by tarpon realserver; `undo` removes it.\n[Unit]\nDescription=LVS real server: {}\n",
        unit.what
    );
    let mut after: Vec<String> = unit.requires.clone();
    for other in &unit.requires {
        text.push_str(&format!("Requires={other}\n"));
    }
    if unit.early {
        // systemd's own defaults would put it after basic.target, when network services may be running already.
        text.push_str("DefaultDependencies=no\nConflicts=shutdown.target\n");
        // What waits for an interface must not hold up the service that may be about to create it.
        text.push_str(if unit.devices.is_empty() {
            "Wants=network-pre.target\nBefore=network-pre.target shutdown.target\n"
        } else {
            "Before=network.target network-online.target shutdown.target\n"
        });
        // After whatever flushes or replaces the rules of its own table.
        after.extend(
            [
                "local-fs.target",
                "systemd-sysctl.service",
                "nftables.service",
                "arptables.service",
                "iptables.service",
                "ip6tables.service",
                "netfilter-persistent.service",
            ]
            .map(str::to_owned),
        );
    } else {
        text.push_str("Wants=network-online.target\n");
        after.push("network-online.target".into());
    }
    text.push_str(&format!(
        "After={}\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n",
        after.join(" ")
    ));
    // Not by systemd's device units: without udev, as in a container, there are none.
    for device in &unit.devices {
        text.push_str(&format!(
            "ExecStart=/bin/sh -c 'until test -e /sys/class/net/{device}; do sleep 0.1; done'\n"
        ));
    }
    if !unit.devices.is_empty() {
        text.push_str("TimeoutStartSec=90\n");
    }
    for line in &unit.start {
        text.push_str(&format!("ExecStart={line}\n"));
    }
    for line in &unit.stop {
        text.push_str(&format!("ExecStop={line}\n"));
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

/// S09 is before the network (S10) and after arptables and iptables (S08); S11 is after it.
fn init_script(unit: &Unit) -> String {
    let name = format!("{UNIT_PREFIX}-{}", unit.name);
    let (order, lsb_start) = if unit.early {
        ("09 91", "$local_fs")
    } else {
        ("11 89", "$local_fs $network")
    };
    let before = if unit.early {
        "# X-Start-Before:    $network networking\n"
    } else {
        ""
    };
    let body = |lines: &[String], tolerant: bool| -> String {
        if lines.is_empty() {
            return "        :\n".into();
        }
        lines
            .iter()
            .map(|l| {
                let (line, may_fail) = l
                    .strip_prefix('-')
                    .map_or((l.as_str(), tolerant), |rest| (rest, true));
                format!(
                    "        {line} {}\n",
                    if may_fail { "|| :" } else { "|| exit 1" }
                )
            })
            .collect()
    };
    let required = if unit.requires.is_empty() {
        String::new()
    } else {
        format!(" {}", unit.requires.join(" ").replace(".service", ""))
    };
    format!(
        "#!/bin/sh\n# Written by tarpon realserver; `undo` removes it.\n# chkconfig: 2345 {order}\n# description: LVS real server: {what}\n\
         ### BEGIN INIT INFO\n# Provides:          {name}\n# Required-Start:    {lsb_start}{required}\n# Required-Stop:     {lsb_start}\n{before}\
         # Default-Start:     2 3 4 5\n# Default-Stop:      0 1 6\n# Short-Description: LVS real server: {what}\n### END INIT INFO\n\
         case \"$1\" in\n    start|restart|force-reload)\n{start}        ;;\n    stop)\n{stop}        ;;\n    status)\n        :\n        ;;\n    *)\n        \
         echo \"usage: $0 start|stop|restart|status\" >&2\n        exit 2\n        ;;\nesac\n",
        what = unit.what,
        start = body(&[unit.guards.as_slice(), &unit.start].concat(), false),
        stop = body(&unit.stop, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bond0 is made by the network's own service, and a container has no device units.
    #[test]
    fn a_unit_that_waits_for_an_interface_does_not_hold_up_who_makes_it() {
        let text = service(&Unit {
            name: "sysctl",
            what: "a test",
            early: true,
            devices: vec!["bond0".into()],
            requires: vec![],
            guards: vec![],
            start: vec!["@ip@ addr replace 192.0.2.10/32 dev lo".into()],
            stop: vec![],
        });
        assert!(!text.contains("network-pre.target"), "{text}");
        assert!(!text.contains(".device"), "{text}");
        assert!(text.contains("Before=network.target "), "{text}");
        let mut starts = text.lines().filter(|l| l.starts_with("ExecStart="));
        assert!(
            starts
                .next()
                .is_some_and(|l| l.contains("/sys/class/net/bond0"))
        );
        assert!(starts.next().is_some_and(|l| l.contains("192.0.2.10")));
    }
}
