//! What the control thread owns: the desired state, the director it goes to, ports and TAPs.

use super::{
    Claims, Twin, claims, drill, floods, health, journal::Journal, listings::Rates,
    overload::Capacity, passive, routers,
};
use crate::{
    capture::{Session, Switch},
    clock::Clock,
    desired::{PortFacts, desired},
    detour::Detours,
    health::{
        Health, News, Program, Quorum, Standing,
        standing::{Seen, Verdicts as _},
    },
    ports::{OpenPort, Pools},
    source::{Read, Source},
    sync::{self, Sync},
    takeover::{self, Item, News as Transitions, Takeover},
    taps::Taps,
    tell::Tellers,
    trace::Trace,
    worker::Gauge,
};
use ::health::{Change, Outcome, Watch, Wish};
use api::{Applied, Effect, Error, ErrorCode, EventKind};
use config::{Config, ServiceKey};
use dpdk::MemoryMode;
use engine::Director;
use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use vrrp::TrackerKind;

/// The control thread's own.
pub struct Control {
    /// In force: the file's, with the runtime edits since.
    pub(super) config: Config,
    /// As last applied from a file.
    applied: Config,
    /// Where the daemon's own configuration comes from.
    pub(super) source: Source,
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
    /// How often a server was edited with nothing changed ([`engine::model::Server::edits`]).
    idle_edits: HashMap<(ServiceKey, SocketAddr), u32>,
    pub(super) shutting_down: bool,
    pub(super) health: Health,
    detours: Detours,
    pub(super) standing: Standing,
    /// What clients' own connections say of servers.
    pub(super) watch: Watch,
    /// When that is looked at next.
    next_look: Instant,
    /// VRRP; `None` once it has ended.
    takeover: Option<Takeover>,
    /// What virtual routers did.
    transitions: Arc<Transitions>,
    sync: Option<Sync>,
    /// The other director's configuration.
    pub(super) twin: Option<Twin>,
    /// Services under floods of SYNs.
    pub(super) floods: floods::Floods,
    /// How workers fare.
    pub(super) capacity: Capacity,
    /// Who else claims virtual addresses.
    pub(super) claims: Claims,
    pub(super) journal: Journal,
    tellers: Tellers,
    /// Servers as their checks found them when that was last acted on: of several checks the first that fails counts.
    found: HashMap<(ServiceKey, SocketAddr), bool>,
    /// Whose command is being obeyed: the cause of what changes.
    pub(super) actor: String,
    facts: Vec<PortFacts>,
    switch: Arc<Switch>,
    capturing: bool,
    tracing: bool,
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
        source: Source,
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
        detours: Detours,
        (takeover, sync, twin): (Takeover, Sync, Option<Twin>),
        claims: Claims,
    ) -> Self {
        let (journal, before) = Journal::resumed(&config.director);
        let mut control = Self {
            applied: config.clone(),
            config,
            source,
            director,
            facts: ports.iter().map(PortFacts::from).collect(),
            ports,
            taps,
            rates: Rates::new(&gauges),
            capacity: Capacity::new(gauges.len()),
            rounds: vec![u64::MAX; gauges.len()],
            gauges,
            cpus,
            memory,
            pools,
            clock,
            started: Instant::now(),
            draining: HashSet::new(),
            idle_edits: HashMap::new(),
            shutting_down: false,
            transitions: takeover.news(),
            takeover: Some(takeover),
            sync: Some(sync),
            twin,
            switch,
            capturing: false,
            tracing: false,
            health,
            detours,
            standing: Standing::default(),
            watch: Watch::default(),
            next_look: Instant::now(),
            floods: floods::Floods::default(),
            claims,
            tellers: Tellers::from_now(journal.last()),
            journal,
            found: HashMap::new(),
            actor: "start".into(),
        };
        let what = format!("forwarding by {}", control.source.file.display());
        let cause = match before {
            Some(before) if before.kind != EventKind::Stopped => {
                "start; the daemon before did not stop, it was cut off"
            }
            _ => "start",
        };
        control
            .journal
            .add(EventKind::Started, (None, None), what, cause.into());
        // News of the first judgement, which start-up has already enforced.
        control.judge();
        control.choose_tellers();
        control.tell_of_those_up();
        control
    }

    /// Tells of servers that are taken for well at the start, where that is wanted (`init_notifies`).
    fn tell_of_those_up(&mut self) {
        let services = self.config.services.iter();
        for service in services.filter(|service| service.health.init_notifies) {
            let policy = &service.health;
            for server in service.servers.iter().map(|server| server.address) {
                if !self.health.is_up(service.key, server) {
                    continue;
                }
                let about = (Some(service.key), Some(server));
                let (what, cause) = ("up".to_owned(), "start".to_owned());
                self.journal.add(EventKind::ServerUp, about, what, cause);
                self.found.insert((service.key, server), true);
                if let Some(own) = policy.servers.get(&server) {
                    let (command, user) = (own.notify_up.clone(), policy.user().to_owned());
                    self.health.tell(Program { command, user });
                }
            }
        }
    }

    /// Reads the daemon's own file again and applies it.
    ///
    /// # Errors
    /// Everything is as it was then.
    pub fn reload(&mut self) -> Result<Applied, Error> {
        let read = self.source.read();
        let Read { text, name, notes } = read.map_err(|why| Error::new(ErrorCode::Invalid, why))?;
        for note in notes {
            tracing::warn!("{note}");
        }
        self.actor = format!("reload of {name}, asked for by {}", self.actor);
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

    /// What of a file's text is not applied.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn unapplied(&self, text: &str, name: &str) -> Result<Vec<String>, Error> {
        Ok(texts(config::diff(&self.applied, &parsed(text, name)?)))
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
            self.detours.follow(&new);
            self.health.follow(&new, &self.detours);
            if let Err(error) = self.publish(&new) {
                self.detours.follow(&self.config);
                self.health.follow(&self.config, &self.detours);
                return Err(error);
            }
            if let Err(error) = self.taps.follow(&new) {
                self.step_back();
                let message = format!("nothing was applied: {error:#}");
                return Err(Error::new(ErrorCode::Internal, message));
            }
        }
        self.config = new;
        if !changes.is_empty() {
            self.choose_tellers();
            if let Some(twin) = &mut self.twin {
                twin.follow(&self.config);
            }
        }
        let texts: Vec<String> = changes.into_iter().map(|change| change.text).collect();
        for text in &texts {
            let service = None;
            self.journal.add(
                EventKind::Configured,
                (service, None),
                text.clone(),
                self.actor.clone(),
            );
        }
        Ok(texts)
    }

    /// Enforces an edit of a server that changed nothing: as in IPVS, wrr begins its pass anew.
    ///
    /// # Errors
    /// What the director cannot do.
    pub fn edited_idly(&mut self, service: ServiceKey, server: SocketAddr) -> Result<(), Error> {
        let config = self.config.clone();
        self.idle_edits.retain(|(key, address), _| {
            let service = config.services.iter().find(|s| s.key == *key);
            service.is_some_and(|s| s.servers.iter().any(|s| s.address == *address))
        });
        let edits = self.idle_edits.entry((service, server)).or_default();
        *edits = edits.wrapping_add(1);
        self.publish(&config)
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

    /// How connection synchronisation goes.
    pub fn synchronisation(&self) -> Option<api::Sync> {
        self.sync.as_ref().and_then(Sync::shown)
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

    /// Gives up an instance or a group, measures, and takes it back.
    ///
    /// # Errors
    /// There is none, it is not master, or the other director is not known to be ready.
    pub fn drill(&self, wanted: &api::Drill) -> Result<Vec<String>, Error> {
        let Some(takeover) = &self.takeover else {
            return Err(Error::new(ErrorCode::Internal, "the daemon is stopping"));
        };
        takeover.master(&wanted.instance)?;
        if !wanted.force
            && let Some(why) = drill::unready(self.synchronisation().as_ref())
        {
            let message = format!("{why}; with --force the drill is made in any case");
            return Err(Error::new(ErrorCode::Invalid, message));
        }
        takeover.drill(&wanted.instance)
    }

    /// The drill under way, or the last one.
    pub fn drill_state(&self) -> Option<api::DrillState> {
        self.takeover.as_ref().and_then(Takeover::drill_shown)
    }

    /// Releases all virtual addresses.
    pub fn end_takeover(&mut self) {
        self.takeover = None;
        self.sync = None;
    }

    /// Once a second: frees what workers have let go of, and takes the gauges.
    pub fn chores(&mut self) {
        self.director.reclaim();
        if self.standing.grows() {
            self.judge();
        }
        self.rates.sample(&self.gauges);
        claims::look(self);
        floods::look(self);
    }

    /// Takes the rates' next step if it is due; how long until the one after.
    pub fn estimate(&mut self) -> Duration {
        let now = self.clock.now();
        let due = self.director.estimate(now);
        Duration::from_millis(due.0.saturating_sub(now.0))
    }

    /// Goes on ending the connections of removed servers; how long until the next piece of it.
    pub fn flush(&mut self) -> Duration {
        const PAUSE: Duration = Duration::from_millis(50);
        if self.director.flush() {
            PAUSE
        } else {
            Duration::MAX
        }
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

    /// Starts a trace. False if one runs already.
    pub fn begin_trace(&mut self, trace: &Arc<Trace>) -> bool {
        if self.tracing {
            return false;
        }
        self.tracing = true;
        self.switch.set_trace(Some(Arc::clone(trace)));
        true
    }

    /// Ends the trace, if one runs.
    pub fn end_trace(&mut self) {
        self.tracing = false;
        self.switch.set_trace(None);
    }

    /// Becomes readable when the checks have found something.
    pub fn news_of_health(&self) -> std::os::fd::BorrowedFd<'_> {
        self.health.watched()
    }

    /// Acts on what the checks have found since the last call.
    pub fn follow_health(&mut self) {
        let news = self.health.take_news();
        if let Some(takeover) = &self.takeover {
            for (name, finding) in self.health.take_found() {
                takeover.found(TrackerKind::Bfd, &name, finding);
            }
        }
        if news.is_empty() {
            return;
        }
        for item in &news {
            self.verdict_changed(item);
        }
        self.judge();
    }

    /// Becomes readable when those who speak with the other director ask something.
    pub fn questions_of_twin(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.twin.as_ref().map(Twin::watched)
    }

    /// Becomes readable when a virtual router is in another state.
    pub fn news_of_takeover(&self) -> std::os::fd::BorrowedFd<'_> {
        self.transitions.watched()
    }

    /// Tells whoever wants to know what has happened since the last call.
    pub fn tell(&mut self) {
        for item in self.transitions.take() {
            match item {
                Item::Transition(transition) => {
                    self.journal.add_transition(&transition);
                    for program in routers::programs(&self.config.vrrp_notify, &transition) {
                        self.health.tell(program);
                    }
                }
                Item::Tracked(tracked) => self.journal.add_tracked(tracked),
                Item::Conflict(conflict) => {
                    self.journal.add_conflict(&conflict);
                    for program in routers::contradicting(&self.config.vrrp_notify, &conflict) {
                        self.health.tell(program);
                    }
                }
            }
        }
        let seen = Seen {
            health: &self.health,
            watch: &self.watch,
        };
        for event in self.journal.after(self.tellers.seen) {
            self.tellers
                .hear(event, |key, server| seen.is_up(key, server));
        }
        self.tellers.flush();
        self.journal.write();
    }

    /// Tells that the daemon ends, and of nothing any more.
    pub fn tell_of_the_end(&mut self, cause: &str) {
        self.tell();
        let what = "stopped forwarding".to_owned();
        self.journal
            .add(EventKind::Stopped, (None, None), what, cause.to_owned());
        self.tell();
        self.journal.sync();
    }

    /// What became of mail.
    pub fn mail(&self) -> Option<api::MailStatus> {
        self.tellers.mail()
    }

    fn choose_tellers(&mut self) {
        let (config, health) = (&self.config, &self.health);
        self.found.retain(|(service, server), up| {
            let service = config.services.iter().find(|s| s.key == *service);
            let known = |s: &config::Service| s.servers.iter().any(|s| s.address == *server);
            service.is_some_and(|s| known(s) && *up == health.is_up(s.key, *server))
        });
        let seen = Seen {
            health: &self.health,
            watch: &self.watch,
        };
        self.tellers
            .follow(&self.config, |key, server| seen.is_up(key, server));
    }

    /// What is known of servers now.
    pub(super) const fn seen(&self) -> Seen<'_> {
        Seen {
            health: &self.health,
            watch: &self.watch,
        }
    }

    /// Looks at what clients' connections say of servers, if it is time to; how long until the next look.
    pub fn look_at_attempts(&mut self) -> Duration {
        let config = &self.config;
        if !config.services.iter().any(|s| s.health.passive.is_on()) {
            return Duration::MAX;
        }
        let wait = self.next_look.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            return wait;
        }
        self.next_look = Instant::now() + passive::PAUSE;
        if passive::look(self) {
            self.judge();
        }
        passive::PAUSE
    }

    /// Enforces the state again, with the verdicts as they are now.
    fn judge(&mut self) {
        let config = self.config.clone();
        if let Err(error) = self.publish(&config) {
            tracing::error!("what the checks found cannot be enforced: {error}");
        }
    }

    fn verdict_changed(&mut self, news: &News) {
        let (service, server) = (news.id.service, news.id.server);
        let Some(configured) = self.config.services.iter().find(|s| s.key == service) else {
            return;
        };
        let policy = &configured.health;
        let own = policy.servers.get(&server);
        let (kind, word, command) = match news.change {
            Some(Change::Down) => {
                let command = own.map(|own| own.notify_down.clone());
                (EventKind::ServerDown, "down", command)
            }
            // Up is a server when the last of its checks finds it so.
            Some(Change::Up) if !self.health.is_up(service, server) => return,
            Some(Change::Up) => {
                let command = own.map(|own| own.notify_up.clone());
                (EventKind::ServerUp, "up", command)
            }
            None => (EventKind::Weight, "asks for another weight", None),
        };
        if let Some(change) = news.change {
            let up = change == Change::Up;
            if self.found.insert((service, server), up) == Some(up) {
                return;
            }
        }
        let why = match &news.outcome {
            Outcome::Failed(why) | Outcome::Undecided(why) => format!("{} check: {why}", news.kind),
            Outcome::Passed {
                weight: Some(Wish::To(weight)),
            } => format!("{} check: weight {weight}", news.kind),
            Outcome::Passed {
                weight: Some(Wish::By(more)),
            } => format!("{} check: weight {more:+}", news.kind),
            Outcome::Passed { weight: None } => format!("{} check passes", news.kind),
        };
        let user = policy.user().to_owned();
        self.journal
            .add(kind, (Some(service), Some(server)), word.to_owned(), why);
        if let Some(command) = command {
            self.health.tell(Program { command, user });
        }
    }

    fn quorum_changed(&mut self, config: &Config, quorum: Quorum) {
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
        let (kind, word, command) = if won {
            (EventKind::QuorumWon, "won", &policy.quorum_up)
        } else {
            (EventKind::QuorumLost, "lost", &policy.quorum_down)
        };
        let sorry = match policy.sorry_server {
            Some(sorry) if !won => format!("; {} serves instead", sorry.address),
            _ => String::new(),
        };
        self.journal.add(
            kind,
            (Some(service), None),
            format!("quorum {word}{sorry}"),
            format!("weights of live servers: {live}, needed: {needed}"),
        );
        self.health.tell(Program {
            command: command.clone(),
            user: policy.user().to_owned(),
        });
    }

    /// Tells the programs that want to know of the end (`omega`) that what is up now is no longer, and, as keepalived does, of every quorum
    /// that it is lost, be it for the second time.
    pub fn last_words(&self) {
        self.health.end_sessions();
        for service in self.config.services.iter().filter(|s| s.health.omega) {
            let policy = &service.health;
            // Those that live while the sorry server serves are out already, as there.
            let sorry = self.standing.is_sorry(service.key);
            let up = |s: &&config::Server| !sorry && self.health.is_up(service.key, s.address);
            let of_servers = service.servers.iter().filter(up).filter_map(|server| {
                let own = policy.servers.get(&server.address)?;
                Some(own.notify_down.clone())
            });
            for command in of_servers.chain([policy.quorum_down.clone()]) {
                let user = policy.user().to_owned();
                self.health.tell(Program { command, user });
            }
        }
    }

    fn publish(&mut self, config: &Config) -> Result<(), Error> {
        let mut wanted = desired(config, &self.facts);
        wanted.stations.extend(self.detours.stations());
        for service in &mut wanted.services {
            for server in &mut service.servers {
                let edits = self.idle_edits.get(&(service.key, server.address));
                server.edits = edits.copied().unwrap_or(0);
            }
        }
        self.watch.retain(&passive::watched(config));
        let seen = Seen {
            health: &self.health,
            watch: &self.watch,
        };
        let quorums = self.standing.impose(config, &seen, &mut wanted);
        let shares = health::shares(config, &seen);
        match self.director.apply(self.clock.now(), &wanted) {
            Ok(_) => {
                for quorum in quorums {
                    self.quorum_changed(config, quorum);
                }
                if let Some(takeover) = &mut self.takeover {
                    let plans = takeover::plans(config, &self.facts);
                    takeover.follow(plans, takeover::watched(config));
                    takeover.watch_carriers(takeover::cables(&self.ports, config));
                    for (name, finding) in shares {
                        takeover.found(TrackerKind::Servers, name, finding);
                    }
                }
                if let Some(sync) = &self.sync {
                    sync.follow(sync::plan(config, &self.facts));
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
        self.detours.follow(&before);
        self.health.follow(&before, &self.detours);
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
