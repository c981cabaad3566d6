//! TCP segments in Ethernet frames: read with everything checked, written whole.

use crate::parse;
use types::MacAddr;
use wire::{
    Ethernet, FromBytes, Ipv4, Ipv6, Sum, Tcp, checksum, ethernet, ipv4, ipv6, protocol,
    tcp::{self, kind},
};

/// Bytes of the largest headers written here: tagged, IPv6, TCP and all options of a SYN.
pub const HEADERS: usize = ethernet::LEN + ethernet::VLAN_LEN + ipv6::LEN + tcp::LEN + OPTIONS;
/// Bytes of the options written here at most.
const OPTIONS: usize = 20;
/// The window we offer; scaled, if that is agreed on.
pub const WINDOW: u16 = u16::MAX;
/// Bytes of timestamps in each segment of a connection that has them.
pub const STAMPS_LEN: u16 = 12;
/// The largest window scale (RFC 7323 2.3).
const MOST_SCALE: u8 = 14;

/// What tells a connection from others, seen from our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Our address; IPv4 in the low 32 bits.
    pub ours: u128,
    /// The far end's.
    pub theirs: u128,
    /// Our port and the far end's.
    pub ports: [u16; 2],
    /// The family.
    pub is_ipv6: bool,
}

/// The way frames of a connection take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our MAC.
    pub from: MacAddr,
    /// The next hop's.
    pub to: MacAddr,
    /// VLAN tag: priority and id.
    pub vlan: Option<u16>,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
}

/// What stands behind TCP's header. All but timestamps count in a SYN only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The largest segment the sender takes.
    pub mss: Option<u16>,
    /// How far its windows are to be shifted.
    pub scale: Option<u8>,
    /// It understands selective acknowledgements.
    pub sack: bool,
    /// Its timestamp, and the one it echoes.
    pub stamps: Option<(u32, u32)>,
}

impl Options {
    /// Those that are understood, as far as they make sense (RFC 9293 3.2).
    fn read(mut options: &[u8]) -> Self {
        let mut found = Self::default();
        loop {
            match *options {
                [] | [kind::END, ..] => return found,
                [kind::NOTHING, ref rest @ ..] => options = rest,
                [kind, len, ..] if len >= 2 => {
                    let Some((option, rest)) = options.split_at_checked(usize::from(len)) else {
                        return found;
                    };
                    found.take(kind, option.get(2..).unwrap_or_default());
                    options = rest;
                }
                _ => return found,
            }
        }
    }

    fn take(&mut self, kind: u8, contents: &[u8]) {
        match (kind, contents) {
            (kind::MSS, [high, low]) => self.mss = Some(u16::from_be_bytes([*high, *low])),
            (kind::SCALE, [scale]) => self.scale = Some((*scale).min(MOST_SCALE)),
            (kind::SACK_PERMITTED, []) => self.sack = true,
            (kind::TIMESTAMPS, [a, b, c, d, e, f, g, h]) => {
                let (sent, echoed) = ([*a, *b, *c, *d], [*e, *f, *g, *h]);
                self.stamps = Some((u32::from_be_bytes(sent), u32::from_be_bytes(echoed)));
            }
            _ => {}
        }
    }

    /// Bytes they take, in whole words.
    const fn len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.scale.is_some() { 4 } else { 0 };
        // They go before the timestamps, where those have room to spare.
        let rest = match (self.sack, self.stamps) {
            (_, Some(_)) => STAMPS_LEN as usize,
            (true, None) => 4,
            (false, None) => 0,
        };
        mss + rest + scale
    }

    /// Writes them to where they have room, in the order of Linux's.
    fn write(&self, place: &mut [u8]) {
        let mut words = place.as_chunks_mut::<4>().0.iter_mut();
        let mut put = |word: [u8; 4]| {
            if let Some(place) = words.next() {
                *place = word;
            }
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put([kind::MSS, 4, high, low]);
        }
        let sack = match self.sack {
            true => [kind::SACK_PERMITTED, 2],
            false => [kind::NOTHING; 2],
        };
        match (sack, self.stamps) {
            ([a, b], Some((sent, echoed))) => {
                put([a, b, kind::TIMESTAMPS, 10]);
                put(sent.to_be_bytes());
                put(echoed.to_be_bytes());
            }
            ([a, b], None) if self.sack => put([kind::NOTHING, kind::NOTHING, a, b]),
            _ => {}
        }
        if let Some(scale) = self.scale {
            put([kind::NOTHING, kind::SCALE, 3, scale]);
        }
    }
}

