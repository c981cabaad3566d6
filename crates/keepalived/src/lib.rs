//! keepalived.conf(5), read as it is: its virtual servers as this director's services, and for every word what becomes of it.
//!
//! Three steps: [`lines`] expands what keepalived's own preprocessor does (comments, conditions, parameters, sequences,
//! includes), [`tree`] makes blocks of words, and the rest turns `virtual_server` blocks into [`config::Service`]s. Nothing stops
//! at the first thing it does not know: each word ends as a [`Note`] that is exact, mapped, harmless, unsupported or wrong.
//!
//! [`lvs_cf`] reads Piranha's file, which has other blocks of words, into the same.
//!
//! Learnt from the manual page and from what keepalived does with files; none of its code is here. [`read`] is pure, files are read
//! through a [`Loader`]; [`read_file`] reads from disk.
#![forbid(unsafe_code)]

mod bfd;
mod checker;
mod files;
mod group;
pub mod lines;
pub mod lvs_cf;
mod note;
mod routes;
mod server;
mod tell;
mod track;
pub mod tree;
mod value;
mod virtual_server;
mod vrrp;
mod vrrp_notify;
mod vrrp_words;
mod words;

pub use files::{Files, read_file};
pub use lines::{Loader, NoIncludes};
pub use note::{Class, Note, Place};

use config::{
    Config, Mail, Notify, Route, Service, Settings, Sync, TrackBfd, TrackFile, Vrrp, VrrpNotify,
    VrrpScript,
};
use group::Group;
use note::Notes;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use tree::Statement;

/// What a file comes to.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Its virtual servers.
    pub services: Vec<Service>,
    /// Where each of them stands, in their order; empty: nobody noted it.
    pub places: Vec<Place>,
    /// Its virtual routers, on interfaces by keepalived's names.
    pub vrrp: Vec<Vrrp>,
    /// Scripts they track.
    pub scripts: Vec<VrrpScript>,
    /// Programs run when they are in another state.
    pub vrrp_notify: Vec<VrrpNotify>,
    /// Files they track.
    pub files: Vec<TrackFile>,
    /// BFD sessions, which virtual routers may track.
    pub bfds: Vec<TrackBfd>,
    /// Its notify FIFOs.
    pub notify: Vec<Notify>,
    /// Synchronisation of connections, on an interface by the file's name for it.
    pub sync: Option<Sync>,
    /// Who is mailed.
    pub mail: Option<Mail>,
    /// Timeouts of connections it sets (`lvs_timeouts`).
    pub timeouts: Timeouts,
    /// Routes of its own, on interfaces by keepalived's names.
    pub routes: Vec<Route>,
    /// What became of each word, in the order of the file.
    pub notes: Vec<Note>,
}

/// `lvs_timeouts`, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `tcp`
    pub tcp: Option<u32>,
    /// `tcpfin`
    pub tcp_fin: Option<u32>,
    /// `udp`
    pub udp: Option<u32>,
}

impl Timeouts {
    /// Writes what is set into settings.
    pub const fn apply(&self, settings: &mut Settings) {
        if let Some(seconds) = self.tcp {
            settings.tcp_timeout = seconds;
        }
        if let Some(seconds) = self.tcp_fin {
            settings.tcp_fin_timeout = seconds;
        }
        if let Some(seconds) = self.udp {
            settings.udp_timeout = seconds;
        }
    }
}

/// Whether a file is keepalived's rather than ours, by its name: `*.conf`.
#[must_use]
pub fn is_its_name(file: &Path) -> bool {
    let named = file
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains("keepalived.conf"));
    named || file.extension().is_some_and(|ending| ending == "conf")
}

