//! What comes over the control socket: lines cut as they like, requests to the daemon, answers to the client.
#![no_main]

use api::{Answer, LineBuffer, Request};
use libfuzzer_sys::fuzz_target;

/// Short, so that the fuzzer reaches it.
const LINE: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Some((&pace, stream)) = bytes.split_first() else {
        return;
    };
    let mut lines = Vec::new();
    let mut buffer = LineBuffer::new(LINE);
    'stream: for piece in stream.chunks(usize::from(pace) + 1) {
        buffer.push(piece);
        loop {
            match buffer.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(_) => break 'stream,
            }
        }
    }
    for (line, expected) in lines.iter().zip(stream.split(|b| *b == b'\n')) {
        assert_eq!(line, expected, "the pieces do not matter");
        one(line);
    }
});

fn one(line: &[u8]) {
    match Request::decode(line) {
        Ok(request) => {
            let encoded = request.encode();
            let again = Request::decode(&encoded[..encoded.len() - 1]);
            assert_eq!(again.as_ref(), Ok(&request));
            if let api::Command::Capture(capture) = &request.command
                && let Some(filter) = &capture.filter
            {
                let _ = api::filter::parse(filter);
            }
        }
        Err(refused) => {
            let answer = api::encode_error(refused.id, &refused.error);
            let read = Answer::decode(&answer).expect("our own answers can be read");
            assert_eq!(read.id, refused.id);
        }
    }
    let _ = Answer::decode(line);
}
