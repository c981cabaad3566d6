//! Messages against one that Linux 6.1 sent, and any against themselves.

use connsync::{
    Addresses, Batch, Connection, Flags, HEADER, Message, Note, ParseError, Report, SequenceDelta,
    SequenceDeltas, Splice, Version,
};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the master daemon of Linux 6.1 sent when it was recorded: an established TCP connection under NAT, a UDP one, its
/// template, one of IPv6, and the first again in CLOSE_WAIT.
const RECORDED: &str = "000700e005010000\
    000600240000000000011388\
    00501f900000000000000384ac1000010a0000640a01000d\
    001100240000010000001770003500350000000000\
    00012cac1000020a0000640a01000d\
    0011002400001100000000000035003500000000000000\
    64ac1000020a0000640a01000d\
    0106004800000000000113880050005000000000000003842001\
    0db8000000000000000000000001fd000000000000000000000000000100fd010000000000000000000000000013\
    000600240000010000071388\
    00501f90000000000000003cac1000010a0000640a01000d";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |d: u8| {
        (d as char)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or_default()
    };
    digits
        .chunks(2)
        .map(|p| p.iter().fold(0, |n, d| n << 4 | digit(*d)))
        .collect()
}

#[test]
fn a_recorded_message_is_read_and_written_again() {
    let recorded = bytes(RECORDED);
    let message = Message::parse(&recorded).unwrap();
    assert_eq!((message.version, message.sync_id), (Version::V1, 7));
    let told: Vec<_> = message
        .connections
        .iter()
        .map(|c| (c.protocol, c.flags.0, c.state, c.client_port, c.timeout_s))
        .collect();
    assert_eq!(
        told,
        [
            (6, 0, 1, 5000, 900),
            (17, 0x100, 0, 6000, 300),
            (17, 0x1100, 0, 0, 100),
            (6, 0, 1, 5000, 900),
            (6, 0x100, 7, 5000, 60)
        ]
    );
    assert_eq!(message.note, None);
    assert_eq!(message.write(), recorded);

    let mut batch = Batch::new(7, 1472);
    for connection in &message.connections {
        assert!(!batch.is_full_for(connection));
        batch.push(0, connection);
    }
    assert_eq!(batch.take(None), Some(recorded));
    assert_eq!(batch.take(None), None);
}

/// A template of `--pe sip`, and the connection it controls.
const RECORDED_CALL: &str = "00070060020100000011002400000100000013c413c413c4000000000000012cac1000010a0000640a01000d\
    00110034000011000000000013c413c4000000000000003cac1000010a0000640a01000d02096161616140686f73740303736970";

#[test]
fn a_recorded_call_id_is_read_and_written_again() {
    let recorded = bytes(RECORDED_CALL);
    let message = Message::parse(&recorded).unwrap();
    let told: Vec<_> = message
        .connections
        .iter()
        .map(|c| c.persistence.clone())
        .collect();
    let call = (b"sip".to_vec(), b"aaaa@host".to_vec());
    assert_eq!(told, [None, Some(call)]);
    assert_eq!(message.write(), recorded);
}

#[test]
fn a_note_stands_behind_the_connections_and_ipvs_need_not_see_it() {
    let mut message = Message::parse(&bytes(RECORDED)).unwrap();
    message.note = Some(Note::Numbered {
        sender: 5,
        number: 9,
    });
    let written = message.write();
    assert_eq!(Message::parse(&written).unwrap(), message);
    // All IPVS looks at: version, length, and as many connections as it is told there are.
    assert_eq!(written[4..8], [5, 1, 0, 0]);
    assert_eq!(
        usize::from(u16::from_be_bytes([written[2], written[3]])),
        written.len()
    );
    message.connections.clear();
    assert_eq!(message.write()[4], 0);
}

#[test]
fn version_0_is_read() {
    let mut old = vec![2, 3, 0, 0];
    let fixed = "000613880050 1f90ac1000010a0000640a01000d";
    old.extend(bytes(&format!("{fixed}00000001")));
    old.extend(bytes(&format!("{fixed}02000001")));
    old.extend((1..=24).collect::<Vec<u8>>());
    let len = u16::try_from(old.len()).unwrap().to_be_bytes();
    old[2..4].copy_from_slice(&len);
    let message = Message::parse(&old).unwrap();
    assert_eq!((message.version, message.sync_id), (Version::V0, 3));
    assert_eq!(message.connections.len(), 2);
    let [plain, shifted] = &message.connections[..] else {
        panic!("two")
    };
    assert_eq!(
        plain.addresses,
        Addresses::V4([[172, 16, 0, 1], [10, 0, 0, 100], [10, 1, 0, 13]].map(Ipv4Addr::from))
    );
    assert_eq!(
        (plain.state, plain.timeout_s, plain.server_port),
        (1, 0, 8080)
    );
    assert_eq!(shifted.sequence.unwrap().outwards.from, 0x0d0e_0f10);
}

