//! Values behind words.

use crate::{note::Notes, tree::Statement};
use std::{net::IpAddr, str::FromStr, time::Duration};

/// The value behind a word, or a note that it is none.
pub(crate) fn parsed<T: FromStr>(
    statement: &Statement,
    what: &str,
    notes: &mut Notes,
) -> Option<T> {
    let text = statement.argument(0).unwrap_or_default();
    let value = text.parse().ok();
    if value.is_none() {
        notes.wrong(statement, format!("{text:?} is not {what}"));
    }
    value
}

/// A TIMER: seconds, perhaps with a fraction.
pub(crate) fn timer(statement: &Statement, notes: &mut Notes) -> Option<Duration> {
    let seconds: f64 = parsed(statement, "a number of seconds", notes)?;
    let duration = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| *d <= Duration::from_secs(3600 * 24));
    if duration.is_none() {
        notes.wrong(statement, format!("{seconds} is no time to wait"));
    }
    // To the millisecond, as everywhere here.
    duration.map(|d| {
        Duration::from_millis(u64::try_from(d.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
    })
}

/// A TIMER that is not 0, of which keepalived says so and takes its default.
pub(crate) fn lasting(statement: &Statement, notes: &mut Notes) -> Option<Duration> {
    let duration = timer(statement, notes)?;
    if duration.is_zero() {
        let text = "0 is no time here, there neither, and the default counts: write seconds above 0, as 0.5";
        notes.wrong(statement, text);
        return None;
    }
    Some(duration)
}

/// Says that a value is none, and what to write instead.
pub(crate) fn refused(statement: &Statement, notes: &mut Notes) {
    let instead = match statement.keyword() {
        "path" => "the page's path, from `/` on",
        "digest" => "32 hexadecimal digits: the MD5 of the page's body, as `genhash` prints it",
        "status_code" => "statuses from 100 to 599, or ranges of them: 200-299",
        "type" => "a type of record: A, NS, CNAME, SOA, MX, TXT, AAAA, RRSIG, DNSKEY",
        "name" => "a domain name",
        "misc_path" => {
            "the whole path of a program, from `/` on, with its arguments in the same quotes"
        }
        "payload" => "hexadecimal digits, two a byte",
        "require_reply" => "hexadecimal digits, two a byte, X for any",
        "track_file" => "the name of a `track_file` block",
        "multiplier" => "a number from 1 to 255",
        _ => "a value, as keepalived.conf(5) says",
    };
    let text = match statement.argument(0) {
        Some(value) => format!("{value:?} will not do: write {instead}"),
        None => format!("nothing stands behind it: write {instead}"),
    };
    notes.wrong(statement, text);
}

/// Says what of an address and a port is none; `write` is what should stand there.
pub(crate) fn refuse_endpoint(
    (address, ip): (Option<&str>, Option<IpAddr>),
    (second, port): (Option<&str>, Option<u16>),
    statement: &Statement,
    write: &str,
    notes: &mut Notes,
) {
    let what = match (address, second) {
        (None, _) => "nothing stands behind it".to_owned(),
        (Some(address), _) if ip.is_none() => format!("{address:?} is no address"),
        (_, Some(second)) if port.is_none() => {
            format!("{second:?} is no port from 0 to 65535")
        }
        _ => return,
    };
    notes.wrong(statement, format!("{what}: write {write}"));
}

/// A BOOL; alone, the word means yes.
pub(crate) fn flag(statement: &Statement, notes: &mut Notes) -> Option<bool> {
    let text = statement.argument(0).unwrap_or("true");
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => {
            notes.wrong(statement, format!("{text:?} is neither on nor off"));
            None
        }
    }
}

/// A program with its arguments: quoted as one word, or several. Single quotes hold an argument together.
pub(crate) fn command(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut any = false;
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            c => {
                any = true;
                word.push(c);
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// HEX_STR: pairs of digits, of which a single one between spaces is a byte too.
pub(crate) fn hex(words: &[String]) -> Option<Vec<(u8, u8)>> {
    let mut text = String::new();
    for word in words.iter().flat_map(|word| word.split_whitespace()) {
        if word.len() % 2 == 1 {
            // The last digit stands alone.
            let (pairs, single) = word.split_at_checked(word.len() - 1)?;
            text += pairs;
            text += "0";
            text += single;
        } else {
            text += word;
        }
    }
    text.parse::<health::reply::Hex>().ok().map(|hex| hex.0)
}

#[cfg(test)]
mod tests {
    use super::{command, hex};

    #[test]
    fn commands_are_split_as_a_shell_would() {
        assert_eq!(command(" /bin/a b  'c d' ''x"), ["/bin/a", "b", "c d", "x"]);
        assert_eq!(command("/bin/a"), ["/bin/a"]);
        assert!(command("  ").is_empty());
    }

    #[test]
    fn hex_is_as_free_as_the_manual_page_says() {
        let words: Vec<String> = ["Ab12f", "3", "456", "546443123"]
            .map(str::to_owned)
            .to_vec();
        let bytes: Option<Vec<u8>> =
            hex(&words).map(|b| b.iter().map(|(value, _)| *value).collect());
        assert_eq!(
            bytes,
            Some(vec![
                0xab, 0x12, 0x0f, 0x03, 0x45, 0x06, 0x54, 0x64, 0x43, 0x12, 0x03
            ])
        );
        assert_eq!(hex(&["zz".into()]), None);
    }
}
