//! What can go wrong, one variant per mistake, each saying what to do about it.

use crate::{Device, log};
use std::{ffi::CStr, fmt};
use thiserror::Error;

/// DPDK's text for an error number (either sign).
pub(crate) fn errno_text(code: i32) -> String {
    // SAFETY: returns a static or thread-local NUL-terminated text for any number.
    let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(code.abs())) };
    text.to_string_lossy().into_owned()
}

/// What DPDK logged while an operation failed; shown after our own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(pub(crate) Vec<String>);

impl Said {
    pub(crate) fn since(mark: log::Mark) -> Self {
        Self(log::since(mark))
    }

    fn has(&self, needle: &str) -> bool {
        self.0.iter().any(|line| line.contains(needle))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " (DPDK says: {})", self.0.join("; "))
        }
    }
}

/// Why the EAL did not start.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EalError {
    /// Second start in one process.
    #[error("DPDK has been started in this process before; it starts once per process")]
    AlreadyStarted,
    /// A name that would not do as a directory name.
    #[error(
        "`{0}` is not a usable instance name; letters, digits, `-`, `_` and `.`, up to 32, not starting with `-` or `.`"
    )]
    Name(String),
    /// Hugepages were required.
    #[error(
        "{memory_mb} MB of hugepages are required, {free_mb} MB are free{}; reserve them with `sysctl -w vm.nr_hugepages={pages}` \
         (or `hugepages={pages}` on the kernel command line), or do not require them",
        if *free_mb == 0 { " (none are reserved, or other processes hold them)" } else { "" }
    )]
    NoHugepages {
        /// What was asked for.
        memory_mb: u32,
        /// What is there, over all page sizes.
        free_mb: u64,
        /// 2 MB pages that would do.
        pages: u32,
    },
    /// Less ordinary memory than asked for.
    #[error(
        "{memory_mb} MB of memory were asked for, the machine has {available_mb} MB available; lower it, or stop something"
    )]
    NoMemory {
        /// What was asked for.
        memory_mb: u32,
        /// MemAvailable.
        available_mb: u64,
    },
    /// A device that is no such thing.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The EAL's own refusal.
    #[error("DPDK did not start: {reason}{said}{}", eal_remedy(.said))]
    Init {
        /// Text of `rte_errno`.
        reason: String,
        /// What DPDK logged meanwhile.
        said: Said,
    },
    /// No lcore left for a thread, or the EAL refuses foreign threads.
    #[error("DPDK did not register the thread: {reason}{said}; at most {} threads can be registered", dpdk_sys::RTE_MAX_LCORE - 1)]
    Register {
        /// Text of `rte_errno`.
        reason: String,
        /// What DPDK logged meanwhile.
        said: Said,
    },
}

fn eal_remedy(said: &Said) -> &'static str {
    if said.has("Cannot create lock on") {
        "; another process runs under this instance name: stop it, or choose another name"
    } else if said.has("Cannot get hugepage information") {
        "; reserve hugepages with `sysctl -w vm.nr_hugepages=512`, or run without"
    } else if said.has("ermission") {
        "; run as root, or grant the capabilities named in the documentation of ports"
    } else {
        ""
    }
}

/// Why a text names no device.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// Neither a PCI address nor a driver nor a short form.
    #[error(
        "`{0}` is not a device; write a PCI address (`0000:03:00.0`), a short form (`af_packet:eth1`, `af_xdp:eth1`, `tap:NAME`) \
         or a DPDK virtual device (`net_pcap,rx_pcap=FILE`)"
    )]
    Unknown(String),
    /// The name of a kernel interface by itself.
    #[error(
        "`{name}` is a network interface of the kernel: write `af_packet:{name}` to share it with the kernel{}",
        match pci { Some(pci) => format!(", or its PCI address `{pci}` to take it over (it must then be bound to vfio-pci)"), None => String::new() }
    )]
    Interface {
        /// The interface.
        name: String,
        /// Where it sits, if on PCI.
        pci: Option<String>,
    },
    /// A short form without its name.
    #[error("`{text}` lacks the interface: write `{driver}:INTERFACE`")]
    NoInterface {
        /// What was written.
        text: String,
        /// The part before the colon.
        driver: String,
    },
    /// `key=value` expected.
    #[error("`{argument}` in `{text}` is not of the form KEY=VALUE")]
    Argument {
        /// What was written.
        text: String,
        /// The wrong part.
        argument: String,
    },
}

