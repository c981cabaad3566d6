//! Commands and files of the machine, under an optional root directory.

use crate::{action::words, error::Refusal};
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where administrators' programs are, for those whose PATH lacks it.
pub(crate) const ADMIN_PATHS: &[&str] = &[
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
];

/// A machine to act on.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
    /// Write files only, for the next boot: always so below another root.
    pub files_only: bool,
}

/// Any of these makes a directory a Linux system.
const MARKS: [&str; 7] = [
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/redhat-release",
    "/etc/debian_version",
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
];

impl System {
    /// `root` is `/` for the running machine.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, files_only: bool) -> Self {
        Self {
            root: root.into(),
            files_only,
        }
    }

    /// The system below a directory: files only, nothing that runs is touched.
    ///
    /// # Errors
    /// No such directory, or nothing in it that could boot.
    pub fn image(root: &Path) -> Result<Self, Refusal> {
        let wrong = |what: String| Refusal::Request(format!("--root {}: {what}", root.display()));
        let path = fs::canonicalize(root).map_err(|e| wrong(e.to_string()))?;
        if !path.is_dir() {
            return Err(wrong("not a directory".into()));
        }
        let system = Self::new(path, true);
        if !MARKS
            .iter()
            .any(|m| fs::symlink_metadata(system.path(m)).is_ok())
        {
            return Err(wrong(format!(
                "no Linux system is there (none of {}); name the directory that will be its /",
                MARKS.join(", ")
            )));
        }
        Ok(system)
    }

    /// Whether files go below another root than `/`.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.root != Path::new("/")
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// An absolute path, below the root.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A program of the system, by the path it has there. Its links may lead to where only the system itself can follow.
    pub(crate) fn find_inside(&self, tool: &str) -> Option<PathBuf> {
        ADMIN_PATHS
            .iter()
            .map(|d| Path::new(d).join(tool))
            .find(|p| fs::symlink_metadata(self.path(&p.to_string_lossy())).is_ok())
    }

    /// Nothing may be written elsewhere because of a link in the image.
    fn inside(&self, path: &Path) -> Result<(), Refusal> {
        let there = path.ancestors().find_map(|p| fs::canonicalize(p).ok());
        if self.has_root() && there.is_some_and(|p| !p.starts_with(&self.root)) {
            return Err(Refusal::Request(format!(
                "{} leads out of --root {} by a symbolic link; nothing was changed",
                path.display(),
                self.root.display()
            )));
        }
        Ok(())
    }

    /// Keeps other runs that would change this system out until the file is dropped. The lock is on a directory that is there
    /// anyway, so that nothing is left behind. `taken` is called before another run is waited for.
    pub(crate) fn lock(&self, taken: impl FnOnce()) -> Result<fs::File, Refusal> {
        let wanted = self.path("/var/lib");
        let directory = wanted
            .ancestors()
            .find(|d| d.is_dir())
            .unwrap_or(Path::new("/"));
        let file = fs::File::open(directory).map_err(Refusal::io(directory))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => taken(),
            Err(fs::TryLockError::Error(e)) => return Err(Refusal::io(directory)(e)),
        }
        file.lock().map_err(Refusal::io(directory))?;
        Ok(file)
    }

    /// Run a command of the system itself: below another root, in a chroot.
    pub(crate) fn run_inside(&self, argv: &[String]) -> Result<String, Refusal> {
        if !self.has_root() {
            return self.run(argv);
        }
        let mut line = vec!["chroot".to_owned(), self.root.display().to_string()];
        line.extend_from_slice(argv);
        self.run(&line)
    }

    /// Run a command; its standard output, or an error with its words.
    pub(crate) fn run(&self, argv: &[String]) -> Result<String, Refusal> {
        self.run_with(argv, "")
    }

    pub(crate) fn run_with(&self, argv: &[String], input: &str) -> Result<String, Refusal> {
        let command = words(argv);
        let failed = |outcome: String| Refusal::Command {
            command: command.clone(),
            outcome,
        };
        let (tool, rest) = argv
            .split_first()
            .ok_or_else(|| failed(": no command".into()))?;
        let mut child = Command::new(find(tool).unwrap_or_else(|| tool.into()))
            .args(rest)
            .env("LC_ALL", "C")
            // arptables-save asks the DNS for the name of each mangled address; without one it must not hold us for long.
            .env("RES_OPTIONS", "timeout:1 attempts:1")
            .env("PATH", search_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(format!(": {e}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read its input closes it: nothing is lost.
            let _ = stdin.write_all(input.as_bytes());
        }
        let out = child
            .wait_with_output()
            .map_err(|e| failed(format!(": {e}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        let said = [text(&out.stderr), text(&out.stdout)]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        Err(failed(format!(
            " ({}): {}",
            out.status,
            if said.is_empty() {
                "it said nothing"
            } else {
                &said
            }
        )))
    }

    /// A text file's content and permission bits.
    pub(crate) fn read(&self, path: &str) -> Result<Option<(String, u32)>, Refusal> {
        let path = self.path(path);
        self.inside(&path)?;
        match fs::read_to_string(&path) {
            Ok(text) => {
                let mode = fs::metadata(&path)
                    .map_err(Refusal::io(&path))?
                    .permissions()
                    .mode()
                    & 0o7777;
                Ok(Some((text, mode)))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Refusal::io(path)(e)),
        }
    }

    /// Write a whole file: readers see the old or the new one, never a half.
    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Result<(), Refusal> {
        let path = self.path(path);
        self.inside(&path)?;
        let temporary = temporary(&path);
        let io = || Refusal::io(&path);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)
            .map_err(io())?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(io())?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)).map_err(io())?;
        fs::rename(&temporary, &path).map_err(io())
    }

    /// What a write that was cut off left beside the file, if anything.
    pub(crate) fn remove_temporary(&self, path: &str) {
        let _ = fs::remove_file(temporary(&self.path(path)));
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), Refusal> {
        let path = self.path(path);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Refusal::io(path)(e)),
            _ => Ok(()),
        }
    }

    /// The directories a file needs that are not there, outermost first.
    pub(crate) fn missing_parents(&self, path: &str) -> Vec<String> {
        let mut missing: Vec<String> = Path::new(path)
            .ancestors()
            .skip(1)
            .map(|d| d.to_string_lossy().into_owned())
            .take_while(|d| !self.path(d).exists())
            .collect();
        missing.reverse();
        missing
    }

    pub(crate) fn make_parents(&self, path: &str) -> Result<(), Refusal> {
        let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
        let parent = self.path(&parent.to_string_lossy());
        self.inside(&parent)?;
        fs::create_dir_all(&parent).map_err(Refusal::io(&parent))
    }

    /// Remove directories that are empty, innermost first.
    pub(crate) fn remove_directories(&self, made: &[String]) {
        for directory in made.iter().rev() {
            // Someone else's file in it is a reason to keep it.
            let _ = fs::remove_dir(self.path(directory));
        }
    }

    /// `systemctl`, which works on files alone where systemd does not run.
    pub(crate) fn systemctl(&self, verb: &str, unit: &str) -> Result<String, Refusal> {
        let mut argv = vec!["systemctl".to_owned()];
        if !self.systemd_runs() {
            argv.push(format!("--root={}", self.root.display()));
        }
        argv.push(verb.into());
        if !unit.is_empty() {
            argv.push(unit.into());
        }
        self.run(&argv)
    }

    /// Whether systemd runs here and must be told of new unit files.
    pub(crate) fn systemd_runs(&self) -> bool {
        !self.files_only && Path::new("/run/systemd/system").exists()
    }
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tarpon-new")
}

fn search_path() -> String {
    let mut path = std::env::var("PATH").unwrap_or_default();
    for directory in ADMIN_PATHS {
        if !path.split(':').any(|p| p == *directory) {
            path.push(':');
            path.push_str(directory);
        }
    }
    path
}

/// A program's path.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    if tool.contains('/') {
        return Some(tool.into());
    }
    search_path()
        .split(':')
        .filter(|d| !d.is_empty())
        .map(|d| Path::new(d).join(tool))
        .find(|p| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}
