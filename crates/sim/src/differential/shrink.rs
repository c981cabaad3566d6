//! Making a script that shows a difference as short as it can be.

use super::{Action, Duel, Oracle, OracleError};
use crate::golden::Recording;
use std::time::{Duration, Instant};

/// After that no shorter script is tried.
const LONGEST: Duration = Duration::from_secs(90);

/// Trying `runs` shorter scripts at most (each takes the oracle a good part of a second): a script that still ends in a difference of the same kind, with the recording of it; `None`: it did not show again.
///
/// # Errors
/// When the oracle does not answer.
pub fn shrink(
    oracle: &mut Oracle,
    workers: u16,
    seed: u64,
    actions: &[Action],
    runs: usize,
) -> Result<Option<(Vec<Action>, Recording)>, OracleError> {
    let Some(last) = actions.last() else {
        return Ok(None);
    };
    let kind = std::mem::discriminant(last);
    let mut shows = |script: &[Action]| -> Result<Option<(Vec<Action>, Recording)>, OracleError> {
        let mut duel = Duel::begin(oracle, workers, seed)?;
        let Some((at, ..)) = duel.act(script)?.difference else {
            return Ok(None);
        };
        let upto = script.get(..=at).unwrap_or(script).to_vec();
        let same = upto.last().map(std::mem::discriminant) == Some(kind);
        Ok(same.then(|| (upto, duel.recording("difference"))))
    };
    let Some(mut best) = shows(actions)? else {
        return Ok(None);
    };
    // Ever smaller chunks are left out, from the end on.
    let mut chunk = best.0.len() / 2;
    let mut left = runs;
    let begun = Instant::now();
    while chunk > 0 && left > 0 {
        let mut end = best.0.len().saturating_sub(1);
        while end > 0 && left > 0 && begun.elapsed() < LONGEST {
            let start = end.saturating_sub(chunk);
            let mut script = best.0.clone();
            script.drain(start..end);
            left -= 1;
            if let Some(shorter) = shows(&script)? {
                best = shorter;
            }
            end = start.min(best.0.len().saturating_sub(1));
        }
        chunk /= 2;
    }
    Ok(Some(best))
}
