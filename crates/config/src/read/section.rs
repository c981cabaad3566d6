//! A table of the file, asked for its keys one by one.

use super::value;
use crate::Problem;
use std::collections::{BTreeMap, BTreeSet};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What reading the file leaves behind: mistakes, where each part stands, which keys exist.
#[derive(Debug, Default)]
pub(super) struct Reader {
    problems: Vec<(usize, Problem)>,
    positions: BTreeMap<String, usize>,
    pub keys: BTreeSet<(&'static str, &'static str)>,
}

impl Reader {
    pub fn report(
        &mut self,
        at: usize,
        path: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.problems.push((at, Problem::new(path, what, instead)));
    }

    /// Forgets where the parts of `path` stand: its last bearer was left out.
    fn forget(&mut self, path: &str) {
        let from = path.to_owned();
        let below: Vec<String> = self
            .positions
            .range(from..)
            .map(|(known, _)| known)
            .take_while(|known| known.starts_with(path))
            .cloned()
            .collect();
        for known in below {
            self.positions.remove(&known);
        }
    }

    /// Whether ports and VLANs were read without a mistake: else nothing can be said about what is on link.
    pub fn interfaces_known(&self) -> bool {
        !self
            .problems
            .iter()
            .any(|(_, p)| p.path.starts_with("port") || p.path.starts_with("vlan"))
    }

    /// All mistakes with their byte offsets: those of reading, and `checked`, whose paths are looked up.
    pub fn into_located(self, checked: Vec<Problem>) -> Vec<(usize, Problem)> {
        let positions = self.positions;
        let located = checked
            .into_iter()
            .map(|problem| (position(&positions, &problem.path), problem));
        self.problems.into_iter().chain(located).collect()
    }
}

/// Where a part stands, or the part it belongs to.
fn position(positions: &BTreeMap<String, usize>, path: &str) -> usize {
    let mut path = path;
    loop {
        if let Some(&at) = positions.get(path) {
            return at;
        }
        match path.rfind(['.', '[']) {
            Some(cut) => path = path.get(..cut).unwrap_or(""),
            None => return 0,
        }
    }
}

/// Why a value does not do: `None`: because it is not what was wanted; a text: for this reason.
pub(super) type Wrong = Option<String>;

/// A table being read.
pub(super) struct Section<'a> {
    kind: &'static str,
    path: String,
    at: usize,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
    abandoned: bool,
}

impl<'a> Section<'a> {
    pub fn root(table: &'a DeTable<'a>) -> Self {
        Self {
            kind: "",
            path: String::new(),
            at: 0,
            table,
            asked: Vec::new(),
            abandoned: false,
        }
    }

    /// `port[0]`
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Gives the table up: what is left in it is not called unknown.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether `key` is there, without asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Whether `key` is `false`, where otherwise there would be tables.
    pub fn says_false(&self, key: &str) -> bool {
        let value = self.table.get(key);
        value.is_some_and(|value| value.get_ref().as_bool() == Some(false))
    }

    /// Whether a mistake in the value of `key` is reported already.
    pub fn has_mistake(&self, reader: &Reader, key: &str) -> bool {
        let path = self.path_of(key);
        reader
            .problems
            .iter()
            .any(|(_, p)| p.path.starts_with(&path))
    }

    /// Where the value of `key` stands; the table's own place if it is not there.
    pub fn position_of(&self, key: &str) -> usize {
        self.table
            .get(key)
            .map_or(self.at, |value| value.span().start)
    }

