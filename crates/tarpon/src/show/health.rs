//! `tarpon health`

use crate::{table::Table, units::count};
use api::{CheckOutcome, CheckState, CheckedServer, ServiceHealth};

pub fn health(services: &[ServiceHealth]) -> String {
    if services.is_empty() {
        return "no health checks: write [[service.check]] into the configuration file\n".into();
    }
    let mut table = Table::new(&["SERVICE", "STATE", ">WEIGHT", "CHECK", ">LAST", ">TOOK", ""]);
    for service in services {
        table.row(vec![
            service.key.to_string(),
            if service.quorum { "up" } else { "NO QUORUM" }.into(),
            count(service.live),
            String::new(),
            String::new(),
            String::new(),
            service_notes(service),
        ]);
        for server in &service.servers {
            rows(&mut table, server);
        }
    }
    table.to_string()
}

/// Of a server that is out whatever its checks find.
const EJECTED: &str = "ejected: clients' attempts to connect failed";

/// A server's row has its first check, further checks one each.
fn rows(table: &mut Table, server: &CheckedServer) {
    let weight = server
        .weight_in_force
        .map_or_else(|| "out".to_owned(), |weight| count(weight.0.into()));
    let state = if server.up { "up" } else { "DOWN" };
    let mut first = vec![format!("  -> {}", server.address), state.into(), weight];
    let ejected = if server.ejected { EJECTED } else { "" };
    if server.checks.is_empty() {
        first.extend(["none", "", "", ejected].map(str::to_owned));
        table.row(first);
        return;
    }
    if server.ejected {
        first.extend(["", "", "", ejected].map(str::to_owned));
        table.row(first);
        first = vec![String::new(); 3];
    }
    for check in &server.checks {
        let mut row = first;
        row.extend(cells(check, server));
        table.row(row);
        first = vec![String::new(); 3];
    }
}

fn cells(check: &CheckState, server: &CheckedServer) -> [String; 4] {
    let name = if check.target == server.address {
        check.kind.clone()
    } else {
        format!("{} {}", check.kind, check.target)
    };
    let Some(run) = &check.last else {
        return [
            name,
            "never".into(),
            String::new(),
            "waits for its first turn".into(),
        ];
    };
    let word = match run.outcome {
        CheckOutcome::Passed => "passed",
        CheckOutcome::Failed => "failed",
        CheckOutcome::Undecided => "not made",
    };
    let mut notes = match &run.reason {
        Some(why) => format!("{word}: {why}"),
        None => word.to_owned(),
    };
    if check.up && check.failures > 0 {
        notes += &format!(", {} in a row", check.failures);
    }
    if let Some(since) = check.since_ms {
        let word = if check.up { "up" } else { "down" };
        notes += &format!(", {word} for {}", crate::units::duration(since / 1000));
    }
    [
        name,
        format!("{} ago", crate::units::duration(run.ago_ms / 1000)),
        format!("{} ms", count(run.took_ms)),
        notes,
    ]
}

fn service_notes(service: &ServiceHealth) -> String {
    let mut notes: Vec<String> = service
        .name
        .iter()
        .map(|name| format!("{name:?}"))
        .collect();
    if service.needed != 1 || !service.quorum {
        notes.push(format!("quorum {}", service.needed));
    }
    if let Some(sorry) = service.sorry_server {
        let serves = if service.quorum { "" } else { " serves" };
        notes.push(format!("sorry server {sorry}{serves}"));
    }
    notes.join(", ")
}
