//! The recordings' network around a director on virtual time, and the commands that change it.

use super::{
    compare,
    daemon::{self, Daemon},
    foretell::{self, Foretold},
    iptables,
    ipvsadm::{self, Table},
    recording::{ConnectionRow, Topology},
    replay::Deal,
};
use crate::{Carrier, Sent};
use arrayvec::ArrayVec;
use connsync::Rules;
use engine::{
    Capacity, Director, ServiceView, Synchronizer, Traffic, Worker,
    model::{Defence, Desired, Interface, Offloads, Route, Server, Service, Settings},
};
use std::{collections::BTreeSet, net::IpAddr};
use types::{InterfaceId, IpNet, MacAddr, PortId, Tick, WorkerId};
use wire::Frame;

/// How often, in milliseconds of virtual time, the workers' housekeeping runs while time passes.
const HOUSEKEEPING_MS: u64 = 5;

/// "cl" and "rs", in the order of the ports.
pub(super) const SIDES: [&str; 2] = ["cl", "rs"];

pub(super) struct World<F: Frame> {
    pub now: Tick,
    director: Director,
    workers: Vec<Worker<F>>,
    synchronizer: Synchronizer,
    /// The port another director's connections are taken over from, and the id they carry.
    hears: Option<(PortId, u8)>,
    /// Tells of connections while it runs, by these rules.
    daemon: Option<Daemon>,
    told: Rules,
    table: Table,
    /// As wanted, but for services and settings, which change.
    desired: Desired,
    settings: Settings,
    /// Tables `ip rule` sends marked packets to, and those of them in which everything is local.
    rules: BTreeSet<String>,
    local_tables: BTreeSet<String>,
    late: Vec<Sent>,
    /// Whether each frame is explained before a worker gets it, and must end as foretold.
    pub foretells: bool,
}

