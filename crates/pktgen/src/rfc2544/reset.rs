//! Reset (RFC 2544 26.6): how long a device forwards nothing when it is reset, by a command or by hand, from the last frame before it to
//! the first behind it.

use super::{Bench, Course, recovery::time};
use crate::{counts::Totals, rate::Rate, report::si};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::{
    cell::RefCell,
    fmt,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Seconds of frames before the command is run.
const BEFORE_S: f64 = 1.0;
/// Seconds without a frame that are a reset and no hiccup of the machine's, for whoever waits for the end of one.
const SILENT_S: f64 = 0.25;
/// Seconds it goes on when frames come again.
const BEHIND_S: f64 = 2.0;
/// Seconds after the command in which the device may fall silent.
const IN_VAIN_S: f64 = 10.0;
/// Seconds between two looks.
const LOOK_S: f64 = 0.05;

/// A device that was reset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reset {
    /// Frames a second meanwhile.
    pub reset_pps: f64,
    /// Frames lost.
    pub reset_lost: u64,
    /// Seconds from the last frame before it to the first behind it. None: nothing has come since.
    pub reset_seconds: Option<f64>,
    /// Seconds nothing had come when it was over; 0 if something had.
    pub silent_at_the_end: f64,
}

/// What goes on, as whoever watches sees it now and then.
#[derive(Debug, Default)]
struct Watch {
    received: u64,
    /// When that last changed.
    changed_s: f64,
    is_silent: bool,
    back_s: Option<f64>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq)]
enum News {
    Silent,
    /// After so many seconds.
    Back(f64),
}

impl Watch {
    /// So many have come by now.
    fn tell(&mut self, now_s: f64, received: u64) -> Option<News> {
        let silent_s = now_s - self.changed_s;
        if received > self.received {
            let was_silent = std::mem::take(&mut self.is_silent);
            (self.received, self.changed_s) = (received, now_s);
            if was_silent {
                self.back_s = Some(now_s);
                return Some(News::Back(silent_s));
            }
        } else if self.received > 0 && !self.is_silent && silent_s >= SILENT_S {
            (self.is_silent, self.back_s) = (true, None);
            return Some(News::Silent);
        }
        None
    }

    /// Whether there is nothing more to be seen; the command ended then, if it has.
    fn is_over(&self, now_s: f64, command_ended_s: Option<f64>) -> bool {
        let since = |at: Option<f64>, wait_s| at.is_some_and(|at| now_s - at >= wait_s);
        let in_vain = self.back_s.is_none() && !self.is_silent;
        since(self.back_s, BEHIND_S) || (in_vain && since(command_ended_s, IN_VAIN_S))
    }
}

/// The command that resets the device.
struct Running<'c> {
    command: &'c str,
    child: Option<Child>,
    ended_s: Option<f64>,
    failed: Option<anyhow::Error>,
}

impl Running<'_> {
    /// Starts it in time; looks whether it has ended. False: it has failed.
    fn go_on(&mut self, now_s: f64) -> bool {
        if self.ended_s.is_none() && now_s >= BEFORE_S {
            let went = self.start_or_look();
            match went.with_context(|| format!("--reset-command `{}`", self.command)) {
                Ok(true) => self.ended_s = Some(now_s),
                Ok(false) => {}
                Err(error) => self.failed = Some(error),
            }
        }
        self.failed.is_none()
    }

    /// Whether it has ended, well.
    fn start_or_look(&mut self) -> Result<bool> {
        let Some(child) = &mut self.child else {
            let mut shell = Command::new("sh");
            shell.args(["-c", self.command]);
            self.child = Some(shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
            return Ok(false);
        };
        let Some(status) = child.try_wait()? else {
            return Ok(false);
        };
        ensure!(status.success(), "it ended with {status}");
        Ok(true)
    }
}

