//! What the client says: commands that concern data connections.

use arrayvec::ArrayVec;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

/// The longest line of interest: `EPRT |2|` with an IPv6 address and a port takes 55.
const LINE: usize = 64;

/// A command that concerns data connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `PASV`: the server shall listen, and say where.
    Passive,
    /// `EPSV`, with the network protocol asked for, if any: 1 is IPv4, 2 is IPv6.
    ExtendedPassive(Option<u8>),
    /// `PORT` or `EPRT`: the client listens there.
    Active(SocketAddr),
}

/// A reader of the client's stream.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    line: ArrayVec<u8, LINE>,
    /// The line is longer than any that matters.
    overlong: bool,
}

impl Commands {
    /// The next byte; a command when it ends the line of one.
    pub fn read(&mut self, byte: u8) -> Option<Command> {
        if byte == b'\n' {
            let command = (!self.overlong).then(|| command(&self.line)).flatten();
            *self = Self::default();
            return command;
        }
        // Telnet's interrupt sequences may stand before a command (RFC 959, 4.1.3, ABOR).
        if self.line.is_empty() && !byte.is_ascii_alphabetic() {
            return None;
        }
        self.overlong |= self.line.try_push(byte).is_err();
        None
    }
}

/// The command in a line without its end.
fn command(line: &[u8]) -> Option<Command> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (verb, rest) = line.split_at_checked(4)?;
    let text = || std::str::from_utf8(rest.strip_prefix(b" ")?).ok();
    let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
    if is(b"PASV") && rest.is_empty() {
        return Some(Command::Passive);
    }
    if is(b"EPSV") {
        return match rest {
            [] => Some(Command::ExtendedPassive(None)),
            [b' ', family @ b'1'..=b'2'] => Some(Command::ExtendedPassive(Some(family - b'0'))),
            _ => None,
        };
    }
    if is(b"PORT") {
        return port(text()?.trim_ascii()).map(Command::Active);
    }
    if is(b"EPRT") {
        return extended_port(text()?.trim_ascii()).map(Command::Active);
    }
    None
}

/// `h1,h2,h3,h4,p1,p2`
fn port(text: &str) -> Option<SocketAddr> {
    numbers(text.as_bytes()).map(|(ip, port)| SocketAddr::new(ip.into(), port))
}

/// Six numbers of a byte each, by commas.
pub(super) fn numbers(text: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let mut bytes = [0u8; 6];
    let mut fields = text.split(|byte| *byte == b',');
    for byte in &mut bytes {
        *byte = number(fields.next()?)?;
    }
    let [a, b, c, d, high, low] = bytes;
    let port = u16::from_be_bytes([high, low]);
    (fields.next().is_none() && port != 0).then_some((Ipv4Addr::new(a, b, c, d), port))
}

/// A decimal number without a sign.
pub(super) fn number<N: FromStr>(digits: &[u8]) -> Option<N> {
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok()?;
    all_digits.then(|| text.parse().ok()).flatten()
}

/// `|1|10.1.2.3|6000|`, with any printable character for the bars.
fn extended_port(text: &str) -> Option<SocketAddr> {
    let (&bar, rest) = text.as_bytes().split_first()?;
    if !(33..=126).contains(&bar) {
        return None;
    }
    let mut fields = rest.split(|byte| *byte == bar);
    let (family, ip, port) = (fields.next()?, fields.next()?, fields.next()?);
    let ip: IpAddr = std::str::from_utf8(ip).ok()?.parse().ok()?;
    let port: u16 = number(port)?;
    let right = family == if ip.is_ipv4() { b"1" } else { b"2" };
    // The last bar must be there: without it the port may go on.
    (right && port != 0 && fields.next().is_some()).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Command> {
        let mut commands = Commands::default();
        text.iter().filter_map(|b| commands.read(*b)).collect()
    }

    #[test]
    fn commands_are_found_line_by_line() {
        let active = |text: &str| vec![Command::Active(text.parse().unwrap())];
        assert_eq!(
            all(b"USER PASV\r\npasv\r\nEPSV\r\nEPSV 2\r\n"),
            [
                Command::Passive,
                Command::ExtendedPassive(None),
                Command::ExtendedPassive(Some(2))
            ]
        );
        assert_eq!(
            all(b"PORT 172,16,0,1,23,112\r\n"),
            active("172.16.0.1:6000")
        );
        assert_eq!(all(b"eprt |1|10.2.3.4|1025|\r\n"), active("10.2.3.4:1025"));
        assert_eq!(
            all(b"EPRT !2!2001:db8::7!65535!\r\n"),
            active("[2001:db8::7]:65535")
        );
        assert_eq!(
            all(b"\xff\xf4\xff\xf2PASV\r\n"),
            [Command::Passive],
            "behind a telnet interrupt"
        );
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in [
            "PORT 1,2,3,4,5\r\n",
            "PORT 1,2,3,4,5,6,7\r\n",
            "PORT 1,2,3,4,5,256\r\n",
            "PORT 1,2,3,4,0,0\r\n",
            "PORT 1,2,3,4,+5,6\r\n",
            "PORT\r\n",
            "PASV please\r\n",
            "PASV",
            "EPSV ALL\r\n",
            "EPSV 3\r\n",
            "EPRT |2|10.2.3.4|1025|\r\n",
            "EPRT |1|10.2.3.4|1025\r\n",
            "EPRT |1|10.2.3.4|0|\r\n",
            "EPRT  1 10.2.3.4 1025 \r\n",
        ] {
            assert_eq!(all(text.as_bytes()), [], "{text}");
        }
        let long = [b"PASV".as_slice(), &[b' '; 100], b"\r\n"].concat();
        assert_eq!(all(&long), []);
    }
}
