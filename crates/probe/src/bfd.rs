//! The sockets of BFD sessions (RFC 5881, RFC 5883): one to hear on for each port and family, one to speak from for each session.

use crate::{Failure, random, worded};
use health::bfd::{Heard, Peer, packet::LENGTH};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4RecvTtl, Ipv6RecvHopLimit},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
    task::{Context, Poll},
};
use tokio::{io::Interest, net::UdpSocket};

/// Where packets come from (RFC 5881 section 4).
const FIRST_SOURCE: u16 = 49_152;
const SOURCES: u16 = u16::MAX - FIRST_SOURCE + 1;
/// Of packets sent: nobody beyond a router can have sent what arrives with it.
const TTL: u8 = 255;
/// Network control (CS6).
const DSCP: u32 = 0xc0;
/// The longest packet there can be: its length is a byte.
const ROOM: usize = 256;

struct Listener {
    multihop: bool,
    socket: UdpSocket,
}

/// The sockets of all sessions.
#[derive(Default)]
pub struct Sockets {
    /// By family (whether IPv6) and kind (whether multihop), or why there is none.
    listeners: BTreeMap<(bool, bool), Result<Listener, String>>,
    /// The director's address towards each neighbour; absent: as its routes say.
    neighbours: BTreeMap<Peer, Option<IpAddr>>,
    speakers: HashMap<Peer, Socket>,
}

const fn any(ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(TTL.into())?;
        socket.set_tclass_v6(DSCP)?;
    } else {
        socket.set_ttl_v4(TTL.into())?;
        socket.set_tos_v4(DSCP)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Listener {
    fn new(ipv6: bool, multihop: bool) -> Result<Self, String> {
        let address = any(ipv6);
        let port = Peer { address, multihop }.port();
        let open = || {
            let socket = socket(SocketAddr::new(address, port))?;
            if ipv6 {
                setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
            } else {
                setsockopt(&socket, Ipv4RecvTtl, &true)?;
            }
            UdpSocket::from_std(socket.into())
        };
        match open() {
            Ok(socket) => Ok(Self { multihop, socket }),
            Err(error) => Err(format!(
                "cannot listen on UDP port {port}: {}",
                worded(&error)
            )),
        }
    }

    /// Takes the next datagram that is there.
    fn receive(&self, take: &mut impl FnMut(&Heard<'_>)) -> io::Result<()> {
        let mut buffer = [0; ROOM];
        let mut control = nix::cmsg_space!(i32);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let descriptor = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), flags)?;
        let ttl = message.cmsgs()?.find_map(|note| match note {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                u8::try_from(ttl).ok()
            }
            _ => None,
        });
        let from = message.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| a.ip().into()))
        });
        let length = message.bytes;
        if let (Some(ttl), Some(from)) = (ttl, from) {
            take(&Heard {
                from,
                multihop: self.multihop,
                ttl,
                payload: buffer.get(..length).unwrap_or_default(),
            });
        }
        Ok(())
    }
}

impl Sockets {
    /// Has sockets for these neighbours only, each to be spoken to from this address, or as the routes say. What could not be
    /// opened before is tried again.
    pub fn follow(&mut self, neighbours: BTreeMap<Peer, Option<IpAddr>>) {
        let wanted: BTreeSet<_> = neighbours
            .keys()
            .map(|peer| (peer.address.is_ipv6(), peer.multihop))
            .collect();
        self.listeners
            .retain(|key, listener| wanted.contains(key) && listener.is_ok());
        for (ipv6, multihop) in wanted {
            self.listeners
                .entry((ipv6, multihop))
                .or_insert_with(|| Listener::new(ipv6, multihop));
        }
        let before = std::mem::replace(&mut self.neighbours, neighbours);
        self.speakers
            .retain(|peer, _| self.neighbours.get(peer) == before.get(peer));
    }

    /// Whether all neighbours could be heard.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.listeners.values().all(Result::is_ok)
    }

    /// Sends a packet to a neighbour.
    ///
    /// # Errors
    /// What keeps the director from it. What the network says of it is none: it may lose any packet.
    pub fn send(&mut self, peer: Peer, bytes: &[u8; LENGTH]) -> Result<(), String> {
        let ipv6 = peer.address.is_ipv6();
        if let Some(Err(why)) = self.listeners.get(&(ipv6, peer.multihop)) {
            return Err(why.clone());
        }
        let socket = match self.speakers.entry(peer) {
            Entry::Occupied(speaker) => speaker.into_mut(),
            Entry::Vacant(slot) => {
                let from = self.neighbours.get(&peer).copied().flatten();
                let from = from.unwrap_or_else(|| any(ipv6));
                let socket = speaker(from)
                    .map_err(|error| format!("cannot send from {from}: {}", worded(&error)))?;
                slot.insert(socket)
            }
        };
        let to = SocketAddr::new(peer.address, peer.port());
        match socket.send_to(bytes, &to.into()).map_err(Failure::from) {
            Err(Failure::Here(why)) => Err(format!("cannot send to {to}: {why}")),
            _ => Ok(()),
        }
    }

    /// Ready when something may have come.
    pub fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        for listener in self.listeners.values().flatten() {
            if listener.socket.poll_recv_ready(context).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// Takes what has come, `most` of it at most from each socket.
    pub fn receive(&self, most: usize, mut take: impl FnMut(&Heard<'_>)) {
        for listener in self.listeners.values().flatten() {
            for _ in 0..most {
                let one = || listener.receive(&mut take);
                if listener.socket.try_io(Interest::READABLE, one).is_err() {
                    break;
                }
            }
        }
    }
}

/// A socket with a port that no other has, from a random one on.
fn speaker(from: IpAddr) -> io::Result<Socket> {
    let [high, low, ..] = random().to_be_bytes();
    let first = u16::from_be_bytes([high, low]) % SOURCES;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for step in 0..SOURCES {
        let port = FIRST_SOURCE + (first + step) % SOURCES;
        match socket(SocketAddr::new(from, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            other => return other,
        }
    }
    Err(last)
}
