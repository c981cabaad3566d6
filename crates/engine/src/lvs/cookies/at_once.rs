//! SYNs answered with a cookie on the straight way: plain ones, to a service of which nothing but its address and port
//! need be known ([`super::guard::AtOnce`]). Under a flood it is these that cost; all others go the long way, and get the same answer.
//!
//! A flood's SYNs come in a row and go to one service, which is asked once for all of them. Nothing is read that was just written:
//! what checksums are made of is at hand as words.

use super::{
    super::{
        ftp,
        headers::Headers,
        lookup::{Kind, Lookup},
        schedule,
        services::FTP_DATA,
        straight,
    },
    Flood,
    options::{MAX_SCALE, Options, WORDS, stamp},
    secret::Maker,
    splice, what_is_said,
};
use crate::{
    DropReason, Output, context::Context, fib::Range, model::Defence, neighbour::NeighbourId,
    net::Exit,
};
use flowtable::{OnWire, Side, V4, V6};
use types::{MacAddr, PortId, ServiceId, SynCookies};
use wire::{
    Frame, FromBytes, RxChecksum, ethernet, protocol,
    tcp::{self, Words as Header, kind},
};

/// Makes SYNs of no connection their own answers, each to leave by its [`Lookup::out`], accounted for but for the port's counters: those
/// at the start of `frames` with which that can be done without further questions. Says how many; nothing else has been touched.
#[inline]
pub(crate) fn answer_at_once<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frames: &mut [F],
    lookups: &mut [Lookup],
) -> usize {
    match lookups.first().map(Lookup::kind) {
        Some(Kind::V4) => row_if_any::<V4, F, O>(cx, port, frames, lookups),
        Some(Kind::V6) => row_if_any::<V6, F, O>(cx, port, frames, lookups),
        Some(Kind::Odd) | None => 0,
    }
}

/// Most packets are no SYNs, even then.
#[inline(always)]
fn row_if_any<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frames: &mut [F],
    lookups: &mut [Lookup],
) -> usize {
    let first = frames.first().and_then(|frame| words::<I>(frame.head()));
    match first {
        Some((_, words)) if is_merely_syn(words) => row::<I, F, O>(cx, port, frames, lookups),
        _ => 0,
    }
}

/// Bytes in front of TCP's header.
const fn link_and_ip<I: Headers>() -> usize {
    size_of::<I::Plain>() - size_of::<wire::Upper>()
}

/// The ends of a plain packet, and the words of its TCP header if it has one.
#[inline(always)]
fn words<I: Headers>(head: &[u8]) -> Option<(OnWire<I>, [u32; 5])> {
    let (plain, _) = I::Plain::ref_from_prefix(head).ok()?;
    let packet = I::on_wire(plain);
    let (words, _) = Header::ref_from_prefix(head.get(link_and_ip::<I>()..)?).ok()?;
    (packet.protocol == protocol::TCP).then(|| (packet, words.get()))
}

#[inline(always)]
const fn is_merely_syn([_, _, _, word, _]: [u32; 5]) -> bool {
    let (_, flags) = tcp::offset_and_flags(word);
    flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN
}

#[inline(never)]
fn row<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frames: &mut [F],
    lookups: &mut [Lookup],
) -> usize {
    let snapshot = cx.snapshot;
    if !snapshot.marks.is_empty()
        || snapshot.settings.drop_packet != Defence::Off
        || !snapshot.net.leads_back()
    {
        return 0;
    }
    let Some(interface) = snapshot.net.interface_of(port, None) else {
        return 0;
    };
    let takes_all = snapshot.net.takes_all(interface);
    let (mut asked, mut way): (Option<Asked<'_>>, Option<Way<'_, I>>) = (None, None);
    let mut answered = 0;
    for frame in frames {
        let Some(lookup) = lookups.get(answered) else {
            break;
        };
        let Some(syn) = Syn::<I>::of(cx, frame, lookup) else {
            break;
        };
        let client = syn.client.0;
        if I::is_ours(&snapshot.net, client)
            || !(takes_all || snapshot.net.takes_from(I::ip(client), interface))
        {
            break;
        }
        if asked.as_ref().is_none_or(|asked| asked.other != syn.other) {
            let Some(service) = Asked::of(cx, syn.packet, syn.other) else {
                break;
            };
            if let Some(before) = asked.replace(service) {
                before.settle(cx);
            }
        }
        let Some(service) = &mut asked else { break };
        if way.as_ref().is_none_or(|way| !way.leads_to(client)) {
            way = Way::to(cx, client);
        }
        let Some(Way { exit, mac, .. }) = way else {
            break;
        };
        if !syn.answer(cx, frame, service, (exit, mac)) {
            break;
        }
        service.sent += 1;
        if let Some(lookup) = lookups.get_mut(answered) {
            lookup.out = exit.port;
        }
        answered += 1;
    }
    if let Some(last) = asked {
        last.settle(cx);
    }
    answered
}

