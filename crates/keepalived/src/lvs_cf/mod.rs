//! lvs.cf(5), Piranha's file: its virtual servers with nanny's checks, and what pulse did by a heartbeat as virtual routers.
//!
//! The keys are those of the manual page, of files in use and of the pages Piranha edited them with. One file serves both
//! directors there; here each has one of its own, so [`read`] is told which of them it is for.

mod service;
mod text;

use crate::{Import, note::Notes, tree::Statement, value::parsed};
use config::{MAX_TIMEOUT_S, Sync, SyncRole, Vrrp};
use std::{collections::BTreeMap, net::IpAddr};
use types::ForwardingMethod;

/// Which of the two directors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The one called `primary`.
    Primary,
    /// The one called `backup`.
    Backup,
}

/// Virtual routers are numbered from here: keepalived's samples begin so, too.
const FIRST_ID: u8 = 51;
/// The virtual routers' group.
const GROUP: &str = "lvs";

const WORDS: &[&str] = &[
    "serial_no",
    "primary",
    "primary_private",
    "primary_shared",
    "backup",
    "backup_private",
    "backup_shared",
    "backup_active",
    "heartbeat",
    "heartbeat_port",
    "keepalive",
    "deadtime",
    "rsh_command",
    "network",
    "nat_router",
    "nat_nmask",
    "service",
    "debug_level",
    "monitor_links",
    "reservation_conflict_action",
    "tcp_timeout",
    "tcpfin_timeout",
    "udp_timeout",
    "syncdaemon",
    "syncd_iface",
    "syncd_id",
    "virtual",
    "failover",
];

/// An address with the alias device Piranha gave it, `eth0:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    address: IpAddr,
    /// The device without the alias's number.
    name: Option<String>,
}

/// What the file says outside its virtual servers.
#[derive(Debug, Default)]
struct Global<'s> {
    values: BTreeMap<&'s str, &'s Statement>,
    method: Option<ForwardingMethod>,
}

/// Reads `text`, called `file`, for one of the two directors.
#[must_use]
pub fn read(text: &str, file: &str, node: Node) -> Import {
    let mut notes = Notes::default();
    let statements = text::statements(text, file, &mut notes.found);
    let mut import = Import::default();
    let mut global = Global::default();
    for statement in &statements {
        match statement.keyword() {
            "virtual" | "failover" => {}
            word if WORDS.contains(&word) && statement.block.is_none() => {
                if let Some(before) = global.values.insert(word, statement) {
                    notes.mapped(before, "it is written again further down, and that counts");
                }
            }
            _ => notes.unknown(statement, "lvs.cf", WORDS),
        }
    }
    global.method(&mut notes);
    global.timeouts(&mut import, &mut notes);
    let mut addresses = Vec::new();
    for statement in &statements {
        match statement.keyword() {
            "virtual" => {
                if let Some((service, device)) = service::read(statement, global.method, &mut notes)
                {
                    addresses.extend(device);
                    import.services.extend(service);
                }
            }
            "failover" => notes.unsupported_block(
                statement,
                "programs are not failed over: take the address to a virtual router ([[vrrp]]), and let systemd run the program",
            ),
            _ => {}
        }
    }
    global.takeover(node, addresses, &mut import, &mut notes);
    global.rest(&mut notes);
    import.notes = notes.in_order();
    import
}

