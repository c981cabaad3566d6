//! Filter text to [`Filter`].

use super::{End, Filter, Node, Test, headers};
use std::{net::IpAddr, str::FromStr};
use thiserror::Error;
use types::{IpNet, MacAddr};

/// Characters a filter may have.
pub const MAX_FILTER_LENGTH: usize = 4096;

/// Parentheses and negations inside one another: bounds the recursion here and in matching.
const MAX_DEPTH: usize = 64;

/// What is wrong with a filter, and at which character (from 1).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("filter, at character {at}: {what}")]
pub struct FilterError {
    /// Character, from 1.
    pub at: usize,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// Parses a filter; blank text is the filter that matches every frame.
///
/// # Errors
/// [`FilterError`], the first mistake found.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAX_FILTER_LENGTH {
        return Err(FilterError {
            at: MAX_FILTER_LENGTH,
            what: format!("longer than {MAX_FILTER_LENGTH} bytes"),
        });
    }
    let tokens = split(text);
    if tokens.is_empty() {
        return Ok(Filter::all());
    }
    let mut parser = Parser {
        tokens,
        next: 0,
        end: text.chars().count() + 1,
        depth: 0,
        changes: 0,
    };
    let node = parser.expression()?;
    match parser.peek() {
        None => Ok(Filter(node)),
        Some(")") => Err(parser.wrong("a closing parenthesis that was never opened")),
        Some(other) => {
            let what =
                format!("`{other}` was not expected here; join conditions with `and` or `or`");
            Err(parser.wrong(what))
        }
    }
}

/// A word with the character it begins at.
type Token<'t> = (usize, &'t str);

