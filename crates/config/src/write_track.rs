//! `[[vrrp_script]]` and `[[track_file]]`, to be read again.

use crate::{TrackFile, VrrpScript};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
pub(crate) struct ScriptTable<'c> {
    name: &'c str,
    script: &'c [String],
    interval: f64,
    timeout: f64,
    weight: i32,
    reverse: bool,
    rise: u32,
    fall: u32,
    init_fail: bool,
    user: &'c str,
}

pub(crate) fn script(s: &VrrpScript) -> ScriptTable<'_> {
    ScriptTable {
        name: &s.name,
        script: &s.script,
        interval: s.interval.as_secs_f64(),
        timeout: s.timeout.as_secs_f64(),
        weight: s.weight.by,
        reverse: s.weight.reverse,
        rise: s.rise,
        fall: s.fall,
        init_fail: s.init_fail,
        user: &s.user,
    }
}

#[derive(Serialize)]
pub(crate) struct FileTable<'c> {
    name: &'c str,
    file: &'c Path,
    weight: i32,
    reverse: bool,
}

pub(crate) fn file(f: &TrackFile) -> FileTable<'_> {
    FileTable {
        name: &f.name,
        file: &f.file,
        weight: f.weight.by,
        reverse: f.weight.reverse,
    }
}
