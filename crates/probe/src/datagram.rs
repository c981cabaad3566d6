//! Checks over UDP.

use crate::{Failure, bind, random, silence};
use health::{
    Check, Udp,
    dns::{Record, judge, question},
};
use socket2::{Protocol, Type};
use std::{net::SocketAddr, os::fd::OwnedFd};
use tokio::net::UdpSocket;

async fn socket(check: &Check, server: SocketAddr) -> Result<UdpSocket, Failure> {
    let target = check.endpoint(server);
    let socket = bind::socket(target, Type::DGRAM, Some(Protocol::UDP), &check.bind)?;
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(OwnedFd::from(socket)))
        .map_err(|error| Failure::Here(crate::worded(&error)))?;
    socket.connect(target).await?;
    Ok(socket)
}

/// Sends a datagram. Without an expected reply it passes when nothing speaks against it until the timeout.
pub async fn udp(udp: &Udp, check: &Check, server: SocketAddr) -> Result<(), Failure> {
    let talk = async {
        let socket = socket(check, server).await?;
        socket.send(&udp.payload).await?;
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).await?;
        match &udp.reply {
            Some(expected) => Ok(expected.judge(buffer.get(..length).unwrap_or_default())?),
            None => Ok(()),
        }
    };
    let timeout = check.timing.timeout;
    match (tokio::time::timeout(timeout, talk).await, &udp.reply) {
        (Ok(result), _) => result,
        (Err(_), None) => Ok(()),
        (Err(_), Some(_)) => Err(Failure::Server(silence(timeout))),
    }
}

/// Asks a name server.
pub async fn dns(
    name: &str,
    record: Record,
    check: &Check,
    server: SocketAddr,
) -> Result<(), Failure> {
    let socket = socket(check, server).await?;
    let [high, low, ..] = random().to_be_bytes();
    let id = u16::from_be_bytes([high, low]);
    socket.send(&question(id, name, record)).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(verdict) = judge(id, buffer.get(..length).unwrap_or_default()) {
            return verdict.map_err(Failure::Server);
        }
    }
}
