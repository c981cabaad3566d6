//! Whether a configuration makes sense as a whole.

mod addresses;
mod device;
mod director;
mod health;
mod interfaces;
mod limits;
mod marks;
mod reach;
mod routes;
mod services;
mod sync;
mod tell;
mod track;
mod twin;
mod vrrp;

use crate::{Config, Problem};
use reach::Reach;

impl Config {
    /// Everything that is wrong with it, for a configuration that was not read from a file (an edit at run time).
    /// Empty: it can be applied.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.problems_with(true)
    }

    /// What is wrong with its services by themselves: nothing is said about ports, which may be missing.
    #[must_use]
    pub fn service_problems(&self) -> Vec<Problem> {
        let mut problems = self.problems_with(false);
        problems.retain(|problem| problem.path.starts_with("service"));
        problems
    }

    /// With `interfaces_known` false the ports and VLANs are incomplete (their mistakes are already reported), and what
    /// depends on them is not judged.
    pub(crate) fn problems_with(&self, interfaces_known: bool) -> Vec<Problem> {
        let mut problems = Problems { found: Vec::new() };
        director::check(self, &mut problems);
        interfaces::check(self, interfaces_known, &mut problems);
        let reach = Reach::new(self);
        routes::check(self, &reach, interfaces_known, &mut problems);
        marks::check(self, interfaces_known, &mut problems);
        services::check(self, &reach, interfaces_known, &mut problems);
        health::check(self, &reach, interfaces_known, &mut problems);
        limits::check(self, &mut problems);
        vrrp::check(self, &reach, interfaces_known, &mut problems);
        track::check(self, &reach, interfaces_known, &mut problems);
        tell::check(self, &mut problems);
        twin::check(self, &mut problems);
        if interfaces_known {
            sync::check(self, &mut problems);
        }
        problems.found
    }
}

/// Whether a port's device is on PCI.
pub(crate) fn is_pci(device: &str) -> bool {
    device::read(device).is_ok_and(|device| device.pci)
}

/// Where the checks put what they find.
struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    fn add(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.found.push(Problem::new(path, what, instead));
    }
}

/// Indices of the elements whose key was seen before, with the index of the first that had it.
fn repeated<K: Ord>(keys: impl Iterator<Item = K>) -> Vec<(usize, usize)> {
    let mut first = std::collections::BTreeMap::new();
    let mut again = Vec::new();
    for (index, key) in keys.enumerate() {
        match first.entry(key) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(index);
            }
            std::collections::btree_map::Entry::Occupied(slot) => again.push((index, *slot.get())),
        }
    }
    again
}
