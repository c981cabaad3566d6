//! The EAL of this crate's unit tests, which run in one process; `tests/edge.rs` has its own.

use crate::{Eal, EalConfig, Hugepages};
use std::{fs, process, sync::LazyLock};

pub(crate) static EAL: LazyLock<Eal> = LazyLock::new(|| {
    let config = EalConfig {
        name: format!("tarpon-unit-{}", process::id()),
        memory_mb: 64,
        hugepages: Hugepages::Never,
        ..EalConfig::default()
    };
    let eal = Eal::init(config).expect("the EAL starts with ordinary memory");
    // A static is never dropped: what the EAL's own end would remove is removed when the process ends.
    // SAFETY: a function that lives as long as the process.
    unsafe { libc::atexit(remove_runtime_dir) };
    eal
});

extern "C" fn remove_runtime_dir() {
    let _ = fs::remove_dir_all(EAL.runtime_dir());
}
