//! Every mistake has its message: each file in `tests/mistakes` against the table in `docs/configuration-mistakes.md`,
//! which `BLESS=1` rewrites.

use config::Config;
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

const HEADING: &str = "\
# Mistakes in a configuration file, and what is said of them

`tarpon check FILE` and `tarpond --check --config FILE` report every mistake of a file at once, each with its line and column, and change
nothing. This is what they say; each row is a file in `crates/config/tests/mistakes`, and a test holds the row against it.

| mistake | line | message |
|---|---|---|
";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(directory())
        .expect("the directory of mistakes is there")
        .flatten()
        .map(|entry| {
            let name = entry.file_name().into_string().expect("names are ASCII");
            let text = fs::read_to_string(entry.path()).expect("mistakes are readable");
            (name, text)
        })
        .collect();
    files.sort();
    files
}

/// What may not stand in a cell of a Markdown table as it is.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn table(files: &[(String, String)]) -> String {
    let mut table = String::from(HEADING);
    for (name, text) in files {
        let Err(report) = Config::parse(text, name) else {
            panic!("{name} is accepted, but must be a mistake");
        };
        let title = name.trim_end_matches(".toml").replace('-', " ");
        for (n, problem) in report.problems.iter().enumerate() {
            let title = if n == 0 { title.as_str() } else { "" };
            let line = text
                .lines()
                .nth(problem.line - 1)
                .unwrap_or_default()
                .trim();
            let line = if line.is_empty() {
                String::new()
            } else {
                format!("`{line}`")
            };
            writeln!(
                table,
                "| {title} | {} | {}:{}: {} |",
                cell(&line),
                problem.line,
                problem.column,
                cell(&problem.problem.to_string())
            )
            .expect("a String takes everything");
        }
    }
    table
}

#[test]
fn each_mistake_gets_its_message() {
    let files = files();
    assert!(files.len() >= 40, "only {} mistakes", files.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration-mistakes.md");
    let got = table(&files);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, got).expect("the table can be written");
        return;
    }
    let expected = fs::read_to_string(&path).expect("the table is there; BLESS=1 writes it");
    for (got, expected) in got.lines().zip(expected.lines()) {
        assert_eq!(
            got, expected,
            "BLESS=1 rewrites docs/configuration-mistakes.md"
        );
    }
    assert_eq!(got.lines().count(), expected.lines().count());
}

/// A message without a place or a remedy helps nobody.
#[test]
fn every_message_says_where_what_and_what_instead() {
    for (name, text) in files() {
        let report = Config::parse(&text, &name).expect_err("all are mistakes");
        for (line, problem) in report.lines().zip(&report.problems) {
            assert!(
                line.starts_with(&format!("{name}:{}:{}: ", problem.line, problem.column)),
                "{line}"
            );
            assert!(problem.line <= text.lines().count().max(1), "{line}");
            assert!(
                !problem.problem.what.is_empty() && !problem.problem.instead.is_empty(),
                "{line}"
            );
        }
    }
}
