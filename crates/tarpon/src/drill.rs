//! `tarpon drill`

use crate::{args::Global, failure::Failure, output, query::connect};
use api::{Command, DrillState, Edited};
use std::time::Duration;

/// Between two looks at how it stands.
const LOOK: Duration = Duration::from_millis(50);

/// Begins one, tells how it goes, and ends with what was measured.
pub fn drill(global: &Global, instance: String, force: bool) -> Result<(), Failure> {
    let mut client = connect(global)?;
    let _: Edited = client.call(Command::Drill(api::Drill { instance, force }))?;
    let mut told = String::new();
    let end = loop {
        let state: Option<DrillState> = client.call(Command::DrillState)?;
        let state = state.ok_or_else(|| Failure::failed("the daemon knows of no drill"))?;
        if !global.json && state.progress != told {
            if let Some(line) = progress(&state) {
                eprintln!("{line}");
            }
            told.clone_from(&state.progress);
        }
        if state.over {
            break state;
        }
        std::thread::sleep(LOOK);
    };
    if global.json {
        let text = serde_json::to_string(&end).map_err(|e| Failure::failed(e.to_string()))?;
        output::text(&format!("{text}\n"))?;
    } else {
        output::text(&result(&end))?;
    }
    match end.why {
        Some(_) if global.json => Err(Failure::Said),
        Some(why) => Err(Failure::failed(format!("drill of {}: {why}", end.instance))),
        None => Ok(()),
    }
}

/// What has just come about.
fn progress(state: &DrillState) -> Option<String> {
    Some(match state.progress.as_str() {
        "going" => format!("{}: given up", state.instance),
        "there" => format!("{} has the addresses", peer(state)),
        "returning" => "they are to come back".into(),
        "settling" => "they are back".into(),
        _ => return None,
    })
}

fn peer(state: &DrillState) -> String {
    state.peer.map_or_else(
        || "the other director".into(),
        |peer| format!("{} (priority {})", peer.from, peer.priority),
    )
}

/// What was measured.
fn result(state: &DrillState) -> String {
    let mut out = String::new();
    if let Some(gap) = state.gap_there_ms {
        let until = match state.peer {
            Some(_) => format!("until {} answered", peer(state)),
            None => "until this director had the addresses again".into(),
        };
        out += &format!("there  nobody answered for {gap:.1} ms, {until}\n");
    }
    if let (Some(gap), Some(overlap)) = (state.gap_back_ms, state.overlap_ms) {
        out += &format!("back   nobody answered for {gap:.1} ms");
        if overlap > 0.0 {
            out += &format!("; the other director answered for {overlap:.1} ms more");
        }
        out += "\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_says_what_was_measured_and_no_more() {
        let mut state = DrillState::begun("lvs");
        assert_eq!(result(&state), "");
        assert_eq!(progress(&state).as_deref(), Some("lvs: given up"));
        state.gap_there_ms = Some(300.04);
        assert_eq!(
            result(&state),
            "there  nobody answered for 300.0 ms, until this director had the addresses again\n"
        );
        state.peer = Some(api::Heard {
            from: std::net::IpAddr::from([192, 0, 2, 3]),
            priority: 150,
        });
        state.gap_there_ms = Some(2.0);
        state.gap_back_ms = Some(0.0);
        state.overlap_ms = Some(1.25);
        assert_eq!(
            result(&state),
            "there  nobody answered for 2.0 ms, until 192.0.2.3 (priority 150) answered\n\
             back   nobody answered for 0.0 ms; the other director answered for 1.2 ms more\n"
        );
    }
}
