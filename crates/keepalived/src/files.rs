//! The files behind `include`, and this machine's configuration id: the only part that reads anything.

use crate::{Import, Loader, read};
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
        let paths = matching(&base.join(pattern)).map_err(|error| error.to_string())?;
        if paths.is_empty() {
            return Err("there is no such file".into());
        }
        let text = |path: PathBuf| {
            let name = path.display().to_string();
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            Ok((name, text))
        };
        paths.into_iter().map(text).collect()
    }
}

/// Reads a file with all it includes. `id` absent: the first part of the host's name.
///
/// # Errors
/// When the file itself cannot be read.
pub fn read_file(path: &Path, id: Option<&str>) -> io::Result<Import> {
    let text = std::fs::read_to_string(path)?;
    let name = path.display().to_string();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().split('.').next().unwrap_or_default();
    Ok(read(&text, &name, id.unwrap_or(host), &mut Files))
}

/// Files of a pattern whose last part may have `*` and `?`, by name.
fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let name = pattern
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if !name.contains(['*', '?']) {
        return Ok(if pattern.exists() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        });
    }
    let directory = pattern.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let its = entry.file_name().to_string_lossy().into_owned();
        // Hidden files are only meant by name.
        if fits(name.as_bytes(), its.as_bytes()) && !its.starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last `*` has taken one more.
    let mut back = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, taken)) => {
                    back = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        let yes = [
            ("*.conf", "a.conf"),
            ("*", ""),
            ("a?c", "abc"),
            ("*a*b", "xaxxab"),
            ("a*", "a"),
        ];
        let no = [
            ("*.conf", "a.confx"),
            ("?", ""),
            ("a?c", "ac"),
            ("*a*b", "xb"),
            ("", "a"),
        ];
        for (pattern, name) in yes {
            assert!(
                fits(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
        for (pattern, name) in no {
            assert!(
                !fits(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
    }
}
