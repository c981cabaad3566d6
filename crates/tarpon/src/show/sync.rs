//! `tarpon sync`

use crate::{
    table::Table,
    units::{count, duration},
};
use api::Sync;

pub fn sync(sync: Option<&Sync>) -> String {
    let Some(s) = sync else {
        return "no [sync] in the configuration, and no daemon of ipvsadm's runs\n".into();
    };
    let does = match (s.tells, s.listens) {
        (true, true) => "tells and listens",
        (true, false) => "tells",
        (false, true) => "listens",
        (false, false) => "does nothing",
    };
    let to = if s.unicast_peer.is_empty() {
        format!("{} port {}", s.mcast_group, s.mcast_port)
    } else {
        let peers: Vec<String> = s.unicast_peer.iter().map(ToString::to_string).collect();
        format!("{} port {}", peers.join(", "), s.mcast_port)
    };
    let told = match (s.listens, s.told_everything) {
        (false, _) => "",
        (true, true) => "; everything there was has been told",
        (true, false) => "; not everything there was has been told yet",
    };
    let mut out = format!(
        "{does} (role {}) on {} to {to}, id {}{told}\n{} connections, {} active\n",
        s.role,
        s.interface,
        s.syncid,
        count(s.connections),
        count(s.active)
    );
    if !s.peers.is_empty() {
        let mut table = Table::new(&[
            "DIRECTOR",
            "DOES",
            ">CONNECTIONS",
            ">ACTIVE",
            ">COMPLETE",
            ">LOST",
            ">HEARD",
        ]);
        for peer in &s.peers {
            let does = match (peer.tells, peer.listens) {
                (true, true) => "both",
                (true, false) => "tells",
                (false, true) => "listens",
                (false, false) => "nothing",
            };
            let complete = peer
                .complete_percent
                .map_or_else(|| "-".into(), |percent| format!("{percent} %"));
            table.row(vec![
                peer.from.to_string(),
                does.into(),
                count(peer.connections),
                count(peer.active),
                complete,
                count(peer.messages_lost),
                duration(peer.heard_ms_ago / 1000),
            ]);
        }
        out.push('\n');
        out.push_str(&table.to_string());
    }
    out.push('\n');
    for (name, n) in &s.counters {
        out.push_str(&format!("{name:<22} {}\n", count(*n)));
    }
    out
}
