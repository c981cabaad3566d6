//! Real-time priority for a thread that must wake on time.

/// Between the kernel's threaded interrupts (50) and ordinary programs.
const PRIORITY: i32 = 40;

/// Makes the calling thread run before all ordinary ones (`SCHED_FIFO`). It must sleep most of the time.
///
/// # Errors
/// Usually for lack of `CAP_SYS_NICE`.
pub fn real_time() -> std::io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the parameters live until the call returns.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
