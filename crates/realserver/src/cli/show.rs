//! What is printed: plans, reports, changes, the methods and their prices.

use crate::{
    error::Refusal, facts::Facts, needs::Need, plan::Plan, report::Report, request::Method,
};
use serde::Serialize;
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

/// Print what servers need, as a director lists it.
///
/// # Errors
/// When standard output is gone.
pub fn print_needs(needs: &[Need], json: bool) -> Result<(), Refusal> {
    if json {
        return print_json(&needs);
    }
    if needs.is_empty() {
        return say("no virtual service has a real server\n");
    }
    let mut text = String::new();
    for need in needs {
        text.push_str(&format!(
            "{}  server {}  ({})\n    {}\n    there: {}\n",
            need.service, need.server, need.forwarding, need.needs, need.command
        ));
        if !need.probe.is_empty() {
            text.push_str(&format!("    here:  {}\n", need.probe));
        }
    }
    say(&text)
}

pub(super) fn methods() -> String {
    let mut text = String::from(
        "How a real server is made to take the VIP's packets (apply --method ...):\n\n",
    );
    for method in Method::ALL {
        text.push_str(&format!("{}\n", method.name()));
        for line in fold(method.trade_off(), 96) {
            text.push_str(&format!("    {line}\n"));
        }
        text.push('\n');
    }
    text.push_str("Other systems (Windows, BSD): instructions --system ...\n");
    text
}

fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|l| !l.is_empty() && l.len() + 1 + word.len() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

pub(super) fn plan_text(plan: &Plan, facts: &Facts, method: Method) -> String {
    let mut text = String::new();
    for line in fold(method.trade_off(), 100) {
        text.push_str(&format!("# {line}\n"));
    }
    for step in &plan.steps {
        text.push_str(&format!("\n# {}\n", step.why));
        for command in step.action.commands(facts.chains) {
            text.push_str(&facts.fill(&command));
            text.push('\n');
        }
    }
    for note in &plan.notes {
        text.push_str(&format!("\n# Note: {note}\n"));
    }
    text
}

/// A plan for programs: each step with its commands filled in.
#[derive(Serialize)]
pub(super) struct PlanView<'a> {
    steps: Vec<StepView<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct StepView<'a> {
    why: &'a str,
    commands: Vec<String>,
    action: &'a crate::action::Action,
}

impl<'a> PlanView<'a> {
    pub fn new(plan: &'a Plan, facts: &Facts) -> Self {
        let steps = plan
            .steps
            .iter()
            .map(|s| StepView {
                why: &s.why,
                commands: s
                    .action
                    .commands(facts.chains)
                    .iter()
                    .map(|c| facts.fill(c))
                    .collect(),
                action: &s.action,
            })
            .collect();
        Self {
            steps,
            notes: &plan.notes,
        }
    }
}

/// Standard output may be a closed pipe (`| head`): that ends the program quietly, it is not a panic.
pub(super) fn say(text: &str) -> Result<(), Refusal> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Refusal::io("standard output"))
}

pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), Refusal> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Refusal::Wire(e.to_string()))?;
    say(&format!("{text}\n"))
}

pub(super) fn print_changes(changes: &[String], none: &str) -> Result<(), Refusal> {
    if changes.is_empty() {
        return say(&format!("{none}\n"));
    }
    for change in changes {
        // A file's whole content is for `plan`; here its name is enough.
        let line = change
            .lines()
            .next()
            .unwrap_or_default()
            .replace(" <<'EOF'", "");
        say(&format!("{line}\n"))?;
    }
    Ok(())
}

pub(super) fn print_report(report: &Report, json: bool) -> Result<ExitCode, Refusal> {
    if json {
        print_json(report)?;
    } else {
        let mut text = report.text();
        if std::io::stdout().is_terminal() {
            text = text.replace("FAIL   ", "\u{1b}[31mFAIL\u{1b}[0m   ");
        }
        say(&text)?;
    }
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