/// A segment that came in.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// As on the wire.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// What it acknowledges, if the flags say so.
    pub acknowledgement: u32,
    /// Bytes the sender would take, as on the wire.
    pub window: u16,
    /// What it says besides.
    pub options: Options,
    /// Its data.
    pub payload: &'a [u8],
}

/// A frame that came in.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The way back.
    pub back: Path,
    /// Its connection, seen from our end.
    pub tuple: Tuple,
    /// What it says.
    pub heard: Heard<'a>,
}

/// Why a frame is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Not TCP, or a piece of it.
    Other,
    /// Damaged: a checksum is wrong, or its headers claim more bytes than there are.
    Damaged,
}

/// A segment to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// As on the wire.
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// What is acknowledged.
    pub acknowledgement: u32,
    /// What is said besides.
    pub options: Options,
    /// Which byte of all this end ever sends its data begin with.
    pub at: u32,
    /// Bytes of data.
    pub len: u16,
    /// It was sent before.
    pub is_again: bool,
}

/// Reads a frame.
///
/// # Errors
/// [`Unread`].
#[inline]
pub fn read(bytes: &[u8]) -> Result<Frame<'_>, Unread> {
    let (ether, _) = Ethernet::ref_from_prefix(bytes).map_err(|_| Unread::Other)?;
    let (at, ethertype) = parse::network(bytes).ok_or(Unread::Other)?;
    let vlan = (at > ethernet::LEN)
        .then(|| {
            bytes
                .get(14..16)?
                .first_chunk()
                .copied()
                .map(u16::from_be_bytes)
        })
        .flatten();
    let packet = bytes.get(at..).ok_or(Unread::Other)?;
    let (source, destination, mut sum, segment, is_ipv6) = match ethertype {
        ethernet::IPV4 => {
            let (header, _) = Ipv4::ref_from_prefix(packet).map_err(|_| Unread::Other)?;
            if header.version() != 4 || header.protocol != protocol::TCP || header.is_fragment() {
                return Err(Unread::Other);
            }
            let (from, len) = (header.header_len(), usize::from(header.total_len.get()));
            let right = from >= ipv4::LEN
                && packet
                    .get(..from)
                    .is_some_and(|header| checksum::of(header) == 0);
            let segment = packet.get(from..len).filter(|_| right);
            let segment = segment.ok_or(Unread::Damaged)?;
            let (source, destination) = (header.source.get(), header.destination.get());
            let upper = u16::try_from(segment.len()).map_err(|_| Unread::Damaged)?;
            let sum = Sum::pseudo4(source, destination, protocol::TCP, upper);
            (source.into(), destination.into(), sum, segment, false)
        }
        ethernet::IPV6 => {
            let (header, rest) = Ipv6::ref_from_prefix(packet).map_err(|_| Unread::Other)?;
            if header.version() != 6 || header.next_header != protocol::TCP {
                return Err(Unread::Other);
            }
            let len = header.payload_len.get();
            let segment = rest.get(..usize::from(len)).ok_or(Unread::Damaged)?;
            let (source, destination) = (header.source(), header.destination());
            let sum = Sum::pseudo6(source, destination, protocol::TCP, len.into());
            (source, destination, sum, segment, true)
        }
        _ => return Err(Unread::Other),
    };
    sum.add(segment);
    let (header, _) = Tcp::ref_from_prefix(segment).map_err(|_| Unread::Damaged)?;
    let header_len = header.header_len();
    if sum.finish() != 0 || header_len < tcp::LEN {
        return Err(Unread::Damaged);
    }
    let payload = segment.get(header_len..).ok_or(Unread::Damaged)?;
    let options = match header_len {
        tcp::LEN => Options::default(),
        _ => Options::read(segment.get(tcp::LEN..header_len).unwrap_or_default()),
    };
    Ok(Frame {
        back: Path {
            from: MacAddr(ether.destination),
            to: MacAddr(ether.source),
            vlan,
            ttl: 64,
            tos: 0,
        },
        tuple: Tuple {
            ours: destination,
            theirs: source,
            ports: [header.destination.get(), header.source.get()],
            is_ipv6,
        },
        heard: Heard {
            flags: header.flags,
            sequence: header.sequence.get(),
            acknowledgement: header.acknowledgement.get(),
            window: header.window.get(),
            options,
            payload,
        },
    })
}

