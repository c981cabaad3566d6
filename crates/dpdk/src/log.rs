//! DPDK's own log: handed to whoever started the EAL, and kept for a while so that an error can quote it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    sync::{Mutex, OnceLock, PoisonError},
};

/// Severity of a message of DPDK's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Normal but worth knowing.
    Notice,
    /// Progress.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    fn from_dpdk(level: u32) -> Self {
        match level {
            0..=dpdk_sys::RTE_LOG_ERR => Self::Error,
            dpdk_sys::RTE_LOG_WARNING => Self::Warning,
            dpdk_sys::RTE_LOG_NOTICE => Self::Notice,
            dpdk_sys::RTE_LOG_INFO => Self::Info,
            _ => Self::Debug,
        }
    }

    pub(crate) const fn to_dpdk(self) -> u32 {
        match self {
            Self::Error => dpdk_sys::RTE_LOG_ERR,
            Self::Warning => dpdk_sys::RTE_LOG_WARNING,
            Self::Notice => dpdk_sys::RTE_LOG_NOTICE,
            Self::Info => dpdk_sys::RTE_LOG_INFO,
            Self::Debug => dpdk_sys::RTE_LOG_DEBUG,
        }
    }
}

/// Where DPDK's messages go, one call a message, from any thread.
pub type LogSink = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Messages kept for quoting.
const KEPT: usize = 64;

static SINK: OnceLock<LogSink> = OnceLock::new();
static RECENT: Mutex<Recent> = Mutex::new(Recent {
    messages: VecDeque::new(),
    total: 0,
});

struct Recent {
    messages: VecDeque<String>,
    total: usize,
}

/// A moment in the log.
#[derive(Clone, Copy)]
pub(crate) struct Mark(usize);

pub(crate) fn mark() -> Mark {
    Mark(RECENT.lock().unwrap_or_else(PoisonError::into_inner).total)
}

/// Messages of the EAL's that only repeat that something failed.
const ECHOES: [&str; 3] = [
    "EAL: Driver cannot attach the device",
    "EAL: Failed to attach device",
    "EAL: Bus (pci) probe failed",
];

/// Warnings about what nobody here asked for: 1 GB pages, sharing an interface's XDP hook, traffic control on a TAP.
const HARMLESS: [&str; 8] = [
    "EAL: No free ",
    "libxdp: No bpffs found",
    "libxdp: Can't use dispatcher",
    "tap_nl_dump_ext_ack(): Specified qdisc",
    "qdisc_create_multiq()",
    "failed to create multiq qdisc",
    "Disabling rte flow support",
    "libxdp: Falling back",
];

/// The messages at warning level or worse since `mark` that say something, without repetitions.
pub(crate) fn since(mark: Mark) -> Vec<String> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    let new = (recent.total - mark.0).min(recent.messages.len());
    let mut messages: Vec<String> = recent
        .messages
        .iter()
        .skip(recent.messages.len() - new)
        .cloned()
        .collect();
    messages.retain(|message| !ECHOES.iter().any(|echo| message.starts_with(echo)));
    messages.dedup();
    messages
}

/// Redirects DPDK's log to `sink` from now on. The first sink stays.
pub(crate) fn redirect(sink: LogSink) {
    if SINK.set(sink).is_ok() {
        // SAFETY: the callback is a static function; DPDK keeps the stream for the life of the process.
        unsafe { dpdk_sys::edge_log_to(Some(on_message)) };
    }
}

/// The same for the libraries some drivers bring along; they are loaded once the EAL is up.
pub(crate) fn redirect_bpf() {
    // SAFETY: the callback is a static function.
    unsafe { dpdk_sys::edge_bpf_log_to(Some(on_message)) };
}

extern "C" fn on_message(level: u32, text: *const core::ffi::c_char, length: usize) {
    // SAFETY: the stream's write hands over `length` readable bytes.
    let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    // A panic must not cross into C; a message lost is the lesser evil.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        deliver(LogLevel::from_dpdk(level), bytes)
    }));
}

fn deliver(level: LogLevel, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let harmless = |line: &str| HARMLESS.iter().any(|part| line.contains(part));
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !harmless(line))
    {
        if level <= LogLevel::Warning {
            let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.messages.len() == KEPT {
                recent.messages.pop_front();
            }
            recent.messages.push_back(line.to_owned());
            recent.total += 1;
        }
        if let Some(sink) = SINK.get() {
            sink(level, line);
        }
    }
}
