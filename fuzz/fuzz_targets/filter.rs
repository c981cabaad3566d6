//! The capture filter: any text, and what it says of any frame, whole or cut off. Text and frame are parted by a 0.
//! A text may also describe a packet, as `tarpon explain` takes it.
#![no_main]

use api::{filter, packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let (text, frame) = bytes.split_at(end);
    let frame = frame.get(1..).unwrap_or_default();
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    if let Ok(packet) = packet::parse(text) {
        let written = packet.to_string();
        assert_eq!(packet::parse(&written), Ok(packet), "{written}");
    }
    match filter::parse(text) {
        Ok(found) => {
            let matches = found.matches(frame, frame.len());
            // Brackets and a double negation change nothing.
            if let Ok(same) = filter::parse(&format!("not (not ({text}))")) {
                assert_eq!(same.matches(frame, frame.len()), matches, "{text}");
            }
            if let Ok(opposite) = filter::parse(&format!("not ({text})")) {
                assert_ne!(opposite.matches(frame, frame.len()), matches, "{text}");
            }
            let _ = found.matches(frame.get(..40).unwrap_or(frame), frame.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
