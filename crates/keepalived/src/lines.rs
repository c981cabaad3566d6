//! What keepalived's preprocessor does: comments, `@` conditions, `$` parameters, `~SEQ` and `~LST`, `include`.

use crate::{Class, Note, Place};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Lines a file may come to, and steps it may take: a few words can ask for millions.
const LINES: usize = 100_000;
const STEPS: usize = 300_000;
/// Bytes of a line.
const LENGTH: usize = 16_384;
/// Files within files.
const DEPTH: usize = 32;

/// Who reads the files `include` names.
pub trait Loader {
    /// Files that match `pattern`, as named in `from`: names and texts; perhaps none.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn load(&mut self, pattern: &str, from: &str) -> Result<Vec<(String, String)>, String>;
}

/// Includes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Loader for NoIncludes {
    fn load(&mut self, _: &str, _: &str) -> Result<Vec<(String, String)>, String> {
        Err("other files are not read here".into())
    }
}

/// A line that is left, with what is in it replaced.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it begins.
    pub place: Place,
    /// Columns count as they stand in the file; else all of them are the line's.
    pub exact: bool,
    /// The text, without comment.
    pub text: String,
}

/// A line on the way.
#[derive(Clone, Debug)]
struct Raw {
    place: Place,
    exact: bool,
    text: String,
}

struct Expander<'a> {
    id: &'a str,
    loader: &'a mut dyn Loader,
    notes: &'a mut Vec<Note>,
    parameters: HashMap<String, Vec<Raw>>,
    out: Vec<Line>,
    conditions: Conditions,
    /// Files that are being read, each included by the one before.
    within: Vec<String>,
    steps: usize,
    depth: usize,
}

/// What `@` lines there were.
#[derive(Default)]
struct Conditions {
    /// Where the first stands that was left out, and its word.
    first: Option<(Place, String)>,
    /// Lines left out.
    without: usize,
    /// Configuration ids that lines are for.
    named: BTreeSet<String>,
}

/// The lines of `text`, called `file`, for configuration id `id`.
pub fn expand(
    text: &str,
    file: &str,
    id: &str,
    loader: &mut dyn Loader,
    notes: &mut Vec<Note>,
) -> Vec<Line> {
    let mut expander = Expander {
        id,
        loader,
        notes,
        parameters: HashMap::new(),
        out: Vec::new(),
        conditions: Conditions::default(),
        within: Vec::new(),
        steps: 0,
        depth: 0,
    };
    expander.file(text, file);
    expander.left_out();
    expander.out
}

