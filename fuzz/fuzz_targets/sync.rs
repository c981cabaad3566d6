//! Connection synchronisation: any datagram. What is read is written again and read as the same; what is written keeps to its room.
#![no_main]

use connsync::{Batch, Message, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = match Message::parse(bytes) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut batch = Batch::new(read.sync_id, 1472);
    let mut told = Vec::new();
    for connection in &read.connections {
        if batch.is_full_for(connection) {
            told.extend(batch.take(None));
        }
        batch.push(0, connection);
    }
    told.extend(batch.take(None));
    assert!(told.iter().all(|message| message.len() <= 1472));
    let again = told
        .iter()
        .flat_map(|message| Message::parse(message).expect("just written").connections);
    assert!(again.eq(read.connections.iter().cloned()));

    let new = Message {
        version: Version::V1,
        ..read
    };
    assert_eq!(Message::parse(&new.write()).as_ref(), Ok(&new));
});
