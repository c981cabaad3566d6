//! The EAL: DPDK's run-time environment, started once a process, with threads of our own.

use crate::{
    Device, EalError, Hugepages, LogLevel, LogSink,
    error::{Said, errno_text},
    hugepages, log, pci,
};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::{
    collections::BTreeSet,
    ffi::{CStr, CString, c_char},
    fs,
    marker::PhantomData,
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
        check_name(&config.name)?;
        let memory = match hugepages::choose(config.hugepages, config.memory_mb)? {
            None => MemoryMode::Hugepages,
            Some(why) => MemoryMode::Ordinary {
                memory_mb: config.memory_mb,
                why,
            },
        };
        // A device in the kernel's hands is left alone here; opening its port says what is wrong.
        let ready = config.devices.iter().filter(|device| pci::is_ready(device));
        let allowed: Vec<String> = ready.filter_map(Device::pci_devargs).collect();
        let arguments = arguments(&config, &memory, &allowed);
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
        init(arguments, mark)?;
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

fn check_name(name: &str) -> Result<(), EalError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good =
        (1..=32).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['-', '.']);
    if good {
        Ok(())
    } else {
        Err(EalError::Name(name.to_owned()))
    }
}

fn arguments(config: &EalConfig, memory: &MemoryMode, allowed: &[String]) -> Vec<String> {
    let cpus = if config.control_cpus.is_empty() {
        own_cpus()
    } else {
        config.control_cpus.clone()
    };
    let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    let mut arguments = vec![config.name.clone(), "--no-telemetry".to_owned()];
    // One lcore, over a set of CPUs: DPDK starts no workers, and pins its own threads to nothing narrower.
    arguments.push(format!("--lcores=0@({})", cpus.join(",")));
    match memory {
        // Needs no hugetlbfs mount, and leaves no files.
        MemoryMode::Hugepages => arguments.push("--in-memory".to_owned()),
        MemoryMode::Ordinary { memory_mb, .. } => {
            arguments.extend([
                "--no-huge".to_owned(),
                "-m".to_owned(),
                memory_mb.to_string(),
            ]);
        }
    }
    arguments.push(format!("--file-prefix={}", config.name));
    if allowed.is_empty() {
        arguments.push("--no-pci".to_owned());
    }
    for device in allowed {
        arguments.extend(["-a".to_owned(), device.clone()]);
    }
    arguments
}

/// The CPUs the calling thread may run on; CPU 0 if that cannot be told.
fn own_cpus() -> Vec<usize> {
    sched_getaffinity(None)
        .map(|set| {
            (0..CpuSet::MAX_CPU)
                .filter(|&cpu| set.is_set(cpu))
                .collect()
        })
        .unwrap_or_else(|_| vec![0])
}

/// Calls `rte_eal_init` and gives the calling thread its affinity back.
fn init(arguments: Vec<String>, mark: log::Mark) -> Result<(), EalError> {
    let affinity = sched_getaffinity(None).ok();
    // The EAL keeps pointers into its arguments: they are never freed.
    let mut argv: Vec<*mut c_char> = arguments
        .into_iter()
        .map(|argument| {
            CString::new(argument.replace('\0', ""))
                .unwrap_or_default()
                .into_raw()
        })
        .collect();
    let argc = i32::try_from(argv.len()).unwrap_or(i32::MAX);
    argv.push(std::ptr::null_mut());
    let argv: &'static mut [*mut c_char] = Vec::leak(argv);
    // SAFETY: `argv` is a NULL-terminated array of `argc` NUL-terminated texts that live forever, and this is the only
    // call in the life of the process.
    let result = unsafe { dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) };
    // SAFETY: reads a thread-local.
    let errno = unsafe { dpdk_sys::edge_errno() };
    if let Some(affinity) = affinity {
        // Failing leaves the thread where the EAL put it: on the control CPUs, which is where it should be anyway.
        let _ = rustix::thread::sched_setaffinity(None, &affinity);
    }
    if result < 0 {
        return Err(EalError::Init {
            reason: if errno == 0 {
                "it gives no reason".to_owned()
            } else {
                errno_text(errno)
            },
            said: Said::since(mark),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_directory_names_are_refused() {
        for name in ["", "-x", ".x", "a/b", "a b", &"x".repeat(33)] {
            assert_eq!(check_name(name), Err(EalError::Name(name.to_owned())));
        }
        assert_eq!(check_name("tarpon-1.a_b"), Ok(()));
    }

    #[test]
    fn memory_and_devices_become_arguments() {
        let config = EalConfig {
            name: "t".into(),
            memory_mb: 64,
            control_cpus: vec![0, 2],
            ..EalConfig::default()
        };
        let ordinary = MemoryMode::Ordinary {
            memory_mb: 64,
            why: String::new(),
        };
        let line = arguments(&config, &ordinary, &[]).join(" ");
        assert_eq!(
            line,
            "t --no-telemetry --lcores=0@(0,2) --no-huge -m 64 --file-prefix=t --no-pci"
        );
        let line = arguments(
            &config,
            &MemoryMode::Hugepages,
            &["0000:03:00.0".to_owned()],
        )
        .join(" ");
        assert_eq!(
            line,
            "t --no-telemetry --lcores=0@(0,2) --in-memory --file-prefix=t -a 0000:03:00.0"
        );
    }
}
