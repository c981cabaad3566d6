//! What differs between two configurations.

mod checks;
mod limits;
mod tell;
mod track;
mod twin;

use crate::{
    Config, Cores, Director, HostTap, MarkRule, Port, Route, Server, Service, ServiceKey, Settings,
    Sync, Vlan, Vrrp,
};
use ::health::ServerPolicy;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
};
use types::IpNet;

/// One difference, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// "service tcp 192.0.2.10:80: scheduler rr -> wlc"
    pub text: String,
    /// How it takes effect.
    pub effect: Effect,
}

/// How a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// While running.
    Reload,
    /// By a restart.
    Restart,
}

/// Every difference, in the order of the file. Empty exactly when the two are equal.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    let on_off = |on: bool| if on { "\"ipvs\"" } else { "off" };
    changes.value(
        Effect::Reload,
        "compat",
        on_off(old.compat_ipvs),
        on_off(new.compat_ipvs),
    );
    director(&mut changes, &old.director, &new.director);
    ports(&mut changes, &old.ports, &new.ports);
    vlans(&mut changes, &old.vlans, &new.vlans);
    routes(&mut changes, old, new);
    let marks = (old.marks.as_slice(), new.marks.as_slice());
    let by_text = |rule: &MarkRule| rule.to_string();
    changes.lists(Effect::Reload, "mark rule ", marks, by_text, |_, _, _| {});
    vrrp(&mut changes, &old.vrrp, &new.vrrp);
    track::scripts(&mut changes, &old.vrrp_scripts, &new.vrrp_scripts);
    track::notify(&mut changes, &old.vrrp_notify, &new.vrrp_notify);
    track::files(&mut changes, &old.track_files, &new.track_files);
    track::gateways(&mut changes, &old.track_gateways, &new.track_gateways);
    track::bfds(&mut changes, &old.track_bfds, &new.track_bfds);
    track::servers(&mut changes, &old.track_servers, &new.track_servers);
    sync(&mut changes, old.sync.as_ref(), new.sync.as_ref());
    twin::twin(&mut changes, old.twin.as_ref(), new.twin.as_ref());
    tell::notify(&mut changes, &old.notify, &new.notify);
    tell::mail(&mut changes, old.mail.as_ref(), new.mail.as_ref());
    limits::access(&mut changes, "access: ", &old.access, &new.access);
    services(&mut changes, &old.services, &new.services);
    settings(&mut changes, &old.settings, &new.settings);
    changes.0
}

struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, effect: Effect, text: String) {
        self.0.push(Change { text, effect });
    }

    fn value<T: PartialEq + Display>(&mut self, effect: Effect, what: &str, old: T, new: T) {
        if old != new {
            self.add(effect, format!("{what} {old} -> {new}"));
        }
    }

    fn optional<T: PartialEq + Display>(
        &mut self,
        effect: Effect,
        what: &str,
        old: Option<&T>,
        new: Option<&T>,
    ) {
        let text = |value: Option<&T>| value.map_or_else(|| "none".to_owned(), ToString::to_string);
        if old != new {
            self.add(effect, format!("{what} {} -> {}", text(old), text(new)));
        }
    }

    /// Elements of two lists that carry the same key; the others are added or removed. Says so when the common ones
    /// stand in another order.
    fn lists<T, K: Ord + Display>(
        &mut self,
        effect: Effect,
        what: &str,
        (old, new): (&[T], &[T]),
        key: impl Fn(&T) -> K,
        mut common: impl FnMut(&mut Self, &T, &T),
    ) {
        let old_keys: BTreeMap<K, &T> = old.iter().map(|e| (key(e), e)).collect();
        let new_keys: BTreeSet<K> = new.iter().map(&key).collect();
        for element in old.iter().filter(|e| !new_keys.contains(&key(e))) {
            self.add(effect, format!("{what}{}: removed", key(element)));
        }
        for element in new {
            let its = key(element);
            match old_keys.get(&its) {
                Some(before) => common(self, before, element),
                None => self.add(effect, format!("{what}{its}: added")),
            }
        }
        let kept_old = old.iter().map(&key).filter(|k| new_keys.contains(k));
        let kept_new = new.iter().map(&key).filter(|k| old_keys.contains_key(k));
        if !kept_old.eq(kept_new) {
            self.add(
                effect,
                format!("{}: in another order", what.trim_end_matches([' ', ':'])),
            );
        }
    }
}