impl Import {
    /// Puts the services in the place of those of `config`, virtual routers, FIFOs, mail and synchronisation likewise if there are any,
    /// and sets the timeouts.
    pub fn apply(&self, config: &mut Config) {
        let mut services = self.services.clone();
        for policy in services.iter_mut().map(|service| &mut service.health) {
            let own = policy.servers.values_mut();
            let checks = own.filter_map(|own| own.checks.as_mut()).flatten();
            for name in checks.filter_map(|check| check.bind.interface.as_mut()) {
                *name = interface(config, name);
            }
        }
        config.services = services;
        if !self.vrrp.is_empty() {
            let mut routers = self.vrrp.clone();
            for router in &mut routers {
                router.interface = interface(config, &router.interface);
                for track in &mut router.track_interface {
                    track.name = interface(config, &track.name);
                }
            }
            config.vrrp_scripts.clone_from(&self.scripts);
            config.vrrp_notify.clone_from(&self.vrrp_notify);
            config.track_files.clone_from(&self.files);
            config.track_bfds.clone_from(&self.bfds);
            config.vrrp = routers;
        }
        for route in &self.routes {
            let name = route.interface.as_ref();
            let route = Route {
                interface: name.map(|name| interface(config, name)),
                ..route.clone()
            };
            // What the machine's half says of the same destination is of before.
            config.routes.retain(|other| other.to != route.to);
            config.routes.push(route);
        }
        if !self.notify.is_empty() {
            config.notify.clone_from(&self.notify);
        }
        if let Some(sync) = &self.sync {
            config.sync = Some(Sync {
                interface: interface(config, &sync.interface),
                ..sync.clone()
            });
        }
        if self.mail.is_some() {
            config.mail.clone_from(&self.mail);
        }
        self.timeouts.apply(&mut config.settings);
    }

    /// Whether there is anything that is not keepalived's language.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.notes.iter().any(|note| note.class == Class::Wrong)
    }

    /// Words by class: exact, mapped, harmless, unsupported, wrong.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Class, usize> {
        let mut counts = BTreeMap::new();
        for note in &self.notes {
            *counts.entry(note.class).or_default() += 1;
        }
        counts
    }

    /// Of a hundred words, how many do here what they do there, or need not.
    #[must_use]
    pub fn coverage_percent(&self) -> usize {
        let covered = self
            .notes
            .iter()
            .filter(|note| note.class <= Class::Harmless);
        match self.notes.len() {
            0 => 100,
            all => covered.count() * 100 / all,
        }
    }
}

/// The port or VLAN that is on, or called as, this interface of the host's; else the name as it is, and `config` will say that there
/// is none.
fn interface(config: &Config, name: &str) -> String {
    let known = |name: &str| {
        config.ports.iter().any(|port| port.name == name)
            || config.vlans.iter().any(|vlan| vlan.name == name)
    };
    let on = |kernel: &str| {
        let port = config.ports.iter().find(|port| {
            let mut parts = port.device.split([',', ':']);
            parts.any(|part| part == kernel || part.strip_prefix("iface=") == Some(kernel))
        });
        port.map(|port| port.name.clone())
    };
    let tagged = || {
        let (kernel, tag) = name.rsplit_once('.')?;
        let port = on(kernel).unwrap_or_else(|| kernel.to_owned());
        let vlan = config
            .vlans
            .iter()
            .find(|vlan| vlan.port == port && vlan.id.get().to_string() == tag)?;
        Some(vlan.name.clone())
    };
    match known(name) {
        true => name.to_owned(),
        false => on(name).or_else(tagged).unwrap_or_else(|| name.to_owned()),
    }
}

/// What the whole file says, that single virtual servers need.
#[derive(Debug, Default)]
struct Context {
    groups: BTreeMap<String, Group>,
    /// `track_file` blocks, by name.
    files: BTreeMap<String, checker::TrackFile>,
    /// `bfd_instance` blocks that checkers name.
    sessions: BTreeMap<String, bfd::Instance>,
    /// `script_user` of global_defs.
    script_user: Option<String>,
    /// `rs_init_notifies`
    init_notifies: bool,
    /// Of virtual routers.
    vrrp: vrrp::Defaults,
    /// Of mail.
    post: tell::Post,
    /// `certificate` and `key` of the SSL block.
    identity: (Option<PathBuf>, Option<PathBuf>),
}

