//! `tarpond`, the director's daemon: it owns the ports, runs the workers and answers the control socket.
//!
//! Wiring only: what is done with a packet is decided in `engine`, what a file means in `config`, what is said on the
//! socket in `api`.
#![forbid(unsafe_code)]

mod capture;
mod clock;
mod control;
mod cores;
mod desired;
mod exception;
mod health;
mod logging;
mod ports;
mod queues;
mod silence;
mod startup;
mod takeover;
mod taps;
mod worker;

use clap::Parser;
use std::{path::PathBuf, process::ExitCode};

/// Exit code for a configuration with mistakes.
const BAD_CONFIGURATION: u8 = 2;

/// The LVS router's daemon.
///
/// Takes the ports the configuration names, forwards by its services, and obeys `tarpon` over the control socket.
/// SIGHUP reads the configuration again, SIGTERM stops cleanly.
#[derive(Debug, Parser)]
#[command(name = "tarpond", version)]
struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/tarpon/tarpon.toml"
    )]
    config: PathBuf,
    /// Only check the configuration: every mistake on a line of its own, exit code 2 if there is any.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let text = match std::fs::read_to_string(&arguments.config) {
        Ok(text) => text,
        Err(error) => {
            eprintln!(
                "tarpond: cannot read {}: {error}",
                arguments.config.display()
            );
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let config = match config::Config::parse(&text, &arguments.config.display().to_string()) {
        Ok(config) => config,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if arguments.check {
        println!("{}: no mistakes", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    logging::start(config.director.log);
    abort_on_panic();
    match startup::run(config, arguments.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A panic is a defect, and what it leaves half done must not go on forwarding: the process ends at once, whichever
/// thread it was. Whoever watches it (systemd) starts a new one.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        eprintln!("tarpond: this is a defect; the daemon ends here");
        std::process::abort();
    }));
}
