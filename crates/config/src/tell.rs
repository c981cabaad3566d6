//! Who is told of changes: FIFOs and files of lines, and people by mail.

use std::{fmt, path::PathBuf, time::Duration};

/// `[[notify]]`: a FIFO or a file that gets a line for each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Where lines go.
    pub to: NotifyTo,
    /// How they are written.
    pub format: NotifyFormat,
    /// What they are about; in the order of [`NotifyAbout::WORDS`].
    pub events: Vec<NotifyAbout>,
    /// Whose it is, if not the daemon's user.
    pub user: Option<String>,
    /// Its group, if not the user's.
    pub group: Option<String>,
    /// Permissions it is made with.
    pub mode: u32,
    /// A program that reads the FIFO, whose path is added to it; run as long as there is the FIFO. Empty: somebody else reads it.
    pub reader: Vec<String>,
    /// Who runs that, if not `user` or else [`health::UNPRIVILEGED`].
    pub reader_user: Option<String>,
}

impl Notify {
    /// Permissions unless others are named: keepalived's.
    pub const MODE: u32 = 0o600;

    /// One of everything, with the defaults.
    #[must_use]
    pub fn new(to: NotifyTo, format: NotifyFormat) -> Self {
        Self {
            to,
            format,
            events: NotifyAbout::WORDS.iter().map(|(_, about)| *about).collect(),
            user: None,
            group: None,
            mode: Self::MODE,
            reader: Vec::new(),
            reader_user: None,
        }
    }

    /// Who runs the reader, if there is one.
    #[must_use]
    pub fn reads_it(&self) -> Option<&str> {
        let named = self.reader_user.as_deref().or(self.user.as_deref());
        (!self.reader.is_empty()).then(|| named.unwrap_or(health::UNPRIVILEGED))
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotifyTo {
    /// A FIFO; made if it is not there.
    Fifo(PathBuf),
    /// A file; lines are added to it.
    File(PathBuf),
}

impl NotifyTo {
    /// Its path.
    #[must_use]
    pub const fn path(&self) -> &PathBuf {
        match self {
            Self::Fifo(path) | Self::File(path) => path,
        }
    }
}

impl fmt::Display for NotifyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo(path) => write!(f, "fifo {}", path.display()),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyFormat {
    /// One JSON object, as `tarpon events --json` has them.
    Json,
    /// `RS [10.1.0.11]:tcp:80 [192.0.2.10]:tcp:80 DOWN`, as keepalived writes to its FIFOs.
    Keepalived,
}

impl NotifyFormat {
    /// As they are written.
    pub const WORDS: &[(&str, Self)] = &[("json", Self::Json), ("keepalived", Self::Keepalived)];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Keepalived => "keepalived",
        }
    }
}

/// What changes are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotifyAbout {
    /// Servers and quorums.
    Services,
    /// Virtual routers.
    Vrrp,
    /// The configuration in force.
    Configuration,
}

impl NotifyAbout {
    /// As they are written.
    pub const WORDS: &[(&str, Self)] = &[
        ("services", Self::Services),
        ("vrrp", Self::Vrrp),
        ("configuration", Self::Configuration),
    ];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Vrrp => "vrrp",
            Self::Configuration => "configuration",
        }
    }
}

/// `[mail]`: changes of state by mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who takes mails: a name or an address.
    pub smtp_server: String,
    /// Its port.
    pub smtp_port: u16,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// How long the server may take for each step.
    pub connect_timeout: Duration,
    /// The name it is greeted with, if not the host's.
    pub helo_name: Option<String>,
    /// What they are about; in the order of [`NotifyAbout::WORDS`], never the configuration.
    pub events: Vec<NotifyAbout>,
    /// Between two mails at least.
    pub interval: Duration,
}

impl Mail {
    /// SMTP's port.
    pub const PORT: u16 = 25;
    /// As keepalived has it.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
    /// Between two mails unless it is said otherwise.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// The server with its port, as it is written.
    #[must_use]
    pub fn server(&self) -> String {
        let Self {
            smtp_server: host,
            smtp_port: port,
            ..
        } = self;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }

    /// Whether a text can be an address of mail: something on both sides of one `@`.
    #[must_use]
    pub fn is_address(text: &str) -> bool {
        let fits = |part: &str| {
            let known = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"@".contains(c);
            !part.is_empty() && part.chars().all(known)
        };
        let parts = text.split_once('@');
        parts.is_some_and(|(user, host)| fits(user) && fits(host))
    }
}
