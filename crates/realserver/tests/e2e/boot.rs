//! A simulated boot: what systemd (or init) would run, in its order, from a namespace wiped of state. The units are read and obeyed:
//! wants, requires, before, after, ExecStart.

use crate::lab::{SERVERS, Server, sh};
use std::{collections::BTreeSet, fs};

#[derive(Clone, Debug)]
struct Unit {
    name: String,
    after: Vec<String>,
    requires: Vec<String>,
    early: bool,
    start: Vec<String>,
}

fn parse(name: &str, text: &str) -> Unit {
    let all = |key: &str| -> Vec<String> {
        text.lines()
            .filter_map(|l| l.strip_prefix(key))
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect()
    };
    Unit {
        name: name.into(),
        after: all("After="),
        requires: all("Requires="),
        early: all("Before=")
            .iter()
            .any(|u| u == "network-pre.target" || u == "network.target"),
        start: text
            .lines()
            .filter_map(|l| l.strip_prefix("ExecStart="))
            .map(str::to_owned)
            .collect(),
    }
}

impl Server {
    /// Power off, power on, and everything the boot system would do.
    pub fn boot(&mut self) {
        self.power_off();
        self.power_on();
        // systemd-sysctl.service, before network-pre.target.
        let mut files: Vec<_> = fs::read_dir(self.etc("sysctl.d"))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        files.sort();
        for file in files
            .iter()
            .filter_map(|f| f.to_str())
            .filter(|f| f.ends_with(".conf"))
        {
            self.run(&format!("sysctl -q -e -p /etc/sysctl.d/{file}"));
        }
        let mut started = BTreeSet::new();
        let mut failed = BTreeSet::new();
        if fs::read_to_string(self.etc("lab-init")).is_ok_and(|i| i == "sysv") {
            return self.boot_sysv();
        }
        let units = self.wanted();
        self.start_units(units.iter().filter(|u| u.early), &mut started, &mut failed);
        self.network();
        self.start_units(units.iter().filter(|u| !u.early), &mut started, &mut failed);
        assert!(failed.is_empty(), "units failed at boot: {failed:?}");
    }

    /// The network is started: link up, then addresses and routes, as the distribution's own service does.
    fn network(&self) {
        let (v4, v6, _) = SERVERS[self.index];
        // A neighbour solicitation for a packet from lo's address starts from the link-local one.
        let v6_end = self.index + 3;
        self.run(&format!(
            "ip addr add {v4}/24 dev eth0; ip link set eth0 up; ip -6 addr add {v6}/64 dev eth0 nodad; ip -6 addr add fe80::{v6_end}/64 dev eth0 nodad; ip route add default via 10.7.0.1; ip -6 route add default via fd07::1"
        ))
        .fine();
    }

    fn wanted(&self) -> Vec<Unit> {
        let wants = fs::read_dir(self.etc("systemd/system/multi-user.target.wants"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = wants
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| n != "firewalld.service")
            .collect();
        names.sort();
        let firewalld = self.etc("systemd/system/multi-user.target.wants/firewalld.service");
        let mut units: Vec<Unit> = names
            .iter()
            .filter_map(|n| {
                Some(parse(
                    n,
                    &fs::read_to_string(self.etc("systemd/system").join(n)).ok()?,
                ))
            })
            .collect();
        if fs::symlink_metadata(firewalld).is_ok() {
            // Its own unit is Before=network-pre.target; starting it takes D-Bus too.
            units.push(Unit {
                name: "firewalld.service".into(),
                after: vec![],
                requires: vec![],
                early: true,
                start: vec!["firewalld".into()],
            });
        }
        units
    }

    fn start_units<'a>(
        &mut self,
        units: impl Iterator<Item = &'a Unit>,
        started: &mut BTreeSet<String>,
        failed: &mut BTreeSet<String>,
    ) {
        let mut waiting: Vec<Unit> = units.cloned().collect();
        while !waiting.is_empty() {
            let ready = waiting
                .iter()
                .position(|u| !u.after.iter().any(|a| waiting.iter().any(|w| w.name == *a)))
                .expect("no cycle");
            let unit = waiting.remove(ready);
            if unit.requires.iter().any(|r| !started.contains(r)) {
                failed.insert(unit.name);
                continue;
            }
            let fine = unit.start.iter().all(|line| {
                if line == "firewalld" {
                    self.firewalld();
                    return true;
                }
                let (line, may_fail) = line
                    .strip_prefix('-')
                    .map_or((line.as_str(), false), |l| (l, true));
                self.run(line).ok || may_fail
            });
            if fine {
                started.insert(unit.name)
            } else {
                failed.insert(unit.name)
            };
        }
    }

    /// init: the S links of runlevel 3 in their order; S10network is the network.
    fn boot_sysv(&mut self) {
        let links = sh(&format!("ls {}", self.etc("rc.d/rc3.d").display())).out;
        for link in links.lines().filter(|l| l.starts_with('S')) {
            if link == "S10network" {
                self.network();
            } else {
                self.run(&format!("/etc/rc.d/rc3.d/{link} start")).fine();
            }
        }
    }
}
