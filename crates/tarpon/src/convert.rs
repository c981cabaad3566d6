//! `tarpon convert`: keepalived.conf and lvs.cf, and `tarpon check` of a keepalived.conf.

use crate::{
    args::{ConvertCommand, Global, KeepalivedArgs},
    failure::Failure,
    input, iptables, ipvsadm, output,
    units::plural,
};
use config::Config;
use keepalived::{Class, Import};
use serde_json::json;
use std::path::Path;

pub fn convert(global: &Global, command: &ConvertCommand) -> Result<(), Failure> {
    match command {
        ConvertCommand::Keepalived {
            file,
            machine,
            options,
        } => {
            let import = read(file, options)?;
            print(global, &import, file, machine.as_deref(), options.strict)
        }
        ConvertCommand::LvsCf {
            file,
            node,
            machine,
            strict,
        } => {
            let (name, text) = input::text(file)?;
            let import = keepalived::lvs_cf::read(&text, &name, (*node).into());
            print(global, &import, file, machine.as_deref(), *strict)
        }
        ConvertCommand::Ipvsadm { file } => ipvsadm::import::convert(global, file),
        ConvertCommand::Iptables { file } => iptables::convert(global, file),
    }
}

fn print(
    global: &Global,
    import: &Import,
    file: &Path,
    machine: Option<&Path>,
    strict: bool,
) -> Result<(), Failure> {
    if !global.json {
        tell(import, file);
    }
    let mut config = Config::default();
    if let Some(machine) = machine {
        let (name, text) = input::text(machine)?;
        config =
            Config::parse(&text, &name).map_err(|report| Failure::failed(report.to_string()))?;
    }
    import.apply(&mut config);
    let toml = match machine {
        Some(_) => config.to_toml(),
        None => config.without_machine_to_toml(),
    };
    if global.json {
        let report = report(import, file);
        output::text(&format!("{}\n", json!({ "toml": toml, "report": report })))?;
    } else {
        output::text(&toml)?;
    }
    verdict(import, &config, strict)
}

pub fn check(global: &Global, file: &Path, options: &KeepalivedArgs) -> Result<(), Failure> {
    let import = read(file, options)?;
    let mut config = Config::default();
    import.apply(&mut config);
    if global.json {
        output::text(&format!("{}\n", report(&import, file)))?;
    } else {
        tell(&import, file);
    }
    verdict(&import, &config, options.strict)
}

fn read(file: &Path, options: &KeepalivedArgs) -> Result<Import, Failure> {
    keepalived::read_file(file, options.id.as_deref())
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))
}

/// Every word that does not mean the same here, and how many do.
fn tell(import: &Import, file: &Path) {
    for note in &import.notes {
        if note.class != Class::Exact && !note.text.is_empty() {
            eprintln!("{note}");
        }
    }
    let counts = import.counts();
    let parts: Vec<String> = Class::ALL
        .iter()
        .map(|class| {
            format!(
                "{} {}",
                counts.get(class).copied().unwrap_or(0),
                class.word()
            )
        })
        .collect();
    eprintln!(
        "{}: {} (with ranges and groups expanded), {}, {} % of {} covered: {}",
        file.display(),
        plural(import.services.len() as u64, "service"),
        plural(import.vrrp.len() as u64, "virtual router"),
        import.coverage_percent(),
        plural(import.notes.len() as u64, "word"),
        parts.join(", ")
    );
}

fn report(import: &Import, file: &Path) -> serde_json::Value {
    let notes: Vec<_> = import
        .notes
        .iter()
        .map(|note| {
            json!({
                "file": &*note.place.file, "line": note.place.line, "column": note.place.column,
                "word": note.word, "class": note.class.word(), "text": note.text,
            })
        })
        .collect();
    json!({
        "file": file.display().to_string(),
        "services": import.services.len(),
        "virtual_routers": import.vrrp.len(),
        "coverage_percent": import.coverage_percent(),
        "words": notes,
    })
}

/// Where the service that `path` leads to (`service[3].server[0].address`) stands.
fn place<'i>(import: &'i Import, path: &str) -> Option<&'i keepalived::Place> {
    let (number, _) = path.strip_prefix("service[")?.split_once(']')?;
    import.places.get(number.parse::<usize>().ok()?)
}

/// What makes the exit status 1.
fn verdict(import: &Import, config: &Config, strict: bool) -> Result<(), Failure> {
    let problems = config.service_problems();
    for problem in &problems {
        match place(import, &problem.path) {
            Some(place) => eprintln!("{place}: wrong: {problem}"),
            None => eprintln!("{}: {problem}", problem.path),
        }
    }
    let strict = strict && import.notes.iter().any(|n| n.class == Class::Unsupported);
    if import.is_wrong() || strict || !problems.is_empty() {
        return Err(Failure::Said);
    }
    Ok(())
}
