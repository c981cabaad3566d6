//! The command line: `tarpon realserver ...`, or `tarpon-realserver ...` alone.

mod args;
mod show;

pub use args::Args;
pub use show::print_needs;

use crate::{
    ansible::ansible,
    error::Refusal,
    facts::Facts,
    live::{self, System, gather},
    others::instructions,
    plan::{Plan, plan},
    report::{CheckOptions, ProbeOptions, check, probe},
    request::{Method, Request},
    script::scripts,
};
use args::{Command, What};
use show::{PlanView, methods, plan_text, print_changes, print_json, print_report, say};
use std::{
    fs, io::Write, os::unix::fs::PermissionsExt, path::Path, process::ExitCode, time::Duration,
};

/// Run a command line. Exit code 0: done, or all well; 1: a check failed.
///
/// # Errors
/// Refusals, which changed nothing.
pub fn run(args: Args) -> Result<ExitCode, Refusal> {
    let Some(command) = args.command else {
        return bare();
    };
    match command {
        Command::Plan { what, place, json } => {
            let request = what.rest.request(what.method);
            let system = place.system()?;
            let facts = place.facts(&system)?;
            let mut requests = live::State::load(&system)
                .ok()
                .flatten()
                .map(|s| s.requests)
                .unwrap_or_default();
            if !requests.contains(&request) {
                requests.push(request);
            }
            let plan = plan(&requests, &facts)?;
            if json {
                print_json(&PlanView::new(&plan, &facts))?
            } else {
                say(&plan_text(&plan, &facts, what.method))?
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Apply { what, place } => {
            let request = what.rest.request(what.method);
            request.validate()?;
            let system = place.system()?;
            need_root("apply", &system)?;
            let _alone = alone(&system)?;
            let facts = place.facts(&system)?;
            let (plan, changes) = live::apply(&system, request, &facts)?;
            print_changes(&changes, "nothing to change: all of it is in force")?;
            for note in &plan.notes {
                say(&format!("note: {note}\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Undo { vip, place, force } => {
            let system = place.system()?;
            need_root("undo", &system)?;
            let _alone = alone(&system)?;
            let facts = place.facts(&system)?;
            let changes = live::undo(&system, &vip, &facts, force)?;
            print_changes(&changes, "nothing had to be changed")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check {
            what,
            place,
            client,
            director,
            json,
        } => {
            let system = place.system()?;
            need_root("check", &system)?;
            let requests =
                match what.method {
                    Some(method) => vec![what.rest.request(method)],
                    None if what.rest.vip.is_empty() => live::State::load(&system)?
                        .map(|s| s.requests)
                        .unwrap_or_default(),
                    None => return Err(Refusal::Request(
                        "check --vip needs --method too; without both, what was applied is checked"
                            .into(),
                    )),
                };
            if requests.is_empty() {
                return Err(Refusal::Request(
                    "nothing was applied here; say --method and --vip to check all the same".into(),
                ));
            }
            for request in &requests {
                request.validate()?;
            }
            let facts = place.facts(&system)?;
            let report = check(
                &system,
                &requests,
                &facts,
                &CheckOptions { client, director },
            )?;
            print_report(&report, json)
        }
        Command::Probe {
            real_ip,
            mac,
            interface,
            vip,
            port,
            protocol,
            listen,
            json,
        } => {
            let system = System::new("/", false);
            need_root("probe", &system)?;
            let facts = gather(&system, None)?;
            let options = ProbeOptions {
                interface,
                real_ip,
                mac,
                vips: vip,
                ports: port,
                protocols: protocol,
                listen: Duration::from_secs(listen),
            };
            print_report(&probe(&options, &facts)?, json)
        }
        Command::Script { what, out } => {
            let (requests, plan) = elsewhere(what)?;
            let scripts = scripts(&requests, &plan);
            for (name, text) in [
                ("apply.sh", &scripts.apply),
                ("check.sh", &scripts.check),
                ("undo.sh", &scripts.undo),
            ] {
                let path = out.join(name);
                write_script(&path, text)?;
                say(&format!("{}\n", path.display()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Ansible { what, out } => {
            let (requests, plan) = elsewhere(what)?;
            let text = ansible(&scripts(&requests, &plan));
            match out {
                Some(path) => fs::write(&path, text).map_err(Refusal::io(path))?,
                None => say(&text)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Methods => {
            say(&methods())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Instructions { system, what } => {
            let request = what.rest.request(what.method);
            if request.method != Method::Nat || request.gateway.is_none() {
                request.validate()?;
            }
            say(&instructions(system, &request))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is in force here, or how to begin.
fn bare() -> Result<ExitCode, Refusal> {
    match live::State::load(&System::new("/", false))? {
        Some(state) => {
            for r in &state.requests {
                let list = |items: Vec<String>| items.join(", ");
                let vips = list(r.vips.iter().map(ToString::to_string).collect());
                let ports = list(r.ports.iter().map(ToString::to_string).collect());
                let what = r
                    .gateway
                    .map_or(format!("VIPs {vips}"), |g| format!("gateway {g}"));
                say(&format!(
                    "method {}: {what}{}\n",
                    r.method.name(),
                    if ports.is_empty() {
                        String::new()
                    } else {
                        format!(", ports {ports}")
                    }
                ))?;
            }
            say("`check` verifies it by behaviour, `undo` takes it back.\n")?;
        }
        None => say(&format!("Nothing was applied here.\n\n{}", methods()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan for another machine.
fn elsewhere(what: What) -> Result<(Vec<Request>, Plan), Refusal> {
    let request = what.rest.request(what.method);
    let requests = vec![request];
    let plan = plan(&requests, &Facts::default())?;
    Ok((requests, plan))
}

/// Two runs at once would each take the other's half for what was there before.
fn alone(system: &System) -> Result<fs::File, Refusal> {
    system.lock(|| {
        // Nobody reads it: then it is only not read.
        let _ = writeln!(
            std::io::stderr(),
            "another run of apply or undo is changing this system; waiting for it to end"
        );
    })
}

/// An image is whose who may write its files.
fn need_root(what: &'static str, system: &System) -> Result<(), Refusal> {
    if system.has_root() || rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(Refusal::NotRoot(what))
    }
}

fn write_script(path: &Path, text: &str) -> Result<(), Refusal> {
    fs::write(path, text).map_err(Refusal::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Refusal::io(path))
}
