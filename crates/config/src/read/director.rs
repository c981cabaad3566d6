//! `[director]`

use super::{
    section::{Reader, Section},
    value::{alternatives, integer, text, word},
};
use crate::{Cores, Director, Hugepages, Idle, Journal, LogLevel};
use toml::de::DeValue;

/// Workers at most: what one 16-bit id and one core each allow in practice.
const MAX_WORKERS: u16 = 128;

pub(super) fn read(reader: &mut Reader, section: &mut Section<'_>) -> Director {
    let default = Director::default();
    let name = section.get(reader, "name", "a text, like \"lb1\"", text);
    let core = ("the number of a CPU core, 0 to 1023", "1, 2");
    let cores = section.list(reader, "cores", core, |v| integer(0..=1023_u16)(v));
    let workers = section.get(
        reader,
        "workers",
        "a whole number from 1 to 128, like 2",
        integer(1..=MAX_WORKERS),
    );
    if cores.is_some() && workers.is_some() {
        reader.report(
            section.position_of("workers"),
            &format!("{}.workers", section.path()),
            "both `cores` and `workers` are given",
            "write `cores` alone (one worker on each core named), or `workers` alone (cores are chosen)",
        );
    }
    let cores = match (cores, workers) {
        (Some(cores), _) => Cores::Named(cores),
        (None, Some(n)) => Cores::Count(n),
        (None, None) => default.cores,
    };
    let entries = "a whole number from 1024 to 1000000000, like 1_000_000";
    let connections = section.get(
        reader,
        "connections",
        entries,
        integer(1024..=1_000_000_000),
    );
    let connections6 = section.get(
        reader,
        "connections6",
        entries,
        integer(1024..=1_000_000_000),
    );
    let idle = section.get(reader, "idle", &words(Idle::WORDS), word(Idle::WORDS));
    let hugepages = section.get(
        reader,
        "hugepages",
        &words(Hugepages::WORDS),
        word(Hugepages::WORDS),
    );
    let memory_mb = section.get(
        reader,
        "memory_mb",
        "MiB as a whole number from 64 to 1048576, like 512",
        integer(64..=1_048_576),
    );
    let socket = section.get(
        reader,
        "socket",
        "an absolute path of at most 100 bytes, like \"/run/tarpon/control.sock\"",
        // sockaddr_un has 108 bytes; the lock and pid files beside it share the path.
        |v| {
            text(v).and_then(|t| {
                (t.starts_with('/') && t.len() <= 100)
                    .then_some(t)
                    .ok_or(None)
            })
        },
    );
    let file_prefix = section.get(
        reader,
        "file_prefix",
        "letters, digits, `-` and `_`, at most 32, like \"tarpon\"",
        |v| {
            let text = text(v)?;
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let fits = !text.is_empty() && text.len() <= 32 && text.chars().all(good);
            fits.then_some(text).ok_or(None)
        },
    );
    let journal = section.get(
        reader,
        "journal",
        "true, false, or the absolute path of a file, like \"/var/lib/tarpon/events\"",
        |v| match v {
            DeValue::Boolean(true) => Ok(Journal::Default),
            DeValue::Boolean(false) => Ok(Journal::Off),
            other => {
                let path = text(other)?;
                // Not a folder.
                let fits = path.starts_with('/') && !path.ends_with('/');
                fits.then_some(Journal::At(path.into())).ok_or(None)
            }
        },
    );
    let journal_mb = section.get(
        reader,
        "journal_mb",
        "MiB as a whole number from 1 to 1048576, like 64",
        integer(1..=1_048_576),
    );
    let log = section.get(
        reader,
        "log",
        &words(LogLevel::WORDS),
        word(LogLevel::WORDS),
    );
    Director {
        name: name.unwrap_or(default.name),
        cores,
        connections: connections.unwrap_or(default.connections),
        connections6: connections6.unwrap_or(default.connections6),
        idle: idle.unwrap_or(default.idle),
        hugepages: hugepages.unwrap_or(default.hugepages),
        memory_mb: memory_mb.unwrap_or(default.memory_mb),
        socket: socket.map_or(default.socket, Into::into),
        file_prefix: file_prefix.unwrap_or(default.file_prefix),
        journal: journal.unwrap_or(default.journal),
        journal_mb: journal_mb.unwrap_or(default.journal_mb),
        log: log.unwrap_or(default.log),
    }
}

fn words<T>(words: &'static [(&'static str, T)]) -> String {
    alternatives(words.iter().map(|(word, _)| *word))
}
