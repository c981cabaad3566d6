//! An echo request, through the kernel's ping socket where the user may have one, else a raw one.

use crate::{Failure, bind, random, worded};
use health::Bind;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};
use tokio::net::UdpSocket;

const PAYLOAD: &[u8] = b"tarpon health check";

/// Kinds of message: request and reply.
const fn kinds(ip: IpAddr) -> (u8, u8) {
    match ip {
        IpAddr::V4(_) => (8, 0),
        IpAddr::V6(_) => (128, 129),
    }
}

fn socket(ip: IpAddr, bind: &Bind) -> std::io::Result<UdpSocket> {
    let (domain, protocol) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.set_nonblocking(true)?;
    bind::apply(&socket, bind)?;
    if let Some(address) = bind.address {
        socket.bind(&SocketAddr::new(address, 0).into())?;
    }
    socket.connect(&SocketAddr::new(ip, 0).into())?;
    // Of the calls made on it, send and receive, every socket can do both.
    UdpSocket::from_std(std::net::UdpSocket::from(OwnedFd::from(socket)))
}

/// Waits for an echo reply.
pub async fn ping(ip: IpAddr, bind: &Bind) -> Result<(), Failure> {
    let socket = socket(ip, bind).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NETUNREACH.raw_os_error() => {
            Failure::Server(worded(&error))
        }
        _ => Failure::Here(format!("no socket for ping: {}", worded(&error))),
    })?;
    let [a, b, c, d, ..] = random().to_be_bytes();
    let (request, reply) = kinds(ip);
    let mut message = vec![request, 0, 0, 0, a, b, c, d];
    message.extend(PAYLOAD);
    message.extend([a, b, c, d]);
    if ip.is_ipv4() {
        // A raw socket leaves IPv4's checksum to the sender; that of ICMPv6 the kernel always fills in.
        let sum = checksum(&message).to_be_bytes();
        for (to, from) in message.iter_mut().skip(2).zip(sum) {
            *to = from;
        }
    }
    socket.send(&message).await?;
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let mut packet = buffer.get(..length).unwrap_or_default();
        // A raw IPv4 socket hands over the IP header too. The reply carries the payload back, the random end of which tells
        // one ping from another (a ping socket writes an identifier of its own).
        if packet.first().is_some_and(|first| first >> 4 == 4) && packet.len() > 28 {
            let header = usize::from(packet.first().map_or(0, |first| first & 15)) * 4;
            packet = packet.get(header..).unwrap_or_default();
        }
        if packet.first() == Some(&reply) && packet.ends_with(&[a, b, c, d]) {
            return Ok(());
        }
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([
            pair.first().copied().unwrap_or(0),
            low,
        ]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
