//! The far end of a tunnel for kernels without tunnel devices: takes IP in IP, GRE or GUE (to port 6080) off and gives the inner packet to the
//! kernel through a TUN interface. Run as a process of its own on a real server (`e2e decap`).
#![expect(
    clippy::cast_possible_truncation,
    reason = "values of frames made by hand: small, and this file's own"
)]

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    net::{Ipv6Addr, UdpSocket},
    os::fd::AsRawFd,
    process::Command,
    thread,
};

const NAME: &str = "decap0";
const IPV4_IN_IP: i32 = 4;
const IPV6_IN_IP: i32 = 41;
const GRE: i32 = 47;
const GUE_PORT: u16 = 6080;
/// Version, protocol, flags.
const GUE_LEN: usize = 4;

/// Bytes in front of the inner packet in what a socket delivers.
type HeaderLen = Box<dyn Fn(&[u8]) -> usize + Send>;

/// Decapsulates until killed.
pub fn serve() -> Result<()> {
    let tun = open_tun()?;
    for arguments in [
        ["link", "set", NAME, "mtu", "1480"],
        ["link", "set", NAME, "up", ""],
    ] {
        let arguments = arguments.iter().filter(|a| !a.is_empty());
        ensure!(
            Command::new("ip").args(arguments).status()?.success(),
            "ip link set {NAME}"
        );
    }
    // A raw socket for the protocol also keeps the kernel from answering "protocol unreachable".
    let outer4 = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPV4_IN_IP)))?;
    let outer6 = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(IPV6_IN_IP)))?;
    let gre4 = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(GRE)))?;
    let gre6 = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(GRE)))?;
    let gue = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, GUE_PORT))?;
    take_without_checksum(&gue)?;
    // An IPv4 raw socket delivers the outer header, an IPv6 one does not.
    let header4 = |packet: &[u8]| packet.first().map_or(0, |b| usize::from(b & 0xf) * 4);
    let gre = |packet: &[u8], at: usize| at + if is_with_checksum(packet, at) { 8 } else { 4 };
    let ends: [(Socket, HeaderLen); 4] = [
        (outer6, Box::new(|_| 0)),
        (gre4, Box::new(move |packet| gre(packet, header4(packet)))),
        (gre6, Box::new(move |packet| gre(packet, 0))),
        (gue.into(), Box::new(|_| GUE_LEN)),
    ];
    for (socket, header) in ends {
        let tun = tun.try_clone()?;
        thread::spawn(move || forward(socket, tun, header));
    }
    forward(outer4, tun, header4)
}

/// Over IPv6 UDP without a checksum is only taken by who asks for it, as a tunnel's end does (RFC 6935).
fn take_without_checksum(socket: &UdpSocket) -> Result<()> {
    const UDP_NO_CHECK6_RX: libc::c_int = 102;
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option is an `int`, which `on` is; the socket is open.
    let done = unsafe {
        let value = std::ptr::from_ref(&on).cast();
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_NO_CHECK6_RX,
            value,
            len,
        )
    };
    ensure!(
        done == 0,
        "UDP_NO_CHECK6_RX: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// Whether a GRE header says that a checksum follows.
fn is_with_checksum(packet: &[u8], at: usize) -> bool {
    packet.get(at).is_some_and(|flags| flags & 0x80 != 0)
}

fn forward(mut outer: Socket, mut tun: File, header: impl Fn(&[u8]) -> usize) -> Result<()> {
    let mut packet = [0; 65536];
    loop {
        let n = outer.read(&mut packet)?;
        let read = packet.get(..n).unwrap_or_default();
        if let Some(inner) = read.get(header(read)..).filter(|i| !i.is_empty()) {
            // A malformed inner packet is refused by the kernel; the next one may be good.
            let _ = tun.write_all(inner);
        }
    }
}

fn open_tun() -> Result<File> {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("/dev/net/tun")?;
    // struct ifreq: the name in 16 bytes, then the flags; TUN without the packet information header.
    let mut request = [0u8; 40];
    for (to, from) in request.iter_mut().zip(NAME.bytes()) {
        *to = from;
    }
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    for (to, from) in request.iter_mut().skip(16).zip(flags.to_ne_bytes()) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq` (40 bytes on 64-bit Linux), which `request` is.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    ensure!(done == 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
    Ok(tun)
}
