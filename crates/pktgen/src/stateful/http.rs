//! Requests and responses of HTTP/1.1 (RFC 9112): those we send, and reading those that come.

use thiserror::Error;

/// Bytes of a head at most.
pub const HEAD_MOST: usize = 8192;
/// Header lines of a message at most.
const LINES: usize = 64;
/// By this our own responses are known: their content is then known, too.
const OURS: &str = "pktgen";
/// Bytes of content that repeat.
const CYCLE: usize = 1 << 16;

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HttpError {
    /// Not HTTP, or too much of it.
    #[error("no HTTP message")]
    Malformed,
    /// A content of which it is not said how long it is, in a way that is understood here.
    #[error("a content of unknown length")]
    Length,
}

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Bytes of the head.
    pub head: usize,
    /// 200, we hope.
    pub status: u16,
    /// Bytes of the content; none: until the connection ends.
    pub content: Option<u64>,
    /// A pktgen has made it: its content is [`Content`].
    pub is_ours: bool,
    /// The server ends the connection behind it.
    pub closes: bool,
}

/// A request, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of it, content included.
    pub len: usize,
    /// No other follows.
    pub closes: bool,
    /// The content of the response is not wanted.
    pub is_head: bool,
}

/// Reads the head of a response; none if there is more to come.
///
/// # Errors
/// [`HttpError`].
pub fn response(bytes: &[u8]) -> Result<Option<Response>, HttpError> {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut read = httparse::Response::new(&mut lines);
    let head = match read.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MOST => return Ok(None),
        _ => return Err(HttpError::Malformed),
    };
    let status = read.code.ok_or(HttpError::Malformed)?;
    let lines = Lines::of(read.headers)?;
    if lines.is_coded {
        return Err(HttpError::Length);
    }
    // RFC 9112 6.3: these have none, whatever they say.
    let content = match status {
        100..=199 | 204 | 304 => Some(0),
        _ => lines.content,
    };
    Ok(Some(Response {
        head,
        status,
        content,
        is_ours: lines.is_ours,
        closes: lines.closes.unwrap_or(read.version == Some(0)),
    }))
}

/// Reads a request; none if there is more to come.
///
/// # Errors
/// [`HttpError`].
pub fn request(bytes: &[u8]) -> Result<Option<Request>, HttpError> {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut read = httparse::Request::new(&mut lines);
    let head = match read.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MOST => return Ok(None),
        _ => return Err(HttpError::Malformed),
    };
    let lines = Lines::of(read.headers)?;
    let content = usize::try_from(lines.content.unwrap_or(0)).unwrap_or(usize::MAX);
    let len = head.saturating_add(content);
    if lines.is_coded || len > HEAD_MOST {
        return Err(HttpError::Length);
    }
    Ok((len <= bytes.len()).then_some(Request {
        len,
        closes: lines.closes.unwrap_or(read.version == Some(0)),
        is_head: read.method == Some("HEAD"),
    }))
}

/// What header lines say that matters here.
#[derive(Default)]
struct Lines {
    content: Option<u64>,
    closes: Option<bool>,
    is_coded: bool,
    is_ours: bool,
}

impl Lines {
    fn of(headers: &[httparse::Header<'_>]) -> Result<Self, HttpError> {
        let mut lines = Self::default();
        for header in headers {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                // RFC 9112 6.3: two that differ are an attack.
                if number.is_none() || lines.content.is_some_and(|c| Some(c) != number) {
                    return Err(HttpError::Length);
                }
                lines.content = number;
            } else if header.name.eq_ignore_ascii_case("connection") {
                let mut words = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
                if words.clone().any(|w| w.eq_ignore_ascii_case(b"close")) {
                    lines.closes = Some(true);
                } else if words.any(|w| w.eq_ignore_ascii_case(b"keep-alive")) {
                    lines.closes = Some(false);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                lines.is_coded = true;
            } else if header.name.eq_ignore_ascii_case("server") {
                lines.is_ours = value == OURS.as_bytes();
            }
        }
        Ok(lines)
    }
}

/// A GET of at least `size` bytes; `closes` asks for the connection's end behind the response. Whether it does changes no length.
#[must_use]
pub fn get(host: &str, path: &str, size: usize, closes: bool) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    // Blanks behind a value are none of it (RFC 9110 5.5).
    text += if closes {
        "Connection: close     \r\n"
    } else {
        "Connection: keep-alive\r\n"
    };
    let name = "X-Fill: ";
    let room = size.saturating_sub(text.len() + 2);
    if room > 0 {
        // A line of one byte at least.
        let fill = room.saturating_sub(name.len() + 2).max(1);
        text += name;
        text.extend(std::iter::repeat_n('x', fill));
        text += "\r\n";
    }
    (text + "\r\n").into_bytes()
}