/// A straight way to clients.
#[derive(Clone, Copy)]
struct Way<'s, I: Headers> {
    exit: &'s Exit,
    /// The next hop's.
    mac: MacAddr,
    /// Whom it leads to.
    range: Range<I::Addr>,
}

impl<'s, I: Headers> Way<'s, I> {
    #[inline(never)]
    fn to<F: Frame, O: Output<F>>(cx: &Context<'s, F, O>, client: I::Addr) -> Option<Self> {
        let net = &cx.snapshot.net;
        let (exit, range) = I::exit_and_range(net, client)?;
        let mac = straight::mac_of(cx, exit, || net.route(I::ip(client)))?;
        (exit.mtu != 0).then_some(Self { exit, mac, range })
    }

    /// Whether it does. Without a gateway each client has a MAC of its own.
    #[inline(always)]
    fn leads_to(&self, client: I::Addr) -> bool {
        self.exit.neighbour != NeighbourId::NOBODY && self.range.contains(client)
    }
}

/// The ends of a service, as they stand in headers: its address's words and its port.
type End = ((u64, u64), u16);

/// A service whose SYNs are answered at once, asked for all there is to know.
struct Asked<'s> {
    /// Where it is.
    other: End,
    id: ServiceId,
    flood: &'s Flood,
    when: SynCookies,
    terms: Terms,
    maker: Maker,
    /// SYNs answered.
    sent: usize,
}

impl<'s> Asked<'s> {
    /// The service a SYN is for; `None` if it does not answer at once.
    #[inline(never)]
    fn of<I: Headers, F: Frame, O: Output<F>>(
        cx: &Context<'s, F, O>,
        packet: OnWire<I>,
        other: End,
    ) -> Option<Self> {
        let (snapshot, shared) = (cx.snapshot, cx.shared);
        let tuple = packet.tuple(Side::Virtual);
        let door = snapshot
            .cookies
            .at_once::<I>(tuple.other, tuple.other_port)?;
        if ftp::concerns(snapshot, &tuple) {
            return None;
        }
        let service = snapshot.services.at(door.place)?;
        let flood = &shared.roster.service(service.id)?.flood;
        // The first SYNs of a flood, which are let through, are counted once.
        if !schedule::is_there_any(service, &shared.roster) || !flood.is_on(cx.now) {
            return None;
        }
        let size = what_is_said::<I>(&Options::default(), door.mtu, 0).words();
        let size = *size.first()?;
        Some(Self {
            other,
            id: service.id,
            flood,
            when: door.when,
            terms: Terms {
                mtu: door.mtu,
                size: size.swap_bytes(),
                clock: shared.secret.clock(cx.now),
            },
            maker: shared
                .secret
                .maker::<I>((tuple.other, tuple.other_port), cx.now),
            sent: 0,
        })
    }

    /// Accounts for the SYNs answered.
    fn settle<F: Frame, O: Output<F>>(&self, cx: &Context<'_, F, O>) {
        let sent = self.sent as u64;
        cx.local.counters.drop_n(DropReason::CookieSent, sent);
        cx.local.counters.generated.add(sent);
        cx.local.tallies.sent(self.id, sent);
        self.flood.meets_all(self.when, self.sent, cx.now);
    }
}

/// A SYN that can be answered.
struct Syn<I: Headers> {
    packet: OnWire<I>,
    client: (I::Addr, u16),
    other: End,
    /// Of its TCP header.
    words: [u32; 5],
    /// Where the packet ends, from the frame's start.
    end: usize,
    is_checked: bool,
}

