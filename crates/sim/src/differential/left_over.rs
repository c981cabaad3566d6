//! What the oracle still holds of duels before: fragments that wait for the rest of their packet outlive everything a duel drops, and
//! half a minute later the oracle says that their time is over, in the midst of another duel.

use std::collections::BTreeSet;
use wire::{ethernet, icmp, protocol};

/// Identifications of the packets of one duel.
#[derive(Debug, Default)]
pub(super) struct Sent(BTreeSet<u32>);

impl Sent {
    /// A frame of this duel.
    pub(super) fn note(&mut self, frame: &[u8]) {
        self.0
            .extend(packet_id(frame.get(12..).unwrap_or_default()));
    }

    /// Whether `frame` says of a packet that is none of this duel's that its fragments were waited for in vain.
    pub(super) fn is_left_over(&self, frame: &[u8]) -> bool {
        waited_for(frame).is_some_and(|id| !self.0.contains(&id))
    }
}

/// The identification of the packet behind the two bytes of its EtherType; of IPv6 a fragment's.
fn packet_id(typed: &[u8]) -> Option<u32> {
    let (kind, packet) = typed.split_first_chunk::<2>()?;
    match u16::from_be_bytes(*kind) {
        ethernet::IPV4 => Some(u16::from_be_bytes(*packet.get(4..)?.first_chunk()?).into()),
        ethernet::IPV6 if packet.get(6) == Some(&protocol::FRAGMENT) => {
            Some(u32::from_be_bytes(*packet.get(44..)?.first_chunk()?))
        }
        _ => None,
    }
}

/// The identification of the packet whose reassembly an ICMP error says has taken too long.
fn waited_for(frame: &[u8]) -> Option<u32> {
    let kind = u16::from_be_bytes(*frame.get(12..)?.first_chunk()?);
    let packet = frame.get(14..)?;
    let (message, said) = match kind {
        ethernet::IPV4 if packet.get(9) == Some(&protocol::ICMP) => (
            packet.get(usize::from(packet.first()? & 15) * 4..)?,
            [icmp::v4::TIME_EXCEEDED, 1],
        ),
        ethernet::IPV6 if packet.get(6) == Some(&protocol::ICMPV6) => {
            (packet.get(40..)?, [icmp::v6::TIME_EXCEEDED, 1])
        }
        _ => return None,
    };
    let quoted = message.starts_with(&said).then(|| message.get(8..))??;
    packet_id(&[&kind.to_be_bytes(), quoted].concat())
}

#[cfg(test)]
mod tests {
    use super::Sent;

    /// The first fragment of a datagram, numbered so, and the error about it.
    fn fragment_and_error(id: u16) -> (Vec<u8>, Vec<u8>) {
        let mut packet = vec![
            0x45, 0, 0, 36, 0, 0, 0x20, 0, 64, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2,
        ];
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        packet.extend([0; 16]);
        let ethernet = [&[0; 12][..], &[8, 0]].concat();
        let header = [
            0x45, 0, 0, 64, 0, 0, 0, 0, 64, 1, 0, 0, 2, 2, 2, 2, 1, 1, 1, 1,
        ];
        let error = [&ethernet[..], &header, &[11, 1, 0, 0, 0, 0, 0, 0], &packet].concat();
        ([ethernet, packet].concat(), error)
    }

    #[test]
    fn only_what_is_said_of_another_duel_is_left_over() {
        let (fragment, error) = fragment_and_error(7);
        let mut sent = Sent::default();
        assert!(sent.is_left_over(&error));
        assert!(!sent.is_left_over(&fragment));
        sent.note(&fragment);
        assert!(!sent.is_left_over(&error));
        assert!(sent.is_left_over(&fragment_and_error(8).1));
        let mut expired = fragment_and_error(8).1;
        expired[35] = 0;
        assert!(!sent.is_left_over(&expired), "a hop limit run out");
        for cut in 0..error.len() {
            let _ = sent.is_left_over(&error[..cut]);
        }
    }
}
