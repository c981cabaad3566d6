//! A request for a page, and its answer (RFC 9112), read as it comes.

use crate::{Http, Tls};
use md5::{Digest as _, Md5};
use std::net::SocketAddr;

/// Bytes of a head at most.
const HEAD: usize = 64 << 10;
/// Bytes of a body that are looked at, at most.
const BODY: usize = 4 << 20;

/// The request.
#[must_use]
pub fn request(http: &Http, target: SocketAddr) -> Vec<u8> {
    let version = if http.version_1_1 { "1.1" } else { "1.0" };
    let host = http.host.clone().unwrap_or_else(|| {
        let usual = if http.tls.is_some() { 443 } else { 80 };
        let ip = match target.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        if target.port() == usual {
            ip
        } else {
            format!("{ip}:{}", target.port())
        }
    });
    format!(
        "GET {} HTTP/{version}\r\nHost: {host}\r\nUser-Agent: tarpon-health\r\nConnection: close\r\n\r\n",
        http.path
    )
    .into_bytes()
}

/// How the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Length(usize),
    Chunks,
    Close,
}

/// An answer as far as it has come.
#[derive(Debug)]
pub struct Answer<'h> {
    http: &'h Http,
    bytes: Vec<u8>,
    /// Status, where the body begins, and how it ends: once the head is whole.
    head: Option<(u16, usize, End)>,
}

impl<'h> Answer<'h> {
    /// Nothing yet.
    #[must_use]
    pub const fn new(http: &'h Http) -> Self {
        Self {
            http,
            bytes: Vec::new(),
            head: None,
        }
    }

    /// The server said this. `Some`: that is enough, and the verdict.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<Result<(), String>> {
        self.bytes.extend_from_slice(bytes);
        if self.head.is_none() {
            match read_head(&self.bytes) {
                Err(why) => return Some(Err(why)),
                Ok(None) if self.bytes.len() > HEAD => {
                    return Some(Err("an endless head".into()));
                }
                Ok(None) => return None,
                // An interim answer; the real one follows (RFC 9110, 15.2).
                Ok(Some((100..=199, body, _))) => {
                    self.bytes.drain(..body);
                    return self.hear(&[]);
                }
                Ok(head) => self.head = head,
            }
        }
        let (status, start, end) = self.head?;
        if let Err(why) = self.judge_status(status) {
            return Some(Err(why));
        }
        if !self.wants_body() {
            return Some(Ok(()));
        }
        let body = self.bytes.get(start..)?;
        match end {
            End::Length(length) if length.min(BODY) <= body.len() => {
                Some(self.judge_body(body.get(..length).unwrap_or(body)))
            }
            End::Chunks => match unchunk(body) {
                Err(why) => Some(Err(why)),
                Ok((body, true)) => Some(self.judge_body(&body)),
                Ok((body, false)) => (body.len() >= BODY).then(|| self.judge_body(&body)),
            },
            End::Length(_) | End::Close => (body.len() >= BODY).then(|| self.judge_body(body)),
        }
    }

    /// The server closed the connection.
    ///
    /// # Errors
    /// Why the answer will not do.
    pub fn closed(&self) -> Result<(), String> {
        let Some((_, start, end)) = self.head else {
            return Err(match self.bytes.len() {
                0 => "the connection was closed without an answer".into(),
                _ => "the connection was closed before the head was whole".into(),
            });
        };
        match end {
            End::Close => self.judge_body(self.bytes.get(start..).unwrap_or_default()),
            End::Length(_) | End::Chunks => {
                Err("the connection was closed before the body was whole".into())
            }
        }
    }

    const fn wants_body(&self) -> bool {
        let http = self.http;
        http.body.is_some() || http.body_not.is_some() || http.digest.is_some()
    }

    fn judge_status(&self, status: u16) -> Result<(), String> {
        let ranges = &self.http.status;
        if ranges
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&status))
        {
            return Ok(());
        }
        let texts: Vec<String> = ranges
            .iter()
            .map(|(from, to)| match from == to {
                true => from.to_string(),
                false => format!("{from}-{to}"),
            })
            .collect();
        Err(format!(
            "status {status}, not {}{}",
            texts.join(", "),
            self.hint(status)
        ))
    }

    /// Where a server speaks TLS with whoever comes, and asks for a certificate, it says 400 to those without a good one (nginx does).
    fn hint(&self, status: u16) -> &'static str {
        match (status, &self.http.tls) {
            (400, Some(Tls { identity: None, .. })) => {
                " (it may want a client certificate: `certificate` and `key`)"
            }
            (400, Some(_)) => " (it may not accept the client certificate)",
            _ => "",
        }
    }

    fn judge_body(&self, body: &[u8]) -> Result<(), String> {
        if let Some(pattern) = self.http.body.as_ref().filter(|p| !p.is_in(body)) {
            return Err(format!("the body does not match {pattern}"));
        }
        if let Some(pattern) = self.http.body_not.as_ref().filter(|p| p.is_in(body)) {
            return Err(format!("the body matches {pattern}"));
        }
        match self.http.digest {
            Some(wanted) if Md5::digest(body).as_slice() != wanted => Err(format!(
                "the body's digest is {}",
                hex(Md5::digest(body).as_slice())
            )),
            _ => Ok(()),
        }
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Status, length of the head, and how the body ends; `None`: not whole yet.
fn read_head(bytes: &[u8]) -> Result<Option<(u16, usize, End)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("not HTTP: {error}")),
    };
    let header = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        found.map(|h| String::from_utf8_lossy(h.value).trim().to_owned())
    };
    let status = response.code.unwrap_or(0);
    let chunked =
        header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
    let end = if matches!(status, 204 | 304) {
        End::Length(0)
    } else if chunked {
        End::Chunks
    } else if let Some(length) = header("content-length") {
        End::Length(
            length
                .parse()
                .map_err(|_| format!("Content-Length is {length:?}"))?,
        )
    } else {
        End::Close
    };
    Ok(Some((status, length, end)))
}

/// The body in the chunks there are, and whether that was the last.
fn unchunk(mut rest: &[u8]) -> Result<(Vec<u8>, bool), String> {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(rest) {
            Err(_) => return Err("a chunk without its size".into()),
            Ok(httparse::Status::Partial) => return Ok((body, false)),
            Ok(httparse::Status::Complete((_, 0))) => return Ok((body, true)),
            Ok(httparse::Status::Complete((line, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let end = line.saturating_add(size);
                let Some(chunk) = rest.get(line..end) else {
                    body.extend_from_slice(rest.get(line..).unwrap_or_default());
                    return Ok((body, false));
                };
                body.extend_from_slice(chunk);
                rest = rest.get(end.saturating_add(2)..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests;
