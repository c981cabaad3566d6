//! Stand-alone POSIX shell scripts of a plan: apply, check, undo, for servers without this program.
//!
//! `apply.sh` keeps a journal of what it changed and what was there, `undo.sh` reads it backwards. What depends on the machine (programs' paths, arptables' chain
//! names) is found out by the scripts.

use crate::{
    action::{Action, NFT_TABLE, Rule, Tool, nft_text, quote},
    plan::Plan,
    request::Request,
};
use std::{fmt::Write as _, net::IpAddr};

const LIBRARY: &str = include_str!("script_library.sh");

/// The three scripts.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// Makes the plan true; again is no change.
    pub apply: String,
    /// Says what is in force; fails if something is not.
    pub check: String,
    /// Takes back what apply changed.
    pub undo: String,
}

/// The scripts of a plan made for `requests` without knowledge of the machine.
#[must_use]
pub fn scripts(requests: &[Request], plan: &Plan) -> Scripts {
    let mut apply = head(
        "apply",
        "Prepares this machine as a real server. Running it again changes nothing.",
        requests,
        plan,
    );
    apply.push_str("need_root\n");
    preconditions(requests, plan, &mut apply);
    apply.push_str("begin\n\n");
    let mut reload = false;
    for step in &plan.steps {
        let _ = writeln!(apply, "# {}", step.why);
        reload |= matches!(step.action, Action::Firewalld { .. });
        change(&step.action, &mut apply);
    }
    if reload {
        apply.push_str("firewalld_reload\n");
    }
    apply.push_str("[ \"$changed\" = 1 ] || echo 'nothing to change'\n");

    let mut check = head(
        "check",
        "Says what of the preparation is in force; exit 1 if something is not.",
        requests,
        plan,
    );
    check.push_str("need_root\n");
    if plan
        .steps
        .iter()
        .any(|s| matches!(&s.action, Action::Rule(r) if r.tool == Tool::Arptables))
    {
        check.push_str("arp_chains\n");
    }
    for step in &plan.steps {
        looks(&step.action, &mut check);
    }
    for request in requests.iter().filter(|r| r.method.redirects()) {
        for vip in &request.vips {
            let _ = writeln!(check, "look '{vip} on no interface' silent_about {vip}");
        }
    }
    check.push_str("exit \"$failed\"\n");

    let mut undo = head(
        "undo",
        "Takes back what apply.sh changed, and nothing else.",
        requests,
        plan,
    );
    undo.push_str(UNDO);
    Scripts { apply, check, undo }
}

const UNDO: &str = r#"need_root
[ -f "$journal" ] || die "nothing to undo: $journal is not there, so what was there before is not known"
if [ "${1:-}" != --force ]; then
    while read -r verb number path _; do
        [ "$verb" = undo_file ] || continue
        # An empty mark: a file its owner rewrites by itself.
        [ -s "$state/$number.after" ] || continue
        cmp -s "$path" "$state/$number.after" || die "$path was changed since apply; nothing was touched. --force restores what was there before"
    done <"$journal"
fi
arp_chains
roll_back 0
if [ "$failed" != 0 ]; then die "some of it could not be taken back (above)"; fi
echo 'changed: everything is as it was before apply'
"#;

fn head(name: &str, what: &str, requests: &[Request], plan: &Plan) -> String {
    let mut text = format!("#!/bin/sh\n# {name}.sh: {what}\n# Written by tarpon realserver for:\n");
    for request in requests {
        let list = |items: Vec<String>| items.join(" ");
        let _ = writeln!(
            text,
            "#   method {}, VIPs {}, ports {} {}",
            request.method.name(),
            list(request.vips.iter().map(ToString::to_string).collect()),
            list(request.ports.iter().map(ToString::to_string).collect()),
            list(request.protocols.iter().map(ToString::to_string).collect()),
        );
    }
    for note in &plan.notes {
        let _ = writeln!(text, "# Note: {note}");
    }
    text.push_str(LIBRARY);
    text.push('\n');
    text
}

