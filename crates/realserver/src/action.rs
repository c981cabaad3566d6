//! One change to a real server, as data: it can be printed, put into a shell script, carried out, checked and undone.
//!
//! File contents and unit lines hold `@ip@`, `@sysctl@`, `@nft@`... where a program's path belongs; [`Facts`](crate::facts::Facts) or the
//! generated script fill it in on the machine itself.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::PathBuf};
use types::IpNet;

/// The programs whose rules look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// arptables, table filter.
    Arptables,
    /// iptables, table nat.
    Iptables,
    /// ip6tables, table nat.
    Ip6tables,
}

impl Tool {
    /// The program's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arptables => "arptables",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
        }
    }

    /// The words between the program and the rule. RHEL's arptables takes no `-t`.
    #[must_use]
    pub const fn table_words(self) -> &'static [&'static str] {
        match self {
            Self::Arptables => &[],
            Self::Iptables | Self::Ip6tables => &["-t", "nat"],
        }
    }
}

/// A packet filter rule in its tool's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whose.
    pub tool: Tool,
    /// For arptables `IN` or `OUT`, which stand for INPUT/OUTPUT where the machine's arptables calls them so.
    pub chain: String,
    /// The match and target.
    pub spec: Vec<String>,
}

impl Rule {
    /// A rule from words.
    #[must_use]
    pub fn new(tool: Tool, chain: &str, spec: &str) -> Self {
        Self {
            tool,
            chain: chain.into(),
            spec: spec.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// The command line: `-A` adds, `-D` deletes.
    #[must_use]
    pub fn argv(&self, verb: &str, chains: ArpChains) -> Vec<String> {
        let mut argv = vec![self.tool.name().to_owned()];
        argv.extend(self.tool.table_words().iter().map(|w| (*w).to_owned()));
        argv.push(verb.to_owned());
        argv.push(self.chain_name(chains).to_owned());
        argv.extend(self.spec.iter().cloned());
        argv
    }

    /// The chain as the machine's tool calls it.
    #[must_use]
    pub fn chain_name(&self, chains: ArpChains) -> &str {
        match (self.tool, self.chain.as_str()) {
            (Tool::Arptables, "IN") => chains.input(),
            (Tool::Arptables, "OUT") => chains.output(),
            _ => &self.chain,
        }
    }

    /// Options as a set, so that two tools' spellings of one rule compare equal: order, `/32` and an implied `-m tcp` do not matter.
    #[must_use]
    pub fn normal(&self) -> BTreeSet<(String, String)> {
        normal(self.spec.iter().map(String::as_str))
    }
}

/// See [`Rule::normal`].
pub fn normal<'a>(words: impl Iterator<Item = &'a str>) -> BTreeSet<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    let mut negate = false;
    for word in words {
        if word == "!" {
            negate = true;
        } else if word.starts_with('-') && word.len() > 1 {
            let sign = if negate { "!" } else { "" };
            options.push((format!("{sign}{word}"), String::new()));
            negate = false;
        } else if let Some((option, value)) = options.last_mut() {
            if !value.is_empty() {
                value.push(' ');
            }
            let host = word
                .strip_suffix("/32")
                .or_else(|| word.strip_suffix("/128"))
                .unwrap_or(word);
            value.push_str(match (option.as_str(), host) {
                ("-p", "6") => "tcp",
                ("-p", "17") => "udp",
                _ => host,
            });
        }
    }
    let protocol = options
        .iter()
        .find(|(o, _)| o == "-p")
        .map(|(_, v)| v.clone());
    options
        .into_iter()
        .filter(|(o, v)| !(o == "-m" && Some(v) == protocol.as_ref()))
        .collect()
}

/// What the machine's arptables calls its chains: arptables_jf (RHEL 4 and 5) and the documents say IN and OUT, later ones INPUT and OUTPUT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ArpChains {
    /// `INPUT`, `OUTPUT`.
    #[default]
    InputOutput,
    /// `IN`, `OUT`.
    InOut,
}