fn director(changes: &mut Changes, old: &Director, new: &Director) {
    let cores = |cores: &Cores| match cores {
        Cores::Named(cores) => format!("{cores:?}"),
        Cores::Count(n) => format!("{n} of the daemon's choice"),
    };
    let e = Effect::Restart;
    changes.value(e, "director: name", &old.name, &new.name);
    changes.value(e, "director: cores", cores(&old.cores), cores(&new.cores));
    changes.value(e, "director: connections", old.connections, new.connections);
    changes.value(
        e,
        "director: connections6",
        old.connections6,
        new.connections6,
    );
    changes.value(e, "director: idle", old.idle, new.idle);
    changes.value(e, "director: hugepages", old.hugepages, new.hugepages);
    changes.value(e, "director: memory_mb", old.memory_mb, new.memory_mb);
    changes.value(
        e,
        "director: socket",
        old.socket.display().to_string(),
        new.socket.display().to_string(),
    );
    changes.value(
        e,
        "director: file_prefix",
        &old.file_prefix,
        &new.file_prefix,
    );
    let journal = |director: &Director| match director.journal() {
        Some(path) => path.display().to_string(),
        None => "false".to_owned(),
    };
    changes.value(e, "director: journal", journal(old), journal(new));
    changes.value(e, "director: journal_mb", old.journal_mb, new.journal_mb);
    changes.value(e, "director: log", old.log, new.log);
}

fn ports(changes: &mut Changes, old: &[Port], new: &[Port]) {
    let e = Effect::Restart;
    changes.lists(
        e,
        "port ",
        (old, new),
        |p| p.name.clone(),
        |changes, a, b| {
            let of = |what: &str| format!("port {}: {what}", b.name);
            let host = |host: &HostTap| match host {
                HostTap::Off => "false".to_owned(),
                HostTap::Default => "true".to_owned(),
                HostTap::Named(name) => format!("{name:?}"),
            };
            changes.value(e, &of("device"), &a.device, &b.device);
            changes.optional(e, &of("queues"), a.queues.as_ref(), b.queues.as_ref());
            changes.value(e, &of("mtu"), a.mtu, b.mtu);
            changes.optional(e, &of("mac"), a.mac.as_ref(), b.mac.as_ref());
            changes.value(e, &of("host"), host(&a.host), host(&b.host));
            changes.value(e, &of("promiscuous"), a.promiscuous, b.promiscuous);
            let (was, is) = (a.rp_filter.word(), b.rp_filter.word());
            changes.value(Effect::Reload, &of("rp_filter"), was, is);
            addresses(changes, &of("address "), &a.addresses, &b.addresses);
            changes.optional(
                Effect::Reload,
                &of("gateway"),
                a.gateway.as_ref(),
                b.gateway.as_ref(),
            );
            changes.optional(
                Effect::Reload,
                &of("gateway6"),
                a.gateway6.as_ref(),
                b.gateway6.as_ref(),
            );
        },
    );
}

fn addresses(changes: &mut Changes, what: &str, old: &[IpNet], new: &[IpNet]) {
    changes.lists(Effect::Reload, what, (old, new), |net| *net, |_, _, _| {});
}

fn vlans(changes: &mut Changes, old: &[Vlan], new: &[Vlan]) {
    let e = Effect::Reload;
    changes.lists(
        e,
        "vlan ",
        (old, new),
        |v| v.name.clone(),
        |changes, a, b| {
            let of = |what: &str| format!("vlan {}: {what}", b.name);
            changes.value(e, &of("port"), &a.port, &b.port);
            changes.value(e, &of("id"), a.id.get(), b.id.get());
            let (was, is) = (a.rp_filter.word(), b.rp_filter.word());
            changes.value(e, &of("rp_filter"), was, is);
            addresses(changes, &of("address "), &a.addresses, &b.addresses);
            changes.optional(e, &of("gateway"), a.gateway.as_ref(), b.gateway.as_ref());
            changes.optional(e, &of("gateway6"), a.gateway6.as_ref(), b.gateway6.as_ref());
        },
    );
}

