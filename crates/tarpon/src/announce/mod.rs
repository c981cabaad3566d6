//! `tarpon announce`: which virtual addresses can be served here, told to who announces them to routers: in the words of ExaBGP's
//! process API, or by addresses on an interface of the host, for BIRD, FRR and all who announce what the kernel has.
//!
//! Level-triggered: each round looks at the whole state, so that a daemon that is restarted, or gone, is seen. What cannot be asked is not
//! announced.

mod exabgp;
mod interface;

use crate::{
    args::{AnnounceArgs, Global},
    failure::Failure,
    query::connect,
};
use api::{Command, Service, ServiceHealth, Vrrp};
use exabgp::ExaBgp;
use interface::Interface;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{collections::BTreeSet, net::IpAddr, sync::mpsc, thread, time::Duration};

/// A daemon that is silent for so long does not serve.
const SILENCE: Duration = Duration::from_secs(2);

/// What was found in one round.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// The virtual addresses there are.
    all: BTreeSet<IpAddr>,
    /// Those of them that this director serves now.
    served: BTreeSet<IpAddr>,
}

/// Who is told.
trait Audience {
    /// Sees to it that what is served is announced, and nothing else.
    fn tell(&mut self, found: &Found) -> Result<(), Failure>;
    /// [`Audience::tell`] for one round only: what cannot be done is an error.
    fn once(&mut self, found: &Found) -> Result<(), Failure> {
        self.tell(found)
    }
    /// Nobody will tell any more.
    fn end(&mut self) -> Result<(), Failure>;
}

pub fn announce(global: &Global, args: &AnnounceArgs) -> Result<(), Failure> {
    match &args.interface {
        Some(name) => follow(global, args, &mut Interface::named(name)?),
        None => follow(global, args, &mut ExaBgp::new(args.next_hop, args.med)),
    }
}

fn follow(
    global: &Global,
    args: &AnnounceArgs,
    audience: &mut impl Audience,
) -> Result<(), Failure> {
    if args.once {
        return audience.once(&find(global)?);
    }
    let (end, ended) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Failure::failed(format!("cannot watch for the end: {e}")))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Should this fail the process is at its end anyway.
            let _ = end.send(());
        }
    });
    loop {
        audience.tell(&find(global).unwrap_or_default())?;
        let pause = Duration::from_millis(args.interval);
        if ended.recv_timeout(pause).is_ok() {
            return audience.end();
        }
    }
}

fn find(global: &Global) -> Result<Found, Failure> {
    let mut client = connect(global)?;
    client.set_timeout(Some(SILENCE))?;
    let services: Vec<Service> = client.call(Command::Services)?;
    let health: Vec<ServiceHealth> = client.call(Command::Health)?;
    let routers: Vec<Vrrp> = client.call(Command::Vrrp)?;
    let addresses = services.iter().filter_map(|s| Some(s.key.address()?.ip()));
    Ok(Found {
        all: addresses.collect(),
        served: judge(&services, &health, &routers),
    })
}

