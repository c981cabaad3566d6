//! Mail about changes (`[mail]`): a thread of its own, so that a slow mail server holds up nobody.

use super::outbox::{Change, Counts, Outbox};
use api::{Event, EventKind};
use config::Mail;
use lettre::{
    Message, SmtpTransport, Transport as _,
    message::{Mailbox, header::ContentType},
    transport::smtp::extension::ClientId,
};
use std::{
    fmt::Write as _,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long the last mail may take when the daemon ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// The running thread. Dropped, it ends by itself, with a last mail if something waits; nobody waits for that.
pub struct Mailer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    begun: Instant,
    desk: Mutex<Desk>,
    wake: Condvar,
}

#[derive(Default)]
struct Desk {
    settings: Option<Mail>,
    /// The director's name.
    name: String,
    outbox: Outbox,
    stop: bool,
}

impl Mailer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub fn start(name: &str, settings: Mail) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            desk: Mutex::new(Desk {
                settings: Some(settings),
                name: name.to_owned(),
                ..Desk::default()
            }),
            wake: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("mail".into())
            .spawn(move || theirs.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Mails go by other settings from now on.
    pub fn follow(&self, settings: Mail) {
        self.shared.desk().settings = Some(settings);
    }

    /// A change to be mailed, if `state` or its kind says so. `state`: what it means for the server it is about, if it is news.
    pub fn hear(&self, event: &Event, state: Option<bool>) {
        let Some(what) = words(event, state) else {
            return;
        };
        let change = Change {
            time_ms: event.time_ms,
            what,
            cause: event.cause.clone(),
        };
        let mut desk = self.shared.desk();
        let interval = desk.settings.as_ref().map(|s| s.interval);
        let now = self.shared.begun.elapsed();
        desk.outbox.push(now, interval.unwrap_or_default(), change);
        self.shared.wake.notify_one();
    }

    /// Ends the thread, and waits a moment for its last mail.
    pub fn finish(mut self) {
        self.end();
        let last = Instant::now() + GOODBYE;
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() && Instant::now() < last {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !thread.is_finished() {
            tracing::warn!("the mail server does not answer: the last mail was not sent");
        }
    }

    fn end(&self) {
        let mut desk = self.shared.desk();
        desk.stop = true;
        desk.outbox.hurry(self.shared.begun.elapsed());
        self.shared.wake.notify_one();
    }

    /// How it went so far, and how many changes wait.
    pub fn counts(&self) -> (Counts, usize) {
        let desk = self.shared.desk();
        (desk.outbox.counts(), desk.outbox.waiting())
    }
}

impl Drop for Mailer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut desk = self.desk();
        loop {
            let now = self.begun.elapsed();
            let due = desk.outbox.due();
            if desk.stop && due.is_none() {
                return;
            }
            let wait = due.map_or(Duration::MAX, |due| due.saturating_sub(now));
            if !wait.is_zero() {
                // An hour, for `Instant`s do not reach as far as a `Duration`.
                let wait = wait.min(Duration::from_secs(3600));
                let woken = self.wake.wait_timeout(desk, wait);
                (desk, _) = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let batch = desk.outbox.batch();
            let (settings, name, last) = (desk.settings.clone(), desk.name.clone(), desk.stop);
            drop(desk);
            let sent = match settings {
                Some(settings) => send(&settings, &name, &batch),
                None => Err("there is no [mail]".into()),
            };
            desk = self.desk();
            if let Err(why) = &sent {
                tracing::warn!("a mail of {} change(s) was not sent: {why}", batch.len());
            }
            let lost = desk.outbox.counts().lost;
            desk.outbox
                .done(self.begun.elapsed(), batch.len(), sent.is_ok());
            let lost = desk.outbox.counts().lost - lost;
            if lost > 0 {
                tracing::error!("{lost} change(s) could not be mailed, and are given up");
            }
            if last {
                return;
            }
            if desk.stop {
                desk.outbox.hurry(self.begun.elapsed());
            }
        }
    }
}

fn send(settings: &Mail, name: &str, batch: &[Change]) -> Result<(), String> {
    let mailbox = |address: &str| -> Result<Mailbox, String> {
        address
            .parse()
            .map_err(|error| format!("{address:?}: {error}"))
    };
    let mut message = Message::builder()
        .from(mailbox(&settings.from)?)
        .subject(subject(name, batch))
        .message_id(None)
        .header(ContentType::TEXT_PLAIN);
    for to in &settings.to {
        message = message.to(mailbox(to)?);
    }
    let message = message
        .body(body(name, batch))
        .map_err(|error| error.to_string())?;
    let (host, port) = (&settings.smtp_server, settings.smtp_port);
    let mut transport = SmtpTransport::builder_dangerous(host)
        .port(port)
        .timeout(Some(settings.connect_timeout));
    if let Some(helo) = &settings.helo_name {
        transport = transport.hello_name(ClientId::Domain(helo.clone()));
    }
    match transport.build().send(&message) {
        Ok(_) => Ok(()),
        Err(error) => {
            let mut text = format!("{host} port {port}: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    let _ = write!(text, ": {inner_text}");
                }
                cause = inner.source();
            }
            Err(text)
        }
    }
}

fn subject(name: &str, batch: &[Change]) -> String {
    match batch {
        [one] => format!("[{name}] {}", one.what),
        _ => format!("[{name}] {} changes", batch.len()),
    }
}

fn body(name: &str, batch: &[Change]) -> String {
    let mut text = String::new();
    for Change {
        time_ms,
        what,
        cause,
    } in batch
    {
        let seconds = time_ms / 1000 % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        // Writing into a text cannot fail.
        let _ = writeln!(
            text,
            "{hour:02}:{minute:02}:{second:02} UTC  {what}\n    {cause}"
        );
    }
    let _ = writeln!(text, "\ndirector {name}");
    text
}

/// What is said of an event; `None`: nothing, it is no state that somebody would get up for.
fn words(event: &Event, state: Option<bool>) -> Option<String> {
    let service = event.service.map(|service| service.to_string());
    if let Some(router) = &event.vrrp {
        let what = match router.priority {
            Some(_) => "virtual router",
            None => "sync group",
        };
        return Some(format!("{what} {} is {}", router.name, event.what));
    }
    match event.kind {
        EventKind::QuorumWon | EventKind::QuorumLost => {
            Some(format!("service {}: {}", service?, event.what))
        }
        _ => {
            let up = if state? { "up" } else { "down" };
            Some(format!("server {} of {} is {up}", event.server?, service?))
        }
    }
}
