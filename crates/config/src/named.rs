//! Settings by name, at run time: listed as they would be written, changed as if they stood in a file.

use crate::{Config, EditError, Settings, read, write};
use serde_json::{Map, Value};
use toml::Table;

/// A setting as it is, and as it is where nobody sets it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSetting {
    /// Its key in `[settings]`.
    pub name: String,
    /// In force.
    pub value: Value,
    /// Without a line in the file.
    pub default: Value,
}

impl Config {
    /// Every setting, in the order of names.
    #[must_use]
    pub fn named_settings(&self) -> Vec<NamedSetting> {
        let mut defaults = table(&Settings::defaults(self.compat_ipvs));
        let list = table(&self.settings).into_iter().map(|(name, value)| {
            let default = defaults.remove(&name).unwrap_or_else(|| value.clone());
            NamedSetting {
                name,
                value,
                default,
            }
        });
        list.collect()
    }

    /// Changes a setting. It may be called as the kernel calls it (`net.ipv4.vs.drop_entry`, `net/ipv4/vs/drop_entry`);
    /// the value is written as in a file, texts with or without quotes.
    ///
    /// # Errors
    /// [`EditError::NotFound`] for a name that is none, [`EditError::Invalid`] for what it cannot be; nothing is changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        let key = setting_name(name);
        let key = toml::Value::from(key).to_string();
        let line = |value: &str| format!("[settings]\n{key} = {value}\n");
        let mut text = line(value);
        if !is_one_value(&text) {
            text = line(&toml::Value::from(value).to_string());
        }
        self.settings = read::settings_over(&text, &self.settings).map_err(EditError::Invalid)?;
        Ok(())
    }
}

/// A setting's name without the kernel's path before it.
#[must_use]
pub fn setting_name(name: &str) -> &str {
    let is_kernels = name.starts_with("net.") || name.starts_with("net/");
    match name.rsplit_once(['.', '/']) {
        Some((_, last)) if is_kernels => last,
        _ => name,
    }
}

/// Whether a text is TOML with nothing but one setting.
fn is_one_value(text: &str) -> bool {
    let Ok(document) = text.parse::<Table>() else {
        return false;
    };
    let settings = document.get("settings").and_then(toml::Value::as_table);
    document.len() == 1 && settings.is_some_and(|table| table.len() == 1)
}

fn table(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(write::settings(settings)) {
        Ok(Value::Object(table)) => table,
        // A struct of numbers, texts, switches and lists is always an object.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Settings, String> {
        let mut config = Config::default();
        let done = config.set(name, value);
        done.map(|()| config.settings).map_err(|e| e.to_string())
    }

    #[test]
    fn a_setting_is_changed_by_its_own_and_by_the_kernels_name() {
        for name in [
            "drop_entry",
            "net.ipv4.vs.drop_entry",
            "net/ipv4/vs/drop_entry",
        ] {
            assert_eq!(set(name, "3").unwrap().drop_entry, 3, "{name}");
        }
        assert!(set("sloppy_tcp", "1").unwrap().sloppy_tcp);
        assert!(set("sloppy_tcp", "true").unwrap().sloppy_tcp);
        assert_eq!(set("icmp_rate", "unlimited").unwrap().icmp_rate, None);
        assert_eq!(set("icmp_rate", "\"unlimited\"").unwrap().icmp_rate, None);
        assert_eq!(
            set("ftp_ports", "[21, 2121]").unwrap().ftp_ports,
            [21, 2121]
        );
    }

    #[test]
    fn the_others_stay() {
        let mut config = Config::default();
        config.set("tcp_timeout", "77").unwrap();
        config.set("udp_timeout", "78").unwrap();
        assert_eq!(
            (config.settings.tcp_timeout, config.settings.udp_timeout),
            (77, 78)
        );
    }

    #[test]
    fn nonsense_is_refused_with_what_instead() {
        for (name, value, says) in [
            ("drop_entri", "3", "did you mean `drop_entry`?"),
            ("conntrack", "1", "means nothing here"),
            ("drop_entry", "9", "0 (never)"),
            ("drop_entry", "", "0 (never)"),
            ("tcp_timeout", "abc", "from 1 to 2678400"),
            ("tcp_timeout", "9\n[port]\nname = 1", "from 1 to 2678400"),
            ("tcp_timeout", "9\nudp_timeout = 1", "from 1 to 2678400"),
            ("", "1", "it has"),
            ("a b\n", "1", "it has"),
        ] {
            let error = set(name, value).unwrap_err();
            assert!(error.contains(says), "{name:?} = {value:?}: {error}");
        }
    }

    #[test]
    fn every_setting_is_listed_and_takes_its_own_value() {
        let mut config = Config::default();
        let list = config.named_settings();
        assert_eq!(
            list.len(),
            crate::known_keys()
                .iter()
                .filter(|(table, _)| *table == "settings")
                .count()
        );
        for setting in list {
            assert_eq!(setting.value, setting.default);
            config
                .set(&setting.name, &setting.value.to_string())
                .unwrap();
        }
        assert_eq!(config.settings, Config::default().settings);
    }
}
