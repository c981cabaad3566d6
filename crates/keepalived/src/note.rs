//! What became of a word.

use crate::tree::Statement;
use std::{fmt, sync::Arc};

/// Where a word stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How much of a word's meaning is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// All of it.
    Exact,
    /// What it is for, in another way.
    Mapped,
    /// It has no effect here, and needs none.
    Harmless,
    /// Nothing is made of it.
    Unsupported,
    /// It is not keepalived's language.
    Wrong,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] = [
        Self::Exact,
        Self::Mapped,
        Self::Harmless,
        Self::Unsupported,
        Self::Wrong,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Mapped => "mapped",
            Self::Harmless => "harmless",
            Self::Unsupported => "unsupported",
            Self::Wrong => "wrong",
        }
    }
}

/// What became of one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub place: Place,
    /// The word.
    pub word: String,
    /// How much of it is kept.
    pub class: Class,
    /// What to know of it; empty where nothing needs to be said.
    pub text: String,
}

impl fmt::Display for Note {
    /// `keepalived.conf:3:5: unsupported: use_vmac: addresses move by gratuitous ARP`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.class.word(), self.word)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

/// Notes being taken.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub found: Vec<Note>,
}

impl Notes {
    pub fn add(&mut self, statement: &Statement, class: Class, text: impl Into<String>) {
        self.found.push(Note {
            place: statement.place.clone(),
            word: statement.keyword().to_owned(),
            class,
            text: text.into(),
        });
    }

    pub fn exact(&mut self, statement: &Statement) {
        self.add(statement, Class::Exact, "");
    }

    pub fn mapped(&mut self, statement: &Statement, text: impl Into<String>) {
        self.add(statement, Class::Mapped, text);
    }

    pub fn harmless(&mut self, statement: &Statement, text: impl Into<String>) {
        self.add(statement, Class::Harmless, text);
    }

    pub fn unsupported(&mut self, statement: &Statement, text: impl Into<String>) {
        self.add(statement, Class::Unsupported, text);
    }

    pub fn wrong(&mut self, statement: &Statement, text: impl Into<String>) {
        self.add(statement, Class::Wrong, text);
    }

    /// What was said to be exact, or mapped, is [`Class::Unsupported`] after all: it is counted once.
    pub fn unsupported_after_all(&mut self, statement: &Statement, text: &str) {
        let of_it = |note: &Note| note.place == statement.place && note.word == statement.keyword();
        if let Some(said) = self.found.iter().rposition(of_it) {
            self.found.remove(said);
        }
        self.unsupported(statement, text);
    }

    /// Adds to what was said of a word that it is [`Class::Mapped`], once; nothing where it is worse than that already.
    pub fn mapped_after_all(&mut self, statement: &Statement, text: &str) {
        let of_it =
            |note: &&mut Note| note.place == statement.place && note.word == statement.keyword();
        let Some(said) = self.found.iter_mut().rfind(of_it) else {
            return self.mapped(statement, text);
        };
        if matches!(said.class, Class::Exact | Class::Mapped) && !said.text.contains(text) {
            said.class = Class::Mapped;
            said.text = match said.text.as_str() {
                "" => text.to_owned(),
                before => format!("{before}; {text}"),
            };
        }
    }

    /// A whole block of which nothing is made: said once, every word in it counted.
    pub fn unsupported_block(&mut self, statement: &Statement, text: &str) {
        self.unsupported(statement, text);
        for inner in statement.inner() {
            self.unsupported_block(inner, "");
        }
    }

    /// A word its block does not have.
    pub fn unknown(&mut self, statement: &Statement, block: &str, known: &[&str]) {
        let word = statement.keyword().to_lowercase();
        let near = known
            .iter()
            .map(|name| {
                (
                    strsim::damerau_levenshtein(&word, &name.to_lowercase()),
                    name,
                )
            })
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
        let hint = near.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"));
        self.wrong(statement, format!("{block} has no such word{hint}"));
        for inner in statement.inner() {
            self.wrong(inner, "");
        }
    }

    /// In the order of the file.
    pub fn in_order(mut self) -> Vec<Note> {
        self.found.sort_by(|a, b| a.place.cmp(&b.place));
        self.found
    }
}
