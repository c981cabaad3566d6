//! Versions of a configuration that two directors have, and which of two is the later one.
//!
//! A version is known by its text's fingerprint. Each director keeps those it had: one whose version the other has had before is merely behind. A count
//! of edits goes with each, so that people can tell them apart, and so that going back to an earlier text is an edit, too.

use serde::{Deserialize, Serialize};

/// Versions that are kept.
const KEPT: usize = 64;

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Counts edits, on both directors.
    pub generation: u64,
    /// The text's.
    pub fingerprint: String,
}

/// How one director's version is to the other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Same,
    /// The other's is an earlier one of this.
    Ahead,
    /// This is an earlier one of the other's.
    Behind,
    /// Both were edited since they had this one in common; `None`: they never had one.
    Parted(Option<Version>),
}

/// The versions a director had, oldest first; the last is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History(Vec<Version>);

impl History {
    /// That of one who starts with this text.
    #[must_use]
    pub fn new(fingerprint: String) -> Self {
        Self(vec![Version {
            generation: 1,
            fingerprint,
        }])
    }

    /// What was received: `None` if it is empty, or too long.
    #[must_use]
    pub fn received(versions: Vec<Version>) -> Option<Self> {
        (1..=KEPT)
            .contains(&versions.len())
            .then_some(Self(versions))
    }

    /// The one in force.
    #[must_use]
    pub fn current(&self) -> Version {
        self.0.last().cloned().unwrap_or(Version {
            generation: 0,
            fingerprint: String::new(),
        })
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.0
    }

    /// Another text is in force, or still the same.
    pub fn edit(&mut self, fingerprint: String) {
        let current = self.current();
        if current.fingerprint != fingerprint {
            self.push(Version {
                generation: current.generation.saturating_add(1),
                fingerprint,
            });
        }
    }

    /// The other's version is in force here, too: what it had before is known from now on.
    pub fn adopt(&mut self, other: &Self) {
        for version in &other.0 {
            if !self.0.contains(version) {
                self.push(version.clone());
            }
        }
        let current = other.current();
        if self.current() != current {
            self.push(current);
        }
    }

    fn push(&mut self, version: Version) {
        self.0.push(version);
        if self.0.len() > KEPT {
            self.0.remove(0);
        }
    }

    fn has(&self, fingerprint: &str) -> bool {
        self.0.iter().any(|v| v.fingerprint == fingerprint)
    }

    /// How this is to `other`.
    #[must_use]
    pub fn relation(&self, other: &Self) -> Relation {
        let (own, theirs) = (self.current(), other.current());
        if own.fingerprint == theirs.fingerprint {
            return Relation::Same;
        }
        let (had, they_had) = (self.has(&theirs.fingerprint), other.has(&own.fingerprint));
        // Where each has had the other's, one of them went back to an earlier text: the count tells who was last.
        match (had, they_had) {
            (true, false) => Relation::Ahead,
            (false, true) => Relation::Behind,
            (true, true) if own.generation > theirs.generation => Relation::Ahead,
            (true, true) if own.generation < theirs.generation => Relation::Behind,
            _ => {
                let mut common = self.0.iter().rev().filter(|v| other.has(&v.fingerprint));
                Relation::Parted(common.next().cloned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> History {
        History::new(text.into())
    }

    fn edited(texts: &[&str]) -> History {
        let mut history = one(texts[0]);
        for text in &texts[1..] {
            history.edit((*text).into());
        }
        history
    }

    #[test]
    fn who_has_had_the_others_version_is_ahead() {
        let (a, b) = (edited(&["x", "y", "z"]), one("x"));
        assert_eq!(a.relation(&b), Relation::Ahead);
        assert_eq!(b.relation(&a), Relation::Behind);
        assert_eq!(a.current().generation, 3);
        let mut b = b;
        b.adopt(&a);
        assert_eq!(b.relation(&a), Relation::Same);
        assert_eq!(b.current(), a.current());
    }

    #[test]
    fn edits_on_both_sides_have_parted_and_the_last_common_one_is_named() {
        let mut a = edited(&["x", "y"]);
        let mut b = one("x");
        b.adopt(&a);
        let common = a.current();
        a.edit("here".into());
        b.edit("there".into());
        assert_eq!(a.relation(&b), Relation::Parted(Some(common.clone())));
        assert_eq!(b.relation(&a), Relation::Parted(Some(common)));
        // Both edits come to the same.
        b.edit("here".into());
        assert_eq!(a.relation(&b), Relation::Same);
    }

    #[test]
    fn two_who_never_met_have_nothing_in_common() {
        assert_eq!(one("x").relation(&one("y")), Relation::Parted(None));
        assert_eq!(one("x").relation(&one("x")), Relation::Same);
    }

    #[test]
    fn going_back_is_an_edit() {
        let mut a = edited(&["x", "y"]);
        let mut b = one("x");
        b.adopt(&a);
        a.edit("x".into());
        assert_eq!(a.relation(&b), Relation::Ahead);
        assert_eq!(b.relation(&a), Relation::Behind);
        b.adopt(&a);
        assert_eq!(b.relation(&a), Relation::Same);
        b.edit("y".into());
        assert_eq!(a.relation(&b), Relation::Behind);
    }

    #[test]
    fn who_starts_again_with_an_earlier_file_is_behind_and_with_a_new_one_has_parted() {
        let running = edited(&["file", "edit", "another"]);
        assert_eq!(one("file").relation(&running), Relation::Behind);
        assert_eq!(one("new").relation(&running), Relation::Parted(None));
    }

    #[test]
    fn no_history_grows_without_end() {
        let mut a = one("0");
        for n in 1..1000 {
            a.edit(n.to_string());
        }
        assert_eq!(a.versions().len(), KEPT);
        assert_eq!(a.current().generation, 1000);
        let mut b = one("b");
        b.adopt(&a);
        assert_eq!(b.versions().len(), KEPT);
        assert_eq!(b.relation(&a), Relation::Same);
        assert!(History::received(Vec::new()).is_none());
        assert!(History::received(vec![a.current(); KEPT + 1]).is_none());
        assert!(History::received(a.versions().to_vec()).is_some());
    }
}
