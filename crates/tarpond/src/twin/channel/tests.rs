use super::*;
use std::{net::TcpListener, thread};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (two, _) = listener.accept().unwrap();
    (one, two)
}

#[test]
fn messages_of_any_size_cross_both_ways() {
    let (one, two) = pair();
    let text: String = ('a'..='z').cycle().take(300_000).collect();
    let large = TwinMessage::Text {
        text,
        versions: Vec::new(),
    };
    let (sent, key) = (large.clone(), [7; 32]);
    let other = thread::spawn(move || {
        let mut channel = Channel::answer(two, &key).unwrap();
        let first = channel.receive().unwrap();
        channel.send(&sent).unwrap();
        (first, channel.receive().unwrap())
    });
    let mut channel = Channel::ask(one, &key).unwrap();
    channel.send(&TwinMessage::Fetch).unwrap();
    assert_eq!(channel.receive().unwrap(), Some(large));
    drop(channel);
    assert_eq!(other.join().unwrap(), (Some(TwinMessage::Fetch), None));
}

#[test]
fn who_has_another_key_is_not_talked_to() {
    let (one, two) = pair();
    let other = thread::spawn(move || Channel::answer(two, &[8; 32]).map(|_| ()));
    let asked = Channel::ask(one, &[7; 32]).map(|_| ());
    let (asked, answered) = (asked.unwrap_err(), other.join().unwrap().unwrap_err());
    assert!(format!("{asked:#}").contains("another key"), "{asked:#}");
    assert!(
        format!("{answered:#}").contains("another key"),
        "{answered:#}"
    );
}

/// Whoever sees or changes what crosses: nothing in it can be read, and nothing changed is taken.
#[test]
fn what_is_changed_on_the_way_is_refused() {
    let secret = "service of a bank";
    for flipped in [None, Some(10), Some(45), Some(60), Some(100)] {
        let (one, mut from_one) = pair();
        let (mut to_two, two) = pair();
        let key = [9; 32];
        let other = thread::spawn(move || {
            let mut channel = Channel::answer(two, &key)?;
            channel.receive()
        });
        let message = TwinMessage::Taken {
            changes: vec![secret.to_owned()],
        };
        let asking = thread::spawn(move || {
            let mut channel = Channel::ask(one, &key)?;
            channel.send(&message)
        });
        // In the middle: what the asker says, a byte changed; what the answerer says, as it is.
        let mut back = to_two.try_clone().unwrap();
        let mut to_one = from_one.try_clone().unwrap();
        let returning = thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to_one);
            // Who has hung up is seen to have done so.
            let _ = to_one.shutdown(std::net::Shutdown::Both);
        });
        let (mut at, mut seen, mut buffer) = (0, Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = from_one.read(&mut buffer) {
            for byte in &mut buffer[..n] {
                *byte ^= u8::from(Some(at) == flipped);
                seen.push(*byte);
                at += 1;
            }
            if to_two.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to_two.shutdown(std::net::Shutdown::Both);
        let _ = from_one.shutdown(std::net::Shutdown::Both);
        let received = other.join().unwrap();
        let _ = asking.join().unwrap();
        returning.join().unwrap();
        let taken = matches!(received, Ok(Some(_)));
        assert_eq!(taken, flipped.is_none(), "{flipped:?}: {received:?}");
        let bare = |w: &[u8]| w == secret.as_bytes();
        assert!(!seen.windows(secret.len()).any(bare), "in the clear");
    }
}
