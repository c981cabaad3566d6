//! Telling others what has changed: FIFOs and files of lines (`[[notify]]`), and mail (`[mail]`).
//!
//! Everything is told from the journal, on the control thread, and nothing here waits for anybody: what a reader does not take is
//! kept up to a bound, and beyond that lost and counted.

mod lines;
mod mail;
mod outbox;
mod reader;
mod stream;

use api::{Event, EventKind};
use config::{Config, NotifyAbout};
use mail::Mailer;
use std::{collections::HashMap, net::SocketAddr};
use stream::Stream;
use types::ServiceKey;

/// Who is told.
pub struct Tellers {
    streams: Vec<Stream>,
    /// Readers that are ending.
    leaving: Vec<std::thread::JoinHandle<()>>,
    /// The thread that mails, and what is mailed.
    mail: Option<(Mailer, Vec<NotifyAbout>)>,
    /// The number of the last event that was told.
    pub seen: u64,
    /// Servers as they were told of last, up or not.
    told: HashMap<(ServiceKey, SocketAddr), bool>,
}

impl Tellers {
    /// Nobody yet; nobody is told of the events up to `seen`.
    pub fn from_now(seen: u64) -> Self {
        Self {
            streams: Vec::new(),
            leaving: Vec::new(),
            mail: None,
            seen,
            told: HashMap::new(),
        }
    }

    /// Tells those whom `config` names, from now on. Those who stay keep what waits for them.
    pub fn follow(&mut self, config: &Config, is_up: impl Fn(ServiceKey, SocketAddr) -> bool) {
        let mut before = std::mem::take(&mut self.streams);
        for plan in &config.notify {
            let same = before.iter().position(|stream| stream.plan == *plan);
            let stream = match same {
                Some(at) => before.swap_remove(at),
                None => {
                    // What was at this path goes before it is taken again.
                    let at_it = |stream: &mut Stream| stream.plan.to.path() == plan.to.path();
                    let gone = before.extract_if(.., at_it);
                    self.leaving.extend(gone.filter_map(Stream::end));
                    Stream::new(plan.clone())
                }
            };
            self.streams.push(stream);
        }
        self.leaving.retain(|reader| !reader.is_finished());
        self.leaving
            .extend(before.into_iter().filter_map(Stream::end));
        self.follow_mail(config);
        self.told.retain(|(service, server), up| {
            let service = config.services.iter().find(|s| s.key == *service);
            let known = |s: &config::Service| s.servers.iter().any(|s| s.address == *server);
            service.is_some_and(|s| known(s) && *up == is_up(s.key, *server))
        });
    }

    /// Tells of an event. `is_up`: whether a server is, all in all.
    pub fn hear(&mut self, event: &Event, is_up: impl Fn(ServiceKey, SocketAddr) -> bool) {
        self.seen = event.number;
        let about = about(event.kind);
        let state = self.state(event, is_up);
        if let Some((mailer, events)) = &self.mail
            && events.contains(&about)
        {
            mailer.hear(event, state);
        }
        for stream in &mut self.streams {
            if stream.plan.events.contains(&about)
                && let Some(line) = lines::line(stream.plan.format, event, state)
            {
                stream.push(line);
            }
        }
    }

    fn follow_mail(&mut self, config: &Config) {
        let Some(wanted) = &config.mail else {
            self.mail = None;
            return;
        };
        match &mut self.mail {
            Some((mailer, events)) => {
                mailer.follow(wanted.clone());
                events.clone_from(&wanted.events);
            }
            None => match Mailer::start(&config.director.name, wanted.clone()) {
                Ok(mailer) => self.mail = Some((mailer, wanted.events.clone())),
                Err(error) => tracing::error!("there will be no mail: {error}"),
            },
        }
    }

    /// What became of mail.
    pub fn mail(&self) -> Option<api::MailStatus> {
        let (counts, waiting) = self.mail.as_ref()?.0.counts();
        Some(api::MailStatus {
            sent: counts.sent,
            failed: counts.failed,
            given_up: counts.lost,
            waiting: waiting as u64,
        })
    }

    /// Writes what readers take.
    pub fn flush(&mut self) {
        for stream in &mut self.streams {
            stream.flush();
            stream.look_after_reader();
        }
    }

    /// What an event about a server means for it as a whole, if it is news: several checks, and clients' attempts, have a say.
    fn state(
        &mut self,
        event: &Event,
        is_up: impl Fn(ServiceKey, SocketAddr) -> bool,
    ) -> Option<bool> {
        let key = (event.service?, event.server?);
        let up = match event.kind {
            EventKind::ServerDown | EventKind::ServerEjected => false,
            EventKind::ServerUp | EventKind::ServerReadmitted if is_up(key.0, key.1) => true,
            _ => return None,
        };
        (self.told.insert(key, up) != Some(up)).then_some(up)
    }
}

impl Drop for Tellers {
    fn drop(&mut self) {
        let streams = std::mem::take(&mut self.streams);
        self.leaving
            .extend(streams.into_iter().filter_map(Stream::end));
        for reader in std::mem::take(&mut self.leaving) {
            // It has nothing to say.
            let _ = reader.join();
        }
        if let Some((mailer, _)) = self.mail.take() {
            mailer.finish();
        }
    }
}

const fn about(kind: EventKind) -> NotifyAbout {
    match kind {
        EventKind::Started | EventKind::Stopped | EventKind::Configured | EventKind::Twin => {
            NotifyAbout::Configuration
        }
        EventKind::VrrpMaster
        | EventKind::VrrpBackup
        | EventKind::VrrpFault
        | EventKind::VrrpStopped
        | EventKind::VrrpTracked
        | EventKind::VrrpConflict => NotifyAbout::Vrrp,
        EventKind::ServerUp
        | EventKind::ServerDown
        | EventKind::ServerSuspect
        | EventKind::ServerAnswers
        | EventKind::ServerEjected
        | EventKind::ServerReadmitted
        | EventKind::Weight
        | EventKind::QuorumWon
        | EventKind::QuorumLost
        | EventKind::FloodBegun
        | EventKind::FloodOver
        | EventKind::OverloadBegun
        | EventKind::OverloadOver
        | EventKind::AddressClaimed
        | EventKind::AddressUncontested => NotifyAbout::Services,
    }
}

#[cfg(test)]
mod tests;
