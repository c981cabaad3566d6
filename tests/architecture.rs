//! The house rules that can be checked by reading the workspace: which crate may use which, where `unsafe` may stand,
//! who may read a clock. `docs/ARCHITECTURE.md` has the reasons.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crate and level: a crate may use only crates of a lower level.
const LEVELS: &[(&str, u8)] = &[
    ("types", 0),
    ("wire", 1),
    ("rcu", 1),
    ("health", 1),
    ("connsync", 2),
    ("flowtable", 2),
    ("config", 2),
    ("api", 2),
    ("realserver", 2),
    ("keepalived", 3),
    ("vrrp", 2),
    ("engine", 3),
    ("dpdk-sys", 3),
    ("sim", 4),
    ("dpdk", 4),
    ("host", 4),
    ("probe", 4),
    ("tarpond", 5),
    ("tarpon", 5),
    ("pktgen", 5),
];

/// The only crates in which `unsafe` may stand.
const UNSAFE_ALLOWED: &[&str] = &["dpdk-sys", "dpdk", "host", "rcu", "flowtable"];

/// Crates that must not read a clock: time is an argument there.
const CLOCKLESS: &[&str] = &[
    "types",
    "wire",
    "rcu",
    "health",
    "connsync",
    "flowtable",
    "config",
    "keepalived",
    "api",
    "vrrp",
    "engine",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> serde_json::Value {
    let out = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Lines of a source file that are code: no comment lines, nothing from the first `#[cfg(test)]` on.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

fn offending(crates: impl Iterator<Item = String>, needles: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for name in crates {
        let mut files = Vec::new();
        rust_files(&root().join("crates").join(&name).join("src"), &mut files);
        assert!(!files.is_empty(), "crate {name} has no sources");
        for file in files {
            let text = fs::read_to_string(&file).expect("source is readable");
            for (number, line) in code_lines(&text) {
                if needles.iter().any(|n| line.contains(n)) {
                    found.push(format!("{}:{number}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    found
}

fn crate_names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("crates"))
        .expect("crates/ exists")
        .flatten()
        .filter(|e| e.path().join("Cargo.toml").exists())
        .map(|e| e.file_name().into_string().expect("crate names are ASCII"))
        .collect();
    names.sort();
    names
}

#[test]
fn arrows_only_point_downward() {
    let levels: BTreeMap<&str, u8> = LEVELS.iter().copied().collect();
    let metadata = metadata();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("name");
        if name == "tarpon-suite" {
            continue;
        }
        seen += 1;
        let Some(&level) = levels.get(name) else {
            wrong.push(format!(
                "crate `{name}` has no level in tests/architecture.rs"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            // Tests of a crate may reach up (the engine's tests run on the simulator's frames).
            if dependency["kind"] == "dev" {
                continue;
            }
            let other = dependency["name"].as_str().expect("dependency name");
            if dependency["path"].is_string() && levels.get(other).is_none_or(|&l| l >= level) {
                wrong.push(format!("`{name}` (level {level}) may not use `{other}`"));
            }
        }
    }
    assert_eq!(seen, crate_names().len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_is_fenced() {
    let pure = crate_names()
        .into_iter()
        .filter(|n| !UNSAFE_ALLOWED.contains(&n.as_str()));
    let found = offending(
        pure,
        &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
    );
    assert!(
        found.is_empty(),
        "unsafe outside {UNSAFE_ALLOWED:?}:\n{}",
        found.join("\n")
    );
}

/// Who may know what time of day it is: only what is for people's eyes. No protocol, role, lease, check or connection may change because
/// somebody sets the machine's clock.
const WALL_CLOCKS: [&str; 5] = [
    "crates/tarpond/src/capture.rs",
    "crates/tarpond/src/clock.rs",
    "crates/tarpond/src/control/explain/mod.rs",
    "crates/tarpond/src/control/journal/mod.rs",
    // The stamp of a frame that is captured or traced.
    "crates/tarpond/src/worker/mod.rs",
];

#[test]
fn setting_the_clock_changes_nothing_in_the_daemon() {
    let daemon = ["tarpond", "host", "probe", "dpdk"].map(str::to_owned);
    let words = [
        "SystemTime::now",
        "UNIX_EPOCH",
        "wall_ns",
        "ClockId::Realtime",
        "Zoned::now",
        "Timestamp::now",
    ];
    let found: Vec<String> = offending(daemon.into_iter(), &words)
        .into_iter()
        .filter(|place| !WALL_CLOCKS.iter().any(|file| place.contains(file)))
        .collect();
    assert!(
        found.is_empty(),
        "the time of day is read where something may depend on it:\n{}",
        found.join("\n")
    );
}

#[test]
fn nothing_below_level_three_reads_a_clock() {
    let present = crate_names();
    let pure = CLOCKLESS
        .iter()
        .map(|n| (*n).to_owned())
        .filter(|n| present.contains(n));
    let found = offending(
        pure,
        &["Instant::now", "SystemTime::now", "_rdtsc", "thread::sleep"],
    );
    assert!(
        found.is_empty(),
        "clocks below level 3:\n{}",
        found.join("\n")
    );
}
