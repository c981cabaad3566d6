//! Every interleaving of small scenes, under loom's memory model. See the crate's documentation for how to run it.
#![cfg(loom)]
#![expect(
    clippy::unwrap_used,
    reason = "tests say by panicking that something is wrong"
)]

use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use rcu::{Domain, Published, sync::Arc};

/// Loom reports a read of it that is not ordered before its drop.
struct Watched(UnsafeCell<u32>);

// SAFETY: accesses are what loom is here to check.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Watched {
    fn new(value: u32) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn get(&self) -> u32 {
        // SAFETY: loom checks that no write is concurrent.
        self.0.with(|p| unsafe { *p })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: loom checks that no other access is concurrent.
        self.0.with_mut(|p| unsafe { *p = 0 });
    }
}

#[test]
fn a_value_is_never_dropped_under_a_reader() {
    loom::model(|| {
        let domain = Domain::new(1);
        let mut reader = domain.reader().unwrap();
        let published = Arc::new(Published::new(Arc::clone(&domain), Watched::new(1)));
        let worker = thread::spawn({
            let published = Arc::clone(&published);
            move || {
                reader.online();
                let first = published.read(&reader).get();
                reader.quiesce();
                let second = published.read(&reader).get();
                assert!(first > 0 && second >= first, "{first} then {second}");
                reader.offline();
            }
        });
        published.publish(Watched::new(2)).unwrap();
        published.reclaim();
        worker.join().unwrap();
        assert_eq!(published.reclaim(), 0, "the reader is gone");
    });
}

#[test]
fn coming_online_is_seen_or_sees() {
    loom::model(|| {
        let domain = Domain::new(1);
        let mut reader = domain.reader().unwrap();
        let published = Arc::new(Published::new(Arc::clone(&domain), Watched::new(1)));
        let worker = thread::spawn({
            let published = Arc::clone(&published);
            move || {
                reader.online();
                assert!(published.read(&reader).get() > 0);
                reader.offline();
                reader.online();
                assert!(published.read(&reader).get() > 0);
            }
        });
        published.publish(Watched::new(2)).unwrap();
        published.reclaim();
        worker.join().unwrap();
    });
}

/// The connection table's use: unlink, note `next`, let *another* thread advance, reuse when passed.
#[test]
fn what_was_unlinked_before_next_is_unheld_once_it_passed() {
    loom::model(|| {
        let domain = Domain::new(1);
        let mut reader = domain.reader().unwrap();
        let linked = Arc::new(AtomicBool::new(true));
        let slot = Arc::new(Watched::new(1));
        let worker = thread::spawn({
            let (linked, slot) = (Arc::clone(&linked), Arc::clone(&slot));
            move || {
                reader.online();
                for _ in 0..2 {
                    if linked.load(Ordering::Acquire) {
                        assert_eq!(slot.get(), 1);
                    }
                    reader.quiesce();
                }
            }
        });
        let other = thread::spawn({
            let domain = Arc::clone(&domain);
            move || {
                domain.advance();
            }
        });
        linked.store(false, Ordering::Release);
        let until = domain.next();
        if domain.passed(until) {
            // SAFETY: loom checks that no other access is concurrent.
            slot.0.with_mut(|p| unsafe { *p = 2 });
        }
        worker.join().unwrap();
        other.join().unwrap();
    });
}
