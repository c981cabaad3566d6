//! Lines to blocks of words.

use crate::{Class, Note, Place, lines::Line};

/// Blocks within blocks.
const DEPTH: usize = 50;

/// A word with what stands behind it on its line, and its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where the first word stands.
    pub place: Place,
    /// The words, without quotes; at least one.
    pub words: Vec<String>,
    /// What stands in braces behind it.
    pub block: Option<Vec<Statement>>,
}

impl Statement {
    /// The first word.
    #[must_use]
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// A word behind the first, from 0.
    #[must_use]
    pub fn argument(&self, number: usize) -> Option<&str> {
        self.words.get(number + 1).map(String::as_str)
    }

    /// The words behind the first.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The statements of its block.
    #[must_use]
    pub fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

enum Token {
    Word(String),
    Open,
    Close,
}

/// The statements of a file. What does not fit together is noted, and read as well as can be.
pub fn build(lines: &[Line], notes: &mut Vec<Note>) -> Vec<Statement> {
    // The statements of each block that is open, the file's own first.
    let mut open: Vec<Vec<Statement>> = vec![Vec::new()];
    let mut note = |place: &Place, word: &str, text: &str| {
        notes.push(Note {
            place: place.clone(),
            word: word.to_owned(),
            class: Class::Wrong,
            text: text.to_owned(),
        });
    };
    let mut last = None;
    for line in lines {
        // On a line the words up to a brace make one statement.
        let mut begun = false;
        for (column, token) in tokens(&line.text) {
            let place = Place {
                column: if line.exact {
                    line.place.column + column
                } else {
                    line.place.column
                },
                ..line.place.clone()
            };
            last = Some(place.clone());
            let Some(current) = open.last_mut() else {
                return Vec::new();
            };
            match token {
                Token::Word(word) => match current.last_mut().filter(|_| begun) {
                    Some(statement) => statement.words.push(word),
                    None => {
                        begun = true;
                        current.push(Statement {
                            place,
                            words: vec![word],
                            block: None,
                        });
                    }
                },
                Token::Open => {
                    begun = false;
                    match current.last().filter(|s| s.block.is_none()) {
                        Some(_) => {}
                        None => {
                            note(
                                &place,
                                "{",
                                "nothing stands before this brace that could have a block",
                            );
                            current.push(Statement {
                                place: place.clone(),
                                words: vec!["{".into()],
                                block: None,
                            });
                        }
                    }
                    if open.len() > DEPTH {
                        note(&place, "{", "blocks are too deep within each other");
                        return Vec::new();
                    }
                    open.push(Vec::new());
                }
                Token::Close => {
                    begun = false;
                    if open.len() == 1 {
                        note(&place, "}", "no block is open here");
                        continue;
                    }
                    let block = open.pop();
                    if let Some(owner) = open.last_mut().and_then(|outer| outer.last_mut()) {
                        owner.block = block;
                    }
                }
            }
        }
    }
    while open.len() > 1 {
        let block = open.pop();
        if let Some(owner) = open.last_mut().and_then(|outer| outer.last_mut()) {
            owner.block = block;
            let place = last.clone().unwrap_or_else(|| owner.place.clone());
            let word = owner.keyword().to_owned();
            note(&place, &word, "its block is not closed: a brace is missing");
        }
    }
    open.pop().unwrap_or_default()
}

/// Words and braces, each with its column from 0.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut all = Vec::new();
    let mut rest = text.chars().enumerate().peekable();
    while let Some(&(column, c)) = rest.peek() {
        match c {
            c if c.is_whitespace() => {
                rest.next();
            }
            '{' => {
                rest.next();
                all.push((column, Token::Open));
            }
            '}' => {
                rest.next();
                all.push((column, Token::Close));
            }
            _ => all.push((column, Token::Word(word(&mut rest)))),
        }
    }
    all
}

