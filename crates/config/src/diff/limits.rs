//! Differences of who may make connections, and how many.

use super::{Changes, Effect};
use crate::{Access, Limits};
use types::SynCookies;

pub(super) fn access(changes: &mut Changes, what: &str, old: &Access, new: &Access) {
    let lists = [
        ("allow", &old.allow, &new.allow),
        ("deny", &old.deny, &new.deny),
    ];
    for (key, old, new) in lists {
        let what = format!("{what}{key} ");
        let lists = (old.as_slice(), new.as_slice());
        changes.lists(Effect::Reload, &what, lists, |net| *net, |_, _, _| {});
    }
}

pub(super) fn limits(changes: &mut Changes, what: &str, old: &Limits, new: &Limits) {
    access(changes, what, &old.access, &new.access);
    let cookies = |limits: &Limits| Some(limits.syn_cookies).filter(|c| *c != SynCookies::Off);
    changes.optional(
        Effect::Reload,
        &format!("{what}syn_cookies"),
        cookies(old).as_ref(),
        cookies(new).as_ref(),
    );
    let limits = [
        ("connection_limit", old.connections, new.connections),
        ("rate_limit", old.rate, new.rate),
        ("client_rate_limit", old.client_rate, new.client_rate),
        (
            "client_prefix",
            old.client_prefix.map(Into::into),
            new.client_prefix.map(Into::into),
        ),
    ];
    for (key, old, new) in limits {
        let what = format!("{what}{key}");
        changes.optional(Effect::Reload, &what, old.as_ref(), new.as_ref());
    }
}
