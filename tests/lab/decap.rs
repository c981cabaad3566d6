//! The far end of a tunnel for kernels without tunnel devices: takes IP-in-IP off and gives the inner packet to the
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
    os::fd::AsRawFd,
    process::Command,
    thread,
};

const NAME: &str = "decap0";
const IPV4_IN_IP: i32 = 4;
const IPV6_IN_IP: i32 = 41;

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
    let tun6 = tun.try_clone()?;
    thread::spawn(move || forward(outer6, tun6, |_| 0));
    // An IPv4 raw socket delivers the outer header, an IPv6 one does not.
    forward(outer4, tun, |packet| {
        packet.first().map_or(0, |b| usize::from(b & 0xf) * 4)
    })
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
