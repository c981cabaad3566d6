//! Why the state is what it is.

use std::{fmt, net::IpAddr};

/// What made the state change last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not begun yet.
    NotStarted,
    /// It has begun, and listens first.
    Started,
    /// It owns the addresses (priority 255): it need not listen first.
    Owner,
    /// The master was silent for the master-down interval.
    MasterSilent,
    /// The master gave the addresses up.
    MasterReleased(IpAddr),
    /// A better one advertises.
    Better {
        /// Who.
        from: IpAddr,
        /// Its priority.
        priority: u8,
        /// This director's.
        own: u8,
    },
    /// The master is worse, and was let be for long enough.
    Preempts {
        /// Who.
        from: IpAddr,
        /// Its priority.
        priority: u8,
        /// This director's.
        own: u8,
    },
    /// It is to give up on command.
    Yielded,
    /// It woke so late that the other may have taken over.
    WokeLate,
    /// Something it depends on is broken.
    Fault(String),
    /// What was broken works again.
    FaultOver,
    /// It has ended.
    Stopped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("not started"),
            Self::Started => f.write_str("started"),
            Self::Owner => f.write_str("owns the addresses (priority 255)"),
            Self::MasterSilent => f.write_str("no advertisements from a master"),
            Self::MasterReleased(from) => write!(f, "{from} gave up"),
            Self::Better {
                from,
                priority,
                own,
            } => write!(
                f,
                "{from} advertises priority {priority}, this director has {own}"
            ),
            Self::Preempts {
                from,
                priority,
                own,
            } => write!(
                f,
                "{from} advertises only priority {priority}, this director has {own}"
            ),
            Self::Yielded => f.write_str("gave up on command"),
            Self::WokeLate => f.write_str("woke late"),
            Self::Fault(what) => f.write_str(what),
            Self::FaultOver => f.write_str("what was broken works again"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}
