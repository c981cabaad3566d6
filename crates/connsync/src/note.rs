//! What two Tarpons say to each other beside IPVS's protocol, behind a message's connections or in a message without any. IPVS counts
//! connections and looks no further, so one that listens to the same group is not disturbed.
//!
//! ```text
//! 0 "Tarp"  4 kind  5 flags  6 reserved (0)  8 who says it: a number drawn at its start  16 contents, 8 bytes each
//! ```

use crate::{
    ParseError,
    bytes::{Put, Reader},
    message,
};

const MAGIC: u32 = u32::from_be_bytes(*b"Tarp");

/// Something said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// With connections: this is that message of the sender's, counted from 1.
    Numbered {
        /// Who.
        sender: u64,
        /// The how manieth.
        number: u64,
    },
    /// How one who listens, or tells, stands: once a second.
    Report(Report),
    /// All connections have been told to whoever asked.
    AllTold {
        /// Who.
        sender: u64,
        /// Who asked.
        asked: u64,
        /// How many they were.
        connections: u64,
    },
}

/// How a director stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub sender: u64,
    /// It tells others.
    pub tells: bool,
    /// It listens.
    pub listens: bool,
    /// It wants to be told everything.
    pub asks: bool,
    /// Connections it has.
    pub connections: u64,
    /// Those of them that count as active.
    pub active: u64,
    /// Whose messages the following are about; 0: it has heard nobody's.
    pub about: u64,
    /// The last it has heard.
    pub heard: u64,
    /// Those before it that it has not.
    pub lost: u64,
}

const NUMBERED: u8 = 1;
const REPORT: u8 = 2;
const ALL_TOLD: u8 = 3;

const TELLS: u8 = 1;
const LISTENS: u8 = 2;
const ASKS: u8 = 4;

impl Note {
    /// Bytes of [`Note::Numbered`], which a message with connections must have room for; 3 to fill up before it.
    pub const NUMBERED_LEN: usize = 24 + 3;

    /// Appends it.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        message::align(to);
        let (kind, flags, sender) = match self {
            Self::Numbered { sender, .. } => (NUMBERED, 0, *sender),
            Self::Report(report) => {
                let of = |is: bool, flag| if is { flag } else { 0 };
                let flags =
                    of(report.tells, TELLS) | of(report.listens, LISTENS) | of(report.asks, ASKS);
                (REPORT, flags, report.sender)
            }
            Self::AllTold { sender, .. } => (ALL_TOLD, 0, *sender),
        };
        to.u32(MAGIC);
        to.put(&[kind, flags, 0, 0]);
        to.u64(sender);
        let mut all = |numbers: &[u64]| numbers.iter().for_each(|n| to.u64(*n));
        match self {
            Self::Numbered { number, .. } => all(&[*number]),
            Self::Report(r) => all(&[r.connections, r.active, r.about, r.heard, r.lost]),
            Self::AllTold {
                asked, connections, ..
            } => all(&[*asked, *connections]),
        }
    }

    /// Reads what stands behind the connections, if it is a note. Of a kind nobody knows yet there may be more than this one can read.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, ParseError> {
        let mut from = Reader(bytes);
        if from.u32() != Some(MAGIC) {
            return Ok(None);
        }
        let kind = from.u8().unwrap_or_default();
        let wrong = ParseError::Note(kind);
        match kind {
            NUMBERED | REPORT | ALL_TOLD => Self::contents(kind, &mut from).ok_or(wrong).map(Some),
            _ => Ok(None),
        }
    }

    fn contents(kind: u8, from: &mut Reader<'_>) -> Option<Self> {
        let flags = from.u8()?;
        let _reserved = from.u16()?;
        let sender = from.u64()?;
        let mut next = || from.u64();
        Some(match kind {
            NUMBERED => Self::Numbered {
                sender,
                number: next()?,
            },
            REPORT => Self::Report(Report {
                sender,
                tells: flags & TELLS != 0,
                listens: flags & LISTENS != 0,
                asks: flags & ASKS != 0,
                connections: next()?,
                active: next()?,
                about: next()?,
                heard: next()?,
                lost: next()?,
            }),
            _ => Self::AllTold {
                sender,
                asked: next()?,
                connections: next()?,
            },
        })
    }
}
