//! One run of a health check over the host's stack. When, how often and what follows is not decided here: see `health`.
//!
//! [`run`] is a future for a current-thread tokio runtime. It ends within the check's timeout, and tells apart a server that
//! does not answer as it should ([`Outcome::Failed`]) from a director that cannot ask ([`Outcome::Undecided`]).
//! BFD sessions are no runs: [`bfd`] has their sockets.
#![forbid(unsafe_code)]

pub mod bfd;
mod bind;
mod datagram;
mod ping;
mod program;
mod stream;
mod tls;
mod users;

pub use program::{Finished, execute, start};
pub use users::owner;

use health::{Check, Kind, NumberFile, Outcome, Wish};
use std::{io, net::SocketAddr, time::Duration};

/// Why a check did not pass.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// The server's fault, as far as one can see.
    Server(String),
    /// The director's.
    Here(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Server(why)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        // Also in the middle of a conversation: with TLS 1.3 a server refuses a client's certificate after the handshake.
        let inner = error.get_ref();
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::Server(format!("TLS: {tls}"));
        }
        let ours = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
            Errno::PERM,
            Errno::ACCESS,
        ];
        match Errno::from_io_error(&error) {
            Some(errno) if ours.contains(&errno) => Self::Here(worded(&error)),
            _ => Self::Server(worded(&error)),
        }
    }
}

/// The system's words, without its number.
fn worded(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "no reason given".into(),
    }
}

/// Makes `check` of `server`.
pub async fn run(check: &Check, server: SocketAddr) -> Outcome {
    let timeout = check.timing.timeout;
    let passed = match &check.kind {
        // Their timeouts are answers of their own.
        Kind::Udp(udp) => datagram::udp(udp, check, server).await.map(|()| None),
        Kind::Script(script) => {
            let weight = program::check(script, check, server).await;
            weight.map(|weight| weight.map(Wish::To))
        }
        Kind::File(file) => number(file),
        _ => match tokio::time::timeout(timeout, conversation(check, server)).await {
            Ok(result) => result.map(|()| None),
            Err(_) => Err(Failure::Server(silence(timeout))),
        },
    };
    match passed {
        Ok(weight) => Outcome::Passed { weight },
        Err(Failure::Server(why)) => Outcome::Failed(why),
        Err(Failure::Here(why)) => Outcome::Undecided(why),
    }
}

fn silence(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs_f64())
}

async fn conversation(check: &Check, server: SocketAddr) -> Result<(), Failure> {
    let target = check.target(server);
    let endpoint = check.endpoint(server);
    match &check.kind {
        Kind::Tcp { send, expect } => {
            let stream = stream::connect(endpoint, &check.bind).await?;
            stream::tcp(stream, send.as_deref(), expect.as_ref()).await
        }
        Kind::Http(http) => {
            let stream = stream::connect(endpoint, &check.bind).await?;
            match &http.tls {
                None => stream::http(stream, http, target).await,
                Some(options) => {
                    let stream = tls::handshake(stream, options, http, target).await?;
                    stream::http(stream, http, target).await
                }
            }
        }
        Kind::Smtp { helo } => {
            let stream = stream::connect(endpoint, &check.bind).await?;
            stream::smtp(stream, helo).await
        }
        Kind::Dns { name, record } => datagram::dns(name, *record, check, server).await,
        Kind::Ping => ping::ping(target.ip(), &check.bind).await,
        Kind::File(_) | Kind::Udp(_) | Kind::Script(_) | Kind::Bfd(_) => {
            Err(Failure::Here("not a conversation".into()))
        }
    }
}

/// Reads a file with a number.
fn number(file: &NumberFile) -> Result<Option<Wish>, Failure> {
    match std::fs::read(&file.path) {
        Ok(bytes) => Ok(file.judge(Some(&String::from_utf8_lossy(&bytes)))?),
        Err(_) if file.missing_is_zero => Ok(file.judge(None)?),
        Err(error) => Err(Failure::Server(format!(
            "{}: {}",
            file.path.display(),
            worded(&error)
        ))),
    }
}

/// Numbers nobody can guess, to tell answers apart.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
