//! A question to a name server, and whether the answer will do (RFC 1035).

use std::{fmt, str::FromStr};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(u16, &'static str);

impl Record {
    /// Those that can be asked for, by IANA's numbers; keepalived knows RRSIG and DNSKEY beside those of its manual.
    pub const ALL: &'static [Self] = &[
        Self(1, "A"),
        Self(2, "NS"),
        Self(5, "CNAME"),
        Self(6, "SOA"),
        Self(12, "PTR"),
        Self(15, "MX"),
        Self(16, "TXT"),
        Self(28, "AAAA"),
        Self(33, "SRV"),
        Self(35, "NAPTR"),
        Self(43, "DS"),
        Self(46, "RRSIG"),
        Self(48, "DNSKEY"),
        Self(52, "TLSA"),
        Self(64, "SVCB"),
        Self(65, "HTTPS"),
        Self(255, "ANY"),
        Self(257, "CAA"),
    ];

    /// keepalived's default.
    pub const SOA: Self = Self(6, "SOA");

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.1
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }
}

impl FromStr for Record {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let found = Self::ALL.iter().find(|r| r.1.eq_ignore_ascii_case(text));
        found.copied().ok_or(())
    }
}

/// Whether a text is a name that can be asked for.
#[must_use]
pub fn is_name(name: &str) -> bool {
    encoded(name).is_some()
}

fn encoded(name: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let bare = name.strip_suffix('.').unwrap_or(name);
    for label in bare.split('.').filter(|_| !bare.is_empty()) {
        let length = u8::try_from(label.len()).ok()?;
        if !(1..=63).contains(&length) {
            return None;
        }
        out.push(length);
        out.extend(label.as_bytes());
    }
    out.push(0);
    (out.len() <= 255).then_some(out)
}

/// The question. A name that is none asks for the root.
#[must_use]
pub fn question(id: u16, name: &str, record: Record) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    // Recursion desired; one question, nothing else.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend(encoded(name).unwrap_or_else(|| vec![0]));
    out.extend(record.0.to_be_bytes());
    out.extend([0, 1]);
    out
}

/// Names of the response codes worth a word.
const CODES: [&str; 6] = [
    "no error",
    "format error (FORMERR)",
    "server failure (SERVFAIL)",
    "no such name (NXDOMAIN)",
    "not implemented (NOTIMP)",
    "refused (REFUSED)",
];

/// Judges a datagram. `None`: not the answer to question `id`, wait on.
#[must_use]
pub fn judge(id: u16, answer: &[u8]) -> Option<Result<(), String>> {
    let [high, low, flags, code, _, _, _, _, _, _, _, _, ..] = answer else {
        return None;
    };
    if u16::from_be_bytes([*high, *low]) != id || flags & 0x80 == 0 {
        return None;
    }
    let code = code & 15;
    Some(match code {
        0 => Ok(()),
        n => Err(format!(
            "the name server answers {}",
            CODES
                .get(usize::from(n))
                .copied()
                .map_or_else(|| format!("code {n}"), str::to_owned)
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_rfc_1035s() {
        let question = question(0x1234, "www.example.", "mx".parse().expect("a record"));
        assert_eq!(
            question,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x0f\x00\x01"
        );
        assert_eq!(super::question(1, ".", Record::SOA).len(), 12 + 5);
        assert!(is_name(".") && is_name("a.b") && !is_name("a..b") && !is_name(&"x".repeat(64)));
        assert!(!is_name(&"abc.".repeat(64)));
    }

    #[test]
    fn only_the_answer_to_the_question_is_judged() {
        let answer = |id: u16, flags, code| {
            let mut bytes = id.to_be_bytes().to_vec();
            bytes.extend([flags, code, 0, 1, 0, 0, 0, 0, 0, 0]);
            bytes
        };
        assert_eq!(judge(7, &answer(7, 0x84, 0x80)), Some(Ok(())));
        assert_eq!(judge(7, &answer(8, 0x84, 0)), None);
        assert_eq!(judge(7, &answer(7, 0x04, 0)), None, "a question");
        assert_eq!(judge(7, &[0, 7, 0x80]), None);
        for code in 1..16 {
            assert!(matches!(judge(7, &answer(7, 0x84, code)), Some(Err(_))));
        }
    }
}
