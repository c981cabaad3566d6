//! What is looked at while directors take over from each other: probes of a client's, and advertisements on the wire.

use crate::{
    lab::{Lab, SERVERS, raw::Raw},
    takeover::VIP,
};
use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    net::UdpSocket,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

/// The port of the virtual service, and of the real servers, that answers datagrams.
pub const ECHO: u16 = 7;
/// Between two probes.
const PACE: Duration = Duration::from_micros(500);

/// A datagram to the virtual address.
struct Probe {
    sent: Instant,
    answered: bool,
}

/// Datagrams from the client through the virtual address to real servers and back, one every half millisecond.
pub struct Probes {
    socket: UdpSocket,
    sent: Mutex<Vec<Probe>>,
}

/// What probes found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    /// From the last answered probe before the longest silence to the first after it, by when they were sent; nothing if all were answered.
    pub longest: Duration,
    /// Probes nobody answered.
    pub lost: usize,
}

impl Probes {
    /// From the client of `lab`.
    pub fn new(lab: &Lab) -> Result<Self> {
        let socket = lab.inside("client", || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((VIP, ECHO))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        Ok(Self {
            socket,
            sent: Mutex::default(),
        })
    }

    /// Sends and receives until `stop`.
    pub fn run(&self, stop: &AtomicBool) {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            {
                let mut all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
                let number = all.len() as u64;
                let sent = Instant::now();
                // One that cannot be sent is one that is not answered.
                let _ = self.socket.send(&number.to_be_bytes());
                all.push(Probe {
                    sent,
                    answered: false,
                });
                let mut bytes = [0; 8];
                while self.socket.recv(&mut bytes).is_ok() {
                    let number = usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX);
                    if let Some(probe) = all.get_mut(number) {
                        probe.answered = true;
                    }
                }
            }
            // Who was kept from the processor does not make up for it: two probes at once say no more than one.
            next = (next + PACE).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits until a probe sent from `from` on has been answered, `patience` at most. Whether one was.
    pub fn await_answer(&self, from: Instant, patience: Duration) -> bool {
        while Instant::now() < from + patience {
            let all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            let after = all.iter().rev().take_while(|p| p.sent >= from);
            if after.into_iter().any(|p| p.answered) {
                return true;
            }
            drop(all);
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// The longest silence among the probes sent between the two moments.
    pub fn gap(&self, from: Instant, to: Instant) -> Gap {
        let all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gap = Gap::default();
        let (mut last, mut silent) = (from, false);
        for probe in all.iter().filter(|p| p.sent >= from && p.sent <= to) {
            if probe.answered {
                if silent {
                    gap.longest = gap.longest.max(probe.sent - last);
                }
                (last, silent) = (probe.sent, false);
            } else {
                (gap.lost, silent) = (gap.lost + 1, true);
            }
        }
        if silent {
            gap.longest = gap.longest.max(to - last);
        }
        gap
    }
}

/// Real servers send back what comes, until `stop`.
pub fn echo<'s>(lab: &Lab, scope: &'s Scope<'s, '_>, stop: &'s AtomicBool) -> Result<()> {
    for (server, address) in SERVERS
        .into_iter()
        .zip(["10.1.0.11", "10.1.0.12", "10.1.0.13"])
    {
        // Not any address: answers have to come from this one, to go back through the director.
        let socket = lab.inside(server, || Ok(UdpSocket::bind((address, ECHO))?))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        scope.spawn(move || {
            let mut bytes = [0; 64];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(bytes.get(..len).unwrap_or_default(), from);
                }
            }
        });
    }
    Ok(())
}

/// Who advertises itself as master on one wire.
#[derive(Default)]
struct Reign {
    now: Option<[u8; 4]>,
    /// When each was heard last, and when the one before this one was.
    heard: BTreeMap<[u8; 4], Instant>,
    since: Option<Instant>,
}

