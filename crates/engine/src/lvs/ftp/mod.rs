//! FTP through NAT: control connections are read, the servers' addresses in them replaced by the virtual one, and the data
//! connections announced there expected (`ip_vs_ftp`).
//!
//! Only control connections are dealt with here: their entries say so, which keeps them off the straight way. Data
//! connections, once claimed, are connections like any other.

mod expect;
mod record;
mod segment;

pub(crate) use expect::{Claimed, claim};
pub(crate) use record::{RecordId, Records};

use super::{entry, family::Ip, services::Target, sync};
use crate::{DropReason, Output, context::Context, packet::Packet, snapshot::Snapshot};
use arrayvec::ArrayVec;
use expect::{Control, Refused};
use flowtable::{Entry, Tuple};
use record::{Awaited, Conversation};
use segment::{Edit, Segment};
use std::net::SocketAddr;
use types::ForwardingMethod;
use wire::{
    Frame,
    ftp::{Announced, Command, MAX_SEGMENT, Stop, Stream},
    protocol, tcp,
};

/// Whether a new connection is an FTP control connection, if it goes to its server by NAT.
pub(crate) fn concerns<A>(snapshot: &Snapshot, tuple: &Tuple<A>) -> bool {
    tuple.protocol == protocol::TCP
        && tuple.other_port != 0
        && snapshot.settings.ftp_ports.contains(&tuple.other_port)
}

/// Whether a connection to such a server can be read.
pub(crate) fn reads(target: &Target) -> bool {
    target.method == ForwardingMethod::Masq && !target.local
}

/// A packet of a control connection, from the client, before its address is changed.
#[cold]
pub(crate) fn from_client<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &mut F,
    packet: &Packet,
    entry: &Entry<'_, I>,
) -> Result<(), DropReason> {
    let (Some(control), Some(segment)) = (control(cx, entry), Segment::of(frame, packet)) else {
        return Ok(());
    };
    let records = &control.shared.roster.records;
    let read = records.with(control.record, |conversation| {
        if let Some(bytes) = segment.bytes(frame) {
            heard(&control, conversation, &segment, bytes)?;
        }
        if segment.flags & tcp::ACK != 0 {
            acknowledge(frame, packet, &segment, &mut conversation.stream);
        }
        Ok(())
    });
    match read {
        Some(Ok(())) => Ok(()),
        Some(Err(Refused)) | None => Err(DropReason::ConnectionBusy),
    }
}

/// Reads what the client says. Twice does no harm, so a segment that is not the next one is read by itself.
fn heard<I: Ip>(
    control: &Control<'_, I>,
    conversation: &mut Conversation,
    segment: &Segment,
    bytes: &[u8],
) -> Result<(), Refused> {
    if bytes.is_empty() {
        return Ok(());
    }
    if conversation.next != Some(segment.sequence) {
        conversation.commands = wire::ftp::Commands::default();
    }
    for &byte in bytes {
        let family = if I::ONE_WORD { 1 } else { 2 };
        match conversation.commands.read(byte) {
            Some(Command::Passive) if I::ONE_WORD => conversation.awaited = Awaited::Passive,
            Some(Command::ExtendedPassive(asked)) if asked.is_none_or(|asked| asked == family) => {
                conversation.awaited = Awaited::Extended;
            }
            Some(Command::Active(listens)) => {
                conversation.awaited = Awaited::Nothing;
                let compat = control.snapshot.settings.compat_ipvs;
                // Nobody has a server connect to somebody else.
                let own = |client: &I::Addr| compat || *client == control.key.caddr;
                if let Some(client) = I::address(listens.ip()).filter(own) {
                    control.expect_active(client, listens.port())?;
                }
            }
            _ => {}
        }
    }
    let end = segment
        .sequence
        .wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
    let ahead = |next: u32| end.wrapping_sub(next).cast_signed() > 0;
    if conversation.next.is_none_or(ahead) {
        conversation.next = Some(end);
    }
    Ok(())
}

/// Has the client acknowledge the server's own numbers.
fn acknowledge<F: Frame>(frame: &mut F, packet: &Packet, segment: &Segment, stream: &mut Stream) {
    let acknowledgement = stream.acknowledgement(segment.acknowledgement);
    if acknowledgement == segment.acknowledgement && stream.is_untouched() {
        return;
    }
    let edit = Edit::begin(frame, packet);
    if let Some(header) = segment::header(frame, packet) {
        header.acknowledgement.set(acknowledgement);
    }
    let options = usize::from(packet.l4) + tcp::LEN..segment.payload;
    if let Some(options) = frame.head_mut().get_mut(options) {
        segment::selective(options, |left, right| stream.selective(left, right));
    }
    edit.end(frame, packet);
}

