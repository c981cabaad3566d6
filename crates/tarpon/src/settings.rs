//! `tarpon settings`

use crate::{args::Global, failure::Failure, output, query, show, table::Table};
use api::{Command, Setting, SettingsEdit};
use serde_json::Value;

/// Shows settings, or changes them where words have values.
pub fn settings(global: &Global, words: &[String]) -> Result<(), Failure> {
    let (changes, names): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.contains('='));
    match (changes.is_empty(), names.is_empty()) {
        (false, false) => Err(Failure::failed(format!(
            "`{}` has no value: write {0}=VALUE, or ask for settings and change them one after the other",
            names.first().map_or("", |name| name)
        ))),
        (false, true) => {
            let set = changes.iter().filter_map(|word| word.split_once('='));
            let set = set.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
            let edit = SettingsEdit { set: set.collect() };
            query::show(global, Command::SettingsEdit(edit), show::edited)
        }
        (true, _) => list(global, &names),
    }
}

fn list(global: &Global, names: &[&String]) -> Result<(), Failure> {
    let all: Vec<Setting> = query::connect(global)?.call(Command::Settings)?;
    let mut chosen = Vec::new();
    for name in names {
        let bare = config::setting_name(name);
        let found = all.iter().find(|setting| setting.name == bare);
        chosen.push(found.ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
            Failure::failed(format!(
                "there is no setting `{name}`: there are {}",
                known.join(", ")
            ))
        })?);
    }
    if names.is_empty() {
        chosen.extend(&all);
    }
    if global.json {
        let text = serde_json::to_string(&chosen).map_err(|e| Failure::failed(e.to_string()))?;
        return Ok(output::line(&text)?);
    }
    let mut table = Table::new(&["NAME", "VALUE", "DEFAULT", ""]);
    for setting in chosen {
        let mark = if setting.value == setting.default {
            ""
        } else {
            "*"
        };
        table.row(vec![
            setting.name.clone(),
            shown(&setting.value),
            shown(&setting.default),
            mark.into(),
        ]);
    }
    output::text(&table.to_string())
}

/// As it would be typed.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