/// Bytes before the data of a segment.
#[must_use]
#[inline]
pub const fn headers_len(path: &Path, is_ipv6: bool, said: &Said) -> usize {
    let vlan = if path.vlan.is_some() {
        ethernet::VLAN_LEN
    } else {
        0
    };
    let ip = if is_ipv6 { ipv6::LEN } else { ipv4::LEN };
    ethernet::LEN + vlan + ip + tcp::LEN + said.options.len()
}

/// Writes the headers of a segment into `frame`, whose data stand behind them already. `frame` is the whole of it: [`headers_len`] and
/// [`Said::len`].
#[inline]
pub fn write(path: &Path, tuple: &Tuple, said: &Said, frame: &mut [u8]) {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    put(&path.to.0);
    put(&path.from.0);
    if let Some(tag) = path.vlan {
        put(&ethernet::VLAN.to_be_bytes());
        put(&tag.to_be_bytes());
    }
    let options = said.options.len();
    // An MTU is below 65,536.
    let segment_len = u16::try_from(tcp::LEN + options)
        .unwrap_or(0)
        .saturating_add(said.len);
    let mut sum;
    if tuple.is_ipv6 {
        put(&ethernet::IPV6.to_be_bytes());
        put(&Ipv6::class(path.tos).get().to_be_bytes());
        put(&segment_len.to_be_bytes());
        put(&[protocol::TCP, path.ttl]);
        put(&tuple.ours.to_be_bytes());
        put(&tuple.theirs.to_be_bytes());
        sum = Sum::pseudo6(tuple.ours, tuple.theirs, protocol::TCP, segment_len.into());
    } else {
        let [ours, theirs] = [tuple.ours, tuple.theirs].map(low);
        let mut header = [0; ipv4::LEN];
        let [a, b] = segment_len.saturating_add(20).to_be_bytes();
        let [c, d] = ipv4::DONT_FRAGMENT.to_be_bytes();
        header[..10].copy_from_slice(&[0x45, path.tos, a, b, 0, 0, c, d, path.ttl, protocol::TCP]);
        header[12..16].copy_from_slice(&ours.to_be_bytes());
        header[16..].copy_from_slice(&theirs.to_be_bytes());
        let right = checksum::of_plain_header(&header);
        header[10..12].copy_from_slice(&right.to_be_bytes());
        put(&ethernet::IPV4.to_be_bytes());
        put(&header);
        sum = Sum::pseudo4(ours, theirs, protocol::TCP, segment_len);
    }
    let mut header = [0; tcp::LEN + OPTIONS];
    let len = tcp::LEN + options;
    header[..2].copy_from_slice(&tuple.ports[0].to_be_bytes());
    header[2..4].copy_from_slice(&tuple.ports[1].to_be_bytes());
    header[4..8].copy_from_slice(&said.sequence.to_be_bytes());
    header[8..12].copy_from_slice(&said.acknowledgement.to_be_bytes());
    header[12] = u8::try_from(len / 4).unwrap_or(5) << 4;
    header[13] = said.flags;
    header[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    if options > 0 {
        said.options.write(&mut header[tcp::LEN..len]);
    }
    put(&header[..len]);
    let tcp_at = at - len;
    if let Some(segment) = frame.get_mut(tcp_at..) {
        sum.add(segment);
        if let Some(place) = segment.get_mut(16..18) {
            place.copy_from_slice(&sum.finish().to_be_bytes());
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an IPv4 address")]
const fn low(address: u128) -> u32 {
    address as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{option, prelude::*};

    fn said() -> impl Strategy<Value = Said> {
        let options = (
            any::<Option<u16>>(),
            option::of(0..=14_u8),
            any::<(bool, Option<(u32, u32)>)>(),
        );
        (any::<(u8, u32, u32)>(), options, 0..1400_u16).prop_map(
            |((flags, sequence, acknowledgement), (mss, scale, (sack, stamps)), len)| Said {
                flags,
                sequence,
                acknowledgement,
                options: Options {
                    mss,
                    scale,
                    sack,
                    stamps,
                },
                at: 0,
                len,
                is_again: false,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(said in said(), is_ipv6: bool, vlan: Option<u16>, ours: u32, theirs: u32, ports: [u16; 2], noise: u8) {
            let path = Path { from: MacAddr([2, 0, 0, 0, 0, 1]), to: MacAddr([2, 0, 0, 0, 0, 2]), vlan, ttl: 9, tos: 4 };
            let tuple = Tuple { ours: ours.into(), theirs: theirs.into(), ports, is_ipv6 };
            let headers = headers_len(&path, is_ipv6, &said);
            prop_assert!(headers <= HEADERS);
            let mut frame = vec![noise; headers + usize::from(said.len)];
            write(&path, &tuple, &said, &mut frame);
            // Small frames are padded on the way.
            let mut padded = frame.clone();
            padded.resize(frame.len().max(60), 7);
            let read_back = read(&padded).unwrap();
            prop_assert_eq!(read_back.back, Path { from: path.to, to: path.from, ttl: 64, tos: 0, ..path });
            prop_assert_eq!(read_back.tuple, Tuple { ours: tuple.theirs, theirs: tuple.ours, ports: [ports[1], ports[0]], is_ipv6 });
            let heard = read_back.heard;
            prop_assert_eq!((heard.flags, heard.sequence, heard.acknowledgement, heard.options), (said.flags, said.sequence, said.acknowledgement, said.options));
            prop_assert_eq!(heard.payload, vec![noise; said.len.into()]);
            // Any bit turned behind the addresses on the link is noticed, or it makes another protocol of it.
            let at = ethernet::LEN + if vlan.is_some() { 4 } else { 0 } + usize::from(noise) % (frame.len() - 18);
            frame[at] ^= 1 << (noise % 8);
            // IPv6 protects neither class and flow label nor hop limit.
            let in_header = at - ethernet::LEN - if vlan.is_some() { 4 } else { 0 };
            if !is_ipv6 || !(in_header < 4 || in_header == 7) {
                prop_assert!(read(&frame).is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..3) {
            if let Some(place) = bytes.get_mut(12..24) {
                place.copy_from_slice(match kind {
                    0 => &[8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6],
                    1 => &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 30, 6, 64, 0, 0],
                    _ => &[0x81, 0, 0, 9, 8, 0, 0x46, 0, 0, 50, 0, 0],
                });
            }
            let _ = read(&bytes);
            let _ = Options::read(&bytes);
        }
    }

    #[test]
    fn options_before_the_one_wanted_are_skipped() {
        let mss = |bytes: &[u8]| Options::read(bytes).mss;
        assert_eq!(
            mss(&[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180]),
            Some(1460)
        );
        assert_eq!(mss(&[4, 2, 0, 2, 4, 5, 180]), None);
        assert_eq!(mss(&[3, 0, 2, 4, 5, 180]), None);
        assert_eq!(mss(&[3]), None);
        assert_eq!(Options::read(&[3, 3, 15]).scale, Some(14));
    }
}
