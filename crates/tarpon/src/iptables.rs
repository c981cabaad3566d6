//! `tarpon convert iptables`: mark rules of another program as our own.

use crate::{args::Global, failure::Failure, output, units::plural};
use config::{Config, iptables};
use serde_json::json;
use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

pub fn convert(global: &Global, file: &Path) -> Result<(), Failure> {
    let name = match file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => file.display().to_string(),
    };
    let import = iptables::read(&text(file, &name)?);
    let mut config = Config::default();
    import.apply(&mut config);
    if global.json {
        let notes = import.notes.iter().map(
            |note| json!({ "line": note.line, "class": note.class.to_string(), "text": note.text }),
        );
        let report = json!({ "file": name, "notes": notes.collect::<Vec<_>>() });
        let all = json!({ "toml": config.marks_to_toml(), "report": report });
        output::text(&format!("{all}\n"))?;
    } else {
        for note in &import.notes {
            eprintln!("{name}:{}: {}: {}", note.line, note.class, note.text);
        }
        let rules = plural(import.rules.len() as u64, "mark rule");
        eprintln!("{name}: {rules}, the first that matches deciding");
        output::text(&config.marks_to_toml())?;
    }
    let lost = import.worst() >= Some(iptables::Class::Unsupported);
    if lost { Err(Failure::Said) } else { Ok(()) }
}

fn text(file: &Path, name: &str) -> Result<String, Failure> {
    let read = if file.to_str() == Some("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    read.map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))
}
