//! A line for an event.

use api::{Event, EventKind};
use config::NotifyFormat;
use std::net::SocketAddr;
use types::{Protocol, ServiceKey};

/// The line, with its end; `None`: this format has none for it. `state`: what it means for the server it is about, if it is news.
pub fn line(format: NotifyFormat, event: &Event, state: Option<bool>) -> Option<String> {
    let mut line = match format {
        NotifyFormat::Json => serde_json::to_string(event).ok()?,
        NotifyFormat::Keepalived => keepalived(event, state)?,
    };
    line.push('\n');
    Some(line)
}

/// What is said in place of lines that were lost.
pub fn lost(format: NotifyFormat, lines: u64) -> Option<String> {
    match format {
        NotifyFormat::Json => Some(format!("{{\"lost\":{lines}}}\n")),
        // Its readers know no other lines.
        NotifyFormat::Keepalived => None,
    }
}

/// As keepalived 2.2 writes to `vrrp_notify_fifo` and `lvs_notify_fifo`.
fn keepalived(event: &Event, state: Option<bool>) -> Option<String> {
    let up_down = |up: bool| if up { "UP" } else { "DOWN" };
    let router = match event.kind {
        EventKind::VrrpMaster => "MASTER",
        EventKind::VrrpBackup => "BACKUP",
        EventKind::VrrpFault => "FAULT",
        EventKind::VrrpStopped => "STOP",
        EventKind::VrrpConflict => "MASTER_RX_LOWER_PRI",
        EventKind::QuorumWon | EventKind::QuorumLost => {
            let up = event.kind == EventKind::QuorumWon;
            return Some(format!("VS {} {}", service(event.service?), up_down(up)));
        }
        _ => {
            let up = up_down(state?);
            let (key, server) = (event.service?, event.server?);
            let server = endpoint(protocol(key), server);
            return Some(format!("RS {server} {} {up}", service(key)));
        }
    };
    let of = event.vrrp.as_ref()?;
    // A group has no priority; keepalived writes 0.
    Some(match of.priority {
        Some(priority) => format!("INSTANCE \"{}\" {router} {priority}", of.name),
        None => format!("GROUP \"{}\" {router} 0", of.name),
    })
}

fn service(key: ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, address } => endpoint(protocol.name(), address),
        ServiceKey::Mark { mark, .. } => format!("FWM {}", mark.0),
    }
}

const fn protocol(key: ServiceKey) -> &'static str {
    match key {
        ServiceKey::Address { protocol, .. } => Protocol::name(protocol),
        ServiceKey::Mark { .. } => "none",
    }
}

fn endpoint(protocol: &str, address: SocketAddr) -> String {
    format!("[{}]:{protocol}:{}", address.ip(), address.port())
}
