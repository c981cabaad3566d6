//! Both sides, taking the same actions.

use super::{Action, Oracle, OracleError, action::unhex, craft, left_over::Sent, spent::Kind};
use crate::{
    golden::{Looked, Op, Player, Recording, Step},
    mutation::Dice,
};
use std::{collections::BTreeSet, net::SocketAddr, time::Instant};
use wire::{protocol, tcp::SYN};

/// Seconds before a look that differed is taken again.
const LOOKS_AGAIN: [f64; 3] = [0.5, 2.0, 4.0];

/// Frames the oracle is asked to send at a time.
const FRAMES: usize = 32;

/// Seconds until Linux's clock (of 100 Hz) has ticked for certain: the entry of a connection whose tuple is used anew goes at the next
/// tick. Up to then it is counted, and found if no new one has taken its place, and nobody can say which packets come before the tick.
const TICK: f64 = 0.02;

/// The chunk that begins an association of SCTP.
const INIT: u8 = 1;

/// How far apart the identifications of packets of two duels are: more than fragments of one scenario number.
const APART: u16 = 1021;

/// A director against the oracle.
pub struct Duel<'a> {
    oracle: &'a mut Oracle,
    player: Player,
    started: Instant,
    dice: Dice,
    steps: Vec<Step>,
    /// Who has sent packets of connections to whom.
    met: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Which packets are of this duel.
    sent: Sent,
    /// Added to the identifications of packets.
    shift: u16,
}

/// What actions showed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The number of the first action with a difference: what the oracle did and what the engine did.
    pub difference: Option<(usize, String, String)>,
    /// What the oracle did, one an action (up to the one that differed).
    pub ops: Vec<Op>,
}

/// What the oracle did and what the engine did, where that differs.
type Difference = Option<(String, String)>;

impl<'a> Duel<'a> {
    /// Begins anew on both sides. Of `workers` the dice say who meets a frame.
    ///
    /// # Errors
    /// When the oracle does not answer.
    pub fn begin(oracle: &'a mut Oracle, workers: u16, seed: u64) -> Result<Self, OracleError> {
        let player = Player::new(oracle.topology().clone(), workers);
        let shift = oracle.next_duel().wrapping_mul(APART);
        let mut duel = Self {
            oracle,
            player,
            started: Instant::now(),
            dice: Dice::new(seed),
            steps: Vec::new(),
            met: BTreeSet::new(),
            sent: Sent::default(),
            shift,
        };
        duel.once(&Action::Fresh)?;
        Ok(duel)
    }

    /// Takes actions on both sides, up to the first that shows a difference: commands and settings at the beginning at once, frames in
    /// batches. A look that differs is taken again a little later: Linux's timers end a connection up to an eighth of its time late, and
    /// the oracle's clock and this one are not one.
    ///
    /// # Errors
    /// When the oracle does not answer.
    ///
    /// # Panics
    /// When the engine loses or invents a frame.
    pub fn act(&mut self, actions: &[Action]) -> Result<Found, OracleError> {
        let mut found = Found::default();
        let mut left = actions;
        if self.steps.len() == 1 {
            let configures = |a: &&Action| matches!(a, Action::Command(_) | Action::Setting(..));
            let length = left.iter().take_while(configures).count();
            let (first, rest) = left.split_at(length);
            left = rest;
            self.set_up(first, &mut found)?;
        }
        while found.difference.is_none() {
            let mut again = false;
            let is_frame = |action: &&Action| match action {
                Action::Frame(_, bytes) if !again => {
                    again = self.begins_again(bytes);
                    true
                }
                _ => false,
            };
            let frames = left.iter().take(FRAMES).take_while(is_frame).count();
            let length = frames.max(1).min(left.len());
            let (batch, rest) = left.split_at(length);
            left = rest;
            match batch {
                [] => break,
                [action] => {
                    let (difference, op) = self.patiently(action)?;
                    found.add(difference, op);
                }
                frames => self.frames(frames, &mut found)?,
            }
            if again && found.difference.is_none() {
                self.once(&Action::Sleep(TICK))?;
            }
        }
        Ok(found)
    }

