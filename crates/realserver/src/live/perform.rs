//! Each action carried out and checked.

use super::{
    Changes, Done, Prior,
    gather::{arp_listing, enabled, read_sysctl},
    parse,
    state::PriorFile,
    system::System,
    take_back,
};
use crate::{
    action::{Action, NFT_TABLE, Rule, Tool, nft_text},
    error::Refusal,
    facts::Facts,
};
use std::{fs, path::Path};

/// firewalld's own files: what `--permanent --direct` writes, and the copy it keeps.
const DIRECT_FILES: [&str; 2] = ["/etc/firewalld/direct.xml", "/etc/firewalld/direct.xml.old"];

pub(super) fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Whether the action acts on the running machine, rather than on files.
pub(super) fn is_live(action: &Action) -> bool {
    !matches!(
        action,
        Action::File { .. } | Action::Enable { .. } | Action::Chkconfig { .. }
    )
}

/// Whether the change is in force now.
pub(super) fn satisfied(system: &System, action: &Action, facts: &Facts) -> Result<bool, Refusal> {
    if system.files_only && is_live(action) {
        return Ok(true);
    }
    Ok(match action {
        Action::Sysctl { key, value } => read_sysctl(key).as_deref() == Some(value),
        Action::Address { net, device, .. } => {
            let list = system.run(&argv(&["ip", "-o", "addr", "show", "dev", device]))?;
            list.split_whitespace()
                .any(|w| w == net.to_string() || (is_host(net) && w == net.address().to_string()))
        }
        // Made by the tool itself when it is first used: never there "already" in the sense that undo should leave it, see `first`.
        Action::Table { family, table } => has_nft_table(system, family, table),
        Action::Rule(rule) => count(system, rule, facts)? > 0,
        Action::Firewalld { rules } => {
            for (family, spec) in rules {
                let query =
                    format!("firewall-cmd --permanent --direct --query-rule {family} {spec}");
                let live = format!("firewall-cmd --direct --query-rule {family} {spec}");
                for line in [query, live] {
                    if system
                        .run(&argv(&line.split_whitespace().collect::<Vec<_>>()))
                        .is_err()
                    {
                        return Ok(false);
                    }
                }
            }
            true
        }
        Action::Nft { family, rules } => {
            let list = system
                .run(&argv(&["nft", "list", "table", family, NFT_TABLE]))
                .unwrap_or_default();
            let live: Vec<&str> = list
                .lines()
                .map(str::trim)
                .filter(|l| l.ends_with(" redirect"))
                .collect();
            live.len() == rules.len() && rules.iter().all(|r| live.contains(&r.as_str()))
        }
        Action::File {
            path,
            content,
            mode,
            append,
        } => match system.read(&path.to_string_lossy())? {
            Some((text, _)) if *append => content
                .lines()
                .all(|wanted| text.lines().any(|l| l.trim() == wanted.trim())),
            Some((text, bits)) => text == facts.fill(content) && bits == *mode,
            None => false,
        },
        // Rules may have changed since: whoever changed one saves.
        Action::Save { .. } => false,
        Action::Enable { unit } => enabled(system, unit),
        Action::Start { unit } => match unit.as_str() {
            "firewalld.service" => system.run(&argv(&["firewall-cmd", "--state"])).is_ok(),
            _ => system.run(&argv(&["systemctl", "is-active", unit])).is_ok(),
        },
        Action::Chkconfig { service } => runlevel_links(system, service)
            .iter()
            .any(|l| l.contains("/S")),
        Action::Module { device, .. } => {
            Path::new(&format!("/proc/sys/net/ipv4/conf/{device}")).exists()
        }
        Action::LinkUp { device } => {
            let list = system.run(&argv(&["ip", "-o", "link", "show", "dev", device]))?;
            list.split_once('<')
                .and_then(|(_, r)| r.split_once('>'))
                .is_some_and(|(flags, _)| flags.split(',').any(|f| f == "UP"))
        }
        Action::DefaultRoute { gateway, device } => {
            let routes = default_routes(system, action)?;
            routes.lines().count() == 1 && routes.contains(&format!("via {gateway} dev {device}"))
        }
    })
}

/// Make a change for the first time; says whether anything was changed.
pub(super) fn first(
    system: &System,
    action: &Action,
    facts: &Facts,
) -> Result<(Done, bool), Refusal> {
    let done = |prior| Done {
        action: action.clone(),
        prior,
    };
    if let Action::Table { .. } = action {
        let there = satisfied(system, action, facts)?;
        return Ok((
            done(if there { Prior::InForce } else { Prior::Absent }),
            false,
        ));
    }
    if satisfied(system, action, facts)? {
        return Ok((done(Prior::InForce), false));
    }
    let prior = match action {
        Action::Sysctl { key, .. } => match read_sysctl(key) {
            Some(value) => Prior::Value(value),
            None => {
                return Err(Refusal::Request(format!(
                    "/proc/sys/{key} is not there; is the interface named right, and is this not a restricted container?"
                )));
            }
        },
        Action::DefaultRoute { .. } => Prior::Value(default_routes(system, action)?),
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
    };
    let mut done = done(prior);
    if let Err(error) = carry_out(system, &mut done, facts) {
        // Half a change is taken back here; whole ones by the caller. The first error is the one to tell.
        let _ = take_back::undo(system, &done, facts, &mut Changes::new());
        return Err(error);
    }
    Ok((done, true))
}

