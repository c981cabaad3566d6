//! Each action carried out. What was there before, and what a file is about to become, is in the record before anything is touched, so that a run cut
//! off anywhere can be taken back by the next one.

use super::{
    argv,
    ask::{default_routes, satisfied},
    enablement,
    gather::read_sysctl,
    parse,
    state::{Coming, Done, Prior, PriorFile},
    system::System,
};
use crate::{
    action::{Action, nft_text},
    error::Refusal,
    facts::Facts,
};
use std::{fs, path::Path};

/// firewalld's own files: what `--permanent --direct` writes, and the copy it keeps.
const DIRECT_FILES: [&str; 2] = ["/etc/firewalld/direct.xml", "/etc/firewalld/direct.xml.old"];

/// The record of a change about to be made for the first time, or found in force.
pub(super) fn begin(system: &System, action: &Action, facts: &Facts) -> Result<Done, Refusal> {
    let done = |prior| Done {
        action: action.clone(),
        prior,
    };
    let in_force = satisfied(system, action, facts)?;
    Ok(done(match action {
        _ if in_force => Prior::InForce,
        Action::Sysctl { key, .. } => match read_sysctl(key) {
            Some(value) => Prior::Value(value),
            None => {
                return Err(Refusal::Request(format!(
                    "/proc/sys/{key} is not there; is the interface named right, and is this not a restricted container?"
                )));
            }
        },
        Action::DefaultRoute { .. } => Prior::Value(default_routes(system, action)?),
        Action::Enable { unit } => Prior::Value(enablement::list(system, unit).join("\n")),
        Action::File { path, .. } | Action::Save { path, .. } => {
            Prior::Files(vec![prior_file(system, &path.to_string_lossy())?])
        }
        Action::Firewalld { .. } => Prior::Files(
            DIRECT_FILES
                .iter()
                .map(|f| prior_file(system, f))
                .collect::<Result<_, _>>()?,
        ),
        _ => Prior::Absent,
    }))
}

/// Whether a recorded change has to be made (again): it may have been lost, or its values may differ now. `save`: rules changed since they were saved.
pub(super) fn is_due(
    system: &System,
    done: &Done,
    action: &Action,
    facts: &Facts,
    save: bool,
) -> Result<bool, Refusal> {
    Ok(match (action, &done.prior) {
        (Action::Table { .. }, _) => false,
        (Action::Save { path, .. }, Prior::Files(files)) => {
            let now = system.read(&path.to_string_lossy())?.map(|(text, _)| text);
            save || files.first().is_none_or(|f| f.after != now)
        }
        (_, Prior::InForce) => !satisfied(system, action, facts)?,
        _ => done.action != *action || !satisfied(system, action, facts)?,
    })
}

/// Bring the record up to what is about to be done. To be stored before [`carry_out`].
pub(super) fn prepare(
    system: &System,
    done: &mut Done,
    action: &Action,
    facts: &Facts,
) -> Result<(), Refusal> {
    if let (Action::Firewalld { rules: old }, Action::Firewalld { rules: new }) =
        (&done.action, action)
    {
        for (family, spec) in old.iter().filter(|r| !new.contains(r)) {
            remove_direct(system, family, spec)?;
        }
    }
    done.action = action.clone();
    match action {
        Action::File {
            path,
            content,
            append,
            ..
        } => {
            let file = file_prior(system, &mut done.prior, &path.to_string_lossy())?;
            let text = match &file.before {
                Some((text, _)) if *append => {
                    let newline = if text.is_empty() || text.ends_with('\n') {
                        ""
                    } else {
                        "\n"
                    };
                    format!("{text}{newline}{content}")
                }
                _ => facts.fill(content),
            };
            file.coming = Coming::Text(text);
        }
        Action::Save {
            argv,
            path,
            stdout,
            rules,
        } => {
            let file = file_prior(system, &mut done.prior, &path.to_string_lossy())?;
            file.coming = if *stdout {
                Coming::Text(parse::numeric_save(&system.run(argv)?, rules))
            } else {
                Coming::Unknown
            };
        }
        Action::Firewalld { .. } => {
            if let Prior::Files(files) = &mut done.prior {
                files.iter_mut().for_each(|f| f.coming = Coming::Unknown);
            }
        }
        _ => {}
    }
    Ok(())
}

fn prior_file(system: &System, path: &str) -> Result<PriorFile, Refusal> {
    Ok(PriorFile {
        path: path.into(),
        before: system.read(path)?,
        after: None,
        coming: Coming::Nothing,
        made: system.missing_parents(path),
    })
}

