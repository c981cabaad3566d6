//! Text to a typed configuration, going on after each mistake.
//!
//! Every key is named once, where its table is read; what a table was not asked for is unknown in it.

mod check;
mod director;
mod health;
mod limits;
mod mark;
mod port;
mod section;
mod service;
mod settings;
mod sync;
mod tell;
mod track;
mod twin;
mod value;
mod vrrp;

pub use settings::MAX_TIMEOUT_S;

use crate::{Config, Located, Problem, Report, Settings, report::line_and_column};
use section::{Reader, Section};
use std::collections::BTreeSet;
use toml::de::DeTable;

impl Config {
    /// Reads and checks a configuration; `file` is the name shown in messages.
    ///
    /// # Errors
    /// [`Report`]: every mistake, in the order of the file. Text that is not TOML is reported as far as it can be
    /// followed, and what it says is judged once it is TOML.
    pub fn parse(text: &str, file: &str) -> Result<Self, Report> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut found: Vec<(usize, Problem)> = errors.iter().map(not_toml).collect();
        // The parser goes on after a mistake, and stumbles over the rest of the same line.
        found.sort_by_key(|(at, _)| *at);
        found.dedup_by_key(|(at, _)| line_and_column(text, *at).0);
        let mut config = Self::default();
        if found.is_empty() {
            let mut reader = Reader::default();
            config = read(&mut reader, table.get_ref());
            let mut checked = config.problems_with(reader.interfaces_known());
            checked.extend(config.untracked_services());
            found = reader.into_located(checked);
        }
        if found.is_empty() {
            return Ok(config);
        }
        found.sort_by_key(|(at, _)| *at);
        found.dedup();
        let problems = found
            .into_iter()
            .map(|(at, problem)| {
                let (line, column) = line_and_column(text, at);
                Located {
                    line,
                    column,
                    problem,
                }
            })
            .collect();
        Err(Report {
            file: file.to_owned(),
            problems,
        })
    }
}

/// A mistake of syntax, with the parser's words where they can be understood.
fn not_toml(error: &toml::de::Error) -> (usize, Problem) {
    let message = error.message().trim_end();
    let instead = if message.starts_with("string values must be quoted") {
        "a value is missing here, or a text is not in quotes"
    } else if message == "duplicate key" {
        "this key is there already; keep one of them"
    } else {
        message
    };
    let at = error.span().map_or(0, |span| span.start);
    (at, Problem::new("", "not TOML", instead))
}

fn read(reader: &mut Reader, table: &DeTable<'_>) -> Config {
    let mut root = Section::root(table);
    let compat_ipvs = root
        .get(reader, "compat", "\"ipvs\", or leave it out", |v| {
            (v.as_str() == Some("ipvs")).then_some(true).ok_or(None)
        })
        .unwrap_or(false);
    let director = root.table(reader, "director", director::read);
    let ports = root.tables(reader, "port", port::port);
    let vlans = root.tables(reader, "vlan", port::vlan);
    let routes = root.tables(reader, "route", port::route);
    let marks = root.tables(reader, "mark", mark::rule);
    let vrrp = root.tables(reader, "vrrp", vrrp::instance);
    let vrrp_scripts = root.tables(reader, "vrrp_script", track::script);
    let vrrp_notify = root.tables(reader, "vrrp_notify", track::notify);
    let track_files = root.tables(reader, "track_file", track::file);
    let track_gateways = root.tables(reader, "track_gateway", track::gateway);
    let track_bfds = root.tables(reader, "track_bfd", track::bfd);
    let track_servers = root.tables(reader, "track_servers", track::servers);
    let sync = root.table(reader, "sync", sync::read);
    let twin = root.table(reader, "twin", twin::read);
    let notify = root.tables(reader, "notify", tell::notify);
    let mail = root.table(reader, "mail", tell::mail);
    let access = root.table(reader, "access", limits::access);
    let services = root.tables(reader, "service", service::service);
    let settings = root.table(reader, "settings", |reader, section| {
        settings::read(reader, section, Settings::defaults(compat_ipvs))
    });
    root.finish(reader);
    Config {
        compat_ipvs,
        director,
        ports,
        vlans,
        routes,
        marks,
        vrrp,
        vrrp_scripts,
        vrrp_notify,
        track_files,
        track_gateways,
        track_bfds,
        track_servers,
        sync,
        twin,
        notify,
        mail,
        access,
        services,
        settings,
    }
}

/// What a text says, not checked against anything; its mistakes of reading, one line each.
pub fn unchecked(text: &str) -> Result<Config, Vec<String>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors.iter().map(|e| not_toml(e).1).collect();
    let mut config = Config::default();
    if problems.is_empty() {
        let mut reader = Reader::default();
        config = read(&mut reader, table.get_ref());
        let found = reader.into_located(Vec::new()).into_iter();
        problems.extend(found.map(|(_, problem)| problem));
    }
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.iter().map(Problem::to_string).collect())
    }
}

/// The `[settings]` of a text that has nothing else, over those of `before`.
pub fn settings_over(text: &str, before: &Settings) -> Result<Settings, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::default();
    let mut root = Section::root(table.get_ref());
    let settings = root.table(&mut reader, "settings", |reader, section| {
        settings::read(reader, section, before.clone())
    });
    root.finish(&mut reader);
    let mut problems: Vec<Problem> = errors.iter().map(|e| not_toml(e).1).collect();
    problems.extend(
        reader
            .into_located(Vec::new())
            .into_iter()
            .map(|(_, problem)| problem),
    );
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(problems)
    }
}

/// Every key there is, as (table, key): `("port", "mtu")`; the table of top-level keys is `""`.
#[must_use]
pub fn known_keys() -> Vec<(&'static str, &'static str)> {
    let skeleton = "[director]\n[[port]]\n[[vlan]]\n[[route]]\n[[mark]]\n[[vrrp]]\n[[vrrp_script]]\n[[vrrp_notify]]\n[[track_file]]\n[[track_gateway]]\n[[track_bfd]]\n[[track_servers]]\n[sync]\n[twin]\n[[notify]]\n[mail]\n[access]\n[[service]]\n[[service.check]]\n[[service.server]]\n[settings]\n";
    let (table, _) = DeTable::parse_recoverable(skeleton);
    let mut reader = Reader::default();
    read(&mut reader, table.get_ref());
    let keys: BTreeSet<_> = reader.keys;
    keys.into_iter().collect()
}
