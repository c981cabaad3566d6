//! Differences of who is told.

use super::{Changes, Effect};
use crate::{Notify, NotifyAbout};

/// `old` and `new`.
pub(super) fn notify(changes: &mut Changes, old: &[Notify], new: &[Notify]) {
    let e = Effect::Reload;
    let key = |n: &Notify| n.to.to_string();
    changes.lists(e, "notify ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("notify {}: {what}", a.to);
        let about = |n: &Notify| {
            let words: Vec<&str> = n.events.iter().copied().map(NotifyAbout::word).collect();
            format!("[{}]", words.join(", "))
        };
        changes.value(e, &of("format"), a.format.word(), b.format.word());
        changes.value(e, &of("events"), about(a), about(b));
        changes.optional(e, &of("user"), a.user.as_ref(), b.user.as_ref());
        changes.optional(e, &of("group"), a.group.as_ref(), b.group.as_ref());
        let mode = |n: &Notify| format!("{:04o}", n.mode);
        changes.value(e, &of("mode"), mode(a), mode(b));
    });
}
