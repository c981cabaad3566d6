//! Who is told of changes: the notify FIFOs of `global_defs`.

use crate::{note::Notes, tree::Statement};
use config::{Notify, NotifyAbout, NotifyFormat, NotifyTo};

/// The words it reads.
pub(crate) const WORDS: &[&str] = &[
    "notify_fifo",
    "lvs_notify_fifo",
    "vrrp_notify_fifo",
    "notify_fifo_script",
    "lvs_notify_fifo_script",
    "vrrp_notify_fifo_script",
];

/// A word of [`WORDS`].
pub(crate) fn fifo(inner: &Statement, notify: &mut Vec<Notify>, notes: &mut Notes) {
    let events = match inner.keyword() {
        "notify_fifo" => vec![NotifyAbout::Services, NotifyAbout::Vrrp],
        "lvs_notify_fifo" => vec![NotifyAbout::Services],
        "vrrp_notify_fifo" => vec![NotifyAbout::Vrrp],
        _ => {
            return notes.unsupported(
                inner,
                "the FIFO is written, its reader is not started: a unit of systemd can (ExecStart=SCRIPT FIFO)",
            );
        }
    };
    let Some(path) = inner.argument(0).filter(|path| path.starts_with('/')) else {
        return notes.wrong(inner, "it needs the FIFO's absolute path");
    };
    if notify
        .iter()
        .any(|other| other.to.path().as_os_str() == path)
    {
        return notes.wrong(inner, "names of FIFOs must all be different");
    }
    notify.push(Notify {
        events,
        user: inner.argument(1).map(str::to_owned),
        group: inner.argument(2).map(str::to_owned),
        ..Notify::new(NotifyTo::Fifo(path.into()), NotifyFormat::Keepalived)
    });
    notes.exact(inner);
}
