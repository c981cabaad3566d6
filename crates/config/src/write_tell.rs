//! `[[notify]]`, to be read again.

use crate::{Notify, NotifyAbout, NotifyTo};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
pub(crate) struct NotifyTable<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    fifo: Option<&'c Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'c Path>,
    format: &'static str,
    events: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'c str>,
    mode: String,
}

pub(crate) fn notify(notify: &Notify) -> NotifyTable<'_> {
    let (fifo, file) = match &notify.to {
        NotifyTo::Fifo(path) => (Some(path.as_path()), None),
        NotifyTo::File(path) => (None, Some(path.as_path())),
    };
    NotifyTable {
        fifo,
        file,
        format: notify.format.word(),
        events: notify
            .events
            .iter()
            .copied()
            .map(NotifyAbout::word)
            .collect(),
        user: notify.user.as_deref(),
        group: notify.group.as_deref(),
        mode: format!("{:04o}", notify.mode),
    }
}
