//! On the server itself: the plan's steps are in force, and frames that arrive on the interface are treated as a director needs it.

mod behaviour;
mod standing;

use super::{Outcome, Report};
use crate::{
    action::Action,
    error::Refusal,
    facts::{Facts, Interface},
    live::{System, satisfied},
    plan::plan,
    request::{Method, Request},
};
use std::net::IpAddr;

/// Besides the requests.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// A client, to see which way its answers go.
    pub client: Option<IpAddr>,
    /// The director's address here, which direct routing's answers must not pass.
    pub director: Option<IpAddr>,
}

/// Check this machine against `requests`.
///
/// # Errors
/// When the machine cannot be asked at all.
pub fn check(
    system: &System,
    requests: &[Request],
    facts: &Facts,
    options: &CheckOptions,
) -> Result<Report, Refusal> {
    let mut report = Report::default();
    in_force(system, requests, facts, &mut report)?;
    if system.files_only {
        report.add(
            Outcome::Skipped,
            "behaviour",
            "this system does not run: only its files were looked at",
            "run check on it once it has booted",
        );
        return Ok(report);
    }
    for request in requests {
        for &vip in &request.vips {
            standing::listeners(request, vip, facts, &mut report);
            standing::routes(system, request, vip, facts, options, &mut report);
        }
        if request.vips.iter().any(|v| v.is_ipv4())
            && request.method != Method::Nat
            && request.method != Method::Tunnel
        {
            standing::rp_filter(system, request, facts, options, &mut report);
        }
        if request.method != Method::Nat {
            for nic in nics(request, facts) {
                behaviour::behaviour(system, request, nic, &mut report);
            }
        }
    }
    Ok(report)
}

/// The plan says what must be in force; a plan that is refused now (the VIP on the wrong interface, someone's rule) is itself the finding.
fn in_force(
    system: &System,
    requests: &[Request],
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Refusal> {
    let steps = match plan(requests, facts) {
        Ok(plan) => plan.steps,
        Err(error) => {
            report.add(Outcome::Fail, "in the way", error.to_string(), "");
            return Ok(());
        }
    };
    for step in steps {
        let persistent = matches!(
            step.action,
            Action::File { .. } | Action::Enable { .. } | Action::Chkconfig { .. }
        );
        let commands = step.action.commands(facts.chains);
        let subject = match &step.action {
            Action::Table { .. } => continue,
            action
                if system.files_only && !persistent && !matches!(action, Action::Save { .. }) =>
            {
                continue;
            }
            Action::Save { path, .. } => {
                if system.path(&path.to_string_lossy()).exists() {
                    report.pass(format!("{}", path.display()), "rules are saved");
                } else {
                    report.add(
                        Outcome::Fail,
                        format!("{}", path.display()),
                        "no rules are saved: a boot loses them",
                        "tarpon-realserver apply",
                    );
                }
                continue;
            }
            Action::File { path, .. } => path.display().to_string(),
            _ => commands.join("; "),
        };
        if satisfied(system, &step.action, facts)? {
            report.pass(subject, "in force");
        } else {
            let detail = if persistent {
                "not as apply writes it: a boot may lose the preparation"
            } else {
                "not in force"
            };
            report.add(
                Outcome::Fail,
                subject,
                detail,
                format!("{}; `tarpon-realserver apply` does it", step.why),
            );
        }
    }
    Ok(())
}

/// The interfaces where the VIP's frames can arrive: those named, else every Ethernet that is up.
fn nics<'a>(request: &'a Request, facts: &'a Facts) -> impl Iterator<Item = &'a Interface> {
    let any = request.interfaces.is_empty() || request.interfaces.iter().any(|i| i == "all");
    facts
        .interfaces
        .iter()
        .filter(move |i| i.mac.is_some() && i.up && (any || request.interfaces.contains(&i.name)))
}
