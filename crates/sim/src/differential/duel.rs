//! Both sides, taking the same actions.

use super::{Action, Oracle, OracleError, craft};
use crate::{
    golden::{Looked, Op, Player, Recording, Step},
    mutation::Dice,
};
use std::time::Instant;

/// Seconds before a look that differed is taken again.
const LOOKS_AGAIN: [f64; 3] = [0.5, 2.0, 4.0];

/// A director against the oracle.
pub struct Duel<'a> {
    oracle: &'a mut Oracle,
    player: Player,
    started: Instant,
    dice: Dice,
    steps: Vec<Step>,
    /// Added to the identifications of packets.
    shift: u16,
}

/// What an action showed.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the oracle did and what the engine did, where that differs.
    pub difference: Option<(String, String)>,
    /// What the oracle did.
    pub op: Op,
}

impl<'a> Duel<'a> {
    /// Begins anew on both sides. Of `workers` the dice say who meets a frame.
    ///
    /// # Errors
    /// When the oracle does not answer.
    pub fn begin(oracle: &'a mut Oracle, workers: u16, seed: u64) -> Result<Self, OracleError> {
        let player = Player::new(oracle.topology().clone(), workers);
        // Ids of one scenario are less than 257 apart.
        let shift = oracle.next_duel().wrapping_mul(257);
        let mut duel = Self {
            oracle,
            player,
            started: Instant::now(),
            dice: Dice::new(seed),
            steps: Vec::new(),
            shift,
        };
        duel.act(&Action::Fresh)?;
        Ok(duel)
    }

    /// Takes an action on both sides. A look that differs is taken again a little later: Linux's timers end a connection up to
    /// an eighth of its time late, and the oracle's clock and this one are not one.
    ///
    /// # Errors
    /// When the oracle does not answer.
    ///
    /// # Panics
    /// When the engine loses or invents a frame.
    pub fn act(&mut self, action: &Action) -> Result<Found, OracleError> {
        let mut found = self.once(action)?;
        for wait_s in LOOKS_AGAIN {
            if found.difference.is_none() || !action.is_look() {
                break;
            }
            self.steps.pop();
            self.once(&Action::Sleep(wait_s))?;
            found = self.once(action)?;
        }
        Ok(found)
    }

    fn once(&mut self, action: &Action) -> Result<Found, OracleError> {
        let op = match action {
            Action::Frame(side, bytes) => {
                let bytes = craft::renumbered(bytes, self.shift);
                Action::Frame(side, bytes).perform(self.oracle)?
            }
            other => other.perform(self.oracle)?,
        };
        let step = Step {
            t: self.started.elapsed().as_secs_f64(),
            note: None,
            op,
        };
        let dice = &mut self.dice;
        let played = self.player.play(&step, &mut || dice.below(64));
        let difference = match played {
            Ok(Looked::Different(expected, found)) => Some((expected, found)),
            Ok(Looked::Nothing | Looked::Same) => None,
            Err(unsupported) => Some(("carried out".to_owned(), unsupported.why)),
        };
        let op = step.op.clone();
        self.steps.push(step);
        Ok(Found { difference, op })
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
