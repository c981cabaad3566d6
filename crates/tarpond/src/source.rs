//! The daemon's configuration file: its own, or keepalived's with this machine's half in its own.

use config::Config;
use keepalived::Class;
use std::path::PathBuf;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// `--config`
    pub file: PathBuf,
    /// `--machine`: ports and all that keepalived.conf does not have.
    pub machine: PathBuf,
    /// `--config-id`
    pub id: Option<String>,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The configuration in this daemon's own language.
    pub text: String,
    /// The file's name, for messages.
    pub name: String,
    /// What of a keepalived.conf does not have its effect here, one line each.
    pub notes: Vec<String>,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be read, or every mistake in the machine's half.
    pub fn read(&self) -> Result<Read, String> {
        let name = self.file.display().to_string();
        if !keepalived::is_its_name(&self.file) {
            let text = std::fs::read_to_string(&self.file);
            let text = text.map_err(|error| format!("cannot read {name}: {error}"))?;
            let notes = Vec::new();
            return Ok(Read { text, name, notes });
        }
        let import = keepalived::read_file(&self.file, self.id.as_deref())
            .map_err(|error| format!("cannot read {name}: {error}"))?;
        let without_effect = import.notes.iter().filter(|note| {
            let ineffective = matches!(note.class, Class::Unsupported | Class::Wrong);
            // Lines for directors of other names, none of this one's: perhaps nobody said which it is.
            let nobodys = note.class == Class::Mapped && note.word.starts_with('@');
            (ineffective && !note.text.is_empty()) || nobodys
        });
        let mut notes: Vec<String> = without_effect.map(ToString::to_string).collect();
        notes.push(format!(
            "{name}: {} % of {} words have their effect here",
            import.coverage_percent(),
            import.notes.len()
        ));
        let machine = self.machine.display();
        let text = std::fs::read_to_string(&self.machine).map_err(|error| {
            format!("cannot read {machine}: {error}: a keepalived.conf needs the ports of this machine beside it, in a file named by --machine")
        })?;
        let mut config =
            Config::parse(&text, &machine.to_string()).map_err(|report| report.to_string())?;
        import.apply(&mut config);
        Ok(Read {
            text: config.to_toml(),
            name: format!("{name} (as tarpon.toml)"),
            notes,
        })
    }
}
