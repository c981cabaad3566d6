//! Whether a takeover may be rehearsed.

/// Of the active connections so many percent are enough to try it.
const ENOUGH: f64 = 99.0;
/// A director not heard for so long is not there.
const HEARD_MS: u64 = 3000;

/// Why the other director may not be ready to have the addresses, as far as synchronisation knows.
pub fn unready(sync: Option<&api::Sync>) -> Option<String> {
    let Some(sync) = sync else {
        return Some("nothing is known of the other director: there is no [sync]".into());
    };
    let listens = |peer: &&api::SyncPeer| peer.listens && peer.heard_ms_ago < HEARD_MS;
    let parts = sync.peers.iter().filter(listens);
    let best = parts.max_by(|a, b| {
        a.complete_percent
            .partial_cmp(&b.complete_percent)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let Some(best) = best else {
        return Some("no other director that listens has been heard of in synchronisation".into());
    };
    let percent = best.complete_percent.unwrap_or(0.0);
    (percent < ENOUGH).then(|| {
        format!(
            "{} has {percent:.1} % of the active connections, less than {ENOUGH} %",
            best.from
        )
    })
}

#[cfg(test)]
mod tests {
    use super::unready;

    #[test]
    fn a_drill_wants_another_director_that_has_the_connections() {
        let sync = |peers: serde_json::Value| -> api::Sync {
            let sync = serde_json::json!({
                "role": "vrrp", "tells": true, "listens": false, "interface": "lan", "syncid": 0, "sync_maxlen": 1472,
                "mcast_group": "224.0.0.81", "mcast_port": 8848, "mcast_ttl": 1, "connections": 10, "active": 10,
                "told_everything": true, "counters": {}, "peers": peers,
            });
            serde_json::from_value(sync).expect("how it goes")
        };
        let peer = |listens: bool, ago: u64, percent: f64| {
            serde_json::json!({
                "from": "10.1.0.3", "tells": false, "listens": listens, "connections": 1, "active": 1, "heard_ms_ago": ago,
                "messages_lost": 0, "complete_percent": percent,
            })
        };
        let why = |peers: &[serde_json::Value]| unready(Some(&sync(peers.to_vec().into())));
        assert!(unready(None).is_some_and(|why| why.contains("no [sync]")));
        assert!(why(&[]).is_some());
        assert!(why(&[peer(false, 0, 100.0)]).is_some());
        assert!(why(&[peer(true, 9000, 100.0)]).is_some());
        let little = why(&[peer(true, 10, 57.25)]).expect("too little");
        assert_eq!(
            little,
            "10.1.0.3 has 57.2 % of the active connections, less than 99 %"
        );
        assert_eq!(why(&[peer(true, 10, 3.0), peer(true, 10, 99.5)]), None);
    }
}
