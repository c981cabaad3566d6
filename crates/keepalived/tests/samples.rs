//! Files as they are found in the world: those that come with Debian's keepalived all read.

use keepalived::{Class, NoIncludes, read};
use std::{fs, path::PathBuf};

/// The samples of the package `keepalived`, where it is installed with its documentation.
fn samples() -> Vec<(String, String)> {
    let directory = std::env::var_os("KEEPALIVED_SAMPLES").map_or_else(
        || PathBuf::from("/usr/share/doc/keepalived/samples"),
        PathBuf::from,
    );
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter(|e| {
        e.file_name()
            .to_string_lossy()
            .starts_with("keepalived.conf")
    });
    let mut all: Vec<(String, String)> = files
        .map(|e| {
            let text = fs::read_to_string(e.path()).expect("a sample is readable");
            (e.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn debians_samples_read() {
    let samples = samples();
    if samples.is_empty() {
        eprintln!("the samples of the package keepalived are not here: nothing was read");
    }
    for (name, text) in samples {
        let import = read(&text, &name, "high", &mut NoIncludes);
        let wrong: Vec<String> = import
            .notes
            .iter()
            .filter(|note| note.class == Class::Wrong)
            .map(ToString::to_string)
            .collect();
        println!(
            "{name}: {} services, {} words, {} %",
            import.services.len(),
            import.notes.len(),
            import.coverage_percent()
        );
        assert_eq!(wrong, Vec::<String>::new(), "{name}");
        assert!(!import.notes.is_empty(), "{name}");
        let wanted = text
            .lines()
            .filter(|l| l.trim_start().starts_with("virtual_server "))
            .count();
        assert!(
            import.services.len() >= wanted,
            "{name}: {} of {wanted}",
            import.services.len()
        );
    }
}
