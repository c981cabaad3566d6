//! Every field survives; a packet matches its own connection alone.

use super::*;
use proptest::prelude::*;

/// Every field survives, and a tuple matches on exactly its side and kind.
fn check<F: Family>(
    key: Key<F::Addr>,
    on_wire: impl Fn(&Tuple<F::Addr>, Side) -> OnWire<F>,
    wrong: impl Fn(Tuple<F::Addr>) -> Vec<Tuple<F::Addr>>,
) {
    let cells = F::Cells::zeroed();
    cells.claim(&key.client_tuple(), key.template);
    assert!(cells.matches(&key.client_tuple(), Side::Virtual, key.template));
    cells.complete(key.daddr, key.dport, 0xfeed_face, key.flags);
    assert_eq!(cells.load(), key);
    assert_eq!(
        (cells.server(), cells.is_template()),
        (0xfeed_face, key.template)
    );
    assert_eq!(cells.same_client(&key.client_tuple()), !key.template);
    for (side, tuple) in [
        (Side::Virtual, key.client_tuple()),
        (Side::Server, key.server_tuple()),
    ] {
        assert!(cells.matches(&tuple, side, key.template));
        assert!(!cells.matches(&tuple, side, !key.template));
        let packet = on_wire(&tuple, side);
        assert_eq!(packet.tuple(side), tuple);
        let found = (!key.template).then_some(Static {
            flags: key.flags,
            server: ServerId(0xfeed_face),
        });
        assert_eq!(cells.met(&packet, side), found);
        for tuple in wrong(tuple) {
            assert!(
                !cells.matches(&tuple, side, key.template),
                "{tuple:?} is not {key:?} seen from {side:?}"
            );
            assert_eq!(cells.met(&on_wire(&tuple, side), side), None);
        }
    }
}

/// A packet's header bytes, by way of the network's byte order.
fn ports(t: (u16, u16), side: Side) -> u32 {
    let (client, other) = (t.0.to_be_bytes(), t.1.to_be_bytes());
    let (source, destination) = match side {
        Side::Virtual => (client, other),
        Side::Server => (other, client),
    };
    u32::from_le_bytes([source[0], source[1], destination[0], destination[1]])
}

fn on_wire4(t: &Tuple<u32>, side: Side) -> OnWire<V4> {
    let (client, other) = (t.client.to_be_bytes(), t.other.to_be_bytes());
    let pair = match side {
        Side::Virtual => [client, other],
        Side::Server => [other, client],
    };
    OnWire {
        addresses: u64::from_le_bytes(pair.concat().try_into().expect("twice four bytes")),
        ports: ports((t.client_port, t.other_port), side),
        protocol: t.protocol,
    }
}

fn on_wire6(t: &Tuple<u128>, side: Side) -> OnWire<V6> {
    let words = |a: u128| {
        let bytes = a.to_be_bytes();
        let half =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        [half(0), half(8)]
    };
    let (client, other) = (words(t.client), words(t.other));
    OnWire {
        addresses: match side {
            Side::Virtual => [client, other],
            Side::Server => [other, client],
        },
        ports: ports((t.client_port, t.other_port), side),
        protocol: t.protocol,
    }
}

/// The tuple with one bit of one field flipped.
fn neighbours<A: Copy>(t: Tuple<A>, flip: impl Fn(A) -> A, bit: u32) -> Vec<Tuple<A>> {
    vec![
        Tuple {
            protocol: t.protocol ^ 1 << (bit % 8),
            ..t
        },
        Tuple {
            client: flip(t.client),
            ..t
        },
        Tuple {
            client_port: t.client_port ^ 1 << (bit % 16),
            ..t
        },
        Tuple {
            other: flip(t.other),
            ..t
        },
        Tuple {
            other_port: t.other_port ^ 1 << (bit % 16),
            ..t
        },
    ]
}

proptest! {
    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
    fn keys_survive(a: [u128; 3], p: [u16; 3], protocol: u8, flags in 0_u8..128, template: bool, bit in 0_u32..128) {
        let key = Key { protocol, flags, template, caddr: a[0], cport: p[0], vaddr: a[1], vport: p[1], daddr: a[2], dport: p[2] };
        check::<V6>(key, on_wire6, |t| neighbours(t, |x| x ^ 1 << bit, bit));
        let key = Key {
            protocol, flags, template, caddr: a[0] as u32, cport: p[0], vaddr: a[1] as u32, vport: p[1], daddr: a[2] as u32, dport: p[2],
        };
        check::<V4>(key, on_wire4, |t| neighbours(t, |x| x ^ 1 << (bit % 32), bit));
    }
}