impl ArpChains {
    /// Where received ARP is filtered.
    #[must_use]
    pub const fn input(self) -> &'static str {
        if matches!(self, Self::InOut) {
            "IN"
        } else {
            "INPUT"
        }
    }

    /// Where sent ARP is filtered.
    #[must_use]
    pub const fn output(self) -> &'static str {
        if matches!(self, Self::InOut) {
            "OUT"
        } else {
            "OUTPUT"
        }
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Write `value` to /proc/sys/`key`.
    Sysctl {
        /// Slashes, not dots: interfaces have dots in their names.
        key: String,
        /// What to write.
        value: String,
    },
    /// Put an address on a device.
    Address {
        /// With its prefix.
        net: IpNet,
        /// The device.
        device: String,
        /// `scope host`, so that the kernel never picks it as a source of its own.
        scope_host: bool,
    },
    /// The kernel table a nft-backed tool creates by itself and never removes; nothing to do, but undo deletes it if it was not there.
    Table {
        /// nft's family: arp, ip, ip6.
        family: String,
        /// nft's table name.
        table: String,
    },
    /// Append a rule.
    Rule(Rule),
    /// Permanent direct rules, and a reload.
    Firewalld {
        /// Family (ipv4, ipv6) and the rule's words.
        rules: Vec<(String, String)>,
    },
    /// Load the nft table `tarpon_realserver` of one family.
    Nft {
        /// ip or ip6.
        family: String,
        /// The rules, in the words `nft list` prints.
        rules: Vec<String>,
    },
    /// Write a file.
    File {
        /// Absolute.
        path: PathBuf,
        /// Text; see the module about `@tool@`.
        content: String,
        /// Permission bits.
        mode: u32,
        /// Add to what is there, rather than replace it.
        append: bool,
    },
    /// Let a tool save its rules.
    Save {
        /// The command.
        argv: Vec<String>,
        /// The file.
        path: PathBuf,
        /// The command prints the rules (else it writes the file itself).
        stdout: bool,
        /// Ours among them: arptables-save asks the DNS to spell their addresses, which are put back.
        rules: Vec<Rule>,
    },
    /// `systemctl enable`.
    Enable {
        /// The unit.
        unit: String,
    },
    /// `systemctl start`.
    Start {
        /// The unit.
        unit: String,
    },
    /// `chkconfig --level 2345 NAME on`.
    Chkconfig {
        /// The init script.
        service: String,
    },
    /// `modprobe`, for the fallback tunnel device it creates.
    Module {
        /// The module.
        module: String,
        /// The device that is there once it is loaded.
        device: String,
    },
    /// `ip link set up`.
    LinkUp {
        /// The device.
        device: String,
    },
    /// Replace the default route.
    DefaultRoute {
        /// The next hop.
        gateway: std::net::IpAddr,
        /// Over which device.
        device: String,
    },
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Why it is needed, for people.
    pub why: String,
    /// What it does.
    pub action: Action,
}

impl Step {
    pub(crate) fn new(why: impl Into<String>, action: Action) -> Self {
        Self {
            why: why.into(),
            action,
        }
    }
}

/// The nft table of the nftables method.
pub const NFT_TABLE: &str = "tarpon_realserver";

