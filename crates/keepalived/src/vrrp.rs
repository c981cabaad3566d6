//! `vrrp_instance` and `vrrp_sync_group`: virtual routers as `[[vrrp]]` has them.
//!
//! keepalived's names of interfaces are kept here; [`crate::Import::apply`] finds the ports behind them.

use crate::{
    Import,
    note::Notes,
    routes,
    track::{Lines, What},
    tree::Statement,
    value::{flag, parsed},
    vrrp_notify::Programs,
    vrrp_words::{GROUP, INSTANCE, other},
};
use config::{AuthType, Route, Sync, SyncRole, Vrrp, VrrpNotify};
use std::{collections::BTreeMap, net::IpAddr};

/// Bytes of a password that count (RFC 2338).
const PASSWORD: usize = 8;

/// The priority of who owns the addresses.
const OWNER: u8 = 255;

/// What `global_defs` says for all instances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    version: Option<u8>,
    strict: bool,
    garp_repeat: u32,
    garp_delay: u32,
    garp_refresh: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            version: None,
            strict: false,
            garp_repeat: 5,
            garp_delay: 5,
            garp_refresh: 0,
        }
    }
}

/// A word of `global_defs` that begins with `vrrp_`.
pub(crate) fn global(inner: &Statement, defaults: &mut Defaults, notes: &mut Notes) {
    match inner.keyword() {
        "vrrp_version" => {
            if let Some(version) = version(inner, notes) {
                defaults.version = Some(version);
            }
        }
        "vrrp_garp_master_repeat" => number(inner, &mut defaults.garp_repeat, notes),
        "vrrp_garp_master_delay" => number(inner, &mut defaults.garp_delay, notes),
        "vrrp_garp_master_refresh" => number(inner, &mut defaults.garp_refresh, notes),
        "vrrp_mcast_group4" | "vrrp_mcast_group6" => {
            let group = inner.argument(0).unwrap_or_default();
            match group {
                "224.0.0.18" | "ff02::12" => notes.exact(inner),
                _ => notes.unsupported(inner, "the group is 224.0.0.18 and ff02::12"),
            }
        }
        "vrrp_strict" => strict(inner, &mut defaults.strict, notes),
        "vrrp_down_timer_adverts"
        | "vrrp_garp_master_refresh_repeat"
        | "vrrp_check_unicast_src"
        | "vrrp_garp_lower_prio_repeat"
        | "vrrp_garp_lower_prio_delay"
        | "vrrp_higher_prio_send_advert"
        | "vrrp_lower_prio_no_advert"
        | "vrrp_notify_priority_changes" => {
            let of_instance = inner.keyword().trim_start_matches("vrrp_");
            other(inner, of_instance, "global_defs", &[], notes);
        }
        "vrrp_iptables" | "vrrp_ipsets" | "vrrp_startup_delay" => {
            notes.unsupported(inner, "virtual routers are as docs/takeover.md says");
        }
        _ => notes.harmless(inner, ""),
    }
}

/// What the file says of virtual routers.
#[derive(Debug, Default)]
pub(crate) struct Routers {
    instances: Vec<Vrrp>,
    /// Instances' names to their group's.
    groups: BTreeMap<String, String>,
    /// What instances and groups track.
    tracked: Lines,
    /// What is run when they are in another state.
    programs: Programs,
    /// Where an instance has connections told of: the old place of `lvs_sync_daemon`.
    pub sync: Option<Sync>,
    /// Their routes.
    pub routes: Vec<Route>,
    /// Other words of groups: old files name members without `group { }`.
    loose: Vec<(String, Statement)>,
}