/// Masters on both wires, and moments in which there were two.
pub struct Masters {
    interval: Duration,
    wires: Mutex<BTreeMap<&'static str, Reign>>,
    moments: Mutex<Vec<Instant>>,
}

impl Masters {
    /// Of directors that advertise at this interval.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            wires: Mutex::default(),
            moments: Mutex::default(),
        }
    }

    /// Listens on one switch of `lab` until `stop`.
    pub fn run(&self, lab: &Lab, wire: &'static str, stop: &AtomicBool) -> Result<()> {
        let raw = Raw::open(lab, wire, "br0").context("listening on a switch")?;
        while !stop.load(Ordering::Relaxed) {
            if let Some(frame) = raw.read()?
                && let Some((from, priority)) = advertisement(&frame)
            {
                self.hear(wire, from, priority, Instant::now());
            }
        }
        Ok(())
    }

    /// One advertisement. Two are masters when the one that was before speaks again within three intervals of its last word, though
    /// another has begun: so soon nobody loses and regains the addresses. What crosses the other's first word on the wire does not count.
    pub fn hear(&self, wire: &'static str, from: [u8; 4], priority: u8, now: Instant) {
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        let reign = wires.entry(wire).or_default();
        if priority == 0 {
            reign.heard.remove(&from);
            return;
        }
        let before = reign.heard.insert(from, now);
        if reign.now != Some(from) {
            let crossed = reign
                .since
                .is_some_and(|at| now - at < Duration::from_millis(1));
            if before.is_some_and(|at| now - at < 3 * self.interval) && !crossed {
                self.moments
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(now);
            }
            if !crossed {
                reign.now = Some(from);
                reign.since = Some(now);
            }
        }
    }

    /// Whether anybody was heard, on every wire that is listened on.
    pub fn heard(&self) -> bool {
        let wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        wires.len() == 2 && wires.values().all(|reign| reign.now.is_some())
    }

    /// Such moments between the two.
    pub fn moments(&self, from: Instant, to: Instant) -> usize {
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments
            .iter()
            .filter(|at| **at >= from && **at <= to)
            .count()
    }
}

/// Who sends this VRRP advertisement over IPv4, and its priority.
pub fn advertisement(frame: &[u8]) -> Option<([u8; 4], u8)> {
    let ip = frame.get(14..)?;
    let is_ipv4 = frame.get(12..14)? == [0x08, 0x00];
    if !is_ipv4 || *ip.get(9)? != 112 {
        return None;
    }
    let header = usize::from(ip.first()? & 0xf) * 4;
    let from = ip.get(12..16)?.try_into().ok()?;
    Some((from, *ip.get(header + 2)?))
}

/// What counts as two masters, and what does not.
pub fn two_masters_are_seen() {
    let start = Instant::now();
    let (a, b) = ([198, 51, 100, 2], [198, 51, 100, 3]);
    let moments = |words: &[(u64, [u8; 4], u8)]| {
        let masters = Masters::new(Duration::from_millis(100));
        for &(at_ms, from, priority) in words {
            masters.hear("wan", from, priority, start + Duration::from_millis(at_ms));
        }
        masters.moments(start, start + Duration::from_secs(60))
    };
    assert_eq!(
        moments(&[(0, a, 220), (50, b, 210), (100, a, 220), (150, b, 210)]),
        2
    );
    assert_eq!(
        moments(&[(0, a, 220), (100, b, 210), (150, a, 220), (250, a, 220)]),
        1
    );
    // A death, a planned takeover and one back at once, a word that crosses the other's first.
    assert_eq!(moments(&[(0, a, 220), (320, b, 210), (420, b, 210)]), 0);
    assert_eq!(
        moments(&[
            (0, a, 220),
            (10, a, 0),
            (12, b, 210),
            (30, b, 0),
            (32, a, 220)
        ]),
        0
    );
    assert_eq!(
        moments(&[(0, a, 210), (99, b, 220), (99, a, 210), (199, b, 220)]),
        0
    );
}
