//! What `systemctl enable` leaves in /etc/systemd/system. `disable` takes away more than `enable` made: an alias that was there before, a directory
//! that was empty. Those are put back.

use super::system::System;
use crate::error::Refusal;
use std::{fs, os::unix::fs::symlink, path::Path};

const DIRECTORY: &str = "/etc/systemd/system";

/// Every directory of links, and every link to the unit as `PATH<tab>TARGET`.
pub(super) fn list(system: &System, unit: &str) -> Vec<String> {
    let mut found = links(system, DIRECTORY, unit);
    for name in names(&system.path(DIRECTORY)) {
        if name.ends_with(".wants") || name.ends_with(".requires") {
            let path = format!("{DIRECTORY}/{name}");
            found.extend(links(system, &path, unit));
            found.push(path);
        }
    }
    found.sort();
    found
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect()
}

fn links(system: &System, directory: &str, unit: &str) -> Vec<String> {
    names(&system.path(directory))
        .into_iter()
        .filter_map(|name| {
            let path = format!("{directory}/{name}");
            let target = fs::read_link(system.path(&path)).ok()?;
            target
                .ends_with(unit)
                .then(|| format!("{path}\t{}", target.display()))
        })
        .collect()
}

/// Make again what of an earlier list is gone.
pub(super) fn restore(system: &System, unit: &str, before: &str) -> Result<(), Refusal> {
    let now = list(system, unit);
    // A directory sorts before what is in it.
    for line in before.lines().filter(|l| !now.iter().any(|n| n == l)) {
        match line.split_once('\t') {
            None => {
                let path = system.path(line);
                fs::create_dir_all(&path).map_err(Refusal::io(path))?;
            }
            // A link that leads elsewhere by now is somebody's decision.
            Some((link, target)) => {
                let path = system.path(link);
                if fs::symlink_metadata(&path).is_err() {
                    symlink(target, &path).map_err(Refusal::io(path))?;
                }
            }
        }
    }
    Ok(())
}