impl Routers {
    pub fn instance(&mut self, statement: &Statement, defaults: &Defaults, notes: &mut Notes) {
        let Some(name) = name(statement, notes) else {
            return;
        };
        notes.exact(statement);
        let mut made = blank(name, defaults);
        let mut said = Said {
            strict: defaults.strict,
            ..Said::default()
        };
        for inner in statement.inner() {
            self.word(inner, &mut made, &mut said, notes);
        }
        let Said {
            version: wanted_version,
            excluded: mut others,
            accept,
            strict,
        } = said;
        made.accept = accept.unwrap_or(true);
        let Some(first) = made.virtual_ipaddress.first().copied() else {
            notes.unsupported(
                statement,
                "a virtual router without `virtual_ipaddress` moves nothing",
            );
            return;
        };
        if made.interface.is_empty() || made.virtual_router_id == 0 {
            notes.wrong(statement, "needed are `interface` and `virtual_router_id`");
            return;
        }
        let other_family = |ip: &IpAddr| ip.is_ipv4() != first.is_ipv4();
        others.extend(made.virtual_ipaddress.iter().copied().filter(other_family));
        made.virtual_ipaddress.retain(|ip| !other_family(ip));
        made.virtual_ipaddress_excluded = others;
        let default = defaults.version.unwrap_or(2);
        made.version = if first.is_ipv6() {
            3
        } else {
            wanted_version.unwrap_or(default)
        };
        if made.version == 2 && !made.advert_int_ms.is_multiple_of(1000) {
            made.advert_int_ms = (made.advert_int_ms / 1000).max(1) * 1000;
            notes.mapped(
                statement,
                "version 2 has whole seconds: `advert_int` is rounded, as keepalived does",
            );
        }
        if strict {
            be_strict(&mut made, accept);
        }
        if made.version == 3 && made.auth_pass.take().is_some() {
            made.auth_type = AuthType::Pass;
            notes.mapped(
                statement,
                "version 3 has no passwords: `authentication` is left out, as keepalived does",
            );
        }
        self.instances.push(made);
    }

    fn word(&mut self, inner: &Statement, made: &mut Vrrp, said: &mut Said, notes: &mut Notes) {
        let word = inner.keyword();
        match word {
            "state" => match inner.argument(0).map(str::to_ascii_uppercase).as_deref() {
                Some("BACKUP") => notes.exact(inner),
                Some("MASTER" | "EQUAL" | "SLAVE") => {
                    notes.mapped(inner, "every director listens first; the priority decides");
                }
                _ => notes.wrong(inner, "it is MASTER or BACKUP"),
            },
            "interface" => {
                made.interface = inner.argument(0).unwrap_or_default().to_owned();
                notes.exact(inner);
            }
            "virtual_router_id" => number(inner, &mut made.virtual_router_id, notes),
            "priority" => number(inner, &mut made.priority, notes),
            "advert_int" => advert_int(inner, made, notes),
            "version" | "vrrp_version" => said.version = version(inner, notes),
            "nopreempt" => {
                made.preempt = false;
                notes.exact(inner);
            }
            "preempt" => notes.exact(inner),
            "preempt_delay" => preempt_delay(inner, made, notes),
            "authentication" => authentication(inner, made, notes),
            "virtual_ipaddress" => addresses(inner, &mut made.virtual_ipaddress, notes),
            "virtual_ipaddress_excluded" => addresses(inner, &mut said.excluded, notes),
            "unicast_peer" => addresses(inner, &mut made.unicast_peer, notes),
            "unicast_src_ip" | "mcast_src_ip" | "track_src_ip" => {
                notes.mapped(
                    inner,
                    "advertisements come from the first of the interface's `addresses`",
                );
            }
            "accept" | "no_accept" => {
                said.accept = Some(inner.keyword() == "accept");
                notes.exact(inner);
            }
            "virtual_routes" => routes::read(inner, true, &mut self.routes, notes),
            "strict_mode" => strict(inner, &mut said.strict, notes),
            "use_vmac" => {
                made.use_vmac = true;
                match inner.argument(1) {
                    Some(_) => notes.unsupported(
                        inner,
                        "the MAC is 00:00:5e:00:01 (IPv6: 02) and the virtual_router_id",
                    ),
                    None => notes.exact(inner),
                }
            }
            "vmac_xmit_base" => notes.mapped(
                inner,
                "advertisements come from the virtual MAC: switches learn by them where it is",
            ),
            "garp_master_repeat" => number(inner, &mut made.garp_master_repeat, notes),
            "garp_master_delay" => number(inner, &mut made.garp_master_delay, notes),
            "garp_master_refresh" => number(inner, &mut made.garp_master_refresh, notes),
            "lvs_sync_daemon_interface" | "lvs_sync_daemon_inteface" => self.sync(inner, notes),
            _ if self.programs.take(&made.name, inner, notes) => {}
            _ => match What::of(word) {
                Some(what) => self.tracked.add(&made.name, what, inner, notes),
                None => other(inner, word, "vrrp_instance", INSTANCE, notes),
            },
        }
    }

