//! Frames that arrive on an interface of this very machine, without anyone else on the wire: a veth pair whose far end hands what it receives to the interface's
//! ingress (tc mirred). What the kernel then does is what it does with a director's frame.

use super::wire::Wire;
use crate::{error::Refusal, facts::Interface, live::System};
use std::net::IpAddr;
use types::MacAddr;

pub(super) struct Injector<'a> {
    system: &'a System,
    /// Frames sent here arrive on the interface.
    pub into: Wire,
    /// Sees what the interface sends.
    pub out: Wire,
    near: String,
    routes: Vec<String>,
    nic: String,
}

impl<'a> Injector<'a> {
    /// `peers`: addresses the made-up client uses; they get host routes over the interface while the check runs, so that the answer, whatever the
    /// machine's own routes, shows up here.
    pub(super) fn open(
        system: &'a System,
        nic: &Interface,
        mac: MacAddr,
        peers: &[IpAddr],
    ) -> Result<Self, Refusal> {
        let (near, far) = (
            format!("tck{}a", std::process::id() % 100_000_000),
            format!("tck{}b", std::process::id() % 100_000_000),
        );
        let run = |line: String| {
            system.run(
                &line
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        };
        run(format!("ip link add {near} type veth peer name {far}"))?;
        // From here on the pair goes when this is dropped.
        let remove = || drop(run(format!("ip link del {near}")));
        let set_up = || -> Result<(Wire, Wire), Refusal> {
            for end in [&near, &far] {
                // No frames of their own.
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1");
            }
            // With another address the kernel would take the frames for somebody else's.
            run(format!("ip link set {far} address {mac}"))?;
            for end in [&near, &far] {
                run(format!("ip link set {end} up"))?;
            }
            run(format!("tc qdisc add dev {far} ingress"))?;
            let redirect = format!("action mirred ingress redirect dev {}", nic.name);
            run(format!(
                "tc filter add dev {far} parent ffff: protocol all u32 match u32 0 0 {redirect}"
            ))
            .or_else(|_| {
                run(format!(
                    "tc filter add dev {far} parent ffff: protocol all matchall {redirect}"
                ))
            })?;
            Ok((Wire::open(&near)?, Wire::open(&nic.name)?))
        };
        let (into, out) = set_up().inspect_err(|_| remove())?;
        let mut injector = Self {
            system,
            into,
            out,
            near,
            routes: Vec::new(),
            nic: nic.name.clone(),
        };
        for peer in peers {
            let family = if peer.is_ipv4() { "-4" } else { "-6" };
            let prefix = if peer.is_ipv4() { 32 } else { 128 };
            let route = format!("{family} route {{}} {peer}/{prefix} dev {}", nic.name);
            run(format!("ip {}", route.replace("{}", "add")))?;
            injector.routes.push(route);
        }
        Ok(injector)
    }
}

impl Drop for Injector<'_> {
    fn drop(&mut self) {
        let run = |line: String| {
            drop(
                self.system.run(
                    &line
                        .split_whitespace()
                        .map(str::to_owned)
                        .collect::<Vec<_>>(),
                ),
            )
        };
        for route in &self.routes {
            if let Some(peer) = route
                .split_whitespace()
                .nth(3)
                .and_then(|p| p.split('/').next())
            {
                run(format!("ip neigh del {peer} dev {}", self.nic));
            }
            run(format!("ip {}", route.replace("{}", "del")));
        }
        run(format!("ip link del {}", self.near));
    }
}
