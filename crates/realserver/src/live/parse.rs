//! What the system's own listings say. Pure, tolerant of what is not understood: a line that makes no sense is no fact.

use crate::{
    action::{Rule, Tool},
    facts::Listener,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use types::Protocol;

/// Rules of one table in `iptables-save` or `arptables-save` output.
pub(super) fn saved_rules(tool: Tool, text: &str) -> Vec<Rule> {
    let wanted = if tool == Tool::Arptables {
        "*filter"
    } else {
        "*nat"
    };
    let mut inside = false;
    let mut rules = Vec::new();
    for line in text.lines() {
        if line.starts_with('*') {
            inside = line.trim() == wanted;
            continue;
        }
        let mut words = line.split_whitespace().skip_while(|w| w.starts_with('['));
        if !inside || words.next() != Some("-A") {
            continue;
        }
        if let Some(chain) = words.next() {
            let chain = match (tool, chain) {
                (Tool::Arptables, "INPUT") => "IN",
                (Tool::Arptables, "OUTPUT") => "OUT",
                (_, other) => other,
            };
            rules.push(Rule {
                tool,
                chain: chain.into(),
                spec: words.map(str::to_owned).collect(),
            });
        }
    }
    rules
}

/// Rules in `arptables -L -n` output. Preferred to a save, which spells `--mangle-ip-s` as a host name after asking the DNS.
pub(super) fn listed_arp_rules(text: &str) -> Vec<Rule> {
    let mut chain = String::new();
    let mut rules = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Chain ") {
            chain = match rest.split_whitespace().next().unwrap_or_default() {
                "INPUT" => "IN".into(),
                "OUTPUT" => "OUT".into(),
                other => other.to_owned(),
            };
        } else if line.starts_with('-') {
            let rule = line.split(" , pcnt").next().unwrap_or_default();
            let spec = rule.replace(" -i *", "").replace(" -o *", "");
            rules.push(Rule {
                tool: Tool::Arptables,
                chain: chain.clone(),
                spec: spec.split_whitespace().map(str::to_owned).collect(),
            });
        }
    }
    rules
}

/// Saved arptables rules with host names in `--mangle-ip-s` put back to the addresses of `rules`: at boot there is no DNS.
pub(super) fn numeric_save(text: &str, rules: &[Rule]) -> String {
    let mangle = |words: &[String]| {
        words
            .iter()
            .position(|w| w == "--mangle-ip-s")
            .map(|i| i + 1)
    };
    let mut numeric = String::new();
    for line in text.lines() {
        let saved = saved_rules(Tool::Arptables, &format!("*filter\n{line}\n")).pop();
        let ours = saved.and_then(|mut saved| {
            let at = mangle(&saved.spec)?;
            rules.iter().find_map(|rule| {
                let address = rule.spec.get(mangle(&rule.spec)?)?;
                let name = std::mem::replace(saved.spec.get_mut(at)?, address.clone());
                let same = saved.chain == rule.chain && saved.normal() == rule.normal();
                let line = line.replace(
                    &format!("--mangle-ip-s {name}"),
                    &format!("--mangle-ip-s {address}"),
                );
                saved.spec[at] = name;
                same.then_some(line)
            })
        });
        numeric.push_str(ours.as_deref().unwrap_or(line));
        numeric.push('\n');
    }
    numeric
}

/// Whether a save lists the table at all.
pub(super) fn has_table(tool: Tool, text: &str) -> bool {
    let wanted = if tool == Tool::Arptables {
        "*filter"
    } else {
        "*nat"
    };
    text.lines().any(|l| l.trim() == wanted)
}

/// `nft list ruleset` without the tables named ("ip nat").
pub(super) fn nft_without(text: &str, tables: &[String]) -> String {
    let mut kept = String::new();
    let mut skip = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("table ") {
            skip = tables.iter().any(|t| rest.trim_end_matches(" {") == t);
        }
        if !skip {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// firewalld's direct.xml, as `--get-all-rules` would print it.
pub(super) fn direct_rules(xml: &str) -> Vec<String> {
    let attribute = |tag: &str, name: &str| -> String {
        tag.split_once(&format!("{name}=\""))
            .and_then(|(_, r)| r.split_once('"'))
            .map_or("", |(v, _)| v)
            .to_owned()
    };
    xml.split("<rule ")
        .skip(1)
        .filter_map(|part| {
            let (tag, rest) = part.split_once('>')?;
            let (words, _) = rest.split_once("</rule>")?;
            let of = |name| attribute(tag, name);
            let words = words
                .replace("&quot;", "\"")
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&");
            Some(format!(
                "{} {} {} {} {words}",
                of("ipv"),
                of("table"),
                of("chain"),
                of("priority")
            ))
        })
        .collect()
}

/// Listening sockets of /proc/net/tcp, tcp6, udp, udp6.
pub(super) fn listeners(text: &str, protocol: Protocol) -> Vec<Listener> {
    let state = if protocol == Protocol::Tcp {
        "0A"
    } else {
        "07"
    };
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let local = words.next()?;
            (words.nth(1)? == state).then_some(())?;
            let (address, port) = local.split_once(':')?;
            let address = hex_address(address)?;
            let port = u16::from_str_radix(port, 16).ok()?;
            Some(Listener {
                protocol,
                address: SocketAddr::new(address, port),
                dual: address == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            })
        })
        .collect()
}

