//! `[[notify]]`

use super::{
    section::{Reader, Section, Wrong},
    value::{text, word},
};
use crate::{Notify, NotifyAbout, NotifyFormat, NotifyTo};
use std::path::PathBuf;
use toml::de::DeValue;

pub(super) fn notify(reader: &mut Reader, section: &mut Section<'_>) -> Option<Notify> {
    let wanted = "an absolute path, like \"/run/tarpon/events\"";
    let fifo = section.get(reader, "fifo", wanted, path);
    let file = section.get(reader, "file", wanted, path);
    let format = section.get(
        reader,
        "format",
        "\"json\" or \"keepalived\"",
        word(NotifyFormat::WORDS),
    );
    let events = section.list(
        reader,
        "events",
        (
            "\"services\", \"vrrp\" or \"configuration\"",
            "\"services\", \"vrrp\"",
        ),
        word(NotifyAbout::WORDS),
    );
    let user = section.get(reader, "user", "the name of a user", name);
    let group = section.get(reader, "group", "the name of a group", name);
    let mode = section.get(
        reader,
        "mode",
        "permissions as an octal text, like \"0640\"",
        mode,
    );
    let to = match (section.has("fifo"), section.has("file")) {
        (true, false) => NotifyTo::Fifo(fifo?),
        (false, true) => NotifyTo::File(file?),
        (both, _) => {
            let what = match both {
                true => "both `fifo` and `file` in one [[notify]]",
                false => "a [[notify]] with neither `fifo` nor `file`",
            };
            let instead = "write one of them: fifo = \"/run/tarpon/events\"";
            reader.report(section.position_of("file"), section.path(), what, instead);
            return None;
        }
    };
    let mut notify = Notify::new(to, format.unwrap_or(NotifyFormat::Json));
    if let Some(mut events) = events {
        events.sort_unstable();
        events.dedup();
        notify.events = events;
    }
    notify.mode = mode.unwrap_or(notify.mode);
    Some(Notify {
        user,
        group,
        ..notify
    })
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    let text = text(value)?;
    let absolute = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
    absolute.then(|| text.into()).ok_or(None)
}

fn name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let fits = !text.is_empty() && !text.contains([':', '\n', '\0']);
    fits.then_some(text).ok_or(None)
}

fn mode(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let text = text(value)?;
    let mode = u32::from_str_radix(&text, 8).map_err(|_| None)?;
    (mode <= 0o777).then_some(mode).ok_or(None)
}
