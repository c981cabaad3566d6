//! Differences of checks.

use super::{Changes, Effect};
use crate::{check_line, write_health};
use health::Check;

/// Of a service or a server, as `what` says. As many of the same kinds in the same order are the same checks, otherwise set.
pub(super) fn checks(changes: &mut Changes, what: &str, old: &[Check], new: &[Check]) {
    let kinds = |checks: &[Check]| -> Vec<_> { checks.iter().map(|c| c.kind.word()).collect() };
    if kinds(old) != kinds(new) {
        let what = format!("{what}check ");
        return changes.lists(Effect::Reload, &what, (old, new), check_line, |_, _, _| {});
    }
    for (number, (a, b)) in old.iter().zip(new).enumerate() {
        let kind = a.kind.word();
        let alike = old.iter().filter(|c| c.kind.word() == kind).count() > 1;
        let which = match alike {
            true => format!(" {}", number + 1),
            false => String::new(),
        };
        for (key, was, is) in write_health::differences(a, b) {
            let text = format!("{what}check {kind}{which}: {key} {was} -> {is}");
            changes.add(Effect::Reload, text);
        }
    }
}
