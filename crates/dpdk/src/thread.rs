//! Threads of ours, known to the EAL.

use crate::{
    Eal, EalError,
    error::{Said, errno_text},
    log,
};
use std::marker::PhantomData;

impl Eal {
    /// Makes the calling thread one of the EAL's, so that mempools keep a cache for it. Pin it first. A thread that is
    /// not registered may use everything too, a little slower.
    ///
    /// # Errors
    /// [`EalError::Register`] when there are too many.
    pub fn register_thread(&self) -> Result<ThreadGuard, EalError> {
        let mark = log::mark();
        // SAFETY: the EAL is up.
        if unsafe { dpdk_sys::rte_thread_register() } == 0 {
            return Ok(ThreadGuard {
                _eal: self.clone(),
                _this_thread: PhantomData,
            });
        }
        // SAFETY: reads a thread-local.
        let reason = errno_text(unsafe { dpdk_sys::edge_errno() });
        Err(EalError::Register {
            reason,
            said: Said::since(mark),
        })
    }
}

/// A registered thread; unregisters it when dropped.
pub struct ThreadGuard {
    _eal: Eal,
    /// Must be dropped on the thread it stands for.
    _this_thread: PhantomData<*const ()>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        // SAFETY: the EAL is up, and this is the registered thread, as the guard is not `Send`.
        unsafe { dpdk_sys::rte_thread_unregister() };
    }
}
