//! Firewall marks as iptables sets them, as mark rules: scripts of `iptables` commands, and what `iptables-save` writes.
//!
//! Only what gives packets for the director a mark is read: MARK in the mangle table's PREROUTING (and INPUT) chain. With iptables
//! the last rule that matches decides, here the first: the rules come out in reverse. Whatever is not taken over is named, with its
//! line.

mod parse;
mod words;

use crate::{Config, MarkRule};
use std::fmt;
use words::Statement;

/// What a file comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The rules, the first that matches deciding.
    pub rules: Vec<MarkRule>,
    /// What to know, in the order of the file.
    pub notes: Vec<Note>,
}

/// Something about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// From 1.
    pub line: usize,
    /// How bad it is.
    pub class: Class,
    /// What it is, and what becomes of it.
    pub text: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It has no part in marks that services could go by.
    Harmless,
    /// It has, and nothing is made of it.
    Unsupported,
    /// iptables would not take it either.
    Wrong,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Harmless => "harmless",
            Self::Unsupported => "unsupported",
            Self::Wrong => "wrong",
        })
    }
}

impl Import {
    /// The worst there is.
    #[must_use]
    pub fn worst(&self) -> Option<Class> {
        self.notes.iter().map(|note| note.class).max()
    }

    /// Puts the rules in the place of those of `config`.
    pub fn apply(&self, config: &mut Config) {
        config.marks.clone_from(&self.rules);
    }
}

/// Chains whose marks services go by, in the order packets meet them.
const CHAINS: [&str; 2] = ["PREROUTING", "INPUT"];

/// A rule of a chain; one of iptables' may be several of ours. What sets no mark has none.
type Entry = (Vec<String>, Vec<MarkRule>);

/// The rules of each of [`CHAINS`], as iptables has them.
#[derive(Default)]
struct Reader {
    chains: [Vec<Entry>; 2],
    notes: Vec<Note>,
}

/// Reads `text`.
#[must_use]
pub fn read(text: &str) -> Import {
    let mut reader = Reader::default();
    for statement in words::statements(text, &mut reader.notes) {
        if let Err((class, text)) = reader.carry_out(&statement) {
            reader.note(&statement, class, text);
        }
    }
    let entries = reader.chains.iter().flatten();
    let mut rules: Vec<MarkRule> = entries.flat_map(|(_, rules)| rules.clone()).collect();
    rules.reverse();
    reader.notes.sort_by_key(|note| note.line);
    Import {
        rules,
        notes: reader.notes,
    }
}

type Refused = (Class, String);

impl Reader {
    fn note(&mut self, statement: &Statement, class: Class, text: String) {
        self.notes.push(Note {
            line: statement.line,
            class,
            text,
        });
    }

    fn carry_out(&mut self, statement: &Statement) -> Result<(), Refused> {
        let (class, wrong) = (Class::Harmless, Class::Wrong);
        let table = &statement.table;
        if table != "mangle" {
            let known = ["filter", "nat", "raw", "security"].contains(&table.as_str());
            return Err(match known {
                true => (class, format!("the table {table} sets no marks; left out")),
                false => (wrong, format!("there is no table `{table}`")),
            });
        }
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        let [verb, rest @ ..] = &words[..] else {
            return Err((wrong, "there is no command: -A, -I, -D or -F".into()));
        };
        let verb = match *verb {
            "--append" => "-A",
            "--insert" => "-I",
            "--delete" => "-D",
            "--flush" => "-F",
            other => other,
        };
        match (verb, rest) {
            ("-F", []) => {
                self.chains = Default::default();
                Ok(())
            }
            ("-P" | "-N" | "-X" | "-Z" | "-L" | "-S", _) => Ok(()),
            ("-A" | "-I" | "-D" | "-F", [chain, rest @ ..]) => {
                let Some(at) = CHAINS.iter().position(|name| name == chain) else {
                    let text = format!(
                        "the chain {chain} is not met by packets before services are looked for; left out"
                    );
                    let own = !["FORWARD", "OUTPUT", "POSTROUTING"].contains(chain);
                    let jump = format!(
                        "the chain {chain} of your own is not followed; write its rules in PREROUTING"
                    );
                    return Err(match own {
                        true => (Class::Unsupported, jump),
                        false => (class, text),
                    });
                };
                self.edit(statement, verb, at, rest)
            }
            ("-A" | "-I" | "-D", []) => Err((wrong, format!("{verb} needs a chain"))),
            (other, _) => Err((
                wrong,
                format!("`{other}` is no command; there are -A, -I, -D and -F"),
            )),
        }
    }

    fn edit(
        &mut self,
        statement: &Statement,
        verb: &str,
        at: usize,
        words: &[&str],
    ) -> Result<(), Refused> {
        let number = words.first().and_then(|word| word.parse::<usize>().ok());
        let Some(chain) = self.chains.get_mut(at) else {
            return Ok(());
        };
        match (verb, number) {
            ("-F", _) => chain.clear(),
            ("-D", Some(number)) if number >= 1 && number <= chain.len() => {
                chain.remove(number - 1);
            }
            ("-D", Some(number)) => {
                return Err((Class::Wrong, format!("there is no rule {number} to delete")));
            }
            ("-D", None) => {
                let spelt: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
                let Some(found) = chain.iter().position(|(words, _)| *words == spelt) else {
                    return Err((Class::Wrong, "there is no such rule to delete".into()));
                };
                chain.remove(found);
            }
            _ => {
                let skip = usize::from(verb == "-I" && number.is_some());
                let words = words.get(skip..).unwrap_or_default();
                let place = match (verb, number) {
                    ("-I", number) => (number.unwrap_or(1).max(1) - 1).min(chain.len()),
                    _ => chain.len(),
                };
                let parsed = parse::rule(words, statement.ipv6)?;
                let spelt = words.iter().map(|w| (*w).to_owned()).collect();
                chain.insert(place, (spelt, parsed.rules));
                for text in parsed.told {
                    self.note(statement, Class::Harmless, text);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