    fn sync(&mut self, inner: &Statement, notes: &mut Notes) {
        let Some(interface) = inner.argument(0) else {
            notes.wrong(inner, "it is the name of an interface");
            return;
        };
        if self
            .sync
            .as_ref()
            .is_some_and(|sync| sync.interface != interface)
        {
            notes.wrong(inner, "another instance names another interface; write `lvs_sync_daemon INTERFACE` in global_defs");
            return;
        }
        notes.mapped(
            inner,
            "[sync]: this director tells while it is master of any virtual router; `lvs_sync_daemon` of global_defs comes first",
        );
        self.sync = Some(Sync {
            role: SyncRole::Vrrp,
            interface: interface.to_owned(),
            ..Sync::default()
        });
    }

    pub fn group(&mut self, statement: &Statement, notes: &mut Notes) {
        let Some(name) = name(statement, notes) else {
            return;
        };
        notes.exact(statement);
        for inner in statement.inner() {
            match inner.keyword() {
                "group" => {
                    notes.exact(inner);
                    for member in inner.inner() {
                        self.groups.insert(fitting(member.keyword()), name.clone());
                        notes.exact(member);
                    }
                }
                "global_tracking" | "sync_group_tracking_weight" => {
                    self.tracked.weighted.push(name.clone());
                    notes.exact(inner);
                }
                _ if self.programs.take(&name, inner, notes) => {}
                word => match What::of(word) {
                    Some(what) => self.tracked.add(&name, what, inner, notes),
                    None => self.loose.push((name.clone(), inner.clone())),
                },
            }
        }
    }

    /// The virtual routers and their programs, when the whole file is read. `user`: who runs what names nobody.
    pub fn finish(
        mut self,
        import: &Import,
        user: Option<&str>,
        notes: &mut Notes,
    ) -> (Vec<Vrrp>, Vec<VrrpNotify>) {
        for (group, inner) in std::mem::take(&mut self.loose) {
            let member = fitting(inner.keyword());
            if self.instances.iter().any(|v| v.name == member) {
                self.groups.insert(member, group);
                notes.mapped(&inner, "taken as a member: write it in `group { }`");
            } else {
                other(&inner, inner.keyword(), "vrrp_sync_group", GROUP, notes);
            }
        }
        for instance in &mut self.instances {
            instance.sync_group = self.groups.get(&instance.name).cloned();
        }
        self.tracked.finish(&mut self.instances, import, notes);
        let programs = self.programs.finish(&self.instances, user);
        (self.instances, programs)
    }
}

/// What an instance says beside what `[[vrrp]]` has as it is.
#[derive(Default)]
struct Said {
    version: Option<u8>,
    excluded: Vec<IpAddr>,
    accept: Option<bool>,
    strict: bool,
}

/// `vrrp_strict` and `strict_mode`, with or without a word for yes or no.
fn strict(inner: &Statement, slot: &mut bool, notes: &mut Notes) {
    let Some(on) = flag(inner, notes) else {
        return;
    };
    *slot = on;
    match on {
        true => notes.mapped(
            inner,
            "as there: no password, no `preempt_delay`, and the addresses answer nothing beside their services (there its firewall \
             stops these, too); a worse master is contradicted all the same",
        ),
        false => notes.exact(inner),
    }
}

/// Strict mode, as keepalived 2 has it: what the standards do not have is not done.
fn be_strict(made: &mut Vrrp, accept: Option<bool>) {
    made.auth_pass = None;
    made.auth_type = AuthType::Pass;
    made.preempt_delay = 0;
    // Version 2 knows of no accept mode (RFC 3768).
    let may = made.version == 3 && accept == Some(true);
    made.accept = made.priority == OWNER || may;
}

