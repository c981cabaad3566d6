//! Each action taken back to what was there before it.

use super::{
    Changes, argv,
    ask::{count, default_routes, has_nft_table, satisfied},
    enablement,
    gather::{enabled, read_sysctl},
    is_live,
    perform::{delete_route, remove_direct, route_words},
    state::{Done, Prior, PriorFile},
    system::System,
};
use crate::{
    action::{Action, NFT_TABLE},
    error::Refusal,
    facts::Facts,
};
use std::{fs, path::Path};

/// Fail if a file we wrote is not what we wrote any more.
pub(super) fn unchanged(system: &System, done: &Done) -> Result<(), Refusal> {
    // firewalld rewrites its file whenever it likes; its rules are taken out one by one then.
    if let (Prior::Files(files), Action::File { .. } | Action::Save { .. }) =
        (&done.prior, &done.action)
    {
        for file in files {
            let now = system.read(&file.path)?.map(|(text, _)| text);
            if !file.knows(now.as_deref()) {
                return Err(Refusal::FileChanged(system.path(&file.path)));
            }
        }
    }
    Ok(())
}

/// Take a change back to what was before it.
#[expect(
    clippy::collapsible_match,
    reason = "a guard would hide a question to the machine"
)]
pub(super) fn undo(
    system: &System,
    done: &Done,
    facts: &Facts,
    changes: &mut Changes,
) -> Result<(), Refusal> {
    let Done { action, prior } = done;
    if *prior == Prior::InForce || (system.files_only && is_live(action)) {
        return Ok(());
    }
    match (action, prior) {
        (Action::Sysctl { key, .. }, Prior::Value(value)) => {
            let path = Path::new("/proc/sys").join(key);
            // The interface may be gone, and its settings with it.
            if path.exists() && read_sysctl(key).as_ref() != Some(value) {
                fs::write(&path, value.as_bytes()).map_err(Refusal::io(path))?;
                changes.push(format!("echo {value} > /proc/sys/{key}"));
            }
        }
        (Action::Address { device, .. }, _) => {
            if system
                .run(&argv(&["ip", "link", "show", "dev", device]))
                .is_ok()
                && satisfied(system, action, facts)?
            {
                run(system, &action.address_argv("del"), changes)?;
            }
        }
        (Action::Table { family, table }, _) => {
            let list = system
                .run(&argv(&["nft", "list", "table", family, table]))
                .unwrap_or_default();
            if !list.is_empty() && table_is_empty(&list) {
                run(
                    system,
                    &argv(&["nft", "delete", "table", family, table]),
                    changes,
                )?;
            }
        }
        (Action::Rule(rule), _) => {
            for _ in 0..count(system, rule, facts)? {
                run(system, &rule.argv("-D", facts.chains), changes)?;
            }
        }
        (Action::Firewalld { rules }, Prior::Files(files)) => {
            let ours = files.iter().all(|f| {
                system
                    .read(&f.path)
                    .is_ok_and(|now| f.knows(now.as_ref().map(|(t, _)| t.as_str())))
            });
            if ours {
                restore(system, files, changes)?;
            } else {
                for (family, spec) in rules {
                    remove_direct(system, family, spec)?;
                }
            }
            if system.run(&argv(&["firewall-cmd", "--state"])).is_ok() {
                run(system, &argv(&["firewall-cmd", "--reload"]), changes)?;
            }
        }
        (Action::Nft { family, .. }, _) => {
            if has_nft_table(system, family, NFT_TABLE) {
                run(
                    system,
                    &argv(&["nft", "delete", "table", family, NFT_TABLE]),
                    changes,
                )?;
            }
        }
        (Action::File { .. } | Action::Save { .. }, Prior::Files(files)) => {
            restore(system, files, changes)?;
            if system.systemd_runs()
                && files
                    .iter()
                    .any(|f| f.path.starts_with("/etc/systemd/system/"))
            {
                system.systemctl("daemon-reload", "")?;
            }
        }
        (Action::Enable { unit }, prior) => {
            if enabled(system, unit) {
                system.systemctl("disable", unit)?;
                changes.push(format!("systemctl disable {unit}"));
            }
            if let Prior::Value(before) = prior {
                enablement::restore(system, unit, before)?;
            }
        }
        (Action::Start { unit }, _) => run(system, &argv(&["systemctl", "stop", unit]), changes)?,
        (Action::Chkconfig { service }, _) => {
            let ours = service.starts_with(crate::plan::UNIT_PREFIX);
            let line = match (facts.tools.contains_key("chkconfig"), ours) {
                (true, true) => format!("chkconfig --del {service}"),
                (true, false) => format!("chkconfig --level 2345 {service} off"),
                (false, _) => format!("update-rc.d -f {service} remove"),
            };
            system.run_inside(&argv(&line.split_whitespace().collect::<Vec<_>>()))?;
            changes.push(line);
        }
        (Action::Module { module, .. }, _) => {
            run(system, &argv(&["modprobe", "-r", module]), changes)?
        }
        (Action::LinkUp { device }, _) => {
            if system
                .run(&argv(&["ip", "link", "show", "dev", device]))
                .is_ok()
            {
                run(
                    system,
                    &argv(&["ip", "link", "set", device, "down"]),
                    changes,
                )?;
            }
        }
        (Action::DefaultRoute { .. }, Prior::Value(before)) => {
            for route in default_routes(system, action)?.lines() {
                delete_route(system, action, route)?;
            }
            let family = action.route_argv("add").swap_remove(1);
            // Added in the order they were listed, which is the order of preference.
            for route in before.lines() {
                let mut line = argv(&["ip", &family, "route", "append"]);
                line.extend(route_words(route));
                run(system, &line, changes)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn run(system: &System, argv: &[String], changes: &mut Changes) -> Result<(), Refusal> {
    system.run(argv)?;
    changes.push(crate::action::words(argv));
    Ok(())
}

fn restore(system: &System, files: &[PriorFile], changes: &mut Changes) -> Result<(), Refusal> {
    for file in files {
        let now = system.read(&file.path)?.map(|(text, _)| text);
        if let Some(text) = now.as_ref().filter(|_| !file.knows(now.as_deref())) {
            system.write(&format!("{}.tarpon-changed", file.path), text, 0o600)?;
        }
        match &file.before {
            Some((text, mode)) => {
                system.write(&file.path, text, *mode)?;
                changes.push(format!("{} as it was before", file.path));
            }
            None => {
                system.remove(&file.path)?;
                changes.push(format!("rm {}", file.path));
            }
        }
        system.remove_temporary(&file.path);
        system.remove_directories(&file.made);
    }
    Ok(())
}

/// Nothing in it but chains that accept.
fn table_is_empty(list: &str) -> bool {
    list.lines().map(str::trim).all(|l| {
        l.is_empty()
            || l == "}"
            || l.starts_with('#')
            || l.starts_with("table ")
            || (l.starts_with("chain ")
                && ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]
                    .iter()
                    .any(|c| l.contains(c)))
            || (l.starts_with("type ") && l.ends_with("policy accept;"))
    })
}
