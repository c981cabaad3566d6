//! Lines to messages and back.

use crate::{Command, Error, ErrorCode, Item, Reply, VERSION};
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error as ThisError;

/// Bytes a request line may have; the largest holds a configuration file.
pub const MAX_REQUEST_LINE: usize = 8 << 20;

/// Bytes an answer line may have; the largest holds all services with their servers.
pub const MAX_ANSWER_LINE: usize = 256 << 20;

/// A line that is longer than allowed. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[error("a line is longer than {0} bytes")]
pub struct TooLong(pub usize);

/// Collects bytes as they come and gives out whole lines.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins; what is before it was given out.
    start: usize,
    /// Up to where no line feed is.
    searched: usize,
    limit: usize,
}

impl LineBuffer {
    /// Empty; lines have at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            searched: 0,
            limit,
        }
    }

    /// Takes in what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its line feed; `None` until more bytes come.
    ///
    /// # Errors
    /// [`TooLong`], again and again: close the stream.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let found = unsearched.iter().position(|&b| b == b'\n');
        let end = self.searched + found.unwrap_or(unsearched.len());
        if end - self.start > self.limit {
            return Err(TooLong(self.limit));
        }
        if found.is_none() {
            self.searched = end;
            return Ok(None);
        }
        let line = self.bytes.get(self.start..end).map(<[u8]>::to_vec);
        self.start = end + 1;
        self.searched = self.start;
        Ok(line)
    }
}

/// A command with the number its answer will carry.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Chosen by the client; repeated in every line of the answer.
    pub id: u64,
    /// What is asked.
    pub command: Command,
}

/// A line that is no request: what to answer, and under which id (0 when the line has none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The request's id, as far as it could be read.
    pub id: u64,
    /// What is wrong with it.
    pub error: Error,
}

impl Request {
    /// Reads a request line.
    ///
    /// # Errors
    /// [`Refused`], ready to be sent back with [`encode_error`].
    pub fn decode(line: &[u8]) -> Result<Self, Refused> {
        let bad = |id, message: String| Refused {
            id,
            error: Error::new(ErrorCode::BadRequest, message),
        };
        let mut fields: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            bad(
                0,
                format!("a request is one JSON object on one line; this is not one: {error}"),
            )
        })?;
        let id = fields
            .remove("id")
            .and_then(|v| v.as_u64())
            .ok_or_else(|| {
                bad(
                    0,
                    "`id` is missing or no number: give each request one, its answer repeats it"
                        .into(),
                )
            })?;
        match fields.remove("version") {
            Some(version) if version.as_u64() == Some(VERSION.into()) => {}
            Some(version) => {
                return Err(bad(
                    id,
                    format!(
                        "protocol version {version} is not spoken here, only {VERSION}: use the client that came with this daemon"
                    ),
                ));
            }
            None => {
                return Err(bad(
                    id,
                    format!("`version` is missing; write \"version\":{VERSION}"),
                ));
            }
        }
        let name = match fields.get("command") {
            Some(Value::String(name)) => name.clone(),
            _ => {
                return Err(bad(
                    id,
                    format!(
                        "`command` is missing or no text; one of: {}",
                        Command::NAMES.join(", ")
                    ),
                ));
            }
        };
        if !Command::NAMES.contains(&name.as_str()) {
            return Err(bad(id, unknown_command(&name)));
        }
        let command = serde_json::from_value(Value::Object(fields))
            .map_err(|error| bad(id, format!("the arguments of `{name}`: {error}")))?;
        Ok(Self { id, command })
    }

    /// The request as a line, line feed included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            version: u32,
            id: u64,
            #[serde(flatten)]
            command: &'a Command,
        }
        line(&Line {
            version: VERSION,
            id: self.id,
            command: &self.command,
        })
    }
}

fn unknown_command(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    let nearest = Command::NAMES
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&shown, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match nearest {
        Some((_, known)) => format!("unknown command `{shown}`; did you mean `{known}`?"),
        None => format!(
            "unknown command `{shown}`; one of: {}",
            Command::NAMES.join(", ")
        ),
    }
}

/// The last line of an answer that succeeded.
#[must_use]
pub fn encode_ok(id: u64, reply: &Reply) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        version: u32,
        id: u64,
        ok: &'a Reply,
    }
    line(&Line {
        version: VERSION,
        id,
        ok: reply,
    })
}

/// The last line of an answer that failed.
#[must_use]
pub fn encode_error(id: u64, error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        version: u32,
        id: u64,
        error: &'a Error,
    }
    line(&Line {
        version: VERSION,
        id,
        error,
    })
}

/// One of the lines before the last of an answer that streams.
#[must_use]
pub fn encode_item(id: u64, item: &Item) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        version: u32,
        id: u64,
        item: &'a Item,
    }
    line(&Line {
        version: VERSION,
        id,
        item,
    })
}

fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // Every message is a struct of plain values with text keys, which serde_json cannot fail to write.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// A line of an answer, as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The request's id.
    pub id: u64,
    /// What the line holds.
    pub body: Body,
}

/// The three kinds of answer line. Values are left as JSON: their type follows from the command.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The end: it succeeded.
    Ok(Value),
    /// The end: it failed.
    Error(Error),
    /// More to come.
    Item(Value),
}

impl Answer {
    /// Reads an answer line.
    ///
    /// # Errors
    /// In plain words, what is wrong with the line.
    pub fn decode(line: &[u8]) -> Result<Self, String> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(line).map_err(|e| format!("not a JSON object: {e}"))?;
        let version = fields.get("version").and_then(Value::as_u64);
        if version != Some(VERSION.into()) {
            return Err(format!(
                "the daemon does not speak protocol version {VERSION} (it says {}): use the client that came with it",
                fields.get("version").unwrap_or(&Value::Null)
            ));
        }
        let id = fields
            .get("id")
            .and_then(Value::as_u64)
            .ok_or("no `id` in the answer")?;
        let body = if let Some(value) = fields.remove("ok") {
            Body::Ok(value)
        } else if let Some(value) = fields.remove("item") {
            Body::Item(value)
        } else if let Some(value) = fields.remove("error") {
            Body::Error(serde_json::from_value(value).map_err(|e| format!("in `error`: {e}"))?)
        } else {
            return Err("neither `ok`, `item` nor `error` in the answer".into());
        };
        Ok(Self { id, body })
    }
}