/// Make a change again whose prior state is known: it may have been lost, or its values may differ now.
pub(super) fn renew(
    system: &System,
    done: &mut Done,
    action: &Action,
    facts: &Facts,
    force: bool,
) -> Result<bool, Refusal> {
    if matches!(action, Action::Table { .. }) {
        return Ok(false);
    }
    let saved = match (&done.prior, action) {
        (Prior::Files(files), Action::Save { path, .. }) => {
            let now = system.read(&path.to_string_lossy())?.map(|(text, _)| text);
            !force && files.first().is_some_and(|f| f.after == now)
        }
        _ => false,
    };
    if saved || (done.action == *action && satisfied(system, action, facts)?) {
        return Ok(false);
    }
    if let (Action::Firewalld { rules: old }, Action::Firewalld { rules: new }) =
        (&done.action, action)
    {
        for (family, spec) in old.iter().filter(|r| !new.contains(r)) {
            remove_direct(system, family, spec)?;
        }
    }
    let undone = std::mem::replace(&mut done.action, action.clone());
    if done.prior == Prior::InForce && satisfied(system, action, facts)? {
        return Ok(false);
    }
    if let Err(error) = carry_out(system, done, facts) {
        done.action = undone;
        return Err(error);
    }
    Ok(true)
}

fn prior_file(system: &System, path: &str) -> Result<PriorFile, Refusal> {
    Ok(PriorFile {
        path: path.into(),
        before: system.read(path)?,
        after: None,
        made: vec![],
    })
}

/// Do it, and note in `done` what files look like afterwards.
fn carry_out(system: &System, done: &mut Done, facts: &Facts) -> Result<(), Refusal> {
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
        Action::File {
            path,
            content,
            mode,
            append,
        } => {
            let path = path.to_string_lossy();
            let PriorFile { before, made, .. } = file_prior(prior, &path)?;
            made.extend(system.make_parents(&path)?);
            let (text, mode) = match before {
                Some((text, bits)) if *append => {
                    let newline = if text.is_empty() || text.ends_with('\n') {
                        ""
                    } else {
                        "\n"
                    };
                    (format!("{text}{newline}{content}"), *bits)
                }
                _ => (facts.fill(content), *mode),
            };
            system.write(&path, &text, mode)?;
            note_after(system, prior)?;
            if path.starts_with("/etc/systemd/system/") && system.systemd_runs() {
                system.systemctl("daemon-reload", "")?;
            }
        }
        Action::Save {
            argv,
            path,
            stdout,
            rules,
        } => {
            let path = path.to_string_lossy();
            let PriorFile { before, made, .. } = file_prior(prior, &path)?;
            made.extend(system.make_parents(&path)?);
            let mode = before.as_ref().map_or(0o600, |(_, mode)| *mode);
            let text = system.run(argv)?;
            if *stdout {
                system.write(&path, &parse::numeric_save(&text, rules), mode)?;
            }
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
            if facts.tools.contains_key("chkconfig") || !facts.known {
                system.run(&argv(&["chkconfig", "--add", service]))?;
                system.run(&argv(&["chkconfig", "--level", "2345", service, "on"]))?;
            } else {
                system.run(&argv(&["update-rc.d", service, "defaults"]))?;
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

fn file_prior<'a>(prior: &'a mut Prior, path: &str) -> Result<&'a mut PriorFile, Refusal> {
    if !matches!(prior, Prior::Files(_)) {
        // It was in force by itself at first, and is not any more: from here on it is ours.
        *prior = Prior::Files(vec![PriorFile {
            path: path.into(),
            before: None,
            after: None,
            made: vec![],
        }]);
    }
    match prior {
        Prior::Files(files) if !files.is_empty() => Ok(&mut files[0]),
        _ => Err(Refusal::Request(format!(
            "{path}: no record of what was there"
        ))),
    }
}

fn note_after(system: &System, prior: &mut Prior) -> Result<(), Refusal> {
    if let Prior::Files(files) = prior {
        for file in files {
            file.after = system.read(&file.path)?.map(|(text, _)| text);
        }
    }
    Ok(())
}

fn is_host(net: &types::IpNet) -> bool {
    net.prefix() == if net.address().is_ipv4() { 32 } else { 128 }
}

/// How many copies of a rule are in force.
pub(super) fn count(system: &System, rule: &Rule, facts: &Facts) -> Result<usize, Refusal> {
    let rules = match rule.tool {
        Tool::Arptables => arp_listing(system)?.0,
        tool => parse::saved_rules(
            tool,
            &system.run(&argv(&[&format!("{}-save", tool.name())]))?,
        ),
    };
    let chain = rule.chain_name(facts.chains);
    Ok(rules
        .iter()
        .filter(|r| r.chain_name(facts.chains) == chain && r.normal() == rule.normal())
        .count())
}

pub(super) fn has_nft_table(system: &System, family: &str, table: &str) -> bool {
    let wanted = format!("table {family} {table}");
    system
        .run(&argv(&["nft", "list", "tables"]))
        .is_ok_and(|t| t.lines().any(|l| l.trim() == wanted))
}

pub(super) fn remove_direct(system: &System, family: &str, spec: &str) -> Result<(), Refusal> {
    let line = format!("firewall-cmd --permanent --direct --remove-rule {family} {spec}");
    system
        .run(&argv(&line.split_whitespace().collect::<Vec<_>>()))
        .map(drop)
}

fn runlevel_links(system: &System, service: &str) -> Vec<String> {
    let mut links = Vec::new();
    for base in ["/etc", "/etc/rc.d"] {
        for level in 0..=6 {
            let directory = format!("{base}/rc{level}.d");
            for entry in fs::read_dir(system.path(&directory))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.get(3..) == Some(service) {
                    links.push(format!("{directory}/{name}"));
                }
            }
        }
    }
    links
}

pub(super) fn default_routes(system: &System, action: &Action) -> Result<String, Refusal> {
    let family = action.route_argv("show").swap_remove(1);
    system.run(&argv(&["ip", &family, "route", "show", "default"]))
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
