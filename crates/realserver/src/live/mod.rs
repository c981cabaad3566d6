//! The part that touches the machine: gathers facts, carries out plans, remembers what was there, takes it back.

pub(crate) mod gather;
mod parse;
mod perform;
mod state;
mod system;
mod take_back;

pub use gather::gather;
#[cfg(fuzzing)]
pub use parse::fuzz_listings;
pub use state::{STATE_FILE, State};
pub use system::System;

use crate::{
    action::{Action, Step},
    error::Refusal,
    facts::Facts,
    plan::{Plan, plan},
    request::Request,
};
use state::{Done, Prior};
use std::net::IpAddr;

/// What a run changed, one line each, for people.
pub type Changes = Vec<String>;

/// Make the machine what `request` asks, besides what earlier requests asked.
///
/// # Errors
/// Refusals before anything is touched; a failing command after everything was taken back.
pub fn apply(system: &System, request: Request, facts: &Facts) -> Result<(Plan, Changes), Refusal> {
    let mut state = State::load(system)?.unwrap_or_default();
    let mut requests = state.requests.clone();
    if !requests.contains(&request) {
        requests.push(request);
    }
    let plan = plan(&requests, facts)?;
    let changes = reach(system, &mut state, &plan, requests, facts, false)?;
    Ok((plan, changes))
}

/// Take back what was applied: all of it, or what concerns `vips`.
///
/// # Errors
/// No record, a file changed meanwhile (unless `force`), a failing command.
pub fn undo(
    system: &System,
    vips: &[IpAddr],
    facts: &Facts,
    force: bool,
) -> Result<Changes, Refusal> {
    let Some(mut state) = State::load(system)? else {
        return Err(Refusal::NoState(system.path(STATE_FILE)));
    };
    let mut requests = Vec::new();
    if !vips.is_empty() {
        if let Some(vip) = vips
            .iter()
            .find(|v| !state.requests.iter().any(|r| r.vips.contains(v)))
        {
            let known: Vec<String> = state
                .requests
                .iter()
                .flat_map(|r| r.vips.iter().map(ToString::to_string))
                .collect();
            return Err(Refusal::Request(format!(
                "{vip} was not applied here; applied are: {}",
                known.join(", ")
            )));
        }
        requests = state.requests.clone();
        for request in &mut requests {
            request.vips.retain(|v| !vips.contains(v));
        }
        requests.retain(|r| !r.vips.is_empty() || r.gateway.is_some());
    }
    let remaining = plan(&requests, facts)?;
    reach(system, &mut state, &remaining, requests, facts, force)
}

/// Undo what the plan no longer has, then do what it has. On failure, what this run did is taken back.
fn reach(
    system: &System,
    state: &mut State,
    plan: &Plan,
    requests: Vec<Request>,
    facts: &Facts,
    force: bool,
) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    let stale: Vec<usize> = (0..state.done.len())
        .rev()
        .filter(|&i| {
            !plan
                .steps
                .iter()
                .any(|s| s.action.key() == state.done[i].action.key())
        })
        .collect();
    if !force {
        for &index in &stale {
            take_back::unchanged(system, &state.done[index])?;
        }
    }
    if system.files_only
        && let Some(Step {
            action: Action::Save { path, .. },
            ..
        }) = plan
            .steps
            .iter()
            .find(|s| matches!(s.action, Action::Save { .. }))
    {
        return Err(Refusal::Request(format!(
            "{} holds rules in force, which a file tree has none of; with --files-only use --boot debian: a unit of ours adds the rules",
            path.display()
        )));
    }
    let mut rules_changed = false;
    for index in stale {
        let done = state.done.remove(index);
        rules_changed |= matches!(done.action, Action::Rule(_));
        take_back::undo(system, &done, facts, &mut changes)?;
        state.store(system)?;
    }
    let mut fresh: Vec<String> = Vec::new();
    for step in &plan.steps {
        let before = state
            .done
            .iter()
            .position(|d| d.action.key() == step.action.key());
        let renew = rules_changed && matches!(step.action, Action::Save { .. });
        let result = match before {
            Some(index) => {
                perform::renew(system, &mut state.done[index], &step.action, facts, renew)
            }
            None => perform::first(system, &step.action, facts).map(|(done, changed)| {
                fresh.push(done.action.key());
                state.done.push(done);
                changed
            }),
        };
        match result {
            Ok(false) => {}
            Ok(true) => {
                rules_changed |= matches!(step.action, Action::Rule(_));
                changes.extend(step.action.commands(facts.chains));
                state.store(system)?;
            }
            Err(error) => {
                roll_back(system, state, &fresh, facts);
                return Err(error);
            }
        }
    }
    state.requests = requests;
    // Steps that found everything in place leave no trace worth a file.
    if state.requests.is_empty() {
        state.remove(system)?
    } else {
        state.store(system)?
    }
    Ok(changes)
}

fn roll_back(system: &System, state: &mut State, fresh: &[String], facts: &Facts) {
    while let Some(index) = state
        .done
        .iter()
        .rposition(|d| fresh.contains(&d.action.key()))
    {
        let done = state.done.remove(index);
        // The first error is the one to report; a second one here must not hide it, nor stop the rest from being taken back.
        let _ = take_back::undo(system, &done, facts, &mut Changes::new());
    }
    let _ = if state.requests.is_empty() {
        state.remove(system)
    } else {
        state.store(system)
    };
}

/// Whether a step of a plan is in force.
///
/// # Errors
/// When the machine cannot be asked.
pub fn satisfied(system: &System, action: &Action, facts: &Facts) -> Result<bool, Refusal> {
    perform::satisfied(system, action, facts)
}
