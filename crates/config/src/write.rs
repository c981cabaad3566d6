//! A configuration as a file, to be read again.

use crate::{
    Access, AuthType, Config, Cores, HostTap, MarkRule, Netmask, Port, PortRange, Server, Service,
    ServiceKey, Settings, Sync, Track, Vrrp,
    write_health::{check, seconds},
    write_limits::{CookiesValue, cookies},
    write_tell::{MailTable, NotifyTable, mail, notify},
    write_track::{self, Tables as TrackTables},
    write_twin::{self, TwinTable},
};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use types::{IpNet, MacAddr, Tunnel};

impl Config {
    /// The file that says this: every key written out, comments and order of keys are lost. [`Config::parse`] reads it to
    /// an equal configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Plain structs of numbers and texts, which toml cannot fail to write.
        toml::to_string(&file(self)).unwrap_or_default()
    }
}

impl Config {
    /// Its `[[mark]]` tables alone, to be put below the rest of a file.
    #[must_use]
    pub fn marks_to_toml(&self) -> String {
        let tables = Marks {
            mark: self.marks.iter().map(mark).collect(),
        };
        toml::to_string(&tables).unwrap_or_default()
    }

    /// Its `[[route]]`, `[[vrrp]]`, `[sync]`, `[[notify]]`, `[mail]` and `[[service]]` tables and timeouts alone, to be put below what is of the machine.
    #[must_use]
    pub fn without_machine_to_toml(&self) -> String {
        let (own, unsaid) = (&self.settings, Settings::default());
        let said = |own: u32, unsaid: u32| (own != unsaid).then_some(own);
        let timeouts = Timeouts {
            tcp_timeout: said(own.tcp_timeout, unsaid.tcp_timeout),
            tcp_fin_timeout: said(own.tcp_fin_timeout, unsaid.tcp_fin_timeout),
            udp_timeout: said(own.udp_timeout, unsaid.udp_timeout),
        };
        let tables = WithoutMachine {
            settings: (timeouts != Timeouts::default()).then_some(timeouts),
            route: routes(self),
            vrrp: self.vrrp.iter().map(vrrp).collect(),
            tracked: write_track::tables(self),
            notify: self.notify.iter().map(notify).collect(),
            sync: self.sync.as_ref().map(sync),
            mail: self.mail.as_ref().map(mail),
            service: self.services.iter().map(service).collect(),
        };
        toml::to_string(&tables).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Marks<'c> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mark: Vec<MarkTable<'c>>,
}

/// Of the settings, what other programs' files say too.
#[derive(Default, PartialEq, Eq, Serialize)]
struct Timeouts {
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_fin_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp_timeout: Option<u32>,
}

#[derive(Serialize)]
struct WithoutMachine<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Timeouts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    route: Vec<RouteTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrrp: Vec<VrrpTable<'c>>,
    #[serde(flatten)]
    tracked: TrackTables<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<SyncTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notify: Vec<NotifyTable<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<MailTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service: Vec<ServiceTable<'c>>,
}

/// Serialized as it is written in the file, for JSON as for TOML.
impl Serialize for Config {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        file(self).serialize(serializer)
    }
}

#[derive(Serialize)]
struct File<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    compat: Option<&'static str>,
    director: Director<'c>,
    settings: SettingsTable,
    port: Vec<PortTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<VlanTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    route: Vec<RouteTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mark: Vec<MarkTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrrp: Vec<VrrpTable<'c>>,
    #[serde(flatten)]
    tracked: TrackTables<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<SyncTable<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<TwinTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notify: Vec<NotifyTable<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<MailTable<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<AccessTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service: Vec<ServiceTable<'c>>,
}

#[derive(Serialize)]
struct Director<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<&'c [u16]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<u16>,
    connections: u32,
    connections6: u32,
    idle: &'static str,
    hugepages: &'static str,
    memory_mb: u32,
    socket: String,
    file_prefix: &'c str,
    journal: FlagOr<String>,
    journal_mb: u32,
    log: &'static str,
}

#[derive(Serialize)]
struct PortTable<'c> {
    name: &'c str,
    device: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<u16>,
    mtu: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
    addresses: &'c [IpNet],
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway6: Option<Ipv6Addr>,
    host: FlagOr<&'c str>,
    promiscuous: bool,
    rp_filter: &'static str,
}

#[derive(Serialize)]
struct VlanTable<'c> {
    name: &'c str,
    port: &'c str,
    id: u16,
    rp_filter: &'static str,
    addresses: &'c [IpNet],
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway6: Option<Ipv6Addr>,
}

#[derive(Serialize)]
struct RouteTable<'c> {
    to: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unreachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'c str>,
}

#[derive(Serialize)]
pub(crate) struct MarkTable<'c> {
    mark: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpNet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_ports: Vec<NumberOrText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<NumberOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dscp: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_flags: Option<String>,
    #[serde(rename = "continue")]
    goes_on: bool,
}

