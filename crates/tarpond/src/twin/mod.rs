//! The other director's configuration: asked for every few seconds, and sent there when this one's has changed.
//!
//! Two threads speak with the other director; what is decided is decided on the control thread ([`crate::control`]), which they ask. So nothing waits for
//! a network there, and nothing is changed anywhere else.

mod channel;
mod desk;
mod key;

pub use desk::{Answer, Desk, Met, Question};

use crate::seldom::{Seldom, more};
use anyhow::{Context as _, Result};
use api::{TwinMessage, Version};
use channel::Channel;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the other is asked.
const EVERY: Duration = Duration::from_secs(3);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);

/// Starts the two threads. They end with the process: what they do is nothing without the control thread.
///
/// # Errors
/// The key, or the port, cannot be used.
pub fn start(twin: &config::Twin, name: &str) -> Result<Arc<Desk>> {
    let key = key::read(&twin.key_file)?;
    let any: IpAddr = match twin.peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let listener = TcpListener::bind((any, twin.port))
        .with_context(|| format!("cannot listen on TCP port {} for [twin]", twin.port))?;
    let desk = Desk::new().context("cannot make a bell for [twin]")?;
    let peer = SocketAddr::new(twin.peer, twin.port);
    let ours = Ours {
        key,
        name: name.to_owned(),
        desk: Arc::clone(&desk),
    };
    let theirs = ours.clone();
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let builder = std::thread::Builder::new().name(name.into());
        builder
            .spawn(run)
            .context("cannot start a thread for [twin]")
    };
    spawn(
        "twin-listen",
        Box::new(move || theirs.listen(&listener, peer.ip())),
    )?;
    spawn("twin", Box::new(move || ours.ask(peer)))?;
    Ok(desk)
}

#[derive(Clone)]
struct Ours {
    key: [u8; key::LENGTH],
    name: String,
    desk: Arc<Desk>,
}

impl Ours {
    /// Answers the other director, and nobody else, one connection after the other.
    fn listen(&self, listener: &TcpListener, peer: IpAddr) {
        let (mut strangers, mut unheard) = (Seldom::default(), Seldom::default());
        loop {
            let (stream, from) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!("twin: {error}");
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            if from.ip().to_canonical() != peer {
                if let Some(left_out) = strangers.may(Instant::now()) {
                    let more = more(left_out);
                    tracing::warn!(
                        "{from} is not the director that [twin] names: not talked to{more}"
                    );
                }
                continue;
            }
            if let Err(error) = self.answer(stream)
                && let Some(left_out) = unheard.may(Instant::now())
            {
                let more = more(left_out);
                tracing::warn!(
                    "what {from} says of its configuration is not heard: {error:#}{more}"
                );
            }
        }
    }

    fn answer(&self, stream: TcpStream) -> Result<()> {
        let mut channel = Channel::answer(stream, &self.key)?;
        while let Some(message) = channel.receive()? {
            let answer = match message {
                TwinMessage::State { name, versions } => {
                    self.put(Question::Heard { name, versions })?;
                    self.state()?
                }
                TwinMessage::Fetch => {
                    let (text, versions) = self.text()?;
                    TwinMessage::Text { text, versions }
                }
                TwinMessage::Push {
                    text,
                    versions,
                    force,
                } => self.take(text, versions, force)?,
                other => anyhow::bail!("{other:?} is no question"),
            };
            channel.send(&answer)?;
        }
        Ok(())
    }

    /// Asks the other director how its configuration is; does what follows.
    fn ask(&self, peer: SocketAddr) {
        loop {
            if let Err(error) = self.meet(peer) {
                let why = format!("{peer}: {error:#}");
                // Without a control thread there is nobody to tell.
                let _ = self.put(Question::Failed(why));
            }
            self.desk.wait(EVERY);
        }
    }

    fn meet(&self, peer: SocketAddr) -> Result<()> {
        let stream = TcpStream::connect_timeout(&peer, CONNECT).context("cannot connect")?;
        let mut channel = Channel::ask(stream, &self.key)?;
        let mut call = |message: &TwinMessage| {
            channel.send(message)?;
            channel.receive()?.context("it has closed the connection")
        };
        let TwinMessage::State { name, versions } = call(&self.state()?)? else {
            anyhow::bail!("it does not say which version it has");
        };
        let Answer::Next(next) = self.put(Question::Met { name, versions })? else {
            return Ok(());
        };
        match next {
            Met::Nothing => {}
            Met::Fetch => match call(&TwinMessage::Fetch)? {
                TwinMessage::Text { text, versions } => {
                    self.put(Question::Fetched { text, versions })?;
                }
                _ => anyhow::bail!("it does not say what its configuration is"),
            },
            Met::Push { force } => {
                let (text, versions) = self.text()?;
                let push = TwinMessage::Push {
                    text,
                    versions,
                    force,
                };
                let result = match call(&push)? {
                    TwinMessage::Taken { changes } => Ok(changes),
                    TwinMessage::Refused { message, details } => Err((message, details)),
                    _ => anyhow::bail!("it does not say whether it took the configuration"),
                };
                self.put(Question::Pushed(result))?;
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<TwinMessage> {
        let (_, versions) = self.text()?;
        Ok(TwinMessage::State {
            name: self.name.clone(),
            versions,
        })
    }

    fn text(&self) -> Result<(String, Vec<Version>)> {
        match self.put(Question::Text)? {
            Answer::Text(text, versions) => Ok((text, versions)),
            _ => anyhow::bail!("the director does not know its own configuration"),
        }
    }

    fn take(&self, text: String, versions: Vec<Version>, force: bool) -> Result<TwinMessage> {
        let question = Question::Take {
            text,
            versions,
            force,
        };
        Ok(match self.put(question)? {
            Answer::Taken(Ok(changes)) => TwinMessage::Taken { changes },
            Answer::Taken(Err((message, details))) => TwinMessage::Refused { message, details },
            _ => anyhow::bail!("the director does not say whether it took it"),
        })
    }

    fn put(&self, question: Question) -> Result<Answer> {
        let answer = self.desk.put(question);
        answer.context("the director is busy, or stops")
    }
}
