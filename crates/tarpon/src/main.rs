//! `tarpon`: shows and changes a running director, over its control socket.
#![forbid(unsafe_code)]

mod args;
mod capture;
mod check;
mod edit;
mod failure;
mod output;
mod query;
mod show;
mod table;
mod units;

use api::Command as Ask;
use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Status => query::show(cli, Ask::Status, show::status),
        Command::Services { stats } => query::show(cli, Ask::Services, |s: &Vec<api::Service>| {
            show::services(s, *stats)
        }),
        Command::Connections(args) => query::connections(cli, args),
        Command::Ports => query::show(cli, Ask::Ports, |p: &Vec<api::Port>| show::ports(p)),
        Command::Neighbours => query::show(cli, Ask::Neighbours, |n: &Vec<api::Neighbour>| {
            show::neighbours(n)
        }),
        Command::Routes => query::show(cli, Ask::Routes, |r: &Vec<api::Route>| show::routes(r)),
        Command::Counters { all } => query::show(cli, Ask::Counters, |c: &api::Counters| {
            show::counters(c, *all)
        }),
        Command::Check { file } => check::check(cli, file),
        Command::Apply { file } => {
            let document = check::document(file)?;
            query::show(cli, Ask::Apply(document), |a: &api::Applied| {
                show::applied(a, true)
            })
        }
        Command::Reload => query::show(cli, Ask::Reload, |a: &api::Applied| show::applied(a, true)),
        Command::Service(command) => edit::service(cli, command),
        Command::Server(command) => edit::server(cli, command),
        Command::Capture(args) => capture::capture(cli, args),
        Command::Zero => query::show(cli, Ask::Zero, show::edited),
        Command::Shutdown => query::show(cli, Ask::Shutdown, show::edited),
        Command::Completions { shell } => {
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "tarpon",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Man { directory } => {
            clap_mangen::generate_to(Cli::command(), directory).map_err(|e| {
                Failure::failed(format!(
                    "cannot write manual pages to {}: {e}",
                    directory.display()
                ))
            })
        }
    }
}
