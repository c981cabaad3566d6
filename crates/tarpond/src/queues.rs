//! Who polls which receive queue, and how each worker sends on each port.
//!
//! Any worker may meet any packet, so nothing about a flow depends on this plan. Every worker needs a way out of every
//! port; where a port has too few transmit queues, a worker hands its frames to one that owns a queue.

/// Queues a port runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Receive.
    pub rx: usize,
    /// Transmit; at least one.
    pub tx: usize,
}

/// How one worker sends on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// By this transmit queue of its own.
    Queue(usize),
    /// By handing frames to this worker, who owns a queue.
    Handoff(usize),
}

/// What one worker does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Receive queues to poll: port and queue.
    pub rx: Vec<(usize, usize)>,
    /// The way out of each port.
    pub tx: Vec<WayOut>,
}

/// Spreads the queues of `ports` over `workers`. Queue i goes to worker i; where a port has fewer queues than there are
/// workers, its queues go to the workers in turn, so that several such ports do not burden the first worker with all.
#[must_use]
pub fn plan(workers: usize, ports: &[Queues]) -> Vec<Share> {
    let mut shares = vec![Share::default(); workers];
    let mut turn = 0;
    for (port, queues) in ports.iter().enumerate() {
        let first = if queues.rx.max(queues.tx) < workers {
            turn
        } else {
            0
        };
        turn += queues.rx.max(queues.tx);
        for queue in 0..queues.rx {
            shares[(first + queue) % workers].rx.push((port, queue));
        }
        for (worker, share) in shares.iter_mut().enumerate() {
            // This worker's distance from the first owner: the queue of that number is its own, if there is one.
            let queue = (worker + workers - first % workers) % workers;
            share.tx.push(if queue < queues.tx {
                WayOut::Queue(queue)
            } else {
                WayOut::Handoff((first + queue % queues.tx) % workers)
            });
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const fn queues(rx: usize, tx: usize) -> Queues {
        Queues { rx, tx }
    }

    #[test]
    fn with_a_queue_each_nobody_needs_anybody() {
        let shares = plan(2, &[queues(2, 2), queues(2, 2)]);
        for (worker, share) in shares.iter().enumerate() {
            assert_eq!(share.rx, [(0, worker), (1, worker)]);
            assert_eq!(share.tx, [WayOut::Queue(worker); 2]);
        }
    }

    #[test]
    fn single_queue_ports_are_dealt_out_in_turn() {
        let shares = plan(2, &[queues(1, 1), queues(1, 1)]);
        assert_eq!(shares[0].rx, [(0, 0)]);
        assert_eq!(shares[1].rx, [(1, 0)]);
        assert_eq!(shares[0].tx, [WayOut::Queue(0), WayOut::Handoff(1)]);
        assert_eq!(shares[1].tx, [WayOut::Handoff(0), WayOut::Queue(0)]);
    }

    #[test]
    fn every_queue_has_one_owner_and_every_handoff_ends_at_an_owner() {
        for workers in 1..=5 {
            for (rx, tx) in [(1, 1), (2, 1), (1, 2), (3, 3), (4, 2), (8, 8)] {
                let ports = [queues(rx, tx), queues(1, 1), queues(tx, rx)];
                let shares = plan(workers, &ports);
                for (port, queues) in ports.iter().enumerate() {
                    let polled: Vec<_> = shares
                        .iter()
                        .flat_map(|s| &s.rx)
                        .filter(|(p, _)| *p == port)
                        .collect();
                    assert_eq!(polled.len(), queues.rx);
                    assert_eq!(polled.iter().collect::<HashSet<_>>().len(), queues.rx);
                    let mut owned = HashSet::new();
                    for share in &shares {
                        match share.tx[port] {
                            WayOut::Queue(queue) => {
                                assert!(queue < queues.tx);
                                assert!(owned.insert(queue), "a queue with two owners");
                            }
                            WayOut::Handoff(owner) => {
                                assert!(matches!(shares[owner].tx[port], WayOut::Queue(_)));
                            }
                        }
                    }
                }
            }
        }
    }
}
