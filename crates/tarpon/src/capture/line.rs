//! A frame in one line.

use api::{CapturedFrame, Direction, filter::Headers};

pub fn line(frame: &CapturedFrame) -> String {
    let headers = Headers::read(&frame.data.0, frame.original_len as usize);
    let way = match frame.direction {
        Direction::Rx => "rx",
        Direction::Tx => "tx",
    };
    format!(
        "{} {way} {} {} {} bytes",
        time(frame.timestamp_ns),
        frame.port,
        headers,
        frame.original_len
    )
}

/// The time of day in UTC, to the microsecond.
pub fn time(timestamp_ns: u64) -> String {
    let micros = timestamp_ns / 1000;
    let s = micros / 1_000_000;
    format!(
        "{:02}:{:02}:{:02}.{:06}",
        s / 3600 % 24,
        s / 60 % 60,
        s % 60,
        micros % 1_000_000
    )
}
