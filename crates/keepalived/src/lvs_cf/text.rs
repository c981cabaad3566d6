//! The text to statements: `key = value`, one or several on a line, and blocks.

use crate::{Class, Note, Place, tree::Statement};
use std::sync::Arc;

/// Blocks within blocks: a server within a virtual server, and room for what is wrong.
const DEPTH: usize = 8;

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    Open,
    Close,
    End,
}

/// The statements of `text`. A value's words stand behind its key as a statement's; what is not the language is noted.
pub(super) fn statements(text: &str, file: &str, notes: &mut Vec<Note>) -> Vec<Statement> {
    let file: Arc<str> = file.into();
    let mut reader = Reader {
        open: vec![Vec::new()],
        words: Vec::new(),
        valued: false,
        notes,
    };
    let mut last = Place {
        file: Arc::clone(&file),
        line: 1,
        column: 1,
    };
    for (number, line) in text.lines().enumerate() {
        for (column, token) in tokens(line) {
            let place = Place {
                file: Arc::clone(&file),
                line: number + 1,
                column,
            };
            if !reader.take(token, &place) {
                return Vec::new();
            }
            last = place;
        }
    }
    reader.finish(&last)
}

struct Reader<'a> {
    /// The statements of each block that is open, the file's own first.
    open: Vec<Vec<Statement>>,
    /// Words that are no statement yet.
    words: Vec<(Place, String)>,
    /// Whether `=` stood behind the first of them.
    valued: bool,
    notes: &'a mut Vec<Note>,
}

impl Reader<'_> {
    /// False: it is hopeless.
    fn take(&mut self, token: Token, place: &Place) -> bool {
        match token {
            Token::Word(word) => self.words.push((place.clone(), word)),
            Token::Equals => {
                // Of `address = 10.0.0.11 active = 1` the last word before a `=` is the next key.
                let key = self.words.pop();
                if self.valued || !self.words.is_empty() {
                    self.statement();
                }
                match key {
                    Some(key) => self.words.push(key),
                    None => self.wrong(place, "=", "no key stands before it"),
                }
                self.valued = true;
            }
            // The brace of a block may stand on the next line.
            Token::End if self.valued => self.statement(),
            Token::End => {}
            Token::Open => {
                if self.valued {
                    self.statement();
                }
                if self.words.is_empty() {
                    self.wrong(place, "{", "nothing stands before this brace");
                    self.words.push((place.clone(), "{".into()));
                }
                self.push();
                if self.open.len() > DEPTH {
                    self.wrong(place, "{", "blocks are too deep within each other");
                    return false;
                }
                self.open.push(Vec::new());
            }
            Token::Close => {
                self.statement();
                if self.open.len() == 1 {
                    self.wrong(place, "}", "no block is open here");
                } else {
                    self.close();
                }
            }
        }
        true
    }

    /// What has been gathered is a statement.
    fn statement(&mut self) {
        if !self.valued
            && let Some((place, word)) = self.words.first().cloned()
        {
            self.wrong(
                &place,
                &word,
                "neither `key = value` nor a block stands here",
            );
            self.words.clear();
        }
        self.push();
    }

    fn push(&mut self) {
        self.valued = false;
        let mut words = self.words.drain(..);
        if let (Some((place, first)), Some(block)) = (words.next(), self.open.last_mut()) {
            block.push(Statement {
                place,
                words: std::iter::once(first).chain(words.map(|w| w.1)).collect(),
                block: None,
            });
        }
    }

    fn close(&mut self) {
        let block = self.open.pop();
        if let Some(owner) = self.open.last_mut().and_then(|outer| outer.last_mut()) {
            owner.block = block;
        }
    }

    fn finish(mut self, last: &Place) -> Vec<Statement> {
        self.statement();
        while self.open.len() > 1 {
            self.wrong(last, "}", "a block is not closed: a brace is missing");
            self.close();
        }
        self.open.pop().unwrap_or_default()
    }

    fn wrong(&mut self, place: &Place, word: &str, text: &str) {
        self.notes.push(Note {
            place: place.clone(),
            word: word.to_owned(),
            class: Class::Wrong,
            text: text.to_owned(),
        });
    }
}

/// A line's tokens with their columns. Of a quoted value only `\"` is undone: see [`unescape`].
fn tokens(line: &str) -> Vec<(usize, Token)> {
    let mut found = Vec::new();
    let mut rest = line.chars().enumerate().peekable();
    while let Some((at, c)) = rest.next() {
        let token = match c {
            '#' => break,
            '=' => Token::Equals,
            '{' => Token::Open,
            '}' => Token::Close,
            c if c.is_whitespace() => continue,
            '"' => {
                let mut word = String::new();
                while let Some((_, c)) = rest.next() {
                    match c {
                        '"' => break,
                        '\\' => match rest.next() {
                            Some((_, '"')) => word.push('"'),
                            Some((_, c)) => word.extend(['\\', c]),
                            None => word.push('\\'),
                        },
                        c => word.push(c),
                    }
                }
                Token::Word(word)
            }
            c => {
                let mut word = String::from(c);
                while let Some((_, c)) =
                    rest.next_if(|(_, c)| !c.is_whitespace() && !"={}#\"".contains(*c))
                {
                    word.push(c);
                }
                Token::Word(word)
            }
        };
        found.push((at + 1, token));
    }
    found.push((line.chars().count() + 1, Token::End));
    found
}

/// What nanny sends for what is written: `\n`, `\r`, `\t` and `\\`; any other escaped character is itself.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (c, false) => plain.push(c),
            (_, true) => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some('t') => plain.push('\t'),
                Some(c) => plain.push(c),
                None => plain.push('\\'),
            },
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{statements, unescape};
    use crate::tree::Statement;

    fn shown(statements: &[Statement]) -> String {
        let one = |s: &Statement| match &s.block {
            None => s.words.join(" "),
            Some(block) => format!("{} {{{}}}", s.words.join(" "), shown(block)),
        };
        statements.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn read(text: &str) -> (String, Vec<String>) {
        let mut notes = Vec::new();
        let all = statements(text, "f", &mut notes);
        (shown(&all), notes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_blocks_and_comments() {
        let (text, notes) = read(
            "a = 1 # no = 2\nvirtual web one\n{\n  address = 192.0.2.1 eth0:1\n  send = \"GET / \\\"x\\\"\\r\\n # {\"\n  server s { b = 2  c = 3 d=4}\n}\n",
        );
        assert_eq!(
            text,
            "a 1; virtual web one {address 192.0.2.1 eth0:1; send GET / \"x\"\\r\\n # {; server s {b 2; c 3; d 4}}"
        );
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn what_is_not_the_language_is_named_and_the_rest_read() {
        let (text, notes) = read("= 1\nb = 2\nhello\n}\nvirtual x {\n c = 3\n");
        assert_eq!(text, "1; b 2; virtual x {c 3}");
        assert_eq!(
            notes,
            [
                "f:1:1: wrong: =: no key stands before it",
                "f:3:1: wrong: hello: neither `key = value` nor a block stands here",
                "f:4:1: wrong: }: no block is open here",
                "f:6:7: wrong: }: a block is not closed: a brace is missing",
            ]
        );
        let (text, notes) = read(&"a {".repeat(100));
        assert!(text.is_empty() && notes.len() == 1, "{notes:?}");
    }

    #[test]
    fn escapes_are_nannys() {
        assert_eq!(
            unescape(r"GET / HTTP/1.0\r\n\t\\\x\"),
            "GET / HTTP/1.0\r\n\t\\x\\"
        );
    }
}
