//! Where DPDK's memory comes from: what the machine has, and what to choose.

use crate::EalError;
use std::fs;

/// Whether to use hugepages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// If enough are free, else ordinary memory.
    #[default]
    Auto,
    /// Or do not start.
    Required,
    /// Ordinary memory.
    Never,
}

/// Kilobytes of the page size `vm.nr_hugepages` counts on x86-64.
const PAGE_KB: u32 = 2048;

/// Bytes in free hugepages of all sizes, in MB.
pub(crate) fn free_mb() -> u64 {
    let Ok(sizes) = fs::read_dir("/sys/kernel/mm/hugepages") else {
        return 0;
    };
    let free_kb: u64 = sizes
        .flatten()
        .filter_map(|size| {
            let kb: u64 = size
                .file_name()
                .to_str()?
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let free: u64 = fs::read_to_string(size.path().join("free_hugepages"))
                .ok()?
                .trim()
                .parse()
                .ok()?;
            Some(kb * free)
        })
        .sum();
    free_kb / 1024
}

fn available_mb() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}

/// 2 MB pages that hold `memory_mb`.
pub(crate) const fn pages_for(memory_mb: u32) -> u32 {
    memory_mb.div_ceil(PAGE_KB / 1024)
}

/// `Ok(None)`: use hugepages. `Ok(Some(why))`: use ordinary memory, and say why.
pub(crate) fn choose(wanted: Hugepages, memory_mb: u32) -> Result<Option<String>, EalError> {
    let free_mb = free_mb();
    let enough = free_mb >= u64::from(memory_mb);
    let pages = pages_for(memory_mb);
    match wanted {
        Hugepages::Auto | Hugepages::Required if enough => return Ok(None),
        Hugepages::Required => {
            return Err(EalError::NoHugepages {
                memory_mb,
                free_mb,
                pages,
            });
        }
        Hugepages::Auto | Hugepages::Never => {}
    }
    // Without hugepages the EAL maps and touches all of it at once: better refused than killed.
    if let Some(available_mb) = available_mb().filter(|&mb| mb < u64::from(memory_mb)) {
        return Err(EalError::NoMemory {
            memory_mb,
            available_mb,
        });
    }
    Ok(Some(match wanted {
        Hugepages::Never => "hugepages are turned off in the configuration".to_owned(),
        _ => format!(
            "{free_mb} MB of hugepages are free, {memory_mb} MB are needed; reserve them with `sysctl -w vm.nr_hugepages={pages}` and restart"
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_says_so_and_more_than_the_machine_has_is_refused() {
        assert!(
            choose(Hugepages::Never, 16)
                .unwrap()
                .unwrap()
                .contains("turned off")
        );
        assert!(matches!(
            choose(Hugepages::Never, u32::MAX),
            Err(EalError::NoMemory { .. })
        ));
    }

    #[test]
    fn required_and_absent_names_the_remedy() {
        let error = choose(Hugepages::Required, u32::MAX)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sysctl -w vm.nr_hugepages=2147483648"),
            "{error}"
        );
    }
}