fn preconditions(requests: &[Request], plan: &Plan, out: &mut String) {
    let mut lines: Vec<String> = vec!["need_tool ip 'install iproute2 (iproute)'".into()];
    for step in &plan.steps {
        match &step.action {
            Action::Rule(rule) => {
                lines.push(format!(
                    "need_tool {0} 'install the package {0}, or use another method'",
                    rule.tool.name()
                ));
                lines.push(format!(
                    "need_tool {0}-save 'install the package {0}, or use another method'",
                    rule.tool.name()
                ));
                if rule.tool == Tool::Arptables {
                    lines.push("arp_chains".into());
                }
            }
            Action::Firewalld { .. } => {
                lines.push("need_tool firewall-cmd 'install the package firewalld'".into())
            }
            Action::Nft { .. } => lines.push("need_tool nft 'install the package nftables'".into()),
            Action::Module { .. } => lines.push("need_tool modprobe 'install kmod'".into()),
            _ => {}
        }
    }
    for interface in requests.iter().flat_map(|r| &r.interfaces) {
        lines.push(format!("need_interface {}", quote(interface)));
    }
    for vip in requests.iter().flat_map(|r| &r.vips) {
        let held = plan.steps.iter().find_map(|s| match &s.action {
            Action::Address { net, device, .. } if net.address() == *vip => {
                Some(format!("{net} {}", quote(device)))
            }
            _ => None,
        });
        lines.push(format!(
            "vip_only_on {vip} {}",
            held.unwrap_or_else(|| "'' ''".into())
        ));
        lines.extend(foreign(vip, plan));
    }
    let mut seen: Vec<&String> = Vec::new();
    for line in &lines {
        if !seen.contains(&line) {
            let _ = writeln!(out, "{line}");
            seen.push(line);
        }
    }
}