/// A packet of a control connection, from the server, before its address is changed. `mtu`: bytes the way to the client
/// takes.
#[cold]
pub(crate) fn from_server<I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'_, F, O>,
    frame: &mut F,
    packet: &mut Packet,
    entry: &Entry<'_, I>,
    mtu: u16,
) -> Result<(), DropReason> {
    let (Some(control), Some(segment)) = (control(cx, entry), Segment::of(frame, packet)) else {
        return Ok(());
    };
    let records = &control.shared.roster.records;
    let mut moved = false;
    let said = records.with(control.record, |conversation| {
        if segment.flags & tcp::SYN != 0 {
            conversation.stream.begin(segment.sequence);
            return Ok(());
        }
        let readable = segment.len <= MAX_SEGMENT - GROWTH;
        let Some(bytes) = segment.bytes(frame).filter(|_| readable) else {
            let sequence = conversation.stream.sequence(segment.sequence);
            conversation.stream.skip(segment.sequence, segment.len);
            return write(frame, packet, &segment, sequence, None);
        };
        let headers = segment.payload - usize::from(packet.l3);
        let room = usize::from(mtu).saturating_sub(headers).max(segment.len);
        let mut out = ArrayVec::new();
        // A copy: what cannot go on now has not been read.
        let mut stream = conversation.stream.clone();
        let mut awaited = conversation.awaited;
        let went = stream.segment(
            segment.sequence,
            bytes,
            awaited != Awaited::Nothing,
            room,
            &mut out,
            &mut |announced| answer(&control, &mut awaited, announced),
        );
        let went = went.map_err(|stop| match stop {
            Stop::Hole | Stop::Full => DropReason::HelperWaits,
            Stop::Refused => DropReason::ConnectionBusy,
        })?;
        let same = went.taken == bytes.len() && out.as_slice() == bytes;
        let payload = (!same).then_some((out.as_slice(), went.taken < bytes.len()));
        write(frame, packet, &segment, went.sequence, payload)?;
        moved = stream.movement() != conversation.stream.movement();
        conversation.stream = stream;
        conversation.awaited = awaited;
        Ok(())
    });
    if moved {
        // The other director must know before it takes over.
        sync::changed(cx, entry, entry.state());
    }
    said.unwrap_or(Err(DropReason::ConnectionBusy))
}

/// Bytes a segment may grow by; more of a longer one is for the server to send again.
const GROWTH: usize = 64;

/// What stands for an announcement: the virtual address, where the data connection is expected from now on.
fn answer<I: Ip>(
    control: &Control<'_, I>,
    awaited: &mut Awaited,
    announced: Announced,
) -> Result<Option<SocketAddr>, ()> {
    let compat = control.snapshot.settings.compat_ipvs;
    let (port, asked) = match announced {
        Announced::Passive(_, port) => (port, Awaited::Passive),
        Announced::Extended { port, bare } if bare || !compat => (port, Awaited::Extended),
        Announced::Extended { .. } => return Ok(None),
    };
    // An IPv4 address said over IPv6 has no virtual one.
    let sayable = I::ONE_WORD || asked == Awaited::Extended;
    if !sayable || (compat && *awaited != asked) {
        return Ok(None);
    }
    let vport = control.expect_passive(port).map_err(|Refused| ())?;
    *awaited = Awaited::Nothing;
    Ok(Some(SocketAddr::new(I::ip(control.key.vaddr), vport)))
}

/// Writes what has changed: the sequence number, and the payload if there is a new one (and whether the end of it is missing).
fn write<F: Frame>(
    frame: &mut F,
    packet: &mut Packet,
    segment: &Segment,
    sequence: u32,
    payload: Option<(&[u8], bool)>,
) -> Result<(), DropReason> {
    if payload.is_none() && sequence == segment.sequence {
        return Ok(());
    }
    let edit = Edit::begin(frame, packet);
    if let Some((payload, cut)) = payload {
        if !segment::replace(frame, packet, segment, payload) {
            return Err(DropReason::NoRoom);
        }
        if cut && let Some(header) = segment::header(frame, packet) {
            header.flags &= !tcp::FIN;
        }
    }
    if let Some(header) = segment::header(frame, packet) {
        header.sequence.set(sequence);
    }
    edit.end(frame, packet);
    Ok(())
}

fn control<'c, I: Ip, F: Frame, O: Output<F>>(
    cx: &Context<'c, F, O>,
    entry: &Entry<'_, I>,
) -> Option<Control<'c, I>> {
    let key = entry.key();
    let Some(entry::Kept::Said(record)) = entry::kept(key.flags, entry.note()) else {
        return None;
    };
    Some(Control {
        shared: cx.shared,
        snapshot: cx.snapshot,
        now: cx.now,
        key,
        server: entry.server(),
        record,
    })
}
