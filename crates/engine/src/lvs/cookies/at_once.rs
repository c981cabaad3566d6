//! SYNs answered with a cookie on the straight way: plain ones, to a service of which nothing but its address and port
//! need be known ([`super::guard::AtOnce`]). Under a flood it is these that cost; all others go the long way, and get the same answer.

use super::{
    super::{
        family::Ip,
        ftp,
        headers::{Headers, Tcp as TcpUpper},
        lookup::{Kind, Lookup},
        schedule,
        services::FTP_DATA,
        straight,
    },
    options::Options,
    what_is_said,
};
use crate::{DropReason, Output, context::Context, model::Defence};
use flowtable::{Side, Tuple, V4, V6};
use types::PortId;
use wire::{Frame, FromBytes, IntoBytes, RxChecksum, Tcp, ethernet, protocol, tcp};

/// Makes a SYN of no connection its own answer, to leave by [`Lookup::out`], accounted for but for the port's counters, if that can be done without further
/// questions. Otherwise nothing has been touched.
#[inline(never)]
pub(crate) fn answer_at_once<F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: &mut F,
    lookup: &mut Lookup,
) -> bool {
    match lookup.kind() {
        Kind::V4 => answer::<V4, F, O>(cx, port, frame, lookup),
        Kind::V6 => answer::<V6, F, O>(cx, port, frame, lookup),
        Kind::Odd => false,
    }
}

#[inline(always)]
fn answer<I: Headers, F: Frame, O: Output<F>>(
    cx: &mut Context<'_, F, O>,
    port: PortId,
    frame: &mut F,
    lookup: &mut Lookup,
) -> bool {
    let Some((syn, mtu)) = Syn::<I>::of(cx, port, frame, lookup) else {
        return false;
    };
    let snapshot = cx.snapshot;
    let way = I::exit(&snapshot.net, syn.tuple.client).filter(|exit| exit.mtu != 0);
    let Some(exit) = way.filter(|_| snapshot.net.leads_back()) else {
        return false;
    };
    let next = || snapshot.net.route(I::ip(syn.tuple.client));
    let Some(mac) = straight::mac_of(cx, exit, next) else {
        return false;
    };
    let (cookie, said) = what_is_said::<I>(
        &cx.shared.secret,
        &syn.tuple,
        syn.isn,
        &syn.asked,
        mtu,
        cx.now,
    );
    let options = said.words();
    let len = tcp::LEN + options.len() * 4;
    let whole = size_of::<I::Plain>() - UPPER + len;
    if !frame.append(whole.saturating_sub(frame.total_len())) {
        return false;
    }
    frame.truncate(whole);
    lookup.out = exit.port;
    cx.local.counters.drop_n(DropReason::CookieSent, 1);
    cx.local.counters.generated.add(1);
    cx.local.tallies.sent(syn.service);

    let Some((plain, _)) = straight::headers::<I, TcpUpper>(frame.head_mut()) else {
        return true;
    };
    let short = u16::try_from(len).unwrap_or(u16::MAX);
    I::turn(plain, short, snapshot.settings.default_ttl);
    straight::address(I::ether(plain), exit, mac);
    let mut sum = I::pseudo(plain, short);
    let header = frame.head_mut().get_mut(size_of::<I::Plain>() - UPPER..);
    let Some((header, rest)) = header.and_then(|h| Tcp::mut_from_prefix(h).ok()) else {
        return true;
    };
    std::mem::swap(&mut header.source, &mut header.destination);
    header.sequence.set(cookie);
    header.acknowledgement.set(syn.isn.wrapping_add(1));
    header.data_offset = u8::try_from(len / 4).unwrap_or(5) << 4;
    header.flags = tcp::SYN | tcp::ACK;
    header.window.set(0);
    header.checksum.set(0);
    header.urgent.set(0);
    sum.add(header.as_bytes());
    for (place, word) in rest.as_chunks_mut::<4>().0.iter_mut().zip(&options) {
        *place = word.to_be_bytes();
        sum.add32(*word);
    }
    header.checksum.set(sum.finish());
    true
}

/// Bytes of TCP's header that belong to the plain ones.
const UPPER: usize = size_of::<wire::Upper>();

/// A SYN that can be answered.
struct Syn<I: Ip> {
    tuple: Tuple<I::Addr>,
    isn: u32,
    asked: Options,
    service: types::ServiceId,
}

impl<I: Headers> Syn<I> {
    /// The SYN in a plain frame whose connection was not found, and the MTU of the ways to its service's servers.
    #[inline(always)]
    fn of<F: Frame, O: Output<F>>(
        cx: &Context<'_, F, O>,
        port: PortId,
        frame: &mut F,
        lookup: &Lookup,
    ) -> Option<(Self, u16)> {
        const LOOKED_AT: u8 = tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN;
        let (snapshot, shared) = (cx.snapshot, cx.shared);
        let checked = match frame.rx_l4_checksum() {
            RxChecksum::Good => true,
            RxChecksum::Unknown => false,
            RxChecksum::Bad | RxChecksum::Partial => return None,
        };
        let (plain, _) = straight::headers::<I, TcpUpper>(frame.head_mut())?;
        let packet = I::on_wire(plain);
        // A SYN to a virtual address is nobody's answer to whoever has that address as a client, so the other direction is not looked up.
        if packet.protocol != protocol::TCP || lookup.side != Side::Virtual {
            return None;
        }
        let tuple = Tuple {
            protocol: protocol::TCP,
            client: I::source(plain),
            client_port: I::upper(plain).source.get(),
            other: I::destination(plain),
            other_port: I::upper(plain).destination.get(),
        };
        let link_and_ip = size_of::<I::Plain>() - UPPER;
        let end = ethernet::LEN + usize::from(I::len(plain));
        let len = u16::try_from(end.checked_sub(link_and_ip)?).ok()?;
        let pseudo = I::pseudo(plain, len);
        let segment = frame.head_mut().get_mut(link_and_ip..end)?;
        let header = *Tcp::ref_from_prefix(segment).ok()?.0;
        if header.flags & LOOKED_AT != tcp::SYN || tuple.client_port == FTP_DATA {
            return None;
        }
        let client = I::ip(tuple.client);
        let interface = snapshot.net.interface_of(port, None)?;
        let door = snapshot
            .cookies
            .at_once::<I>(tuple.other, tuple.other_port)?;
        if !snapshot.marks.is_empty()
            || snapshot.settings.drop_packet != Defence::Off
            || ftp::concerns(snapshot, &tuple)
            || snapshot.net.local(client).is_some()
            || !snapshot.net.takes_from(client, interface)
        {
            return None;
        }
        let service = snapshot.services.at(door.place)?;
        let flood = &shared.roster.service(service.id)?.flood;
        // The first SYNs of a flood, which are let through, are counted once.
        if !schedule::is_there_any(service, &shared.roster) || !flood.is_on(cx.now) {
            return None;
        }
        if !checked {
            let mut sum = pseudo;
            sum.add(segment);
            if sum.finish() != 0 {
                return None;
            }
        }
        let mut asked = Options::default();
        asked.read(segment.get_mut(tcp::LEN..header.header_len())?);
        flood.meets(door.when, cx.now);
        let syn = Self {
            tuple,
            isn: header.sequence.get(),
            asked,
            service: service.id,
        };
        Some((syn, door.mtu))
    }
}
