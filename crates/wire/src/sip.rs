//! The Call-ID of a SIP message, by which the persistence engine `sip` goes.
//!
//! What counts as one is what Linux 6.1 takes for one (`ip_vs_pe_sip` over `nf_conntrack_sip`), as recorded of it: a director that takes
//! over must find the templates that another has made. So some of this is not RFC 3261: a line may end in CR or LF alone, the message's
//! body is searched as well as its header, and its first line never.

/// The longest there is (`IP_VS_PEDATA_MAXLEN`); longer ones count as none.
pub const MAX_CALL_ID: usize = 255;

const NAME: &[u8] = b"call-id";
const COMPACT: u8 = b'i';

/// The Call-ID of the message in a datagram. Each byte is looked at a bounded number of times.
#[must_use]
pub fn call_id(message: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    loop {
        let at = value(message, from)?;
        let rest = message.get(at..)?;
        let len = id_len(rest);
        if len > 0 {
            // A line end must follow, as in every header line; a message that was cut off has none.
            let ends = matches!(rest.get(len), Some(b'\r' | b'\n'));
            return rest.get(..len).filter(|id| ends && id.len() <= MAX_CALL_ID);
        }
        // A Call-ID that says nothing is passed over, and with it, as Linux counts here, as much again as stood before the search
        // began.
        from += at;
    }
}

/// Where the value of the first Call-ID header behind `from` starts.
fn value(message: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += message.get(at..)?.iter().position(|b| is_end(*b))?;
        at = line_behind(message, at)?;
        let line = message.get(at..)?;
        if let Some(name) = name_len(line) {
            let colon = behind_blanks(message, at + name)?;
            let value = colon + 1;
            let stands = message.get(colon) == Some(&b':') && value < message.len();
            return if stands {
                behind_blanks(message, value)
            } else {
                None
            };
        }
        // The byte a line begins with is not looked at again: of two line feeds in a row the second ends nothing.
        at += 1;
    }
}

/// Where the next line starts, `at` being where one ends; `None` at the message's end.
fn line_behind(message: &[u8], at: usize) -> Option<usize> {
    let len = match message.get(at..)? {
        [b'\r', b'\n', ..] => 2,
        _ => 1,
    };
    (at + len < message.len()).then_some(at + len)
}

/// Bytes of the header's name, if it is the Call-ID's: in full, or compact and no letter behind it.
fn name_len(line: &[u8]) -> Option<usize> {
    let full = line.get(..NAME.len());
    if full.is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
        return Some(NAME.len());
    }
    match line {
        [first, second, ..] if first.eq_ignore_ascii_case(&COMPACT) && !is_letter(*second) => {
            Some(1)
        }
        _ => None,
    }
}

/// Where the blanks from `at` on end, over one line end if blanks begin the next line too. `None`: the header ends there.
fn behind_blanks(message: &[u8], at: usize) -> Option<usize> {
    let end = blanks_end(message, at)?;
    if !message.get(end).is_some_and(|b| is_end(*b)) {
        return Some(end);
    }
    let next = line_behind(message, end)?;
    let folded = message.get(next).is_some_and(|b| is_blank(*b));
    if folded {
        blanks_end(message, next)
    } else {
        None
    }
}

fn blanks_end(message: &[u8], at: usize) -> Option<usize> {
    let blanks = message.get(at..)?.iter().take_while(|b| is_blank(**b));
    Some(at + blanks.count())
}

/// Bytes of the word, or of two joined by `@`, at the start; 0: there is none.
fn id_len(value: &[u8]) -> usize {
    let word = word_len(value);
    match value.get(word..) {
        Some([b'@', host @ ..]) if word > 0 => match word_len(host) {
            0 => 0,
            host => word + 1 + host,
        },
        _ => word,
    }
}

fn word_len(text: &[u8]) -> usize {
    text.iter().take_while(|b| is_word(**b)).count()
}

const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Linux's letters are those of Latin-1.
const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0xc0 && byte != 0xd7 && byte != 0xf7
}

/// What RFC 3261 calls a `word`.
const fn is_word(byte: u8) -> bool {
    is_letter(byte)
        || byte.is_ascii_digit()
        || matches!(
            byte,
            b'-' | b'.'
                | b'!'
                | b'%'
                | b'*'
                | b'_'
                | b'+'
                | b'`'
                | b'\''
                | b'~'
                | b'('
                | b')'
                | b'<'
                | b'>'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'{'
                | b'}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> Option<&str> {
        call_id(message.as_bytes()).map(|id| std::str::from_utf8(id).unwrap())
    }

    /// The recordings `pe_sip*` of Linux 6.1 hold these.
    #[test]
    fn call_ids_are_found_where_linux_finds_them() {
        let line = "INVITE sip:bob@example.com SIP/2.0\r\n";
        let of = |rest: &str| found(&format!("{line}{rest}")).map(str::to_owned);
        let named = |id: &str| Some(id.to_owned());
        assert_eq!(
            of("Call-ID: a84b4c76e66710@pc33\r\n"),
            named("a84b4c76e66710@pc33")
        );
        assert_eq!(of("call-id:cccc\r\n"), named("cccc"));
        assert_eq!(of("Via: x\r\ni: cccc\r\n"), named("cccc"));
        assert_eq!(of("I\t:   cccc\r\n"), named("cccc"));
        assert_eq!(
            of("Subject: Call-ID: zzzz\r\nCall-ID: dddd\r\n"),
            named("dddd")
        );
        assert_eq!(of("\r\nCall-ID: body\r\n"), named("body"));
        assert_eq!(of("Call-ID: dd\r\n dd\r\n"), named("dd"));
        assert_eq!(of("Call-ID:\r\n dd\r\n"), named("dd"));
        assert_eq!(found("INVITE x SIP/2.0\nCall-ID: lf\n"), Some("lf"));
        assert_eq!(found("INVITE x SIP/2.0\rCall-ID: cr\r"), Some("cr"));
    }

    #[test]
    fn what_is_no_call_id_to_linux_is_none() {
        for message in [
            "",
            "hello",
            "\r\n",
            "Call-ID: dddd\r\n",
            "INVITE x SIP/2.0\r\nCall-ID: dddd",
            "INVITE x SIP/2.0\r\nCall-ID: dddd \r\n",
            "INVITE x SIP/2.0\r\nCall-ID: \r\nCSeq: 1\r\n",
            "INVITE x SIP/2.0\r\nCall-ID: a@\r\n",
            "INVITE x SIP/2.0\r\nCall-IDs: a\r\n",
            "INVITE x SIP/2.0\r\nis: a\r\n",
            "INVITE x SIP/2.0\r\nVia: x\r\n Call-ID: a\r\n",
            "INVITE x SIP/2.0\r\nCall-ID",
            "INVITE x SIP/2.0\r\nCall-ID:",
            "INVITE x SIP/2.0\r\nCall-ID:  ",
            "INVITE x SIP/2.0\nVia: x\n\nCall-ID: a\n",
        ] {
            assert_eq!(found(message), None, "{message:?}");
        }
    }

    #[test]
    fn the_longest_has_255_bytes() {
        let of = |len: usize| format!("INVITE x SIP/2.0\r\nCall-ID: {}\r\n", "x".repeat(len));
        assert_eq!(found(&of(255)).map(str::len), Some(255));
        assert_eq!(found(&of(256)), None);
    }

    #[test]
    fn an_empty_one_does_not_hide_the_next() {
        let message = "INVITE x SIP/2.0\r\nCall-ID: ;\r\nVia: a long way round\r\nCall-ID: b\r\n";
        assert_eq!(found(message), Some("b"));
    }
}
