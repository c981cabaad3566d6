//! The daemons of connection synchronisation, as ipvsadm starts them.

use crate::Sent;
use connsync::{
    Connection, GROUP, Message, OVERHEAD, PORT, Pace, Route, Teller, datagram, frame, group_mac,
};
use engine::{Synchronizer, model::Interface};
use std::net::{IpAddr, SocketAddr};
use types::{PortId, Tick};

/// Where to and by which id a daemon is to speak.
fn settings<'i>(words: &[&str], interfaces: &'i [Interface]) -> Option<(&'i Interface, u8)> {
    let ["--mcast-interface", name, rest @ ..] = words else {
        return None;
    };
    let interface = interfaces.iter().find(|i| i.name == *name)?;
    let sync_id = match rest {
        [] => 0,
        ["--syncid", id] => id.parse().ok()?,
        _ => return None,
    };
    Some((interface, sync_id))
}

/// What `ipvsadm --start-daemon backup` is told; `None`: something else than the recordings tell it.
pub(super) fn heard(words: &[&str], interfaces: &[Interface]) -> Option<(PortId, u8)> {
    let (interface, sync_id) = settings(words, interfaces)?;
    Some((interface.port, sync_id))
}

/// The connections a frame tells of, if it is another director's of that id.
pub(super) fn told(bytes: &[u8], sync_id: u8) -> Vec<Connection> {
    let message = datagram(bytes).and_then(|d| Message::parse(d.message));
    let of_ours = |message: &Message| sync_id == 0 || message.sync_id == sync_id;
    let message = message.ok().filter(of_ours);
    message.map(|m| m.connections).unwrap_or_default()
}

/// A daemon that runs.
pub(super) struct Daemon {
    interface: Interface,
    sync_id: u8,
    teller: Teller,
}

impl Daemon {
    /// What `ipvsadm --start-daemon master` is told; `None`: something else than the recordings tell it.
    pub fn start(words: &[&str], interfaces: &[Interface], now: Tick) -> Option<Self> {
        let (interface, sync_id) = settings(words, interfaces)?;
        let interface = interface.clone();
        let room = usize::from(interface.mtu - OVERHEAD);
        Some(Self {
            teller: Teller::new(0, sync_id, room, Pace::IPVS, now.0),
            interface,
            sync_id,
        })
    }

    /// `ipvsadm -L --daemon`.
    pub fn listed(&self) -> String {
        format!(
            "master sync daemon (mcast={}, syncid={}, maxlen={}, group={GROUP}, port={PORT}, ttl=1)",
            self.interface.name,
            self.sync_id,
            self.interface.mtu - OVERHEAD
        )
    }

    /// Tells what has been noted; the frames that are due.
    pub fn work(&mut self, now: Tick, synchronizer: &mut Synchronizer, sent: &mut Vec<Sent>) {
        let mut messages = Vec::new();
        synchronizer.noted(now, usize::MAX, &mut |connection| {
            messages.extend(self.teller.tell(now.0, connection));
        });
        messages.extend(self.teller.poll(now.0));
        let own = self.interface.addresses.iter().map(|net| net.address());
        let Some(own) = own.into_iter().find(IpAddr::is_ipv4) else {
            return;
        };
        let route = Route {
            mac: self.interface.mac,
            vlan: None,
            to_mac: group_mac(GROUP.into()),
            source: SocketAddr::new(own, PORT),
            destination: SocketAddr::new(GROUP.into(), PORT),
            ttl: 1,
        };
        sent.extend(messages.iter().map(|message| Sent {
            port: self.interface.port,
            bytes: frame(&route, 0, message),
            requested: Default::default(),
        }));
    }
}
