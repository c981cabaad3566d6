//! BFD sessions on the health thread: their clock and their sockets, and what they find told to the checks that asked for them.

use super::{News, Shared, announce, locked, ring};
use ::health::{
    CheckId,
    bfd::{Finding, Peer, Sent, Sessions, Wanted},
};
use config::{Config, TrackBfd};
use probe::bfd::Sockets;
use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

/// Packets taken from a socket in one go: the checks want their turn.
const MOST: usize = 1024;
/// Between attempts to open a socket that could not be opened.
const AGAIN: Duration = Duration::from_secs(2);

/// How long a tracked session may take to come up for the first time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sessions, their sockets, and the checks that asked for them.
struct Running {
    sessions: Sessions,
    sockets: Sockets,
    checks: BTreeMap<Peer, Vec<CheckId>>,
    /// Those that virtual routers track, by their names there.
    tracked: BTreeMap<Peer, Vec<String>>,
}

/// How often the last packet of a session is sent, any of which may be lost, and how far apart (RFC 5880 section 6.8.16: neighbours are to
/// learn of an administrative end).
const LAST_WORDS: u32 = 3;
const LAST_PAUSE: Duration = Duration::from_millis(10);

/// Keeps the sessions that the checks ask for until they are to end, and tells the neighbours of that.
pub async fn run(shared: Arc<Shared>, seed: u64) {
    let mut running = Running {
        sessions: Sessions::new(seed),
        sockets: Sockets::default(),
        checks: BTreeMap::new(),
        tracked: BTreeMap::new(),
    };
    while !shared.is_over() {
        running.turn(&shared);
        let now = shared.begun.elapsed();
        let open = running.sockets.are_open();
        let due = running.sessions.due().map(|due| due.saturating_sub(now));
        let wait = due
            .unwrap_or(AGAIN)
            .min(if open { Duration::MAX } else { AGAIN });
        let mut changed = pin!(shared.sessions.notified());
        let mut followed = false;
        let something = poll_fn(|context| {
            followed = changed.as_mut().poll(context).is_ready();
            if followed || running.sockets.poll_heard(context).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        let timely = tokio::time::timeout(wait, something).await.is_ok();
        if followed || (!timely && !open) {
            running.follow(&shared);
        }
    }
    let last = running
        .sessions
        .follow(shared.begun.elapsed(), &BTreeMap::new());
    for _ in 0..if last.is_empty() { 0 } else { LAST_WORDS } {
        for (peer, packet) in &last {
            // Who cannot be told will notice.
            let _ = running.sockets.send(*peer, &packet.bytes());
        }
        tokio::time::sleep(LAST_PAUSE).await;
    }
    shared.told.store(true, Ordering::Relaxed);
}

impl Running {
    /// The sessions are those that the checks ask for now.
    fn follow(&mut self, shared: &Shared) {
        let mut wanted = BTreeMap::new();
        self.checks.clear();
        for (id, peer, check) in locked(&shared.checks).sessions() {
            self.checks.entry(peer).or_default().push(id);
            if let ::health::Kind::Bfd(bfd) = check.kind {
                wanted.entry(peer).or_insert(Wanted {
                    settings: bfd.settings,
                    bind: check.bind.address,
                    max_hops: bfd.max_hops,
                    patience: check.timing.timeout,
                });
            }
        }
        self.tracked.clear();
        for (name, peer, session) in locked(&shared.tracked).iter() {
            self.tracked.entry(*peer).or_default().push(name.clone());
            // What a check says of the same neighbour holds for both.
            wanted.entry(*peer).or_insert(*session);
        }
        let last = self.sessions.follow(shared.begun.elapsed(), &wanted);
        self.send(shared, last);
        self.sockets
            .follow(wanted.iter().map(|(peer, w)| (*peer, w.bind)).collect());
    }

    /// What has come counts before what is late: this thread may have been busy meanwhile.
    fn turn(&mut self, shared: &Shared) {
        let mut out = Vec::new();
        let (sockets, sessions) = (&self.sockets, &mut self.sessions);
        sockets.receive(MOST, |heard| {
            out.extend(sessions.receive(shared.begun.elapsed(), heard));
        });
        sessions.poll(shared.begun.elapsed(), &mut out);
        self.send(shared, out);
        self.tell(shared);
    }

    fn send(&mut self, shared: &Shared, packets: Vec<Sent>) {
        for (peer, packet) in packets {
            let sent = self.sockets.send(peer, &packet.bytes());
            let now = shared.begun.elapsed();
            self.sessions.hinder(now, peer, sent.err());
        }
    }

    fn tell(&mut self, shared: &Shared) {
        let news = self.sessions.news();
        if news.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (peer, finding) in &news {
            let names = self.tracked.get(peer).into_iter().flatten();
            found.extend(names.filter_map(|name| Some((name.clone(), as_tracked(finding)?))));
        }
        if !found.is_empty() {
            locked(&shared.found).append(&mut found);
            ring(shared);
        }
        let now = shared.begun.elapsed();
        let mut changed = Vec::new();
        let mut checks = locked(&shared.checks);
        for (peer, finding) in news {
            for id in self.checks.get(&peer).into_iter().flatten() {
                if let Some((Some(change), outcome)) = checks.tell(now, *id, peer, &finding) {
                    changed.push(News {
                        id: *id,
                        kind: "bfd",
                        change: Some(change),
                        outcome,
                    });
                }
            }
        }
        shared.show_cold(&checks);
        drop(checks);
        announce(shared, changed);
    }
}

/// What a session's finding is to who tracks it: nothing else tells of the neighbour, so that one that is held down is as good as down
/// (RFC 5882 section 3.2).
fn as_tracked(finding: &Finding) -> Option<vrrp::Finding> {
    match finding {
        Finding::Up => Some(vrrp::Finding::Up),
        Finding::Waiting => None,
        Finding::Held => Some(vrrp::Finding::Down(
            "the neighbour's operator holds the session down".into(),
        )),
        Finding::Down(why) | Finding::Unable(why) => Some(vrrp::Finding::Down(why.clone())),
    }
}

/// The sessions that any virtual router tracks.
pub(super) fn tracked(config: &Config) -> Vec<(String, Peer, Wanted)> {
    let is_tracked = |name: &String| {
        let mut all = config.vrrp.iter().flat_map(|v| &v.track_bfd);
        all.any(|track| track.name == *name)
    };
    let one = |bfd: &TrackBfd| {
        let peer = Peer {
            address: bfd.address,
            multihop: bfd.session.multihop,
        };
        let wanted = Wanted {
            settings: bfd.session.settings,
            bind: bfd.bind,
            max_hops: bfd.session.max_hops,
            patience: PATIENCE,
        };
        (bfd.name.clone(), peer, wanted)
    };
    let all = config.track_bfds.iter();
    all.filter(|bfd| is_tracked(&bfd.name)).map(one).collect()
}
