//! What is known about a machine before anything is planned for it. Plain values: gathered by [`crate::live`], or made up by a test.

use crate::{
    action::{ArpChains, Rule},
    error::Refusal,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};
use types::{IpNet, MacAddr, Protocol};

/// A network interface.
#[derive(Clone, Debug, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it is an Ethernet.
    pub mac: Option<MacAddr>,
    /// Payload bytes a frame carries.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// A socket that takes packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// TCP (listening) or UDP (bound).
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// An IPv6 wildcard socket that may take IPv4 too.
    pub dual: bool,
}

/// How the machine boots.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Init {
    /// systemd is the init (running or installed).
    pub systemd: bool,
    /// /etc/sysconfig and friends.
    pub red_hat: bool,
    /// Unit files that exist.
    pub units: BTreeSet<String>,
    /// Units enabled.
    pub enabled: BTreeSet<String>,
    /// /etc/init.d scripts that exist.
    pub scripts: BTreeSet<String>,
}

/// A machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// It is this machine, and it runs. False when planning for an image (`--root`) or another machine (`script`, `ansible`).
    pub known: bool,
    /// Its files are known: programs, units, how it boots. False for another machine.
    pub files: bool,
    /// Running as root.
    pub root: bool,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Programs found, by name.
    pub tools: BTreeMap<String, PathBuf>,
    /// What its arptables calls its chains.
    #[serde(skip)]
    pub chains: ArpChains,
    /// Rules in force: arptables, iptables nat, ip6tables nat.
    #[serde(skip)]
    pub rules: Vec<Rule>,
    /// `nft list ruleset`, tables of the tools above left out.
    pub nft: String,
    /// firewalld's direct rules.
    pub firewalld: Vec<String>,
    /// How it boots.
    pub init: Init,
    /// Who listens.
    pub listeners: Vec<Listener>,
    /// net.ipv4.conf.all.rp_filter.
    pub rp_filter_all: u8,
}

impl Facts {
    /// The interface of that name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// Every place an address is on.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = (&Interface, IpNet)> {
        self.interfaces.iter().flat_map(move |i| {
            i.addresses
                .iter()
                .filter(move |n| n.address() == address)
                .map(move |n| (i, *n))
        })
    }

    /// Whether its rules can be saved by its own tools when the plan is carried out: not in an image, where none are in force.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.known || !self.files
    }

    /// Fail unless the method's program is there. `hint` says what to install.
    pub(crate) fn need(&self, tool: &str, method: &'static str, hint: &str) -> Result<(), Refusal> {
        if !self.files || self.tools.contains_key(tool) {
            return Ok(());
        }
        Err(Refusal::NoTool {
            tool: tool.into(),
            method,
            hint: hint.into(),
        })
    }

    /// Put the programs' paths into a text.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for tool in [
            "ip",
            "sysctl",
            "arptables",
            "iptables",
            "ip6tables",
            "nft",
            "modprobe",
        ] {
            let path = self
                .tools
                .get(tool)
                .map_or_else(|| format!("/usr/sbin/{tool}"), |p| p.display().to_string());
            text = text.replace(&format!("@{tool}@"), &path);
        }
        text.replace("@IN@", self.chains.input())
            .replace("@OUT@", self.chains.output())
    }
}
