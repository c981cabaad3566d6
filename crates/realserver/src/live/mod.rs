//! The part that touches the machine: gathers facts, carries out plans, remembers what was there, takes it back.

mod ask;
mod enablement;
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
use state::Prior;
use std::{collections::BTreeSet, net::IpAddr};

/// What a run changed, one line each, for people.
pub type Changes = Vec<String>;

/// Make the machine what `request` asks, besides what earlier requests asked.
///
/// # Errors
/// Refusals before anything is touched; a failing command after everything was taken back.
pub fn apply(system: &System, request: Request, facts: &Facts) -> Result<(Plan, Changes), Refusal> {
    let mut state = load(system)?.unwrap_or_default();
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
    let Some(mut state) = load(system)? else {
        return Err(Refusal::NoState(system.path(STATE_FILE)));
    };
    let mut requests = Vec::new();
    if !vips.is_empty() {
        if let Some(vip) = vips
            .iter()
            .find(|v| !state.requests.iter().any(|r| r.vips.contains(v)))
        {
            let known: BTreeSet<IpAddr> = state
                .requests
                .iter()
                .flat_map(|r| r.vips.iter().copied())
                .collect();
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
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
    let mut rules_changed = false;
    for index in stale {
        let done = state.done.remove(index);
        rules_changed |= matches!(done.action, Action::Rule(_));
        take_back::undo(system, &done, facts, &mut changes)?;
        state.store(system)?;
    }
    let mut fresh: Vec<String> = Vec::new();
    for step in &plan.steps {
        match take(system, state, step, facts, rules_changed, &mut fresh) {
            Ok(false) => {}
            Ok(true) => {
                rules_changed |= matches!(step.action, Action::Rule(_));
                changes.extend(step.action.commands(facts.chains));
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

/// Make sure of one step; whether anything had to be done. `fresh` gets its key if it was not recorded before.
fn take(
    system: &System,
    state: &mut State,
    step: &Step,
    facts: &Facts,
    rules_changed: bool,
    fresh: &mut Vec<String>,
) -> Result<bool, Refusal> {
    let action = &step.action;
    let known = state
        .done
        .iter()
        .position(|d| d.action.key() == action.key());
    let index = match known {
        Some(index) => {
            if !perform::is_due(system, &state.done[index], action, facts, rules_changed)? {
                state.done[index].action = action.clone();
                return Ok(false);
            }
            index
        }
        None => {
            let done = perform::begin(system, action, facts)?;
            let due = done.prior != Prior::InForce && !matches!(action, Action::Table { .. });
            fresh.push(action.key());
            state.done.push(done);
            if !due {
                return Ok(false);
            }
            state.done.len() - 1
        }
    };
    perform::prepare(system, &mut state.done[index], action, facts)?;
    state.store(system)?;
    perform::carry_out(system, &mut state.done[index], facts)?;
    state.store(system)?;
    Ok(true)
}

/// Take back what this run did, and write again what it rewrote of earlier ones.
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
    if let Ok(earlier) = plan(&state.requests, facts) {
        for step in &earlier.steps {
            let _ = take(system, state, step, facts, true, &mut Vec::new());
        }
    }
    let _ = if state.requests.is_empty() && state.done.is_empty() {
        state.remove(system)
    } else {
        state.store(system)
    };
}

fn load(system: &System) -> Result<Option<State>, Refusal> {
    let state = State::load(system)?;
    if state.is_none() {
        State::sweep(system);
    }
    Ok(state)
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Whether the action acts on the running machine, rather than on files.
fn is_live(action: &Action) -> bool {
    !matches!(
        action,
        Action::File { .. } | Action::Enable { .. } | Action::Chkconfig { .. }
    )
}

/// Whether a step of a plan is in force.
///
/// # Errors
/// When the machine cannot be asked.
pub fn satisfied(system: &System, action: &Action, facts: &Facts) -> Result<bool, Refusal> {
    ask::satisfied(system, action, facts)
}