impl Action {
    /// What the change is about, without the values that may be rewritten: the same key is the same change.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Sysctl { key, .. } => format!("sysctl {key}"),
            Self::Address { net, device, .. } => format!("address {net} {device}"),
            Self::Table { family, table } => format!("table {family} {table}"),
            Self::Rule(rule) => format!(
                "rule {} {} {}",
                rule.tool.name(),
                rule.chain,
                rule.spec.join(" ")
            ),
            Self::Firewalld { .. } => "firewalld".into(),
            Self::Nft { family, .. } => format!("nft {family}"),
            Self::File { path, .. } => format!("file {}", path.display()),
            Self::Save { path, .. } => format!("save {}", path.display()),
            Self::Enable { unit } => format!("enable {unit}"),
            Self::Start { unit } => format!("start {unit}"),
            Self::Chkconfig { service } => format!("chkconfig {service}"),
            Self::Module { module, .. } => format!("module {module}"),
            Self::LinkUp { device } => format!("up {device}"),
            Self::DefaultRoute { gateway, .. } => format!(
                "default {}",
                if gateway.is_ipv4() { "ipv4" } else { "ipv6" }
            ),
        }
    }

    /// The commands that make the change, as one would type them.
    #[must_use]
    pub fn commands(&self, chains: ArpChains) -> Vec<String> {
        match self {
            Self::Sysctl { key, value } => vec![format!("echo {value} > /proc/sys/{key}")],
            Self::Address { .. } => vec![words(&self.address_argv("add"))],
            Self::Table { .. } => vec![],
            Self::Rule(rule) => vec![words(&rule.argv("-A", chains))],
            Self::Firewalld { rules } => rules
                .iter()
                .map(|(family, spec)| {
                    format!("firewall-cmd --permanent --direct --add-rule {family} {spec}")
                })
                .chain(["firewall-cmd --reload".to_owned()])
                .collect(),
            Self::Nft { family, rules } => {
                vec![format!("nft -f - <<'EOF'\n{}EOF", nft_text(family, rules))]
            }
            Self::File {
                path,
                content,
                append,
                ..
            } => {
                let arrow = if *append { ">>" } else { ">" };
                vec![format!(
                    "cat {arrow} {} <<'EOF'\n{content}EOF",
                    path.display()
                )]
            }
            Self::Save {
                argv, path, stdout, ..
            } => {
                vec![if *stdout {
                    format!("{} > {}", words(argv), path.display())
                } else {
                    words(argv)
                }]
            }
            Self::Enable { unit } => vec![format!("systemctl enable {unit}")],
            Self::Start { unit } => vec![format!("systemctl start {unit}")],
            Self::Chkconfig { service } => vec![format!("chkconfig --level 2345 {service} on")],
            Self::Module { module, .. } => vec![format!("modprobe {module}")],
            Self::LinkUp { device } => vec![format!("ip link set {device} up")],
            Self::DefaultRoute { .. } => vec![words(&self.route_argv("replace"))],
        }
    }

    /// `ip addr VERB ...`; empty for other actions.
    #[must_use]
    pub fn address_argv(&self, verb: &str) -> Vec<String> {
        let Self::Address {
            net,
            device,
            scope_host,
        } = self
        else {
            return Vec::new();
        };
        let mut argv: Vec<String> = Vec::from(["ip", "addr", verb].map(str::to_owned));
        argv.extend([net.to_string(), "dev".into(), device.clone()]);
        if verb != "del" {
            if *scope_host {
                argv.extend(["scope".into(), "host".into()]);
            }
            if net.address().is_ipv6() {
                argv.push("nodad".into());
            }
        }
        argv
    }

    /// `ip [-6] route VERB default via ...`; empty for other actions.
    #[must_use]
    pub fn route_argv(&self, verb: &str) -> Vec<String> {
        let Self::DefaultRoute { gateway, device } = self else {
            return Vec::new();
        };
        let family = if gateway.is_ipv4() { "-4" } else { "-6" };
        [
            "ip",
            family,
            "route",
            verb,
            "default",
            "via",
            &gateway.to_string(),
            "dev",
            device,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// The text that replaces the table of one family: loading it twice is loading it once.
#[must_use]
pub fn nft_text(family: &str, rules: &[String]) -> String {
    let mut text = format!(
        "table {family} {NFT_TABLE}\ndelete table {family} {NFT_TABLE}\ntable {family} {NFT_TABLE} {{\n"
    );
    text.push_str(
        "\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n",
    );
    for rule in rules {
        text.push_str(&format!("\t\t{rule}\n"));
    }
    text.push_str("\t}\n}\n");
    text
}

/// Words as a shell reads them back.
#[must_use]
pub fn words(argv: &[String]) -> String {
    argv.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ")
}

/// One word for a POSIX shell.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_rule_compare_equal() {
        let of = |t: &str| normal(t.split_whitespace());
        assert_eq!(
            of("-p tcp -d 10.7.0.100 --dport 80 -j REDIRECT"),
            of("-d 10.7.0.100/32 -p tcp -m tcp --dport 80 -j REDIRECT")
        );
        assert_eq!(of("-d 10.7.0.100 -j DROP"), of("-j DROP -d 10.7.0.100"));
        assert_ne!(of("-d 10.7.0.100 -j DROP"), of("! -d 10.7.0.100 -j DROP"));
        assert_ne!(
            of("-p tcp -d 10.7.0.100 --dport 80 -j REDIRECT"),
            of("-p udp -d 10.7.0.100 --dport 80 -j REDIRECT")
        );
        assert_ne!(of("-d 10.7.0.10 -j DROP"), of("-d 10.7.0.100 -j DROP"));
    }

    proptest! {
        /// A quoted word is one word to a real shell, whatever it holds.
        #[test]
        fn quoting_survives_a_shell(word in "[ -~]{0,20}") {
            let out = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quote(&word))]).output().unwrap();
            prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), word);
        }
    }
}
