//! Differences of who is told.

use super::{Changes, Effect};
use crate::{Mail, Notify, NotifyAbout};

/// `old` and `new`.
pub(super) fn notify(changes: &mut Changes, old: &[Notify], new: &[Notify]) {
    let e = Effect::Reload;
    let key = |n: &Notify| n.to.to_string();
    changes.lists(e, "notify ", (old, new), key, |changes, a, b| {
        let of = |what: &str| format!("notify {}: {what}", a.to);
        changes.value(e, &of("format"), a.format.word(), b.format.word());
        changes.value(e, &of("events"), words(&a.events), words(&b.events));
        changes.optional(e, &of("user"), a.user.as_ref(), b.user.as_ref());
        changes.optional(e, &of("group"), a.group.as_ref(), b.group.as_ref());
        let mode = |n: &Notify| format!("{:04o}", n.mode);
        changes.value(e, &of("mode"), mode(a), mode(b));
        let reader = |n: &Notify| format!("{:?}", n.reader);
        changes.value(e, &of("reader"), reader(a), reader(b));
        let (was, is) = (a.reader_user.as_ref(), b.reader_user.as_ref());
        changes.optional(e, &of("reader_user"), was, is);
    });
}

/// `old` and `new`.
pub(super) fn mail(changes: &mut Changes, old: Option<&Mail>, new: Option<&Mail>) {
    let e = Effect::Reload;
    let server = |mail: &Mail| mail.server();
    let (was, is) = (old.map(server), new.map(server));
    changes.optional(e, "mail: smtp_server", was.as_ref(), is.as_ref());
    let Some((old, new)) = old.zip(new) else {
        return;
    };
    let s = |duration: std::time::Duration| format!("{} s", duration.as_secs_f64());
    changes.value(e, "mail: from", &old.from, &new.from);
    let to = |mail: &Mail| mail.to.join(" ");
    changes.value(e, "mail: to", to(old), to(new));
    let (was, is) = (s(old.connect_timeout), s(new.connect_timeout));
    changes.value(e, "mail: connect_timeout", was, is);
    let (was, is) = (old.helo_name.as_ref(), new.helo_name.as_ref());
    changes.optional(e, "mail: helo_name", was, is);
    changes.value(e, "mail: events", words(&old.events), words(&new.events));
    changes.value(e, "mail: interval", s(old.interval), s(new.interval));
}

fn words(events: &[NotifyAbout]) -> String {
    let words: Vec<&str> = events.iter().copied().map(NotifyAbout::word).collect();
    format!("[{}]", words.join(", "))
}
