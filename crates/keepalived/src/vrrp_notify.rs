//! `notify_master` and the like of `vrrp_instance` and `vrrp_sync_group`: the programs of `[[vrrp_notify]]`.

use crate::{note::Notes, track::ENV, tree::Statement, value::command};
use config::{Vrrp, VrrpNotify};

/// The words.
pub(crate) const WORDS: &[&str] = &[
    "notify",
    "notify_backup",
    "notify_fault",
    "notify_master",
    "notify_master_rx_lower_pri",
    "notify_stop",
];

/// The programs of routers and groups, and who runs them, as the file says.
#[derive(Debug, Default)]
pub(crate) struct Programs(Vec<(VrrpNotify, Option<String>)>);

impl Programs {
    /// Takes the statement if it is one of [`WORDS`]: `notify_master "PROGRAM ARGUMENTS" USER GROUP`.
    pub fn take(&mut self, router: &str, inner: &Statement, notes: &mut Notes) -> bool {
        if !WORDS.contains(&inner.keyword()) {
            return false;
        }
        let mut words = command(inner.argument(0).unwrap_or_default());
        match words.first() {
            None => {
                notes.wrong(inner, "it names no program: write its path, and its arguments with it in quotation marks");
                return true;
            }
            Some(path) if path.starts_with('/') => {}
            Some(_) => words.insert(0, ENV.to_owned()),
        }
        let user = inner.argument(1).map(str::to_owned);
        let known =
            |(of, by): &&mut (VrrpNotify, Option<String>)| of.router == router && *by == user;
        let at = match self.0.iter_mut().find(known) {
            Some((of, _)) => of,
            None => {
                self.0.push((VrrpNotify::new(router.to_owned()), user));
                // Pushed just now.
                let Some((of, _)) = self.0.last_mut() else {
                    return true;
                };
                of
            }
        };
        let slot = match inner.keyword() {
            "notify_master" => &mut at.master,
            "notify_backup" => &mut at.backup,
            "notify_fault" => &mut at.fault,
            "notify_stop" => &mut at.stop,
            "notify_master_rx_lower_pri" => &mut at.rx_lower_pri,
            _ => &mut at.any,
        };
        if slot.is_empty() {
            *slot = words;
            notes.mapped(
                inner,
                "[[vrrp_notify]]; never runs as root unless a user is named here, or by `script_user`",
            );
        } else {
            notes.harmless(inner, "named already: the first counts, as in keepalived");
        }
        true
    }

    /// The programs of those of `routers`, or their groups. `user`: who runs what names nobody.
    pub fn finish(self, routers: &[Vrrp], user: Option<&str>) -> Vec<VrrpNotify> {
        let mut all: Vec<VrrpNotify> = Vec::new();
        for (mut of, by) in self.0 {
            if !routers.iter().any(|router| of.is_about(router)) {
                continue;
            }
            if let Some(user) = by.as_deref().or(user) {
                user.clone_into(&mut of.user);
            }
            let same =
                |other: &&mut VrrpNotify| (&other.router, &other.user) == (&of.router, &of.user);
            match all.iter_mut().find(same) {
                Some(other) => fill(other, of),
                None => all.push(of),
            }
        }
        all
    }
}

/// What one table lacks, from another.
fn fill(one: &mut VrrpNotify, other: VrrpNotify) {
    for (slot, program) in [
        (&mut one.master, other.master),
        (&mut one.backup, other.backup),
        (&mut one.fault, other.fault),
        (&mut one.stop, other.stop),
        (&mut one.any, other.any),
        (&mut one.rx_lower_pri, other.rx_lower_pri),
    ] {
        if slot.is_empty() {
            *slot = program;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Class, NoIncludes, read};

    const ROUTER: &str = "interface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n";

    fn import(text: &str) -> crate::Import {
        read(text, "k.conf", "n", &mut NoIncludes)
    }

    #[test]
    fn programs_of_instances_and_groups_are_run_by_who_is_named() {
        let text = format!(
            "vrrp_sync_group G {{\ngroup {{\nA\n}}\nnotify \"/bin/all of them\"\n}}\n\
             vrrp_instance A {{\n{ROUTER}notify_master \"/bin/up 'to the top' 1\" root\nnotify_backup down.sh\nnotify_fault /bin/f root staff\nnotify_master_rx_lower_pri /bin/l root\n\
             notify_stop /bin/s root\nnotify_stop /bin/again root\n}}\n\
             vrrp_instance B {{\nnotify /bin/never\n}}\nglobal_defs {{\nscript_user lvs\n}}\n"
        );
        let import = import(&text);
        let told: Vec<String> = import
            .vrrp_notify
            .iter()
            .map(|n| {
                let said = n.programs();
                let said = said.iter().filter(|(_, words)| !words.is_empty());
                let said: Vec<String> = said
                    .map(|(key, words)| format!("{key} {}", words.join("|")))
                    .collect();
                format!("{} as {}: {}", n.router, n.user, said.join(", "))
            })
            .collect();
        assert_eq!(
            told,
            [
                "G as lvs: notify /bin/all|of|them",
                "A as root: notify_master /bin/up|to the top|1, notify_fault /bin/f, notify_stop /bin/s, notify_master_rx_lower_pri /bin/l",
                "A as lvs: notify_backup /usr/bin/env|down.sh",
            ]
        );
        let harmless = import.notes.iter().filter(|n| n.class == Class::Harmless);
        assert_eq!(harmless.count(), 1, "{:?}", import.notes);
    }

    #[test]
    fn a_word_without_a_program_is_a_mistake() {
        let import = import(&format!("vrrp_instance A {{\n{ROUTER}notify_master\n}}\n"));
        let wrong: Vec<String> = import.notes.iter().map(ToString::to_string).collect();
        assert!(import.vrrp_notify.is_empty());
        assert!(
            wrong
                .iter()
                .any(|line| line.contains("it names no program")),
            "{wrong:?}"
        );
    }
}
