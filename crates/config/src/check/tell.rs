//! Who is told of changes: whether nobody gets in another's way.

use super::{Problems, repeated};
use crate::Config;

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let paths = config.notify.iter().map(|notify| notify.to.path());
    for (index, first) in repeated(paths) {
        let path = config.notify.get(first).map(|n| n.to.path().display());
        let path = path.map(|path| path.to_string()).unwrap_or_default();
        problems.add(
            format!("notify[{index}]"),
            format!(
                "{path} is told of changes already, by [[notify]] {}",
                first + 1
            ),
            "write another path: lines of two would be mixed",
        );
    }
}