fn routes(changes: &mut Changes, old: &Config, new: &Config) {
    let key = |route: &Route| {
        let via = route.via.map(|via| format!(" via {via}"));
        let on = route.interface.as_ref().map(|name| format!(" on {name}"));
        format!(
            "{}{}{}{}",
            route.to,
            if route.unreachable {
                " unreachable"
            } else {
                ""
            },
            via.unwrap_or_default(),
            on.unwrap_or_default()
        )
    };
    let lists = (old.routes.as_slice(), new.routes.as_slice());
    changes.lists(Effect::Reload, "route ", lists, key, |_, _, _| {});
}

fn sync(changes: &mut Changes, old: Option<&Sync>, new: Option<&Sync>) {
    let e = Effect::Reload;
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (old, new) => {
            changes.optional(e, "sync: role", old.map(|s| &s.role), new.map(|s| &s.role));
            return;
        }
    };
    changes.value(e, "sync: role", old.role, new.role);
    changes.value(e, "sync: interface", &old.interface, &new.interface);
    changes.value(e, "sync: syncid", old.syncid, new.syncid);
    changes.value(e, "sync: mcast_group", old.mcast_group, new.mcast_group);
    changes.value(e, "sync: mcast_port", old.mcast_port, new.mcast_port);
    changes.value(e, "sync: mcast_ttl", old.mcast_ttl, new.mcast_ttl);
    let (was, is) = (old.sync_maxlen.as_ref(), new.sync_maxlen.as_ref());
    changes.optional(e, "sync: sync_maxlen", was, is);
    let peers = (old.unicast_peer.as_slice(), new.unicast_peer.as_slice());
    changes.lists(e, "sync: unicast_peer ", peers, |ip| *ip, |_, _, _| {});
    let text = |(at, every): (u32, u32)| format!("{at} {every}");
    let (was, is) = (text(old.sync_threshold), text(new.sync_threshold));
    changes.value(e, "sync: sync_threshold", was, is);
    let (was, is) = (old.sync_persist_mode, new.sync_persist_mode);
    changes.value(e, "sync: sync_persist_mode", was, is);
}