impl Global<'_> {
    fn on(&self, word: &str) -> bool {
        self.values
            .get(word)
            .is_some_and(|s| s.argument(0) == Some("1"))
    }

    fn number(&self, word: &str, notes: &mut Notes) -> Option<u32> {
        self.values
            .get(word)
            .and_then(|s| parsed(s, "a whole number", notes))
    }

    fn address(&self, word: &str, notes: &mut Notes) -> Option<IpAddr> {
        self.values
            .get(word)
            .and_then(|s| parsed(s, "an address", notes))
    }

    /// `network`: of all servers at once.
    fn method(&mut self, notes: &mut Notes) {
        let Some(statement) = self.values.get("network") else {
            return;
        };
        self.method = match statement.argument(0) {
            Some("nat") => Some(ForwardingMethod::Masq),
            Some("direct") => Some(ForwardingMethod::Route),
            Some("tunnel") => Some(ForwardingMethod::Tunnel),
            _ => {
                notes.wrong(statement, "it is nat, direct or tunnel");
                return;
            }
        };
        notes.exact(statement);
    }

    fn timeouts(&self, import: &mut Import, notes: &mut Notes) {
        for (word, slot) in [
            ("tcp_timeout", &mut import.timeouts.tcp),
            ("tcpfin_timeout", &mut import.timeouts.tcp_fin),
            ("udp_timeout", &mut import.timeouts.udp),
        ] {
            let Some(statement) = self.values.get(word) else {
                continue;
            };
            match parsed::<u32>(statement, "a number of seconds", notes) {
                Some(0) => notes.exact(statement),
                Some(seconds) if seconds <= MAX_TIMEOUT_S => {
                    *slot = Some(seconds);
                    notes.exact(statement);
                }
                Some(_) => notes.wrong(statement, format!("at most {MAX_TIMEOUT_S} seconds")),
                None => {}
            }
        }
    }

    /// What pulse did: virtual routers, one for each device, that move together; and the synchronisation of connections.
    fn takeover(&self, node: Node, virtuals: Vec<Device>, import: &mut Import, notes: &mut Notes) {
        let private = self.values.get("nat_router").and_then(|statement| {
            let device = device(statement, notes)?;
            if !self.on("backup_active") {
                notes.mapped(
                    statement,
                    "the servers' gateway is an address of this director: it belongs to `addresses` of the port towards them",
                );
                return None;
            }
            notes.exact(statement);
            Some(device)
        });
        if !self.on("backup_active") {
            return self.lonely(notes);
        }
        let advert_int_ms = self.interval(notes);
        let mut routers: Vec<Vrrp> = Vec::new();
        let other = match node {
            Node::Primary => ["backup", "backup_private"],
            Node::Backup => ["primary", "primary_private"],
        };
        let [public_peer, private_peer] = other.map(|word| self.address(word, notes));
        let private_address = private.as_ref().map(|device| device.address);
        for device in virtuals.into_iter().chain(private) {
            let family = device.address.is_ipv4();
            let interface = device.name.unwrap_or_else(|| "eth0".into());
            let of_same = |router: &&mut Vrrp| {
                router.interface == interface
                    && router
                        .virtual_ipaddress
                        .first()
                        .is_some_and(|a| a.is_ipv4() == family)
            };
            if let Some(router) = routers.iter_mut().find(of_same) {
                if !router.virtual_ipaddress.contains(&device.address) {
                    router.virtual_ipaddress.push(device.address);
                }
                continue;
            }
            let number = u8::try_from(routers.len()).unwrap_or(u8::MAX);
            let is_private = Some(device.address) == private_address;
            let peer = match is_private {
                true => private_peer,
                false => public_peer,
            };
            let name = match family {
                true => interface.clone(),
                false => format!("{interface}-6"),
            };
            routers.push(Vrrp {
                priority: match node {
                    Node::Primary => 150,
                    Node::Backup => 100,
                },
                advert_int_ms,
                // A primary that comes back is the backup then, as pulse has it.
                preempt: false,
                virtual_ipaddress: vec![device.address],
                unicast_peer: peer.into_iter().filter(|p| p.is_ipv4() == family).collect(),
                ..Vrrp::new(name, interface, FIRST_ID.saturating_add(number))
            });
        }
        if routers.len() > 1 {
            for router in &mut routers {
                router.sync_group = Some(GROUP.into());
            }
        }
        import.vrrp = routers;
        self.synchronisation(import, notes);
        for (word, text) in [
            (
                "backup_active",
                "a virtual router (VRRP) for each device; those of several move together",
            ),
            (
                "primary",
                "the other director is told by VRRP, and its file is made with --node backup",
            ),
            (
                "backup",
                "the other director is told by VRRP, and its file is made with --node backup",
            ),
            (
                "primary_private",
                "the second heartbeat is the virtual router on the private device",
            ),
            (
                "backup_private",
                "the second heartbeat is the virtual router on the private device",
            ),
            ("heartbeat", "VRRP's advertisements are the heartbeat"),
            (
                "heartbeat_port",
                "VRRP is a protocol of its own, without ports",
            ),
        ] {
            if let Some(statement) = self.values.get(word) {
                notes.mapped(statement, text);
            }
        }
    }

    /// There is no other director: what is said of it says nothing.
    fn lonely(&self, notes: &mut Notes) {
        for word in [
            "backup_active",
            "primary",
            "primary_private",
            "backup",
            "backup_private",
            "heartbeat",
            "heartbeat_port",
            "keepalive",
            "deadtime",
        ] {
            if let Some(statement) = self.values.get(word) {
                notes.harmless(statement, "there is no backup (backup_active)");
            }
        }
        for word in ["syncdaemon", "syncd_iface", "syncd_id"] {
            if let Some(statement) = self.values.get(word) {
                notes.harmless(statement, "there is no backup that could be told");
            }
        }
    }

    /// Between advertisements, in milliseconds: a backup takes over when three are missing, and some more.
    fn interval(&self, notes: &mut Notes) -> u32 {
        let keepalive = self.number("keepalive", notes);
        let deadtime = self.number("deadtime", notes);
        let dead = deadtime.or(keepalive.map(|k| k.saturating_mul(3)));
        let interval = dead.map_or(1000, |seconds| {
            // Whole hundredths of a second, as VRRP 3 says them.
            (seconds.saturating_mul(100) / 3).clamp(1, 4095) * 10
        });
        for word in ["keepalive", "deadtime"] {
            if let (Some(statement), Some(_)) = (self.values.get(word), dead) {
                notes.mapped(
                    statement,
                    format!(
                        "an advertisement every {interval} ms, so that the backup takes over after about `deadtime`; 100 ms will do as well, and takes over after 0.4 s"
                    ),
                );
            }
        }
        interval
    }

    fn synchronisation(&self, import: &mut Import, notes: &mut Notes) {
        let said = |word| self.values.get(word);
        let interface = said("syncd_iface").and_then(|s| s.argument(0));
        let id = said("syncd_id").and_then(|s| parsed(s, "a number from 0 to 255", notes));
        if self.on("syncdaemon") {
            let fallback = import.vrrp.last().map(|router| router.interface.clone());
            import.sync = Some(Sync {
                role: SyncRole::Vrrp,
                interface: interface
                    .map(str::to_owned)
                    .or(fallback)
                    .unwrap_or_else(|| "eth0".into()),
                syncid: id.unwrap_or(0),
                ..Sync::default()
            });
        }
        for word in ["syncdaemon", "syncd_iface", "syncd_id"] {
            if let Some(statement) = said(word) {
                notes.exact(statement);
            }
        }
    }

    /// What remains, and needs nothing.
    fn rest(&self, notes: &mut Notes) {
        for (word, statement) in &self.values {
            match *word {
                "serial_no" => notes.harmless(statement, "Piranha counted its saves"),
                "rsh_command" => notes.harmless(statement, "no file is copied to the other director"),
                "debug_level" => notes.harmless(statement, "`log` of [director] says how much is logged"),
                "nat_nmask" => notes.harmless(statement, "prefixes are those of the ports' addresses"),
                "reservation_conflict_action" => notes.harmless(statement, "pulse's own, for disks"),
                "primary_shared" | "backup_shared" => {
                    notes.unsupported(statement, "there is no heartbeat over shared storage");
                }
                "monitor_links" if self.on("backup_active") => {
                    notes.mapped(statement, "links of virtual routers are always watched");
                }
                "monitor_links" => notes.harmless(statement, "there is no backup (backup_active)"),
                "service" => match statement.argument(0) {
                    Some("lvs") => notes.exact(statement),
                    Some("fos") => notes.unsupported(
                        statement,
                        "programs are not failed over; virtual routers ([[vrrp]]) move the addresses",
                    ),
                    _ => notes.wrong(statement, "it is lvs or fos"),
                },
                _ => {}
            }
        }
    }
}

/// `ADDRESS [DEVICE[:ALIAS]]`
fn device(statement: &Statement, notes: &mut Notes) -> Option<Device> {
    let address = parsed(statement, "an address", notes)?;
    let name = statement.argument(1).map(|device| {
        let name = device.split_once(':').map_or(device, |(name, _)| name);
        name.to_owned()
    });
    Some(Device { address, name })
}

/// `1` or `0`.
fn switch(statement: &Statement, notes: &mut Notes) -> Option<bool> {
    match statement.argument(0) {
        Some("1") => Some(true),
        Some("0") => Some(false),
        other => {
            notes.wrong(
                statement,
                format!("{:?} is neither 1 nor 0", other.unwrap_or_default()),
            );
            None
        }
    }
}