impl<F: Frame + Send + 'static> World<F> {
    pub fn new(topology: &Topology, workers: u16, mut settings: Settings, now: Tick) -> Self {
        settings.icmp_rate = None;
        // Until the module is there.
        settings.ftp_ports = [0; 8];
        let capacity = Capacity {
            workers,
            ports: 2,
            connections4: 4096,
            connections6: 4096,
            neighbours: 256,
            services: 256,
            servers: 1024,
        };
        let mut director = Director::new(capacity, [1, 2]).expect("the capacity is small");
        let handles = (0..workers)
            .map(|id| director.worker(WorkerId(id)).expect("taken once"))
            .collect();
        let synchronizer = director.synchronizer().expect("taken once");
        let mut world = Self {
            now,
            synchronizer,
            daemon: None,
            hears: None,
            told: Rules::IPVS,
            director,
            workers: handles,
            table: Table::default(),
            desired: desired(topology),
            settings,
            rules: BTreeSet::new(),
            local_tables: BTreeSet::new(),
            late: Vec::new(),
            foretells: false,
        };
        world.director.estimate(now);
        world.apply().expect("the topology itself is valid");
        world.permanent_neighbours(topology);
        world
    }

    fn permanent_neighbours(&mut self, topology: &Topology) {
        let gateway = &topology.gateway;
        let mut all = vec![
            (InterfaceId(0), &gateway.ip, &gateway.mac),
            (InterfaceId(0), &gateway.ip6, &gateway.mac),
        ];
        for server in topology.real_servers.values() {
            all.push((InterfaceId(1), &server.ip, &server.mac));
            all.push((InterfaceId(1), &server.ip6, &server.mac));
        }
        for (interface, ip, mac) in all {
            let ip: IpAddr = ip.parse().expect("address in the topology");
            let mac: MacAddr = mac.parse().expect("MAC in the topology");
            assert!(
                self.director.set_neighbour(self.now, interface, ip, mac),
                "the neighbour table has room"
            );
        }
    }

    fn apply(&mut self) -> Result<(), String> {
        let settings = Settings {
            sync: self.daemon.as_ref().map(|_| self.told),
            ..self.settings.clone()
        };
        let mut desired = Desired {
            services: self.table.services.clone(),
            settings,
            ..self.desired.clone()
        };
        if self.rules.intersection(&self.local_tables).next().is_some() {
            let all: [IpNet; 2] = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a prefix"));
            desired.local.extend(all);
        }
        let applied = self.director.apply(self.now, &desired);
        applied.map(drop).map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            texts.join("; ")
        })
    }

    pub fn workers(&self) -> u16 {
        u16::try_from(self.workers.len()).expect("made from a u16")
    }

    /// The same network with nothing configured: routes stay, services, connections and marks go.
    pub fn fresh(&self, topology: &Topology) -> Self {
        let mut fresh = Self::new(topology, self.workers(), Settings::ipvs(), self.now);
        fresh.foretells = self.foretells;
        fresh.desired = Desired {
            marks: Vec::new(),
            ..self.desired.clone()
        };
        fresh
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn services(&self) -> Vec<ServiceView> {
        self.director.services()
    }

    /// `/proc/net/ip_vs_stats`, but for the end of its last line.
    pub fn stats(&self) -> String {
        let (all, rate) = self.director.traffic();
        let row = |t: Traffic| {
            format!(
                "{:8X} {:8X} {:8X} {:16X} {:16X}",
                t.connections, t.packets_in, t.packets_out, t.bytes_in, t.bytes_out
            )
        };
        format!(
            "   Total Incoming Outgoing         Incoming         Outgoing\n   Conns  Packets  Packets            Bytes            Bytes\n{}\n\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n{}",
            row(all),
            row(rate)
        )
    }

    /// What `ipvsadm -Sn` printed, and what is in force, as sorted lines: services and servers in words of our own, but for
    /// thresholds, which ipvsadm forgets.
    pub fn saved(&self, output: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let mut restored = Table::default();
        for line in output.lines() {
            let line = line.replace(" --tun-type ipip", "");
            let words: Vec<&str> = line.split_whitespace().collect();
            restored
                .run(&words, &mut self.settings.clone())
                .map_err(|e| format!("{line}: {e}"))?;
        }
        let lines = |table: &Table| {
            let mut lines = Vec::new();
            for service in &table.services {
                let bare = Service {
                    servers: Vec::new(),
                    ..service.clone()
                };
                lines.push(format!("{bare:?}"));
                for server in &service.servers {
                    let server = Server {
                        upper_threshold: 0,
                        lower_threshold: 0,
                        edits: 0,
                        ..*server
                    };
                    lines.push(format!("{:?} {server:?}", service.key));
                }
            }
            lines.sort();
            lines
        };
        Ok((lines(&restored), lines(&self.table)))
    }

    /// Carries a command out; the message says why not.
    pub fn command(&mut self, words: &[&str]) -> Result<(), String> {
        let unsupported = || format!("not supported: {}", words.join(" "));
        let before = (self.table.clone(), self.desired.clone());
        match *words {
            ["ipvsadm", "-Z" | "--zero", ref rest @ ..] => {
                let service = ipvsadm::service(rest).map_err(|e| e.to_string())?;
                return if self.director.zero(service.as_ref()) {
                    Ok(())
                } else {
                    Err("No such service".to_owned())
                };
            }
            ["ipvsadm", "--start-daemon", "master", ref rest @ ..] if self.daemon.is_none() => {
                let daemon = Daemon::start(rest, &self.desired.interfaces, self.now);
                self.daemon = Some(daemon.ok_or_else(unsupported)?);
            }
            ["ipvsadm", "--start-daemon", "backup", ref rest @ ..] if self.hears.is_none() => {
                let heard = daemon::heard(rest, &self.desired.interfaces);
                self.hears = Some(heard.ok_or_else(unsupported)?);
            }
            ["ipvsadm", "--stop-daemon", "backup"] if self.hears.is_some() => self.hears = None,
            ["ipvsadm", "--stop-daemon", "master"] if self.daemon.is_some() => self.daemon = None,
            ["ipvsadm", ref rest @ ..] => self
                .table
                .run(rest, &mut self.settings)
                .map_err(|e| e.to_string())?,
            ["modprobe", "ip_vs_pe_sip"] => {}
            ["modprobe", "ip_vs_ftp"] => self.settings.ftp_ports = Settings::ipvs().ftp_ports,
            ["modprobe", "ip_vs_ftp", ports] => {
                let ports = ports.strip_prefix("ports=").ok_or_else(unsupported)?;
                self.settings.ftp_ports = [0; 8];
                for (place, port) in self.settings.ftp_ports.iter_mut().zip(ports.split(',')) {
                    *place = port.parse().map_err(|_| unsupported())?;
                }
            }
            ["ip", "link", "set", name, "mtu", mtu] => {
                let mut interfaces = self.desired.interfaces.iter_mut();
                let interface = interfaces
                    .find(|i| i.name == name)
                    .ok_or_else(unsupported)?;
                interface.mtu = mtu.parse().map_err(|_| unsupported())?;
            }
            ["ip", "link", "set", name, "down"] => {
                // Its addresses stay the director's; nothing is reached through it any more.
                let mut interfaces = self.desired.interfaces.iter_mut();
                let interface = interfaces
                    .find(|i| i.name == name)
                    .ok_or_else(unsupported)?;
                self.desired
                    .vips
                    .extend(interface.addresses.drain(..).map(|net| net.address()));
            }
            ["ip", "rule", "add", "fwmark", _, "lookup", table] => {
                self.rules.insert(table.to_owned());
            }
            ["ip", "rule", "del", "fwmark", _] => self.rules.clear(),
            [
                "ip",
                "route",
                "add",
                "local",
                "default",
                "dev",
                "lo",
                "table",
                table,
            ] if self.rules.contains(table) => {
                self.local_tables.insert(table.to_owned());
            }
            ["ip", "route", "add", "unreachable", to] => self.desired.routes.push(Route {
                to: to.parse().map_err(|_| unsupported())?,
                via: None,
                unreachable: true,
                interface: None,
            }),
            ["ip", "route", "add", to, "via", via] => self.desired.routes.push(Route {
                to: to.parse().map_err(|_| unsupported())?,
                unreachable: false,
                via: Some(via.parse().map_err(|_| unsupported())?),
                interface: None,
            }),
            [
                "iptables-legacy" | "ip6tables-legacy" | "iptables" | "ip6tables",
                ref rest @ ..,
            ] => {
                let names: Vec<&str> = self
                    .desired
                    .interfaces
                    .iter()
                    .map(|i| i.name.as_str())
                    .collect();
                iptables::run(&mut self.desired.marks, rest, &names).ok_or_else(unsupported)?;
            }
            ["ip", "route", "add" | "replace", "local", to, "dev", "lo"]
            | [
                "ip",
                "-6",
                "route",
                "add" | "replace",
                "local",
                to,
                "dev",
                "lo",
            ] => {
                let to = to.parse().map_err(|_| unsupported())?;
                self.desired.local.push(to);
            }
            ["ip", "route", "del", "local", to, "dev", "lo"]
            | ["ip", "-6", "route", "del", "local", to, "dev", "lo"] => {
                let to: IpNet = to.parse().map_err(|_| unsupported())?;
                self.desired.local.retain(|net| *net != to);
            }
            _ => return Err(unsupported()),
        }
        self.apply().inspect_err(|_| {
            (self.table, self.desired) = before;
        })
    }

    /// Sets a kernel setting.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let name = key.rsplit('/').next().unwrap_or(key);
        let unsupported = || format!("not supported: {name}={value}");
        // Ways of Linux's own stack, and how its estimators are run: nothing to be seen here.
        const WITHOUT_EFFECT: [&str; 4] = [
            "conntrack",
            "snat_reroute",
            "ignore_tunneled",
            "debug_level",
        ];
        if WITHOUT_EFFECT.contains(&name) || name.starts_with("est_") {
            return Ok(());
        }
        if name == "sync_threshold" {
            let mut numbers = value.split_whitespace().map(str::parse);
            let (Some(Ok(threshold)), Some(Ok(period)), None) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return Err(unsupported());
            };
            (self.told.threshold, self.told.period) = (threshold, period);
            return self.apply();
        }
        let number: u32 = value.parse().map_err(|_| unsupported())?;
        let on = number != 0;
        let defence = Defence::numbered(u8::try_from(number).unwrap_or(u8::MAX));
        match name {
            "expire_nodest_conn" => self.settings.expire_nodest_conn = on,
            "expire_quiescent_template" => self.settings.expire_quiescent_template = on,
            "conn_reuse_mode" => {
                self.settings.conn_reuse_mode = u8::try_from(number).map_err(|_| unsupported())?;
            }
            "sloppy_tcp" => self.settings.sloppy_tcp = on,
            "schedule_icmp" => self.settings.schedule_icmp = on,
            "lblc_expiration" => self.settings.lblc_expiration_s = number,
            "lblcr_expiration" => self.settings.lblcr_expiration_s = number,
            "cache_bypass" => self.settings.cache_bypass = on,
            "nat_icmp_send" => self.settings.nat_icmp_send = on,
            "pmtu_disc" => self.settings.pmtu_disc = on,
            "sloppy_sctp" => self.settings.sloppy_sctp = on,
            "drop_entry" => self.settings.drop_entry = defence,
            "drop_packet" => self.settings.drop_packet = defence,
            "secure_tcp" => self.settings.secure_tcp = defence,
            "am_droprate" => self.settings.am_droprate = number,
            "sync_period" => self.told.period = number,
            "sync_persist_mode" => self.told.templates_only = on,
            "amemthresh" => self.settings.amemthresh = number,
            _ => return Err(unsupported()),
        }
        self.apply()
    }

    /// Lets time pass, housekeeping included; what is sent meanwhile is kept as late.
    pub fn pass_to(&mut self, until: Tick, carrier: &mut impl Carrier<Frame = F>) {
        while self.now < until {
            self.now = until.min(self.now + HOUSEKEEPING_MS);
            for worker in &mut self.workers {
                worker.housekeeping(self.now, carrier.out());
                assert_conserved(worker);
            }
            self.director.reclaim();
            self.director.estimate(self.now);
            self.late.append(&mut carrier.sent());
            self.synchronize();
        }
    }

    /// `ipvsadm -L --daemon`.
    pub fn daemons(&self) -> String {
        let listed = self.daemon.as_ref().map(Daemon::listed);
        listed.unwrap_or_default()
    }

    /// Lets the daemon do what is to be done now.
    fn synchronize(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.work(self.now, &mut self.synchronizer, &mut self.late);
        }
    }

    /// What was sent while time passed.
    pub fn late(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.late)
    }

    /// Gives a frame to a worker; what it sends.
    pub fn receive(
        &mut self,
        side: &str,
        bytes: &[u8],
        carrier: &mut impl Carrier<Frame = F>,
        deal: &mut Deal<'_>,
    ) -> Result<Vec<Sent>, String> {
        let mut ports = SIDES.iter().zip(0..);
        let found = ports.find(|(s, _)| **s == side);
        let (_, port) = found.ok_or_else(|| format!("not supported: interface {side}"))?;
        let mut burst = ArrayVec::new();
        burst.push(carrier.arrive(PortId(port), bytes));
        let chosen = deal() % self.workers.len();
        let foretold = (self.foretells && !foretell::is_fragment(bytes))
            .then(|| Foretold::of(&self.director, self.now, PortId(port), bytes));
        let worker = &mut self.workers[chosen];
        worker.step(self.now, PortId(port), &mut burst, carrier.out());
        assert!(burst.is_empty(), "step takes every frame");
        assert_conserved(worker);
        let sent = carrier.sent();
        if let Some(foretold) = foretold {
            foretold.must_be(&sent);
        }
        if let Some((_, sync_id)) = self.hears.filter(|(on, _)| *on == PortId(port)) {
            for connection in &daemon::told(bytes, sync_id) {
                self.synchronizer.take(self.now, connection);
            }
        }
        self.synchronize();
        Ok(sent)
    }

    /// Every server's name in the topology, with weight, active and inactive connections.
    pub fn counts(&self, topology: &Topology) -> impl Iterator<Item = (String, [i64; 3])> {
        let services = self.director.services();
        services.into_iter().flat_map(|s| s.servers).map(|server| {
            let ip = server.address.ip();
            let name = topology
                .real_servers
                .iter()
                .find(|(_, rs)| rs.ip.parse() == Ok(ip) || rs.ip6.parse() == Ok(ip))
                .map_or_else(|| ip.to_string(), |(name, _)| name.clone());
            let counts = [
                server.weight.0,
                server.counts.active,
                server.counts.inactive,
            ];
            (name, counts.map(i64::from))
        })
    }

    /// Every connection.
    pub fn connections(&self) -> Vec<ConnectionRow> {
        let mut rows = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = self.director.connections(self.now, at, 1024, |c| {
                rows.push(ConnectionRow {
                    proto: match c.protocol {
                        6 => "TCP".to_owned(),
                        17 => "UDP".to_owned(),
                        132 => "SCTP".to_owned(),
                        0 => "IP".to_owned(),
                        other => other.to_string(),
                    },
                    client: compare::endpoint(c.client),
                    virtual_address: compare::endpoint(c.destination),
                    dest: compare::endpoint(c.server),
                    state: c.state.to_owned(),
                    expire: i64::try_from(c.expires_ms / 1000).unwrap_or(i64::MAX),
                    pe: c.engine.as_ref().map(|(engine, data)| {
                        // Latin-1: a character for each byte.
                        let data: String = data.iter().copied().map(char::from).collect();
                        format!("{engine} {data}")
                    }),
                });
            });
        }
        rows
    }
}