impl Expander<'_> {
    fn file(&mut self, text: &str, file: &str) {
        let name: Arc<str> = file.into();
        self.within.push(file.to_owned());
        let raw: Vec<Raw> = text
            .lines()
            .zip(1..)
            .map(|(text, line)| Raw {
                place: Place {
                    file: Arc::clone(&name),
                    line,
                    column: 1,
                },
                exact: true,
                text: text.to_owned(),
            })
            .collect();
        self.lines(&raw);
        self.within.pop();
    }

    fn lines(&mut self, raw: &[Raw]) {
        let mut rest = raw.iter();
        while let Some(line) = rest.next() {
            let mut line = without_comment(line);
            // A definition of several lines: each but the last ends with a backslash.
            if definition(line.text.trim_start()).is_some() && line.text.ends_with('\\') {
                let mut value = Vec::new();
                while line.text.ends_with('\\') {
                    let mut part = line;
                    part.text.pop();
                    value.push(part);
                    match rest.next() {
                        Some(next) => line = without_comment(next),
                        None => break,
                    }
                    if !line.text.ends_with('\\') {
                        value.push(line.clone());
                    }
                }
                self.define(value);
                continue;
            }
            self.line(line);
        }
    }

    fn define(&mut self, mut value: Vec<Raw>) {
        let Some(first) = value.first_mut() else {
            return;
        };
        let text = first.text.trim_start().to_owned();
        if let Some((name, rest)) = definition(&text) {
            first.text = rest.to_owned();
            if first.text.trim().is_empty() && value.len() > 1 {
                value.remove(0);
            }
            self.parameters.insert(name.to_owned(), value);
        }
    }

    fn line(&mut self, mut line: Raw) {
        loop {
            self.steps += 1;
            if self.steps > STEPS || self.out.len() >= LINES || line.text.len() > LENGTH {
                self.overflow(&line);
                return;
            }
            let indent = line.text.chars().take_while(|c| c.is_whitespace()).count();
            line.text = line.text.trim().to_owned();
            if line.exact {
                line.place.column += indent;
            }
            if line.text.is_empty() {
                return;
            }
            if let Some(rest) = line.text.strip_prefix('@') {
                let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let wanted = match word.strip_prefix('^') {
                    Some(other) => other != self.id,
                    None => word == self.id,
                };
                let all = &mut self.conditions;
                if !word.starts_with('^') {
                    all.named.insert(word.to_owned());
                }
                if !wanted {
                    all.without += 1;
                    let first = || (line.place.clone(), format!("@{word}"));
                    all.first.get_or_insert_with(first);
                    return;
                }
                if line.exact {
                    line.place.column += line.text.chars().count() - rest.chars().count();
                }
                line.text = rest.to_owned();
                continue;
            }
            if definition(&line.text).is_some() {
                self.define(vec![line]);
                return;
            }
            if line.text.starts_with("~SEQ") || line.text.starts_with("~LST") {
                self.repeat(&line);
                return;
            }
            match self.replaced(&line) {
                Replaced::No => break,
                Replaced::Line(next) => line = next,
                Replaced::Lines(lines) => {
                    if self.depth >= DEPTH {
                        self.overflow(&line);
                        return;
                    }
                    self.depth += 1;
                    self.lines(&lines);
                    self.depth -= 1;
                    return;
                }
            }
        }
        let mut words = line.text.split_whitespace();
        match (words.next(), words.next()) {
            (Some(word), Some(pattern)) if is_include(word) => {
                self.include(&line, word, pattern);
            }
            _ => self.out.push(Line {
                place: line.place,
                exact: line.exact,
                text: line.text,
            }),
        }
    }

    /// Says that lines were left out because of the configuration id, and how to have others: one who does not know that there is one
    /// finds half of the file missing.
    fn left_out(&mut self) {
        let all = std::mem::take(&mut self.conditions);
        let Some((place, word)) = all.first else {
            return;
        };
        let (id, lines) = (self.id, all.without);
        let lines = match lines {
            1 => "1 line is left out".to_owned(),
            _ => format!("{lines} lines are left out"),
        };
        let mut text = format!("the configuration id is {id:?}: {lines}");
        let mut class = Class::Harmless;
        if !all.named.is_empty() && !all.named.contains(id) {
            class = Class::Mapped;
            let names: Vec<&str> = all.named.iter().map(String::as_str).collect();
            text += &format!(
                "; `@` lines are for {}: say which this director is (--id {}), unless it is none of them",
                names.join(", "),
                names.first().unwrap_or(&"ID"),
            );
        }
        self.notes.push(Note {
            place,
            word,
            class,
            text,
        });
    }

    fn include(&mut self, line: &Raw, word: &str, pattern: &str) {
        let pattern = pattern.trim_matches(['"', '\'']);
        if self.depth >= DEPTH {
            self.overflow(line);
            return;
        }
        match self.loader.load(pattern, &line.place.file) {
            // What may match one day, but for those words that insist.
            Ok(files)
                if files.is_empty()
                    && pattern.contains(['*', '?', '['])
                    && !word.ends_with(['a', 'w', 'm']) =>
            {
                let text = format!("no file is like {pattern}");
                self.note(line, Class::Harmless, word, text);
            }
            Ok(files) if files.is_empty() => {
                let text = format!("{pattern}: there is no such file");
                self.note(line, Class::Wrong, word, text);
            }
            Ok(files) => {
                self.depth += 1;
                for (name, text) in files {
                    if self.within.contains(&name) {
                        let text = format!(
                            "{name} includes itself so: it is read once, take this line out"
                        );
                        self.note(line, Class::Wrong, word, text);
                    } else {
                        self.file(&text, &name);
                    }
                }
                self.depth -= 1;
            }
            Err(why) => self.note(line, Class::Wrong, word, format!("{pattern}: {why}")),
        }
    }

    fn overflow(&mut self, line: &Raw) {
        let text = "it comes to too many lines, or to itself again";
        if !self.notes.iter().any(|note| note.text == text) {
            let word: String = line.text.chars().take(30).collect();
            self.note(line, Class::Wrong, &word, text.into());
        }
    }

    fn note(&mut self, line: &Raw, class: Class, word: &str, text: String) {
        self.notes.push(Note {
            place: line.place.clone(),
            word: word.to_owned(),
            class,
            text,
        });
    }

    /// `~SEQ(var, start, step, end) rest` and `~LST(var, a, b) rest`
    fn repeat(&mut self, line: &Raw) {
        let Some((head, rest)) = closed(&line.text) else {
            self.note(
                line,
                Class::Wrong,
                "~SEQ",
                "the bracket is not closed".into(),
            );
            return;
        };
        let Some(rounds) = rounds(head) else {
            let text = "it is not ~SEQ(VAR, START, STEP, END) nor ~LST(VAR, VALUES)";
            self.note(line, Class::Wrong, head, text.into());
            return;
        };
        if self.depth >= DEPTH {
            self.overflow(line);
            return;
        }
        self.depth += 1;
        for round in rounds {
            for (name, value) in round {
                let raw = Raw {
                    text: value,
                    exact: false,
                    ..line.clone()
                };
                self.parameters.insert(name, vec![raw]);
            }
            if self.steps > STEPS || self.out.len() >= LINES {
                self.overflow(line);
                break;
            }
            self.line(Raw {
                text: rest.to_owned(),
                exact: false,
                ..line.clone()
            });
        }
        self.depth -= 1;
    }

    /// The line with its first known parameter replaced.
    fn replaced(&self, line: &Raw) -> Replaced {
        let text = &line.text;
        for (at, _) in text.match_indices('$') {
            let after = text.get(at + 1..).unwrap_or_default();
            let (name, length) = match after.strip_prefix('{') {
                Some(inner) => match inner.split_once('}') {
                    Some((name, _)) => (name, name.len() + 3),
                    None => continue,
                },
                None => {
                    let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                    let (name, rest) = after.split_at(end);
                    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
                        continue;
                    }
                    (name, name.len() + 1)
                }
            };
            let before = text.get(..at).unwrap_or_default();
            let rest = text.get(at + length..).unwrap_or_default();
            let with = |value: &str| Raw {
                text: format!("{before}{value}{rest}"),
                exact: false,
                ..line.clone()
            };
            if let Some(value) = self.predefined(name, line) {
                return Replaced::Line(with(&value));
            }
            match self.parameters.get(name).map(Vec::as_slice) {
                None => {}
                Some([single]) => return Replaced::Line(with(single.text.trim())),
                Some(lines) => {
                    let mut lines = lines.to_vec();
                    if let Some(first) = lines.first_mut() {
                        first.text = format!("{before}{}", first.text);
                    }
                    if let Some(last) = lines.last_mut() {
                        last.text = format!("{}{rest}", last.text.trim_end());
                    }
                    return Replaced::Lines(lines);
                }
            }
        }
        Replaced::No
    }

    fn predefined(&self, name: &str, line: &Raw) -> Option<String> {
        Some(match name.split_whitespace().next()? {
            "_PWD" => match line.place.file.rsplit_once('/') {
                Some((directory, _)) => directory.to_owned(),
                None => ".".to_owned(),
            },
            "_INSTANCE" => self.id.to_owned(),
            "_HASH" => "#".to_owned(),
            "_BANG" => "!".to_owned(),
            _ => return None,
        })
    }
}