fn blank(name: String, defaults: &Defaults) -> Vrrp {
    Vrrp {
        version: 2,
        garp_master_repeat: defaults.garp_repeat,
        garp_master_delay: defaults.garp_delay,
        garp_master_refresh: defaults.garp_refresh,
        ..Vrrp::new(name, String::new(), 0)
    }
}

/// The name behind the word, as `[[vrrp]]` can have it.
fn name(statement: &Statement, notes: &mut Notes) -> Option<String> {
    let Some(name) = statement.argument(0).filter(|name| !name.is_empty()) else {
        notes.wrong(statement, "it needs a name");
        return None;
    };
    let fitting = fitting(name);
    if fitting != name {
        notes.mapped(statement, format!("it is called `{fitting}` here"));
    }
    Some(fitting)
}

pub(crate) fn fitting(name: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
        true => c,
        false => '_',
    };
    name.chars().take(32).map(letter).collect()
}

fn version(inner: &Statement, notes: &mut Notes) -> Option<u8> {
    match inner.argument(0) {
        Some("2") => notes.exact(inner),
        Some("3") => {
            notes.exact(inner);
            return Some(3);
        }
        _ => {
            notes.wrong(inner, "it is 2 or 3");
            return None;
        }
    }
    Some(2)
}

fn number<T: std::str::FromStr>(inner: &Statement, slot: &mut T, notes: &mut Notes) {
    if let Some(value) = parsed(inner, "such a number", notes) {
        *slot = value;
        notes.exact(inner);
    }
}

fn advert_int(inner: &Statement, made: &mut Vrrp, notes: &mut Notes) {
    let Some(seconds) = parsed::<f64>(inner, "a number of seconds", notes) else {
        return;
    };
    if !(0.01..=255.0).contains(&seconds) {
        return notes.wrong(inner, "it is 0.01 to 40.95 seconds, in version 2 up to 255");
    }
    let hundredths = format!("{:.0}", seconds * 100.0);
    made.advert_int_ms = hundredths.parse::<u32>().unwrap_or(100) * 10;
    notes.exact(inner);
}

fn preempt_delay(inner: &Statement, made: &mut Vrrp, notes: &mut Notes) {
    let Some(seconds) = parsed::<f64>(inner, "a number of seconds", notes) else {
        return;
    };
    if !(0.0..=1000.0).contains(&seconds) {
        return notes.wrong(inner, "it is 0 to 1000 seconds");
    }
    let whole = format!("{:.0}", seconds.ceil());
    made.preempt_delay = whole.parse().unwrap_or(0);
    if seconds.fract() == 0.0 {
        notes.exact(inner);
    } else {
        notes.mapped(inner, "rounded up to whole seconds");
    }
}

fn authentication(inner: &Statement, made: &mut Vrrp, notes: &mut Notes) {
    notes.exact(inner);
    for word in inner.inner() {
        match (word.keyword(), word.argument(0)) {
            ("auth_type", Some("PASS")) => notes.exact(word),
            ("auth_type", Some("AH")) => {
                made.auth_type = AuthType::Ah;
                notes.exact(word);
            }
            ("auth_type", _) => notes.unsupported(word, "there are PASS and AH"),
            ("auth_pass", Some(text)) => {
                made.auth_pass = Some(text.chars().take(PASSWORD).collect());
                match text.chars().count() > PASSWORD {
                    true => notes.mapped(word, "the first 8 characters count, as there"),
                    false => notes.exact(word),
                }
            }
            _ => notes.unknown(word, "authentication", &["auth_type", "auth_pass"]),
        }
    }
}

/// Addresses, one a line, with what else a Linux host wants to know of them.
fn addresses(inner: &Statement, into: &mut Vec<IpAddr>, notes: &mut Notes) {
    notes.exact(inner);
    for line in inner.inner() {
        let text = line.keyword();
        let address = text.split('/').next().unwrap_or_default();
        let Ok(address) = address.parse::<IpAddr>() else {
            notes.wrong(line, format!("{text:?} is no address"));
            continue;
        };
        match into.contains(&address) {
            true => notes.harmless(line, "named already"),
            false => {
                into.push(address);
                match line.arguments().iter().any(|word| word == "dev") {
                    true => notes.mapped(line, "an address is on the link whose network it is of"),
                    false => notes.exact(line),
                }
            }
        }
    }
}
