//! Random schedules of random workers. See the crate's documentation for how to run it.
#![cfg(shuttle)]
#![expect(
    clippy::unwrap_used,
    reason = "tests say by panicking that something is wrong"
)]

mod scenario;

use scenario::{Worker, World};
use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};

const WORKERS: u32 = 3;

fn scene() {
    let world = World::new(WORKERS as usize);
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let worker = Worker::new(&world, number, WORKERS, thread_rng().r#gen::<u64>() >> 1);
            thread::spawn(move || worker.run(60))
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    world.finish();
}

#[test]
fn random_schedules() {
    shuttle::check_random(scene, 3000);
}

/// Few preemptions at the worst places: finds what uniform randomness seldom meets.
#[test]
fn probabilistic_concurrency_testing() {
    shuttle::check_pct(scene, 1500, 3);
}
