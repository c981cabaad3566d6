//! `[director]` against itself.

use super::{Problems, repeated};
use crate::{Config, Cores};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let Cores::Named(cores) = &config.director.cores else {
        return;
    };
    if cores.is_empty() {
        problems.add(
            "director.cores",
            "no core is named, so there would be no worker",
            "name one core per worker, like cores = [1, 2], or write workers = 1",
        );
    }
    if cores.len() > 128 {
        problems.add(
            "director.cores",
            format!("{} cores", cores.len()),
            "name at most 128",
        );
    }
    for (index, _) in repeated(cores.iter()) {
        if let Some(core) = cores.get(index) {
            problems.add(
                format!("director.cores[{index}]"),
                format!("core {core} is named twice"),
                "name each core once: it runs one worker",
            );
        }
    }
}
