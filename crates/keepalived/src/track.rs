//! `vrrp_script`, `vrrp_track_process`, `track_file`, and what instances and groups track.

use crate::{
    Context, Import, checker,
    note::Notes,
    tree::Statement,
    value::{command, parsed, timer},
    vrrp::fitting,
};
use config::{MOST_FILE_WEIGHT, MOST_WEIGHT, Track, TrackFile, TrackWeight, Vrrp, VrrpScript};
use std::{path::PathBuf, time::Duration};

/// Finds a program by PATH.
pub(crate) const ENV: &str = "/usr/bin/env";

/// `vrrp_script NAME { }`
pub(crate) fn script(
    statement: &Statement,
    context: &Context,
    import: &mut Import,
    notes: &mut Notes,
) {
    let Some(name) = name(statement, notes) else {
        return;
    };
    notes.exact(statement);
    let mut made = VrrpScript::new(name, Vec::new());
    if let Some(user) = &context.script_user {
        made.user.clone_from(user);
    }
    let mut timeout = None;
    for inner in statement.inner() {
        match inner.keyword() {
            "script" => made.script = program(inner, notes),
            "interval" => pause(inner, &mut made.interval, notes),
            "timeout" => pause(inner, timeout.get_or_insert(Duration::ZERO), notes),
            "weight" => made.weight = weight(inner, MOST_WEIGHT, notes).unwrap_or(made.weight),
            "rise" => times(inner, &mut made.rise, notes),
            "fall" => times(inner, &mut made.fall, notes),
            "init_fail" => {
                made.init_fail = true;
                notes.exact(inner);
            }
            "user" => match inner.argument(0) {
                Some(user) => {
                    user.clone_into(&mut made.user);
                    notes.exact(inner);
                }
                None => notes.wrong(inner, "it needs the name of a user"),
            },
            _ => notes.unknown(
                inner,
                "vrrp_script",
                &[
                    "script",
                    "interval",
                    "timeout",
                    "weight",
                    "rise",
                    "fall",
                    "init_fail",
                    "user",
                ],
            ),
        }
    }
    made.timeout = timeout.filter(|t| !t.is_zero()).unwrap_or(made.interval);
    match made.script.is_empty() {
        true => notes.wrong(statement, "it has no `script` that could be run"),
        false => import.scripts.push(made),
    }
}

/// Counts processes of the name `$0`: well if there are `$1` to `$2`.
const COUNT: &str = "n=0; for f in /proc/[0-9]*/comm; do read -r c 2>/dev/null <\"$f\" && [ \"$c\" = \"$0\" ] && n=$((n+1)); done; \
                     [ \"$n\" -ge \"$1\" ] && [ \"$n\" -le \"$2\" ]";
/// Bytes of a process's name that the kernel keeps (proc_pid_comm(5)).
const COMM: usize = 15;

/// `vrrp_track_process NAME { }`: a script that counts the processes of a name, once a second.
pub(crate) fn process(statement: &Statement, import: &mut Import, notes: &mut Notes) {
    let Some(name) = name(statement, notes) else {
        return;
    };
    let mut wanted: Option<String> = None;
    let (mut least, mut most) = (1, 1_000_000);
    let mut made = VrrpScript::new(of_process(&name), Vec::new());
    made.weight.by = 1;
    notes.mapped(
        statement,
        "a script counts these processes once a second; there the kernel tells of each at once",
    );
    for inner in statement.inner() {
        match inner.keyword() {
            "process" => match inner.arguments() {
                [one] if !one.is_empty() => {
                    let path = one.rsplit('/').next().unwrap_or(one);
                    let cut = path.char_indices().find(|(at, c)| at + c.len_utf8() > COMM);
                    let end = cut.map_or(path.len(), |(at, _)| at);
                    wanted = Some(path.get(..end).unwrap_or(path).to_owned());
                    notes.exact(inner);
                }
                [] => notes.wrong(inner, "write the name of a process, as in /proc/PID/comm"),
                _ => notes.unsupported(inner, "processes are found by name, not by parameters"),
            },
            "weight" => made.weight = weight(inner, MOST_WEIGHT, notes).unwrap_or(made.weight),
            "quorum" => count(inner, &mut least, notes),
            "quorum_max" => count(inner, &mut most, notes),
            "fork_delay" => made.rise = delay(inner, notes).unwrap_or(made.rise),
            "terminate_delay" => made.fall = delay(inner, notes).unwrap_or(made.fall),
            "delay" => {
                if let Some(times) = delay(inner, notes) {
                    (made.rise, made.fall) = (times, times);
                }
            }
            "full_command" | "param_match" => {
                notes.unsupported(inner, "processes are found by name, not by parameters");
            }
            _ => notes.unknown(
                inner,
                "vrrp_track_process",
                &[
                    "process",
                    "weight",
                    "quorum",
                    "quorum_max",
                    "fork_delay",
                    "terminate_delay",
                    "delay",
                    "full_command",
                    "param_match",
                ],
            ),
        }
    }
    let Some(process) = wanted else {
        return notes.wrong(statement, "it has no `process` that could be looked for");
    };
    // Without a quorum_max there is no most; with one of 0, any is too many, and there need not be one.
    let least: u32 = least.min(most);
    let (least, most) = (least.to_string(), most.to_string());
    made.script = ["/bin/sh", "-c", COUNT, &process, &least, &most]
        .map(str::to_owned)
        .to_vec();
    import.scripts.push(made);
}

