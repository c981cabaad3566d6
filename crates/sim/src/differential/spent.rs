//! Where the seconds go: a guest's processes are slow, its packets are not.

use std::{fmt, time::Duration};

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything dropped: modules out and in again.
    Fresh,
    /// All that is configured before the first frame.
    SettingUp,
    /// Commands after that.
    Command,
    /// Settings.
    Setting,
    /// Frames.
    Frame,
    /// Looks at connections and counts.
    Look,
    /// Looks by ipvsadm.
    List,
    /// Waiting.
    Sleep,
    /// The engine's side of it.
    Engine,
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Fresh, "everything dropped"),
    (Kind::SettingUp, "set up"),
    (Kind::Command, "commands"),
    (Kind::Setting, "settings"),
    (Kind::Frame, "frames"),
    (Kind::Look, "connections, counts"),
    (Kind::List, "listings"),
    (Kind::Sleep, "waiting"),
    (Kind::Engine, "the engine"),
];

/// Seconds by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent([(u64, Duration); KINDS.len()]);

impl Spent {
    /// So many of a kind took so long.
    pub fn add(&mut self, kind: Kind, number: u64, time: Duration) {
        if let Some((count, sum)) = self.0.get_mut(kind as usize) {
            *count += number;
            *sum += time;
        }
    }
}

impl fmt::Display for Spent {
    /// One kind a line: name, number, seconds, milliseconds each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((_, name), (count, time)) in KINDS.iter().zip(&self.0) {
            if *count > 0 {
                let seconds = time.as_secs_f64();
                let each = seconds * 1000.0 / f64::from(u32::try_from(*count).unwrap_or(u32::MAX));
                writeln!(
                    f,
                    "  {name:<20} {count:>8}  {seconds:>8.1} s  {each:>8.2} ms each"
                )?;
            }
        }
        Ok(())
    }
}
