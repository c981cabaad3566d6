//! A connection that began with a cookie: the director has made up the server's sequence numbers and timestamps before there was a
//! server. Once that has answered, the difference is put right in every packet, for as long as the connection lasts.
//!
//! What is known of it stands beside its entry ([`flowtable::Aside`]).

use super::{
    super::family::Ip,
    options::{self, Options},
};
use crate::{packet::Packet, shared::Shared};
use flowtable::{Entry, Slot};
use std::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use wire::{Delta, Frame, FromBytes, RxChecksum, Sum, Tcp, tcp};

/// The scale of the windows the client is told of: what Linux's own defaults come to. A server's other scale is converted.
pub(super) const SCALE: u8 = 7;

/// What the client's acknowledgement of a cookie says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// The client's first sequence number.
    pub isn: u32,
    /// Ours.
    pub cookie: u32,
    /// The client's window, scaled if it scales.
    pub window: u16,
    /// What its SYN said, as far as it is known still.
    pub options: Options,
}

/// How far the handshake with the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The server does not know of it.
    Fresh,
    /// It has been sent a SYN.
    Asked,
    /// It has accepted.
    Open,
    /// It has refused, or said nothing.
    Over,
}

const PHASE: u32 = 3;

impl Phase {
    const fn of(word: u32) -> Self {
        match word & PHASE {
            0 => Self::Fresh,
            1 => Self::Asked,
            2 => Self::Open,
            _ => Self::Over,
        }
    }
}

/// Bits of the options word above the segment size.
const SCALED: u32 = 16;
const NO_SCALE: u32 = 15;
const SACK: u32 = 1 << 20;
const TIMESTAMPS: u32 = 1 << 21;

impl Opening {
    /// The client's window as a SYN says it, without a scale.
    pub fn bare_window(&self) -> u16 {
        let scale = self.options.scale.unwrap_or(0);
        shifted(self.window, scale.cast_signed())
    }

    /// The server's window in its first answer, which is not scaled, as the client is told it in a packet where it is.
    pub fn first_window(&self, window: u16) -> u16 {
        match self.options.scale {
            Some(_) => window >> SCALE,
            None => window,
        }
    }
}

/// The eight words of a slot.
#[derive(Clone, Copy)]
pub(crate) struct Splice<'a> {
    isn: &'a AtomicU32,
    cookie: &'a AtomicU32,
    /// The client's last timestamp, and ours that it echoed.
    theirs: &'a AtomicU32,
    ours: &'a AtomicU32,
    options: &'a AtomicU32,
    /// To be added to the server's sequence numbers, and to its timestamps; before it has answered, the client's window instead of
    /// the latter.
    sequence: &'a AtomicU32,
    time: &'a AtomicU32,
    /// The phase, and how windows are to be shifted: towards the client in the second byte, towards the server in the third.
    phase: &'a AtomicU32,
}

impl<'a> Splice<'a> {
    /// A slot's.
    pub fn at<I: Ip>(shared: &'a Shared, slot: Slot) -> Option<Self> {
        let [isn, cookie, theirs, ours, options, sequence, time, phase] =
            I::aside(shared).at(slot)?;
        Some(Self {
            isn,
            cookie,
            theirs,
            ours,
            options,
            sequence,
            time,
            phase,
        })
    }

    /// Before its entry is published.
    pub fn begin(&self, opening: &Opening) {
        let Opening {
            isn,
            cookie,
            window,
            options,
        } = *opening;
        let (theirs, ours) = options.timestamps.unwrap_or_default();
        let word = u32::from(options.size.unwrap_or(536))
            | options.scale.map_or(NO_SCALE, u32::from) << SCALED
            | if options.sack { SACK } else { 0 }
            | options.timestamps.map_or(0, |_| TIMESTAMPS);
        let said = [isn, cookie, theirs, ours, word, 0, window.into(), 0];
        for (field, value) in self.words().into_iter().zip(said) {
            field.store(value, Relaxed);
        }
    }

    /// Takes over what another slot says: for a copy of the table.
    pub fn copy(&self, from: &Splice<'_>) {
        for (to, from) in self.words().into_iter().zip(from.words()) {
            to.store(from.load(Acquire), Relaxed);
        }
    }

    /// For another director; nothing of one whose server has not accepted: that is not told.
    pub fn told(&self) -> Option<connsync::Splice> {
        if self.phase() != Phase::Open {
            return None;
        }
        let Difference {
            sequence,
            time,
            shifts,
        } = self.difference();
        Some(connsync::Splice {
            isn: self.isn.load(Relaxed),
            sequence,
            time,
            to_client: shifts.to_client,
            to_server: shifts.to_server,
        })
    }

    /// As another director told, which saw the server accept.
    pub fn take(&self, told: &connsync::Splice) {
        let shifts = Shifts {
            to_client: told.to_client,
            to_server: told.to_server,
        };
        for word in self.words() {
            word.store(0, Relaxed);
        }
        self.isn.store(told.isn, Relaxed);
        self.sequence.store(told.sequence, Relaxed);
        self.time.store(told.time, Relaxed);
        let word = Phase::Open as u32 | shifts.word();
        self.phase.store(word, Release);
    }

