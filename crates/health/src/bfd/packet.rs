//! BFD control packets (RFC 5880 section 4.1), read and written.

use std::fmt;

/// A packet without authentication, in bytes.
pub const LENGTH: usize = 24;
/// Where single-hop packets go (RFC 5881), and multihop ones (RFC 5883).
pub const SINGLE_HOP_PORT: u16 = 3784;
/// See [`SINGLE_HOP_PORT`].
pub const MULTIHOP_PORT: u16 = 4784;

/// A session's state, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is held down by its operator.
    AdminDown,
    /// Nothing is heard, or the other end does not hear us.
    Down,
    /// We hear the other end, which may not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

/// Why a session went down, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostic {
    /// 0
    None,
    /// 1: nothing was heard for the detection time.
    Expired,
    /// 3: the other end said that it is down.
    NeighbourDown,
    /// 7: its operator holds it down.
    AdministrativelyDown,
    /// Another; its number.
    Other(u8),
}

impl Diagnostic {
    const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Expired => 1,
            Self::NeighbourDown => 3,
            Self::AdministrativelyDown => 7,
            Self::Other(number) => number & 31,
        }
    }

    const fn numbered(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Expired,
            3 => Self::NeighbourDown,
            7 => Self::AdministrativelyDown,
            other => Self::Other(other),
        }
    }
}

/// A control packet. Intervals are in microseconds, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender was down last.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// It wants an answer at once.
    pub poll: bool,
    /// It is that answer.
    pub last: bool,
    /// It wants to be left alone while it is well (demand mode).
    pub demand: bool,
    /// Its packets that may be lost in a row.
    pub multiplier: u8,
    /// The sender's number of the session.
    pub mine: u32,
    /// The receiver's number of it, as far as the sender knows; 0: it does not.
    pub yours: u32,
    /// How often it would like to send.
    pub desired_tx_us: u32,
    /// How often it can hear; 0: it wants no packets.
    pub required_rx_us: u32,
    /// How often it can hear echoes; 0: it wants none.
    pub required_echo_us: u32,
}

/// Why a packet is none (RFC 5880 section 6.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Shorter than it must be, or than it says.
    Short,
    /// Not version 1.
    Version,
    /// A multiplier of 0.
    Multiplier,
    /// The multipoint bit is set.
    Multipoint,
    /// The sender has no number.
    Discriminator,
    /// No number of ours, in a state where it must be known.
    Unaddressed,
    /// Authentication, which is not supported.
    Authenticated,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "it is shorter than it must be",
            Self::Version => "it is not BFD version 1",
            Self::Multiplier => "its multiplier is 0",
            Self::Multipoint => "it is multipoint",
            Self::Discriminator => "its sender has no discriminator",
            Self::Unaddressed => "it lacks our discriminator",
            Self::Authenticated => "it is authenticated, which is not supported",
        })
    }
}

impl Packet {
    /// Reads the payload of a datagram.
    ///
    /// # Errors
    /// Why it is to be discarded.
    pub fn parse(bytes: &[u8]) -> Result<Self, Mistake> {
        let head: &[u8; LENGTH] = bytes.first_chunk().ok_or(Mistake::Short)?;
        let [first, flags, multiplier, length, rest @ ..] = *head;
        let word = |n: usize| {
            let bytes = rest.get(4 * n..4 * n + 4).unwrap_or_default();
            bytes.try_into().map_or(0, u32::from_be_bytes)
        };
        let length = usize::from(length);
        if first >> 5 != 1 {
            return Err(Mistake::Version);
        }
        if length < LENGTH || length > bytes.len() {
            return Err(Mistake::Short);
        }
        if multiplier == 0 {
            return Err(Mistake::Multiplier);
        }
        if flags & 1 != 0 {
            return Err(Mistake::Multipoint);
        }
        let state = match flags >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        };
        let packet = Self {
            diagnostic: Diagnostic::numbered(first & 31),
            state,
            poll: flags & 0x20 != 0,
            last: flags & 0x10 != 0,
            demand: flags & 2 != 0,
            multiplier,
            mine: word(0),
            yours: word(1),
            desired_tx_us: word(2),
            required_rx_us: word(3),
            required_echo_us: word(4),
        };
        if packet.mine == 0 {
            return Err(Mistake::Discriminator);
        }
        if packet.yours == 0 && !matches!(state, State::Down | State::AdminDown) {
            return Err(Mistake::Unaddressed);
        }
        if flags & 4 != 0 {
            return Err(Mistake::Authenticated);
        }
        Ok(packet)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; LENGTH] {
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = state << 6 | bit(self.poll, 0x20) | bit(self.last, 0x10) | bit(self.demand, 2);
        let mut bytes = [0; LENGTH];
        #[expect(clippy::cast_possible_truncation, reason = "24")]
        let length = LENGTH as u8;
        let head = [
            1 << 5 | self.diagnostic.number(),
            flags,
            self.multiplier,
            length,
        ];
        let words = [
            self.mine,
            self.yours,
            self.desired_tx_us,
            self.required_rx_us,
            self.required_echo_us,
        ];
        let all = head
            .into_iter()
            .chain(words.into_iter().flat_map(u32::to_be_bytes));
        for (slot, byte) in bytes.iter_mut().zip(all) {
            *slot = byte;
        }
        bytes
    }
}
