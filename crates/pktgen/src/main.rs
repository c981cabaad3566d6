//! `pktgen`: see `pktgen --help` and docs/pktgen.md.
#![forbid(unsafe_code)]

use clap::Parser;
use pktgen::args::{Arguments, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Tx(tx) => pktgen::tx::tx(&tx),
        Command::Tcp(args) => pktgen::stateful::command::tcp(&args),
        Command::Http(args) => pktgen::stateful::command::http(&args),
        Command::Serve(args) => pktgen::stateful::command::serve(&args),
        Command::Soak(args) => pktgen::soak::soak(&args),
        Command::Flood(args) => pktgen::flood::flood(&args),
        Command::Rfc2544(args) => pktgen::rfc2544::rfc2544(&args),
        Command::Rfc9693(args) => pktgen::rfc9693::rfc9693(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