/// An address is served if one of its services has its quorum, or a sorry server; and, if a virtual router has it, while that is master.
fn judge(services: &[Service], health: &[ServiceHealth], routers: &[Vrrp]) -> BTreeSet<IpAddr> {
    let served = services.iter().filter(|service| {
        let checked = health.iter().find(|h| h.key == service.key);
        match checked {
            Some(health) => health.quorum || health.sorry_server.is_some(),
            None => service.servers.iter().any(|server| server.weight.0 > 0),
        }
    });
    let mut addresses: BTreeSet<IpAddr> = served
        .filter_map(|service| Some(service.key.address()?.ip()))
        .collect();
    let elsewhere = routers.iter().filter(|router| router.state != "master");
    for address in elsewhere.flat_map(|router| &router.addresses) {
        addresses.remove(address);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    const TRAFFIC: [&str; 5] = [
        "connections",
        "in_packets",
        "out_packets",
        "in_bytes",
        "out_bytes",
    ];

    fn service(address: &str, weights: &[u32]) -> Service {
        let traffic: serde_json::Value = TRAFFIC.iter().map(|n| ((*n).to_owned(), 0)).collect();
        let server = |weight: &u32| {
            json!({
                "address": "10.1.0.11:80", "method": "masq", "weight": weight, "upper_threshold": 0, "lower_threshold": 0,
                "overloaded": false, "draining": false, "active": 0, "inactive": 0, "templates": 0, "traffic": traffic,
            })
        };
        let servers: Vec<_> = weights.iter().map(server).collect();
        let service = json!({
            "protocol": "tcp", "address": address, "scheduler": "rr", "traffic": traffic, "servers": servers,
        });
        from_value(service).expect("a service")
    }

    fn health(address: &str, quorum: bool, sorry: Option<&str>) -> ServiceHealth {
        from_value(json!({
            "protocol": "tcp", "address": address, "quorum": quorum, "needed": 1, "live": u32::from(quorum),
            "sorry_server": sorry, "servers": [],
        }))
        .expect("a service's health")
    }

    fn router(state: &str, address: &str) -> Vrrp {
        from_value(json!({
            "name": "v", "unit": 0, "interface": "lan", "version": 3, "virtual_router_id": 1, "state": state, "since_s": 1.0,
            "why": "", "priority": 100, "priority_now": 100, "advert_int_ms": 1000, "source": "192.0.2.1",
            "addresses": [address], "takeovers": 0, "woke_late": 0, "counters": {},
        }))
        .expect("a virtual router")
    }

    fn judged(services: &[Service], health: &[ServiceHealth], routers: &[Vrrp]) -> Vec<String> {
        let served = judge(services, health, routers);
        served.iter().map(ToString::to_string).collect()
    }

    const WEB: &str = "192.0.2.10:80";
    const NONE: [&str; 0] = [];

    #[test]
    fn without_checks_an_address_is_served_by_any_weight() {
        assert_eq!(judged(&[service(WEB, &[0, 1])], &[], &[]), ["192.0.2.10"]);
        assert_eq!(judged(&[service(WEB, &[0, 0])], &[], &[]), NONE);
        assert_eq!(judged(&[service(WEB, &[])], &[], &[]), NONE);
    }

    #[test]
    fn with_checks_by_its_quorum_or_a_sorry_server() {
        let services = [service(WEB, &[1])];
        let by = |quorum, sorry| judged(&services, &[health(WEB, quorum, sorry)], &[]);
        assert_eq!(by(true, None), ["192.0.2.10"]);
        assert_eq!(by(false, None), NONE);
        assert_eq!(by(false, Some("10.1.0.99:80")), ["192.0.2.10"]);
    }

    #[test]
    fn one_service_of_an_address_is_enough() {
        let services = [
            service(WEB, &[1]),
            service("192.0.2.10:443", &[1]),
            service("[2001:db8::10]:80", &[1]),
        ];
        let mut found = vec![
            health(WEB, false, None),
            health("192.0.2.10:443", true, None),
            health("[2001:db8::10]:80", true, None),
        ];
        let both = ["192.0.2.10", "2001:db8::10"];
        assert_eq!(judged(&services, &found, &[]), both);
        found[1].quorum = false;
        assert_eq!(judged(&services, &found, &[]), ["2001:db8::10"]);
    }

    #[test]
    fn what_a_virtual_router_has_is_announced_by_its_master() {
        let services = [service(WEB, &[1])];
        let by = |state, address| judged(&services, &[], &[router(state, address)]);
        assert_eq!(by("master", "192.0.2.10"), ["192.0.2.10"]);
        for state in ["backup", "fault", "init"] {
            assert_eq!(by(state, "192.0.2.10"), NONE, "{state}");
        }
        assert_eq!(by("backup", "192.0.2.11"), ["192.0.2.10"]);
    }
}
