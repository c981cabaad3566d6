//! One swappable pointer to an immutable value.

use crate::{
    Domain, Epoch, Reader,
    sync::{Arc, AtomicPtr, Mutex, MutexGuard, Ordering},
};
use std::{collections::VecDeque, fmt};
use thiserror::Error;

/// Old values that may wait for their grace period in one [`Published`].
pub const LIMBO_LIMIT: usize = 64;

/// A value was not published, because a reader hangs.
#[derive(Error)]
#[error("{LIMBO_LIMIT} old values still wait for a reader that does not pass its quiescent state")]
pub struct Congested<T>(
    /// The value, given back.
    pub T,
);

impl<T> fmt::Debug for Congested<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Congested")
    }
}

/// An immutable `T` that one side replaces as a whole while workers read it.
///
/// Old values wait in a limbo list until every online reader has been quiescent; their destructors run in
/// [`Published::publish`], [`Published::reclaim`] and drop, that is on the writer's thread, never on a reader's.
pub struct Published<T> {
    current: AtomicPtr<T>,
    domain: Arc<Domain>,
    /// Writers' side only: readers never take this lock.
    limbo: Mutex<VecDeque<(Epoch, Retired<T>)>>,
}

/// A pointer from `Box::into_raw` that `current` does not hold any more: owned by the limbo list.
struct Retired<T>(*mut T);

// SAFETY: it owns a `T` as `Box<T>` does; the value moves to whichever thread drops it.
unsafe impl<T: Send> Send for Retired<T> {}

// SAFETY: as a `Box<T>` (Send) with shared access to `T` (Sync) from many threads; values are dropped on whichever thread
// publishes or reclaims, hence `Send` for both.
unsafe impl<T: Send + Sync> Sync for Published<T> {}
// SAFETY: it owns its values; see above.
unsafe impl<T: Send + Sync> Send for Published<T> {}

impl<T: Send + Sync> Published<T> {
    /// Publishes the first value.
    #[must_use]
    pub fn new(domain: Arc<Domain>, value: T) -> Self {
        Self {
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
            domain,
            limbo: Mutex::new(VecDeque::with_capacity(LIMBO_LIMIT)),
        }
    }

    /// The value now; stays valid until `reader` goes quiescent.
    ///
    /// # Panics
    /// If `reader` is offline or belongs to another domain: both are mistakes of the program, and reading then would be
    /// a use after free.
    #[inline]
    pub fn read<'r>(&'r self, reader: &'r Reader) -> &'r T {
        assert!(
            reader.is_online() && Arc::ptr_eq(reader.domain(), &self.domain),
            "read by an offline or foreign reader"
        );
        // Acquire: the value's contents were written before the pointer.
        let pointer = self.current.load(Ordering::Acquire);
        // SAFETY: the pointer came from `Box::into_raw`. A value is dropped only after it was swapped out and a later
        // epoch was passed by every online reader of this domain; `reader` is online and stays borrowed for 'r, so it
        // cannot pass (that needs `&mut`). Dropping `self` is excluded by the borrow of `self`.
        unsafe { &*pointer }
    }

    /// Replaces the value. Readers see the new one from their next [`Published::read`] on; the old one waits.
    ///
    /// # Errors
    /// [`Congested`], with nothing changed, when [`LIMBO_LIMIT`] values wait already.
    pub fn publish(&self, value: T) -> Result<(), Congested<T>> {
        let mut limbo = self.lock();
        self.drop_passed(&mut limbo);
        if limbo.len() >= LIMBO_LIMIT {
            return Err(Congested(value));
        }
        let old = self
            .current
            .swap(Box::into_raw(Box::new(value)), Ordering::AcqRel);
        limbo.push_back((self.domain.advance(), Retired(old)));
        Ok(())
    }

    /// Drops the old values no reader can hold any more; returns how many still wait.
    pub fn reclaim(&self) -> usize {
        let mut limbo = self.lock();
        self.drop_passed(&mut limbo);
        limbo.len()
    }

    /// Gives a writer the value now, without being a reader. Other writers wait meanwhile, so `f` must not publish.
    pub fn with_current<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        let _no_publishing = self.lock();
        // SAFETY: values are swapped out and dropped only under the lock held here, or with `&mut self`.
        f(unsafe { &*self.current.load(Ordering::Acquire) })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Epoch, Retired<T>)>> {
        // A destructor or closure that panicked leaves the list as it should be: entries leave it before they are dropped.
        self.limbo
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn drop_passed(&self, limbo: &mut VecDeque<(Epoch, Retired<T>)>) {
        while let Some((epoch, _)) = limbo.front()
            && self.domain.passed(*epoch)
            && let Some((_, old)) = limbo.pop_front()
        {
            // SAFETY: from `Box::into_raw`, swapped out before `epoch` began, and out of the list, so dropped once. No
            // reader holds it: all have passed `epoch`.
            drop(unsafe { Box::from_raw(old.0) });
        }
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        let mut limbo = self
            .limbo
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let waiting = limbo.drain(..).map(|(_, old)| old.0);
        for pointer in waiting.chain([self.current.load(Ordering::Acquire)]) {
            // SAFETY: each came from `Box::into_raw` and is owned by `self` alone; `&mut self` means that no borrow from
            // `read` or `with_current` is left.
            drop(unsafe { Box::from_raw(pointer) });
        }
    }
}

impl<T: Send + Sync + fmt::Debug> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_current(|value| f.debug_tuple("Published").field(value).finish())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    struct Counted(u32, Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn old_values_wait_for_the_readers() {
        let (domain, drops) = (Domain::new(1), Arc::new(AtomicUsize::new(0)));
        let value = |n| Counted(n, Arc::clone(&drops));
        let published = Published::new(Arc::clone(&domain), value(1));
        let mut reader = domain.reader().unwrap();
        reader.online();
        let old = published.read(&reader);
        published.publish(value(2)).unwrap();
        assert_eq!(published.reclaim(), 1);
        assert_eq!((old.0, drops.load(SeqCst)), (1, 0));
        assert_eq!(published.read(&reader).0, 2);
        reader.quiesce();
        assert_eq!((published.reclaim(), drops.load(SeqCst)), (0, 1));
        published.publish(value(3)).unwrap();
        assert_eq!(published.with_current(|v| v.0), 3);
        drop(published);
        assert_eq!(
            drops.load(SeqCst),
            3,
            "drop frees what waits and what is current"
        );
    }

    #[test]
    fn limbo_is_bounded() {
        let domain = Domain::new(1);
        let mut reader = domain.reader().unwrap();
        reader.online();
        let published = Published::new(Arc::clone(&domain), 0);
        for n in 0..LIMBO_LIMIT {
            published.publish(n).unwrap();
        }
        assert_eq!(published.publish(1000).unwrap_err().0, 1000);
        reader.quiesce();
        published.publish(1000).unwrap();
        assert_eq!(*published.read(&reader), 1000);
    }

    #[test]
    #[should_panic(expected = "offline")]
    fn reading_offline_is_refused() {
        let domain = Domain::new(1);
        let published = Published::new(Arc::clone(&domain), 0);
        let reader = domain.reader().unwrap();
        let _ = published.read(&reader);
    }
}