    /// As they stand there.
    const fn words(&self) -> [&'a AtomicU32; 8] {
        let Self {
            isn,
            cookie,
            theirs,
            ours,
            options,
            sequence,
            time,
            phase,
        } = *self;
        [isn, cookie, theirs, ours, options, sequence, time, phase]
    }

    /// What the client said.
    pub fn opening(&self) -> Opening {
        let word = self.options.load(Relaxed);
        let scale = u8::try_from(word >> SCALED & NO_SCALE).ok();
        let times = (self.theirs.load(Relaxed), self.ours.load(Relaxed));
        Opening {
            isn: self.isn.load(Relaxed),
            cookie: self.cookie.load(Relaxed),
            window: u16::try_from(self.time.load(Relaxed)).unwrap_or(u16::MAX),
            options: Options {
                size: u16::try_from(word & 0xffff).ok(),
                scale: scale.filter(|s| u32::from(*s) != NO_SCALE),
                sack: word & SACK != 0,
                timestamps: (word & TIMESTAMPS != 0).then_some(times),
            },
        }
    }

    /// How far the handshake is.
    pub fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Acquire))
    }

    /// From one phase to the next; true for the one who takes the step.
    pub fn step(&self, from: Phase, to: Phase) -> bool {
        self.phase
            .compare_exchange(from as u32, to as u32, AcqRel, Acquire)
            .is_ok()
    }

    /// The server has accepted: the differences, once for all. True for the one who saw it first.
    pub fn open(&self, sequence: u32, said: &Options) -> bool {
        let opening = self.opening();
        let cookie = opening.cookie;
        let ours = opening.options.timestamps.map_or(0, |(_, ours)| ours);
        let theirs = said.timestamps.map_or(0, |(value, _)| value);
        let shifts = Shifts::new(opening.options.scale, said.scale);
        let word = Phase::Open as u32 | shifts.word();
        if self.phase() != Phase::Asked {
            return false;
        }
        // Twice by two workers does no harm: the server says the same twice.
        self.sequence.store(cookie.wrapping_sub(sequence), Relaxed);
        self.time.store(ours.wrapping_sub(theirs), Relaxed);
        self.phase
            .compare_exchange(Phase::Asked as u32, word, AcqRel, Acquire)
            .is_ok()
    }

    /// The server has taken another SYN of the client's: from now on both know each other's scales.
    pub fn anew(&self) {
        self.phase.store(Phase::Open as u32, Release);
    }

    /// What is to be changed in packets.
    pub fn difference(&self) -> Difference {
        Difference {
            sequence: self.sequence.load(Relaxed),
            time: self.time.load(Relaxed),
            shifts: Shifts::of(self.phase.load(Acquire)),
        }
    }
}

/// How windows are converted: a window of the header is shifted left by that many bits, right if negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shifts {
    to_client: i8,
    to_server: i8,
}

impl Shifts {
    /// `client`: the scale in the client's SYN, answered with [`SCALE`]; `server`: that in the server's answer to a SYN with the
    /// client's.
    fn new(client: Option<u8>, server: Option<u8>) -> Self {
        let number = |scale: u8| scale.min(14).cast_signed();
        match (client, server) {
            (None, _) => Self {
                to_client: 0,
                to_server: 0,
            },
            (Some(client), None) => Self {
                to_client: -SCALE.cast_signed(),
                to_server: number(client),
            },
            (Some(_), Some(server)) => Self {
                to_client: number(server) - SCALE.cast_signed(),
                to_server: 0,
            },
        }
    }

    fn word(self) -> u32 {
        let [a, b] = [self.to_client, self.to_server].map(|s| u32::from(s.cast_unsigned()));
        a << 8 | b << 16
    }

    const fn of(word: u32) -> Self {
        let [_, to_client, to_server, _] = word.to_le_bytes();
        Self {
            to_client: to_client.cast_signed(),
            to_server: to_server.cast_signed(),
        }
    }
}

fn shifted(window: u16, by: i8) -> u16 {
    if by >= 0 {
        let wide = u32::from(window) << by.min(15);
        u16::try_from(wide).unwrap_or(u16::MAX)
    } else {
        window.checked_shr(by.unsigned_abs().into()).unwrap_or(0)
    }
}

/// What has to be changed in every packet of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    sequence: u32,
    time: u32,
    shifts: Shifts,
}

impl Difference {
    /// A client's window, for the server.
    pub fn client_window(&self, window: u16) -> u16 {
        shifted(window, self.shifts.to_server)
    }

    /// A server's sequence number as the client knows it, seen from the server.
    pub const fn server_s(&self, sequence: u32) -> u32 {
        sequence.wrapping_sub(self.sequence)
    }

    /// A server's timestamp, for the client.
    pub const fn for_client(&self, time: u32) -> u32 {
        time.wrapping_add(self.time)
    }

