//! Which CPU each worker gets, and which are left for everything else.

use anyhow::{Result, bail};
use config::Cores;
use core_affinity::CoreId;

/// CPUs by use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One per worker, in order.
    pub workers: Vec<usize>,
    /// For the control thread, the host thread and DPDK's own; those of the workers too if there are no others.
    pub control: Vec<usize>,
}

/// Places the workers `cores` asks for on the CPUs this process may use.
///
/// # Errors
/// When there are too few, or one named is not among them.
pub fn place(cores: &Cores) -> Result<Placement> {
    let allowed: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    place_on(cores, &allowed)
}

/// Pins the calling thread to `cpu`. False if the kernel refuses.
#[must_use]
pub fn pin(cpu: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: cpu })
}

fn place_on(cores: &Cores, allowed: &[usize]) -> Result<Placement> {
    let list = |cpus: &[usize]| {
        cpus.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let workers = match cores {
        Cores::Named(named) => {
            let named: Vec<usize> = named.iter().map(|&core| usize::from(core)).collect();
            if let Some(missing) = named.iter().find(|core| !allowed.contains(core)) {
                bail!(
                    "director.cores names CPU {missing}, which this process may not use; it may use: {}",
                    list(allowed)
                );
            }
            named
        }
        Cores::Count(count) => {
            let count = usize::from(*count);
            if count > allowed.len() {
                bail!(
                    "director.workers is {count}, but this process may use only {} CPUs ({}); each worker needs one of its own",
                    allowed.len(),
                    list(allowed)
                );
            }
            // The first CPU is where the kernel does its chores: it is the last to be taken.
            allowed[allowed.len() - count..].to_vec()
        }
    };
    let others: Vec<usize> = allowed
        .iter()
        .copied()
        .filter(|cpu| !workers.contains(cpu))
        .collect();
    let control = if others.is_empty() {
        allowed.to_vec()
    } else {
        others
    };
    Ok(Placement { workers, control })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cpu_is_taken_last() {
        let placed = place_on(&Cores::Count(2), &[0, 1, 4]).unwrap();
        assert_eq!(
            placed,
            Placement {
                workers: vec![1, 4],
                control: vec![0]
            }
        );
        let all = place_on(&Cores::Count(2), &[0, 1]).unwrap();
        assert_eq!(
            all,
            Placement {
                workers: vec![0, 1],
                control: vec![0, 1]
            }
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = place_on(&Cores::Named(vec![0, 7]), &[0, 1]).unwrap_err();
        assert!(error.to_string().contains("CPU 7"), "{error}");
        let error = place_on(&Cores::Count(3), &[0, 1]).unwrap_err();
        assert!(error.to_string().contains("only 2 CPUs (0, 1)"), "{error}");
    }
}