impl Drop for Running<'_> {
    /// One that hangs, because the machine it is about has gone, is of no more use.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Bench<'_> {
    /// Frames at that rate, until the device has been reset and forwards again.
    pub(super) fn reset(&mut self, size: u16, pps: f64) -> Result<Reset> {
        let (args, stop) = (self.args, self.stop);
        let over = AtomicBool::new(false);
        let watch = RefCell::new(Watch::default());
        let command = args.reset_command.as_deref();
        let running = RefCell::new(command.map(|command| Running {
            command,
            child: None,
            ended_s: None,
            failed: None,
        }));
        if !args.quiet {
            let who = match command {
                Some(_) => "the device is reset by --reset-command",
                None => "reset the device now",
            };
            eprintln!(
                "  size {size}: {}/s sent; {who}, within {:.0} s",
                si(pps),
                args.reset_wait
            );
        }
        let told = |now_s: f64, totals: &Totals| {
            let mut running = running.borrow_mut();
            let goes = running.as_mut().is_none_or(|r| r.go_on(now_s));
            let ended_s = running.as_ref().and_then(|r| r.ended_s);
            let watch = &mut *watch.borrow_mut();
            if let Some(news) = watch.tell(now_s, totals.received)
                && !args.quiet
            {
                match news {
                    News::Silent => eprintln!("  {now_s:6.1} s  nothing comes any more"),
                    News::Back(after) => {
                        eprintln!("  {now_s:6.1} s  frames come again, after {after:.1} s");
                    }
                }
            }
            if !goes || watch.is_over(now_s, ended_s) || stop.load(Relaxed) {
                over.store(true, Relaxed);
            }
        };
        let report = self.go(&Course {
            seconds: Some(args.reset_wait),
            follow: true,
            stop: Some(&over),
            told: Some((LOOK_S, &told)),
            ..Course::at(Rate::Packets(pps))
        })?;
        if let Some(failed) = running.borrow_mut().as_mut().and_then(|r| r.failed.take()) {
            return Err(failed);
        }
        let followed = report.followed.as_ref().context("one stream is followed")?;
        #[expect(clippy::cast_precision_loss, reason = "clocks of a run")]
        let seconds = |clocks: u64| clocks as f64 / followed.hz;
        let silence = followed.gaps.silence();
        let came = followed.gaps.came().unwrap_or(followed.start);
        // The last frames are waited for.
        let at_the_end = seconds(followed.end.saturating_sub(came)) - args.drain;
        let is_back = at_the_end < SILENT_S;
        let measured = report.measured.as_ref();
        Ok(Reset {
            reset_pps: report.sent.pps,
            reset_lost: measured.map_or(report.sent.packets, |m| m.lost),
            reset_seconds: is_back.then(|| seconds(silence.to - silence.from)),
            silent_at_the_end: if is_back { 0.0 } else { at_the_end },
        })
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pps, lost) = (si(self.reset_pps), self.reset_lost);
        match self.reset_seconds {
            None => write!(
                f,
                "reset: at {pps}/s nothing has come for the last {:.1} s: the device is not back, lost {lost}",
                self.silent_at_the_end
            ),
            Some(_) if lost == 0 => {
                write!(
                    f,
                    "reset: at {pps}/s nothing was lost: it was not interrupted"
                )
            }
            Some(seconds) => write!(
                f,
                "reset: at {pps}/s {} from the last frame before it to the first behind it, lost {lost}",
                time(seconds)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of frames that come at 1000 a second but between these times, and when it is over.
    #[expect(clippy::cast_possible_truncation, reason = "virtual clocks")]
    fn watched(silent: (f64, f64), ended_s: Option<f64>) -> (Vec<(f64, News)>, Option<f64>) {
        let (mut watch, mut news, mut received) = (Watch::default(), Vec::new(), 0.0);
        for look in 0..1200 {
            let now = f64::from(look) * LOOK_S;
            if !(silent.0..silent.1).contains(&now) {
                received += 1000.0 * LOOK_S;
            }
            news.extend(watch.tell(now, received as u64).map(|news| (now, news)));
            if watch.is_over(now, ended_s.filter(|ended| *ended <= now)) {
                return (news, Some(now));
            }
        }
        (news, None)
    }

    #[test]
    fn it_goes_on_until_frames_have_come_again_for_a_while() {
        let (news, over) = watched((5.0, 15.0), None);
        let [(silent, News::Silent), (back, News::Back(after))] = news[..] else {
            panic!("{news:?}");
        };
        assert!((5.2..5.4).contains(&silent) && (15.0..15.1).contains(&back));
        assert!((9.9..10.2).contains(&after), "{after}");
        assert!(
            over.is_some_and(|over| (17.0..17.2).contains(&over)),
            "{over:?}"
        );
    }

    #[test]
    fn nobody_waits_for_a_reset_that_interrupts_nothing() {
        let (news, over) = watched((5.0, 5.1), Some(2.0));
        assert!(news.is_empty(), "{news:?}");
        assert!(
            over.is_some_and(|over| (12.0..12.1).contains(&over)),
            "{over:?}"
        );
        // Somebody's hand may take longer.
        assert_eq!(watched((5.0, 5.1), None).1, None);
        // The command has ended long before the device is back.
        let over = watched((5.0, 30.0), Some(4.0)).1;
        assert!(over.is_some_and(|over| over > 31.9), "{over:?}");
    }

    #[test]
    fn a_device_that_does_not_come_back_ends_nothing() {
        let (news, over) = watched((5.0, 1e9), Some(6.0));
        assert!(matches!(news[..], [(_, News::Silent)]) && over.is_none());
    }
}