/// Which instances there are, and which of them move together, needs a restart.
fn vrrp(changes: &mut Changes, old: &[Vrrp], new: &[Vrrp]) {
    let lists = (old, new);
    let r = Effect::Restart;
    changes.lists(
        r,
        "vrrp ",
        lists,
        |v| v.name.clone(),
        |changes, a, b| {
            let of = |what: &str| format!("vrrp {}: {what}", b.name);
            changes.value(r, &of("interface"), &a.interface, &b.interface);
            changes.value(
                r,
                &of("virtual_router_id"),
                a.virtual_router_id,
                b.virtual_router_id,
            );
            changes.value(r, &of("version"), a.version, b.version);
            changes.value(r, &of("use_vmac"), a.use_vmac, b.use_vmac);
            changes.value(r, &of("accept"), a.accept, b.accept);
            changes.optional(
                r,
                &of("sync_group"),
                a.sync_group.as_ref(),
                b.sync_group.as_ref(),
            );
            let e = Effect::Reload;
            changes.value(e, &of("priority"), a.priority, b.priority);
            changes.value(e, &of("advert_int (ms)"), a.advert_int_ms, b.advert_int_ms);
            changes.value(e, &of("preempt"), a.preempt, b.preempt);
            changes.value(e, &of("preempt_delay"), a.preempt_delay, b.preempt_delay);
            let warmups = (a.preempt_warmup, b.preempt_warmup);
            changes.value(e, &of("preempt_warmup"), warmups.0, warmups.1);
            for (what, a, b) in [
                ("track_interface", &a.track_interface, &b.track_interface),
                ("track_script", &a.track_script, &b.track_script),
                ("track_file", &a.track_file, &b.track_file),
                ("track_gateway", &a.track_gateway, &b.track_gateway),
                ("track_bfd", &a.track_bfd, &b.track_bfd),
                ("track_servers", &a.track_servers, &b.track_servers),
            ] {
                track::tracks(changes, &of(what), a, b);
            }
            let mut addresses = |what: &str, a: &[IpAddr], b: &[IpAddr]| {
                changes.lists(e, &of(what), (a, b), |ip| *ip, |_, _, _| {});
            };
            addresses(
                "virtual_ipaddress ",
                &a.virtual_ipaddress,
                &b.virtual_ipaddress,
            );
            addresses(
                "virtual_ipaddress_excluded ",
                &a.virtual_ipaddress_excluded,
                &b.virtual_ipaddress_excluded,
            );
            addresses("unicast_peer ", &a.unicast_peer, &b.unicast_peer);
            // A password is not for the log.
            let there = |v: &Vrrp| if v.auth_pass.is_some() { "set" } else { "none" };
            if a.auth_pass != b.auth_pass {
                changes.add(
                    e,
                    format!("{} {} -> {}", of("auth_pass"), there(a), there(b)),
                );
            }
            changes.value(e, &of("auth_type"), a.auth_type, b.auth_type);
            changes.value(
                e,
                &of("v3_checksum_as_v2"),
                a.v3_checksum_as_v2,
                b.v3_checksum_as_v2,
            );
            changes.value(
                e,
                &of("garp_master_repeat"),
                a.garp_master_repeat,
                b.garp_master_repeat,
            );
            changes.value(
                e,
                &of("garp_master_delay"),
                a.garp_master_delay,
                b.garp_master_delay,
            );
            changes.value(
                e,
                &of("garp_master_refresh"),
                a.garp_master_refresh,
                b.garp_master_refresh,
            );
        },
    );
}

fn services(changes: &mut Changes, old: &[Service], new: &[Service]) {
    let e = Effect::Reload;
    changes.lists(e, "service ", (old, new), Service::key, |changes, a, b| {
        let of = |what: &str| format!("service {}: {what}", b.key());
        changes.optional(e, &of("name"), a.name.as_ref(), b.name.as_ref());
        changes.value(e, &of("scheduler"), a.scheduler, b.scheduler);
        let flags = |s: &Service| match &s.scheduler_flags[..] {
            [] => "none".to_owned(),
            flags => flags.iter().map(|f| f.name()).collect::<Vec<_>>().join(" "),
        };
        changes.value(e, &of("scheduler_flags"), flags(a), flags(b));
        let seconds = |s: &Service| s.persistence.map_or(0, |p| p.timeout_s);
        changes.value(e, &of("persistent"), seconds(a), seconds(b));
        if let (Some(pa), Some(pb)) = (a.persistence, b.persistence) {
            changes.value(e, &of("netmask"), pa.netmask, pb.netmask);
        }
        let engine = |s: &Service| match s.persistence_engine {
            Some(engine) => engine.name(),
            None => "none",
        };
        changes.value(e, &of("persistence_engine"), engine(a), engine(b));
        changes.value(e, &of("one_packet"), a.one_packet, b.one_packet);
        changes.value(e, &of("method of new servers"), a.method, b.method);
        limits::limits(changes, &of(""), &a.limits, &b.limits);
        health(changes, a, b);
        servers(changes, b, &a.servers);
    });
    let known: BTreeSet<ServiceKey> = old.iter().map(Service::key).collect();
    for service in new.iter().filter(|s| !known.contains(&s.key())) {
        servers(changes, service, &[]);
    }
}