/// Each 32-bit word in the machine's byte order.
fn hex_address(hex: &str) -> Option<IpAddr> {
    if !hex.is_ascii() {
        return None;
    }
    let word = |at: usize| {
        Some(
            u32::from_str_radix(hex.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index * 8)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// MTU of each interface in `ip -o link`.
pub(super) fn mtus(text: &str) -> Vec<(String, u32)> {
    text.lines()
        .filter_map(|line| {
            let name = line.split_once(": ")?.1.split_once(": ")?.0;
            let mtu = line
                .split_once(" mtu ")?
                .1
                .split_whitespace()
                .next()?
                .parse()
                .ok()?;
            Some((name.split('@').next()?.to_owned(), mtu))
        })
        .collect()
}

/// Every parser on one text, for the fuzz target `realserver` and a property test.
///
/// # Panics
/// Never: that is what is tested.
#[cfg(any(test, fuzzing))]
pub fn fuzz_listings(text: &str) {
    let mut rules = listed_arp_rules(text);
    for tool in [Tool::Arptables, Tool::Iptables] {
        rules.extend(saved_rules(tool, text));
        has_table(tool, text);
    }
    rules.iter().for_each(|rule| drop(rule.normal()));
    numeric_save(text, &rules);
    nft_without(text, &["ip nat".into()]);
    direct_rules(text);
    listeners(text, Protocol::Tcp);
    listeners(text, Protocol::Udp);
    mtus(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn saves_are_read() {
        let nft = "*filter\n:INPUT ACCEPT\n-A INPUT -j DROP -d 10.7.0.100\n# Completed\n";
        let jf = "*filter\n:IN ACCEPT [0:0]\n[3:84] -A IN -d 10.7.0.100 -j DROP\n";
        let ours = Rule::new(Tool::Arptables, "IN", "-d 10.7.0.100 -j DROP");
        for text in [nft, jf] {
            let rules = saved_rules(Tool::Arptables, text);
            assert_eq!(rules.len(), 1);
            assert_eq!(rules[0].chain, "IN");
            assert_eq!(rules[0].normal(), ours.normal());
        }
        let other = "*filter\n-A INPUT -d 10.7.0.100/32 -j ACCEPT\nCOMMIT\n*nat\n-A PREROUTING -d 10.7.0.100/32 -p tcp -m tcp --dport 80 -j REDIRECT\n";
        assert_eq!(saved_rules(Tool::Iptables, other).len(), 1);
    }

    #[test]
    fn arptables_listings_are_read_and_names_put_back() {
        let list = "Chain INPUT (policy ACCEPT 0 packets, 0 bytes)\n-j DROP -i * -o * -d 10.7.0.100 , pcnt=0 -- bcnt=0 \n\n\
                    Chain OUTPUT (policy ACCEPT)\n-j mangle -s 10.7.0.100 --mangle-ip-s 10.7.0.2 \n";
        let rules = listed_arp_rules(list);
        let ours = Rule::new(
            Tool::Arptables,
            "OUT",
            "-s 10.7.0.100 -j mangle --mangle-ip-s 10.7.0.2",
        );
        assert_eq!(rules.len(), 2);
        assert_eq!(
            rules[0].normal(),
            Rule::new(Tool::Arptables, "IN", "-d 10.7.0.100 -j DROP").normal()
        );
        assert_eq!(
            (rules[1].chain.as_str(), rules[1].normal()),
            ("OUT", ours.normal())
        );
        let save = "*filter\n:OUTPUT ACCEPT\n-A OUTPUT -j mangle -s 10.7.0.100 --mangle-ip-s web1.example.com\n-A OUTPUT -j mangle -s 10.7.0.9 --mangle-ip-s other\n";
        let numeric = numeric_save(save, &[ours]);
        assert!(
            numeric.contains("-s 10.7.0.100 --mangle-ip-s 10.7.0.2\n")
                && numeric.contains("-s 10.7.0.9 --mangle-ip-s other\n"),
            "{numeric}"
        );
    }

    #[test]
    fn sockets_are_read() {
        let text = "  sl  local_address rem_address   st\n   0: 0A00070A:0050 00000000:0000 0A 0:0\n   1: 00000000:0016 00000000:0000 01 0:0\n";
        let found = listeners(text, Protocol::Tcp);
        assert_eq!(found.len(), 1);
        if cfg!(target_endian = "little") {
            assert_eq!(found[0].address, "10.7.0.10:80".parse().unwrap());
        }
    }

    #[test]
    fn direct_rules_are_read_as_firewalld_prints_them() {
        let xml = "<direct>\n  <rule ipv=\"ipv4\" table=\"nat\" chain=\"PREROUTING\" priority=\"0\">-d 10.7.0.100 -p tcp -m tcp --dport 80 -j REDIRECT</rule>\n</direct>";
        assert_eq!(
            direct_rules(xml),
            ["ipv4 nat PREROUTING 0 -d 10.7.0.100 -p tcp -m tcp --dport 80 -j REDIRECT"]
        );
    }

    proptest! {
        #[test]
        fn no_listing_makes_a_parser_panic(text in "[ -~\n]{0,200}") {
            fuzz_listings(&text);
        }

        #[test]
        fn no_socket_line_makes_a_parser_panic(address in "[0-9A-Fé]{0,33}", port in "[0-9A-F]{0,5}") {
            listeners(&format!("head\n 0: {address}:{port} 0:0 0A\n"), Protocol::Tcp);
        }
    }
}
