//! Whose configuration is the later one, and what is done about it.

use super::Control;
use crate::{
    seldom::{Seldom, more},
    twin::{Answer, Desk, Met, Question},
};
use api::{
    Error, ErrorCode, EventKind, History, Relation, TwinAsk, TwinOther, TwinTask, TwinWhat, Version,
};
use config::{Config, Push, conflict, fingerprint};
use std::{net::SocketAddr, os::fd::BorrowedFd, sync::Arc, time::Instant};

/// What a director refuses, and what stands against it.
type Refusal = (String, Vec<String>);

/// What is known of both.
pub struct Twin {
    desk: Arc<Desk>,
    peer: SocketAddr,
    push: Push,
    /// In force here.
    text: String,
    history: History,
    /// The last text both had, with its fingerprint.
    common: Option<(String, String)>,
    other: Option<Other>,
    error: Option<String>,
    /// The last that was told, so that it is told once.
    told: Option<Told>,
    /// How often that was otherwise: a link that comes and goes shall not fill the journal.
    tells: Seldom,
    /// How often what the other sent was not taken.
    refusals: Seldom,
    task: Option<TwinTask>,
}

struct Other {
    name: String,
    history: History,
    heard: Instant,
}

#[derive(Clone, PartialEq, Eq)]
enum Told {
    Same,
    Apart(Version, Version),
    Failed(String),
}

impl Twin {
    /// Of a director that starts with `config`.
    pub fn new(settings: &config::Twin, desk: Arc<Desk>, config: &Config) -> Self {
        let text = config.shared_to_toml();
        Self {
            desk,
            peer: SocketAddr::new(settings.peer, settings.port),
            push: settings.push,
            history: History::new(fingerprint(&text)),
            text,
            common: None,
            other: None,
            error: None,
            told: None,
            tells: Seldom::default(),
            refusals: Seldom::default(),
            task: None,
        }
    }

    /// Becomes readable when a thread asks something.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.desk.watched()
    }

    /// Another configuration is in force, perhaps.
    pub fn follow(&mut self, config: &Config) {
        let text = config.shared_to_toml();
        if text != self.text {
            self.history.edit(fingerprint(&text));
            self.text = text;
            self.desk.hurry();
        }
    }

    fn relation(&self) -> Option<Relation> {
        let other = self.other.as_ref()?;
        Some(self.history.relation(&other.history))
    }

    fn heard(&mut self, name: String, versions: Vec<Version>) {
        let Some(history) = History::received(versions) else {
            return;
        };
        self.other = Some(Other {
            name,
            history,
            heard: Instant::now(),
        });
        if self.relation() == Some(Relation::Same) {
            self.agree();
        }
    }

    /// Both have this one's text: what each had before is known to this one from now on.
    fn agree(&mut self) {
        if let Some(other) = &self.other {
            let (own, theirs) = (self.history.current(), other.history.current());
            if own.generation < theirs.generation {
                self.history.adopt(&other.history);
            }
        }
        let fingerprint = self.history.current().fingerprint;
        self.common = Some((fingerprint, self.text.clone()));
    }

    fn end_task(&mut self, result: Result<Vec<String>, Refusal>) {
        let Some(task) = self.task.as_mut().filter(|task| !task.over) else {
            return;
        };
        task.over = true;
        match result {
            Ok(lines) => task.lines = lines,
            Err((message, details)) => {
                task.refused = Some(message);
                task.lines = details;
            }
        }
    }

    fn name(&self) -> String {
        let name = self.other.as_ref().map(|other| other.name.as_str());
        name.map_or_else(
            || self.peer.to_string(),
            |name| format!("{name} ({})", self.peer.ip()),
        )
    }

    /// Why `theirs` cannot take the place of this one's, or this one's of theirs: who edited what.
    fn apart(&self, config: &Config, theirs: &str, common: Option<&Version>) -> Refusal {
        let text = common.and_then(|common| {
            let (known, text) = self.common.as_ref()?;
            (*known == common.fingerprint).then_some(text)
        });
        let conflict = text.and_then(|text| conflict(config, text, theirs));
        let (message, details) = match conflict {
            Some(conflict) => {
                let common = common.map_or(0, |common| common.generation);
                let message = match conflict.both.as_slice() {
                    [] => format!("both directors were edited since generation {common}"),
                    both => format!(
                        "both directors were edited since generation {common}: {}",
                        both.join(", ")
                    ),
                };
                let here = conflict
                    .here
                    .into_iter()
                    .map(|line| format!("on the one that has it: {line}"));
                let there = conflict
                    .there
                    .into_iter()
                    .map(|line| format!("on the one that sent it: {line}"));
                (message, here.chain(there).collect())
            }
            None => (
                "the directors have never had the same, or were edited on both sides since"
                    .to_owned(),
                config.shared_changes(theirs),
            ),
        };
        let advice = "--force takes one for both, and what was done on the other is lost";
        (format!("{message}; {advice}"), details)
    }
}

