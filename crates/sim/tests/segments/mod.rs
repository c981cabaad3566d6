//! TCP segments with everything in them, built and read back; a wrong checksum is no segment.

use sim::packet::ip_frame;
use std::net::{IpAddr, SocketAddr};
use types::MacAddr;
use wire::{
    FromBytes, IntoBytes, Ipv4, Ipv6, Sum, Tcp, U16, U32, protocol,
    tcp::{self, kind},
};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// A segment's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub size: Option<u16>,
    pub scale: Option<u8>,
    pub sack: bool,
    pub times: Option<(u32, u32)>,
    /// Of a selective acknowledgement.
    pub blocks: Vec<(u32, u32)>,
}

impl Options {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(size) = self.size {
            bytes.extend([kind::MSS, 4]);
            bytes.extend(size.to_be_bytes());
        }
        if self.sack {
            bytes.extend([kind::SACK_PERMITTED, 2]);
        }
        if let Some((value, echo)) = self.times {
            bytes.extend([kind::TIMESTAMPS, 10]);
            bytes.extend(value.to_be_bytes());
            bytes.extend(echo.to_be_bytes());
        }
        if let Some(scale) = self.scale {
            bytes.extend([kind::SCALE, 3, scale]);
        }
        if !self.blocks.is_empty() {
            let len = u8::try_from(2 + self.blocks.len() * 8).unwrap();
            bytes.extend([kind::SACK, len]);
            for (left, right) in &self.blocks {
                bytes.extend(left.to_be_bytes());
                bytes.extend(right.to_be_bytes());
            }
        }
        while !bytes.len().is_multiple_of(4) {
            bytes.push(kind::NOTHING);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
        tcp::each_option(&mut bytes.to_vec(), |kind, contents| match kind {
            kind::MSS => found.size = Some(u16::from_be_bytes([contents[0], contents[1]])),
            kind::SCALE => found.scale = Some(contents[0]),
            kind::SACK_PERMITTED => found.sack = true,
            kind::TIMESTAMPS => found.times = Some((word(contents), word(&contents[4..]))),
            kind::SACK => {
                let blocks = contents.chunks(8);
                found.blocks = blocks.map(|b| (word(b), word(&b[4..]))).collect();
            }
            other => panic!("option {other}"),
        });
        found
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub options: Options,
    pub data: Vec<u8>,
}

impl Segment {
    pub fn new(source: SocketAddr, destination: SocketAddr, seq: u32, ack: u32, flags: u8) -> Self {
        Self {
            source,
            destination,
            seq,
            ack,
            flags,
            window: 1000,
            options: Options::default(),
            data: Vec::new(),
        }
    }

    pub fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    pub fn frame(&self, mac: MacAddr) -> Vec<u8> {
        let options = self.options.bytes();
        let words = u8::try_from((tcp::LEN + options.len()) / 4).unwrap();
        let header = Tcp {
            source: U16::new(self.source.port()),
            destination: U16::new(self.destination.port()),
            sequence: U32::new(self.seq),
            acknowledgement: U32::new(self.ack),
            data_offset: words << 4,
            flags: self.flags,
            window: U16::new(self.window),
            checksum: U16::new(0),
            urgent: U16::new(0),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(options);
        bytes.extend(&self.data);
        let mut sum = pseudo(self.source.ip(), self.destination.ip(), bytes.len());
        sum.add(&bytes);
        bytes[16..18].copy_from_slice(&sum.finish().to_be_bytes());
        let (from, to) = (self.source.ip(), self.destination.ip());
        ip_frame(mac, from, to, protocol::TCP, 64, &bytes)
    }

    pub fn read(frame: &[u8]) -> Self {
        let ip = &frame[14..];
        let (source, destination, segment) = if ip[0] >> 4 == 4 {
            let (header, rest) = Ipv4::ref_from_prefix(ip).unwrap();
            assert_eq!(wire::checksum::of(&ip[..20]), 0, "the header's checksum");
            assert_eq!(header.protocol, protocol::TCP);
            let len = usize::from(header.total_len.get()) - 20;
            let ends = [header.source, header.destination].map(|a| IpAddr::V4(a.get().into()));
            (ends[0], ends[1], &rest[..len])
        } else {
            let (header, rest) = Ipv6::ref_from_prefix(ip).unwrap();
            assert_eq!(header.next_header, protocol::TCP);
            let len = usize::from(header.payload_len.get());
            let ends = [header.source, header.destination].map(IpAddr::from);
            (ends[0], ends[1], &rest[..len])
        };
        let mut sum = pseudo(source, destination, segment.len());
        sum.add(segment);
        assert_eq!(sum.finish(), 0, "the segment's checksum");
        let (header, _) = Tcp::ref_from_prefix(segment).unwrap();
        let len = header.header_len();
        Self {
            source: SocketAddr::new(source, header.source.get()),
            destination: SocketAddr::new(destination, header.destination.get()),
            seq: header.sequence.get(),
            ack: header.acknowledgement.get(),
            flags: header.flags,
            window: header.window.get(),
            options: Options::read(&segment[tcp::LEN..len]),
            data: segment[len..].to_vec(),
        }
    }
}

fn pseudo(source: IpAddr, destination: IpAddr, len: usize) -> Sum {
    let short = u16::try_from(len).unwrap();
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            Sum::pseudo4(s.to_bits(), d.to_bits(), protocol::TCP, short)
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            Sum::pseudo6(s.to_bits(), d.to_bits(), protocol::TCP, short.into())
        }
        _ => panic!("two families"),
    }
}
