//! Frames made by hand, sent and received on a node's interface.
#![expect(
    clippy::cast_possible_truncation,
    reason = "values of frames made by hand: small, and this file's own"
)]

use super::Lab;
use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::{
    io::{ErrorKind, Write},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

const ETH_P_ALL: u16 = 0x0003;

/// A raw socket on one interface. Make it with [`Lab::inside`]; it may be used anywhere.
pub struct Raw(Socket);

impl Raw {
    /// Opens `interface` of a node.
    pub fn open(lab: &Lab, node: &str, interface: &str) -> Result<Self> {
        let index: i32 = lab
            .text(node, &format!("cat /sys/class/net/{interface}/ifindex"), 5)?
            .trim()
            .parse()?;
        lab.inside(node, move || {
            let socket = Socket::new(
                Domain::PACKET,
                Type::RAW,
                Some(Protocol::from(i32::from(ETH_P_ALL.to_be()))),
            )?;
            socket.bind(&link_address(index))?;
            let on: libc::c_int = 1;
            // SAFETY: the option's value is an int, which outlives the call.
            let done = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_AUXDATA,
                    (&raw const on).cast(),
                    size_of_val(&on) as libc::socklen_t,
                )
            };
            ensure!(
                done == 0,
                "PACKET_AUXDATA: {}",
                std::io::Error::last_os_error()
            );
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(Self(socket))
        })
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        (&self.0).write_all(frame).context("sending a frame")
    }

    /// The next received frame that `wanted` accepts, within `seconds`.
    pub fn receive(&self, seconds: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            if let Some(frame) = self.read()?.filter(|f| wanted(f)) {
                return Ok(frame);
            }
        }
        bail!("no such frame came within {seconds} s")
    }

    /// A frame, `None` when none came for a while. The kernel takes a VLAN tag out of the frame and tells it beside;
    /// here it is put back.
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0u8; 2048];
        // Aligned as a control message header must be.
        let mut control = [0u64; 16];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: all zero is a valid `msghdr` (null pointers with length 0).
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the message's pointers are to live buffers of the lengths given, exclusively ours during the call.
        let n = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        let Ok(n) = usize::try_from(n) else {
            let error = std::io::Error::last_os_error();
            // A signal's handler may run in any thread.
            let nothing = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
            return if nothing.contains(&error.kind()) {
                Ok(None)
            } else {
                Err(error.into())
            };
        };
        frame.truncate(n);
        // SAFETY: the kernel filled the control buffer and set its length; the macros stay within it.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        if !header.is_null() {
            // SAFETY: a non-null header is within the buffer; PACKET_AUXDATA is the only message asked for.
            let aux = unsafe {
                libc::CMSG_DATA(header)
                    .cast::<libc::tpacket_auxdata>()
                    .read_unaligned()
            };
            if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && n >= 12 {
                let tag = [
                    0x81,
                    0x00,
                    (aux.tp_vlan_tci >> 8) as u8,
                    aux.tp_vlan_tci as u8,
                ];
                frame.splice(12..12, tag);
            }
        }
        Ok(Some(frame))
    }
}

/// `sockaddr_ll` for every protocol on the interface of this index.
fn link_address(index: i32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the address types the storage is large enough for, and any bytes are a valid one.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = index;
    // SAFETY: the storage holds a `sockaddr_ll` of family AF_PACKET, whose length this is.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// The six bytes of `02:00:00:00:00:01`.
pub fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16))
        .collect::<Result<_, _>>()?;
    bytes
        .try_into()
        .map_err(|_| anyhow::anyhow!("`{text}` is no MAC"))
}

/// An Ethernet frame, tagged if there is a VLAN.
#[must_use]
pub fn ethernet(
    to: [u8; 6],
    from: [u8; 6],
    vlan: Option<u16>,
    kind: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = [to, from].concat();
    if let Some(id) = vlan {
        frame.extend([0x81, 0x00]);
        frame.extend(id.to_be_bytes());
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An ARP packet: operation 1 asks, 2 answers.
#[must_use]
pub fn arp(operation: u16, from: ([u8; 6], [u8; 4]), to: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend(from.0);
    packet.extend(from.1);
    packet.extend(to.0);
    packet.extend(to.1);
    packet
}

/// An IPv4 packet with a right header checksum.
#[must_use]
pub fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(((20 + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An ICMP echo request.
#[must_use]
pub fn echo_request(id: u16, data: &[u8]) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend(data);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A UDP datagram without checksum (IPv4 allows that).
#[must_use]
pub fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(from.to_be_bytes());
    datagram.extend(to.to_be_bytes());
    datagram.extend(((8 + data.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    datagram
}

/// The Internet checksum (RFC 1071).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