    /// `port[0].mtu`
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn value(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
    ) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        reader.keys.insert((self.kind, key));
        let value = self.table.get(key)?;
        reader
            .positions
            .insert(self.path_of(key), value.span().start);
        Some(value)
    }

    /// Reads an optional key. A value that does not do is reported as "`key` is VALUE: write `wanted`".
    pub fn get<T>(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.value(reader, key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(why) => {
                let what = why
                    .unwrap_or_else(|| format!("`{key}` is {}", value::describe(value.get_ref())));
                reader.report(
                    value.span().start,
                    &self.path_of(key),
                    what,
                    format!("write {wanted}"),
                );
                None
            }
        }
    }

    /// Reads a key that must be there.
    pub fn need<T>(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.table.get(key).is_none() {
            self.asked.push(key);
            reader.keys.insert((self.kind, key));
            let what = format!("`{key}` is missing in {}", self.title());
            reader.report(self.at, &self.path, what, format!("add `{key}`: {wanted}"));
            return None;
        }
        self.get(reader, key, wanted, read)
    }

    /// Reads a list; each element that does not do is reported at its own place, the others are returned.
    pub fn list<T>(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        (wanted, example): (&str, &str),
        mut read: impl FnMut(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let value = self.value(reader, key)?;
        let path = self.path_of(key);
        let Some(array) = value.get_ref().as_array() else {
            let what = format!("`{key}` is {}", value::describe(value.get_ref()));
            let instead = format!("write a list in brackets: {key} = [{example}]");
            reader.report(value.span().start, &path, what, instead);
            return None;
        };
        let mut all = Vec::new();
        for element in array.iter() {
            let path = format!("{path}[{}]", all.len());
            reader.positions.insert(path.clone(), element.span().start);
            match read(element.get_ref()) {
                Ok(one) => all.push(one),
                Err(why) => {
                    let what = why.unwrap_or_else(|| {
                        format!("{} in `{key}`", value::describe(element.get_ref()))
                    });
                    reader.report(element.span().start, &path, what, format!("write {wanted}"));
                }
            }
        }
        Some(all)
    }

    /// Reads the table `[name]`; absent is as empty.
    pub fn table<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        read: impl FnOnce(&mut Reader, &mut Section<'_>) -> T,
    ) -> T {
        let empty = DeTable::new();
        let mut at = 0;
        let mut table = &empty;
        if let Some(value) = self.value(reader, name) {
            at = value.span().start;
            if let Some(there) = value.get_ref().as_table() {
                table = there;
            } else {
                let several = value
                    .get_ref()
                    .as_array()
                    .is_some_and(|a| a.iter().any(|e| e.get_ref().is_table()));
                let what = if several {
                    format!("[[{name}]] in double brackets, but there is one only")
                } else {
                    format!("`{name}` is {}", value::describe(value.get_ref()))
                };
                reader.report(
                    at,
                    name,
                    what,
                    format!("write [{name}] on a line of its own, its keys below"),
                );
            }
        }
        let mut section = Section {
            kind: name,
            path: name.to_owned(),
            at,
            table,
            asked: Vec::new(),
            abandoned: false,
        };
        let result = read(reader, &mut section);
        section.finish(reader);
        result
    }

    /// Reads each `[[name]]`. Those of which nothing can be made (`None`: reported) are left out, and do not count in
    /// the indices of paths: these are the indices of what is returned.
    pub fn tables<T>(
        &mut self,
        reader: &mut Reader,
        name: &'static str,
        mut read: impl FnMut(&mut Reader, &mut Section<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.value(reader, name) else {
            return Vec::new();
        };
        let full = if self.kind.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.kind)
        };
        let path = self.path_of(name);
        let single;
        let elements: &[Spanned<DeValue<'_>>] = match value.get_ref() {
            DeValue::Array(array) => array.as_ref(),
            other => {
                let what = if other.is_table() {
                    format!("[{full}] in single brackets, but there can be several")
                } else {
                    format!("`{name}` is {}", value::describe(other))
                };
                let instead = format!("write [[{full}]] on a line of its own, its keys below");
                reader.report(value.span().start, &path, what, instead);
                single = value.clone();
                std::slice::from_ref(&single)
            }
        };
        let mut all = Vec::new();
        for element in elements {
            let path = format!("{path}[{}]", all.len());
            let at = element.span().start;
            reader.forget(&path);
            reader.positions.insert(path.clone(), at);
            match element.get_ref().as_table() {
                Some(table) => {
                    let mut section = Section {
                        kind: name,
                        path,
                        at,
                        table,
                        asked: Vec::new(),
                        abandoned: false,
                    };
                    all.extend(read(reader, &mut section));
                    section.finish(reader);
                }
                None if value.get_ref().is_array() => {
                    let what = format!("{} in `{name}`", value::describe(element.get_ref()));
                    let instead = format!("write [[{full}]] on a line of its own, its keys below");
                    reader.report(at, &path, what, instead);
                }
                None => {}
            }
        }
        all
    }

    /// `[[port]] "wan"`, as people find it in the file.
    fn title(&self) -> String {
        let name = ["name", "address", "to"]
            .iter()
            .find_map(|key| self.table.get(*key).and_then(|v| v.get_ref().as_str()))
            .map(|name| format!(" {name:?}"))
            .unwrap_or_default();
        match self.kind {
            "server" => format!("[[service.server]]{name}"),
            "check" => "[[service.check]]".to_owned(),
            kind @ ("director" | "settings" | "sync" | "twin" | "mail") => format!("[{kind}]"),
            kind => format!("[[{kind}]]{name}"),
        }
    }

    /// Reports every key that was not asked for.
    pub fn finish(self, reader: &mut Reader) {
        for (key, value) in self.table.iter() {
            let is_table = value.get_ref().is_table()
                || value
                    .get_ref()
                    .as_array()
                    .is_some_and(|a| a.iter().any(|e| e.get_ref().is_table()));
            let name: &str = key.get_ref();
            if self.abandoned || self.asked.contains(&name) {
                continue;
            }
            let (what, instead) = value::unknown_key(self.kind, name, is_table, &self.asked);
            reader.report(key.span().start, &self.path_of(name), what, instead);
        }
    }
}
