//! Who is told of changes: the notify FIFOs of `global_defs`, and mail.

use crate::{
    note::Notes,
    tree::Statement,
    value::{command, flag, timer},
};
use config::{Mail, Notify, NotifyAbout, NotifyFormat, NotifyTo};
use std::{net::IpAddr, time::Duration};

/// The words it reads.
pub(crate) const WORDS: &[&str] = &[
    "notify_fifo",
    "lvs_notify_fifo",
    "vrrp_notify_fifo",
    "notify_fifo_script",
    "lvs_notify_fifo_script",
    "vrrp_notify_fifo_script",
];

/// A word of [`WORDS`].
pub(crate) fn fifo(inner: &Statement, notify: &mut Vec<Notify>, notes: &mut Notes) {
    let events = match inner.keyword() {
        "notify_fifo" => vec![NotifyAbout::Services, NotifyAbout::Vrrp],
        "lvs_notify_fifo" => vec![NotifyAbout::Services],
        "vrrp_notify_fifo" => vec![NotifyAbout::Vrrp],
        _ => return,
    };
    let Some(path) = inner.argument(0).filter(|path| path.starts_with('/')) else {
        return notes.wrong(inner, "it needs the FIFO's absolute path");
    };
    if notify
        .iter()
        .any(|other| other.to.path().as_os_str() == path)
    {
        return notes.wrong(inner, "names of FIFOs must all be different");
    }
    notify.push(Notify {
        events,
        user: inner.argument(1).map(str::to_owned),
        group: inner.argument(2).map(str::to_owned),
        ..Notify::new(NotifyTo::Fifo(path.into()), NotifyFormat::Keepalived)
    });
    notes.exact(inner);
}

/// The readers of FIFOs (`notify_fifo_script` and the like), which may stand before or behind them.
pub(crate) fn readers(
    global: &Statement,
    script_user: Option<&str>,
    notify: &mut [Notify],
    notes: &mut Notes,
) {
    for inner in global.inner() {
        let Some(word) = inner.keyword().strip_suffix("_script") else {
            continue;
        };
        if !WORDS.contains(&word) {
            continue;
        }
        let fifo = global.inner().iter().find(|other| other.keyword() == word);
        let path = fifo.and_then(|fifo| fifo.argument(0)).unwrap_or_default();
        let Some(of) = notify.iter_mut().find(|n| n.to.path().as_os_str() == path) else {
            notes.wrong(inner, format!("there is no {word} it could read"));
            continue;
        };
        let words = command(inner.argument(0).unwrap_or_default());
        if !words.first().is_some_and(|path| path.starts_with('/')) {
            notes.wrong(inner, "it does not begin with the path of a program");
            continue;
        }
        of.reader = words;
        of.reader_user = inner.argument(1).or(script_user).map(str::to_owned);
        let user = of.reads_it().unwrap_or_default();
        notes.mapped(
            inner,
            format!("runs as {user}, never as root unless told, and again when it ends"),
        );
    }
}

/// Of what is no address.
const NO_ADDRESS: &str = "that is no address: write user@example.org";

/// Where mail goes; `None`: it is no address, which is noted. A user's name alone is for the mail server's own host.
fn mailbox(address: &str, at: &Statement, notes: &mut Notes) -> Option<String> {
    let local = || format!("{address}@localhost");
    if Mail::is_address(address) {
        Some(address.to_owned())
    } else if !address.contains('@') && Mail::is_address(&local()) {
        notes.mapped(at, format!("a user of the mail server's host: {}", local()));
        Some(local())
    } else {
        notes.unsupported(at, NO_ADDRESS);
        None
    }
}

/// What is said of mail.
#[derive(Debug, Default)]
pub(crate) struct Post {
    server: Option<(String, u16)>,
    from: Option<String>,
    to: Vec<String>,
    timeout: Option<Duration>,
    helo: Option<String>,
    services: bool,
    vrrp: bool,
    /// `no_checker_emails`
    not_services: bool,
}

