//! What the control thread owns: the desired state, the director it goes to, ports and TAPs.

use super::listings::Rates;
use crate::{
    capture::{Session, Switch},
    clock::Clock,
    desired::{PortFacts, desired},
    health::{Health, News, Program, Quorum, Standing},
    ports::{OpenPort, Pools},
    takeover::{self, Takeover},
    taps::Taps,
    worker::Gauge,
};
use ::health::{Change, Outcome};
use api::{Applied, Effect, Error, ErrorCode};
use config::{Config, ServiceKey};
use dpdk::MemoryMode;
use engine::Director;
use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// The control thread's own.
pub struct Control {
    /// In force: the file's, with the runtime edits since.
    pub(super) config: Config,
    /// As last applied from a file.
    applied: Config,
    /// The file the daemon was started with.
    pub(super) file: PathBuf,
    pub(super) director: Director,
    pub(super) ports: Vec<OpenPort>,
    pub(super) taps: Taps,
    pub(super) gauges: Vec<Arc<Gauge>>,
    /// The CPU of each worker.
    pub(super) cpus: Vec<usize>,
    pub(super) memory: MemoryMode,
    pub(super) pools: Pools,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) rates: Rates,
    /// Servers a client drains now.
    pub(super) draining: HashSet<(ServiceKey, SocketAddr)>,
    pub(super) shutting_down: bool,
    pub(super) health: Health,
    pub(super) standing: Standing,
    /// VRRP; `None` once it has ended.
    takeover: Option<Takeover>,
    /// Ports that had a carrier once: of one that never had, nothing is known.
    carriers: HashSet<types::PortId>,
    facts: Vec<PortFacts>,
    switch: Arc<Switch>,
    capturing: bool,
    /// Rounds of each worker when it was last looked whether they live.
    rounds: Vec<u64>,
}