fn health(changes: &mut Changes, old: &Service, new: &Service) {
    let e = Effect::Reload;
    let what = format!("service {}: ", new.key());
    let of = |field: &str| format!("{what}{field}");
    let (a, b) = (&old.health, &new.health);
    changes.value(
        e,
        &of("on_failure"),
        a.on_failure.word(),
        b.on_failure.word(),
    );
    let removal = |policy: &::health::Policy| {
        let word = policy.on_removal.map(types::OnRemoval::word);
        word.unwrap_or("as expire_nodest_conn")
    };
    changes.value(e, &of("on_removal"), removal(a), removal(b));
    let seconds = |d: std::time::Duration| format!("{} s", d.as_secs_f64());
    let after =
        |n: Option<u32>| n.map_or_else(|| "never".into(), |n| format!("{n} failed attempts"));
    let (was, is) = (&a.passive, &b.passive);
    changes.value(
        e,
        &of("suspect_after"),
        after(was.suspect_after),
        after(is.suspect_after),
    );
    changes.value(
        e,
        &of("eject_after"),
        after(was.eject_after),
        after(is.eject_after),
    );
    changes.value(
        e,
        &of("eject_time"),
        seconds(was.eject_time),
        seconds(is.eject_time),
    );
    changes.value(e, &of("quorum"), a.quorum, b.quorum);
    changes.value(e, &of("hysteresis"), a.hysteresis, b.hysteresis);
    let sorry = |s: &::health::SorryServer| {
        let stays = if s.inhibit { ", inhibited" } else { "" };
        format!("{} by {}{stays}", s.address, s.method)
    };
    changes.optional(
        e,
        &of("sorry_server"),
        a.sorry_server.as_ref().map(sorry).as_ref(),
        b.sorry_server.as_ref().map(sorry).as_ref(),
    );
    changes.value(
        e,
        &of("slow_start"),
        seconds(a.slow_start),
        seconds(b.slow_start),
    );
    program(changes, &of("quorum_up"), &a.quorum_up, &b.quorum_up);
    program(changes, &of("quorum_down"), &a.quorum_down, &b.quorum_down);
    changes.value(e, &of("notify_user"), a.user(), b.user());
    changes.value(e, &of("init_notifies"), a.init_notifies, b.init_notifies);
    changes.value(e, &of("omega"), a.omega, b.omega);
    checks::checks(changes, &of(""), &a.checks, &b.checks);
    let none = ServerPolicy::default();
    for address in new.servers.iter().map(|s| s.address) {
        let what = format!("{what}server {address}: ");
        let own = |policy: &'_ ::health::Policy| policy.servers.get(&address).cloned();
        let a = own(a).unwrap_or_else(|| none.clone());
        let b = own(b).unwrap_or_else(|| none.clone());
        let word =
            |o: Option<::health::OnFailure>| o.map_or("as the service", ::health::OnFailure::word);
        changes.value(
            e,
            &format!("{what}on_failure"),
            word(a.on_failure),
            word(b.on_failure),
        );
        program(
            changes,
            &format!("{what}notify_up"),
            &a.notify_up,
            &b.notify_up,
        );
        program(
            changes,
            &format!("{what}notify_down"),
            &a.notify_down,
            &b.notify_down,
        );
        match (&a.checks, &b.checks) {
            (Some(a), Some(b)) => checks::checks(changes, &what, a, b),
            (None, None) => {}
            (_, None) => changes.add(e, format!("{what}its own checks: removed")),
            (None, _) => changes.add(e, format!("{what}its own checks: added")),
        }
    }
}

/// A program with its arguments.
fn program(changes: &mut Changes, what: &str, old: &[String], new: &[String]) {
    let text = |words: &[String]| match words.is_empty() {
        true => "none".to_owned(),
        false => format!("{words:?}"),
    };
    changes.value(Effect::Reload, what, text(old), text(new));
}

fn servers(changes: &mut Changes, service: &Service, old: &[Server]) {
    let e = Effect::Reload;
    let what = format!("service {}: server ", service.key());
    changes.lists(
        e,
        &what,
        (old, &service.servers),
        |s| s.address,
        |changes, a, b| {
            let of = |field: &str| format!("{what}{}: {field}", b.address);
            changes.value(e, &of("method"), a.method, b.method);
            changes.value(e, &of("tunnel"), a.tunnel, b.tunnel);
            changes.value(e, &of("weight"), a.weight.0, b.weight.0);
            changes.value(
                e,
                &of("upper_threshold"),
                a.upper_threshold,
                b.upper_threshold,
            );
            changes.value(
                e,
                &of("lower_threshold"),
                a.lower_threshold,
                b.lower_threshold,
            );
        },
    );
}

