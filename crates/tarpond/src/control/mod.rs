//! The control thread: it owns the desired state and answers the control socket.
//!
//! One thread, one loop: signals, clients, and once a second the chores. Nothing here waits for a client or for a worker.

mod claims;
mod client;
mod commands;
mod drill;
mod edits;
mod explain;
mod floods;
mod health;
mod jobs;
mod journal;
mod listener;
mod listings;
mod overload;
mod passive;
mod routers;
mod signals;
mod state;
mod twin;

use client::Client;
use host::ServiceManager;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

pub use claims::Claims;
pub use listener::Listener;
pub use signals::Signals;
pub use state::Control;
pub use twin::Twin;

/// Clients at once.
const CLIENTS: usize = 64;
/// Between chores: reclaiming, gauges, drains. (Rates have a clock of their own.)
const CHORES: Duration = Duration::from_secs(1);
/// How soon a capture looks for more frames.
const CAPTURE_POLL: Duration = Duration::from_millis(5);

/// Runs until a signal or a client says stop; says which.
pub fn run(
    control: &mut Control,
    listener: &Listener,
    signals: &Signals,
    manager: &ServiceManager,
) -> &'static str {
    let mut clients: Vec<Client> = Vec::new();
    let mut next_chores = Instant::now() + CHORES;
    let cause = loop {
        let busy = clients.iter().any(Client::wants_attention);
        let wait = if busy {
            CAPTURE_POLL
        } else {
            next_chores.saturating_duration_since(Instant::now())
        };
        let wait = wait.min(control.estimate()).min(control.flush());
        let wait = wait.min(control.look_at_attempts());
        let wait = wait.min(overload::look(control));
        control.tell();
        wait_for_something(control, listener, signals, &clients, wait);

        control.follow_health();
        control.answer_twin();
        let received = signals.take();
        if received.stop {
            break "told to by a signal";
        }
        if received.reload {
            control.actor = "SIGHUP".into();
            manager.reloading();
            match control.reload() {
                Ok(applied) if applied.changes.is_empty() => {
                    tracing::info!("reload: nothing differs")
                }
                Ok(applied) => tracing::info!("reload: {} change(s)", applied.changes.len()),
                Err(error) => tracing::error!("reload refused, everything stays as it is: {error}"),
            }
            manager.ready("forwarding");
        }
        for stream in listener.accept() {
            // Those beyond the bound are told so; those beyond twice the bound not even that.
            if clients.len() < 2 * CLIENTS {
                clients.extend(Client::welcome(stream, clients.len() >= CLIENTS));
            }
        }
        for client in &mut clients {
            client.serve(control);
        }
        clients.retain(|client| !client.is_done());
        if Instant::now() >= next_chores {
            next_chores = Instant::now() + CHORES;
            control.chores();
            if manager.watchdog().is_some() && control.workers_alive() {
                manager.alive();
            }
        }
        if control.is_shutting_down() {
            break "told to by a client";
        }
    };
    tracing::info!("stopping: {cause}");
    control.end_capture();
    control.last_words();
    for client in &mut clients {
        client.say_goodbye();
    }
    cause
}

fn wait_for_something(
    control: &Control,
    listener: &Listener,
    signals: &Signals,
    clients: &[Client],
    wait: Duration,
) {
    let mut watched = vec![
        PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(control.news_of_health(), PollFlags::IN),
        PollFd::from_borrowed_fd(control.news_of_takeover(), PollFlags::IN),
    ];
    watched.extend(
        signals
            .watched()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
    );
    watched.extend(
        control
            .questions_of_twin()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
    );
    watched.extend(
        clients
            .iter()
            .map(|client| PollFd::from_borrowed_fd(client.as_fd(), client.interest())),
    );
    let timeout = Timespec {
        tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    };
    match poll(&mut watched, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        // Never spin on a poll that cannot work.
        Err(_) => std::thread::sleep(Duration::from_millis(10)),
    }
}
