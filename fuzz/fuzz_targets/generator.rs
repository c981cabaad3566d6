//! The generator's clients and servers, whatever they are sent: frames of any bytes, and a far end that keeps to TCP but says anything,
//! in pieces of any size. Nothing panics, and every connection comes to one counted end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pktgen::{
    rate::{Pace, Rate},
    stateful::{
        clients::{Clients, Close, Outlet, Script},
        http::{self, Content},
        segment::{self, Options, Path, Said, Tuple},
        servers::{Servers, Service},
        tcb::Timing,
        tuples::Tuples,
    },
    template::Template,
};
use std::sync::{Arc, LazyLock};
use types::MacAddr;
use wire::tcp::{ACK, FIN, PSH, RST, SYN};

static CONTENT: LazyLock<Arc<Content>> = LazyLock::new(|| Arc::new(Content::new()));
static TEMPLATE: LazyLock<Template> = LazyLock::new(|| "tcp 10.0.0.1:5000-5003 > 10.0.1.1:80".parse().expect("it is right"));
const PATH: Path = Path { from: MacAddr([2; 6]), to: MacAddr([4; 6]), vlan: None, ttl: 64, tos: 0 };
const SECOND: u64 = 1_000_000_000;
const TIMING: Timing = Timing { rto_ns: SECOND, timeout_ns: 10 * SECOND, time_wait_ns: SECOND, mss: 1460, stamps: false };

/// What was said last.
#[derive(Default)]
struct Desk {
    last: Option<(Tuple, Said)>,
}

impl Outlet for Desk {
    fn put(&mut self, path: &Path, tuple: &Tuple, said: &Said, fill: impl FnOnce(&mut [u8])) {
        let headers = segment::headers_len(path, tuple.is_ipv6, said);
        let mut frame = vec![0; headers + usize::from(said.len)];
        fill(&mut frame[headers..]);
        segment::write(path, tuple, said, &mut frame);
        let read = segment::read(&frame).expect("what is written can be read");
        assert_eq!(read.heard.payload, &frame[headers..]);
        self.last = Some((*tuple, *said));
    }
}

/// A frame of the far end's.
fn frame(tuple: Tuple, flags: u8, sequence: u32, acknowledgement: u32, options: Options, payload: &[u8]) -> Vec<u8> {
    let back = Tuple { ours: tuple.theirs, theirs: tuple.ours, ports: [tuple.ports[1], tuple.ports[0]], ..tuple };
    let len = u16::try_from(payload.len()).expect("a piece");
    let said = Said { flags, sequence, acknowledgement, options, at: 0, len, is_again: false };
    let headers = segment::headers_len(&PATH, false, &said);
    let mut frame = vec![0; headers + payload.len()];
    frame[headers..].copy_from_slice(payload);
    segment::write(&PATH, &back, &said, &mut frame);
    frame
}

fuzz_target!(|input: &[u8]| {
    let [kind, size, rest @ ..] = input else { return };
    let _ = (segment::read(rest), http::response(rest), http::request(rest));
    let timing = Timing { stamps: kind >> 7 == 1, ..TIMING };
    // What the far end says in its SYN, and in every segment: the generator's side of it follows from the same byte.
    let options = Options {
        mss: (size & 1 == 1).then(|| u16::from(*size) * 7),
        scale: (size & 2 == 2).then_some(size >> 3),
        sack: size & 4 == 4,
        stamps: timing.stamps.then_some((u32::from(*size), 1)),
    };
    let close = [Close::Client, Close::Server, Close::Reset][usize::from(kind % 3)];
    let get: Arc<[u8]> = http::get("h", "/", 0, close == Close::Server).into();
    let script = Script {
        requests: u32::from(kind >> 2 & 3),
        request: Arc::clone(&get),
        last_request: get,
        close,
        hold_ns: u64::from(kind >> 4 & 1) * SECOND,
        expected_len: None,
        expected: (kind >> 5 & 1 == 1).then(|| Arc::from(&b"expected"[..])),
        timing,
        path: PATH,
        first_sequence: 9,
        count: Some(1),
    };
    let pace = Pace::new(Rate::Max, None, 1, 0, 1e9).expect("a rate");
    let mut clients = Clients::new(script, 2, Tuples::new(&TEMPLATE, 0, 1, 1), pace, Arc::clone(&CONTENT));
    let service = Service {
        content: u32::from(*size) * 37,
        ports: None,
        addresses: [vec![TEMPLATE.axes[2].clone()], vec![]],
        timing,
        first_sequence: 7,
    };
    let mut servers = Servers::new(service, 2, Arc::clone(&CONTENT));
    let (mut now, mut desk) = (0, Desk::default());
    clients.open(now, 1, &mut desk);
    let (tuple, _) = desk.last.expect("a SYN");
    let pieces: Vec<&[u8]> = rest.chunks(usize::from(*size).max(1) * 5).collect();
    // The same bytes as answers to a client, and as questions to a server.
    let mut sequence = 1000_u32;
    let mut asked = Desk::default();
    let ours = Tuple { ours: tuple.theirs, theirs: tuple.ours, ports: [tuple.ports[1], tuple.ports[0]], ..tuple };
    let take = |clients: &mut Clients, servers: &mut Servers, desk: &mut Desk, asked: &mut Desk, now, flags, sequence, payload: &[u8]| {
        let heard = desk.last.map_or(0, |(_, s)| s.sequence.wrapping_add(u32::from(s.len) + u32::from(s.flags & (SYN | FIN) != 0)));
        let bytes = frame(tuple, flags, sequence, heard, options, payload);
        clients.take(now, &segment::read(&bytes).expect("right"), desk);
        let heard = asked.last.map_or(0, |(_, s)| s.sequence.wrapping_add(u32::from(s.len) + u32::from(s.flags & (SYN | FIN) != 0)));
        let flags = if flags & SYN != 0 { SYN } else { flags };
        let bytes = frame(ours, flags, sequence, heard, options, payload);
        servers.take(now, &segment::read(&bytes).expect("right"), asked);
    };
    take(&mut clients, &mut servers, &mut desk, &mut asked, now, SYN | ACK, sequence, &[]);
    sequence = sequence.wrapping_add(1);
    for piece in pieces.into_iter().take(64) {
        for part in piece.chunks(1400) {
            take(&mut clients, &mut servers, &mut desk, &mut asked, now, ACK | PSH, sequence, part);
            sequence = sequence.wrapping_add(u32::try_from(part.len()).expect("a piece"));
        }
        now += 100_000_000;
        clients.advance(now, &mut desk);
        servers.advance(now, &mut asked);
    }
    let end = if kind >> 6 & 1 == 1 { RST | ACK } else { FIN | ACK };
    take(&mut clients, &mut servers, &mut desk, &mut asked, now, end, sequence, &[]);
    for _ in 0..40 {
        now += SECOND;
        clients.advance(now, &mut desk);
        servers.advance(now, &mut asked);
    }
    clients.end(now, &mut desk);
    servers.end(&mut asked);
    let tally = &clients.tally;
    assert_eq!(tally.closed + tally.closed_by_reset + tally.failed() + tally.unfinished, 1, "{tally:?}");
    assert!(tally.responses <= tally.requests && tally.opened == 1);
    assert_eq!((clients.open_now(), servers.open_now()), (0, 0));
});
