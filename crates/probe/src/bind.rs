//! Where a check comes from.

use crate::{Failure, worded};
use health::Bind;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A socket that comes from where `bind` says, not connected yet.
pub fn socket(
    target: SocketAddr,
    kind: Type,
    protocol: Option<Protocol>,
    bind: &Bind,
) -> Result<Socket, Failure> {
    let here = |error: io::Error| Failure::Here(worded(&error));
    let socket = Socket::new(Domain::for_address(target), kind, protocol).map_err(here)?;
    socket.set_nonblocking(true).map_err(here)?;
    apply(&socket, bind)
        .map_err(|error| Failure::Here(format!("{}{}", named(bind), worded(&error))))?;
    if bind.address.is_none() && bind.port.is_none() {
        return Ok(socket);
    }
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = SocketAddr::new(bind.address.unwrap_or(any), bind.port.unwrap_or(0));
    if bind.port.is_some() {
        // Checks of several servers may share it.
        socket.set_reuse_address(true).map_err(here)?;
    }
    let place = match bind.port {
        Some(_) => from.to_string(),
        None => from.ip().to_string(),
    };
    socket
        .bind(&from.into())
        .map_err(|error| Failure::Here(format!("from {place}: {}", worded(&error))))?;
    Ok(socket)
}

/// Has a socket use that interface and mark.
pub fn apply(socket: &Socket, bind: &Bind) -> io::Result<()> {
    if let Some(interface) = &bind.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    match bind.mark {
        Some(mark) => socket.set_mark(mark),
        None => Ok(()),
    }
}

/// What may be wrong, in words.
fn named(bind: &Bind) -> String {
    let interface = bind.interface.as_ref();
    interface.map_or_else(String::new, |name| format!("by interface {name}: "))
}
