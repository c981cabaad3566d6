//! FTP control connections: any bytes, however they are cut, are read without a panic and come out the same; what is sent
//! again comes out as it did; without anything to replace nothing is touched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use wire::ftp::{Announced, Commands, MAX_SEGMENT, Stream};

const VIP: [u8; 4] = [203, 0, 113, 200];
const INITIAL: u32 = u32::MAX - 40;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, said)) = bytes.split_first() else {
        return;
    };
    let said = &said[..said.len().min(1000)];
    let mut commands = Commands::default();
    for &byte in said {
        let _ = commands.read(byte);
    }
    backwards(said, usize::from(cut));
    // A segment with more replies than are remembered is refused until the client acknowledges some.
    let replies = said
        .windows(3)
        .filter(|w| *w == b"227" || *w == b"229")
        .count();
    if replies > 2 {
        return;
    }
    let whole = heard(said, 1000, true);
    assert_eq!(heard(said, 1 + usize::from(cut % 16), true), whole);
    assert_eq!(heard(said, 1 + usize::from(cut), false), said[..].to_vec());
});

/// What the client gets of the server's bytes in segments of `cut`, the end of anything held back included.
fn heard(said: &[u8], cut: usize, replace: bool) -> Vec<u8> {
    let mut stream = Stream::default();
    stream.begin(INITIAL);
    let first = INITIAL.wrapping_add(1);
    let mut heard = Vec::new();
    let mut at = first;
    // A line's end closes whatever is open.
    for segment in said.chunks(cut).chain([b"\n".as_slice()]) {
        let mut twice = Vec::new();
        for _ in 0..2 {
            let mut out = arrayvec::ArrayVec::<u8, MAX_SEGMENT>::new();
            let went = stream.segment(at, segment, true, MAX_SEGMENT, &mut out, &mut |announced| {
                let (Announced::Passive(_, port) | Announced::Extended { port, .. }) = announced;
                let instead = SocketAddr::new(VIP.into(), port ^ 1);
                Ok(replace.then_some(instead))
            });
            let went = went.expect("in order, and all is acknowledged");
            assert_eq!(went.taken, segment.len());
            assert_eq!(went.sequence, first.wrapping_add(heard.len() as u32));
            twice.push(out.to_vec());
        }
        assert_eq!(twice[0], twice[1], "sent again");
        heard.extend(&twice[0]);
        at = at.wrapping_add(segment.len() as u32);
        let all = first.wrapping_add(heard.len() as u32);
        assert_eq!(stream.acknowledgement(all), at);
        assert_eq!(stream.sequence(at), all);
    }
    assert_eq!(heard.pop(), Some(b'\n'));
    heard
}

/// Segments in the wrong order, and acknowledgements of anything.
fn backwards(said: &[u8], cut: usize) {
    let mut stream = Stream::default();
    for (n, segment) in said.chunks(1 + cut / 8).enumerate().rev() {
        let mut out = arrayvec::ArrayVec::new();
        let at = (n * (1 + cut / 8)) as u32;
        let room = 64 + cut;
        let mut trial = stream.clone();
        let went = trial.segment(at, segment, cut % 2 == 0, room, &mut out, &mut |_| {
            Ok(Some(SocketAddr::new(VIP.into(), 2121)))
        });
        if let Ok(went) = went {
            assert!(out.len() <= room && went.taken <= segment.len());
            stream = trial;
        }
        stream.acknowledgement(at.wrapping_mul(7));
        let _ = stream.selective(at, at.wrapping_add(9));
        stream.skip(at, segment.len());
    }
}