fn split(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start: Option<(usize, usize)> = None;
    let mut chars = text.char_indices().enumerate().peekable();
    while let Some((column, (at, c))) = chars.next() {
        let single = matches!(c, '(' | ')' | '!');
        let pair = matches!(c, '&' | '|')
            && chars
                .peek()
                .is_some_and(|&(_, (_, following))| following == c);
        if (c.is_whitespace() || single || pair)
            && let Some((column, from)) = start.take()
        {
            tokens.extend(text.get(from..at).map(|word| (column + 1, word)));
        }
        if single {
            tokens.extend(text.get(at..=at).map(|word| (column + 1, word)));
        } else if pair {
            chars.next();
            tokens.extend(text.get(at..at + 2).map(|word| (column + 1, word)));
        } else if !c.is_whitespace() && start.is_none() {
            start = Some((column, at));
        }
    }
    if let Some((column, from)) = start {
        tokens.extend(text.get(from..).map(|word| (column + 1, word)));
    }
    tokens
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    next: usize,
    end: usize,
    depth: usize,
    /// Times `and` and `or` alternated: each nests what was before one level deeper.
    changes: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.next).map(|&(_, word)| word)
    }

    fn word(&mut self, wanted: &str) -> Result<&'t str, FilterError> {
        let word = self
            .peek()
            .ok_or_else(|| self.wrong(format!("it ends where {wanted} must follow")))?;
        self.next += 1;
        Ok(word)
    }

    /// An error at the word that comes next.
    fn wrong(&self, what: impl Into<String>) -> FilterError {
        FilterError {
            at: self.tokens.get(self.next).map_or(self.end, |&(at, _)| at),
            what: what.into(),
        }
    }

    /// An error at the word just taken.
    fn wrong_last(&self, what: impl Into<String>) -> FilterError {
        FilterError {
            at: self
                .tokens
                .get(self.next.saturating_sub(1))
                .map_or(self.end, |&(at, _)| at),
            what: what.into(),
        }
    }

    fn joiner(&self) -> Option<bool> {
        match self.peek()? {
            "and" | "&&" => Some(true),
            "or" | "||" => Some(false),
            _ => None,
        }
    }

    /// Conditions with `and` and `or` between them, from left to right, as tcpdump has it.
    fn expression(&mut self) -> Result<Node, FilterError> {
        let mut left = self.side_by_side()?;
        while let Some(and) = self.joiner() {
            let mut nodes = vec![left];
            while self.joiner() == Some(and) {
                self.next += 1;
                nodes.push(self.side_by_side()?);
            }
            left = if and {
                Node::And(nodes)
            } else {
                Node::Or(nodes)
            };
            self.changes += 1;
            if self.changes > MAX_DEPTH {
                return Err(self.wrong(format!(
                    "`and` and `or` alternate more than {MAX_DEPTH} times; group them with parentheses"
                )));
            }
        }
        Ok(left)
    }

    /// `tcp port 80`: all of them.
    fn side_by_side(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.factor()?];
        while let Some(word) = self.peek() {
            if word == ")" || self.joiner().is_some() {
                break;
            }
            nodes.push(self.factor()?);
        }
        match nodes.pop() {
            Some(only) if nodes.is_empty() => Ok(only),
            Some(last) => {
                nodes.push(last);
                Ok(Node::And(nodes))
            }
            None => Err(self.wrong("a condition must follow")),
        }
    }

    fn factor(&mut self) -> Result<Node, FilterError> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let node = match self.word("a condition, like `host 192.0.2.1`,")? {
            "not" | "!" => Node::Not(Box::new(self.factor()?)),
            "(" => {
                let inner = self.expression()?;
                if self.peek() != Some(")") {
                    return Err(self.wrong("a closing parenthesis is missing"));
                }
                self.next += 1;
                inner
            }
            word => Node::Test(self.primitive(word)?),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn primitive(&mut self, word: &str) -> Result<Test, FilterError> {
        Ok(match word {
            "src" => return self.ended(End::Source),
            "dst" => return self.ended(End::Destination),
            "host" | "net" | "port" | "portrange" => return self.endpoint(End::Either, word),
            "ether" => {
                let mut next = self.word("`host`, `src` or `dst`")?;
                let end = match next {
                    "src" => End::Source,
                    "dst" => End::Destination,
                    _ => End::Either,
                };
                if end != End::Either && self.peek() == Some("host") {
                    next = self.word("`host`")?;
                }
                if end == End::Either && next != "host" {
                    return Err(self.wrong_last("after `ether` write `host`, `src` or `dst`"));
                }
                let mac = self.word("a MAC address")?;
                Test::Ether(
                    end,
                    mac.parse::<MacAddr>()
                        .map_err(|e| self.wrong_last(e.to_string()))?,
                )
            }
            "ip" => Test::EtherType(headers::IPV4),
            "ip6" => Test::EtherType(headers::IPV6),
            "arp" => Test::EtherType(headers::ARP),
            "icmp" => Test::Protocol(1),
            "tcp" => Test::Protocol(6),
            "udp" => Test::Protocol(17),
            "icmp6" => Test::Protocol(58),
            "sctp" => Test::Protocol(132),
            "proto" => Test::Protocol(self.number("a protocol number, 0 to 255")?),
            "vlan" => match self.peek().and_then(|w| w.parse::<u16>().ok()) {
                None => Test::Vlan(None),
                Some(id @ 0..=4095) => {
                    self.next += 1;
                    Test::Vlan(Some(id))
                }
                Some(id) => {
                    return Err(self.wrong(format!("VLAN id {id} is out of range; 0 to 4095")));
                }
            },
            "less" => Test::Less(self.number("a length in bytes")?),
            "greater" => Test::Greater(self.number("a length in bytes")?),
            "and" | "&&" | "or" | "||" | ")" => {
                return Err(self.wrong_last(format!("a condition must come before `{word}`")));
            }
            _ => return Err(self.unknown(word)),
        })
    }

    fn ended(&mut self, end: End) -> Result<Test, FilterError> {
        match self.word("`host`, `net`, `port` or an address")? {
            kind @ ("host" | "net" | "port" | "portrange") => self.endpoint(end, kind),
            address => self.net(end, address),
        }
    }

    fn endpoint(&mut self, end: End, kind: &str) -> Result<Test, FilterError> {
        match kind {
            "host" => {
                let text = self.word("an address")?;
                let address: IpAddr = text.parse().map_err(|_| {
                    self.wrong_last(format!(
                        "`{text}` is not an IP address (names are not looked up)"
                    ))
                })?;
                Ok(Test::Net(end, IpNet::host(address)))
            }
            "net" => {
                let text = self.word("a prefix, like 192.0.2.0/24")?;
                self.net(end, text)
            }
            "port" => {
                let port = self.number("a port number, 0 to 65535")?;
                Ok(Test::Ports(end, port, port))
            }
            _ => {
                let text = self.word("a range, like 8000-8080")?;
                let range = text
                    .split_once('-')
                    .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)))
                    .filter(|(low, high)| low <= high);
                let Some((low, high)) = range else {
                    return Err(self
                        .wrong_last(format!("`{text}` is not a range of ports, like 8000-8080")));
                };
                Ok(Test::Ports(end, low, high))
            }
        }
    }

    fn net(&mut self, end: End, text: &str) -> Result<Test, FilterError> {
        let net = text
            .parse::<IpNet>()
            .map_err(|e| self.wrong_last(e.to_string()))?;
        Ok(Test::Net(end, net))
    }

    fn number<T: FromStr>(&mut self, wanted: &str) -> Result<T, FilterError> {
        let word = self.word(wanted)?;
        word.parse()
            .map_err(|_| self.wrong_last(format!("`{word}` is not {wanted}")))
    }

    fn unknown(&self, word: &str) -> FilterError {
        const WORDS: &[&str] = &[
            "host",
            "net",
            "port",
            "portrange",
            "src",
            "dst",
            "ether",
            "ip",
            "ip6",
            "arp",
            "tcp",
            "udp",
            "sctp",
            "icmp",
            "icmp6",
            "proto",
            "vlan",
            "less",
            "greater",
            "and",
            "or",
            "not",
        ];
        let what = if word.parse::<IpAddr>().is_ok() {
            format!("write `host {word}`")
        } else if word.parse::<IpNet>().is_ok() {
            format!("write `net {word}`")
        } else if word.parse::<u16>().is_ok() {
            format!("write `port {word}`")
        } else {
            let nearest = WORDS
                .iter()
                .map(|w| (strsim::damerau_levenshtein(word, w), w))
                .min();
            match nearest {
                Some((distance @ ..=2, near)) if distance < near.len() => {
                    format!("unknown word `{word}`; did you mean `{near}`?")
                }
                _ => format!("unknown word `{word}`; one of: {}", WORDS.join(", ")),
            }
        };
        self.wrong_last(what)
    }
}