impl Control {
    /// Takes over a director to which `config` has been applied.
    #[expect(
        clippy::too_many_arguments,
        reason = "everything start-up made ends here, once"
    )]
    pub fn new(
        config: Config,
        file: PathBuf,
        director: Director,
        ports: Vec<OpenPort>,
        taps: Taps,
        gauges: Vec<Arc<Gauge>>,
        cpus: Vec<usize>,
        memory: MemoryMode,
        pools: Pools,
        switch: Arc<Switch>,
        clock: Clock,
        health: Health,
        takeover: Takeover,
    ) -> Self {
        let mut control = Self {
            applied: config.clone(),
            config,
            file,
            director,
            facts: ports.iter().map(PortFacts::from).collect(),
            ports,
            taps,
            rates: Rates::new(&gauges),
            rounds: vec![u64::MAX; gauges.len()],
            gauges,
            cpus,
            memory,
            pools,
            clock,
            started: Instant::now(),
            draining: HashSet::new(),
            shutting_down: false,
            takeover: Some(takeover),
            carriers: HashSet::new(),
            switch,
            capturing: false,
            health,
            standing: Standing::default(),
        };
        // News of the first judgement, which start-up has already enforced.
        control.judge();
        control
    }

    /// Reads the daemon's own file again and applies it.
    ///
    /// # Errors
    /// Everything is as it was then.
    pub fn reload(&mut self) -> Result<Applied, Error> {
        let text = std::fs::read_to_string(&self.file).map_err(|error| {
            Error::new(
                ErrorCode::Invalid,
                format!("cannot read {}: {error}", self.file.display()),
            )
        })?;
        let name = self.file.display().to_string();
        self.apply_text(&text, &name)
    }

    /// Applies a file's text: all of it, or nothing.
    ///
    /// # Errors
    /// Every mistake in it, or what of it needs a restart.
    pub fn apply_text(&mut self, text: &str, name: &str) -> Result<Applied, Error> {
        let new = parsed(text, name)?;
        let applied = self.difference(&new);
        self.enforce(new.clone())?;
        self.applied = new;
        Ok(applied)
    }

    /// What applying a file's text would change.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn check_text(&self, text: &str, name: &str) -> Result<Applied, Error> {
        Ok(self.difference(&parsed(text, name)?))
    }

    /// Makes `new` the state in force: all of it, or nothing. Says what changed.
    ///
    /// # Errors
    /// What needs a restart, or what the director cannot do.
    pub fn enforce(&mut self, new: Config) -> Result<Vec<String>, Error> {
        let changes = config::diff(&self.config, &new);
        let restarts: Vec<String> = changes
            .iter()
            .filter(|change| change.effect == config::Effect::Restart)
            .map(|change| change.text.clone())
            .collect();
        if !restarts.is_empty() {
            let message = "nothing was applied, because some of it needs a restart of the daemon";
            return Err(Error::new(ErrorCode::NeedsRestart, message).with_details(restarts));
        }
        if !changes.is_empty() {
            self.health.follow(&new);
            if let Err(error) = self.publish(&new) {
                self.health.follow(&self.config);
                return Err(error);
            }
            if let Err(error) = self.taps.follow(&new) {
                self.step_back();
                let message = format!("nothing was applied: {error:#}");
                return Err(Error::new(ErrorCode::Internal, message));
            }
        }
        self.config = new;
        let texts: Vec<String> = changes.into_iter().map(|change| change.text).collect();
        for text in &texts {
            tracing::info!("{text}");
        }
        Ok(texts)
    }

    /// Runtime edits since a file was last applied.
    pub fn edits(&self) -> Vec<String> {
        texts(config::diff(&self.applied, &self.config))
    }

    /// How the virtual routers are.
    pub fn vrrp(&self) -> Vec<api::Vrrp> {
        self.takeover
            .as_ref()
            .map(Takeover::shown)
            .unwrap_or_default()
    }

    /// Gives up an instance or a group.
    ///
    /// # Errors
    /// There is none, or it is not master.
    pub fn fail_over(&self, name: &str) -> Result<Vec<String>, Error> {
        match &self.takeover {
            Some(takeover) => takeover.fail_over(name),
            None => Err(Error::new(ErrorCode::Internal, "the daemon is stopping")),
        }
    }

    /// Releases all virtual addresses.
    pub fn end_takeover(&mut self) {
        self.takeover = None;
    }

    /// Once a second: frees what workers have let go of, and takes the gauges.
    pub fn chores(&mut self) {
        self.director.reclaim();
        if self.standing.grows() {
            self.judge();
        }
        self.rates.sample(&self.gauges);
        self.look_at_carriers();
    }

    fn look_at_carriers(&mut self) {
        let Some(takeover) = &self.takeover else {
            return;
        };
        for open in &self.ports {
            let up = open.port.link().up;
            if up {
                self.carriers.insert(open.id);
            }
            if self.carriers.contains(&open.id) {
                takeover.carrier(open.id, up);
            }
        }
    }

    /// Takes the rates' next step if it is due; how long until the one after.
    pub fn estimate(&mut self) -> Duration {
        let now = self.clock.now();
        let due = self.director.estimate(now);
        Duration::from_millis(due.0.saturating_sub(now.0))
    }

    /// Whether every worker has come round since this was last asked.
    pub fn workers_alive(&mut self) -> bool {
        let mut alive = true;
        for (gauge, before) in self.gauges.iter().zip(&mut self.rounds) {
            let now = gauge.read().rounds;
            alive &= now != *before;
            *before = now;
        }
        alive
    }

    /// Whether a client has told the daemon to stop.
    pub const fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// Starts a capture. False if one runs already.
    pub fn begin_capture(&mut self, session: &Arc<Session>) -> bool {
        if self.capturing {
            return false;
        }
        self.capturing = true;
        self.switch.set(Some(Arc::clone(session)));
        true
    }

    /// Ends the capture, if one runs.
    pub fn end_capture(&mut self) {
        self.capturing = false;
        self.switch.set(None);
    }

    /// Becomes readable when the checks have found something.
    pub fn news_of_health(&self) -> std::os::fd::BorrowedFd<'_> {
        self.health.watched()
    }

    /// Acts on what the checks have found since the last call.
    pub fn follow_health(&mut self) {
        let news = self.health.take_news();
        if news.is_empty() {
            return;
        }
        for item in &news {
            self.verdict_changed(item);
        }
        self.judge();
    }

    /// Enforces the state again, with the verdicts as they are now.
    fn judge(&mut self) {
        let config = self.config.clone();
        if let Err(error) = self.publish(&config) {
            tracing::error!("what the checks found cannot be enforced: {error}");
        }
    }

    fn verdict_changed(&self, news: &News) {
        let (service, server) = (news.id.service, news.id.server);
        let Some(configured) = self.config.services.iter().find(|s| s.key == service) else {
            return;
        };
        let policy = &configured.health;
        let own = policy.servers.get(&server);
        let (word, command) = match (news.change, &news.outcome) {
            (Some(Change::Down), _) => ("down", own.map(|own| &own.notify_down)),
            // Up is a server when the last of its checks finds it so.
            (Some(Change::Up), _) if !self.health.is_up(service, server) => {
                tracing::info!(
                    "service {service}: server {server}: {} check passes, another still fails",
                    news.kind
                );
                return;
            }
            (Some(Change::Up), _) => ("up", own.map(|own| &own.notify_up)),
            (None, _) => ("asks for another weight", None),
        };
        let why = match &news.outcome {
            Outcome::Failed(why) | Outcome::Undecided(why) => format!("{} check: {why}", news.kind),
            Outcome::Passed {
                weight: Some(weight),
            } => format!("{} check: weight {weight}", news.kind),
            Outcome::Passed { weight: None } => format!("{} check passes", news.kind),
        };
        tracing::info!("service {service}: server {server}: {word} ({why})");
        if let Some(command) = command {
            self.health.tell(Program {
                command: command.clone(),
                user: policy.user().to_owned(),
            });
        }
    }

    fn quorum_changed(&self, config: &Config, quorum: Quorum) {
        let Quorum {
            service,
            won,
            live,
            needed,
        } = quorum;
        let Some(configured) = config.services.iter().find(|s| s.key == service) else {
            return;
        };
        let policy = &configured.health;
        let (word, command) = if won {
            ("won", &policy.quorum_up)
        } else {
            ("lost", &policy.quorum_down)
        };
        let sorry = match policy.sorry_server {
            Some(sorry) if !won => format!("; {} serves instead", sorry.address),
            _ => String::new(),
        };
        tracing::info!(
            "service {service}: quorum {word} (weights of live servers: {live}, needed: {needed}){sorry}"
        );
        self.health.tell(Program {
            command: command.clone(),
            user: policy.user().to_owned(),
        });
    }

    fn publish(&mut self, config: &Config) -> Result<(), Error> {
        let mut wanted = desired(config, &self.facts);
        let quorums = self.standing.impose(config, &self.health, &mut wanted);
        match self.director.apply(self.clock.now(), &wanted) {
            Ok(_) => {
                for quorum in quorums {
                    self.quorum_changed(config, quorum);
                }
                if let Some(takeover) = &self.takeover {
                    takeover.follow(takeover::plans(config, &self.facts));
                }
                Ok(())
            }
            Err(errors) => {
                let details = errors.iter().map(ToString::to_string).collect();
                let message = "nothing was applied: the director cannot work like that";
                Err(Error::new(ErrorCode::Invalid, message).with_details(details))
            }
        }
    }

    /// Makes what was in force before a failure the state again.
    fn step_back(&mut self) {
        let before = self.config.clone();
        self.health.follow(&before);
        if let Err(error) = self.publish(&before) {
            tracing::error!("cannot go back to the state before: {error}");
        }
        if let Err(error) = self.taps.follow(&before) {
            tracing::error!("cannot go back to the state before: {error:#}");
        }
    }

    fn difference(&self, new: &Config) -> Applied {
        let kept: HashSet<String> = config::diff(new, &self.config)
            .iter()
            .map(|change| subject(&change.text))
            .collect();
        Applied {
            changes: config::diff(&self.config, new)
                .into_iter()
                .map(|change| api::Change {
                    text: change.text,
                    effect: match change.effect {
                        config::Effect::Reload => Effect::Reload,
                        config::Effect::Restart => Effect::Restart,
                    },
                })
                .collect(),
            // An edit is lost if what it changed is otherwise in the new file.
            lost_edits: self
                .edits()
                .into_iter()
                .filter(|edit| kept.contains(&subject(edit)))
                .collect(),
        }
    }
}

fn parsed(text: &str, name: &str) -> Result<Config, Error> {
    Config::parse(text, name).map_err(|report| {
        let details: Vec<String> = report.lines().collect();
        let message = match details.len() {
            1 => format!("{name} has a mistake"),
            n => format!("{name} has {n} mistakes"),
        };
        Error::new(ErrorCode::Invalid, message).with_details(details)
    })
}

fn texts(changes: Vec<config::Change>) -> Vec<String> {
    changes.into_iter().map(|change| change.text).collect()
}

/// What a change is about: its text up to the old value, where it has one ("service X: scheduler rr -> wlc").
fn subject(text: &str) -> String {
    text.split_once(" -> ")
        .map_or(text, |(before, _)| {
            before.rsplit_once(' ').map_or(before, |(what, _)| what)
        })
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::subject;

    #[test]
    fn a_change_is_about_what_stands_before_its_old_value() {
        assert_eq!(
            subject("service tcp 192.0.2.10:80: scheduler rr -> wlc"),
            "service tcp 192.0.2.10:80: scheduler"
        );
        assert_eq!(
            subject("service tcp 192.0.2.10:80: added"),
            "service tcp 192.0.2.10:80: added"
        );
    }
}