/// Rules about the VIP that are not of the plan.
fn foreign(vip: &IpAddr, plan: &Plan) -> Vec<String> {
    let tools = [Tool::Arptables, Tool::Iptables, Tool::Ip6tables];
    let mut lines = Vec::new();
    for tool in tools {
        let ours: Vec<&Rule> = plan
            .steps
            .iter()
            .filter_map(|s| {
                if let Action::Rule(rule) = &s.action {
                    Some(rule)
                } else {
                    None
                }
            })
            .filter(|r| r.tool == tool && r.spec.iter().any(|w| *w == vip.to_string()))
            .collect();
        if ours.is_empty() {
            continue;
        }
        lines.push("ours=0".to_owned());
        lines.push(
            ours.iter()
                .map(|r| {
                    format!(
                        "ours=$((ours + $(matching {} {} {} | wc -l)))",
                        r.tool.name(),
                        chain(r),
                        patterns(r)
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
        );
        lines.push(format!(
            "foreign {} {} \"$ours\"",
            tool.name(),
            quote(&saved_address(tool, vip))
        ));
    }
    lines
}

fn saved_address(tool: Tool, vip: &IpAddr) -> String {
    match tool {
        Tool::Arptables => vip.to_string(),
        Tool::Iptables => format!("{vip}/32"),
        Tool::Ip6tables => format!("{vip}/128"),
    }
}

fn chain(rule: &Rule) -> String {
    match (rule.tool, rule.chain.as_str()) {
        (Tool::Arptables, "IN") => "\"$arp_in\"".into(),
        (Tool::Arptables, "OUT") => "\"$arp_out\"".into(),
        (_, other) => other.into(),
    }
}

/// The pairs by which a rule is found in what its tool saves.
fn patterns(rule: &Rule) -> String {
    let mut pairs: Vec<String> = Vec::new();
    for word in &rule.spec {
        match word.starts_with('-') {
            true => pairs.push(word.clone()),
            false => {
                let word = match word.parse::<IpAddr>() {
                    Ok(address) if !pairs.last().is_some_and(|p| p.starts_with("--mangle")) => {
                        saved_address(rule.tool, &address)
                    }
                    _ => word.clone(),
                };
                if let Some(last) = pairs.last_mut() {
                    last.push(' ');
                    last.push_str(&word);
                }
            }
        }
    }
    pairs.iter().map(|p| quote(p)).collect::<Vec<_>>().join(" ")
}

/// sed(1) commands for what arptables-save spells as names.
fn names_to_addresses(rules: &[Rule]) -> String {
    let word = |rule: &Rule, option: &str| {
        rule.spec
            .iter()
            .skip_while(|w| *w != option)
            .nth(1)
            .cloned()
    };
    rules
        .iter()
        .filter_map(|r| Some((word(r, "-s")?, word(r, "--mangle-ip-s")?)))
        .map(|(vip, real_ip)| {
            format!(
                "/-s {} /s/--mangle-ip-s [^ ]*/--mangle-ip-s {real_ip}/;",
                vip.replace('.', "\\.")
            )
        })
        .collect()
}

fn rule_words(rule: &Rule) -> String {
    format!(
        "{} {} {} -- {}",
        rule.tool.name(),
        chain(rule),
        patterns(rule),
        crate::action::words(&rule.spec)
    )
}

fn change(action: &Action, out: &mut String) {
    let line = match action {
        Action::Sysctl { key, value } => format!("do_sysctl {} {value}", quote(key)),
        Action::Address { net, device, .. } => {
            let options = action.address_argv("add").split_off(6).join(" ");
            format!("do_address {net} {} {options}", quote(device))
        }
        Action::Table { family, table } => format!("do_table {family} {table}"),
        Action::Rule(rule) => format!("do_rule {}", rule_words(rule)),
        Action::Firewalld { rules } => rules
            .iter()
            .map(|(f, r)| format!("do_firewalld {f} {r}"))
            .collect::<Vec<_>>()
            .join("\n"),
        Action::Nft { family, rules } => {
            format!("do_nft {family} <<'EOF'\n{}EOF", nft_text(family, rules))
        }
        Action::File {
            path,
            content,
            mode,
            append,
        } => {
            let verb = if *append { "do_append" } else { "do_file" };
            format!(
                "{verb} {} {mode:o} <<'EOF'\n{content}EOF",
                quote(&path.to_string_lossy())
            )
        }
        Action::Save {
            argv,
            path,
            stdout,
            rules,
        } => {
            let (path, sed) = (path.to_string_lossy(), names_to_addresses(rules));
            format!(
                "do_save {} {} {} {}",
                quote(&path),
                u8::from(*stdout),
                quote(&sed),
                crate::action::words(argv)
            )
        }
        Action::Enable { unit } => format!("do_enable {}", quote(unit)),
        Action::Start { unit } => format!("do_start {}", quote(unit)),
        Action::Chkconfig { service } => format!("do_chkconfig {}", quote(service)),
        Action::Module { module, device } => format!("do_module {module} {device}"),
        Action::LinkUp { device } => format!("do_up {}", quote(device)),
        Action::DefaultRoute { gateway, device } => {
            format!(
                "do_route {} {gateway} {}",
                if gateway.is_ipv4() { "-4" } else { "-6" },
                quote(device)
            )
        }
    };
    let _ = writeln!(out, "{}\n", line.trim_end());
}

fn looks(action: &Action, out: &mut String) {
    let (what, test) = match action {
        Action::Sysctl { key, value } => (
            format!("/proc/sys/{key} is {value}"),
            format!("sysctl_set {} {value}", quote(key)),
        ),
        Action::Address { net, device, .. } => (
            format!("{net} on {device}"),
            format!("address_there {net} {}", quote(device)),
        ),
        Action::Rule(rule) => (
            format!("{} rule {}", rule.tool.name(), rule.spec.join(" ")),
            format!("rule_there {}", rule_words(rule)),
        ),
        Action::Firewalld { rules } => {
            for (family, rule) in rules {
                let _ = writeln!(
                    out,
                    "look {} firewalld_there {family} {rule}",
                    quote(&format!("firewalld rule {family} {rule}"))
                );
            }
            return;
        }
        Action::Nft { family, rules } => (
            format!("table {family} {NFT_TABLE}"),
            format!("nft_there {family} {}", rules.len()),
        ),
        Action::File { path, .. } | Action::Save { path, .. } => (
            format!("{}", path.display()),
            format!("file_there {}", quote(&path.to_string_lossy())),
        ),
        Action::Enable { unit } => (
            format!("{unit} starts at boot"),
            format!("enabled {}", quote(unit)),
        ),
        Action::Chkconfig { service } => (
            format!("{service} starts at boot"),
            format!("at_boot {}", quote(service)),
        ),
        Action::LinkUp { device } => (
            format!("{device} is up"),
            format!("is_up {}", quote(device)),
        ),
        Action::DefaultRoute { gateway, device } => (
            format!("default route via {gateway}"),
            format!(
                "route_there {} {gateway} {}",
                if gateway.is_ipv4() { "-4" } else { "-6" },
                quote(device)
            ),
        ),
        Action::Table { .. } | Action::Start { .. } | Action::Module { .. } => return,
    };
    let _ = writeln!(out, "look {} {test}", quote(&what));
}
