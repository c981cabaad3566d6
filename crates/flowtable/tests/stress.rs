//! The same workers on real threads, which reorder as the CPU does.
#![cfg(not(any(loom, shuttle)))]

mod scenario;

use scenario::{Worker, World};
use std::{
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

#[test]
fn four_threads() {
    const WORKERS: u32 = 4;
    let (start, mut rounds, mut won) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(3) {
        let world = World::new(WORKERS as usize);
        let workers = (0..WORKERS).map(|n| {
            (
                n,
                Worker::new(&world, n, WORKERS, rounds * 16 + u64::from(n) + 1),
            )
        });
        let threads: Vec<_> = workers
            .map(|(n, worker)| {
                // Different lengths: at the end of each round some workers are gone and others go on.
                thread::spawn(move || worker.run(20_000 + 5000 * n as usize))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        world.finish();
        won += world.won.load(SeqCst);
        rounds += 1;
    }
    // More than twice the table's slots a round: slots were reused. How much more, the scheduler decides: a worker that is
    // off the CPU while online rightly holds up reuse, and the others are refused.
    assert!(
        won > 100 * rounds,
        "{won} connections in {rounds} rounds: the test did not do its work"
    );
}