/// Why there is no mempool.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MempoolError {
    /// Zero buffers, or more than DPDK's ring can hold.
    #[error("a mempool of {0} buffers cannot be; 1 to 2147483647")]
    Count(u32),
    /// Larger than a 16-bit length can say.
    #[error("buffers of {0} bytes cannot be; 64 to {max}", max = u16::MAX as u32 - dpdk_sys::RTE_PKTMBUF_HEADROOM)]
    DataSize(u32),
    /// Out of memory, mostly.
    #[error(
        "no room for {count} packet buffers of {data_size} bytes ({needed_mb} MB): {reason}{said}; give DPDK more memory, or ask for \
         fewer buffers"
    )]
    Create {
        /// Buffers wanted.
        count: u32,
        /// Bytes of data in each.
        data_size: u32,
        /// What they take, headers included.
        needed_mb: u64,
        /// Text of `rte_errno`.
        reason: String,
        /// What DPDK logged meanwhile.
        said: Said,
    },
}

/// Why a port did not open, or refused an operation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PortError {
    /// No such PCI device.
    #[error("no PCI device {address}{}", list_of(.present))]
    NoPciDevice {
        /// What was asked for.
        address: String,
        /// Network devices there are.
        present: Vec<String>,
    },
    /// The kernel's driver holds it.
    #[error(
        "{address} is held by the kernel's driver `{driver}`: bind it to DPDK's with `modprobe vfio-pci; driverctl set-override {address} \
         vfio-pci` (or `dpdk-devbind.py -b vfio-pci {address}`); without an IOMMU, `uio_pci_generic` instead"
    )]
    KernelDriver {
        /// The device.
        address: String,
        /// Its driver.
        driver: String,
    },
    /// No driver at all.
    #[error(
        "{address} has no driver bound: bind vfio-pci to it with `modprobe vfio-pci; driverctl set-override {address} vfio-pci`"
    )]
    NoDriver {
        /// The device.
        address: String,
    },
    /// A driver without IOMMU on ordinary memory.
    #[error(
        "{address} is bound to `{driver}`, which needs hugepages: reserve them with `sysctl -w vm.nr_hugepages=512` and restart, or, \
         with an IOMMU, bind vfio-pci to it instead"
    )]
    NeedsHugepages {
        /// The device.
        address: String,
        /// Its driver.
        driver: String,
    },
    /// The PCI bus was not scanned for it.
    #[error(
        "{address} was not named when DPDK was started; PCI devices must be, so that the right kind of memory is chosen (restart)"
    )]
    NotAllowed {
        /// The device.
        address: String,
    },
    /// A kernel interface that is not there.
    #[error(
        "no network interface `{interface}` for {device}; `ip link` lists those there are (in this network namespace)"
    )]
    NoInterface {
        /// The device.
        device: String,
        /// The interface.
        interface: String,
    },
    /// The same device twice.
    #[error("{0} is open already")]
    AlreadyOpen(String),
    /// The driver refused to attach.
    #[error("{device} could not be attached: {reason}{said}{}", not_root())]
    Probe {
        /// The device as given to DPDK.
        device: String,
        /// DPDK's text.
        reason: String,
        /// What DPDK logged meanwhile.
        said: Said,
    },
    /// An MTU outside what the port takes.
    #[error("{device}: MTU {mtu} is out of range; {min} to {max}")]
    Mtu {
        /// The device.
        device: String,
        /// What was asked for.
        mtu: u16,
        /// Smallest.
        min: u16,
        /// Largest.
        max: u16,
    },
    /// Buffers too small for a driver that cannot chain them.
    #[error(
        "{device}: frames of {frame} bytes do not fit packet buffers of {buffer} bytes, and this driver cannot chain buffers"
    )]
    BufferTooSmall {
        /// The device.
        device: String,
        /// Largest frame, with Ethernet header and a VLAN tag.
        frame: u32,
        /// Room in a buffer.
        buffer: u32,
    },
    /// Zero queues.
    #[error("{0}: a port needs at least one queue")]
    NoQueues(String),
    /// One of DPDK's calls failed.
    #[error("{device}: {operation} failed: {reason}{said}")]
    Call {
        /// The device.
        device: String,
        /// What was tried, in words.
        operation: &'static str,
        /// DPDK's text.
        reason: String,
        /// What DPDK logged meanwhile.
        said: Said,
    },
}

/// The likeliest reason of all, where it holds.
fn not_root() -> &'static str {
    if rustix::process::geteuid().is_root() {
        ""
    } else {
        "; this process is not root, which drivers mostly need"
    }
}

fn list_of(present: &[String]) -> String {
    if present.is_empty() {
        "; this machine has no network device on PCI".to_owned()
    } else {
        format!("; the network devices there are: {}", present.join(", "))
    }
}

impl PortError {
    /// Turns a DPDK return code into a result: negative is an error.
    pub(crate) fn check(
        code: i32,
        device: &Device,
        operation: &'static str,
        mark: log::Mark,
    ) -> Result<(), Self> {
        if code >= 0 {
            return Ok(());
        }
        Err(Self::Call {
            device: device.to_string(),
            operation,
            reason: errno_text(code),
            said: Said::since(mark),
        })
    }
}