/// The head of our own response with `content` bytes. Whether it closes changes no length.
#[must_use]
pub fn ok(content: u64, closes: bool) -> Vec<u8> {
    let connection = if closes { "close     " } else { "keep-alive" };
    let text = format!(
        "HTTP/1.1 200 OK\r\nServer: {OURS}\r\nContent-Type: application/octet-stream\r\nContent-Length: {content}\r\nConnection: {connection}\r\n\r\n"
    );
    text.into_bytes()
}

/// The content of our own responses: of any length, told from any other by every byte.
pub struct Content(Box<[u8]>);

impl Content {
    /// The only one.
    #[must_use]
    pub fn new() -> Self {
        // Printable, lines of 64, no period that divides a segment's size.
        let mut random = crate::random::Random::new(1);
        let byte = |at: usize| match at % 64 {
            63 => b'\n',
            _ => b'a' + u8::try_from(random.below(26)).unwrap_or(0),
        };
        Self((0..CYCLE).map(byte).collect())
    }

    /// Writes the bytes from `at` on.
    #[inline]
    pub fn fill(&self, mut at: u64, mut out: &mut [u8]) {
        while !out.is_empty() {
            let piece = self.piece(at, out.len());
            let (now, later) = out.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            at += piece.len() as u64;
            out = later;
        }
    }

    /// Whether these are the bytes from `at` on.
    #[must_use]
    #[inline]
    pub fn is(&self, mut at: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(at, bytes.len());
            let (now, later) = bytes.split_at(piece.len());
            if now != piece {
                return false;
            }
            at += piece.len() as u64;
            bytes = later;
        }
        true
    }

    #[inline]
    fn piece(&self, at: u64, len: usize) -> &[u8] {
        let from = usize::try_from(at % CYCLE as u64).unwrap_or(0);
        &self.0[from..CYCLE.min(from + len)]
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_own_messages_are_read_and_closing_changes_no_length() {
        for size in [0, 80, 100, 1000] {
            let [stays, closes] = [false, true].map(|closes| get("h", "/", size, closes));
            assert_eq!(stays.len(), closes.len());
            assert!(
                stays.len() >= size && stays.len() <= size.max(90),
                "{size}: {}",
                stays.len()
            );
            let read = request(&closes).unwrap().unwrap();
            assert_eq!(
                read,
                Request {
                    len: closes.len(),
                    closes: true,
                    is_head: false
                }
            );
            assert!(!request(&stays).unwrap().unwrap().closes);
            assert_eq!(request(&stays[..stays.len() - 1]), Ok(None));
        }
        assert_eq!(ok(7, true).len(), ok(7, false).len());
        let read = response(&ok(12_345, true)).unwrap().unwrap();
        let head = ok(12_345, true).len();
        assert_eq!(
            read,
            Response {
                head,
                status: 200,
                content: Some(12_345),
                is_ours: true,
                closes: true
            }
        );
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let read = |lines: &str| response(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes());
        assert_eq!(
            read("Transfer-Encoding: chunked\r\n"),
            Err(HttpError::Length)
        );
        assert_eq!(
            read("Content-Length: 1\r\nContent-Length: 2\r\n"),
            Err(HttpError::Length)
        );
        assert_eq!(read("Content-Length: -1\r\n"), Err(HttpError::Length));
        assert_eq!(read("").unwrap().unwrap().content, None);
        assert_eq!(response(b"SSH-2.0-x\r\n"), Err(HttpError::Malformed));
        assert_eq!(response(&[b'H'; HEAD_MOST]), Err(HttpError::Malformed));
        let big = request(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n");
        assert_eq!(big, Err(HttpError::Length));
        assert!(request(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap().closes);
        let no_content = response(b"HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(no_content.content, Some(0));
    }

    proptest! {
        #[test]
        fn content_is_the_same_however_it_is_cut(at in 0..200_000_u64, len in 0..150_000_usize, cut in 0..150_000_usize, wrong in 0..150_000_usize) {
            let content = Content::new();
            let mut bytes = vec![0; len];
            let (before, behind) = bytes.split_at_mut(cut.min(len));
            content.fill(at, before);
            content.fill(at + before.len() as u64, behind);
            prop_assert!(content.is(at, &bytes));
            if let Some(byte) = bytes.get_mut(wrong) {
                *byte ^= 1;
                prop_assert!(!content.is(at, &bytes));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0..3_usize) {
            let bytes = [[&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: ", b"GET / HTTP/1.1\r\n"][start], &bytes].concat();
            if let Ok(Some(read)) = response(&bytes) {
                prop_assert!(read.head <= bytes.len());
            }
            if let Ok(Some(read)) = request(&bytes) {
                prop_assert!(read.len <= bytes.len());
            }
        }
    }
}