    /// Changes a packet from the client.
    pub fn to_server<F: Frame>(self, frame: &mut F, packet: &Packet) {
        let Self {
            sequence,
            time,
            shifts,
        } = self;
        edit(frame, packet, |header, options| {
            if header.flags & tcp::ACK != 0 {
                let number = header.acknowledgement.get();
                header.acknowledgement.set(number.wrapping_sub(sequence));
            }
            if header.flags & tcp::SYN == 0 {
                let window = shifted(header.window.get(), shifts.to_server);
                header.window.set(window);
            }
            tcp::each_option(options, |kind, contents| match kind {
                tcp::kind::SACK => each_word(contents, |edge| edge.wrapping_sub(sequence)),
                tcp::kind::TIMESTAMPS if header.flags & tcp::SYN == 0 => {
                    each_word(contents.get_mut(4..).unwrap_or_default(), |echo| {
                        echo.wrapping_sub(time)
                    });
                }
                _ => {}
            });
        });
    }

    /// Changes a packet from the server.
    pub fn to_client<F: Frame>(self, frame: &mut F, packet: &Packet) {
        let Self {
            sequence,
            time,
            shifts,
        } = self;
        edit(frame, packet, |header, options| {
            let number = header.sequence.get();
            header.sequence.set(number.wrapping_add(sequence));
            if header.flags & tcp::SYN == 0 {
                let window = shifted(header.window.get(), shifts.to_client);
                header.window.set(window);
            }
            tcp::each_option(options, |kind, contents| {
                if kind == tcp::kind::TIMESTAMPS {
                    each_word(contents.get_mut(..4).unwrap_or_default(), |value| {
                        value.wrapping_add(time)
                    });
                }
            });
        });
    }
}

fn each_word(words: &mut [u8], change: impl Fn(u32) -> u32) {
    for word in words.as_chunks_mut::<4>().0 {
        *word = change(u32::from_be_bytes(*word)).to_be_bytes();
    }
}

/// Changes the TCP header, which alone is summed before and after: the checksum is mended, however long the payload is.
pub(super) fn edit<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    change: impl FnOnce(&mut Tcp, &mut [u8]),
) {
    let partial = frame.rx_l4_checksum() == RxChecksum::Partial;
    let Some(segment) = frame.head_mut().get_mut(usize::from(packet.l4)..) else {
        return;
    };
    let Some(len) = segment.get(12).map(|b| usize::from(b >> 4) * 4) else {
        return;
    };
    let Some(whole) = segment.get_mut(..len.max(tcp::LEN)) else {
        return;
    };
    let before = sum(whole);
    let Ok((header, options)) = Tcp::mut_from_prefix(whole) else {
        return;
    };
    change(header, options);
    let after = sum(whole);
    // A partial checksum covers none of this.
    if !partial && let Ok((header, _)) = Tcp::mut_from_prefix(whole) {
        let mended = Delta::between16(before, after).apply(header.checksum.get());
        header.checksum.set(mended);
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.folded()
}

/// The difference of a connection that has one.
pub(crate) fn difference<I: Ip>(shared: &Shared, entry: &Entry<'_, I>) -> Option<Difference> {
    let splice = Splice::at::<I>(shared, entry.slot())?;
    (splice.phase() == Phase::Open).then(|| splice.difference())
}

/// Whether the server of a connection that began with a cookie has refused it.
pub(crate) fn is_over<I: Ip>(shared: &Shared, entry: &Entry<'_, I>) -> bool {
    super::super::entry::is_spliced(entry.key().flags)
        && Splice::at::<I>(shared, entry.slot()).is_some_and(|s| s.phase() == Phase::Over)
}

/// What a timestamp said of the client's SYN.
pub(super) fn remembered(size: u16, acknowledged: &Options) -> Options {
    let carried = acknowledged
        .timestamps
        .map(|(_, echo)| options::carried(echo));
    let (scale, sack) = carried.unwrap_or_default();
    Options {
        size: Some(size),
        scale,
        sack,
        timestamps: acknowledged.timestamps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_converted_between_scales() {
        // The server scales by 9, the client was told 7.
        let shifts = Shifts::new(Some(8), Some(9));
        assert_eq!(shifted(100, shifts.to_client), 400);
        assert_eq!(shifted(60_000, shifts.to_client), u16::MAX);
        assert_eq!(shifted(100, shifts.to_server), 100);
        // By less.
        let shifts = Shifts::new(Some(8), Some(2));
        assert_eq!(shifted(3200, shifts.to_client), 100);
        // Not at all: nor does it shift what the client has scaled.
        let shifts = Shifts::new(Some(8), None);
        assert_eq!(shifted(65_535, shifts.to_client), 511);
        assert_eq!(shifted(2, shifts.to_server), 512);
        assert_eq!(shifted(300, shifts.to_server), u16::MAX);
        let none = Shifts::new(None, None);
        assert_eq!((none.to_client, none.to_server), (0, 0));
        for to_client in [-14, -1, 0, 7] {
            for to_server in [0, 3, 14] {
                let shifts = Shifts {
                    to_client,
                    to_server,
                };
                assert_eq!(Shifts::of(shifts.word()), shifts);
            }
        }
    }
}
