//! Addresses and ports as ipvsadm reads and prints them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// A service's transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// `host[:port]`, by name or number; port 0 if there is none. An IPv6 address with a port stands in brackets.
pub fn endpoint(text: &str, transport: Transport) -> Option<SocketAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once("]:")?;
        let ip = IpAddr::V6(host.parse().ok()?);
        return Some(SocketAddr::new(ip, self::port(port, transport)?));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, self::port(port, transport)?),
        None => (text, 0),
    };
    Some(SocketAddr::new(self::host(host)?, port))
}

fn host(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(ip.into());
    }
    // "10.0.0" and the like are a slip, not a host.
    if text.is_empty() || text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    Some((text, 0).to_socket_addrs().ok()?.next()?.ip())
}

fn port(text: &str, transport: Transport) -> Option<u16> {
    if text.chars().all(|c| c.is_ascii_digit()) {
        return text.parse().ok();
    }
    let hints = dns_lookup::AddrInfoHints {
        // getaddrinfo knows services by TCP and UDP; SCTP's are TCP's.
        socktype: i32::from(socket_type(transport)),
        ..Default::default()
    };
    let found = dns_lookup::getaddrinfo(None, Some(text), Some(hints)).ok()?;
    found.flatten().next().map(|info| info.sockaddr.port())
}

const fn socket_type(transport: Transport) -> dns_lookup::SockType {
    match transport {
        Transport::Udp => dns_lookup::SockType::DGram,
        Transport::Tcp | Transport::Sctp => dns_lookup::SockType::Stream,
    }
}

/// Address and port, by number or (as far as there are names) by name.
pub fn shown(address: SocketAddr, transport: Transport, numeric: bool) -> String {
    if numeric {
        return address.to_string();
    }
    /// getnameinfo's flag: the port is of UDP.
    const NI_DGRAM: i32 = 16;
    let flags = if transport == Transport::Udp {
        NI_DGRAM
    } else {
        0
    };
    match dns_lookup::getnameinfo(&address, flags) {
        Ok((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Ok((host, port)) => format!("{host}:{port}"),
        Err(_) => address.to_string(),
    }
}
