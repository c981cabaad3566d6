//! Addresses on an interface of the host, for routing daemons that announce what the kernel has.

use super::{Audience, Found};
use crate::failure::Failure;
use host::{Link, Netlink, NetlinkError};
use nix::ifaddrs::getifaddrs;
use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::IpAddr,
};
use types::IpNet;

/// An interface whose addresses say what is announced. What else it has stays untouched.
pub(super) struct Interface {
    name: String,
    netlink: Netlink,
    /// Added by this process, or found there and known as virtual.
    ours: BTreeSet<IpAddr>,
    /// What went wrong in the last round, said once.
    trouble: Option<String>,
}

impl Interface {
    /// The interface of that name, which must be there.
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        let mut netlink = Netlink::open().map_err(failed)?;
        if netlink.link(name).map_err(failed)?.is_none() {
            return Err(Failure::failed(missing(name)));
        }
        Ok(Self {
            name: name.to_owned(),
            netlink,
            ours: BTreeSet::new(),
            trouble: None,
        })
    }

    /// Makes what the interface has what it should have.
    fn reconcile(&mut self, found: &Found) -> Result<(), String> {
        let link = self.netlink.link(&self.name).map_err(|e| e.to_string())?;
        let Some(link) = link else {
            self.ours.clear();
            return Err(missing(&self.name));
        };
        let there = addresses(&self.name)?;
        // What a run before this one has left is taken over.
        self.ours.extend(there.intersection(&found.all));
        for &address in found.served.difference(&there) {
            self.netlink
                .add_address(link.index, IpNet::host(address))
                .map_err(|e| e.to_string())?;
            self.ours.insert(address);
            self.say(address, "added to");
        }
        let gone: Vec<IpAddr> = self.ours.difference(&found.served).copied().collect();
        for address in gone {
            if there.contains(&address) {
                self.remove(&link, address).map_err(|e| e.to_string())?;
            }
            self.ours.remove(&address);
        }
        Ok(())
    }

    fn remove(&mut self, link: &Link, address: IpAddr) -> Result<(), NetlinkError> {
        self.netlink
            .remove_address(link.index, IpNet::host(address))?;
        self.say(address, "removed from");
        Ok(())
    }

    /// To whoever cares to read it.
    fn say(&self, address: IpAddr, what: &str) {
        let line = format!("{} {what} {}", IpNet::host(address), self.name);
        let _ = writeln!(io::stdout(), "{line}");
    }
}

impl Audience for Interface {
    /// What cannot be done is tried again in the next round.
    fn tell(&mut self, found: &Found) -> Result<(), Failure> {
        let trouble = self.reconcile(found).err();
        if trouble != self.trouble
            && let Some(trouble) = &trouble
        {
            eprintln!("tarpon: {trouble}; trying again");
        }
        self.trouble = trouble;
        Ok(())
    }

    fn once(&mut self, found: &Found) -> Result<(), Failure> {
        self.reconcile(found).map_err(Failure::failed)
    }

    /// Takes away what it has added.
    fn end(&mut self) -> Result<(), Failure> {
        self.reconcile(&Found::default()).map_err(Failure::failed)
    }
}

fn missing(name: &str) -> String {
    format!(
        "the host has no interface `{name}`; `ip link add {name} type dummy && ip link set {name} up` makes one"
    )
}

fn failed(error: NetlinkError) -> Failure {
    Failure::failed(error.to_string())
}

/// The single addresses (/32, /128) an interface has.
fn addresses(interface: &str) -> Result<BTreeSet<IpAddr>, String> {
    let all = getifaddrs().map_err(|e| format!("cannot list the host's addresses: {e}"))?;
    let single = all.filter_map(|found| {
        if found.interface_name != interface {
            return None;
        }
        let (address, mask) = (found.address?, found.netmask?);
        if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
            return (mask.ip().to_bits() == u32::MAX).then(|| address.ip().into());
        }
        let (address, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
        (mask.ip().to_bits() == u128::MAX).then(|| address.ip().into())
    });
    Ok(single.collect())
}
