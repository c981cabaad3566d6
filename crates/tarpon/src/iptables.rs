//! `tarpon convert iptables`: mark rules of another program as our own.

use crate::{args::Global, failure::Failure, input, output, units::plural};
use config::{Config, iptables};
use serde_json::json;
use std::path::Path;

pub fn convert(global: &Global, file: &Path) -> Result<(), Failure> {
    let (name, text) = input::text(file)?;
    let import = iptables::read(&text);
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
