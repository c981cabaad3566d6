//! The control protocol: everything the daemon and its clients (the command line, later the console) say to each other.
//!
//! A Unix stream socket carries one JSON object a line. A client sends a [`Request`]; the daemon answers with one line
//! that has `ok` or `error`, after any number of lines with `item` for the commands that stream
//! ([`Command::streams`]). Every line of an answer has the request's `id`.
//!
//! ```text
//! > {"version":1,"id":7,"command":"server_delete","service":{"protocol":"tcp","address":"192.0.2.10:80"},"server":"10.1.0.11:80"}
//! < {"version":1,"id":7,"ok":{"changes":["service tcp 192.0.2.10:80: server 10.1.0.11:80: removed"]}}
//! ```
//!
//! The crate holds types, the codec and a blocking client; it knows nothing of engines, files or DPDK.
#![forbid(unsafe_code)]

mod bytes;
mod client;
mod codec;
mod command;
mod error;
mod event;
mod explain;
pub mod filter;
mod flood;
mod health;
mod overload;
pub mod packet;
mod reply;
mod sync;
mod twin;
mod vrrp;

pub use bytes::Bytes;
pub use client::{Client, ClientError};
pub use codec::{
    Answer, Body, LineBuffer, MAX_ANSWER_LINE, MAX_REQUEST_LINE, Refused, Request, TooLong,
    encode_error, encode_item, encode_ok,
};
pub use command::{
    Capture, Command, ConnectionFilter, Document, Drain, EngineChoice, ServerAdd, ServerDelete,
    ServerEdit, ServiceAdd, ServiceDelete, ServiceEdit, ServiceRef, SettingsEdit, TimeoutsEdit,
    Zero,
};
pub use error::{Error, ErrorCode};
pub use event::{Differences, Event, EventFilter, EventKind, EventsEnd, RouterRef};
pub use explain::{
    CatchingService, CaughtBy, DecidingRule, DropNote, Explain, Explained, ExplainedServer,
    Fragments, Sender, Template, Trace, TraceEnd, Traced,
};
pub use flood::Flood;
pub use health::{CheckOutcome, CheckRun, CheckState, CheckedServer, ServerHealth, ServiceHealth};
pub use overload::Overload;
pub use reply::{
    Applied, CaptureEnd, CapturedFrame, Change, Claim, Connection, ConnectionsEnd, Counters,
    Direction, DrainEnd, DrainProgress, DropCount, Edited, Effect, EngineData, Fill, Item, Link,
    Loss, MailStatus, MarkRule, Memory, MemoryMode, Neighbour, NeighbourState, Persistence, Port,
    PortAddress, PortStats, Reply, Route, RouteKind, Server, Service, Setting, Status, Timeouts,
    Totals, Traffic, Worker, WorkerCounters,
};

/// The protocol's version. It rises when a change would make an older peer misread a message; added fields do not count.
pub const VERSION: u32 = 1;
pub use sync::{Sync, SyncPeer, SyncStart, SyncStop};
pub use twin::{
    History, MAX_TWIN_MESSAGE, Relation, Twin, TwinAsk, TwinMessage, TwinOther, TwinTask, TwinWhat,
    Version,
};
pub use vrrp::{Drill, DrillState, Failover, Heard, Tracked, Vrrp};