impl<I: Headers> Syn<I> {
    /// The SYN in a plain frame, if there is no connection of it.
    #[inline(always)]
    fn of<F: Frame, O: Output<F>>(
        cx: &Context<'_, F, O>,
        frame: &F,
        lookup: &Lookup,
    ) -> Option<Self> {
        // A SYN to a virtual address is nobody's answer to whoever has that address as a client, so the other direction is not looked up.
        if lookup.kind != Kind::of::<I>() || lookup.side != Side::Virtual {
            return None;
        }
        let is_checked = match frame.rx_l4_checksum() {
            RxChecksum::Good => true,
            RxChecksum::Unknown => false,
            RxChecksum::Bad | RxChecksum::Partial => return None,
        };
        let (plain, _) = I::Plain::ref_from_prefix(frame.head()).ok()?;
        let (packet, words) = words::<I>(frame.head())?;
        let client = (I::source(plain), I::upper(plain).source.get());
        if !is_merely_syn(words) || client.1 == FTP_DATA {
            return None;
        }
        let table = I::table(cx.shared);
        let found = || {
            table.find_from(
                lookup.candidate,
                lookup.hash,
                &packet,
                Side::Virtual,
                cx.now,
            )
        };
        if !table.is_surely_absent(lookup.hash) && found().is_some() {
            return None;
        }
        Some(Self {
            other: (
                I::client_words(&packet.addresses, Side::Server),
                I::upper(plain).destination.get(),
            ),
            packet,
            client,
            words,
            end: ethernet::LEN + usize::from(I::len(plain)),
            is_checked,
        })
    }

    /// Makes the frame the answer, unless something is wrong with it; then nothing is touched.
    #[inline(always)]
    fn answer<F: Frame, O: Output<F>>(
        &self,
        cx: &Context<'_, F, O>,
        frame: &mut F,
        service: &Asked<'_>,
        (exit, mac): (&Exit, MacAddr),
    ) -> bool {
        let [ports, sequence, acknowledged, third, last] = self.words;
        let at = link_and_ip::<I>();
        let (header, _) = tcp::offset_and_flags(third);
        let Some(behind) = frame.head_mut().get_mut(at + tcp::LEN..self.end) else {
            return false;
        };
        if !self.is_checked {
            let all = I::sum(&self.packet.addresses)
                .and(ports)
                .and(pseudo(self.end - at))
                .and(sequence)
                .and(acknowledged);
            if !all.and(third).and(last).and_bytes(behind).is_right() {
                return false;
            }
        }
        // Of a header that says it is shorter than any, nothing is so long.
        let Some(options) = behind.get_mut(..header.wrapping_sub(tcp::LEN)) else {
            return false;
        };
        let terms = service.terms;
        let way = (exit, mac);
        // Each by itself, so that how much is written is known where it is one of the two that nearly all are.
        if options.is_empty() {
            return self.write(cx, frame, service, way, (None, &[terms.size]));
        }
        if let Some((size, said)) = usual(options, terms) {
            return self.write(cx, frame, service, way, (Some(size), &said));
        }
        let (size, said) = Said::of::<I>(options, terms);
        self.write(cx, frame, service, way, (size, said.words()))
    }

    /// Makes the frame the answer that says these options, words as they are to stand there, to one that asked for that segment size.
    #[inline(always)]
    fn write<F: Frame, O: Output<F>>(
        &self,
        cx: &Context<'_, F, O>,
        frame: &mut F,
        service: &Asked<'_>,
        (exit, mac): (&Exit, MacAddr),
        (size, said): (Option<u16>, &[u32]),
    ) -> bool {
        let [ports, sequence, ..] = self.words;
        let at = link_and_ip::<I>();
        let len = tcp::LEN + said.len() * 4;
        let whole = at + len;
        let is = frame.total_len();
        if is < whole && !frame.append(whole - is) {
            return false;
        }
        frame.truncate(whole);

        let Ok((plain, _)) = I::Plain::mut_from_prefix(frame.head_mut()) else {
            return true;
        };
        let short = u16::try_from(len).unwrap_or(u16::MAX);
        I::turn(plain, short, cx.snapshot.settings.default_ttl);
        straight::address(I::ether(plain), exit, mac);
        let Some(header) = frame.head_mut().get_mut(at..) else {
            return true;
        };
        let Ok((header, rest)) = Header::mut_from_prefix(header) else {
            return true;
        };
        let isn = sequence.swap_bytes();
        let maker = &service.maker;
        let cookie = maker.cookie::<I>(self.client, isn, size).swap_bytes();
        let acknowledged = isn.wrapping_add(1).swap_bytes();
        let offset = u8::try_from(len / 4).unwrap_or(5) << 4;
        let third = u32::from_le_bytes([offset, tcp::SYN | tcp::ACK, 0, 0]);
        // Addresses and ports change places, which a sum does not see.
        let mut sum = I::sum(&self.packet.addresses)
            .and(ports)
            .and(pseudo(len))
            .and(cookie)
            .and(acknowledged)
            .and(third);
        for (place, word) in rest.as_chunks_mut::<4>().0.iter_mut().zip(said) {
            *place = word.to_le_bytes();
            sum = sum.and(*word);
        }
        let checksum = u32::from(sum.finish());
        *header = Header::new([ports.rotate_left(16), cookie, acknowledged, third, checksum]);
        true
    }
}

