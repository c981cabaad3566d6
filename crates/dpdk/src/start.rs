//! Starting the EAL: its arguments, and the call.

use crate::{
    EalConfig, EalError, MemoryMode,
    error::{Said, errno_text},
    log,
};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::ffi::{CString, c_char};

pub(crate) fn check_name(name: &str) -> Result<(), EalError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good =
        (1..=32).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['-', '.']);
    if good {
        Ok(())
    } else {
        Err(EalError::Name(name.to_owned()))
    }
}

/// What the EAL is started with.
pub(crate) fn arguments(
    config: &EalConfig,
    memory: &MemoryMode,
    allowed: &[String],
) -> Vec<String> {
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
pub(crate) fn init(arguments: Vec<String>, mark: log::Mark) -> Result<(), EalError> {
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