#[derive(Serialize)]
struct VrrpTable<'c> {
    name: &'c str,
    interface: &'c str,
    virtual_router_id: u8,
    version: u8,
    priority: u8,
    advert_int: String,
    preempt: bool,
    preempt_delay: u32,
    preempt_warmup: u32,
    virtual_ipaddress: &'c [IpAddr],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    virtual_ipaddress_excluded: &'c [IpAddr],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unicast_peer: &'c [IpAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_pass: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_type: Option<AuthType>,
    v3_checksum_as_v2: bool,
    use_vmac: bool,
    accept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_group: Option<&'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_interface: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_script: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_file: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_gateway: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_bfd: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_servers: Vec<String>,
    garp_master_repeat: u32,
    garp_master_delay: u32,
    garp_master_refresh: u32,
}

#[derive(Serialize)]
struct SyncTable<'c> {
    role: &'static str,
    interface: &'c str,
    syncid: u8,
    mcast_group: IpAddr,
    mcast_port: u16,
    mcast_ttl: u8,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unicast_peer: &'c [IpAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_maxlen: Option<u16>,
    sync_threshold: [u32; 2],
    sync_persist_mode: bool,
}

#[derive(Serialize)]
pub(crate) struct AccessTable<'c> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allow: &'c [IpNet],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    deny: &'c [IpNet],
}

#[derive(Serialize)]
pub(crate) struct ServiceTable<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
    scheduler: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scheduler_flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netmask: Option<NumberOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistence_engine: Option<&'static str>,
    one_packet: bool,
    method: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    allow: &'c [IpNet],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    deny: &'c [IpNet],
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_rate_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_prefix: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syn_cookies: Option<CookiesValue>,
    on_failure: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_removal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspect_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eject_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eject_time: Option<toml::Value>,
    quorum: u32,
    hysteresis: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    sorry_server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sorry_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sorry_inhibit: Option<bool>,
    slow_start: toml::Value,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    quorum_up: &'c [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    quorum_down: &'c [String],
    notify_user: &'c str,
    init_notifies: bool,
    omega: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    check: Vec<toml::Table>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    server: Vec<ServerTable<'c>>,
}

#[derive(Serialize)]
struct ServerTable<'c> {
    address: String,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<String>,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notify_up: &'c [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notify_down: &'c [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<FlagOr<Vec<toml::Table>>>,
}

#[derive(Serialize)]
pub struct SettingsTable {
    ip_forward: bool,
    expire_nodest_conn: bool,
    expire_quiescent_template: bool,
    conn_reuse_mode: u8,
    sloppy_tcp: bool,
    sloppy_sctp: bool,
    drop_entry: u8,
    drop_packet: u8,
    secure_tcp: u8,
    am_droprate: u32,
    amemthresh: u32,
    overload_drop: u8,
    schedule_icmp: bool,
    cache_bypass: bool,
    lblc_expiration: u32,
    lblcr_expiration: u32,
    nat_icmp_send: bool,
    pmtu_disc: bool,
    tcp_timeout: u32,
    tcp_fin_timeout: u32,
    udp_timeout: u32,
    icmp_rate: NumberOrText,
    ipfrag_time: u32,
    ip6frag_time: u32,
    ipfrag_high_thresh: u32,
    ip_default_ttl: u8,
    endpoint_connections: u32,
    ftp_ports: Vec<u16>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FlagOr<T> {
    Flag(bool),
    Other(T),
}

#[derive(Serialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u32),
    Text(String),
}

fn file(config: &Config) -> File<'_> {
    let d = &config.director;
    let (cores, workers) = match &d.cores {
        Cores::Named(cores) => (Some(cores.as_slice()), None),
        Cores::Count(n) => (None, Some(*n)),
    };
    File {
        compat: config.compat_ipvs.then_some("ipvs"),
        director: Director {
            name: &d.name,
            cores,
            workers,
            connections: d.connections,
            connections6: d.connections6,
            idle: d.idle.word(),
            hugepages: d.hugepages.word(),
            memory_mb: d.memory_mb,
            // It came from a text.
            socket: d.socket.to_string_lossy().into_owned(),
            file_prefix: &d.file_prefix,
            journal: match &d.journal {
                crate::Journal::Off => FlagOr::Flag(false),
                crate::Journal::Default => FlagOr::Flag(true),
                crate::Journal::At(path) => FlagOr::Other(path.to_string_lossy().into_owned()),
            },
            journal_mb: d.journal_mb,
            log: d.log.word(),
        },
        settings: settings(&config.settings),
        port: config.ports.iter().map(port).collect(),
        vlan: config
            .vlans
            .iter()
            .map(|v| VlanTable {
                name: &v.name,
                port: &v.port,
                id: v.id.get(),
                rp_filter: v.rp_filter.word(),
                addresses: &v.addresses,
                gateway: v.gateway,
                gateway6: v.gateway6,
            })
            .collect(),
        route: routes(config),
        mark: config.marks.iter().map(mark).collect(),
        vrrp: config.vrrp.iter().map(vrrp).collect(),
        tracked: write_track::tables(config),
        sync: config.sync.as_ref().map(sync),
        twin: config.twin.as_ref().map(write_twin::twin),
        notify: config.notify.iter().map(notify).collect(),
        mail: config.mail.as_ref().map(mail),
        access: access(&config.access),
        service: config.services.iter().map(service).collect(),
    }
}