fn assert_conserved<F: Frame>(worker: &Worker<F>) {
    let identity = worker.counters().conservation();
    assert!(
        identity.holds(),
        "a frame was lost or invented: {identity:?}"
    );
}

fn desired(topology: &Topology) -> Desired {
    let interfaces = SIDES.iter().zip(0u16..).map(|(side, port)| {
        let name = format!("{side}0");
        let director = &topology.director[&name];
        let addresses = director.addrs.iter();
        Interface {
            name,
            port: PortId(port),
            vlan: None,
            mac: director.mac.parse().expect("MAC in the topology"),
            mtu: topology.mtu,
            addresses: addresses
                .map(|a| a.parse::<IpNet>().expect("address in the topology"))
                .collect(),
            host: false,
            offloads: Offloads::default(),
            rp_filter: types::RpFilter::Off,
        }
    });
    let gateway = &topology.gateway;
    let routes = [("0.0.0.0/0", &gateway.ip), ("::/0", &gateway.ip6)];
    Desired {
        interfaces: interfaces.collect(),
        routes: routes
            .into_iter()
            .map(|(to, via)| Route {
                to: to.parse().expect("a prefix"),
                unreachable: false,
                via: Some(via.parse().expect("address in the topology")),
                interface: None,
            })
            .collect(),
        ..Desired::default()
    }
}
