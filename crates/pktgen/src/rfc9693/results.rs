//! What `pktgen rfc9693` has found: for people and as JSON.

pub use crate::load::{AtLoad, Lost};

use crate::{plot::Point, report::si, search::Limit, spread::Spread};
use serde::Serialize;
use std::fmt;

/// All self.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    /// Connections of each measurement.
    pub connections: u64,
    /// Packets of phase 1 sent in all, each of a new connection; those before the first measurement among them.
    pub opened: u64,
    /// Maximum connection establishment rate.
    pub establishment: Option<Found>,
    /// At the last rate that was taken: connections over which an answer came back, of those opened.
    pub validated: Option<u64>,
    /// Throughput, frames a second of both directions together.
    pub throughput: Option<Found>,
    /// Latency over connections that stand, both ways at once, at parts of that throughput.
    pub latency: Vec<AtLoad>,
    /// Loss over them, at parts of the rate where the search begins.
    pub loss: Vec<Lost>,
    /// Connection tear-down rate.
    pub teardown: Option<Teardown>,
    /// Connection tracking table capacity.
    pub capacity: Option<Capacity>,
    /// The same with other numbers of connections, but for the capacity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Results>,
}

/// The result of a search for a rate.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// A second: the median of all searches.
    pub rate: f64,
    /// Why it is no higher: of the last search.
    pub limited_by: Limit,
    /// Rates tried, and the share of frames lost, or of connections not kept.
    pub trials: Vec<Point>,
    /// Of all searches.
    pub repeated: Spread,
}

/// How fast a table is emptied.
#[derive(Clone, Debug, Serialize)]
pub struct Teardown {
    /// Connections a second: the median of all times it was done.
    pub rate: f64,
    /// Seconds the command took the last time, with them in the table, and with none.
    pub full_seconds: f64,
    /// As above.
    pub empty_seconds: f64,
    /// Of all times it was done.
    pub repeated: Spread,
}

/// How many connections a device keeps.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Capacity {
    /// The most that were all kept.
    pub kept: u64,
    /// The least that were not; none if there were no more to try.
    pub not_kept: Option<u64>,
}

impl Results {
    /// Whether nothing was found.
    pub(super) const fn are_none(&self) -> bool {
        self.establishment.is_none()
            && self.throughput.is_none()
            && self.teardown.is_none()
            && self.capacity.is_none()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("connections    {} in each measurement\n", self.connections);
        if let Some(found) = &self.establishment {
            text += &format!(
                "establishment  {} connections/s ({} trials; {}){}\n",
                si(found.rate),
                found.trials.len(),
                found.limited_by.why(),
                found.repeated.told(si)
            );
        }
        if let Some(validated) = self.validated {
            text += &format!(
                "               {validated} of {} carried an answer back\n",
                self.connections
            );
        }
        if let Some(found) = &self.throughput {
            text += &format!(
                "throughput     {} frames/s over them, both directions together ({} trials; {}){}\n",
                si(found.rate),
                found.trials.len(),
                found.limited_by.why(),
                found.repeated.told(si)
            );
        }
        for at in &self.latency {
            text += &format!("               {at}\n");
        }
        for lost in &self.loss {
            text += &format!("               {lost}\n");
        }
        if let Some(teardown) = &self.teardown {
            text += &format!(
                "tear-down      {} connections/s ({:.3} s; {:.3} s of an empty table){}\n",
                si(teardown.rate),
                teardown.full_seconds,
                teardown.empty_seconds,
                teardown.repeated.told(si)
            );
        }
        if let Some(capacity) = &self.capacity {
            text += &match capacity.not_kept {
                Some(high) => format!(
                    "capacity       {} connections all kept, {high} not\n",
                    capacity.kept
                ),
                None => format!(
                    "capacity       {} connections all kept: no more to try (--most, the template)\n",
                    capacity.kept
                ),
            };
        }
        f.write_str(&text)?;
        self.more.iter().try_for_each(|more| write!(f, "{more}"))
    }
}
