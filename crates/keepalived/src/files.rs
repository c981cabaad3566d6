//! The files behind `include`, and this machine's configuration id: the only part that reads anything.

use crate::{Import, Loader, read};
use glob::{MatchOptions, Pattern, glob_with};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Reads included files from where the including one is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Loader for Files {
    fn load(&mut self, pattern: &str, from: &str) -> Result<Vec<(String, String)>, String> {
        let base = Path::new(from).parent().unwrap_or(Path::new(""));
        let paths = matching(base, pattern)?;
        let named = |path: PathBuf| {
            let name = path.display().to_string();
            let text = text(&path).map_err(|error| format!("{name}: {error}"))?;
            Ok((name, text))
        };
        paths.into_iter().map(named).collect()
    }
}

/// A file's text. keepalived takes bytes as they come: a comment in Latin-1 must not keep a file from being read.
fn text(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a file with all it includes. `id` absent: the first part of the host's name.
///
/// # Errors
/// When the file itself cannot be read.
pub fn read_file(path: &Path, id: Option<&str>) -> io::Result<Import> {
    let text = text(path)?;
    let name = path.display().to_string();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().split('.').next().unwrap_or_default();
    Ok(read(&text, &name, id.unwrap_or(host), &mut Files))
}

/// Files of a pattern as keepalived takes it, that of csh: `*`, `?`, `[a-z]` in any part of the path, and `{a,b}`; by name.
fn matching(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // Hidden files are only meant by their whole name.
        require_literal_leading_dot: true,
    };
    let mut found = Vec::new();
    for pattern in expanded(pattern) {
        let literal = base.join(&pattern);
        if literal.is_file() {
            found.push(literal);
            continue;
        }
        let whole = if Path::new(&pattern).is_absolute() {
            pattern
        } else {
            let base = Pattern::escape(&base.to_string_lossy());
            Path::new(&base)
                .join(pattern)
                .to_string_lossy()
                .into_owned()
        };
        let paths = glob_with(&whole, OPTIONS).map_err(|error| error.to_string())?;
        for path in paths {
            let path = path.map_err(|error| error.to_string())?;
            if path.is_file() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Patterns at most that braces make of one: more are a mistake.
const MANY: usize = 1000;

/// `a{b,c}d` is `abd` and `acd`; what has no closing brace stays as it is.
fn expanded(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        match alternatives(&pattern) {
            Some(parts) if done.len() + open.len() < MANY => open.extend(parts.into_iter().rev()),
            _ => done.push(pattern),
        }
    }
    done
}

/// What the first pair of braces makes of a pattern, in order.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let start = pattern.find('{')?;
    let (before, rest) = (pattern.get(..start)?, pattern.get(start + 1..)?);
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                parts.push(rest.get(from..at)?);
                from = at + 1;
            }
            '}' => {
                parts.push(rest.get(from..at)?);
                let after = rest.get(at + 1..)?;
                let parts = parts.iter();
                return Some(parts.map(|part| format!("{before}{part}{after}")).collect());
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces() {
        assert_eq!(
            expanded("x{/{,cat,dog},bar}y"),
            ["x/y", "x/caty", "x/dogy", "xbary"]
        );
        assert_eq!(expanded("{a,b}{c,d}"), ["ac", "ad", "bc", "bd"]);
        assert_eq!(expanded("a{b"), ["a{b"]);
        assert_eq!(expanded("{}"), [""]);
        assert!(expanded(&"{a,b}".repeat(40)).len() <= 2 * MANY);
    }

    #[test]
    fn bytes_that_are_no_text_are_in_nobodys_way() {
        let name = format!("tarpon-latin-{}.conf", std::process::id());
        let path = std::env::temp_dir().join(name);
        let bytes = b"# f\xfcr alle\nvirtual_server 192.0.2.1 80 {\n protocol TCP\n}\n\xff\n";
        std::fs::write(&path, bytes).expect("a file");
        let import = read_file(&path, Some("n")).expect("it is there");
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(import.services.len(), 1);
        let wrong: Vec<_> = import
            .notes
            .iter()
            .filter(|note| note.class == crate::Class::Wrong)
            .collect();
        assert_eq!(
            wrong.iter().map(|note| note.place.line).collect::<Vec<_>>(),
            [5]
        );
    }

    #[test]
    fn files_in_order_hidden_ones_by_name_only() {
        let base = std::env::temp_dir().join(format!("tarpon-glob-{}[x]", std::process::id()));
        let make = |name: &str| {
            let path = base.join(name);
            std::fs::create_dir_all(path.parent().expect("below base")).expect("a directory");
            std::fs::write(path, "").expect("a file");
        };
        for name in [
            "b/one.conf",
            "a/one.conf",
            "a/.hidden.conf",
            "a/two.txt",
            "a/d.conf/x",
            "a/s*.conf",
        ] {
            make(name);
        }
        let found = |pattern: &str| -> Vec<String> {
            let paths = matching(&base, pattern).expect("a pattern");
            let name = |path: &PathBuf| {
                let path = path.strip_prefix(&base).expect("below base");
                path.display().to_string()
            };
            paths.iter().map(name).collect()
        };
        assert_eq!(found("*/*.conf"), ["a/one.conf", "a/s*.conf", "b/one.conf"]);
        assert_eq!(found("a/s*.conf"), ["a/s*.conf"]);
        assert_eq!(found("{b,a}/one.conf"), ["b/one.conf", "a/one.conf"]);
        assert_eq!(found("a/[n-p]ne.????"), ["a/one.conf"]);
        assert_eq!(found("a/.hidden.conf"), ["a/.hidden.conf"]);
        let absolute = base.join("a/two.txt").display().to_string();
        assert_eq!(found(&absolute), ["a/two.txt"]);
        assert_eq!(found("nothing*"), [""; 0]);
        assert!(matching(&base, "a/***").is_err());
        std::fs::remove_dir_all(&base).expect("it is there");
    }
}