fn routes(config: &Config) -> Vec<RouteTable<'_>> {
    config
        .routes
        .iter()
        .map(|r| RouteTable {
            to: r.to,
            via: r.via.map(|via| via.to_string()),
            unreachable: r.unreachable,
            interface: r.interface.as_deref(),
        })
        .collect()
}

fn port(port: &Port) -> PortTable<'_> {
    PortTable {
        name: &port.name,
        device: &port.device,
        queues: port.queues,
        mtu: port.mtu,
        mac: port.mac,
        addresses: &port.addresses,
        gateway: port.gateway,
        gateway6: port.gateway6,
        host: match &port.host {
            HostTap::Off => FlagOr::Flag(false),
            HostTap::Default => FlagOr::Flag(true),
            HostTap::Named(name) => FlagOr::Other(name),
        },
        promiscuous: port.promiscuous,
        rp_filter: port.rp_filter.word(),
    }
}

pub(crate) fn access(access: &Access) -> Option<AccessTable<'_>> {
    (*access != Access::default()).then(|| AccessTable {
        allow: &access.allow,
        deny: &access.deny,
    })
}

pub(crate) fn mark(rule: &MarkRule) -> MarkTable<'_> {
    let ports = |ranges: &[PortRange]| {
        let one = |range: &PortRange| match range {
            PortRange(from, to) if from == to => NumberOrText::Number((*from).into()),
            range => NumberOrText::Text(range.to_string()),
        };
        ranges.iter().map(one).collect()
    };
    MarkTable {
        mark: rule.mark.0,
        protocol: rule.protocol.map(types::Protocol::name),
        source: rule.source,
        destination: rule.destination,
        source_ports: ports(&rule.source_ports),
        ports: ports(&rule.ports),
        interface: rule.interface.as_deref(),
        dscp: rule.dscp,
        tcp_flags: rule.tcp_flags.map(|flags| flags.to_string()),
        goes_on: rule.goes_on,
    }
}

fn vrrp(v: &Vrrp) -> VrrpTable<'_> {
    let texts = |list: &[Track]| list.iter().map(ToString::to_string).collect();
    VrrpTable {
        name: &v.name,
        interface: &v.interface,
        virtual_router_id: v.virtual_router_id,
        version: v.version,
        priority: v.priority,
        advert_int: format!("{}ms", v.advert_int_ms),
        preempt: v.preempt,
        preempt_delay: v.preempt_delay,
        preempt_warmup: v.preempt_warmup,
        virtual_ipaddress: &v.virtual_ipaddress,
        virtual_ipaddress_excluded: &v.virtual_ipaddress_excluded,
        unicast_peer: &v.unicast_peer,
        auth_pass: v.auth_pass.as_deref(),
        auth_type: v.auth_pass.as_ref().map(|_| v.auth_type),
        v3_checksum_as_v2: v.v3_checksum_as_v2,
        use_vmac: v.use_vmac,
        accept: v.accept,
        sync_group: v.sync_group.as_deref(),
        track_interface: texts(&v.track_interface),
        track_script: texts(&v.track_script),
        track_file: texts(&v.track_file),
        track_gateway: texts(&v.track_gateway),
        track_bfd: texts(&v.track_bfd),
        track_servers: texts(&v.track_servers),
        garp_master_repeat: v.garp_master_repeat,
        garp_master_delay: v.garp_master_delay,
        garp_master_refresh: v.garp_master_refresh,
    }
}

fn sync(s: &Sync) -> SyncTable<'_> {
    SyncTable {
        role: s.role.word(),
        interface: &s.interface,
        syncid: s.syncid,
        mcast_group: s.mcast_group,
        mcast_port: s.mcast_port,
        mcast_ttl: s.mcast_ttl,
        unicast_peer: &s.unicast_peer,
        sync_maxlen: s.sync_maxlen,
        sync_threshold: s.sync_threshold.into(),
        sync_persist_mode: s.sync_persist_mode,
    }
}

