//! Differences of `[twin]`, which is read at the start.

use super::{Changes, Effect};
use crate::Twin;

pub(super) fn twin(changes: &mut Changes, old: Option<&Twin>, new: Option<&Twin>) {
    let e = Effect::Restart;
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (old, new) => {
            changes.optional(e, "twin: peer", old.map(|t| &t.peer), new.map(|t| &t.peer));
            return;
        }
    };
    changes.value(e, "twin: peer", old.peer, new.peer);
    changes.value(e, "twin: port", old.port, new.port);
    changes.value(
        e,
        "twin: key_file",
        old.key_file.display().to_string(),
        new.key_file.display().to_string(),
    );
    changes.value(e, "twin: push", old.push, new.push);
}