/// The script that stands for a process: a `vrrp_script` may have the same name.
fn of_process(name: &str) -> String {
    fitting(&format!("process-{name}"))
}

fn count(inner: &Statement, slot: &mut u32, notes: &mut Notes) {
    if let Some(number) = parsed(inner, "a number of processes", notes) {
        *slot = number;
        notes.exact(inner);
    }
}

/// How many looks in a row a delay is: one, and another for each second begun.
fn delay(inner: &Statement, notes: &mut Notes) -> Option<u32> {
    let pause = timer(inner, notes)?;
    let seconds = u32::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    notes.exact(inner);
    Some(seconds.saturating_add(1).min(1000))
}

fn program(inner: &Statement, notes: &mut Notes) -> Vec<String> {
    let mut words = match inner.arguments() {
        [one] => command(one),
        several => several.to_vec(),
    };
    match words.first() {
        None => {}
        Some(path) if path.starts_with('/') => {
            notes.mapped(
                inner,
                "never runs as root unless `user` or `script_user` says so",
            );
        }
        Some(_) => {
            words.insert(0, ENV.into());
            let text = format!(
                "found by {ENV}; never runs as root unless `user` or `script_user` says so"
            );
            notes.mapped(inner, text);
        }
    }
    words
}

fn pause(inner: &Statement, slot: &mut Duration, notes: &mut Notes) {
    let Some(pause) = timer(inner, notes) else {
        return;
    };
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(3600));
    *slot = pause.clamp(least, most);
    match *slot == pause {
        true => notes.exact(inner),
        false => notes.mapped(inner, "it is 0.1 to 3600 seconds here"),
    }
}

fn times(inner: &Statement, slot: &mut u32, notes: &mut Notes) {
    match parsed(inner, "a number", notes) {
        Some(times @ 1..=1000) => {
            *slot = times;
            notes.exact(inner);
        }
        Some(_) => notes.wrong(inner, "it is 1 to 1000"),
        None => {}
    }
}

/// `weight N [reverse]`, as a line of its own.
pub(crate) fn weight(inner: &Statement, most: i32, notes: &mut Notes) -> Option<TrackWeight> {
    let by: i32 = parsed(inner, "a weight", notes)?;
    let reverse = inner.argument(1) == Some("reverse");
    let within = by.clamp(-most, most);
    match within == by {
        true => notes.exact(inner),
        false => notes.mapped(inner, format!("it is -{most} to {most} here")),
    }
    Some(TrackWeight {
        by: within,
        reverse,
    })
}

/// `weight NUMBER [reverse]` of a file that a real server's check looks at.
pub(crate) fn file_weight(inner: &Statement, notes: &mut Notes) -> Option<i32> {
    let weight: i32 = parsed(inner, "a whole number", notes)?;
    let reverse = match inner.argument(1) {
        None => false,
        Some("reverse") => true,
        Some(other) => {
            notes.wrong(
                inner,
                format!("{other:?} may not stand there: only reverse"),
            );
            return None;
        }
    };
    notes.exact(inner);
    let weight = weight.max(-i32::MAX);
    Some(if reverse { -weight } else { weight })
}

/// `track_file NAME { }`
pub(crate) fn file(
    statement: &Statement,
    context: &mut Context,
    import: &mut Import,
    notes: &mut Notes,
) {
    notes.exact(statement);
    let mut file = None;
    let mut weighs = None;
    let mut of_servers = None;
    for inner in statement.inner() {
        match (inner.keyword(), inner.argument(0)) {
            ("file", Some(path)) => {
                notes.exact(inner);
                file = Some(PathBuf::from(path));
            }
            ("weight", _) => {
                weighs = weight(inner, MOST_FILE_WEIGHT, notes);
                of_servers = file_weight(inner, &mut Notes::default());
            }
            ("init_file", None | Some("0")) if inner.argument(1).is_none() => {
                notes.harmless(inner, "a file that is not there says 0");
            }
            ("init_file", _) => notes.unsupported(inner, "the file is only read"),
            _ => notes.unknown(inner, "track_file", &["file", "weight", "init_file"]),
        }
    }
    let (Some(file), Some(name)) = (file, statement.argument(0)) else {
        return;
    };
    let of_servers = checker::TrackFile {
        path: file.clone(),
        weight: of_servers.unwrap_or(1),
    };
    context.files.insert(name.to_owned(), of_servers);
    // keepalived's own paths are whole ones, too.
    if file.is_absolute() {
        let mut made = TrackFile::new(fitting(name), file);
        made.weight = weighs.unwrap_or(made.weight);
        import.files.push(made);
    } else {
        notes.unsupported(statement, "virtual routers need its whole path");
    }
}