pub(crate) fn service(service: &Service) -> ServiceTable<'_> {
    let (protocol, address, mark) = match service.key {
        ServiceKey::Address { protocol, address } => (Some(protocol), Some(address), None),
        ServiceKey::Mark { mark, family } => (None, None, Some((mark, family))),
    };
    let health = &service.health;
    ServiceTable {
        name: service.name.as_deref(),
        protocol: protocol.map(types::Protocol::name),
        address: address.map(|address| address.to_string()),
        mark: mark.map(|(mark, _)| mark.0),
        family: mark.map(|(_, family)| family.name()),
        scheduler: service.scheduler.name(),
        scheduler_flags: service.scheduler_flags.iter().map(|f| f.name()).collect(),
        persistent: service.persistence.map(|p| p.timeout_s),
        netmask: service.persistence.map(|p| match p.netmask {
            Netmask::V4(mask) => NumberOrText::Text(mask.to_string()),
            Netmask::V6(prefix) => NumberOrText::Number(prefix.into()),
        }),
        persistence_engine: service.persistence_engine.map(|e| e.name()),
        one_packet: service.one_packet,
        method: service.method.name(),
        allow: &service.limits.access.allow,
        deny: &service.limits.access.deny,
        connection_limit: service.limits.connections,
        rate_limit: service.limits.rate,
        client_rate_limit: service.limits.client_rate,
        client_prefix: service.limits.client_prefix,
        syn_cookies: cookies(service.limits.syn_cookies),
        on_failure: health.on_failure.word(),
        on_removal: health.on_removal.map(types::OnRemoval::word),
        suspect_after: health.passive.suspect_after,
        eject_after: health.passive.eject_after,
        eject_time: health
            .passive
            .eject_after
            .map(|_| seconds(health.passive.eject_time)),
        quorum: health.quorum,
        hysteresis: health.hysteresis,
        sorry_server: health.sorry_server.map(|s| s.address.to_string()),
        sorry_method: health.sorry_server.map(|s| s.method.name()),
        sorry_inhibit: health.sorry_server.map(|s| s.inhibit),
        slow_start: seconds(health.slow_start),
        quorum_up: &health.quorum_up,
        quorum_down: &health.quorum_down,
        notify_user: health.user(),
        init_notifies: health.init_notifies,
        omega: health.omega,
        check: health.checks.iter().map(check).collect(),
        server: service.servers.iter().map(|s| server(s, health)).collect(),
    }
}

fn server<'c>(server: &Server, health: &'c health::Policy) -> ServerTable<'c> {
    let own = health.servers.get(&server.address);
    ServerTable {
        address: server.address.to_string(),
        method: server.method.name(),
        tunnel: (server.tunnel != Tunnel::Ipip).then(|| server.tunnel.to_string()),
        weight: server.weight.0,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        on_failure: own
            .and_then(|own| own.on_failure)
            .map(health::OnFailure::word),
        notify_up: own.map_or(&[], |own| &own.notify_up),
        notify_down: own.map_or(&[], |own| &own.notify_down),
        check: own
            .and_then(|own| own.checks.as_ref())
            .map(|checks| match checks.len() {
                0 => FlagOr::Flag(false),
                _ => FlagOr::Other(checks.iter().map(check).collect()),
            }),
    }
}

/// As they are written.
pub fn settings(s: &Settings) -> SettingsTable {
    SettingsTable {
        ip_forward: s.ip_forward,
        expire_nodest_conn: s.expire_nodest_conn,
        expire_quiescent_template: s.expire_quiescent_template,
        conn_reuse_mode: s.conn_reuse_mode,
        sloppy_tcp: s.sloppy_tcp,
        sloppy_sctp: s.sloppy_sctp,
        drop_entry: s.drop_entry,
        drop_packet: s.drop_packet,
        secure_tcp: s.secure_tcp,
        am_droprate: s.am_droprate,
        amemthresh: s.amemthresh,
        overload_drop: s.overload_drop,
        schedule_icmp: s.schedule_icmp,
        cache_bypass: s.cache_bypass,
        lblc_expiration: s.lblc_expiration,
        lblcr_expiration: s.lblcr_expiration,
        nat_icmp_send: s.nat_icmp_send,
        pmtu_disc: s.pmtu_disc,
        tcp_timeout: s.tcp_timeout,
        tcp_fin_timeout: s.tcp_fin_timeout,
        udp_timeout: s.udp_timeout,
        icmp_rate: s.icmp_rate.map_or_else(
            || NumberOrText::Text("unlimited".into()),
            NumberOrText::Number,
        ),
        ipfrag_time: s.ipfrag_time,
        ip6frag_time: s.ip6frag_time,
        ipfrag_high_thresh: s.ipfrag_high_thresh,
        ip_default_ttl: s.ip_default_ttl,
        endpoint_connections: s.endpoint_connections,
        ftp_ports: s.ftp_ports.clone(),
    }
}
