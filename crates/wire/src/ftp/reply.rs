//! What the server says: where it listens for a data connection.
//!
//! From the first byte that may be of an address on, bytes are held until it is known what they are: that is how an
//! address is replaced though it comes in two segments.

use super::command::{number, numbers};
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;

/// Bytes held at most: a network protocol, an IPv6 address and a port of a 229 reply take 47.
pub(super) const HELD: usize = 47;

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// `227 Entering Passive Mode (h1,h2,h3,h4,p1,p2)`
    Passive(Ipv4Addr, u16),
    /// `229 Entering Extended Passive Mode (|||port|)`
    Extended {
        /// The port.
        port: u16,
        /// There is no address, as RFC 2428 wants it.
        bare: bool,
    },
}

/// What a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Byte {
    /// Nothing of interest.
    Passes,
    /// It may be of an address; what becomes of it is said later.
    Held,
    /// It ends what was held, and is not in [`Replies::held`] any more; an address if it was one.
    Ends(Option<Announced>),
}

/// Where in the stream the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// At the start of a line, so much of the reply's code read.
    #[default]
    Start,
    Two,
    TwoTwo,
    Code(Kind),
    /// In a reply of that kind, before the address.
    Before(Kind),
    /// In a 229 reply, behind the parenthesis.
    Bar,
    /// In the address; bytes are held.
    In(Kind),
    /// In the rest of a line.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Passive,
    /// With the character between the fields, once it is known.
    Extended(u8),
}

/// A reader of the server's stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Replies {
    at: At,
    held: ArrayVec<u8, HELD>,
}

impl Replies {
    /// The bytes held so far.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Forgets what was held, once it has been dealt with.
    pub fn let_go(&mut self) {
        self.held.clear();
    }

    /// The next byte. After [`Byte::Ends`] the bytes before it are still in `held` until [`Replies::let_go`].
    pub fn read(&mut self, byte: u8) -> Byte {
        if let At::In(kind) = self.at {
            return self.within(kind, byte);
        }
        self.at = match (self.at, byte) {
            (_, b'\n') => At::Start,
            (At::Start, b'2') => At::Two,
            (At::Two, b'2') => At::TwoTwo,
            (At::TwoTwo, b'7') => At::Code(Kind::Passive),
            (At::TwoTwo, b'9') => At::Code(Kind::Extended(0)),
            (At::Code(kind), b' ') => At::Before(kind),
            (At::Before(Kind::Passive), b'0'..=b'9') => {
                self.at = At::In(Kind::Passive);
                return self.within(Kind::Passive, byte);
            }
            (At::Before(Kind::Extended(_)), b'(') => At::Bar,
            (At::Before(kind), _) => At::Before(kind),
            (At::Bar, 33..=126) => At::In(Kind::Extended(byte)),
            _ => At::Rest,
        };
        Byte::Passes
    }

    fn within(&mut self, kind: Kind, byte: u8) -> Byte {
        let goes_on = match kind {
            Kind::Passive => byte.is_ascii_digit() || byte == b',',
            Kind::Extended(bar) => {
                byte > b' ' && (byte != bar || self.held.iter().filter(|b| **b == bar).count() < 2)
            }
        };
        if goes_on && self.held.try_push(byte).is_ok() {
            return Byte::Held;
        }
        let announced = match kind {
            // Its end is anything that cannot be of it; what made it too long is not.
            Kind::Passive if !goes_on => {
                numbers(&self.held).map(|(ip, port)| Announced::Passive(ip, port))
            }
            Kind::Extended(bar) if byte == bar => extended(&self.held, bar),
            Kind::Passive | Kind::Extended(_) => None,
        };
        self.at = match (byte, kind) {
            (b'\n', _) => At::Start,
            // The text may have a number in it.
            (_, Kind::Passive) if announced.is_none() => At::Before(kind),
            _ => At::Rest,
        };
        Byte::Ends(announced)
    }
}

/// `||port`, behind the first and before the last bar.
fn extended(held: &[u8], bar: u8) -> Option<Announced> {
    let mut fields = held.split(|byte| *byte == bar);
    let (family, address, port) = (fields.next()?, fields.next()?, fields.next()?);
    let port: u16 = number(port)?;
    let bare = family.is_empty() && address.is_empty();
    (port != 0).then_some(Announced::Extended { port, bare })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(String, Announced)> {
        let mut replies = Replies::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            if let Byte::Ends(announced) = replies.read(byte) {
                let held = String::from_utf8(replies.held().to_vec()).unwrap();
                found.extend(announced.map(|announced| (held, announced)));
                replies.let_go();
            }
        }
        found
    }

    #[test]
    fn addresses_are_found_where_replies_have_them() {
        let passive = |held: &str, ip: [u8; 4], port| {
            vec![(held.to_owned(), Announced::Passive(ip.into(), port))]
        };
        let numbers = "10,1,0,11,200,1";
        for text in [
            "227 Entering Passive Mode (10,1,0,11,200,1).\r\n",
            "227 Entering Passive Mode 10,1,0,11,200,1\r\n",
            "220-10,0,0,9,1,1\r\n220 x\r\n227 FTP4 says =10,1,0,11,200,1\n",
        ] {
            assert_eq!(all(text), passive(numbers, [10, 1, 0, 11], 51201), "{text}");
        }
        let extended = |held: &str, bare| {
            let announced = Announced::Extended { port: 51300, bare };
            vec![(held.to_owned(), announced)]
        };
        assert_eq!(
            all("229 Extended Passive Mode (|||51300|)\r\n"),
            extended("||51300", true)
        );
        assert_eq!(
            all("229 ok (!1!10.1.0.11!51300!)\r\n"),
            extended("1!10.1.0.11!51300", false)
        );
    }

    #[test]
    fn other_text_has_none() {
        for text in [
            "220 10,1,0,11,200,1\r\n",
            "227-Entering (10,1,0,11,200,1)\r\n",
            " 227 Entering (10,1,0,11,200,1)\r\n",
            "227 Entering (10,1,0,11,200)\r\n",
            "227 Entering (10,1,0,11,200,256)\r\n",
            "227 Entering (10,1,0,11,200,1",
            "227 (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)\r\n",
            "229 ok |||51300|\r\n",
            "229 ok (||51300|)\r\n",
            "229 ok (|||65536|)\r\n",
            "229 ok (|||51300\r\n",
        ] {
            assert_eq!(all(text), [], "{text}");
        }
    }
}