fn name(statement: &Statement, notes: &mut Notes) -> Option<String> {
    match statement.argument(0).filter(|name| !name.is_empty()) {
        Some(name) => Some(fitting(name)),
        None => {
            notes.wrong(statement, "it needs a name");
            None
        }
    }
}

/// What a block tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Interface,
    Script,
    Process,
    File,
    Bfd,
}

impl What {
    /// The block of that name.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "track_interface" => Some(Self::Interface),
            "track_script" => Some(Self::Script),
            "track_process" => Some(Self::Process),
            "track_file" => Some(Self::File),
            "track_bfd" => Some(Self::Bfd),
            _ => None,
        }
    }

    const fn most(self) -> i32 {
        match self {
            Self::File => MOST_FILE_WEIGHT,
            Self::Interface | Self::Script | Self::Process | Self::Bfd => MOST_WEIGHT,
        }
    }
}

/// A line of such a block.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The group's or the instance's name.
    pub whose: String,
    pub what: What,
    pub statement: Statement,
}

/// What the file says of how groups track.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    pub all: Vec<Line>,
    /// Groups whose members' weights count (`global_tracking`, `sync_group_tracking_weight`).
    pub weighted: Vec<String>,
}

impl Lines {
    /// A block of an instance or a group.
    pub fn add(&mut self, whose: &str, what: What, block: &Statement, notes: &mut Notes) {
        notes.exact(block);
        let line = |statement: &Statement| Line {
            whose: whose.to_owned(),
            what,
            statement: statement.clone(),
        };
        self.all.extend(block.inner().iter().map(line));
    }

    /// Gives each to its instance, or to the first of its group, for which it counts as well.
    pub fn finish(self, instances: &mut [Vrrp], import: &Import, notes: &mut Notes) {
        for line in &self.all {
            let of_group = |v: &Vrrp| v.sync_group.as_ref() == Some(&line.whose);
            let by_group = instances.iter().any(of_group);
            let found = instances
                .iter_mut()
                .find(|v| v.name == line.whose || of_group(v));
            let Some(instance) = found else {
                notes.unsupported(&line.statement, "there is no instance it could count for");
                continue;
            };
            let Some(mut track) = track(line, notes) else {
                continue;
            };
            let unsaid = match line.what {
                What::Interface => Some(TrackWeight::default()),
                What::Script | What::Process => import
                    .scripts
                    .iter()
                    .find(|s| s.name == track.name)
                    .map(|s| s.weight),
                What::File => import
                    .files
                    .iter()
                    .find(|f| f.name == track.name)
                    .map(|f| f.weight),
                What::Bfd => import
                    .bfds
                    .iter()
                    .find(|b| b.name == track.name)
                    .map(|b| b.weight),
            };
            let Some(unsaid) = unsaid else {
                notes.unsupported(&line.statement, "nothing of that name is defined");
                continue;
            };
            let weight = track.weight.unwrap_or(unsaid);
            let group = instance.sync_group.as_ref();
            if weight.by != 0 && instance.priority == 255 {
                notes.harmless(&line.statement, "priority 255 does not change");
                continue;
            }
            let own = group.is_some() && !by_group;
            if weight.by != 0 && own && !group.is_some_and(|g| self.weighted.contains(g)) {
                track.weight = Some(TrackWeight { by: 0, ..weight });
                notes.mapped(
                    &line.statement,
                    "what moves together has one priority: with weight 0, as there",
                );
            } else {
                notes.exact(&line.statement);
            }
            let list = match line.what {
                What::Interface => &mut instance.track_interface,
                What::Script | What::Process => &mut instance.track_script,
                What::File => &mut instance.track_file,
                What::Bfd => &mut instance.track_bfd,
            };
            if !list.contains(&track) {
                list.push(track);
            }
        }
    }
}

/// `NAME [weight N [reverse|noreverse]]`
fn track(line: &Line, notes: &mut Notes) -> Option<Track> {
    let statement = &line.statement;
    let name = match line.what {
        What::Interface => statement.keyword().to_owned(),
        What::Script | What::File | What::Bfd => fitting(statement.keyword()),
        What::Process => of_process(statement.keyword()),
    };
    let words: Vec<&str> = statement.arguments().iter().map(String::as_str).collect();
    let (by, reverse) = match *words.as_slice() {
        [] => return Some(Track { name, weight: None }),
        ["weight", by] | ["weight", by, "noreverse" | "no_reverse"] => (by, false),
        ["weight", by, "reverse"] => (by, true),
        _ => {
            notes.wrong(
                statement,
                "it is a name, and perhaps `weight N` and `reverse`",
            );
            return None;
        }
    };
    let most = line.what.most();
    match by.parse() {
        Ok(by) if (-most..=most).contains(&by) => Some(Track {
            name,
            weight: Some(TrackWeight { by, reverse }),
        }),
        _ => {
            notes.wrong(
                statement,
                format!("{by:?} is no weight from -{most} to {most}"),
            );
            None
        }
    }
}
