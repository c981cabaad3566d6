//! One BFD session in asynchronous mode (RFC 5880 section 6.8), on its caller's clock and without I/O.

use super::packet::{Diagnostic, Packet, State};
use std::time::Duration;

/// How often at most is sent while a session is not up (section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// What a session is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often it would like to send.
    pub min_tx: Duration,
    /// How often it can hear.
    pub min_rx: Duration,
    /// So many packets lost in a row, and it is down.
    pub multiplier: u8,
    /// Says nothing before it is spoken to.
    pub passive: bool,
}

impl Default for Settings {
    /// As of FRR's bfdd.
    fn default() -> Self {
        Self {
            min_tx: Duration::from_millis(300),
            min_rx: Duration::from_millis(300),
            multiplier: 3,
            passive: false,
        }
    }
}

/// A session with one neighbour.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    /// As the neighbour has confirmed them.
    agreed: Settings,
    /// Our number of it, not 0.
    mine: u32,
    state: State,
    diagnostic: Diagnostic,
    /// The other end's number of it; 0: not known.
    theirs: u32,
    their_state: State,
    their_diagnostic: Diagnostic,
    their_min_rx: Duration,
    their_min_tx: Duration,
    their_multiplier: u8,
    their_demand: bool,
    /// A change of intervals has not been confirmed yet.
    polling: bool,
    /// When the last packet that counted came.
    heard: Option<Duration>,
    /// For how long nothing had been heard when that was found out last.
    silence: Option<Duration>,
    /// When to send next.
    next: Duration,
}

impl Session {
    /// A session that begins to be sent at `now`. `mine` is its number, unlike every other's here and not 0.
    #[must_use]
    pub fn new(settings: Settings, mine: u32, now: Duration) -> Self {
        Self {
            settings,
            agreed: settings,
            mine: mine.max(1),
            state: State::Down,
            diagnostic: Diagnostic::None,
            theirs: 0,
            their_state: State::Down,
            their_diagnostic: Diagnostic::None,
            // Section 6.8.1: until something is heard.
            their_min_rx: Duration::from_micros(1),
            their_min_tx: Duration::ZERO,
            their_multiplier: 0,
            their_demand: false,
            polling: false,
            heard: None,
            silence: None,
            next: now,
        }
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why it was down last.
    #[must_use]
    pub const fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// The neighbour's state, as it said last.
    #[must_use]
    pub const fn neighbours_state(&self) -> State {
        self.their_state
    }

    /// Why the neighbour was down last, as it says.
    #[must_use]
    pub const fn neighbours_diagnostic(&self) -> Diagnostic {
        self.their_diagnostic
    }

    /// Whether anything was heard of the neighbour within the detection time.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// For how long nothing had been heard when that was found out last.
    #[must_use]
    pub const fn silence(&self) -> Option<Duration> {
        self.silence
    }

    /// Other settings from now on; while it is up, those that the neighbour must know of first when it has confirmed them
    /// (section 6.8.3).
    pub fn set(&mut self, now: Duration, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        if self.state == State::Up {
            self.polling = true;
        } else {
            self.agreed = settings;
        }
        self.next = self.next.min(now + self.interval());
    }

    /// Takes a packet that is for this session; the answer, if it wants one at once.
    pub fn receive(&mut self, now: Duration, packet: &Packet) -> Option<Packet> {
        // Who asks for a number of ours must have it right.
        if packet.yours != 0 && packet.yours != self.mine {
            return None;
        }
        self.theirs = packet.mine;
        self.their_state = packet.state;
        self.their_diagnostic = packet.diagnostic;
        self.their_demand = packet.demand;
        let us = |us: u32| Duration::from_micros(us.into());
        let faster = us(packet.required_rx_us) < self.their_min_rx;
        self.their_min_rx = us(packet.required_rx_us);
        self.their_min_tx = us(packet.desired_tx_us);
        self.their_multiplier = packet.multiplier;
        if packet.last {
            self.polling = false;
            self.agreed = self.settings;
        }
        self.heard = Some(now);
        let before = self.state;
        match (self.state, packet.state) {
            (State::AdminDown, _) => return None,
            (State::Down, State::AdminDown) => {}
            (_, State::AdminDown) | (State::Up, State::Down) => {
                self.down(Diagnostic::NeighbourDown)
            }
            (State::Down, State::Down) => self.state = State::Init,
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.state = State::Up;
                // The interval is another from now on, and that is to be confirmed (section 6.8.3).
                self.polling = true;
            }
            _ => {}
        }
        if before != self.state || faster {
            // Not later than it would have been by the interval as it is now.
            let soon = if before == self.state {
                self.interval()
            } else {
                Duration::ZERO
            };
            self.next = self.next.min(now + soon);
        }
        packet.poll.then(|| self.packet(true))
    }

    /// What is to be sent now, if anything is due; `chance`, from 0 to 255, spreads packets (section 6.8.7).
    pub fn poll(&mut self, now: Duration, chance: u8) -> Option<Packet> {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            if matches!(self.state, State::Init | State::Up) {
                self.down(Diagnostic::Expired);
            }
            self.theirs = 0;
            self.heard = None;
            self.silence = Some(self.detection_time());
            self.next = self.next.min(now);
        }
        if now < self.next {
            return None;
        }
        self.next = now + self.jittered(chance);
        // Nobody is sent to who does not want it (section 6.8.7).
        let wanted = !self.their_min_rx.is_zero() && (self.theirs != 0 || !self.settings.passive);
        let quiet = self.their_demand
            && self.state == State::Up
            && self.their_state == State::Up
            && !self.polling;
        (wanted && !quiet).then(|| self.packet(false))
    }

    /// When [`Self::poll`] is to be called next.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.deadline()
            .map_or(self.next, |deadline| deadline.min(self.next))
    }

    /// The session is held down from now on.
    pub fn stop(&mut self, now: Duration) {
        self.state = State::AdminDown;
        self.diagnostic = Diagnostic::AdministrativelyDown;
        self.next = now;
    }

    fn down(&mut self, why: Diagnostic) {
        self.state = State::Down;
        self.diagnostic = why;
        self.polling = false;
        self.agreed = self.settings;
    }

    /// When the other end is given up.
    fn deadline(&self) -> Option<Duration> {
        Some(self.heard? + self.detection_time())
    }

    /// As many intervals as the other end said (section 6.8.4).
    fn detection_time(&self) -> Duration {
        let min_rx = self.settings.min_rx.max(self.agreed.min_rx);
        min_rx.max(self.their_min_tx) * self.their_multiplier.into()
    }

    fn desired_tx(&self) -> Duration {
        match self.state {
            State::Up => self.settings.min_tx,
            _ => self.settings.min_tx.max(SLOW),
        }
    }

    fn interval(&self) -> Duration {
        let min_tx = match self.state {
            State::Up => self.settings.min_tx.min(self.agreed.min_tx),
            _ => self.desired_tx(),
        };
        min_tx.max(self.their_min_rx)
    }

    /// Three quarters of the interval to all of it; with a multiplier of 1 nine tenths at most.
    fn jittered(&self, chance: u8) -> Duration {
        let range = if self.settings.multiplier == 1 {
            150
        } else {
            250
        };
        self.interval() * (750 + u32::from(chance) * range / 255) / 1000
    }

    fn packet(&self, last: bool) -> Packet {
        let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling && !last,
            last,
            demand: false,
            multiplier: self.settings.multiplier,
            mine: self.mine,
            yours: self.theirs,
            desired_tx_us: us(self.desired_tx()),
            required_rx_us: us(self.settings.min_rx),
            required_echo_us: 0,
        }
    }
}
