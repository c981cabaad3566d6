//! Moments as people write them, in UTC.

use crate::units;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: u64 = 86_400_000;

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// `2026-11-21 18:22:10.5`, or `18:22:10`: the latest such moment. UTC; milliseconds since 1970.
pub fn parse(option: &str, text: &str, now: u64) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{option} {text:?} is no moment; write one in UTC like \"2026-11-21 18:22:10\", \"18:22:10.250\" or \"18:22\""
        )
    };
    let (date, time) = match text.trim().split_once(['T', ' ']) {
        Some((date, time)) => (Some(date), time),
        None => (None, text.trim()),
    };
    let time = of_day(time.trim_end_matches('Z')).ok_or_else(wrong)?;
    let Some(date) = date else {
        let today = now - now % DAY_MS + time;
        return Ok(if today > now {
            today.saturating_sub(DAY_MS)
        } else {
            today
        });
    };
    let mut parts = date.split('-').map(str::parse::<u64>);
    let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let at = days(year, month, day).ok_or_else(wrong)? * DAY_MS + time;
    // A day there is not (30 February) comes back as another.
    if units::timestamp(at).starts_with(&format!("{year:04}-{month:02}-{day:02}")) {
        Ok(at)
    } else {
        Err(wrong())
    }
}

/// Milliseconds of the day in `18:22`, `18:22:10` or `18:22:10.250`.
fn of_day(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let whole = |text: &str, below: u64| text.parse::<u64>().ok().filter(|n| *n < below);
    let hour = whole(parts.next()?, 24)?;
    let minute = whole(parts.next()?, 60)?;
    let (second, ms) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (second, part) = text.split_once('.').unwrap_or((text, "0"));
            if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (
                whole(second, 60)?,
                format!("{part:0<3}").parse::<u64>().ok()?,
            )
        }
    };
    let done = parts.next().is_none();
    done.then_some(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

/// Days from 1970 to that one; years from March on, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let all = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    all.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_285_330_500; // 2026-11-21 18:22:10.500

    #[test]
    fn moments() {
        for (text, shown) in [
            ("2026-11-21 18:22:10", "2026-11-21 18:22:10.000"),
            ("2026-11-21T18:22:10.25Z", "2026-11-21 18:22:10.250"),
            ("2024-02-29 00:00", "2024-02-29 00:00:00.000"),
            ("18:22:10.5", "2026-11-21 18:22:10.500"),
            ("18:22:11", "2026-11-20 18:22:11.000"),
            ("1970-01-01 00:00", "1970-01-01 00:00:00.000"),
        ] {
            let at = parse("--at", text, NOW).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(units::timestamp(at), shown, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-02-29 00:00",
            "2026-13-01 00:00",
            "24:00",
            "18:60",
            "18:22:10.",
            "18",
            "18:22:10:1",
            "-1:00",
            "2026-11-21",
            "1969-12-31 00:00",
            "99999999999999999999-01-01 00:00",
        ] {
            assert!(parse("--at", text, NOW).is_err(), "{text}");
        }
    }
}