impl Post {
    /// The words it reads, of `global_defs`.
    pub const WORDS: &[&str] = &[
        "notification_email",
        "notification_email_from",
        "smtp_server",
        "smtp_connect_timeout",
        "smtp_helo_name",
        "smtp_alert",
        "smtp_alert_checker",
        "smtp_alert_vrrp",
        "no_checker_emails",
        "no_email_faults",
    ];

    /// A word of [`Self::WORDS`].
    pub fn word(&mut self, inner: &Statement, notes: &mut Notes) {
        match inner.keyword() {
            "notification_email" => {
                notes.exact(inner);
                // Addresses stand one a line, and some people write several behind each other.
                for line in inner.inner() {
                    let words = std::iter::once(line.keyword());
                    let all = words.chain(line.arguments().iter().map(String::as_str));
                    for address in all {
                        self.to.extend(mailbox(address, line, notes));
                    }
                }
            }
            "notification_email_from" => {
                notes.exact(inner);
                self.from = mailbox(inner.argument(0).unwrap_or_default(), inner, notes);
            }
            "smtp_server" => self.server(inner, notes),
            "smtp_connect_timeout" => {
                if let Some(timeout) = timer(inner, notes) {
                    let most = Duration::from_secs(300);
                    self.timeout = Some(timeout.clamp(Duration::from_millis(100), most));
                    notes.exact(inner);
                }
            }
            "smtp_helo_name" => {
                self.helo = inner.argument(0).map(str::to_owned);
                notes.exact(inner);
            }
            "no_checker_emails" => {
                self.not_services = true;
                notes.exact(inner);
            }
            "no_email_faults" => notes.unsupported(inner, "faults are mailed, too"),
            word => {
                if let Some(on) = flag(inner, notes) {
                    self.services |= on && word != "smtp_alert_vrrp";
                    self.vrrp |= on && word != "smtp_alert_checker";
                    notes.exact(inner);
                }
            }
        }
    }

    fn server(&mut self, inner: &Statement, notes: &mut Notes) {
        let port = inner.argument(1).map_or(Ok(Mail::PORT), str::parse);
        let host = inner.argument(0).unwrap_or_default();
        let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let fits = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.chars().all(named));
        match port {
            Ok(port) if fits && port > 0 => {
                self.server = Some((host.to_owned(), port));
                notes.exact(inner);
            }
            _ => notes.wrong(inner, "it is an address or a name, and perhaps a port"),
        }
    }

    /// `smtp_alert` of virtual servers and instances, wherever it stands: if one asks for mails, there are mails about all.
    pub fn asked(&mut self, statement: &Statement) {
        let about = match statement.keyword() {
            "virtual_server" => &mut self.services,
            "vrrp_instance" | "vrrp_sync_group" => &mut self.vrrp,
            _ => return,
        };
        *about |= asks(statement);
    }

    /// `[mail]`, if mail can be sent and anybody asked for it.
    pub fn finish(self) -> Option<Mail> {
        let mut events = Vec::new();
        if self.services && !self.not_services {
            events.push(NotifyAbout::Services);
        }
        if self.vrrp {
            events.push(NotifyAbout::Vrrp);
        }
        let (smtp_server, smtp_port) = self.server?;
        let can = !events.is_empty() && !self.to.is_empty();
        can.then_some(Mail {
            smtp_server,
            smtp_port,
            from: self.from?,
            to: self.to,
            connect_timeout: self.timeout.unwrap_or(Mail::CONNECT_TIMEOUT),
            helo_name: self.helo,
            events,
            interval: Mail::INTERVAL,
        })
    }
}

fn asks(statement: &Statement) -> bool {
    let own = |inner: &Statement| {
        inner.keyword() == "smtp_alert" && flag(inner, &mut Notes::default()) == Some(true)
    };
    let mut inner = statement.inner().iter();
    inner.any(|inner| own(inner) || asks(inner))
}

/// `smtp_alert` of a virtual server, a real server, an instance or a group.
pub(crate) fn alert(inner: &Statement, notes: &mut Notes) {
    match flag(inner, notes) {
        Some(true) => notes.mapped(
            inner,
            "where one asks for mails, there are mails about all of its kind",
        ),
        Some(false) => notes.mapped(
            inner,
            "there are no mails, unless another of its kind asks for them",
        ),
        None => {}
    }
}
