//! Lines to commands: continued lines, quotes, prompts, and the frame `iptables-save` puts around its rules.

use super::{Class, Note};

/// One command, or one line of a saved file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// Where it begins, from 1.
    pub line: usize,
    /// Its table.
    pub table: String,
    /// From the command (`-A`) on.
    pub words: Vec<String>,
    /// Of ip6tables.
    pub ipv6: bool,
}

/// Every command in `text`; what is wrong with a line as a whole is noted.
pub(super) fn statements(text: &str, notes: &mut Vec<Note>) -> Vec<Statement> {
    let mut statements = Vec::new();
    // Of a saved file.
    let mut saved_table: Option<String> = None;
    let mut saved_ipv6 = false;
    for (line, text) in joined(text) {
        let mut note = |class, text: String| notes.push(Note { line, class, text });
        if let Some(comment) = text.trim_start().strip_prefix('#') {
            saved_ipv6 |= comment.contains("ip6tables-save");
            // A line that is pasted with root's prompt.
            if !comment.trim_start().starts_with("iptables -")
                && !comment.trim_start().starts_with("ip6tables -")
            {
                continue;
            }
        }
        let text = text.trim_start().trim_start_matches(['#', '$']);
        let Some(mut words) = split(text) else {
            note(Class::Wrong, "a quote is not closed".into());
            continue;
        };
        while words
            .last()
            .is_some_and(|word| word == "|" || word == ";" || word == "\\")
        {
            let last = words.pop().unwrap_or_default();
            note(
                Class::Wrong,
                format!("`{last}` at the end of the line leads nowhere; read without it"),
            );
        }
        if words.first().is_some_and(|word| word == "sudo") {
            words.remove(0);
        }
        let Some(first) = words.first().cloned() else {
            continue;
        };
        if let Some(table) = first.strip_prefix('*') {
            saved_table = Some(table.to_owned());
            continue;
        }
        if first == "COMMIT" {
            saved_table = None;
            continue;
        }
        if first.starts_with(':') {
            continue;
        }
        let program = first.rsplit('/').next().unwrap_or_default();
        let (mut table, ipv6) = match (program, &saved_table) {
            ("iptables" | "iptables-legacy" | "iptables-nft", _) => ("filter".to_owned(), false),
            ("ip6tables" | "ip6tables-legacy" | "ip6tables-nft", _) => ("filter".to_owned(), true),
            // Counters before the rule (iptables-save -c).
            (_, Some(table)) if first.starts_with('-') || first.starts_with('[') => {
                (table.clone(), saved_ipv6)
            }
            _ => {
                let text = format!(
                    "`{first}` is neither a command of iptables nor a line of iptables-save; left out"
                );
                note(Class::Unsupported, text);
                continue;
            }
        };
        if !first.starts_with('-') {
            words.remove(0);
        }
        take_table(&mut words, &mut table, &mut note);
        words.retain(|word| !matches!(word.as_str(), "-w" | "--wait" | "-v" | "-n"));
        statements.push(Statement {
            line,
            table,
            words,
            ipv6,
        });
    }
    statements
}

/// Takes `-t TABLE` out of the words.
fn take_table(words: &mut Vec<String>, table: &mut String, note: &mut impl FnMut(Class, String)) {
    let Some(at) = words
        .iter()
        .position(|word| word == "-t" || word == "--table")
    else {
        return;
    };
    words.remove(at);
    if at >= words.len() {
        note(Class::Wrong, "-t needs a table behind it".into());
        return;
    }
    let named = words.remove(at);
    match named.split_once('-') {
        // As a widely copied manual has it.
        Some((name, command)) if command.len() == 1 => {
            let text = format!(
                "`{named}`: a space is missing; iptables says there is no such table. Read as `{name} -{command}`"
            );
            note(Class::Wrong, text);
            name.clone_into(table);
            words.insert(at, format!("-{command}"));
        }
        _ => *table = named,
    }
}

/// Lines with those continued by a backslash put together, numbered by their first.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (line, number) in text.lines().zip(1..) {
        let body = line.trim_end();
        let (body, more) = match body.strip_suffix('\\') {
            Some(body) => (body, true),
            None => (body, false),
        };
        match all.last_mut() {
            Some((_, last)) if goes_on => {
                last.push(' ');
                last.push_str(body);
            }
            _ => all.push((number, body.to_owned())),
        }
        goes_on = more;
    }
    all
}

/// A line's words as a shell would have them; `None`: a quote stays open.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