enum Replaced {
    No,
    Line(Raw),
    Lines(Vec<Raw>),
}

fn is_include(word: &str) -> bool {
    let rest = word.strip_prefix("include");
    rest.is_some_and(|rest| rest.len() <= 4 && rest.chars().all(|c| "rmwba".contains(c)))
}

const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$NAME=VALUE`
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let fits = !name.is_empty()
        && name.chars().all(is_name)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    fits.then_some((name, value))
}

/// The line up to `#` or `!` outside quotes.
fn without_comment(line: &Raw) -> Raw {
    let mut quote = None;
    let mut escaped = false;
    let mut end = line.text.len();
    for (at, c) in line.text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('#' | '!', None) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    Raw {
        text: line
            .text
            .get(..end)
            .unwrap_or_default()
            .trim_end()
            .to_owned(),
        ..line.clone()
    }
}

/// `~SEQ(...)` and what follows it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let end = text.find(')')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// What each round sets; `head` is without its closing bracket.
fn rounds(head: &str) -> Option<Vec<Vec<(String, String)>>> {
    let (kind, inside) = head.split_once('(')?;
    let single = |name: &str, value: String| vec![(name.to_owned(), value)];
    if kind == "~LST" {
        let mut parts = braced(inside).into_iter();
        let names = parts.next()?;
        let all = parts.map(|values| {
            let pairs = names.iter().cloned().zip(values);
            pairs.collect::<Vec<_>>()
        });
        return Some(all.collect());
    }
    let hex = match kind {
        "~SEQ" => false,
        "~SEQx" => true,
        _ => return None,
    };
    let mut words = inside.split(',').map(str::trim);
    let name = words.next()?;
    let numbers: Option<Vec<i64>> = words.map(number).collect();
    let (start, step, end) = match numbers?.as_slice() {
        [end] => (if *end > 0 { 1 } else { -1 }, None, *end),
        [start, end] => (*start, None, *end),
        [start, step, end] => (*start, Some(*step), *end),
        _ => return None,
    };
    let step = step.unwrap_or(if end >= start { 1 } else { -1 });
    // Away from the end there are none, which nobody can have meant.
    if step == 0 || (step > 0 && end < start) || (step < 0 && end > start) {
        return None;
    }
    let mut all = Vec::new();
    let mut n = start;
    while (step > 0 && n <= end) || (step < 0 && n >= end) {
        if all.len() > LINES {
            break;
        }
        let text = match hex {
            true => format!("{n:x}"),
            false => n.to_string(),
        };
        all.push(single(name, text));
        n = n.checked_add(step)?;
    }
    Some(all)
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `A, {B, C}` as [[A], [B, C]].
fn braced(text: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').unwrap_or((inner, "")),
            None => rest
                .split_once(',')
                .map_or((rest, ""), |(one, after)| (one, after)),
        };
        let many = rest.starts_with('{');
        all.push(match many {
            true => group
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect(),
            false => vec![group.trim().to_owned()],
        });
        rest = after.trim_start();
        if many {
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
    }
    all
}

#[cfg(test)]
mod tests;