/// What a service's answers are made of, whoever asks.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// As in [`AtOnce`](super::guard::AtOnce).
    mtu: u16,
    /// The option that says the segment size, as it is to stand there.
    size: u32,
    /// Of timestamps.
    clock: u32,
}

/// The answer to what Linux says in a SYN, words as they are to stand there, and the segment size it asks for; `None` if it says
/// anything else.
#[inline(always)]
fn usual(options: &[u8], terms: Terms) -> Option<(u16, [u32; 5])> {
    const BOTH: [u8; 4] = [kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10];
    const SCALE: [u8; 4] = [kind::NOTHING, kind::SCALE, 3, splice::SCALE];
    let (&[size, both, value, _, scale], []) = options.as_chunks::<4>() else {
        return None;
    };
    let [kind::MSS, 4, high, low] = size else {
        return None;
    };
    let [kind::NOTHING, kind::SCALE, 3, scale] = scale else {
        return None;
    };
    if both != BOTH {
        return None;
    }
    let stamp = stamp(terms.clock, Some(scale.min(MAX_SCALE)), true);
    let words = [
        terms.size,
        u32::from_le_bytes(BOTH),
        stamp.swap_bytes(),
        u32::from_le_bytes(value),
        u32::from_le_bytes(SCALE),
    ];
    Some((u16::from_be_bytes([high, low]), words))
}

/// The options of an answer, words as they are to stand there.
#[derive(Clone, Copy, Debug)]
struct Said {
    words: [u32; WORDS],
    len: usize,
}

impl Said {
    /// The answer to any options, and the segment size they ask for.
    #[inline(never)]
    fn of<I: Headers>(options: &mut [u8], terms: Terms) -> (Option<u16>, Self) {
        let mut asked = Options::default();
        asked.read(options);
        // Without timestamps, it is just the size.
        if asked.timestamps.is_none() {
            let words = [terms.size, 0, 0, 0, 0, 0];
            return (asked.size, Self { words, len: 1 });
        }
        let answer = what_is_said::<I>(&asked, terms.mtu, terms.clock).words();
        let mut words = [0; WORDS];
        for (place, word) in words.iter_mut().zip(&answer) {
            *place = word.swap_bytes();
        }
        let len = answer.len();
        (asked.size, Self { words, len })
    }

    #[inline(always)]
    fn words(&self) -> &[u32] {
        self.words.get(..self.len).unwrap_or_default()
    }
}

/// What the pseudo-header has beside the addresses, for so many bytes of TCP.
#[inline(always)]
fn pseudo(len: usize) -> u32 {
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    u32::from_le_bytes([0, protocol::TCP, high, low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowtable::{V4, V6};
    use proptest::prelude::*;

    proptest! {
        /// What is said to Linux at once is what is said to anybody.
        #[test]
        fn the_usual_answer_is_the_answer(
            size: u16, value: u32, echo: u32, scale: u8, clock: u32, mtu in 68_u16..9000, six: bool, at in 0_usize..40, to: u8,
        ) {
            let one = Options { size: Some(size), scale: Some(scale), sack: true, timestamps: Some((value, echo)) };
            let mut options = one.bytes().to_vec();
            // Half of them are of somebody else.
            if let Some(byte) = options.get_mut(at) {
                *byte = to;
            }
            let first = |six| match six {
                true => what_is_said::<V6>(&Options::default(), mtu, 0).words(),
                false => what_is_said::<V4>(&Options::default(), mtu, 0).words(),
            };
            let terms = Terms { mtu, size: first(six)[0].swap_bytes(), clock };
            if let Some((size, usual)) = usual(&options, terms) {
                let (wanted, any) = match six {
                    true => Said::of::<V6>(&mut options, terms),
                    false => Said::of::<V4>(&mut options, terms),
                };
                prop_assert_eq!((Some(size), &usual[..]), (wanted, any.words()));
            } else {
                prop_assert!(at < options.len());
            }
        }
    }
}