fn settings(changes: &mut Changes, old: &Settings, new: &Settings) {
    let e = Effect::Reload;
    let rate = |rate: Option<u32>| rate.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    changes.value(e, "settings: ip_forward", old.ip_forward, new.ip_forward);
    changes.value(
        e,
        "settings: expire_nodest_conn",
        old.expire_nodest_conn,
        new.expire_nodest_conn,
    );
    changes.value(
        e,
        "settings: expire_quiescent_template",
        old.expire_quiescent_template,
        new.expire_quiescent_template,
    );
    changes.value(
        e,
        "settings: conn_reuse_mode",
        old.conn_reuse_mode,
        new.conn_reuse_mode,
    );
    changes.value(e, "settings: sloppy_tcp", old.sloppy_tcp, new.sloppy_tcp);
    changes.value(e, "settings: sloppy_sctp", old.sloppy_sctp, new.sloppy_sctp);
    changes.value(e, "settings: drop_entry", old.drop_entry, new.drop_entry);
    changes.value(e, "settings: drop_packet", old.drop_packet, new.drop_packet);
    changes.value(e, "settings: secure_tcp", old.secure_tcp, new.secure_tcp);
    changes.value(e, "settings: am_droprate", old.am_droprate, new.am_droprate);
    changes.value(e, "settings: amemthresh", old.amemthresh, new.amemthresh);
    changes.value(
        e,
        "settings: schedule_icmp",
        old.schedule_icmp,
        new.schedule_icmp,
    );
    changes.value(
        e,
        "settings: cache_bypass",
        old.cache_bypass,
        new.cache_bypass,
    );
    changes.value(
        e,
        "settings: lblc_expiration",
        old.lblc_expiration,
        new.lblc_expiration,
    );
    changes.value(
        e,
        "settings: lblcr_expiration",
        old.lblcr_expiration,
        new.lblcr_expiration,
    );
    changes.value(
        e,
        "settings: nat_icmp_send",
        old.nat_icmp_send,
        new.nat_icmp_send,
    );
    changes.value(e, "settings: pmtu_disc", old.pmtu_disc, new.pmtu_disc);
    changes.value(e, "settings: tcp_timeout", old.tcp_timeout, new.tcp_timeout);
    changes.value(
        e,
        "settings: tcp_fin_timeout",
        old.tcp_fin_timeout,
        new.tcp_fin_timeout,
    );
    changes.value(e, "settings: udp_timeout", old.udp_timeout, new.udp_timeout);
    changes.value(
        e,
        "settings: icmp_rate",
        rate(old.icmp_rate),
        rate(new.icmp_rate),
    );
    changes.value(
        e,
        "settings: overload_drop",
        old.overload_drop,
        new.overload_drop,
    );
    changes.value(e, "settings: ipfrag_time", old.ipfrag_time, new.ipfrag_time);
    changes.value(
        e,
        "settings: ip6frag_time",
        old.ip6frag_time,
        new.ip6frag_time,
    );
    changes.value(
        e,
        "settings: ipfrag_high_thresh",
        old.ipfrag_high_thresh,
        new.ipfrag_high_thresh,
    );
    changes.value(
        e,
        "settings: ip_default_ttl",
        old.ip_default_ttl,
        new.ip_default_ttl,
    );
    changes.value(
        e,
        "settings: endpoint_connections",
        old.endpoint_connections,
        new.endpoint_connections,
    );
    changes.value(
        e,
        "settings: ftp_ports",
        listed(&old.ftp_ports),
        listed(&new.ftp_ports),
    );
}

fn listed(ports: &[u16]) -> String {
    let texts: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!("[{}]", texts.join(", "))
}
