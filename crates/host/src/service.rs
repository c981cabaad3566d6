//! What the service manager is told (`sd_notify`). Without one (no `NOTIFY_SOCKET`) every call does nothing.

use sd_notify::NotifyState;
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads what the manager put into the environment. A ping is due twice per watchdog interval.
    #[must_use]
    pub fn from_environment() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().map(|interval| interval / 2),
        }
    }

    /// How often [`ServiceManager::alive`] must be called, if at all.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Start-up is finished.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload begins; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The daemon stops.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Still alive.
    pub fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // A manager that does not listen must not stop the router; it will notice the missing message itself.
    let _ = sd_notify::notify(states);
}
