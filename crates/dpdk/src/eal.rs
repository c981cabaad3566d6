//! The EAL: DPDK's run-time environment, started once a process, with threads of our own.

use crate::{Device, EalError, Hugepages, LogLevel, LogSink, hugepages, log, pci, start};
use std::{
    collections::BTreeSet,
    ffi::CStr,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// How to start the EAL.
pub struct EalConfig {
    /// The instance: names DPDK's run-time directory, so several instances can run side by side. Letters, digits, `-_.`.
    pub name: String,
    /// Memory for packet buffers and drivers' rings. With hugepages it is taken as needed, without at once.
    pub memory_mb: u32,
    /// Whether that memory is in hugepages.
    pub hugepages: Hugepages,
    /// Every PCI device that will be opened: DPDK chooses its kind of addresses by them. Without any, PCI is left alone.
    /// Virtual devices in the list are ignored.
    pub devices: Vec<Device>,
    /// CPUs on which DPDK's own housekeeping threads may run; empty: those of the calling thread. The calling thread's
    /// own affinity stays as it is.
    pub control_cpus: Vec<usize>,
    /// Messages less severe than this are not made.
    pub log_level: LogLevel,
    /// Where DPDK's messages go; to standard error if nothing is given.
    pub log: Option<LogSink>,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self {
            name: "tarpon".to_owned(),
            memory_mb: 256,
            hugepages: Hugepages::Auto,
            devices: Vec::new(),
            control_cpus: Vec::new(),
            log_level: LogLevel::Warning,
            log: None,
        }
    }
}

/// The memory DPDK got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryMode {
    /// Hugepages, unlinked at once: nothing is left behind by a crash.
    Hugepages,
    /// Ordinary pages.
    Ordinary {
        /// All there is.
        memory_mb: u32,
        /// Why, and the remedy: a sentence for a person.
        why: String,
    },
}

/// The running EAL. Clones share it; it is cleaned up when the last clone, port and pool is gone, and cannot be started
/// again in the process.
#[derive(Clone)]
pub struct Eal(Arc<Inner>);

struct Inner {
    memory: MemoryMode,
    runtime_dir: PathBuf,
    /// PCI devices named at start.
    allowed: Vec<String>,
    /// Ports of PCI devices somebody has opened; DPDK attaches those devices by itself at start.
    claimed: Mutex<BTreeSet<u16>>,
    /// Frames are outside a pool whose handles are gone (net_af_xdp never gives back all it took): the memory must stay.
    keep_memory: AtomicBool,
    /// DPDK's control calls are not made for several threads at once.
    control: Mutex<()>,
}

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts the EAL.
    ///
    /// # Errors
    /// [`EalError`]. After a failure of DPDK's own ([`EalError::Init`]) the process cannot try again; every mistake that
    /// can be seen before is found before.
    pub fn init(config: EalConfig) -> Result<Self, EalError> {
        start::check_name(&config.name)?;
        let memory = match hugepages::choose(config.hugepages, config.memory_mb)? {
            None => MemoryMode::Hugepages,
            Some(why) => MemoryMode::Ordinary {
                memory_mb: config.memory_mb,
                why,
            },
        };
        // A device in the kernel's hands is left alone here; opening its port says what is wrong.
        let ready = config
            .devices
            .iter()
            .filter(|device| pci::is_ready(device, &memory));
        let allowed: Vec<String> = ready.filter_map(Device::pci_devargs).collect();
        let arguments = start::arguments(&config, &memory, &allowed);
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyStarted);
        }
        log::redirect(
            config
                .log
                .unwrap_or_else(|| Box::new(|_, text| eprintln!("dpdk: {text}"))),
        );
        let mark = log::mark();
        // SAFETY: no memory is touched, only a number set.
        unsafe { dpdk_sys::rte_log_set_global_level(config.log_level.to_dpdk()) };
        start::init(arguments, mark)?;
        log::redirect_bpf();
        // SAFETY: the EAL is up; the text is static.
        let runtime_dir = unsafe { CStr::from_ptr(dpdk_sys::rte_eal_get_runtime_dir()) };
        let runtime_dir = PathBuf::from(runtime_dir.to_string_lossy().into_owned());
        Ok(Self(Arc::new(Inner {
            memory,
            runtime_dir,
            allowed,
            claimed: Mutex::default(),
            keep_memory: AtomicBool::new(false),
            control: Mutex::default(),
        })))
    }

    /// The memory DPDK got: worth telling the user.
    #[must_use]
    pub fn memory_mode(&self) -> &MemoryMode {
        &self.0.memory
    }

    /// Where DPDK keeps this instance's sockets and locks; removed when the EAL ends.
    #[must_use]
    pub fn runtime_dir(&self) -> &Path {
        &self.0.runtime_dir
    }

    /// The installed DPDK, like "DPDK 22.11.11".
    #[must_use]
    pub fn version() -> String {
        // SAFETY: a static text.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_version()) };
        text.to_string_lossy().into_owned()
    }

    /// Cycles a second of the CPU's time stamp counter.
    #[must_use]
    pub fn tsc_hz(&self) -> u64 {
        // SAFETY: the EAL, which has measured it, is up.
        unsafe { dpdk_sys::rte_get_tsc_hz() }
    }

    /// NUMA nodes that have CPUs here.
    #[must_use]
    pub fn numa_nodes(&self) -> Vec<i32> {
        // SAFETY: the EAL is up for as long as `self` lives.
        (0..unsafe { dpdk_sys::rte_socket_count() })
            .map(|i| unsafe { dpdk_sys::rte_socket_id_by_idx(i) })
            .collect()
    }

    /// Runs one of DPDK's control calls while no other thread does.
    pub(crate) fn control<T>(&self, call: impl FnOnce() -> T) -> T {
        let _guard = self
            .0
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        call()
    }

    /// Takes a port that is there already; false if somebody has it.
    pub(crate) fn claim(&self, port: u16) -> bool {
        self.0
            .claimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port)
    }

    /// Gives back a claimed port.
    pub(crate) fn release(&self, port: u16) {
        self.0
            .claimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&port);
    }

    /// Frames outlive their pool: packet memory is to stay until the process ends.
    pub(crate) fn keep_memory(&self) {
        self.0.keep_memory.store(true, Ordering::Release);
    }

    pub(crate) fn is_allowed(&self, pci_address: &str) -> bool {
        self.0
            .allowed
            .iter()
            .any(|device| device.split(',').next() == Some(pci_address))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.keep_memory.get_mut() {
            // SAFETY: every port and pool holds an `Eal`, so none is left, and no frame is.
            unsafe { dpdk_sys::rte_eal_cleanup() };
        }
        // Files of this instance that the EAL leaves behind; they do no harm if they stay.
        let _ = fs::remove_dir_all(&self.runtime_dir);
    }
}
