//! `tarpon-realserver`: the command `tarpon realserver` alone, small enough to copy to a real server.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

/// Prepare this machine as a real server of an LVS director.
#[derive(Parser)]
#[command(name = "tarpon-realserver", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    args: realserver::Args,
}

fn main() -> ExitCode {
    match realserver::run(Cli::parse().args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tarpon-realserver: {error}");
            ExitCode::from(2)
        }
    }
}