/// A word: quotes may begin anywhere in it, and hold white space and braces.
fn word(rest: &mut std::iter::Peekable<impl Iterator<Item = (usize, char)>>) -> String {
    let mut word = String::new();
    let mut quote = None;
    while let Some(&(_, c)) = rest.peek() {
        match (c, quote) {
            ('\\', _) => {
                rest.next();
                escape(rest, &mut word);
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() || c == '}' => break,
            // A parameter nobody defined stays as it is, braces and all.
            ('{', None) if !word.ends_with('$') => break,
            ('{', None) => {
                for (_, c) in rest.by_ref() {
                    word.push(c);
                    if c == '}' {
                        break;
                    }
                }
                continue;
            }
            (c, _) => word.push(c),
        }
        rest.next();
    }
    word
}

/// What stands for another character, behind its backslash.
fn escape(rest: &mut std::iter::Peekable<impl Iterator<Item = (usize, char)>>, word: &mut String) {
    let Some((_, c)) = rest.next() else {
        return;
    };
    let mut digits = |radix: u32, most: usize, first: u32| {
        let mut value = first;
        for _ in 0..most {
            let Some(digit) = rest.peek().and_then(|(_, c)| c.to_digit(radix)) else {
                break;
            };
            value = value.wrapping_mul(radix).wrapping_add(digit);
            rest.next();
        }
        value
    };
    let code = match c {
        'a' => 7,
        'b' => 8,
        'E' => 27,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        '0'..='7' => digits(8, 2, c.to_digit(8).unwrap_or(0)) & 0xff,
        'x' => digits(16, 8, 0) & 0xff,
        'c' => match rest.next() {
            Some((_, c)) => u32::from(c) & 0x1f,
            None => return,
        },
        other => u32::from(other),
    };
    word.extend(char::from_u32(code));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::{NoIncludes, expand};

    fn tree(text: &str) -> (Vec<Statement>, Vec<Note>) {
        let mut notes = Vec::new();
        let lines = expand(text, "f", "n", &mut NoIncludes, &mut notes);
        let statements = build(&lines, &mut notes);
        (statements, notes)
    }

    /// `a b {c {d}}`
    fn shown(statements: &[Statement]) -> String {
        let one = |s: &Statement| match &s.block {
            None => s.words.join(" "),
            Some(inner) => format!("{} {{{}}}", s.words.join(" "), shown(inner)),
        };
        statements.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn braces_stand_anywhere() {
        for text in [
            "a b {\n c 1\n d {\n e\n }\n}\nf\n",
            "a b { c 1\n d { e }\n}\nf\n",
            "a b\n{\n c 1\n d{e}}\nf",
        ] {
            let (statements, notes) = tree(text);
            assert_eq!(shown(&statements), "a b {c 1; d {e}}; f", "{text}");
            assert_eq!(notes, []);
        }
        let (statements, _) = tree("a {}\nb {\n}\n");
        assert_eq!(shown(&statements), "a {}; b {}");
    }

    #[test]
    fn quotes_and_escapes_of_the_manual_page() {
        let words = |text: &str| tree(text).0[0].words.clone();
        assert_eq!(words("abcd\" efg h jkl \"mnop"), ["abcd efg h jkl mnop"]);
        assert_eq!(
            words("abcd \"efg h jkl\" mnop"),
            ["abcd", "efg h jkl", "mnop"]
        );
        assert_eq!(words("a '{ x }' b"), ["a", "{ x }", "b"]);
        assert_eq!(
            words(r"a\tb \x41\103\\ \cA \q"),
            ["a\tb", "AC\\", "\u{1}", "q"]
        );
        assert_eq!(words("a ${UNDEF}b"), ["a", "${UNDEF}b"]);
    }

    #[test]
    fn what_does_not_fit_is_noted_where_it_stands() {
        let (statements, notes) = tree("a {\n  b\n");
        assert_eq!(shown(&statements), "a {b}");
        assert_eq!(notes.len(), 1);
        let (_, notes) = tree("a\n } \n");
        assert_eq!(notes[0].place.to_string(), "f:2:2");
        let (_, notes) = tree("{ a }\n");
        assert_eq!(notes.len(), 1);
        let (_, notes) = tree(&"a {\n".repeat(100));
        assert!(!notes.is_empty());
    }

    #[test]
    fn columns_are_those_of_the_file() {
        let (statements, _) = tree("  ab cd { ef }\n@n  gh\n");
        let places: Vec<String> = statements.iter().map(|s| s.place.to_string()).collect();
        assert_eq!(places, ["f:1:3", "f:2:5"]);
        assert_eq!(statements[0].inner()[0].place.to_string(), "f:1:11");
    }
}
