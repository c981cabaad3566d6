//! A connection as it is told, and its bytes in both versions.
//!
//! ```text
//! version 1, 36 bytes of IPv4, 72 of IPv6; the next starts at a multiple of 4
//!  0 type (1: IPv6)  1 protocol  2 version 4 bits, bytes in all 12  4 flags
//!  8 state  10 client's port  12 virtual port  14 server's port  16 mark  20 timeout in seconds
//! 24 client's address, virtual, server's; options: type, length, contents
//!
//! version 0, 24 bytes
//!  0 reserved  1 protocol  2 client's port  4 virtual port  6 server's port  8 client's address  12 virtual  16 server's
//! 20 flags  22 state  (24 sequence deltas if a flag says so)
//! ```

use crate::{
    ParseError,
    bytes::{Put, Reader},
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What is the case with a connection (`IP_VS_CONN_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// The bits that are the forwarding method.
    pub const METHOD: Self = Self(0x7);
    /// Method: NAT.
    pub const MASQ: Self = Self(0);
    /// Method: the director itself.
    pub const LOCAL: Self = Self(1);
    /// Method: a tunnel.
    pub const TUNNEL: Self = Self(2);
    /// Method: direct routing.
    pub const ROUTE: Self = Self(3);
    /// Method: on to where it was going.
    pub const BYPASS: Self = Self(4);
    /// Came by synchronisation.
    pub const SYNC: Self = Self(0x20);
    /// Is in IPVS's table: never told.
    pub const HASHED: Self = Self(0x40);
    /// Packets of one direction only are seen.
    pub const NO_OUTPUT: Self = Self(0x80);
    /// Counts as inactive.
    pub const INACTIVE: Self = Self(0x100);
    /// Sequence numbers of the server's packets are shifted.
    pub const OUT_SEQ: Self = Self(0x200);
    /// Those of the client's are.
    pub const IN_SEQ: Self = Self(0x400);
    /// The client's port is not known yet.
    pub const NO_CLIENT_PORT: Self = Self(0x800);
    /// A persistence template.
    pub const TEMPLATE: Self = Self(0x1000);
    /// One datagram, never told.
    pub const ONE_PACKET: Self = Self(0x2000);
    /// What a backup takes over of them (`IP_VS_CONN_F_BACKUP_MASK`).
    pub const TAKEN_OVER: Self = Self(0x1f87);

    /// All of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other` too.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With none of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Only those of `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Client, virtual address and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// Of IPv4.
    V4([Ipv4Addr; 3]),
    /// Of IPv6.
    V6([Ipv6Addr; 3]),
}

/// How one direction's sequence numbers are shifted (`struct ip_vs_seq`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceDelta {
    /// From this number on `delta` holds, before it `previous_delta`.
    pub from: u32,
    /// Added to later numbers.
    pub delta: u32,
    /// Added to earlier ones.
    pub previous_delta: u32,
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceDeltas {
    /// From the client.
    pub inwards: SequenceDelta,
    /// From the server.
    pub outwards: SequenceDelta,
}

/// What has to be changed in every packet of a connection that the director began by itself, with a cookie, before it had a server. An
/// option of Tarpon's own, which others leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Splice {
    /// The client's first sequence number.
    pub isn: u32,
    /// To be added to the server's sequence numbers.
    pub sequence: u32,
    /// To be added to the server's timestamps.
    pub time: u32,
    /// How windows are shifted, right if negative: those for the client.
    pub to_client: i8,
    /// Those for the server.
    pub to_server: i8,
}

/// A connection or template as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// IANA protocol number; 0 in templates of marks.
    pub protocol: u8,
    /// What is the case with it.
    pub flags: Flags,
    /// The protocol's state, in IPVS's numbers.
    pub state: u16,
    /// The client's port; 0 in templates.
    pub client_port: u16,
    /// The virtual service's.
    pub virtual_port: u16,
    /// The server's.
    pub server_port: u16,
    /// The firewall mark it was made under; version 0 has none.
    pub mark: u32,
    /// Its timeout in seconds; 0 is the receiver's own for that state, as always in version 0.
    pub timeout_s: u32,
    /// Whose they are.
    pub addresses: Addresses,
    /// Shifted sequence numbers.
    pub sequence: Option<SequenceDeltas>,
    /// What is changed in a connection that began with a cookie.
    pub splice: Option<Splice>,
    /// A persistence engine's name and what it goes by.
    pub persistence: Option<(Vec<u8>, Vec<u8>)>,
}

/// Bytes up to the addresses in version 1.
const FIXED: usize = 24;
/// Bytes of [`SequenceDeltas`].
const SEQUENCE: usize = 24;
/// Bytes of [`Splice`], two of them reserved (0).
const SPLICE: usize = 16;
const TYPE_IPV6: u8 = 1;
/// Longest name of a persistence engine (`IP_VS_PENAME_MAXLEN`), and most it goes by (`IP_VS_PEDATA_MAXLEN`).
const PERSISTENCE: (usize, usize) = (16, 255);

/// Types of options; the bit says that one who does not know the type may leave it out.
mod option {
    pub const SEQUENCE: u8 = 1;
    pub const PERSISTENCE_DATA: u8 = 2;
    pub const PERSISTENCE_NAME: u8 = 3;
    /// Not IPVS's; with [`PARAMETER`], so that IPVS leaves it out.
    pub const SPLICE: u8 = 32;
    pub const PARAMETER: u8 = 1 << 6;
}

impl Connection {
    /// Bytes in version 1, without those that fill up to a multiple of 4.
    #[must_use]
    pub fn len(&self) -> usize {
        let addresses = match self.addresses {
            Addresses::V4(_) => 12,
            Addresses::V6(_) => 48,
        };
        let sequence = self.sequence.map_or(0, |_| 2 + SEQUENCE);
        let splice = self.splice.map_or(0, |_| 2 + SPLICE);
        let persistence = self.persistence.as_ref();
        let persistence = persistence.map_or(0, |(name, data)| 4 + name.len() + data.len());
        FIXED + addresses + sequence + splice + persistence
    }

    /// Never: it has addresses.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Appends it in version 1.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let six = matches!(self.addresses, Addresses::V6(_));
        to.put(&[if six { TYPE_IPV6 } else { 0 }, self.protocol]);
        to.u16(u16::try_from(self.len() & 0xfff).unwrap_or_default());
        to.u32(self.flags.without(Flags::HASHED).0);
        for number in [
            self.state,
            self.client_port,
            self.virtual_port,
            self.server_port,
        ] {
            to.u16(number);
        }
        to.u32(self.mark);
        to.u32(self.timeout_s);
        match &self.addresses {
            Addresses::V4(all) => all.iter().for_each(|a| to.put(&a.octets())),
            Addresses::V6(all) => all.iter().for_each(|a| to.put(&a.octets())),
        }
        if let Some(sequence) = &self.sequence {
            to.put(&[option::SEQUENCE, 24]);
            write_sequence(sequence, to);
        }
        if let Some(splice) = &self.splice {
            to.put(&[option::SPLICE | option::PARAMETER, 16]);
            for number in [splice.isn, splice.sequence, splice.time] {
                to.u32(number);
            }
            let shifts = [splice.to_client, splice.to_server].map(i8::cast_unsigned);
            to.put(&shifts);
            to.u16(0);
        }
        if let Some((name, data)) = &self.persistence {
            for (kind, bytes) in [
                (option::PERSISTENCE_DATA, data),
                (option::PERSISTENCE_NAME, name),
            ] {
                to.put(&[kind, u8::try_from(bytes.len()).unwrap_or(u8::MAX)]);
                to.put(bytes);
            }
        }
    }

    /// Reads number `nth` in version 1, and what fills up behind it.
    pub(crate) fn read(nth: u8, from: &mut Reader<'_>) -> Result<Self, ParseError> {
        let truncated = ParseError::Truncated(nth);
        let mut head = Reader(from.0.get(2..4).ok_or(truncated)?);
        let sized = head.u16().ok_or(truncated)?;
        let (version, size) = (sized >> 12, sized & 0xfff);
        if version != 0 {
            return Err(ParseError::ConnectionVersion {
                connection: nth,
                version: u8::try_from(version).unwrap_or_default(),
            });
        }
        let wrong = ParseError::ConnectionSize {
            connection: nth,
            size,
        };
        let own = from.take(size.into()).ok_or(truncated)?;
        let padding = usize::from(size).wrapping_neg() & 3;
        // Behind the last one there need be none.
        from.0 = from.0.get(padding..).unwrap_or_default();
        let mut own = Reader(own);
        Self::fields(&mut own).ok_or(wrong).and_then(|mut read| {
            read.options(nth, &mut own)?;
            Ok(read)
        })
    }

    fn fields(from: &mut Reader<'_>) -> Option<Self> {
        let (kind, protocol) = (from.u8()?, from.u8()?);
        let _size = from.u16()?;
        let flags = Flags(from.u32()?).without(Flags::HASHED);
        let (state, client_port) = (from.u16()?, from.u16()?);
        let (virtual_port, server_port) = (from.u16()?, from.u16()?);
        let (mark, timeout_s) = (from.u32()?, from.u32()?);
        let addresses = if kind & TYPE_IPV6 == 0 {
            let mut next = || from.u32().map(Ipv4Addr::from_bits);
            Addresses::V4([next()?, next()?, next()?])
        } else {
            let mut next = || from.u128().map(Ipv6Addr::from_bits);
            Addresses::V6([next()?, next()?, next()?])
        };
        Some(Self {
            protocol,
            flags,
            state,
            client_port,
            virtual_port,
            server_port,
            mark,
            timeout_s,
            addresses,
            sequence: None,
            splice: None,
            persistence: None,
        })
    }

    fn options(&mut self, nth: u8, from: &mut Reader<'_>) -> Result<(), ParseError> {
        let (mut name, mut data) = (None, None);
        while let Some(kind) = from.u8() {
            let wrong = ParseError::Option {
                connection: nth,
                option: kind,
            };
            let len = from.u8().ok_or(wrong)?;
            let contents = from.take(len.into()).ok_or(wrong)?;
            match kind & !option::PARAMETER {
                option::SEQUENCE if contents.len() == SEQUENCE && self.sequence.is_none() => {
                    self.sequence = read_sequence(&mut Reader(contents));
                }
                option::PERSISTENCE_DATA
                    if (1..=PERSISTENCE.1).contains(&contents.len()) && data.is_none() =>
                {
                    data = Some(contents.to_vec());
                }
                option::PERSISTENCE_NAME
                    if (1..=PERSISTENCE.0).contains(&contents.len()) && name.is_none() =>
                {
                    name = Some(contents.to_vec());
                }
                option::SPLICE if contents.len() == SPLICE && self.splice.is_none() => {
                    self.splice = read_splice(&mut Reader(contents));
                }
                // One that may be left out.
                _ if kind & option::PARAMETER != 0 && !contents.is_empty() => {}
                _ => return Err(wrong),
            }
        }
        self.persistence = name.zip(data);
        Ok(())
    }

    /// Reads number `nth` in version 0.
    pub(crate) fn read_old(nth: u8, from: &mut Reader<'_>) -> Result<Self, ParseError> {
        let truncated = ParseError::Truncated(nth);
        let mut read = Self::old_fields(from).ok_or(truncated)?;
        if read.flags.0 & (Flags::IN_SEQ.0 | Flags::OUT_SEQ.0) != 0 {
            let mut contents = Reader(from.take(SEQUENCE).ok_or(truncated)?);
            read.sequence = read_sequence(&mut contents);
        }
        Ok(read)
    }

    fn old_fields(from: &mut Reader<'_>) -> Option<Self> {
        let (_reserved, protocol) = (from.u8()?, from.u8()?);
        let (client_port, virtual_port, server_port) = (from.u16()?, from.u16()?, from.u16()?);
        let mut next = || from.u32().map(Ipv4Addr::from_bits);
        let addresses = Addresses::V4([next()?, next()?, next()?]);
        let (flags, state) = (from.u16()?, from.u16()?);
        Some(Self {
            protocol,
            flags: Flags(flags.into()).without(Flags::HASHED),
            state,
            client_port,
            virtual_port,
            server_port,
            mark: 0,
            timeout_s: 0,
            addresses,
            sequence: None,
            splice: None,
            persistence: None,
        })
    }
}

fn write_sequence(sequence: &SequenceDeltas, to: &mut Vec<u8>) {
    for one in [&sequence.inwards, &sequence.outwards] {
        for number in [one.from, one.delta, one.previous_delta] {
            to.u32(number);
        }
    }
}

fn read_sequence(from: &mut Reader<'_>) -> Option<SequenceDeltas> {
    let mut one = || {
        Some(SequenceDelta {
            from: from.u32()?,
            delta: from.u32()?,
            previous_delta: from.u32()?,
        })
    };
    let (inwards, outwards) = (one()?, one()?);
    Some(SequenceDeltas { inwards, outwards })
}

fn read_splice(from: &mut Reader<'_>) -> Option<Splice> {
    Some(Splice {
        isn: from.u32()?,
        sequence: from.u32()?,
        time: from.u32()?,
        to_client: from.u8()?.cast_signed(),
        to_server: from.u8()?.cast_signed(),
    })
}