impl Control {
    /// What is known of the other director.
    pub fn twin_shown(&self) -> Option<api::Twin> {
        let twin = self.twin.as_ref()?;
        let (relation, common) = match twin.relation() {
            None => ("unknown", None),
            Some(Relation::Same) => ("same", Some(twin.history.current())),
            Some(Relation::Ahead) => ("ahead", twin.other.as_ref().map(|o| o.history.current())),
            Some(Relation::Behind) => ("behind", Some(twin.history.current())),
            Some(Relation::Parted(common)) => ("parted", common),
        };
        Some(api::Twin {
            peer: twin.peer,
            push: twin.push.word().to_owned(),
            acting: self.acts(),
            version: twin.history.current(),
            other: twin.other.as_ref().map(|other| TwinOther {
                name: other.name.clone(),
                version: other.history.current(),
                heard_ms_ago: u64::try_from(other.heard.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
            relation: relation.to_owned(),
            common,
            error: twin.error.clone(),
            task: twin.task.clone(),
        })
    }

    /// Begins what a person asks for.
    ///
    /// # Errors
    /// There is no other director, or something is under way.
    pub fn twin_ask(&mut self, wanted: TwinAsk) -> Result<Vec<String>, Error> {
        let Some(twin) = &mut self.twin else {
            let message = "there is no [twin] in the configuration";
            return Err(Error::new(ErrorCode::NotFound, message));
        };
        if twin.task.as_ref().is_some_and(|task| !task.over) {
            let message = "another diff, push or pull is under way";
            return Err(Error::new(ErrorCode::Busy, message));
        }
        twin.task = Some(TwinTask {
            wanted,
            over: false,
            refused: None,
            lines: Vec::new(),
        });
        twin.desk.hurry();
        Ok(vec![format!("{} is asked", twin.name())])
    }

    /// Answers the threads that speak with the other director.
    pub fn answer_twin(&mut self) {
        let Some(twin) = &self.twin else {
            return;
        };
        for (question, sender) in twin.desk.take() {
            let answer = self.twin_answer(question);
            // Who asked may have lost patience.
            let _ = sender.try_send(answer);
        }
    }

    fn twin_answer(&mut self, question: Question) -> Answer {
        let acts = self.acts();
        let Some(twin) = &mut self.twin else {
            return Answer::Noted;
        };
        match question {
            Question::Text => {
                return Answer::Text(twin.text.clone(), twin.history.versions().to_vec());
            }
            Question::Heard { name, versions } => twin.heard(name, versions),
            Question::Met { name, versions } => {
                // Only this shows that it can be asked: that it asks by itself is of the other direction.
                twin.error = None;
                twin.heard(name, versions);
                let next = next(twin, acts);
                self.tell_of_twin();
                return Answer::Next(next);
            }
            Question::Take {
                text,
                versions,
                force,
            } => {
                let name = twin.name();
                let taken = self.twin_take(&text, versions, force);
                if let (Err((message, _)), Some(twin)) = (&taken, &mut self.twin)
                    && let Some(left_out) = twin.refusals.may(Instant::now())
                {
                    let more = more(left_out);
                    tracing::warn!("what {name} sends is not taken: {message}{more}");
                }
                return Answer::Taken(taken);
            }
            Question::Fetched { text, versions } => self.twin_fetched(&text, versions),
            Question::Pushed(result) => {
                if let Ok(changes) = &result {
                    // It has what this one had when it was sent, which is looked at again.
                    tracing::info!(
                        "{} has taken the configuration: {} change(s)",
                        twin.name(),
                        changes.len()
                    );
                    twin.desk.hurry();
                }
                if let Err((message, _)) = &result {
                    twin.error = Some(format!("{} refuses: {message}", twin.name()));
                }
                twin.end_task(result);
            }
            Question::Failed(why) => {
                twin.error = Some(why.clone());
                twin.end_task(Err((why, Vec::new())));
            }
        }
        self.tell_of_twin();
        Answer::Noted
    }

    /// What a person asked for, with the other's text at hand.
    fn twin_fetched(&mut self, text: &str, versions: Vec<Version>) {
        let Some(twin) = &mut self.twin else {
            return;
        };
        let Some(task) = twin.task.clone().filter(|task| !task.over) else {
            return;
        };
        let result = match task.wanted.what {
            TwinWhat::Diff => Ok(self.config.shared_changes(text)),
            _ => self.twin_take(text, versions, task.wanted.force),
        };
        if let Some(twin) = &mut self.twin {
            twin.end_task(result);
            twin.desk.hurry();
        }
    }

    /// Makes the other's configuration this one's, if that loses nothing or is forced.
    fn twin_take(
        &mut self,
        text: &str,
        versions: Vec<Version>,
        force: bool,
    ) -> Result<Vec<String>, Refusal> {
        let plain = |message: &str| (message.to_owned(), Vec::new());
        let twin = self
            .twin
            .as_mut()
            .ok_or_else(|| plain("there is no [twin]"))?;
        let theirs =
            History::received(versions).ok_or_else(|| plain("it has no version, or too many"))?;
        if theirs.current().fingerprint != fingerprint(text) {
            return Err(plain("what came is not of the version it is said to be"));
        }
        match twin.history.relation(&theirs) {
            Relation::Same => return Ok(Vec::new()),
            Relation::Ahead if !force => {
                let message = "the director that is to take it has a later version of this already; --force goes back to it";
                return Err(plain(message));
            }
            Relation::Parted(common) if !force => {
                return Err(twin.apart(&self.config, text, common.as_ref()));
            }
            _ => {}
        }
        let name = twin.name();
        let merged = self.config.with_shared(text).map_err(|details| {
            let message = "it makes no sense on the director that is to take it";
            (message.to_owned(), details)
        })?;
        let before = twin.history.clone();
        twin.history.adopt(&theirs);
        self.actor = format!("the other director, {name}");
        match self.enforce(merged) {
            Ok(changes) => {
                if let Some(twin) = &mut self.twin {
                    if let Some(other) = &mut twin.other {
                        other.history = theirs;
                    }
                    twin.agree();
                }
                Ok(changes)
            }
            Err(error) => {
                if let Some(twin) = &mut self.twin {
                    twin.history = before;
                }
                Err((error.message, error.details))
            }
        }
    }

    /// Whether clients are served here: by it, or by all directors.
    fn acts(&self) -> bool {
        let routers = self.vrrp();
        routers.is_empty() || routers.iter().any(|router| router.state == "master")
    }

    /// Says once that the two are apart, are the same again, or that the other cannot be asked.
    fn tell_of_twin(&mut self) {
        let Some(twin) = &mut self.twin else {
            return;
        };
        let name = twin.name();
        let (own, other) = (
            twin.history.current(),
            twin.other.as_ref().map(|o| o.history.current()),
        );
        let (told, what, cause) = match (&twin.error, twin.relation(), other) {
            (Some(why), ..) => (
                Told::Failed(why.clone()),
                "the other director's configuration is not known".to_owned(),
                why.clone(),
            ),
            (None, Some(Relation::Same), _) => (
                Told::Same,
                format!("{name} has the same configuration"),
                format!("generation {}", own.generation),
            ),
            (None, Some(Relation::Parted(common)), Some(other)) => (
                Told::Apart(own, other),
                format!("{name} has another configuration"),
                match common {
                    Some(common) => {
                        format!("both were edited since generation {}", common.generation)
                    }
                    None => "they have never had the same".into(),
                },
            ),
            // On its way, or for a person to decide: `tarpon twin` shows it.
            _ => return,
        };
        // What could not be told in time is told when it still is so.
        if twin.told.as_ref() != Some(&told) && twin.tells.may(Instant::now()).is_some() {
            twin.told = Some(told);
            self.journal.add(EventKind::Twin, (None, None), what, cause);
        }
    }
}

/// What to do on meeting the other.
fn next(twin: &Twin, acts: bool) -> Met {
    if let Some(task) = twin.task.as_ref().filter(|task| !task.over) {
        return match task.wanted.what {
            TwinWhat::Push => Met::Push {
                force: task.wanted.force,
            },
            TwinWhat::Diff | TwinWhat::Pull => Met::Fetch,
        };
    }
    let pushes = acts && twin.push == Push::Auto && twin.relation() == Some(Relation::Ahead);
    if pushes {
        Met::Push { force: false }
    } else {
        Met::Nothing
    }
}