/// Reads `text`, called `file`; `id` is the configuration id of conditions (keepalived's `-i`, else the host's name).
#[must_use]
pub fn read(text: &str, file: &str, id: &str, loader: &mut dyn Loader) -> Import {
    let mut notes = Notes::default();
    let lines = lines::expand(text, file, id, loader, &mut notes.found);
    let statements = tree::build(&lines, &mut notes.found);
    let mut context = Context::default();
    let mut import = Import::default();
    let named = bfd::named(&statements);
    // What others refer to may stand behind them.
    for statement in &statements {
        context.post.asked(statement);
        match statement.keyword() {
            "virtual_server_group" => group::read(statement, &mut context, &mut notes),
            "track_file" | "vrrp_track_file" => {
                track::file(statement, &mut context, &mut import, &mut notes);
            }
            "bfd_instance" => {
                bfd::instance(statement, &named, &mut context, &mut import, &mut notes);
            }
            "SSL" => ssl(statement, &mut context, &mut notes),
            "global_defs" => words::global(statement, &mut context, &mut import, &mut notes),
            _ => {}
        }
    }
    for statement in &statements {
        match statement.keyword() {
            "vrrp_script" => track::script(statement, &context, &mut import, &mut notes),
            "vrrp_track_process" | "track_process" => {
                track::process(statement, &mut import, &mut notes);
            }
            _ => {}
        }
    }
    let mut routers = vrrp::Routers::default();
    for statement in &statements {
        match statement.keyword() {
            "static_routes" => {
                routes::read(statement, false, &mut import.routes, &mut notes);
            }
            "vrrp_instance" => routers.instance(statement, &context.vrrp, &mut notes),
            "vrrp_sync_group" => routers.group(statement, &mut notes),
            "virtual_server" => {
                let services = virtual_server::read(statement, &context, &mut notes);
                let places = services.iter().map(|_| statement.place.clone());
                import.places.extend(places);
                import.services.extend(services);
            }
            "virtual_server_group"
            | "track_file"
            | "vrrp_track_file"
            | "vrrp_script"
            | "vrrp_track_process"
            | "track_process"
            | "bfd_instance"
            | "SSL"
            | "global_defs" => {}
            _ => words::top(statement, &mut notes),
        }
    }
    import.sync = import.sync.take().or(routers.sync.take());
    let user = context.script_user.as_deref();
    for route in std::mem::take(&mut routers.routes) {
        if !import.routes.contains(&route) {
            import.routes.push(route);
        }
    }
    (import.vrrp, import.vrrp_notify) = routers.finish(&import, user, &mut notes);
    let routers = &import.vrrp;
    let is_tracked = |name: &String| {
        let mut all = routers.iter().flat_map(|v| &v.track_bfd);
        all.any(|track| track.name == *name)
    };
    let mut seen = BTreeSet::new();
    import
        .bfds
        .retain(|bfd| is_tracked(&bfd.name) && seen.insert(bfd.name.clone()));
    import.mail = context.post.finish();
    import.notes = notes.in_order();
    import
}

fn ssl(statement: &Statement, context: &mut Context, notes: &mut Notes) {
    notes.exact(statement);
    for inner in statement.inner() {
        let path = || inner.argument(0).map(PathBuf::from);
        match inner.keyword() {
            "certificate" => {
                context.identity.0 = path();
                notes.exact(inner);
            }
            "key" => {
                context.identity.1 = path();
                notes.exact(inner);
            }
            "ca" => notes.unsupported(
                inner,
                "certificates are not verified; `ca` of a check in tarpon.toml does",
            ),
            "password" => notes.unsupported(inner, "the key must not be encrypted"),
            _ => notes.unknown(inner, "SSL", &["certificate", "key", "ca", "password"]),
        }
    }
}