/// Do it, and note in `done` what files look like afterwards.
pub(super) fn carry_out(system: &System, done: &mut Done, facts: &Facts) -> Result<(), Refusal> {
    let Done { action, prior } = done;
    match action {
        Action::Sysctl { key, value } => {
            let path = Path::new("/proc/sys").join(key);
            fs::write(&path, value.as_bytes()).map_err(Refusal::io(path))?;
        }
        Action::Address { .. } => drop(system.run(&action.address_argv("add"))?),
        Action::Table { .. } => {}
        Action::Rule(rule) => drop(system.run(&rule.argv("-A", facts.chains))?),
        Action::Firewalld { rules } => {
            for (family, spec) in rules.iter() {
                let line = format!("firewall-cmd --permanent --direct --add-rule {family} {spec}");
                system.run(&argv(&line.split_whitespace().collect::<Vec<_>>()))?;
            }
            system.run(&argv(&["firewall-cmd", "--reload"]))?;
            note_after(system, prior)?;
        }
        Action::Nft { family, rules } => {
            drop(system.run_with(&argv(&["nft", "-f", "-"]), &nft_text(family, rules))?)
        }
        Action::File { path, mode, .. } => {
            let path = path.to_string_lossy();
            write_coming(system, prior, *mode)?;
            if path.starts_with("/etc/systemd/system/") && system.systemd_runs() {
                system.systemctl("daemon-reload", "")?;
            }
        }
        Action::Save { stdout: true, .. } => write_coming(system, prior, 0o600)?,
        Action::Save { argv, path, .. } => {
            system.make_parents(&path.to_string_lossy())?;
            system.run(argv)?;
            note_after(system, prior)?;
        }
        Action::Enable { unit } => drop(system.systemctl("enable", unit)?),
        Action::Start { unit } => {
            if !system.systemd_runs() {
                return Err(Refusal::Command {
                    command: format!("systemctl start {unit}"),
                    outcome: ": it does not run, and systemd does not run here either; start it the way this machine starts services".into(),
                });
            }
            system.run(&argv(&["systemctl", "start", unit]))?;
        }
        Action::Chkconfig { service } => {
            let lines: &[&[&str]] = if facts.tools.contains_key("chkconfig") {
                &[
                    &["chkconfig", "--add", service],
                    &["chkconfig", "--level", "2345", service, "on"],
                ]
            } else {
                &[&["update-rc.d", service, "defaults"]]
            };
            for line in lines {
                system.run_inside(&argv(line))?;
            }
        }
        Action::Module { module, device } => {
            let loaded = system.run(&argv(&["modprobe", module]));
            if !Path::new(&format!("/proc/sys/net/ipv4/conf/{device}")).exists() {
                loaded?;
                return Err(Refusal::Command {
                    command: format!("modprobe {module}"),
                    outcome: format!(": no {device} appeared; this kernel cannot decapsulate here"),
                });
            }
        }
        Action::LinkUp { device } => drop(system.run(&argv(&["ip", "link", "set", device, "up"]))?),
        Action::DefaultRoute { .. } => {
            for route in default_routes(system, action)?.lines() {
                delete_route(system, action, route)?;
            }
            system.run(&action.route_argv("replace"))?;
        }
    }
    Ok(())
}

/// The record of a file, from here on ours even if it was in force by itself at first.
fn file_prior<'a>(
    system: &System,
    prior: &'a mut Prior,
    path: &str,
) -> Result<&'a mut PriorFile, Refusal> {
    if !matches!(prior, Prior::Files(_)) {
        *prior = Prior::Files(vec![prior_file(system, path)?]);
    }
    match prior {
        Prior::Files(files) if !files.is_empty() => Ok(&mut files[0]),
        _ => Err(Refusal::Request(format!(
            "{path}: no record of what was there"
        ))),
    }
}

/// Write what was prepared; `mode` is for a file that was not there.
fn write_coming(system: &System, prior: &mut Prior, mode: u32) -> Result<(), Refusal> {
    if let Prior::Files(files) = prior {
        for file in files {
            if let Coming::Text(text) = &file.coming {
                system.make_parents(&file.path)?;
                let mode = file.before.as_ref().map_or(mode, |(_, mode)| *mode);
                system.write(&file.path, text, mode)?;
            }
        }
    }
    note_after(system, prior)
}

fn note_after(system: &System, prior: &mut Prior) -> Result<(), Refusal> {
    if let Prior::Files(files) = prior {
        for file in files {
            file.after = system.read(&file.path)?.map(|(text, _)| text);
            file.coming = Coming::Nothing;
        }
    }
    Ok(())
}

pub(super) fn remove_direct(system: &System, family: &str, spec: &str) -> Result<(), Refusal> {
    let line = format!("firewall-cmd --permanent --direct --remove-rule {family} {spec}");
    system
        .run(&argv(&line.split_whitespace().collect::<Vec<_>>()))
        .map(drop)
}

pub(super) fn delete_route(system: &System, action: &Action, route: &str) -> Result<(), Refusal> {
    let mut line = argv(&[
        "ip",
        &action.route_argv("del").swap_remove(1),
        "route",
        "del",
    ]);
    line.extend(route_words(route));
    system.run(&line).map(drop)
}

/// `ip route show` prints states that `ip route add` does not take.
pub(super) fn route_words(route: &str) -> Vec<String> {
    let states = ["linkdown", "dead", "onlink", "pervasive", "offload", "trap"];
    let mut words: Vec<String> = Vec::new();
    let mut listed = route.split_whitespace();
    while let Some(word) = listed.next() {
        match word {
            "expires" => drop(listed.next()),
            "onlink" => words.push(word.into()),
            state if states.contains(&state) => {}
            other => words.push(other.into()),
        }
    }
    words
}
