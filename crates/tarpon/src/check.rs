//! `tarpon check`, and reading the files it and `apply` are given.

use crate::{args::Global, failure::Failure, input, output, query, show, units::plural};
use api::{Applied, Client, ClientError, Command, Document};
use config::{Config, Report};
use serde_json::json;
use std::path::Path;

/// The file's text; `-` is standard input.
pub fn document(path: &Path) -> Result<Document, Failure> {
    let (file, toml) = input::text(path)?;
    Ok(Document { file, toml })
}

pub fn check(global: &Global, path: &Path) -> Result<(), Failure> {
    let document = document(path)?;
    let config = match Config::parse(&document.toml, &document.file) {
        Ok(config) => config,
        Err(report) => return Err(mistakes(global, &report)),
    };
    match Client::connect(&global.socket) {
        Ok(mut client) => {
            if !global.json {
                output::text(&sound(&document.file, &config))?;
            }
            query::show_with(
                global,
                &mut client,
                Command::Check(document),
                |applied: &Applied| show::applied(applied, false),
            )
        }
        // Without a daemon there is nothing to compare with; the file has been judged all the same.
        Err(ClientError::Connect { .. }) if global.json => {
            output::text(&format!("{}\n", json!({ "problems": [], "daemon": false })))
        }
        Err(ClientError::Connect { .. }) => {
            let socket = global.socket.display();
            output::text(&format!(
                "{}no daemon at {socket} to compare with\n",
                sound(&document.file, &config)
            ))
        }
        Err(other) => Err(other.into()),
    }
}

fn sound(file: &str, config: &Config) -> String {
    let servers: usize = config.services.iter().map(|s| s.servers.len()).sum();
    let warnings: String = config
        .warnings()
        .iter()
        .map(|what| format!("{file}: warning: {what}\n"))
        .collect();
    format!(
        "{warnings}{file}: no mistakes ({}, {}, {})\n",
        plural(config.ports.len() as u64, "port"),
        plural(config.services.len() as u64, "service"),
        plural(servers as u64, "server")
    )
}

fn mistakes(global: &Global, report: &Report) -> Failure {
    if global.json {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|p| {
                json!({
                    "line": p.line,
                    "column": p.column,
                    "what": p.problem.what,
                    "instead": p.problem.instead,
                })
            })
            .collect();
        if let Err(failure) = output::text(&format!(
            "{}\n",
            json!({ "file": report.file, "problems": problems })
        )) {
            return failure;
        }
        return Failure::Said;
    }
    for line in report.lines() {
        eprintln!("{line}");
    }
    eprintln!("{}", plural(report.problems.len() as u64, "mistake"));
    Failure::Said
}
