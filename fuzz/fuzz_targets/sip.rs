//! SIP messages: of any bytes a Call-ID is found or not, without a panic; what is found is a piece of the message behind a line's end,
//! short enough, without blanks, ended by a line's end; and what follows it changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::sip::{MAX_CALL_ID, call_id};

fuzz_target!(|message: &[u8]| {
    let Some(id) = call_id(message) else {
        return;
    };
    assert!((1..=MAX_CALL_ID).contains(&id.len()));
    assert!(!id.iter().any(|b| b" \t\r\n,;=".contains(b)));
    let start = id.as_ptr() as usize - message.as_ptr() as usize;
    let (before, rest) = message.split_at(start);
    assert!(before.iter().any(|b| matches!(b, b'\r' | b'\n')));
    assert!(matches!(rest[id.len()], b'\r' | b'\n'));
    let end = start + id.len();
    assert_eq!(call_id(&message[..=end]), Some(id));
    assert_eq!(call_id(&message[..end]), None);
    let more = [&message[..=end], b"\r\nCall-ID: other\r\n"].concat();
    assert_eq!(call_id(&more), Some(id));
});
