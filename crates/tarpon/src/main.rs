//! `tarpon`: shows and changes a running director, over its control socket.
#![forbid(unsafe_code)]

mod announce;
mod args;
mod capture;
mod check;
mod convert;
mod drill;
mod edit;
mod events;
mod explain;
mod failure;
mod input;
mod iptables;
mod ipvsadm;
mod moment;
mod output;
mod query;
mod real;
mod replay;
mod settings;
mod show;
mod table;
mod twin;
mod units;
mod why;

use api::Command as Ask;
use args::{Cli, Command, Global};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
};

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse_from(words());
    match run(&global, command) {
        Ok(code) => code,
        Err(failure) => failure.report(global.json),
    }
}

/// What was typed; called by the name `ipvsadm`, everything is ipvsadm's.
fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let called = words.first().map(Path::new).and_then(Path::file_name);
    if called == Some(OsStr::new("ipvsadm")) {
        words.splice(..1, ["tarpon".into(), "ipvsadm".into()]);
    }
    words
}

fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Status => query::show(global, Ask::Status, show::status)?,
        Command::Services { stats, rate } => {
            query::show(global, Ask::Services, |s: &Vec<api::Service>| {
                show::services(s, show::Figures::of(stats, rate))
            })?;
        }
        Command::Connections(args) => query::connections(global, &args)?,
        Command::Ports => query::show(global, Ask::Ports, |p: &Vec<api::Port>| show::ports(p))?,
        Command::Neighbours => {
            query::show(global, Ask::Neighbours, |n: &Vec<api::Neighbour>| {
                show::neighbours(n)
            })?;
        }
        Command::Vrrp { counters } => query::show(global, Ask::Vrrp, |v: &Vec<api::Vrrp>| {
            show::vrrp(v, counters)
        })?,
        Command::Failover { instance } => {
            let ask = Ask::Failover(api::Failover { instance });
            query::show(global, ask, show::edited)?;
        }
        Command::Twin { what } => twin::twin(global, what)?,
        Command::Drill { instance, force } => drill::drill(global, instance, force)?,
        Command::Sync => query::show(global, Ask::Sync, |s: &Option<api::Sync>| {
            show::sync(s.as_ref())
        })?,
        Command::Marks => query::show(global, Ask::Marks, |m: &Vec<api::MarkRule>| show::marks(m))?,
        Command::Routes => query::show(global, Ask::Routes, |r: &Vec<api::Route>| show::routes(r))?,
        Command::Health => {
            query::show(global, Ask::Health, |h: &Vec<api::ServiceHealth>| {
                show::health(h)
            })?;
        }
        Command::Events(args) => events::events(global, &args)?,
        Command::Why(args) => why::why(global, &args)?,
        Command::Announce(args) => announce::announce(global, &args)?,
        Command::Diff => query::show(global, Ask::Diff, show::differences)?,
        Command::Counters { all } => {
            query::show(global, Ask::Counters, |c: &api::Counters| {
                show::counters(c, all)
            })?;
        }
        Command::Check { file, options } if keepalived::is_its_name(&file) => {
            convert::check(global, &file, &options)?;
        }
        Command::Check { file, .. } => check::check(global, &file)?,
        Command::Convert(command) => convert::convert(global, &command)?,
        Command::Apply { file } => {
            let document = check::document(&file)?;
            query::show(global, Ask::Apply(document), |a: &api::Applied| {
                show::applied(a, true)
            })?;
        }
        Command::Reload => query::show(global, Ask::Reload, |a: &api::Applied| {
            show::applied(a, true)
        })?,
        Command::Service(command) => edit::service(global, &command)?,
        Command::Server(command) => edit::server(global, &command)?,
        Command::Capture(args) => capture::capture(global, &args)?,
        Command::Explain(args) => explain::explain(global, &args)?,
        Command::Trace(args) => explain::trace(global, &args)?,
        Command::Replay(args) => replay::replay(&args)?,
        // It has exit statuses of its own.
        Command::Realserver(args) => return real::run(global, args),
        Command::Settings { words } => settings::settings(global, &words)?,
        Command::Zero => {
            query::show(global, Ask::Zero(api::Zero::default()), show::edited)?;
        }
        // Exit statuses of its own, too.
        Command::Ipvsadm { words } => return ipvsadm::run(global, &words),
        Command::Shutdown => query::show(global, Ask::Shutdown, show::edited)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tarpon", &mut std::io::stdout());
        }
        Command::Man { directory } => clap_mangen::generate_to(Cli::command(), &directory)
            .map_err(|e| {
                Failure::failed(format!(
                    "cannot write manual pages to {}: {e}",
                    directory.display()
                ))
            })?,
    }
    Ok(ExitCode::SUCCESS)
}
