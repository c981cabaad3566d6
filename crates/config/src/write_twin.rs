//! What two directors have alike, and `[twin]`, to be read again.

use crate::{
    Config, Twin,
    write::{self, AccessTable, MarkTable, ServiceTable, SettingsTable},
};
use serde::Serialize;
use std::{net::IpAddr, path::Path};

#[derive(Serialize)]
pub(crate) struct TwinTable<'c> {
    peer: IpAddr,
    port: u16,
    key_file: &'c Path,
    push: &'static str,
}

pub(crate) fn twin(t: &Twin) -> TwinTable<'_> {
    TwinTable {
        peer: t.peer,
        port: t.port,
        key_file: &t.key_file,
        push: t.push.word(),
    }
}

#[derive(Serialize)]
struct Shared<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    compat: Option<&'static str>,
    settings: SettingsTable,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mark: Vec<MarkTable<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<AccessTable<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service: Vec<ServiceTable<'c>>,
}

impl Config {
    /// What two directors have alike, as a file: every key written out, so that the same says the same.
    #[must_use]
    pub fn shared_to_toml(&self) -> String {
        let shared = Shared {
            compat: self.compat_ipvs.then_some("ipvs"),
            settings: write::settings(&self.settings),
            mark: self.marks.iter().map(write::mark).collect(),
            access: write::access(&self.access),
            service: self.services.iter().map(write::service).collect(),
        };
        toml::to_string(&shared).unwrap_or_default()
    }
}
