//! The `iptables` commands recordings contain: MARK rules of the mangle table, as the engine's mark rules.
//!
//! iptables goes on after a MARK rule, so the last that matches decides; here the first does. The list is therefore kept
//! in reverse: an appended rule comes first.

use engine::model::MarkRule;
use std::{net::IpAddr, ops::RangeInclusive};
use types::{InterfaceId, IpNet, Mark, Protocol};

/// Carries out the words after `iptables`; `None`: not supported.
pub(super) fn run(rules: &mut Vec<MarkRule>, words: &[&str], interfaces: &[&str]) -> Option<()> {
    let ["-t", "mangle", verb, "PREROUTING", rest @ ..] = words else {
        return match words {
            ["-t", "mangle", "-F"] | ["-t", "mangle", "-F", "PREROUTING"] => {
                rules.clear();
                Some(())
            }
            _ => None,
        };
    };
    let rule = parse(rest, interfaces)?;
    match *verb {
        "-A" => rules.insert(0, rule),
        "-I" => rules.push(rule),
        "-D" => {
            // The first of equals, which here is the last.
            let at = rules.iter().rposition(|r| *r == rule)?;
            rules.remove(at);
        }
        _ => return None,
    }
    Some(())
}

fn parse(words: &[&str], interfaces: &[&str]) -> Option<MarkRule> {
    let mut rule = MarkRule::default();
    let mut left = words.iter().copied();
    while let Some(word) = left.next() {
        let value = left.next()?;
        match word {
            "-i" => {
                let at = interfaces.iter().position(|name| *name == value)?;
                rule.interface = Some(InterfaceId(u16::try_from(at).ok()?));
            }
            "-s" => rule.source = Some(net(value)?),
            "-d" => rule.destination = Some(net(value)?),
            "-p" => rule.protocol = Some(value.parse::<Protocol>().ok()?),
            "-m" if matches!(value, "multiport" | "tcp" | "udp" | "dscp") => {}
            "--dport" | "--dports" => rule.destination_ports = ports(value)?,
            "--sport" | "--sports" => rule.source_ports = ports(value)?,
            "--dscp" => rule.dscp = Some(number(value)?.try_into().ok()?),
            "-j" if value == "MARK" => {}
            // With a mask of all bits, as iptables-save has it.
            "--set-mark" | "--set-xmark" => {
                let (mark, mask) = value.split_once('/').unwrap_or((value, "0xffffffff"));
                (number(mask)? == u32::MAX).then_some(())?;
                rule.mark = Mark(number(mark)?);
            }
            _ => return None,
        }
    }
    (rule.mark != Mark(0)).then_some(rule)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn net(text: &str) -> Option<IpNet> {
    let host = || text.parse::<IpAddr>().ok().map(IpNet::host);
    text.parse::<IpNet>().ok().or_else(host)
}

fn ports(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let range = |text: &str| {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_and_go() {
        let mut rules = Vec::new();
        let mut run = |text: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let done = run(&mut rules, &words, &["cl0", "rs0"]);
            done.map(|()| rules.clone())
        };
        let web = "-t mangle -A PREROUTING -i rs0 -d 10.0.0.100 -p tcp -m multiport --dports 80,8000:8010 -j MARK --set-mark 0x7";
        let rules = run(web).unwrap();
        assert_eq!(rules[0].destination_ports, [80..=80, 8000..=8010]);
        assert_eq!(rules[0].interface, Some(InterfaceId(1)));
        assert_eq!(rules[0].mark, Mark(7));
        let rules = run("-t mangle -A PREROUTING -d 10.9.0.0/16 -j MARK --set-mark 9").unwrap();
        assert_eq!((rules[0].mark, rules[1].mark), (Mark(9), Mark(7)));
        assert_eq!(run(&web.replace("-A", "-D")).unwrap().len(), 1);
        assert_eq!(
            run(&web.replace("-A", "-D")),
            None,
            "there is none any more"
        );
        assert_eq!(run("-t nat -A PREROUTING -j MARK --set-mark 1"), None);
        assert_eq!(run("-t mangle -A PREROUTING -j DROP x"), None);
        assert_eq!(run("-t mangle -F").unwrap(), []);
    }
}
