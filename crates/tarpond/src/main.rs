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
mod detour;
mod exception;
mod health;
mod logging;
mod ports;
mod queues;
mod seldom;
mod silence;
mod source;
mod startup;
mod sync;
mod takeover;
mod taps;
mod tell;
mod trace;
mod twin;
mod worker;

use clap::Parser;
use source::{Read, Source};
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
    /// This machine's half, when `--config` names a keepalived.conf: a tarpon.toml with ports and settings.
    #[arg(long, value_name = "FILE", default_value = "/etc/tarpon/tarpon.toml")]
    machine: PathBuf,
    /// The configuration id of `@` lines in a keepalived.conf (keepalived -i); the host's name unless given.
    #[arg(long, visible_alias = "id", value_name = "ID")]
    config_id: Option<String>,
    /// Only check the configuration: every mistake on a line of its own, exit code 2 if there is any.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let source = Source {
        file: arguments.config,
        machine: arguments.machine,
        id: arguments.config_id,
    };
    let Read { text, name, notes } = match source.read() {
        Ok(read) => read,
        Err(why) => {
            eprintln!("tarpond: {why}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for note in notes {
        eprintln!("{note}");
    }
    let config = match config::Config::parse(&text, &name) {
        Ok(config) => config,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if arguments.check {
        println!("{name}: no mistakes");
        return ExitCode::SUCCESS;
    }
    logging::start(config.director.log);
    abort_on_panic();
    match startup::run(config, source) {
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
