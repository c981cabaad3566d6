//! The key both directors have.

use anyhow::{Context as _, Result, ensure};
use std::{fs::File, io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

/// Bytes of a key.
pub const LENGTH: usize = 32;

/// Reads it: 64 hexadecimal digits in a file that nobody but its owner can read.
///
/// # Errors
/// What is wrong with the file.
pub fn read(path: &Path) -> Result<[u8; LENGTH]> {
    let shown = path.display();
    let file = File::open(path).with_context(|| {
        format!("cannot open the key {shown} of [twin]; `openssl rand -hex 32` makes one, which both directors must have")
    })?;
    let mode = file.metadata().context("cannot look at the key")?.mode();
    ensure!(
        mode & 0o077 == 0,
        "others than its owner can read the key {shown}: chmod 600 {shown}"
    );
    let mut text = String::new();
    file.take(4096)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the key {shown}"))?;
    digits(text.trim()).with_context(|| {
        format!(
            "{shown} is no key: it has 64 hexadecimal digits, as `openssl rand -hex 32` writes them"
        )
    })
}

fn digits(text: &str) -> Option<[u8; LENGTH]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        Some(digit(pair[0])? << 4 | digit(pair[1])?)
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn a_key_is_64_digits_and_a_secret() {
        let path = std::env::temp_dir().join(format!("twin-key-{}", std::process::id()));
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path).map_err(|why| format!("{why:#}"))
        };
        let key = write(&("0F".repeat(32) + "\n"), 0o600).unwrap();
        assert_eq!(key, [15; 32]);
        let all = write(&"0f".repeat(32), 0o640).unwrap_err();
        assert!(all.contains("chmod 600"), "{all}");
        for text in [
            "",
            "0f",
            &"0f".repeat(33),
            &"xy".repeat(32),
            &"+f".repeat(32),
        ] {
            let why = write(text, 0o600).unwrap_err();
            assert!(why.contains("64 hexadecimal digits"), "{why}");
        }
        fs::remove_file(&path).unwrap();
        let why = format!("{:#}", read(&path).unwrap_err());
        assert!(why.contains("openssl rand -hex 32"), "{why}");
    }
}