    /// Whether the packet begins a connection whose tuple had a packet before: any may have made an entry.
    fn begins_again(&mut self, frame: &[u8]) -> bool {
        let Some(packet) = frame.get(14..) else {
            return false;
        };
        let Some((number, from, to)) = craft::ends(packet) else {
            return false;
        };
        let at = match packet.first().map(|b| (b >> 4, usize::from(b & 15))) {
            Some((4, words)) => 4 * words,
            _ => 40,
        };
        let byte = |offset: usize| packet.get(at + offset).copied().unwrap_or(0);
        let begins = match number {
            protocol::TCP => byte(13) & SYN != 0,
            protocol::SCTP => byte(12) == INIT,
            _ => false,
        };
        let has_connections = matches!(number, protocol::TCP | protocol::SCTP);
        let met = has_connections && !self.met.insert((from, to));
        begins && met
    }

    /// One process on the oracle's side carries out all of it, if it refuses nothing: there a process takes a tenth of a second.
    fn set_up(&mut self, actions: &[Action], found: &mut Found) -> Result<(), OracleError> {
        if let Some(ops) = Action::perform_all(actions, self.oracle)? {
            for op in ops {
                let t = self.elapsed();
                let (difference, op) = self.play(t, op);
                found.add(difference, op);
                if found.difference.is_some() {
                    break;
                }
            }
            return Ok(());
        }
        // Something was refused: line by line it is told which.
        self.steps.clear();
        self.once(&Action::Fresh)?;
        for action in actions {
            let (difference, op) = self.once(action)?;
            found.add(difference, op);
            if found.difference.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn frames(&mut self, frames: &[Action], found: &mut Found) -> Result<(), OracleError> {
        let renumbered: Vec<Action> = frames.iter().map(|a| self.renumbered(a)).collect();
        let before = self.elapsed();
        let ops = Action::perform_frames(&renumbered, self.oracle)?;
        let took = self.elapsed() - before;
        let each = 1.0 / u32::try_from(ops.len().max(1)).map_or(1.0, f64::from);
        let mut part = 0.0;
        for op in ops {
            part += each;
            let (difference, op) = self.play(part.mul_add(took, before), op);
            found.add(difference, op);
            if found.difference.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn patiently(&mut self, action: &Action) -> Result<(Difference, Op), OracleError> {
        let mut found = self.once(action)?;
        for wait_s in LOOKS_AGAIN {
            if found.0.is_none() || !action.is_look() {
                break;
            }
            self.steps.pop();
            self.once(&Action::Sleep(wait_s))?;
            found = self.once(action)?;
        }
        Ok(found)
    }

    fn once(&mut self, action: &Action) -> Result<(Difference, Op), OracleError> {
        let op = self.renumbered(action).perform(self.oracle)?;
        let t = self.elapsed();
        Ok(self.play(t, op))
    }

    fn renumbered(&self, action: &Action) -> Action {
        match action {
            Action::Frame(side, bytes) => Action::Frame(side, craft::renumbered(bytes, self.shift)),
            other => other.clone(),
        }
    }

    /// The engine does what the oracle did.
    fn play(&mut self, t: f64, mut op: Op) -> (Difference, Op) {
        let begun = Instant::now();
        if let Op::Tx { frame, out, .. } = &mut op {
            self.sent.note(&unhex(frame));
            out.retain(|out| !self.sent.is_left_over(&unhex(&out.frame)));
        }
        let step = Step { t, note: None, op };
        let dice = &mut self.dice;
        let played = self.player.play(&step, &mut || dice.below(64));
        let difference = match played {
            Ok(Looked::Different(expected, found)) => Some((expected, found)),
            Ok(Looked::Nothing | Looked::Same) => None,
            Err(unsupported) => Some(("carried out".to_owned(), unsupported.why)),
        };
        let op = step.op.clone();
        self.steps.push(step);
        self.oracle.spent.add(Kind::Engine, 1, begun.elapsed());
        (difference, op)
    }

    /// Seconds since it began.
    #[must_use]
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// What has happened so far, as a recording of the oracle.
    #[must_use]
    pub fn recording(&self, name: &str) -> Recording {
        Recording {
            name: name.to_owned(),
            title: "a difference found by scripts/differential".to_owned(),
            topology: self.oracle.topology().clone(),
            steps: self.steps.clone(),
            table: serde_json::Value::Null,
            keys4: Vec::new(),
            keys6: Vec::new(),
        }
    }
}

impl Found {
    fn add(&mut self, difference: Difference, op: Op) {
        if let Some((expected, found)) = difference {
            self.difference = Some((self.ops.len(), expected, found));
        }
        self.ops.push(op);
    }
}