#[test]
fn what_is_cut_off_or_says_another_length_is_refused() {
    let recorded = bytes(RECORDED);
    for len in 0..recorded.len() {
        let cut = &recorded[..len];
        assert!(Message::parse(cut).is_err(), "{len} bytes");
        // Also when the length agrees.
        let mut cut = cut.to_vec();
        if let Some(field) = cut.get_mut(2..4) {
            field.copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            if len >= HEADER {
                assert!(matches!(
                    Message::parse(&cut),
                    Err(ParseError::Truncated(_))
                ));
            }
        }
    }
    let mut newer = recorded;
    newer[HEADER + 2] |= 0x10;
    assert_eq!(
        Message::parse(&newer),
        Err(ParseError::ConnectionVersion {
            connection: 0,
            version: 1
        })
    );
}

fn deltas() -> impl Strategy<Value = SequenceDelta> {
    any::<[u32; 3]>().prop_map(|[from, delta, previous_delta]| SequenceDelta {
        from,
        delta,
        previous_delta,
    })
}

fn connection() -> impl Strategy<Value = Connection> {
    let addresses = prop_oneof![
        any::<[u32; 3]>().prop_map(|a| Addresses::V4(a.map(Ipv4Addr::from_bits))),
        any::<[u128; 3]>().prop_map(|a| Addresses::V6(a.map(Ipv6Addr::from_bits))),
    ];
    let sequence = proptest::option::of((deltas(), deltas()));
    let text = |most| proptest::collection::vec(any::<u8>(), 1..=most);
    let persistence = proptest::option::of((text(16), text(255)));
    let splice = proptest::option::of(any::<([u32; 3], i8, i8)>());
    (
        any::<(u8, u32, [u16; 4], u32, u32)>(),
        addresses,
        sequence,
        splice,
        persistence,
    )
        .prop_map(
            |((protocol, flags, n, mark, timeout_s), addresses, sequence, splice, persistence)| {
                Connection {
                    protocol,
                    flags: Flags(flags).without(Flags::HASHED),
                    state: n[0],
                    client_port: n[1],
                    virtual_port: n[2],
                    server_port: n[3],
                    mark,
                    timeout_s,
                    addresses,
                    sequence: sequence
                        .map(|(inwards, outwards)| SequenceDeltas { inwards, outwards }),
                    splice: splice.map(|([isn, sequence, time], to_client, to_server)| Splice {
                        isn,
                        sequence,
                        time,
                        to_client,
                        to_server,
                    }),
                    persistence,
                }
            },
        )
}

fn note() -> impl Strategy<Value = Note> {
    prop_oneof![
        any::<[u64; 2]>().prop_map(|[sender, number]| Note::Numbered { sender, number }),
        any::<[u64; 3]>().prop_map(|[sender, asked, connections]| Note::AllTold {
            sender,
            asked,
            connections
        }),
        any::<([u64; 6], [bool; 3])>().prop_map(|(n, is)| Note::Report(Report {
            sender: n[0],
            tells: is[0],
            listens: is[1],
            asks: is[2],
            connections: n[1],
            active: n[2],
            about: n[3],
            heard: n[4],
            lost: n[5],
        })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        sync_id: u8,
        connections in proptest::collection::vec(connection(), 0..9),
        note in proptest::option::of(note()),
    ) {
        let message = Message { version: Version::V1, sync_id, connections, note };
        prop_assert_eq!(Message::parse(&message.write()), Ok(message));
    }

    #[test]
    fn messages_keep_to_their_room(connections in proptest::collection::vec(connection(), 1..99), room in 450_usize..1500) {
        let mut batch = Batch::new(1, room);
        let (mut told, mut note) = (Vec::new(), 0);
        let mut send = |batch: &mut Batch| {
            note += 1;
            let bytes = batch.take(Some(Note::Numbered { sender: 1, number: note })).unwrap();
            assert!(bytes.len() <= room, "{} of {room}", bytes.len());
            told.extend(Message::parse(&bytes).unwrap().connections);
        };
        for connection in &connections {
            if batch.is_full_for(connection) {
                send(&mut batch);
            }
            batch.push(0, connection);
        }
        send(&mut batch);
        prop_assert_eq!(told, connections);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), new: bool) {
        if let (Ok(len), Some(field)) = (u16::try_from(bytes.len()), bytes.get_mut(2..4)) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        if new && bytes.len() >= HEADER {
            bytes[0] = 0;
            bytes[5..8].copy_from_slice(&[1, 0, 0]);
        }
        if let Ok(read) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&Message { version: Version::V1, ..read.clone() }.write()).unwrap().connections, read.connections);
        }
    }
}
