//! Edits at run time: on a copy, then through the same checks as a file.

use crate::{Config, Netmask, Persistence, Problem, Server, Service, ServiceKey};
use std::{fmt, net::SocketAddr};
use types::{PersistenceEngine, Scheduler, SchedulerFlag};

/// Why an edit was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// What is to be added is there already.
    Exists(String),
    /// What is to be changed or removed is not there.
    NotFound(String),
    /// The result would be wrong in these ways.
    Invalid(Vec<Problem>),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(what) | Self::NotFound(what) => f.write_str(what),
            Self::Invalid(problems) => {
                for (n, problem) in problems.iter().enumerate() {
                    if n > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for EditError {}

impl Config {
    /// The configuration after `edit`, checked; `self` is as it was.
    ///
    /// # Errors
    /// What `edit` fails with, or [`EditError::Invalid`] if its result makes no sense.
    pub fn edited(
        &self,
        edit: impl FnOnce(&mut Self) -> Result<(), EditError>,
    ) -> Result<Self, EditError> {
        let mut edited = self.clone();
        edit(&mut edited)?;
        let problems = edited.problems();
        if problems.is_empty() {
            Ok(edited)
        } else {
            Err(EditError::Invalid(problems))
        }
    }

    /// Adds a service at the end.
    ///
    /// # Errors
    /// [`EditError::Exists`].
    pub fn add_service(&mut self, service: Service) -> Result<(), EditError> {
        let key = service.key();
        if self.services.iter().any(|s| s.key() == key) {
            return Err(EditError::Exists(format!(
                "the service {key} exists already: edit it, or delete it first"
            )));
        }
        self.services.push(service);
        Ok(())
    }

    /// A service, to be changed.
    ///
    /// # Errors
    /// [`EditError::NotFound`], with the services there are.
    pub fn service_mut(&mut self, key: ServiceKey) -> Result<&mut Service, EditError> {
        let known: Vec<String> = self.services.iter().map(|s| s.key().to_string()).collect();
        self.services
            .iter_mut()
            .find(|s| s.key() == key)
            .ok_or_else(|| {
                EditError::NotFound(format!(
                    "there is no service {key}: {}",
                    listed("services", &known)
                ))
            })
    }

    /// Removes a service with its servers.
    ///
    /// # Errors
    /// [`EditError::NotFound`].
    pub fn delete_service(&mut self, key: ServiceKey) -> Result<(), EditError> {
        self.service_mut(key)?;
        self.services.retain(|s| s.key() != key);
        Ok(())
    }
}

impl Service {
    /// Adds a server, the newest.
    ///
    /// # Errors
    /// [`EditError::Exists`].
    pub fn add_server(&mut self, server: Server) -> Result<(), EditError> {
        if self.servers.iter().any(|s| s.address == server.address) {
            return Err(EditError::Exists(format!(
                "{} is a server of {} already: edit it, or delete it first",
                server.address,
                self.key()
            )));
        }
        self.servers.push(server);
        Ok(())
    }

    /// A server, to be changed.
    ///
    /// # Errors
    /// [`EditError::NotFound`], with the servers there are.
    pub fn server_mut(&mut self, address: SocketAddr) -> Result<&mut Server, EditError> {
        let key = self.key();
        let known: Vec<String> = self.servers.iter().map(|s| s.address.to_string()).collect();
        self.servers
            .iter_mut()
            .find(|s| s.address == address)
            .ok_or_else(|| {
                EditError::NotFound(format!(
                    "{address} is no server of {key}: {}",
                    listed("servers", &known)
                ))
            })
    }

    /// Removes a server.
    ///
    /// # Errors
    /// [`EditError::NotFound`].
    pub fn delete_server(&mut self, address: SocketAddr) -> Result<(), EditError> {
        self.server_mut(address)?;
        self.servers.retain(|s| s.address != address);
        self.health.servers.remove(&address);
        Ok(())
    }

    /// Changes the scheduler: what is absent stays, but flags that are nothing for a new scheduler go.
    pub fn set_scheduler(&mut self, scheduler: Option<Scheduler>, flags: Option<&[SchedulerFlag]>) {
        if let Some(scheduler) = scheduler {
            self.scheduler = scheduler;
            self.scheduler_flags.retain(|f| f.fits(scheduler));
        }
        if let Some(flags) = flags {
            self.scheduler_flags = flags.to_vec();
            self.scheduler_flags.sort_unstable();
            self.scheduler_flags.dedup();
        }
    }

    /// Changes persistence: `seconds` 0 turns it off, absent leaves it; so `netmask` (its text: an IPv4 mask, or an IPv6
    /// prefix length) and `engine` (`Some(None)` turns that off).
    ///
    /// # Errors
    /// [`EditError::Invalid`] for a netmask that is none, and for one without persistence.
    pub fn set_persistence(
        &mut self,
        seconds: Option<u32>,
        netmask: Option<&str>,
        engine: Option<Option<PersistenceEngine>>,
    ) -> Result<(), EditError> {
        let invalid =
            |what: &str, instead: String| EditError::Invalid(vec![Problem::new("", what, instead)]);
        let before = self.persistence;
        let timeout_s = seconds.unwrap_or_else(|| before.map_or(0, |p| p.timeout_s));
        let netmask = match netmask {
            None => None,
            Some(_) if timeout_s == 0 => {
                return Err(invalid(
                    "a netmask without persistence does nothing",
                    "give persistent seconds too, like 300".into(),
                ));
            }
            Some(text) => Some(
                Netmask::parse(text, &self.address_or_any())
                    .map_err(|instead| invalid("wrong netmask", instead))?,
            ),
        };
        self.persistence = (timeout_s > 0).then(|| Persistence {
            timeout_s,
            netmask: netmask
                .or(before.map(|p| p.netmask))
                .unwrap_or_else(|| Netmask::whole(&self.address_or_any())),
        });
        if let Some(engine) = engine {
            self.persistence_engine = engine;
        }
        Ok(())
    }
}

/// "the services are A, B", shortened when there are many.
fn listed(what: &str, names: &[String]) -> String {
    match names.len() {
        0 => format!("there are no {what}"),
        1..=8 => format!("the {what} are {}", names.join(", ")),
        n => format!("there are {n} {what}"),
    }
}
