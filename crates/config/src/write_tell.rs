//! `[[notify]]` and `[mail]`, to be read again.

use crate::{Mail, Notify, NotifyAbout, NotifyTo};
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
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    reader: &'c [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_user: Option<&'c str>,
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
        events: words(&notify.events),
        user: notify.user.as_deref(),
        group: notify.group.as_deref(),
        mode: format!("{:04o}", notify.mode),
        reader: &notify.reader,
        reader_user: notify.reader_user.as_deref(),
    }
}

#[derive(Serialize)]
pub(crate) struct MailTable<'c> {
    smtp_server: String,
    from: &'c str,
    to: &'c [String],
    connect_timeout: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    helo_name: Option<&'c str>,
    events: Vec<&'static str>,
    interval: f64,
}

pub(crate) fn mail(mail: &Mail) -> MailTable<'_> {
    MailTable {
        smtp_server: mail.server(),
        from: &mail.from,
        to: &mail.to,
        connect_timeout: mail.connect_timeout.as_secs_f64(),
        helo_name: mail.helo_name.as_deref(),
        events: words(&mail.events),
        interval: mail.interval.as_secs_f64(),
    }
}

fn words(events: &[NotifyAbout]) -> Vec<&'static str> {
    events.iter().copied().map(NotifyAbout::word).collect()
}
